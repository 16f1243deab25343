package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl/lint"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

type doctorOptions struct {
	offline  bool
	liveOnly bool
	fix      bool
	severity string
	explain  string
	live     liveFlags
}

func newDoctorCommand(a *app) *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with a deployment, on disk and as a client sees it",
		Long: `Find what is wrong with a deployment, and say for each fault what mends it.

On disk: whether files that must agree do, keys and certificates, owners and modes,
secrets in git, image versions, settings that are known to hurt, rules and their tests.
Live, as a client sees it: name, port, certificate, clock, the registry's challenge, a
token of the deployment's own key for an account that exists nowhere, an upload that is
begun and cancelled. Nothing stays in the registry.

With --write also a push of 32 MB to the repository regctl-setup/doctor, a pull, a mount
and, where deleting is on, its removal. A registry keeps the repository's name in its
catalog for ever.

Changes nothing on disk, unless --fix is given: then what leaves no doubt is mended (modes,
the registry's copy of the certificate, quotes in .env) and told.

Exit status 0 when all is well, 1 with findings of the severity or worse, 3 when something
could not be told.`,
		Example: `  regctl-setup -C ./registry doctor
  regctl-setup doctor --offline --fix
  regctl-setup doctor --write --as admin --ca ca.crt
  regctl-setup doctor --explain issuer-mismatch`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			if o.explain != "" {
				return a.explainCheck(o.explain)
			}
			return a.runDoctor(cmd.Context(), o)
		}),
	}
	f := c.Flags()
	f.BoolVar(&o.offline, "offline", false, "look at the files only")
	f.BoolVar(&o.liveOnly, "live-only", false, "ask the registry only")
	f.BoolVar(&o.fix, "fix", false, "mend what leaves no doubt")
	f.StringVar(&o.severity, "severity", "warning", "show findings from this `SEVERITY` up: error, warning or info")
	f.StringVar(&o.explain, "explain", "", "explain one `CODE` and end")
	o.live.register(f)
	c.AddCommand(newDoctorListCommand(a), newDoctorLogsCommand(a))
	return c
}

func newDoctorListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the checks",
		Long:    "List all checks with their codes. Changes nothing on disk.",
		Example: "  regctl-setup doctor list",
		Args:    cobra.NoArgs,
		RunE: a.run(func(*cobra.Command, []string) error {
			type checkJSON struct {
				Code     string `json:"code"`
				Severity string `json:"severity"`
				Kind     string `json:"kind"`
				Title    string `json:"title"`
				URL      string `json:"url"`
			}
			checks := doctor.Checks()
			if a.json() {
				list := make([]checkJSON, 0, len(checks))
				for _, c := range checks {
					list = append(list, checkJSON{c.Code, c.Severity.String(), c.Kind.String(), c.Title, c.URL()})
				}
				return a.printJSON(struct {
					Checks []checkJSON `json:"checks"`
				}{list})
			}
			for _, c := range checks {
				a.out("%-28s %-8s %-6s %s", c.Code, c.Severity, c.Kind, c.Title)
			}
			return nil
		}),
	}
}

func (a *app) explainCheck(code string) error {
	c, ok := doctor.CheckByCode(code)
	if !ok {
		return usage(fmt.Errorf("no check has the code %q", code), "regctl-setup doctor list")
	}
	a.out("%s (%s, %s): %s", c.Code, c.Severity, c.Kind, c.Title)
	a.out("  why:  %s", c.Why)
	a.out("  mend: %s", c.Mend)
	a.out("  more: %s", c.URL())
	return nil
}

// doctorFacts opens the folder, also where half of it is missing, and reads it.
func (a *app) doctorFacts(ctx context.Context) (*doctor.Facts, error) {
	var d *deployment.Deployment
	var err error
	if file := a.viper.GetString(flagConfig); file != "" {
		dir := ""
		if a.dirGiven() {
			dir = a.dir()
		}
		d, err = deployment.ForConfig(file, dir)
	} else {
		if err := a.recoverJournal(ctx, a.dir()); err != nil {
			return nil, err
		}
		d, err = doctor.Open(a.dir())
	}
	switch {
	case errors.Is(err, deployment.ErrNotFound):
		return nil, fail(err, "name the folder with -C DIR, or the file with --config FILE", "regctl-setup init DIR makes a deployment")
	case err != nil:
		return nil, fail(err)
	}
	facts, err := doctor.Gather(ctx, doctor.Options{Deployment: d, Engine: a.engine(), Now: a.now, Dir: a.dir()})
	if err != nil {
		return nil, fail(err)
	}
	return facts, nil
}

