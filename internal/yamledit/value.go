package yamledit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Value is a value to be written into a document. How it is written is up to
// the neighbours of the place where it goes; [Value.Flow] and the like are
// preferences for the case that there are none.
//
// The zero Value is null.
type Value struct {
	kind  valueKind
	text  string
	items []Value
	pairs []Pair
	style style
}

type valueKind uint8

const (
	nullValue   valueKind = iota
	stringValue           // text is the string
	plainValue            // text is the literal of a number or bool, written as it is
	seqValue
	mapValue
)

// style is a preference for how a value is written.
type style uint8

const (
	anyStyle style = iota
	flowStyle
	blockStyle
	doubleStyle
	singleStyle
	plainStyle
)

// Pair is one entry of a mapping.
type Pair struct {
	Key   string
	Value Value
}

// KV returns a pair.
func KV(key string, v Value) Pair { return Pair{Key: key, Value: v} }

// Scalar returns a string. It is quoted and escaped as needed, so that decoders
// read back exactly s, always as a string. It must be valid UTF-8.
func Scalar(s string) Value { return Value{kind: stringValue, text: s} }

// Int returns an integer.
func Int(n int64) Value { return Value{kind: plainValue, text: strconv.FormatInt(n, 10)} }

// Bool returns a boolean, written true or false.
func Bool(b bool) Value { return Value{kind: plainValue, text: strconv.FormatBool(b)} }

// Null returns a null, written null.
func Null() Value { return Value{} }

// Seq returns a sequence.
func Seq(items ...Value) Value { return Value{kind: seqValue, items: items} }

// Strings returns a sequence of strings.
func Strings(ss ...string) Value {
	items := make([]Value, len(ss))
	for i, s := range ss {
		items[i] = Scalar(s)
	}
	return Seq(items...)
}

// Map returns a mapping; the pairs keep their order. Equal keys are an error of
// the edit that writes it.
func Map(pairs ...Pair) Value { return Value{kind: mapValue, pairs: pairs} }

// Flow returns the value with a preference for flow style: {a: b}, [a, b].
func (v Value) Flow() Value { v.style = flowStyle; return v }

// Block returns the value with a preference for block style.
func (v Value) Block() Value { v.style = blockStyle; return v }

// DoubleQuoted returns the value with a preference for double quotes.
func (v Value) DoubleQuoted() Value { v.style = doubleStyle; return v }

// SingleQuoted returns the value with a preference for single quotes.
func (v Value) SingleQuoted() Value { v.style = singleStyle; return v }

// Plain returns the value with a preference for no quotes.
func (v Value) Plain() Value { v.style = plainStyle; return v }

func (v Value) collection() bool { return v.kind == seqValue || v.kind == mapValue }

func (v Value) nodeKind() yaml.Kind {
	switch v.kind {
	case seqValue:
		return yaml.SequenceNode
	case mapValue:
		return yaml.MappingNode
	}
	return yaml.ScalarNode
}

// empty reports whether v is a collection without entries.
func (v Value) empty() bool { return v.collection() && len(v.items)+len(v.pairs) == 0 }

// node returns the tree that reading the written value must give.
func (v Value) node() *yaml.Node {
	switch v.kind {
	case stringValue:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: strTag, Value: v.text}
	case plainValue:
		n := &yaml.Node{Kind: yaml.ScalarNode, Value: v.text}
		n.Tag = n.ShortTag()
		return n
	case seqValue:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v.items {
			n.Content = append(n.Content, item.node())
		}
		return n
	case mapValue:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, p := range v.pairs {
			n.Content = append(n.Content, Scalar(p.Key).node(), p.Value.node())
		}
		return n
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: nullTag, Value: "null"}
}

// check refuses values that can't be written.
func (v Value) check(depth int) error {
	if depth <= 0 {
		return errors.New("the value is nested too deep")
	}
	if v.kind == stringValue && !utf8.ValidString(v.text) {
		return errors.New("a string of the value is not valid UTF-8") // it may be a secret
	}
	for _, item := range v.items {
		if err := item.check(depth - 1); err != nil {
			return err
		}
	}
	seen := make(map[string]bool, len(v.pairs))
	for _, p := range v.pairs {
		if err := checkKey(p.Key); err != nil {
			return err
		}
		if seen[p.Key] {
			return fmt.Errorf("the key %q appears twice in the value", p.Key)
		}
		seen[p.Key] = true
		if err := p.Value.check(depth - 1); err != nil {
			return err
		}
	}
	return nil
}

// maxKey is the greatest length of a written key in runes, quotes included:
// YAML wants the colon at most 1,024 characters behind the key's beginning.
const maxKey = 1000

func checkKey(key string) error {
	if !utf8.ValidString(key) {
		return fmt.Errorf("the key %q is not valid UTF-8", key)
	}
	if runeLen(doubleQuote(key)) > maxKey {
		return fmt.Errorf("the key %.20q… is longer than YAML allows", key)
	}
	return nil
}

// quoted returns the string in the given quoting, or in another where that one
// can't hold it.
func quoted(s string, want style) string {
	if want == singleStyle && singleSafe(s) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return doubleQuote(s)
}

// singleSafe reports whether the string can stand in single quotes, where
// nothing can be escaped and line breaks are folded.
func singleSafe(s string) bool {
	for _, r := range s {
		if !printable(r) {
			return false
		}
	}
	return true
}

// printable reports whether the rune may stand for itself: YAML allows it, it
// breaks no line and it can be seen.
func printable(r rune) bool {
	return r < utf8.RuneSelf && r >= 0x20 && r != 0x7F || r >= utf8.RuneSelf && unicode.IsPrint(r)
}

// doubleQuote returns the string in double quotes.
func doubleQuote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case printable(r):
			b.WriteRune(r)
		case r <= 0xFF:
			fmt.Fprintf(&b, `\x%02X`, r)
		case r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// plainSafe reports whether the string may be written without quotes: every
// decoder, of YAML 1.1 and 1.2, reads it back as the same string. It errs on
// the side of quotes.
func plainSafe(s string, flow bool) bool {
	if s == "" {
		return false
	}
	first, _ := utf8.DecodeRuneInString(s)
	digits := false
	switch {
	case first >= 'a' && first <= 'z', first >= 'A' && first <= 'Z',
		strings.ContainsRune("_/$(^", first),
		first >= utf8.RuneSelf && unicode.IsLetter(first):
	case first >= '0' && first <= '9', first == '.' && !strings.HasPrefix(s, "..."):
		digits = true
	default:
		return false
	}
	prev := ' '
	for _, r := range s {
		switch {
		case !printable(r), r == unicode.ReplacementChar:
			return false
		case r == ' ' && prev == ' ', r == '#' && prev == ' ', r == ' ' && prev == ':':
			return false
		case flow && strings.ContainsRune(",[]{}?:\"'", r):
			return false
		}
		prev = r
	}
	if prev == ' ' || prev == ':' {
		return false
	}
	if digits && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEFxXoO_.:+-TtZz ", r) }) &&
		strings.Count(s, ".") < 3 {
		return false // a number, a date, a time, or close to one
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan":
		return false // the words of YAML 1.1, in any case
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	return n.ShortTag() == strTag
}
