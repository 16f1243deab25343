package authload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

const head = `server: {addr: "@ADDR@"}
token: {issuer: "Acme auth server", expiration: 900, certificate: "@CERT@", key: "@KEY@"}
`

// house is a config with a few users of password "testing".
const house = head + `users:
  "admin": {password: "` + testing5 + `", labels: {role: ["administrator"]}}
  "alice": {password: "` + testing5 + `", labels: {team: ["backend"]}}
  "bob": {password: "` + testing5 + `"}
  "": {}
acl:
- {match: {account: "admin"}, actions: ["*"]}
- {match: {account: "/.+/", type: "repository"}, actions: ["pull", "push"]}
- {match: {account: "", name: "public/*"}, actions: ["pull"]}
`

const pull = "&scope=repository:a/b:pull,push"

func expectStatus(t testing.TB, what string, w *httptest.ResponseRecorder, want int) {
	t.Helper()
	if w.Code != want {
		t.Errorf("%s: status %d, want %d: %s", what, w.Code, want, w.Body)
	}
	expectForm(t, what, w)
}

// expectForm checks what all answers of the token endpoint have in common.
func expectForm(t testing.TB, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	if !json.Valid(w.Body.Bytes()) && w.Body.Len() > 0 || h.Get("Content-Type") != "application/json" {
		t.Errorf("%s: the answer is no JSON: %s %q", what, h.Get("Content-Type"), w.Body)
	}
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: headers %v", what, h)
	}
	challenge := h.Get("WWW-Authenticate")
	if want := `Basic realm="Acme auth server"`; (w.Code == http.StatusUnauthorized) != (challenge == want) || w.Code != 401 && challenge != "" {
		t.Errorf("%s: status %d with challenge %q", what, w.Code, challenge)
	}
	if w.Code >= 400 {
		var e struct {
			Errors []struct{ Code, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || len(e.Errors) != 1 || e.Errors[0].Code == "" || e.Errors[0].Message == "" {
			t.Errorf("%s: error body %q", what, w.Body)
		}
	}
}

func TestA1PasswordlessByAccident(t *testing.T) {
	t.Parallel()
	const good = `users: {"alice": {password: "` + testing5 + `"}, "bob": {password: "` + testing5 + `"}}` + "\n"
	const acl = "acl:\n- {match: {}, actions: [\"*\"]}\n"
	for name, block := range map[string]string{
		"empty map":             `users: {"bob": {}}`,
		"no value":              `users: {"bob": }`,
		"null password":         `users: {"bob": {password: }}`,
		"tilde password":        `users: {"bob": {password: ~}}`,
		"mistyped key":          `users: {"bob": {passwrod: "` + testing5 + `"}}`,
		"capital key":           `users: {"bob": {Password: "` + testing5 + `"}}`,
		"duplicate user":        "users:\n  bob: {password: \"" + testing5 + "\"}\n  bob: {}",
		"duplicate, other form": "users:\n  bob: {password: \"" + testing5 + "\"}\n  \"bob\": {}",
		"labels only":           `users: {"bob": {labels: {team: ["a"]}}}`,
		"empty password":        `users: {"bob": {password: ""}}`,
		"plain text":            `users: {"bob": {password: "123"}}`,
		"cut hash":              `users: {"bob": {password: "` + testing5[:40] + `"}}`,
		"list":                  `users: {"bob": {password: ["` + testing5 + `"]}}`,
		"two users blocks":      "users: {\"bob\": {password: \"" + testing5 + "\"}}\nusers: {\"bob\": {}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, head+good+acl)
			srv := newServer(t, f.options(), nil)
			f.config(head + block + "\n" + acl)
			err := srv.Reload(t.Context())
			if err == nil || !strings.Contains(err.Error(), "auth-server.yml:") {
				t.Errorf("reload: %v, want an error with its place", err)
			}
			for _, pw := range []string{"wrong", "", "123", "x"} {
				expectStatus(t, "bob after a refused reload, password "+pw, do(t, srv, call{path: "/auth?service=r", user: basic("bob", pw)}), 401)
			}
			expectStatus(t, "bob, right password", do(t, srv, call{path: "/auth?service=r", user: basic("bob", "testing")}), 200)
			if _, err := tryServer(f.options()); err == nil {
				t.Error("a server starts with it")
			}
		})
	}
}

