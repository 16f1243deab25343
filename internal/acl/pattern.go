package acl

import (
	"path"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind tells how a pattern is read.
type Kind uint8

// The kinds of patterns. A pattern with placeholders has the kind of its text as written;
// values can change it, as the package comment says.
const (
	Literal Kind = iota // a glob without wildcards and placeholders: matches one text
	Glob                // path.Match
	Regexp              // RE2 between slashes, not anchored
)

// String returns "literal", "glob" or "regexp".
func (k Kind) String() string {
	switch k {
	case Literal:
		return "literal"
	case Regexp:
		return "regexp"
	}
	return "glob"
}

// Field is one of the four fields of a request that patterns may refer to.
type Field uint8

// The fields, in the order in which an entry is matched.
const (
	FieldAccount Field = iota
	FieldType
	FieldName
	FieldService
	numFields
)

var fieldNames = [numFields]string{"account", "type", "name", "service"}

// variables holds the placeholders of the four fields, indexed by Field.
var variables = [numFields]string{"${account}", "${type}", "${name}", "${service}"}

// String returns the field's name in a config: "account", "type", "name" or "service".
func (f Field) String() string {
	if f < numFields {
		return fieldNames[f]
	}
	return "field(" + strconv.Itoa(int(f)) + ")"
}

// SegmentKind tells what a Segment stands for.
type SegmentKind uint8

// The kinds of segments.
const (
	Text     SegmentKind = iota // pattern text as written
	Variable                    // ${account}: the request's value, escaped
	Capture                     // ${account:1}: a group of that field's own regexp, not escaped
	Label                       // ${labels:KEY}: a value of the user's label, not escaped
)

// Segment is a piece of a pattern: text or one placeholder.
type Segment struct {
	Kind  SegmentKind
	Text  string // as written, placeholder syntax included
	Field Field  // of a Variable or Capture
	Group int    // of a Capture, 1 or more
	Key   string // of a Label
}

// Pattern is the text of a match field, split at its placeholders.
type Pattern struct {
	text string
	kind Kind
	segs []Segment
}

// ParsePattern splits text at its placeholders and checks its syntax as written. The error
// is path.ErrBadPattern or a *syntax.Error from regexp/syntax. A capture is reported as one
// when its text has the form of a capture; whether it is replaced depends on the entry that
// the pattern stands in, see Policy.Patterns.
func ParsePattern(text string) (Pattern, error) {
	p, _, err := parsePattern(text, findCaptures(text), true)
	return p, err
}

// Kind returns how the pattern as written is read.
func (p Pattern) Kind() Kind { return p.kind }

// String returns the pattern as written.
func (p Pattern) String() string { return p.text }

// Segments returns the pieces whose texts together are the pattern. The slice belongs to the
// caller.
func (p Pattern) Segments() []Segment { return append([]Segment(nil), p.segs...) }

// HasPlaceholders reports whether any segment is not text.
func (p Pattern) HasPlaceholders() bool {
	return len(p.segs) > 1 || len(p.segs) == 1 && p.segs[0].Kind != Text
}

// Expand returns the pattern with each placeholder replaced by the text that value returns
// for it, or left as written where value returns false. It escapes nothing: value returns
// regexp.QuoteMeta of a variable's value.
func (p Pattern) Expand(value func(Segment) (string, bool)) string {
	var b strings.Builder
	for _, s := range p.segs {
		if s.Kind != Text {
			if v, ok := value(s); ok {
				b.WriteString(v)
				continue
			}
		}
		b.WriteString(s.Text)
	}
	return b.String()
}

// MatchText reports whether value matches a pattern in which everything is substituted; "${"
// has no meaning here. The error is path.ErrBadPattern or a *syntax.Error.
func MatchText(pattern, value string) (bool, error) {
	if !isRegexp(pattern) {
		return path.Match(pattern, value)
	}
	re, err := regexp.Compile(regexpBody(pattern))
	if err != nil {
		return false, err
	}
	return re.MatchString(value), nil
}

// isRegexp reports whether a substituted pattern is read as a regexp.
func isRegexp[T string | []byte](p T) bool {
	return len(p) > 2 && p[0] == '/' && p[len(p)-1] == '/'
}

// regexpBody returns what stands between the slashes.
func regexpBody(p string) string { return p[1 : len(p)-1] }

// parseRegexp parses as regexp.Compile does; whatever it accepts, regexp.Compile accepts.
func parseRegexp(body string) (*syntax.Regexp, error) { return syntax.Parse(body, syntax.Perl) }

// parsePattern also returns the syntax tree of a regexp.
func parsePattern(text string, captures []capture, labels bool) (Pattern, *syntax.Regexp, error) {
	p := Pattern{text: text, segs: split(text, captures, labels)}
	if isRegexp(text) {
		p.kind = Regexp
		tree, err := parseRegexp(regexpBody(text))
		return p, tree, err
	}
	if _, ok := globLiteral(text); ok && !p.HasPlaceholders() {
		return p, nil, nil
	}
	p.kind = Glob
	_, err := path.Match(text, "") // the error does not depend on the name
	return p, nil, err
}

// globLiteral returns the one text that a glob without wildcards matches.
func globLiteral(p string) (string, bool) {
	if !strings.ContainsAny(p, `*?[\`) {
		return p, true
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '*', '?', '[':
			return "", false
		case '\\':
			if i++; i == len(p) {
				return "", false
			}
		}
		b.WriteByte(p[i])
	}
	return b.String(), true
}

// capture is a placeholder ${field:N}.
type capture struct {
	text  string
	field Field
	group int
}

// capturePlaceholder is docker_auth's own search for captures. That it begins at the first
// "${" of the text is part of the format.
var capturePlaceholder = regexp.MustCompile(`\$\{(.+?):(\d+)\}`)

// findCaptures returns the placeholders in text that have the form of a capture.
func findCaptures(text string) []capture {
	if !strings.Contains(text, "${") || !strings.Contains(text, ":") {
		return nil
	}
	var out []capture
	for _, m := range capturePlaceholder.FindAllStringSubmatch(text, -1) {
		f, ok := captureField(m[1])
		n, err := strconv.Atoi(m[2])
		if ok && err == nil && n >= 1 {
			out = append(out, capture{text: m[0], field: f, group: n})
		}
	}
	return out
}

// captureField finds the field by its name with the first letter in either case.
func captureField(name string) (Field, bool) {
	r, size := utf8.DecodeRuneInString(name)
	name = string(unicode.ToLower(unicode.ToTitle(r))) + name[size:]
	for f, s := range fieldNames {
		if s == name {
			return Field(f), true
		}
	}
	return 0, false
}

// split cuts text into segments. Only the captures given are replaced.
func split(text string, captures []capture, labels bool) []Segment {
	var segs []Segment
	start := 0
	for i := 0; i < len(text); {
		j := strings.Index(text[i:], "${")
		if j < 0 {
			break
		}
		i += j
		seg, ok := placeholder(text[i:], captures, labels)
		if !ok {
			i++
			continue
		}
		if start < i {
			segs = append(segs, Segment{Kind: Text, Text: text[start:i]})
		}
		segs = append(segs, seg)
		i += len(seg.Text)
		start = i
	}
	if start < len(text) {
		segs = append(segs, Segment{Kind: Text, Text: text[start:]})
	}
	return segs
}

// placeholder returns the placeholder that s, which begins with "${", begins with.
func placeholder(s string, captures []capture, labels bool) (Segment, bool) {
	for f, v := range variables {
		if strings.HasPrefix(s, v) {
			return Segment{Kind: Variable, Text: v, Field: Field(f)}, true
		}
	}
	for _, c := range captures {
		if strings.HasPrefix(s, c.text) {
			return Segment{Kind: Capture, Text: c.text, Field: c.field, Group: c.group}, true
		}
	}
	if rest, ok := strings.CutPrefix(s, labelOpen); labels && ok {
		if key, _, ok := strings.Cut(rest, "}"); ok && !strings.Contains(key, "${") {
			return Segment{Kind: Label, Text: s[:len(labelOpen)+len(key)+1], Key: key}, true
		}
	}
	return Segment{}, false
}

const labelOpen = "${labels:"
