package lint

func engineDiffers() Rule {
	return Rule{
		Name: "engine-differs", Severity: Error,
		Doc: "a setting that the deployment's engine does not know, so that the config means something else there",
		check: func(p *pass) {
			if p.in.Bundled {
				return
			}
			x := &p.file.Extras
			if x.LiteralLabels {
				uses := labelUses(p)
				for k := range p.file.Users {
					u := &p.file.Users[k]
					for _, l := range u.Labels {
						use, ok := uses[l.Key]
						if !ok {
							continue
						}
						for _, v := range l.Values {
							if i := use.wider(v); i >= 0 {
								p.report(u.Pos, "literal_labels does nothing under docker_auth: the label %s: %q of user %q is a pattern in entry %d there", l.Key, v, u.Name, i+1).Fix =
									advise("a value of letters, digits, - and _ means the same under both engines")
							}
						}
					}
				}
				for i := range p.entries {
					if p.flagged(i, "capture-as-pattern") {
						p.reportEntry(i, "literal_labels does nothing under docker_auth: captures are patterns there").Fix = advise("let the group take plain text only, as ([a-z0-9_-]+)")
					}
				}
			}
			for _, setting := range []struct {
				set  bool
				name string
			}{{x.PullExpiration > 0, "pull"}, {x.PushExpiration > 0, "push"}} {
				if setting.set {
					f := p.report(p.file.Position("x-regctl-setup", "expiration", setting.name), "docker_auth does not know expiration.%s: every token lives as long as token.expiration says", setting.name)
					f.Severity = Warning
				}
			}
		},
	}
}
