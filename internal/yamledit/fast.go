package yamledit

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// reader builds the node tree of a document several times faster than the
// library and with half the memory. It knows only the part of YAML that nearly
// every file keeps to, and gives up on anything else: multi-line scalars, block
// scalars, anchors, aliases, tags, explicit keys, directives and markers, tabs
// between tokens, and every error. The library reads those files. For what the
// reader does read, the tree equals the library's but for the comments, which
// are not filled in; FuzzReader holds it to that.
type reader struct {
	data []byte
	text string // data once more; the nodes' values are parts of it
	p    int
	line int // 1-based line of p
	// begin is the offset at which the line begins; counted and wide are an
	// offset in it and the number of bytes before it that begin no rune.
	begin, counted, wide int
	depth                int
	ascii                bool
	nodes                []yaml.Node  // what is left of the current slab
	refs                 []*yaml.Node // likewise
	open                 []*yaml.Node // children of the collections being read
	ok                   bool
}

// slab is how many nodes are allocated at once.
const slab = 512

// readFast returns the top-level value; ok is false when the library must read
// the file.
func readFast(s *source, depth int) (root *yaml.Node, ok bool) {
	r := &reader{data: s.data, ok: true, line: 1, ascii: s.marks == nil, depth: depth}
	if s.oddBreaks() {
		return nil, false
	}
	if bytes.HasPrefix(s.data, []byte(bom)) {
		r.p, r.begin, r.counted = len(bom), len(bom), len(bom)
	}
	r.text = string(s.data)
	col, more := r.next()
	switch markers := s.markers(); {
	case markers == 1 && more && col == 0 && s.marker(r.line-1, "---"):
		// The marker of the only document, with nothing but a comment beside it.
		r.p += 3
		r.rest()
		col, more = r.next()
	case markers > 0:
		return nil, false
	}
	if !r.ok || !more {
		return nil, r.ok
	}
	root = r.block(col, col)
	if !r.ok {
		return nil, false
	}
	if _, more := r.next(); more || !r.ok {
		return nil, false
	}
	return root, true
}

// oddBreaks reports whether the text has line breaks other than LF and CR LF,
// or byte order marks inside.
func (s *source) oddBreaks() bool {
	rest := bytes.TrimPrefix(s.data, []byte(bom))
	if s.marks != nil {
		for _, odd := range []string{"\u0085", "\u2028", "\u2029", bom} {
			if bytes.Contains(rest, []byte(odd)) {
				return true
			}
		}
	}
	for off := 0; ; {
		i := bytes.IndexByte(rest[off:], '\r')
		if i < 0 {
			return false
		}
		if off += i + 1; off >= len(rest) || rest[off] != '\n' {
			return true
		}
	}
}

// markers counts the lines that begin like a document marker or a directive.
func (s *source) markers() int {
	rest := bytes.TrimPrefix(s.data, []byte(bom))
	n := 0
	for _, mark := range []string{"---", "...", "%"} {
		if n += bytes.Count(rest, []byte("\n"+mark)); bytes.HasPrefix(rest, []byte(mark)) {
			n++
		}
	}
	return n
}

func (r *reader) giveUp() *yaml.Node {
	r.ok = false
	return nil
}

// at returns the byte at p, 0 behind the end. The text holds no zero byte.
func (r *reader) at(p int) byte {
	if p < len(r.data) {
		return r.data[p]
	}
	return 0
}

// ends reports whether a line ends at p.
func (r *reader) ends(p int) bool {
	c := r.at(p)
	return c == '\n' || c == '\r' || c == 0
}

// column returns the 1-based column of an offset of the current line. Offsets
// must not decrease while a line is read.
func (r *reader) column(p int) int {
	if !r.ascii {
		for ; r.counted < p; r.counted++ {
			if !utf8.RuneStart(r.data[r.counted]) {
				r.wide++
			}
		}
	}
	return p - r.begin - r.wide + 1
}

// rest skips blanks and a comment up to the end of the line. A comment must be
// set off by a blank unless it begins the line.
func (r *reader) rest() {
	for r.at(r.p) == ' ' {
		r.p++
	}
	if r.at(r.p) == '#' {
		if r.p != r.begin && r.data[r.p-1] != ' ' {
			r.ok = false
			return
		}
		if i := bytes.IndexByte(r.data[r.p:], '\n'); i >= 0 {
			r.p += i
		} else {
			r.p = len(r.data)
		}
		return
	}
	if r.at(r.p) == '\r' {
		r.p++
	}
	if c := r.at(r.p); c != '\n' && c != 0 {
		r.ok = false
	}
}

// newline goes to the beginning of the next line; p is at a line feed.
func (r *reader) newline() {
	r.p++
	r.line++
	r.begin, r.counted, r.wide = r.p, r.p, 0
}

