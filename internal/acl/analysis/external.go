package analysis

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// Names and values of examples, unless the policy writes them itself.
var (
	exampleNames  = []string{"someone", "somebody-else", "q7someone"}
	exampleValues = []string{"x", "example", "q7x"}
)

// findExternals makes examples of accounts that live elsewhere: one without
// labels, and for each entry one that has what the entry asks for and as little
// as possible of what earlier entries ask for. More labels only make more
// entries match, so for getting to one entry an account with the fewest is the
// best one.
func (a *Analysis) findExternals(rules []rule) []account {
	e := externals{a: a, rules: rules, seen: map[string]bool{}}
	e.name = e.unwritten(exampleNames)
	e.value = e.unwritten(exampleValues)
	e.add(e.name, nil, "any other account, without labels")
	for i := range rules {
		if len(e.list) >= maxExternals {
			a.incomplete = fmt.Sprintf("more than %d kinds of accounts that live elsewhere", maxExternals)
			break
		}
		e.entry(i)
	}
	return e.list
}

type externals struct {
	a           *Analysis
	rules       []rule
	name, value string
	list        []account
	seen        map[string]bool
}

// unwritten returns the first of the words that no pattern and no known account
// has.
func (e *externals) unwritten(words []string) string {
	for _, w := range words {
		if _, ok := e.a.byName[w]; ok {
			continue
		}
		if !slices.ContainsFunc(e.rules, func(r rule) bool {
			return slices.ContainsFunc(r.texts(), func(t string) bool { return t == w })
		}) {
			return w
		}
	}
	return words[len(words)-1]
}

// texts returns the patterns of an entry that are about the account.
func (r *rule) texts() []string {
	var out []string
	if p := r.patterns.Account; p != nil {
		out = append(out, p.String())
	}
	for _, l := range r.patterns.Labels {
		out = append(out, l.Pattern.String())
	}
	return out
}

func (e *externals) add(name string, labels map[string][]string, condition string) {
	if _, ok := e.a.byName[name]; ok {
		return
	}
	key := fmt.Sprintf("%q %q", name, labels)
	if e.seen[key] {
		return
	}
	e.seen[key] = true
	e.list = append(e.list, account{name: name, labels: labels, external: true, condition: condition})
}

// entry adds an example that gets to one entry as far as account and labels go.
func (e *externals) entry(i int) {
	r := &e.rules[i]
	name, named, ok := e.accountFor(i)
	if !ok {
		return
	}
	labels := map[string][]string{}
	for k := range r.patterns.Labels {
		l := &r.patterns.Labels[k]
		v, ok := e.valueFor(i, l)
		if !ok {
			return
		}
		if !slices.Contains(labels[l.Key], v) {
			labels[l.Key] = append(labels[l.Key], v)
		}
	}
	for _, p := range []*acl.Pattern{r.patterns.Account, r.patterns.Type, r.patterns.Name, r.patterns.Service} {
		if p == nil {
			continue
		}
		for _, s := range p.Segments() {
			if s.Kind == acl.Label && len(labels[s.Key]) == 0 {
				labels[s.Key] = []string{e.value}
			}
		}
	}
	e.add(name, labels, condition(name, named, labels))
}

// condition says which accounts an example stands for.
func condition(name string, named bool, labels map[string][]string) string {
	var parts []string
	if named {
		parts = append(parts, fmt.Sprintf("named %q", name))
	}
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		for _, v := range labels[k] {
			parts = append(parts, "labelled "+k+"="+v)
		}
	}
	if len(parts) == 0 {
		return "any other account, without labels"
	}
	return "any other account " + strings.Join(parts, ", ")
}

