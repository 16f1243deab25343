package lint

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// Roles that a new deployment has rules for, before anybody has them.
const (
	roleLabel     = "role"
	roleAdmin     = "administrator"
	roleDeveloper = "developer"
)

func labelNobodyHas() Rule {
	return Rule{
		Name: "label-nobody-has", Severity: Warning,
		Doc: "a label that no user has with such a value; info for the roles that init writes",
		check: func(p *pass) {
			if p.file.HasExternalLogin() {
				return
			}
			keys := make([]string, 0, len(p.values))
			for k := range p.values {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for i := range p.entries {
				e := &p.entries[i]
				severity := Warning
				for _, l := range e.labels {
					if l.key == roleLabel && (l.pattern.String() == roleAdmin || l.pattern.String() == roleDeveloper) {
						severity = Info
					}
				}
				for _, l := range e.labels {
					if l.pattern.HasPlaceholders() || slices.ContainsFunc(p.values[l.key], func(v string) bool { return matchesText(&l.pattern, v) }) {
						continue
					}
					f := p.reportEntry(i, "no user has the label %s: %s", l.key, l.pattern.String())
					f.Severity = severity
					if near := closest(l.key, keys); len(p.values[l.key]) == 0 && near != "" {
						f.Fix = advise("did you mean the label %q?", near)
					} else if near := closest(l.pattern.String(), p.values[l.key]); near != "" {
						f.Fix = advise("did you mean %q?", near)
					} else {
						f.Fix = advise("regctl-setup user label NAME %s=%s", l.key, sample(&l.pattern))
					}
				}
				seen := map[string]bool{}
				e.patterns(func(_ string, q *acl.Pattern) {
					for _, s := range q.Segments() {
						if s.Kind != acl.Label || seen[s.Key] || len(p.values[s.Key]) > 0 {
							continue
						}
						seen[s.Key] = true
						f := p.reportEntry(i, "no user has the label %q, so that %s stands for nothing", s.Key, s.Text)
						f.Severity = severity
						if near := closest(s.Key, keys); near != "" {
							f.Fix = advise("did you mean ${labels:%s}?", near)
						} else {
							f.Fix = advise("regctl-setup user label NAME %s=VALUE", s.Key)
						}
					}
				})
			}
		},
	}
}
