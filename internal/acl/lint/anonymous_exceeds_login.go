package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

func anonymousExceedsLogin() Rule {
	return Rule{
		Name: "anonymous-exceeds-login", Severity: Warning,
		Doc: "who does not log in may do what an account that has logged in may not",
		check: func(p *pass) {
			if !p.anonymous() || !p.analyse() {
				return
			}
			found, _ := p.an.AnonymousExceeds()
			for len(found) > 0 {
				i := found[0].Entry
				var same []analysis.Excess
				found = slices.DeleteFunc(found, func(x analysis.Excess) bool {
					if x.Entry != i {
						return false
					}
					if x.Type == analysis.TypeRepository {
						same = append(same, x)
					}
					return true
				})
				if len(same) > 0 && i >= 0 {
					exceeds(p, i, same)
				}
			}
		},
	}
}

// exceeds reports that entry i lets the anonymous account do what others may not.
func exceeds(p *pass, i int, found []analysis.Excess) {
	var who []string
	undecided := true
	for _, x := range found {
		who = append(who, x.Accounts...)
		undecided = undecided && x.LoginEntry < 0 // nothing that somebody wrote is in the way
	}
	slices.Sort(who)
	who = slices.Compact(who)
	if len(who) == 0 || found[0].LoginWitness == nil {
		return
	}
	x := found[0]
	witness := *x.LoginWitness
	for _, name := range []string{"library/nginx", "library/alpine"} { // what people try first
		r := witness
		if r.Name = name; x.Names.Contains(name) && p.onlyAnonymous(&r) {
			witness = r
			break
		}
	}
	actions := witness.Actions
	shown := fmt.Sprintf("%q", witness.Account)
	if len(who) > 1 {
		shown = fmt.Sprintf("%d accounts that log in, %q among them,", len(who), witness.Account)
	}
	f := p.reportEntry(i, "who does not log in may %s %s, but %s may not", strings.Join(actions, ","), witness.Name, shown)
	f.Witness = &witness
	e := p.entries[i].Entry
	all := "/.+/"
	add := acl.Entry{Match: e.Match, Actions: e.Actions, Comment: "Whoever has logged in may do at least what is allowed without a login."}
	add.Match.Account = &all
	if add.Match.Type == nil {
		repository := analysis.TypeRepository
		add.Match.Type = &repository
	}
	f.Fix = &Fix{Text: fmt.Sprintf(`add after entry %d one for every account: match: {account: "/.+/", type: "repository"%s}, actions: [%s]`, i+1, nameText(e), strings.Join(e.Actions, ", "))}
	// Only a plain read that no entry refuses to one of the accounts is given to everybody unasked.
	if !undecided || p.narrowed(i) || !slices.Equal(e.Actions, []string{"pull"}) || len(e.Match.Labels) > 0 {
		return
	}
	at := i + 1
	f.Fix.Apply = func(f *config.File) (*config.File, error) { return f.Apply(config.InsertEntry(at, add)) }
}

// onlyAnonymous reports whether the engine grants a request to the anonymous account and nothing of
// it to the account that it names.
func (p *pass) onlyAnonymous(r *acl.Request) bool {
	anonymous := *r
	anonymous.Account, anonymous.Labels = "", nil
	if u, ok := p.file.User(""); ok {
		anonymous.Labels = u.LabelMap()
	}
	return len(p.policy.Decide(&anonymous, nil).Granted) == len(r.Actions) && len(p.policy.Decide(r, nil).Granted) == 0
}

// narrowed reports whether an entry above takes names away from what entry i gives the anonymous
// account: a copy of i for everybody would not have that exception.
func (p *pass) narrowed(i int) bool {
	grants, undecided, err := p.an.Effective("")
	return err != nil || len(undecided) > 0 || slices.ContainsFunc(grants, func(g analysis.Grant) bool { return g.Entry == i && len(g.Names.Except) > 0 })
}

func nameText(e acl.Entry) string {
	if e.Match.Name == nil {
		return ""
	}
	return fmt.Sprintf(", name: %q", *e.Match.Name)
}