// next goes to the next token that begins a line, from the beginning or the
// end of a line. It returns the token's offset in the line; more is false at
// the end of the text.
func (r *reader) next() (col int, more bool) {
	for r.ok {
		for r.at(r.p) == ' ' {
			r.p++
		}
		switch c := r.at(r.p); c {
		case 0:
			return -1, false
		case '\n':
			r.newline()
		case '\r', '#':
			r.rest()
		case '\t':
			r.ok = false
		default:
			return r.p - r.begin, true
		}
	}
	return -1, false
}

func (r *reader) node(kind yaml.Kind, tag string, p int) *yaml.Node {
	if len(r.nodes) == 0 {
		r.nodes = make([]yaml.Node, slab)
	}
	n := &r.nodes[0]
	r.nodes = r.nodes[1:]
	n.Kind, n.Tag, n.Line, n.Column = kind, tag, r.line, r.column(p)
	return n
}

// void returns the null that stands where nothing is written.
func (r *reader) void(line, column int) *yaml.Node {
	n := r.node(yaml.ScalarNode, nullTag, r.begin)
	n.Line, n.Column = line, column
	return n
}

// adopt makes what was put on r.open since the mark the children of n.
func (r *reader) adopt(n *yaml.Node, mark int) {
	k := len(r.open) - mark
	if k > len(r.refs) {
		r.refs = make([]*yaml.Node, max(4*slab, k))
	}
	n.Content = r.refs[:k:k]
	r.refs = r.refs[k:]
	copy(n.Content, r.open[mark:])
	clear(r.open[mark:])
	r.open = r.open[:mark]
}

// enter counts a collection in. It gives up where the nesting is too deep; the
// library's tree then says where.
func (r *reader) enter() bool {
	r.depth--
	if r.depth < 0 {
		r.ok = false
	}
	return r.ok
}

func (r *reader) leave() { r.depth++ }

// dash reports whether p is at the dash of an item.
func (r *reader) dash(p int) bool {
	return r.at(p) == '-' && (r.at(p+1) == ' ' || r.ends(p+1))
}

// block reads the node whose first token is at p, where it is the first of its
// line but for what introduces it; col is its offset in the line. A mapping or
// sequence goes on as long as lines begin at col. Afterwards p is at the first
// token of a line that does not belong to the node, or at the end of the text.
func (r *reader) block(col, indent int) *yaml.Node {
	if r.dash(r.p) {
		return r.sequence(col, true)
	}
	start, line := r.p, r.line
	n := r.flowNode(false)
	if !r.ok {
		return nil
	}
	if r.line != line {
		// A flow collection over several lines can be no key.
		return r.last(n, indent)
	}
	q := r.p
	for r.at(q) == ' ' {
		q++
	}
	if r.at(q) != ':' {
		return r.last(n, indent)
	}
	if n.Kind != yaml.ScalarNode || r.p-start > maxKey || q-start > maxKey || !(r.at(q+1) == ' ' || r.ends(q+1)) {
		return r.giveUp()
	}
	r.p = q
	return r.mapping(n, col)
}

// last ends the line of a value and goes to the next token. What follows must
// not be indented deeper than the collection that the value is in: it would
// continue the value or be an error.
func (r *reader) last(n *yaml.Node, indent int) *yaml.Node {
	if r.rest(); !r.ok {
		return nil
	}
	if col, more := r.next(); more && col > indent {
		return r.giveUp()
	}
	if !r.ok {
		return nil
	}
	return n
}

// mapping reads a block mapping whose first key was read; p is at its colon.
func (r *reader) mapping(key *yaml.Node, col int) *yaml.Node {
	if !r.enter() {
		return nil
	}
	defer r.leave()
	n := r.node(yaml.MappingNode, "!!map", r.p)
	n.Line, n.Column = key.Line, key.Column
	mark := len(r.open)
	for {
		if key.Tag == mergeTag {
			return r.giveUp()
		}
		r.open = append(r.open, key)
		v := r.value(col)
		if !r.ok {
			return nil
		}
		r.open = append(r.open, v)
		if r.p >= len(r.data) || r.p-r.begin < col {
			break
		}
		// value has gone to a line that begins at col or before it.
		if r.p-r.begin > col {
			return r.giveUp()
		}
		if key = r.key(); !r.ok {
			return nil
		}
	}
	r.adopt(n, mark)
	return n
}

// key reads the key at p and goes to its colon.
func (r *reader) key() *yaml.Node {
	start := r.p
	if c := r.at(r.p); c == '[' || c == '{' || r.dash(r.p) {
		return r.giveUp()
	}
	n := r.scalar(false)
	if !r.ok {
		return nil
	}
	for r.at(r.p) == ' ' {
		r.p++
	}
	if r.at(r.p) != ':' || !(r.at(r.p+1) == ' ' || r.ends(r.p+1)) || r.p-start > maxKey {
		return r.giveUp()
	}
	return n
}

