package safefile_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

func t0() context.Context { return context.Background() }

func newFile(t *testing.T, data string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// onlyFile fails when anything but the file is in its folder, other than a lock file where those stay.
func onlyFile(t *testing.T, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(file) && !(filepath.Separator == '\\' && strings.HasSuffix(e.Name(), ".lock")) {
			t.Errorf("left over: %s", e.Name())
		}
	}
}

// TestG1NoLostUpdate lets 64 processes add 64 lines at once.
func TestG1NoLostUpdate(t *testing.T) {
	t.Parallel()
	const writers = 64
	file := newFile(t, "")
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			cmd := child(t.Context(), t, "add", file, fmt.Sprintf("user-%d", i))
			if err := cmd.Run(); err != nil {
				t.Errorf("writer %d: %v: %v", i, err, cmd.Stderr)
			}
		})
	}
	wg.Wait()
	got := map[string]int{}
	for line := range strings.Lines(read(t, file)) {
		got[strings.TrimSpace(line)]++
	}
	for i := range writers {
		if n := got[fmt.Sprintf("user-%d", i)]; n != 1 {
			t.Errorf("user-%d is there %d times", i, n)
		}
	}
	onlyFile(t, file)
}

func TestNoLostUpdateBetweenGoroutines(t *testing.T) {
	t.Parallel()
	file := newFile(t, "")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, err := safefile.Transform(t.Context(), file, func(old []byte) ([]byte, error) {
				return append(bytes.Clone(old), 'x'), nil
			}, safefile.TransformOptions{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := read(t, file); got != strings.Repeat("x", 16) {
		t.Errorf("got %q", got)
	}
	onlyFile(t, file)
}

// TestG9EditorRace lets a program that knows no lock change the file at random steps of a Transform.
func TestG9EditorRace(t *testing.T) {
	t.Parallel()
	steps := 0
	count := safefile.FS{Hook: func(safefile.Step) error { steps++; return nil }}
	add := func(f safefile.FS, file string) error {
		_, err := f.Transform(t0(), file, func(old []byte) ([]byte, error) {
			return append(bytes.Clone(old), "ours\n"...), nil
		}, safefile.TransformOptions{Create: true})
		return err
	}
	if err := add(count, newFile(t, "first\n")); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		file := newFile(t, "first\n")
		at, inPlace := rng.IntN(steps), rng.IntN(2) == 0
		n := 0
		err := add(safefile.FS{Hook: func(s safefile.Step) error {
			defer func() { n++ }()
			if n != at {
				return nil
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			data = append(data, "theirs\n"...)
			if inPlace {
				return os.WriteFile(file, data, 0o600)
			}
			other := file + ".editor"
			return errors.Join(os.WriteFile(other, data, 0o600), os.Rename(other, file))
		}}, file)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got := read(t, file)
		if !strings.HasPrefix(got, "first\n") || strings.Count(got, "ours\n") != 1 || strings.Count(got, "theirs\n") != 1 {
			t.Errorf("round %d (step %d, in place %v): %q", round, at, inPlace, got)
		}
		onlyFile(t, file)
	}
}

func TestTransformGivesUpOnARestlessFile(t *testing.T) {
	t.Parallel()
	file := newFile(t, "0")
	n := 0
	busy := safefile.FS{Hook: func(s safefile.Step) error {
		if s.Op == safefile.OpRename && !s.After {
			n++
			return os.WriteFile(file, fmt.Append(nil, n), 0o600)
		}
		return nil
	}}
	changed, err := busy.Transform(t.Context(), file, func(old []byte) ([]byte, error) {
		return append(bytes.Clone(old), '!'), nil
	}, safefile.TransformOptions{})
	if changed || !errors.Is(err, safefile.ErrChanged) {
		t.Errorf("got %v, %v; want %v", changed, err, safefile.ErrChanged)
	}
	if n < 10 {
		t.Errorf("gave up after %d rounds", n)
	}
	onlyFile(t, file)
}

func TestTransform(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	set := func(s string) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return []byte(s), nil }
	}
	tests := []struct {
		name    string
		before  string // "-": absent
		change  func([]byte) ([]byte, error)
		opts    safefile.TransformOptions
		changed bool
		wantErr string
		after   string
	}{
		{"change", "old", set("new"), safefile.TransformOptions{}, true, "", "new"},
		{"to empty", "old", set(""), safefile.TransformOptions{}, true, "", ""},
		{"no change", "old", set("old"), safefile.TransformOptions{}, false, "", "old"},
		{"function fails", "old", func([]byte) ([]byte, error) { return []byte("x"), boom }, safefile.TransformOptions{}, false, "boom", "old"},
		{"absent", "-", set("new"), safefile.TransformOptions{}, false, "file does not exist", "-"},
		{"create", "-", set("new"), safefile.TransformOptions{Create: true}, true, "", "new"},
		{"create empty", "-", set(""), safefile.TransformOptions{Create: true}, true, "", ""},
		{"absent is nil", "-", func(old []byte) ([]byte, error) {
			if old != nil {
				return nil, boom
			}
			return []byte("new"), nil
		}, safefile.TransformOptions{Create: true}, true, "", "new"},
		{"too long", "12345", set("new"), safefile.TransformOptions{MaxSize: 4}, false, "longer than 4 bytes", "12345"},
		{"just short enough", "1234", set("new"), safefile.TransformOptions{MaxSize: 4}, true, "", "new"},
		{"argument changed in place", "old", func(old []byte) ([]byte, error) {
			old[0] = 'O'
			return old, nil
		}, safefile.TransformOptions{}, false, "changed its argument", "old"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "f")
			if tt.before != "-" {
				file = newFile(t, tt.before)
			}
			before, _ := os.Stat(file)
			changed, err := safefile.Transform(t.Context(), file, tt.change, tt.opts)
			if changed != tt.changed {
				t.Errorf("changed = %v, want %v", changed, tt.changed)
			}
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error = %v, want %q", err, tt.wantErr)
			}
			after, statErr := os.Stat(file)
			switch {
			case tt.after == "-":
				if statErr == nil {
					t.Error("file was made")
				}
			case read(t, file) != tt.after:
				t.Errorf("file = %q, want %q", read(t, file), tt.after)
			case before != nil && os.SameFile(before, after) == tt.changed:
				t.Errorf("same inode = %v, changed = %v", !tt.changed, tt.changed)
			}
			onlyFile(t, file)
		})
	}
}

