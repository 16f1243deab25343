package analysis

import (
	"cmp"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// Excess is something that the anonymous account may do and a logged-in one may
// not.
type Excess struct {
	Type    string
	Names   NameClass
	Actions []string
	// Entry grants it to the anonymous account; LoginEntry decides otherwise for
	// Accounts, -1: no entry does.
	Entry, LoginEntry int
	Accounts          []string // sorted
	// Witness is the anonymous request, which is granted; LoginWitness the same
	// one by the first of Accounts, which gets nothing.
	Witness, LoginWitness *acl.Request
}

// AnonymousExceeds lists what the anonymous account may do and some other known
// account may not. Without an anonymous account there is nothing.
func (a *Analysis) AnonymousExceeds() ([]Excess, []Undecided) {
	anon, ok := a.account("")
	if !ok {
		return nil, nil
	}
	who := a.everyone()
	who.remove(anon)
	if who.empty() {
		return nil, nil
	}
	actions := probes(a)
	var list []Excess
	var members []bitset
	var undecided []Undecided
	seen := map[string]int{}
	for i := range a.rules {
		r := &a.rules[i]
		if len(r.actions) == 0 || !r.users.has(anon) {
			continue
		}
		p := half{a, i, anon}
		for j := 0; j <= len(a.rules); j++ {
			q := half{a, j, -1}
			if len(more(q, p, matches, matches, actions)) == 0 && len(q.modes()) == 1 || disjoint(p, q, false) {
				continue
			}
			fit := q.fits(who)
			if fit.empty() {
				continue
			}
			pairSites(p, q, true, func(st site) bool {
				meeting(p, q, st, fit, nil, func(c common) {
					extra := more(q, p, c.q, c.p, actions)
					if len(extra) == 0 {
						return
					}
					u := c.at.user
					w, ok1 := a.confirmed(anon, st, c.at.name, extra, true)
					l, ok2 := a.confirmed(u, st, c.at.name, extra, false)
					if !ok1 || !ok2 {
						undecided = append(undecided, Undecided{i, a.namesOf(c.users), "the witness was not confirmed"})
						return
					}
					e := Excess{
						Type: a.types[st.typ].name, Names: a.describeFor(c.area, c.at), Actions: shorten(extra, actions),
						Entry: i, LoginEntry: j, Witness: w, LoginWitness: l,
					}
					if j == len(a.rules) {
						e.LoginEntry = -1
					}
					key := rowKey(i, j, c.area, c.at) + strings.Join(extra, ",")
					if k, ok := seen[key]; ok {
						members[k].or(c.users)
						return
					}
					seen[key] = len(list)
					list = append(list, e)
					members = append(members, c.users.clone())
				}, func(entry int, why string, users bitset) {
					undecided = append(undecided, Undecided{entry, a.namesOf(users), why})
				})
				return true
			})
		}
	}
	for k := range list {
		e := &list[k]
		e.Accounts = a.namesOf(members[k])
		u := a.byName[e.Accounts[0]]
		l := *e.LoginWitness
		l.Account, l.Labels = a.accounts[u].name, a.accounts[u].labels
		if d := a.policy.Decide(&l, a.buf); len(d.Granted) == 0 {
			e.LoginWitness = &l
		}
	}
	slices.SortStableFunc(list, func(x, y Excess) int {
		return cmp.Or(cmp.Compare(x.Entry, y.Entry), cmp.Compare(x.LoginEntry, y.LoginEntry))
	})
	return list, joined(undecided)
}
