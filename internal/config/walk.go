package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// maxExpanded bounds the nodes that aliases may add to a document when they are written out.
const maxExpanded = 4 << 20

// maxProblems bounds how many problems one file may report, so that 64 MiB of faults do not
// become gigabytes of messages.
const maxProblems = 10_000

// walker goes over the YAML nodes by hand: decoding into structs would stop at the first fault,
// take the last of two keys, and know no positions.
type walker struct {
	path     string
	f        *File
	problems []Problem
	warnings []Problem
	dropped  int // problems beyond maxProblems

	sawServer, sawToken bool // the sections are maps, so that their keys could be read

	expanded int                // nodes that aliases have added so far
	sizes    map[*yaml.Node]int // of anchored nodes, written out; -1 while being counted
	bomb     bool               // the bound was passed, and reported
}

// pair is a key of a mapping with its value, aliases resolved.
type pair struct {
	name     string
	key, val *yaml.Node
}

// subject names what a value is, for messages; it is formatted only when there is something to say.
type subject struct {
	format string // "server.addr", or with a %q for each of arg and more
	arg    string
	more   string
	secret bool // the value is never shown
}

func (s subject) String() string {
	switch strings.Count(s.format, "%q") {
	case 0:
		return s.format
	case 1:
		return fmt.Sprintf(s.format, maskedKey(s.arg))
	}
	return fmt.Sprintf(s.format, maskedKey(s.arg), maskedKey(s.more))
}

func (w *walker) pos(n *yaml.Node) acl.Pos {
	return acl.Pos{File: w.path, Line: n.Line, Column: n.Column}
}

// problem reports p at the node.
func (w *walker) problem(n *yaml.Node, p Problem) {
	if len(w.problems) == maxProblems {
		w.dropped++
		return
	}
	p.File, p.Line, p.Column = w.path, max(n.Line, 1), max(n.Column, 1)
	w.problems = append(w.problems, p)
}

func (w *walker) warn(n *yaml.Node, p Problem) {
	p.File, p.Line, p.Column = w.path, max(n.Line, 1), max(n.Column, 1)
	w.warnings = append(w.warnings, p)
}

// deref follows an alias to its anchor. An alias that would make the document too large, or that
// contains itself, becomes a null, and is reported once.
func (w *walker) deref(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.AliasNode {
		return n
	}
	size := w.size(n.Alias)
	w.expanded += size
	if size > maxExpanded || w.expanded > maxExpanded {
		if !w.bomb {
			w.bomb = true
			w.problem(n, Problem{Code: CodeAliasBomb, Msg: fmt.Sprintf("the aliases of this file stand for more than %d values, or contain themselves", maxExpanded),
				Hint: "write the values out, or use fewer aliases"})
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
	}
	return n.Alias
}

// size returns the number of nodes below n with aliases written out; more than maxExpanded when
// that is too many or without end.
func (w *walker) size(n *yaml.Node) int {
	if n.Kind == yaml.ScalarNode {
		return 1
	}
	if s, ok := w.sizes[n]; ok {
		if s < 0 {
			return maxExpanded + 1
		}
		return s
	}
	if w.sizes == nil {
		w.sizes = map[*yaml.Node]int{}
	}
	w.sizes[n] = -1
	total := 1
	if n.Kind == yaml.AliasNode {
		total = w.size(n.Alias)
	}
	for _, c := range n.Content {
		if total += w.size(c); total > maxExpanded {
			total = maxExpanded + 1
			break
		}
	}
	w.sizes[n] = total
	return total
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// isPlain reports whether a scalar stands without quotes and without a tag, so that it may be a
// number or a boolean.
func isPlain(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Style == 0 }

// describe says what a node is, for "expected …, found …".
func describe(n *yaml.Node, secret bool) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	case secret:
		return "a text"
	case isPlain(n) && n.Tag != "!!str":
		return n.Value
	}
	return fmt.Sprintf("the text %q", maskedKey(n.Value))
}

// wrongType reports that the node is not what was expected.
func (w *walker) wrongType(n *yaml.Node, s subject, want, hint string) {
	w.problem(n, Problem{Code: CodeWrongType, Msg: fmt.Sprintf("%s: expected %s, found %s", s, want, describe(n, s.secret)), Hint: hint})
}

// untagged reports a node with an explicit tag other than !!str on a scalar: decoders disagree on
// the rest, and none of it has a use here.
func (w *walker) untagged(n *yaml.Node, s subject) bool {
	if n.Style&yaml.TaggedStyle == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		return true
	}
	p := Problem{Code: CodeUnexpectedTag, Msg: fmt.Sprintf("%s: a YAML tag stands before the value", s), Hint: "remove the word that begins with !"}
	if strings.HasPrefix(n.Tag, "!$") {
		p.Hint = `a value that begins with ! needs quotes: "!$2y$..."`
	}
	w.problem(n, p)
	return false
}

