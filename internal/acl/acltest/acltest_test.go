package acltest

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/config"
)

const hash = `"$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"`

// target reads a config with the given users and entries.
func target(t *testing.T, users, entries string, extra ...string) Target {
	t.Helper()
	text := "server: {addr: \":5001\"}\ntoken: {issuer: a, expiration: 900, certificate: c.pem, key: k.pem}\n" +
		strings.Join(extra, "\n") + "\nusers:\n" + strings.ReplaceAll(users, "HASH", hash) + "\nacl:\n" + entries
	f, problems := config.Parse("auth.yml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p, err := f.Policy()
	if err != nil {
		t.Fatal(err)
	}
	return Target{Config: f, Policy: p, Service: "registry"}
}

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, problems := Parse("tests.yml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return f
}

func run(t *testing.T, tg Target, text string, o Options) *Result {
	t.Helper()
	r, err := Run(context.Background(), tg, parse(t, text), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	someUsers = `
  "": {}
  dev: {password: HASH, labels: {team: [backend]}}
  off: {password: "!$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"}`
	someEntries = `
  - {match: {account: dev, ip: "10.0.0.0/8", name: "office/*"}, actions: [pull, push]}
  - {match: {labels: {team: "*"}, type: repository, name: '/^dev-(?:${labels:team})/.+$/'}, actions: [pull, push], comment: teams}
  - {match: {account: "/.+/", type: repository, service: other}, actions: [delete]}
  - {match: {account: "/.+/", type: repository, name: "prod/*"}, actions: [pull]}
  - {match: {account: "", type: repository, name: '/^public/.+$/'}, actions: [pull]}
  - {match: {account: dev, type: plugin}, actions: [load]}
`
)

func TestRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       []string // parts of the failures, in order; none: it passes
	}{
		{"a name", `{who: dev, accept: ["push dev-backend/api"], deny: ["delete dev-backend/api", "push dev-web/x"]}`, nil},
		{"a pattern", `{who: dev, accept: ["pull,push dev-backend/**"], deny: ["push dev-web/**", "delete **"]}`, nil},
		{"a pattern within a component", `{who: dev, accept: ["pull prod/*"]}`, nil},
		{"a pattern deeper than the entry", `{who: dev, accept: ["pull prod/**"]}`, []string{"pull prod/** must be allowed, but prod/a/a is denied: no entry matches"}},
		{"a name that is denied", `{who: dev, accept: ["push prod/x"]}`, []string{"push prod/x must be allowed, but is denied by entry 4 (auth.yml:14), which grants [pull]"}},
		{"a name that is allowed", `{who: dev, deny: ["push dev-backend/x"]}`, []string{`push dev-backend/x must be denied, but is allowed by entry 2 (auth.yml:12) "teams", which grants [pull, push]`}},
		{"a pattern with one exception", `{who: dev, deny: ["push dev-*/api"]}`, []string{"push dev-*/api must be denied, but dev-backend/api is allowed by entry 2"}},
		{"two of several actions", `{who: dev, deny: ["pull,push,delete dev-backend/x"]}`, []string{"pull dev-backend/x must be denied", "push dev-backend/x must be denied"}},
		{"an address", `{who: dev, ip: 10.1.1.1, accept: ["push office/x", "push office/*"]}`, nil},
		{"another address", `{who: dev, ip: 192.0.2.1, deny: ["push office/x", "push office/*"]}`, nil},
		{"every address, accepted", `{who: dev, accept: ["push office/x"]}`, []string{"push office/x must be allowed, but is denied: no entry"}},
		{"every address, denied", `{who: dev, deny: ["push office/x", "push office/*"]}`, []string{"but is allowed from 10.", "but office/a is allowed from 10."}},
		{"the labels of the case", `{who: guest, labels: {team: [web, api]}, accept: ["push dev-web/x", "push dev-api/**"], deny: ["push dev-backend/**"]}`, nil},
		{"one label value", `{who: guest, labels: {team: web}, accept: ["push dev-web/x"]}`, nil},
		{"in place of those of the file", `{who: dev, labels: {team: [web]}, deny: ["push dev-backend/x"]}`, nil},
		{"no labels", `{who: guest, labels: {}, accept: ["pull prod/x"], deny: ["push **"]}`, nil},
		{"anonymous", `{who: anonymous, accept: ["pull public/**"], deny: ["pull prod/**", "push **"]}`, nil},
		{"the empty account", `{who: "", accept: ["pull public/x"]}`, nil},
		{"a service", `{who: dev, service: other, accept: ["delete x/y", "delete z*"]}`, nil},
		{"a type", `{who: dev, type: plugin, accept: ["load Some/Name"], deny: ["pull Some/Name"]}`, nil},
		{"the catalog", `{who: dev, deny: ["* registry:catalog"]}`, nil},
		{"the catalog, accepted", `{who: dev, accept: ["* registry:catalog"]}`, []string{"* registry:catalog must be allowed, but is denied: no entry"}},
		{"disabled", `{who: off, deny: ["pull prod/x", "pull prod/*"]}`, nil},
		{"disabled, accepted", `{who: off, accept: ["pull prod/x"]}`, []string{`must be allowed to pull prod/x: "off" can't log in: disabled`}},
		{"a pattern that no name fits", `{who: dev, deny: ["push A*"]}`, []string{`push A*: no name that can exist matches "A*"`}},
		{"nobody", `{who: dve, deny: ["push x"]}`, []string{`no user "dve" in auth.yml; an account that lives elsewhere needs labels (did you mean "dev"?)`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tg := target(t, someUsers, someEntries)
			r := run(t, tg, "cases: ["+tc.text+"]", Options{})
			c := r.Cases[0]
			var got []string
			if c.Err != "" {
				got = append(got, c.Err)
			}
			for _, k := range c.Checks {
				for _, f := range k.Failures {
					got = append(got, f.Message)
					w := f.Witness
					if w == nil {
						continue
					}
					// What a failure claims is what the engine says.
					d := tg.Policy.Decide(w, nil)
					if granted := len(d.Granted) == 1; granted == k.Accept || d.Index != f.Entry {
						t.Errorf("witness %+v: granted %v by %d, entry %d in %q", w, granted, d.Index, f.Entry, f.Message)
					}
				}
			}
			if len(got) != len(tc.want) {
				t.Fatalf("failures %q, want %q", got, tc.want)
			}
			for i := range got {
				if !strings.Contains(got[i], tc.want[i]) {
					t.Errorf("failure %q, want %q in it", got[i], tc.want[i])
				}
			}
			if c.Passed() != (len(tc.want) == 0) || (r.Err() == nil) != c.Passed() {
				t.Errorf("Passed %v, Err %v with failures %q", c.Passed(), r.Err(), got)
			}
		})
	}
}

