package lint

import (
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

func anonymousWrite() Rule {
	return Rule{
		Name: "anonymous-write", Severity: Error,
		Doc: "who does not log in may push or delete",
		check: func(p *pass) {
			if !p.anonymous() || !p.analyse() {
				return
			}
			grants, _, err := p.an.Effective("")
			if err != nil {
				return
			}
			for _, g := range grants {
				if g.Type != analysis.TypeRepository || p.flagged(g.Entry, "anonymous-write") {
					continue
				}
				var writes []string
				for _, a := range []string{"push", "delete"} {
					if p.entries[g.Entry].grants(a) {
						writes = append(writes, a)
					}
				}
				if len(writes) == 0 || g.Witness == nil {
					continue
				}
				w := *g.Witness
				w.Actions = slices.Sorted(slices.Values(writes))
				f := p.reportEntry(g.Entry, "requests without a login may %s %s", strings.Join(writes, " and "), g.Names)
				f.Witness = &w
				f.Fix = advise(`account: "/.+/" is for everybody who has logged in`)
			}
		},
	}
}
