package lint

import "github.com/regctl-setup/regctl-setup/internal/config"

func userWithoutPassword() Rule {
	return Rule{
		Name: "user-without-password", Severity: Error, Codes: []string{config.CodeNoPassword},
		Doc: "a named user that any password lets in; warning where allow_passwordless serves it on purpose",
		check: func(p *pass) {
			if !p.file.Extras.AllowPasswordless {
				return // the parser has said it
			}
			for i := range p.file.Users {
				if u := &p.file.Users[i]; !u.HasPassword && u.Name != "" {
					f := p.report(u.Pos, "user %q has no password: any password is let in", u.Name)
					f.Severity = Warning
					f.Fix = advise("regctl-setup user passwd %s", u.Name)
				}
			}
		},
	}
}
