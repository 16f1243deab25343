package yamledit

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	yamlv2 "gopkg.in/yaml.v2"
)

// corpus returns the files of testdata/corpus by name.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/corpus/*.yml")
	if err != nil || len(names) < 25 {
		t.Fatalf("found %d corpus files, error %v", len(names), err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = data
	}
	return files
}

// tree is a decoded document with all keys turned to text, so that those of
// both decoders look alike.
func tree(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := map[string]any{}
		for k, e := range v {
			text := keyOf(k)
			if _, has := m[text]; has {
				e = "two keys of one text" // whichever comes first
			}
			m[text] = tree(e)
		}
		return m
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = tree(e)
		}
		return m
	case []any:
		s := make([]any, len(v))
		for i, e := range v {
			s[i] = tree(e)
		}
		return s
	}
	return v
}

func keyOf(k any) string {
	if k == nil {
		return ""
	}
	return fmt.Sprint(k)
}

// decoders are the decoders that must agree about an edited file.
var decoders = map[string]func([]byte) (any, error){
	"yaml.v2": func(b []byte) (any, error) {
		var v any
		err := yamlv2.Unmarshal(b, &v)
		return tree(v), err
	},
	"yaml.v3": func(b []byte) (any, error) {
		var v any
		err := yaml.Unmarshal(b, &v)
		return tree(v), err
	},
}

// unlike is what a change returns that a decoder's view of the file does not
// allow: `yes` is a text to one and true to the other.
const unlike = "unlike"

// change edits a decoded tree below a path. It reports false when the path
// can't be followed by key texts.
func change(v any, path Path, f func(any) any) (any, bool) {
	if len(path) == 0 {
		v = f(v)
		return v, v != unlike
	}
	ok := false
	switch v := v.(type) {
	case map[string]any:
		key, isKey := path[0].(string)
		e, has := v[key]
		if !isKey || !has {
			return v, false
		}
		v[key], ok = change(e, path[1:], f)
	case []any:
		i, isIndex := path[0].(int)
		if !isIndex || i >= len(v) {
			return v, false
		}
		v[i], ok = change(v[i], path[1:], f)
	}
	return v, ok
}

// checkDecoders fails unless both decoders see the old file with the change in
// the new one.
func checkDecoders(t *testing.T, before, after []byte, path Path, f func(any) any) {
	t.Helper()
	for name, decode := range decoders {
		if name == "yaml.v2" && bytes.ContainsAny(before, "]}") && collectionKey(before) {
			continue // it takes `{}: x` for a document that ends before the colon
		}
		was, err := decode(before)
		if err != nil {
			continue // the decoder can't read the file in the first place
		}
		want, ok := change(was, path, f)
		if !ok {
			continue
		}
		got, err := decode(after)
		if err != nil {
			t.Errorf("%s can't read the edited file: %v\n%s", name, err, after)
			continue
		}
		if len(path) == 0 && got == nil {
			switch w := want.(type) {
			case map[string]any:
				if len(w) == 0 {
					continue
				}
			case []any:
				if len(w) == 0 {
					continue
				}
			}
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })); diff != "" {
			t.Errorf("%s reads something else (-want +got):\n%s\n%s", name, diff, after)
		}
	}
}

// collectionKey reports whether a key of the file is a collection.
func collectionKey(data []byte) bool {
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		return false
	}
	var has func(n *yaml.Node) bool
	has = func(n *yaml.Node) bool {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind != yaml.ScalarNode && c.Kind != yaml.AliasNode || has(c) {
				return true
			}
		}
		return false
	}
	return has(&n)
}

// shiftable reports whether the new file is the old one with nothing but the
// given range replaced.
func shiftable(before, after []byte, from, to int) bool {
	from, to = max(from, 0), min(to, len(before))
	return bytes.HasPrefix(after, before[:from]) && bytes.HasSuffix(after, before[to:]) &&
		len(after) >= from+len(before)-to
}

// node is one node of a document that edits can be tried on.
type nodeAt struct {
	path Path
	n    *yaml.Node
}

// nodesOf lists all nodes that a path leads to.
func nodesOf(d *Document) []nodeAt {
	var out []nodeAt
	var walk func(path Path, n *yaml.Node)
	walk = func(path Path, n *yaml.Node) {
		out = append(out, nodeAt{path: path, n: n})
		if n == nil {
			return
		}
		for i := range n.Content {
			if n.Kind == yaml.SequenceNode {
				walk(path.With(i), n.Content[i])
			} else if i%2 == 0 && n.Kind == yaml.MappingNode {
				if key, ok := keyText(n.Content[i]); ok {
					if _, c := findKey(n, key); c == 1 {
						walk(path.With(key), n.Content[i+1])
					}
				}
			}
		}
	}
	walk(Path{}, d.root)
	return out
}

