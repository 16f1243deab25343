package lint

import (
	"slices"
	"strings"
)

func serviceMismatch() Rule {
	return Rule{
		Name: "service-mismatch", Severity: Error,
		Doc: "services that the registry's own name is not among; warning for an entry whose service is not the registry's",
		check: func(p *pass) {
			if p.in.Service == "" {
				return
			}
			x := &p.file.Extras
			if len(x.Services) > 0 && !slices.Contains(x.Services, p.in.Service) {
				p.report(p.file.Position("x-regctl-setup", "services"), "the registry's service is %q, but tokens are signed only for %s", p.in.Service, strings.Join(x.Services, ", ")).Fix =
					advise("services: [%q]", p.in.Service)
			}
			for i := range p.entries {
				s := p.entries[i].service
				if s == nil || s.HasPlaceholders() || matchesText(s, p.in.Service) || slices.ContainsFunc(x.Services, func(v string) bool { return matchesText(s, v) }) {
					continue
				}
				f := p.reportEntry(i, "service %q is not the registry's, which is %q: the entry never matches", s, p.in.Service)
				f.Severity = Warning
				f.Fix = advise("leave service out, or write %q", p.in.Service)
			}
		},
	}
}
