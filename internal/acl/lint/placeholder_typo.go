package lint

import (
	"regexp"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func placeholderTypo() Rule {
	return Rule{
		Name: "placeholder-typo", Severity: Error,
		Doc: "text that was meant as a placeholder and is not replaced, as {labels:team} or ${label:team}",
		check: func(p *pass) {
			for i := range p.entries {
				p.entries[i].patterns(func(field string, q *acl.Pattern) {
					checkPlaceholders(p, i, field, q)
				})
				checkCaptures(p, i)
			}
		},
	}
}

// likePlaceholder finds what looks like a placeholder: a word in braces, with or without the dollar
// sign and something after a colon or dot.
var likePlaceholder = regexp.MustCompile(`(\$?)[{(] *([A-Za-z_]+) *(?:([:.]) *([^{}()/]*?) *)?[})]|(\$)(account|type|name|service|user)\b`)

func checkPlaceholders(p *pass, i int, field string, q *acl.Pattern) {
	for _, s := range q.Segments() {
		if s.Kind == acl.Label && strings.HasPrefix(field, "labels.") {
			f := p.reportEntry(i, "%s: %s is not replaced in the pattern of a label", field, s.Text)
			f.Fix = advise("in label patterns only ${account}, ${type}, ${name} and ${service} are replaced")
		}
		if s.Kind != acl.Text {
			continue
		}
		for _, m := range likePlaceholder.FindAllStringSubmatchIndex(s.Text, -1) {
			found := s.Text[m[0]:m[1]]
			group := func(n int) string {
				if m[2*n] < 0 {
					return ""
				}
				return s.Text[m[2*n]:m[2*n+1]]
			}
			dollar, word, rest := group(1)+group(5), group(2)+group(6), group(4)
			parens := strings.HasPrefix(strings.TrimPrefix(found, "$"), "(")
			switch {
			case dollar == "" && parens: // a group of a regexp, or parentheses
				continue
			case dollar == "" && m[0] >= 2 && (s.Text[m[0]-2:m[0]] == `\p` || s.Text[m[0]-2:m[0]] == `\P`):
				continue
			}
			meant := placeholderFor(word, group(3), rest)
			if meant == "" && dollar == "" {
				continue
			}
			f := p.reportEntry(i, "%s: %q is no placeholder and stands for itself", field, found)
			if meant == "" || strings.HasPrefix(field, "labels.") && strings.HasPrefix(meant, "${labels:") {
				f.Fix = advise("placeholders are ${account}, ${type}, ${name}, ${service} and ${labels:KEY}")
				continue
			}
			f.Fix = &Fix{Text: "write " + meant, Apply: replaceInEntry(i, q.String(), found, meant)}
		}
	}
}

// placeholderFor returns the placeholder that a word in braces was meant for, or "".
func placeholderFor(word, sign, rest string) string {
	low := strings.ToLower(word)
	if sign != "" && rest != "" {
		if slices.Contains([]string{"labels", "label", "lable", "lables", "labl"}, low) || closest(low, []string{"labels"}) != "" {
			return "${labels:" + rest + "}"
		}
		return ""
	}
	if sign != "" {
		return ""
	}
	for _, known := range []string{"account", "type", "name", "service"} {
		if low == known || closest(low, []string{known}) != "" && len(low) > 4 {
			return "${" + known + "}"
		}
	}
	switch low {
	case "user", "username", "login", "accounts":
		return "${account}"
	}
	return ""
}

// checkCaptures reports captures that are left as they stand.
func checkCaptures(p *pass, i int) {
	if p.policy == nil {
		return
	}
	replaced := p.policy.Patterns(i)
	check := func(field string, written, compiled *acl.Pattern) {
		if written == nil || compiled == nil {
			return
		}
		for _, s := range written.Segments() {
			if s.Kind != acl.Capture {
				continue
			}
			ok := slices.ContainsFunc(compiled.Segments(), func(c acl.Segment) bool { return c.Kind == acl.Capture && c.Text == s.Text })
			if !ok {
				f := p.reportEntry(i, "%s: %s is not replaced: %s of this entry is no regexp with that many groups", field, s.Text, s.Field)
				f.Fix = advise(`write %s as a regexp with a group, as in "/^(.+)@example\\.com$/"`, s.Field)
			}
		}
	}
	e := &p.entries[i]
	check("account", e.account, replaced.Account)
	check("type", e.typ, replaced.Type)
	check("name", e.name, replaced.Name)
	check("service", e.service, replaced.Service)
}
