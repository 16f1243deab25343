package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

func newUserCommand(a *app) *cobra.Command {
	g := group("user", "Manage the users of the auth config",
		`Manage the users of the auth config: names, bcrypt hashes, labels, expiry.

Every edit leaves all other bytes of the file as they were, comments included, and is
written whole or not at all.`,
		newUserAddCommand(a), newUserListCommand(a), newUserShowCommand(a), newUserPasswdCommand(a),
		newUserLabelCommand(a), newUserRenameCommand(a), newUserDisableCommand(a), newUserEnableCommand(a),
		newUserRemoveCommand(a), newUserImportCommand(a), newUserExportCommand(a), newUserVerifyCommand(a), newUserUndoCommand(a),
	)
	a.registerApply(g)
	return g
}

// registerApply gives the commands of a group the flag that makes a change live where a
// container mounts the single file.
func (a *app) registerApply(g *cobra.Command) {
	g.PersistentFlags().BoolVar(&a.apply, "apply", false, "restart the token server's service where its container can't see the changed file")
}

// passwordFlags are how a command gets a new password.
type passwordFlags struct {
	stdin, generate, allowWeak bool
	cost                       int
}

func (p *passwordFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&p.stdin, "password-stdin", false, "read the password from standard input, one line")
	f.BoolVar(&p.generate, "generate", false, "make a password of 128 random bits and print it, once")
	f.BoolVar(&p.allowWeak, "allow-weak", false, "accept a password that is short or easily guessed")
	f.IntVar(&p.cost, "cost", users.DefaultCost, fmt.Sprintf("bcrypt cost, %d to %d", users.MinCost, users.MaxCost))
}

// read gets the password and its hash. It asks on the terminal where no flag says otherwise.
func (p *passwordFlags) read(a *app, name string) (pw, hash secret.Text, err error) {
	if p.cost < users.MinCost || p.cost > users.MaxCost {
		return pw, hash, usage(fmt.Errorf("--cost %d: expected %d to %d", p.cost, users.MinCost, users.MaxCost))
	}
	switch {
	case p.stdin && p.generate:
		return pw, hash, usage(errors.New("--password-stdin and --generate exclude each other"))
	case p.generate:
		if pw, err = users.Generate(a.rand); err != nil {
			return pw, hash, fail(err)
		}
	case p.stdin:
		pw, err = a.io.SecretFromInput()
	case a.io.CanPrompt():
		pw, err = a.io.SecretTwice(fmt.Sprintf("Password for %s", name))
	default:
		return pw, hash, usage(fmt.Errorf("no password for %q: there is no terminal to ask on", name),
			"--generate makes one and prints it", "--password-stdin reads one from standard input")
	}
	if err != nil {
		return pw, hash, usage(err)
	}
	if !p.generate {
		if err := users.CheckPassword(pw, users.PasswordPolicy{Name: name, AllowWeak: p.allowWeak}); err != nil {
			if errors.Is(err, users.ErrWeakPassword) {
				return pw, hash, usage(err, "--generate makes a strong one; --allow-weak takes this one")
			}
			return pw, hash, usage(err)
		}
	}
	if hash, err = users.Hash(pw, p.cost); err != nil {
		return pw, hash, fail(err)
	}
	return pw, hash, nil
}

type labelSet []config.Label

func (l labelSet) asMap() map[string][]string {
	m := make(map[string][]string, len(l))
	for _, x := range l {
		m[x.Key] = x.Values
	}
	return m
}

// parseLabels reads --label KEY=VALUE flags; the values of one key collect.
func parseLabels(args []string) (labelSet, error) {
	var out labelSet
	for _, arg := range args {
		la, err := users.ParseLabelArg(arg)
		if err != nil || la.Op != users.LabelSet {
			return nil, usage(fmt.Errorf("--label %q: expected KEY=VALUE", arg))
		}
		i := slices.IndexFunc(out, func(l config.Label) bool { return l.Key == la.Key })
		if i < 0 {
			out = append(out, config.Label{Key: la.Key})
			i = len(out) - 1
		}
		if !slices.Contains(out[i].Values, la.Value) {
			out[i].Values = append(out[i].Values, la.Value)
		}
	}
	return out, nil
}