// value reads the value behind the colon at p of a mapping whose keys stand at
// col. It goes to the first token of the next line that is not the value's.
func (r *reader) value(col int) *yaml.Node {
	colon := r.p + 1
	r.p++
	for r.at(r.p) == ' ' {
		r.p++
	}
	if !r.ends(r.p) && r.at(r.p) != '#' {
		if r.dash(r.p) {
			return r.giveUp()
		}
		n := r.flowNode(false)
		if !r.ok {
			return nil
		}
		return r.last(n, col)
	}
	if r.p == colon && r.at(r.p) == '#' {
		return r.giveUp()
	}
	line, column := r.line, r.column(colon)
	r.rest()
	at, more := r.next()
	switch {
	case !r.ok:
		return nil
	case more && at > col:
		return r.block(at, col)
	case more && at == col && r.dash(r.p):
		return r.sequence(col, false)
	}
	return r.void(line, column)
}

// sequence reads a block sequence whose first dash is at p. Without an indent
// of its own it stands at the column of the keys of the mapping it is in.
func (r *reader) sequence(col int, own bool) *yaml.Node {
	if !r.enter() {
		return nil
	}
	defer r.leave()
	n := r.node(yaml.SequenceNode, "!!seq", r.p)
	mark := len(r.open)
	for {
		item := r.item(col)
		if !r.ok {
			return nil
		}
		r.open = append(r.open, item)
		if r.p >= len(r.data) || r.p-r.begin < col {
			break
		}
		if r.p-r.begin > col {
			return r.giveUp()
		}
		if !r.dash(r.p) {
			if own {
				return r.giveUp()
			}
			break
		}
	}
	r.adopt(n, mark)
	return n
}

// item reads the item behind the dash at p.
func (r *reader) item(col int) *yaml.Node {
	behind := r.p + 1
	r.p++
	for r.at(r.p) == ' ' {
		r.p++
	}
	if !r.ends(r.p) && r.at(r.p) != '#' {
		return r.block(r.p-r.begin, col)
	}
	line, column := r.line, r.column(behind)
	r.rest()
	at, more := r.next()
	switch {
	case !r.ok:
		return nil
	case more && at > col:
		return r.block(at, col)
	}
	return r.void(line, column)
}

// flowNode reads a scalar or a flow collection. Afterwards p is behind it.
func (r *reader) flowNode(flow bool) *yaml.Node {
	switch r.at(r.p) {
	case '{':
		return r.flowMapping()
	case '[':
		return r.flowSequence()
	}
	return r.scalar(flow)
}

// flowSpace skips blanks, comments and line breaks inside of brackets.
func (r *reader) flowSpace() {
	for r.ok {
		for r.at(r.p) == ' ' {
			r.p++
		}
		switch r.at(r.p) {
		case '\n':
			r.newline()
		case '#', '\r':
			r.rest()
		case '\t', 0:
			r.ok = false
		default:
			return
		}
	}
}

func (r *reader) flowSequence() *yaml.Node {
	if !r.enter() {
		return nil
	}
	defer r.leave()
	n := r.node(yaml.SequenceNode, "!!seq", r.p)
	n.Style = yaml.FlowStyle
	mark := len(r.open)
	for r.p++; ; {
		r.flowSpace()
		if r.at(r.p) == ']' {
			break
		}
		item := r.flowNode(true)
		if !r.ok {
			return nil
		}
		r.open = append(r.open, item)
		if !r.comma(']') {
			break
		}
	}
	if !r.ok {
		return nil
	}
	r.p++
	r.adopt(n, mark)
	return n
}

// comma goes behind the comma that follows an entry. It returns false at the
// closing bracket.
func (r *reader) comma(closer byte) bool {
	r.flowSpace()
	switch r.at(r.p) {
	case ',':
		r.p++
		return r.ok
	case closer:
		return false
	}
	r.ok = false
	return false
}

func (r *reader) flowMapping() *yaml.Node {
	if !r.enter() {
		return nil
	}
	defer r.leave()
	n := r.node(yaml.MappingNode, "!!map", r.p)
	n.Style = yaml.FlowStyle
	mark := len(r.open)
	for r.p++; ; {
		r.flowSpace()
		if r.at(r.p) == '}' {
			break
		}
		start, line := r.p, r.line
		if c := r.at(r.p); c == '[' || c == '{' {
			return r.giveUp()
		}
		key := r.scalar(true)
		if !r.ok || key.Tag == mergeTag {
			return r.giveUp()
		}
		for r.at(r.p) == ' ' {
			r.p++
		}
		if r.at(r.p) != ':' || r.line != line || r.p-start > maxKey {
			return r.giveUp()
		}
		if r.p++; key.Style == 0 && r.at(r.p) != ' ' {
			return r.giveUp()
		}
		r.flowSpace()
		if c := r.at(r.p); c == ',' || c == '}' || !r.ok {
			return r.giveUp()
		}
		v := r.flowNode(true)
		if !r.ok {
			return nil
		}
		r.open = append(r.open, key, v)
		if !r.comma('}') {
			break
		}
	}
	if !r.ok {
		return nil
	}
	r.p++
	r.adopt(n, mark)
	return n
}

