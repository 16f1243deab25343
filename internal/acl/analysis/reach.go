package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// EntryReport says whether some request gets to an entry.
type EntryReport struct {
	Index     int
	Reachable bool
	// Witness is a request that the entry decides. Set exactly when Reachable.
	Witness *acl.Request
	// CoveredBy are the earlier entries that together keep every request away;
	// none when the entry matches nothing at all, see Reason.
	CoveredBy []int
	// Reason says why an entry without covers is unreachable: "no account
	// matches", "no name that can exist matches", "no type or service matches".
	Reason string
	// NotDecided says why neither is known.
	NotDecided string
}

// Reachable reports on every entry, in order.
func (a *Analysis) Reachable() []EntryReport {
	reports := make([]EntryReport, len(a.entries))
	for i := range a.entries {
		reports[i] = a.reach(i)
	}
	return reports
}

// proof says that earlier entries take all names of an entry for some accounts.
type proof struct {
	covers []int
	typ    int
}

// reach decides whether an entry is reachable.
func (a *Analysis) reach(i int) EntryReport {
	rep := EntryReport{Index: i}
	r := &a.rules[i]
	if r.users.empty() {
		rep.Reason = "no account matches"
		if a.external {
			// What accounts that live elsewhere might be is told by examples.
			rep.NotDecided = a.externalDoubt(i)
		}
		return rep
	}
	var proofs []proof
	var covers []int
	undecided := ""
	anySite, anyName := false, false
	start := a.search.Steps
	left := newBitset(len(a.accounts))
	a.sites(i, false, func(st site) bool {
		anySite = true
		r.users.copyTo(left)
		for _, p := range proofs {
			if p.typ == st.typ && a.allAt(p.covers, st) {
				a.generalize(i, st, p.covers, left, -1)
			}
		}
		for u := left.first(0); u >= 0; u = left.first(u) {
			if a.search.Steps-start > maxQuestion {
				undecided = fmt.Sprintf("entry %d: too many cases", i+1)
				return false
			}
			l := a.names(i, u, st)
			if l.stop == langNone {
				left.remove(u)
				continue
			}
			s := side{a: a, user: u, site: st, entry: i, known: a.applicable(covers, u, st)}
			f := find(a.search, a.types[st.typ].names, nil, []*side{&s})
			switch {
			case f.found:
				if w, ok := a.witness(i, point{u, st, f.name}); ok {
					rep.Reachable, rep.Witness = true, w
					return false
				}
				undecided = fmt.Sprintf("entry %d: the witness was not confirmed", i+1)
				left.remove(u)
			case f.why != "":
				if undecided == "" {
					undecided = fmt.Sprintf("entry %d: %s", f.whyAt+1, f.why)
				}
				a.sameNames(i, u, st, left)
			default:
				c := a.prune(i, u, st, f.covers, nil)
				if len(c) > 0 {
					anyName = true
				}
				proofs = append(proofs, proof{c, st.typ})
				covers = append(covers, c...)
				slices.Sort(covers)
				covers = slices.Compact(covers)
				a.generalize(i, st, c, left, u)
			}
		}
		return true
	})
	switch {
	case rep.Reachable:
	case undecided != "":
		rep.NotDecided = undecided
	case a.incomplete != "":
		rep.NotDecided = a.incomplete
	case !anySite:
		rep.Reason = "no type, service or address matches"
	case !anyName:
		rep.Reason = "no name that can exist matches"
	default:
		rep.CoveredBy = covers
	}
	if !rep.Reachable && rep.NotDecided == "" && a.external {
		if why := a.externalDoubt(i); why != "" {
			rep = EntryReport{Index: i, NotDecided: why}
		}
	}
	return rep
}

// applicable returns those of the entries that concern an account at a site.
func (a *Analysis) applicable(covers []int, u int, st site) []int {
	var out []int
	for _, c := range covers {
		if a.rules[c].users.has(u) && a.at(c, st) {
			out = append(out, c)
		}
	}
	return out
}

func (a *Analysis) allAt(covers []int, st site) bool {
	for _, c := range covers {
		if !a.at(c, st) {
			return false
		}
	}
	return true
}

