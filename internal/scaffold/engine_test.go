package scaffold

import (
	"bytes"
	"crypto/rand"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// program is a 64-bit ELF file with one program header and no section.
func program(t *testing.T, machine elf.Machine, typ elf.Type, abi elf.OSABI, segment elf.ProgType) []byte {
	t.Helper()
	h := elf.Header64{Type: uint16(typ), Machine: uint16(machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	h.Ident[elf.EI_OSABI] = byte(abi)
	var b bytes.Buffer
	for _, part := range []any{h, elf.Prog64{Type: uint32(segment)}} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestCheckEngine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, arch string
		data       []byte
		want       string // "" = fine
	}{
		{"static amd64", "amd64", program(t, elf.EM_X86_64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD), ""},
		{"static arm64, position independent", "arm64", program(t, elf.EM_AARCH64, elf.ET_DYN, elf.ELFOSABI_LINUX, elf.PT_LOAD), ""},
		{"other architecture", "amd64", program(t, elf.EM_AARCH64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD), "EM_AARCH64"},
		{"dynamic", "amd64", program(t, elf.EM_X86_64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_INTERP), "dynamic loader"},
		{"FreeBSD", "amd64", program(t, elf.EM_X86_64, elf.ET_EXEC, elf.ELFOSABI_FREEBSD, elf.PT_LOAD), "not for Linux"},
		{"object file", "amd64", program(t, elf.EM_X86_64, elf.ET_REL, elf.ELFOSABI_NONE, elf.PT_LOAD), "not a program"},
		{"script", "amd64", []byte("#!/bin/sh\n"), "no ELF file"},
		{"macOS", "amd64", []byte("\xcf\xfa\xed\xfe\x07\x00\x00\x01"), "no ELF file"},
		{"empty", "amd64", nil, "no ELF file"},
		{"architecture without an image", "riscv64", nil, `"riscv64"`},
	} {
		err := CheckEngine(c.data, c.arch)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestH4NewSecrets: generated secrets are long, plain and never the same twice.
func TestH4NewSecrets(t *testing.T) {
	t.Parallel()
	isHTTP, isID, isKey := regexp.MustCompile("^[0-9a-f]{64}$"), regexp.MustCompile("^[A-Z2-7]{20}$"), regexp.MustCompile("^[a-z2-7]{40}$")
	seen := map[string]bool{}
	for range 1000 {
		s, err := NewHTTPSecret(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, key, err := NewStoreKeys(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]*regexp.Regexp{s.Reveal(): isHTTP, id.Reveal(): isID, key.Reveal(): isKey} {
			if seen[text] || !want.MatchString(text) {
				t.Fatalf("%q comes twice or is not %s", text, want)
			}
			seen[text] = true
		}
	}
	broken := iotest.ErrReader(errors.New("no entropy"))
	if _, err := NewHTTPSecret(broken); err == nil {
		t.Error("a secret without entropy")
	}
	if _, _, err := NewStoreKeys(broken); err == nil {
		t.Error("keys without entropy")
	}
	if _, _, err := NewStoreKeys(io.LimitReader(rand.Reader, 30)); err == nil {
		t.Error("a key with half the entropy")
	}
}