var testValues = []Value{
	Scalar("plain"),
	Scalar("null"),
	Scalar(" #: odd, \"'\\\u2028\x07"),
	Int(42),
	Strings("a", "b c"),
	Map(KV("password", Scalar("$2y$10$abc")), KV("labels", Map(KV("team", Strings("x"))))),
	Map(KV("match", Map(KV("account", Scalar("zz")), KV("name", Scalar("/^a.+$/")))), KV("actions", Strings("*"))),
	Map(),
	Seq(),
	Seq(Map(KV("a", Null()), KV("yes", Bool(true))), Strings("z")),
}

// plainTree is what a decoder makes of a value.
func plainTree(v Value) any {
	switch v.kind {
	case stringValue:
		return v.text
	case seqValue:
		s := []any{}
		for _, e := range v.items {
			s = append(s, plainTree(e))
		}
		return s
	case mapValue:
		m := map[string]any{}
		for _, p := range v.pairs {
			m[p.Key] = plainTree(p.Value)
		}
		return m
	case plainValue:
		var out any
		if err := yaml.Unmarshal([]byte(v.text), &out); err != nil {
			panic(err)
		}
		return out
	}
	return nil
}

// refusal reports whether an error is one that an edit may end with on odd
// places of the corpus; anything else is a bug.
func refusal(err error) bool {
	return errors.Is(err, ErrShared) || errors.Is(err, ErrUnsafe) || errors.Is(err, ErrAmbiguous)
}

// tally counts how many edits were made and how many refused as unsafe.
type tally struct{ made, unsafe, shared int }

func (c *tally) note(t *testing.T, what string, err error) bool {
	t.Helper()
	switch {
	case err == nil:
		c.made++
		return true
	case !refusal(err):
		t.Errorf("%s: unexpected error: %v", what, err)
	case errors.Is(err, ErrUnsafe):
		c.unsafe++
		if testing.Verbose() {
			t.Logf("%s: %v", what, err)
		}
	default:
		c.shared++
	}
	return false
}

// tryInsert inserts a value into a collection and deletes it again.
func tryInsert(t *testing.T, c *tally, d *Document, at nodeAt, i int, v Value) {
	t.Helper()
	path, index, key := at.path, i, "zz-new"
	mapping := at.n == nil || at.n.Kind == yaml.MappingNode || isNull(at.n) && i == 0
	n := 0
	if !isNull(at.n) {
		n = count(at.n)
	}
	var e Edit
	var entry Path
	if mapping {
		where := Last()
		if i == 0 {
			where = First()
		} else if i < n {
			k, ok := keyText(at.n.Content[2*i-2])
			if !ok {
				return
			}
			where = After(k)
		}
		e, entry = InsertKey(path, key, v, where), path.With(key)
	} else {
		index = min(index, n)
		e, entry = InsertItem(path, index, v), path.With(index)
	}
	what := fmt.Sprintf("insert at %s (%d)", path, i)
	got, err := d.Apply(e)
	if !c.note(t, what, err) {
		return
	}
	checkDecoders(t, d.Bytes(), got.Bytes(), path, func(v0 any) any {
		if mapping {
			m, _ := v0.(map[string]any)
			if m == nil {
				m = map[string]any{}
			}
			m[key] = plainTree(v)
			return m
		}
		s, _ := v0.([]any)
		out := append([]any{}, s[:index]...)
		return append(append(out, plainTree(v)), s[index:]...)
	})
	from, to, err := d.Extent(path)
	if err != nil {
		t.Errorf("%s: extent of %s: %v", what, path, err)
		return
	}
	if !isNull(at.n) && n > 0 {
		// Comments and the line break behind the collection may stand before the new text.
		end := len(d.Bytes())
		if isFlow(at.n) {
			end = to
		} else if pl, _ := d.locate(path); len(pl.up) > 0 {
			from = d.finder().entry(pl.parent().n, pl.parent().i).lead()
		} else {
			from = 0
		}
		if !shiftable(d.Bytes(), got.Bytes(), from, end) {
			t.Errorf("%s: changed more than bytes %d to %d\n%s", what, from, end, got.Bytes())
		}
	}
	back, err := got.Apply(Delete(entry))
	if err != nil {
		t.Errorf("%s: can't delete it again: %v\n%s", what, err, got.Bytes())
		return
	}
	if isNull(at.n) && at.n != nil {
		return // documented: null becomes {}
	}
	if !bytes.Equal(back.Bytes(), d.Bytes()) {
		t.Errorf("%s: deleting does not give the file back\n-- inserted --\n%s\n-- diff --\n%s", what, got.Bytes(), cmp.Diff(string(d.Bytes()), string(back.Bytes())))
	}
}

