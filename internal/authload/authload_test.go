package authload_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		yaml string
		want []string // in the message
	}{
		"all problems at once": {
			strings.Replace(house, "name: \"public/*\"", "nmae: \"public/*\"", 1) + "ldap_auth: {addr: \"x:389\"}\next_auth: {command: /nonexistent/login}\nusres: {}\n",
			[]string{"auth-server.yml:11:", "nmae", "auth-server.yml:12:", `"ldap_auth"`, `auth-server.yml:13:21: ext_auth.command: the program "/nonexistent/login" does not exist`, "auth-server.yml:14:", "usres"},
		},
		"plugin":              {house + "plugin_authn: {plugin_path: x.so}\n", []string{"auth-server.yml:12:1", "plugin_authn"}},
		"refresh tokens":      {house + "x-regctl-setup: {refresh_tokens: {path: /dev/null/no}}\n", []string{"auth-server.yml:12:18", "refresh_tokens", "/dev/null/no"}},
		"no key":              {strings.Replace(house, `"@KEY@"`, `"/nonexistent/k"`, 1), []string{"signing pair", "/nonexistent/k"}},
		"key for certificate": {strings.Replace(house, `"@CERT@"`, `"@KEY@"`, 1), []string{"signing pair", "server.key"}},
		"server pair":         {strings.Replace(house, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", certificate: /nonexistent/c, key: /nonexistent/k}`, 1), []string{"server pair", "/nonexistent/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st, _, err := authload.Load(newFolder(t, tt.yaml).options())
			if err == nil || st != nil {
				t.Fatalf("state %v, error %v", st, err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
	var problems config.Problems
	_, f, err := authload.Load(newFolder(t, house+"usres: {}\n").options())
	if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Line != 12 || f == nil {
		t.Errorf("error %#v beside file %v; want config.Problems and the file", err, f)
	}
}

func TestLoadUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for what, path := range map[string]string{"absent": filepath.Join(dir, "no.yml"), "a directory": dir} {
		_, f, err := authload.Load(authload.Options{ConfigPath: path})
		if err == nil || f != nil || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", what, err)
		}
		if what == "absent" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("absent: %v is no fs.ErrNotExist", err)
		}
	}
	if runtime.GOOS != "windows" {
		f := newFolder(t, house)
		if err := os.Chmod(f.path("server.key"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := authload.Load(f.options()); err == nil || !strings.Contains(err.Error(), "0644") {
			t.Errorf("a key that everybody can read: %v", err)
		}
		f.config(house + "x-regctl-setup: {allow_readable_key: true}\n")
		if _, _, err := authload.Load(f.options()); err != nil {
			t.Errorf("the same, allowed: %v", err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	f := newFolder(t, strings.NewReplacer("@KEY@", "/certs/server.key", "@CERT@", "/certs/server.pem").Replace(house))
	o := f.options()
	var asked []string
	o.Resolve = func(p string) string {
		asked = append(asked, p)
		return filepath.Join(f.dir, filepath.Base(p))
	}
	st, file, err := authload.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{f.path("auth-server.yml"), f.path("server.pem"), f.path("server.key")}; !slices.Equal(st.Sources, want) {
		t.Errorf("sources %q, want %q", st.Sources, want)
	}
	if !slices.Contains(asked, "/certs/server.key") || slices.Contains(asked, "") {
		t.Errorf("asked to resolve %q", asked)
	}
	if file.Token.Issuer != "Acme auth server" || st.Realm != file.Token.Issuer {
		t.Errorf("issuer %q, realm %q", file.Token.Issuer, st.Realm)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	f := newFolder(t, strings.Replace(house, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", path_prefix: /p, hsts: true, real_ip_header: X-Real-IP, real_ip_pos: -1}`, 1)+`x-regctl-setup:
  trusted_proxies: [10.0.0.0/8]
  services: ["a", "b"]
  password_cache: 90s
  expiration: {pull: 60, push: 3600}
  audit: required
  limits: {scopes: 7, actions: 8, name: 9, user: 10, password: 11, body: 2048, header: 8192, bcrypt: 3, bcrypt_queue: 1s, failures_per_user: 4, failures_per_client: 5, connections: 6, connections_per_address: 2, read_timeout: 3s}
`)
	st, _, err := authload.Load(f.options())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(st.PathPrefix, st.HSTS, st.RealIP, st.Services, st.Expiration, st.PullExpiration, st.PushExpiration, st.AuditRequired,
		st.Limits, st.Guard.Concurrent, st.Guard.Wait, st.Guard.Patience, st.Guard.FailuresPerPair, st.Guard.FailuresPerAddress, st.Guard.Forget,
		st.Listen.Connections, st.Listen.ConnectionsPerAddress, st.Listen.ReadTimeout, st.Listen.Net, st.Listen.Addr)
	want := "/ptrue{X-Real-IP -1 [10.0.0.0/8]} [a b] 15m0s 1m0s 1h0m0s true " +
		"{2048 8192 7 8 9 10 11} 3 1s 12s 4 5 false 6 2 3s tcp127.0.0.1:0"
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	st, _, err = authload.Load(newFolder(t, house+"x-regctl-setup: {trusted_proxies: [], password_cache: 0}\n").options())
	if err != nil || st.RealIP.Trusted == nil || len(st.RealIP.Trusted) != 0 || !st.Guard.Forget {
		t.Errorf("an empty list of proxies: %#v, %v; want nobody, not everybody", st, err)
	}
}

func TestLoaderKeepsTheFile(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	l := authload.NewLoader(f.options())
	if l.File() != nil {
		t.Error("a file before the first load")
	}
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := l.File()
	if _, ok := first.User("alice"); !ok {
		t.Error("no alice")
	}
	f.config("nonsense: {")
	if _, err := l.Load(t.Context()); err == nil || l.File() != first {
		t.Errorf("after a failed load: %v, another file: %v", err, l.File() != first)
	}
}

// large is a config with n users and n entries.
func large(n int) string {
	var b strings.Builder
	b.WriteString(head + "users:\n")
	for i := range n {
		fmt.Fprintf(&b, "  u%d: {password: %q, labels: {team: [t%d]}}\n", i, testing5, i%100)
	}
	b.WriteString("acl:\n")
	for i := range n {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&b, "- {match: {account: \"u%d\", name: \"proj%d/*\"}, actions: [\"pull\"]}\n", i, i)
		case 1:
			fmt.Fprintf(&b, "- {match: {account: \"/^u%d$/\", name: \"/^proj%d/.+$/\"}, actions: [\"pull\"]}\n", i, i)
		case 2:
			fmt.Fprintf(&b, "- {match: {labels: {team: \"t%d\"}, name: \"team-${labels:team}/p%d/*\"}, actions: [\"pull\"]}\n", i%100, i)
		}
	}
	return b.String()
}

func TestLargeConfigLoadsFast(t *testing.T) { // not parallel: it measures time
	f := newFolder(t, large(soak(10_000, 2000)))
	begin := time.Now()
	if _, _, err := authload.Load(f.options()); err != nil {
		t.Fatal(err)
	}
	d := time.Since(begin)
	t.Logf("loaded in %v", d)
	if d > 10*time.Second { // five times the figure
		t.Errorf("took %v", d)
	}
}

func BenchmarkLoad(b *testing.B) {
	f := newFolder(b, large(10_000))
	for b.Loop() {
		if _, _, err := authload.Load(f.options()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkServeToken(b *testing.B) { benchmarkServeToken(b, house) }

// BenchmarkServeTokenOf10000 has as many entries before the one that decides.
func BenchmarkServeTokenOf10000(b *testing.B) {
	var entries strings.Builder
	entries.WriteString("acl:\n")
	for i := range 10_000 {
		fmt.Fprintf(&entries, "- {match: {account: \"other%d\", name: \"team%d/*\"}, actions: [pull]}\n", i, i)
	}
	benchmarkServeToken(b, strings.Replace(house, "acl:\n", entries.String(), 1))
}

func benchmarkServeToken(b *testing.B, config string) {
	srv := newServer(b, newFolder(b, config).options(), nil)
	c := call{path: "/auth?service=r" + pull, user: basic("alice", "testing")}
	do(b, srv, c) // the password's hash and the signature
	b.ReportAllocs()
	for b.Loop() {
		if w := do(b, srv, c); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkServeFreshToken asks for a token that nobody has asked for, each time.
func BenchmarkServeFreshToken(b *testing.B) {
	srv := newServer(b, newFolder(b, house).options(), nil)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		if w := do(b, srv, call{path: "/auth?service=r&scope=repository:public/" + strconv.Itoa(n) + ":pull", user: basic("alice", "testing")}); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkSignToken is the same server's signature alone.
func BenchmarkSignToken(b *testing.B) {
	st, _, err := authload.Load(newFolder(b, house).options())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := st.Issuer.Issue(token.Request{Subject: "alice", Audience: "r", Lifetime: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
}
