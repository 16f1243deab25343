package analysis

import "github.com/regctl-setup/regctl-setup/internal/acl"

// Shadow says that an earlier entry decides names that a later one matches, and
// decides them otherwise.
type Shadow struct {
	Entry, By int
	Accounts  []string // for whom, sorted; those of one case, there may be others
	Type      string
	Names     NameClass
	// Witness is decided by By, though Entry matches.
	Witness *acl.Request
}

// Shadows lists which entries stand in part or in whole in the shadow of
// earlier ones that grant something else; one case for each pair of entries.
func (a *Analysis) Shadows() ([]Shadow, []Undecided) {
	var list []Shadow
	var undecided []Undecided
	effects := map[string]int{}
	effect := make([]int, len(a.rules))
	for i := range a.rules {
		k := entryKey(&acl.Entry{Actions: a.rules[i].actions})
		if _, ok := effects[k]; !ok {
			effects[k] = len(effects)
		}
		effect[i] = effects[k]
	}
	steps := a.search.Steps
	for i := range a.rules {
		p := half{a, i, -1}
		for j := range i {
			if effect[i] == effect[j] {
				continue
			}
			q := half{a, j, -1}
			if disjoint(p, q, true) {
				continue
			}
			if a.search.Steps-steps > 4*maxQuestion {
				undecided = append(undecided, Undecided{Entry: i, Why: "too many cases"})
				return list, joined(undecided)
			}
			if s, ok := a.shadow(p, q, &undecided); ok {
				list = append(list, s)
			}
		}
	}
	return list, joined(undecided)
}

// shadow looks for a request that matches p and that q, which is earlier,
// decides.
func (a *Analysis) shadow(p, q half, undecided *[]Undecided) (out Shadow, ok bool) {
	who := q.fits(p.fits(a.everyone()))
	if who.empty() {
		return out, false
	}
	pairSites(p, q, false, func(st site) bool {
		type key struct{ p, q langID }
		groups := map[key]bitset{}
		var order []key
		add := func(k key, u int) {
			b, seen := groups[k]
			if !seen {
				b = newBitset(len(a.accounts))
				groups[k] = b
				order = append(order, k)
			}
			b.add(u)
		}
		x, okX := a.constant(p.entry)
		y, okY := a.constant(q.entry)
		switch {
		case okX && okY:
			groups[key{x, y}] = who
			order = []key{{x, y}}
		default:
			who.each(func(u int) {
				if okY && a.rules[p.entry].name.dynamic && !a.mayBegin(p.entry, u, a.langs.entries[y].prefix) ||
					okX && a.rules[q.entry].name.dynamic && !a.mayBegin(q.entry, u, a.langs.entries[x].prefix) {
					return
				}
				add(key{a.names(p.entry, u, st).hold, a.names(q.entry, u, st).hold}, u)
			})
		}
		for _, k := range order {
			if ok = a.shadowed(p, q, k.p, k.q, st, groups[k], &out, undecided); ok {
				return false
			}
		}
		return true
	})
	return out, ok
}

// shadowed looks for a name in both languages that q decides.
func (a *Analysis) shadowed(p, q half, x, y langID, st site, who bitset, out *Shadow, undecided *[]Undecided) (ok bool) {
	if !a.meet(x, y, st) {
		return false
	}
	in, known := a.langs.and(x, y)
	if known {
		in, known = a.langs.and(a.types[st.typ].lang, in)
	}
	if !known {
		for _, h := range []struct {
			entry int
			id    langID
		}{{p.entry, x}, {q.entry, y}} {
			if a.langs.dfa(h.id) == nil {
				*undecided = append(*undecided, Undecided{h.entry, a.namesOf(who), a.langs.whyNot(h.id)})
			}
		}
		return false
	}
	if in == langNone {
		return false
	}
	for _, g := range a.divide(q.entry, st, in, group{users: who, doubt: -1}) {
		meet(q, q, matches, matches, st, in, g, func(c common) {
			if w, confirmed := a.witness(q.entry, c.at); confirmed {
				ok = true
				*out = Shadow{Entry: p.entry, By: q.entry, Accounts: a.namesOf(g.users), Type: a.types[st.typ].name, Names: a.describeFor(c.area, c.at), Witness: w}
			}
		}, func(entry int, why string, users bitset) {
			*undecided = append(*undecided, Undecided{entry, a.namesOf(users), why})
		})
		if ok {
			return true
		}
	}
	return false
}
