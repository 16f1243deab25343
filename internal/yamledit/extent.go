package yamledit

import (
	"fmt"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// finder computes where nodes begin and end. The library reports only where
// they begin. The first thing that does not fit is kept in err; offsets
// returned after that mean nothing.
type finder struct {
	*source
	err error
}

func (d *Document) finder() *finder { return &finder{source: d.src} }

func (f *finder) fail(n *yaml.Node, what string) int {
	if f.err == nil {
		f.err = fmt.Errorf("%d:%d: cannot tell %s", n.Line, n.Column, what)
	}
	return 0
}

// Extent returns the byte offsets between which the value at the path stands:
// from its first byte, an anchor or a tag included, to behind its last one.
// Comments and line breaks around it are not part of it. A null that is not
// written has an empty extent.
func (d *Document) Extent(path Path) (start, end int, err error) {
	c, err := d.locate(path)
	if err != nil {
		return 0, 0, err
	}
	f := d.finder()
	if len(c.up) == 0 {
		if d.root == nil {
			return len(d.src.data), len(d.src.data), nil
		}
		start, end = f.start(d.root), f.end(d.root, -1)
	} else {
		e := f.entry(c.parent().n, c.parent().i)
		start, end = e.valStart, e.valEnd
	}
	if f.err != nil {
		return 0, 0, f.err
	}
	return start, end, nil
}

// start returns the offset of the node's first byte.
func (f *finder) start(n *yaml.Node) int {
	if off := f.offset(n.Line, n.Column); off >= 0 {
		return off
	}
	return f.fail(n, "where the node begins")
}

// props skips the tag and the anchor that stand before a node's content.
// It returns where they end and where the content begins.
func (f *finder) props(n *yaml.Node, p int) (end, content int) {
	if n.Kind == yaml.MappingNode && !isFlow(n) && len(n.Content) > 0 &&
		n.Content[0].Line == n.Line && n.Content[0].Column == n.Column {
		return p, p // what stands there belongs to the first key
	}
	end = p
	for content = p; content < len(f.data) && (f.data[content] == '&' || f.data[content] == '!'); content = f.skipTrivia(end) {
		end = content + 1
		anchor := f.data[content] == '&'
		for !f.isBlankAt(end) && (!anchor || anchorByte(f.data[end])) {
			end++
		}
	}
	return end, content
}

func anchorByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-'
}

// end returns the offset behind the node's last byte. The indent is the column
// of the block collection that the node is in, counted from 0, or -1.
func (f *finder) end(n *yaml.Node, indent int) int {
	if f.err != nil {
		return 0
	}
	start := f.start(n)
	switch {
	case n.Kind == yaml.AliasNode:
		return start + 1 + len(n.Value)
	case isVoid(n) && (start >= len(f.data) || f.data[start] != '!'):
		return start
	case n.Kind == yaml.ScalarNode:
		return f.scalarEnd(n, start, indent)
	case isFlow(n):
		return f.flowEnd(n)
	case len(n.Content) == 0:
		return f.fail(n, "where an empty block collection ends")
	case n.Kind == yaml.SequenceNode:
		return f.entryEnd(n, len(n.Content)-1)
	}
	return f.entryEnd(n, len(n.Content)/2-1)
}

func (f *finder) scalarEnd(n *yaml.Node, start, indent int) int {
	propsEnd, p := f.props(n, start)
	if n.Value == "" && n.Style&^yaml.TaggedStyle == 0 {
		return propsEnd
	}
	switch {
	case p >= len(f.data):
	case n.Style&yaml.DoubleQuotedStyle != 0:
		if f.data[p] != '"' {
			break
		}
		for p++; p < len(f.data); p++ {
			switch f.data[p] {
			case '\\':
				p++
			case '"':
				return p + 1
			}
		}
	case n.Style&yaml.SingleQuotedStyle != 0:
		if f.data[p] != '\'' {
			break
		}
		for p++; p < len(f.data); p++ {
			if f.data[p] == '\'' {
				if p+1 >= len(f.data) || f.data[p+1] != '\'' {
					return p + 1
				}
				p++
			}
		}
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if f.data[p] == '|' || f.data[p] == '>' {
			return f.blockScalarEnd(p, indent)
		}
	default:
		if end := f.plainEnd(n.Value, p); end >= 0 {
			return end
		}
	}
	return f.fail(n, "where the scalar ends")
}