func (a *app) runDoctor(ctx context.Context, o doctorOptions) error {
	severity, err := lint.ParseSeverity(o.severity)
	if err != nil {
		return usage(fmt.Errorf("--%w", err))
	}
	if o.offline && o.liveOnly {
		return usage(errors.New("--offline and --live-only exclude each other"))
	}
	if err := o.live.check(o.offline); err != nil {
		return err
	}
	facts, err := a.doctorFacts(ctx)
	if err != nil {
		return err
	}
	var report doctor.Report
	if !o.liveOnly {
		report = doctor.Disk(ctx, facts)
		if o.fix {
			if facts, report, err = a.doctorFix(ctx, facts, report); err != nil {
				return err
			}
		}
	}
	if !o.offline {
		live, err := a.doctorLive(ctx, facts, o.live)
		if err != nil {
			return err
		}
		report.Merge(live)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := a.printReport(report, severity); err != nil {
		return err
	}
	switch {
	case !report.Healthy(severity):
		return no()
	case len(report.Unknown) > 0:
		return &statusError{status: exitFailure}
	}
	return nil
}

// doctorFix makes the fixes that leave no doubt, tells them, and looks again.
func (a *app) doctorFix(ctx context.Context, facts *doctor.Facts, report doctor.Report) (*doctor.Facts, doctor.Report, error) {
	fixed := 0
	for _, f := range report.Findings {
		if f.Fix.Apply == nil {
			continue
		}
		done, err := f.Fix.Apply(ctx)
		if err != nil {
			a.note("not fixed: %s: %v", f.Code, err)
			continue
		}
		a.note("fixed: %s [%s]", done, f.Code)
		fixed++
	}
	if fixed == 0 {
		a.note("nothing to fix without a person's word")
		return facts, report, nil
	}
	facts, err := a.doctorFacts(ctx)
	if err != nil {
		return nil, report, err
	}
	return facts, doctor.Disk(ctx, facts), nil
}

type doctorFindingJSON struct {
	Code     string  `json:"code"`
	Severity string  `json:"severity"`
	File     string  `json:"file"`
	Line     int     `json:"line"`
	Col      int     `json:"col"`
	Message  string  `json:"message"`
	Why      string  `json:"why"`
	Witness  *string `json:"witness"`
	Fix      string  `json:"fix"`
	Fixable  bool    `json:"fixable"`
	URL      string  `json:"url"`
}

type doctorUnknownJSON struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (a *app) printReport(r doctor.Report, severity doctor.Severity) error {
	shown := slices.DeleteFunc(slices.Clone(r.Findings), func(f doctor.Finding) bool { return f.Severity < severity })
	if a.json() {
		out := struct {
			Healthy  bool                `json:"healthy"`
			Checks   int                 `json:"checks"`
			Findings []doctorFindingJSON `json:"findings"`
			Unknown  []doctorUnknownJSON `json:"unknown"`
		}{r.Healthy(severity) && len(r.Unknown) == 0, r.Ran, []doctorFindingJSON{}, []doctorUnknownJSON{}}
		for _, f := range shown {
			j := doctorFindingJSON{Code: f.Code, Severity: f.Severity.String(), File: f.Pos.File, Line: f.Pos.Line, Col: f.Pos.Column,
				Message: f.Message, Why: f.Why, Fix: f.Fix.Text, Fixable: f.Fix.Apply != nil}
			if f.Witness != "" {
				j.Witness = &f.Witness
			}
			if c, ok := doctor.CheckByCode(f.Code); ok {
				j.URL = c.URL()
			}
			out.Findings = append(out.Findings, j)
		}
		for _, u := range r.Unknown {
			out.Unknown = append(out.Unknown, doctorUnknownJSON{u.Code, u.Reason})
		}
		return a.printJSON(out)
	}
	a.out("%s", reportSummary(r, shown))
	for _, f := range shown {
		a.out("")
		a.out("%s", f)
		if f.Witness != "" {
			a.out("    seen: %s", f.Witness)
		}
		a.out("    why:  %s", f.Why)
		a.out("    mend: %s", f.Fix.Text)
	}
	if len(r.Unknown) > 0 {
		a.out("")
		a.out("could not tell:")
		for _, u := range r.Unknown {
			a.out("    %s: %s", u.Code, u.Reason)
		}
	}
	return nil
}

// reportSummary is the one line that says how things stand.
func reportSummary(r doctor.Report, shown []doctor.Finding) string {
	counts := map[doctor.Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
	}
	var parts []string
	for _, s := range []doctor.Severity{doctor.Error, doctor.Warning, doctor.Info} {
		if n := counts[s]; n > 0 {
			word := s.String()
			if n > 1 && s != doctor.Info {
				word += "s"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	if n := len(r.Unknown); n > 0 {
		parts = append(parts, fmt.Sprintf("%d could not be told", n))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("healthy: %d checks, no findings", r.Ran)
	}
	text := fmt.Sprintf("%s (%d checks)", strings.Join(parts, ", "), r.Ran)
	if hidden := len(r.Findings) - len(shown); hidden > 0 {
		text += fmt.Sprintf("; %d not shown: --severity info", hidden)
	}
	if slices.ContainsFunc(shown, func(f doctor.Finding) bool { return f.Fix.Apply != nil }) {
		text += "; --fix mends some"
	}
	return text
}
