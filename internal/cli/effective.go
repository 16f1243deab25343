package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// analyze prepares exact questions about the rules of a file.
func (a *app) analyze(ctx context.Context, f *config.File, d *deployment.Deployment) (*analysis.Analysis, error) {
	policy, err := a.policy(f, d)
	if err != nil {
		return nil, err
	}
	if rules := f.ExternalRules(); len(rules) > 0 {
		a.note("note: only the entries of acl are looked at; what none of them matches is decided by %s", strings.Join(rules, ", then "))
	}
	u, err := a.universe(ctx, f, d)
	if err != nil {
		return nil, err
	}
	an, err := analysis.New(policy, u)
	if err != nil {
		return nil, fail(err)
	}
	return an, nil
}

// universe is everybody who may ask, as the file says.
func (a *app) universe(ctx context.Context, f *config.File, d *deployment.Deployment) (analysis.Universe, error) {
	u := analysis.Universe{External: f.HasExternalLogin()}
	for i := range f.Users {
		user := &f.Users[i]
		if cantLogIn(a, user) != "" {
			continue
		}
		u.Users = append(u.Users, analysis.User{Name: user.Name, Labels: user.LabelMap()})
	}
	service, err := serviceOf(ctx, d, f)
	if err != nil {
		return u, fail(err)
	}
	if service != "" {
		u.Services = []string{service}
	}
	return u, nil
}

// grantJSON is a row of who may do what, in user show, who-can and diff.
type grantJSON struct {
	Account  string       `json:"account"`
	Accounts []string     `json:"accounts"`
	External string       `json:"external,omitempty"`
	Type     string       `json:"type"`
	Names    string       `json:"names"`
	Examples []string     `json:"examples"`
	Actions  []string     `json:"actions"`
	Entry    int          `json:"entry"`
	Line     int          `json:"line,omitempty"`
	Comment  string       `json:"comment,omitempty"`
	Witness  *witnessJSON `json:"witness,omitempty"`
}

// witnessJSON is a concrete request that acl test confirms.
type witnessJSON struct {
	Account string              `json:"account"`
	Labels  map[string][]string `json:"labels,omitempty"`
	Type    string              `json:"type"`
	Name    string              `json:"name"`
	Service string              `json:"service,omitempty"`
	IP      string              `json:"ip,omitempty"`
	Actions []string            `json:"actions"`
}

func describeWitness(r *acl.Request) *witnessJSON {
	if r == nil {
		return nil
	}
	w := &witnessJSON{Account: r.Account, Labels: r.Labels, Type: r.Type, Name: r.Name, Service: r.Service, Actions: r.Actions}
	if r.IP.IsValid() {
		w.IP = r.IP.String()
	}
	return w
}

func describeGrant(g analysis.Grant, entries []acl.Entry) grantJSON {
	j := grantJSON{
		Accounts: g.Accounts, External: g.External, Type: g.Type, Names: g.Names.String(), Examples: g.Names.Examples,
		Actions: g.Actions, Entry: g.Entry + 1, Witness: describeWitness(g.Witness),
	}
	if len(g.Accounts) > 0 {
		j.Account = g.Accounts[0]
	}
	if j.Accounts == nil {
		j.Accounts = []string{}
	}
	if j.Examples == nil {
		j.Examples = []string{}
	}
	if g.Entry >= 0 && g.Entry < len(entries) {
		j.Line, j.Comment = entries[g.Entry].Pos.Line, entries[g.Entry].Comment
	}
	return j
}

// whoText names the accounts of a grant for people, a few of them when they are many.
func whoText(g analysis.Grant) string {
	if g.External != "" {
		return externalText(g.External)
	}
	const shown = 4
	var names []string
	for _, n := range g.Accounts[:min(shown, len(g.Accounts))] {
		names = append(names, accountName(n))
	}
	text := strings.Join(names, ", ")
	if more := len(g.Accounts) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// externalText names accounts that live elsewhere, by the condition under which they are meant.
func externalText(condition string) string {
	const who = "any other account"
	if strings.HasPrefix(condition, who) {
		return condition
	}
	return who + " " + condition
}

func namesText(g analysis.Grant) string {
	text := g.Names.String()
	if g.Type != analysis.TypeRepository {
		text = g.Type + ":" + text
	}
	return text
}

// printEffective tells what one account may do, entry by entry.
func (a *app) printEffective(ctx context.Context, f *config.File, d *deployment.Deployment, name string) error {
	an, err := a.analyze(ctx, f, d)
	if err != nil {
		return err
	}
	grants, undecided, err := an.Effective(name)
	if err != nil {
		return fail(err)
	}
	a.out("may:")
	if len(grants) == 0 && len(undecided) == 0 {
		a.out("  nothing: no entry grants anything to this account")
	}
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	for _, g := range grants {
		_, _ = fmt.Fprintf(tw, "  %s\t%s\tentry %d, :%d\n", strings.Join(g.Actions, ","), namesText(g), g.Entry+1, f.ACL[g.Entry].Pos.Line)
	}
	if err := tw.Flush(); err != nil {
		return fail(err)
	}
	for _, u := range undecided {
		a.out("  %s", u)
	}
	return nil
}
