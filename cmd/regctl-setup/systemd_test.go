//go:build unix

package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// units is where the unit files are.
const units = "../../packaging/systemd"

// readUnit reads a unit file: section and key, and the values in their order.
func readUnit(t *testing.T, name string) map[string][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(units, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]string{}
	section := ""
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || section == "" {
				t.Fatalf("%s: %q is no assignment in a section", name, line)
			}
			out[section+"."+key] = append(out[section+"."+key], value)
		}
	}
	return out
}

func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	service := readUnit(t, "regctl-setup.service")
	for key, want := range map[string]string{
		"Service.Type": "notify", "Service.WatchdogSec": "30", "Service.LimitCORE": "0", "Service.User": "regctl-setup",
		"Service.ExecReload": "/bin/kill -HUP $MAINPID", "Service.NoNewPrivileges": "yes", "Service.ProtectSystem": "strict",
		"Service.ProtectHome": "yes", "Service.PrivateTmp": "yes", "Service.CapabilityBoundingSet": "", "Service.MemoryDenyWriteExecute": "yes",
		"Service.RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "Service.UMask": "0077",
	} {
		if got, ok := service[key]; !ok || len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	command := strings.Fields(strings.Join(service["Service.ExecStart"], " "))
	if len(command) != 3 || filepath.Base(command[0]) != "regctl-setup" || command[1] != "serve" || !filepath.IsAbs(command[2]) {
		t.Errorf("ExecStart %q", command)
	}
	if stop, err := time.ParseDuration(service["Service.TimeoutStopSec"][0] + "s"); err != nil || stop <= 11*time.Second {
		t.Errorf("TimeoutStopSec %v leaves no time to drain", stop)
	}
	if socket := readUnit(t, "regctl-setup.socket"); len(socket["Socket.ListenStream"]) != 1 || socket["Socket.SocketMode"][0] != "0660" {
		t.Errorf("socket unit %v", socket)
	}
	release, err := os.ReadFile("../../.goreleaser.yml")
	if err != nil || !strings.Contains(string(release), "packaging/systemd/*") {
		t.Errorf("the archives are made without the units: %v", err)
	}
}

// systemd's own opinion, where it is installed.
func TestSystemdAnalyze(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"regctl-setup.service", "regctl-setup.socket"} {
		data, err := os.ReadFile(filepath.Join(units, name))
		if err != nil {
			t.Fatal(err)
		}
		// verify wants the program to exist.
		data = []byte(strings.ReplaceAll(string(data), "/usr/local/bin/regctl-setup", "/bin/sh"))
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unit := filepath.Join(dir, "regctl-setup.service")
	out, err := exec.CommandContext(t.Context(), analyze, "verify", unit, filepath.Join(dir, "regctl-setup.socket")).CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// 10 is a service without any sandbox; the threshold is in tenths.
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", unit).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: exposure above 2.0: %v\n%.2000s", err, out)
	}
}

// notifySocket is the service manager's end of NOTIFY_SOCKET.
func notifySocket(t *testing.T, dir string) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return path, func() string {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("no notification: %v", err)
		}
		return string(buf[:n])
	}
}

// TestSystemdNotify: the service manager hears of the start, of reloads, good and bad, of
// each self-check, and of the end.
func TestSystemdNotify(t *testing.T) {
	t.Parallel()
	config, _ := serverFolder(t, plainConfig)
	path, next := notifySocket(t, filepath.Dir(config))
	p, _ := start(t, func(c *exec.Cmd) {
		c.Env = append(os.Environ(), "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=400000")
	}, "serve", config)
	// until returns the next notification that is not about the watchdog.
	alive := 0
	until := func() string {
		t.Helper()
		for {
			if s := next(); s != "WATCHDOG=1" {
				return s
			}
			alive++
		}
	}
	expect := func(what, want string) {
		t.Helper()
		if got := until(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: notified %q, want %q", what, got, want)
		}
	}
	expect("start", "READY=1\nSTATUS=serving 2 users and 2 entries of ")
	for range 3 { // twice in 400 ms
		if got := next(); got != "WATCHDOG=1" {
			t.Errorf("notified %q, want the watchdog", got)
		}
	}
	p.signal(syscall.SIGHUP)
	expect("SIGHUP", "RELOADING=1\n")
	expect("reloaded", "READY=1\nSTATUS=serving ")
	if err := os.WriteFile(config, []byte("nonsense: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	expect("SIGHUP", "RELOADING=1\n")
	expect("a bad file", "READY=1\nSTATUS=the reload failed, the old configuration stays in force")
	p.signal(syscall.SIGTERM)
	expect("SIGTERM", "STOPPING=1")
	if got := p.wait(10 * time.Second); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
}

// TestSystemdSockets: inherited sockets are served, TCP and unix, and stay the manager's.
func TestSystemdSockets(t *testing.T) {
	t.Parallel()
	config, addr := serverFolder(t, plainConfig)
	dir := filepath.Dir(config)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "regctl-setup")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	socket := filepath.Join(dir, "managed.sock")
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	tcpFile, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcpFile.Close()
	unixFile, err := unix.File()
	if err != nil {
		t.Fatal(err)
	}
	defer unixFile.Close()
	path, next := notifySocket(t, dir)
	// LISTEN_PID is the service's own process id, which a shell knows before it becomes it.
	p, errOut := start(t, func(c *exec.Cmd) {
		c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, link, "serve", config}
		c.ExtraFiles = []*os.File{tcpFile, unixFile}
		c.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=tcp:unix", "NOTIFY_SOCKET="+path)
	})
	if got := next(); !strings.HasPrefix(got, "READY=1") {
		t.Fatalf("notified %q", got)
	}
	for _, at := range []struct{ network, addr string }{{"tcp", tcp.Addr().String()}, {"unix", socket}} {
		if code, _, err := ask(at.network, at.addr, "http://x/auth?service=r", "alice", "testing"); err != nil || code != 200 {
			t.Errorf("over %s: %d, %v\n%s", at.addr, code, err, errOut)
		}
	}
	if _, _, err := ask("tcp", addr, "http://"+addr+"/healthz", "", ""); err == nil {
		t.Error("server.addr is open, too")
	}
	p.signal(syscall.SIGTERM)
	if got := p.wait(10 * time.Second); got != 0 {
		t.Errorf("exit status %d, want 0\n%s", got, errOut)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the manager's socket is gone: %v", err)
	}
}

// Wrong environments stop the start: a service that nobody can reach must not look started.
func TestSystemdWrongEnvironment(t *testing.T) {
	t.Parallel()
	config, _ := serverFolder(t, plainConfig)
	p, errOut := start(t, func(c *exec.Cmd) {
		c.Env = append(os.Environ(), "NOTIFY_SOCKET=/nowhere/notify")
	}, "serve", config)
	if got := p.wait(10 * time.Second); got != 3 || !strings.Contains(errOut.String(), `NOTIFY_SOCKET "/nowhere/notify"`) {
		t.Errorf("exit status %d, want 3: %s", got, errOut)
	}
}
