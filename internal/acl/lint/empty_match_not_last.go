package lint

func emptyMatchNotLast() Rule {
	return Rule{
		Name: "empty-match-not-last", Severity: Warning,
		Doc: "an entry that matches every request has others after it, which never run",
		check: func(p *pass) {
			for i := range p.entries[:max(0, len(p.entries)-1)] {
				e := &p.entries[i]
				m := &e.Match
				if e.broken || m.Account != nil || m.Type != nil || m.Name != nil || m.Service != nil || m.IP != nil || len(m.Labels) > 0 {
					continue
				}
				p.reportEntry(i, "it matches every request, so that none of the %d after it ever decides", len(p.entries)-1-i).Fix = advise("move it to the end")
			}
		},
	}
}
