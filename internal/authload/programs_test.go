//go:build unix

package authload_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

// TestMain makes the test binary the programs of ext_auth and ext_authz: "program MODE DIR".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "program" {
		os.Exit(program(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func program(mode, dir string) int {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 9
	}
	switch mode {
	case "login":
		switch account, password, _ := strings.Cut(string(in), " "); account {
		case "eve", "alice", "bob":
			if password != "external" {
				return 1
			}
			fmt.Printf(`{"labels": {"team": [%q]}}`, account+"s")
			return 0
		case "broken":
			fmt.Fprintln(os.Stderr, "directory unreachable, asked for", string(in))
			return 3
		}
		return 2
	case "rules":
		var q struct {
			Account, Name string
			Labels        map[string][]string
		}
		if json.Unmarshal(in, &q) != nil || q.Name == "broken" {
			return 2
		}
		if len(q.Labels["team"]) == 1 && q.Name == q.Labels["team"][0] {
			return 0
		}
		return 1
	case "hang":
		_ = os.WriteFile(filepath.Join(dir, strconv.Itoa(os.Getpid())), nil, 0o600)
		time.Sleep(time.Hour)
	}
	return 0
}

// withPrograms is a config with an own user alice, whose program knows her, too.
func withPrograms(t testing.TB, login, rules, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := head + "users: {\"\": {}, \"alice\": {password: \"" + testing5 + "\"}}\n" +
		"acl:\n- {match: {name: denied}, actions: []}\n- {match: {name: open}, actions: [\"pull\"]}\n"
	for section, mode := range map[string]string{"ext_auth": login, "ext_authz": rules} {
		if mode != "" {
			text += fmt.Sprintf("%s: {command: %q, args: [program, %s, %q]}\n", section, self, mode, dir)
		}
	}
	return text
}

func TestExternalPrograms(t *testing.T) {
	t.Parallel()
	f := newFolder(t, withPrograms(t, "login", "rules", t.TempDir())+
		"x-regctl-setup: {users: {bob: {expires: 2020-01-01}}, limits: {failures_per_client: 1000, failures_per_user: 1000, program_timeout: 60s}}\n")
	records := &memoryRecorder{}
	srv, err := authserver.New(authserver.Options{Load: authload.NewLoader(f.options()).Load, Recorder: records})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, user, password, scope string
		status                      int
		want                        string
	}{
		{"an own user's password", "alice", "testing", "repository:open:pull,push", 200, "repository:open:pull"},
		{"an own user is not asked about", "alice", "external", "", 401, ""},
		{"an external one", "eve", "external", "repository:open:pull", 200, "repository:open:pull"},
		{"an external one's wrong password", "eve", "testing", "", 401, ""},
		{"nobody", "mallory", "external", "", 401, ""},
		{"a space in the name", "eve x", "external", "", 401, ""},
		{"expired here", "bob", "external", "", 401, ""},
		{"a program that fails", "broken", "external", "", 500, ""},
		{"rules see the labels", "eve", "external", "repository:eves:pull,push", 200, "repository:eves:pull,push"},
		{"rules that refuse", "eve", "external", "repository:alices:pull", 200, "repository:alices:"},
		{"an entry that denies decides alone", "eve", "external", "repository:denied:pull", 200, "repository:denied:"},
		{"rules for anonymous", "", "", "repository:eves:pull", 200, "repository:eves:"},
		{"rules that fail", "eve", "external", "repository:broken:pull", 500, ""},
		{"an entry decides without the rules", "", "", "repository:open:pull", 200, "repository:open:pull"},
	} {
		c := call{path: "/auth" + query("service", "r", "scope", tt.scope)}
		if tt.user != "" {
			c.user = basic(tt.user, tt.password)
		}
		w := do(t, srv, c)
		if w.Code != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.what, w.Code, tt.status, w.Body)
			continue
		}
		if w.Code != 200 {
			expectForm(t, tt.what, w)
			continue
		}
		got, _ := tokenOf(t, w.Body.Bytes())
		if got.granted() != tt.want || got.Sub != tt.user {
			t.Errorf("%s: %q for %q, want %q", tt.what, got.granted(), got.Sub, tt.want)
		}
	}
	by := map[string]string{}
	for _, d := range records.all() {
		if strings.Contains(d.Reason, "external") {
			t.Errorf("a password in a reason: %q", d.Reason)
		}
		if d.Status == 500 && !strings.Contains(d.Reason, "ext_auth") {
			t.Errorf("reason %q does not say who failed", d.Reason)
		}
		for _, s := range d.Scopes {
			by[s.Name] = s.Authorizer
		}
	}
	if by["eves"] != "ext_authz" || by["open"] != "" || by["denied"] != "" {
		t.Errorf("decided by %v", by)
	}
}

func TestProgramNotRunnable(t *testing.T) {
	t.Parallel()
	f := newFolder(t, oldRules)
	srv := newServer(t, f.options(), nil)
	f.config(oldRules + "ext_auth: {command: ./no-such-program}\next_authz: {command: " + f.path("server.pem") + "}\n")
	err := srv.Reload(t.Context())
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 2 || problems[0].Code != config.CodeProgram || problems[0].Hint == "" || problems[1].Hint == "" ||
		!strings.Contains(err.Error(), `:7:21: ext_auth.command: the program "./no-such-program" does not exist`) || !strings.Contains(err.Error(), "can't be executed") {
		t.Errorf("error %v", err)
	}
	if got := inForce(t, srv); got != "old" {
		t.Errorf("%s rules are in force", got)
	}
}

