package authload_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/acltest"
	"github.com/regctl-setup/regctl-setup/internal/acl/lint"
	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

// ruleMaker makes configs and requests of few parts, so that they meet often.
type ruleMaker struct{ *rand.Rand }

func (r ruleMaker) of(list ...string) string { return list[r.IntN(len(list))] }

func quoted(s string) string {
	b, _ := json.Marshal(s) //nolint:errchkjson // a text; YAML reads it as JSON does
	return string(b)
}

func (r ruleMaker) name() string {
	return r.of("a/b", "a/c", "dev/a", "dev/b/c", "web/a", "web", "ops/x-1", "b", "a", "b/a")
}

func (r ruleMaker) entry() string {
	var match []string
	field := func(chance int, key string, list ...string) {
		if r.IntN(10) < chance {
			match = append(match, key+": "+quoted(r.of(list...)))
		}
	}
	field(5, "account", "a", "b", "", "/^(a|b)$/", "/^.$/", "*", "/.+/")
	field(7, "name", "a/*", "*", "*/*", "a/b", "/^(a|b)/.+$/", "/a/", "${labels:team}/*", "/^${labels:team}/.*$/", "${account}/*", "/^(dev|web)(/.*)?$/", "d*/?")
	field(2, "type", "repository", "rep*", "registry")
	field(2, "service", "r", "/^r$/", "other")
	field(2, "ip", "10.0.0.0/8", "192.0.2.1", "::/0")
	if r.IntN(6) == 0 {
		match = append(match, "labels: {team: "+quoted(r.of("dev", "web", "*", "/^d/", "${account}"))+"}")
	}
	actions := r.of("[pull]", "[pull]", "[pull, push]", `["*"]`, "[]", "[delete]")
	return "- {match: {" + strings.Join(match, ", ") + "}, actions: " + actions + "}\n"
}

// config returns a config; one in eight has a fault.
func (r ruleMaker) config() string {
	var b strings.Builder
	b.WriteString(head + "users:\n")
	if r.IntN(4) > 0 {
		b.WriteString("  \"\": {}\n")
	}
	fmt.Fprintf(&b, "  a: {password: %q, labels: {team: [%s]}}\n  b: {password: %q, labels: {team: [%s, %s]}}\nacl:\n",
		testing5, r.of("dev", "web"), testing5, r.of("dev", "a", "b"), r.of("ops", "web", `"*"`))
	for range 1 + r.IntN(7) {
		b.WriteString(r.entry())
	}
	text := b.String()
	if r.IntN(8) == 0 {
		fault := [][2]string{{"account:", "acount:"}, {"actions: [pull]", ""}, {"/a/", "/(/"}, {"a/*", "a/[b"}, {"name:", "team:"}, {"users:", "user:"}}[r.IntN(6)]
		text = strings.Replace(text, fault[0], fault[1], 1)
	}
	return text
}

