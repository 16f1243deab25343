package lint

import (
	"slices"
	"strings"
)

func starNotAlone() Rule {
	return Rule{
		Name: "star-not-alone", Severity: Error,
		Doc: `"*" beside other actions is no wildcard: only ["*"] grants everything`,
		check: func(p *pass) {
			for i := range p.entries {
				e := &p.entries[i]
				if len(e.Actions) < 2 || !slices.Contains(e.Actions, "*") {
					continue
				}
				others := slices.DeleteFunc(slices.Clone(e.Actions), func(a string) bool { return a == "*" })
				f := p.reportEntry(i, `"*" grants everything only when it stands alone; beside %s it grants no more than the action "*" itself`, strings.Join(others, ", "))
				f.Fix = advise(`actions: ["*"] for everything, or actions: [%s]`, strings.Join(others, ", "))
			}
		},
	}
}
