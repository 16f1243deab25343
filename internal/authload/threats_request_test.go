package authload_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
)

func TestB3BrokenDenyPatternOpensNothing(t *testing.T) {
	t.Parallel()
	for i, tt := range []struct{ label, deny string }{
		{"a(b", "/^${labels:team}-secret$/"},
		{"foo[", "${labels:team}/*"},
		{"[", "/^${labels:team}$/"},
		{"a{2,1}", "/^${labels:team}/"},
		{"+", "/^(${labels:team})$/"},
		{"\\", "anything/${labels:team}"},
	} {
		yaml := head + `users: {"alice": {password: "` + testing5 + `", labels: {team: ['` + tt.label + `']}}}
acl:
- {match: {name: '` + tt.deny + `'}, actions: []}
- {match: {}, actions: ["*"]}
`
		srv, err := tryServer(newFolder(t, yaml).options())
		if err != nil {
			continue // found at load, which is better still
		}
		w := do(t, srv, call{path: "/auth?service=r&scope=repository:anything/x:pull", user: basic("alice", "testing")})
		expectStatus(t, tt.label, w, 200)
		if c, _ := tokenOf(t, w.Body.Bytes()); c.granted() != "repository:anything/x:" {
			t.Errorf("case %d, label %q: granted %q", i, tt.label, c.granted())
		}
		if srv.Stats().MatcherErrors == 0 {
			t.Errorf("case %d, label %q: no matcher error counted", i, tt.label)
		}
	}
}

func TestB6ScopeTypes(t *testing.T) {
	t.Parallel()
	srv := newServer(t, newFolder(t, house).options(), nil)
	for typ, want := range map[string]string{
		"repository": "repository", "repository(plugin)": "repository", "x9": "x9",
		"!!!repository!!!": "", "(x)": "", "REPOsitory": "", "REPOSITORY": "", "repository()": "", "repository(": "", "repository(A)": "",
		" repository": "", "repository\n": "", "repository(a)(b)": "", "": "",
	} {
		w := do(t, srv, call{path: "/auth" + query("service", "r", "scope", typ+":foo:pull"), user: basic("admin", "testing")})
		if want == "" {
			expectStatus(t, typ, w, 400)
			continue
		}
		expectStatus(t, typ, w, 200)
		if c, _ := tokenOf(t, w.Body.Bytes()); c.granted() != want+":foo:pull" {
			t.Errorf("%q: granted %q", typ, c.granted())
		}
	}
}

func TestB7ActionsAreASet(t *testing.T) {
	t.Parallel()
	srv := newServer(t, newFolder(t, house).options(), nil)
	w := do(t, srv, call{path: "/auth?service=r&scope=repository:a:pull,push,delete,*,root,pull,pull,", user: basic("admin", "testing")})
	c, _ := tokenOf(t, w.Body.Bytes())
	got, err := json.Marshal(c.Access)
	if want := `[{"Type":"repository","Name":"a","Actions":["*","delete","pull","push","root"]}]`; err != nil || string(got) != want {
		t.Errorf("access %s, want %s", got, want)
	}
}

func TestB8Services(t *testing.T) {
	t.Parallel()
	srv := newServer(t, newFolder(t, house+"x-regctl-setup: {services: [\"registry.example\", \"other\"]}\n").options(), nil)
	for _, tt := range []struct {
		query string
		want  int
	}{{"?service=registry.example", 200}, {"?service=other", 200}, {"?service=SOME-OTHER", 400}, {"?service=", 400}, {"", 400}, {"?service=Registry.example", 400}} {
		expectStatus(t, tt.query, do(t, srv, call{path: "/auth" + tt.query}), tt.want)
	}
	open := newServer(t, newFolder(t, house).options(), nil)
	for _, service := range []string{"SOME-OTHER", ""} {
		if c, _ := tokenOf(t, do(t, open, call{path: "/auth" + query("service", service)}).Body.Bytes()); c.Aud != service {
			t.Errorf("without a list: aud %q, want %q", c.Aud, service)
		}
	}
}

