package yamledit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits bound what Parse accepts. A zero field means its default. The file of
// a stranger, parsed in a CI job, must not cost more than its size warrants.
type Limits struct {
	// Size is the greatest size of a file in bytes; default 64 MiB, at most 1 GiB.
	Size int
	// Entries is the greatest number of lines and commas together. It bounds
	// the number of nodes, and with it the memory; default 5,000,000, which
	// ordinary files of the greatest size stay below.
	Entries int
	// Depth is the greatest nesting of collections, aliases followed; default 100.
	Depth int
	// Expansion is the greatest number of nodes that the document may have
	// once every alias is replaced by what it refers to; default 100,000 and
	// ten for each node that is really there.
	Expansion int
}

const (
	defaultSize      = 64 << 20
	maxSize          = 1 << 30
	defaultEntries   = 5_000_000
	defaultDepth     = 100
	defaultExpansion = 100_000
)

func (l Limits) withDefaults() Limits {
	if l.Size <= 0 {
		l.Size = defaultSize
	}
	l.Size = min(l.Size, maxSize)
	if l.Entries <= 0 {
		l.Entries = defaultEntries
	}
	if l.Depth <= 0 {
		l.Depth = defaultDepth
	}
	return l
}

// SyntaxError says why a file is not a YAML document that this package edits,
// and where.
type SyntaxError struct {
	Line   int // 1-based; 0 when unknown
	Column int // 1-based, in runes; 0 when unknown
	Msg    string
}

// Error returns "line:column: message", with the parts that are known.
func (e *SyntaxError) Error() string {
	switch {
	case e.Line == 0:
		return e.Msg
	case e.Column == 0:
		return fmt.Sprintf("%d: %s", e.Line, e.Msg)
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg)
}

// Document is a parsed file. It is never changed, so it may be used from
// several goroutines at once.
type Document struct {
	src     *source
	root    *yaml.Node   // the top-level value, nil for a file without content
	aliases []*yaml.Node // all alias nodes, in file order
	limits  Limits
	// library says that the tree was read by the library, not by the reader.
	library bool
}

// Parse reads a file of one YAML document, with the default limits. The error
// is a *SyntaxError. The data must not be changed afterwards.
func Parse(data []byte) (*Document, error) {
	return ParseLimits(data, Limits{})
}

// ParseLimits is Parse with other limits.
func ParseLimits(data []byte, limits Limits) (*Document, error) {
	return parse(data, limits.withDefaults(), true)
}

// parse reads a document, with the reader where that is allowed and able to.
func parse(data []byte, limits Limits, fast bool) (*Document, error) {
	if len(data) > limits.Size {
		return nil, &SyntaxError{Msg: fmt.Sprintf("the file has %d bytes, the limit is %d", len(data), limits.Size)}
	}
	if err := checkEncoding(data); err != nil {
		return nil, err
	}
	commas := bytes.Count(data, []byte{','})
	if commas+bytes.Count(data, []byte{'\n'}) > limits.Entries {
		return nil, &SyntaxError{Msg: fmt.Sprintf("the file has more than %d lines and commas", limits.Entries)}
	}
	src := newSource(data)
	if commas+src.lines() > limits.Entries {
		return nil, &SyntaxError{Msg: fmt.Sprintf("the file has more than %d lines and commas", limits.Entries)}
	}
	if fast {
		if root, ok := readFast(src, limits.Depth); ok {
			return &Document{src: src, root: root, limits: limits}, nil
		}
	}
	if err := checkSingle(src); err != nil {
		return nil, err
	}
	root, err := parseLibrary(src)
	if err != nil {
		return nil, err
	}
	d := &Document{src: src, root: root, limits: limits, library: true}
	if err := d.checkTree(); err != nil {
		return nil, err
	}
	return d, nil
}

// Root returns the top-level value of the document, usually a mapping. It is
// nil for a file that has no content. The nodes must not be changed. Whether
// their comment fields are filled in is not defined.
func (d *Document) Root() *yaml.Node { return d.root }

// Bytes returns the text of the file. It must not be changed.
func (d *Document) Bytes() []byte { return d.src.data }

// Position returns the 1-based line and column of a byte offset. Columns count
// runes, as yaml.Node does; a byte order mark does not count.
func (d *Document) Position(offset int) (line, column int) { return d.src.position(offset) }

// Offset returns the byte offset of a 1-based line and column, such as those of
// a yaml.Node; -1 if there is no such place.
func (d *Document) Offset(line, column int) int { return d.src.offset(line, column) }

