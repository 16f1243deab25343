//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v2"
)

// editable is an auth config as a person writes it, with padding that makes a write take
// more than one page.
func editable(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# kept in git\nserver: {addr: \":5001\"}\ntoken: {issuer: Acme, expiration: 900, certificate: c.pem, key: k.pem}\nusers:\n")
	for i := range 200 {
		fmt.Fprintf(&b, "  user%d: # number %d\n    password: '$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC'\n", i, i)
	}
	b.WriteString("acl:\n  - match: {account: user0}\n    actions: ['*']\n")
	path := filepath.Join(dir, "auth-server.yml")
	mustWrite(t, path, []byte(b.String()), 0o600)
	return path
}

// usersOf reads the user names as docker_auth would.
func usersOf(t *testing.T, path string) map[string]bool {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Users map[string]any
		ACL   []any
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatalf("the file can't be read any more: %v\n%s", err, data)
	}
	if len(c.ACL) != 1 {
		t.Fatalf("the rules are gone: %d entries", len(c.ACL))
	}
	out := map[string]bool{}
	for name := range c.Users {
		out[name] = true
	}
	return out
}

// TestManyProcessesAddUsers: 64 processes add 64 users at once, and all 64 are there.
func TestManyProcessesAddUsers(t *testing.T) {
	const n = 64
	home := t.TempDir()
	path := editable(t, t.TempDir())
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			c := exec.CommandContext(t.Context(), program, "--config", path, "user", "add", fmt.Sprintf("new%d", i), "--generate", "--cost", "5")
			c.Env = environ(home)
			if out, err := c.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("%w: %s", err, out)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	users := usersOf(t, path)
	for i := range n {
		if name := fmt.Sprintf("new%d", i); !users[name] {
			t.Errorf("%s is lost", name)
		}
	}
	if len(users) != 200+n {
		t.Errorf("%d users, want %d", len(users), 200+n)
	}
	// Every line that was there is there, in its order.
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rest := after
	for _, line := range bytes.SplitAfter(before, []byte("\n")) {
		i := bytes.Index(rest, line)
		if i < 0 {
			t.Fatalf("the line %q is gone or out of order", line)
		}
		rest = rest[i+len(line):]
	}
}

// TestKilledEditsLeaveTheFileWhole: after a kill -9 at a random moment the file is the old one
// or the new one, and the next run leaves no temporary file. REGCTL_SETUP_SOAK=1 kills 1,000.
func TestKilledEditsLeaveTheFileWhole(t *testing.T) {
	kills := 60
	if os.Getenv("REGCTL_SETUP_SOAK") != "" {
		kills = 1000
	}
	home := t.TempDir()
	dir := t.TempDir()
	path := editable(t, dir)
	run := func(name string, after time.Duration) (finished bool) {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		c := exec.CommandContext(ctx, program, "--config", path, "user", "add", name, "--generate", "--cost", "5")
		c.Env = environ(home)
		return c.Run() == nil
	}
	begin := time.Now()
	if !run("calibration", time.Minute) {
		t.Fatal("an edit that nobody kills fails")
	}
	whole := time.Since(begin)
	old, fresh, finished := 0, 0, 0
	for i := range kills {
		before := usersOf(t, path)
		name := fmt.Sprintf("k%d", i)
		done := run(name, time.Duration(rand.Int64N(int64(whole)+1)))
		after := usersOf(t, path)
		switch {
		case after[name] && len(after) == len(before)+1:
			fresh++
		case !after[name] && len(after) == len(before):
			old++
		default:
			t.Fatalf("after kill %d: %d users before, %d after", i, len(before), len(after))
		}
		if done {
			finished++
			if !after[name] {
				t.Fatalf("run %d ended well and its user is not there", i)
			}
		}
	}
	if !run("last", time.Minute) {
		t.Fatal("the run after the kills fails")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*tmp*"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil {
		t.Fatal(err)
	}
	if left = append(left, hidden...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	t.Logf("%d runs: %d old, %d new, %d of them ended before the kill", kills, old, fresh, finished)
}

// TestFullDiskKeepsTheOldFile: on a full disk the old file is intact, the status is 3, and the
// message says why.
func TestFullDiskKeepsTheOldFile(t *testing.T) {
	if os.Getuid() != 0 {
		missing(t, "mounting a small tmpfs takes root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96k"); err != nil {
		missing(t, "mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	path := editable(t, dir)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := filler.Write(make([]byte, 4096)); err != nil {
			break // full
		}
	}
	_ = filler.Close()
	r := execute(t, "", environ(t.TempDir()), program, "--config", path, "user", "add", "late", "--generate", "--cost", "5")
	if r.status != 3 || !strings.Contains(r.stderr, "no space left") {
		t.Errorf("want status 3 and the reason, got %v", r)
	}
	if strings.TrimSpace(r.stdout) != "" {
		t.Errorf("a password was printed for a user that is not there: %s", r.stdout)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the old file is not intact: %v", err)
	}
	// With room again, it works, and nothing is left of the failure.
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	r = execute(t, "", environ(t.TempDir()), program, "--config", path, "user", "add", "late", "--generate", "--cost", "5")
	if r.status != 0 || !usersOf(t, path)["late"] {
		t.Errorf("with room again: %v", r)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}
