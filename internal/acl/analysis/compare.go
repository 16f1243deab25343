package analysis

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// half is one side of a comparison: an entry of a policy, or none of them when
// entry is the number of entries.
type half struct {
	a     *Analysis
	entry int
	// fixed is the account that always asks on this side; -1: the account that
	// is compared.
	fixed int
}

func (h half) user(u int) int {
	if h.fixed >= 0 {
		return h.fixed
	}
	return u
}

// grants reports whether the entry, in a mode, grants an action.
func (h half) grants(m mode, action string) bool {
	return m == matches && h.entry < len(h.a.rules) && h.a.rules[h.entry].grants(action)
}

// target is side.target for an account.
func (h half) target(m mode, u int, st site) (in, out langID) {
	s := side{a: h.a, user: h.user(u), site: st, entry: h.entry, mode: m}
	return s.target()
}

// common is a set of accounts and names that one entry decides on one side and
// another on the other one.
type common struct {
	users bitset
	area  area
	at    point
	p, q  mode
}

// meeting finds the names that both halves decide at a site, for the accounts of
// who. What can't be told goes to doubt.
//
// Same are the accounts with the same labels on both sides, for which many may
// be told in one; nil: none.
func meeting(p, q half, st site, who, same bitset, found func(common), doubt func(entry int, why string, users bitset)) {
	if same != nil {
		who = who.clone()
		meetingOfAll(p, q, st, who, same, found)
	}
	type key struct {
		p, q           mode
		pi, po, qi, qo langID
	}
	groups := map[key]bitset{}
	var order []key
	pModes, qModes := p.modes(), q.modes()
	x, okX := p.constant()
	y, okY := q.constant()
	who.each(func(u int) {
		if okX && q.dynamic() && !q.a.mayBegin(q.entry, q.user(u), q.a.langs.entries[x].prefix) ||
			okY && p.dynamic() && !p.a.mayBegin(p.entry, p.user(u), q.a.langs.entries[y].prefix) {
			return
		}
		for _, pm := range pModes {
			pi, po := p.target(pm, u, st)
			if pi == langNone {
				continue
			}
			if q.entry < len(q.a.rules) && q.a.rules[q.entry].name.dynamic && !q.a.mayBegin(q.entry, q.user(u), p.a.langs.entries[pi].prefix) {
				continue
			}
			for _, qm := range qModes {
				qi, qo := q.target(qm, u, st)
				if qi == langNone {
					continue
				}
				k := key{pm, qm, pi, po, qi, qo}
				b, ok := groups[k]
				if !ok {
					b = newBitset(len(q.a.accounts))
					groups[k] = b
					order = append(order, k)
				}
				b.add(u)
			}
		}
	})
	langs := q.a.langs
	for _, k := range order {
		if !q.a.meet(k.pi, k.qi, st) {
			continue
		}
		base := group{users: groups[k], doubt: -1}
		for _, o := range []langID{k.po, k.qo} {
			if o != langNone {
				base.out = append(base.out, o)
			}
		}
		in, ok := langs.and(k.pi, k.qi)
		if ok {
			in, ok = langs.and(q.a.types[st.typ].lang, in)
		}
		if !ok {
			guessMeeting(p, q, k.p, k.q, st, base.users, found, doubt)
			for _, h := range []struct {
				entry int
				id    langID
			}{{p.entry, k.pi}, {q.entry, k.qi}} {
				if langs.dfa(h.id) == nil {
					doubt(h.entry, langs.whyNot(h.id), base.users)
				}
			}
			continue
		}
		if in == langNone {
			continue
		}
		for _, g := range p.above(st, in, base) {
			g.prior, g.covers = g.covers, nil
			for _, g := range q.a.divide(q.entry, st, in, g) {
				meet(p, q, k.p, k.q, st, in, g, found, doubt)
			}
		}
	}
}

// dynamic reports whether the names of the entry have placeholders.
func (h half) dynamic() bool { return h.entry < len(h.a.rules) && h.a.rules[h.entry].name.dynamic }

// constant returns the names of the entry when they are the same for all.
func (h half) constant() (langID, bool) {
	if h.entry == len(h.a.rules) {
		return langAny, true
	}
	return h.a.constant(h.entry)
}

