//go:build unix

package extprog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/extprog"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// alive counts the processes that still run; one that only waits to be reaped does not.
func alive(ids []int) (n int) {
	for _, id := range ids {
		if syscall.Kill(id, 0) != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		if err == nil && strings.Contains(string(stat), ") Z ") {
			continue
		}
		n++
	}
	return n
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// TestA11HungPrograms: 100 clients whose program hangs, all gone; no process stays.
func TestA11HungPrograms(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hang", "stubborn", "fork"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			pool := extprog.NewPool()
			login := extprog.NewLogin(pool, self(mode, dir), extprog.Limits{Timeout: time.Hour, Wait: time.Hour})
			ctx, leave := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var in, most atomic.Int64
			for i := range 100 {
				wg.Go(func() {
					if _, err := login.Authenticate(ctx, fmt.Sprint("u", i), secret.New("x")); !errors.Is(err, context.Canceled) {
						t.Errorf("error %v, want that the client left", err)
					}
					in.Add(1)
				})
			}
			want := 16
			if mode == "fork" {
				want = 32
			}
			eventually(t, "all that may run do", func() bool {
				most.Store(max(most.Load(), int64(pool.Running())))
				return len(signed(dir)) == want
			})
			leave()
			wg.Wait()
			ids := signed(dir)
			eventually(t, "no process is left", func() bool { return alive(ids) == 0 })
			if len(ids) != want || most.Load() != 16 || in.Load() != 100 || pool.Running() != 0 {
				t.Errorf("%d processes for 100 clients, want %d; at most %d ran at once, want 16; %d run", len(ids), want, most.Load(), pool.Running())
			}
		})
	}
}

func TestA11Timeout(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hang", "stubborn", "fork"} {
		dir := t.TempDir()
		login := extprog.NewLogin(extprog.NewPool(), self(mode, dir), extprog.Limits{Timeout: 2 * time.Second})
		_, err := login.Authenticate(t.Context(), "bob", secret.New("x"))
		if !errors.Is(err, extprog.ErrTimeout) || authn.Refused(err) || !strings.Contains(err.Error(), "ext_auth: the program did not end in time") {
			t.Errorf("%s: error %v", mode, err)
		}
		ids := signed(dir)
		eventually(t, "no process is left", func() bool { return alive(ids) == 0 })
		if len(ids) == 0 {
			t.Errorf("%s: the program did not run", mode)
		}
	}
}

// TestD7CloseKillsPrograms: a server that stops leaves no process behind.
func TestD7CloseKillsPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := extprog.NewPool()
	login := extprog.NewLogin(pool, self("fork", dir), extprog.Limits{Timeout: time.Hour, Concurrent: 2, Wait: time.Hour})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var busy *authn.BusyError
			if _, err := login.Authenticate(t.Context(), "bob", secret.New("x")); !errors.As(err, &busy) {
				t.Errorf("error %v, want that the server is stopping", err)
			}
		})
	}
	eventually(t, "two run", func() bool { return len(signed(dir)) == 4 })
	pool.Close()
	if n := pool.Running(); n != 0 {
		t.Errorf("%d run after Close", n)
	}
	wg.Wait()
	ids := signed(dir)
	eventually(t, "no process is left", func() bool { return alive(ids) == 0 })
	if _, err := login.Authenticate(t.Context(), "bob", secret.New("x")); err == nil || len(signed(dir)) != 4 {
		t.Errorf("after Close: %v, %d processes", err, len(signed(dir)))
	}
	pool.Close() // a second time changes nothing
}

// A program that ends and leaves a child behind has answered; the child goes.
func TestChildrenLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	login := extprog.NewLogin(extprog.NewPool(), self("leave", dir), extprog.Limits{})
	id, err := login.Authenticate(t.Context(), "bob", secret.New("x"))
	if err != nil || id.Account != "bob" {
		t.Errorf("%+v, %v", id, err)
	}
	ids := signed(dir)
	eventually(t, "no process is left", func() bool { return alive(ids) == 0 })
	if len(ids) != 1 {
		t.Errorf("%d children, want 1", len(ids))
	}
}

