package yamledit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSamples is how many neighbours are looked at for the style of new text.
const maxSamples = 12

// looks are the nodes that a new value takes after, nearest first.
type looks struct {
	same []*yaml.Node // what stands at the same place in the neighbouring entries
	near []*yaml.Node // what else stands there
}

// habits are what a document does throughout. They decide where the
// neighbours tell nothing.
type habits struct {
	step    int // columns by which a mapping below a key is indented
	dash    int // columns by which a sequence below a key is indented
	gap     int // blanks behind a dash
	key     style
	scalar  style
	quote   style // doubleStyle or singleStyle
	lists   int   // sequences of scalars in flow style, less those in block style
	flowMap *yaml.Node
	flowSeq *yaml.Node
}

// writer renders values in the manner of a document.
type writer struct {
	f *finder
	h habits
}

// surveyNodes is how many nodes of a document are looked at for its habits.
const surveyNodes = 2000

// survey reads the document's habits off its first nodes.
func (d *Document) survey(f *finder) habits {
	h := habits{step: -1, dash: -1, gap: -1}
	var keys, scalars [3]int // plain, double, single
	left := surveyNodes
	tally := func(to *[3]int, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag != strTag {
			return
		}
		switch styleOf(n) {
		case plainStyle:
			to[0]++
		case doubleStyle:
			to[1]++
		case singleStyle:
			to[2]++
		}
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		left--
		if left < 0 || f.err != nil {
			return
		}
		switch n.Kind {
		case yaml.MappingNode:
			if isFlow(n) {
				if h.flowMap == nil && len(n.Content) > 0 && !f.bare(n) {
					h.flowMap = n
				}
			}
			for i := 0; i+1 < len(n.Content); i += 2 {
				k, v := n.Content[i], n.Content[i+1]
				tally(&keys, k)
				if v.Kind == yaml.ScalarNode {
					tally(&scalars, v)
				} else if !isFlow(n) && v.Kind != yaml.AliasNode && !isFlow(v) {
					by := f.column(v) - f.column(n)
					if v.Kind == yaml.MappingNode && h.step < 0 && by > 0 {
						h.step = by
					}
					if v.Kind == yaml.SequenceNode && h.dash < 0 && by >= 0 {
						h.dash = by
					}
				}
				walk(v)
			}
		case yaml.SequenceNode:
			if len(n.Content) > 0 && n.Content[0].Kind == yaml.ScalarNode {
				if h.lists--; isFlow(n) {
					h.lists += 2
				}
			}
			if isFlow(n) && h.flowSeq == nil && len(n.Content) > 0 {
				h.flowSeq = n
			}
			for _, item := range n.Content {
				tally(&scalars, item)
				if !isFlow(n) && h.gap < 0 && !isVoid(item) && item.Line == n.Line {
					h.gap = f.start(item) - f.skipTrivia(f.content(n)) - 1
				}
				walk(item)
			}
		}
	}
	if d.root != nil {
		walk(d.root)
	}
	if h.step < 0 {
		h.step = 2
	}
	if h.dash < 0 {
		h.dash = h.step
	}
	if h.gap < 1 || h.gap > 8 {
		h.gap = 1
	}
	h.key = most(keys)
	h.scalar = most(scalars)
	if h.quote = doubleStyle; keys[2]+scalars[2] > keys[1]+scalars[1] {
		h.quote = singleStyle
	}
	return h
}

// most returns the commonest style of a tally. Plain wins only where nothing
// is quoted as often.
func most(n [3]int) style {
	switch {
	case n[0]+n[1]+n[2] == 0, n[0] > n[1] && n[0] > n[2]:
		return plainStyle
	case n[2] > n[1]:
		return singleStyle
	}
	return doubleStyle
}

// styleOf returns the quoting of a scalar, anyStyle for block scalars.
func styleOf(n *yaml.Node) style {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return doubleStyle
	case n.Style&yaml.SingleQuotedStyle != 0:
		return singleStyle
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return anyStyle
	}
	return plainStyle
}

// scalar returns the text of a value that is no collection.
func (w *writer) scalar(v Value, lk looks, flow bool) string {
	switch v.kind {
	case nullValue:
		return "null"
	case plainValue:
		return v.text
	}
	want, quote := anyStyle, anyStyle
	note := func(nodes []*yaml.Node) {
		for _, n := range nodes {
			if n = target(n); n == nil || n.Kind != yaml.ScalarNode || n.Tag != strTag {
				continue
			}
			switch st := styleOf(n); st {
			case anyStyle:
			case plainStyle:
				if want == anyStyle {
					want = st
				}
			default:
				if want == anyStyle {
					want = st
				}
				if quote == anyStyle {
					quote = st
				}
			}
		}
	}
	note(lk.same)
	if want == anyStyle && (v.style == doubleStyle || v.style == singleStyle || v.style == plainStyle) {
		want = v.style
	}
	note(lk.near)
	if want == anyStyle {
		want = w.h.scalar
	}
	return w.quote(v.text, want, quote, flow)
}

