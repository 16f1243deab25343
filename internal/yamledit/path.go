package yamledit

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Path names a place in a document: a string selects the value of a mapping's
// key, an int the item of a sequence (from 0). The empty path is the top-level
// value. Other types are an error.
//
// A key is compared by the text that a decoder into map[string]T would see:
// 5 is matched by "5", and a null key (`~:`) by "", which is what both yaml.v2
// and yaml.v3 make of it.
type Path []any

// String returns the path in the form users."a b".labels[0], for messages.
func (p Path) String() string {
	var b strings.Builder
	for _, e := range p {
		switch e := e.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", e)
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			if plainWord(e) {
				b.WriteString(e)
			} else {
				b.WriteString(strconv.Quote(e))
			}
		default:
			fmt.Fprintf(&b, "<%T>", e)
		}
	}
	if b.Len() == 0 {
		return "(top level)"
	}
	return b.String()
}

func plainWord(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

// With returns the path extended by further elements; p itself is not changed.
func (p Path) With(elems ...any) Path {
	out := make(Path, 0, len(p)+len(elems))
	return append(append(out, p...), elems...)
}

const (
	nullTag  = "!!null"
	strTag   = "!!str"
	mergeTag = "!!merge"
)

// target follows aliases; the result is never an alias node.
func target(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// keyText returns the text under which a decoder stores the key, and whether
// the node can be such a key at all.
func keyText(k *yaml.Node) (string, bool) {
	k = target(k)
	if k == nil || k.Kind != yaml.ScalarNode || k.Tag == mergeTag {
		return "", false
	}
	if k.Tag == nullTag {
		return "", true
	}
	return k.Value, true
}

// isNull reports whether the node is absent or a null scalar.
func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.Tag == nullTag
}

// isVoid reports whether the node is a null that has no text at all.
func isVoid(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

func isFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// findKey returns the index of the last entry with the key, and how many there are.
func findKey(m *yaml.Node, key string) (index, count int) {
	index = -1
	for i := 0; i+1 < len(m.Content); i += 2 {
		if t, ok := keyText(m.Content[i]); ok && t == key {
			index = i / 2
			count++
		}
	}
	return index, count
}

// taken returns the key that stands in the way of a new one, nil if there is
// none. Besides equal ones these are null keys written as the new one reads:
// yaml.v3 takes `null` and "null" for the same key.
func taken(m *yaml.Node, key string, except int) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		k := m.Content[i]
		if t, ok := keyText(k); ok && i != 2*except && (t == key || target(k).Value == key) {
			return k
		}
	}
	return nil
}

// mergedValue looks the key up in the mappings that merge keys bring in, those
// from entry from on.
func mergedValue(m *yaml.Node, key string, from, depth int) (k, v *yaml.Node) {
	if depth <= 0 {
		return nil, nil
	}
	for i := 2 * from; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Kind != yaml.ScalarNode || m.Content[i].Tag != mergeTag {
			continue
		}
		merged := target(m.Content[i+1])
		sources := []*yaml.Node{merged}
		if merged != nil && merged.Kind == yaml.SequenceNode {
			sources = merged.Content
		}
		for _, src := range sources {
			src = target(src)
			if src == nil || src.Kind != yaml.MappingNode {
				continue
			}
			if at, n := findKey(src, key); n > 0 {
				return src.Content[2*at], src.Content[2*at+1]
			}
			if k, v := mergedValue(src, key, 0, depth-1); v != nil {
				return k, v
			}
		}
	}
	return nil, nil
}

// Lookup returns the node at the path, nil if there is none. It follows
// aliases and merge keys; of equal keys the last counts, as it does for
// yaml.v2. The nodes must not be changed.
func (d *Document) Lookup(path Path) *yaml.Node {
	_, v := d.LookupEntry(path)
	return v
}

// LookupEntry is Lookup that returns the key's node too. It is nil for a
// sequence's item and for the top-level value.
func (d *Document) LookupEntry(path Path) (key, value *yaml.Node) {
	n := d.root
	var k *yaml.Node
	for _, e := range path {
		n = target(n)
		if n == nil {
			return nil, nil
		}
		k = nil
		switch e := e.(type) {
		case string:
			if n.Kind != yaml.MappingNode {
				return nil, nil
			}
			if at, count := findKey(n, e); count > 0 {
				k, n = n.Content[2*at], n.Content[2*at+1]
			} else if k, n = mergedValue(n, e, 0, d.limits.Depth); n == nil {
				return nil, nil
			}
		case int:
			if n.Kind != yaml.SequenceNode || e < 0 || e >= len(n.Content) {
				return nil, nil
			}
			n = n.Content[e]
		default:
			return nil, nil
		}
	}
	return k, n
}
