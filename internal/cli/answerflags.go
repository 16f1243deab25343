package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// answerFlags are the answers of init as flags; --engine is a global flag already.
type answerFlags struct {
	file   string // --answers
	skip   map[string]bool
	said   map[string]bool // after collect: the flags that a flag or a variable answered
	inFile map[string]bool // after collect: those that --answers answered
}

// register makes a flag of every answer, but for those in skip, which the command has
// a meaning of its own for.
func (af *answerFlags) register(a *app, c *cobra.Command, skip ...string) {
	af.skip = map[string]bool{flagEngine: true}
	for _, name := range skip {
		af.skip[name] = true
	}
	f := c.Flags()
	for _, field := range answers.Fields() {
		if !af.skip[field.Flag] {
			help := field.Help
			if field.Placeholder != "" {
				help += fmt.Sprintf(" (`%s`)", field.Placeholder)
			}
			switch field.Kind {
			case answers.KindList:
				f.StringArray(field.Flag, nil, help)
			case answers.KindBool:
				f.Bool(field.Flag, field.Default() == "true", help)
			default:
				f.String(field.Flag, field.Default(), help)
			}
		}
		_ = a.viper.BindEnv("answer."+field.Flag, field.Env())
	}
	f.StringVar(&af.file, "answers", "", "read answers from `FILE`, written as regctl-setup.yaml is (- is standard input)")
	f.SortFlags = false
}

// given lists the answer flags that the command line itself sets.
func (af *answerFlags) given(c *cobra.Command) []string {
	var out []string
	for _, field := range answers.Fields() {
		if !af.skip[field.Flag] && flagSet(c.Flags(), field.Flag) {
			out = append(out, "--"+field.Flag)
		}
	}
	if af.file != "" {
		out = append(out, "--answers")
	}
	return out
}

// again returns the answers of the command line as flags that give them once more.
func (af *answerFlags) again(c *cobra.Command) []string {
	var out []string
	if af.file != "" {
		out = append(out, "--answers="+af.file)
	}
	for _, field := range answers.Fields() {
		switch {
		case !flagSet(c.Flags(), field.Flag):
		case field.Kind == answers.KindList && !af.skip[field.Flag]:
			values, _ := c.Flags().GetStringArray(field.Flag)
			for _, v := range values {
				out = append(out, "--"+field.Flag+"="+v)
			}
		default:
			out = append(out, "--"+field.Flag+"="+c.Flags().Lookup(field.Flag).Value.String())
		}
	}
	return out
}

// read is collect with the answers checked as a whole. All problems are reported at once.
func (af *answerFlags) read(a *app, c *cobra.Command) (answers.Answers, error) {
	return af.readOver(a, c, answers.Defaults(), false)
}

// readOver is read over other answers than the defaults. With keep those are of a
// deployment that exists: teams and users of flags and variables are added to its own, and
// answers that no longer make sense are dropped.
func (af *answerFlags) readOver(a *app, c *cobra.Command, base answers.Answers, keep bool) (answers.Answers, error) {
	ans, refused, err := af.collect(a, c, base, keep)
	if err != nil {
		return ans, err
	}
	if problems := append(refused, remaining(ans, refused)...); len(problems) > 0 {
		return ans, answersError(problems)
	}
	return ans, nil
}

// collect collects the answers: a flag stands above its variable, which stands above the
// answers file, which stands above base. What is wrong by itself is left out of them and
// returned.
func (af *answerFlags) collect(a *app, c *cobra.Command, base answers.Answers, keep bool) (answers.Answers, answers.Problems, error) {
	ans := base
	said := map[string]bool{}
	af.said, af.inFile = said, nil
	var problems answers.Problems
	if af.file != "" {
		data, name, err := a.readArgFile(af.file)
		if err != nil {
			return ans, nil, fail(fmt.Errorf("--answers: %w", err))
		}
		parsed, err := answers.OverlayYAML(base, name, data)
		if err != nil {
			return ans, nil, answersError(err)
		}
		ans, af.inFile = parsed, answers.GivenYAML(data)
	}
	for _, field := range answers.Fields() {
		var err error
		former := ans
		said[field.Flag] = true
		switch {
		case field.Flag == flagEngine:
			v := a.engine()
			if said[flagEngine] = v != ""; v != "" {
				err = field.Set(&ans, []string{v})
			}
		case !af.skip[field.Flag] && flagSet(c.Flags(), field.Flag):
			values := []string{c.Flags().Lookup(field.Flag).Value.String()}
			if field.Kind == answers.KindList {
				values, _ = c.Flags().GetStringArray(field.Flag)
			}
			err = field.Set(&ans, values)
		case a.viper.IsSet("answer." + field.Flag):
			err = field.SetText(&ans, a.viper.GetString("answer."+field.Flag))
		default:
			said[field.Flag] = false
		}
		if keep && said[field.Flag] && (field.Flag == "team" || field.Flag == "user") {
			ans = former.Merge(ans)
		}
		if err != nil {
			problems = append(problems, asProblems(err)...)
		}
	}
	if keep {
		ans = ans.DropStale(base, func(flag string) bool { return said[flag] })
	}
	return ans, problems, nil
}

// answered returns, after collect, every flag that has an answer.
func (af *answerFlags) answered() map[string]bool {
	out := map[string]bool{}
	for _, from := range []map[string]bool{af.said, af.inFile} {
		for flag, yes := range from {
			if yes {
				out[flag] = true
			}
		}
	}
	return out
}

// remaining returns what else is wrong with answers of which some were refused already:
// their flags are left out, and where one of them decides which others matter, nothing
// more is said, since it would be about an answer that nobody gave.
func remaining(ans answers.Answers, refused answers.Problems) answers.Problems {
	bad := map[string]bool{}
	for _, p := range refused {
		bad[p.Flag] = true
	}
	for _, flag := range []string{"runtime", flagEngine, "registry", "tls", "storage", "s3-provider", "azure-credentials", "login", "cache-domain"} {
		if bad[flag] {
			return nil
		}
	}
	var out answers.Problems
	for _, p := range ans.Validate() {
		if !bad[p.Flag] {
			out = append(out, p)
		}
	}
	return out
}

func asProblems(err error) answers.Problems {
	var ps answers.Problems
	if errors.As(err, &ps) {
		return ps
	}
	var p answers.Problem
	if errors.As(err, &p) {
		return answers.Problems{p}
	}
	return answers.Problems{{Msg: err.Error()}}
}

func answersError(err error) error {
	var errs []error
	var hints []string
	for _, p := range asProblems(err) {
		errs = append(errs, p)
		if p.Hint != "" && !slices.Contains(hints, p.Hint) {
			hints = append(hints, p.Hint)
		}
	}
	return usage(errors.Join(errs...), hints...)
}

// emptyOrAbsent reports whether a new deployment can be made in dir.
func emptyOrAbsent(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fail(fmt.Errorf("look into the folder: %w", err))
	}
	for _, e := range entries {
		if e.Name() != "lost+found" && (e.Name() != deployment.StateDir || !safefile.OnlyLeftState(dir)) {
			return false, nil
		}
	}
	return true, nil
}
