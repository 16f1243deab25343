package lint

import (
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

func partlyShadowed() Rule {
	return Rule{
		Name: "partly-shadowed", Severity: Info,
		Doc: "an entry above decides about some of what an entry matches, and grants less; found by examples",
		check: func(p *pass) {
			if !p.analyse() {
				return
			}
			// Accounts and names that the entries tell apart, each pair asked once for each entry.
			var names []string
			for _, r := range p.real {
				if r.Witness != nil && r.Witness.Type == analysis.TypeRepository && !slices.Contains(names, r.Witness.Name) {
					names = append(names, r.Witness.Name)
				}
				if len(names) == maxShadowNames {
					break
				}
			}
			users := p.users[:min(len(p.users), maxShadowUsers)]
			for i := 1; i < len(p.entries) && i < maxShadowEntries; i++ {
				if p.reports[i].Reachable {
					shadowedBy(p, i, users, names)
				}
			}
		},
	}
}

// Bounds of the search for examples.
const (
	maxShadowNames   = 24
	maxShadowUsers   = 24
	maxShadowEntries = 200
)

func shadowedBy(p *pass, i int, users []*config.User, names []string) {
	e := &p.entries[i]
	for _, u := range users {
		for _, n := range names {
			r := acl.Request{Account: u.Name, Labels: u.LabelMap(), Type: analysis.TypeRepository, Name: n, Service: p.in.Service, Actions: []string{"delete", "pull", "push"}}
			d := p.policy.Decide(&r, nil)
			if d.Index < 0 || d.Index >= i || d.Err != nil || !p.matches(i, &r) {
				continue
			}
			var less []string
			for _, a := range r.Actions {
				if e.grants(a) && !p.entries[d.Index].grants(a) {
					less = append(less, a)
				}
			}
			if len(less) == 0 {
				continue
			}
			r.Actions = less
			f := p.reportEntry(i, "entry %d above it decides about %q and %s, and does not grant %s", d.Index+1, u.Name, n, strings.Join(less, ", "))
			f.Witness = &r
			f.Fix = advise("move the entry above entry %d, if it is to count there", d.Index+1)
			return
		}
	}
}
