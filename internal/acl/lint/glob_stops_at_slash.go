package lint

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

func globStopsAtSlash() Rule {
	return Rule{
		Name: "glob-stops-at-slash", Severity: Warning,
		Doc: "a glob that ends with * stops at the next slash, and leaves deeper names to other entries",
		check: func(p *pass) {
			p.analyse()
			for i := range p.entries {
				e := &p.entries[i]
				if e.name == nil || e.name.Kind() != acl.Glob || e.typ != nil && !matchesText(e.typ, analysis.TypeRepository) {
					continue
				}
				text := e.name.String()
				if text != "*" && !strings.HasSuffix(text, "/*") && !strings.HasSuffix(text, "/**") && text != "**" {
					continue
				}
				checkDeeper(p, i)
			}
		},
	}
}

// checkDeeper reports the glob of an entry when a name one level deeper comes out differently.
func checkDeeper(p *pass, i int) {
	e := &p.entries[i]
	deeper := sample(e.name) + "/deeper"
	var witness *acl.Request
	if p.an != nil {
		r := p.reports[i].Witness
		if r == nil || r.Type != analysis.TypeRepository {
			return // it never decides, which another rule says
		}
		w := *r
		w.Name += "/deeper"
		w.Actions = actionsAsked(e)
		d := p.policy.Decide(&w, nil)
		if d.Err != nil || sameEffect(p, i, d) {
			return
		}
		deeper = w.Name
		// Accounts that are made up are no witness.
		if _, ok := p.file.User(w.Account); ok {
			witness = &w
		}
	}
	var f *Finding
	if len(e.Actions) == 0 {
		f = p.reportEntry(i, "* does not cross a slash: %q denies nothing below, as %s", e.name, deeper)
	} else {
		f = p.reportEntry(i, "* does not cross a slash: %q does not match deeper names, as %s", e.name, deeper)
	}
	f.Witness = witness
	f.Fix = advise("name: '%s' matches at any depth", deepPattern(e.name))
}

// actionsAsked are the actions by which an entry is compared with others: its own, or all for one
// that grants or denies everything.
func actionsAsked(e *entry) []string {
	if e.star() || len(e.Actions) == 0 {
		return []string{"delete", "pull", "push"}
	}
	var out []string
	for _, a := range []string{"delete", "pull", "push"} {
		if e.grants(a) {
			out = append(out, a)
		}
	}
	return out
}

// sameEffect reports whether a decision grants as much as entry i would, or denies as it does.
func sameEffect(p *pass, i int, d acl.Decision) bool {
	asked := actionsAsked(&p.entries[i])
	if len(p.entries[i].Actions) == 0 {
		return len(d.Granted) == 0
	}
	return len(d.Granted) >= len(asked)
}

// deepPattern returns the anchored regexp for a glob that ends with a star.
func deepPattern(q *acl.Pattern) string {
	var b strings.Builder
	b.WriteString("/^")
	for _, s := range q.Segments() {
		switch s.Kind {
		case acl.Text:
			text := strings.TrimRight(s.Text, "*")
			for k, part := range strings.Split(text, "*") {
				if k > 0 {
					b.WriteString("[^/]*")
				}
				b.WriteString(regexp.QuoteMeta(part))
			}
		case acl.Label:
			fmt.Fprintf(&b, "(?:%s)", s.Text)
		default:
			b.WriteString(s.Text)
		}
	}
	return b.String() + ".+$/"
}