// meetingOfAll tells of many accounts at once what can be, and removes these
// from who.
func meetingOfAll(p, q half, st site, who, same bitset, found func(common)) {
	x, y := p, q
	if !x.dynamic() {
		x, y = q, p
	}
	if !x.dynamic() || x.fixed >= 0 || y.fixed >= 0 {
		return
	}
	t := x.a.template(x.entry, st, who)
	if t == nil {
		return
	}
	t.who.and(same)
	if len(x.a.kindsOf(x.entry, t.who)) <= q.a.manyClasses || !t.also(y.a, y.entry) {
		return
	}
	t.above(x.a, x.entry)
	first := t.covers
	t.above(y.a, y.entry)
	some, ok := t.settle()
	who.andNot(t.done)
	if !ok || !some {
		return
	}
	u := t.who.first(0)
	xs := &side{a: x.a, user: u, site: st, entry: x.entry, mode: matches, known: first}
	ys := &side{a: y.a, user: u, site: st, entry: y.entry, mode: matches, known: t.covers}
	f := find(q.a.search, q.a.types[st.typ].names, nil, []*side{xs, ys})
	in, known := q.a.langs.and(x.a.names(x.entry, u, st).hold, q.a.types[st.typ].lang)
	if known && y.entry < len(y.a.rules) {
		in, known = q.a.langs.and(in, y.a.names(y.entry, u, st).hold)
	}
	if !f.found || !known {
		return
	}
	who.andNot(t.who)
	text := x.a.rules[x.entry].name.pattern.String()
	found(common{
		users: t.who, at: point{u, st, f.name}, p: matches, q: matches,
		area: area{typ: st.typ, in: in, out: t.out, text: text, each: true},
	})
}

func (h half) modes() []mode {
	if h.entry == len(h.a.rules) {
		return []mode{matches}
	}
	r := &h.a.rules[h.entry]
	if r.name.dynamic || r.frame != nil {
		return []mode{matches, breaks}
	}
	return []mode{matches}
}

// above divides accounts by what the entries above take from a language.
func (h half) above(st site, in langID, base group) []group {
	if h.fixed < 0 {
		return h.a.divide(h.entry, st, in, base)
	}
	one := group{users: single(len(h.a.accounts), h.fixed), out: base.out, doubt: -1}
	groups := h.a.divide(h.entry, st, in, one)
	for k := range groups {
		groups[k].users = base.users.clone()
	}
	return groups
}

// meet reports what is left of a language when the entries above are taken away.
func meet(p, q half, pm, qm mode, st site, in langID, g group, found func(common), doubt func(int, string, bitset)) {
	u := g.users.first(0)
	ps := &side{a: p.a, user: p.user(u), site: st, entry: p.entry, mode: pm, known: p.a.withNames(g.prior, p.user(u), st)}
	qs := &side{a: q.a, user: q.user(u), site: st, entry: q.entry, mode: qm, known: q.a.withNames(g.covers, q.user(u), st)}
	f := find(q.a.search, q.a.types[st.typ].names, []*automata.Lang{q.a.langs.of(in)}, []*side{ps, qs})
	switch {
	case f.why != "":
		doubt(f.whyAt, f.why, g.users)
	case f.found:
		text := q.shown(u, st)
		if q.entry == len(q.a.rules) || text == "**" {
			text = p.shown(u, st)
		}
		c := common{
			users: g.users, at: point{u, st, f.name}, p: pm, q: qm,
			area: area{typ: st.typ, in: in, out: g.out, text: text},
		}
		if g.doubt >= 0 {
			// The witness stands for its account; no more is known.
			c.users = single(len(q.a.accounts), u)
			c.area = area{typ: st.typ, in: langNone, text: text}
			doubt(q.entry, "names that an earlier entry takes are not known", g.users)
		}
		found(c)
	}
}

func (h half) shown(u int, st site) string {
	if h.entry == len(h.a.rules) {
		return "**"
	}
	return h.a.shownPattern(h.entry, h.user(u), st)
}

// withNames returns the entries whose names are known.
func (a *Analysis) withNames(entries []int, u int, st site) []int {
	var out []int
	for _, e := range entries {
		if a.langs.of(a.names(e, u, st).stop) != nil {
			out = append(out, e)
		}
	}
	return out
}

