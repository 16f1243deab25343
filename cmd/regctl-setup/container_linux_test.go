package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildProgram builds the program as it is released: static, so that it runs in an empty
// folder.
func buildProgram(t *testing.T, path string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// TestServeLikeAContainer: process 1 of its own process and mount namespaces, in a root that
// holds nothing but the program, the config and the pair and can't be written, as a user whom
// no file knows, without environment and home.
func TestServeLikeAContainer(t *testing.T) {
	t.Parallel()
	switch {
	case testing.Short():
		t.Skip("-short: it builds the program")
	case os.Geteuid() != 0:
		t.Skip("not root: no namespaces and no other user to be had")
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "mount", "--make-rprivate", "/").CombinedOutput(); err != nil {
		t.Skipf("this machine has no namespaces to give: %v: %s", err, out)
	}
	config, addr := serverFolder(t, "@SERVER@"+strings.ReplaceAll(tokenSection, "@DIR@", "")+usersAndRules)
	root := filepath.Dir(config)
	buildProgram(t, filepath.Join(root, "regctl-setup"))
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"auth.yml", "key.pem", "cert.pem"} {
		if err := os.Chown(filepath.Join(root, name), 54321, 54321); err != nil {
			t.Fatal(err)
		}
	}
	inside := func(args ...string) (*program, *syncBuffer) {
		const script = `mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
			exec chroot --userspec=54321:54321 "$0" /regctl-setup "$@"`
		return start(t, func(c *exec.Cmd) {
			sh, err := exec.LookPath("sh")
			if err != nil {
				t.Fatal(err)
			}
			c.Path, c.Args = sh, append([]string{"sh", "-c", script, root}, args...)
			c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
		})
	}
	p, errOut := inside("serve", "/auth.yml")
	defer func() {
		if t.Failed() {
			t.Logf("the log:\n%s", errOut)
		}
	}()
	p.serving("tcp", addr, "http")
	if code, body, err := ask("tcp", addr, "http://"+addr+"/auth?service=r&scope=repository:a:push", "alice", "testing"); err != nil || code != 200 {
		t.Errorf("a token: %d %q, %v", code, body, err)
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t54321\t54321\t54321\t54321\n", "CapEff:\t0000000000000000\n", "\t1\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process is not what this test is about: no %q in\n%s", want, status)
		}
	}
	mounts, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Process.Pid), "mountinfo"))
	if err != nil || !strings.Contains(string(mounts), " / ro,") {
		t.Errorf("the root is not read-only: %v\n%s", err, mounts)
	}
	// The health check of a container runs in it.
	check, checkOut := inside("serve", "--check", "/auth.yml")
	if got := check.wait(30 * time.Second); got != 0 {
		t.Errorf("--check: exit status %d: %s", got, checkOut)
	}
	// A reload, of a file that is replaced from outside.
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(data, "# touched\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	eventually(t, "reloaded", func() bool { return health(t, addr).Config.Reloads >= 1 })
	p.signal(syscall.SIGTERM)
	if got := p.wait(30 * time.Second); got != 0 {
		t.Errorf("exit status %d after SIGTERM as process 1, want 0", got)
	}
}
