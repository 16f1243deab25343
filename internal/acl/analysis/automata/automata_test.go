package automata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"
)

// words returns all strings over the alphabet up to the given length.
func words(alphabet string, length int) []string {
	all := []string{""}
	for from := 0; length > 0; length-- {
		to := len(all)
		for _, w := range all[from:to] {
			for _, r := range alphabet {
				all = append(all, w+string(r))
			}
		}
		from = to
	}
	return all
}

func mustDFA(t testing.TB, n *NFA, err error) *DFA {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Determinize(n, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func regexpDFA(t testing.TB, expr string) *DFA {
	t.Helper()
	n, err := Regexp(expr, 20_000)
	if err != nil {
		t.Fatalf("Regexp(%q): %v", expr, err)
	}
	return mustDFA(t, n, err)
}

func globDFA(t testing.TB, pattern string) *DFA {
	t.Helper()
	n, err := Glob(pattern, 20_000)
	if err != nil {
		t.Fatalf("Glob(%q): %v", pattern, err)
	}
	return mustDFA(t, n, err)
}

// sameAsRegexp compares the deterministic automaton, one made on the way and
// single threads with Go's matcher.
func sameAsRegexp(t *testing.T, expr string, all []string) {
	t.Helper()
	re := regexp.MustCompile(expr)
	n, err := Regexp(expr, 20_000)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "regexp "+expr, n, all, re.MatchString)
}

func compare(t *testing.T, what string, n *NFA, all []string, match func(string) bool) {
	t.Helper()
	d, err := Determinize(n, DefaultLimits())
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if d.dead == startState && d.total == startState {
		t.Fatalf("%s: both empty and total", what)
	}
	some, every := false, true
	for _, w := range all {
		want := match(w)
		some, every = some || want, every && want
		if got := d.Match(w); got != want {
			t.Errorf("%s on %q: got %v, want %v", what, w, got, want)
			return
		}
	}
	if some && d.IsEmpty() || !every && d.IsTotal() {
		t.Errorf("%s: wrong sink: empty %v, total %v", what, d.IsEmpty(), d.IsTotal())
	}
}

func TestRegexpAgainstGo(t *testing.T) {
	t.Parallel()
	exprs := []string{
		``, `a`, `^a`, `a$`, `^a$`, `^$`, `^`, `$`, `\A`, `\z`, `\Aa\z`, `a^b`, `a$b`, `(^|/)a`, `a($|/)`,
		`a|b`, `^a|b$`, `^(a|b)$`, `^(?:a|)$`, `(a|ab)(b|)`, `^(a*)*$`, `^(a|b)*abb$`, `(?:)`, `^(?:^a)$`,
		`.`, `^.$`, `^.*$`, `.+/`, `^[^/]+$`, `^[^/]+/[^/]+$`, `[a-c]`, `^[^a]*$`, `[^ab]`, `^[/-]`,
		`a?`, `^a??b$`, `a+?b`, `^a{2}$`, `^a{2,}$`, `^a{1,3}b{0,2}$`, `^(ab){2}$`, `^(a{1,2}){2}$`, `(a?){3}b`,
		`\ba`, `a\b`, `\Ba`, `a\B`, `\b`, `\B`, `^\b$`, `^\B$`, `\b-\b`, `(?:\b|a)b`, `^(?:a\b-|-\Ba)*$`, `\ba\b/\bb\b`, `(\B|^)/`,
		`(?i)A`, `(?i)^AB$`, `(?i:A)b`, `(?i)[A]`, `(?i)[^A]b`, `^(?i)k$`, `(?s).`, `(?s)^.$`, `(?m)^a$`, `(?m)^$`, `(?U)a+`, `^(?U)a+b$`,
		`\d`, `\w`, `^\W+$`, `\s`, `[[:alpha:]]`, `^[[:^alpha:]]*$`, `\pL`, `^\PL+$`, `\p{Greek}`, `^\p{Ll}+$`, `(?i)\p{Lu}`, `[\x{80}-\x{10FFFF}]`, `é|a`,
		`\Qa/b\E`, `^\Q-\E`, `a\/b`, `(?P<x>a)b`, `(?:a|b|/){3}`, `^((a|b)/)*(a|b)$`, `(a+)+$`, `^(a|a)*$`, `^(.*)(/)(.*)$`,
	}
	all := words("ab/-", 6)
	for _, expr := range exprs {
		sameAsRegexp(t, expr, all)
	}
	lines := words("a\n-", 5)
	for _, expr := range append(exprs, `(?m)a$`, `(?m)$\n^`, `(?m)^-$|a\b$`, `(?ms)^.$`, `(?m:^)\B`, `\n`) {
		sameAsRegexp(t, expr, lines)
	}
	for _, expr := range []string{`(?i)k`, `(?i)s`, `(?i)^[k-s]+$`, `^K$`, `(?i)[^s]`, `^[^S]$`} {
		sameAsRegexp(t, expr, words("ksKS/", 4))
	}
}

// randomRegexp writes an expression over the letters of the small alphabet.
func randomRegexp(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(4) == 0 {
		atoms := []string{"a", "b", "/", "-", ".", "[ab]", "[^/]", "[^a]", `\w`, `\W`, "^", "$", `\b`, `\B`, "ab", "(?i:A)", "(?m:^)", "(?m:$)", `\A`, `\z`, ""}
		return atoms[r.IntN(len(atoms))]
	}
	sub := func() string { return randomRegexp(r, depth-1) }
	switch r.IntN(7) {
	case 0:
		return "(?:" + sub() + "|" + sub() + ")"
	case 1:
		return "(" + sub() + ")" + []string{"*", "+", "?", "*?", "{2}", "{1,2}", "{0,2}"}[r.IntN(7)]
	case 2:
		return "^" + sub() + "$"
	case 3:
		return "(?:" + sub() + ")*" + sub()
	default:
		return sub() + sub()
	}
}

func TestRandomRegexpsAgainstGo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	all := words("ab/-", 5)
	for range 600 {
		expr := randomRegexp(r, 4)
		if _, err := regexp.Compile(expr); err != nil {
			continue
		}
		sameAsRegexp(t, expr, all)
	}
}

