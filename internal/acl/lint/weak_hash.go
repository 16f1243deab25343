package lint

import "github.com/regctl-setup/regctl-setup/internal/config"

func weakHash() Rule {
	return Rule{
		Name: "weak-hash", Severity: Warning, Codes: []string{config.CodeWeakHash},
		Doc: "a password hash that is cheap to try; error where the password is a word that is tried first",
		check: func(p *pass) {
			if p.in.Guess == nil {
				return
			}
			for i := range p.file.Users {
				u := &p.file.Users[i]
				if !u.HasPassword {
					continue
				}
				word, found := p.in.Guess(u.Hash, u.Name)
				if !found {
					continue
				}
				what := "a well-known word"
				switch word {
				case "":
					what = "empty"
				case u.Name:
					what = "the user's own name"
				}
				f := p.report(u.PasswordPos, "the password of user %q is %s: it is among the first that are tried", u.Name, what)
				f.Severity = Error
				f.Fix = advise("regctl-setup user passwd %s", u.Name)
			}
		},
	}
}