// left counts the programs that still run of those that noted themselves in dir.
func left(dir string) (running, all int) {
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		all++
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		if syscall.Kill(id, 0) == nil && (err != nil || !strings.Contains(string(stat), ") Z ")) {
			running++
		}
	}
	return running, all
}

// TestA11HungLogins: 100 clients call, the program hangs, they leave. Meanwhile those that
// need no program are served.
func TestA11HungLogins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFolder(t, withPrograms(t, "hang", "", dir)+
		"x-regctl-setup: {limits: {failures_per_client: 1000, failures_per_user: 1000, program_timeout: 1h, program_queue: 1h, write_timeout: 10h}}\n")
	srv := newServer(t, f.options(), nil)
	ctx, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			doCtx(ctx, srv, call{path: "/auth?service=r", user: basic(fmt.Sprint("u", i), "x"), peer: fmt.Sprintf("192.0.2.%d:1", i)})
		})
	}
	eventually(t, 30*time.Second, "16 programs run", func() bool { _, all := left(dir); return all == 16 })
	eventually(t, 30*time.Second, "no hash is computed", func() bool { s := srv.Stats().Guard; return s.Running == 0 && s.Waiting == 0 })
	if w := do(t, srv, call{path: "/auth?service=r", user: basic("alice", "testing")}); w.Code != 200 {
		t.Errorf("alice beside the hung programs: %d %s", w.Code, w.Body)
	}
	if w := do(t, srv, call{path: "/auth?service=r", user: basic("bob pw", "zzz")}); w.Code != 401 {
		t.Errorf("\"bob pw\": %d", w.Code)
	}
	leave()
	wg.Wait()
	eventually(t, 15*time.Second, "no program runs", func() bool { running, _ := left(dir); return running == 0 })
	_, all := left(dir)
	t.Logf("%d programs ran for 100 clients, none is left", all)
	if all != 16 {
		t.Errorf("%d programs ran, want 16", all)
	}
}

// TestA11BusyIs503: who finds no turn is told to come again; a reload frees no turns.
func TestA11BusyIs503(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := withPrograms(t, "", "hang", dir) + "x-regctl-setup: {limits: {programs: 1, program_queue: 50ms, program_timeout: 1h, write_timeout: 10h}}\n"
	f := newFolder(t, text)
	srv := newServer(t, f.options(), nil)
	ctx, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	hung := call{path: "/auth?service=r&scope=repository:else:pull"}
	wg.Go(func() { doCtx(ctx, srv, hung) })
	eventually(t, 30*time.Second, "a program runs", func() bool { _, all := left(dir); return all == 1 })
	for _, when := range []string{"busy", "busy after a reload"} {
		w := do(t, srv, hung)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d, Retry-After %q", when, w.Code, w.Header().Get("Retry-After"))
		}
		if w := do(t, srv, call{path: "/auth?service=r&scope=repository:open:pull"}); w.Code != 200 {
			t.Errorf("%s: what an entry decides: %d", when, w.Code)
		}
		if err := srv.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	wg.Wait()
}

// TestC7SlowBackend: the answer comes before the connection is cut.
func TestC7SlowBackend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for text, want := range map[string]int{"program_timeout: 1h, write_timeout: 1s": 503, "program_timeout: 1s, write_timeout: 1h": 500} {
		for _, modes := range [][2]string{{"hang", ""}, {"", "hang"}} {
			f := newFolder(t, withPrograms(t, modes[0], modes[1], dir)+"x-regctl-setup: {limits: {"+text+"}}\n")
			c := call{path: "/auth?service=r&scope=repository:else:pull"}
			if modes[0] != "" {
				c.user = basic("bob", "x")
			}
			w := do(t, newServer(t, f.options(), nil), c)
			if w.Code != want || (w.Header().Get("Retry-After") != "") != (want == http.StatusServiceUnavailable) {
				t.Errorf("%s %v: %d %s", text, modes, w.Code, w.Body)
			}
		}
	}
	eventually(t, 15*time.Second, "no program runs", func() bool { running, _ := left(dir); return running == 0 })
}

// TestD7HungProgram: a server that is told to stop waits for a hung program no longer than
// for any request, and takes it along.
func TestD7HungProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFolder(t, withPrograms(t, "hang", "", dir)+"x-regctl-setup: {limits: {program_timeout: 1h, write_timeout: 10h}}\n")
	loader := authload.NewLoader(f.options())
	srv, err := authserver.New(authserver.Options{Load: loader.Load})
	if err != nil {
		t.Fatal(err)
	}
	addr, stop := serve(t, srv)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _, _ = get(t, freshClient(), "http://"+addr.String()+"/auth?service=r", "bob", "x")
	}()
	eventually(t, 30*time.Second, "the program runs", func() bool { _, all := left(dir); return all == 1 })
	took, err := stop()
	loader.Close()
	if err != nil || took > 25*time.Second {
		t.Errorf("stopped after %v: %v", took, err)
	}
	if running, _ := left(dir); running != 0 {
		t.Errorf("%d programs are left", running)
	}
	<-gone
}
