package lint

import (
	"regexp/syntax"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func unanchoredRegexp() Rule {
	return Rule{
		Name: "unanchored-regexp", Severity: Warning,
		Doc: "a regular expression without ^ and $, which matches anything that contains it",
		check: func(p *pass) {
			for i := range p.entries {
				p.entries[i].patterns(func(field string, q *acl.Pattern) {
					if q.Kind() != acl.Regexp {
						return
					}
					text := q.Expand(func(acl.Segment) (string, bool) { return "x", true })
					re, err := syntax.Parse(text[1:len(text)-1], syntax.Perl)
					if err != nil {
						return
					}
					begin, end := bound(re, true), bound(re, false)
					if begin && end {
						return
					}
					where := "at neither end"
					switch {
					case begin:
						where = "not at its end"
					case end:
						where = "not at its beginning"
					}
					f := p.reportEntry(i, "%s %q is anchored %s: it matches whatever contains it", field, q, where)
					body := q.String()[1 : len(q.String())-1]
					body = strings.TrimPrefix(body, "^")
					if !strings.HasSuffix(body, `\$`) {
						body = strings.TrimSuffix(body, "$")
					}
					if strings.Contains(body, "|") {
						body = "(?:" + body + ")"
					}
					body = "^" + body + "$"
					f.Fix = advise("'/%s/', or with .* where more may follow or precede", body)
				})
			}
		},
	}
}

// bound reports whether every match of the regexp begins (or ends) where the text does, or takes
// anything there, so that an anchor would change nothing.
func bound(re *syntax.Regexp, begin bool) bool {
	switch re.Op {
	case syntax.OpBeginText:
		return begin
	case syntax.OpEndText:
		return !begin
	case syntax.OpNoMatch:
		return true
	case syntax.OpStar, syntax.OpPlus:
		return re.Sub[0].Op == syntax.OpAnyChar || re.Sub[0].Op == syntax.OpAnyCharNotNL
	case syntax.OpCapture:
		return bound(re.Sub[0], begin)
	case syntax.OpConcat:
		if len(re.Sub) == 0 {
			return false
		}
		if begin {
			return bound(re.Sub[0], begin)
		}
		return bound(re.Sub[len(re.Sub)-1], begin)
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if !bound(sub, begin) {
				return false
			}
		}
		return true
	}
	return false
}
