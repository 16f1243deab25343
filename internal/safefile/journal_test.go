package safefile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

func newDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(data), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func begin(t *testing.T, f safefile.FS, dir string, changes ...safefile.Change) *safefile.Journal {
	t.Helper()
	j, err := f.Begin(t.Context(), dir, changes, safefile.JournalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJournal(t *testing.T) {
	t.Parallel()
	old := map[string]string{"a": "a old", "b": "b old", "same": "same"}
	changes := []safefile.Change{
		{Path: "same", Data: []byte("same")},
		{Path: "b", Remove: true},
		{Path: "a", Data: []byte("a new")},
		{Path: "never-there", Remove: true},
		{Path: "n/c", Data: []byte("c new"), Mode: 0o640},
	}
	dir := newDir(t, old)
	j := begin(t, safefile.FS{}, dir, changes...)
	if got, want := strings.Join(j.Files(), " "), "a b n/c"; got != want {
		t.Errorf("Files = %q, want %q", got, want)
	}
	for name, want := range old {
		if got := read(t, filepath.Join(dir, name)); got != want {
			t.Errorf("before Commit %s = %q, want %q", name, got, want)
		}
	}
	if err := j.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "a new", "same": "same", "n/": "", "n/c": "c new"}
	if got := look(t, dir); !equal(got, want) {
		t.Errorf("after Commit %s", names(got))
	}
	if filepath.Separator == '/' {
		for name, want := range map[string]fs.FileMode{"a": 0o640, "n/c": 0o640, "n": 0o755} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
			}
		}
	}
	if err := j.Rollback(); err != nil {
		t.Errorf("Rollback after Commit: %v", err)
	}
	if err := j.Commit(t.Context()); err == nil {
		t.Error("second Commit: no error")
	}
	if got := look(t, dir); !equal(got, want) {
		t.Errorf("after Rollback %s", names(got))
	}

	dir = newDir(t, old)
	j = begin(t, safefile.FS{}, dir, changes...)
	if err := j.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := look(t, dir); !equal(got, old) {
		t.Errorf("after Rollback %s", names(got))
	}
}

func TestJournalKeepsStateFolder(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"a": "old", "state/history/1": "x"})
	j := begin(t, safefile.FS{}, dir, safefile.Change{Path: "a", Data: []byte("new")})
	if err := j.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "new", "state/": "", "state/history/": "", "state/history/1": "x"}
	if got := look(t, dir); !equal(got, want) {
		t.Errorf("got %s", names(got))
	}
}

func TestJournalExpect(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"a": "edited by hand", "b": "old"})
	before := look(t, dir)
	for _, c := range []safefile.Change{
		{Path: "a", Data: []byte("new"), Expect: safefile.Sum([]byte("generated"))},
		{Path: "a", Data: []byte("new"), Expect: safefile.Absent},
		{Path: "c", Data: []byte("new"), Expect: safefile.Sum(nil)},
	} {
		_, err := safefile.Begin(t.Context(), dir, []safefile.Change{{Path: "b", Data: []byte("x")}, c}, safefile.JournalOptions{})
		if !errors.Is(err, safefile.ErrChanged) {
			t.Errorf("%v: error %v, want %v", c, err, safefile.ErrChanged)
		}
		if got := look(t, dir); !equal(got, before) {
			t.Errorf("folder has %s", names(got))
		}
	}
}

func TestJournalNoticesAnEditBeforeCommit(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"a": "old", "b": "old"})
	j := begin(t, safefile.FS{}, dir, safefile.Change{Path: "a", Data: []byte("new")}, safefile.Change{Path: "b", Data: []byte("new")})
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("by hand"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.Commit(t.Context()); !errors.Is(err, safefile.ErrChanged) {
		t.Errorf("error %v, want %v", err, safefile.ErrChanged)
	}
	if got := look(t, dir); !equal(got, map[string]string{"a": "old", "b": "by hand"}) {
		t.Errorf("folder has %s", names(got))
	}
}

