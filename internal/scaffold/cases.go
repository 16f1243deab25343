package scaffold

import (
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
)

// aclCase is one case of conf/acl-tests.yml.
type aclCase struct {
	Who          string
	Labels       []answers.Label // for accounts that the config does not know
	Accept, Deny []string        // "ACTION REPOSITORY"
	Reason       string
}

// cases returns what the generated rules promise, as cases that hold for them.
func (v *view) cases() []aclCase {
	var out []aclCase
	for _, u := range v.A.Accounts() {
		if slices.Contains(u.Label(answers.RoleLabel), answers.RoleAdmin) {
			out = append(out, aclCase{Who: u.Name, Reason: "administrators may do everything",
				Accept: []string{"pull library/nginx", "push library/nginx", "push any/other/name", "delete any/other/name"}})
		}
	}
	for i, team := range v.Teams {
		out = append(out, v.developer(team, i))
	}
	stranger := v.stranger("somebody")
	visitor := aclCase{Who: stranger, Labels: []answers.Label{{Name: answers.RoleLabel, Values: []string{"visitor"}}},
		Accept: []string{"pull library/nginx"},
		Deny:   []string{"push library/nginx", "delete library/nginx"},
		Reason: "everybody who has logged in pulls, and no more"}
	for _, team := range v.Teams {
		visitor.Deny = append(visitor.Deny, "push "+answers.TeamPrefix+team+"/api")
	}
	if v.A.OwnNamespace {
		visitor.Accept = append(visitor.Accept, "push "+stranger+"/app", "delete "+stranger+"/deep/er/app")
		visitor.Deny = append(visitor.Deny, "push "+stranger+"-2/app", "push other/"+stranger+"/app")
		visitor.Reason = "everybody who has logged in pulls everything, and owns what is below the own name"
	}
	return append(out, visitor, v.nobody())
}

// developer is the case of a developer of one team; i is the team's index.
func (v *view) developer(team string, i int) aclCase {
	space := answers.TeamPrefix + team + "/"
	c := aclCase{
		Who:    v.stranger("developer-of-" + team),
		Labels: []answers.Label{{Name: answers.RoleLabel, Values: []string{answers.RoleDeveloper}}, {Name: answers.TeamLabel, Values: []string{team}}},
		Accept: []string{"push " + space + "api", "pull " + space + "api", "push " + space + "sub/app", "pull library/nginx"},
		Deny:   []string{"delete " + space + "api", "push library/nginx", "push " + answers.TeamPrefix + team + "-more/api", "push other/" + space + "api"},
		Reason: "developers push to the namespace of their own team, at any depth",
	}
	if slices.Contains(v.Teams, team+"-more") {
		c.Deny = slices.DeleteFunc(c.Deny, func(s string) bool { return strings.Contains(s, "-more/") })
	}
	if len(v.Teams) > 1 {
		other := v.Teams[(i+1)%len(v.Teams)]
		c.Deny = append(c.Deny, "push "+answers.TeamPrefix+other+"/web")
		c.Accept = append(c.Accept, "pull "+answers.TeamPrefix+other+"/web")
	}
	return c
}

// nobody is the case of a request without a login.
func (v *view) nobody() aclCase {
	c := aclCase{Who: "anonymous", Deny: []string{"push library/nginx", "delete library/nginx"}}
	switch {
	case !v.Anonymous:
		c.Deny = append([]string{"pull library/nginx"}, c.Deny...)
		c.Reason = "nothing without a login"
	case v.AnonymousPattern == "":
		c.Accept = []string{"pull library/nginx"}
		c.Reason = "without a login everything can be pulled, and nothing more"
	default:
		// A name that the pattern matches: each * and ** replaced by a plain component.
		example := strings.ReplaceAll(strings.ReplaceAll(v.A.AnonymousPull, "**", "some/image"), "*", "some")
		c.Accept = []string{"pull " + example}
		c.Deny = []string{"push " + example, "delete " + example}
		if !strings.HasPrefix(v.A.AnonymousPull, "*") {
			c.Deny = append(c.Deny, "pull not-"+example)
		}
		c.Reason = "without a login only these names can be pulled"
	}
	return c
}

// stranger returns name, changed until no account has it.
func (v *view) stranger(name string) string {
	for slices.ContainsFunc(v.A.Accounts(), func(u answers.User) bool { return u.Name == name }) {
		name += "-2"
	}
	return name
}