func TestGlobAgainstGo(t *testing.T) {
	t.Parallel()
	patterns := []string{
		"", "*", "?", "**", "***", "a", "a*", "*a", "*a*", "a*b", "a*b*", "*a*b", "*/a", "*/*", "a/*", "/*", "*/", "?/?", "a?b", "??", "*?", "?*", "*a?b*",
		"[ab]", "[a-b]", "[^a]", "[^/]", "[^-]", "*[^a]b*a", "*[^a]b*", "*[^b]*a", "[^a]*[^b]", "*[^a][^b]*a*", "*[/-]a*b", "*[!-~]*", "*[^a]?*b", "*[^a]", "a*[^b]b*b",
		`\a`, `\*`, `[\]a]`, `a\/b`, `*\-*`, `[a\-b]`, `[a-\-]`, "[b-a]", "*[b-a]*", "[^b-a]", "{a,b}", "a|b", "^a$", ".*", "a.b", "é*", "*[é-ü]", "*[^é]a*b", "[^é]", "a]b", "]",
		"*-*-*", "*a*a*a*", "*ab*ba*", "*[^a]*[^a]*[^a]",
	}
	all := words("ab/-", 6)
	for _, p := range patterns {
		sameAsGlob(t, p, all)
	}
	for _, p := range []string{"*[*]a", "[*]*", `\**`, `*\\*`, "[^]a]", `*[]*`} {
		sameAsGlob(t, p, words(`a*\]`, 5))
	}
}

func sameAsGlob(t *testing.T, pattern string, all []string) {
	t.Helper()
	_, bad := path.Match(pattern, "")
	n, err := Glob(pattern, 20_000)
	if (bad != nil) != (err != nil) {
		t.Fatalf("Glob(%q): error %v, path.Match says %v", pattern, err, bad)
	}
	if bad != nil {
		for _, w := range all {
			if ok, _ := path.Match(pattern, w); ok {
				t.Fatalf("path.Match(%q, %q) is true for a bad pattern", pattern, w)
			}
		}
		return
	}
	compare(t, "glob "+pattern, n, all, func(w string) bool { ok, _ := path.Match(pattern, w); return ok })
}