// guessMeeting looks for single names where a language is not known.
func guessMeeting(p, q half, pm, qm mode, st site, who bitset, found func(common), doubt func(int, string, bitset)) {
	n := 0
	who.each(func(u int) {
		one := single(len(q.a.accounts), u)
		if n++; n > maxGuesses {
			doubt(q.entry, "too many accounts to try names for", one)
			return
		}
		ps := &side{a: p.a, user: p.user(u), site: st, entry: p.entry, mode: pm}
		qs := &side{a: q.a, user: q.user(u), site: st, entry: q.entry, mode: qm}
		f := find(q.a.search, q.a.types[st.typ].names, nil, []*side{ps, qs})
		switch {
		case f.found:
			found(common{users: one, at: point{u, st, f.name}, p: pm, q: qm, area: area{typ: st.typ, in: langNone, text: q.shown(u, st)}})
		}
	})
}

// maxGuesses bounds the accounts for which single names are tried.
const maxGuesses = 256

// pairSites calls f with the sites at which two entries have to be compared.
// Without an address a request meets the fewest entries: where neither of the
// two asks for one, nothing more can come of the other addresses.
func pairSites(p, q half, known bool, f func(site) bool) {
	cells := 0
	plain := p.noIP() && q.noIP()
	from := q
	if q.noIP() {
		from = p
	}
	from.a.sites(from.entry, known, func(st site) bool {
		if plain && q.a.ips[st.ip].IsValid() {
			return false
		}
		if cells++; cells > maxPairSites {
			return false
		}
		if p.about(st) && q.about(st) {
			return f(st)
		}
		return true
	})
}

// maxPairSites bounds the sites of one pair of entries.
const maxPairSites = 4096

func (h half) noIP() bool {
	return h.entry == len(h.a.rules) || h.a.rules[h.entry].patterns.IP == nil
}

func (h half) about(st site) bool { return h.entry == len(h.a.rules) || h.a.at(h.entry, st) }

// fits returns the accounts of who that an entry may concern.
func (h half) fits(who bitset) bitset {
	if h.fixed >= 0 || h.entry == len(h.a.rules) {
		return who
	}
	b := h.a.rules[h.entry].users.asBits(len(h.a.accounts)).clone()
	b.and(who)
	return b
}

// disjoint reports whether two entries plainly have no name or account in
// common; it is asked for all pairs and so must be quick. Same says that one
// account with the same labels asks on both sides.
func disjoint(p, q half, same bool) bool {
	if p.entry == len(p.a.rules) || q.entry == len(q.a.rules) {
		return false
	}
	x, y := p.a.rules[p.entry].users, q.a.rules[q.entry].users
	if p.fixed < 0 && q.fixed < 0 {
		if x.bits == nil && !y.has(x.one) || y.bits == nil && !x.has(y.one) {
			return true
		}
	}
	if p.dynamic() && q.dynamic() {
		if !same || !beginApart(p.a.begin(p.entry), q.a.begin(q.entry)) {
			return false
		}
		return x.bits == nil && p.a.tameIn(p.entry).has(x.one) || y.bits == nil && q.a.tameIn(q.entry).has(y.one) ||
			q.a.everyone().within(p.a.tameIn(p.entry)) && q.a.everyone().within(q.a.tameIn(q.entry))
	}
	a, okA := p.constant()
	b, okB := q.constant()
	return okA && okB && q.a.langs.apart(a, b)
}

// probes returns the actions by which two policies are compared.
func probes(list ...*Analysis) []string {
	out := slices.Clone(starActions)
	for _, a := range list {
		for i := range a.rules {
			out = append(out, a.rules[i].actions...)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// more returns the actions that q grants and p does not.
func more(p, q half, pm, qm mode, actions []string) []string {
	var out []string
	for _, x := range actions {
		if q.grants(qm, x) && !p.grants(pm, x) {
			out = append(out, x)
		}
	}
	return out
}

// shorten says ["*"] for everything that there is.
func shorten(list, all []string) []string {
	if slices.Equal(list, all) {
		return []string{"*"}
	}
	return list
}

// confirmed returns the request at a point when it gets all the actions.
func (a *Analysis) confirmed(u int, st site, name string, actions []string, want bool) (*acl.Request, bool) {
	_, granted, _ := a.decide(u, st, name, actions)
	if want && !slices.Equal(granted, actions) || !want && len(granted) > 0 {
		return nil, false
	}
	r := a.request(u, st, name, slices.Clone(actions))
	return &r, true
}
