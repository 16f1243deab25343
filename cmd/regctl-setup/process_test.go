//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests here run the program as a process of its own and look at it from outside: its
// signals, streams, sockets and exit status.

// hash5 is the bcrypt hash of "testing" with cost 5.
const hash5 = "$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"

// serverFolder makes a folder with a key pair and the config; @DIR@ and @SERVER@ in yaml are
// replaced, the latter by a server section that listens on a free port of loopback.
func serverFolder(t *testing.T, yaml string) (config, addr string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "p") // not t.TempDir: a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_ = l.Close()
	config = filepath.Join(dir, "auth.yml")
	yaml = strings.NewReplacer("@DIR@", dir, "@SERVER@", "server: {addr: \""+addr+"\"}", "@ADDR@", addr).Replace(yaml)
	for path, data := range map[string][]byte{
		filepath.Join(dir, "key.pem"):  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		filepath.Join(dir, "cert.pem"): pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		config:                         []byte(yaml),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config, addr
}

const (
	tokenSection = `
token: {issuer: test, expiration: 900, certificate: "@DIR@/cert.pem", key: "@DIR@/key.pem"}
`
	usersAndRules = `
users: {"": {}, alice: {password: "` + hash5 + `"}}
acl:
- {match: {account: alice}, actions: ["*"]}
- {match: {name: "public/*"}, actions: [pull]}
`
	plainConfig = "@SERVER@" + tokenSection + usersAndRules
)

// program is a regctl-setup that runs.
type program struct {
	*exec.Cmd
	t     *testing.T
	ended chan error
}

// start runs the program. Its streams are what set gives the command; stderr that is not set
// goes to the returned buffer.
func start(t *testing.T, set func(*exec.Cmd), args ...string) (*program, *syncBuffer) {
	t.Helper()
	var errOut syncBuffer
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"regctl-setup"}, args...)
	cmd.Stderr = &errOut
	if set != nil {
		set(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{Cmd: cmd, t: t, ended: make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
		}
	})
	return p, &errOut
}

// signal sends a signal.
func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit status, -1 when a signal ended it.
func (p *program) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			return ee.ExitCode()
		}
		if err != nil {
			p.t.Fatal(err)
		}
		return 0
	case <-time.After(within):
		p.t.Fatalf("still running after %v", within)
		return -1
	}
}

// alive wants the program to be running.
func (p *program) alive() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		p.t.Fatalf("it has ended: %v", err)
	default:
	}
}

// syncBuffer is a buffer that is written and read at once.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// ask asks over a fresh connection; the whole takes at most five seconds.
func ask(network, addr, url, user, password string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// serving waits until the address answers.
func (p *program) serving(network, addr, scheme string) {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		code, _, err := ask(network, addr, scheme+"://localhost/healthz", "", "")
		if err == nil && code == 200 {
			return
		}
		p.alive()
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not answer: %d, %v", addr, code, err)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // polls, with a deadline
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // polls, with a deadline
	}
}

// verboseHealth is /healthz?verbose as far as the tests look at it.
type verboseHealth struct {
	Status string
	Config struct {
		Reloads      int      `json:"reloads"`
		NotFollowed  []string `json:"not_followed"`
		LastError    string   `json:"last_error"`
		ReloadsFaild int      `json:"reloads_failed"`
	}
	Log struct {
		Written int    `json:"lines_written"`
		Dropped int    `json:"lines_dropped"`
		Error   string `json:"error"`
	}
}

func health(t *testing.T, addr string) verboseHealth {
	t.Helper()
	_, body, err := ask("tcp", addr, "http://"+addr+"/healthz?verbose", "", "")
	if err != nil {
		t.Fatal(err)
	}
	var h verboseHealth
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return h
}

