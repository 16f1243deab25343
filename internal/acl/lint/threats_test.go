package lint

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// lintText runs all rules on an excerpt.
func lintText(t *testing.T, excerpt string, change func(*Input)) []Finding {
	t.Helper()
	f, problems := config.Parse("auth-server.yml", complete(excerpt))
	if f == nil {
		t.Fatal(problems)
	}
	in := Input{File: f}
	if change != nil {
		change(&in)
	}
	return Run(in)
}

// TestB5Traps: patterns that are wider or narrower than they look, each told by its rule.
func TestB5Traps(t *testing.T) {
	t.Parallel()
	const anonymous = "users:\n  \"\": {}\n  alice: {password: '" + goodHash + "'}\n"
	entry := func(match, actions string) string {
		return "acl:\n  - match: {" + match + "}\n    actions: [" + actions + "]\n"
	}
	for _, c := range []struct{ name, excerpt, rule string }{
		{"deny stops at a slash", entry(`type: repository, name: "private/*"`, "") + "  - match: {type: repository}\n    actions: [pull]\n", "glob-stops-at-slash"},
		{"grant stops at a slash", entry(`account: alice, type: repository, name: "team/*"`, "pull"), "glob-stops-at-slash"},
		{"star is one component", entry(`account: alice, type: repository, name: "*"`, "pull"), "glob-stops-at-slash"},
		{"regexp finds it anywhere", entry(`account: alice, type: repository, name: "/team/"`, "pull"), "unanchored-regexp"},
		{"anchors of alternatives", entry(`account: alice, type: repository, name: "/^a|b$/"`, "pull"), "unanchored-regexp"},
		{"account regexp", entry(`account: "/alice/", type: repository`, "pull"), "unanchored-regexp"},
		{"star is anonymous too", anonymous + entry(`account: "*", type: repository`, "pull"), "wildcard-matches-anonymous"},
		{"dot star is anonymous too", anonymous + entry(`account: "/.*/", type: repository`, "pull"), "wildcard-matches-anonymous"},
		{"no type is the catalog too", entry(`account: "/.+/"`, `"*"`), "catalog-by-accident"},
		{"star beside others", entry(`account: alice, type: repository`, `"*", pull`), "star-not-alone"},
		{"braces without a dollar", entry(`type: repository, name: "{labels:team}/app"`, "pull"), "placeholder-typo"},
		{"capital letters", entry(`account: alice, type: repository, name: Team/app`, "pull"), "name-can-never-exist"},
		{"a tag", entry(`account: alice, type: repository, name: "app:1.0"`, "pull"), "name-can-never-exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := lintText(t, c.excerpt, nil); count(got, c.rule) != 1 {
				t.Errorf("want one %s, found:\n%s", c.rule, golden(got))
			}
		})
	}
}

// TestA9Hashes: eight hashes, eight verdicts.
func TestA9Hashes(t *testing.T) {
	t.Parallel()
	const tail = "$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"
	for _, c := range []struct {
		name, user, hash, word string
		rule                   string
		severity               Severity
	}{
		{"good", "bob", "$2y$10" + tail, "-", "", Info},
		{"cheap", "bob", "$2y$05" + tail, "-", "weak-hash", Warning},
		{"plain text", "bob", "123", "-", "bad-hash", Error},
		{"other scheme", "bob", "$apr1$x$y", "-", "bad-hash", Error},
		{"dear", "bob", "$2y$31" + tail, "-", "hash-cost-too-high", Error},
		{"empty password", "bob", "$2y$10" + tail, "", "weak-hash", Error},
		{"own name", "bob", "$2y$10" + tail, "bob", "weak-hash", Error},
		{"well-known", "bob", "$2y$10" + tail, "Harbor12345", "weak-hash", Error},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			excerpt := fmt.Sprintf("users:\n  %s: {password: '%s'}\nacl:\n  - match: {account: bob, type: repository}\n    actions: [pull]\n", c.user, c.hash)
			got := lintText(t, excerpt, func(in *Input) {
				in.Guess = func(secret.Text, string) (string, bool) { return c.word, c.word != "-" }
			})
			if c.rule == "" {
				if len(got) > 0 {
					t.Errorf("findings about a good hash:\n%s", golden(got))
				}
				return
			}
			at := slices.IndexFunc(got, func(f Finding) bool { return f.Rule == c.rule && f.Severity == c.severity })
			if at < 0 || len(got) != 1 {
				t.Fatalf("want one %s of severity %s, found:\n%s", c.rule, c.severity, golden(got))
			}
			if text := golden(got); strings.Contains(text, c.hash) || c.word == "Harbor12345" && strings.Contains(text, c.word) {
				t.Errorf("the finding tells the hash or the password:\n%s", text)
			}
		})
	}
}

