package analysis

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// Grant says that accounts may do something with a class of names.
type Grant struct {
	// Accounts are the names, sorted, for which this holds in the same way; the
	// empty name is the anonymous account.
	Accounts []string
	// External, when not empty, says instead that this holds for an account that
	// lives elsewhere, and which one: `labelled team=x`.
	External string
	Type     string
	Names    NameClass
	Actions  []string // sorted; ["*"] is any
	Entry    int
	// Witness is a request of the first account that the entry decides; what it
	// asks is granted.
	Witness *acl.Request
}

// Undecided is a question that could not be answered exactly.
type Undecided struct {
	Entry    int // whose pattern stands in the way; -1: none in particular
	Accounts []string
	Why      string
}

// String returns the reason in the form in which reports give it.
func (u Undecided) String() string { return notDecided(u.Entry, u.Why) }

func notDecided(entry int, why string) string {
	if entry < 0 {
		return "not decided: " + why
	}
	return fmt.Sprintf("not decided: entry %d: %s", entry+1, why)
}

// joined joins reasons that say the same about several accounts.
func joined(list []Undecided) []Undecided {
	type key struct {
		entry int
		why   string
	}
	at := map[key]int{}
	var out []Undecided
	for _, u := range list {
		k := key{u.Entry, u.Why}
		n, ok := at[k]
		if !ok {
			n = len(out)
			at[k] = n
			out = append(out, Undecided{Entry: u.Entry, Why: u.Why})
		}
		out[n].Accounts = append(out[n].Accounts, u.Accounts...)
	}
	for n := range out {
		slices.Sort(out[n].Accounts)
		out[n].Accounts = slices.Compact(out[n].Accounts)
	}
	return out
}

// Question asks about a set of names.
type Question struct {
	Action string      // empty: any
	Names  NamePattern // the zero value: all names
	Type   string      // empty: repository
	// AllTypes asks about every type; Type does not count then.
	AllTypes bool
}

// WhoCan lists who may do an action on at least one of the names, entry by
// entry. For the zero name pattern these are all names.
func (a *Analysis) WhoCan(q Question) ([]Grant, []Undecided) {
	return a.grants(q, a.everyone(), true)
}

// Effective lists what one account may do, entry by entry. It fails for an
// account that is not known.
func (a *Analysis) Effective(name string) ([]Grant, []Undecided, error) {
	u, ok := a.account(name)
	if !ok {
		return nil, nil, fmt.Errorf("no account %q", name)
	}
	who := newBitset(len(a.accounts))
	who.add(u)
	g, un := a.grants(Question{AllTypes: true}, who, true)
	return g, un, nil
}

// group is a set of accounts for which an entry and those above it come out
// the same.
type group struct {
	users  bitset
	out    []langID
	covers []int
	prior  []int // covers of the other side of a comparison
	doubt  int   // entry above whose names are not known, or -1
}

// grants answers a question for some accounts, about the known services or all
// of them.
func (a *Analysis) grants(q Question, who bitset, known bool) (grants []Grant, undecided []Undecided) {
	collect := grantSet{a: a, seen: map[string]int{}}
	asked := a.language(q.Names)
	if l := a.langs.of(asked); l == nil || l.DFA() == nil {
		return nil, []Undecided{{Entry: -1, Why: fmt.Sprintf("pattern %q: %s", q.Names.String(), a.langs.why(asked))}}
	}
	for i := range a.rules {
		r := &a.rules[i]
		if q.Action != "" && !r.grants(q.Action) || len(r.actions) == 0 {
			continue
		}
		cells := 0
		steps := a.search.Steps
		a.sites(i, known, func(st site) bool {
			if !q.AllTypes && a.types[st.typ].name != cmp.Or(q.Type, TypeRepository) {
				return true
			}
			if r.patterns.IP == nil && a.ips[st.ip].IsValid() {
				// Requests without an address meet fewer entries than others:
				// nothing more can come of these.
				return false
			}
			if cells++; cells > maxCells || a.search.Steps-steps > maxQuestion {
				collect.undecided = append(collect.undecided, Undecided{Entry: i, Why: "too many cases"})
				return false
			}
			a.grantsAt(i, st, asked, q.Action, who, &collect)
			return true
		})
	}
	return collect.finish()
}

