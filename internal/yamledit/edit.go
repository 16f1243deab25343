package yamledit

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The reasons for which an edit fails; an [*EditError] wraps them.
var (
	// ErrNotFound: the path leads nowhere.
	ErrNotFound = errors.New("no such entry")
	// ErrExists: the key is there already.
	ErrExists = errors.New("the key exists already")
	// ErrAmbiguous: a key of the path appears more than once in its mapping.
	ErrAmbiguous = errors.New("the key appears more than once")
	// ErrShared: aliases or merge keys make other places depend on the one to be changed.
	ErrShared = errors.New("the edit would change other places")
	// ErrKind: the node is not of the kind that the edit needs, such as an item
	// inserted into a mapping.
	ErrKind = errors.New("the node is of another kind")
	// ErrUnsafe: the edit could not be made so that nothing else changes.
	ErrUnsafe = errors.New("edit could not be made safely")
)

// EditError says which edit failed, where and why.
type EditError struct {
	Op     string // "insert", "set", "delete", "rename", "move" or "comment"
	Path   Path
	Line   int // 1-based place that stands in the way; 0 when there is none
	Column int // 1-based, in runes
	Err    error
}

// Error returns the message without the position, which callers print in front.
func (e *EditError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }

// Unwrap returns the reason.
func (e *EditError) Unwrap() error { return e.Err }

// at gives an error the place of a node.
type located struct {
	n   *yaml.Node
	err error
}

func (e *located) Error() string { return e.err.Error() }
func (e *located) Unwrap() error { return e.err }

func errorAt(n *yaml.Node, err error, format string, args ...any) error {
	return &located{n: n, err: fmt.Errorf("%w: "+format, append([]any{err}, args...)...)}
}

// Edit is a change that can be applied to a document.
type Edit struct {
	op   string
	path Path
	plan func(p *planner) (*yaml.Node, error)
	// parts returns simpler edits that together make this one, nil if there are none.
	parts func(d *Document) []Edit
}

// At says where a new key goes in its mapping. The zero value is the end.
type At struct {
	where where
	keys  []string
}

type where uint8

const (
	atLast where = iota
	atFirst
	atBefore
	atAfter
	atOrder
)

// Last puts the key at the end of the mapping.
func Last() At { return At{} }

// First puts the key at the beginning of the mapping.
func First() At { return At{where: atFirst} }

// Before puts the key before the first of the keys that the mapping has, else
// at the end.
func Before(keys ...string) At { return At{where: atBefore, keys: keys} }

// After puts the key behind the last of the keys that the mapping has, else at
// the end.
func After(keys ...string) At { return At{where: atAfter, keys: keys} }

// Order puts the key where it belongs in the given order of keys: behind the
// nearest one before it in the order that the mapping has, else before the
// nearest one after it, else at the end.
func Order(keys ...string) At { return At{where: atOrder, keys: keys} }