func TestOutputFlood(t *testing.T) {
	t.Parallel()
	run := func(p extprog.Program) error {
		_, err := extprog.NewLogin(extprog.NewPool(), p, extprog.Limits{Timeout: 30 * time.Second}).Authenticate(t.Context(), "bob", secret.New("x"))
		return err
	}
	if err := run(self("flood")); !errors.Is(err, extprog.ErrOutput) {
		t.Errorf("endless stdout: %v", err)
	}
	if err := run(self("complain much")); !errors.Is(err, authn.ErrWrongPassword) {
		t.Errorf("1 MiB of stderr and status 1: %v", err)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status, stdout string
		want           error  // nil: let in, or another
		text           string // in another error
	}{
		{"0", "", nil, ""},
		{"0", ` {"labels": {"team": ["a", "b"]}, "message": {"a": 1}}` + "\n", nil, ""},
		{"0", `{"labels": null}`, nil, ""},
		{"1", "no JSON", authn.ErrWrongPassword, ""},
		{"2", "", authn.ErrNoSuchUser, ""},
		{"3", "", nil, `status 3, expected 0, 1 or 2: "oops"`},
		{"255", "", nil, "status 255"},
		{"0", "hello", nil, "no JSON"},
		{"0", `{"labels": {"team": "a"}}`, nil, "found a string"},
		{"0", `{"labels": {"team": [1]}}`, nil, "found a number"},
		{"0", `{"labels": ["team"]}`, nil, "found a array"},
		{"0", "\n", nil, "white space only"},
		{"0", " \t\r\n", nil, "white space only"},
		{"1", "\n", authn.ErrWrongPassword, ""},
		{"2", "\n", authn.ErrNoSuchUser, ""},
		{"0", `null`, nil, "expected one JSON object"},
		{"0", `[]`, nil, "expected one JSON object"},
		{"0", `{} {}`, nil, "expected one JSON object"},
		{"0", `{"labels": {"role": ["a"]}`, nil, "no JSON"},
		{"0", `{"labels": {"role": ["a"], "role": ["b"]}}`, nil, "a key stands twice"},
		{"0", `{"labels": {}, "Labels": {"role": ["b"]}}`, nil, "a key stands twice"},
		{"0", "{\"labels\": {\"role\": [\"\xff\"]}}", nil, "not UTF-8"},
	} {
		login := extprog.NewLogin(extprog.NewPool(), self("answer", tt.status, tt.stdout, "oops"), extprog.Limits{Timeout: time.Minute})
		id, err := login.Authenticate(t.Context(), "bob", secret.New("x"))
		switch {
		case tt.text != "":
			if err == nil || authn.Refused(err) || !strings.Contains(err.Error(), tt.text) || id.Account != "" {
				t.Errorf("status %s, output %q: %v, want an error with %q", tt.status, tt.stdout, err, tt.text)
			}
		case !errors.Is(err, tt.want) || (err == nil) != (id.Account == "bob"):
			t.Errorf("status %s, output %q: %+v, %v; want %v", tt.status, tt.stdout, id, err, tt.want)
		case strings.Contains(tt.stdout, "team") && fmt.Sprint(id.Labels) != "map[team:[a b]]":
			t.Errorf("labels %v", id.Labels)
		}
	}
}

