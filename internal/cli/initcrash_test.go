//go:build unix

package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
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

	"github.com/regctl-setup/regctl-setup/internal/iostreams"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// crashEnv makes the test binary run the command line of its arguments and kill itself
// before the step with that number, from 0; "count" writes the number of steps to stderr.
const crashEnv = "REGCTL_SETUP_TEST_KILL_AT"

func TestMain(m *testing.M) {
	if at := os.Getenv(crashEnv); at != "" {
		os.Exit(crashingMain(at))
	}
	os.Exit(m.Run())
}

func crashingMain(at string) int {
	n, err := strconv.Atoi(at)
	if err != nil {
		n = -1
	}
	steps := 0
	hook := func(s safefile.Step) error {
		if s.After {
			return nil
		}
		if steps == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		steps++
		return nil
	}
	status := Run(context.Background(), Deps{IO: iostreams.System(), Now: time.Now, Rand: rand.Reader, FS: safefile.FS{Hook: hook}}, os.Args)
	if n < 0 {
		_, _ = os.Stderr.WriteString("\nsteps=" + strconv.Itoa(steps) + "\n")
	}
	return status
}

// command runs the command line in a process of its own.
func command(t *testing.T, killAt string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), crashEnv+"="+killAt)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// snapshotOf returns the content of every file below dir, but for locks and the history.
func snapshotOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || d.IsDir() || strings.HasSuffix(p, ".lock") || strings.HasPrefix(rel, "state/history") {
			return err
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

func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "d")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "conf", "keys", "server.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestInitKilledAtEveryStep kills a second run of init before steps that it takes on the
// disk, spread over all of them. The next command, of any kind, must leave all files old or all new, say so
// when it had to do something, and leave nothing else behind.
func TestInitKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	first := filepath.Join(t.TempDir(), "d")
	if _, stderr, err := command(t, "count", "init", first, "--yes", "--key-type", "rsa-2048"); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	// A hand-edited file makes the run write a backup too.
	caddyfile := filepath.Join(first, "conf", "caddy", "Caddyfile")
	if err := os.WriteFile(caddyfile, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := func(dir string) []string {
		return []string{"init", dir, "--yes", "--force", "--domain", "registry.test", "--expiration", "1800", "--cache-domain", "hub.test"}
	}
	whole := copyTree(t, first)
	_, stderr, err := command(t, "count", args(whole)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	_, number, _ := strings.Cut(stderr, "\nsteps=")
	steps, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || steps < 30 {
		t.Fatalf("%d steps (%v)", steps, err)
	}
	old := snapshotOf(t, first)
	stride := 7 // every step with REGCTL_SETUP_SOAK=1
	if os.Getenv("REGCTL_SETUP_SOAK") == "1" {
		stride = 1
	}
	var rolledBack, finished, untouched int
	for n := 0; n < steps; n += stride {
		dir := copyTree(t, first)
		_, _, err := command(t, strconv.Itoa(n), args(dir)...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: not killed: %v", n, err)
		}
		_, said, err := command(t, "count", "-C", dir, "user", "list")
		if err != nil {
			t.Fatalf("killed at step %d, then user list: %v\n%s", n, err, said)
		}
		got := snapshotOf(t, dir)
		isOld := got["regctl-setup.yaml"] == old["regctl-setup.yaml"]
		for path, text := range got {
			_, was := old[path]
			switch {
			case strings.HasPrefix(path, "audit/"): // the intent stands there before anything is written
			case isOld && !was:
				t.Errorf("killed at step %d: %s was left behind", n, path)
			case isOld && text != old[path]:
				t.Errorf("killed at step %d: %s is new, the answers are old", n, path)
			case strings.Contains(path, ".regctl-setup-") && !strings.Contains(path, ".regctl-setup-backup-"):
				t.Errorf("killed at step %d: %s was left behind", n, path)
			}
		}
		switch {
		case strings.Contains(said, "is finished"):
			finished++
			if isOld {
				t.Errorf("killed at step %d: said finished, and the answers are old", n)
			}
		case strings.Contains(said, "is rolled back"):
			rolledBack++
			if !isOld {
				t.Errorf("killed at step %d: said rolled back, and the answers are new", n)
			}
		default:
			untouched++
		}
		if !isOld {
			for _, path := range []string{".env", "conf/caddy/Caddyfile", "conf/registry/config.yml", "conf/cache/config.yml", "state/generated.json"} {
				if !strings.Contains(got[path], "registry.test") {
					t.Errorf("killed at step %d: %s is old, the answers are new", n, path)
				}
			}
		}
		if _, said, err := command(t, "count", "init", dir, "--dry-run"); err != nil && !isOld {
			t.Errorf("killed at step %d: the next init --dry-run: %v\n%s", n, err, said)
		}
	}
	t.Logf("%d steps: rolled back %d times, finished %d times, nothing to do %d times", steps, rolledBack, finished, untouched)
	if rolledBack == 0 || finished == 0 {
		t.Errorf("rolled back %d times, finished %d times: the sweep did not cross the change", rolledBack, finished)
	}
}

// TestInitNewKilledAtEveryStep kills the first run of init before steps that it takes on the
// disk, spread over all of them. The folder is then whole or absent, or, where it can't be
// renamed into place, finished or removed by the next command, which says so.
func TestInitNewKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(t *testing.T) string // the folder, for init
		in   bool                      // init runs in it
	}{
		{"a new folder", func(t *testing.T) string { return filepath.Join(t.TempDir(), "d") }, false},
		{"the working directory", func(t *testing.T) string { return t.TempDir() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run := func(dir, killAt string) (string, error) {
				exe, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				target := dir
				cmd := exec.CommandContext(t.Context(), exe)
				if tt.in {
					cmd.Dir, target = dir, "."
				}
				cmd.Args = append(cmd.Args, "init", target, "--yes", "--key-type", "rsa-2048")
				cmd.Env = append(os.Environ(), crashEnv+"="+killAt)
				var errOut bytes.Buffer
				cmd.Stderr = &errOut
				err = cmd.Run()
				return errOut.String(), err
			}
			dir := tt.make(t)
			said, err := run(dir, "count")
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			_, number, _ := strings.Cut(said, "\nsteps=")
			steps, err := strconv.Atoi(strings.TrimSpace(number))
			if err != nil || steps < 30 {
				t.Fatalf("%d steps (%v)", steps, err)
			}
			whole := sortedKeys(snapshotOf(t, dir))
			stride := steps/8 + 1
			if os.Getenv("REGCTL_SETUP_SOAK") == "1" {
				stride = 1
			}
			var absent, complete, reported int
			for n := steps - 1; n >= 0; n -= stride {
				dir := tt.make(t)
				_, err := run(dir, strconv.Itoa(n))
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("step %d: not killed: %v", n, err)
				}
				left := safefile.Leftovers(dir)
				_, gone := os.Stat(dir)
				there := gone == nil && !tt.in
				if there {
					if got := sortedKeys(snapshotOf(t, dir)); !slices.Equal(got, whole) {
						t.Errorf("killed at step %d: a part of the folder: %q", n, got)
					}
				}
				said, err := run(dir, "count")
				if err != nil {
					t.Fatalf("killed at step %d, then init: %v\n%s", n, err, said)
				}
				if got := sortedKeys(snapshotOf(t, dir)); !slices.Equal(got, whole) {
					t.Errorf("killed at step %d, then init: it holds %q", n, got)
				}
				if rest := safefile.Leftovers(dir); len(rest) > 0 {
					t.Errorf("killed at step %d, then init: %q is left", n, rest)
				}
				switch {
				case strings.Contains(said, "interrupted"):
					reported++
				case len(left) > 0:
					t.Errorf("killed at step %d: %q was removed without a word:\n%s", n, left, said)
				}
				if strings.Contains(said, "nothing to do") {
					complete++
				} else {
					absent++
				}
			}
			t.Logf("%d steps: whole %d times, absent %d times, said so %d times", steps, complete, absent, reported)
			if absent == 0 || reported == 0 {
				t.Errorf("absent %d times, said so %d times: the sweep did not cross the writing", absent, reported)
			}
		})
	}
}