// checkEncoding refuses what is not the UTF-8 text that YAML allows.
func checkEncoding(data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}), bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		return &SyntaxError{Line: 1, Column: 1, Msg: "the file is UTF-16; only UTF-8 is supported"}
	}
	for i := 0; i < len(data); {
		c := data[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != 0x7F || c == '\n' || c == '\t' || c == '\r' {
				i++
				continue
			}
			msg := fmt.Sprintf("control character U+%04X is not allowed", c)
			if c == 0 {
				msg = "NUL byte: the file is not text"
			}
			return encodingError(data, i, msg)
		}
		r, w := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && w <= 1:
			return encodingError(data, i, fmt.Sprintf("byte 0x%02X is not valid UTF-8", c))
		case r < 0xA0 && r != 0x85, r == 0xFFFE, r == 0xFFFF:
			return encodingError(data, i, fmt.Sprintf("control character U+%04X is not allowed", r))
		}
		i += w
	}
	return nil
}

func encodingError(data []byte, off int, msg string) error {
	line, col := newSource(data[:off]).position(off)
	return &SyntaxError{Line: line, Column: col, Msg: msg}
}

// marker reports whether the line is a document marker: "---" or "...".
func (s *source) marker(line int, mark string) bool {
	start := s.lineStart(line)
	return bytes.HasPrefix(s.data[start:], []byte(mark)) && s.isBlankAt(start+len(mark))
}

// maxDirectives is the greatest number of lines with a directive (%TAG).
const maxDirectives = 100

// checkSingle refuses a file with more than one document. At the start of a
// line the markers stand for themselves in every context, so lines suffice.
func checkSingle(s *source) error {
	content, started, ended := false, false, false
	directives := 0
	for l := range s.lines() {
		start := s.lineStart(l)
		if start >= len(s.data) {
			break
		}
		second := false
		switch c := s.data[start]; {
		case c == '-' && s.marker(l, "---"):
			second = content || started || ended
			started = true
			p := s.skipBlanks(start + 3)
			content = !s.isBreakAt(p) && s.data[p] != '#'
		case c == '.' && s.marker(l, "..."):
			ended = content || started
		case c == '#' || content && !ended:
		case c == '%' && !content && !started && !ended:
			// A directive of the first document. The library compares each with
			// all others.
			if directives++; directives > maxDirectives {
				return &SyntaxError{Line: l + 1, Column: 1, Msg: fmt.Sprintf("more than %d directives", maxDirectives)}
			}
		case !s.blankLine(l) && !s.commentLine(l):
			second = ended
			content = true
		}
		if second {
			return &SyntaxError{Line: l + 1, Column: 1,
				Msg: "a second YAML document starts here; the file must hold exactly one (programs read only the first)"}
		}
	}
	return nil
}

// parseLibrary parses the text with yaml.v3 and returns the top-level value.
func parseLibrary(s *source) (*yaml.Node, error) {
	root, err := decodeNodes(s.data)
	if err != nil {
		return nil, explain(s, err)
	}
	return root, nil
}

var errTrailing = errors.New("yaml: content follows the end of the document")

// decodeNodes returns the top-level value of the only document in data.
func decodeNodes(data []byte) (root *yaml.Node, err error) {
	defer func() {
		// The library panics on some malformed input instead of returning an error.
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	// Asking for a second document makes the library read to the end: it would
	// not look at text behind a complete first one otherwise.
	var rest yaml.Node
	if err := dec.Decode(&rest); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errTrailing
		}
		return nil, err
	}
	if len(doc.Content) != 1 {
		return nil, nil
	}
	root = doc.Content[0]
	if isNull(root) && isVoid(root) {
		return nil, nil
	}
	return root, nil
}

// extentOf is the size of a node once its aliases are expanded.
type extentOf struct{ nodes, height int }

// checkTree bounds nesting and alias expansion, refuses nodes that contain
// themselves, and collects the aliases.
func (d *Document) checkTree() error {
	if d.root == nil {
		return nil
	}
	nodes := 0
	if err := d.checkDepth(d.root, 1, &nodes); err != nil {
		return err
	}
	if len(d.aliases) == 0 {
		return nil
	}
	limit := d.limits.Expansion
	if limit <= 0 {
		limit = defaultExpansion + 10*nodes
	}
	known := make(map[*yaml.Node]*extentOf)
	e, err := d.expand(d.root, known)
	if err != nil {
		return err
	}
	first := d.aliases[0]
	if e.height > d.limits.Depth {
		return &SyntaxError{Line: first.Line, Column: first.Column,
			Msg: fmt.Sprintf("aliases nest collections more than %d deep", d.limits.Depth)}
	}
	if e.nodes > limit {
		return &SyntaxError{Line: first.Line, Column: first.Column,
			Msg: fmt.Sprintf("aliases expand the document to more than %d nodes", limit)}
	}
	return nil
}

