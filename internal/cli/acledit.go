package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

func newACLListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the entries of the rules in their order",
		Long: `List the entries of the rules in the order in which they are tried, with the number by
which other commands know them. Changes nothing on disk.`,
		Example: `  regctl-setup acl list
  regctl-setup acl list --format json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			f, _, err := a.loadForReading(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(struct {
					Entries []entryJSON `json:"entries"`
				}{describeEntries(f.ACL)})
			}
			tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintln(tw, "ENTRY\tLINE\tMATCH\tACTIONS\tCOMMENT")
			for i, e := range f.ACL {
				_, _ = fmt.Fprintf(tw, "%d\t%d\t%s\t%s\t%s\n", i+1, e.Pos.Line, matchText(e.Match), actionsText(e.Actions), dash(e.Comment))
			}
			if err := tw.Flush(); err != nil {
				return fail(err)
			}
			return nil
		}),
	}
}

type entryJSON struct {
	Index   int               `json:"index"`
	File    string            `json:"file"`
	Line    int               `json:"line"`
	Match   map[string]string `json:"match"`
	Labels  map[string]string `json:"labels,omitempty"`
	Actions []string          `json:"actions"`
	Comment string            `json:"comment"`
}

func describeEntries(entries []acl.Entry) []entryJSON {
	out := make([]entryJSON, 0, len(entries))
	for i, e := range entries {
		j := entryJSON{Index: i + 1, File: e.Pos.File, Line: e.Pos.Line, Match: map[string]string{}, Actions: e.Actions, Comment: e.Comment}
		for _, f := range matchFields(e.Match) {
			j.Match[f.name] = f.pattern
		}
		for _, l := range e.Match.Labels {
			if j.Labels == nil {
				j.Labels = map[string]string{}
			}
			j.Labels[l.Key] = l.Pattern
		}
		if j.Actions == nil {
			j.Actions = []string{}
		}
		out = append(out, j)
	}
	return out
}

type matchField struct{ name, pattern string }

func matchFields(m acl.Match) []matchField {
	var out []matchField
	for _, f := range []struct {
		name string
		p    *string
	}{{"account", m.Account}, {"type", m.Type}, {"name", m.Name}, {"service", m.Service}, {"ip", m.IP}} {
		if f.p != nil {
			out = append(out, matchField{f.name, *f.p})
		}
	}
	return out
}

// matchText shows a match on one line.
func matchText(m acl.Match) string {
	var parts []string
	for _, f := range matchFields(m) {
		p := f.pattern
		if p == "" {
			p = `""`
		}
		parts = append(parts, f.name+"="+p)
	}
	for _, l := range m.Labels {
		parts = append(parts, "labels."+l.Key+"="+l.Pattern)
	}
	if len(parts) == 0 {
		return "(everything)"
	}
	return strings.Join(parts, " ")
}

func actionsText(actions []string) string {
	if len(actions) == 0 {
		return "(none)"
	}
	return strings.Join(actions, ",")
}

// selectEntry finds an entry by its number, or by a text that exactly one entry has in its
// comment or in a pattern. It returns the index from 0.
func selectEntry(f *config.File, arg string) (int, error) {
	if n, err := strconv.Atoi(arg); err == nil {
		if n < 1 || n > len(f.ACL) {
			return 0, refuse(fmt.Errorf("no entry %d: %s has %d", n, f.Path, len(f.ACL)), "regctl-setup acl list")
		}
		return n - 1, nil
	}
	var found []int
	for i, e := range f.ACL {
		if strings.Contains(e.Comment, arg) || strings.Contains(matchText(e.Match), arg) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return 0, refuse(fmt.Errorf("no entry has %q in its comment or match", arg), "regctl-setup acl list")
	case 1:
		return found[0], nil
	}
	return 0, refuse(fmt.Errorf("%q fits %s: name one by its number", arg, entryNumbers(found)), "regctl-setup acl list")
}

// entryFlags describe a new entry.
type entryFlags struct {
	account, typ, name, service, ip, comment string
	forNames                                 string
	labels                                   []string
	actions                                  []string
	at                                       int
}

func (o *entryFlags) entry(cmd *cobra.Command) (acl.Entry, error) {
	e := acl.Entry{Actions: o.actions, Comment: o.comment}
	set := func(flag string, value *string) *string {
		if flagSet(cmd.Flags(), flag) {
			return value
		}
		return nil
	}
	if o.account == anonymousName {
		o.account = ""
	}
	e.Match = acl.Match{
		Account: set("account", &o.account), Type: set("type", &o.typ), Name: set("name", &o.name),
		Service: set("service", &o.service), IP: set("ip", &o.ip),
	}
	if o.forNames != "" {
		if e.Match.Name != nil {
			return e, usage(errors.New("--name and --for exclude each other: --name is a pattern of the rules, --for is turned into one"))
		}
		pattern, err := answers.NamePattern(o.forNames)
		if err != nil {
			return e, usage(fmt.Errorf("--for %q: %w", o.forNames, err))
		}
		e.Match.Name = &pattern
		if e.Match.Type == nil {
			repository := "repository"
			e.Match.Type = &repository
		}
	}
	for _, arg := range o.labels {
		key, pattern, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return e, usage(fmt.Errorf("--label %q: expected KEY=PATTERN", arg))
		}
		if slices.ContainsFunc(e.Match.Labels, func(l acl.LabelMatch) bool { return l.Key == key }) {
			return e, usage(fmt.Errorf("--label %q: the key %q is given twice; all keys of an entry must match, one pattern each", arg, key))
		}
		e.Match.Labels = append(e.Match.Labels, acl.LabelMatch{Key: key, Pattern: pattern})
	}
	if !flagSet(cmd.Flags(), "actions") {
		return e, usage(errors.New("--actions is missing"), `--actions pull,push grants these, --actions '*' all, --actions "" none`)
	}
	if len(matchFields(e.Match))+len(e.Match.Labels) == 0 && !flagSet(cmd.Flags(), "everything") {
		return e, usage(errors.New("the entry has no condition and would match every request"), "--everything says that this is meant")
	}
	return e, nil
}

func newACLAddCommand(a *app) *cobra.Command {
	var o entryFlags
	var dryRun, everything bool
	c := &cobra.Command{
		Use:   "add",
		Short: "Add an entry to the rules",
		Long: `Add an entry to the rules, at the end or at the place that --at names. The first entry that