// plainEnd walks the text of a plain scalar along its value: what the library
// read is what stands there, but for the folding of line breaks. This needs no
// knowledge of the context that ends a plain scalar.
func (f *finder) plainEnd(value string, p int) int {
	for v := 0; v < len(value); {
		if p >= len(f.data) {
			return -1
		}
		if !f.isBlankAt(p) {
			if f.data[p] != value[v] {
				return -1
			}
			p++
			v++
			continue
		}
		from, breaks, folded := p, 0, 0
		for p < len(f.data) && f.isBlankAt(p) {
			w := breakWidth(f.data, p)
			if w == 0 {
				p++
				continue
			}
			if keep := w == 3; breaks > 0 || keep {
				// LS and PS stay as they are, others become a line feed.
				if folded++; keep {
					folded += 2
				}
			}
			breaks++
			p += w
		}
		if breaks == 0 {
			v += p - from
			continue
		}
		v += max(folded, 1)
	}
	return p
}

// blockScalarEnd returns the end of a literal or folded scalar whose indicator
// is at p: behind the last byte of its last line. Trailing blank lines are part
// of it only when they are kept (`|+`).
func (f *finder) blockScalarEnd(p, indent int) int {
	header := f.lineOf(p)
	keep, width := false, 0
	for p++; !f.isBlankAt(p); p++ {
		switch c := f.data[p]; {
		case c == '+':
			keep = true
		case c >= '1' && c <= '9':
			width = int(c - '0')
		}
	}
	spaces := func(l, limit int) int {
		n, off := 0, f.lineStart(l)
		for off+n < len(f.data) && f.data[off+n] == ' ' && (limit < 0 || n < limit) {
			n++
		}
		return n
	}
	content := max(indent, 0) + width
	if width == 0 {
		deepest := 0
		for l := header + 1; l < f.lines() && !f.phantom(l); l++ {
			n := spaces(l, -1)
			deepest = max(deepest, n)
			if !f.isBreakAt(f.lineStart(l) + n) {
				break
			}
		}
		content = max(deepest, indent+1, 1)
	}
	last, blank := header, header
	for l := header + 1; l < f.lines() && !f.phantom(l); l++ {
		n := spaces(l, content)
		if f.isBreakAt(f.lineStart(l) + n) {
			blank = l
			continue
		}
		if n < content {
			break
		}
		last, blank = l, l
	}
	if keep {
		return f.lineEnd(blank)
	}
	return f.lineEnd(last)
}

// bracket returns the closing bracket of a flow collection whose opening one
// is at p, 0 for a mapping of one pair without brackets (`[a: b]`).
func (f *finder) bracket(p int) byte {
	if p < len(f.data) {
		switch f.data[p] {
		case '{':
			return '}'
		case '[':
			return ']'
		}
	}
	return 0
}

// bare reports whether n is the mapping of `[a: b]`, which has no brackets.
func (f *finder) bare(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode || !isFlow(n) {
		return false
	}
	_, p := f.props(n, f.start(n))
	if len(n.Content) == 2 && n.Content[0].Line == n.Line && n.Content[0].Column == n.Column {
		return true // the key begins where the mapping does: a bracket would stand between
	}
	return p >= len(f.data) || f.data[p] != '{'
}

func (f *finder) flowEnd(n *yaml.Node) int {
	_, p := f.props(n, f.start(n))
	last := len(n.Content) - 1
	if n.Kind == yaml.MappingNode {
		last = len(n.Content)/2 - 1
	}
	if f.bare(n) {
		return f.entryEnd(n, 0)
	}
	closer := f.bracket(p)
	if closer == 0 {
		return f.fail(n, "where the flow collection begins")
	}
	p++
	if last >= 0 {
		p = f.entryEnd(n, last)
	}
	if p = f.skipTrivia(p); last >= 0 && p < len(f.data) && f.data[p] == ',' {
		p = f.skipTrivia(p + 1)
	}
	if f.err == nil && (p >= len(f.data) || f.data[p] != closer) {
		return f.fail(n, "where the flow collection ends")
	}
	return p + 1
}

// span is the place of one entry of a collection: a key with its value, or an
// item.
type span struct {
	start    int // the dash, the question mark of an explicit key, or the first byte
	keyStart int // mappings: the key's first byte
	keyEnd   int // mappings: behind the key
	colon    int // mappings: the colon, -1 if there is none
	valStart int // equal to valEnd when the value is not written
	valEnd   int
	end      int
	explicit bool // `? key`
	key, val *yaml.Node
}

// lead returns the offset behind what introduces the value: the colon, the
// dash, or the key where the value is not written.
func (e span) lead() int {
	switch {
	case e.key == nil:
		return e.start + 1
	case e.colon >= 0:
		return e.colon + 1
	}
	return e.keyEnd
}