// scalar reads a scalar of one line.
func (r *reader) scalar(flow bool) *yaml.Node {
	switch r.at(r.p) {
	case '"':
		return r.double()
	case '\'':
		return r.single()
	}
	return r.plain(flow)
}

func (r *reader) double() *yaml.Node {
	n := r.node(yaml.ScalarNode, strTag, r.p)
	n.Style = yaml.DoubleQuotedStyle
	start := r.p + 1
	escaped := false
	for p := start; p < len(r.data); p++ {
		switch r.data[p] {
		case '"':
			if n.Value = r.text[start:p]; escaped {
				v, ok := unescape(n.Value)
				if !ok {
					return r.giveUp()
				}
				n.Value = v
			}
			r.p = p + 1
			return n
		case '\\':
			escaped = true
			p++
			if p < len(r.data) && (r.data[p] == '\n' || r.data[p] == '\r') {
				return r.giveUp()
			}
		case '\n', '\r':
			return r.giveUp()
		}
	}
	return r.giveUp()
}

// unescape resolves the common escapes of a double-quoted scalar.
func unescape(s string) (string, bool) {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i >= len(s) {
			return "", false
		}
		switch s[i] {
		case '"', '\\':
			b.WriteByte(s[i])
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		default:
			return "", false
		}
	}
	return b.String(), true
}

func (r *reader) single() *yaml.Node {
	n := r.node(yaml.ScalarNode, strTag, r.p)
	n.Style = yaml.SingleQuotedStyle
	start := r.p + 1
	doubled := false
	for p := start; p < len(r.data); p++ {
		switch r.data[p] {
		case '\'':
			if r.at(p+1) == '\'' {
				doubled = true
				p++
				continue
			}
			if n.Value = r.text[start:p]; doubled {
				n.Value = strings.ReplaceAll(n.Value, "''", "'")
			}
			r.p = p + 1
			return n
		case '\n', '\r':
			return r.giveUp()
		}
	}
	return r.giveUp()
}

func (r *reader) plain(flow bool) *yaml.Node {
	start := r.p
	switch c := r.at(start); {
	case c == '-' && !r.ends(start+1) && r.at(start+1) != ' ' && r.at(start+1) != '\t':
	case strings.IndexByte("-?:,[]{}#&*!|>'\"%@`\t", c) >= 0, c == 0:
		return r.giveUp()
	}
	p, end := start, start
scan:
	for ; ; p++ {
		switch c := r.at(p); c {
		case 0, '\n', '\r':
			break scan
		case '\t':
			return r.giveUp()
		case ' ':
			continue
		case '#':
			if p > start && r.data[p-1] == ' ' {
				break scan
			}
		case ':':
			if r.at(p+1) == ' ' || r.ends(p+1) {
				break scan
			}
			if flow || r.at(p+1) == '\t' {
				return r.giveUp()
			}
		case ',', ']', '}':
			if flow {
				break scan
			}
		case '[', '{', '?':
			if flow {
				return r.giveUp()
			}
		}
		end = p + 1
	}
	n := r.node(yaml.ScalarNode, strTag, start)
	n.Value = r.text[start:end]
	r.p = end
	if flow {
		// Behind the value, only what ends it may follow: in the next line, more
		// text would belong to it.
		save, line, begin, counted, wide := r.p, r.line, r.begin, r.counted, r.wide
		r.flowSpace()
		if c := r.at(r.p); !r.ok || c != ',' && c != ']' && c != '}' && (c != ':' || r.line != line) {
			return r.giveUp()
		}
		r.p, r.line, r.begin, r.counted, r.wide = save, line, begin, counted, wide
	}
	n.Tag = plainTag(n)
	return n
}

// plainTag returns the tag that a plain scalar resolves to. Only few first
// bytes can begin anything but a string.
func plainTag(n *yaml.Node) string {
	switch c := n.Value[0]; {
	case c >= '0' && c <= '9', c == '+', c == '-', c == '.', c == '<':
	case c == '~', strings.IndexByte("yYnNtTfFoO", c) >= 0 && len(n.Value) <= 5:
	default:
		return strTag
	}
	probe := yaml.Node{Kind: yaml.ScalarNode, Value: n.Value}
	return probe.ShortTag()
}
