package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// NameClass is a set of names, as a person would say it.
type NameClass struct {
	// Pattern is the set in the words of [NamePattern] ("dev-backend/**") or as
	// the pattern of the entry with variables and labels filled in. Empty: see
	// Examples.
	Pattern string
	// Except are the entries, by index, that take names out of Pattern; none when
	// Pattern is exact.
	Except []int
	// Partial says that Pattern has other names, too.
	Partial bool
	// Examples are a few of the names, the shortest ones first. All says that
	// there are no others.
	Examples []string
	All      bool
	// PerAccount says that Pattern has placeholders, which stand for something
	// else for each account; the examples are those of the first one.
	PerAccount bool

	in  *automata.DFA
	out []*automata.Lang
}

// Contains reports whether a name is in the class. Classes of patterns that
// are too large to be decided know their examples only.
func (c NameClass) Contains(name string) bool {
	if c.in == nil {
		return slices.Contains(c.Examples, name)
	}
	if len(name) > automata.MaxLength || !c.in.Match(name) {
		return false
	}
	return !slices.ContainsFunc(c.out, func(l *automata.Lang) bool { return l.Match(name) })
}

// String returns the class on one line.
func (c NameClass) String() string {
	if c.Pattern == "" || c.All && len(c.Examples) > 0 {
		s := strings.Join(c.Examples, ", ")
		if !c.All {
			s = "for example " + s
		}
		return s
	}
	if len(c.Except) == 0 {
		if c.Partial && len(c.Examples) > 0 {
			return "part of " + c.Pattern + ", for example " + strings.Join(c.Examples, ", ")
		}
		return c.Pattern
	}
	n := make([]string, len(c.Except))
	for k, e := range c.Except {
		n[k] = fmt.Sprint(e + 1)
	}
	entries := "entry "
	if len(n) > 1 {
		entries = "entries "
	}
	return c.Pattern + " except what " + entries + strings.Join(n, ", ") + " decides"
}

// area is a set of names: those of in that are not in any of out.
type area struct {
	typ    int
	in     langID // within the names of the type
	out    []langID
	covers []int // the entries that out comes from
	text   string
	each   bool // text has placeholders, each account has names of its own
}

type classKey struct {
	typ  int
	in   langID
	out  string
	text string
	each bool
}

// describe puts an area in words. Text is the pattern that it comes from.
func (a *Analysis) describe(ar area) NameClass {
	key := classKey{ar.typ, ar.in, fmt.Sprint(ar.out, ar.covers), ar.text, ar.each}
	if c, ok := a.classes[key]; ok {
		return c
	}
	c := a.describeNew(ar)
	a.classes[key] = c
	return c
}

func (a *Analysis) describeNew(ar area) NameClass {
	c := NameClass{in: a.langs.dfa(ar.in), PerAccount: ar.each}
	names := a.types[ar.typ].names
	q := automata.Query{Universe: names, In: []*automata.Lang{a.langs.of(ar.in)}}
	for _, o := range ar.out {
		if l := a.langs.of(o); l != nil {
			q.Out = append(q.Out, l)
		}
	}
	c.out = q.Out
	if words, err := a.search.Words(q, maxExamples); err == nil {
		c.Examples = words
	}
	if ar.each {
		c.Pattern, c.Except = a.templateWords(ar.text), slices.Clone(ar.covers)
		c.Partial = len(c.Except) > 0
		return c
	}
	whole, ok := a.langs.minus(ar)
	if ok {
		d := a.langs.dfa(whole)
		if d.Finite() {
			if list, all := d.List(maxExamples); all {
				c.Examples, c.All = list, true
			}
		}
		if p, ok := a.words(ar.typ, whole, ar.text); ok {
			c.Pattern = p
			return c
		}
	}
	c.Pattern = ar.text
	if c.Pattern == "" {
		c.Partial = !c.All
		return c
	}
	if p, ok := a.words(ar.typ, ar.in, ar.text); ok {
		c.Pattern = p
	}
	c.Partial = true
	if len(ar.out) == 0 && a.isText(ar) {
		c.Partial = false
	}
	c.Except = slices.Clone(ar.covers)
	slices.Sort(c.Except)
	c.Except = slices.Compact(c.Except)
	return c
}

// isText reports whether the area is what its text says.
func (a *Analysis) isText(ar area) bool {
	if strings.Contains(ar.text, "${") {
		return false
	}
	id, ok := a.langs.and(a.types[ar.typ].lang, a.langs.text(ar.text))
	return ok && id == ar.in
}

