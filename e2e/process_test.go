//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startDeadline = 60 * time.Second // a cold, loaded machine starts Caddy in 10 s
	stopDeadline  = 90 * time.Second // more than every drain time that init writes
	tick          = 25 * time.Millisecond
)

// execute runs a command to its end. in is its standard input.
func execute(t *testing.T, in string, env []string, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = strings.NewReader(in), &out, &errOut, env
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%q: %v\n%s%s", argv, err, out.String(), errOut.String())
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// logs collects what a process prints, for the failure report and for questions.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// tail is the end of the log, for a failure report: long lines cut, few of them.
func (l *logs) tail() string {
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	if n := len(lines) - 25; n > 0 {
		lines = append([]string{fmt.Sprintf("… %d lines before", n)}, lines[n:]...)
	}
	for i, line := range lines {
		if len(line) > 400 {
			lines[i] = line[:400] + "…"
		}
	}
	return indent(strings.Join(lines, "\n"))
}

// process is a server under test.
type process struct {
	name     string
	cmd      *exec.Cmd
	out, err logs
	done     chan struct{} // closed once it has ended
	waitErr  error         // valid after done
}

// start starts a server and makes sure that it is gone when the test ends.
func start(t *testing.T, name string, env []string, argv ...string) *process {
	t.Helper()
	p := &process{name: name, done: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, &p.out, &p.err
	p.cmd.SysProcAttr = endWithParent()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		p.waitErr = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.end(t)
		if t.Failed() {
			t.Logf("%s (%q) said:\n%s\n%s", name, argv, p.out.tail(), p.err.tail())
		}
	})
	return p
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end stops the process if it still runs, asking first.
func (p *process) end(t *testing.T) {
	if !p.running() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		if !t.Failed() {
			t.Logf("%s did not end within 10 s of SIGTERM at clean-up and was killed", p.name)
		}
	}
}

// terminate sends SIGTERM and returns the exit status.
func (p *process) terminate(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM to %s: %v", p.name, err)
	}
	return p.wait(t)
}

// wait returns the exit status once the process has ended by itself.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(stopDeadline):
		t.Fatalf("%s did not end within %s", p.name, stopDeadline)
		return -1
	}
}

// until polls cond and fails the test if it does not hold in time, or the process ends
// before. cond returns what it still waits for.
func (p *process) until(t *testing.T, what string, cond func() error) {
	t.Helper()
	deadline := time.After(startDeadline)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		last := cond()
		if last == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended (%v) before %s: %v\n%s\n%s", p.name, p.waitErr, what, last, p.out.tail(), p.err.tail())
		case <-deadline:
			t.Fatalf("%s: no %s within %s: %v\n%s\n%s", p.name, what, startDeadline, last, p.out.tail(), p.err.tail())
		case <-ticker.C:
		}
	}
}

// ready waits until url answers with the status.
func (p *process) ready(t *testing.T, client *http.Client, url string, status int) {
	t.Helper()
	p.until(t, fmt.Sprintf("answer %d at %s", status, url), func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != status {
			return fmt.Errorf("status %s", resp.Status)
		}
		return nil
	})
}

var ports struct {
	sync.Mutex
	given map[int]bool
}

// freePort returns a loopback port that nobody listens on and no other test of this
// run was given.
func freePort(t *testing.T) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if !ports.given[port] {
			ports.given[port] = true
			return port
		}
	}
	t.Fatal("no free port after 100 tries")
	return 0
}

func mustWrite(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

func mustMkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}
