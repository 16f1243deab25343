//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// ran is what a run of the program came to.
type ran struct {
	status int
	said   string // both streams
}

// runs starts the commands at once, as processes of their own, and waits for all.
func runs(t *testing.T, commands ...*exec.Cmd) []ran {
	t.Helper()
	said := make([]bytes.Buffer, len(commands))
	for i, c := range commands {
		c.Stdout, c.Stderr = &said[i], &said[i]
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]ran, len(commands))
	for i, c := range commands {
		var ended *exec.ExitError
		if err := c.Wait(); err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		out[i] = ran{c.ProcessState.ExitCode(), said[i].String()}
	}
	return out
}

// initCommand is init in dir, without questions.
func initCommand(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), "regctl-setup", append([]string{"init", dir, "--yes", "--key-type", "rsa-2048"}, args...)...)
}

// filesOf returns the content of every file below dir, but for locks.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, ".lock") {
			return err
		}
		data, err := os.ReadFile(p)
		out[strings.TrimPrefix(p, dir)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestInitAtOnceInANewFolder: of several, one writes; the others say that it was faster.
func TestInitAtOnceInANewFolder(t *testing.T) {
	t.Parallel()
	refused := 0
	for range 5 {
		dir := filepath.Join(t.TempDir(), "d")
		won := 0
		for _, r := range runs(t, initCommand(t, dir), initCommand(t, dir), initCommand(t, dir)) {
			switch {
			case r.status == 0 && strings.Contains(r.said, "Wrote the deployment"):
				won++
			case r.status == 1 && strings.Contains(r.said, "was faster; nothing of this run is written"):
				refused++
			case r.status == 0 && strings.Contains(r.said, "nothing to do"): // it began later
			default:
				t.Errorf("exit status %d:\n%s", r.status, r.said)
			}
		}
		if won != 1 {
			t.Errorf("%d runs wrote the folder", won)
		}
		if again := runs(t, initCommand(t, dir, "--dry-run"))[0]; again.status != 0 {
			t.Errorf("the folder is not whole: exit status %d:\n%s", again.status, again.said)
		}
		if refused > 0 {
			return
		}
	}
	t.Error("the runs never met: nobody was refused")
}

// TestInitAtOnceInADeployment: of several with the same answer, one writes; the others say
// that it is done. Different answers follow each other.
func TestInitAtOnceInADeployment(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	if r := runs(t, initCommand(t, dir))[0]; r.status != 0 {
		t.Fatal(r.said)
	}
	wrote := 0
	for _, r := range runs(t, initCommand(t, dir, "--user", "bob"), initCommand(t, dir, "--user", "bob"), initCommand(t, dir, "--user", "bob")) {
		switch {
		case r.status != 0:
			t.Errorf("exit status %d:\n%s", r.status, r.said)
		case strings.Contains(r.said, "Changed the deployment"):
			wrote++
		case !strings.Contains(r.said, "nothing to do"):
			t.Errorf("neither written nor done:\n%s", r.said)
		case strings.Contains(r.said, "each password is shown"):
			t.Errorf("a password that is nobody's is shown:\n%s", r.said)
		}
	}
	if wrote != 1 {
		t.Errorf("%d runs wrote the same answer", wrote)
	}
	for _, r := range runs(t, initCommand(t, dir, "--team", "a"), initCommand(t, dir, "--team", "b"), initCommand(t, dir, "--expiration", "30m")) {
		if r.status != 0 {
			t.Errorf("exit status %d:\n%s", r.status, r.said)
		}
	}
	text := filesOf(t, dir)
	for _, want := range []string{"name: a", "name: b", "expiration: 1800"} {
		if !strings.Contains(text["/regctl-setup.yaml"], want) {
			t.Errorf("%s is lost:\n%s", want, text["/regctl-setup.yaml"])
		}
	}
	for _, want := range []string{"expiration: 1800", "'bob'"} {
		if !strings.Contains(text["/conf/auth/auth-server.yml"], want) {
			t.Errorf("%s is lost:\n%s", want, text["/conf/auth/auth-server.yml"])
		}
	}
}

// anybody returns a way to run commands as a user whom file modes bind: root's own runs
// are not. The program lies where that user can read it.
func anybody(t *testing.T) func(*exec.Cmd) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		return func(c *exec.Cmd) *exec.Cmd { return c }
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	program := filepath.Join(openDir(t), "regctl-setup")
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return func(c *exec.Cmd) *exec.Cmd {
		c.Path = program
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return c
	}
}