// TestInitWriteErrors makes every step fail as disks do: the command says what
// is wrong, and no file is lost.
func TestInitWriteErrors(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	if _, stderr, err := command(t, "count", "init", dir, "--yes", "--key-type", "rsa-2048"); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	old := snapshotOf(t, dir)
	for _, tt := range []struct {
		fault error
		op    safefile.Op
		want  string
	}{
		{syscall.ENOSPC, safefile.OpWrite, "the disk is full"},
		{syscall.ENOSPC, safefile.OpSync, "the disk is full"},
		{syscall.EROFS, safefile.OpCreate, "read-only"},
		{syscall.EACCES, safefile.OpCreate, "permi"},
		{syscall.EIO, safefile.OpRename, "input/output error"},
	} {
		t.Run(tt.fault.Error()+" "+string(tt.op), func(t *testing.T) {
			hook := func(s safefile.Step) error {
				if s.Op == tt.op && !s.After {
					return tt.fault
				}
				return nil
			}
			streams, _, errOut := iostreams.Test("")
			status := Run(t.Context(), Deps{IO: streams, Now: time.Now, Rand: rand.Reader, FS: safefile.FS{Hook: hook}},
				[]string{"regctl-setup", "init", dir, "--yes", "--expiration", "1800"})
			if status != exitFailure || !strings.Contains(errOut.String(), tt.want) {
				t.Errorf("status %d, want %d and %q in:\n%s", status, exitFailure, tt.want, errOut.String())
			}
			got := snapshotOf(t, dir)
			for path, text := range old {
				if got[path] != text {
					t.Errorf("%s changed", path)
				}
			}
		})
	}
	if _, said, err := command(t, "count", "init", dir, "--yes", "--expiration", "1800"); err != nil {
		t.Errorf("after the faults: %v\n%s", err, said)
	}
}
