package lint

func decidedElsewhere() Rule {
	return Rule{
		Name: "decided-elsewhere", Severity: Info,
		Doc: "a section whose rules are not in the file: what no entry matches is not known",
		check: func(p *pass) {
			for _, s := range p.file.Sections {
				if !s.Login {
					p.report(s.Pos, "%s decides what no entry of acl matches; the findings are about the entries alone", s.Name)
				}
			}
		},
	}
}
