package yamledit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// entryValue is a new entry: an item, or a value with its key.
type entryValue struct {
	key   string
	isKey bool
	value Value
}

// collection returns the collection that holds nothing but the entry.
func (e entryValue) collection() Value {
	if e.isKey {
		return Map(KV(e.key, e.value))
	}
	return Seq(e.value)
}

func (e entryValue) nodes() []*yaml.Node {
	if e.isKey {
		return []*yaml.Node{Scalar(e.key).node(), e.value.node()}
	}
	return []*yaml.Node{e.value.node()}
}

func (p *planner) insertKey(path Path, key string, v Value, at At) (*yaml.Node, error) {
	if err := v.check(p.d.limits.Depth); err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	pl, err := p.container(path, yaml.MappingNode)
	if err != nil {
		return nil, err
	}
	i := 0
	if !isNull(pl.node) {
		if k := taken(pl.node, key, -1); k != nil {
			return nil, errorAt(k, ErrExists, "%q stands in line %d", key, k.Line)
		}
		i = at.index(pl.node, key)
		// yaml.v2 lets the later of a merged and a written value win.
		for j := count(pl.node) - 1; j >= i; j-- {
			if pl.node.Content[2*j].Tag == mergeTag {
				i = j + 1
				break
			}
		}
	}
	return p.insert(pl, i, entryValue{key, true, v})
}

func (p *planner) insertItem(path Path, index int, v Value) (*yaml.Node, error) {
	if err := v.check(p.d.limits.Depth); err != nil {
		return nil, err
	}
	pl, err := p.container(path, yaml.SequenceNode)
	if err != nil {
		return nil, err
	}
	n := 0
	if !isNull(pl.node) {
		n = count(pl.node)
	}
	if index == -1 {
		index = n
	}
	if index < 0 || index > n {
		return nil, fmt.Errorf("%w: %s has %d items, no item can be inserted at %d", ErrNotFound, path, n, index)
	}
	return p.insert(pl, index, entryValue{value: v})
}

// container finds the collection that an entry goes into; it may be null.
func (p *planner) container(path Path, kind yaml.Kind) (place, error) {
	pl, err := p.d.locate(path)
	if err != nil {
		return pl, err
	}
	n := pl.node
	switch {
	case isNull(n):
	case n.Kind == yaml.AliasNode:
		return pl, errorAt(n, ErrShared, "%s is the alias *%s", path, n.Value)
	case n.Kind != kind && kind == yaml.MappingNode:
		return pl, errorAt(n, ErrKind, "%s is not a mapping", path)
	case n.Kind != kind:
		return pl, errorAt(n, ErrKind, "%s is not a sequence", path)
	}
	return pl, p.d.unshared(pl, n)
}

// insert puts a new entry in as entry i of the collection at the place.
func (p *planner) insert(pl place, i int, e entryValue) (*yaml.Node, error) {
	c := pl.node
	if isNull(c) {
		want := e.collection().node()
		if err := p.d.unused(c); err != nil {
			return nil, err
		}
		p.style(nil, 0)
		p.fill(pl, e)
		return rebuild(pl, want), nil
	}
	p.style(c, i)
	switch {
	case count(c) == 0:
		p.style(nil, 0)
		p.fill(pl, e)
	case isFlow(c):
		p.insertFlow(pl, i, e)
	default:
		p.insertBlock(pl, i, e)
	}
	return rebuild(pl, withEntry(c, i, e.nodes()...)), nil
}

// names returns the words by which a comment may name the entry.
func (e entryValue) names() []string {
	if e.isKey {
		return []string{e.key}
	}
	return words(e.value.node(), maxSamples)
}

// keysNear returns the keys of a mapping, the nearest to entry i first.
func keysNear(c *yaml.Node, i int) []*yaml.Node {
	var out []*yaml.Node
	for _, j := range near(count(c), i-1) {
		out = append(out, c.Content[2*j])
	}
	return out
}

