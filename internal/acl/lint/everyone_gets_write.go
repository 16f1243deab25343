package lint

import (
	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func everyoneGetsWrite() Rule {
	return Rule{
		Name: "everyone-gets-write", Severity: Warning,
		Doc: "every account that logs in may push to, or delete, everything",
		check: func(p *pass) {
			if p.policy == nil {
				return
			}
			for _, name := range []string{"any", "any/name", "any/name/below"} {
				r := acl.Request{Account: p.somebody(), Type: "repository", Name: name, Service: p.in.Service, Actions: []string{"delete", "pull", "push"}}
				d := p.policy.Decide(&r, nil)
				if d.Err != nil || d.Index < 0 {
					continue
				}
				e := &p.entries[d.Index]
				if !e.grants("push") && !e.grants("delete") || p.flagged(d.Index, "everyone-gets-write", "anonymous-write") {
					continue
				}
				what := "push to"
				if !e.grants("push") {
					what = "delete"
				}
				f := p.reportEntry(d.Index, "every account that logs in may %s any repository", what)
				for _, u := range p.users {
					if u.Name == "" {
						continue
					}
					if w, got := p.decide(u, "repository", name, "push"); got.Index == d.Index && len(got.Granted) > 0 {
						f.Witness = &w
						break
					}
				}
				f.Fix = advise("name who may: labels: {role: administrator}, or a namespace: name: '/^${account}/.+$/'")
			}
		},
	}
}