// grantSet collects grants and joins those that say the same.
type grantSet struct {
	a         *Analysis
	list      []Grant
	members   [][]seenAt
	seen      map[string]int
	undecided []Undecided
}

// seenAt says for which accounts a grant was confirmed at one point, with an
// account of theirs.
type seenAt struct {
	users bitset
	at    point
}

// grantsAt finds what an entry grants at one site.
func (a *Analysis) grantsAt(i int, st site, asked langID, action string, who bitset, out *grantSet) {
	r := &a.rules[i]
	left := a.borrow()
	defer a.giveBack(left)
	r.users.copyTo(left)
	left.and(who)
	if left.empty() {
		return
	}
	if hold, ok := a.constant(i); ok {
		base := group{users: left.clone(), doubt: -1}
		a.grantsOf(i, st, hold, asked, action, base, out)
		return
	}
	if a.farApart(i, asked, left) {
		return
	}
	if names := a.types[st.typ].lang; asked != langAny {
		if all, ok := a.langs.and(names, asked); ok && all == names {
			asked = langAny
		}
	}
	if asked == langAny {
		a.grantsToAll(i, st, action, left, out)
	}
	prefix := a.langs.entries[asked].prefix
	var order []langID
	groups := map[langID]group{}
	left.each(func(u int) {
		if r.name.dynamic && !a.mayBegin(i, u, prefix) {
			return
		}
		hold := a.names(i, u, st).hold
		g, ok := groups[hold]
		if !ok {
			g = group{users: newBitset(len(a.accounts)), doubt: -1}
			groups[hold] = g
			order = append(order, hold)
		}
		g.users.add(u)
	})
	for _, hold := range order {
		a.grantsOf(i, st, hold, asked, action, groups[hold], out)
	}
}

// manyClasses is how many kinds of accounts an entry with placeholders may
// have before what it grants is told once, with the placeholders in the names.
const manyClasses = 16

// grantsToAll finds what an entry with placeholders grants to many accounts at
// once: those whose values are plain text, and for which what earlier entries
// take does not depend on the value. They are removed from left.
func (a *Analysis) grantsToAll(i int, st site, action string, left bitset, out *grantSet) {
	t := a.template(i, st, left)
	if t == nil || len(a.kindsOf(i, t.who)) <= a.manyClasses {
		return
	}
	t.above(a, i)
	found, ok := t.settle()
	left.andNot(t.done)
	if !ok || !found {
		return
	}
	// One of them in full: for the witness, and for examples.
	u := t.who.first(0)
	names, ok := a.langs.and(a.types[st.typ].lang, a.names(i, u, st).hold)
	if !ok {
		return
	}
	s := side{a: a, user: u, site: st, entry: i, mode: matches, known: t.covers}
	f := find(a.search, a.types[st.typ].names, nil, []*side{&s})
	if !f.found {
		return
	}
	left.andNot(t.who)
	ar := area{typ: st.typ, in: names, out: t.out, covers: t.covers, text: a.rules[i].name.pattern.String(), each: true}
	out.add(i, point{u, st, f.name}, ar, action, t.who)
}

// placeholders returns the placeholders in the name of an entry, each once.
func (a *Analysis) placeholders(i int) []string {
	var out []string
	for _, s := range a.rules[i].name.segs {
		if s.Kind != acl.Text && !slices.Contains(out, s.Text) {
			out = append(out, s.Text)
		}
	}
	return out
}

// liftAll puts in what all values of some placeholders have in common.
func (a *Analysis) liftAll(id langID, texts []string) (*automata.Lang, bool) {
	lang, uniform := a.langs.of(id), true
	for _, text := range texts {
		l := a.liftOne(id, lang, text)
		uniform = uniform && l.uniform
		lang = l.lang
	}
	return lang, uniform
}

