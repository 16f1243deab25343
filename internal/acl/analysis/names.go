package analysis

import (
	"fmt"
	"regexp"
	"strings"
)

// NamePattern is a set of names as people write it on a command line: "*"
// stands for any text within a component, "**" for any text across components.
// A "**" that stands alone between slashes takes one component or more.
type NamePattern struct {
	text string
	expr string
}

// ParseNamePattern reads a name or a pattern of names. It refuses what can be
// no part of a repository name; a tag or a digest among it is named as such.
func ParseNamePattern(text string) (NamePattern, error) {
	if text == "" {
		return NamePattern{}, fmt.Errorf("empty name pattern")
	}
	if at := strings.IndexByte(text, '@'); at >= 0 {
		return NamePattern{}, fmt.Errorf("%q has a digest (%q): rights are by repository, not by digest", text, text[at:])
	}
	if at := strings.LastIndexByte(text, ':'); at > strings.LastIndexByte(text, '/') {
		return NamePattern{}, fmt.Errorf("%q has a tag (%q): rights are by repository, not by tag", text, text[at:])
	}
	for i, r := range text {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._-/*:", r):
		case strings.ContainsRune(`?[]\^$+(){}|`, r):
			return NamePattern{}, fmt.Errorf(`%q: %q at character %d is no wildcard here: "*" is any text within a component, "**" across components`, text, r, i+1)
		default:
			return NamePattern{}, fmt.Errorf("%q: %q at character %d can't be in a repository name", text, r, i+1)
		}
	}
	switch {
	case text[0] == '/' || text[len(text)-1] == '/':
		return NamePattern{}, fmt.Errorf("%q begins or ends with a slash", text)
	case strings.Contains(text, "//"):
		return NamePattern{}, fmt.Errorf("%q has an empty component", text)
	case strings.Contains(text, "***"):
		return NamePattern{}, fmt.Errorf("%q has three stars in a row", text)
	}
	return NamePattern{text: text, expr: nameExpr(text)}, nil
}

// String returns the pattern as written.
func (p NamePattern) String() string { return p.text }

// Literal reports whether the pattern is a single name.
func (p NamePattern) Literal() bool { return !strings.Contains(p.text, "*") }

// ToRegexp returns the pattern as the text of a match field of an ACL entry: an
// anchored regexp between slashes, or the name itself.
func (p NamePattern) ToRegexp() string {
	if p.Literal() {
		return p.text
	}
	return "/" + p.expr + "/"
}

func nameExpr(text string) string {
	var b strings.Builder
	b.WriteByte('^')
	for i := 0; i < len(text); {
		if text[i] != '*' {
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
			i++
			continue
		}
		n := 1
		if strings.HasPrefix(text[i:], "**") {
			n = 2
		}
		alone := (i == 0 || text[i-1] == '/') && (i+n == len(text) || text[i+n] == '/')
		any, times := `[^/]`, `*`
		if n == 2 {
			any = `.`
		}
		if alone {
			times = `+`
		}
		b.WriteString(any + times)
		i += n
	}
	b.WriteByte('$')
	return b.String()
}

// language returns the names of the pattern; the zero pattern is all names.
func (a *Analysis) language(p NamePattern) langID {
	if p.text == "" {
		return langAny
	}
	return a.langs.text("/" + p.expr + "/")
}