func TestCreateExclusiveHasOneWinner(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "server.key")
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := safefile.CreateExclusive(file, fmt.Append(nil, i), 0o600)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("error %v, want %v", err, fs.ErrExist)
			}
		})
	}
	wg.Wait()
	if got := won.Load(); got != 1 {
		t.Errorf("%d winners", got)
	}
	onlyFile(t, file)
}

// TestWaiterLearnsTheHolder: the lock is held by another process; the waiter hears who it is after the
// notice time, gives up at its deadline with the holder's name, and gets the lock when the holder is killed.
func TestWaiterLearnsTheHolder(t *testing.T) {
	t.Parallel()
	file := newFile(t, "old")
	holder := child(t.Context(), t, "hold", file)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("holder said %q, %v", line, err)
	}
	want := fmt.Sprintf("process %d on ", holder.Process.Pid)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	told := make(chan string, 10)
	o := safefile.TransformOptions{
		OnWait: func(h string) { told <- h },
		Lock:   safefile.LockOptions{NoticeAfter: 20 * time.Millisecond},
	}
	change := func([]byte) ([]byte, error) { return []byte("new"), nil }
	_, err = safefile.Transform(ctx, file, change, o)
	var locked *safefile.LockedError
	if !errors.As(err, &locked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want a *LockedError", err)
	}
	if !strings.HasPrefix(locked.Holder, want) || !strings.Contains(locked.Holder, "(the holder[31m), since ") || strings.Contains(locked.Holder, "\x1b") {
		t.Errorf("holder %q, want %q…", locked.Holder, want)
	}
	if locked.Hint() == "" || !strings.Contains(err.Error(), want) {
		t.Errorf("message %q, hint %q", err, locked.Hint())
	}
	if h := <-told; !strings.HasPrefix(h, want) {
		t.Errorf("OnWait(%q), want %q…", h, want)
	}
	if len(told) != 0 {
		t.Error("OnWait was called again")
	}
	if got := read(t, file); got != "old" {
		t.Errorf("file = %q", got)
	}

	done := make(chan error, 1)
	go func() {
		_, err := safefile.Transform(t0(), file, change, o)
		done <- err
	}()
	<-told // it waits
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the lock of a killed process was never free")
	}
	if got := read(t, file); got != "new" {
		t.Errorf("file = %q", got)
	}
	onlyFile(t, file)
}