// liftNames is liftAll for the names of a type; nil when values differ.
func (a *Analysis) liftNames(typ int, texts []string) *automata.DFA {
	l, uniform := a.liftAll(a.types[typ].lang, texts)
	if !uniform {
		return nil
	}
	return l.DFA()
}

// grantsOf finds what an entry grants to accounts for which its names are the
// same.
func (a *Analysis) grantsOf(i int, st site, hold, asked langID, action string, base group, out *grantSet) {
	if hold == langNone {
		return
	}
	text := a.shownPattern(i, base.users.first(0), st)
	in, ok := a.langs.and(hold, asked)
	if ok {
		if !a.meet(hold, asked, st) {
			return
		}
		in, ok = a.langs.and(a.types[st.typ].lang, in)
	}
	if !ok {
		a.guessGrants(i, st, hold, asked, action, base, text, out)
		return
	}
	if in == langNone {
		return
	}
	for _, g := range a.divide(i, st, in, base) {
		a.grant(i, st, area{typ: st.typ, in: in, out: g.out, covers: g.covers, text: text}, action, g, out)
	}
}

// divide splits accounts by which earlier entries take names of the language
// away from entry i, and which names these are.
func (a *Analysis) divide(i int, st site, in langID, base group) []group {
	base.users = base.users.clone()
	groups := []group{base}
	for j := range i {
		if !a.at(j, st) || a.farApart(j, in, base.users) || i < len(a.rules) && a.neverMeet(i, j, base.users) {
			continue
		}
		s := a.rules[j].users
		stop, constant := a.constant(j)
		if constant && !a.meet(stop, in, st) {
			continue
		}
		n := len(groups)
		for k := range n {
			g := &groups[k]
			if s.bits == nil && (s.one < 0 || !g.users.has(s.one)) {
				continue
			}
			inside := newBitset(len(a.accounts))
			s.copyTo(inside)
			inside.and(g.users)
			if inside.empty() {
				continue
			}
			if !constant {
				inside, groups = a.divideBy(j, st, in, inside, groups, *g)
				g = &groups[k]
				if inside.empty() {
					continue
				}
				g.users.andNot(inside)
				continue
			}
			taken := g.with(a, j, stop)
			taken.users = inside
			g.users = g.users.clone()
			g.users.andNot(inside)
			groups = append(groups, taken)
		}
		groups = slices.DeleteFunc(groups, func(g group) bool { return g.users.empty() })
	}
	return groups
}

// divideBy splits off the accounts of inside for which entry j, whose names
// depend on the account, takes some of the language away; it returns them all.
func (a *Analysis) divideBy(j int, st site, in langID, inside bitset, groups []group, g group) (bitset, []group) {
	byLang := map[langID]int{}
	moved := newBitset(len(a.accounts))
	prefix := a.langs.entries[in].prefix
	inside.each(func(u int) {
		if a.rules[j].name.dynamic && !a.mayBegin(j, u, prefix) {
			return
		}
		stop := a.names(j, u, st).stop
		if stop == langNone || !a.meet(stop, in, st) {
			return
		}
		at, ok := byLang[stop]
		if !ok {
			at = len(groups)
			byLang[stop] = at
			taken := g.with(a, j, stop)
			taken.users = newBitset(len(a.accounts))
			groups = append(groups, taken)
		}
		groups[at].users.add(u)
		moved.add(u)
	})
	return moved, groups
}

// with returns the group with one more entry above.
func (g group) with(a *Analysis, j int, stop langID) group {
	n := group{out: append(slices.Clip(g.out), stop), covers: append(slices.Clip(g.covers), j), prior: g.prior, doubt: g.doubt}
	if a.langs.of(stop) == nil {
		n.doubt = j
	}
	return n
}

