package acl

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// index finds the entries that may match a request. An entry it leaves out fails for
// certain: some field of it is decided "no" whatever the others are.
type index struct {
	accounts map[string]*bucket // entries whose account matches finitely many texts
	rest     *bucket            // all others
	// Values that are pattern syntax may match anywhere or break the pattern, so users with
	// such values see every entry whose name takes the label, in a glob or in a regexp.
	special map[string]specialEntries // by label
}

// specialEntries are the entries with a label in their name.
type specialEntries struct{ glob, regexp []int32 }

// bucket holds entries by what their name must begin with.
type bucket struct {
	few  []int32 // all of them, when they are few
	root *node
}

// fewEntries is how many entries are tried one by one rather than indexed.
const fewEntries = 4

// node is a place in a trie over what names begin with.
type node struct {
	text  string // from the parent to here
	kids  []*node
	edges []edge
	list  []int32 // entries that end here; moved to group
	group group
}

// edge leads over any value of a placeholder.
type edge struct {
	kind      SegmentKind // Variable or Label
	field     Field
	key       string
	regexp    bool
	ambiguous bool // values that begin with "/", or are empty, may match anything
	to        *node
	all       []int32 // every entry below
}

// group holds the entries of one place by the label values they ask for.
type group struct {
	always []int32
	having map[string][]int32 // asks for some value of the key
	values map[string]map[string][]int32
}

// maxEdges is how many placeholders of a name are followed by the index.
const maxEdges = 2

// edgeBudget bounds the ways in which a request's values may fit one trie.
const edgeBudget = 2000

func buildIndex(entries []entry) index {
	x := index{
		accounts: map[string]*bucket{},
		special:  map[string]specialEntries{},
	}
	byAccount := map[string][]int32{}
	var rest []int32
	for i := range entries {
		n := int32(i)
		if m := entries[i].fields[FieldAccount]; m != nil && m.finite != nil {
			for _, account := range m.finite {
				byAccount[account] = append(byAccount[account], n)
			}
		} else {
			rest = append(rest, n)
		}
		x.addSpecial(entries, n)
	}
	for account, list := range byAccount {
		x.accounts[account] = newBucket(entries, slices.Compact(list))
	}
	x.rest = newBucket(entries, rest)
	return x
}

// addSpecial records an entry under the labels of its name that the trie follows.
func (x *index) addSpecial(entries []entry, i int32) {
	m := entries[i].fields[FieldName]
	if m == nil || m.template == nil {
		return
	}
	for _, k := range m.template.labels {
		key := m.template.marks[k].seg.Key
		s := x.special[key]
		if m.template.regexp {
			s.regexp = append(s.regexp, i)
		} else {
			s.glob = append(s.glob, i)
		}
		x.special[key] = s
	}
}

func newBucket(entries []entry, list []int32) *bucket {
	if len(list) <= fewEntries {
		return &bucket{few: list}
	}
	root := &node{}
	for _, i := range list {
		for _, prefix := range namePrefixes(&entries[i]) {
			root.insert(&entries[i], prefix, i, 0)
		}
	}
	root.finish(entries)
	return &bucket{root: root}
}

// namePrefixes returns what the entry's name must begin with, one of several.
func namePrefixes(e *entry) [][]elem {
	anything := [][]elem{nil}
	m := e.fields[FieldName]
	switch {
	case m == nil:
		return anything
	case !m.dynamic:
		if m.prefixes == nil {
			return anything
		}
		return m.prefixes
	case m.template == nil || m.template.prefixes == nil:
		return anything
	}
	for _, mk := range m.template.marks {
		if mk.seg.Kind == Capture {
			return anything // its value may be pattern syntax
		}
	}
	return m.template.prefixes
}