// TestJournalExcludesTransform: a file of a journal can't be changed by a Transform meanwhile.
func TestJournalExcludesTransform(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"a": "old"})
	j := begin(t, safefile.FS{}, dir, safefile.Change{Path: "a", Data: []byte("new")})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	add := func(old []byte) ([]byte, error) { return append(append([]byte{}, old...), '!'), nil }
	_, err := safefile.Transform(ctx, filepath.Join(dir, "a"), add, safefile.TransformOptions{})
	var locked *safefile.LockedError
	if !errors.As(err, &locked) {
		t.Errorf("Transform during a journal: %v", err)
	}
	// A second journal waits, and so does a Recover: neither touches what is in progress.
	if _, err := safefile.Begin(ctx, dir, []safefile.Change{{Path: "x"}}, safefile.JournalOptions{}); !errors.As(err, &locked) {
		t.Errorf("second Begin: %v", err)
	}
	if _, err := safefile.Recover(ctx, dir, safefile.RecoverOptions{}); !errors.As(err, &locked) {
		t.Errorf("Recover during a journal: %v", err)
	}
	if err := j.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := safefile.Transform(t.Context(), filepath.Join(dir, "a"), add, safefile.TransformOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := look(t, dir); !equal(got, map[string]string{"a": "new!"}) {
		t.Errorf("folder has %s", names(got))
	}
}

// crashed makes a folder in which a process died at the step.
func crashed(t *testing.T, op string, nth int, file string) string {
	t.Helper()
	ops := operations()
	steps := countSteps(t, ops["journal"])
	for i, s := range steps {
		if string(s.Op) == op && !s.After && strings.Contains(filepath.Base(s.Path), file) {
			if nth--; nth > 0 {
				continue
			}
			dir := t.TempDir()
			if err := ops["journal"].prepare(dir); err != nil {
				t.Fatal(err)
			}
			if err := child(t.Context(), t, "kill", "journal", dir, fmt.Sprint(i)).Run(); err == nil {
				t.Fatal("child was not killed")
			}
			return dir
		}
	}
	t.Fatalf("no step %s %s", op, file)
	return ""
}

