package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

func newACLWhoCanCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "who-can ACTION REPO|PATTERN",
		Short: "List who may do ACTION on REPO or on some name of PATTERN, and through which entry",
		Long: `List who may do ACTION on REPO, or on at least one of the names of PATTERN: accounts that
have it in the same way share a line, with the entry that gives it and names as examples.

ACTION is pull, push, delete or "*". In PATTERN "*" stands for any text within a
component and "**" for any text across components. registry:catalog is the list of all
repositories. The answer holds for all names that can exist, not for those in use.

Exit status 0 when somebody can, 1 when nobody can. Changes nothing on disk.`,
		Example: `  regctl-setup acl who-can push dev-backend/api
  regctl-setup acl who-can delete 'prod/**'
  regctl-setup acl who-can '*' registry:catalog --format json`,
		Args: cobra.ExactArgs(2),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			return runACLWhoCan(a, cmd, args[0], args[1])
		}),
	}
}

// whoCanJSON is a row of who-can: the grant, and the condition of its entry, which is where
// labels are.
type whoCanJSON struct {
	grantJSON
	File  string `json:"file"`
	Match string `json:"match"`
}

func runACLWhoCan(a *app, cmd *cobra.Command, action, names string) error {
	q, err := whoCanQuestion(action, names)
	if err != nil {
		return err
	}
	f, d, err := a.loadConfig(cmd.Context())
	if err != nil {
		return err
	}
	an, err := a.analyze(cmd.Context(), f, d)
	if err != nil {
		return err
	}
	grants, undecided := an.WhoCan(q)
	if a.json() {
		answer := struct {
			Grants    []whoCanJSON `json:"grants"`
			Undecided []string     `json:"undecided,omitempty"`
		}{Grants: []whoCanJSON{}, Undecided: undecidedTexts(undecided)}
		for _, g := range grants {
			answer.Grants = append(answer.Grants, whoCanJSON{describeGrant(g, f.ACL), f.ACL[g.Entry].Pos.File, matchText(f.ACL[g.Entry].Match)})
		}
		if err := a.printJSON(answer); err != nil {
			return err
		}
	} else if err := a.printWhoCan(grants, f.ACL, q.Names.Literal()); err != nil {
		return err
	}
	for _, u := range undecided {
		a.note("%s", u)
	}
	switch {
	case len(grants) > 0:
		return nil
	case len(undecided) > 0:
		return fail(fmt.Errorf("not known who can %s %s: not every entry could be decided", action, names))
	}
	if !a.json() {
		a.out("nobody can %s %s", action, names)
	}
	return no()
}

// whoCanQuestion turns the arguments into a question.
func whoCanQuestion(action, names string) (analysis.Question, error) {
	q := analysis.Question{Action: action}
	if action == "" || strings.ContainsAny(action, " ,:/") {
		return q, usage(fmt.Errorf("action %q: expected one of pull, push, delete or *", action))
	}
	if names == "registry:catalog" {
		q.Type, names = analysis.TypeRegistry, "catalog"
	}
	var err error
	q.Names, err = namePattern(names)
	return q, err
}

// namePattern reads names as people write them; a tag or digest is refused with a hint.
func namePattern(text string) (analysis.NamePattern, error) {
	if err := checkRepo(text); err != nil {
		return analysis.NamePattern{}, err
	}
	p, err := analysis.ParseNamePattern(text)
	if err != nil {
		return p, usage(fmt.Errorf("names: %w", err))
	}
	return p, nil
}

// printWhoCan shows one line for each group of accounts; names are left out where the question
// was about a single one.
func (a *app) printWhoCan(grants []analysis.Grant, entries []acl.Entry, literal bool) error {
	if len(grants) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	if literal {
		_, _ = fmt.Fprintln(tw, "WHO\tENTRY\tLINE\tMATCH\tCOMMENT")
	} else {
		_, _ = fmt.Fprintln(tw, "WHO\tNAMES\tFOR EXAMPLE\tENTRY\tLINE\tMATCH\tCOMMENT")
	}
	for _, g := range grants {
		e := entries[g.Entry]
		_, _ = fmt.Fprintf(tw, "%s\t", whoText(g))
		if !literal {
			_, _ = fmt.Fprintf(tw, "%s\t%s\t", g.Names.String(), dash(someExamples(g.Names.String(), g.Names.Examples)))
		}
		_, _ = fmt.Fprintf(tw, "%d\t%d\t%s\t%s\n", g.Entry+1, e.Pos.Line, matchText(e.Match), dash(e.Comment))
	}
	if err := tw.Flush(); err != nil {
		return fail(err)
	}
	return nil
}

// someExamples is one or two names of a class; none where the class is shown by its names.
func someExamples(shown string, examples []string) string {
	said := strings.FieldsFunc(shown, func(r rune) bool { return r == ',' || r == ' ' || r == ':' })
	examples = slices.DeleteFunc(slices.Clone(examples), func(n string) bool { return slices.Contains(said, n) })
	return strings.Join(examples[:min(2, len(examples))], ", ")
}

// undecidedTexts are the reasons for what could not be answered.
func undecidedTexts(list []analysis.Undecided) []string {
	var out []string
	for _, u := range list {
		out = append(out, u.String())
	}
	return out
}
