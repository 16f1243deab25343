package lint

func issuerMismatch() Rule {
	return Rule{
		Name: "issuer-mismatch", Severity: Error,
		Doc: "the registry expects another issuer, and so refuses every token",
		check: func(p *pass) {
			r := p.in.Registry
			if r == nil || r.Issuer == "" || p.file.Token.Issuer == "" || r.Issuer == p.file.Token.Issuer {
				return
			}
			p.report(p.file.Position("token", "issuer"), "tokens are issued by %q, but the registry (%s) expects %q and refuses them", p.file.Token.Issuer, r.Path, r.Issuer).Fix =
				advise("issuer: %q", r.Issuer)
		},
	}
}