// entryLines returns the lines of an entry for a block collection whose
// entries stand at the column.
func (p *planner) entryLines(e entryValue, lk looks, keys []*yaml.Node, col int) []string {
	if e.isKey {
		return p.w.pairLines(p.w.key(e.key, keys, false), e.value, lk, col)
	}
	return p.w.itemLines(e.value, lk, col)
}

// entryText returns the text of an entry for a flow collection.
func (p *planner) entryText(e entryValue, lk looks, keys []*yaml.Node, b brackets) string {
	text := p.w.inline(e.value, lk, true)
	if e.isKey {
		return b.pair(p.w.key(e.key, keys, true), text)
	}
	return text
}

func (p *planner) insertBlock(pl place, i int, e entryValue) {
	c := pl.node
	lk := p.looksAt(pl.up, c, i, e.key)
	var keys []*yaml.Node
	if e.isKey {
		keys = keysNear(c, i)
	}
	n := count(c)
	around := p.region(c, max(i-1, 0))
	if p.err != nil {
		return
	}
	lines := p.entryLines(e, lk, keys, around.col)
	if !around.own { // `- key: value`: the column is not made of spaces
		col := around.col
		if line := p.text(around.first); runeLen(string(line)) != len(line) {
			_, at := p.position(around.start)
			col = at - 1
		}
		lines = p.entryLines(e, lk, keys, col)
	}
	top := len(pl.up) == 0
	if i > 0 {
		line := p.lineBelow(around.last, around.col)
		blank := top && n == 1 && c.Kind == yaml.MappingNode
		switch {
		case i < n:
			blank = p.blanksAfter(line) > line
		case n > 1:
			blank = p.gap(c, n-2)
		}
		if blank {
			lines = append([]string{""}, lines...)
		}
		p.insertAfter(line, lines)
		return
	}
	if !around.own {
		nl := p.newline(around.first)
		lead := strings.Repeat(" ", len(lines[0])-len(strings.TrimLeft(lines[0], " ")))
		p.replace(around.start, around.start, strings.TrimLeft(strings.Join(lines, nl), " ")+nl+lead)
		return
	}
	if n > 1 && p.gap(c, 0) || top && n == 1 && c.Kind == yaml.MappingNode {
		lines = append(lines, "")
	}
	at := around.first
	if raw := p.rawRegion(c, 0); raw.head < raw.first && p.ownsHead(c, raw, e.names()...) {
		at = raw.head
	}
	p.insertBefore(at, lines)
}

// fill puts the first entry into a collection that is empty, null or missing.
func (p *planner) fill(pl place, e entryValue) {
	if len(pl.up) == 0 {
		p.fillTop(pl, e)
		return
	}
	s := pl.parent()
	v := e.collection()
	sp := p.entry(s.n, s.i)
	if p.err != nil {
		return
	}
	key := ""
	if s.n.Kind == yaml.MappingNode {
		key, _ = keyText(sp.key)
	}
	lk := looks{same: p.cousins(pl.up[:len(pl.up)-1], s.n, key)}
	for _, j := range near(count(s.n), s.i) {
		if j != s.i {
			lk.near = append(lk.near, valueAt(s.n, j))
		}
	}
	if isFlow(s.n) || p.w.wantsFlow(v, lk) {
		p.fillFlow(pl, sp, lk, e)
		return
	}
	p.style(s.n, s.i)
	null := isNull(pl.node)
	// Emptying the collection again writes " {}" behind the colon. What stood
	// there before must have looked the same to be had back.
	if !null && (string(p.data[sp.lead():sp.valStart]) != " " && sp.key != nil || sp.valEnd-sp.valStart != 2) {
		p.fillFlow(pl, sp, lk, e)
		return
	}
	if sp.key == nil || sp.colon < 0 {
		p.fillItem(pl, sp, lk, v)
		return
	}
	if sp.explicit {
		p.fail(sp.key, "how to write below an explicit key")
		return
	}
	col := p.column(s.n)
	at := col + p.w.below(v, lk)
	lines := p.w.block(v, lk, at)
	if null && !isVoid(pl.node) || !null {
		p.replace(sp.lead(), sp.valEnd, "")
	}
	sp.val = Scalar("x").node() // nothing below it belongs to the value
	p.insertAfter(p.lineBelow(p.trailing(sp, col), at), lines)
}

