package authload_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/refresh"
)

// refreshRules are two users, and one without a password.
const refreshRules = `server: {addr: "@ADDR@"}
token: {issuer: "https://auth.example/auth", expiration: 900, key: "@KEY@", certificate: "@CERT@"}
users:
  alice: {password: "` + testing5 + `"}
  bob: {password: "` + testing5 + `"}
  open: {}
  "": {}
acl:
- {match: {account: alice, name: "a/*"}, actions: [pull, push]}
- {match: {account: bob, name: "b/*"}, actions: [pull]}
x-regctl-setup:
  allow_passwordless: true
`

const refreshOn = refreshRules + "  refresh_tokens: true\n"

// refreshOptions keep the tokens in the test's folder.
func refreshOptions(f *folder) authload.Options {
	o := f.options()
	o.Resolve = func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return f.path(p)
	}
	return o
}

// login asks for a refresh token as docker login does.
func login(t testing.TB, srv http.Handler, user, password, service string) (token string, status int) {
	t.Helper()
	w := do(t, srv, call{path: "/auth" + query("service", service, "offline_token", "true", "account", user, "client_id", "docker"), user: basic(user, password)})
	return refreshIn(t, w.Body.Bytes()), w.Code
}

func refreshIn(t testing.TB, body []byte) string {
	t.Helper()
	var answer struct {
		Token string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return answer.Token
}

// redeem shows a refresh token as the clients do; more are further fields of the form.
func redeem(t testing.TB, srv http.Handler, token, service, scope string, more ...string) (status int, body []byte) {
	t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "service": {service}, "client_id": {"containerd-client"}}
	if scope != "" {
		form.Set("scope", scope)
	}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	w := do(t, srv, call{method: "POST", path: "/auth", body: form.Encode()})
	return w.Code, w.Body.Bytes()
}

func refreshServer(t testing.TB, f *folder) (*authserver.Server, *memoryRecorder, *lockedBuffer) {
	t.Helper()
	rec, log := &memoryRecorder{}, &lockedBuffer{}
	srv := newServer(t, refreshOptions(f), log)
	st := srv.State()
	st.Recorder = rec // nobody uses the state yet
	return srv, rec, log
}

func TestRefreshTokensAreOffByDefault(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshRules)
	srv, _, _ := refreshServer(t, f)
	if token, code := login(t, srv, "alice", "testing", "reg"); token != "" || code != 200 {
		t.Errorf("login: %d, refresh token %q; want 200 without one", code, token)
	}
	if code, _ := redeem(t, srv, "junk", "reg", ""); code != 401 {
		t.Errorf("a refresh token: %d, want 401", code)
	}
	if _, err := os.Stat(f.path("state")); err == nil {
		t.Error("a folder for refresh tokens was made")
	}
}

func TestRefreshTokenGivesPresentRights(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	srv, rec, log := refreshServer(t, f)
	token, code := login(t, srv, "alice", "testing", "reg")
	if code != 200 || !strings.HasPrefix(token, refresh.Prefix) {
		t.Fatalf("login: %d with refresh token %q", code, token)
	}
	if last := rec.all()[0]; last.Result != authserver.ResultLogin || !strings.HasPrefix(last.Reason, "gives out refresh token ") {
		t.Errorf("recorded as %s, %q", last.Result, last.Reason)
	}
	rights := func(srv http.Handler, want string, more ...string) {
		t.Helper()
		code, body := redeem(t, srv, token, "reg", "repository:a/x:pull,push repository:b/x:pull", more...)
		if code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		c, _ := tokenOf(t, body)
		if c.Sub != "alice" || c.granted() != want {
			t.Errorf("sub %q with %s, want alice with %s", c.Sub, c.granted(), want)
		}
		if got := refreshIn(t, body); got != token {
			t.Errorf("refresh token %q in the answer, want the one that was shown", got)
		}
	}
	rights(srv, "repository:a/x:pull,push repository:b/x:")
	rights(srv, "repository:a/x:pull,push repository:b/x:", "username", "")
	rights(srv, "repository:a/x:pull,push repository:b/x:", "username", "alice", "account", "alice", "access_type", "offline")
	if last := rec.all()[1]; !last.Authenticated || last.Account != "alice" || !strings.HasPrefix(last.Reason, "refresh token ") {
		t.Errorf("recorded as %+v", last)
	}

	// Other rights with a reload, the same after a restart.
	f.config(strings.Replace(refreshOn, `{account: alice, name: "a/*"}`, `{account: alice, name: "b/*"}`, 1))
	if err := srv.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	rights(srv, "repository:a/x: repository:b/x:pull")
	again, _, _ := refreshServer(t, f)
	rights(again, "repository:a/x: repository:b/x:pull")
	if strings.Contains(log.String(), token) {
		t.Error("the log holds the token")
	}
}