func TestA2AccountWithoutCredentials(t *testing.T) {
	t.Parallel()
	empty, err := bcrypt.GenerateFromPassword(nil, bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, newFolder(t, head+`users:
  "test": {password: "`+string(empty)+`"}
  "nopass": {}
  "": {}
acl: [{match: {}, actions: ["*"]}]
x-regctl-setup: {allow_passwordless: true}
`).options(), nil)
	for what, c := range map[string]call{
		"GET, hash of the empty password": {path: "/auth?service=r&account=test"},
		"GET, passwordless":               {path: "/auth?service=r&account=nopass"},
		"POST, form":                      {method: "POST", path: "/auth", body: "service=r&account=nopass"},
		"POST, query":                     {method: "POST", path: "/auth?account=nopass", body: "service=r"},
		"POST, empty password":            {method: "POST", path: "/auth", body: "username=nopass&password="},
	} {
		expectStatus(t, what, do(t, srv, c), 401)
	}
	expectStatus(t, "empty Basic", do(t, srv, call{path: "/auth?account=nopass", user: basic("", "")}), 400)
	if c, _ := tokenOf(t, do(t, srv, call{path: "/auth?service=r", user: basic("nopass", "anything")}).Body.Bytes()); c.Sub != "nopass" {
		t.Errorf("passwordless by choice: sub %q", c.Sub)
	}
	if c, _ := tokenOf(t, do(t, srv, call{path: "/auth?service=r&account="}).Body.Bytes()); c.Sub != "" {
		t.Errorf("anonymous: sub %q", c.Sub)
	}
}

func TestA3BrokenCredentialsAreNotAnonymous(t *testing.T) {
	t.Parallel()
	srv := newServer(t, newFolder(t, house).options(), nil)
	for what, c := range map[string]call{
		"not base64":    {path: "/auth?service=r", header: http.Header{"Authorization": {"Basic !!!notbase64"}}},
		"Bearer":        {path: "/auth?service=r", header: http.Header{"Authorization": {"Bearer xxx"}}},
		"no name":       {path: "/auth?service=r", user: basic("", "anything")},
		"bad form":      {method: "POST", path: "/auth", body: "username=alice&password=%zz"},
		"JSON":          {method: "POST", path: "/auth", body: `{"username":"alice","password":"x"}`, header: http.Header{"Content-Type": {"application/json"}}},
		"refresh token": {method: "POST", path: "/auth", body: "grant_type=refresh_token&refresh_token=junk"},
		"huge body":     {method: "POST", path: "/auth", body: "x=" + strings.Repeat("a", 11<<20)},
		"two headers":   {path: "/auth?service=r", header: http.Header{"Authorization": {"Basic Og==", "Basic Og=="}}},
	} {
		w := do(t, srv, c)
		if w.Code < 400 || w.Code > 413 {
			t.Errorf("%s: status %d", what, w.Code)
		}
		expectForm(t, what, w)
	}
	expectStatus(t, "no credentials", do(t, srv, call{path: "/auth?service=r"}), 200)
	expectStatus(t, "the empty Basic", do(t, srv, call{path: "/auth?service=r", user: basic("", "")}), 200)
}