func tryDelete(t *testing.T, c *tally, d *Document, path Path) {
	t.Helper()
	got, err := d.Apply(Delete(path))
	if !c.note(t, "delete "+path.String(), err) {
		return
	}
	parent, last := path[:len(path)-1], path[len(path)-1]
	checkDecoders(t, d.Bytes(), got.Bytes(), parent, func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if _, has := v[last.(string)]; !has {
				return unlike
			}
			delete(v, last.(string))
		case []any:
			i := last.(int)
			return append(append([]any{}, v[:i]...), v[i+1:]...)
		}
		return v
	})
	pl, err := d.locate(path)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing changes but between the entries before and behind it; the last of
	// a collection takes a comma or a place for "{}" along.
	s := pl.parent()
	f := d.finder()
	from, to := 0, len(d.Bytes())
	if s.i > 0 {
		from = f.entryEnd(s.n, s.i-1)
	} else if n := len(pl.up); n > 1 {
		up := pl.up[n-2]
		from = f.entry(up.n, up.i).lead()
	}
	if s.i+1 < count(s.n) {
		to = f.entry(s.n, s.i+1).start
	}
	if f.err != nil {
		t.Errorf("delete %s: %v", path, f.err)
		return
	}
	if !shiftable(d.Bytes(), got.Bytes(), from, to) {
		t.Errorf("delete %s: changed more than bytes %d to %d\n%s", path, from, to, got.Bytes())
	}
}

func trySet(t *testing.T, c *tally, d *Document, at nodeAt, v Value) {
	t.Helper()
	got, err := d.Apply(SetValue(at.path, v))
	if !c.note(t, "set "+at.path.String(), err) {
		return
	}
	checkDecoders(t, d.Bytes(), got.Bytes(), at.path, func(any) any { return plainTree(v) })
	pl, err := d.locate(at.path)
	if err != nil {
		t.Fatal(err)
	}
	f := d.finder()
	if len(pl.up) == 0 {
		return
	}
	s := pl.parent()
	e := f.entry(s.n, s.i)
	from, to := min(e.lead(), e.valStart), len(d.Bytes())
	if s.i+1 < count(s.n) {
		to = f.entry(s.n, s.i+1).start
	}
	if !shiftable(d.Bytes(), got.Bytes(), from, to) {
		t.Errorf("set %s: changed more than bytes %d to %d\n%s", at.path, from, to, got.Bytes())
	}
}

func tryRename(t *testing.T, c *tally, d *Document, path Path, to string) {
	t.Helper()
	old := path[len(path)-1].(string)
	got, err := d.Apply(RenameKey(path, to))
	if errors.Is(err, ErrExists) {
		return // the name is that of a neighbour
	}
	if !c.note(t, "rename "+path.String(), err) {
		return
	}
	checkDecoders(t, d.Bytes(), got.Bytes(), path[:len(path)-1], func(v any) any {
		m, _ := v.(map[string]any)
		e, has := m[old]
		if !has {
			return unlike
		}
		delete(m, old)
		m[to] = e
		return m
	})
	k, _ := d.LookupEntry(path)
	f := d.finder()
	from, end := f.start(k), f.end(k, -1)
	if !shiftable(d.Bytes(), got.Bytes(), from, end) {
		t.Errorf("rename %s: changed more than the key\n%s", path, got.Bytes())
	}
}

func tryMove(t *testing.T, c *tally, d *Document, at nodeAt, from, to int) {
	t.Helper()
	got, err := d.Apply(MoveItem(at.path, from, to))
	what := fmt.Sprintf("move %s %d to %d", at.path, from, to)
	if !c.note(t, what, err) {
		return
	}
	checkDecoders(t, d.Bytes(), got.Bytes(), at.path, func(v any) any {
		s := v.([]any)
		e := s[from]
		rest := append(append([]any{}, s[:from]...), s[from+1:]...)
		return append(append(append([]any{}, rest[:to]...), e), rest[to:]...)
	})
	if a, b := sortedBytes(d.Bytes()), sortedBytes(got.Bytes()); a != b {
		t.Errorf("%s: bytes appeared or vanished\n%s", what, got.Bytes())
	}
}

func sortedBytes(b []byte) (counts [256]int) {
	for _, c := range b {
		counts[c]++
	}
	return counts
}

