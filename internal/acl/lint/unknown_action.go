package lint

import (
	"slices"
	"strings"
)

func unknownAction() Rule {
	return Rule{
		Name: "unknown-action", Severity: Warning,
		Doc: "an action that no registry asks for, so that it grants nothing",
		check: func(p *pass) {
			known := []string{"pull", "push", "delete", "*"}
			for i := range p.entries {
				e := &p.entries[i]
				if e.typ != nil && !matchesText(e.typ, "repository") && !matchesText(e.typ, "registry") {
					continue // registries of another kind have actions of their own
				}
				for _, a := range e.Actions {
					if slices.Contains(known, a) {
						continue
					}
					f := p.reportEntry(i, "no registry asks for the action %q, expected pull, push, delete or *", a)
					meant := closest(a, known)
					switch strings.ToLower(a) {
					case "read", "download", "get":
						meant = "pull"
					case "write", "upload", "put":
						meant = "push"
					case "remove", "rm":
						meant = "delete"
					case "all", "any", "admin":
						meant = "*"
					}
					if low := strings.ToLower(strings.TrimSpace(a)); slices.Contains(known, low) {
						meant = low
					}
					if meant != "" {
						f.Fix = advise("did you mean %q?", meant)
					}
				}
			}
		},
	}
}
