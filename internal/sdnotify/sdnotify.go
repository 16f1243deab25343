// Package sdnotify speaks systemd's protocols for services: state notifications
// (sd_notify(3)), the watchdog (sd_watchdog_enabled(3)) and sockets that the manager has
// opened (sd_listen_fds(3)). They are a few variables and datagrams, and other service
// managers speak them too.
//
//	m, err := sdnotify.Connect(os.Getenv)
//	if err != nil { … }
//	listeners, err := sdnotify.Listeners(os.Getenv, os.Getpid())
//	…
//	m.Ready("serving on 127.0.0.1:5001")
//	if every := m.WatchdogInterval(); every > 0 { … m.Alive() … }
//	m.Stopping()
//
// A nil [Manager], which Connect returns where nobody asked for notifications, takes
// everything and sends nothing.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// firstFD is the first inherited socket (SD_LISTEN_FDS_START).
const firstFD = 3

// maxFDs bounds LISTEN_FDS.
const maxFDs = 256

// Variables are the names of what the manager sets in a service's environment. It concerns
// the process that it was set for: that one's own children must not inherit it.
func Variables() []string {
	return []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
}

// Manager is the service manager that started this process. It is safe for concurrent use.
type Manager struct {
	conn     net.Conn
	watchdog time.Duration
}

// Connect reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Without the first the manager
// is nil.
func Connect(getenv func(string) string) (*Manager, error) {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil //nolint:nilnil // a nil Manager is one that does nothing
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q: neither a path nor an abstract socket", path)
	}
	// net takes the @ of an abstract socket as systemd means it.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q: %w", path, err)
	}
	m := &Manager{conn: conn}
	usec := getenv("WATCHDOG_USEC")
	if pid := getenv("WATCHDOG_PID"); usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m, nil
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(24*time.Hour/time.Microsecond) {
		_ = conn.Close()
		return nil, fmt.Errorf("WATCHDOG_USEC %q: expected microseconds, up to a day", usec)
	}
	m.watchdog = time.Duration(n) * time.Microsecond
	return m, nil
}

// WatchdogInterval is how often [Manager.Alive] is to be called: half of the time after which
// the manager takes the process for hung. Zero: never.
func (m *Manager) WatchdogInterval() time.Duration {
	if m == nil {
		return 0
	}
	return m.watchdog / 2
}

// Ready says that the service is up, at the start and after [Manager.Reloading]; status is a
// sentence for people.
func (m *Manager) Ready(status string) error { return m.send("READY=1", status) }

// Reloading says that the configuration is being loaded again; Ready ends it.
func (m *Manager) Reloading() error {
	state := "RELOADING=1"
	if at, ok := monotonic(); ok { // Type=notify-reload wants to know which SIGHUP this is about
		state += "\nMONOTONIC_USEC=" + strconv.FormatInt(at.Microseconds(), 10)
	}
	return m.send(state, "")
}

// Stopping says that the service ends.
func (m *Manager) Stopping() error { return m.send("STOPPING=1", "") }

// Alive resets the watchdog.
func (m *Manager) Alive() error { return m.send("WATCHDOG=1", "") }

// Status changes the sentence for people.
func (m *Manager) Status(status string) error { return m.send("", status) }

// Close ends the connection.
func (m *Manager) Close() error {
	if m == nil {
		return nil
	}
	return m.conn.Close()
}

// send sends one datagram of assignments. A manager that takes no datagrams must not hold up
// the service: it has a second.
func (m *Manager) send(state, status string) error {
	if m == nil {
		return nil
	}
	if status != "" {
		// A newline would begin another assignment.
		line := "STATUS=" + strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, status)
		if state != "" {
			state += "\n"
		}
		state += line
	}
	_ = m.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := m.conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// Listeners returns the sockets that the manager has opened for the process pid (LISTEN_PID
// and LISTEN_FDS), TCP and unix; none where LISTEN_PID is another process or not set. They
// may be asked for once: the file descriptors belong to the listeners from then on.
func Listeners(getenv func(string) string, pid int) ([]net.Listener, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > maxFDs {
		return nil, fmt.Errorf("LISTEN_FDS %q: expected a number up to %d", getenv("LISTEN_FDS"), maxFDs)
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	var out []net.Listener
	var errs []error
	for i := range n {
		name := "fd " + strconv.Itoa(firstFD+i)
		if i < len(names) && names[i] != "" {
			name += " (" + names[i] + ")"
		}
		f := os.NewFile(uintptr(firstFD+i), name)
		if f == nil {
			errs = append(errs, fmt.Errorf("inherited socket %s: no such file descriptor", name))
			continue
		}
		l, err := net.FileListener(f) // a duplicate, which children do not inherit
		_ = f.Close()
		if err != nil {
			errs = append(errs, fmt.Errorf("inherited socket %s: not a stream socket that listens: %w", name, err))
			continue
		}
		if ul, ok := l.(*net.UnixListener); ok {
			ul.SetUnlinkOnClose(false) // the name belongs to the manager
		}
		out = append(out, l)
	}
	if len(errs) > 0 {
		for _, l := range out {
			_ = l.Close()
		}
		return nil, errors.Join(errs...)
	}
	return out, nil
}