// generalize removes from left all accounts for which the covers provably take
// all names of entry i at the site. For account proved, or for another site of
// its type when proved is negative, that is known.
func (a *Analysis) generalize(i int, st site, covers []int, left bitset, proved int) {
	if proved >= 0 {
		left.remove(proved)
	}
	same := a.borrow()
	defer a.giveBack(same)
	copy(same, left)
	constant := true
	for _, c := range covers {
		s := a.rules[c].users
		if s.bits != nil {
			same.and(s.bits)
		} else {
			has := s.one >= 0 && same.has(s.one)
			clear(same)
			if has {
				same.add(s.one)
			}
		}
		_, ok := a.constant(c)
		constant = constant && ok
	}
	if same.empty() {
		return
	}
	_, ok := a.constant(i)
	if constant && ok {
		left.andNot(same)
		return
	}
	if len(covers) > 0 {
		if b := a.forAllValues(i, st, covers, same); b != nil {
			left.andNot(b)
			same.andNot(b)
		}
	}
	if proved < 0 {
		// Nobody is known to start from: each account has its own search.
		return
	}
	a.likewise(i, proved, st, covers, same, left)
}

// maxLikewise bounds the accounts that one proof is carried over to one by one.
const maxLikewise = 4096

// likewise removes from left the accounts of same for which all patterns come
// out as they do for u.
func (a *Analysis) likewise(i, u int, st site, covers []int, same, left bitset) {
	key := func(v int) []langID {
		ids := []langID{a.names(i, v, st).stop}
		for _, c := range covers {
			ids = append(ids, a.names(c, v, st).stop)
		}
		return ids
	}
	want := key(u)
	n := 0
	same.each(func(v int) {
		if n++; n > maxLikewise {
			return
		}
		if slices.Equal(key(v), want) {
			left.remove(v)
		}
	})
}

// sameNames removes u and all accounts for which entry i has the same names.
func (a *Analysis) sameNames(i, u int, st site, left bitset) {
	left.remove(u)
	if _, ok := a.constant(i); ok {
		// The reason may lie in what stands above, but there is no end of
		// accounts to try.
		clear(left)
		return
	}
	want := a.names(i, u, st)
	left.clone().each(func(v int) {
		if a.names(i, v, st) == want {
			left.remove(v)
		}
	})
}

func (a *Analysis) borrow() bitset {
	if n := len(a.scratch); n > 0 {
		b := a.scratch[n-1]
		a.scratch = a.scratch[:n-1]
		clear(b)
		return b
	}
	return newBitset(len(a.accounts))
}

func (a *Analysis) giveBack(b bitset) { a.scratch = append(a.scratch, b) }

// liftKey names a language with the values of a label or of the accounts put
// in for a symbol.
type liftKey struct {
	lang   langID
	values string
}

type liftedDFA struct {
	lang    *automata.Lang
	uniform bool
}

// forAllValues returns the accounts among same for which the covers take all
// names of entry i because they do so with a letter in place of each variable
// and label, whatever plain text that is; nil when that can't be shown.
func (a *Analysis) forAllValues(i int, st site, covers []int, same bitset) bitset {
	target, ok := a.symbolicName(i)
	if !ok || !a.onlyValues(i, st) {
		return nil
	}
	in := a.langs.of(target)
	if in == nil || in.DFA() == nil {
		return nil
	}
	who := same.clone()
	var used []string
	note := func(e int) bool {
		n := &a.rules[e].name
		if !n.dynamic {
			return true
		}
		for _, s := range n.segs {
			if s.Kind == acl.Text || slices.Contains(used, s.Text) {
				continue
			}
			b := a.plainFor(s)
			if b == nil {
				return false
			}
			who.and(b)
			used = append(used, s.Text)
		}
		return true
	}
	if !note(i) {
		return nil
	}
	for _, c := range covers {
		if a.rules[c].depends != "" || a.rules[c].frame != nil || !note(c) {
			return nil
		}
	}
	if a.rules[i].depends != "" || a.rules[i].frame != nil || len(used) == 0 || who.empty() {
		return nil
	}
	q := automata.Query{In: []*automata.Lang{in}}
	for _, c := range covers {
		l, ok := a.symbolicName(c)
		if !ok {
			return nil
		}
		d := a.langs.dfa(l)
		if d == nil {
			return nil
		}
		lang := a.langs.of(l)
		for _, text := range used {
			if a.mentions(c, text) {
				continue
			}
			lang = a.liftOne(l, lang, text).lang
		}
		q.Out = append(q.Out, lang)
	}
	// The names of the grammar: here the letter has to lead to one and the same
	// state for all values, or names would be lost.
	if q.Universe = a.liftNames(st.typ, used); q.Universe == nil {
		return nil
	}
	if empty, err := a.search.Empty(q); err != nil || !empty {
		return nil
	}
	return who
}