// accountFor returns the name of an account that is not known and that the
// account pattern of an entry matches; named says that it is not just any one.
func (e *externals) accountFor(i int) (name string, named, ok bool) {
	p := e.rules[i].patterns.Account
	if p == nil {
		return e.name, false, true
	}
	if p.HasPlaceholders() {
		return e.name, false, true // the labels may fit it; the engine says
	}
	if p.Kind() == acl.Literal {
		name = literalText(p.String())
		_, known := e.a.byName[name]
		return name, true, !known && name != ""
	}
	l := e.a.langs.text(p.String())
	if e.a.matches(l, p.String(), e.name) {
		return e.name, false, true
	}
	var earlier []langID
	for j := range i {
		if q := e.rules[j].patterns.Account; q != nil && !q.HasPlaceholders() && q.String() != p.String() {
			earlier = append(earlier, e.a.langs.text(q.String()))
		}
	}
	for _, out := range [][]langID{earlier, nil} {
		for _, w := range e.words(accountGrammar, l, out) {
			if _, known := e.a.byName[w]; !known {
				return w, true, true
			}
		}
	}
	return "", true, false
}

// valueFor returns a value for a label condition of an entry.
func (e *externals) valueFor(i int, l *acl.LabelPattern) (string, bool) {
	p := &l.Pattern
	if p.HasPlaceholders() {
		return e.value, true // the engine says whether it fits
	}
	if p.Kind() == acl.Literal {
		return literalText(p.String()), true
	}
	lang := e.a.langs.text(p.String())
	if e.a.matches(lang, p.String(), e.value) {
		return e.value, true
	}
	var earlier []langID
	for j := range i {
		for k := range e.rules[j].patterns.Labels {
			q := &e.rules[j].patterns.Labels[k]
			if q.Key == l.Key && !q.Pattern.HasPlaceholders() && q.Pattern.String() != p.String() {
				earlier = append(earlier, e.a.langs.text(q.Pattern.String()))
			}
		}
	}
	for _, out := range [][]langID{earlier, nil} {
		if w := e.words(valueGrammar, lang, out); len(w) > 0 {
			return w[0], true
		}
	}
	return "", false
}

// words returns some words of a grammar in a language and in none of the
// others.
func (e *externals) words(grammar string, in langID, out []langID) []string {
	l := e.a.langs.of(in)
	if l == nil || len(out) > 64 {
		return nil
	}
	q := automata.Query{Universe: e.a.langs.dfa(e.a.langs.text(grammar)), In: []*automata.Lang{l}}
	for _, o := range out {
		if x := e.a.langs.of(o); x != nil {
			q.Out = append(q.Out, x)
		}
	}
	words, err := e.a.search.Words(q, 8)
	if err != nil {
		return nil
	}
	return words
}

// externalDoubt says why an entry that no known account and no example gets to
// may still be reached by an account that lives elsewhere; "" when it can't.
func (a *Analysis) externalDoubt(i int) string {
	r := &a.rules[i]
	if p := r.patterns.Account; p != nil && !p.HasPlaceholders() {
		if p.Kind() == acl.Literal {
			name := literalText(p.String())
			if u, known := a.byName[name]; name == "" || known && !a.accounts[u].external {
				return ""
			}
		} else if l := a.langs.text(p.String()); a.langs.of(l) != nil && len((&externals{a: a}).words(accountGrammar, l, nil)) == 0 {
			return ""
		}
	}
	empty := func(q automata.Query) bool {
		none, err := a.search.Empty(q)
		return none && err == nil
	}
	for t := range a.types {
		if r.types != nil && !r.types.has(t) {
			continue
		}
		names := a.types[t].names
		any, ok := a.anyValue(i)
		if !ok || a.langs.of(any) == nil {
			return externalDoubtText
		}
		if empty(automata.Query{Universe: names, In: []*automata.Lang{a.langs.of(any)}}) {
			continue
		}
		q := automata.Query{Universe: names, In: []*automata.Lang{a.langs.of(any)}}
		sym := automata.Query{}
		target, symbolic := a.symbolicName(i)
		if symbolic {
			sym.In = []*automata.Lang{a.langs.of(target)}
		}
		for c := range i {
			if !a.coversAlways(c, i, t) {
				continue
			}
			if stop, ok := a.constant(c); ok {
				if l := a.langs.of(stop); l != nil {
					q.Out = append(q.Out, l)
				}
				continue
			}
			if l, ok := a.symbolicName(c); ok && symbolic && a.onlyValues(i, site{typ: t}) && a.mentionsAll(i, c) {
				sym.Out = append(sym.Out, a.langs.of(l))
			}
		}
		if empty(q) || symbolic && len(sym.Out) > 0 && empty(sym) {
			continue
		}
		return externalDoubtText
	}
	return ""
}

