//go:build unix

package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// canaries are secrets, and the shapes in which they could show.
type canaries []string

func (c *canaries) add(secret string) {
	*c = append(*c, secret, base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret))
	// As a word of eight bytes, which is how a trace shows what is kept in registers.
	for i := 0; i+8 <= len(secret); i++ {
		*c = append(*c, fmt.Sprintf("0x%x", binary.LittleEndian.Uint64([]byte(secret[i:]))), fmt.Sprintf("0x%x", binary.BigEndian.Uint64([]byte(secret[i:]))))
	}
}

func (c canaries) check(t *testing.T, where, text string) {
	t.Helper()
	for _, s := range c {
		if i := strings.Index(text, s); i >= 0 {
			t.Errorf("%s shows %q: …%s…", where, s, text[max(0, i-200):min(len(text), i+len(s)+50)])
		}
	}
}

// TestF3Canary sends secrets in all ways to a server that logs all it can, makes it dump its
// goroutines while passwords are being checked, and looks for the secrets everywhere.
func TestF3Canary(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"SIGQUIT": syscall.SIGQUIT, "SIGABRT": syscall.SIGABRT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const password, wrong = "canary-Right-7c1e94b2", "canary-Wrong-9b2f03d7"
			hash, err := bcrypt.GenerateFromPassword([]byte(password), 13)
			if err != nil {
				t.Fatal(err)
			}
			config, addr := serverFolder(t, "@SERVER@"+tokenSection+"users: {alice: {password: \""+string(hash)+"\"}, bob: {password: \""+hash5+"\"}}\nacl:\n- {match: {account: alice}, actions: [\"*\"]}\nx-regctl-setup: {metrics: {listen: \"127.0.0.1:0\"}}\n")
			dir := filepath.Dir(config)
			var secrets canaries
			for _, s := range []string{password, wrong, "alice:" + password, "alice:" + wrong, string(hash), string(hash[7:40])} {
				secrets.add(s)
			}
			key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(string(key), "\n")[1:4] {
				secrets = append(secrets, line)
			}
			var stdout syncBuffer
			p, errOut := start(t, func(c *exec.Cmd) {
				c.Stdout, c.Dir = &stdout, dir
				// crash: as much as a trace can have, and the kernel is asked for a core.
				c.Env = append(os.Environ(), "GOTRACEBACK=crash")
			}, "serve", "--log-level", "debug", config)
			p.serving("tcp", addr, "http")
			base := "http://" + addr
			client := &http.Client{Timeout: 20 * time.Second}
			send := func(method, path, body string, set func(*http.Request)) {
				req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if set != nil {
					set(req)
				}
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				var answer struct {
					Token string `json:"token"`
				}
				if json.NewDecoder(res.Body).Decode(&answer) == nil && answer.Token != "" {
					secrets = append(secrets, answer.Token, answer.Token[strings.LastIndexByte(answer.Token, '.')+1:])
				}
			}
			as := func(user, pw string) func(*http.Request) {
				return func(r *http.Request) { r.SetBasicAuth(user, pw) }
			}
			before := len(secrets)
			send("GET", "/auth?service=r&scope=repository:a:pull", "", as("alice", password))
			send("GET", "/auth?service=r&scope=repository:a:pull", "", as("alice", password))
			send("POST", "/auth", "service=r&username=alice&password="+password, nil)
			if len(secrets) <= before {
				t.Fatal("no token was issued: the test sees too little")
			}
			send("GET", "/auth?service=r", "", as("alice", wrong))
			send("GET", "/auth?service=r", "", as("nobody", wrong))
			send("GET", "/auth?password="+wrong, "", nil)
			send("GET", "/elsewhere?password="+wrong, "", as("alice", wrong))
			send("POST", "/auth", "grant_type=refresh_token&refresh_token="+wrong, nil)
			send("POST", "/auth", "username=alice&password="+wrong+"%zz", nil)
			send("PUT", "/auth", "password="+wrong, nil)
			send("GET", "/auth", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+wrong) })
			send("GET", "/auth", "", func(r *http.Request) { r.Header.Set("Authorization", "Basic "+wrong) })
			_, health, err := ask("tcp", addr, base+"/healthz?verbose", "", "")
			if err != nil {
				t.Fatal(err)
			}
			// A broken file, with the hash in what is wrong with it.
			text, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(config, []byte(strings.Replace(string(text), "password:", "pasword:", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			p.signal(syscall.SIGHUP)
			eventually(t, "the reload has failed", func() bool { return strings.Contains(errOut.String(), "reload failed") })
			// The metrics have an address of their own.
			at := showing(errOut.String())
			if len(at) != 1 {
				t.Fatalf("metrics at %q, want one place: %s", at, errOut)
			}
			counted, metrics := series(t, at[0])
			if counted["regctl_setup_password_checks_total failed"] == 0 || counted["regctl_setup_reloads_total failed"] == 0 {
				t.Errorf("the metrics have counted no failed login or no failed reload: the test sees too little\n%s", metrics)
			}
			_, page, err := ask("tcp", at[0], "http://"+at[0]+"/", "", "")
			if err != nil {
				t.Fatal(err)
			}

			// Passwords on the stacks: logins that are being checked now, and one that waits.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for i := range 4 {
				go func() {
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/auth?service=r", http.NoBody)
					if err != nil {
						return
					}
					req.SetBasicAuth("alice", fmt.Sprintf("%s%d", wrong, i))
					if res, err := client.Do(req); err == nil {
						_ = res.Body.Close()
					}
				}()
			}
			eventually(t, "logins wait", func() bool {
				_, h, err := ask("tcp", addr, base+"/healthz?verbose", "", "")
				return err == nil && !strings.Contains(h, `"password_checks_waiting": 0`)
			})
			p.signal(sig)
			if got := p.wait(20 * time.Second); got == 0 {
				t.Errorf("ended with status 0 after %s", name)
			}
			trace := errOut.String()
			if !strings.Contains(trace, "goroutine ") || !strings.Contains(trace, "bcrypt") {
				t.Errorf("no trace of the password checks: %.500s", trace[max(0, len(trace)-500):])
			}
			secrets.check(t, "stderr", trace)
			secrets.check(t, "stdout", stdout.String())
			secrets.check(t, "/healthz", health)
			secrets.check(t, "/metrics", metrics)
			secrets.check(t, "the page beside /metrics", page)
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if n := e.Name(); n != "auth.yml" && n != "key.pem" && n != "cert.pem" {
					t.Errorf("a file %s was left", n)
				}
			}
		})
	}
}
