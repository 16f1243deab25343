package lint

import "github.com/regctl-setup/regctl-setup/internal/acl"

func accountUnknown() Rule {
	return Rule{
		Name: "account-unknown", Severity: Warning,
		Doc: "an entry for an account that is not among the users, where no other login has it either",
		check: func(p *pass) {
			if p.file.HasExternalLogin() {
				return
			}
			names := make([]string, len(p.file.Users))
			for i := range p.file.Users {
				names[i] = p.file.Users[i].Name
			}
			for i := range p.entries {
				q := p.entries[i].account
				if q == nil || q.Kind() != acl.Literal || q.String() == "" {
					continue
				}
				name := sample(q)
				if _, ok := p.file.User(name); ok {
					continue
				}
				f := p.reportEntry(i, "there is no user %q", name)
				near := closest(name, names)
				switch {
				case name == "anonymous":
					f.Fix = advise(`who does not log in has the empty name: account: ""`)
				case near != "":
					f.Fix = advise("did you mean %q?", near)
				default:
					f.Fix = advise("regctl-setup user add %s, or remove the entry", name)
				}
			}
		},
	}
}