// farApart reports whether the names of entry j, whichever of the accounts
// asks, begin otherwise than those of the language.
func (a *Analysis) farApart(j int, in langID, who bitset) bool {
	if !a.rules[j].name.dynamic || !who.within(a.tameIn(j)) {
		// Without placeholders its language says so at once. And a value that is
		// no plain text may turn the pattern into anything.
		return false
	}
	return differ(a.begin(j), a.langs.entries[in].prefix)
}

// differ reports whether two beginnings are not of one text whatever the
// symbols in them stand for.
func differ(p, q string) bool {
	for k := range min(len(p), len(q)) {
		if p[k] != q[k] {
			return p[k] >= automata.Symbols && q[k] >= automata.Symbols
		}
	}
	return false
}

// neverMeet reports whether the names of two entries with placeholders begin
// otherwise for each of the accounts, whatever their values.
func (a *Analysis) neverMeet(i, j int, who bitset) bool {
	return a.rules[i].name.dynamic && a.rules[j].name.dynamic && beginApart(a.begin(i), a.begin(j)) &&
		who.within(a.tameIn(i)) && who.within(a.tameIn(j))
}

// beginApart reports whether two beginnings differ whatever the symbols in them
// stand for, the same in both. Values that are components have no slash: where
// one that is followed by a slash stands in both, the two agree up to there only
// with the same value.
func beginApart(p, q string) bool {
	for k := range min(len(p), len(q)) {
		switch {
		case p[k] != q[k]:
			return p[k] >= automata.Symbols && q[k] >= automata.Symbols
		case p[k] < automata.Symbols && (k+1 == len(p) || p[k+1] != '/' || k+1 == len(q) || q[k+1] != '/'):
			return false
		}
	}
	return false
}

// grant adds what is left of an area to the grants, when something is.
func (a *Analysis) grant(i int, st site, ar area, action string, g group, out *grantSet) {
	u := g.users.first(0)
	s := side{a: a, user: u, site: st, entry: i, mode: matches}
	for _, c := range g.covers {
		if a.langs.of(a.names(c, u, st).stop) != nil {
			s.known = append(s.known, c)
		}
	}
	f := find(a.search, a.types[st.typ].names, []*automata.Lang{a.langs.of(ar.in)}, []*side{&s})
	if f.why != "" {
		out.doubt(f.whyAt, f.why, g.users)
		return
	}
	if !f.found {
		return
	}
	if g.doubt >= 0 {
		// The witness stands, but which other names there are, and whether it
		// stands for the others, is not known.
		g.users.clone().each(func(v int) {
			if d, _, err := a.decide(v, st, f.name, probe); d != i || err != nil {
				g.users.remove(v)
				out.doubt(g.doubt, a.langs.whyNot(a.names(g.doubt, v, st).stop), single(len(a.accounts), v))
			}
		})
		out.doubt(g.doubt, a.langs.whyNot(a.names(g.doubt, u, st).stop), g.users)
		ar = area{typ: ar.typ, in: langNone, text: ar.text}
	}
	out.add(i, point{u, st, f.name}, ar, action, g.users)
}

func single(n, u int) bitset {
	b := newBitset(n)
	b.add(u)
	return b
}

// guessGrants looks for grants of an entry whose names are not known: single
// names may be.
func (a *Analysis) guessGrants(i int, st site, hold, asked langID, action string, g group, text string, out *grantSet) {
	within := []*automata.Lang{a.langs.of(asked)}
	g.users.each(func(u int) {
		s := side{a: a, user: u, site: st, entry: i, mode: matches}
		f := find(a.search, a.types[st.typ].names, within, []*side{&s})
		if f.found {
			ar := area{typ: st.typ, in: langNone, text: text}
			out.add(i, point{u, st, f.name}, ar, action, single(len(a.accounts), u))
		}
	})
	// Of these names no more is known.
	out.doubt(i, a.langs.whyNot(hold), g.users)
}