const externalDoubtText = "an account that lives elsewhere, with labels that are not known, may get to it"

// mentionsAll reports whether entry i has all placeholders of entry c in its
// name.
func (a *Analysis) mentionsAll(i, c int) bool {
	for _, s := range a.rules[c].name.segs {
		if s.Kind != acl.Text && !a.mentions(i, s.Text) {
			return false
		}
	}
	return true
}

// anyValue returns the names of an entry whatever plain text its placeholders
// become.
func (a *Analysis) anyValue(i int) (langID, bool) {
	n := &a.rules[i].name
	if id, ok := a.constant(i); ok {
		return id, true
	}
	if n.pattern == nil {
		return langAny, true
	}
	if !n.dynamic {
		return a.langs.text(n.pattern.String()), true
	}
	if n.self || !a.sideBySide(n, nil) {
		return 0, false
	}
	const value = `[a-zA-Z0-9]+(?:[._-]+[a-zA-Z0-9]+)*`
	var b strings.Builder
	regexpText := isRegexpText(n.pattern.String())
	for _, s := range n.segs {
		switch {
		case s.Kind != acl.Text && regexpText:
			b.WriteString("(?:" + value + ")")
		case s.Kind != acl.Text:
			b.WriteString("*") // wider than the values are: no slash is all that counts
		default:
			b.WriteString(s.Text)
		}
	}
	return a.langs.text(b.String()), true
}

// coversAlways reports whether an earlier entry concerns every account, address
// and service that entry i concerns, for one type.
func (a *Analysis) coversAlways(c, i, typ int) bool {
	x, y := &a.rules[c], &a.rules[i]
	if x.frame != nil || x.depends != "" || y.frame != nil || y.depends != "" {
		return false
	}
	if x.types != nil && !x.types.has(typ) {
		return false
	}
	if x.services != nil && (y.services == nil && x.services.count() < len(a.services) || y.services != nil && !y.services.within(x.services)) {
		return false
	}
	if p := x.patterns.IP; p != nil {
		if q := y.patterns.IP; q == nil || p.Bits() > q.Bits() || !p.Contains(q.Addr()) {
			return false
		}
	}
	if p := x.patterns.Account; p != nil && (y.patterns.Account == nil || !a.wider(p, y.patterns.Account, accountGrammar)) {
		return false
	}
	for k := range x.patterns.Labels {
		l := &x.patterns.Labels[k]
		if !slices.ContainsFunc(y.patterns.Labels, func(m acl.LabelPattern) bool {
			return m.Key == l.Key && a.wider(&l.Pattern, &m.Pattern, "")
		}) {
			return false
		}
	}
	return true
}

// wider reports whether p matches whatever q matches.
func (a *Analysis) wider(p, q *acl.Pattern, grammar string) bool {
	if p.String() == q.String() {
		return true
	}
	x, y := a.langs.of(a.langs.text(p.String())), a.langs.of(a.langs.text(q.String()))
	if x == nil || y == nil {
		return false
	}
	if grammar == "" {
		grammar = serviceGrammar
	}
	empty, err := a.search.Empty(automata.Query{Universe: a.langs.dfa(a.langs.text(grammar)), In: []*automata.Lang{y}, Out: []*automata.Lang{x}})
	return empty && err == nil
}