// fillItem fills an empty or null item of a block sequence, or the value of a
// key that has no colon.
func (p *planner) fillItem(pl place, sp span, lk looks, v Value) {
	line := p.lineOf(sp.lead())
	q := p.skipBlanks(sp.valEnd)
	if sp.key != nil || !p.isBreakAt(q) || p.lineOf(sp.valStart) != line {
		p.replaceInline(sp, p.w.inline(v, lk, false))
		return
	}
	at, text := sp.valStart, ""
	if isVoid(pl.node) {
		at, text = sp.lead(), strings.Repeat(" ", p.w.h.gap)
	}
	_, col := p.position(at)
	col += len(text) - 1
	lines := p.w.block(v, lk, col)
	lines[0] = text + strings.TrimLeft(lines[0], " ")
	p.replace(at, sp.valEnd, strings.Join(lines, p.newline(line)))
}

// fillFlow writes the entry into the brackets of an empty collection, or into
// new ones where the value is null.
func (p *planner) fillFlow(pl place, sp span, lk looks, e entryValue) {
	v := e.collection()
	if isNull(pl.node) {
		p.replaceInline(sp, p.w.inline(v, lk, isFlow(pl.parent().n)))
		return
	}
	p.fillBrackets(pl.node, lk, e)
}

func (p *planner) fillBrackets(c *yaml.Node, lk looks, e entryValue) {
	v := e.collection()
	from, to := p.content(c), p.end(c, -1)-1
	if p.err != nil {
		return
	}
	b := p.w.spacing(v.nodeKind(), lk.same)
	if from < to {
		// What stands between the brackets stays. Deleting the entry takes at
		// most one blank on either side with it, so these are its own.
		b.pad = " "
	}
	var text string
	if e.isKey {
		text = p.entryText(e, lk.child(e.key), lk.keys(e.key), b)
	} else {
		text = p.entryText(e, lk.item(), nil, b)
	}
	p.replace(from, from, b.pad+text+b.pad)
}

// replaceInline writes a value that stands on the line of its key or dash.
func (p *planner) replaceInline(sp span, text string) {
	switch {
	case sp.valStart < sp.valEnd:
		p.replace(sp.valStart, sp.valEnd, text)
	case sp.key != nil && sp.colon < 0:
		p.replace(sp.lead(), sp.lead(), ": "+text)
	default:
		q := p.skipBlanks(sp.lead())
		if !p.isBreakAt(q) && !strings.ContainsRune(",]}", rune(p.data[q])) {
			q = sp.lead() // a comment keeps its distance
		}
		p.replace(sp.lead(), q, " "+text)
	}
}

// fillTop writes the first entry of a document.
func (p *planner) fillTop(pl place, e entryValue) {
	v := e.collection()
	if c := pl.node; c != nil {
		if isNull(c) {
			p.replace(p.start(c), p.end(c, -1), p.w.inline(v, looks{}, false))
			return
		}
		p.fillBrackets(c, looks{}, e)
		return
	}
	p.topLines(p.w.block(v, looks{}, 0))
}

// topLines writes the first lines of content of a document.
func (p *planner) topLines(lines []string) {
	for l := range p.lines() {
		if p.marker(l, "...") {
			if l > 0 && !p.marker(l-1, "---") {
				lines = append([]string{""}, lines...)
			}
			p.insertBefore(l, lines)
			return
		}
	}
	last := p.lines() - 1
	if p.phantom(last) {
		last--
	}
	if last < 0 {
		p.replace(len(p.data), len(p.data), strings.Join(lines, "\n")+"\n")
		return
	}
	if !p.marker(last, "---") {
		// The blank line keeps a comment apart; deleting takes it away again.
		lines = append([]string{""}, lines...)
	}
	p.insertAfter(last, lines)
}
