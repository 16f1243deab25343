package lint

import (
	"time"

	"github.com/regctl-setup/regctl-setup/internal/config"
)

// Lifetimes of tokens below which pushes fail in practice: docker_auth's examples have 900 seconds,
// in which a large layer does not get through a slow line.
const (
	shortPush = 900 * time.Second
	shortAny  = 60 * time.Second
)

func lifetimeTooShort() Rule {
	return Rule{
		Name: "lifetime-too-short", Severity: Warning, Codes: []string{config.CodeLifetimeShort},
		Doc: "tokens that end before a push does; info for exactly 15 minutes",
		check: func(p *pass) {
			x := &p.file.Extras
			lifetime, pos := p.file.Token.Expiration, p.file.Position("token", "expiration")
			if p.in.Bundled && x.PushExpiration > 0 {
				lifetime, pos = x.PushExpiration, p.file.Position("x-regctl-setup", "expiration", "push")
			}
			if lifetime < shortAny || lifetime > shortPush {
				return // nothing, or the parser has said it
			}
			for i := range p.entries {
				if !p.entries[i].grants("push") {
					continue
				}
				f := p.report(pos, "tokens live for %d seconds: a push of large layers over a slow line takes longer, and fails at its end", int(lifetime/time.Second))
				if lifetime == shortPush {
					f.Severity = Info
				}
				f.Fix = advise("expiration: 3600")
				return
			}
		},
	}
}
