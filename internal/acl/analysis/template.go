package analysis

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// template is what an entry with placeholders takes, for many accounts at once:
// names with a letter in place of each value. It holds as long as everything
// else comes out the same whatever the value is; accounts for which it might not
// are taken out and looked at one by one.
type template struct {
	a       *Analysis // values are put in from here
	st      site
	who     bitset // the accounts that it is about
	done    bitset // accounts for which nothing is left
	target  langID
	begin   string
	symbols []string // placeholders
	query   automata.Query
	out     []langID // what earlier entries take, the same for all accounts
	covers  []int    // those of the last side that was looked at
}

// template returns the template of an entry for those of the accounts whose
// values are plain text; nil when there is none.
func (a *Analysis) template(i int, st site, who bitset) *template {
	r := &a.rules[i]
	if !r.name.dynamic || r.frame != nil || r.depends != "" {
		return nil
	}
	target, ok := a.symbolicName(i)
	if !ok || !a.onlyValues(i, st) {
		return nil
	}
	t := &template{
		a: a, st: st, target: target, who: who.clone(), done: newBitset(len(a.accounts)),
		begin: a.begin(i), symbols: a.placeholders(i),
	}
	t.who.and(a.plainIn(i))
	universe := a.liftNames(st.typ, t.symbols)
	if universe == nil || t.who.empty() {
		return nil
	}
	t.query = automata.Query{Universe: universe, In: []*automata.Lang{a.langs.of(target)}}
	return t
}

// kindsOf returns how many accounts there are with each value.
func (a *Analysis) kindsOf(i int, who bitset) map[int]int {
	kinds := map[int]int{}
	who.each(func(u int) { kinds[a.classOf(i, u)]++ })
	return kinds
}

// empty reports whether a query has no answer for certain.
func (t *template) empty(q automata.Query) bool {
	none, err := t.a.search.Empty(q)
	return none && err == nil
}

// inside reports whether all names of the template are in a language.
func (t *template) inside(l *automata.Lang) bool {
	q := t.query
	q.Out = append(slices.Clip(q.Out), l)
	return t.empty(q)
}

// also narrows the template to what an entry of b takes as well; false when
// that is not possible.
func (t *template) also(b *Analysis, j int) bool {
	if j == len(b.rules) {
		return true
	}
	if stop, ok := b.constant(j); ok {
		if stop == langAny {
			return true
		}
		if b.langs.dfa(stop) == nil {
			return false
		}
		l, uniform := t.a.liftAll(stop, t.symbols)
		if uniform {
			t.query.In = append(slices.Clip(t.query.In), l)
		}
		return uniform
	}
	l, ok := t.symbolicOf(b, j)
	if !ok {
		return false
	}
	t.who.and(b.plainIn(j))
	return t.inside(l)
}

// symbolicOf returns the names of an entry of b with letters for values, where
// values play no part in it with what they have in common.
func (t *template) symbolicOf(b *Analysis, j int) (*automata.Lang, bool) {
	r := &b.rules[j]
	if r.frame != nil || r.depends != "" {
		return nil, false
	}
	id, ok := b.symbolicName(j)
	if !ok {
		return nil, false
	}
	lang := b.langs.of(id)
	for _, text := range t.symbols {
		if !b.mentions(j, text) {
			lang = t.a.liftOne(id, lang, text).lang
		}
	}
	return lang, true
}

// above takes away what the entries of b above entry i take.
func (t *template) above(b *Analysis, i int) {
	t.covers = nil
	for j := range i {
		if t.who.empty() {
			return
		}
		s := b.rules[j].users
		if s.bits == nil && (s.one < 0 || !t.who.has(s.one)) || !b.at(j, t.st) {
			continue
		}
		stop, constant := b.constant(j)
		if constant && differ(t.begin, b.langs.entries[stop].prefix) {
			continue
		}
		if !constant && b.rules[j].name.dynamic && beginApart(t.begin, b.begin(j)) && t.who.within(b.tameIn(j)) {
			continue
		}
		inside := newBitset(len(b.accounts))
		s.copyTo(inside)
		inside.and(t.who)
		if inside.empty() {
			continue
		}
		if constant {
			t.take(b, j, stop, inside, s)
		} else {
			t.takeEach(b, j, inside)
		}
	}
}

// take takes away the names of an entry that are the same for all accounts.
func (t *template) take(b *Analysis, j int, stop langID, inside bitset, s accountSet) {
	if stop == langAny {
		t.drop(inside)
		return
	}
	if b.langs.dfa(stop) == nil {
		t.who.andNot(inside)
		return
	}
	prefix := b.langs.entries[stop].prefix
	touched := inside.clone()
	inside.each(func(u int) {
		if !t.a.compatible("", t.begin, prefix, u) {
			touched.remove(u)
		}
	})
	if touched.empty() {
		return
	}
	if l, uniform := t.a.liftAll(stop, t.symbols); uniform {
		q := t.query
		q.In = append(slices.Clip(q.In), l)
		if t.empty(q) {
			return
		}
		if t.who.within(s.asBits(len(b.accounts))) {
			t.query.Out = append(t.query.Out, l)
			t.out = append(t.out, stop)
			t.covers = append(t.covers, j)
			return
		}
		if t.inside(l) {
			t.drop(touched)
			return
		}
	}
	t.who.andNot(touched)
}

// takeEach takes away the names of an entry that depend on the account: all of
// the template's, or the accounts have to be looked at one by one.
func (t *template) takeEach(b *Analysis, j int, inside bitset) {
	if l, ok := t.symbolicOf(b, j); ok {
		plain := inside.clone()
		plain.and(b.plainIn(j))
		if !plain.empty() && t.inside(l) {
			t.drop(plain)
			inside.andNot(plain)
		}
	}
	t.who.andNot(inside)
}

func (t *template) drop(who bitset) {
	t.done.or(who)
	t.who.andNot(who)
}

// settle reports whether names are left for the accounts that the template is
// still about; ok is false when that can't be told. Where none are left the
// accounts are done.
func (t *template) settle() (found, ok bool) {
	if t.who.empty() {
		return false, true
	}
	none, err := t.a.search.Empty(t.query)
	if err != nil {
		return false, false
	}
	if none {
		t.drop(t.who.clone())
	}
	return !none, true
}