// mapping reports whether n is a mapping, and what it is else.
func (w *walker) mapping(n *yaml.Node, s subject, want string, sec *section) bool {
	if n.Kind != yaml.MappingNode {
		if w.untagged(n, s) {
			w.wrongType(n, s, want, missingSpace(n, sec))
		}
		return false
	}
	return w.untagged(n, s)
}

// pairs returns the effective keys of a mapping: repeated keys are reported and only the first
// counts; merge keys (<<) are followed. A merge that docker_auth's decoder would read otherwise
// than YAML means it is a problem. The result is appended to buf[:0].
//
// deep is set for mappings that decode into a struct: there a map that is both merged and written
// out is united by docker_auth's decoder, where YAML says that it is replaced.
func (w *walker) pairs(n *yaml.Node, s subject, deep bool, buf []pair) []pair {
	out, _ := w.index(n, s, deep, buf)
	return out
}

// manyKeys is the number of keys from which on index uses a map.
const manyKeys = 12

// index is pairs, and returns the map from name to place in the result when it made one.
func (w *walker) index(n *yaml.Node, s subject, deep bool, buf []pair) ([]pair, map[string]int) {
	out := buf[:0]
	var at map[string]int
	if len(n.Content) > 2*manyKeys {
		at = make(map[string]int, len(n.Content)/2)
		if cap(out) < len(n.Content)/2 {
			out = make([]pair, 0, len(n.Content)/2)
		}
	}
	find := func(name string) int {
		if at != nil {
			if i, ok := at[name]; ok {
				return i
			}
			return -1
		}
		for i := range out {
			if out[i].name == name {
				return i
			}
		}
		return -1
	}
	var merge pair
	explicit := 0 // number of keys that stand before the merge
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := w.deref(n.Content[i])
		if key.Kind != yaml.ScalarNode {
			w.problem(n.Content[i], Problem{Code: CodeWrongType, Msg: fmt.Sprintf("%s: expected a text as key, found %s", s, describe(key, true))})
			continue
		}
		if key.Tag == "!!merge" {
			if merge.key != nil {
				w.duplicate(n.Content[i], merge.key, "<<", s)
				continue
			}
			merge = pair{name: "<<", key: n.Content[i], val: n.Content[i+1]}
			explicit = len(out)
			continue
		}
		if isNull(key) {
			p := Problem{Code: CodeWrongType, Msg: fmt.Sprintf("%s: a key is null", s), Hint: "put the key in quotes"}
			if s.format == usersKey {
				p.Code = CodeNullUser
				p.Msg = fmt.Sprintf("the user name %q is YAML's null, which docker_auth takes for the anonymous account", key.Value)
				p.Hint = `put the name in quotes; the anonymous account is written ""`
			}
			w.problem(n.Content[i], p)
			continue
		}
		if !w.untagged(key, s) {
			continue
		}
		if first := find(key.Value); first >= 0 {
			w.duplicate(n.Content[i], out[first].key, key.Value, s)
			continue
		}
		if at != nil {
			at[key.Value] = len(out)
		}
		out = append(out, pair{name: key.Value, key: n.Content[i], val: n.Content[i+1]})
	}
	if merge.key != nil {
		for _, m := range w.merged(merge, s, deep, nil) {
			i := find(m.name)
			if i < 0 {
				if at != nil {
					at[m.name] = len(out)
				}
				out = append(out, m)
				continue
			}
			both := deep && w.deref(out[i].val).Kind == yaml.MappingNode && w.deref(m.val).Kind == yaml.MappingNode
			if i < explicit || both {
				w.ambiguous(out[i].key, m.name, s)
			}
		}
	}
	return out, at
}

// merged returns the keys that a merge brings in; of a list of maps, the earlier ones win.
func (w *walker) merged(merge pair, s subject, deep bool, out []pair) []pair {
	val := w.deref(merge.val)
	switch {
	case w.bomb:
	case val.Kind == yaml.MappingNode:
		for _, m := range w.pairs(val, s, deep, nil) {
			known := false
			for _, o := range out {
				if o.name != m.name {
					continue
				}
				known = true
				if deep && w.deref(o.val).Kind == yaml.MappingNode && w.deref(m.val).Kind == yaml.MappingNode {
					w.ambiguous(merge.key, m.name, s)
				}
			}
			if !known {
				out = append(out, m)
			}
		}
	case val.Kind == yaml.SequenceNode && merge.val.Kind != yaml.AliasNode:
		for _, c := range val.Content {
			if w.deref(c).Kind != yaml.MappingNode {
				w.wrongType(c, subject{format: "<<"}, "a list of maps", "")
				continue
			}
			out = w.merged(pair{key: merge.key, val: c}, s, deep, out)
		}
	default:
		w.wrongType(merge.val, subject{format: "<<"}, "a map or a list of maps", "")
	}
	return out
}

