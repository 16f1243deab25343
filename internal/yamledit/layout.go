package yamledit

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// region is the run of lines that belongs to an entry of a block collection.
type region struct {
	span
	head  int  // first line of the comment above, or the entry's own first line
	first int  // line of the entry's first byte
	last  int  // last line, comments that belong to the entry included
	col   int  // column of the entry's first byte, in bytes from the line's beginning
	own   bool // nothing stands before the entry on its first line
}

// region returns the lines that belong to entry i of a block collection.
func (p *planner) region(c *yaml.Node, i int) region {
	r := p.rawRegion(c, i)
	if i == 0 && r.head < r.first && !p.ownsHead(c, r) {
		r.head = r.first
	}
	return r
}

// rawRegion is region that counts the comment above the first entry as its own.
func (p *planner) rawRegion(c *yaml.Node, i int) region {
	r := region{span: p.entry(c, i)}
	r.first = p.lineOf(r.start)
	r.head = r.first
	r.col = r.start - p.lineStart(r.first)
	r.own = p.ownLine(r.start)
	if p.err != nil {
		return r
	}
	if r.own {
		above := -1
		if i > 0 {
			above = p.lineOf(p.entryEnd(c, i-1))
		}
		for l := r.first - 1; l > above && p.commentLine(l) && p.hash(l) == r.col; l-- {
			r.head = l
		}
	}
	r.last = p.trailing(r.span, r.col)
	return r
}

// trailing returns the last line that belongs to an entry at the column: the
// one on which it ends, or a comment below it.
func (p *planner) trailing(e span, col int) int {
	line := p.lineOf(e.end)
	beside := -1
	if q := p.skipBlanks(e.end); q < len(p.data) && p.data[q] == '#' {
		beside = q - p.lineStart(line)
	}
	nested := -1
	if v := e.val; isVoid(v) {
		nested = col + 1
	} else if v.Kind != yaml.AliasNode && v.Kind != yaml.ScalarNode && !isFlow(v) {
		nested = p.column(v)
	}
	last := line
	for l := line + 1; l < p.lines() && !p.phantom(l); l++ {
		if p.blankLine(l) {
			if nested < 0 {
				break
			}
			continue
		}
		if !p.commentLine(l) {
			break
		}
		at := p.hash(l)
		if at > col && (at == beside && last == l-1 || nested > col && at >= nested) {
			last = l
			continue
		}
		break
	}
	return last
}

// lineBelow returns the line behind which an entry at the column can go in, given
// the line on which the one before it ends: not before comments that are
// indented deeper, as they would seem to be the new entry's.
func (p *planner) lineBelow(line, col int) int {
	last := line
	for l := line + 1; l < p.lines() && !p.phantom(l); l++ {
		switch {
		case p.blankLine(l):
		case !p.commentLine(l):
			return last
		case p.hash(l) > col:
			last = l
		}
	}
	return last
}

// ownsHead reports whether the comment above the first entry is the entry's
// own, not its section's: it names the key or, in a sequence, a string of the
// item; or most of the other entries have a comment above them. It asks the
// same for further names.
func (p *planner) ownsHead(c *yaml.Node, r region, names ...string) bool {
	comment := string(p.data[p.lineStart(r.head):p.lineStart(r.first)])
	if r.key != nil {
		if key, ok := keyText(r.key); ok {
			names = append(names, key)
		}
	} else {
		names = append(names, words(r.val, maxSamples)...)
	}
	for _, name := range names {
		if mentions(comment, name) {
			return true
		}
	}
	n := min(count(c), maxSamples)
	with := 0
	for i := 1; i < n; i++ {
		if o := p.rawRegion(c, i); o.head < o.first {
			with++
		}
	}
	return 2*with > n-1
}

// words returns some of the strings below a node, keys left out.
func words(n *yaml.Node, limit int) []string {
	var out []string
	switch n.Kind {
	case yaml.ScalarNode:
		out = append(out, n.Value)
	case yaml.MappingNode, yaml.SequenceNode:
		for i := range count(n) {
			if len(out) < limit {
				out = append(out, words(valueAt(n, i), limit-len(out))...)
			}
		}
	}
	return out
}

// mentions reports whether the comment has the name as a word of its own.
func mentions(comment, name string) bool {
	if len(name) < 3 {
		return false
	}
	word := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	for rest := comment; ; {
		i := strings.Index(rest, name)
		if i < 0 {
			return false
		}
		before, _ := utf8.DecodeLastRuneInString(rest[:i])
		after, _ := utf8.DecodeRuneInString(rest[i+len(name):])
		if !(i > 0 && word(before)) && !(i+len(name) < len(rest) && word(after)) {
			return true
		}
		rest = rest[i+1:]
	}
}

// blanksBefore returns the first line of the run of blank lines that ends
// before the line; the line itself when there is none. The run does not reach
// above the limit.
func (p *planner) blanksBefore(line, limit int) int {
	for line-1 > limit && p.blankLine(line-1) {
		line--
	}
	return line
}

