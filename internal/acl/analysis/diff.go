package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// Change says that accounts gain or lose rights.
type Change struct {
	Accounts []string // sorted
	// External, when not empty, says instead that this is about an account that
	// lives elsewhere, and which one.
	External string
	Type     string
	Names    NameClass
	Actions  []string
	// OldEntry and NewEntry decide before and after; -1: no entry, or no such
	// account.
	OldEntry, NewEntry int
	// Witness is a request of the first account for Actions: what is gained or
	// lost is granted by one policy and not by the other.
	Witness *acl.Request
}

// Changes is the difference between two policies.
type Changes struct {
	Gains, Losses []Change
	Undecided     []Undecided // entries are those of the new policy
}

// Empty reports whether the policies were shown to mean the same.
func (c Changes) Empty() bool {
	return len(c.Gains) == 0 && len(c.Losses) == 0 && len(c.Undecided) == 0
}

// Diff compares two policies over the accounts of both. Who is only in one of
// them gains or loses everything that this one grants.
func Diff(before, after *Analysis) (Changes, error) {
	d, err := newDiff(before, after)
	if err != nil {
		return Changes{}, err
	}
	if err := d.comings(before, after); err != nil {
		return Changes{}, err
	}
	d.pairs()
	d.finish()
	return d.changes, nil
}

type diff struct {
	old, new *Analysis // over the accounts of both, in one order
	universe Universe  // of both, without accounts
	from     setup
	actions  []string
	// kept says which entries stand in both, in the same order.
	oldKept, newKept []bool
	same             bitset // accounts whose labels are the same
	changes          Changes
	seen             map[string]int
	rows             []diffRow
}

type diffRow struct {
	change  Change
	loss    bool
	members bitset
}

func newDiff(before, after *Analysis) (*diff, error) {
	d := &diff{seen: map[string]int{}}
	universe := after.universe
	universe.Users = nil
	universe.Anonymous = false
	universe.External = before.external && after.external
	universe.Services = append(slices.Clone(before.universe.Services), after.universe.Services...)
	universe.Types = append(slices.Clone(before.universe.Types), after.universe.Types...)
	oldUniverse := universe
	d.universe = universe
	var same []bool
	for u := range after.accounts {
		acc := &after.accounts[u]
		was, ok := before.account(acc.name)
		if acc.external || !ok {
			continue
		}
		universe.Users = append(universe.Users, User{acc.name, acc.labels})
		oldUniverse.Users = append(oldUniverse.Users, User{acc.name, before.accounts[was].labels})
		same = append(same, sameLabels(acc.labels, before.accounts[was].labels))
	}
	var ips []acl.Entry
	for _, e := range append(slices.Clip(before.entries), after.entries...) {
		if e.Match.IP != nil {
			ips = append(ips, acl.Entry{Match: acl.Match{IP: e.Match.IP}, Actions: []string{}})
		}
	}
	addresses, err := acl.Compile(ips, acl.Options{})
	if err != nil {
		return nil, err
	}
	from := setup{
		all:   append(readRules(before.policy), readRules(after.policy)...),
		langs: newLangTable(),
		ips:   addresses.IPCells(),
	}
	d.from = from
	if d.new, err = build(after.policy, universe, from); err != nil {
		return nil, err
	}
	for u := range d.new.accounts {
		if d.new.accounts[u].external {
			from.externals = append(from.externals, d.new.accounts[u])
		}
	}
	if d.old, err = build(before.policy, oldUniverse, from); err != nil {
		return nil, err
	}
	d.old.search = d.new.search
	d.actions = probes(d.old, d.new)
	d.same = d.new.everyone()
	literal := before.policy.LiteralLabels() != after.policy.LiteralLabels()
	for u, ok := range same {
		if !ok || literal {
			d.same.remove(u)
		}
	}
	if literal {
		clear(d.same)
	}
	d.old.manyClasses, d.new.manyClasses = after.manyClasses, after.manyClasses
	d.oldKept, d.newKept = align(d.old.entries, d.new.entries)
	return d, nil
}

func sameLabels(x, y map[string][]string) bool {
	if len(x) != len(y) {
		return false
	}
	for k, v := range x {
		w, ok := y[k]
		if !ok || !slices.Equal(v, w) {
			return false
		}
	}
	return true
}

