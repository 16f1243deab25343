package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/adopt"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// adoptFlags are what init --adopt takes besides answers.
type adoptFlags struct {
	adopt bool
	into  string
}

func (f *adoptFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.adopt, "adopt", false, "take over a folder that was made by hand: say what is in DIR and what is wrong with it, and with --yes rewrite it")
	c.Flags().StringVar(&f.into, "into", "", "with --adopt: write the new deployment to `NEWDIR` and leave DIR as it is")
}

// adopted is what one run of init --adopt knows.
type adopted struct {
	dir, target string
	found       *adopt.Found
	report      doctor.Report
	files       []safefile.File
	changes     []safefile.Change
	backup      string
}

// initAdopt says what the folder is, what is wrong with it and what would be written, and
// writes it when that is wanted.
func (a *app) initAdopt(cmd *cobra.Command, dir string, af *answerFlags, f adoptFlags, preview bool) error {
	ctx := cmd.Context()
	if af.file != "" {
		return usage(errors.New("--answers can't be had with --adopt: the folder itself answers; flags stand above what it says"))
	}
	if err := a.recoverJournal(ctx, dir); err != nil {
		return err
	}
	d, err := deployment.Open(dir)
	if errors.Is(err, deployment.ErrNotFound) {
		return refuse(err, "init --adopt takes the folder that the registry's docker-compose.yml is in")
	}
	if err != nil {
		return fail(err)
	}
	ad := &adopted{dir: dir, target: dir}
	if f.into != "" {
		ad.target = f.into
		if err := a.refuseFull(f.into); err != nil {
			return err
		}
	}
	ad.found, err = adopt.Read(ctx, d, adopt.Options{Target: f.into, Override: func(ans *answers.Answers) error { return af.overlay(a, cmd, ans) }})
	if err != nil {
		var se *statusError
		if errors.As(err, &se) {
			return err
		}
		return refuse(err)
	}
	facts, err := doctor.Gather(ctx, doctor.Options{Deployment: d, Now: a.now, Dir: dir})
	if err != nil {
		return fail(err)
	}
	ad.report = doctor.Disk(ctx, facts)
	if len(ad.found.Blocks) == 0 {
		if err := a.planAdopted(ctx, ad); err != nil {
			return err
		}
	}
	write := a.yes && !preview && len(ad.found.Blocks) == 0
	if !a.json() {
		a.printAdopted(ad)
	}
	if !write && !preview && len(ad.found.Blocks) == 0 && a.io.CanPrompt() && !a.json() {
		if write, err = a.io.Confirm("Rewrite it?"); err != nil {
			return fail(err)
		}
	}
	if write {
		if err := a.writeAdopted(ctx, ad); err != nil {
			return err
		}
	}
	if a.json() {
		if err := a.printAdoptedJSON(ad, write); err != nil {
			return err
		}
	}
	switch {
	case len(ad.found.Blocks) > 0:
		return refuse(fmt.Errorf("%s can't be taken over as it is: nothing is written", dir), "the reasons are listed above; mend them, then run this again")
	case !write && preview:
		return refuse(errors.New("nothing written, as asked"))
	case !write:
		return refuse(errors.New("nothing written"), "--yes rewrites it")
	}
	return nil
}

// overlay lays what flags and variables say over the answers that a folder gave.
func (af *answerFlags) overlay(a *app, c *cobra.Command, ans *answers.Answers) error {
	said, refused, err := af.collect(a, c, *ans, false)
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		return answersError(refused)
	}
	*ans = said
	return nil
}

// planAdopted plans the files and, in the same folder, what happens to the old ones.
func (a *app) planAdopted(ctx context.Context, ad *adopted) error {
	secret, err := scaffold.NewHTTPSecret(a.rand)
	if err != nil {
		return fail(err)
	}
	made := adopt.Made{HTTPSecret: secret, UID: os.Getuid(), GID: os.Getgid()}
	if made.UID < 0 { // Windows has no such ids; the folder is for a Linux host
		made.UID, made.GID = 1000, 1000
	}
	if ad.files, err = ad.found.Plan(ctx, made); err != nil {
		return fail(err, "nothing was written")
	}
	if ad.target == ad.dir {
		if ad.changes, ad.backup, err = ad.found.Changes(ad.files, a.now()); err != nil {
			return fail(err)
		}
	}
	return nil
}

