package lint

import (
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

func catalogNever() Rule {
	return Rule{
		Name: "catalog-never", Severity: Warning,
		Doc: `an entry for the catalog that does not grant "*", the only action that the catalog knows`,
		check: func(p *pass) {
			for i := range p.entries {
				e := &p.entries[i]
				if e.typ == nil || len(e.Actions) == 0 || slices.Contains(e.Actions, "*") ||
					!matchesText(e.typ, analysis.TypeRegistry) || matchesText(e.typ, analysis.TypeRepository) || !matchesText(e.name, "catalog") {
					continue
				}
				p.reportEntry(i, `the list of repositories takes the action "*", so that %s does not let anybody read it`, strings.Join(e.Actions, ", ")).Fix =
					advise(`actions: ["*"]`)
			}
		},
	}
}
