//go:build unix

package safefile_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

func soak() bool { return os.Getenv("REGCTL_SETUP_SOAK") == "1" }

// TestG2KillAtEveryStep kills a process at every step of every operation. The next
// command must find the old state or the new one, and leave nothing else.
func TestG2KillAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, op := range operations() {
		if op.prepare == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := countSteps(t, op)
			total := len(steps)
			if total < 10 {
				t.Fatalf("only %d steps", total)
			}
			var old, fresh int
			for n, step := range steps {
				if step.After && n < total-1 && !soak() {
					continue // as good as "before the next one"
				}
				dir := t.TempDir()
				if err := op.prepare(dir); err != nil {
					t.Fatal(err)
				}
				killChild(t, name, dir, n)
				next(t, op, dir)
				got := look(t, dir)
				dropLocks(got)
				dropEmptyState(got)
				switch {
				case equal(got, op.old):
					old++
				case equal(got, op.fresh):
					fresh++
				default:
					t.Errorf("killed at step %d: neither old nor new: %s", n, names(got))
				}
			}
			t.Logf("%d steps: old %d times, new %d times", total, old, fresh)
			if !equal(op.old, op.fresh) && (old == 0 || fresh == 0 && name != "undo") {
				t.Errorf("old %d times, new %d times: the sweep did not cross the change", old, fresh)
			}
		})
	}
}

// killChild runs operation name on dir in a process that dies at step n.
func killChild(t *testing.T, name, dir string, n int) {
	t.Helper()
	err := child(t.Context(), t, "kill", name, dir, fmt.Sprint(n)).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("step %d: child was not killed: %v", n, err)
	}
}

func next(t *testing.T, op operation, dir string) {
	t.Helper()
	if err := op.next(dir); err != nil {
		t.Fatalf("next command: %v", err)
	}
}

// TestKillRecovery kills a recovery, too, at every step, of a journal killed at a step of its own.
func TestKillRecovery(t *testing.T) {
	t.Parallel()
	ops := operations()
	op := ops["journal"]
	steps := countSteps(t, op)
	for n := range steps {
		if n%11 != 0 && !soak() {
			continue
		}
		for m := 0; ; m++ {
			if m%7 != n%7 && !soak() {
				continue
			}
			dir := t.TempDir()
			if err := op.prepare(dir); err != nil {
				t.Fatal(err)
			}
			killChild(t, "journal", dir, n)
			before := look(t, dir)
			err := child(t.Context(), t, "kill", "recover", dir, fmt.Sprint(m)).Run()
			next(t, op, dir)
			got := look(t, dir)
			dropLocks(got)
			dropEmptyState(got)
			if !equal(got, op.old) && !equal(got, op.fresh) {
				t.Fatalf("killed at step %d (%v), recovery killed at %d: %s\nbefore: %s", n, steps[n], m, names(got), names(before))
			}
			if err == nil {
				break // the recovery has fewer steps than m
			}
		}
	}
}

// TestG3FaultAtEveryStep makes every step fail with every error that disks give. What is on disk must
// be old or new, what the operation says must be true, and nothing may lie around.
func TestG3FaultAtEveryStep(t *testing.T) {
	t.Parallel()
	faults := []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EACCES, syscall.EBUSY}
	for name, op := range operations() {
		if op.prepare == nil || name == "undo" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := countSteps(t, op)
			for i, fault := range faults {
				for n, step := range steps {
					if step.After || len(steps) > 50 && (n/2)%len(faults) != i && !soak() {
						continue
					}
					dir := t.TempDir()
					if err := op.prepare(dir); err != nil {
						t.Fatal(err)
					}
					before := look(t, dir)
					count := 0
					err := op.run(safefile.FS{Hook: func(safefile.Step) error {
						defer func() { count++ }()
						if count == n {
							return fault
						}
						return nil
					}}, dir)
					got := look(t, dir)
					var (
						durability *safefile.DurabilityError
						explained  *safefile.Error
					)
					where := fmt.Sprintf("%v at step %d, %v", fault, n, step.Op)
					switch {
					case err == nil || errors.As(err, &durability):
						if err != nil && step.Op != safefile.OpDirSync {
							t.Errorf("%s: durability error: %v", where, err)
						}
						want := op.fresh
						if name == "create" {
							want = map[string]string{"f": bigNew}
						}
						if step.Op == safefile.OpRemove {
							// What could not be removed stays for the next command.
							next(t, op, dir)
							got, want = look(t, dir), op.fresh
							dropEmptyState(got)
						}
						if !equal(got, want) {
							t.Errorf("%s: said done, but the folder has %s", where, names(got))
						}
					case errors.As(err, &explained) && strings.Contains(explained.Hint(), "the next command"):
						next(t, op, dir)
						if got := look(t, dir); !equal(got, op.old) && !equal(got, op.fresh) {
							t.Errorf("%s: %v; then %s", where, err, names(got))
						}
					default:
						if !errors.Is(err, fault) {
							t.Errorf("%s: error hides its cause: %v", where, err)
						}
						if !equal(got, before) {
							t.Errorf("%s: said %v, but the folder has %s", where, err, names(got))
						}
					}
				}
			}
		})
	}
}

// dropLocks takes out the lock files of killed processes. Nobody holds them; the next change of the
// file uses and removes them.
func dropLocks(got map[string]string) {
	for name := range got {
		if strings.HasSuffix(name, ".lock") && strings.HasPrefix(got[name], "process ") {
			delete(got, name)
		}
	}
}

// dropEmptyState takes out the journal's own folders where they are empty: they do no harm.
func dropEmptyState(got map[string]string) {
	for _, d := range []string{"state/journal/", "state/"} {
		for _, top := range []string{"", "d/"} {
			empty := true
			for name := range got {
				if name != top+d && strings.HasPrefix(name, top+d) {
					empty = false
				}
			}
			if empty && (d != "state/" || top == "") {
				delete(got, top+d)
			}
		}
	}
}

// TestKillAtRandomMoments kills a process that writes without pause. 50 times, or 1,000 with
// REGCTL_SETUP_SOAK=1.
func TestKillAtRandomMoments(t *testing.T) {
	t.Parallel()
	rounds := 50
	if soak() {
		rounds = 1000
	}
	if testing.Short() {
		rounds = 10
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, counter(0), 0o600); err != nil {
		t.Fatal(err)
	}
	last := 0
	for round := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := child(ctx, t, "loop", file)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var b [6]byte
		if _, err := out.Read(b[:]); err != nil {
			t.Fatalf("child is not ready: %v", err)
		}
		timer := time.NewTimer(rand.N(20 * time.Millisecond))
		<-timer.C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		cancel()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n, err := checkCounter(data)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if n < last {
			t.Fatalf("round %d: counter went from %d back to %d", round, last, n)
		}
		last = n
		if _, err := safefile.Transform(t.Context(), file, func(old []byte) ([]byte, error) { return old, nil }, safefile.TransformOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := look(t, dir); len(got) != 1 {
			t.Fatalf("round %d: left after the next run: %s", round, names(got))
		}
	}
	if last == 0 {
		t.Error("no child ever wrote")
	}
	t.Logf("%d kills, %d writes", rounds, last)
}