func TestCancelBeforeTheRename(t *testing.T) {
	t.Parallel()
	file := newFile(t, "old")
	ctx, cancel := context.WithCancel(t.Context())
	f := safefile.FS{Hook: func(s safefile.Step) error {
		if s.Op == safefile.OpRename && !s.After {
			cancel()
		}
		return nil
	}}
	changed, err := f.Transform(ctx, file, func([]byte) ([]byte, error) { return []byte("new"), nil }, safefile.TransformOptions{})
	if changed || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", changed, err)
	}
	if got := read(t, file); got != "old" {
		t.Errorf("file = %q", got)
	}
	onlyFile(t, file)
}

func TestDurabilityUnknown(t *testing.T) {
	t.Parallel()
	eio := errors.New("input/output error")
	f := safefile.FS{Hook: func(s safefile.Step) error {
		if s.Op == safefile.OpDirSync && !s.After {
			return eio
		}
		return nil
	}}
	file := newFile(t, "old")
	changed, err := f.Transform(t.Context(), file, func([]byte) ([]byte, error) { return []byte("new"), nil }, safefile.TransformOptions{})
	var durability *safefile.DurabilityError
	if !changed || !errors.As(err, &durability) || !errors.Is(err, eio) {
		t.Errorf("got %v, %v; want applied and a *DurabilityError", changed, err)
	}
	if !strings.Contains(err.Error(), "applied, but durability unknown") {
		t.Errorf("message %q", err)
	}
	if got := read(t, file); got != "new" {
		t.Errorf("file = %q", got)
	}
}

// TestUnreadableIsNotEmpty: a read error must never look like an empty file.
func TestUnreadableIsNotEmpty(t *testing.T) {
	t.Parallel()
	file := newFile(t, "many users")
	f := safefile.FS{Hook: func(s safefile.Step) error {
		if s.Op == safefile.OpRead {
			return errors.New("input/output error")
		}
		return nil
	}}
	_, err := f.Transform(t.Context(), file, func(old []byte) ([]byte, error) {
		t.Errorf("called with %q", old)
		return []byte("x"), nil
	}, safefile.TransformOptions{Create: true})
	if err == nil {
		t.Error("no error")
	}
	if got := read(t, file); got != "many users" {
		t.Errorf("file = %q", got)
	}
}

func TestStaleTemporariesOnly(t *testing.T) {
	t.Parallel()
	file := newFile(t, "old")
	dir := filepath.Dir(file)
	keep := []string{".f.regctl-setup-0123456789abcdef.new", ".f.regctl-setup-short.tmp", ".g.regctl-setup-0123456789abcdef.tmp", ".f.swp", ".f.regctl-setup-0123456789ABCDEF.tmp"}
	stale := ".f.regctl-setup-0123456789abcdef.tmp"
	for _, n := range append(keep, stale) {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := safefile.Replace(file, []byte("new"), safefile.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range keep {
		if _, err := os.Lstat(filepath.Join(dir, n)); err != nil {
			t.Errorf("%s was removed", n)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, stale)); err == nil {
		t.Errorf("%s is still there", stale)
	}
}

func TestLongNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// Two names that are equal up to where temporary names are cut.
	a, b := strings.Repeat("n", 250)+"a", strings.Repeat("n", 250)+"b"
	for _, n := range []string{a, b} {
		if err := safefile.CreateExclusive(filepath.Join(dir, n), []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := safefile.Acquire(t.Context(), filepath.Join(dir, a), safefile.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := safefile.Replace(filepath.Join(dir, b), []byte("new"), safefile.Options{}); err != nil {
		t.Errorf("the lock of one name locks another: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Errorf("second Release: %v", err)
	}
}

func TestStepString(t *testing.T) {
	t.Parallel()
	if got, want := (safefile.Step{Op: safefile.OpDirSync, Path: "/x"}).String(), "before dir-fsync /x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (safefile.Step{Op: safefile.OpRename, After: true, Path: "/x"}).String(), "after rename /x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