// TestB9ForgedAddress asks the whole server; the table of headers is in authserver.
func TestB9ForgedAddress(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(house, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", real_ip_header: X-Forwarded-For}`, 1)
	yaml = strings.Replace(yaml, "acl:\n", "acl:\n- {match: {ip: \"10.0.0.0/8\"}, actions: [\"*\"]}\n- {match: {}, actions: []}\n", 1) +
		"x-regctl-setup: {trusted_proxies: [172.18.0.0/16]}\n"
	srv := newServer(t, newFolder(t, yaml).options(), nil)
	for _, tt := range []struct {
		peer    string
		lines   []string
		allowed bool
	}{
		{"172.18.0.5:1", []string{"10.1.1.1"}, true},
		{"172.18.0.5:1", []string{"10.1.1.1, 203.0.113.9"}, false},
		{"172.18.0.5:1", []string{"10.1.1.1", "203.0.113.9"}, false},
		{"203.0.113.9:1", []string{"10.1.1.1"}, false},
		{"10.2.2.2:1", nil, true},
	} {
		w := do(t, srv, call{path: "/auth?service=r&scope=repository:a:pull", peer: tt.peer, header: http.Header{"X-Forwarded-For": tt.lines}})
		expectStatus(t, fmt.Sprint(tt.peer, tt.lines), w, 200)
		if c, _ := tokenOf(t, w.Body.Bytes()); (c.granted() == "repository:a:pull") != tt.allowed {
			t.Errorf("%s %q: granted %q, allowed should be %v", tt.peer, tt.lines, c.granted(), tt.allowed)
		}
	}
	expectStatus(t, "proxy without a header", do(t, srv, call{path: "/auth?service=r", peer: "172.18.0.5:1"}), 400)
}

func TestB10PositionOutOfRange(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	yaml := strings.Replace(house, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", real_ip_header: X-Forwarded-For, real_ip_pos: 1}`, 1)
	srv := newServer(t, newFolder(t, yaml).options(), &log)
	for _, v := range []http.Header{nil, {"X-Forwarded-For": {""}}, {"X-Forwarded-For": {"10.1.1.1"}}} {
		expectStatus(t, fmt.Sprint(v), do(t, srv, call{path: "/auth?service=r", header: v}), 400)
	}
	if srv.Stats().Panics != 0 || strings.Contains(log.String(), "goroutine") || strings.Contains(log.String(), "panicked") {
		t.Errorf("panics: %s", log.String())
	}
}

func TestC1HugeRequests(t *testing.T) { // not parallel: it measures time and memory
	var log bytes.Buffer
	srv := newServer(t, newFolder(t, house).options(), &log)
	scopes := func(n int) string {
		return "scope=" + strings.Repeat("repository:a/b:pull,push+", n) + "repository:a:pull"
	}
	cases := map[string]call{
		"1 000 scopes":          {method: "POST", path: "/auth", body: scopes(1000)},
		"10 000 scopes":         {method: "POST", path: "/auth", body: scopes(10_000)},
		"100 000 scopes":        {method: "POST", path: "/auth", body: scopes(100_000)},
		"101 scopes in a query": {path: "/auth?" + scopes(100)},
		"17 actions":            {path: "/auth?scope=repository:a:" + strings.Repeat("pull,", 16) + "push"},
		"a query of 900 kB":     {path: "/auth?service=" + strings.Repeat("a", 900_000)},
	}
	refusedCheaply(t, srv, &log, cases)
	// As much as is allowed, eight at once.
	log.Reset()
	full := call{method: "POST", path: "/auth", user: basic("admin", "testing"), body: "service=r&scope=" +
		strings.TrimSuffix(strings.Repeat("repository:"+strings.Repeat("n", 255)+":a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p+", 100), "+")}
	before := allocated()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			w := do(t, srv, full)
			expectStatus(t, "full", w, 200)
			if c, _ := tokenOf(t, w.Body.Bytes()); len(c.Access) != 100 || len(c.Access[0].Actions) != 16 {
				t.Errorf("%d scopes in the token", len(c.Access))
			}
		})
	}
	wg.Wait()
	if grown := allocated() - before; grown > 32<<20 {
		t.Errorf("heap grew by %d bytes", grown)
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 8<<10 || !json.Valid([]byte(line)) {
			t.Errorf("a log line of %d bytes", len(line))
		}
	}
}

