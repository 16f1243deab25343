//go:build unix

package sdnotify_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/sdnotify"
)

// env is an environment of its own.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// socket is a manager's end of NOTIFY_SOCKET.
func socket(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestNotifications(t *testing.T) {
	t.Parallel()
	names := []string{filepath.Join(shortDir(t), "notify")}
	if runtime.GOOS == "linux" {
		names = append(names, "@regctl-setup-test-"+strconv.Itoa(os.Getpid()))
	}
	for _, name := range names {
		c := socket(t, name)
		m, err := sdnotify.Connect(env("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "3000000", "WATCHDOG_PID", strconv.Itoa(os.Getpid())))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.WatchdogInterval(); got != 1500*time.Millisecond {
			t.Errorf("watchdog every %v, want half of 3 s", got)
		}
		reloading := `^RELOADING=1$`
		if runtime.GOOS == "linux" {
			reloading = `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$`
		}
		for _, tt := range []struct {
			send func() error
			want string
		}{
			{func() error { return m.Ready("serving\nMAINPID=1\x7f") }, `^READY=1\nSTATUS=serving MAINPID=1 $`},
			{m.Reloading, reloading},
			{m.Alive, `^WATCHDOG=1$`},
			{func() error { return m.Status("well") }, `^STATUS=well$`},
			{m.Stopping, `^STOPPING=1$`},
		} {
			if err := tt.send(); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, c); !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("%s: sent %q, want %s", name, got, tt.want)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	m, err := sdnotify.Connect(env())
	if m != nil || err != nil {
		t.Fatalf("without NOTIFY_SOCKET: %v, %v", m, err)
	}
	if m.Ready("x") != nil || m.Stopping() != nil || m.Close() != nil || m.WatchdogInterval() != 0 {
		t.Error("a nil manager does something")
	}
	name := filepath.Join(shortDir(t), "notify")
	socket(t, name)
	for _, tt := range []struct {
		what string
		env  func(string) string
		want string // of the error; "": none
		wd   time.Duration
	}{
		{"nobody there", env("NOTIFY_SOCKET", name+"2"), "notify2", 0},
		{"another kind of address", env("NOTIFY_SOCKET", "vsock:2:1"), "vsock", 0},
		{"no watchdog", env("NOTIFY_SOCKET", name), "", 0},
		{"somebody else's watchdog", env("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "2000000", "WATCHDOG_PID", "1"), "", 0},
		{"anybody's watchdog", env("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "2000000"), "", time.Second},
		{"nonsense", env("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "soon"), "WATCHDOG_USEC", 0},
		{"negative", env("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "-5"), "WATCHDOG_USEC", 0},
	} {
		m, err := sdnotify.Connect(tt.env)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.what, err, tt.want)
		}
		if got := m.WatchdogInterval(); got != tt.wd {
			t.Errorf("%s: watchdog every %v, want %v", tt.what, got, tt.wd)
		}
		_ = m.Close()
	}
}

func TestListenersOfOthers(t *testing.T) {
	t.Parallel()
	for _, e := range []func(string) string{env(), env("LISTEN_PID", "1", "LISTEN_FDS", "1")} {
		if ls, err := sdnotify.Listeners(e, 4711); ls != nil || err != nil {
			t.Errorf("%v, %v; want none", ls, err)
		}
	}
	for _, n := range []string{"", "x", "-1", "100000"} {
		if _, err := sdnotify.Listeners(env("LISTEN_PID", "4711", "LISTEN_FDS", n), 4711); err == nil || !strings.Contains(err.Error(), "LISTEN_FDS") {
			t.Errorf("LISTEN_FDS=%q: %v", n, err)
		}
	}
}