// TestQuestion: what the program reads, to the byte, and what of our environment it sees.
func TestQuestion(t *testing.T) {
	t.Setenv("REGCTL_SETUP_CANARY", "canary")
	file := filepath.Join(t.TempDir(), "in")
	login := extprog.NewLogin(extprog.NewPool(), self("keep", file), extprog.Limits{Timeout: time.Minute})
	if _, err := login.Authenticate(t.Context(), "bob", secret.New(`pass $word "x'`+"\n")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	question, env, _ := strings.Cut(string(got), "'\n\n")
	if want := `bob pass $word "x`; question != want {
		t.Errorf("asked %q, want %q", question, want)
	}
	if strings.Contains(env, "canary") || !strings.Contains(env, "PATH=") {
		t.Errorf("environment %q", env)
	}
}

// TestA11SpaceInTheName: a name that the question can't hold is never asked about.
func TestA11SpaceInTheName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	login := extprog.NewLogin(extprog.NewPool(), self("hang", dir), extprog.Limits{Timeout: time.Second})
	for _, name := range []string{"", "bob pw", " bob", "bob\n", "bob\tx", "bob\u00a0x", "bob\u2028x", "bob\x7f", "b\x00b", "b\u0085b", "b\xffb"} {
		if _, err := login.Authenticate(t.Context(), name, secret.New("zzz")); !errors.Is(err, authn.ErrNoSuchUser) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if n := len(signed(dir)); n != 0 {
		t.Errorf("the program ran %d times", n)
	}
}

func TestF3PasswordNotInErrors(t *testing.T) {
	t.Parallel()
	login := extprog.NewLogin(extprog.NewPool(), self("complain"), extprog.Limits{Timeout: time.Minute})
	const canary = "ca\"n\\ary-9f2"
	_, err := login.Authenticate(t.Context(), "bob", secret.New(canary))
	if err == nil || strings.Contains(err.Error(), "ary-9f2") || !strings.Contains(err.Error(), "can't handle bob ***") {
		t.Errorf("error %v", err)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	login := extprog.NewLogin(extprog.NewPool(), self("answer", "0", "", ""), extprog.Limits{Timeout: time.Minute})
	login.Expires = func(account string) time.Time {
		if account == "bob" {
			return at
		}
		return time.Time{}
	}
	for _, tt := range []struct {
		name string
		now  time.Time
		want error
	}{{"bob", at.Add(-1), nil}, {"bob", at, authn.ErrExpired}, {"eve", at, nil}} {
		login.Now = func() time.Time { return tt.now }
		if _, err := login.Authenticate(t.Context(), tt.name, secret.New("x")); !errors.Is(err, tt.want) {
			t.Errorf("%s at %v: %v, want %v", tt.name, tt.now, err, tt.want)
		}
	}
}

// TestBusy: the wait is bounded, and said.
func TestBusy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := extprog.NewPool()
	ctx, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	hog := extprog.NewLogin(pool, self("hang", dir), extprog.Limits{Timeout: time.Hour, Concurrent: 1})
	wg.Go(func() { _, _ = hog.Authenticate(ctx, "hog", secret.New("x")) })
	eventually(t, "it runs", func() bool { return len(signed(dir)) == 1 })
	quick := extprog.NewLogin(pool, self("answer", "0", "", ""), extprog.Limits{Timeout: time.Minute, Concurrent: 1, Wait: 20 * time.Millisecond})
	var busy *authn.BusyError
	if _, err := quick.Authenticate(t.Context(), "bob", secret.New("x")); !errors.As(err, &busy) || busy.RetryAfter < time.Second || !strings.Contains(busy.Error(), "ext_auth") {
		t.Errorf("error %v, want busy", err)
	}
	// A higher limit after a reload counts at once, and so does a place that becomes free.
	more := extprog.NewLogin(pool, self("answer", "0", "", ""), extprog.Limits{Timeout: time.Minute, Concurrent: 2, Wait: time.Hour})
	if _, err := more.Authenticate(t.Context(), "bob", secret.New("x")); err != nil {
		t.Errorf("with room for two: %v", err)
	}
	patient := extprog.NewLogin(pool, self("answer", "0", "", ""), extprog.Limits{Timeout: time.Minute, Concurrent: 1, Wait: time.Hour})
	wg.Go(func() {
		if _, err := patient.Authenticate(t.Context(), "bob", secret.New("x")); err != nil {
			t.Errorf("one that waits: %v", err)
		}
	})
	leave()
	wg.Wait()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quick.Authenticate(gone, "bob", secret.New("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