// words looks for a name pattern that stands for exactly the given names, which
// are all of the type.
func (a *Analysis) words(typ int, id langID, text string) (string, bool) {
	d := a.langs.dfa(id)
	if d == nil {
		return "", false
	}
	prefix, single := d.Prefix()
	if single {
		return prefix, true
	}
	candidates := []string{"**", prefix + "*", prefix + "**", prefix + "**/*"}
	if at := strings.LastIndexByte(prefix, '/'); at >= 0 && at+1 < len(prefix) {
		candidates = append(candidates, prefix[:at+1]+"*", prefix[:at+1]+"**")
	}
	if w := asNamePattern(text); w != "" {
		candidates = append(candidates, w)
	}
	for _, p := range candidates {
		np, err := ParseNamePattern(p)
		if err != nil {
			continue
		}
		if got, ok := a.langs.and(a.types[typ].lang, a.language(np)); ok && got == id {
			return p, true
		}
	}
	return "", false
}

// templateWords says a pattern with placeholders as a name pattern with the
// same placeholders where it is one, checked with letters in their place.
func (a *Analysis) templateWords(text string) string {
	p, err := acl.ParsePattern(text)
	if err != nil {
		return text
	}
	marked, back := "", []string{}
	symbolic := ""
	for _, s := range p.Segments() {
		if s.Kind == acl.Text {
			marked += s.Text
			symbolic += s.Text
			continue
		}
		// Letters that no pattern for names has.
		marked += "Z" + strings.Repeat("Y", len(back)/2) + "Z"
		back = append(back, "Z"+strings.Repeat("Y", len(back)/2)+"Z", s.Text)
		symbolic += string(automata.SymbolRune(a.langs.symbols[s.Text]))
	}
	np, err := ParseNamePattern(asNamePattern(marked))
	if err != nil || strings.Contains(text, "Z") {
		return text
	}
	expr := np.expr
	for k := len(back) - 2; k >= 0; k -= 2 {
		expr = strings.ReplaceAll(expr, back[k], string(automata.SymbolRune(a.langs.symbols[back[k+1]])))
	}
	x, ok1 := a.langs.and(a.langs.text("/"+expr+"/"), a.langs.text("/[^/]$/"))
	y, ok2 := a.langs.and(a.langs.text(symbolic), a.langs.text("/[^/]$/"))
	if !ok1 || !ok2 || x != y {
		return text
	}
	words := np.text
	for k := len(back) - 2; k >= 0; k -= 2 {
		words = strings.ReplaceAll(words, back[k], back[k+1])
	}
	return words
}

// asNamePattern turns the text of a glob or a regexp into a name pattern that
// may mean the same; whoever asks checks that.
func asNamePattern(text string) string {
	if !isRegexpText(text) {
		return strings.ReplaceAll(text, `\`, "")
	}
	s := text[1 : len(text)-1]
	front, back := "**", "**"
	if t, ok := strings.CutPrefix(s, "^"); ok {
		s, front = t, ""
	}
	if t, ok := strings.CutSuffix(s, "$"); ok {
		s, back = t, ""
	}
	for strings.HasPrefix(s, "(?:") && strings.HasSuffix(s, ")") && strings.Count(s, "(") == 1 {
		s = s[3 : len(s)-1]
	}
	for _, r := range [][2]string{{"[^/]+", "\x01"}, {"[^/]*", "\x01"}, {".+", "\x02"}, {".*", "\x02"}, {"(?:", ""}, {"(", ""}, {")", ""}, {`\`, ""}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	s = strings.NewReplacer("\x01", "*", "\x02", "**").Replace(front + s + back)
	return strings.ReplaceAll(s, "****", "**")
}

// and returns the words of both languages.
func (t *langTable) and(x, y langID) (langID, bool) {
	switch {
	case x == langAny || x == y:
		return y, t.dfa(y) != nil
	case y == langAny:
		return x, t.dfa(x) != nil
	}
	if x > y {
		x, y = y, x
	}
	key := [2]langID{x, y}
	if got, ok := t.inside[key]; ok {
		return got, got >= 0
	}
	got := langID(-1)
	if d, e := t.dfa(x), t.dfa(y); d != nil && e != nil {
		if and, err := automata.And(maxProduct, d, e); err == nil {
			got = t.add(automata.FromDFA(and))
		}
	}
	t.inside[key] = got
	return got, got >= 0
}

// minus returns the words of an area.
func (t *langTable) minus(ar area) (langID, bool) {
	if len(ar.out) == 0 {
		return ar.in, t.dfa(ar.in) != nil
	}
	parts := []*automata.DFA{t.dfa(ar.in)}
	for _, o := range ar.out {
		parts = append(parts, t.dfa(o))
	}
	if slices.Contains(parts, nil) || len(parts) > 24 {
		return 0, false
	}
	d, err := automata.Combine(parts, func(v []bool) bool {
		return v[0] && !slices.Contains(v[1:], true)
	}, maxProduct)
	if err != nil {
		return 0, false
	}
	return t.add(automata.FromDFA(d)), true
}

// maxProduct bounds the automata that are built to describe sets of names.
const maxProduct = 3000
