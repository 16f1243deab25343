//go:build unix

package safefile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// childModes runs one modeCase in a process with that umask, and watches every step for a mode that
// is looser than both the old and the wanted one.
func childModes(args []string) error {
	var c modeCase
	if err := json.Unmarshal([]byte(args[1]), &c); err != nil {
		return err
	}
	file := filepath.Join(args[0], "f")
	if c.Before != 0 {
		if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
			return err
		}
		if err := os.Chmod(file, c.Before); err != nil {
			return err
		}
	}
	unix.Umask(c.Umask)
	var problems []error
	watch := safefile.FS{Hook: func(s safefile.Step) error {
		entries, err := os.ReadDir(args[0])
		if err != nil {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				return err
			}
			if e.Name() == "f" {
				if m := info.Mode().Perm(); m != c.Before && m != c.Want {
					problems = append(problems, fmt.Errorf("%v: mode of the file is %v", s, m))
				}
				continue
			}
			allowed := c.Want | 0o600
			if e.Name() == ".f.lock" && c.Before&0o020 != 0 {
				allowed = 0o660 // who may write the file may lock it
			}
			if m := info.Mode().Perm(); m&^allowed != 0 {
				problems = append(problems, fmt.Errorf("%v: %s has mode %v", s, e.Name(), m))
			}
		}
		return nil
	}}
	var err error
	if c.Before == 0 {
		err = watch.CreateExclusive(file, []byte("new"), c.Want)
	} else {
		err = watch.Replace(file, []byte("new"), safefile.Options{Mode: 0o777, Max: c.Max})
	}
	problems = append(problems, err)
	info, err := os.Stat(file)
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	if got := info.Mode().Perm(); got != c.Want {
		problems = append(problems, fmt.Errorf("mode is %v, want %v", got, c.Want))
	}
	// A folder, too: its modes are what was asked for, and nothing in it is ever looser.
	tree := filepath.Join(args[0], "tree")
	problems = append(problems, safefile.WriteTree(t0(), tree,
		[]safefile.File{{Path: "a/open", Mode: 0o644}, {Path: "a/key", Mode: 0o600}, {Path: "secrets/k"}},
		map[string]fs.FileMode{".": 0o755, "secrets": 0o700, "a": 0o755}))
	for name, want := range map[string]fs.FileMode{".": 0o755, "a": 0o755, "a/open": 0o644, "a/key": 0o600, "secrets": 0o700, "secrets/k": 0o600} {
		info, err := os.Stat(filepath.Join(tree, name))
		if err != nil {
			problems = append(problems, err)
		} else if got := info.Mode().Perm(); got != want {
			problems = append(problems, fmt.Errorf("tree: mode of %s is %v, want %v", name, got, want))
		}
	}
	return errors.Join(problems...)
}

func TestG4ModesWhateverTheUmask(t *testing.T) {
	t.Parallel()
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		if umask == 0o777 && os.Geteuid() == 0 {
			// Root may enter any folder; nothing more to learn, but it must hold as well.
			t.Log("umask 0777 as root")
		}
		for _, c := range []modeCase{
			{Before: 0, Want: 0o600},
			{Before: 0, Want: 0o644},
			{Before: 0o644, Want: 0o644},
			{Before: 0o666, Want: 0o666},
			{Before: 0o400, Want: 0o400},
			{Before: 0o640, Want: 0o640},
			{Before: 0o644, Max: 0o600, Want: 0o600},
			{Before: 0o666, Max: 0o600, Want: 0o600},
			{Before: 0o400, Max: 0o600, Want: 0o400},
			{Before: 0o600, Max: 0o600, Want: 0o600},
		} {
			c.Umask = umask
			t.Run(mustJSON(c), func(t *testing.T) {
				t.Parallel()
				cmd := child(t.Context(), t, "modes", t.TempDir(), mustJSON(c))
				if err := cmd.Run(); err != nil {
					t.Errorf("%v: %v", err, cmd.Stderr)
				}
			})
		}
	}
}

func TestOwnerIsKept(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("giving files away needs root")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	if err := safefile.Replace(file, []byte("new"), safefile.Options{}); err != nil {
		t.Fatal(err)
	}
	st := stat(t, file)
	if st.Uid != 1234 || st.Gid != 4321 || st.Mode&0o777 != 0o640 {
		t.Errorf("owner %d:%d mode %o, want 1234:4321 640", st.Uid, st.Gid, st.Mode&0o777)
	}
	// And a whole folder that takes the place of an empty one.
	empty := filepath.Join(dir, "d")
	if err := os.Mkdir(empty, 0o710); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(empty, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	if err := safefile.WriteTree(t.Context(), empty, []safefile.File{{Path: "x"}}, nil); err != nil {
		t.Fatal(err)
	}
	if st := stat(t, empty); st.Uid != 1234 || st.Gid != 4321 || st.Mode&0o777 != 0o710 {
		t.Errorf("folder: owner %d:%d mode %o, want 1234:4321 710", st.Uid, st.Gid, st.Mode&0o777)
	}
}

func TestOwnerThatCantBeKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	refuse := safefile.FS{Hook: func(s safefile.Step) error {
		if s.Op == safefile.OpChown && !s.After {
			return syscall.EPERM
		}
		return nil
	}}
	err := refuse.Replace(file, []byte("new"), safefile.Options{})
	if err == nil || !strings.Contains(err.Error(), "belongs to uid") || !strings.Contains(err.Error(), "the old file is intact") {
		t.Errorf("got %v", err)
	}
	if got := look(t, filepath.Dir(file)); !equal(got, map[string]string{"f": "old"}) {
		t.Errorf("folder has %s", names(got))
	}
}