// openDir is a temporary folder that every user can get to.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// nobody is a user that no system gives files to.
const nobody = 65534

// TestInitInAReadOnlyFolder: nothing can be written, which is said; nothing is lost.
func TestInitInAReadOnlyFolder(t *testing.T) {
	t.Parallel()
	as := anybody(t)
	parent := openDir(t)
	if os.Geteuid() == 0 {
		if err := os.Chown(parent, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(parent, "d")
	if r := runs(t, as(initCommand(t, dir)))[0]; r.status != 0 {
		t.Fatal(r.said)
	}
	lock := func(mode fs.FileMode) {
		for _, p := range []string{parent, dir, filepath.Join(dir, "state"), filepath.Join(dir, "conf", "caddy"), filepath.Join(dir, "conf", "auth")} {
			if err := os.Chmod(p, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := filesOf(t, dir)
	lock(0o555)
	t.Cleanup(func() { lock(0o755) })
	for _, c := range []*exec.Cmd{initCommand(t, dir, "--domain", "10.0.0.7"), initCommand(t, filepath.Join(parent, "other"))} {
		r := runs(t, as(c))[0]
		if r.status != 3 || !strings.Contains(r.said, "permission") || !strings.Contains(r.said, "hint: ") {
			t.Errorf("%q: exit status %d, want 3, why, and what to do:\n%s", c.Args, r.status, r.said)
		}
	}
	if got := filesOf(t, dir); !maps.Equal(got, before) {
		t.Errorf("the folder holds %q, before %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(before)))
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("beside the deployment: %v (%v)", entries, err)
	}
	lock(0o755)
	if r := runs(t, as(initCommand(t, dir, "--domain", "10.0.0.7")))[0]; r.status != 0 {
		t.Errorf("writable again: exit status %d:\n%s", r.status, r.said)
	}
}

// smallDisk mounts a disk of so many KiB.
func smallDisk(t *testing.T, kib string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+kib+"k,mode=0755"); err != nil {
		t.Skipf("SKIPPED, the full disk is not tested here: a disk of its own can't be mounted (%v); run as root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestInitOnAFullDisk: what does not fit is not begun, or taken back, and it is said.
func TestInitOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "160")
	small := smallDisk(t, "24")
	for _, dir := range []string{small, filepath.Join(small, "new")} {
		r := runs(t, initCommand(t, dir))[0]
		if r.status != 3 || !strings.Contains(r.said, "the disk is full") || !strings.Contains(r.said, "hint: ") {
			t.Errorf("init %s: exit status %d, want 3, why, and what to do:\n%s", dir, r.status, r.said)
		}
		if entries, err := os.ReadDir(small); err != nil || len(entries) > 0 {
			t.Errorf("init %s left %v (%v)", dir, entries, err)
		}
	}

	dir := filepath.Join(disk, "d")
	if r := runs(t, initCommand(t, dir))[0]; r.status != 0 {
		t.Fatal(r.said)
	}
	before := filesOf(t, dir)
	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r := runs(t, initCommand(t, dir, "--domain", "10.0.0.7"))[0]
	if r.status != 3 || !strings.Contains(r.said, "the disk is full") || !strings.Contains(r.said, "hint: ") {
		t.Errorf("exit status %d, want 3, why, and what to do:\n%s", r.status, r.said)
	}
	got := filesOf(t, dir)
	delete(got, "/audit/lock") // the log of the change was begun, and holds no line
	if !maps.Equal(got, before) {
		t.Errorf("the folder holds %q, before %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(before)))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if r := runs(t, initCommand(t, dir, "--domain", "10.0.0.7"))[0]; r.status != 0 {
		t.Errorf("with room again: exit status %d:\n%s", r.status, r.said)
	}
}