func (n *node) insert(e *entry, prefix []elem, i int32, edges int) {
	if len(prefix) == 0 {
		if len(n.list) == 0 || n.list[len(n.list)-1] != i {
			n.list = append(n.list, i)
		}
		return
	}
	first := prefix[0]
	if first.mark < 0 {
		n.child(first.lit).insert(e, prefix[1:], i, edges)
		return
	}
	if edges == maxEdges {
		n.insert(e, nil, i, edges)
		return
	}
	t := e.fields[FieldName].template
	s := t.marks[first.mark].seg
	at := slices.IndexFunc(n.edges, func(x edge) bool {
		return x.kind == s.Kind && x.field == s.Field && x.key == s.Key && x.regexp == t.regexp && x.ambiguous == t.ambiguous
	})
	if at < 0 {
		at = len(n.edges)
		n.edges = append(n.edges, edge{
			kind: s.Kind, field: s.Field, key: s.Key, regexp: t.regexp, ambiguous: t.ambiguous, to: &node{},
		})
	}
	x := &n.edges[at]
	if len(x.all) == 0 || x.all[len(x.all)-1] != i {
		x.all = append(x.all, i)
	}
	x.to.insert(e, prefix[1:], i, edges+1)
}

// child returns the node that text leads to from n, splitting nodes on the way.
func (n *node) child(text string) *node {
	for {
		if text == "" {
			return n
		}
		at, found := n.find(text[0])
		if !found {
			kid := &node{text: text}
			n.kids = slices.Insert(n.kids, at, kid)
			return kid
		}
		kid := n.kids[at]
		same := 0
		for same < len(text) && same < len(kid.text) && text[same] == kid.text[same] {
			same++
		}
		if same < len(kid.text) {
			upper := &node{text: kid.text[:same], kids: []*node{kid}}
			kid.text = kid.text[same:]
			n.kids[at] = upper
			kid = upper
		}
		n, text = kid, text[same:]
	}
}

// find looks for the child whose text begins with b.
func (n *node) find(b byte) (int, bool) {
	return slices.BinarySearchFunc(n.kids, b, func(kid *node, b byte) int { return int(kid.text[0]) - int(b) })
}

// finish divides the entries of each node by labels.
func (n *node) finish(entries []entry) {
	n.group = newGroup(entries, n.list)
	n.list = nil
	n.kids = slices.Clip(n.kids)
	for _, kid := range n.kids {
		kid.finish(entries)
	}
	for i := range n.edges {
		n.edges[i].to.finish(entries)
	}
}

func newGroup(entries []entry, list []int32) group {
	if len(list) <= fewEntries {
		return group{always: list}
	}
	g := group{having: map[string][]int32{}, values: map[string]map[string][]int32{}}
	for _, i := range list {
		labels := entries[i].labels
		if len(labels) == 0 {
			g.always = append(g.always, i)
			continue
		}
		at := slices.IndexFunc(labels, func(l labelCondition) bool { return l.pattern.finite != nil })
		if at < 0 {
			g.having[labels[0].key] = append(g.having[labels[0].key], i)
			continue
		}
		l := labels[at]
		values := g.values[l.key]
		if values == nil {
			values = map[string][]int32{}
			g.values[l.key] = values
		}
		for _, v := range l.pattern.finite {
			if have := values[v]; len(have) == 0 || have[len(have)-1] != i {
				values[v] = append(have, i)
			}
		}
	}
	return g
}

// start looks the request up, so that next returns the entries that may match it.
func (w *walker) start() {
	x := &w.policy.index
	w.last, w.budget = -1, edgeBudget
	w.all = false
	for _, v := range w.values {
		if !utf8.ValidString(v) {
			// Such a value breaks every regexp that it is put into.
			w.all = true
			return
		}
	}
	w.bucket(x.accounts[w.values[FieldAccount]])
	w.bucket(x.rest)
	if len(w.userLabels) < len(x.special) {
		for key := range w.userLabels {
			if s, ok := x.special[key]; ok {
				w.addSpecial(key, s)
			}
		}
	} else {
		for key, s := range x.special {
			w.addSpecial(key, s)
		}
	}
	if w.budget < 0 {
		w.all = true
	}
}

func (w *walker) addSpecial(key string, s specialEntries) {
	t := w.labelValues(key).traits
	if t&traitSpecialGlob != 0 {
		w.cursors.add(s.glob)
	}
	if t&traitSpecialRegexp != 0 {
		w.cursors.add(s.regexp)
	}
}