matches decides, so the place matters: "acl list" shows the order.

--for takes a name pattern as the command line knows them (* within a component, ** across)
and writes an anchored regular expression. --name takes a pattern of the rules as it is.

Writes the auth config: the new entry's lines, nothing else. --dry-run shows the difference
and writes nothing.`,
		Example: `  regctl-setup acl add --label team=backend --for 'dev-backend/**' --actions pull,push --at 2
  regctl-setup acl add --account ci --for 'releases/*' --actions pull --comment "CI reads releases" --dry-run`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			e, err := o.entry(cmd)
			if err != nil {
				return err
			}
			return a.editRules(cmd, dryRun, func(f *config.File) (*config.File, string, error) {
				at := len(f.ACL)
				if flagSet(cmd.Flags(), "at") {
					at = o.at - 1
				}
				if at < 0 || at > len(f.ACL) {
					return nil, "", usage(fmt.Errorf("--at %d: expected 1 to %d", o.at, len(f.ACL)+1))
				}
				edited, err := f.Apply(config.InsertEntry(at, e))
				return edited, fmt.Sprintf("added entry %d", at+1), err
			})
		}),
	}
	f := c.Flags()
	f.StringVar(&o.account, "account", "", "the account's pattern; anonymous is who does not log in")
	f.StringVar(&o.typ, "type", "", "the resource type's pattern")
	f.StringVar(&o.name, "name", "", "the resource name's pattern, as the rules write it")
	f.StringVar(&o.forNames, "for", "", "repositories, as a name `PATTERN` of the command line")
	f.StringVar(&o.service, "service", "", "the service's pattern")
	f.StringVar(&o.ip, "ip", "", "the client's address or network")
	f.StringArrayVar(&o.labels, "label", nil, "`KEY=PATTERN` that a label of the account must match; repeat for more keys")
	f.StringSliceVar(&o.actions, "actions", nil, "the granted actions: pull, push, delete, or * for all")
	f.StringVar(&o.comment, "comment", "", "what the entry is for")
	f.IntVar(&o.at, "at", 0, "the entry's `NUMBER` afterwards (default: the last)")
	f.BoolVar(&everything, "everything", false, "the entry has no condition on purpose")
	f.BoolVar(&dryRun, "dry-run", false, "show the difference, write nothing")
	return c
}

func newACLMoveCommand(a *app) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "move ENTRY TO",
		Short: "Move an entry to another place in the order",
		Long: `Move an entry, with its comments, so that its number is TO afterwards. ENTRY is a number or
a text that exactly one entry has in its comment or match.

Writes the auth config. --dry-run shows the difference and writes nothing.`,
		Example: `  regctl-setup acl move 4 1
  regctl-setup acl move "team namespaces" 1 --dry-run`,
		Args: cobra.ExactArgs(2),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			to, err := strconv.Atoi(args[1])
			if err != nil {
				return usage(fmt.Errorf("TO %q is not a number", args[1]))
			}
			return a.editRules(cmd, dryRun, func(f *config.File) (*config.File, string, error) {
				from, err := selectEntry(f, args[0])
				if err != nil {
					return nil, "", err
				}
				if to < 1 || to > len(f.ACL) {
					return nil, "", usage(fmt.Errorf("TO %d: expected 1 to %d", to, len(f.ACL)))
				}
				edited, err := f.Apply(config.MoveEntry(from, to-1))
				return edited, fmt.Sprintf("moved entry %d to %d", from+1, to), err
			})
		}),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show the difference, write nothing")
	return c
}

func newACLRemoveCommand(a *app) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:     "remove ENTRY",
		Aliases: []string{"rm"},
		Short:   "Remove an entry from the rules",
		Long: `Remove an entry, with the comment right above it. ENTRY is a number or a text that exactly
one entry has in its comment or match.

Writes the auth config. --dry-run shows the difference and writes nothing. Exit status 1
when there is no such entry.`,
		Example: `  regctl-setup acl remove 3 --dry-run
  regctl-setup acl remove "old team"`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			return a.editRules(cmd, dryRun, func(f *config.File) (*config.File, string, error) {
				i, err := selectEntry(f, args[0])
				if err != nil {
					return nil, "", err
				}
				edited, err := f.Apply(config.RemoveEntry(i))
				return edited, fmt.Sprintf("removed entry %d (%s)", i+1, matchText(f.ACL[i].Match)), err
			})
		}),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show the difference, write nothing")
	return c
}
