package safefile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// childEnv makes the test binary run one of the functions in children instead of the tests: crash
// tests need processes of their own.
const childEnv = "SAFEFILE_TEST_CHILD"

type childFunc func(args []string) error

func children() map[string]childFunc {
	return map[string]childFunc{
		"add":     childAdd,
		"hold":    childHold,
		"loop":    childLoop,
		"kill":    childKill,
		"modes":   childModes,
		"tree-in": childTreeIn,
	}
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children()[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child prepares the test binary as a process that runs the named function.
func child(ctx context.Context, t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// killAt returns a file system that kills this process at its nth step; steps count from 0, before
// and after being two.
func killAt(n int) safefile.FS {
	count := 0
	return safefile.FS{Hook: func(safefile.Step) error {
		if count == n {
			p, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = p.Kill()
			}
			if err != nil {
				return err
			}
			select {}
		}
		count++
		return nil
	}}
}

// childKill runs the operation args[0] on args[1] and dies at step args[2].
func childKill(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	return operations()[args[0]].run(killAt(n), args[1])
}

// operation is something that a crash or a fault may interrupt, with what must hold after it.
type operation struct {
	prepare func(dir string) error
	run     func(f safefile.FS, dir string) error
	// next is what the next command does first.
	next func(dir string) error
	// old and fresh are what the folder may look like after next. A path that ends in "/" is
	// a directory.
	old, fresh map[string]string
}

var bigOld, bigNew = strings.Repeat("old\n", 50_000), strings.Repeat("new!\n", 50_000)

func operations() map[string]operation {
	ctx := context.Background()
	write := func(dir string, files map[string]string) error {
		for name, data := range files {
			p := filepath.Join(dir, filepath.FromSlash(name))
			if strings.HasSuffix(name, "/") {
				if err := os.MkdirAll(p, 0o755); err != nil {
					return err
				}
				continue
			}
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(p, []byte(data), 0o640); err != nil {
				return err
			}
		}
		return nil
	}
	transformTo := func(data string) func(f safefile.FS, dir string) error {
		return func(f safefile.FS, dir string) error {
			_, err := f.Transform(ctx, filepath.Join(dir, "f"), func([]byte) ([]byte, error) {
				return []byte(data), nil
			}, safefile.TransformOptions{Create: true})
			return err
		}
	}
	touch := func(dir string) error {
		_, err := safefile.Transform(ctx, filepath.Join(dir, "f"), func(old []byte) ([]byte, error) {
			return old, nil
		}, safefile.TransformOptions{})
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	tree := []safefile.File{
		{Path: "docker-compose.yml", Mode: 0o644, Data: []byte("services: {}\n")},
		{Path: "conf/auth/auth-server.yml", Mode: 0o600, Data: []byte(bigNew)},
		{Path: "conf/keys/server.key", Mode: 0o600, Data: []byte("key\n")},
	}
	treeDirs := map[string]fs.FileMode{"state": 0o700, "data/registry": 0o755, "secrets": 0o700}
	treeWant := map[string]string{
		"d/": "", "d/docker-compose.yml": "services: {}\n", "d/conf/": "", "d/conf/auth/": "", "d/conf/keys/": "",
		"d/conf/auth/auth-server.yml": bigNew, "d/conf/keys/server.key": "key\n",
		"d/state/": "", "d/data/": "", "d/data/registry/": "", "d/secrets/": "",
	}
	// again is a second WriteTree to the same place: the folder is either absent or empty and
	// then made, or whole and refused. To see which, it writes another tree.
	again := func(dir string) error {
		err := safefile.WriteTree(ctx, filepath.Join(dir, "d"), []safefile.File{{Path: "second", Data: []byte("2")}}, nil)
		if errors.Is(err, safefile.ErrNotEmpty) {
			return nil
		}
		return err
	}
	second := map[string]string{"d/": "", "d/second": "2"}

	journalOld := map[string]string{
		"a.yml": "a old\n", "conf/": "", "conf/b.yml": bigOld, "conf/gone": "gone\n", "conf/same": "same\n", "link": "linked old\n", "linked": "linked old\n",
	}
	journalNew := map[string]string{
		"a.yml": "a new\n", "conf/": "", "conf/b.yml": bigNew, "conf/same": "same\n", "link": "linked new\n", "linked": "linked new\n",
		"new/": "", "new/deep/": "", "new/deep/c.yml": "c new\n", "empty/": "",
	}
	journal := func(f safefile.FS, dir string) error {
		j, err := f.Begin(ctx, dir, []safefile.Change{
			{Path: "a.yml", Data: []byte("a new\n"), Expect: safefile.Sum([]byte("a old\n"))},
			{Path: "conf/b.yml", Data: []byte(bigNew)},
			{Path: "conf/gone", Remove: true},
			{Path: "conf/same", Data: []byte("same\n")},
			{Path: "link", Data: []byte("linked new\n")},
			{Path: "new/deep/c.yml", Mode: 0o600, Data: []byte("c new\n"), Expect: safefile.Absent},
		}, safefile.JournalOptions{
			Dirs: map[string]fs.FileMode{"empty": 0o700},
			Lock: safefile.LockOptions{Command: "test change"},
		})
		if err != nil {
			return err
		}
		return j.Commit(ctx)
	}
	prepareJournal := func(dir string) error {
		if err := write(dir, journalOld); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(dir, "link")); err != nil {
			return err
		}
		return os.Symlink("linked", filepath.Join(dir, "link"))
	}
	recoverIt := func(dir string) error {
		_, err := safefile.Recover(ctx, dir, safefile.RecoverOptions{})
		return err
	}
	return map[string]operation{
		"transform": {
			prepare: func(dir string) error { return write(dir, map[string]string{"f": bigOld}) },
			run:     transformTo(bigNew),
			next:    touch,
			old:     map[string]string{"f": bigOld}, fresh: map[string]string{"f": bigNew},
		},
		"transform-create": {
			prepare: func(string) error { return nil },
			run:     transformTo(bigNew),
			next: func(dir string) error {
				_, err := safefile.Transform(ctx, filepath.Join(dir, "f"), func(old []byte) ([]byte, error) {
					if old == nil {
						return []byte("second"), nil
					}
					return old, nil
				}, safefile.TransformOptions{Create: true})
				return err
			},
			old: map[string]string{"f": "second"}, fresh: map[string]string{"f": bigNew},
		},
		"replace": {
			prepare: func(dir string) error { return write(dir, map[string]string{"f": bigOld}) },
			run: func(f safefile.FS, dir string) error {
				return f.Replace(filepath.Join(dir, "f"), []byte(bigNew), safefile.Options{})
			},
			next: touch,
			old:  map[string]string{"f": bigOld}, fresh: map[string]string{"f": bigNew},
		},
		"create": {
			prepare: func(string) error { return nil },
			run: func(f safefile.FS, dir string) error {
				return f.CreateExclusive(filepath.Join(dir, "f"), []byte(bigNew), 0o600)
			},
			next: func(dir string) error {
				return safefile.Replace(filepath.Join(dir, "f"), []byte("second"), safefile.Options{})
			},
			old: map[string]string{"f": "second"}, fresh: map[string]string{"f": "second"},
		},
		"tree": {
			prepare: func(string) error { return nil },
			run: func(f safefile.FS, dir string) error {
				return f.WriteTree(ctx, filepath.Join(dir, "d"), tree, treeDirs)
			},
			next: again, old: second, fresh: treeWant,
		},
		"tree-over-empty": {
			prepare: func(dir string) error { return os.Mkdir(filepath.Join(dir, "d"), 0o755) },
			run: func(f safefile.FS, dir string) error {
				return f.WriteTree(ctx, filepath.Join(dir, "d"), tree, treeDirs)
			},
			next: again, old: second, fresh: treeWant,
		},
		"tree-in-place": { // lost+found makes the folder one that can't be replaced
			prepare: func(dir string) error { return os.MkdirAll(filepath.Join(dir, "d", "lost+found"), 0o755) },
			run: func(f safefile.FS, dir string) error {
				return f.WriteTree(ctx, filepath.Join(dir, "d"), tree, treeDirs)
			},
			next: again,
			old:  with(second, "d/lost+found/"), fresh: with(treeWant, "d/lost+found/"),
		},
		"journal": {
			prepare: prepareJournal, run: journal, next: recoverIt,
			old: journalOld, fresh: journalNew,
		},
		"recover": { // what the next command does; see TestKillRecovery
			run: func(f safefile.FS, dir string) error {
				_, err := f.Recover(ctx, dir, safefile.RecoverOptions{})
				return err
			},
		},
		"undo": { // a journal whose rename of b.yml is refused
			prepare: prepareJournal,
			run: func(f safefile.FS, dir string) error {
				hook := f.Hook
				f.Hook = func(s safefile.Step) error {
					if s.Op == safefile.OpRename && !s.After && strings.HasSuffix(s.Path, "linked") {
						return errBusy
					}
					if hook == nil {
						return nil
					}
					return hook(s)
				}
				if err := journal(f, dir); err == nil {
					return errors.New("journal went through a refused rename")
				}
				return nil
			},
			next: recoverIt, old: journalOld, fresh: journalNew,
		},
	}
}

var errBusy = errors.New("refused by the test")

func errBusyMount() error { return syscall.EBUSY }

func with(m map[string]string, dirs ...string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	for _, d := range dirs {
		out[d] = ""
	}
	return out
}

// look returns everything in dir.
func look(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			got[rel+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(p)
		got[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func names(m map[string]string) string {
	var all []string
	for k, v := range m {
		if len(v) > 12 {
			v = v[:12] + "…"
		}
		all = append(all, fmt.Sprintf("%s=%q", k, v))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// childAdd adds the line args[1] to the file args[0].
func childAdd(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, err := safefile.Transform(ctx, args[0], func(old []byte) ([]byte, error) {
		return append(bytes.Clone(old), args[1]+"\n"...), nil
	}, safefile.TransformOptions{Create: true})
	return err
}

// childHold takes the lock of args[0], says so, and keeps it until its input ends.
func childHold(args []string) error {
	l, err := safefile.Acquire(context.Background(), args[0], safefile.LockOptions{Command: "the holder\x1b[31m"})
	if err != nil {
		return err
	}
	fmt.Println("held")
	var b [1]byte
	_, _ = os.Stdin.Read(b[:])
	return l.Release()
}

// childLoop counts in args[0] until it is killed.
func childLoop(args []string) error {
	fmt.Println("ready")
	for {
		_, err := safefile.Transform(context.Background(), args[0], func(old []byte) ([]byte, error) {
			n, err := checkCounter(old)
			if err != nil {
				return nil, err
			}
			return counter(n + 1), nil
		}, safefile.TransformOptions{})
		if err != nil {
			return err
		}
	}
}

// counter is a file that shows whether it is whole.
func counter(n int) []byte {
	body := fmt.Sprintf("%d\n%s", n, strings.Repeat("x", 1000+n%5000))
	return []byte(body + "\n" + safefile.Sum([]byte(body)) + "\n")
}

func checkCounter(data []byte) (int, error) {
	body, sum, ok := bytes.Cut(bytes.TrimSuffix(data, []byte("\n")), []byte("x\n"))
	if !ok || safefile.Sum(append(bytes.Clone(body), 'x')) != string(sum) {
		return 0, fmt.Errorf("file is torn: %d bytes", len(data))
	}
	first, _, _ := bytes.Cut(body, []byte("\n"))
	return strconv.Atoi(string(first))
}

type modeCase struct {
	Umask  int
	Before fs.FileMode // 0: fresh
	Want   fs.FileMode
	Max    fs.FileMode
}

// childTreeIn writes a tree into its working directory, as "init ." does.
func childTreeIn(args []string) error {
	if err := os.Chdir(args[0]); err != nil {
		return err
	}
	err := safefile.WriteTree(context.Background(), ".", []safefile.File{{Path: "conf/f", Mode: 0o600, Data: []byte("x")}},
		map[string]fs.FileMode{"state": 0o700})
	if err != nil {
		return err
	}
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(wd, "conf", "f"))
	return err
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// countSteps runs an operation once and returns the steps in the order in which its hook saw them.
func countSteps(t *testing.T, op operation) []safefile.Step {
	t.Helper()
	dir := t.TempDir()
	if err := op.prepare(dir); err != nil {
		t.Fatal(err)
	}
	var steps []safefile.Step
	if err := op.run(safefile.FS{Hook: func(s safefile.Step) error { steps = append(steps, s); return nil }}, dir); err != nil {
		t.Fatalf("undisturbed: %v", err)
	}
	return steps
}
