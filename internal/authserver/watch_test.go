package authserver

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

func TestFingerprint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a, "one")
	paths := []string{a, b}
	seen := map[Fingerprint]string{}
	expectNew := func(what string) {
		t.Helper()
		fp := FingerprintFiles(paths)
		if before, ok := seen[fp]; ok {
			t.Errorf("%s: the same as %s", what, before)
		}
		seen[fp] = what
		if FingerprintFiles(paths) != fp {
			t.Errorf("%s: another one at the second look", what)
		}
	}
	expectNew("b absent")
	write(b, "")
	expectNew("b empty")
	write(b, "one")
	expectNew("b like a")
	write(a, "two")
	expectNew("a changed")
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b, 0o700); err != nil {
		t.Fatal(err)
	}
	expectNew("b a directory")
	if runtime.GOOS != "windows" {
		if err := os.Chmod(a, 0o640); err != nil {
			t.Fatal(err)
		}
		expectNew("a open to its group")
	}
	before := FingerprintFiles(paths)
	if err := os.Chtimes(a, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if FingerprintFiles(paths) != before {
		t.Error("a touch changes the fingerprint")
	}
	paths = []string{b, a}
	expectNew("another order")
}

// A large file is not read at every look, and a change in it is seen all the same.
func TestFingerprintOfLargeFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "large")
	data := make([]byte, alwaysRead+1)
	old := time.Now().Add(-time.Hour)
	write := func() {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	write()
	files, now := fileSet{}, time.Now()
	first, at := files.fingerprint([]string{path}, now)
	if !at.Equal(old) {
		t.Errorf("written at %v, want %v", at, old)
	}
	data[0]++
	write() // in place, the same size, the time set back: no sign of a change
	if fp, _ := files.fingerprint([]string{path}, now.Add(time.Second)); fp != first {
		t.Error("the file was read again although nothing showed a change")
	}
	if fp, _ := files.fingerprint([]string{path}, now.Add(rereadAfter)); fp == first {
		t.Errorf("the change was not seen after %v", rereadAfter)
	}
	old = old.Add(time.Second)
	write()
	second, _ := files.fingerprint([]string{path}, now.Add(rereadAfter+time.Second))
	data[1]++
	old = old.Add(time.Second)
	write()
	if third, _ := files.fingerprint([]string{path}, now.Add(rereadAfter+2*time.Second)); third == second {
		t.Error("a change with a new time was not seen")
	}
}

// A file whose name has gone, as behind the mount of a single file, is told from others.
func TestUnlinked(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	files := fileSet{}
	files.fingerprint([]string{seen}, time.Now())
	if unlinked(files[seen].info) {
		t.Error("a file with a name counts as unlinked")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	files.fingerprint([]string{seen}, time.Now())
	if !unlinked(files[seen].info) {
		t.Error("a file without a name is not noticed")
	}
}
