package cli

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl/lint"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

type lintOptions struct {
	severity string
	fix      bool
	noGuess  bool
}

func newACLLintCommand(a *app) *cobra.Command {
	var o lintOptions
	c := &cobra.Command{
		Use:   "lint",
		Short: "Find what is wrong, or surely not meant, in the rules and accounts",
		Long: `Find what is wrong, or surely not meant, in the auth config: entries that never decide and
those that keep them from it, patterns wider or narrower than they look, rights that
nobody was to have, weak passwords, and what does not fit the registry's configuration
beside it. docs/lint.md explains every rule.

A rule is switched off by x-regctl-setup: {lint: {ignore: [RULE]}}, or for one place by a
comment "# lint:ignore RULE reason" on the line or right above it.

Changes nothing on disk, unless --fix is given: then the fixes that leave no doubt are
written to the auth config and printed, and what is left is listed.

Exit status 0 without findings, 1 with findings of the severity or worse, 3 when the file
is not there or no YAML.`,
		Example: `  regctl-setup acl lint
  regctl-setup acl lint --severity info --format json
  regctl-setup acl lint --format sarif > lint.sarif
  regctl-setup acl lint --fix`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{formatsAnnotation: "sarif github"},
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			return a.runLint(cmd.Context(), o)
		}),
	}
	f := c.Flags()
	f.StringVar(&o.severity, "severity", "warning", "show findings from this `SEVERITY` up: error, warning or info")
	f.BoolVar(&o.fix, "fix", false, "make the fixes that leave no doubt")
	f.BoolVar(&o.noGuess, "no-guess", false, "do not try well-known words as passwords, which takes a while")
	return c
}

type findingJSON struct {
	Rule     string       `json:"rule"`
	Severity string       `json:"severity"`
	File     string       `json:"file"`
	Line     int          `json:"line"`
	Col      int          `json:"col"`
	Message  string       `json:"message"`
	Witness  *witnessJSON `json:"witness"`
	Fix      *string      `json:"fix"`
	URL      string       `json:"url,omitempty"`
}

func (a *app) runLint(ctx context.Context, o lintOptions) error {
	severity, err := lint.ParseSeverity(o.severity)
	if err != nil {
		return usage(fmt.Errorf("--%w", err))
	}
	d, err := a.deployment(ctx)
	if err != nil {
		return err
	}
	in, err := a.lintInput(ctx, d)
	if err != nil {
		return err
	}
	if o.fix {
		if in.File, err = a.lintFix(ctx, d, in); err != nil {
			return err
		}
	}
	if !o.noGuess {
		var left int
		if in.Guess, left = guesser(ctx, in.File); left > 0 {
			a.note("note: the passwords of %d users were not tried: it would take too long", left)
		}
	}
	found := lint.Run(in)
	shown := slices.DeleteFunc(slices.Clone(found), func(f lint.Finding) bool { return f.Severity < severity })
	if err := a.printFindings(shown, found); err != nil {
		return err
	}
	if len(shown) > 0 {
		return no()
	}
	return nil
}

// lintInput reads the auth config, which may have problems, and what stands beside it.
func (a *app) lintInput(ctx context.Context, d *deployment.Deployment) (lint.Input, error) {
	var in lint.Input
	data, err := readAuthConfig(d.Auth)
	if err != nil {
		return in, fail(err)
	}
	f, problems := config.Parse(displayPath(d.Auth), data)
	if f == nil {
		return in, problemsError(problems)
	}
	in.File = f
	engine, err := a.engineOf(d)
	if err != nil {
		return in, err
	}
	in.Bundled = engine == answers.EngineBundled
	if in.Service, err = serviceOf(ctx, d, f); err != nil {
		return in, fail(err)
	}
	registry, err := d.Registry(ctx)
	if err != nil {
		return in, fail(err)
	}
	if registry.Source != "" {
		in.Registry = &lint.Registry{Path: displayPath(registry.Source), Delete: registry.Delete, Issuer: registry.Issuer}
	}
	return in, nil
}

