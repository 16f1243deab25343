package doctor

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/acltest"
	"github.com/regctl-setup/regctl-setup/internal/acl/lint"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// policy compiles the rules as the deployment's engine understands them; nil with problems.
func (f *Facts) policy() *acl.Policy {
	if f.Auth == nil || len(f.problems) > 0 {
		return nil
	}
	p, err := acl.Compile(f.Auth.ACL, acl.Options{LiteralLabels: f.Bundled && f.Auth.Extras.LiteralLabels})
	if err != nil {
		return nil
	}
	return p
}

// rulesChecks are about the auth config by itself.
func rulesChecks() []Check {
	return []Check{
		{
			Code: "auth-config-invalid", Severity: Error,
			Title: "an auth config with mistakes",
			Why:   "the token server does not start, or goes on with the rules from before; docker_auth takes some mistakes for rules that match everybody",
			Mend:  "correct the lines named; regctl-setup acl lint explains each",
			run: func(p *pass) {
				for _, problem := range p.problems {
					f := p.report(problem.Pos(), "%s", problem.Msg)
					f.mend("%s   explains it", p.cmd("acl lint"))
					if problem.Hint != "" {
						f.mend("%s", problem.Hint)
					}
				}
			},
		},
		{
			Code: "acl-lint", Severity: Warning,
			Title: "rules or accounts that are surely not meant as they are",
			Why:   "somebody may do more than was meant, or less, or a push fails that was meant to work",
			Mend:  "regctl-setup acl lint shows the rule's name and a witness; acl lint --fix mends what leaves no doubt",
			run: func(p *pass) {
				if p.Auth == nil || len(p.problems) > 0 {
					return
				}
				in := lint.Input{File: p.Auth, Bundled: p.Bundled, Service: p.settings.text("auth.token.service")}
				if p.hasRegistry() && p.settingsErr == nil {
					in.Registry = &lint.Registry{Path: p.settings.at("storage.delete").File, Delete: p.settings.on("storage.delete.enabled"), Issuer: p.settings.text("auth.token.issuer")}
				}
				says := map[string]string{}
				for _, r := range lint.Rules() {
					says[r.Name] = r.Doc
				}
				for _, l := range lint.Run(in) {
					if l.Severity < Warning || slices.Contains([]string{"issuer-mismatch", "service-mismatch"}, l.Rule) && l.Severity == Error {
						continue // the latter have checks of their own here
					}
					f := p.report(l.Pos, "%s (rule %s)", l.Message, l.Rule)
					f.Severity = l.Severity
					if why := says[l.Rule]; why != "" {
						f.Why = why
					}
					switch {
					case l.Certain():
						f.mend("%s   does: %s", p.cmd("acl lint --fix"), l.Fix.Text)
					case l.Fix != nil:
						f.mend("%s", l.Fix.Text)
					case l.Rule == "weak-hash":
						f.mend("%s   for each of these users, or wait for their next change of password", p.cmd("user passwd NAME"))
					default:
						f.mend("docs/lint.md#%s explains the rule", l.Rule)
					}
					if w := l.Witness; w != nil {
						f.Witness = witnessText(w)
					}
				}
			},
		},
		{
			Code: "acl-test-fails", Severity: Error,
			Title: "rules that break the deployment's own test cases",
			Why:   "the rules are not those that somebody meant; serve keeps the old ones at a reload",
			Mend:  "correct the rules, or the case; regctl-setup acl test runs them all",
			run:   policyTests,
		},
	}
}

func witnessText(w *acl.Request) string {
	name := w.Account
	if name == "" {
		name = "anonymous"
	}
	text := name + " " + w.Type + ":" + w.Name
	for i, a := range w.Actions {
		if i == 0 {
			text += ":" + a
		} else {
			text += "," + a
		}
	}
	return text
}

func policyTests(p *pass) {
	file := p.Path(scaffold.PathACLTests)
	policy := p.policy()
	if policy == nil || !isFile(file) {
		return
	}
	data, err := readBounded(file, acltest.MaxFileSize)
	if err != nil {
		p.unsure("%s: %v", scaffold.PathACLTests, trimPath(err, file))
		return
	}
	cases, problems := acltest.Parse(scaffold.PathACLTests, data)
	for _, problem := range problems {
		p.report(problem.Pos(), "%s", problem.Msg).mend("correct the case; %s   checks again", p.cmd("acl test"))
	}
	if cases == nil {
		return
	}
	target := acltest.Target{Config: p.Auth, Policy: policy, Service: p.settings.text("auth.token.service")}
	if s := p.Auth.Extras.Services; len(s) > 0 && !slices.Contains(s, target.Service) {
		target.Service = s[0] // that they differ is a check of its own
	}
	if p.Bundled {
		target.Now = p.Now // docker_auth knows no expiry
	}
	result, err := acltest.Run(p.ctx, target, cases, acltest.Options{})
	if err != nil {
		p.unsure("%v", err)
		return
	}
	for _, c := range result.Cases {
		if c.Passed() {
			continue
		}
		msg := c.Err
		pos := c.Case.Pos
		for _, check := range c.Checks {
			if len(check.Failures) > 0 {
				msg, pos = check.Question.Text+": "+check.Failures[0].Message, check.Question.Pos
				break
			}
		}
		p.report(pos, "%s: %s", c.Case.Title(), msg).mend("%s   shows the entry that decides", p.cmd("acl test"))
	}
}