func checkLabels(labels []config.Label, pattern bool) error {
	var errs []error
	for _, l := range labels {
		if err := users.ValidateLabelKey(l.Key); err != nil {
			errs = append(errs, err)
		}
		for _, v := range l.Values {
			if err := users.ValidateLabelValue(l.Key, v, pattern); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return usage(errors.Join(errs...))
	}
	return nil
}

func newUserAddCommand(a *app) *cobra.Command {
	var (
		pf      passwordFlags
		rf      robotFlags
		labels  []string
		expires string
		pattern bool
	)
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user",
		Long: `Add a user to the auth config, with a bcrypt hash of the password that is typed twice,
read from standard input or made here.

With --robot an account of a machine is made in one step: a password of 128 random bits, the
label robot=true, and an entry of the rules, before all others, for the repositories of --for.

Writes the auth config: the new user's lines (and a robot's entry), nothing else. Exit status 1
when the user exists already.`,
		Example: `  regctl-setup user add alice --label team=backend --label role=developer
  regctl-setup user add ci --generate --expires 90d
  regctl-setup user add ci-backend --robot --for 'dev-backend/**' --actions pull,push --output env
  printf '%s\n' "$PASSWORD" | regctl-setup user add bob --password-stdin`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if err := users.ValidateName(name); err != nil {
				return usage(err)
			}
			parsed, err := parseLabels(labels)
			if err != nil {
				return err
			}
			if err := checkLabels(parsed, pattern); err != nil {
				return err
			}
			patterns, err := rf.check(cmd.Flags(), &pf)
			if err != nil {
				return err
			}
			if rf.robot && !slices.ContainsFunc(parsed, func(l config.Label) bool { return l.Key == robotLabel }) {
				parsed = append(parsed, config.Label{Key: robotLabel, Values: []string{"true"}})
			}
			nu := config.NewUser{Name: name, Labels: parsed, Robot: rf.robot}
			if flagSet(cmd.Flags(), "expires") {
				if nu.Expires, err = users.ParseExpires(expires, a.now()); err != nil {
					return usage(err)
				}
			}
			pw, hash, err := pf.read(a, name)
			if err != nil {
				return err
			}
			nu.Hash = hash
			var before *config.File
			im := forAccounts(name)
			d, _, err := a.edit(cmd.Context(), im, func(f *config.File) (*config.File, error) {
				before = f
				if _, ok := f.User(name); ok {
					return nil, refuse(fmt.Errorf("user %q exists already in %s", name, f.Path),
						"regctl-setup user passwd "+name+" sets a new password", "regctl-setup user label "+name+" KEY=VALUE changes its labels")
				}
				if err := a.ownNamespaceClash(f, name); err != nil {
					return nil, err
				}
				return f.Apply(append(rf.edits(name, patterns), config.AddUser(nu))...)
			})
			if err != nil {
				return err
			}
			a.note("added %s to %s", name, displayPath(d.Auth))
			a.live(cmd.Context(), d)
			if !rf.robot {
				a.noteUnusedLabels(before, parsed)
			}
			if engine, err := a.engineOf(d); err == nil && engine == answers.EngineDockerAuth && !nu.Expires.IsZero() {
				a.note("warning: docker_auth does not know expiry dates: from %s on, only `regctl-setup user disable %s` keeps %s out",
					nu.Expires.UTC().Format(time.DateOnly), name, name)
			}
			if rf.output != "" {
				return a.printRobot(cmd.Context(), d, before, rf.output, name, pw)
			}
			if pf.generate {
				return a.printPassword(name, pw)
			}
			return nil
		}),
	}
	pf.register(c.Flags())
	rf.register(c.Flags())
	c.Flags().StringArrayVar(&labels, "label", nil, "a label `KEY=VALUE`; repeat to collect")
	c.Flags().StringVar(&expires, "expires", "", "when the account ends: 90d, 12h or a date")
	c.Flags().BoolVar(&pattern, "pattern", false, "accept label values that are patterns (docker_auth pastes them into the rules' patterns)")
	return c
}