// lintFix makes the certain fixes under the file's lock and tells them. It returns the file as it
// is then.
func (a *app) lintFix(ctx context.Context, d *deployment.Deployment, in lint.Input) (*config.File, error) {
	if len(in.File.Problems()) > 0 {
		a.note("nothing fixed: the file has errors that no server starts with; mend those first")
		return in.File, nil
	}
	var done []lint.Finding
	fixed := in.File
	_, changed, err := a.edit(ctx, impact{rules: true}, func(f *config.File) (*config.File, error) {
		in.File = f // as it is under the lock
		next, mended, err := lint.FixAll(in)
		if err != nil {
			return nil, err
		}
		done, fixed = mended, next
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	for _, f := range done {
		a.note("fixed: %s:%d: %s: %s [%s]", f.Pos.File, f.Pos.Line, f.Message, f.Fix.Text, f.Rule)
	}
	if changed {
		a.live(ctx, d)
	} else {
		a.note("nothing to fix without a person's word in %s", displayPath(d.Auth))
	}
	return fixed, nil
}

func (a *app) printFindings(shown, found []lint.Finding) error {
	switch a.viper.GetString(flagFormat) {
	case "sarif":
		return failed(lint.WriteSARIF(a.io.Out, buildVersion().Version, shown))
	case "github":
		return failed(lint.WriteGitHub(a.io.Out, shown))
	case "json":
		rules := lint.Rules()
		list := make([]findingJSON, 0, len(shown))
		for _, f := range shown {
			j := findingJSON{Rule: f.Rule, Severity: f.Severity.String(), File: f.Pos.File, Line: f.Pos.Line, Col: f.Pos.Column,
				Message: f.Message, Witness: describeWitness(f.Witness)}
			if f.Fix != nil {
				j.Fix = &f.Fix.Text
			}
			if i := slices.IndexFunc(rules, func(r lint.Rule) bool { return r.Name == f.Rule }); i >= 0 {
				j.URL = rules[i].URL()
			}
			list = append(list, j)
		}
		return a.printJSON(struct {
			Findings []findingJSON `json:"findings"`
		}{list})
	}
	for _, f := range shown {
		a.out("%s", f)
		if w := f.Witness; w != nil {
			question := []string{accountName(w.Account), w.Name, strings.Join(w.Actions, ",")}
			if w.Type != "repository" {
				question = append(question, "(type "+w.Type+")")
			}
			if w.IP.IsValid() {
				question = append(question, "from "+w.IP.String())
			}
			a.out("    witness: %s", strings.Join(question, " "))
		}
		if f.Fix != nil {
			kind := "fix"
			if f.Certain() {
				kind = "fix (--fix)"
			}
			a.out("    %s: %s", kind, f.Fix.Text)
		}
	}
	a.note("%s", lintSummary(shown, found))
	return nil
}

// number is n of what the word says.
func number(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprint(n, " ", word)
}

// lintSummary counts the findings, those that are not shown too.
func lintSummary(shown, found []lint.Finding) string {
	counts := map[lint.Severity]int{}
	for _, f := range found {
		counts[f.Severity]++
	}
	var parts []string
	for _, s := range []lint.Severity{lint.Error, lint.Warning, lint.Info} {
		if n := counts[s]; n > 0 {
			word := s.String()
			if n > 1 && s != lint.Info {
				word += "s"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	if len(parts) == 0 {
		return "no findings"
	}
	text := strings.Join(parts, ", ")
	if hidden := len(found) - len(shown); hidden > 0 {
		text += fmt.Sprintf(" (%d not shown: --severity info)", hidden)
	}
	return text
}

// failed gives an error in writing its status.
func failed(err error) error {
	if err != nil {
		return fail(fmt.Errorf("write the findings: %w", err))
	}
	return nil
}

// guessBudget bounds the work of trying words as passwords, in rounds of bcrypt: twenty words for
// each of ten hashes of cost 10, about ten seconds of one processor.
const guessBudget = 10 * 20 << 10

// guesser tries the well-known words on the passwords of the file, as many as the budget allows, on
// all processors. It returns what it found out and how many users were left out.
func guesser(ctx context.Context, f *config.File) (guess func(secret.Text, string) (string, bool), left int) {
	type job struct {
		name string
		hash secret.Text
	}
	var jobs []job
	work := 0
	for i := range f.Users {
		u := &f.Users[i]
		if !u.HasPassword || u.Disabled {
			continue
		}
		cost, err := users.Cost(u.Hash)
		if err != nil || cost > config.MaxHashCost {
			continue // found as such
		}
		if work += 20 << cost; work > guessBudget {
			left++
			continue
		}
		jobs = append(jobs, job{u.Name, u.Hash})
	}
	words := make([]*string, len(jobs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		wg.Go(func() {
			for i := range next {
				if word, found := users.Guess(jobs[i].hash, jobs[i].name); found {
					words[i] = &word
				}
			}
		})
	}
	for i := range jobs {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	known := map[string]string{}
	for i, w := range words {
		if w != nil {
			known[jobs[i].name] = *w
		}
	}
	return func(_ secret.Text, name string) (string, bool) {
		word, found := known[name]
		return word, found
	}, left
}
