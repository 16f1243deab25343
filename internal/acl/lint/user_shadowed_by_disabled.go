package lint

import (
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func userShadowedByDisabled() Rule {
	return Rule{
		Name: "user-shadowed-by-disabled", Severity: Warning,
		Doc: "an active user whose name differs from a disabled one's only in case; info for entries and logins that a disabled user keeps from working",
		check: func(p *pass) {
			disabled := map[string]string{}
			for i := range p.file.Users {
				if u := &p.file.Users[i]; u.Disabled {
					disabled[strings.ToLower(u.Name)] = u.Name
				}
			}
			if len(disabled) == 0 {
				return
			}
			for i := range p.file.Users {
				u := &p.file.Users[i]
				other, ok := disabled[strings.ToLower(u.Name)]
				switch {
				case !ok || u.Disabled && !p.file.HasExternalLogin():
				case u.Disabled:
					p.report(u.Pos, "user %q is disabled here, which also keeps an account of that name in the other login out", u.Name).Severity = Info
				case other != u.Name:
					p.report(u.Pos, "user %q can log in, while %q is disabled: their names differ only in case", u.Name, other).Fix =
						advise("regctl-setup user disable %s, if they are the same person", u.Name)
				}
			}
			for i := range p.entries {
				if q := p.entries[i].account; q != nil && q.Kind() == acl.Literal {
					if u, ok := p.file.User(sample(q)); ok && u.Disabled {
						p.reportEntry(i, "it is for %q, who is disabled", u.Name).Severity = Info
					}
				}
			}
		},
	}
}