// onlyValues reports whether the name pattern of an entry takes names only
// with labels filled in, not as it is written.
func (a *Analysis) onlyValues(i int, st site) bool {
	n := &a.rules[i].name
	if len(n.keys) == 0 {
		return true
	}
	for _, s := range n.segs {
		if s.Kind == acl.Variable {
			return false
		}
	}
	return a.nothingIn(a.langs.text(n.pattern.String()), st)
}

// mentions reports whether the name pattern of an entry has the placeholder.
func (a *Analysis) mentions(e int, text string) bool {
	for _, s := range a.rules[e].name.segs {
		if s.Kind != acl.Text && s.Text == text {
			return true
		}
	}
	return false
}

// liftOne puts in what all values of a placeholder have in common, in a
// language or what has been made of it so far.
func (a *Analysis) liftOne(id langID, lang *automata.Lang, text string) liftedDFA {
	key := liftKey{id, text}
	first := lang == a.langs.of(id)
	if l, ok := a.lifted[key]; ok && first {
		return l
	}
	d, uniform := lang.DFA().Lift(a.langs.symbols[text], a.plainValues(text))
	l := liftedDFA{automata.FromDFA(d), uniform}
	if first {
		a.lifted[key] = l
	}
	return l
}

// symbolicName returns the language of an entry's name with a letter for each
// placeholder.
func (a *Analysis) symbolicName(i int) (langID, bool) {
	n := &a.rules[i].name
	switch {
	case n.pattern == nil:
		return langAny, true
	case !n.dynamic:
		return a.langs.text(n.pattern.String()), true
	case n.symbolic >= 0:
		return n.symbolic, true
	case n.symbolic == -2 || n.self:
		return 0, false
	}
	n.symbolic = -2
	if !a.sideBySide(n, nil) {
		return 0, false
	}
	segs := slices.Clone(n.segs)
	for k, s := range segs {
		if s.Kind == acl.Text {
			// The letter of a variable has no case and is no part of a word.
			if isRegexpText(n.pattern.String()) && (hasFold(s.Text) || strings.Contains(s.Text, `\b`) || strings.Contains(s.Text, `\B`)) {
				return 0, false
			}
			continue
		}
		if s.Kind == acl.Capture || s.Kind == acl.Variable && s.Field != acl.FieldAccount {
			return 0, false
		}
		sym, ok := a.langs.symbols[s.Text]
		if !ok {
			if sym = len(a.langs.symbols); sym >= automata.Symbols {
				return 0, false
			}
			a.langs.symbols[s.Text] = sym
			a.langs.symbolKeys[sym] = s.Key
		}
		segs[k] = acl.Segment{Kind: acl.Text, Text: string(automata.SymbolRune(sym))}
	}
	id := a.langs.text(joinSegments(segs, nil))
	if a.langs.dfa(id) == nil {
		return 0, false
	}
	n.symbolic = id
	return id, true
}

// begin returns what all names of an entry begin with, with symbols for
// placeholders.
func (a *Analysis) begin(i int) string {
	id, ok := a.symbolicName(i)
	if !ok {
		return ""
	}
	return a.langs.entries[id].prefix
}

// plainIn returns the accounts for which all placeholders in the name of an
// entry are plain; nil when that can't be said.
func (a *Analysis) plainIn(i int) bitset {
	n := &a.rules[i].name
	if n.plainUsers == nil {
		b := a.everyone()
		for _, s := range n.segs {
			if s.Kind == acl.Text {
				continue
			}
			p := a.plainFor(s)
			if p == nil {
				clear(b)
				break
			}
			b.and(p)
		}
		n.plainUsers = b
	}
	return n.plainUsers
}

