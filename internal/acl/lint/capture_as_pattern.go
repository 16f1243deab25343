package lint

import (
	"regexp/syntax"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func captureAsPattern() Rule {
	return Rule{
		Name: "capture-as-pattern", Severity: Warning,
		Doc: "a capture, as ${account:1}, that can hold pattern syntax: a user named *@example.com matches everything",
		check: func(p *pass) {
			if p.options.LiteralLabels {
				return
			}
			for i := range p.entries {
				e := &p.entries[i]
				fields := map[acl.Field]*acl.Pattern{acl.FieldAccount: e.account, acl.FieldType: e.typ, acl.FieldName: e.name, acl.FieldService: e.service}
				e.patterns(func(field string, q *acl.Pattern) {
					for _, s := range q.Segments() {
						// The scope's grammar leaves names and types no room for syntax but dots.
						if s.Kind != acl.Capture || s.Field != acl.FieldAccount && s.Field != acl.FieldService {
							continue
						}
						meta := globMeta
						if q.Kind() == acl.Regexp {
							meta = regexpMeta
						}
						if from := fields[s.Field]; from != nil && from.Kind() == acl.Regexp && groupAdmits(from, s.Group, meta) {
							p.reportEntry(i, "%s: %s is put in unescaped, and %s can hold pattern syntax there", field, s.Text, s.Field).Fix =
								advise("let the group take plain text only, as ([a-z0-9_-]+)")
							return
						}
					}
				})
			}
		},
	}
}

// groupAdmits reports whether group n of a regexp can hold one of the characters.
func groupAdmits(q *acl.Pattern, n int, meta string) bool {
	text := q.Expand(func(acl.Segment) (string, bool) { return "x", true })
	re, err := syntax.Parse(text[1:len(text)-1], syntax.Perl)
	if err != nil {
		return false
	}
	var group *syntax.Regexp
	var find func(*syntax.Regexp)
	find = func(r *syntax.Regexp) {
		if r.Op == syntax.OpCapture && r.Cap == n {
			group = r
		}
		for _, sub := range r.Sub {
			find(sub)
		}
	}
	find(re)
	return group != nil && admits(group, meta)
}

func admits(re *syntax.Regexp, meta string) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		return strings.ContainsAny(string(re.Rune), meta)
	case syntax.OpCharClass:
		for _, r := range meta {
			for k := 0; k+1 < len(re.Rune); k += 2 {
				if re.Rune[k] <= r && r <= re.Rune[k+1] {
					return true
				}
			}
		}
	}
	for _, sub := range re.Sub {
		if admits(sub, meta) {
			return true
		}
	}
	return false
}