// align marks entries that stand in both lists, as many as can be told without
// changing their order among themselves: the longest increasing run of the
// positions at which the old entries are found in the new list.
func align(old, new []acl.Entry) (oldKept, newKept []bool) {
	oldKept, newKept = make([]bool, len(old)), make([]bool, len(new))
	at := map[string][]int{}
	for e := range new {
		k := entryKey(&new[e])
		at[k] = append(at[k], e)
	}
	type link struct{ old, new, back int }
	var links []link
	var tails []int // length-1 → link that ends the best run of that length
	for o := range old {
		k := entryKey(&old[o])
		list := at[k]
		if len(list) == 0 {
			continue
		}
		n := list[0]
		at[k] = list[1:]
		p := sort.Search(len(tails), func(i int) bool { return links[tails[i]].new >= n })
		l := link{o, n, -1}
		if p > 0 {
			l.back = tails[p-1]
		}
		links = append(links, l)
		if p == len(tails) {
			tails = append(tails, len(links)-1)
		} else {
			tails[p] = len(links) - 1
		}
	}
	if len(tails) > 0 {
		for l := tails[len(tails)-1]; l >= 0; l = links[l].back {
			oldKept[links[l].old], newKept[links[l].new] = true, true
		}
	}
	return oldKept, newKept
}

// entryKey is the same for entries that mean the same.
func entryKey(e *acl.Entry) string {
	var b strings.Builder
	for _, p := range []*string{e.Match.Account, e.Match.Type, e.Match.Name, e.Match.Service, e.Match.IP} {
		if p == nil {
			b.WriteString("-;")
			continue
		}
		fmt.Fprintf(&b, "%d:%s;", len(*p), *p)
	}
	labels := slices.Clone(e.Match.Labels)
	slices.SortFunc(labels, func(x, y acl.LabelMatch) int {
		return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(x.Pattern, y.Pattern))
	})
	for _, l := range labels {
		fmt.Fprintf(&b, "%d:%s=%d:%s;", len(l.Key), l.Key, len(l.Pattern), l.Pattern)
	}
	actions := slices.Clone(e.Actions)
	slices.Sort(actions)
	fmt.Fprintf(&b, "%q", slices.Compact(actions))
	return b.String()
}

// comings adds what accounts gain or lose that are only in one of the policies.
func (d *diff) comings(before, after *Analysis) error {
	only := func(a, other *Analysis, loss bool) error {
		universe := d.universe
		universe.External = a.external && !other.external
		for u := range a.accounts {
			acc := &a.accounts[u]
			if _, ok := other.account(acc.name); !acc.external && !ok {
				universe.Users = append(universe.Users, User{acc.name, acc.labels})
			}
		}
		if len(universe.Users) == 0 && !universe.External {
			return nil
		}
		from := d.from
		from.externals = nil
		s, err := build(a.policy, universe, from)
		if err != nil {
			return err
		}
		grants, undecided := s.grants(Question{AllTypes: true}, s.everyone(), false)
		d.changes.Undecided = append(d.changes.Undecided, undecided...)
		for _, g := range grants {
			c := Change{
				Accounts: g.Accounts, External: g.External, Type: g.Type, Names: g.Names, Actions: g.Actions,
				OldEntry: -1, NewEntry: g.Entry, Witness: g.Witness,
			}
			if loss {
				c.OldEntry, c.NewEntry = g.Entry, -1
				d.changes.Losses = append(d.changes.Losses, c)
			} else {
				d.changes.Gains = append(d.changes.Gains, c)
			}
		}
		return nil
	}
	if err := only(after, before, false); err != nil {
		return err
	}
	return only(before, after, true)
}

// pairs compares what decides before with what decides after. Where both are
// entries that stand in both policies they are the same one, so only pairs with
// another entry in them count, for accounts whose labels are the same.
func (d *diff) pairs() {
	everyone := d.new.everyone()
	changed := everyone.clone()
	changed.andNot(d.same)
	allSame := changed.empty()
	steps := d.new.search.Steps
	for j := 0; j <= len(d.old.rules); j++ {
		p := half{d.old, j, -1}
		oldKept := j == len(d.old.rules) || d.oldKept[j]
		for e := 0; e <= len(d.new.rules); e++ {
			q := half{d.new, e, -1}
			who := everyone
			if oldKept && (e == len(d.new.rules) || d.newKept[e]) {
				if who = changed; who.empty() {
					continue
				}
			}
			if d.sameEffect(p, q) || disjoint(p, q, allSame) {
				continue
			}
			if who = q.fits(p.fits(who)); who.empty() {
				continue
			}
			if d.new.search.Steps-steps > 8*maxQuestion {
				d.changes.Undecided = append(d.changes.Undecided, Undecided{Entry: -1, Why: "the policies differ in too many ways to be compared"})
				return
			}
			pairSites(p, q, false, func(st site) bool {
				meeting(p, q, st, who, d.same, func(c common) { d.add(p, q, c) }, func(entry int, why string, users bitset) {
					d.changes.Undecided = append(d.changes.Undecided, Undecided{entry, d.new.namesOf(users), why})
				})
				return true
			})
		}
	}
}

