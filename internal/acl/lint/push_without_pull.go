package lint

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

func pushWithoutPull() Rule {
	return Rule{
		Name: "push-without-pull", Severity: Warning,
		Doc: "an entry that grants push and not pull: registries ask for both when something is pushed",
		check: func(p *pass) {
			for i := range p.entries {
				e := &p.entries[i]
				if slices.Contains(e.Actions, "push") && !slices.Contains(e.Actions, "pull") && matchesText(e.typ, analysis.TypeRepository) {
					p.reportEntry(i, "it grants push without pull: a push takes both, and the first matching entry decides alone").Fix = advise("actions: [pull, push]")
				}
			}
		},
	}
}