func tryComment(t *testing.T, c *tally, d *Document, path Path, where CommentPlace) {
	t.Helper()
	got, err := d.Apply(SetComment(path, where, "zz"))
	what := fmt.Sprintf("comment (%d) %s", where, path)
	if errors.Is(err, ErrUnsafe) {
		return // several entries share a line, which is common
	}
	if !c.note(t, what, err) {
		return
	}
	if bytes.Count(got.Bytes(), []byte("# zz")) != 1 {
		t.Errorf("%s: no comment\n%s", what, got.Bytes())
	}
	checkDecoders(t, d.Bytes(), got.Bytes(), Path{}, func(v any) any { return v })
	if bytes.Count(got.Bytes(), []byte("#")) != bytes.Count(d.Bytes(), []byte("#"))+1 {
		return // it replaced one
	}
	pl, err := d.locate(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := pl.parent(); where == Above && s.i == 0 && !isFlow(s.n) {
		p := &planner{finder: d.finder(), d: d}
		if r := p.rawRegion(s.n, 0); r.head < r.first {
			return // removing takes the section's comment along
		}
	}
	back, err := got.Apply(SetComment(path, where, ""))
	if err != nil {
		t.Errorf("%s: can't be removed: %v", what, err)
	} else if !bytes.Equal(trimLineEnds(back.Bytes()), trimLineEnds(d.Bytes())) {
		t.Errorf("%s: removing it does not give the file back: %s", what, cmp.Diff(string(d.Bytes()), string(back.Bytes())))
	}
}

// trimLineEnds takes the blanks at the ends of lines away, which a comment
// written there replaces.
func trimLineEnds(b []byte) []byte {
	return regexp.MustCompile("[ \t]+(\r|\n|\u0085|\u2028|\u2029|$)").ReplaceAll(b, []byte("$1"))
}

// tryAll tries edits on every node of a file; where there are many, on those
// that pick lets through.
func tryAll(t *testing.T, c *tally, d *Document, pick func() bool) {
	t.Helper()
	for _, at := range nodesOf(d) {
		isNullNode := isNull(at.n)
		if isNullNode || at.n.Kind == yaml.MappingNode || at.n.Kind == yaml.SequenceNode {
			n := 0
			if !isNullNode {
				n = count(at.n)
			}
			for i := 0; i <= n; i++ {
				for _, v := range testValues {
					if pick() {
						tryInsert(t, c, d, at, i, v)
					}
				}
			}
		}
		if at.n != nil && at.n.Kind == yaml.SequenceNode {
			for from := range at.n.Content {
				for to := range at.n.Content {
					if pick() {
						tryMove(t, c, d, at, from, to)
					}
				}
			}
		}
		if len(at.path) == 0 {
			continue
		}
		if pick() {
			tryDelete(t, c, d, at.path)
		}
		for _, v := range testValues {
			if pick() {
				trySet(t, c, d, at, v)
			}
		}
		if _, ok := at.path[len(at.path)-1].(string); ok {
			for _, to := range []string{"zz-new", "null", "it's \"#: odd", "键"} {
				if pick() {
					tryRename(t, c, d, at.path, to)
				}
			}
		}
		if pick() {
			tryComment(t, c, d, at.path, Above)
			tryComment(t, c, d, at.path, Beside)
		}
	}
}

var all = flag.Bool("all", false, "TestCorpus tries all edits, not a fifth of them")

// TestCorpus tries edits at every node of every file of the corpus: inserts at
// each place, moves, deletes, new values, names and comments.
func TestCorpus(t *testing.T) {
	t.Parallel()
	for name, data := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewSource(int64(len(data))))
			pick := func() bool { return *all || r.Intn(5) == 0 }
			var c tally
			tryAll(t, &c, d, pick)
			t.Logf("%d edits made, %d refused as unsafe, %d because of aliases", c.made, c.unsafe, c.shared)
			limit := 50 // one in so many
			if name == "18-explicit-keys.yml" {
				limit = 5 // constructs that nobody writes
			}
			if c.unsafe*limit > c.made {
				t.Errorf("%d of %d edits refused as unsafe", c.unsafe, c.made+c.unsafe)
			}
		})
	}
}

// FuzzEdits tries some edits on any file that parses.
func FuzzEdits(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data, int64(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed int64) {
		if len(data) > 4096 {
			return
		}
		d, err := Parse(data)
		if err != nil {
			return
		}
		r := rand.New(rand.NewSource(seed))
		tries := 0
		n := 1 + 20*len(nodesOf(d))
		tryAll(t, &tally{}, d, func() bool {
			if tries >= 8 || r.Intn(n) >= 8 {
				return false
			}
			tries++
			return true
		})
	})
}