// TestB12LintTestsAndServeAgree: of random configs the linter calls those broken that serve
// refuses; of the others the linter, the test cases and serve say the same about random
// requests, so that what was checked is what is served.
func TestB12LintTestsAndServeAgree(t *testing.T) {
	t.Parallel()
	r := ruleMaker{rand.New(rand.NewPCG(12, 20261124))}
	const each = 10
	want := soak(10_000, 400)
	var served, refused, granted, denied, dead, nobody int
	for served*each < want && !t.Failed() {
		text := r.config()
		f := newFolder(t, text)
		o := f.options()
		o.Verify = func(h, p secretText) bool { return p.Reveal() == "testing" && h.Reveal() == testing5 }
		file, _ := config.Parse("auth-server.yml", []byte(f.expand(text)))
		findings := lint.Run(lint.Input{File: file, Bundled: true, Service: "r"})
		_, _, err := authload.Load(o)
		if broken := slices.ContainsFunc(findings, unservable); broken != (err != nil) {
			t.Fatalf("serve: %v; lint finds it broken: %v, %v\n%s", err, broken, findings, text)
		}
		if err != nil {
			refused++
			continue
		}
		served++
		policy, err := file.Policy()
		if err != nil {
			t.Fatal(err)
		}
		_, anonymous := file.User("")
		srv := newServer(t, o, nil)
		never := map[int]bool{}
		for _, x := range findings {
			if x.Rule != "unreachable-entry" {
				continue
			}
			if i := slices.IndexFunc(file.ACL, func(e acl.Entry) bool { return e.Pos == x.Pos }); i >= 0 {
				never[i] = true
				dead++
			}
		}
		for range each {
			q := acl.Request{Account: r.of("a", "b", ""), Type: "repository", Name: r.name(), Service: "r", Actions: []string{"delete", "pull", "push"}}
			peer := r.of("10.1.2.3", "192.0.2.1", "2001:db8::1")
			user := basic(q.Account, "testing")
			if q.Account == "" {
				user = nil
			}
			host := peer
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			w := do(t, srv, call{path: "/auth?service=r&scope=repository:" + q.Name + ":delete,pull,push", user: user, peer: host + ":1234"})
			var got []string
			if w.Code == 200 {
				c, _ := tokenOf(t, w.Body.Bytes())
				if len(c.Access) > 0 {
					got = c.Access[0].Actions
				}
			}
			var accept, deny []string
			for _, a := range q.Actions {
				if slices.Contains(got, a) {
					accept = append(accept, quoted(a+" "+q.Name))
				} else {
					deny = append(deny, quoted(a+" "+q.Name))
				}
			}
			granted, denied = granted+len(accept), denied+len(deny)
			cases, problems := acltest.Parse("acl-tests.yml", fmt.Appendf(nil, "cases:\n- {who: %s, ip: %q, accept: [%s], deny: [%s]}\n",
				quoted(q.Account), peer, strings.Join(accept, ", "), strings.Join(deny, ", ")))
			if len(problems) > 0 {
				t.Fatalf("cases: %v", problems)
			}
			result, err := acltest.Run(t.Context(), acltest.Target{Config: file, Policy: policy, Service: "r"}, cases, acltest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := result.Err(); err != nil {
				t.Fatalf("serve (%d) grants %q; the test cases: %v\n%s", w.Code, got, err, text)
			}
			q.Labels = map[string][]string{}
			if u, ok := file.User(q.Account); ok {
				q.Labels = u.LabelMap()
			}
			q.IP = netip.MustParseAddr(peer)
			// The rules alone would decide about the anonymous account too where no user "" lets
			// it in; nobody gets so far, and lint may say so.
			if q.Account == "" && !anonymous {
				if nobody++; w.Code != 401 {
					t.Fatalf("no user \"\" and no credentials: %d %s, want 401\n%s", w.Code, w.Body, text)
				}
				continue
			}
			if d := policy.Decide(&q, nil); w.Code != 200 || never[d.Index] {
				t.Fatalf("serve: %d; entry %d decides %+v; lint says that these never do: %v\n%s", w.Code, d.Index+1, q, never, text)
			}
		}
	}
	t.Logf("%d configs served, %d refused; %d requests: %d actions granted, %d denied, %d without an anonymous user; %d entries never decide", served, refused, served*each, granted, denied, nobody, dead)
	if refused < served/30 || granted < served || denied < served || dead < served/30 || nobody < served/30 {
		t.Error("the configs have become one-sided")
	}
}

// unservable reports whether a finding is one that no server starts with.
func unservable(f lint.Finding) bool {
	for _, r := range lint.Rules() {
		if r.Name == f.Rule {
			return f.Severity == lint.Error && len(r.Codes) > 0
		}
	}
	return false
}

// TestD9TLSAskedIsNeverPlain: a config that asks for TLS and can't have it is refused, at
// start and at reload, and an HTTPS port gives nothing to plain HTTP.
func TestD9TLSAskedIsNeverPlain(t *testing.T) {
	t.Parallel()
	server := func(more string) string {
		return strings.Replace(house, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", `+more+`}`, 1)
	}
	asked := map[string]struct{ yaml, want string }{
		"letsencrypt":                   {server(`letsencrypt: {email: a@example.com, host: auth.example.com, cache_dir: /c}`), "letsencrypt"},
		"TLS settings, no certificate":  {server(`tls_min_version: TLS13`), "tls_min_version"},
		"a certificate without its key": {server(`certificate: "@CERT@"`), "key"},
		"files that do not exist":       {server(`certificate: /nonexistent/c, key: /nonexistent/k`), "/nonexistent/c"},
	}
	f := newFolder(t, server(`certificate: "@CERT@", key: "@KEY@"`))
	srv := newServer(t, f.options(), nil)
	addr, _ := serve(t, srv)
	plain := func() {
		t.Helper()
		code, body, err := get(t, freshClient(), "http://"+addr.String()+"/auth?service=r", "alice", "testing")
		if err != nil || code != 400 || strings.Contains(string(body), "token\"") {
			t.Errorf("plain HTTP at the HTTPS port: %d %q, %v; want 400", code, body, err)
		}
	}
	plain()
	for name, tt := range asked {
		if _, err := tryServer(newFolder(t, tt.yaml).options()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, at start: %v; want an error about %s", name, err, tt.want)
		}
		f.config(tt.yaml)
		if err := srv.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, at reload: %v; want an error about %s", name, err, tt.want)
		}
		plain()
	}
}
