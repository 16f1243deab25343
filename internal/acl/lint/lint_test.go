package lint

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

var update = flag.Bool("update", false, "rewrite the golden findings and the table of docs/lint.md")

// directives read the first line of a config of the corpus: # lint-test: key=value …
func directives(t *testing.T, words string, in *Input) {
	t.Helper()
	for _, w := range strings.Fields(words) {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "engine":
			in.Bundled = value == "bundled"
		case "service":
			in.Service = value
		case "issuer", "delete":
			if in.Registry == nil {
				in.Registry = &Registry{Path: "conf/registry/config.yml", Delete: true}
			}
			if key == "issuer" {
				in.Registry.Issuer = value
			} else {
				in.Registry.Delete = value == "on"
			}
		case "guess":
			in.Guess = func(_ secret.Text, name string) (string, bool) { return value, name == value }
		default:
			t.Fatalf("unknown directive %q", w)
		}
	}
}

func input(t *testing.T, name string, data []byte) Input {
	t.Helper()
	f, problems := config.Parse(name, data)
	if f == nil {
		t.Fatalf("%s: %v", name, problems)
	}
	in := Input{File: f}
	if first, _, _ := strings.Cut(string(data), "\n"); strings.HasPrefix(first, "# lint-test:") {
		directives(t, strings.TrimPrefix(first, "# lint-test:"), &in)
	}
	return in
}

// golden is the form of findings in the corpus.
func golden(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintln(&b, f)
		if w := f.Witness; w != nil {
			fmt.Fprintf(&b, "\twitness: %q %s:%s:%s\n", w.Account, w.Type, w.Name, strings.Join(w.Actions, ","))
		}
		if f.Fix != nil {
			kind := "advice"
			if f.Certain() {
				kind = "fix"
			}
			fmt.Fprintf(&b, "\t%s: %s\n", kind, f.Fix.Text)
		}
	}
	return b.String()
}

func atLeast(s Severity, findings []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Severity < s })
}

func corpus(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

// TestGoodConfigsAreSilent: no false alarm.
func TestGoodConfigsAreSilent(t *testing.T) {
	t.Parallel()
	for _, file := range corpus(t, "testdata/ok/*.yml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := golden(atLeast(Warning, Run(input(t, filepath.Base(file), data)))); got != "" {
				t.Errorf("findings in a good config:\n%s", got)
			}
		})
	}
}

// TestFaultyConfigs compares with the golden findings, those of severity info included.
func TestFaultyConfigs(t *testing.T) {
	t.Parallel()
	for _, file := range append(corpus(t, "testdata/err/*.yml"), filepath.FromSlash("../../../testdata/guide/conf/auth-server.yml")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := input(t, filepath.Base(file), data)
			want := filepath.Join("testdata/err", strings.TrimSuffix(filepath.Base(file), ".yml")+".golden")
			if strings.Contains(file, "guide") {
				in.Service, in.Registry = "Docker registry", &Registry{Path: "docker-compose.yml", Issuer: "Acme auth server"}
			}
			findings := Run(in)
			confirm(t, in, findings)
			got := golden(findings)
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			text, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(findings) == 0 {
				t.Error("a config of testdata/err has no findings")
			}
		})
	}
}

// confirm asks the engine about every witness: it must be an account of the file, and the answer
// must be no for what is too little, yes for what is too much.
func confirm(t *testing.T, in Input, findings []Finding) {
	t.Helper()
	denied := []string{"anonymous-exceeds-login", "glob-stops-at-slash", "partly-shadowed"}
	policy, err := acl.Compile(in.File.ACL, acl.Options{LiteralLabels: in.Bundled && in.File.Extras.LiteralLabels})
	for _, f := range findings {
		w := f.Witness
		if w == nil {
			continue
		}
		if err != nil {
			t.Fatalf("%v: a witness of rules that do not compile: %v", f, err)
		}
		if _, ok := in.File.User(w.Account); !ok {
			t.Errorf("%v: the witness %q is no account of the file", f, w.Account)
		}
		d := policy.Decide(w, nil)
		all := len(d.Granted) == len(w.Actions)
		deny := strings.Contains(f.Message, "denies nothing")
		if want := !slices.Contains(denied, f.Rule) || deny; all != want && !deny {
			t.Errorf("%v: the engine grants %v of %v", f, d.Granted, w.Actions)
		}
	}
}