func (w *walker) bucket(b *bucket) {
	switch {
	case b == nil:
	case b.root == nil:
		w.cursors.add(b.few)
	default:
		w.descend(b.root, w.values[FieldName])
	}
}

// descend collects the entries at n and below that fit the rest of the name.
func (w *walker) descend(n *node, rest string) {
	for {
		w.group(&n.group)
		for i := range n.edges {
			w.follow(&n.edges[i], rest)
		}
		if rest == "" || len(n.kids) == 0 {
			return
		}
		at, found := n.find(rest[0])
		if !found || !strings.HasPrefix(rest, n.kids[at].text) {
			return
		}
		n = n.kids[at]
		rest = rest[len(n.text):]
	}
}

func (w *walker) follow(x *edge, rest string) {
	if x.kind == Variable {
		w.cross(x, w.values[x.field], rest, 0)
		return
	}
	l := w.labelValues(x.key)
	if !x.regexp && strings.HasPrefix(rest, labelOpen) {
		// The placeholder as written is text, too.
		if s := rest[len(labelOpen):]; strings.HasPrefix(s, x.key) && strings.HasPrefix(s[len(x.key):], "}") {
			w.descend(x.to, s[len(x.key)+1:])
		}
	}
	for _, v := range l.values {
		w.cross(x, v, rest, l.traits)
	}
}

// cross goes over an edge by one value.
func (w *walker) cross(x *edge, v, rest string, t traits) {
	literal := w.policy.options.LiteralLabels
	if x.ambiguous && !literal && (v == "" || v[0] == '/') || !x.regexp && !literal && t&traitWildGlob != 0 && strings.ContainsAny(v, "*?") {
		w.cursors.add(x.all)
		return
	}
	fits := strings.HasPrefix(rest, v)
	if !fits && x.regexp && t&traitDot != 0 {
		if !isASCII(rest) {
			w.cursors.add(x.all) // "." takes a whole character
			return
		}
		fits = hasPrefixLike(rest, v, true, false)
	}
	if !fits {
		return
	}
	if w.budget--; w.budget >= 0 {
		w.descend(x.to, rest[len(v):])
	}
}

func (w *walker) group(g *group) {
	w.cursors.add(g.always)
	labels := w.userLabels
	if len(labels) == 0 {
		return
	}
	if len(labels) < len(g.having) {
		for key, values := range labels {
			if len(values) > 0 {
				w.cursors.add(g.having[key])
			}
		}
	} else {
		for key, list := range g.having {
			if len(labels[key]) > 0 {
				w.cursors.add(list)
			}
		}
	}
	if len(labels) < len(g.values) {
		for key, values := range labels {
			w.cursors.addValues(g.values[key], values)
		}
	} else {
		for key, lists := range g.values {
			w.cursors.addValues(lists, labels[key])
		}
	}
}

// next returns the next entry that may match, in order.
func (w *walker) next() (int, bool) {
	if w.all {
		w.last++
		return int(w.last), int(w.last) < len(w.policy.compiled)
	}
	for {
		i, ok := w.cursors.next()
		if !ok {
			return 0, false
		}
		if i != w.last {
			w.last = i
			return int(i), true
		}
	}
}

// cursors is a heap of rising lists, the one with the lowest head first.
type cursors [][]int32

func (c *cursors) add(list []int32) {
	if len(list) == 0 {
		return
	}
	*c = append(*c, list)
	h := *c
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up][0] <= h[i][0] {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (c *cursors) addValues(lists map[string][]int32, values []string) {
	for _, v := range values {
		c.add(lists[v])
	}
}

// next takes the lowest number from the lists.
func (c *cursors) next() (int32, bool) {
	h := *c
	if len(h) == 0 {
		return 0, false
	}
	v := h[0][0]
	if h[0] = h[0][1:]; len(h[0]) == 0 {
		last := len(h) - 1
		h[0], h[last] = h[last], nil
		h = h[:last]
		*c = h
	}
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= len(h) {
			break
		}
		if kid+1 < len(h) && h[kid+1][0] < h[kid][0] {
			kid++
		}
		if h[i][0] <= h[kid][0] {
			break
		}
		h[i], h[kid] = h[kid], h[i]
		i = kid
	}
	return v, true
}