func (d *Document) checkDepth(n *yaml.Node, depth int, nodes *int) error {
	*nodes++
	switch n.Kind {
	case yaml.AliasNode:
		d.aliases = append(d.aliases, n)
		return nil
	case yaml.ScalarNode:
		return nil
	}
	if depth > d.limits.Depth {
		return &SyntaxError{Line: n.Line, Column: n.Column,
			Msg: fmt.Sprintf("collections are nested more than %d deep", d.limits.Depth)}
	}
	for _, c := range n.Content {
		if err := d.checkDepth(c, depth+1, nodes); err != nil {
			return err
		}
	}
	return nil
}

// expand returns the size of the node with all aliases expanded. Only anchored
// nodes are remembered: others are met once. An entry of nil marks a node that
// is being looked at, so meeting it again means that it contains itself.
func (d *Document) expand(n *yaml.Node, known map[*yaml.Node]*extentOf) (extentOf, error) {
	if n.Kind == yaml.AliasNode {
		if e, ok := known[n.Alias]; ok && e == nil {
			return extentOf{}, &SyntaxError{Line: n.Line, Column: n.Column,
				Msg: fmt.Sprintf("anchor %q contains itself", n.Value)}
		} else if ok {
			return *e, nil
		}
		return d.expand(n.Alias, known)
	}
	if n.Anchor != "" {
		if e := known[n]; e != nil {
			return *e, nil
		}
		known[n] = nil
	}
	e := extentOf{nodes: 1}
	for _, c := range n.Content {
		ce, err := d.expand(c, known)
		if err != nil {
			return e, err
		}
		e.nodes += ce.nodes
		if e.nodes > math.MaxInt32 {
			e.nodes = math.MaxInt32
		}
		e.height = max(e.height, ce.height)
	}
	if n.Kind != yaml.ScalarNode {
		e.height++
	}
	if n.Anchor != "" {
		known[n] = &e
	}
	return e, nil
}

// explainLimit is the size up to which the place of a syntax error is searched
// by parsing parts of the file.
const explainLimit = 64 << 10

// explain turns an error of the library into a SyntaxError. The library's
// lines are those where the surrounding construct began, counted from 0 by its
// parser and from 1 by its scanner, and missing altogether for the first.
func explain(s *source, err error) error {
	msg, line := splitError(err)
	e := &SyntaxError{Line: line, Msg: msg}
	if e.Line > s.lines() {
		e.Line = s.lines()
	}
	if e.Line == 0 && !strings.Contains(msg, "anchor") && !strings.Contains(msg, "cannot decode") {
		e.Line = 1
	}
	if len(s.data) <= explainLimit {
		if !unclosed(msg) {
			if l := firstLineWith(s, msg); l > 0 {
				e.Line = l
			}
		} else if e.Line > 1 && e.Line >= s.lines()-1 && fails(s, s.lineStart(e.Line-1), msg) {
			e.Line = 1 // what began in the first line is reported where the text ends
		}
	}
	if e.Line == 0 {
		return e
	}
	if l, off := s.tabIndent(e.Line); off >= 0 && tabError(msg) {
		_, col := s.position(off)
		return &SyntaxError{Line: l, Column: col, Msg: "a tab is used for indentation; YAML allows only spaces there"}
	}
	if off := s.skipBlanks(s.lineStart(e.Line - 1)); !s.isBreakAt(off) {
		_, e.Column = s.position(off)
		if len(s.data) <= explainLimit && !unclosed(msg) {
			if o := firstOffsetWith(s, e.Line, msg); o > off && !strings.HasPrefix(msg, "did not find expected") {
				if star := bytes.LastIndexByte(s.data[off:o+1], '*'); strings.HasPrefix(msg, "unknown anchor") && star >= 0 {
					o = off + star
				}
				_, e.Column = s.position(o)
			}
		}
	}
	if strings.HasPrefix(msg, "exceeded max depth") {
		e.Msg = "collections are nested too deep"
	}
	if h := errorHint(msg); h != "" {
		e.Msg += " (" + h + ")"
	}
	return e
}