func TestRunOutsideTheRules(t *testing.T) {
	t.Parallel()
	users := "\n  dev: {password: HASH}"
	entries := "\n  - {match: {account: \"/.*/\"}, actions: [pull]}\n"
	t.Run("without an anonymous user nobody is anonymous", func(t *testing.T) {
		t.Parallel()
		r := run(t, target(t, users, entries), `cases: [{who: anonymous, deny: ["pull **"]}, {who: anonymous, accept: ["pull x"]}]`, Options{})
		if !r.Cases[0].Passed() || r.Cases[1].Passed() {
			t.Errorf("passed %v, %v, want true, false", r.Cases[0].Passed(), r.Cases[1].Passed())
		}
	})
	t.Run("expired", func(t *testing.T) {
		t.Parallel()
		tg := target(t, users, entries, `x-regctl-setup: {users: {dev: {expires: "2026-01-02T00:00:00Z"}}}`)
		for _, tc := range []struct {
			now  time.Time
			want bool
		}{{time.Time{}, true}, {time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), true}, {time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), false}} {
			tg.Now = tc.now
			if got := run(t, tg, `cases: [{who: dev, accept: ["pull x"]}]`, Options{}).Err() == nil; got != tc.want {
				t.Errorf("at %v: passed %v, want %v", tc.now, got, tc.want)
			}
		}
	})
	t.Run("a service that is not signed for", func(t *testing.T) {
		t.Parallel()
		tg := target(t, users, entries, "x-regctl-setup: {services: [registry]}")
		r := run(t, tg, `cases: [{who: dev, accept: ["pull x"]}, {who: dev, service: no, accept: ["pull x"]}, {who: dev, service: no, deny: ["pull **"]}]`, Options{})
		if !r.Cases[0].Passed() || r.Cases[1].Passed() || !r.Cases[2].Passed() {
			t.Errorf("result %v", r.Err())
		}
	})
	t.Run("accounts of an external login", func(t *testing.T) {
		t.Parallel()
		tg := target(t, users, entries, "ext_auth: {command: /bin/true}")
		r := run(t, tg, `cases: [{who: stranger, accept: ["pull x"], deny: ["push **"]}]`, Options{})
		if err := r.Err(); err != nil || !strings.Contains(r.Cases[0].Note, "external login") {
			t.Errorf("Err %v, note %q", err, r.Cases[0].Note)
		}
	})
	t.Run("a run that ends early", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := Run(ctx, target(t, users, entries), parse(t, `cases: [{who: dev, deny: ["push x"]}]`), Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	})
}