// printPassword shows a password that was just made, the only time it can be shown.
func (a *app) printPassword(name string, pw secret.Text) error {
	if a.json() {
		return a.printJSON(struct {
			Name     string `json:"name"`
			Password string `json:"password"`
		}{name, pw.Reveal()})
	}
	a.out("%s", pw.Reveal())
	if a.io.OutIsTerminal() {
		a.note("this password is shown once and kept nowhere")
	}
	return nil
}

type userJSON struct {
	Name         string              `json:"name"`
	Labels       map[string][]string `json:"labels"`
	Cost         int                 `json:"cost"`
	Expires      *time.Time          `json:"expires"`
	Disabled     bool                `json:"disabled"`
	Passwordless bool                `json:"passwordless"`
	Robot        bool                `json:"robot,omitempty"`
	File         string              `json:"file,omitempty"`
	Line         int                 `json:"line,omitempty"`
}

func describeUser(u *config.User) userJSON {
	j := userJSON{
		Name: u.Name, Labels: u.LabelMap(), Disabled: u.Disabled,
		Passwordless: !u.HasPassword, Robot: u.Robot,
	}
	if j.Labels == nil {
		j.Labels = map[string][]string{}
	}
	if cost, err := users.Cost(u.Hash); err == nil {
		j.Cost = cost
	}
	if !u.Expires.IsZero() {
		e := u.Expires.UTC()
		j.Expires = &e
	}
	return j
}

func labelText(u *config.User) string {
	parts := make([]string, 0, len(u.Labels))
	for _, l := range u.Labels {
		parts = append(parts, l.Key+"="+strings.Join(l.Values, ","))
	}
	return strings.Join(parts, " ")
}

