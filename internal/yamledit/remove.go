package yamledit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (p *planner) remove(path Path) (*yaml.Node, error) {
	if len(path) == 0 {
		return nil, fmt.Errorf("%w: the top-level value can't be deleted", ErrKind)
	}
	pl, err := p.d.locate(path)
	if err != nil {
		return nil, err
	}
	s := pl.parent()
	if err := p.d.unshared(pl); err != nil {
		return nil, err
	}
	gone := []*yaml.Node{pl.node}
	if s.n.Kind == yaml.MappingNode {
		key := s.n.Content[2*s.i]
		gone = append(gone, key)
		if text, ok := keyText(key); ok {
			if k, _ := mergedValue(s.n, text, 0, p.d.limits.Depth); k != nil {
				return nil, errorAt(k, ErrShared, "a merge key would supply %q instead", text)
			}
		}
	}
	if err := p.d.unused(gone...); err != nil {
		return nil, err
	}
	if isFlow(s.n) {
		p.deleteFlow(s.n, s.i)
	} else {
		p.deleteBlock(pl)
	}
	rest := withoutEntry(s.n, s.i)
	if len(pl.up) == 1 && len(rest.Content) == 0 && !isFlow(s.n) {
		return nil, nil
	}
	return rebuild(place{up: pl.up[:len(pl.up)-1]}, rest), nil
}

func (p *planner) deleteBlock(pl place) {
	s := pl.parent()
	n := count(s.n)
	r := p.region(s.n, s.i)
	if p.err != nil {
		return
	}
	if n == 1 {
		p.emptyBlock(pl, r)
		return
	}
	if !r.own { // the first entry of `- key: value`
		next := p.rawRegion(s.n, 1)
		to := next.start
		if next.head < next.first {
			to = p.skipBlanks(p.lineStart(next.head))
		}
		p.replace(r.start, to, "")
		return
	}
	first, last := r.head, r.last
	switch {
	case s.i == 0:
		last = p.blanksAfter(last)
	case s.i == n-1 || p.blanksAfter(last) > last:
		first = p.blanksBefore(first, p.lineOf(p.entryEnd(s.n, s.i-1)))
	}
	p.deleteLines(first, last)
}

// emptyBlock deletes the only entry of a block collection. What is left must
// be written as an empty collection: nothing would mean null.
func (p *planner) emptyBlock(pl place, r region) {
	s := pl.parent()
	empty := "{}"
	if s.n.Kind == yaml.SequenceNode {
		empty = "[]"
	}
	if len(pl.up) == 1 {
		first := r.head
		if first > 0 && p.blankLine(first-1) {
			first--
		}
		if !r.own {
			p.fail(s.n, "how to delete the only entry")
		}
		p.deleteLines(first, r.last)
		return
	}
	if !r.own {
		p.replace(r.start, r.end, empty)
		return
	}
	lead := p.leadOf(pl.up[:len(pl.up)-1], s.n)
	first := r.head
	if p.blanksAfter(r.last) > r.last {
		first = p.blanksBefore(first, p.lineOf(lead))
	}
	p.replace(lead, lead, " "+empty)
	p.deleteLines(first, r.last)
}

// leadOf returns the offset behind which an inline value of the collection c
// would stand: behind its key's colon or its dash, or behind its own anchor and tag.
func (p *planner) leadOf(up []step, c *yaml.Node) int {
	start := p.start(c)
	if end, content := p.props(c, start); content > start {
		return end
	}
	s := up[len(up)-1]
	return p.entry(s.n, s.i).lead()
}

func (p *planner) rename(path Path, newKey string) (*yaml.Node, error) {
	if len(path) == 0 {
		return nil, fmt.Errorf("%w: the top-level value has no key", ErrKind)
	}
	if err := checkKey(newKey); err != nil {
		return nil, err
	}
	pl, err := p.d.locate(path)
	if err != nil {
		return nil, err
	}
	s := pl.parent()
	if s.n.Kind != yaml.MappingNode {
		return nil, errorAt(s.n, ErrKind, "an item of a sequence has no key")
	}
	if err := p.d.unshared(pl); err != nil {
		return nil, err
	}
	key := s.n.Content[2*s.i]
	old, _ := keyText(key)
	if old == newKey && key.Tag == strTag {
		return p.d.root, nil
	}
	if err := p.d.unused(key); err != nil {
		return nil, err
	}
	if k := taken(s.n, newKey, s.i); k != nil {
		return nil, errorAt(k, ErrExists, "%q stands in line %d", newKey, k.Line)
	}
	if k, _ := mergedValue(s.n, old, 0, p.d.limits.Depth); k != nil {
		return nil, errorAt(k, ErrShared, "a merge key would supply %q instead", old)
	}
	p.style(s.n, s.i)
	e := p.entry(s.n, s.i)
	if p.err != nil {
		return nil, nil //nolint:nilerr // apply reports it
	}
	text := p.w.key(newKey, append([]*yaml.Node{key}, keysNear(s.n, s.i)...), isFlow(s.n))
	if e.keyStart == e.keyEnd || key.Kind == yaml.AliasNode || strings.ContainsAny(string(p.data[e.keyStart:e.keyEnd]), "\r\n") {
		p.fail(key, "how to rename such a key")
	}
	p.replace(e.keyStart, e.keyEnd, text)
	c := *s.n
	c.Content = append([]*yaml.Node(nil), s.n.Content...)
	c.Content[2*s.i] = Scalar(newKey).node()
	return rebuild(place{up: pl.up[:len(pl.up)-1]}, &c), nil
}