func TestWhoGetsARefreshToken(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	srv, _, _ := refreshServer(t, f)
	for name, tt := range map[string]struct {
		c    call
		want bool
	}{
		"GET":               {call{path: "/auth?service=r&offline_token=true", user: basic("alice", "testing")}, true},
		"POST":              {call{method: "POST", path: "/auth", body: "grant_type=password&username=alice&password=testing&access_type=offline&service=r"}, true},
		"not asked":         {call{path: "/auth?service=r", user: basic("alice", "testing")}, false},
		"offline is false":  {call{path: "/auth?service=r&offline_token=false", user: basic("alice", "testing")}, false},
		"online":            {call{method: "POST", path: "/auth", body: "grant_type=password&username=alice&password=testing&access_type=online&service=r"}, false},
		"without password":  {call{path: "/auth?service=r&offline_token=true", user: basic("open", "x")}, false},
		"anonymous":         {call{path: "/auth?service=r&offline_token=true"}, false},
		"HEAD gives no one": {call{method: "HEAD", path: "/auth?service=r&offline_token=true", user: basic("alice", "testing")}, false},
	} {
		w := do(t, srv, tt.c)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			continue
		}
		if got := strings.Contains(w.Body.String(), "refresh_token"); got != tt.want {
			t.Errorf("%s: refresh token in the answer: %v, want %v", name, got, tt.want)
		}
	}
	list, err := refresh.New(refresh.Options{Path: f.path("state/refresh/tokens.json")}).List()
	if err != nil || len(list) != 2 {
		t.Errorf("%d tokens kept, want 2: %v", len(list), err)
	}
}

func TestRefusedRefreshTokens(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	srv, rec, _ := refreshServer(t, f)
	token, _ := login(t, srv, "alice", "testing", "reg")
	for name, tt := range map[string]struct {
		token, service string
		more           []string
		code           int
		reason         string
	}{
		"junk":            {"junk", "reg", nil, 401, "unknown refresh token"},
		"empty":           {"", "reg", nil, 401, "no refresh token"},
		"cut":             {token[:len(token)-1], "reg", nil, 401, "unknown refresh token"},
		"another service": {token, "other", nil, 401, "another service"},
		"another user":    {token, "reg", []string{"username", "bob"}, 401, "another account's"},
		"another account": {token, "reg", []string{"account", "bob"}, 400, "account and user differ"},
		"another grant":   {token, "reg", []string{"grant_type", "password"}, 401, "another grant"},
	} {
		code, body := redeem(t, srv, tt.token, tt.service, "repository:a/x:pull", tt.more...)
		if code != tt.code || tt.code == 401 && !strings.Contains(string(body), `"UNAUTHORIZED"`) {
			t.Errorf("%s: %d %s, want %d", name, code, body, tt.code)
		}
		list := rec.all()
		if last := list[len(list)-1]; last.Authenticated || !strings.Contains(last.Reason, tt.reason) {
			t.Errorf("%s: recorded as authenticated=%v, %q; want %q", name, last.Authenticated, last.Reason, tt.reason)
		}
		if strings.Contains(string(body), "service") || strings.Contains(string(body), "unknown") {
			t.Errorf("%s: the client learns why: %s", name, body)
		}
	}
	if code, _ := redeem(t, srv, token, "reg", ""); code != 200 {
		t.Errorf("the token itself: %d, want 200", code)
	}
}

// TestDeadRefreshTokens: what ends an account's password ends its tokens, for good.
func TestDeadRefreshTokens(t *testing.T) {
	t.Parallel()
	other := `"$2y$05$` + strings.Repeat("a", 53) + `"`
	for name, change := range map[string][2]string{
		"removed":          {`  alice: {password: "` + testing5 + "\"}\n", ""},
		"disabled":         {`alice: {password: "$2y`, `alice: {password: "!$2y`},
		"another password": {`alice: {password: "` + testing5 + `"`, `alice: {password: ` + other},
		"expired":          {"  allow_passwordless: true\n", "  allow_passwordless: true\n  users: {alice: {expires: 2020-01-01}}\n"},
		"no password":      {`alice: {password: "` + testing5 + `"`, "alice: {"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, refreshOn)
			srv, _, _ := refreshServer(t, f)
			token, _ := login(t, srv, "alice", "testing", "reg")
			kept, _ := login(t, srv, "bob", "testing", "reg")
			if !strings.Contains(refreshOn, change[0]) {
				t.Fatalf("no %q in the config", change[0])
			}
			f.config(strings.Replace(refreshOn, change[0], change[1], 1))
			if err := srv.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			if code, _ := redeem(t, srv, token, "reg", ""); code != 401 {
				t.Errorf("its token: %d, want 401", code)
			}
			if code, _ := redeem(t, srv, kept, "reg", ""); code != 200 {
				t.Errorf("another account's token: %d, want 200", code)
			}
			f.config(refreshOn)
			if err := srv.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			if code, _ := redeem(t, srv, token, "reg", ""); code != 401 {
				t.Errorf("its token when all is as before: %d, want 401", code)
			}
		})
	}
}