func newUserListCommand(a *app) *cobra.Command {
	var expiring string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the users",
		Long: `List the users of the auth config: labels, bcrypt cost, expiry, and who is disabled or
has no password.

With --expiring SPAN only those whose account ends within it (or has ended); the exit
status is 1 when there are any. Changes nothing on disk.`,
		Example: `  regctl-setup user list
  regctl-setup user list --expiring 14d --format json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			f, _, err := a.loadForReading(cmd.Context())
			if err != nil {
				return err
			}
			list := f.Users
			filter := flagSet(cmd.Flags(), "expiring")
			if filter {
				until, err := users.ParseExpires(expiring, a.now())
				if err != nil {
					return usage(fmt.Errorf("--expiring: %w", err))
				}
				list = slices.DeleteFunc(slices.Clone(list), func(u config.User) bool {
					return u.Expires.IsZero() || u.Expires.After(until)
				})
			}
			if err := a.printUsers(list); err != nil {
				return err
			}
			if filter && len(list) > 0 {
				return no()
			}
			return nil
		}),
	}
	c.Flags().StringVar(&expiring, "expiring", "", "only accounts that end within this span, such as 14d")
	return c
}

func (a *app) printUsers(list []config.User) error {
	if a.json() {
		out := struct {
			Users []userJSON `json:"users"`
		}{[]userJSON{}}
		for i := range list {
			out.Users = append(out.Users, describeUser(&list[i]))
		}
		return a.printJSON(out)
	}
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "NAME\tLABELS\tCOST\tEXPIRES\tSTATE")
	for i := range list {
		u := &list[i]
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", shownName(u.Name), dash(labelText(u)), costText(u), dash(expiresText(u)), a.stateText(u))
	}
	if err := tw.Flush(); err != nil {
		return fail(err)
	}
	return nil
}

func shownName(name string) string {
	if name == "" {
		return `"" (anonymous)`
	}
	return name
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func costText(u *config.User) string {
	if cost, err := users.Cost(u.Hash); err == nil {
		return fmt.Sprint(cost)
	}
	return "-"
}

func expiresText(u *config.User) string {
	if u.Expires.IsZero() {
		return ""
	}
	return u.Expires.UTC().Format("2006-01-02 15:04Z")
}

func (a *app) stateText(u *config.User) string {
	switch {
	case u.Disabled:
		return "disabled"
	case !u.Expires.IsZero() && !a.now().Before(u.Expires):
		return "expired"
	case !u.HasPassword && u.Name == "":
		return "no login needed"
	case !u.HasPassword:
		return "NO PASSWORD"
	}
	return "active"
}

func newUserShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show one user",
		Long: `Show one user: labels, hash cost, expiry, state, where it stands in the file, and what it may
do: which names with which actions, and through which entry.

Exit status 1 when there is no such user. Changes nothing on disk.`,
		Example: `  regctl-setup user show developer
  regctl-setup user show anonymous --format json`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			f, d, err := a.loadForReading(cmd.Context())
			if err != nil {
				return err
			}
			u, err := findUser(f, args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printUserJSON(cmd.Context(), f, d, u)
			}
			a.out("name:     %s", shownName(u.Name))
			a.out("labels:   %s", dash(labelText(u)))
			a.out("password: %s", passwordText(u))
			a.out("expires:  %s", dash(expiresText(u)))
			a.out("state:    %s", a.stateText(u))
			a.out("defined:  %s:%d", d.Rel(d.Auth), u.Pos.Line)
			switch {
			case len(f.Problems()) > 0:
				return nil // the problems were told; rules with a fault answer nothing
			case cantLogIn(a, u) != "":
				a.out("may:      nothing while it can't log in")
				return nil
			}
			return a.printEffective(cmd.Context(), f, d, u.Name)
		}),
	}
}

// printUserJSON is user show for scripts: the user of the list, its place and its rights.
func (a *app) printUserJSON(ctx context.Context, f *config.File, d *deployment.Deployment, u *config.User) error {
	j := describeUser(u)
	j.File, j.Line = u.Pos.File, u.Pos.Line
	out := struct {
		userJSON
		Grants     []grantJSON `json:"grants"`
		NotDecided []string    `json:"not_decided,omitempty"`
	}{userJSON: j, Grants: []grantJSON{}}
	if len(f.Problems()) == 0 && cantLogIn(a, u) == "" {
		an, err := a.analyze(ctx, f, d)
		if err != nil {
			return err
		}
		grants, undecided, err := an.Effective(u.Name)
		if err != nil {
			return fail(err)
		}
		for _, g := range grants {
			out.Grants = append(out.Grants, describeGrant(g, f.ACL))
		}
		for _, x := range undecided {
			out.NotDecided = append(out.NotDecided, x.String())
		}
	}
	return a.printJSON(out)
}

func passwordText(u *config.User) string {
	if !u.HasPassword {
		return "none"
	}
	if cost, err := users.Cost(u.Hash); err == nil {
		return fmt.Sprintf("bcrypt, cost %d", cost)
	}
	return "not a bcrypt hash"
}

// findUser looks a user up; anonymous is the account "".
func findUser(f *config.File, name string) (*config.User, error) {
	if name == anonymousName {
		name = ""
	}
	if u, ok := f.User(name); ok {
		return u, nil
	}
	hints := []string{"regctl-setup user list"}
	if near := nearest(name, f); near != "" {
		hints = append([]string{fmt.Sprintf("did you mean %q?", near)}, hints...)
	}
	if name == "" {
		return nil, refuse(fmt.Errorf(`no anonymous account: %s has no user ""`, f.Path), hints...)
	}
	return nil, refuse(fmt.Errorf("no user %q in %s", name, f.Path), hints...)
}

// loadForReading reads the auth config for commands that only look: problems are told
// as warnings, and what can be read is shown all the same.
func (a *app) loadForReading(ctx context.Context) (*config.File, *deployment.Deployment, error) {
	d, err := a.deployment(ctx)
	if err != nil {
		return nil, nil, err
	}
	data, err := readAuthConfig(d.Auth)
	if err != nil {
		return nil, nil, fail(err)
	}
	f, problems := config.Parse(displayPath(d.Auth), data)
	if f == nil {
		return nil, nil, problemsError(problems)
	}
	for _, p := range problems {
		a.note("warning: %v", p)
	}
	return f, d, nil
}