// index returns the place in the mapping.
func (at At) index(m *yaml.Node, key string) int {
	n := count(m)
	switch at.where {
	case atFirst:
		return 0
	case atBefore:
		for i := range n {
			if t, ok := keyText(m.Content[2*i]); ok && contains(at.keys, t) {
				return i
			}
		}
	case atAfter:
		for i := n - 1; i >= 0; i-- {
			if t, ok := keyText(m.Content[2*i]); ok && contains(at.keys, t) {
				return i + 1
			}
		}
	case atOrder:
		own := len(at.keys)
		for i, k := range at.keys {
			if k == key {
				own = i
			}
		}
		for i := own - 1; i >= 0; i-- {
			if j, found := findKey(m, at.keys[i]); found > 0 {
				return j + 1
			}
		}
		for i := own + 1; i < len(at.keys); i++ {
			if j, found := findKey(m, at.keys[i]); found > 0 {
				return j
			}
		}
	}
	return n
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// Apply returns a new document with the edits made one after another, each
// checked by itself. Paths of later edits refer to the result of earlier ones.
// The final bytes are read by the library, whatever read the ones between.
func (d *Document) Apply(edits ...Edit) (*Document, error) {
	cur := d
	for i, e := range edits {
		parts := []Edit{e}
		if e.parts != nil {
			if list := e.parts(cur); list != nil {
				parts = list
			}
		}
		for j, part := range parts {
			next, err := cur.apply(part, i == len(edits)-1 && j == len(parts)-1)
			if err != nil {
				ee := &EditError{Op: e.op, Path: e.path, Err: err}
				var at *located
				if errors.As(err, &at) && at.n != nil {
					ee.Line, ee.Column = at.n.Line, at.n.Column
				}
				return nil, ee
			}
			cur = next
		}
	}
	if cur == d || cur.library {
		return cur, nil
	}
	// The last edit changed nothing.
	next, err := parse(cur.Bytes(), d.limits, false)
	if err == nil {
		if diff := compare(cur.root, next.root); diff != nil {
			err = errorAt(diff, ErrUnsafe, "it would change something else as well")
		}
	}
	if err != nil {
		e := edits[len(edits)-1]
		return nil, &EditError{Op: e.op, Path: e.path, Err: fmt.Errorf("%w: %w", ErrUnsafe, err)}
	}
	return next, nil
}

func (d *Document) bytesOf(e Edit) ([]byte, error) {
	next, err := d.Apply(e)
	if err != nil {
		return nil, err
	}
	return next.Bytes(), nil
}

// InsertKey returns the bytes with a new key in the mapping at the path. A null
// at the path becomes a mapping; so does a file without content for the empty
// path. The key must not be there yet; one that a merge key supplies is
// overridden.
func (d *Document) InsertKey(path Path, key string, v Value, at At) ([]byte, error) {
	return d.bytesOf(InsertKey(path, key, v, at))
}

// SetValue returns the bytes with the value at the path replaced. Keys are not
// created. The comment beside the value stays; comments inside of a replaced
// collection go, but for those of a sequence's items that stay.
func (d *Document) SetValue(path Path, v Value) ([]byte, error) {
	return d.bytesOf(SetValue(path, v))
}

// Delete returns the bytes without the entry at the path, a key with its value
// or an item, and without the comments that belong to it.
func (d *Document) Delete(path Path) ([]byte, error) { return d.bytesOf(Delete(path)) }

// RenameKey returns the bytes with the last key of the path replaced. The
// quoting of the old key is kept where the new one allows it.
func (d *Document) RenameKey(path Path, newKey string) ([]byte, error) {
	return d.bytesOf(RenameKey(path, newKey))
}

// InsertItem returns the bytes with a new item in the sequence at the path, so
// that it has the index; -1 is the end. A null becomes a sequence.
func (d *Document) InsertItem(path Path, index int, v Value) ([]byte, error) {
	return d.bytesOf(InsertItem(path, index, v))
}

// MoveItem returns the bytes with an item of the sequence at the path moved, so
// that the item with the index from has the index to afterwards. Its comments
// go with it; blank lines and comments set off by them stay where they are.
func (d *Document) MoveItem(path Path, from, to int) ([]byte, error) {
	return d.bytesOf(MoveItem(path, from, to))
}

// SetComment returns the bytes with a comment of the entry at the path set, or
// removed when the text is empty. The text is given without "#"; a comment
// above may have several lines.
func (d *Document) SetComment(path Path, where CommentPlace, text string) ([]byte, error) {
	return d.bytesOf(SetComment(path, where, text))
}

// InsertKey is the edit of [Document.InsertKey].
func InsertKey(path Path, key string, v Value, at At) Edit {
	return Edit{op: "insert", path: path.With(key), plan: func(p *planner) (*yaml.Node, error) { return p.insertKey(path, key, v, at) }}
}

// SetValue is the edit of [Document.SetValue].
func SetValue(path Path, v Value) Edit {
	return Edit{op: "set", path: path,
		plan:  func(p *planner) (*yaml.Node, error) { return p.setValue(path, v) },
		parts: func(d *Document) []Edit { return d.setItems(path, v) }}
}

// Delete is the edit of [Document.Delete].
func Delete(path Path) Edit {
	return Edit{op: "delete", path: path, plan: func(p *planner) (*yaml.Node, error) { return p.remove(path) }}
}

// RenameKey is the edit of [Document.RenameKey].
func RenameKey(path Path, newKey string) Edit {
	return Edit{op: "rename", path: path, plan: func(p *planner) (*yaml.Node, error) { return p.rename(path, newKey) }}
}

// InsertItem is the edit of [Document.InsertItem].
func InsertItem(path Path, index int, v Value) Edit {
	return Edit{op: "insert", path: path.With(index), plan: func(p *planner) (*yaml.Node, error) { return p.insertItem(path, index, v) }}
}

// MoveItem is the edit of [Document.MoveItem].
func MoveItem(path Path, from, to int) Edit {
	return Edit{op: "move", path: path.With(from), plan: func(p *planner) (*yaml.Node, error) { return p.move(path, from, to) }}
}

// SetComment is the edit of [Document.SetComment].
func SetComment(path Path, where CommentPlace, text string) Edit {
	return Edit{op: "comment", path: path, plan: func(p *planner) (*yaml.Node, error) { return p.setComment(path, where, text) }}
}

// splice replaces the bytes between two offsets.
type splice struct {
	from, to int
	text     string
}

// planner works out the splices of one edit.
type planner struct {
	*finder
	d       *Document
	w       *writer
	splices []splice
}

// apply makes one edit and checks the result; the last of several has the
// library read it.
func (d *Document) apply(e Edit, last bool) (*Document, error) {
	p := &planner{finder: d.finder(), d: d}
	p.w = &writer{f: p.finder}
	want, err := e.plan(p)
	if err != nil {
		return nil, err
	}
	if p.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsafe, p.err)
	}
	if len(p.splices) == 0 && want == d.root {
		return d, nil
	}
	data, err := p.result()
	if err != nil {
		return nil, err
	}
	next, err := parse(data, d.limits, !last)
	if err != nil {
		return nil, fmt.Errorf("%w: the result would not parse: %w", ErrUnsafe, err)
	}
	if diff := compare(want, next.root); diff != nil {
		return nil, errorAt(diff, ErrUnsafe, "it would change something else as well")
	}
	return next, nil
}