// refusedCheaply asks what is over a limit: a short answer soon, and one line in the log.
func refusedCheaply(t *testing.T, srv http.Handler, log *bytes.Buffer, cases map[string]call) {
	t.Helper()
	for name, c := range cases {
		var w *httptest.ResponseRecorder
		best := time.Hour
		for try := 0; try < 5 && best > 100*time.Millisecond; try++ { // a busy machine is slow now and then
			log.Reset()
			begin := time.Now()
			w = do(t, srv, c)
			best = min(best, time.Since(begin))
		}
		if w.Code != 400 && w.Code != 413 {
			t.Errorf("%s: status %d", name, w.Code)
		}
		expectForm(t, name, w)
		if best > 100*time.Millisecond { // five times the figure
			t.Errorf("%s: took %v", name, best)
		}
		if w.Body.Len() > 1024 {
			t.Errorf("%s: answer of %d bytes", name, w.Body.Len())
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || log.Len() > 8<<10 {
			t.Errorf("%s: %d log lines of %d bytes", name, n, log.Len())
		}
	}
}

func TestC6LongNames(t *testing.T) { // not parallel: it measures time
	var log bytes.Buffer
	srv := newServer(t, newFolder(t, house).options(), &log)
	refusedCheaply(t, srv, &log, map[string]call{
		"a name of 9.9 MB":   {method: "POST", path: "/auth", body: "scope=repository:" + strings.Repeat("a", 9_900_000) + ":pull"},
		"a name of 60 kB":    {method: "POST", path: "/auth", body: "scope=repository:" + strings.Repeat("a", 60_000) + ":pull"},
		"an action of 60 kB": {method: "POST", path: "/auth", body: "scope=repository:a:" + strings.Repeat("a", 60_000)},
		"a service of 60 kB": {method: "POST", path: "/auth", body: "service=" + strings.Repeat("a", 60_000)},
	})
}

func allocated() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestC2LabelProduct(t *testing.T) { // not parallel: it measures time
	user := func(name string, values int) string {
		var list []string
		for i := range values {
			list = append(list, fmt.Sprintf("v%d", i))
		}
		all := "[" + strings.Join(list, ", ") + "]"
		return fmt.Sprintf("  %q: {password: %q, labels: {a: %s, b: %s, c: %s}}\n", name, testing5, all, all, all)
	}
	srv := newServer(t, newFolder(t, head+"users:\n"+user("few", 10)+user("many", 100)+`acl:
- {match: {name: '/^${labels:a}-${labels:b}-${labels:c}$/'}, actions: ["pull"]}
- {match: {name: '${labels:a}/${labels:b}/${labels:c}'}, actions: ["push"]}
`).options(), nil)
	ask := func(user, name, want string) time.Duration {
		begin := time.Now()
		w := do(t, srv, call{path: "/auth?service=r&scope=repository:" + name + ":pull,push", user: basic(user, "testing")})
		d := time.Since(begin)
		if c, _ := tokenOf(t, w.Body.Bytes()); c.granted() != "repository:"+name+":"+want {
			t.Errorf("%s as %s: %q, want %q", name, user, c.granted(), want)
		}
		return d
	}
	ask("few", "warm/up", "")
	ask("many", "warm/up", "")
	for name, want := range map[string]struct{ few, many string }{
		"v1-v9-v5": {"pull", "pull"}, "v1-v99-v50": {"", "pull"}, "v1/v99/v50": {"", "push"}, "v1/v99/x": {}, "v100-v1-v1": {},
	} {
		few, many := medians(15, func() time.Duration { return ask("few", name, want.few) }, func() time.Duration { return ask("many", name, want.many) })
		t.Logf("%s: 10 values in 3 labels %v, 100 in 3 %v", name, few, many)
		if many > 20*few { // the product grows by 1,000, the values by 10
			t.Errorf("%s: 100 values take %v, 10 take %v", name, many, few)
		}
	}
}

func TestC3ManyRegexps(t *testing.T) { // not parallel: it measures time
	var yaml strings.Builder
	yaml.WriteString(head + "users: {\"\": {}}\nacl:\n")
	for i := range 1000 {
		fmt.Fprintf(&yaml, "- {match: {name: '/^project-%d-[a-z]+\\/(app|lib)-?.*$/'}, actions: [\"pull\"]}\n", i)
	}
	srv := newServer(t, newFolder(t, yaml.String()).options(), nil)
	body := "service=r&scope="
	for i := range 100 {
		body += fmt.Sprintf("repository:nothing-%d/like-it:pull+", i)
	}
	body = strings.TrimSuffix(body, "+")
	var best time.Duration
	for range 5 {
		begin := time.Now()
		expectStatus(t, "100 scopes", do(t, srv, call{method: "POST", path: "/auth", body: body}), 200)
		if d := time.Since(begin); best == 0 || d < best {
			best = d
		}
	}
	t.Logf("1,000 regexps, 100 scopes: %v", best)
	if best > 250*time.Millisecond { // five times the figure, the best of five
		t.Errorf("100 scopes against 1,000 regexps took %v", best)
	}
}

func TestE5EndpointHygiene(t *testing.T) {
	t.Parallel()
	srv := newServer(t, newFolder(t, house).options(), nil)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FOO", "get"} {
		w := do(t, srv, call{method: method, path: "/auth?service=r", user: basic("admin", "testing")})
		expectStatus(t, method, w, 405)
		if got := w.Header().Get("Allow"); got != "GET, HEAD, POST" {
			t.Errorf("%s: Allow %q", method, got)
		}
		if w := do(t, srv, call{method: method, path: "/"}); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s /: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	for _, path := range []string{"/nope", "/auth/", "/auth/x", "/auth/token/", "//auth", "/token", "/google_auth", "/Auth", "/healthz/", "/metrics"} {
		w := do(t, srv, call{path: path, user: basic("admin", "testing")})
		expectStatus(t, path, w, 404)
	}
	before := time.Now()
	w := do(t, srv, call{path: "/auth?service=r" + pull, user: basic("alice", "testing")})
	expectStatus(t, "GET", w, 200)
	for name, want := range map[string]string{"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff", "Content-Type": "application/json"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	c, answer := tokenOf(t, w.Body.Bytes())
	issued, err := time.Parse(time.RFC3339, fmt.Sprint(answer["issued_at"]))
	if err != nil || issued.Unix() != c.Iat || issued.Before(before.Add(-2*time.Second)) {
		t.Errorf("issued_at %v, iat %d: %v", answer["issued_at"], c.Iat, err)
	}
	if answer["expires_in"] != float64(900) || c.Exp-c.Iat != 900 || c.Iat-c.Nbf != 10 || c.Jti == "" || c.Iss != "Acme auth server" {
		t.Errorf("answer %v, claims %+v", answer["expires_in"], c)
	}
	if _, ok := answer["scope"]; ok {
		t.Error("a GET's answer has a scope")
	}
	_, answer = tokenOf(t, do(t, srv, call{method: "POST", path: "/auth", body: "service=r&scope=repository(plugin):a/b:push,pull,delete+registry:catalog:*&username=alice&password=testing"}).Body.Bytes())
	if answer["scope"] != "repository(plugin):a/b:pull,push" {
		t.Errorf("scope of a POST: %v", answer["scope"])
	}
	_, answer = tokenOf(t, do(t, srv, call{method: "POST", path: "/auth", body: "service=r"}).Body.Bytes())
	if answer["scope"] != "" {
		t.Errorf("scope of a POST that asks for none: %v", answer["scope"])
	}
	head := do(t, srv, call{method: "HEAD", path: "/auth?service=r", user: basic("alice", "testing")})
	if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") == "0" {
		t.Errorf("HEAD: %d with %d bytes, Content-Length %q", head.Code, head.Body.Len(), head.Header().Get("Content-Length"))
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(house, `"Acme auth server"`, `"<script>alert('1')</script> & \"Co\""`, 1)
	yaml = strings.Replace(yaml, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", path_prefix: /registry, hsts: true}`, 1)
	srv := newServer(t, newFolder(t, yaml).options(), nil)
	w := do(t, srv, call{path: "/registry/"})
	body := w.Body.String()
	if w.Code != 200 || strings.Contains(body, "<script>") || !strings.Contains(body, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &#34;Co&#34;") {
		t.Errorf("status %d, page %s", w.Code, body)
	}
	if w.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") ||
		w.Header().Get("Strict-Transport-Security") != "max-age=63072000; includeSubDomains" {
		t.Errorf("headers %v", w.Header())
	}
	for _, path := range []string{"/", "/registry", "/auth"} {
		if w := do(t, srv, call{path: path}); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w = do(t, srv, call{path: "/registry/auth", user: basic("alice", "wrong")})
	if got := w.Header().Get("WWW-Authenticate"); got != `Basic realm="<script>alert('1')</script> & \"Co\""` {
		t.Errorf("challenge %s", got)
	}
}

func TestE6PasswordInTheURL(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	srv := newServer(t, newFolder(t, house).options(), &log)
	for _, c := range []call{
		{method: "POST", path: "/auth?username=alice&password=testing"},
		{method: "POST", path: "/auth?username=alice", body: "password=testing"},
		{method: "POST", path: "/auth?password=testing", body: "username=alice&password=testing"},
		{path: "/auth?service=r&password=testing", user: basic("alice", "testing")},
	} {
		w := do(t, srv, c)
		expectStatus(t, c.path, w, 400)
		if strings.Contains(w.Body.String()+log.String(), "testing") {
			t.Errorf("%s: the password shows", c.path)
		}
	}
}

func logLines(t testing.TB, log *bytes.Buffer) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("a log line is no JSON: %v: %q", err, line)
		}
		if m["msg"] == "token request" {
			out = append(out, m)
		}
	}
	return out
}

func TestF1RightNameInTheLog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		c                            call
		status                       int
		account, presented, response any
	}{
		{call{path: "/auth?service=r", user: basic("alice", "testing")}, 200, "alice", nil, "login"},
		{call{path: "/auth?service=r", user: basic("alice", "wrong")}, 401, nil, "alice", "unauthorized"},
		{call{method: "POST", path: "/auth", body: "username=mallory&password=x&account=admin"}, 400, nil, "mallory", "malformed"},
		{call{path: "/auth?service=r&account=admin"}, 401, nil, "admin", "unauthorized"},
		{call{path: "/auth?service=r"}, 200, "", nil, "login"},
		{call{path: "/auth?service=r" + pull, user: basic("alice", "testing")}, 200, "alice", nil, "granted"},
		{call{path: "/auth?service=r&scope=registry:catalog:*", user: basic("alice", "testing")}, 200, "alice", nil, "denied"},
		{call{path: "/auth?service=r&scope=repository:a:pull,delete", user: basic("alice", "testing")}, 200, "alice", nil, "partial"},
	} {
		var log bytes.Buffer
		srv := newServer(t, newFolder(t, house).options(), &log)
		expectStatus(t, tt.c.path, do(t, srv, tt.c), tt.status)
		lines := logLines(t, &log)
		if len(lines) != 1 {
			t.Fatalf("%s: %d lines", tt.c.path, len(lines))
		}
		l := lines[0]
		if l["account"] != tt.account || l["presented"] != tt.presented || l["result"] != tt.response || l["status"] != float64(tt.status) {
			t.Errorf("%s %s: %v; want account %v, presented %v, result %v", tt.c.path, tt.c.body, l, tt.account, tt.presented, tt.response)
		}
	}
}