// TestWhatInitWritesIsSilent lints the golden trees of package scaffold.
func TestWhatInitWritesIsSilent(t *testing.T) {
	t.Parallel()
	for _, file := range corpus(t, "../../scaffold/testdata/golden/*.txtar") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := Input{Registry: &Registry{Path: "conf/registry/config.yml", Issuer: "regctl-setup"}}
			for _, f := range ar.Files {
				text := string(f.Data)
				switch f.Name {
				case "conf/auth/auth-server.yml":
					in.File = input(t, f.Name, f.Data).File
				case "conf/registry/config.yml":
					in.Registry.Delete = strings.Contains(text, "delete: {enabled: true}")
					if m := regexp.MustCompile(`(?m)^    service: '(.*)'$`).FindStringSubmatch(text); m != nil {
						in.Service = m[1]
					}
					if m := regexp.MustCompile(`(?m)^    issuer: '(.*)'$`).FindStringSubmatch(text); m != nil {
						in.Registry.Issuer = m[1]
					}
				case "regctl-setup.yaml":
					in.Bundled = regexp.MustCompile(`(?m)^engine: '?bundled`).MatchString(text)
				}
			}
			if in.File == nil || in.Service == "" && strings.Contains(string(ar.Comment), "conf/registry/config.yml") {
				t.Fatalf("no auth config, or no service %q", in.Service)
			}
			if got := golden(atLeast(Warning, Run(in))); got != "" {
				t.Errorf("findings in what init writes:\n%s", got)
			}
		})
	}
}

// TestFixes makes every certain fix: the finding is gone, and no new one has come.
func TestFixes(t *testing.T) {
	t.Parallel()
	made := 0
	for _, file := range append(corpus(t, "testdata/err/*.yml"), filepath.FromSlash("../../../testdata/guide/conf/auth-server.yml")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in := input(t, filepath.Base(file), data)
		before := Run(in)
		for _, f := range before {
			if !f.Certain() {
				continue
			}
			made++
			fixed, err := f.Fix.Apply(in.File)
			if err != nil {
				t.Errorf("%v: %v", f, err)
				continue
			}
			next := in
			next.File = fixed
			after := Run(next)
			if count(after, f.Rule) != count(before, f.Rule)-1 {
				t.Errorf("%v: after the fix there are %d findings of the rule, before %d\n%s", f, count(after, f.Rule), count(before, f.Rule), fixed.Bytes())
			}
			if got, had := len(atLeast(Error, after)), len(atLeast(Error, before)); got > had {
				t.Errorf("%v: the fix leaves %d errors, there were %d\n%s", f, got, had, golden(after))
			}
		}
	}
	if made < 3 {
		t.Errorf("the corpus has %d certain fixes, want 3 or more", made)
	}
}

func count(findings []Finding, rule string) int {
	n := 0
	for _, f := range findings {
		if f.Rule == rule {
			n++
		}
	}
	return n
}

func TestGuide(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../testdata/guide/conf/auth-server.yml")
	if err != nil {
		t.Fatal(err)
	}
	findings := Run(input(t, "auth-server.yml", data))
	at := slices.IndexFunc(findings, func(f Finding) bool { return f.Rule == "anonymous-exceeds-login" })
	if at < 0 {
		t.Fatalf("no anonymous-exceeds-login in:\n%s", golden(findings))
	}
	f := findings[at]
	if w := f.Witness; w == nil || w.Account != "developer" || w.Name != "library/nginx" || !slices.Equal(w.Actions, []string{"pull"}) {
		t.Errorf("witness = %+v, want developer, library/nginx, pull", f.Witness)
	}
	if !f.Certain() {
		t.Error("the fix is not offered")
	}
	for _, rule := range []string{"glob-stops-at-slash", "weak-hash", "lifetime-too-short"} {
		if count(findings, rule) == 0 {
			t.Errorf("no %s in:\n%s", rule, golden(findings))
		}
	}
}

