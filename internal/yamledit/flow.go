package yamledit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// flowLine is the place of an entry of a flow collection in its lines.
type flowLine struct {
	span
	comma int  // offset of the comma behind the entry, -1 if there is none
	alone bool // the entry begins a line, and only its comma and a comment follow on its last one
	first int
	last  int
}

func (p *planner) flowLine(c *yaml.Node, i int) flowLine {
	l := flowLine{span: p.entry(c, i), comma: -1}
	if p.err != nil {
		return l
	}
	q := p.skipTrivia(l.end)
	if q < len(p.data) && p.data[q] == ',' {
		l.comma = q
	}
	l.first, l.last = p.lineOf(l.start), p.lineOf(l.end)
	rest := l.end
	if l.comma >= 0 && p.lineOf(l.comma) == l.last {
		rest = l.comma + 1
	}
	rest = p.skipBlanks(rest)
	l.alone = p.ownLine(l.start) && (p.isBreakAt(rest) || p.data[rest] == '#') &&
		(l.comma < 0 || p.lineOf(l.comma) == l.last)
	return l
}

func (p *planner) insertFlow(pl place, i int, e entryValue) {
	c := pl.node
	if p.bare(c) {
		p.fail(c, "how to extend a mapping without brackets")
		return
	}
	lk := p.looksAt(pl.up, c, i, e.key)
	var keys []*yaml.Node
	if e.isKey {
		keys = keysNear(c, i)
	}
	b := p.w.spacing(c.Kind, []*yaml.Node{c})
	text := p.entryText(e, lk, keys, b)
	at := p.flowLine(c, max(i-1, 0))
	if p.err != nil {
		return
	}
	if i == 0 {
		if at.alone {
			p.insertBefore(p.flowHead(c, 0, at), []string{p.leading(at.start) + text + ","})
		} else {
			p.replace(at.start, at.start, text+b.comma)
		}
		return
	}
	if at.alone {
		if at.comma < 0 {
			p.replace(at.end, at.end, ",")
		} else {
			text += ","
		}
		p.insertAfter(at.last, []string{p.leading(at.start) + text})
		return
	}
	p.replace(at.end, at.end, b.comma+text)
}

// leading returns the blanks that the offset's line begins with.
func (p *planner) leading(off int) string {
	start := p.lineStart(p.lineOf(off))
	return string(p.data[start:p.skipBlanks(start)])
}

// flowHead returns the first line of the comment directly above an entry that
// begins a line, or the entry's first line.
func (p *planner) flowHead(c *yaml.Node, i int, l flowLine) int {
	above := p.lineOf(p.content(c))
	if i > 0 {
		prev := p.flowLine(c, i-1)
		above = max(prev.last, p.lineOf(max(prev.comma, 0)))
	}
	head := l.first
	for head-1 > above && p.commentLine(head-1) && p.hash(head-1) == l.start-p.lineStart(l.first) {
		head--
	}
	return head
}

func (p *planner) deleteFlow(c *yaml.Node, i int) {
	if p.bare(c) {
		p.fail(c, "how to empty a mapping without brackets")
		return
	}
	n := count(c)
	l := p.flowLine(c, i)
	if p.err != nil {
		return
	}
	if n == 1 {
		p.emptyFlow(c, l)
		return
	}
	last := i == n-1
	var prev flowLine
	if i > 0 {
		prev = p.flowLine(c, i-1)
	}
	// Without its comma behind it, the last entry takes the one before it along.
	takesComma := last && l.comma < 0
	if l.alone {
		if takesComma {
			p.replace(prev.comma, prev.comma+1, "")
		}
		if i > 0 && prev.comma >= p.lineStart(l.first) {
			p.fail(c, "how to delete the entry")
		}
		p.deleteLines(p.flowHead(c, i, l), l.last)
		return
	}
	if i > 0 {
		switch {
		case !p.hasComment(prev.end, l.start):
			p.replace(prev.end, l.end, "")
		case takesComma:
			p.replace(prev.comma, prev.comma+1, "")
			p.replace(l.start, l.end, "")
		default:
			to := l.comma + 1
			p.replace(p.blanksEnd(l.start), to, "")
		}
		return
	}
	next := p.entry(c, 1)
	if !p.hasComment(l.end, next.start) {
		p.replace(l.start, next.start, "")
		return
	}
	p.replace(l.start, p.skipBlanks(l.comma+1), "")
}

// blanksEnd returns the offset of the first of the blanks that end at the offset.
func (p *planner) blanksEnd(off int) int {
	for off > 0 && isBlank(p.data[off-1]) {
		off--
	}
	return off
}

// emptyFlow deletes the only entry of a flow collection.
func (p *planner) emptyFlow(c *yaml.Node, l flowLine) {
	from, to := p.content(c), p.end(c, -1)-1
	if p.err != nil {
		return
	}
	end := l.end
	if l.comma >= 0 {
		end = l.comma + 1
	}
	if l.alone {
		// The entry has lines of its own. Where nothing else is left in the
		// brackets, they are closed up.
		head := p.flowHead(c, 0, l)
		rest := string(p.data[from:p.lineStart(head)])
		if l.last+1 < p.lines() {
			rest += string(p.data[min(p.lineStart(l.last+1), to):to])
		}
		if strings.TrimSpace(rest) == "" {
			p.replace(from, to, "")
		} else {
			p.deleteLines(head, l.last)
		}
		return
	}
	start := l.start
	if start > from && p.data[start-1] == ' ' {
		start--
	}
	if end < to && p.data[end] == ' ' {
		end++
	}
	p.replace(start, end, "")
}
