package lint

import (
	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

func catalogByAccident() Rule {
	return Rule{
		Name: "catalog-by-accident", Severity: Warning,
		Doc: "an entry without type also grants the list of all repositories; info for an administrator's entry",
		check: func(p *pass) {
			for i := range p.entries {
				e := &p.entries[i]
				if !e.star() || e.broken || e.typ != nil && (e.typ.Kind() == acl.Literal || !matchesText(e.typ, analysis.TypeRegistry)) {
					continue
				}
				if !matchesText(e.name, "catalog") {
					continue
				}
				f := p.reportEntry(i, "it also grants registry:catalog:*, the list of all repositories")
				f.Fix = advise("type: repository, and an entry {type: registry, name: catalog} where the list is meant")
				if e.name == nil && particular(p, e) {
					f.Severity = Info
				}
			}
		},
	}
}

// particular reports whether an entry is for some accounts and not for everybody.
func particular(p *pass, e *entry) bool {
	if len(e.labels) > 0 || e.Match.IP != nil {
		return true
	}
	return e.account != nil && !matchesText(e.account, p.somebody())
}