// tameIn returns the accounts for which the names of an entry begin as its
// pattern says: those of plainIn, and those without the one label in it, who
// have no names then.
func (a *Analysis) tameIn(i int) bitset {
	n := &a.rules[i].name
	if n.tameUsers == nil {
		n.tameUsers = a.plainIn(i).clone()
		if len(n.keys) == 1 && !n.account && !n.service && !n.self && a.onlyValuesOfAll(i) {
			for u := range a.accounts {
				if _, ok := a.accounts[u].labels[n.keys[0]]; !ok {
					n.tameUsers.add(u)
				}
			}
		}
	}
	return n.tameUsers
}

// onlyValuesOfAll is onlyValues for the types that the entry is about.
func (a *Analysis) onlyValuesOfAll(i int) bool {
	for t := range a.types {
		if (a.rules[i].types == nil || a.rules[i].types.has(t)) && !a.onlyValues(i, site{typ: t}) {
			return false
		}
	}
	return true
}

// mayBegin reports whether names of entry i with a placeholder may begin, for
// an account, as names of a language do that begin with prefix.
func (a *Analysis) mayBegin(i, u int, prefix string) bool {
	return !a.tameIn(i).has(u) || a.compatible("", a.begin(i), prefix, u)
}

// compatible reports whether head and then begin, with the account's values
// for symbols, may agree with prefix as far as both go.
func (a *Analysis) compatible(head, begin, prefix string, u int) bool {
	k := min(len(head), len(prefix))
	if head[:k] != prefix[:k] {
		return false
	}
	prefix = prefix[k:]
	k = 0
	for k < len(begin) && k < len(prefix) && begin[k] == prefix[k] {
		k++
	}
	if k == len(begin) || k == len(prefix) {
		return true
	}
	if begin[k] >= automata.Symbols {
		return false
	}
	sym := int(begin[k])
	if a.langs.symbolKeys[sym] == "" {
		return a.compatible(a.accounts[u].name, begin[k+1:], prefix[k:], u)
	}
	for _, v := range a.accounts[u].labels[a.langs.symbolKeys[sym]] {
		if a.compatible(v, begin[k+1:], prefix[k:], u) {
			return true
		}
	}
	return false
}

// hasFold reports whether regexp text may switch to ignoring case.
func hasFold(text string) bool {
	for k := 0; k+2 < len(text); k++ {
		if text[k] == '(' && text[k+1] == '?' && text[k+2] != ':' {
			return true
		}
	}
	return false
}

// plainFor returns the accounts for which all values of a placeholder are plain
// names of one component; nil when that can't be said.
func (a *Analysis) plainFor(s acl.Segment) bitset {
	if b, ok := a.plain[s.Text]; ok {
		return b
	}
	var b bitset
	switch {
	case s.Kind == acl.Label:
		b = newBitset(len(a.accounts))
		for u := range a.accounts {
			values, ok := a.accounts[u].labels[s.Key]
			good := ok
			for _, v := range values {
				good = good && isComponent(v) && a.plainValue(v)
			}
			if good {
				b.add(u)
			}
		}
	case s.Kind == acl.Variable && s.Field == acl.FieldAccount:
		b = newBitset(len(a.accounts))
		for u := range a.accounts {
			if isComponent(a.accounts[u].name) {
				b.add(u)
			}
		}
	}
	a.plain[s.Text] = b
	return b
}

// plainValues returns the values that plainFor found plain.
func (a *Analysis) plainValues(text string) []string {
	var out []string
	b := a.plain[text]
	if key, ok := labelKey(text); ok {
		x := a.labelIndex(key)
		for _, v := range x.values {
			if isComponent(v) && a.plainValue(v) {
				out = append(out, v)
			}
		}
		return out
	}
	b.each(func(u int) { out = append(out, a.accounts[u].name) })
	return out
}

func labelKey(placeholder string) (string, bool) {
	const open = "${labels:"
	if len(placeholder) > len(open) && placeholder[:len(open)] == open {
		return placeholder[len(open) : len(placeholder)-1], true
	}
	return "", false
}

// isComponent reports whether s is a path component of a repository name
// without dots, so that it is plain text in every pattern.
func isComponent(s string) bool {
	edge := true
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			edge = false
		case c == '-' || c == '_':
			if edge {
				return false
			}
			edge = true
		default:
			return false
		}
	}
	return !edge
}