func TestBadGlobs(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"[", "[a", "[]", "[^]", "[a-]", "[-a]", `\`, `a\`, "a[", "*[", "[]a]", `[\`, "[a-b-c]", "a*[b"} {
		if _, err := Glob(p, 100); !errors.Is(err, path.ErrBadPattern) {
			t.Errorf("Glob(%q): got error %v, want %v", p, err, path.ErrBadPattern)
		}
	}
}

func TestRandomGlobsAgainstGo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	all := words("ab/-", 5)
	atoms := []string{"a", "b", "/", "-", "*", "*", "*", "?", "[ab]", "[^a]", "[^b]", "[^/]", "[--a]", `\a`, `[^\-]`, "[b", "]", "^"}
	for range 1500 {
		var p strings.Builder
		for range r.IntN(8) {
			p.WriteString(atoms[r.IntN(len(atoms))])
		}
		sameAsGlob(t, p.String(), all)
	}
}

func TestMinimalIsCanonical(t *testing.T) {
	t.Parallel()
	same := [][2]*DFA{
		{regexpDFA(t, `^a/[^/]*$`), globDFA(t, `a/*`)},
		{regexpDFA(t, `^(a|b)$`), regexpDFA(t, `^[ab]$`)},
		{regexpDFA(t, `a`), regexpDFA(t, `(?s)a.*`)},
		{regexpDFA(t, `^(a*)*$`), regexpDFA(t, `^a*$`)},
		{regexpDFA(t, `a^b`), None().DFA()},
		{regexpDFA(t, ``), Any().DFA()},
		{globDFA(t, `**`), globDFA(t, `*`)},
		{Not(Not(globDFA(t, `x*`))), globDFA(t, `x*`)},
	}
	for i, pair := range same {
		if pair[0].Key() != pair[1].Key() {
			t.Errorf("pair %d: the automata differ: %d and %d states, %d and %d classes", i, pair[0].States(), pair[1].States(), pair[0].n, pair[1].n)
		}
	}
	if a, b := globDFA(t, "a*"), globDFA(t, "a?"); a.Key() == b.Key() {
		t.Error("different languages have one key")
	}
	if got := regexpDFA(t, `^(a|b)*abb$`).States(); got != 5 {
		t.Errorf("minimal automaton of (a|b)*abb, anchored: got %d states, want 5 (with the dead one)", got)
	}
}

func TestUniverse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		oci, host, any bool
	}{
		{"a", true, true, true}, {"library/nginx", true, true, true}, {"a.b_c__d-e---f/0", true, true, true},
		{"", false, false, false}, {"/a", false, false, false}, {"a/", false, false, true}, {"a//b", false, false, true},
		{"a___b", false, false, true}, {"a..b", false, false, true}, {"-a", false, false, true}, {"a-", false, false, true}, {"a._b", false, false, true},
		{"A", false, false, true}, {"Foo/bar", false, true, true}, {"host.Example:5000/a/b", false, true, true}, {"host:5000", false, false, true},
		{"a/B", false, false, true}, {"a b", false, false, false}, {"é", false, false, false},
	}
	for _, tt := range tests {
		for g, want := range map[Grammar]bool{OCI: tt.oci, HostLike: tt.host, Printable: tt.any} {
			u, err := Universe(g)
			if err != nil {
				t.Fatal(err)
			}
			got := u.Match(tt.name)
			if strings.HasPrefix(tt.name, "/") && g == Printable {
				want = true
			}
			if got != want {
				t.Errorf("grammar %d, %q: got %v, want %v", g, tt.name, got, want)
			}
		}
	}
	if _, err := Universe(Grammar(9)); err == nil {
		t.Error("an unknown grammar has an automaton")
	}
}

func lang(t testing.TB, pattern string) *Lang {
	t.Helper()
	var n *NFA
	var err error
	if len(pattern) > 2 && pattern[0] == '/' {
		n, err = Regexp(pattern[1:len(pattern)-1], 20_000)
	} else {
		n, err = Glob(pattern, 20_000)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLang(n, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestShortest(t *testing.T) {
	t.Parallel()
	oci, err := Universe(OCI)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		in, out []string
		except  []string
		want    string // "-": none
	}{
		{in: []string{"*"}, want: "a"},
		{in: []string{"dev-backend/*"}, want: "dev-backend/a"},
		{in: []string{"dev-backend/*"}, except: []string{"dev-backend/a"}, want: "dev-backend/b"},
		{in: []string{"/^dev/"}, out: []string{"dev*", "dev/*"}, want: "deva/a"},
		{in: []string{"prod/*"}, out: []string{"/^prod/[a-m]/", "/^prod/[n-z]/", "/^prod/[0-9]/"}, want: "-"},
		{in: []string{"prod/*"}, out: []string{"/^prod/[a-m]/", "/^prod/[n-y]/", "/^prod/[0-9]/"}, want: "prod/z"},
		{in: []string{"A*"}, want: "-"},
		{in: []string{"*:*"}, want: "-"},
		{in: []string{"a/"}, want: "-"},
		{in: []string{"/^a{255}$/"}, want: strings.Repeat("a", 255)},
		{in: []string{"/^a{256}$/"}, want: "-"},
		{in: []string{"/^a{250}/"}, out: []string{"/^a{250,}$/"}, want: strings.Repeat("a", 250) + "b"},
		{in: []string{"/^a{254}/"}, out: []string{"/^.{254}$/", "/[a-z0-9]$/"}, want: "-"},
		{in: []string{`/\bapi\b/`}, out: []string{"/^api/", "/api$/"}, want: "a-api-a"},
	}
	for _, tt := range tests {
		s := NewSearcher(100_000)
		q := Query{Universe: oci, Except: tt.except}
		for _, p := range tt.in {
			q.In = append(q.In, lang(t, p))
		}
		for _, p := range tt.out {
			q.Out = append(q.Out, lang(t, p))
		}
		got, ok, err := s.Shortest(q)
		if err != nil {
			t.Errorf("%v but not %v: %v", tt.in, tt.out, err)
		}
		if !ok {
			got = "-"
		}
		if got != tt.want {
			t.Errorf("%v but not %v: got %q, want %q", tt.in, tt.out, got, tt.want)
		}
	}
}

// Patterns without a deterministic automaton of reasonable size still decide
// what does not need all of it.
func TestLargePatterns(t *testing.T) {
	t.Parallel()
	oci, err := Universe(OCI)
	if err != nil {
		t.Fatal(err)
	}
	blown := lang(t, `/a.{20}$/`)
	if blown.DFA() != nil {
		t.Fatal("the pattern has a small automaton: choose a worse one")
	}
	tests := []struct {
		in, out string
		want    string
	}{
		{"x/y", `/a.{20}$/`, "x/y"},
		{`/a.{20}$/`, "x", "a" + strings.Repeat("a", 20)},
		{`/^b[a/].{3}$/`, `/a.{20}$/`, "baaaa"},
		{`/^b[a/]b{20}$/`, `/a.{20}$/`, "b/" + strings.Repeat("b", 20)},
		{`/^.{30,40}$/`, `/a.{20}$/`, "?"},
	}
	for _, tt := range tests {
		s := NewSearcher(200_000)
		got, ok, err := s.Shortest(Query{Universe: oci, In: []*Lang{lang(t, tt.in)}, Out: []*Lang{lang(t, tt.out)}})
		switch {
		case errors.Is(err, ErrTooBig):
			got = "?"
		case err != nil:
			t.Errorf("%s but not %s: %v", tt.in, tt.out, err)
		case !ok:
			got = "-"
		}
		if got != tt.want {
			t.Errorf("%s but not %s: got %q, want %q", tt.in, tt.out, got, tt.want)
		}
	}
}

func TestHostilePatternsEndSoon(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{
		`.*a.{20}`, `(a|b|ab)*(a.{15}|b.{16})`, `((a{1,30}){1,30}){1,1}`, `(?:(?:a*)*)*b`, `(x+x+)+y`,
		strings.Repeat("a?", 5000) + strings.Repeat("a", 5000), strings.Repeat("(a|b)", 2000), `\pL{500}`, `(?i)(` + strings.Repeat("abc|", 2000) + `d).{12}e`,
		`(.{1,30}){1,30}`, strings.Repeat("[^/]*x", 1500), `^(\b|\B|a)*$`, strings.Repeat(`\b`, 5000),
	} {
		start := time.Now()
		n, err := Regexp(expr, DefaultLimits().NFA)
		if err == nil {
			_, err = Determinize(n, DefaultLimits())
		}
		if err != nil && !errors.Is(err, ErrTooBig) {
			t.Errorf("%.30s: %v", expr, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%.30s took %v", expr, took)
		}
	}
	if n, err := Glob(strings.Repeat("*a", 5000), DefaultLimits().NFA); err == nil {
		if _, err = Determinize(n, DefaultLimits()); err != nil && !errors.Is(err, ErrTooBig) {
			t.Error(err)
		}
	}
	if _, err := Glob("*"+strings.Repeat("[^a]", 70)+"*", 20_000); !errors.Is(err, ErrTooBig) {
		t.Errorf("a glob that must remember 70 characters: got %v, want %v", err, ErrTooBig)
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	all := words("ab/-", 5)
	exprs := []string{`^a`, `b$`, `a/b`, `^[^/]*$`, `\ba`, ``, `a^b`, `^(ab)*$`}
	for _, x := range exprs {
		for _, y := range exprs {
			a, b := regexpDFA(t, x), regexpDFA(t, y)
			and, err1 := And(1000, a, b)
			or, err2 := Or(1000, a, b)
			minus, err3 := Minus(1000, a, b)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Fatal(err)
			}
			not := Not(a)
			for _, w := range all {
				p, q := a.Match(w), b.Match(w)
				if and.Match(w) != (p && q) || or.Match(w) != (p || q) || minus.Match(w) != (p && !q) || not.Match(w) == p {
					t.Fatalf("%s, %s on %q: wrong", x, y, w)
				}
			}
		}
	}
	if _, err := And(3, regexpDFA(t, `^abcdef`), regexpDFA(t, `xyz`)); !errors.Is(err, ErrTooBig) {
		t.Errorf("product over its limit: got %v, want %v", err, ErrTooBig)
	}
}

func TestFiniteAndList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		expr   string
		finite bool
		n      int
		want   string
		all    bool
	}{
		{`^(a|bc|b)$`, true, 5, "a b bc", true},
		{`^(a|bc|b)$`, true, 2, "a b", false},
		{`^ab?$`, true, 2, "a ab", true},
		{`a^`, true, 3, "", true},
		{`^a*b$`, false, 3, "b ab aab", false},
		{`^(a|)$`, true, 3, " a", true},
	}
	for _, tt := range tests {
		d := regexpDFA(t, tt.expr)
		if got := d.Finite(); got != tt.finite {
			t.Errorf("%s: Finite() = %v, want %v", tt.expr, got, tt.finite)
		}
		list, all := d.List(tt.n)
		if got := strings.Join(list, " "); got != tt.want || all != tt.all {
			t.Errorf("%s: List(%d) = %q, %v; want %q, %v", tt.expr, tt.n, got, all, tt.want, tt.all)
		}
	}
}

func TestUnionAndLiteral(t *testing.T) {
	t.Parallel()
	a, err := Regexp(`b$`, 100)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Glob("a*", 100)
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(`^a[^/]*$|b$|^(/|-/)$`)
	compare(t, "union", Union(a, b, Literal("/", "-/")), words("ab/-", 5), re.MatchString)
	compare(t, "empty union", Union(), words("ab", 3), func(string) bool { return false })
	compare(t, "no word", Literal(), words("ab", 3), func(string) bool { return false })
	compare(t, "a word that no text has", Literal("é"), words("ab", 3), func(string) bool { return false })
}

func TestSymbols(t *testing.T) {
	t.Parallel()
	x := string(SymbolRune(0))
	d := regexpDFA(t, `^dev-`+x+`/[^/]+$`)
	if !d.Match("dev-\x00/a") || d.Match("dev-a/a") || d.Match("dev-\x00/\x00") {
		t.Error("a symbol stands for itself only, and no class holds it")
	}
	g := globDFA(t, "dev-"+x+"/*")
	if !g.Match("dev-\x00/a") || g.Match("dev-a/a") || g.Match("dev-\x00/\x00") {
		t.Error("globs treat symbols otherwise than regexps")
	}
	if regexpDFA(t, `[^/]`).Match("\x01") || globDFA(t, "?").Match("\x01") {
		t.Error("a class holds a symbol")
	}
}

func FuzzRegexp(f *testing.F) {
	f.Add(`^(?i)a+\b[^/]*$`, "a/b-")
	f.Add(`(?m)^$|\Ba{2,3}`, "\na")
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 60 || len(text) > MaxLength {
			return
		}
		for i := range len(text) {
			if text[i] < Symbols || text[i] >= Letters {
				return
			}
		}
		re, err := regexp.Compile(expr)
		if err != nil || strings.ContainsFunc(expr, func(r rune) bool { _, ok := symbolOf(r); return ok }) {
			return
		}
		n, err := Regexp(expr, 2000)
		if err != nil {
			return
		}
		d, err := Determinize(n, Limits{NFA: 2000, States: 500, Work: 200_000})
		if err != nil {
			return
		}
		if got, want := d.Match(text), re.MatchString(text); got != want {
			t.Errorf("%q on %q: got %v, want %v", expr, text, got, want)
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("*[^a]b*c", "ab/bc")
	f.Add(`a\*[b-]?`, "a*b")
	f.Add("*[^0]012789ABCXYZ*", "0")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 60 || len(text) > MaxLength {
			return
		}
		for i := range len(text) {
			if text[i] < Symbols || text[i] >= Letters {
				return
			}
		}
		if strings.ContainsFunc(pattern, func(r rune) bool { _, ok := symbolOf(r); return ok }) {
			return
		}
		want, bad := path.Match(pattern, text)
		n, err := Glob(pattern, 5000)
		if errors.Is(err, ErrTooBig) {
			return
		}
		if (bad != nil) != (err != nil) {
			t.Fatalf("%q: error %v, path.Match says %v", pattern, err, bad)
		}
		if err != nil {
			return
		}
		d, err := Determinize(n, Limits{NFA: 5000, States: 500, Work: 200_000})
		if err != nil {
			return
		}
		if got := d.Match(text); got != want {
			t.Errorf("%q on %q: got %v, want %v", pattern, text, got, want)
		}
	})
}

// TestManySets: an expression may tell letters apart in more ways than there are letters.
func TestManySets(t *testing.T) {
	t.Parallel()
	var expr, text, other strings.Builder
	expr.WriteString("^")
	sets := 0
	for lo := 'a'; lo < 't'; lo++ {
		for hi := lo + 1; hi <= 't'; hi++ {
			fmt.Fprintf(&expr, "[%c-%c]", lo, hi)
			text.WriteRune(hi)
			other.WriteRune(hi + 1)
			sets++
		}
	}
	expr.WriteString("$")
	if sets <= Letters {
		t.Fatalf("%d sets are not more than %d letters", sets, Letters)
	}
	n, err := Regexp(expr.String(), 20_000)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Determinize(n, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if !d.Match(text.String()) || d.Match(other.String()) || d.Match(text.String()[1:]) {
		t.Errorf("matches its own text: %v, the next letters: %v, a part: %v; want true, false, false",
			d.Match(text.String()), d.Match(other.String()), d.Match(text.String()[1:]))
	}
}

func BenchmarkDeterminize(b *testing.B) {
	for _, expr := range []string{`^dev-backend/.+$`, `^team-[a-z]+/(api|web)-[0-9]{1,3}$`} {
		b.Run(expr, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n, err := Regexp(expr, 20_000)
				if err != nil {
					b.Fatal(err)
				}
				if _, err = Determinize(n, DefaultLimits()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleSearcher_Shortest() {
	oci, _ := Universe(OCI)
	glob, _ := Glob("private/*", 1000)
	all, _ := Regexp("^private/", 1000)
	shallow, _ := NewLang(glob, DefaultLimits())
	deep, _ := NewLang(all, DefaultLimits())
	name, ok, err := NewSearcher(10_000).Shortest(Query{Universe: oci, In: []*Lang{deep}, Out: []*Lang{shallow}})
	fmt.Println(name, ok, err)
	// Output: private/a/a true <nil>
}
