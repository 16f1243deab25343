package yamledit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

func (p *planner) setValue(path Path, v Value) (*yaml.Node, error) {
	if err := v.check(p.d.limits.Depth); err != nil {
		return nil, err
	}
	pl, err := p.d.locate(path)
	if err != nil {
		return nil, err
	}
	if err := p.d.unshared(pl); err != nil {
		return nil, err
	}
	if err := p.d.unused(pl.node); err != nil {
		return nil, err
	}
	if pl.node != nil && compare(v.node(), pl.node) == nil {
		return p.d.root, nil
	}
	if len(pl.up) == 0 {
		p.style(nil, 0)
		p.setTop(pl, v)
		return v.node(), nil
	}
	s := pl.parent()
	sp := p.entry(s.n, s.i)
	if p.err != nil {
		return nil, nil //nolint:nilerr // apply reports it
	}
	p.style(s.n, s.i)
	key := ""
	if sp.key != nil {
		key, _ = keyText(sp.key)
	}
	lk := p.looksAt(pl.up[:len(pl.up)-1], s.n, s.i, key)
	lk.same = append([]*yaml.Node{pl.node}, lk.same...)
	inline := isFlow(s.n) || !v.collection() || p.w.wantsFlow(v, lk) || sp.explicit || sp.key != nil && sp.colon < 0
	old := pl.node
	block := old.Kind != yaml.AliasNode && old.Kind != yaml.ScalarNode && !isFlow(old)
	below := block && sp.key != nil && p.lineOf(p.skipTrivia(p.content(old))) > p.lineOf(sp.lead())
	switch {
	case inline && below:
		p.replace(sp.lead(), p.beforeComment(sp.lead(), sp.valStart), " "+p.w.inline(v, lk, false))
		p.deleteLines(p.lineOf(sp.lead())+1, p.trailing(sp, p.column(s.n)))
	case inline:
		p.replaceInline(sp, p.w.inline(v, lk, isFlow(s.n)))
	case sp.key == nil:
		p.setItem(sp, v, lk)
	default:
		col := p.column(s.n)
		lines := p.w.block(v, lk, p.setColumn(old, block, col, v, lk))
		line := p.lineOf(sp.lead())
		if below {
			from, to := p.beforeComment(sp.lead(), sp.valStart), p.trailing(sp, col)
			p.replace(sp.lead(), from, "")
			p.deleteLines(line+1, to)
		} else {
			p.replace(sp.lead(), max(sp.valEnd, sp.lead()), "")
			line = p.lineOf(sp.valEnd)
		}
		if below && p.terminator(p.trailing(sp, col)) == "" {
			p.replace(len(p.data), len(p.data), p.newline(line)+strings.Join(lines, p.newline(line)))
			break
		}
		p.insertAfter(line, lines)
	}
	return rebuild(pl, v.node()), nil
}

// setColumn returns the column of a new block collection: that of the old one
// of the same kind, or what the document's habits say.
func (p *planner) setColumn(old *yaml.Node, block bool, col int, v Value, lk looks) int {
	if block && old.Kind == v.nodeKind() {
		return p.column(old)
	}
	return col + p.w.below(v, lk)
}

// beforeComment returns where the text between a colon and a block collection
// below it ends: behind an anchor or a tag on the colon's line, or the colon.
func (p *planner) beforeComment(lead, value int) int {
	q := p.skipBlanks(lead)
	if q < len(p.data) && (p.data[q] == '&' || p.data[q] == '!') && p.lineOf(value) == p.lineOf(lead) {
		for !p.isBreakAt(q) && p.data[q] != '#' {
			q++
		}
		return p.blanksEnd(q)
	}
	return lead
}

// setItem writes a block collection as the item of a block sequence.
func (p *planner) setItem(sp span, v Value, lk looks) {
	at, lead := sp.valStart, ""
	if sp.valStart == sp.valEnd || p.lineOf(sp.valStart) != p.lineOf(sp.start) {
		at, lead = sp.lead(), strings.Repeat(" ", p.w.h.gap)
	}
	_, col := p.position(at)
	lines := p.w.block(v, lk, col-1+len(lead))
	lines[0] = lead + strings.TrimLeft(lines[0], " ")
	p.replace(at, sp.valEnd, strings.Join(lines, p.newline(p.lineOf(at))))
}

// setTop replaces the top-level value.
func (p *planner) setTop(pl place, v Value) {
	old := pl.node
	if old == nil {
		if v.collection() && !v.empty() {
			lines := p.w.block(v, looks{}, 0)
			p.topLines(lines)
			return
		}
		p.topLines([]string{p.w.inline(v, looks{}, false)})
		return
	}
	from, to := p.start(old), p.end(old, -1)
	if p.err != nil {
		return
	}
	if !v.collection() || p.w.wantsFlow(v, looks{same: []*yaml.Node{old}}) || !p.ownLine(from) {
		p.replace(from, to, p.w.inline(v, looks{same: []*yaml.Node{old}}, false))
		return
	}
	lines := p.w.block(v, looks{same: []*yaml.Node{old}}, 0)
	p.replace(p.lineStart(p.lineOf(from)), to, strings.Join(lines, p.newline(p.lineOf(from))))
}

// setItems returns the edits that turn the sequence at the path into another,
// item by item, so that the comments of those that stay are kept. It returns
// nil where the sequence is better written anew.
func (d *Document) setItems(path Path, v Value) []Edit {
	pl, err := d.locate(path)
	old := pl.node
	if err != nil || v.kind != seqValue || old == nil || old.Kind != yaml.SequenceNode {
		return nil
	}
	from, to, err := d.Extent(path)
	if err != nil || d.src.lineOf(from) == d.src.lineOf(to) {
		return nil
	}
	n, m := len(old.Content), len(v.items)
	if n*m > 10_000 {
		return nil
	}
	same := func(i, j int) bool { return compare(v.items[j].node(), old.Content[i]) == nil }
	// common[i][j] is the length of the longest common subsequence of the rests.
	common := make([][]int, n+1)
	for i := range common {
		common[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if same(i, j) {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	if common[0][0] == 0 {
		return nil
	}
	var edits []Edit
	at := 0
	for i, j := 0, 0; i < n || j < m; {
		switch {
		case i < n && j < m && same(i, j):
			i, j, at = i+1, j+1, at+1
		case i == n || j < m && common[i][j+1] >= common[i+1][j]:
			edits = append(edits, InsertItem(path, at, v.items[j]))
			j, at = j+1, at+1
		default:
			edits = append(edits, Delete(path.With(at)))
			i++
		}
	}
	return edits
}