// TestD8LogSink: whatever happens to the log, requests are answered within a second and the
// server lives; what was lost is counted, and said once the log takes lines again.
func TestD8LogSink(t *testing.T) {
	t.Parallel()
	requests := func(t *testing.T, p *program, addr string, n int) {
		t.Helper()
		for range n {
			code, _, err := ask("tcp", addr, "http://"+addr+"/auth?service=r&scope=repository:public/x:pull", "alice", "testing")
			if err != nil || code != 200 {
				t.Fatalf("%d, %v; want 200 within a second", code, err)
			}
		}
		p.alive()
	}
	t.Run("full disk", func(t *testing.T) {
		t.Parallel()
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip("no /dev/full here")
		}
		defer full.Close()
		config, addr := serverFolder(t, plainConfig)
		p, _ := start(t, func(c *exec.Cmd) { c.Stderr = full }, "serve", config)
		p.serving("tcp", addr, "http")
		requests(t, p, addr, 20)
		eventually(t, "lost lines are counted", func() bool {
			h := health(t, addr)
			return h.Log.Dropped >= 20 && strings.Contains(h.Log.Error, "no space left") && h.Status == "degraded"
		})
		p.signal(syscall.SIGTERM)
		if got := p.wait(25 * time.Second); got != 0 {
			t.Errorf("exit status %d, want 0", got)
		}
	})
	t.Run("stalled pipe", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		config, addr := serverFolder(t, plainConfig)
		p, _ := start(t, func(c *exec.Cmd) { c.Stderr = w }, "serve", "--log-level", "debug", config)
		_ = w.Close()
		p.serving("tcp", addr, "http")
		// Over one connection, until the pipe and the queue are full.
		client := &http.Client{Timeout: time.Second}
		eventually(t, "lines are lost", func() bool {
			for range 2000 {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/nothing?"+strings.Repeat("x", 200), http.NoBody)
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			return health(t, addr).Log.Dropped > 0
		})
		requests(t, p, addr, 20)
		// Somebody reads again.
		lines := make(chan string)
		go func() {
			var b strings.Builder
			_, _ = io.Copy(&b, r)
			lines <- b.String()
		}()
		eventually(t, "the log recovers", func() bool { return health(t, addr).Status == "ok" })
		requests(t, p, addr, 1)
		p.signal(syscall.SIGTERM)
		if got := p.wait(25 * time.Second); got != 0 {
			t.Errorf("exit status %d, want 0", got)
		}
		text := <-lines
		said := 0
		for line := range strings.Lines(text) {
			var l struct{ Msg, Reason string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("a torn line: %q", line)
			}
			if l.Msg == "log lines are missing here" {
				said++
			}
		}
		if said == 0 || !strings.Contains(text, `"msg":"stopped"`) {
			t.Errorf("the loss is said %d times; the end of the log: %.300s", said, text[max(0, len(text)-300):])
		}
	})
	t.Run("closed pipe", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		config, addr := serverFolder(t, plainConfig)
		p, _ := start(t, func(c *exec.Cmd) { c.Stdout, c.Stderr = w, w }, "serve", config)
		_ = w.Close()
		_ = r.Close()
		p.serving("tcp", addr, "http")
		requests(t, p, addr, 20)
		eventually(t, "lost lines are counted", func() bool { return health(t, addr).Log.Dropped >= 20 })
		p.signal(syscall.SIGTERM)
		if got := p.wait(25 * time.Second); got != 0 {
			t.Errorf("exit status %d, want 0", got)
		}
	})
	t.Run("stalled at the end", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for _ = w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); ; { // full before it starts
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				break
			}
		}
		config, addr := serverFolder(t, plainConfig)
		p, _ := start(t, func(c *exec.Cmd) { c.Stderr = w }, "serve", config)
		_ = w.Close()
		p.serving("tcp", addr, "http")
		requests(t, p, addr, 5)
		p.signal(syscall.SIGTERM)
		if got := p.wait(25 * time.Second); got != 0 {
			t.Errorf("exit status %d, want 0", got)
		}
	})
}

// TestD7Signals: SIGHUP reloads, SIGTERM drains and ends with 0, a second one ends at once.
func TestD7Signals(t *testing.T) {
	t.Parallel()
	config, addr := serverFolder(t, plainConfig)
	p, log := start(t, nil, "serve", config)
	p.serving("tcp", addr, "http")
	p.signal(syscall.SIGHUP)
	eventually(t, "reloaded", func() bool { return health(t, addr).Config.Reloads == 1 })
	slow, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	// The server asks for the body when it begins to read it: from then on there is something to drain.
	_ = slow.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(slow, "POST /auth HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	head := make([]byte, len("HTTP/1.1 100 "))
	if _, err := io.ReadFull(slow, head); err != nil || string(head) != "HTTP/1.1 100 " {
		t.Fatalf("the slow request has not begun: %q, %v", head, err)
	}
	first := time.Now()
	p.signal(syscall.SIGTERM)
	eventually(t, "the listener is closed", func() bool {
		_, _, err := ask("tcp", addr, "http://"+addr+"/healthz", "", "")
		return err != nil
	})
	p.alive()
	// It says what it waits for, and what to do about that.
	eventually(t, "the log tells of the stop", func() bool {
		return strings.Contains(log.String(), "stopping: the requests in flight are waited for") && strings.Contains(log.String(), "a second signal ends it at once")
	})
	p.signal(syscall.SIGTERM)
	if got := p.wait(25 * time.Second); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
	if d := time.Since(first); d > 9*time.Second { // the first one alone takes 10 s
		t.Errorf("%v after the first SIGTERM, in spite of the second", d)
	}
}

// TestD10Check: serve --check finds the server on every kind of listener.
func TestD10Check(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ server, network, scheme string }{
		"http":             {`server: {addr: "@ADDR@"}`, "tcp", "http"},
		"https":            {`server: {addr: "@ADDR@", certificate: "@DIR@/cert.pem", key: "@DIR@/key.pem"}`, "tcp", "https"},
		"unix socket":      {`server: {addr: "@DIR@/auth.sock", net: unix}`, "unix", "http"},
		"path prefix":      {`server: {addr: "@ADDR@", path_prefix: /token}`, "tcp", "http"},
		"behind any proxy": {`server: {addr: "@ADDR@", real_ip_header: X-Forwarded-For}`, "tcp", "http"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, addr := serverFolder(t, tt.server+tokenSection+usersAndRules)
			if tt.network == "unix" {
				addr = filepath.Join(filepath.Dir(config), "auth.sock")
			}
			check := func() (int, string) {
				c, errOut := start(t, nil, "serve", "--check", config)
				return c.wait(25 * time.Second), errOut.String()
			}
			if status, text := check(); status != 1 || !strings.Contains(text, "no token server answers") {
				t.Errorf("nothing runs: status %d, %s", status, text)
			}
			p, _ := start(t, nil, "serve", config)
			p.serving(tt.network, addr, tt.scheme)
			if tt.network == "unix" {
				if info, err := os.Stat(addr); err != nil || info.Mode().Perm() != 0o660 {
					t.Errorf("socket %v, %v; want mode 0660", info, err)
				}
				if code, _, err := ask("unix", addr, "http://x/auth?service=r", "alice", "testing"); err != nil || code != 200 {
					t.Errorf("a token over the socket: %d, %v", code, err)
				}
			}
			if status, text := check(); status != 0 {
				t.Errorf("it runs: status %d, %s", status, text)
			}
		})
	}
}
