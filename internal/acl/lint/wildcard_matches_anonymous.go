package lint

import "github.com/regctl-setup/regctl-setup/internal/acl"

func wildcardMatchesAnonymous() Rule {
	return Rule{
		Name: "wildcard-matches-anonymous", Severity: Warning,
		Doc: `an account pattern for everybody, as "*", that also matches who does not log in`,
		check: func(p *pass) {
			if !p.anonymous() {
				return
			}
			for i := range p.entries {
				e := &p.entries[i]
				if e.account == nil || e.account.Kind() == acl.Literal || len(e.Actions) == 0 || len(e.labels) > 0 ||
					!matchesText(e.account, "") || !matchesText(e.account, p.somebody()) {
					continue
				}
				p.reportEntry(i, "account %q also matches requests without a login", e.account).Fix =
					advise(`"/.+/" is for accounts that have logged in; leave account out where everybody is meant`)
			}
		},
	}
}