// splitError takes the library's line, made 1-based, off the message.
func splitError(err error) (msg string, line int) {
	msg = strings.TrimPrefix(err.Error(), "yaml: ")
	var rest string
	if n, scanErr := fmt.Sscanf(msg, "line %d:", &line); n == 1 && scanErr == nil {
		if _, rest, _ = strings.Cut(msg, ": "); rest != "" {
			msg = rest
		}
		if parserError(msg) {
			line++
		}
	}
	return msg, line
}

// parserError tells messages of the library's parser, whose lines count from
// 0, from those of its scanner, whose lines count from 1.
func parserError(msg string) bool {
	for _, p := range []string{
		"did not find expected <", "did not find expected node content", "did not find expected '-'",
		"did not find expected key", "did not find expected ','", "found undefined tag handle",
		"found duplicate %", "found incompatible YAML document",
	} {
		if strings.HasPrefix(msg, p) {
			return true
		}
	}
	return false
}

// unclosed tells messages that also arise when a file is cut, so that cutting
// it says nothing about the place.
func unclosed(msg string) bool {
	return strings.HasPrefix(msg, "found unexpected end of stream") ||
		strings.HasPrefix(msg, "did not find expected ','")
}

func tabError(msg string) bool {
	return strings.HasPrefix(msg, "found character that cannot start any token") ||
		strings.HasPrefix(msg, "found a tab character") ||
		strings.HasPrefix(msg, "did not find expected") ||
		strings.HasPrefix(msg, "could not find expected ':'") ||
		strings.HasPrefix(msg, "mapping values are not allowed")
}

func errorHint(msg string) string {
	switch {
	case strings.HasPrefix(msg, "did not find expected key"),
		strings.HasPrefix(msg, "did not find expected '-' indicator"):
		return "wrong indentation?"
	case strings.HasPrefix(msg, "could not find expected ':'"):
		return "a key without a colon and a space?"
	case strings.HasPrefix(msg, "mapping values are not allowed"):
		return "a value with ': ' in it must be quoted, or the indentation is wrong"
	case strings.HasPrefix(msg, "found unexpected end of stream"):
		return "a quote that is not closed?"
	case strings.HasPrefix(msg, "did not find expected ',' or"),
		strings.HasPrefix(msg, "did not find expected node content"):
		return "a bracket that is not closed, or a missing comma?"
	case strings.HasPrefix(msg, "found character that cannot start any token"):
		return "a value that starts with it must be quoted"
	case strings.HasPrefix(msg, "found unknown escape character"):
		return "backslashes are literal in single quotes"
	}
	return ""
}

// fails reports whether the text cut at the offset fails with the message.
func fails(s *source, end int, msg string) bool {
	_, err := decodeNodes(s.data[:end])
	if err == nil {
		return false
	}
	m, _ := splitError(err)
	return m == msg
}

// firstLineWith returns the first 1-based line such that the file cut behind
// it fails with the message, by bisection; 0 if there is none.
func firstLineWith(s *source, msg string) int {
	lo, hi := 0, s.lines()
	if !fails(s, len(s.data), msg) {
		return 0
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; fails(s, s.lineStart(mid), msg) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// firstOffsetWith returns the offset of the byte in the 1-based line without
// which the message does not arise, -1 if there is none.
func firstOffsetWith(s *source, line int, msg string) int {
	start, end := s.lineStart(line-1), s.lineEnd(line-1)
	if !fails(s, end, msg) || fails(s, start, msg) {
		return -1
	}
	lo, hi := start, end
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; fails(s, mid, msg) {
			hi = mid
		} else {
			lo = mid
		}
	}
	for !utf8.RuneStart(s.data[hi-1]) {
		hi--
	}
	return hi - 1
}

// tabIndent looks at the 1-based line and those beside it for a tab in the
// indentation. It returns the line and the tab's offset, or -1.
func (s *source) tabIndent(line int) (at, offset int) {
	for _, l := range []int{line - 1, line, line - 2} {
		if l < 0 || l >= s.lines() || s.blankLine(l) || l != line-1 && s.commentLine(l) {
			continue
		}
		for off := s.lineStart(l); off < len(s.data) && isBlank(s.data[off]); off++ {
			if s.data[off] == '\t' {
				return l + 1, off
			}
		}
	}
	return 0, -1
}
