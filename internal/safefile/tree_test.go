package safefile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

func TestWriteTreeRefusesWhatIsNotEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := look(t, dir)
	err := safefile.WriteTree(t.Context(), dir, []safefile.File{{Path: "x"}}, nil)
	var notEmpty *safefile.NotEmptyError
	if !errors.As(err, &notEmpty) || !errors.Is(err, safefile.ErrNotEmpty) {
		t.Fatalf("error %v, want %v", err, safefile.ErrNotEmpty)
	}
	if len(notEmpty.Entries) != 3 || notEmpty.More != 3 || notEmpty.Hint() == "" {
		t.Errorf("entries %q and %d more", notEmpty.Entries, notEmpty.More)
	}
	if want := `it holds "file-0", "file-1", "file-2" and 3 more`; !strings.Contains(err.Error(), want) {
		t.Errorf("message %q, want %q", err, want)
	}
	if got := look(t, dir); !equal(got, before) {
		t.Errorf("folder has %s", names(got))
	}
}

func TestWriteTreeBadLists(t *testing.T) {
	t.Parallel()
	file := func(paths ...string) (f []safefile.File) {
		for _, p := range paths {
			f = append(f, safefile.File{Path: p})
		}
		return f
	}
	tests := []struct {
		name  string
		files []safefile.File
		dirs  map[string]fs.FileMode
		want  []string
	}{
		{"outside", file("../x", "/etc/passwd", "a/../../b"), nil, []string{`"../x"`, `"/etc/passwd"`, `"a/../../b"`}},
		{"unclean", file("a//b", "./a", "a/", "", "."), nil, []string{`"a//b"`, `"./a"`, `"a/"`, `""`, `"."`}},
		{"backslash and NUL", file(`a\b`, "a\x00b"), nil, []string{`"a\\b"`, `"a\x00b"`}},
		{"twice", file("a", "a"), nil, []string{`"a" is listed twice`}},
		{"file and folder", file("a", "a/b"), nil, []string{`"a" is both a file and a folder`}},
		{"file and given folder", file("a"), map[string]fs.FileMode{"a": 0o755}, []string{`"a" is both a file and a folder`}},
		{"folder mode", nil, map[string]fs.FileMode{"a": 0, "b": fs.ModeSetuid | 0o755}, []string{`folder "a"`, `folder "b"`}},
		{"file mode", []safefile.File{{Path: "a", Mode: fs.ModeSetuid | 0o755}}, nil, []string{`of "a"`}},
		{"folder path", nil, map[string]fs.FileMode{"../x": 0o755}, []string{`"../x"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			err := safefile.WriteTree(t.Context(), filepath.Join(parent, "d"), tt.files, tt.dirs)
			var bad *safefile.InputError
			if !errors.As(err, &bad) {
				t.Fatalf("error %v, want *InputError", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
			if got := look(t, parent); len(got) != 0 {
				t.Errorf("written: %s", names(got))
			}
		})
	}
}

func TestWriteTreeMakesParentsAndRemovesThem(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "registry")
	fail := safefile.FS{Hook: func(s safefile.Step) error {
		if s.Op == safefile.OpRename && !s.After {
			return errors.New("no")
		}
		return nil
	}}
	files := []safefile.File{{Path: "x", Data: []byte("x")}}
	if err := fail.WriteTree(t.Context(), dir, files, nil); err == nil {
		t.Fatal("no error")
	}
	if got := look(t, top); len(got) != 0 {
		t.Errorf("left: %s", names(got))
	}
	if err := safefile.WriteTree(t.Context(), dir, files, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := look(t, top), map[string]string{"a/": "", "a/b/": "", "a/b/registry/": "", "a/b/registry/x": "x"}; !equal(got, want) {
		t.Errorf("got %s", names(got))
	}
}

func TestWriteTreeCancelled(t *testing.T) {
	t.Parallel()
	for _, existing := range []bool{false, true} {
		steps := 0
		run := func(parent string, cancelAt int) (map[string]string, error) {
			dir := filepath.Join(parent, "d")
			if existing {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n := 0
			err := safefile.FS{Hook: func(s safefile.Step) error {
				if n == cancelAt {
					cancel()
				}
				if s.Op != safefile.OpRename || !s.After {
					n++
				}
				steps = max(steps, n)
				return nil
			}}.WriteTree(ctx, dir, []safefile.File{{Path: "a/b", Data: []byte("x")}, {Path: "c"}}, nil)
			return look(t, parent), err
		}
		if _, err := run(t.TempDir(), -1); err != nil {
			t.Fatal(err)
		}
		renamed := false
		for n := range steps {
			got, err := run(t.TempDir(), n)
			delete(got, "d/")
			switch {
			case err == nil:
				renamed = true
			case !errors.Is(err, context.Canceled):
				t.Errorf("step %d: error %v", n, err)
			case len(got) != 0:
				t.Errorf("step %d: left %s", n, names(got))
			case renamed:
				t.Errorf("step %d: cancelled after the rename", n)
			}
		}
	}
}

// TestWriteTreeWhereOneStands: "mkdir d && cd d && init" must not leave the shell in a removed folder.
func TestWriteTreeWhereOneStands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := child(t.Context(), t, "tree-in", dir)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v", err, cmd.Stderr)
	}
	after, err := os.Stat(dir)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder is another one: %v", err)
	}
	if got, want := look(t, dir), map[string]string{"conf/": "", "conf/f": "x", "state/": ""}; !equal(got, want) {
		t.Errorf("got %s", names(got))
	}
	if info, err := os.Stat(filepath.Join(dir, "state")); err != nil || filepath.Separator == '/' && info.Mode().Perm() != 0o700 {
		t.Errorf("state: %v, %v", info, err)
	}
}

// TestWriteTreeFillsWhatCantBeReplaced: the rename of a bind mount is refused; the folder is then filled.
func TestWriteTreeFillsWhatCantBeReplaced(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{errBusyMount(), fs.ErrPermission} {
		dir := filepath.Join(t.TempDir(), "d")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		f := safefile.FS{Hook: func(s safefile.Step) error {
			if s.Op == safefile.OpRename && !s.After && s.Path == dir {
				return fault
			}
			return nil
		}}
		if err := f.WriteTree(t.Context(), dir, []safefile.File{{Path: "a/x", Data: []byte("x")}}, map[string]fs.FileMode{".": 0o750}); err != nil {
			t.Fatalf("%v: %v", fault, err)
		}
		after, err := os.Stat(dir)
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("the folder is another one: %v", err)
		}
		if got, want := look(t, filepath.Dir(dir)), map[string]string{"d/": "", "d/a/": "", "d/a/x": "x"}; !equal(got, want) {
			t.Errorf("got %s", names(got))
		}
		if filepath.Separator == '/' && after.Mode().Perm() != 0o750 {
			t.Errorf("mode %v", after.Mode())
		}
	}
}

func TestWriteTreeHasOneWinner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		won []int
	)
	for i := range 8 {
		wg.Go(func() {
			err := safefile.WriteTree(t.Context(), dir, []safefile.File{{Path: fmt.Sprintf("by-%d", i)}, {Path: "x"}}, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, i)
			case !errors.Is(err, safefile.ErrNotEmpty):
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("winners %v", won)
	}
	if got, want := look(t, filepath.Dir(dir)), map[string]string{"d/": "", "d/x": "", fmt.Sprintf("d/by-%d", won[0]): ""}; !equal(got, want) {
		t.Errorf("got %s", names(got))
	}
}

func TestWriteTreeKinds(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := safefile.WriteTree(t.Context(), file, nil, nil); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("over a file: %v", err)
	}
	dangling := filepath.Join(top, "dangling")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Skip(err)
	}
	if err := safefile.WriteTree(t.Context(), dangling, nil, nil); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("over a dangling link: %v", err)
	}
	real, link := filepath.Join(top, "real"), filepath.Join(top, "link")
	if err := errors.Join(os.Mkdir(real, 0o755), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	if err := safefile.WriteTree(t.Context(), link, []safefile.File{{Path: "f", Data: []byte("y")}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(real, "f")); got != "y" {
		t.Errorf("through a link: %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v", err)
	}
}