// blanksAfter returns the last line of the run of blank lines that begins
// behind the line; the line itself when there is none.
func (p *planner) blanksAfter(line int) int {
	for line+1 < p.lines() && !p.phantom(line+1) && p.blankLine(line+1) {
		line++
	}
	return line
}

// gap reports whether a blank line stands between entry i and the one behind it.
func (p *planner) gap(c *yaml.Node, i int) bool {
	a, b := p.region(c, i), p.region(c, i+1)
	for l := a.last + 1; l < b.head; l++ {
		if p.blankLine(l) {
			return true
		}
	}
	return false
}

// near returns indexes of a collection of n entries, the nearest to i first;
// at equal distance the one before.
func near(n, i int) []int {
	var out []int
	for d := 0; d <= n && len(out) < maxSamples; d++ {
		if j := i - d; j >= 0 && j < n {
			out = append(out, j)
		}
		if j := i + d; d > 0 && j >= 0 && j < n && len(out) < maxSamples {
			out = append(out, j)
		}
	}
	return out
}

// valueAt returns the value of entry i.
func valueAt(c *yaml.Node, i int) *yaml.Node {
	if c.Kind == yaml.MappingNode {
		return c.Content[2*i+1]
	}
	return c.Content[i]
}

// looksAt returns what a value takes after that goes in as entry i of the
// collection c, under the key if c is a mapping. The collections that c lies in
// are up, each with the entry that leads to c.
func (p *planner) looksAt(up []step, c *yaml.Node, i int, key string) looks {
	lk := looks{same: p.cousins(up, c, key)}
	if c == nil {
		return lk
	}
	for _, j := range near(count(c), i-1) {
		if len(up) == 0 && c.Kind == yaml.MappingNode {
			// The sections of a file have little in common.
			lk.near = append(lk.near, valueAt(c, j))
		} else {
			lk.same = append(lk.same, valueAt(c, j))
		}
	}
	return lk
}

// cousins returns the nodes at the same place in the entries around those that
// lead to c.
func (p *planner) cousins(up []step, c *yaml.Node, key string) []*yaml.Node {
	var out []*yaml.Node
	for l := len(up) - 1; l >= 0 && l >= len(up)-3; l-- {
		s := up[l]
		for _, j := range near(count(s.n), s.i) {
			if j == s.i {
				continue
			}
			nodes := []*yaml.Node{valueAt(s.n, j)}
			for m := l + 1; m < len(up); m++ {
				k := ""
				if up[m].n.Kind == yaml.MappingNode {
					k, _ = keyText(up[m].n.Content[2*up[m].i])
				}
				nodes = under(nodes, up[m].n.Kind, k)
			}
			if c != nil {
				nodes = under(nodes, c.Kind, key)
			}
			out = append(out, nodes...)
		}
	}
	return out
}

// under returns the values below the nodes: of the key for mappings, the first
// items for sequences.
func under(nodes []*yaml.Node, kind yaml.Kind, key string) []*yaml.Node {
	var out []*yaml.Node
	for _, n := range nodes {
		if n = target(n); n == nil || n.Kind != kind || len(n.Content) > surveyNodes {
			continue
		}
		if kind == yaml.SequenceNode {
			out = append(out, n.Content[:min(len(n.Content), 3)]...)
		} else if at, found := findKey(n, key); found > 0 {
			out = append(out, n.Content[2*at+1])
		}
	}
	return out
}

// style sets the writer up for a place: the document's habits, overruled by
// what the entries of the collection do.
func (p *planner) style(c *yaml.Node, i int) {
	p.w.h = p.d.survey(p.finder)
	if c == nil || isFlow(c) || count(c) == 0 {
		return
	}
	col := p.column(c)
	step, dash, gap := false, false, false
	for _, j := range near(count(c), i-1) {
		v := valueAt(c, j)
		if c.Kind == yaml.SequenceNode && !gap && !isVoid(v) {
			if e := p.entry(c, j); p.lineOf(e.start) == p.lineOf(e.valStart) && e.valStart-e.start-1 <= 8 {
				gap = true
				p.w.h.gap = e.valStart - e.start - 1
			}
		}
		p.below(c, v, col, &step, &dash, 0)
	}
}

// below takes over by how much collections below keys are indented.
func (p *planner) below(c, v *yaml.Node, col int, step, dash *bool, depth int) {
	if v.Kind != yaml.MappingNode && v.Kind != yaml.SequenceNode || isFlow(v) || depth > 3 || *step && *dash {
		return
	}
	at := p.column(v)
	if c.Kind == yaml.MappingNode {
		if v.Kind == yaml.MappingNode && !*step && at > col {
			*step, p.w.h.step = true, at-col
		}
		if v.Kind == yaml.SequenceNode && !*dash && at >= col {
			*dash, p.w.h.dash = true, at-col
		}
	}
	for j := range min(count(v)) {
		p.below(v, valueAt(v, j), at, step, dash, depth+1)
	}
}
