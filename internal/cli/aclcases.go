package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/regctl-setup/regctl-setup/internal/acl/acltest"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// aclCasesOptions are for acl test without arguments.
type aclCasesOptions struct {
	run, output, file string
}

func (o *aclCasesOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.run, "run", "", "run the test cases whose account or reason matches `REGEXP`")
	f.StringVar(&o.output, "output", "", "report the test cases as text, json, junit or tap (default: as --format says)")
	f.StringVar(&o.file, "cases", "", "the `FILE` of test cases (default: the deployment's "+scaffold.PathACLTests+")")
}

// checkTestFlags refuses the flags of a single question for the test cases, and the other way
// round: a flag that does nothing would be taken for one that does.
func checkTestFlags(f *pflag.FlagSet, cases bool) error {
	wrong, why := []string{"run", "output", "cases"}, "is for the test cases, which run when no USER REPO ACTION is given"
	if cases {
		wrong, why = []string{"type", "service", "ip", "label", "explain"}, "belongs to a question: USER REPO ACTION... is missing"
	}
	for _, name := range wrong {
		if flagSet(f, name) {
			return usage(fmt.Errorf("--%s %s", name, why))
		}
	}
	return nil
}

// reporter returns the function that writes a result.
func (a *app) reporter(output string) (func(io.Writer, *acltest.Result) error, error) {
	if output == "" && a.json() {
		output = "json"
	}
	switch output {
	case "", "text":
		return acltest.Text, nil
	case "json":
		return acltest.JSON, nil
	case "junit":
		return acltest.JUnit, nil
	case "tap":
		return acltest.TAP, nil
	}
	return nil, usage(fmt.Errorf("--output %q: expected text, json, junit or tap", output))
}

func runACLCases(ctx context.Context, a *app, o aclCasesOptions) error {
	report, err := a.reporter(o.output)
	if err != nil {
		return err
	}
	var options acltest.Options
	if o.run != "" {
		if options.Run, err = regexp.Compile(o.run); err != nil {
			return usage(fmt.Errorf("--run: %w", err))
		}
	}
	f, d, err := a.loadConfig(ctx)
	if err != nil {
		return err
	}
	if o.file == "" {
		o.file = d.Path(scaffold.PathACLTests)
	}
	cases, err := readCases(o.file)
	if err != nil {
		return err
	}
	target := acltest.Target{Config: f, Now: a.now()}
	if target.Policy, err = a.policy(f, d); err != nil {
		return err
	}
	if target.Service, err = serviceOf(ctx, d, f); err != nil {
		return fail(err)
	}
	result, err := acltest.Run(ctx, target, cases, options)
	if err != nil {
		return fail(err)
	}
	if err := report(a.io.Out, result); err != nil {
		return fail(fmt.Errorf("write the report: %w", err))
	}
	switch {
	case len(result.Cases) == 0 && o.run != "":
		hints := caseTitles(cases)
		return refuse(fmt.Errorf("%w: --run %q fits none of the %d in %s", acltest.ErrNoCase, o.run, len(cases.Cases), cases.Path), hints...)
	case len(result.Cases) == 0:
		return refuse(fmt.Errorf("%w: %s has none", acltest.ErrNoCase, cases.Path))
	case result.Failed() > 0:
		return no()
	}
	return nil
}

// readCases reads and checks a file of test cases.
func readCases(path string) (*acltest.File, error) {
	shown := displayPath(path)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail(fmt.Errorf("test cases %s: no such file", shown),
			`write one: cases: [{who: dev, accept: ["push dev/api"], deny: ["push prod/**"]}]`, "or ask a single question: regctl-setup acl test USER REPO ACTION")
	case err != nil:
		return nil, fail(fmt.Errorf("test cases: %w", err))
	case st.IsDir():
		return nil, fail(fmt.Errorf("test cases %s is a directory, expected a file", shown))
	case st.Size() > acltest.MaxFileSize:
		return nil, fail(fmt.Errorf("test cases %s has %d bytes, more than the %d that are read", shown, st.Size(), acltest.MaxFileSize))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(fmt.Errorf("test cases: %w", err))
	}
	cases, problems := acltest.Parse(shown, data)
	if len(problems) > 0 {
		return nil, problemsError(problems)
	}
	return cases, nil
}

// caseTitles says what --run could have been matched against.
func caseTitles(f *acltest.File) []string {
	var titles []string
	for i := range f.Cases {
		titles = append(titles, fmt.Sprintf("%q", f.Cases[i].Title()))
	}
	slices.Sort(titles)
	if len(titles) == 0 {
		return nil
	}
	return []string{"it is matched against " + strings.Join(titles[:min(3, len(titles))], ", ")}
}