func TestRunChooses(t *testing.T) {
	t.Parallel()
	tg := target(t, someUsers, someEntries)
	const cases = `cases: [{who: dev, reason: prod is safe, deny: ["push prod/**"]}, {who: "", deny: ["push **"]}]`
	for _, tc := range []struct {
		expr         string
		ran, skipped int
		err          error
	}{{"", 2, 0, nil}, {"dev", 1, 1, nil}, {"safe$", 1, 1, nil}, {"^anonymous$", 1, 1, nil}, {"zzz", 0, 2, ErrNoCase}} {
		r := run(t, tg, cases, Options{Run: regexp.MustCompile(tc.expr)})
		if len(r.Cases) != tc.ran || r.Skipped != tc.skipped || !errors.Is(r.Err(), tc.err) {
			t.Errorf("%q: ran %d, skipped %d, error %v, want %d, %d, %v", tc.expr, len(r.Cases), r.Skipped, r.Err(), tc.ran, tc.skipped, tc.err)
		}
	}
	if err := run(t, tg, "cases: []", Options{}).Err(); !errors.Is(err, ErrNoCase) {
		t.Errorf("no cases: error %v, want ErrNoCase", err)
	}
}

func TestErrListsAtMostTen(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("cases:\n")
	for i := range 15 {
		fmt.Fprintf(&b, "  - {who: dev, accept: [push none/x%d]}\n", i)
	}
	err := run(t, target(t, someUsers, someEntries), b.String(), Options{}).Err()
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 11 || !strings.HasPrefix(lines[0], "tests.yml:2:25: dev: push none/x0 must be") || lines[10] != "tests.yml: 5 more failures" {
		t.Errorf("error:\n%v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	f := parse(t, `
cases:
  - &c {who: 7, labels: {a: [x, y], b: z}, ip: "::ffff:10.0.0.1", accept: "pull a", deny: ["pull,pull,push  b/**"], reason: "so
    it is"}
  - *c
`)
	if len(f.Cases) != 2 {
		t.Fatalf("%d cases, want 2", len(f.Cases))
	}
	for i, c := range f.Cases {
		got := fmt.Sprintf("%s|%v|%v|%s|%v|%v|%v|%s|%d:%d", c.Who, c.Labels, c.IP, c.Type, c.Accept[0].Name, c.Deny[0].Actions, c.Deny[0].Names, c.Title(), c.Pos.Line, c.Pos.Column)
		want := fmt.Sprintf("7|map[a:[x y] b:[z]]|10.0.0.1|repository|a|[pull push]|b/**|7: so it is|%d:5", 3+2*i)
		if got != want {
			t.Errorf("case %d:\n got %s\nwant %s", i+1, got, want)
		}
	}
}

func TestParseProblems(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       []string // "line:col: message [hint]", parts of it
	}{
		{"empty", "", []string{"1:1: the file is empty"}},
		{"comment only", "# nothing", []string{"1:1: the file is empty"}},
		{"a list at the top", "- who: x", []string{"1:1: the file: expected a map with cases, found a list [put the list below a key: cases:]"}},
		{"no cases", "{}", []string{"1:1: the file: cases is missing"}},
		{"misspelt cases", "case: []", []string{`1:1: unknown key "case" in the file [did you mean "cases"?]`}},
		{"cases twice", "cases: []\ncases: []", []string{`2:1: the file: the key "cases" stands here again, first on line 1`}},
		{"cases no list", "cases: {who: x}", []string{"1:8: cases: expected a list, found a map"}},
		{"syntax", "cases:\n  - who: x\n - y", []string{"did not find expected"}},
		{"star without quotes", "cases:\n- {who: x, accept: [* registry:catalog]}", []string{`[put a line that begins with * in quotes`}},
		{"case no map", "cases: [who]", []string{"1:9: case: expected a map with who, labels"}},
		{"no space after the colon", "cases: [\"who:x\"]", []string{"[put a space after the colon: who: ...]"}},
		{"keys", "cases:\n- {whom: x, accepts: [pull x], Deny: [push x], label: {}, IP: 1, because: y}", []string{
			`2:4: unknown key "whom" in case [did you mean "who"?]`, `2:13: unknown key "accepts" in case [did you mean "accept"?]`, `unknown key "Deny" in case [did you mean "deny"?]`,
			`unknown key "label" in case [did you mean "labels"?]`, `unknown key "IP" in case [did you mean "ip"?]`, `unknown key "because" in case [expected one of who, labels`}},
		{"no who", "cases:\n- {deny: [push x]}", []string{"2:3: case: who is missing"}},
		{"who is null", "cases:\n- {who: ~, deny: [push x]}", []string{`2:9: who: expected a text, found nothing [the anonymous account is written "" or anonymous]`}},
		{"nothing tested", "cases:\n- {who: x, deny: []}", []string{"2:3: case: it tests nothing"}},
		{"labels", "cases:\n- {who: x, labels: [team], deny: [push x]}", []string{"2:20: labels: expected a map"}},
		{"a label's value", "cases:\n- {who: x, labels: {team: [{}]}, deny: [push x]}", []string{"2:28: labels.team: expected a text, found a map"}},
		{"ip", "cases:\n- {who: x, ip: 10.0.0.0/8, deny: [push x]}", []string{`2:16: ip: "10.0.0.0/8" is not an IP address`}},
		{"type", "cases:\n- {who: x, type: Repo, deny: [push x]}", []string{`2:18: type: no scope can have the type "Repo"`}},
		{"one word", "cases:\n- {who: x, deny: [prod/x]}", []string{`2:19: deny: "prod/x": expected actions and a name`}},
		{"spaces between actions", "cases:\n- {who: x, deny: ['pull, push x']}", []string{"expected actions and a name, such as \"push some/name\" [actions are separated by commas"}},
		{"the wrong way round", "cases:\n- {who: x, deny: ['prod/x pull']}", []string{`[the actions come first: "pull prod/x"]`}},
		{"an action", "cases:\n- {who: x, deny: ['read prod/x']}", []string{`no registry asks for the action "read", expected pull, push, delete or * [did you mean "pull"?]`}},
		{"no action", "cases:\n- {who: x, deny: ['pull, prod/x']}", []string{`no registry asks for the action ""`}},
		{"a tag", "cases:\n- {who: x, deny: ['pull prod/x:1.2']}", []string{`2:19: deny: "prod/x:1.2" has a tag`}},
		{"a digest", "cases:\n- {who: x, deny: ['pull prod/x@sha256:00']}", []string{"has a digest"}},
		{"upper case", "cases:\n- {who: x, deny: ['pull Prod/x']}", []string{`no repository can have the name "Prod/x" [did you mean "prod/x"?]`}},
		{"a regexp", "cases:\n- {who: x, deny: ['pull /^prod/']}", []string{"no wildcard here"}},
		{"aliases without end", "a: &a [*a]", []string{"1:1: the aliases of this file"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, problems := Parse("t.yml", []byte(tc.text))
			if f != nil {
				t.Error("a file with problems was returned")
			}
			if len(problems) != len(tc.want) {
				t.Fatalf("problems:\n%v\nwant %d", problems, len(tc.want))
			}
			for i, p := range problems {
				got := fmt.Sprintf("%d:%d: %s [%s]", p.Line, p.Column, p.Msg, p.Hint)
				if !strings.Contains(got, tc.want[i]) {
					t.Errorf("problem %s, want %s in it", got, tc.want[i])
				}
			}
		})
	}
}

// TestReports checks that every form is well-formed and says the same, for texts that have a
// meaning in each of them.
func TestReports(t *testing.T) {
	t.Parallel()
	r := run(t, target(t, someUsers, someEntries), `cases:
  - {who: dev, reason: 'a # <b> & "c" \ ]]>', accept: ["push prod/x"]}
  - {who: dev, accept: ["pull prod/x"]}
  - {who: ghost, reason: x, accept: ["pull prod/x"]}
`, Options{})
	var text, js, junit, tap bytes.Buffer
	for _, e := range []error{Text(&text, r), JSON(&js, r), JUnit(&junit, r), TAP(&tap, r)} {
		if e != nil {
			t.Fatal(e)
		}
	}
	if got := text.String(); !strings.HasPrefix(got, "FAIL tests.yml:2 dev: a # <b>") || !strings.HasSuffix(got, "\n1 passed, 2 failed\n") {
		t.Errorf("text:\n%s", got)
	}
	var v struct {
		Passed, Failed int
		Cases          []struct {
			Who    string
			Passed bool
			Error  string
			Checks []struct{ Failures []struct{ Entry int } }
		}
	}
	if err := json.Unmarshal(js.Bytes(), &v); err != nil || v.Passed != 1 || v.Failed != 2 || len(v.Cases) != 3 || v.Cases[0].Checks[0].Failures[0].Entry != 4 || v.Cases[2].Error == "" {
		t.Errorf("JSON %+v, error %v", v, err)
	}
	var x junitSuites
	if err := xml.Unmarshal(junit.Bytes(), &x); err != nil {
		t.Fatal(err)
	}
	if x.Tests != 3 || x.Failures != 1 || x.Errors != 1 || x.Suite.Cases[0].Name != `dev: a # <b> & "c" \ ]]>` || x.Suite.Cases[0].Failure == nil || x.Suite.Cases[1].Failure != nil || x.Suite.Cases[2].Error == nil {
		t.Errorf("JUnit:\n%s", junit.String())
	}
	want := []string{"TAP version 13", "1..3", `not ok 1 - dev: a \# <b> & "c" \\ ]]>`, "# :2 push prod/x must be allowed", "ok 2 - dev", "not ok 3 - ghost: x", "# no user"}
	lines := strings.Split(strings.TrimSpace(tap.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("TAP:\n%s", tap.String())
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("TAP line %d is %q, want %q at its start", i+1, lines[i], want[i])
		}
	}
}

// FuzzParse checks that problems have places within the file, and that what is read can be run.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"cases:\n- {who: dev, accept: [push dev-backend/api], deny: ['push prod/**']}", "cases: []", "- who", "cases: [{who: '', labels: {a: [b]}, ip: 1.2.3.4, deny: ['* registry:catalog']}]",
		"a: &a [*a]", "cases: &c\n- *c", "cases: [{<<: {who: x}}]", "\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, problems := Parse("t", []byte(text))
		if (file == nil) != (len(problems) > 0) {
			t.Fatalf("file %v with problems %v", file, problems)
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + strings.Count(text, "\u0085") + strings.Count(text, "\u2028") + strings.Count(text, "\u2029") + 2
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Msg == "" {
				t.Errorf("problem %+v in %d lines", p, lines)
			}
		}
		if file == nil {
			return
		}
		for _, c := range file.Cases {
			if len(c.Accept)+len(c.Deny) == 0 {
				t.Error("a case that tests nothing")
			}
			for _, q := range append(c.Accept, c.Deny...) {
				if len(q.Actions) == 0 || (q.Name == "") == (q.Names.String() == "") {
					t.Errorf("question %+v", q)
				}
			}
		}
	})
}