// TestIgnores: a comment stands for its line or the next one, a list for the file, and neither for
// what no server starts with.
func TestIgnores(t *testing.T) {
	t.Parallel()
	const body = "  - match: {account: alice, type: repository, name: '/team/'}\n    actions: [push]\n"
	for _, c := range []struct {
		name, excerpt string
		want          []string
	}{
		{"none", "acl:\n" + body, []string{"push-without-pull", "unanchored-regexp"}},
		{"above", "acl:\n  # lint:ignore unanchored-regexp all teams\n" + body, []string{"push-without-pull"}},
		{"above a comment", "acl:\n  # lint:ignore unanchored-regexp\n  # all teams\n" + body, []string{"push-without-pull"}},
		{"two rules", "acl:\n  # lint:ignore unanchored-regexp,push-without-pull drop box\n" + body, nil},
		{"on the line", "acl:\n" + strings.Replace(body, "}\n", "} # lint:ignore push-without-pull drop box\n", 1), []string{"unanchored-regexp"}},
		{"a blank line between", "acl:\n  # lint:ignore unanchored-regexp\n\n" + body, []string{"push-without-pull", "unanchored-regexp"}},
		{"the file", "x-regctl-setup: {lint: {ignore: [push-without-pull]}}\nacl:\n" + body, []string{"unanchored-regexp"}},
		{"no such rule", "acl:\n  # lint:ignore unanchored-regex\n" + body, []string{"push-without-pull", "unanchored-regexp", "unknown-rule"}},
		{"not what is fatal", "x-regctl-setup: {lint: {ignore: [unknown-key]}}\nacl:\n  - match: {acount: alice} # lint:ignore unknown-key\n    actions: [pull]\n", []string{"unknown-key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range lintText(t, c.excerpt, nil) {
				got = append(got, f.Rule)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("findings %v, want %v", got, c.want)
			}
		})
	}
}

// FuzzRun: whatever the parser reads can be linted, positions lie in the file, messages are one
// line, and fixes that are certain can be made.
func FuzzRun(f *testing.F) {
	f.Add("acl:\n  - match: {name: '/^dev-{labels:team}/.+$/'}\n    actions: [pull]\n", false)
	f.Add("users:\n  '': {}\nacl:\n  - match: {account: ''}\n    actions: ['*', pull]\n", true)
	f.Add("acl:\n  - match: {account: '/^(.*)@x$/', name: '${account:1}/*', ip: 10.0.0.0/8}\n    actions: []\n", false)
	f.Add("acl:\n  - match: {name: 'a[^b-', labels: {'': '${labels:x}'}}\n  -\n", true)
	f.Add("acl:\n  - match: {name: '\r\r/*'}#", true)
	f.Fuzz(func(t *testing.T, text string, bundled bool) {
		file, _ := config.Parse("f", complete(text))
		if file == nil || len(text) > 2000 {
			return
		}
		in := Input{File: file, Bundled: bundled, Service: "hub", Registry: &Registry{Path: "r"}}
		for _, finding := range Run(in) {
			if finding.Pos.Line < 1 || finding.Pos.Column < 1 || finding.Pos.Line > 1+yamlLineBreaks(file.Bytes()) {
				t.Errorf("%v: not in the file", finding)
			}
			if finding.Rule == "" || finding.Message == "" || strings.ContainsAny(finding.Message, "\n\x1b") {
				t.Errorf("%q is no message of one line", finding.Message)
			}
			if finding.Fix != nil && strings.ContainsAny(finding.Fix.Text, "\n\x1b") {
				t.Errorf("%q is no advice of one line", finding.Fix.Text)
			}
		}
		if len(file.Problems()) == 0 {
			if next, _, err := FixAll(in); err != nil || len(next.Problems()) > 0 {
				t.Errorf("fixing a file without problems: %v", err)
			}
		}
	})
}

// yamlLineBreaks is at least the number of line breaks that YAML 1.1 sees (5.4): a carriage return
// alone, NEL, LS and PS end a line too.
func yamlLineBreaks(data []byte) int {
	n := 0
	for _, s := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(data, []byte(s))
	}
	return n
}
