package yamledit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (p *planner) move(path Path, from, to int) (*yaml.Node, error) {
	pl, err := p.d.locate(path.With(from))
	if err != nil {
		return nil, err
	}
	s := pl.parent()
	if s.n.Kind != yaml.SequenceNode {
		return nil, errorAt(s.n, ErrKind, "%s is not a sequence", path)
	}
	if n := count(s.n); to < 0 || to >= n {
		return nil, fmt.Errorf("%w: %s has %d items, there is no place %d", ErrNotFound, path, n, to)
	}
	if err := p.d.unshared(pl); err != nil {
		return nil, err
	}
	if from == to {
		return p.d.root, nil
	}
	first, order := rotation(from, to)
	if isFlow(s.n) {
		p.moveFlow(s.n, first, order)
	} else {
		p.moveBlock(s.n, first, order)
	}
	c := *s.n
	c.Content = append([]*yaml.Node(nil), s.n.Content...)
	for i, o := range order {
		c.Content[first+i] = s.n.Content[o]
	}
	return rebuild(place{up: pl.up[:len(pl.up)-1]}, &c), nil
}

// rotation returns the first index that a move touches, and which item comes
// to stand at it and at those that follow.
func rotation(from, to int) (first int, order []int) {
	if from < to {
		for i := from + 1; i <= to; i++ {
			order = append(order, i)
		}
		return from, append(order, from)
	}
	order = []int{from}
	for i := to; i < from; i++ {
		order = append(order, i)
	}
	return to, order
}

// moveBlock lets the items change places. The text between them stays.
func (p *planner) moveBlock(c *yaml.Node, first int, order []int) {
	regions := make([]region, len(order))
	for i := range regions {
		regions[i] = p.region(c, first+i)
	}
	if p.err != nil {
		return
	}
	text := func(r region) string {
		from := r.start
		if r.own {
			from = p.lineStart(r.head)
		}
		return string(p.data[from:p.lineEnd(r.last)])
	}
	for i, o := range order {
		to, with := regions[i], text(regions[o-first])
		at := to.start
		if to.own {
			at = p.lineStart(to.head)
		}
		if lead := strings.Repeat(" ", to.col); to.own && !regions[o-first].own {
			with = lead + with
		} else if !to.own && regions[o-first].own {
			with = strings.TrimPrefix(with, lead)
		}
		p.replace(at, p.lineEnd(to.last), with)
	}
}

// moveFlow lets the items of a flow sequence change places, with the comments
// above and beside them where each has its own line.
func (p *planner) moveFlow(c *yaml.Node, first int, order []int) {
	lines := make([]flowLine, len(order))
	alone := true
	for i := range lines {
		lines[i] = p.flowLine(c, first+i)
		alone = alone && lines[i].alone
	}
	if p.err != nil {
		return
	}
	item := func(l flowLine) string { return string(p.data[l.start:l.end]) }
	for i, o := range order {
		to, with := lines[i], lines[o-first]
		p.replace(to.start, to.end, item(with))
		if !alone {
			continue
		}
		p.replace(p.lineStart(p.flowHead(c, first+i, to)), p.lineStart(to.first),
			string(p.data[p.lineStart(p.flowHead(c, o, with)):p.lineStart(with.first)]))
		p.replace(p.tail(to), p.lineEnd(to.last), string(p.data[p.tail(with):p.lineEnd(with.last)]))
	}
}

// tail returns the offset behind an entry and its comma.
func (p *planner) tail(l flowLine) int {
	if l.comma >= 0 {
		return l.comma + 1
	}
	return l.end
}