// count returns the number of entries of a collection.
func count(n *yaml.Node) int {
	if n.Kind == yaml.MappingNode {
		return len(n.Content) / 2
	}
	return len(n.Content)
}

// content returns the offset at which a collection's entries begin: behind the
// opening bracket, or behind anchor and tag.
func (f *finder) content(n *yaml.Node) int {
	_, p := f.props(n, f.start(n))
	if isFlow(n) && !f.bare(n) {
		return p + 1
	}
	return p
}

// column returns the 0-based column at which the entries of a block collection stand.
func (f *finder) column(n *yaml.Node) int {
	_, col := f.position(f.skipTrivia(f.content(n)))
	return col - 1
}

// childIndent returns the indent that end wants for the children of n.
func (f *finder) childIndent(n *yaml.Node) int {
	if isFlow(n) {
		return -1
	}
	return f.column(n)
}

// bang reports whether a null stands behind the offset as a lone "!", the tag
// that says nothing.
func (f *finder) bang(n *yaml.Node, p int) bool {
	q := f.skipTrivia(p)
	return q < len(f.data) && f.data[q] == '!' && f.start(n) == q
}

// colonAt reports whether the colon behind a key is at p, not one that begins a
// plain scalar.
func (f *finder) colonAt(p int, flow bool) bool {
	return p < len(f.data) && f.data[p] == ':' && (flow || f.isBlankAt(p+1))
}

// entryEnd returns the end of entry i.
func (f *finder) entryEnd(n *yaml.Node, i int) int {
	if f.err != nil {
		return 0
	}
	if n.Kind == yaml.SequenceNode {
		// An item that is not written is placed behind its dash.
		return f.end(n.Content[i], f.childIndent(n))
	}
	k, v := n.Content[2*i], n.Content[2*i+1]
	if !isVoid(v) {
		return f.end(v, f.childIndent(n))
	}
	if isVoid(k) {
		return f.entry(n, i).end
	}
	end := f.end(k, f.childIndent(n))
	if p := f.skipTrivia(end); f.err == nil && f.colonAt(p, isFlow(n)) {
		if f.bang(v, p+1) {
			return f.end(v, -1)
		}
		return p + 1
	}
	return end
}

// entry returns the place of entry i.
func (f *finder) entry(n *yaml.Node, i int) span {
	var e span
	var p int
	if i == 0 {
		p = f.content(n)
	} else {
		p = f.entryEnd(n, i-1)
	}
	if f.err != nil {
		return e
	}
	p = f.skipTrivia(p)
	if i > 0 && isFlow(n) {
		if p >= len(f.data) || f.data[p] != ',' {
			f.fail(n, "where an entry begins")
			return e
		}
		p = f.skipTrivia(p + 1)
	}
	if p >= len(f.data) && !(isFlow(n) || n.Kind == yaml.MappingNode) {
		f.fail(n, "where an entry begins")
		return e
	}
	indent := f.childIndent(n)
	e.start, e.colon = p, -1
	if n.Kind == yaml.SequenceNode {
		e.val = n.Content[i]
		if isFlow(n) {
			e.valStart, e.valEnd = f.start(e.val), f.end(e.val, indent)
			e.start, e.end = e.valStart, e.valEnd
			return e
		}
		if f.data[p] != '-' {
			f.fail(n, "where an item begins")
			return e
		}
		if e.valStart, e.valEnd = p+1, p+1; !isVoid(e.val) || f.bang(e.val, p+1) {
			e.valStart, e.valEnd = f.start(e.val), f.end(e.val, indent)
		}
		e.end = e.valEnd
		return e
	}
	e.key, e.val = n.Content[2*i], n.Content[2*i+1]
	if p < len(f.data) && f.data[p] == '?' && (isFlow(n) || f.isBlankAt(p+1)) {
		e.explicit = true
		p++
	}
	if e.keyStart, e.keyEnd = p, p; !isVoid(e.key) {
		e.keyStart, e.keyEnd = f.start(e.key), f.end(e.key, indent)
		if f.err == nil && e.keyStart != f.skipTrivia(p) {
			f.fail(e.key, "where the key begins")
			return e
		}
	}
	if q := f.skipTrivia(e.keyEnd); f.colonAt(q, isFlow(n)) {
		e.colon = q
	}
	if isVoid(e.val) && !f.bang(e.val, e.lead()) {
		e.valStart = e.lead()
		e.valEnd = e.valStart
	} else {
		e.valStart, e.valEnd = f.start(e.val), f.end(e.val, indent)
	}
	e.end = e.valEnd
	return e
}

// runeLen returns the number of runes of s.
func runeLen(s string) int { return utf8.RuneCountInString(s) }
