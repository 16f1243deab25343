package cli

import (
	"crypto/rand"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/iostreams"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

// benchInit runs init and wants the status.
func benchInit(b *testing.B, want int, args ...string) {
	b.Helper()
	streams, _, errOut := iostreams.Test("")
	if got := Run(b.Context(), Deps{IO: streams, Now: time.Now, Rand: rand.Reader}, append([]string{"regctl-setup", "init"}, args...)); got != want {
		b.Fatalf("exit status %d, want %d:\n%s", got, want, errOut)
	}
}

// quickKey are answers whose key is made in no time: an RSA key takes a tenth of a second or a
// whole one, as the dice fall, and would hide all else.
func quickKey(more ...string) []string {
	return append([]string{"--yes", "--runtime", "embedded", "--key-type", "ecdsa-p256"}, more...)
}

// BenchmarkInit makes a new deployment with one account.
func BenchmarkInit(b *testing.B) {
	dir, n := b.TempDir(), 0
	benchInit(b, 0, append([]string{filepath.Join(dir, "first")}, quickKey()...)...) // schemas are read once
	for b.Loop() {
		n++
		benchInit(b, 0, append([]string{filepath.Join(dir, strconv.Itoa(n))}, quickKey()...)...)
	}
}

// BenchmarkInitMaterial makes the key and the password hash that BenchmarkInit needs.
func BenchmarkInitMaterial(b *testing.B) {
	for b.Loop() {
		if _, _, err := newSigningPair(keys.ECDSAP256, answers.EngineBundled, keys.Options{Rand: rand.Reader, Now: time.Now, CommonName: "x"}); err != nil {
			b.Fatal(err)
		}
		if _, err := users.Hash(secret.New("correct horse battery"), users.DefaultCost); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInitDiff shows what a new domain changes in a deployment.
func BenchmarkInitDiff(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "d")
	benchInit(b, 0, append([]string{dir}, quickKey()...)...)
	for b.Loop() {
		benchInit(b, exitNo, dir, "--diff", "--expiration", "30m")
	}
}
