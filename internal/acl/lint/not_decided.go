package lint

func notDecided() Rule {
	return Rule{
		Name: "not-decided", Severity: Info,
		Doc: "a pattern that is too large for an exact answer about the entry",
		check: func(p *pass) {
			if !p.analyse() {
				return
			}
			for i, r := range p.reports {
				if r.NotDecided != "" {
					p.reportEntry(i, "whether it ever decides is not decided: %s", r.NotDecided)
				}
			}
		},
	}
}