// base are sections for excerpts that leave them out.
var base = []struct{ key, text string }{
	{"server", "server: {addr: ':5001'}\n"},
	{"token", "token: {issuer: Acme, expiration: 3600, certificate: c.pem, key: k.pem}\n"},
	{"users", "users:\n  alice:\n    password: '" + goodHash + "'\n    labels: {team: [backend], role: [developer]}\n  admin:\n    password: '" + goodHash + "'\n    labels: {role: [administrator]}\n"},
	{"acl", "acl:\n  - match: {labels: {role: administrator}}\n    actions: ['*']\n"},
}

const goodHash = "$2y$10$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"

// complete adds the sections that an excerpt leaves out, at its end so that its lines keep their
// numbers.
func complete(excerpt string) []byte {
	out := excerpt
	for _, s := range base {
		if !regexp.MustCompile(`(?m)^` + s.key + `:`).MatchString(excerpt) {
			out += s.text
		}
	}
	return []byte(out)
}

const docsFile = "../../../docs/lint.md"

// example is a config excerpt of docs/lint.md.
var example = regexp.MustCompile("(?s)\n### ([a-z0-9-]+)\n(.*?)\n```yaml([^\n]*)\n(.*?)```\n")

// TestDocumentation runs every example of docs/lint.md, and holds its table to the rules.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- rules: begin -->\n", "<!-- rules: end -->\n"
	from, to := bytes.Index(docs, []byte(begin)), bytes.Index(docs, []byte(end))
	if from < 0 || to < from {
		t.Fatalf("no table in %s", docsFile)
	}
	if table := []byte(ruleTable()); !bytes.Equal(docs[from+len(begin):to], table) {
		if !*update {
			t.Errorf("the table of %s is not that of the rules: go test ./internal/acl/lint -update", docsFile)
		} else if err := os.WriteFile(docsFile, slices.Concat(docs[:from+len(begin)], table, docs[to:]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	examples := map[string]bool{}
	for _, m := range example.FindAllStringSubmatch(string(docs), -1) {
		rule, words, text := m[1], m[3], m[4]
		examples[rule] = true
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var findings []Finding
			if f, problems := config.Parse("auth-server.yml", complete(text)); f == nil {
				for _, p := range problems { // no YAML: the caller has nothing to lint
					findings = append(findings, Finding{Rule: p.Code})
				}
			} else {
				in := Input{File: f}
				directives(t, words, &in)
				findings = Run(in)
				confirm(t, in, findings)
			}
			if count(findings, rule) == 0 {
				t.Errorf("the example does not trigger it; findings:\n%s", golden(findings))
			}
			for _, f := range atLeast(Warning, findings) {
				if f.Rule != rule && !strings.Contains(m[2], f.Rule) {
					t.Errorf("the example triggers %s too, which its text does not say:\n%v", f.Rule, f)
				}
			}
		})
	}
	unexampled := []string{"file-too-big", "alias-bomb", "not-decided", "unexpected-tag", "ambiguous-merge", "bad-pattern", "empty-file", "syntax"}
	for _, r := range Rules() {
		if !examples[r.Name] && !slices.Contains(unexampled, r.Name) {
			t.Errorf("%s has no example in %s", r.Name, docsFile)
		}
		delete(examples, r.Name)
	}
	for name := range examples {
		t.Errorf("%s documents %s, which is no rule", docsFile, name)
	}
}

func ruleTable() string {
	var b strings.Builder
	b.WriteString("| rule | severity | finds |\n| --- | --- | --- |\n")
	rules := Rules()
	slices.SortFunc(rules, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range rules {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", r.Name, r.Name, r.Severity, strings.ReplaceAll(r.Doc, "|", `\|`))
	}
	return b.String()
}

func TestRulesAreSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.Name] || strings.Trim(r.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("rule %q is there twice, or has no plain name", r.Name)
		}
		seen[r.Name] = true
		if r.Doc == "" || r.check == nil && len(r.Codes) == 0 && r.Name != "unknown-rule" {
			t.Errorf("rule %q has no documentation, or finds nothing", r.Name)
		}
	}
}
