package lint

import (
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

// madeUp returns an account that entry i was written for, with the labels that it asks for, under a
// name that is not taken. It fails where every such account is known, and where the patterns are
// beyond it.
func (p *pass) madeUp(i int, taken map[string]bool) (analysis.User, bool) {
	e := &p.entries[i]
	u := analysis.User{Labels: map[string][]string{}}
	found := false
	for n := 1; n <= 3 && !found; n++ {
		for _, name := range []string{"somebody" + strconv.Itoa(i+n), sample(e.account)} {
			if name != "" && !taken[name] && (e.account == nil || e.account.HasPlaceholders() || matchesText(e.account, name)) {
				u.Name, found = name, true
				break
			}
		}
	}
	if !found {
		return u, false
	}
	for _, l := range e.labels {
		v := sample(&l.pattern)
		if !matchesText(&l.pattern, v) {
			return u, false
		}
		u.Labels[l.key] = []string{v}
	}
	e.patterns(func(_ string, q *acl.Pattern) {
		for _, s := range q.Segments() {
			if s.Kind == acl.Label && u.Labels[s.Key] == nil {
				u.Labels[s.Key] = []string{"value" + strconv.Itoa(i+1)}
			}
		}
	})
	return u, true
}

// sample returns a text that the pattern is likely to match: the caller checks. Absent patterns
// have the sample "".
func sample(p *acl.Pattern) string {
	switch {
	case p == nil:
		return ""
	case p.Kind() == acl.Regexp:
		text := p.String()
		re, err := syntax.Parse(text[1:len(text)-1], syntax.Perl)
		if err != nil {
			return ""
		}
		var b strings.Builder
		sampleRegexp(&b, re)
		return b.String()
	}
	var b strings.Builder
	text := p.String()
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '*', '?':
			b.WriteByte('x')
		case '\\':
			if i++; i < len(text) {
				b.WriteByte(text[i])
			}
		case '[':
			end := strings.IndexByte(text[i:], ']')
			if end < 2 {
				return ""
			}
			if text[i+1] != '^' {
				b.WriteByte(text[i+1])
			} else {
				b.WriteByte('0')
			}
			i += end
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// maxSample bounds a sample; a pattern that needs more has none.
const maxSample = 300

func sampleRegexp(b *strings.Builder, re *syntax.Regexp) {
	if b.Len() > maxSample {
		return
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			b.WriteRune(r)
		}
	case syntax.OpCharClass:
		b.WriteRune(oneOf(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpCapture, syntax.OpPlus:
		sampleRegexp(b, re.Sub[0])
	case syntax.OpRepeat:
		for n := 0; n < re.Min && b.Len() <= maxSample; n++ {
			sampleRegexp(b, re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			sampleRegexp(b, sub)
		}
	case syntax.OpAlternate:
		sampleRegexp(b, re.Sub[0])
	}
}

// oneOf returns a plain letter or digit of the class where it has one.
func oneOf(ranges []rune) rune {
	for _, want := range "xa0z9A" {
		for i := 0; i+1 < len(ranges); i += 2 {
			if ranges[i] <= want && want <= ranges[i+1] {
				return want
			}
		}
	}
	if len(ranges) == 0 {
		return 'x'
	}
	return ranges[0]
}