// quote writes the string in the wanted style; where that is plain and won't
// do, in the quotes given or the document's.
func (w *writer) quote(s string, want, quotes style, flow bool) string {
	if want == plainStyle {
		if plainSafe(s, flow) {
			return s
		}
		if want = quotes; want == anyStyle {
			want = w.h.quote
		}
	}
	return quoted(s, want)
}

// key returns the text of a key, in the style of the keys given, nearest first.
func (w *writer) key(key string, like []*yaml.Node, flow bool) string {
	want, quotes := anyStyle, anyStyle
	for _, n := range like {
		if n.Kind != yaml.ScalarNode || n.Tag == mergeTag {
			continue
		}
		st := styleOf(n)
		if st == plainStyle && n.Tag == strTag || st == doubleStyle || st == singleStyle {
			if want == anyStyle {
				want = st
			}
			if st != plainStyle && quotes == anyStyle {
				quotes = st
			}
		}
	}
	if want == anyStyle {
		want = w.h.key
	}
	return w.quote(key, want, quotes, flow)
}

// wantsFlow decides how a collection is written.
func (w *writer) wantsFlow(v Value, lk looks) bool {
	if v.empty() {
		return true
	}
	if flow, ok := flowOf(lk.same, v.nodeKind()); ok {
		return flow
	}
	switch v.style {
	case flowStyle:
		return true
	case blockStyle:
		return false
	}
	if flow, ok := flowOf(lk.near, v.nodeKind()); ok {
		return flow
	}
	for _, item := range v.items {
		if item.collection() {
			return false
		}
	}
	return v.kind == seqValue && w.h.lists >= 0
}

func flowOf(nodes []*yaml.Node, kind yaml.Kind) (flow, ok bool) {
	for _, n := range nodes {
		if n = target(n); n != nil && n.Kind == kind && len(n.Content) > 0 {
			return isFlow(n), true
		}
	}
	return false, false
}

// child returns what the value of a key takes after, given what its mapping does.
func (lk looks) child(key string) looks {
	var out looks
	for _, n := range lk.same {
		if n = target(n); n == nil || n.Kind != yaml.MappingNode || len(n.Content) > surveyNodes {
			continue
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if t, ok := keyText(n.Content[i]); ok && t == key {
				out.same = append(out.same, n.Content[i+1])
			} else if len(out.near) < maxSamples {
				out.near = append(out.near, n.Content[i+1])
			}
		}
	}
	out.near = append(out.near, lk.near...)
	return out
}

// keys returns the keys that a new key takes after: equal ones first.
func (lk looks) keys(key string) []*yaml.Node {
	var equal, other []*yaml.Node
	for _, n := range lk.same {
		if n = target(n); n == nil || n.Kind != yaml.MappingNode || len(n.Content) > surveyNodes {
			continue
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				equal = append(equal, n.Content[i])
			} else if len(other) < maxSamples {
				other = append(other, n.Content[i])
			}
		}
	}
	return append(equal, other...)
}

// item returns what an item takes after, given what its sequence does.
func (lk looks) item() looks {
	var out looks
	for _, n := range lk.same {
		if n = target(n); n == nil || n.Kind != yaml.SequenceNode {
			continue
		}
		for i := 0; i < len(n.Content) && len(out.same) < maxSamples; i++ {
			out.same = append(out.same, n.Content[i])
		}
	}
	out.near = lk.near
	return out
}

// brackets is how a flow collection is spaced.
type brackets struct {
	pad   string // behind the opening and before the closing bracket
	comma string
	colon string
}

