package lint

func anonymousRuleWithoutUser() Rule {
	return Rule{
		Name: "anonymous-rule-without-anonymous-user", Severity: Warning,
		Doc: `an entry for account "" while there is no user "": who does not log in is refused before any rule is read`,
		check: func(p *pass) {
			if p.file.HasExternalLogin() || p.anonymous() {
				return
			}
			for i := range p.entries {
				e := &p.entries[i]
				if e.account == nil || e.account.HasPlaceholders() || !matchesText(e.account, "") || matchesText(e.account, p.somebody()) {
					continue
				}
				p.reportEntry(i, `it is for requests without a login, but there is no user "": they are refused before any rule is read`).Fix =
					advise(`add "": {} to users, or remove the entry`)
			}
		},
	}
}