func (w *walker) ambiguous(n *yaml.Node, name string, s subject) {
	w.problem(n, Problem{Code: CodeAmbiguousMerge,
		Msg:  fmt.Sprintf("%s: key %q is both written here and merged by <<, and docker_auth reads that otherwise than YAML means it", s, maskedKey(name)),
		Hint: "put << first, and write maps out in full"})
}

func (w *walker) duplicate(again, first *yaml.Node, name string, s subject) {
	shown := maskedKey(name)
	p := Problem{Code: CodeDuplicateKey, Msg: fmt.Sprintf("duplicate key %q in %s, first on line %d", shown, s, first.Line),
		Hint: "docker_auth silently takes the last one; remove one of them", key: s.String() + "\x00" + name}
	if s.format == usersKey {
		p.Code = CodeDuplicateUser
		p.Msg = fmt.Sprintf("duplicate user %q, first on line %d", name, first.Line)
	}
	w.problem(again, p)
}

// scalar returns the text of a scalar as docker_auth's decoder puts it into a string: the
// characters as they stand, also of numbers and booleans. ok is false for anything else, which is
// reported, and for a null, which is not.
func (w *walker) scalar(n *yaml.Node, s subject) (text string, ok bool) {
	n = w.deref(n)
	switch {
	case !w.untagged(n, s):
		return "", false
	case n.Kind != yaml.ScalarNode:
		w.wrongType(n, s, "a text", "")
		return "", false
	case isNull(n):
		return "", false
	}
	return n.Value, true
}

// text is scalar with null as the empty text.
func (w *walker) text(n *yaml.Node, s subject) string {
	text, _ := w.scalar(n, s)
	return text
}

// boolean reads a bool as docker_auth's decoder does, yes and on included; null is false.
func (w *walker) boolean(n *yaml.Node, s subject) bool {
	n = w.deref(n)
	if !w.untagged(n, s) {
		return false
	}
	if isPlain(n) {
		switch n.Value {
		case "true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON":
			return true
		case "false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF":
			return false
		}
	}
	if !isNull(n) {
		w.wrongType(n, s, "true or false", "")
	}
	return false
}

var yamlFloat = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

// integer reads a number as docker_auth's decoder does: 900, 0x384, 1_000, and 9e2 when it is
// whole. ok is false for anything else, which is reported, and for a null, which is not.
func (w *walker) integer(n *yaml.Node, s subject) (value int64, ok bool) {
	n = w.deref(n)
	if !w.untagged(n, s) || isNull(n) {
		return 0, false
	}
	if isPlain(n) {
		if value, ok := parseInteger(n.Value); ok {
			return value, true
		}
	}
	hint := ""
	if n.Kind == yaml.ScalarNode && !isPlain(n) {
		if _, ok := parseInteger(n.Value); ok {
			hint = "remove the quotes"
		}
	}
	w.wrongType(n, s, "a whole number", hint)
	return 0, false
}

func parseInteger(text string) (int64, bool) {
	plain := strings.ReplaceAll(text, "_", "")
	if value, err := strconv.ParseInt(plain, 0, 64); err == nil {
		return value, true
	}
	if yamlFloat.MatchString(plain) {
		f, err := strconv.ParseFloat(plain, 64)
		if err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f), true
		}
	}
	return 0, false
}

// list returns the texts of a list of scalars; ok is false when it is none, which is reported, and
// for a null, which is not. The result is not nil when ok.
func (w *walker) list(n *yaml.Node, s subject, hint string) (texts []string, ok bool) {
	n = w.deref(n)
	switch {
	case !w.untagged(n, s) || isNull(n):
		return nil, false
	case n.Kind != yaml.SequenceNode:
		w.wrongType(n, s, "a list", hint)
		return nil, false
	}
	texts = make([]string, 0, len(n.Content))
	for _, c := range n.Content {
		text, good := w.scalar(c, s)
		if good {
			texts = append(texts, text)
		} else if isNull(w.deref(c)) {
			w.problem(c, Problem{Code: CodeWrongType, Msg: fmt.Sprintf("%s: an element of the list is empty", s), Hint: "remove it, or write its text"})
		}
	}
	return texts, true
}
