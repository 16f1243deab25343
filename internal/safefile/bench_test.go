package safefile_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// BenchmarkTransform changes a file of 15 MB, the size of 100,000 users.
func BenchmarkTransform(b *testing.B) {
	file := filepath.Join(b.TempDir(), "f")
	data := bytes.Repeat([]byte("x"), 15<<20)
	if err := safefile.CreateExclusive(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		changed, err := safefile.Transform(b.Context(), file, func(old []byte) ([]byte, error) {
			return fmt.Appendf(old[:len(old):len(old)], "%d", n), nil
		}, safefile.TransformOptions{})
		if err != nil || !changed {
			b.Fatal(changed, err)
		}
	}
}

// BenchmarkWriteTree writes a folder of the size of a deployment.
func BenchmarkWriteTree(b *testing.B) {
	var files []safefile.File
	for i := range 20 {
		files = append(files, safefile.File{Path: fmt.Sprintf("conf/part%d/file%d", i%6, i), Data: bytes.Repeat([]byte("x"), 4000)})
	}
	dirs := map[string]fs.FileMode{"state": 0o700, "audit": 0o700, "data/registry": 0o755}
	top := b.TempDir()
	n := 0
	for b.Loop() {
		n++
		if err := safefile.WriteTree(b.Context(), filepath.Join(top, fmt.Sprint(n)), files, dirs); err != nil {
			b.Fatal(err)
		}
	}
}