func TestRefreshTokenIsJudgedWithoutSweep(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	now := time.Now()
	o := refreshOptions(f)
	o.Now = func() time.Time { return now }
	f.config(strings.Replace(refreshOn, "refresh_tokens: true", "refresh_tokens: {lifetime: 1h}\n  users: {bob: {expires: 2999-01-01}}", 1))
	srv := newServer(t, o, nil)
	token, _ := login(t, srv, "alice", "testing", "reg")
	now = now.Add(time.Hour + time.Second)
	if code, _ := redeem(t, srv, token, "reg", ""); code != 401 {
		t.Errorf("after its lifetime: %d, want 401", code)
	}
	token, _ = login(t, srv, "bob", "testing", "reg")
	now = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)
	if code, _ := redeem(t, srv, token, "reg", ""); code != 401 {
		t.Errorf("after the account's end: %d, want 401", code)
	}
}

// TestFailedRefreshesCount: guesses end in 429, and a good token is served all the same.
func TestFailedRefreshesCount(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	srv, _, _ := refreshServer(t, f)
	token, _ := login(t, srv, "alice", "testing", "reg")
	codes := map[int]int{}
	for range 15 {
		code, _ := redeem(t, srv, "junk", "reg", "")
		codes[code]++
	}
	if codes[401] != 10 || codes[429] != 5 {
		t.Errorf("15 guesses: %v, want 10 of 401 and 5 of 429", codes)
	}
	if code, _ := redeem(t, srv, token, "reg", ""); code != 200 {
		t.Errorf("a good token meanwhile: %d, want 200", code)
	}
	for i := range 15 {
		redeem(t, srv, "junk", "reg", "", "username", string(rune('a'+i)))
	}
	if _, code := login(t, srv, "alice", "wrong", "reg"); code != 429 {
		t.Errorf("a wrong password from the same address: %d, want 429", code)
	}
}

// TestRevokedElsewhere: another process revokes, and the server knows at the next request.
func TestRevokedElsewhere(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	srv, _, _ := refreshServer(t, f)
	token, _ := login(t, srv, "alice", "testing", "reg")
	if code, _ := redeem(t, srv, token, "reg", ""); code != 200 {
		t.Fatalf("before: %d", code)
	}
	store := refresh.New(refresh.Options{Path: f.path("state/refresh/tokens.json")})
	if removed, err := store.Remove(context.Background(), func(*refresh.Token) bool { return true }); err != nil || len(removed) != 1 {
		t.Fatalf("removed %v, %v", removed, err)
	}
	if code, _ := redeem(t, srv, token, "reg", ""); code != 401 {
		t.Errorf("after the revocation: %d, want 401", code)
	}
}

// TestUnrecordedRefreshToken: with audit required a token whose line can't be written is
// not left behind.
func TestUnrecordedRefreshToken(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	srv, rec, _ := refreshServer(t, f)
	srv.State().AuditRequired = true
	rec.fail(os.ErrInvalid)
	w := do(t, srv, call{path: "/auth?service=r&offline_token=true", user: basic("alice", "testing")})
	if w.Code != 503 || strings.Contains(w.Body.String(), "refresh_token") {
		t.Errorf("%d %s, want 503", w.Code, w.Body)
	}
	list, err := refresh.New(refresh.Options{Path: f.path("state/refresh/tokens.json")}).List()
	if err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestDamagedRefreshTokens: a file that can't be read is told, and passwords work on.
func TestDamagedRefreshTokens(t *testing.T) {
	t.Parallel()
	f := newFolder(t, refreshOn)
	srv, rec, log := refreshServer(t, f)
	token, _ := login(t, srv, "alice", "testing", "reg")
	f.write("state/refresh/tokens.json", []byte("{"))
	if code, _ := redeem(t, srv, token, "reg", ""); code != 500 {
		t.Errorf("a token: %d, want 500", code)
	}
	if got, code := login(t, srv, "alice", "testing", "reg"); code != 200 || got != "" {
		t.Errorf("login: %d with %q, want 200 without a refresh token", code, got)
	}
	if !slices.ContainsFunc(rec.all(), func(d authserver.Decision) bool { return strings.Contains(d.Reason, "tokens.json") }) ||
		!strings.Contains(log.String(), "no refresh token could be given out") {
		t.Errorf("not told: %s", log.String())
	}
	if err := srv.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "tokens.json") {
		t.Errorf("reload: %v, want an error about the file", err)
	}
}