// sameEffect reports whether two entries grant the same whatever is asked. An
// entry of which a value breaks a pattern grants nothing then.
func (d *diff) sameEffect(p, q half) bool {
	return slices.Equal(p.actions(), q.actions()) && (len(p.actions()) == 0 || p.unbroken() && q.unbroken())
}

// unbroken reports whether no account's values break a pattern of the entry.
func (h half) unbroken() bool {
	if h.entry == len(h.a.rules) {
		return true
	}
	r := &h.a.rules[h.entry]
	if r.breakable == 0 {
		r.breakable = 1
		if r.frame != nil || r.name.dynamic && !h.a.everyone().within(h.a.tameIn(h.entry)) {
			r.breakable = 2
		}
	}
	return r.breakable == 1
}

func (h half) actions() []string {
	if h.entry == len(h.a.rules) {
		return nil
	}
	return h.a.rules[h.entry].actions
}

// rowKey is the same for what is told in one row: two entries and an area; of an
// area that is not known the name of the example.
func rowKey(i, j int, ar area, p point) string {
	name := ""
	if ar.in == langNone {
		name = p.name
	}
	return fmt.Sprint(i, j, ar.typ, ar.in, ar.out, ar.each, name)
}

func (d *diff) add(p, q half, c common) {
	one := func(x, y half, xm, ym mode, loss bool) {
		actions := more(x, y, xm, ym, d.actions)
		if len(actions) == 0 {
			return
		}
		u, st := c.at.user, c.at.site
		w, ok1 := y.a.confirmed(u, st, c.at.name, actions, true)
		_, ok2 := x.a.confirmed(u, st, c.at.name, actions, false)
		if !ok1 || !ok2 {
			d.changes.Undecided = append(d.changes.Undecided, Undecided{q.entry, d.new.namesOf(c.users), "the witness was not confirmed"})
			return
		}
		key := fmt.Sprint(loss, c.p, c.q, rowKey(p.entry, q.entry, c.area, c.at))
		if k, ok := d.seen[key]; ok {
			d.rows[k].members.or(c.users)
			return
		}
		d.seen[key] = len(d.rows)
		row := diffRow{loss: loss, members: c.users.clone(), change: Change{
			Type: d.new.types[st.typ].name, Names: d.new.describeFor(c.area, c.at), Actions: shorten(actions, d.actions),
			OldEntry: p.number(), NewEntry: q.number(), Witness: w,
		}}
		d.rows = append(d.rows, row)
	}
	one(p, q, c.p, c.q, false)
	one(q, p, c.q, c.p, true)
}

// number is the entry's index, -1 for none.
func (h half) number() int {
	if h.entry == len(h.a.rules) {
		return -1
	}
	return h.entry
}

func (d *diff) finish() {
	for _, row := range d.rows {
		out := &d.changes.Gains
		if row.loss {
			out = &d.changes.Losses
		}
		c := row.change
		known := row.members.clone()
		row.members.each(func(u int) {
			if acc := &d.new.accounts[u]; acc.external {
				known.remove(u)
				e := c
				e.External = acc.condition
				w := *c.Witness
				w.Account, w.Labels = acc.name, acc.labels
				e.Witness = &w
				if d.changed(u, &w, row.loss) {
					*out = append(*out, e)
				}
			}
		})
		if known.empty() {
			continue
		}
		c.Accounts = d.new.namesOf(known)
		first := d.new.byName[c.Accounts[0]]
		acc := &d.new.accounts[first]
		w := *c.Witness
		w.Account, w.Labels = acc.name, acc.labels
		if row.loss {
			w.Labels = d.old.accounts[first].labels
		}
		if d.changed(first, &w, row.loss) {
			c.Witness = &w
		}
		*out = append(*out, c)
	}
	d.changes.Undecided = joined(d.changes.Undecided)
	for _, list := range []*[]Change{&d.changes.Gains, &d.changes.Losses} {
		slices.SortStableFunc(*list, func(x, y Change) int {
			return cmp.Or(slices.Compare(x.Accounts, y.Accounts), cmp.Compare(x.External, y.External), cmp.Compare(x.NewEntry, y.NewEntry), cmp.Compare(x.OldEntry, y.OldEntry))
		})
	}
}

// changed confirms that a request, made with the labels that the account has in
// each policy, is granted by one policy and not by the other.
func (d *diff) changed(u int, w *acl.Request, loss bool) bool {
	o, n := *w, *w
	o.Labels, n.Labels = d.old.accounts[u].labels, d.new.accounts[u].labels
	x, y := d.old.policy.Decide(&o, nil), d.new.policy.Decide(&n, nil)
	if loss {
		x, y = y, x
	}
	return len(x.Granted) == 0 && slices.Equal(y.Granted, w.Actions)
}
