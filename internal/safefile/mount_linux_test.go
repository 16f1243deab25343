package safefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// mount mounts and undoes it at the end, or skips where that is not allowed.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("mounts are not possible here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// TestG10SingleFileMount: a bind-mounted file can't be replaced; the error says what to mount instead.
func TestG10SingleFileMount(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"host": "old", "inside": "x", "other": "old"})
	file := filepath.Join(dir, "inside")
	mount(t, filepath.Join(dir, "host"), file, "", unix.MS_BIND, "")
	err := safefile.Replace(file, []byte("new"), safefile.Options{})
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "mount point") || !strings.Contains(err.Error(), "intact") {
		t.Errorf("error %v", err)
	}
	if got := hint(err); !strings.Contains(got, "mount the directory") {
		t.Errorf("hint %q", got)
	}
	// In a journal the other files go back.
	j := begin(t, safefile.FS{}, dir, safefile.Change{Path: "inside", Data: []byte("new")}, safefile.Change{Path: "a-first", Data: []byte("new")},
		safefile.Change{Path: "other", Data: []byte("new")})
	err = j.Commit(t.Context())
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(hint(err), "mount the directory") {
		t.Errorf("journal: error %v, hint %q", err, hint(err))
	}
	if got := look(t, dir); !equal(got, map[string]string{"host": "old", "inside": "old", "other": "old"}) {
		t.Errorf("folder has %s", names(got))
	}
}

// TestFullDisk fills a small file system.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=256k")
	file := filepath.Join(dir, "auth-server.yml")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 1<<20)
	_, err := safefile.Transform(t.Context(), file, func([]byte) ([]byte, error) { return big, nil }, safefile.TransformOptions{})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full") || hint(err) == "" {
		t.Errorf("error %v, hint %q", err, hint(err))
	}
	if got := look(t, dir); !equal(got, map[string]string{"auth-server.yml": "old"}) {
		t.Errorf("folder has %s", names(got))
	}
	err = safefile.WriteTree(t.Context(), filepath.Join(dir, "d"), []safefile.File{{Path: "a"}, {Path: "b", Data: big}}, nil)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("tree: error %v", err)
	}
	_, err = safefile.Begin(t.Context(), dir, []safefile.Change{{Path: "auth-server.yml", Data: []byte("new")}, {Path: "b", Data: big}}, safefile.JournalOptions{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("journal: error %v", err)
	}
	if got := look(t, dir); !equal(got, map[string]string{"auth-server.yml": "old"}) {
		t.Errorf("folder has %s", names(got))
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"f": "old"})
	mount(t, dir, dir, "", unix.MS_BIND, "")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("mounts are not possible here: %v", err)
	}
	for what, err := range map[string]error{
		"replace": safefile.Replace(filepath.Join(dir, "f"), []byte("new"), safefile.Options{}),
		"create":  safefile.CreateExclusive(filepath.Join(dir, "g"), nil, 0o600),
		"tree":    safefile.WriteTree(t.Context(), filepath.Join(dir, "d"), nil, nil),
	} {
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "read-only") || hint(err) == "" {
			t.Errorf("%s: error %v, hint %q", what, err, hint(err))
		}
	}
	if got := look(t, dir); !equal(got, map[string]string{"f": "old"}) {
		t.Errorf("folder has %s", names(got))
	}
}

// TestWriteTreeOnAMount: the root of a mounted disk is filled, it can't be replaced.
func TestWriteTreeOnAMount(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tmpfs", "bind"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, "d")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if kind == "tmpfs" {
				mount(t, "tmpfs", dir, "tmpfs", 0, "size=1m")
			} else {
				mount(t, t.TempDir(), dir, "", unix.MS_BIND, "")
			}
			if err := safefile.WriteTree(t.Context(), dir, []safefile.File{{Path: "a/x", Data: []byte("x")}}, nil); err != nil {
				t.Fatal(err)
			}
			if got := look(t, top); !equal(got, map[string]string{"d/": "", "d/a/": "", "d/a/x": "x"}) {
				t.Errorf("folder has %s", names(got))
			}
		})
	}
}

// TestAccessListIsKept: with a list, the mode's group bits are the list's mask; without it they would let
// the owning group in.
func TestAccessListIsKept(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"f": "old", "g": "old"})
	file := filepath.Join(dir, "f")
	// version 2, user::rw-, user:1234:r--, group::---, mask::r--, other::---
	list := []byte{
		2, 0, 0, 0,
		1, 0, 6, 0, 255, 255, 255, 255,
		2, 0, 4, 0, 0xd2, 4, 0, 0,
		4, 0, 0, 0, 255, 255, 255, 255,
		16, 0, 4, 0, 255, 255, 255, 255,
		32, 0, 0, 0, 255, 255, 255, 255,
	}
	if err := unix.Setxattr(file, "system.posix_acl_access", list, 0); err != nil {
		t.Skipf("no access lists here: %v", err)
	}
	if err := safefile.Replace(file, []byte("new"), safefile.Options{}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, err := unix.Getxattr(file, "system.posix_acl_access", got)
	if err != nil || string(got[:n]) != string(list) {
		t.Errorf("list is %v, %v", got[:max(n, 0)], err)
	}
	// The default list of a folder must not come to a file that had none.
	if err := unix.Setxattr(dir, "system.posix_acl_default", list, 0); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "g")
	if err := safefile.Replace(plain, []byte("new"), safefile.Options{}); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Getxattr(plain, "system.posix_acl_access", got); !errors.Is(err, unix.ENODATA) {
		t.Errorf("list came from the folder: %v, %v", got[:max(n, 0)], err)
	}
}