// spacing reads the spacing of flow collections off the nodes.
func (w *writer) spacing(kind yaml.Kind, like []*yaml.Node) brackets {
	b := brackets{comma: ", ", colon: ": "}
	doc := w.h.flowMap
	if kind == yaml.SequenceNode {
		doc = w.h.flowSeq
	}
	pad, comma := false, false
	like = like[:len(like):len(like)]
	for _, n := range append(like, doc) {
		if n = target(n); n == nil || n.Kind != kind || !isFlow(n) || len(n.Content) == 0 || w.f.bare(n) {
			continue
		}
		if p := w.f.content(n); !pad && p < len(w.f.data) {
			if e := w.f.entry(n, 0); w.f.lineOf(p) == w.f.lineOf(e.start) {
				pad = true
				if e.start > p {
					b.pad = " "
				}
			}
			if kind == yaml.MappingNode {
				if e := w.f.entry(n, 0); e.colon >= 0 && e.valStart == e.colon+1 && !isVoid(e.val) && styleOf(e.key) == doubleStyle {
					b.colon = ":"
				}
			}
		}
		if !comma && count(n) > 1 {
			comma = true
			first := w.f.entryEnd(n, 0)
			if e := w.f.entry(n, 1); string(w.f.data[first:e.start]) == "," && b.pad == "" {
				b.comma = ","
			}
		}
		if pad && comma {
			break
		}
	}
	return b
}

// pair returns "key: value" for a flow mapping.
func (b brackets) pair(key, value string) string {
	if b.colon == ":" && !strings.HasPrefix(key, `"`) {
		return key + ": " + value
	}
	return key + b.colon + value
}

// inline returns the value on one line, collections in flow style.
func (w *writer) inline(v Value, lk looks, inFlow bool) string {
	switch v.kind {
	case seqValue, mapValue:
	default:
		return w.scalar(v, lk, inFlow)
	}
	open, end := "{", "}"
	if v.kind == seqValue {
		open, end = "[", "]"
	}
	if v.empty() {
		return open + end
	}
	b := w.spacing(v.nodeKind(), lk.same)
	var parts []string
	for _, item := range v.items {
		parts = append(parts, w.inline(item, lk.item(), true))
	}
	for _, p := range v.pairs {
		parts = append(parts, b.pair(w.key(p.Key, lk.keys(p.Key), true), w.inline(p.Value, lk.child(p.Key), true)))
	}
	return open + b.pad + strings.Join(parts, b.comma) + b.pad + end
}

// block returns the lines of a collection in block style. They are indented by
// col columns, but for the first when it continues a line.
func (w *writer) block(v Value, lk looks, col int) []string {
	var lines []string
	for _, p := range v.pairs {
		lines = append(lines, w.pairLines(w.key(p.Key, lk.keys(p.Key), false), p.Value, lk.child(p.Key), col)...)
	}
	for _, item := range v.items {
		lines = append(lines, w.itemLines(item, lk.item(), col)...)
	}
	return lines
}

// pairLines returns the lines of one entry of a block mapping.
func (w *writer) pairLines(key string, v Value, lk looks, col int) []string {
	lead := strings.Repeat(" ", col) + key + ":"
	if !v.collection() || w.wantsFlow(v, lk) {
		return []string{lead + " " + w.inline(v, lk, false)}
	}
	return append([]string{lead}, w.block(v, lk, col+w.below(v, lk))...)
}

// below returns the columns by which a block collection stands to the right of
// its key: as many as its models, else as the document has them.
func (w *writer) below(v Value, lk looks) int {
	for _, n := range lk.same {
		if n.Kind != v.nodeKind() || isFlow(n) || len(n.Content) == 0 {
			continue
		}
		by := w.f.column(n) - w.f.keyColumn(n)
		if by > 0 && by <= 16 || by == 0 && v.kind == seqValue {
			return by
		}
	}
	if v.kind == seqValue {
		return w.h.dash
	}
	return w.h.step
}

// keyColumn returns the column of the key above a block collection, far to the
// left when there is none.
func (f *finder) keyColumn(n *yaml.Node) int {
	l := f.lineOf(f.skipTrivia(f.content(n))) - 1
	for l >= 0 && (f.blankLine(l) || f.commentLine(l)) {
		l--
	}
	if l < 0 {
		return -100
	}
	p := f.skipBlanks(f.lineStart(l))
	for p < len(f.data) && (f.data[p] == '-' || f.data[p] == '?') && f.isBlankAt(p+1) {
		p = f.skipBlanks(p + 1)
	}
	_, col := f.position(p)
	return col - 1
}

// itemLines returns the lines of one item of a block sequence.
func (w *writer) itemLines(v Value, lk looks, col int) []string {
	lead := strings.Repeat(" ", col) + "-" + strings.Repeat(" ", w.h.gap)
	if !v.collection() || w.wantsFlow(v, lk) {
		return []string{lead + w.inline(v, lk, false)}
	}
	lines := w.block(v, lk, len(lead))
	lines[0] = lead + lines[0][len(lead):]
	return lines
}