func TestA4SameAnswerForUnknownUser(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	srv := newServer(t, newFolder(t, strings.Replace(house, `"bob": {`, `"bob": {password: "!`+testing5+`"}
  "old": {`, 1)).options(), &log)
	var first *httptest.ResponseRecorder
	for _, name := range []string{"alice", "ghost", "bob"} {
		for _, c := range []call{
			{path: "/auth?service=r", user: basic(name, "wrong")},
			{method: "POST", path: "/auth", body: "username=" + name + "&password=wrong"},
		} {
			w := do(t, srv, c)
			expectStatus(t, name, w, 401)
			w.Header().Del("X-Request-Id")
			if first == nil {
				first = w
			}
			if w.Body.String() != first.Body.String() || fmt.Sprint(w.Header()) != fmt.Sprint(first.Header()) {
				t.Errorf("%s: another answer: %v %q", name, w.Header(), w.Body)
			}
		}
	}
	levels := map[string]bool{}
	for line := range strings.Lines(log.String()) {
		var l struct{ Level, Msg, Reason string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg == "token request" {
			levels[l.Level] = true
		}
	}
	if len(levels) != 1 {
		t.Errorf("log levels %v, want one", levels)
	}
}

// countingVerify counts comparisons; each takes the given time.
func countingVerify(n *atomic.Int64, takes time.Duration) func(hash, password secret.Text) bool {
	return func(hash, password secret.Text) bool {
		n.Add(1)
		time.Sleep(takes)
		return password.Reveal() == "testing" && strings.HasSuffix(hash.Reveal(), testing5[7:])
	}
}

func TestA5UnlimitedGuessing(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	synctest.Test(t, func(t *testing.T) {
		var compared atomic.Int64
		srv := newServer(t, counted(f.options(), countingVerify(&compared, 55*time.Millisecond)), nil)
		var limited, wrong atomic.Int64
		var wg sync.WaitGroup
		begin := time.Now()
		for conn := range 8 {
			wg.Go(func() {
				for i := range 125 {
					w := do(t, srv, call{path: "/auth?service=r", user: basic([]string{"alice", "bob", "ghost"}[i%3], fmt.Sprint(conn, "-", i))})
					switch w.Code {
					case 401:
						wrong.Add(1)
					case 429:
						limited.Add(1)
						after, err := strconv.Atoi(w.Header().Get("Retry-After"))
						if err != nil || after < 1 || after > 60 || !strings.Contains(w.Body.String(), `"TOOMANYREQUESTS"`) {
							t.Errorf("429 with Retry-After %q and %s", w.Header().Get("Retry-After"), w.Body)
						}
						expectForm(t, "429", w)
					default:
						t.Errorf("status %d: %s", w.Code, w.Body)
					}
					time.Sleep(400 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begin); d > time.Minute {
			t.Fatalf("took %v", d)
		}
		if n := compared.Load(); n > 20 || wrong.Load() != n || limited.Load() != 1000-n {
			t.Errorf("%d comparisons, %d × 401, %d × 429; want at most 20, and the rest 429", n, wrong.Load(), limited.Load())
		}
		w := do(t, srv, call{path: "/auth?service=r", user: basic("alice", "testing")})
		after, _ := strconv.Atoi(w.Header().Get("Retry-After"))
		expectStatus(t, "the right password while refused", w, 429)
		time.Sleep(time.Duration(after) * time.Second)
		expectStatus(t, "at the time named", do(t, srv, call{path: "/auth?service=r", user: basic("alice", "testing")}), 200)
	})
}

func TestA6LockOutFromElsewhere(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	synctest.Test(t, func(t *testing.T) {
		var compared atomic.Int64
		srv := newServer(t, counted(f.options(), countingVerify(&compared, 55*time.Millisecond)), nil)
		for i := range 1000 {
			do(t, srv, call{path: "/auth?service=r", peer: "127.0.0.2:1", user: basic("alice", fmt.Sprint(i))})
		}
		begin := time.Now()
		expectStatus(t, "from elsewhere", do(t, srv, call{path: "/auth?service=r", peer: "127.0.0.3:1", user: basic("alice", "testing")}), 200)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestA6GoodCredentialsAreNeverRefused(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	synctest.Test(t, func(t *testing.T) {
		var compared atomic.Int64
		srv := newServer(t, counted(f.options(), countingVerify(&compared, 55*time.Millisecond)), nil)
		good := func() *httptest.ResponseRecorder {
			return do(t, srv, call{path: "/auth?service=r", user: basic("alice", "testing")})
		}
		expectStatus(t, "first", good(), 200)
		flood := func() {
			for i := range 100 { // all behind the same NAT
				do(t, srv, call{path: "/auth?service=r", user: basic([]string{"alice", "bob"}[i%2], fmt.Sprint(i))})
			}
		}
		flood()
		before := compared.Load()
		expectStatus(t, "remembered", good(), 200)
		if n := compared.Load() - before; n != 0 {
			t.Errorf("%d comparisons for remembered credentials", n)
		}
		// A reload forgets what was verified, but not that these credentials were good.
		if err := srv.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectStatus(t, "after a reload", good(), 200)
		if n := compared.Load() - before; n != 1 {
			t.Errorf("%d comparisons after a reload, want 1", n)
		}
		time.Sleep(10 * time.Minute) // longer than passwords are remembered
		flood()
		expectStatus(t, "after they were forgotten", good(), 200)
	})
}

func TestA7Memory(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	var compared atomic.Int64
	srv := newServer(t, counted(f.options(), countingVerify(&compared, 0)), nil)
	login := func(name string, want int, comparisons int64) {
		t.Helper()
		before := compared.Load()
		expectStatus(t, name, do(t, srv, call{path: "/auth?service=r" + pull, user: basic(name, "testing")}), want)
		if n := compared.Load() - before; n != comparisons {
			t.Errorf("%s: %d comparisons, want %d", name, n, comparisons)
		}
	}
	reload := func(old, new string) {
		t.Helper()
		f.config(strings.Replace(house, old, new, 1))
		if err := srv.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	login("alice", 200, 1)
	login("alice", 200, 0)
	login("bob", 200, 1)
	reload(`  "bob": {password: "`+testing5+`"}`, "")
	login("bob", 401, 1)
	login("alice", 200, 1)
	reload(`  "alice": {password: "`+testing5, `  "alice": {password: "!`+testing5)
	login("alice", 401, 1)
	other, err := bcrypt.GenerateFromPassword([]byte("other"), 5)
	if err != nil {
		t.Fatal(err)
	}
	reload(`  "alice": {password: "`+testing5, `  "alice": {password: "`+string(other))
	login("alice", 401, 1)
	reload("acl:", "x-regctl-setup: {password_cache: 0}\nacl:")
	login("alice", 200, 1)
	login("alice", 200, 1)
}

func TestA7CachedLoginIsFast(t *testing.T) { // not parallel: it measures time
	hash, err := bcrypt.GenerateFromPassword([]byte("testing"), 10)
	if err != nil {
		t.Fatal(err)
	}
	yaml := strings.ReplaceAll(house, testing5, string(hash))
	login := func(srv http.Handler) func() time.Duration {
		c := call{path: "/auth?service=r" + pull, user: basic("alice", "testing")}
		expectStatus(t, "first", do(t, srv, c), 200)
		return func() time.Duration {
			begin := time.Now()
			expectStatus(t, "again", do(t, srv, c), 200)
			return time.Since(begin)
		}
	}
	remembered, compared := medians(9,
		login(newServer(t, newFolder(t, yaml).options(), nil)),
		login(newServer(t, newFolder(t, yaml+"x-regctl-setup: {password_cache: 0}\n").options(), nil)))
	t.Logf("a second login: remembered %v, compared at cost 10 %v", remembered, compared)
	if remembered > compared/4 {
		t.Errorf("a remembered login takes %v, one that is compared %v", remembered, compared)
	}
}

// TestA7Flood is the attack with real hashes: wrong passwords over many connections
// against good logins of another client.
func TestA7Flood(t *testing.T) { // not parallel: it measures time
	conns, cost, good := soak(64, 16), soak(12, 7), soak(20, 8)
	hash, err := bcrypt.GenerateFromPassword([]byte("testing"), cost)
	if err != nil {
		t.Fatal(err)
	}
	yaml := strings.ReplaceAll(house, testing5, string(hash))
	for i := range good {
		yaml = strings.Replace(yaml, "users:\n", fmt.Sprintf("users:\n  \"good%d\": {password: %q}\n", i, hash), 1)
	}
	srv := newServer(t, newFolder(t, yaml).options(), nil)
	idle := time.Now()
	expectStatus(t, "idle", do(t, srv, call{path: "/auth?service=r", peer: "192.0.2.9:1", user: basic("admin", "testing")}), 200)
	alone := time.Since(idle)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for c := range conns {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				doCtx(ctx, srv, call{path: "/auth?service=r", user: basic(fmt.Sprint("victim", i%5), fmt.Sprint(c, i))})
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	var took, anonymous []time.Duration
	for i := range good {
		begin := time.Now()
		expectStatus(t, "good", do(t, srv, call{path: "/auth?service=r", peer: "198.51.100.9:1", user: basic(fmt.Sprint("good", i), "testing")}), 200)
		took = append(took, time.Since(begin))
		begin = time.Now()
		expectStatus(t, "anonymous", do(t, srv, call{path: "/auth?service=r"}), 200)
		anonymous = append(anonymous, time.Since(begin))
	}
	cancel()
	wg.Wait()
	slices.Sort(took)
	slices.Sort(anonymous)
	p95 := took[len(took)*95/100]
	t.Logf("cost %d: alone %v; in the flood p95 %v; anonymous p95 %v", cost, alone, p95, anonymous[len(anonymous)*95/100])
	if p95 > max(5*time.Second, 5*alone) { // five times the figure
		t.Errorf("p95 of a good login is %v", p95)
	}
}

// TestA7TwoHundredLoginsAtOnce: jobs that start in the same second from one address, at
// the default cost.
func TestA7TwoHundredLoginsAtOnce(t *testing.T) {
	t.Parallel()
	var yaml strings.Builder
	yaml.WriteString(head + "users:\n")
	hash := "$2y$10$" + testing5[7:] // the comparison is simulated
	for i := range 200 {
		fmt.Fprintf(&yaml, "  ci-%d: {password: %q}\n", i, hash)
	}
	yaml.WriteString("acl: [{match: {}, actions: [\"*\"]}]\n")
	f := newFolder(t, yaml.String())
	synctest.Test(t, func(t *testing.T) {
		var compared atomic.Int64
		srv := newServer(t, counted(f.options(), countingVerify(&compared, 60*time.Millisecond)), nil)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				expectStatus(t, fmt.Sprint("ci-", i), do(t, srv, call{path: "/auth?service=r" + pull, user: basic(fmt.Sprint("ci-", i), "testing")}), 200)
			})
		}
		wg.Wait()
		// And 200 with the same credentials cost one comparison.
		before := compared.Load()
		if err := srv.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			wg.Go(func() {
				expectStatus(t, "same", do(t, srv, call{path: "/auth?service=r", user: basic("ci-1", "testing")}), 200)
			})
		}
		wg.Wait()
		if n := compared.Load() - before; n > 8 {
			t.Errorf("%d comparisons for 200 logins with the same credentials", n)
		}
	})
}

func TestA7BusyIs503(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		o := f.options()
		o.Verify = func(_, _ secret.Text) bool { <-block; return true }
		srv := newServer(t, o, nil)
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 64 { // more than there are places
			wg.Go(func() {
				doCtx(ctx, srv, call{path: "/auth?service=r", peer: fmt.Sprintf("192.0.2.%d:1", i), user: basic("alice", fmt.Sprint(i))})
			})
		}
		synctest.Wait()
		begin := time.Now()
		w := do(t, srv, call{path: "/auth?service=r", peer: "198.51.100.1:1", user: basic("bob", "testing")})
		expectStatus(t, "no place", w, 503)
		if d := time.Since(begin); d > 24*time.Second || w.Header().Get("Retry-After") == "" {
			t.Errorf("503 after %v, Retry-After %q", d, w.Header().Get("Retry-After"))
		}
		expectStatus(t, "anonymous meanwhile", do(t, srv, call{path: "/auth?service=r"}), 200)
		cancel()
		close(block)
		wg.Wait()
	})
}

func TestA8NULAndLength(t *testing.T) {
	t.Parallel()
	srv := newServer(t, newFolder(t, house).options(), nil)
	for what, tt := range map[string]struct {
		user, password string
		want           int
	}{
		"right":                     {"alice", "testing", 200},
		"NUL after the password":    {"alice", "testing\x00x", 400},
		"NUL in the name":           {"alice\x00", "testing", 400},
		"72 bytes":                  {"alice", strings.Repeat("a", 72), 401},
		"73 bytes":                  {"alice", strings.Repeat("a", 73), 401},
		"1024 bytes":                {"alice", strings.Repeat("a", 1024), 401},
		"1025 bytes":                {"alice", strings.Repeat("a", 1025), 400},
		"name of 255 bytes":         {strings.Repeat("a", 255), "testing", 401},
		"name of 256 bytes":         {strings.Repeat("a", 256), "testing", 400},
		"password with line breaks": {"alice", "testing\n", 401},
	} {
		expectStatus(t, what, do(t, srv, call{path: "/auth?service=r", user: basic(tt.user, tt.password)}), tt.want)
	}
}
