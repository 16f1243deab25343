package yamledit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// CommentPlace is where a comment stands.
type CommentPlace uint8

const (
	// Above is the lines directly above an entry.
	Above CommentPlace = iota
	// Beside is the end of the entry's line: behind its value or, where that
	// stands below, behind its key.
	Beside
)

func (p *planner) setComment(path Path, where CommentPlace, text string) (*yaml.Node, error) {
	if len(path) == 0 {
		return nil, fmt.Errorf("%w: the top-level value has no entry to comment on", ErrKind)
	}
	pl, err := p.d.locate(path)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(text, "\n")
	if text == "" {
		lines = nil
	}
	if where == Beside && len(lines) > 1 {
		return nil, fmt.Errorf("%w: a comment beside an entry has one line", ErrKind)
	}
	for i, l := range lines {
		for _, r := range l {
			if !printable(r) && r != '\t' {
				return nil, fmt.Errorf("%w: %q can't stand in a comment", ErrKind, r)
			}
		}
		if lines[i] = "# " + l; l == "" {
			lines[i] = "#"
		}
	}
	s := pl.parent()
	if isFlow(s.n) {
		p.commentFlow(s, where, lines)
	} else {
		p.commentBlock(s, where, lines)
	}
	return p.d.root, nil
}

func (p *planner) commentBlock(s step, where CommentPlace, lines []string) {
	r := p.region(s.n, s.i)
	if p.err != nil {
		return
	}
	if v := r.val; where == Beside && r.key == nil && v.Kind != yaml.AliasNode && v.Kind != yaml.ScalarNode &&
		!isFlow(v) && p.lineOf(p.skipTrivia(p.content(v))) == r.first {
		p.commentBlock(step{v, 0}, where, lines) // `- key: value`
		return
	}
	if where == Beside {
		line := r.first
		if p.besideEnd(r.span) {
			line = p.lineOf(r.end)
		}
		at := r.end
		if line == r.first && !p.besideEnd(r.span) {
			at = r.lead()
			if end, content := p.props(r.val, r.valStart); r.val.Kind != yaml.ScalarNode && content > r.valStart && p.lineOf(end) == line {
				at = end
			}
			if r.val.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
				_, at = p.props(r.val, r.valStart)
				for !p.isBlankAt(at) {
					at++
				}
			}
		}
		p.commentAt(line, at, lines)
		return
	}
	if !r.own {
		p.fail(s.n, "how to comment above an entry that does not begin its line")
		return
	}
	if len(lines) == 0 {
		// Who asks for it means the comment that stands there, whoever's it is.
		r = p.rawRegion(s.n, s.i)
	}
	if r.head < r.first {
		p.deleteLines(r.head, r.first-1)
	}
	if len(lines) > 0 {
		p.insertBefore(r.first, indented(lines, p.leading(r.start)))
	}
}

// besideEnd reports whether the comment beside an entry stands behind the
// value's end: the value is no block collection and no block scalar.
func (p *planner) besideEnd(e span) bool {
	switch {
	case e.val.Kind == yaml.AliasNode || isFlow(e.val):
		return true
	case e.val.Kind == yaml.ScalarNode:
		return e.val.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0
	}
	return false
}

func indented(lines []string, lead string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = lead + l
	}
	return out
}

// commentAt sets the comment that follows the offset on the line.
func (p *planner) commentAt(line, at int, lines []string) {
	q := p.skipBlanks(at)
	end := p.lineEnd(line)
	if q < end && p.data[q] != '#' {
		p.failAt("how to comment beside an entry that shares its line")
		return
	}
	switch {
	case len(lines) == 0 && q < end:
		p.replace(at, end, "")
	case len(lines) == 0:
	case q < end:
		p.replace(q, end, lines[0])
	default:
		p.replace(at, end, " "+lines[0])
	}
}

func (f *finder) failAt(what string) {
	if f.err == nil {
		f.err = fmt.Errorf("cannot tell %s", what)
	}
}

func (p *planner) commentFlow(s step, where CommentPlace, lines []string) {
	l := p.flowLine(s.n, s.i)
	if p.err != nil {
		return
	}
	if !l.alone || p.bare(s.n) {
		p.failAt("how to comment on an entry that shares its line")
		return
	}
	if where == Beside {
		at := l.end
		if l.comma >= 0 {
			at = l.comma + 1
		}
		p.commentAt(l.last, at, lines)
		return
	}
	if head := p.flowHead(s.n, s.i, l); head < l.first {
		p.deleteLines(head, l.first-1)
	}
	if len(lines) > 0 {
		p.insertBefore(l.first, indented(lines, p.leading(l.start)))
	}
}
