package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// printACLAnswer tells the answer as a sentence, the deciding entry, and why each entry
// above it did not decide.
func (a *app) printACLAnswer(d *deployment.Deployment, p *acl.Policy, ans *aclAnswer, explain bool) {
	j := &ans.json
	who, what := accountName(j.User), j.Name
	if j.Type != "repository" {
		what = j.Type + ":" + j.Name
	}
	verdict := "allowed"
	switch {
	case ans.undecided:
		verdict = "not decided"
	case !j.Allowed:
		verdict = "denied"
	}
	a.out("%s: %s %s %s", verdict, who, strings.Join(j.Requested, ","), what)
	if j.Reason != "" {
		a.out("  %s", j.Reason)
	}
	if len(j.Granted) > 0 && !j.Allowed {
		missing := slices.DeleteFunc(slices.Clone(j.Requested), func(s string) bool { return slices.Contains(j.Granted, s) })
		a.out("  granted %s, not %s", strings.Join(j.Granted, ","), strings.Join(missing, ","))
	}
	entries := p.Entries()
	if i := ans.decision.Index; i >= 0 {
		e := entries[i]
		a.out("  entry %d decides, %s:%d%s: actions [%s]", i+1, d.Rel(e.Pos.File), e.Pos.Line, quotedComment(e.Comment), strings.Join(e.Actions, ", "))
	} else if ans.decision.Err == nil && !ans.undecided {
		a.out("  no entry matches, and what no entry matches is denied")
	}
	if explain {
		a.printHits(entries, ans.steps)
		return
	}
	missed := slices.DeleteFunc(slices.Clone(ans.steps), func(s acl.Step) bool { return s.Matched })
	if len(missed) == 0 {
		return
	}
	a.out("  tried before it:")
	if total := len(missed); total > shownMisses {
		missed = nearMisses(missed)
		defer a.out("    and %d more; --explain shows all", total-len(missed))
	}
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	for _, s := range missed {
		e := entries[s.Index]
		_, _ = fmt.Fprintf(tw, "    entry %d\t:%d\t%s\n", s.Index+1, e.Pos.Line, missText(s))
	}
	_ = tw.Flush()
}

// shownMisses is how many entries that did not match are shown without --explain.
const shownMisses = 20

// nearMisses picks the entries that came closest: those that failed at the latest field,
// in the file's order.
func nearMisses(steps []acl.Step) []acl.Step {
	rank := func(s acl.Step) int {
		switch {
		case s.Field == "account":
			return 0
		case strings.HasPrefix(s.Field, "labels."):
			return 1
		}
		return 2
	}
	var out []acl.Step
	for want := 2; want >= 0 && len(out) < shownMisses; want-- {
		for _, s := range steps {
			if rank(s) == want && len(out) < shownMisses {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(x, y acl.Step) int { return x.Index - y.Index })
	return out
}

// missText says which field of an entry did not match, and why.
func missText(s acl.Step) string {
	if s.Err != nil {
		return s.Err.Error()
	}
	value := fmt.Sprintf("%q", s.Value)
	switch {
	case strings.HasPrefix(s.Field, "labels.") && s.Value == "":
		value = "none"
	case s.Field == "account" && s.Value == "":
		value = `"" (anonymous)`
	case s.Field == "ip" && s.Value == "":
		value = "an address elsewhere"
	}
	return fmt.Sprintf("%s: %q does not match %s", s.Field, s.Pattern, value)
}

func (a *app) printHits(entries []acl.Entry, steps []acl.Step) {
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "  entry\tline\tresult\tfield\tpattern\tvalue\tcomment")
	for _, s := range steps {
		e := entries[s.Index]
		result, field, pattern, value := "hit", "-", "-", "-"
		if !s.Matched {
			result, field, pattern, value = "miss", s.Field, s.Pattern, fmt.Sprintf("%q", s.Value)
		}
		if s.Err != nil {
			result = "error: " + s.Err.Error()
		}
		_, _ = fmt.Fprintf(tw, "  %d\t%d\t%s\t%s\t%s\t%s\t%s\n", s.Index+1, e.Pos.Line, result, field, pattern, value, e.Comment)
	}
	_ = tw.Flush()
}

// accountName shows an account to people.
func accountName(name string) string {
	if name == "" {
		return anonymousName
	}
	return name
}

func quotedComment(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", s)
}