// writeAdopted makes the changes by one journal, or the new folder at once.
func (a *app) writeAdopted(ctx context.Context, ad *adopted) error {
	if ad.target != ad.dir {
		if err := scaffold.Write(ctx, a.fs, ad.target, ad.files, ad.found.Dirs("")); err != nil {
			return safefileError(err)
		}
	} else {
		j, err := a.fs.Begin(ctx, ad.dir, ad.changes, safefile.JournalOptions{Dirs: ad.found.Dirs(ad.backup), Lock: safefile.LockOptions{Command: "init --adopt", Now: a.now}})
		if err != nil {
			return safefileError(err)
		}
		if err := j.Commit(ctx); err != nil {
			return safefileError(err)
		}
	}
	if a.json() {
		return nil
	}
	r := ad.found.Answers.Resolve()
	a.note("")
	a.note("Wrote the deployment to %s.", ad.target)
	if ad.backup != "" {
		a.note("What was there before is in %s.", filepath.Join(ad.dir, ad.backup))
	}
	a.note("Next, in %s:", ad.target)
	for _, s := range ad.found.Steps {
		a.note("  %s", s)
	}
	a.note("  docker compose up -d --wait")
	a.note("Then look:")
	a.note("  regctl-setup -C %s doctor", ad.target)
	if r.UsesS3() {
		a.note("  regctl-setup -C %s s3 init --no-create", ad.target)
	}
	return nil
}

// remedy says what the new deployment does about a finding; "" is nothing.
func remedy(f doctor.Finding) string {
	if f.Code == "registry-2-unmaintained" {
		return "" // the major version is kept on purpose
	}
	return adopt.Remedy(f.Code)
}

func (a *app) printAdopted(ad *adopted) {
	a.out("%s: a registry's folder made by hand", ad.dir)
	for _, k := range ad.found.Kept {
		a.out("  kept: %s", k)
	}
	a.out("")
	a.out("What is wrong with it:")
	left := 0
	for _, f := range ad.report.Findings {
		a.out("  %s", f)
		if f.Why != "" {
			a.out("      why: %s", f.Why)
		}
		if r := remedy(f); r != "" {
			a.out("      new: %s", r)
		} else {
			left++
			a.out("      stays; to mend: %s", f.Fix.Text)
		}
	}
	if len(ad.report.Findings) == 0 {
		a.out("  nothing was found")
	}
	if len(ad.found.Blocks) > 0 {
		a.out("")
		a.out("What can't be taken over:")
		for _, b := range ad.found.Blocks {
			a.out("  %v", b)
			if b.Hint != "" {
				a.out("      to mend: %s", b.Hint)
			}
		}
		return
	}
	a.out("")
	a.out("What will be different:")
	for _, c := range ad.found.Changed {
		a.out("  %s", c)
	}
	a.out("")
	a.out("What will be written to %s:", ad.target)
	for _, line := range ad.lines() {
		a.out("  %s", line)
	}
	if left > 0 {
		a.note("%d of %d findings stay: nobody's rights and passwords are changed", left, len(ad.report.Findings))
	}
}

// lines lists what happens to which file.
func (ad *adopted) lines() []string {
	var out []string
	if ad.target != ad.dir {
		for _, f := range ad.files {
			out = append(out, "new      "+f.Path)
		}
		return out
	}
	var saved []string
	for _, c := range ad.changes {
		if rest, ok := strings.CutPrefix(c.Path, ad.backup+"/"); ok {
			saved = append(saved, rest)
		}
	}
	for _, c := range ad.changes {
		switch {
		case strings.HasPrefix(c.Path, ad.backup+"/"):
		case c.Remove:
			out = append(out, "moved    "+c.Path+" to "+ad.backup)
		case slices.Contains(saved, c.Path):
			out = append(out, "replaced "+c.Path+", the old one moved to "+ad.backup)
		case c.Expect == safefile.Absent:
			out = append(out, "new      "+c.Path)
		default:
			out = append(out, "kept     "+c.Path)
		}
	}
	return out
}

func (a *app) printAdoptedJSON(ad *adopted, written bool) error {
	type finding struct {
		Code     string `json:"code"`
		Severity string `json:"severity"`
		File     string `json:"file"`
		Line     int    `json:"line"`
		Col      int    `json:"col"`
		Message  string `json:"message"`
		Why      string `json:"why"`
		Witness  string `json:"witness,omitempty"`
		Fix      string `json:"fix"`
		New      string `json:"new"` // what the new deployment does; "" = it stays
	}
	type block struct {
		File    string `json:"file"`
		Line    int    `json:"line"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	}
	findings, blocks := []finding{}, []block{}
	for _, f := range ad.report.Findings {
		findings = append(findings, finding{f.Code, f.Severity.String(), f.Pos.File, f.Pos.Line, f.Pos.Column, f.Message, f.Why, f.Witness, f.Fix.Text, remedy(f)})
	}
	for _, b := range ad.found.Blocks {
		blocks = append(blocks, block{b.File, b.Line, b.Msg, b.Hint})
	}
	return a.printJSON(struct {
		Dir      string    `json:"dir"`
		Target   string    `json:"target"`
		Written  bool      `json:"written"`
		Backup   string    `json:"backup"`
		Findings []finding `json:"findings"`
		Blocks   []block   `json:"blocks"`
		Kept     []string  `json:"kept"`
		Changed  []string  `json:"changed"`
		Files    []string  `json:"files"`
		Steps    []string  `json:"steps"`
	}{absPath(ad.dir), absPath(ad.target), written, ad.backup, findings, blocks, ad.found.Kept, ad.found.Changed, ad.lines(), ad.found.Steps})
}