// TestG5Symlinks: the link stays, its target is replaced; what can't be told is refused.
func TestG5Symlinks(t *testing.T) {
	t.Parallel()
	type env struct{ dir, file string }
	tests := []struct {
		name string
		make func(e env) error
		want string // part of the error; "" for success
	}{
		{"plain", func(e env) error { return os.WriteFile(e.file, []byte("old"), 0o600) }, ""},
		{"relative link", func(e env) error { return link(e.dir, "real/f", e.file) }, ""},
		{"absolute link", func(e env) error { return link(e.dir, filepath.Join(e.dir, "real/f"), e.file) }, ""},
		{"chain", func(e env) error {
			if err := link(e.dir, "f", filepath.Join(e.dir, "real", "g")); err != nil {
				return err
			}
			return os.Symlink("real/g", e.file)
		}, ""},
		{"linked folder", func(e env) error {
			if err := link(e.dir, "f", filepath.Join(e.dir, "unused")); err != nil {
				return err
			}
			return errors.Join(os.Symlink("real", filepath.Join(e.dir, "sub")), os.Symlink("sub/f", e.file))
		}, ""},
		{"dangling", func(e env) error { return os.Symlink("nowhere", e.file) }, "which is not there"},
		{"loop", func(e env) error { return os.Symlink("f", e.file) }, "loop"},
		{"to a directory", func(e env) error { return os.Symlink("real", e.file) }, "a directory"},
		{"directory", func(e env) error { return os.Mkdir(e.file, 0o755) }, "a directory"},
		{"pipe", func(e env) error { return unix.Mkfifo(e.file, 0o600) }, "a named pipe"},
		{"another user's link", func(e env) error {
			if os.Geteuid() != 0 {
				return os.Symlink("nowhere", e.file) // can't be made; dangling is refused as well
			}
			if err := link(e.dir, "real/f", e.file); err != nil {
				return err
			}
			return os.Lchown(e.file, 1234, 1234)
		}, "link"},
		{"a user's link to the user's file", func(e env) error {
			if err := link(e.dir, "real/f", e.file); err != nil || os.Geteuid() != 0 {
				return err
			}
			return errors.Join(os.Lchown(e.file, 1234, 1234), os.Chown(filepath.Join(e.dir, "real/f"), 1234, 1234))
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := env{dir: t.TempDir()}
			e.file = filepath.Join(e.dir, "f")
			if err := os.Mkdir(filepath.Join(e.dir, "real"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(e); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(e.file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = safefile.Transform(t.Context(), e.file, func([]byte) ([]byte, error) { return []byte("new"), nil },
				safefile.TransformOptions{Create: true})
			after, statErr := os.Lstat(e.file)
			if statErr != nil {
				t.Fatal(statErr)
			}
			if before.Mode()&fs.ModeSymlink != 0 && !os.SameFile(before, after) {
				t.Error("the link itself was replaced")
			}
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(e.file); err != nil || string(got) != "new" {
					t.Errorf("read %q, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if _, err := os.Lstat(filepath.Join(e.dir, "nowhere")); err == nil {
				t.Error("a file was made through a dangling link")
			}
			// A new secret never goes through anything that is there.
			if err := safefile.CreateExclusive(e.file, []byte("key"), 0o600); !errors.Is(err, fs.ErrExist) {
				t.Errorf("CreateExclusive: %v, want %v", err, fs.ErrExist)
			}
		})
	}
}

// link makes dir/real/f and a link to it.
func link(dir, to, at string) error {
	return errors.Join(os.WriteFile(filepath.Join(dir, "real", "f"), []byte("old"), 0o600), os.Symlink(to, at))
}

func stat(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t)
}

func TestLockFileIsNoTrap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	for name, trap := range map[string]func(lock string) error{
		"symlink":   func(lock string) error { return os.Symlink(victim, lock) },
		"hard link": func(lock string) error { return os.Link(victim, lock) },
		"pipe":      func(lock string) error { return unix.Mkfifo(lock, 0o600) },
		"folder":    func(lock string) error { return os.Mkdir(lock, 0o700) },
	} {
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		lock := filepath.Join(dir, ".f.lock")
		if err := trap(lock); err != nil {
			t.Fatal(err)
		}
		if l, err := safefile.Acquire(t.Context(), filepath.Join(dir, "f"), safefile.LockOptions{}); err == nil {
			t.Errorf("%s: locked", name)
			_ = l.Release()
		}
		if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
			t.Errorf("%s: victim is %q, %v", name, got, err)
		}
		if err := os.RemoveAll(lock); err != nil {
			t.Fatal(err)
		}
	}
}