func TestF2LogForging(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := newFolder(t, house+"x-regctl-setup: {limits: {failures_per_client: 1000000, failures_per_user: 1000000}}\n").options()
	o.Verify = func(_, _ secretText) bool { return false }
	srv := newServer(t, o, &log)
	random := rand.New(rand.NewPCG(1, 2))
	nasty := []string{"\n", "\r\n", "\x1b[2J", "\u2028", "\u202e", "\x7f", "\u0085", "\u200b", `"`, `\`, `{"level":"INFO"}`, "\xff", "é", "\x01", "a", "\U000e0041", "%"}
	n := soak(100_000, 800)
	for i := range n {
		var b strings.Builder
		for range 1 + random.IntN(300) {
			b.WriteString(nasty[random.IntN(len(nasty))])
		}
		s := b.String()
		c := call{path: "/auth" + query("service", s, "client_id", s, "scope", "repository:"+strings.ReplaceAll(s, " ", "")+":pull"), user: basic("u"+s, "x")}
		if i%2 == 0 {
			c = call{method: "POST", path: "/auth", body: query("username", s, "password", s, "account", s, "client_id", s)[1:]}
		}
		c.header = http.Header{"User-Agent": {s}}
		do(t, srv, c)
	}
	if lines := logLines(t, &log); len(lines) != n {
		t.Errorf("%d lines for %d requests", len(lines), n)
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 8<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
		for _, r := range strings.TrimSuffix(line, "\n") {
			if r != ' ' && !unicode.IsPrint(r) {
				t.Fatalf("%U in the log: %q", r, line)
			}
		}
	}
}

// TestF3SecretsInLogs looks for canaries in all that the server says, at every level, in
// both formats, and in what the recorder gets.
func TestF3SecretsInLogs(t *testing.T) {
	t.Parallel()
	const password, wrong = "canary-right-7c1e", "canary-wrong-9b2f"
	hash := "$2y$05$canarycanarycanarycanaOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOO"
	var seen bytes.Buffer
	var lock sync.Mutex
	out := writerFunc(func(p []byte) (int, error) {
		lock.Lock()
		defer lock.Unlock()
		return seen.Write(p)
	})
	for _, handler := range []slog.Handler{
		slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug - 4}),
		slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug - 4}),
	} {
		f := newFolder(t, strings.Replace(house, testing5, hash, 1))
		o := f.options()
		o.Verify = func(h, p secretText) bool { return p.Reveal() == password }
		rec := &memoryRecorder{}
		srv, err := authserver.New(authserver.Options{Load: authload.NewLoader(o).Load, Logger: slog.New(handler), Recorder: rec})
		if err != nil {
			t.Fatal(err)
		}
		tokens := []string{}
		for _, c := range []call{
			{path: "/auth?service=r" + pull, user: basic("alice", password)},
			{path: "/auth?service=r" + pull, user: basic("alice", wrong)},
			{path: "/auth?service=r", user: basic("ghost", wrong)},
			{path: "/auth?service=r&account=x", user: basic("alice", wrong)},
			{path: "/auth?service=r&password=" + wrong},
			{path: "/auth?service=r&scope=bad", user: basic("alice", wrong)},
			{path: "/nope?x=1", user: basic("alice", wrong)},
			{path: "/", user: basic("alice", wrong)},
			{path: "/healthz?verbose", peer: "127.0.0.1:1", user: basic("alice", wrong)},
			{method: "POST", path: "/auth", body: "username=alice&password=" + password},
			{method: "POST", path: "/auth", body: "username=alice&password=" + wrong},
			{method: "POST", path: "/auth", body: "username=alice&password=" + wrong + "%zz"},
			{method: "POST", path: "/auth", body: "grant_type=refresh_token&refresh_token=" + wrong},
			{method: "PUT", path: "/auth", body: "username=alice&password=" + wrong},
			{path: "/auth?service=r", header: http.Header{"Authorization": {"Basic " + wrong}}},
			{path: "/auth?service=r", header: http.Header{"Authorization": {"Bearer " + wrong}}},
		} {
			w := do(t, srv, c)
			if w.Code == 200 && strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && strings.Contains(w.Body.String(), `"token"`) {
				_, answer := tokenOf(t, w.Body.Bytes())
				tokens = append(tokens, fmt.Sprint(answer["token"]))
			} else {
				_, _ = out.Write(w.Body.Bytes())
			}
		}
		f.config(strings.Replace(house, testing5, hash[:40], 1)) // a broken hash
		_ = srv.Reload(t.Context())
		_, _ = out.Write(do(t, srv, call{path: "/healthz?verbose", peer: "127.0.0.1:1"}).Body.Bytes())
		fmt.Fprintf(out, "%+v %#v %+v\n", rec.all(), rec.all(), srv.Stats())
		lock.Lock()
		text := seen.String()
		lock.Unlock()
		for _, canary := range append(tokens, password, wrong, hash, hash[7:30]) {
			if i := strings.Index(text, canary); i >= 0 {
				t.Errorf("%q shows: …%s…", canary, text[max(0, i-200):min(len(text), i+100)])
			}
		}
		if len(tokens) < 2 || len(rec.all()) < 12 || !strings.Contains(text, "token request") {
			t.Errorf("%d tokens, %d records: the test saw too little", len(tokens), len(rec.all()))
		}
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	rec := &memoryRecorder{}
	load := authload.NewLoader(f.options()).Load
	srv, err := authserver.New(authserver.Options{Load: load, Recorder: rec})
	if err != nil {
		t.Fatal(err)
	}
	w := do(t, srv, call{
		path: "/auth?service=r&client_id=docker&scope=repository(plugin):public/x:pull,push&scope=registry:catalog:*",
		user: basic("alice", "testing"), header: http.Header{"User-Agent": {"docker/29"}},
	})
	c, _ := tokenOf(t, w.Body.Bytes())
	d := rec.all()[0]
	if d.Account != "alice" || !d.Authenticated || d.Presented != "alice" || d.Address.String() != "192.0.2.1" || d.UserAgent != "docker/29" ||
		d.ClientID != "docker" || d.Service != "r" || d.TokenID != c.Jti || d.Lifetime != 15*time.Minute || d.Status != 200 ||
		d.Result != authserver.ResultPartial || d.RequestID != w.Header().Get("X-Request-Id") || d.RequestID == "" || d.Time.IsZero() {
		t.Errorf("record %+v", d)
	}
	if s := d.Scopes[0]; s.Type != "repository" || s.Class != "plugin" || s.Name != "public/x" || !slices.Equal(s.Asked, []string{"pull", "push"}) ||
		!slices.Equal(s.Granted, []string{"pull", "push"}) || s.Entry != 2 || s.Line != 10 || !strings.HasSuffix(s.File, "auth-server.yml") {
		t.Errorf("scope %+v", s)
	}
	if s := d.Scopes[1]; s.Entry != 0 || len(s.Granted) != 0 {
		t.Errorf("scope that nothing matches: %+v", s)
	}
	// A recorder that fails: best effort goes on, required does not.
	rec.fail(io.ErrShortWrite)
	expectStatus(t, "best effort", do(t, srv, call{path: "/auth?service=r"}), 200)
	if w := do(t, srv, call{path: "/healthz"}); !strings.Contains(w.Body.String(), "degraded") {
		t.Errorf("health %s", w.Body)
	}
	f.config(house + "x-regctl-setup: {audit: required}\n")
	if err := srv.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	w = do(t, srv, call{path: "/auth?service=r"})
	expectStatus(t, "F4: required", w, 503)
	if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "token\"") {
		t.Errorf("503: %v %s", w.Header(), w.Body)
	}
	rec.fail(nil)
	expectStatus(t, "F4: space again", do(t, srv, call{path: "/auth?service=r"}), 200)
	if w := do(t, srv, call{path: "/healthz"}); !strings.Contains(w.Body.String(), `"ok"`) {
		t.Errorf("health %s", w.Body)
	}
	if _, err := tryServer(f.options()); err == nil || !strings.Contains(err.Error(), "audit") {
		t.Errorf("a server without a recorder: %v", err)
	}
}

// A panic in a request is its own, and shows nothing of the server.
func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := newFolder(t, house).options()
	o.Verify = func(_, _ secretText) bool { panic("canary-panic-text") }
	srv := newServer(t, o, &log)
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/auth?service=r", http.NoBody)
	r.SetBasicAuth("alice", "testing")
	srv.ServeHTTP(w, r)
	expectStatus(t, "panic", w, 500)
	if strings.Contains(w.Body.String(), "canary") || strings.Contains(w.Body.String(), ".go") {
		t.Errorf("the answer tells too much: %s", w.Body)
	}
	if srv.Stats().Panics != 1 || !strings.Contains(log.String(), "panicked") || strings.Contains(log.String(), "goroutine") || strings.Contains(log.String(), "canary") {
		t.Errorf("%d panics, log %s", srv.Stats().Panics, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 8<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	expectStatus(t, "the next request", do(t, srv, call{path: "/auth?service=r"}), 200)
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	srv := newServer(t, newFolder(t, house+"x-regctl-setup: {expiration: {pull: 300, push: 7200}}\n").options(), nil)
	for q, want := range map[string]int64{
		"": 300, "&scope=repository:a:pull": 300, "&scope=repository:a:pull,push": 7200, "&scope=repository:a:pull&scope=repository:b:push": 7200,
		"&scope=repository:a:pull,delete": 300, // delete is not granted
	} {
		w := do(t, srv, call{path: "/auth?service=r" + q, user: basic("alice", "testing")})
		c, answer := tokenOf(t, w.Body.Bytes())
		if c.Exp-c.Iat != want || answer["expires_in"] != float64(want) {
			t.Errorf("%q: lifetime %d, expires_in %v, want %d", q, c.Exp-c.Iat, answer["expires_in"], want)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