// shownPattern returns the name pattern of an entry as it reads for an account.
func (a *Analysis) shownPattern(i, u int, st site) string {
	n := &a.rules[i].name
	switch {
	case n.pattern == nil:
		return "**"
	case !n.dynamic || n.self:
		return n.pattern.String()
	}
	segs := slices.Clone(n.segs)
	for k, s := range segs {
		switch s.Kind {
		case acl.Variable, acl.Capture:
			if v, ok := a.placeholder(&a.rules[i], s, u, st); ok {
				segs[k] = acl.Segment{Kind: acl.Text, Text: v}
			}
		case acl.Label:
			if v := a.accounts[u].labels[s.Key]; len(v) == 1 {
				segs[k] = acl.Segment{Kind: acl.Text, Text: a.value(v[0])}
			}
		}
	}
	return joinSegments(segs, nil)
}

func (s *grantSet) doubt(entry int, why string, users bitset) {
	s.undecided = append(s.undecided, Undecided{Entry: entry, Why: why, Accounts: s.a.namesOf(users)})
}

func (s *grantSet) add(i int, p point, ar area, action string, users bitset) {
	a := s.a
	actions := a.rules[i].actions
	if action != "" {
		actions = []string{action}
	}
	ask := actions
	if a.rules[i].star && action == "" {
		ask = starActions
	}
	d, granted, err := a.decide(p.user, p.site, p.name, ask)
	if d != i || err != nil || !slices.Equal(granted, ask) {
		s.doubt(i, "the witness was not confirmed", users)
		return
	}
	w := a.request(p.user, p.site, p.name, slices.Clone(ask))
	key := rowKey(i, 0, ar, p)
	g := Grant{Type: a.types[ar.typ].name, Actions: slices.Clone(actions), Entry: i, Witness: &w}
	inside := users.clone()
	users.each(func(u int) {
		if a.accounts[u].external {
			inside.remove(u)
			if d, _, err := a.decide(u, p.site, p.name, ask); d != i || err != nil {
				return
			}
			e := g
			e.External = a.accounts[u].condition
			e.Names = a.describeFor(ar, p)
			r := a.request(u, p.site, p.name, w.Actions)
			e.Witness = &r
			s.list = append(s.list, e)
			s.members = append(s.members, nil)
		}
	})
	if inside.empty() {
		return
	}
	if k, ok := s.seen[key]; ok {
		s.members[k] = append(s.members[k], seenAt{inside, p})
		return
	}
	s.seen[key] = len(s.list)
	g.Names = a.describeFor(ar, p)
	s.list = append(s.list, g)
	s.members = append(s.members, []seenAt{{inside, p}})
}

// starActions is what the witness of a ["*"] entry asks.
var starActions = []string{"*", "delete", "pull", "push"}

func (a *Analysis) describeFor(ar area, p point) NameClass {
	if ar.in == langNone {
		return NameClass{Pattern: ar.text, Examples: []string{p.name}}
	}
	return a.describe(ar)
}

func (s *grantSet) finish() ([]Grant, []Undecided) {
	for k := range s.list {
		g := &s.list[k]
		if s.members[k] == nil {
			continue
		}
		all := newBitset(len(s.a.accounts))
		for _, m := range s.members[k] {
			all.or(m.users)
		}
		g.Accounts = s.a.namesOf(all)
		// The witness is the first account where the engine confirms that.
		u := s.a.byName[g.Accounts[0]]
		for _, m := range s.members[k] {
			if !m.users.has(u) {
				continue
			}
			w := s.a.request(u, m.at.site, m.at.name, g.Witness.Actions)
			if d := s.a.policy.Decide(&w, s.a.buf); d.Index == g.Entry && d.Err == nil {
				g.Witness = &w
				break
			}
		}
	}
	slices.SortStableFunc(s.list, func(x, y Grant) int {
		return cmp.Or(cmp.Compare(x.Entry, y.Entry), slices.Compare(x.Accounts, y.Accounts))
	})
	return s.list, joined(s.undecided)
}