// result applies the splices.
func (p *planner) result() ([]byte, error) {
	sort.SliceStable(p.splices, func(i, j int) bool {
		a, b := p.splices[i], p.splices[j]
		return a.from < b.from || a.from == b.from && a.to < b.to
	})
	size, at := len(p.data), 0
	for _, s := range p.splices {
		if s.from < at || s.to < s.from || s.to > len(p.data) {
			return nil, fmt.Errorf("%w: the change overlaps itself", ErrUnsafe)
		}
		at = s.to
		size += len(s.text) - (s.to - s.from)
	}
	out := make([]byte, 0, size)
	at = 0
	for _, s := range p.splices {
		out = append(append(out, p.data[at:s.from]...), s.text...)
		at = s.to
	}
	return append(out, p.data[at:]...), nil
}

func (p *planner) replace(from, to int, text string) {
	if from != to || text != "" {
		p.splices = append(p.splices, splice{from, to, text})
	}
}

// insertAfter inserts whole lines behind a line.
func (p *planner) insertAfter(line int, lines []string) {
	nl := p.newline(line)
	if p.terminator(line) == "" {
		p.replace(len(p.data), len(p.data), nl+strings.Join(lines, nl))
		return
	}
	p.replace(p.lineStart(line+1), p.lineStart(line+1), strings.Join(lines, nl)+nl)
}

// insertBefore inserts whole lines before a line.
func (p *planner) insertBefore(line int, lines []string) {
	nl := p.newline(line)
	p.replace(p.lineStart(line), p.lineStart(line), strings.Join(lines, nl)+nl)
}

// deleteLines deletes the lines from first to last, both included.
func (p *planner) deleteLines(first, last int) {
	switch {
	case first > last:
	case p.terminator(last) != "":
		p.replace(p.lineStart(first), p.lineStart(last+1), "")
	case first > 0:
		p.replace(p.lineEnd(first-1), len(p.data), "")
	default:
		p.replace(p.lineStart(0), len(p.data), "")
	}
}

// step is one collection on the way to a node, with the entry that leads on.
type step struct {
	n *yaml.Node
	i int
}

// place is a node with the collections that it lies in, from the outermost on.
type place struct {
	up   []step
	node *yaml.Node // nil for a document without content
}

// parent returns the innermost collection and the index of the entry in it.
func (pl place) parent() step { return pl.up[len(pl.up)-1] }

// locate finds the node that an edit is about. It follows neither aliases nor
// merge keys, since what is behind them belongs to other places too.
func (d *Document) locate(path Path) (place, error) {
	pl := place{node: d.root}
	for depth, e := range path {
		n := pl.node
		if n != nil && n.Kind == yaml.AliasNode {
			return pl, errorAt(n, ErrShared, "%s is the alias *%s", path[:depth], n.Value)
		}
		var i int
		switch e := e.(type) {
		case string:
			if isNull(n) {
				return pl, fmt.Errorf("%w: %s has no keys", ErrNotFound, path[:depth])
			}
			if n.Kind != yaml.MappingNode {
				return pl, errorAt(n, ErrKind, "%s is not a mapping", path[:depth])
			}
			at, found := findKey(n, e)
			switch {
			case found > 1:
				return pl, ambiguous(n, e)
			case found == 0:
				if k, _ := mergedValue(n, e, 0, d.limits.Depth); k != nil {
					return pl, errorAt(k, ErrShared, "%q comes from a merge key", e)
				}
				return pl, fmt.Errorf("%w: %s has no key %q", ErrNotFound, path[:depth], e)
			}
			if k, _ := mergedValue(n, e, at+1, d.limits.Depth); k != nil {
				return pl, errorAt(k, ErrShared, "for yaml.v2 a merge key further down supplies %q", e)
			}
			i = at
			pl.node = n.Content[2*at+1]
		case int:
			if isNull(n) {
				return pl, fmt.Errorf("%w: %s has no items", ErrNotFound, path[:depth])
			}
			if n.Kind != yaml.SequenceNode {
				return pl, errorAt(n, ErrKind, "%s is not a sequence", path[:depth])
			}
			if e < 0 || e >= len(n.Content) {
				return pl, fmt.Errorf("%w: %s has %d items, there is no item %d", ErrNotFound, path[:depth], len(n.Content), e)
			}
			i = e
			pl.node = n.Content[e]
		default:
			return pl, fmt.Errorf("%w: a path holds strings and ints, not %T", ErrNotFound, e)
		}
		pl.up = append(pl.up, step{n, i})
	}
	return pl, nil
}