func TestRecoverReports(t *testing.T) {
	t.Parallel()
	const all = "a.yml conf/b.yml conf/gone link new/deep/c.yml"
	for _, tt := range []struct {
		op, file string
		want     safefile.Outcome
	}{
		{"fsync", ".b.yml", safefile.RolledBack},
		{"rename", "commit.json", safefile.RolledBack},
		{"rename", "a.yml", safefile.Finished},
		{"rename", "b.yml", safefile.Finished},
		{"remove", "commit.json", safefile.Finished},
	} {
		t.Run(tt.op+" "+tt.file, func(t *testing.T) {
			t.Parallel()
			dir := crashed(t, tt.op, 1, tt.file)
			if _, err := safefile.Begin(t.Context(), dir, []safefile.Change{{Path: "x"}}, safefile.JournalOptions{}); !errors.Is(err, safefile.ErrPending) {
				t.Errorf("Begin: error %v, want %v", err, safefile.ErrPending)
			}
			got, err := safefile.Recover(t.Context(), dir, safefile.RecoverOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Outcome != tt.want || strings.Join(got.Files, " ") != all || got.Command != "test change" ||
				got.Started.IsZero() || len(got.Conflicts) != 0 || got.Reason != nil {
				t.Errorf("got %+v, want %s of %s", got, tt.want, all)
			}
			again, err := safefile.Recover(t.Context(), dir, safefile.RecoverOptions{})
			if err != nil || again.Outcome != safefile.Nothing {
				t.Errorf("second Recover: %+v, %v", again, err)
			}
		})
	}
}

// TestRecoverKeepsHandEdits: what a person wrote between the crash and the next command stays.
func TestRecoverKeepsHandEdits(t *testing.T) {
	t.Parallel()
	dir := crashed(t, "rename", 1, "a.yml")
	hand := filepath.Join(dir, "conf", "b.yml")
	if err := os.WriteFile(hand, []byte("by hand"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := safefile.Recover(t.Context(), dir, safefile.RecoverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Outcome != safefile.Finished || len(got.Conflicts) != 1 || got.Conflicts[0] != "conf/b.yml" {
		t.Errorf("got %+v", got)
	}
	if s := read(t, hand); s != "by hand" {
		t.Errorf("hand edit is %q", s)
	}
	if s := read(t, hand+".regctl-setup-new"); s != bigNew {
		t.Errorf("new content aside: %d bytes", len(s))
	}
	if s := read(t, filepath.Join(dir, "a.yml")); s != "a new\n" {
		t.Errorf("a.yml is %q", s)
	}
}

// TestRecoverThatIsRefused: going forward fails (a single-file mount), so everything goes back.
func TestRecoverThatIsRefused(t *testing.T) {
	t.Parallel()
	dir := crashed(t, "rename", 1, "b.yml")
	if s := read(t, filepath.Join(dir, "a.yml")); s != "a new\n" {
		t.Fatalf("a.yml is %q: crashed too early", s)
	}
	busy := safefile.FS{Hook: func(s safefile.Step) error {
		if s.Op == safefile.OpRename && !s.After && filepath.Base(s.Path) == "linked" {
			return errBusyMount()
		}
		return nil
	}}
	got, err := busy.Recover(t.Context(), dir, safefile.RecoverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Outcome != safefile.RolledBack || got.Reason == nil || !errors.Is(got.Reason, errBusyMount()) {
		t.Errorf("got %+v", got)
	}
	if all := look(t, dir); !equal(all, operations()["journal"].old) {
		t.Errorf("folder has %s", names(all))
	}
}

func TestBadJournalsAreRefused(t *testing.T) {
	t.Parallel()
	const id = `"id":"0123456789abcdef"`
	for name, text := range map[string]string{
		"cut":          `{"version":1,`,
		"version":      `{"version":2,` + id + `}`,
		"id":           `{"version":1,"id":"../../../../etc"}`,
		"outside":      `{"version":1,` + id + `,"changes":[{"path":"../victim","old":"absent","new":"absent"}]}`,
		"outside dirs": `{"version":1,` + id + `,"dirs":["../victim"]}`,
		"absolute":     `{"version":1,` + id + `,"states":["/victim"]}`,
		"target":       `{"version":1,` + id + `,"changes":[{"path":"a","target":"/etc/passwd","old":"absent","new":"absent"}]}`,
	} {
		for _, state := range []string{"begin.json", "commit.json", "undo.json"} {
			dir := newDir(t, map[string]string{"d/a": "old", "victim": "precious", "d/state/journal/" + state: text})
			before := look(t, dir)
			if _, err := safefile.Recover(t.Context(), filepath.Join(dir, "d"), safefile.RecoverOptions{}); err == nil {
				t.Errorf("%s, %s: no error", name, state)
			}
			if got := look(t, dir); !equal(got, before) {
				t.Errorf("%s, %s: folder has %s", name, state, names(got))
			}
		}
	}
}

func TestBeginBadInput(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"a": "old", "sub/x": "x"})
	before := look(t, dir)
	for _, tt := range []struct {
		changes []safefile.Change
		opts    safefile.JournalOptions
		want    string
	}{
		{[]safefile.Change{{Path: "../x"}}, safefile.JournalOptions{}, `"../x"`},
		{[]safefile.Change{{Path: "../x", Remove: true}}, safefile.JournalOptions{}, `"../x"`},
		{[]safefile.Change{{Path: "a"}, {Path: "a"}}, safefile.JournalOptions{}, "listed twice"},
		{[]safefile.Change{{Path: "a"}, {Path: "a", Remove: true}}, safefile.JournalOptions{}, "same file"},
		{[]safefile.Change{{Path: "sub"}}, safefile.JournalOptions{}, "a directory"},
		{[]safefile.Change{{Path: "a/b"}}, safefile.JournalOptions{}, "not a directory"},
		{[]safefile.Change{{Path: "a"}}, safefile.JournalOptions{State: "../s"}, "state folder"},
	} {
		_, err := safefile.Begin(t.Context(), dir, tt.changes, tt.opts)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.changes, err, tt.want)
		}
		if got := look(t, dir); !equal(got, before) {
			t.Errorf("%+v: folder has %s", tt.changes, names(got))
		}
	}
	if _, err := safefile.Begin(t.Context(), filepath.Join(dir, "nowhere"), nil, safefile.JournalOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent folder: %v", err)
	}
}

func TestRecoverWithoutAJournalIsCheap(t *testing.T) {
	t.Parallel()
	dir := newDir(t, map[string]string{"a": "old"})
	steps := 0
	f := safefile.FS{Hook: func(safefile.Step) error { steps++; return nil }}
	got, err := f.Recover(t.Context(), dir, safefile.RecoverOptions{})
	if err != nil || got.Outcome != safefile.Nothing || steps != 0 {
		t.Errorf("got %+v, %v after %d steps", got, err, steps)
	}
	if got := look(t, dir); len(got) != 1 {
		t.Errorf("folder has %s", names(got))
	}
}
