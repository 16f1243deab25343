package scaffold

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// CheckEngine reports whether a program can be the whole of the bundled engine's image:
// built for Linux and the Docker engine's architecture (a GOARCH: amd64 or arm64), and
// static, since an image FROM scratch has no loader and no libraries. The error says
// what the program is instead.
func CheckEngine(program []byte, goarch string) error {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	want, ok := machines[goarch]
	if !ok {
		return fmt.Errorf("no image can be built for architecture %q; expected amd64 or arm64", goarch)
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return errors.New("not a program for Linux (no ELF file)")
	}
	switch {
	case f.Machine != want:
		return fmt.Errorf("built for %s; the Docker engine runs %s", f.Machine, want)
	case f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX:
		return fmt.Errorf("built for %s, not for Linux", f.OSABI)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return fmt.Errorf("a file of type %s, not a program", f.Type)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("needs a dynamic loader; expected a static program (built with CGO_ENABLED=0)")
		}
	}
	if libs, err := f.ImportedLibraries(); err == nil && len(libs) > 0 {
		return fmt.Errorf("needs the libraries %q; expected a static program (built with CGO_ENABLED=0)", libs)
	}
	return nil
}