func ambiguous(m *yaml.Node, key string) error {
	var lines []string
	var last *yaml.Node
	for i := 0; i < len(m.Content); i += 2 {
		if t, ok := keyText(m.Content[i]); ok && t == key {
			last = m.Content[i]
			lines = append(lines, fmt.Sprint(last.Line))
		}
	}
	return errorAt(last, ErrAmbiguous, "%q stands in the lines %s", key, strings.Join(lines, ", "))
}

// unshared refuses an edit inside collections that aliases refer to.
func (d *Document) unshared(pl place, inner ...*yaml.Node) error {
	if len(d.aliases) == 0 {
		return nil
	}
	for _, s := range pl.up {
		inner = append(inner, s.n)
	}
	for _, n := range inner {
		if n == nil || n.Anchor == "" {
			continue
		}
		for _, a := range d.aliases {
			if a.Alias == n {
				return errorAt(a, ErrShared, "*%s in line %d uses the same node as line %d", a.Value, a.Line, n.Line)
			}
		}
	}
	return nil
}

// unused refuses the removal of a node that aliases outside of it refer to, or
// to a part of it.
func (d *Document) unused(nodes ...*yaml.Node) error {
	if len(d.aliases) == 0 {
		return nil
	}
	inside := map[*yaml.Node]bool{}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Anchor != "" || n.Kind == yaml.AliasNode {
			inside[n] = true
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	for _, n := range nodes {
		if n != nil {
			walk(n)
		}
	}
	for _, a := range d.aliases {
		if inside[a.Alias] && !inside[a] {
			return errorAt(a, ErrShared, "*%s in line %d needs the anchor in line %d", a.Value, a.Line, a.Alias.Line)
		}
	}
	return nil
}

// rebuild returns the tree with the node at the place replaced; the old tree
// is not changed.
func rebuild(pl place, node *yaml.Node) *yaml.Node {
	for i := len(pl.up) - 1; i >= 0; i-- {
		s := pl.up[i]
		c := *s.n
		c.Content = append([]*yaml.Node(nil), s.n.Content...)
		if c.Kind == yaml.MappingNode {
			c.Content[2*s.i+1] = node
		} else {
			c.Content[s.i] = node
		}
		node = &c
	}
	return node
}

// withEntry returns a copy of the collection with nodes put in before entry i.
func withEntry(c *yaml.Node, i int, nodes ...*yaml.Node) *yaml.Node {
	out := *c
	if c.Kind == yaml.MappingNode {
		i *= 2
	}
	out.Content = make([]*yaml.Node, 0, len(c.Content)+len(nodes))
	out.Content = append(out.Content, c.Content[:i]...)
	out.Content = append(out.Content, nodes...)
	out.Content = append(out.Content, c.Content[i:]...)
	return &out
}

// withoutEntry returns a copy of the collection without entry i.
func withoutEntry(c *yaml.Node, i int) *yaml.Node {
	out := *c
	from, to := i, i+1
	if c.Kind == yaml.MappingNode {
		from, to = 2*i, 2*i+2
	}
	out.Content = make([]*yaml.Node, 0, len(c.Content))
	out.Content = append(out.Content, c.Content[:from]...)
	out.Content = append(out.Content, c.Content[to:]...)
	return &out
}

// compare returns nil when the tree that was read is the one that was wanted,
// else the first node of it that differs, or the wanted one where that is missing.
func compare(want, got *yaml.Node) *yaml.Node {
	if isNull(want) && isNull(got) {
		return nil
	}
	if want == nil || got == nil {
		if got == nil {
			return want
		}
		return got
	}
	return compareNodes(want, got, map[*yaml.Node]*yaml.Node{})
}

func compareNodes(want, got *yaml.Node, anchors map[*yaml.Node]*yaml.Node) *yaml.Node {
	if want.Kind != got.Kind || want.Tag != got.Tag || want.Anchor != got.Anchor ||
		len(want.Content) != len(got.Content) {
		return got
	}
	if want.Value != got.Value && !isNull(want) {
		return got
	}
	if want.Anchor != "" {
		anchors[want] = got
	}
	if want.Kind == yaml.AliasNode && anchors[want.Alias] != got.Alias {
		return got
	}
	for i := range want.Content {
		if diff := compareNodes(want.Content[i], got.Content[i], anchors); diff != nil {
			return diff
		}
	}
	return nil
}
