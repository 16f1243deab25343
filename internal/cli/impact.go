package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// impact says whose access an edit may change, so that the change is told before it is
// written.
type impact struct {
	accounts []string // only these; their names before and after the edit
	rules    bool     // everybody: the rules themselves change
	question string   // asked on a terminal whatever the edit does to access; "" = asks only for a loss or a grant to everybody
}

// none is the impact of edits that can't change who may do what.
func none() impact { return impact{} }

// forAccounts is the impact of edits on users.
func forAccounts(names ...string) impact { return impact{accounts: names} }

// maxAnalysed bounds users times entries for which an edit of the rules is analysed: beyond
// it the answer would take longer than a person waits, and acl diff gives it.
const maxAnalysed = 20_000_000

// shownChanges is how many lines of gains and losses are shown.
const shownChanges = 8

// announce tells what the edit does to access and asks where it must. An error means that
// nothing may be written.
func (a *app) announce(ctx context.Context, d *deployment.Deployment, before, after *config.File, im impact) (analysis.Changes, error) {
	var changes analysis.Changes
	if im.rules || len(im.accounts) > 0 {
		var err error
		if changes, err = a.accessChanges(ctx, d, before, after, im); err != nil {
			return changes, err
		}
		a.printChanges(changes)
	}
	question := im.question
	switch {
	case question != "":
	case len(changes.Losses) > 0:
		question = "Somebody loses access. Go on?"
	case slices.ContainsFunc(changes.Gains, toEverybody(after)):
		question = "Everybody gains access. Go on?"
	}
	if question == "" || a.yes || !a.io.CanPrompt() {
		return changes, nil
	}
	ok, err := a.io.Confirm(question)
	if err != nil {
		return changes, fail(err)
	}
	if !ok {
		return changes, refuse(errors.New("nothing written"))
	}
	return changes, nil
}

// toEverybody reports whether a change is for who does not log in, for accounts that live
// elsewhere, or for all users.
func toEverybody(f *config.File) func(analysis.Change) bool {
	users := 0
	for i := range f.Users {
		if !f.Users[i].Disabled && f.Users[i].Name != "" {
			users++
		}
	}
	return func(c analysis.Change) bool {
		return c.External != "" || slices.Contains(c.Accounts, "") || users > 1 && len(c.Accounts) >= users
	}
}

// accessChanges compares the rules before and after over the accounts that the edit concerns.
func (a *app) accessChanges(ctx context.Context, d *deployment.Deployment, before, after *config.File, im impact) (analysis.Changes, error) {
	var none analysis.Changes
	if im.rules && len(after.Users)*max(len(after.ACL), 1) > maxAnalysed {
		a.note("access: not worked out for %d users and %d entries; acl diff does it", len(after.Users), len(after.ACL))
		return none, nil
	}
	side := func(f *config.File) (*analysis.Analysis, error) {
		policy, err := a.policy(f, d)
		if err != nil {
			return nil, err
		}
		u, err := a.universe(ctx, f, d)
		if err != nil {
			return nil, err
		}
		if !im.rules {
			u.External, u.Anonymous = false, false
			u.Users = slices.DeleteFunc(u.Users, func(x analysis.User) bool { return !slices.Contains(im.accounts, x.Name) })
		}
		return analysis.New(policy, u)
	}
	if len(before.Problems()) > 0 {
		return none, nil // rules with a fault mean nothing to compare with
	}
	was, err := side(before)
	if err != nil {
		return none, err
	}
	is, err := side(after)
	if err != nil {
		return none, err
	}
	if !im.rules && !slices.ContainsFunc(im.accounts, func(n string) bool { return a.canAsk(before, n) && a.canAsk(after, n) }) {
		return a.comings(was, is, before, after, im.accounts)
	}
	changes, err := analysis.Diff(was, is)
	if err != nil {
		return none, fail(err)
	}
	return changes, nil
}

// canAsk reports whether the file has the account, and lets it log in.
func (a *app) canAsk(f *config.File, name string) bool {
	u, ok := f.User(name)
	return ok && cantLogIn(a, u) == ""
}

// comings is the change of accounts that are in one of the two files only: they gain or lose
// all that it gives them, which is found without comparing the rules.
func (a *app) comings(was, is *analysis.Analysis, before, after *config.File, accounts []string) (analysis.Changes, error) {
	var out analysis.Changes
	for _, name := range accounts {
		an, gain := was, false
		switch {
		case a.canAsk(after, name):
			an, gain = is, true
		case !a.canAsk(before, name):
			continue
		}
		grants, undecided, err := an.Effective(name)
		if err != nil {
			return out, fail(err)
		}
		out.Undecided = append(out.Undecided, undecided...)
		for _, g := range grants {
			c := analysis.Change{Accounts: []string{name}, Type: g.Type, Names: g.Names, Actions: g.Actions, OldEntry: -1, NewEntry: g.Entry, Witness: g.Witness}
			if gain {
				out.Gains = append(out.Gains, c)
			} else {
				c.OldEntry, c.NewEntry = g.Entry, -1
				out.Losses = append(out.Losses, c)
			}
		}
	}
	return out, nil
}

func (a *app) printChanges(c analysis.Changes) {
	if len(c.Gains)+len(c.Losses)+len(c.Undecided) == 0 {
		a.note("access: unchanged")
		return
	}
	shown := 0
	tell := func(verb string, list []analysis.Change) {
		for i, ch := range list {
			if shown == shownChanges {
				a.note("access: … and %d more like it (%s)", len(list)-i, verb)
				return
			}
			shown++
			a.note("access: %s %s %s on %s", changeWho(ch), verb, strings.Join(ch.Actions, ","), changeNames(ch))
		}
	}
	tell("gains", c.Gains)
	shown = 0
	tell("loses", c.Losses)
	for _, u := range c.Undecided[:min(3, len(c.Undecided))] {
		a.note("access: %s", u)
	}
}

func changeWho(c analysis.Change) string {
	return whoText(analysis.Grant{Accounts: c.Accounts, External: c.External})
}

func changeNames(c analysis.Change) string {
	return namesText(analysis.Grant{Type: c.Type, Names: c.Names})
}

// describeChange is a row of acl diff.
func describeChange(c analysis.Change, before, after []acl.Entry, gain bool) grantJSON {
	g := analysis.Grant{Accounts: c.Accounts, External: c.External, Type: c.Type, Names: c.Names, Actions: c.Actions, Entry: c.NewEntry, Witness: c.Witness}
	entries := after
	if !gain {
		g.Entry, entries = c.OldEntry, before
	}
	return describeGrant(g, entries)
}
