package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/wizard"
)

// rerunFlags are the flags of init that matter for a folder that is there.
type rerunFlags struct {
	dryRun bool
	diff   bool
	force  bool
}

func (rf *rerunFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&rf.dryRun, "dry-run", false, "list what would be written and write nothing; exit status 1 when there is something")
	f.BoolVar(&rf.diff, "diff", false, "show what would be written as a unified diff, secrets masked, and write nothing; exit status 1 when there is something")
	f.BoolVar(&rf.force, "force", false, "in a folder that is there: replace files that were changed by hand too, and keep a backup beside each")
}

// preview reports whether nothing may be written.
func (rf *rerunFlags) preview() bool { return rf.dryRun || rf.diff }

// deploymentIn reports whether dir holds a deployment that init has made. A change that an
// earlier process left half-way is finished or rolled back first.
func (a *app) deploymentIn(ctx context.Context, dir string) (bool, error) {
	if err := a.recoverJournal(ctx, dir); err != nil {
		return false, err
	}
	for _, name := range []string{scaffold.PathAnswers, scaffold.PathRecord} {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case err == nil:
			return true, nil
		case !errors.Is(err, fs.ErrNotExist):
			return false, fail(err)
		}
	}
	return false, nil
}

// rerun is a second run of init.
type rerun struct {
	kept     *kept
	ans      answers.Answers // the new ones
	plan     *scaffold.Rerun
	accounts []account
	access   analysis.Changes
	command  string  // that plans the same again
	warnings []error // to be shown before anything is written
}

// answerSource is where the answers of a second run come from.
type answerSource struct {
	over func(base answers.Answers) (answers.Answers, error) // laid over the recorded ones
	args []string                                            // the command line's answers, as flags
	said func(flag string) bool                              // whether a flag was answered now
}

// initAgain plans what the answers change in a deployment that is there, and writes it
// unless the flags ask only to see it. On a terminal, without a flag, it asks.
func (a *app) initAgain(cmd *cobra.Command, dir string, af *answerFlags, rf *rerunFlags) error {
	ctx := cmd.Context()
	from := answerSource{
		over: func(base answers.Answers) (answers.Answers, error) { return af.readOver(a, cmd, base, true) },
		args: af.again(cmd),
		said: func(flag string) bool { return af.said[flag] },
	}
	if !a.yes && !a.json() && !rf.preview() && !rf.force && a.io.CanPrompt() && len(af.given(cmd)) == 0 && !flagSet(cmd.Flags(), flagEngine) {
		asked, err := a.askAgain(cmd, dir, af)
		if err != nil {
			return err
		}
		from = asked
	}
	r, err := a.planAgain(ctx, dir, from, rf.force, false)
	if err != nil {
		return err
	}
	for _, w := range r.warnings {
		a.note("warning: %v", w)
	}
	if err := a.accessOf(ctx, dir, r); err != nil {
		return err
	}
	if rf.preview() {
		return a.showAgain(dir, r, rf)
	}
	if !r.plan.Pending() {
		if !r.plan.Recorded() {
			if err := a.applyAgain(ctx, dir, r); err != nil {
				a.note("warning: what was generated could not be recorded: %v", err)
			}
		}
		return a.doneAgain(dir, r, false)
	}
	if err := a.confirmAgain(dir, r); err != nil {
		return err
	}
	lock, err := a.lockInit(ctx, dir)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // it goes with the process
	for tries := 3; ; tries-- {
		// Again, now that nobody else runs init here, and with passwords.
		if r, err = a.planAgain(ctx, dir, from, rf.force, true); err != nil {
			return err
		}
		if !r.plan.Pending() {
			a.note("another command has made these changes meanwhile")
			return a.doneAgain(dir, r, false)
		}
		if err = a.accessOf(ctx, dir, r); err != nil {
			return err
		}
		err = a.applyAgain(ctx, dir, r)
		var unsure *safefile.DurabilityError
		if errors.As(err, &unsure) {
			a.note("warning: %v", unsure)
			err = nil
		}
		if err == nil {
			break
		}
		if tries == 1 || !errors.Is(err, safefile.ErrChanged) {
			return err
		}
	}
	return a.doneAgain(dir, r, true)
}

// askAgain runs the wizard over the recorded answers of a deployment. What it changes is
// shown once more, and confirmed, by the caller.
func (a *app) askAgain(cmd *cobra.Command, dir string, af *answerFlags) (answerSource, error) {
	k, err := a.readKept(dir)
	if err != nil {
		return answerSource{}, err
	}
	ans, refused, err := af.collect(a, cmd, k.base, true)
	if err != nil {
		return answerSource{}, err
	}
	if len(refused) > 0 {
		return answerSource{}, answersError(refused)
	}
	said := af.answered()
	source := func(asked answers.Answers) answerSource {
		return answerSource{
			over: func(base answers.Answers) (answers.Answers, error) {
				if string(base.Marshal()) != string(k.base.Marshal()) {
					return base, refuse(fmt.Errorf("%s was changed by somebody else while the questions were asked; nothing written", scaffold.PathAnswers),
						"run init again: it asks with the answers that are there now")
				}
				return asked, nil
			},
			said: func(flag string) bool { return said[flag] },
		}
	}
	start := wizard.Start{Answers: ans, Fixed: said, Existing: true, Accounts: k.accounts()}
	ans, _, err = a.runWizard(cmd.Context(), dir, start, func(ans answers.Answers) ([]plannedFile, error) {
		r, err := a.planAgain(cmd.Context(), dir, source(ans), false, false)
		if err != nil {
			return nil, err
		}
		return r.plannedFiles(), nil
	})
	return source(ans), err
}

// accounts lists those for which no password is made: they are there, or were removed by
// hand.
func (k *kept) accounts() []string {
	if k.auth == nil && !k.authBad {
		return nil // all are made again
	}
	var out []string
	for _, u := range k.was.Accounts() {
		out = append(out, u.Name)
	}
	if k.auth != nil {
		for _, u := range k.auth.Users {
			out = append(out, u.Name)
		}
	}
	return out
}

// plannedFiles lists what is not simply unchanged, for the wizard's summary.
func (r *rerun) plannedFiles() []plannedFile {
	var out []plannedFile
	for _, i := range r.plan.Items {
		state := string(i.Status)
		switch {
		case i.Status == scaffold.Unchanged || strings.HasSuffix(i.Path, "/"):
			continue
		case !i.Write:
			state = "kept"
		}
		out = append(out, plannedFile{Path: i.Path, Mode: i.Mode(), State: state})
	}
	return out
}

// lockInit keeps two runs of init from planning against each other.
func (a *app) lockInit(ctx context.Context, dir string) (*safefile.Lock, error) {
	state := filepath.Join(dir, deployment.StateDir)
	if err := os.Mkdir(state, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, safefileError(fmt.Errorf("make the state folder: %w", err))
	}
	lock, err := safefile.Acquire(ctx, filepath.Join(state, "init"), a.lockOptions("the deployment"))
	if err != nil {
		return nil, safefileError(err)
	}
	return lock, nil
}

func (a *app) lockOptions(what string) safefile.LockOptions {
	return safefile.LockOptions{Command: "regctl-setup init", Now: a.now, OnWait: func(holder string) {
		a.note("waiting for the lock on %s, held by %s", what, dash(holder))
	}}
}

// readKept reads a deployment's folder.
func (a *app) readKept(dir string) (*kept, error) {
	k := &kept{was: answers.Defaults()}
	disk, err := scaffold.ReadDisk(os.DirFS(dir))
	if err != nil {
		return nil, fail(err, "run the command as the owner of the deployment's files")
	}
	k.disk = disk
	if f, ok := disk.Files[scaffold.PathRecord]; ok {
		record, err := scaffold.ParseRecord(f.Data)
		if err != nil {
			return nil, fail(err, "without the file, init compares with what the recorded answers give: mv "+filepath.Join(dir, filepath.FromSlash(scaffold.PathRecord))+" elsewhere")
		}
		k.record = &record
		if k.was, err = answers.ParseYAML(scaffold.PathRecord, []byte(record.Answers)); err != nil {
			return nil, answersError(err)
		}
	}
	k.base = k.was
	if f, ok := disk.Files[scaffold.PathAnswers]; ok {
		if k.base, err = answers.ParseYAML(displayPath(filepath.Join(dir, scaffold.PathAnswers)), f.Data); err != nil {
			return nil, answersError(err)
		}
		if k.record == nil {
			k.was = k.base
		}
	}
	if f, ok := disk.Files[scaffold.PathAuth]; ok {
		var problems config.Problems
		if k.auth, problems = config.Parse(displayPath(filepath.Join(dir, filepath.FromSlash(scaffold.PathAuth))), f.Data); len(problems) > 0 {
			k.auth, k.authBad = nil, true
		}
	}
	for path, to := range map[string]*scaffold.RegistrySecrets{scaffold.PathRegistry: &k.secrets, scaffold.PathCache: &k.cache} {
		if f, ok := disk.Files[path]; ok {
			if *to, err = scaffold.ReadRegistrySecrets(path, f.Data); err != nil {
				return nil, fail(err, "mend the file, or move it away: then it is made again")
			}
		}
	}
	return k, nil
}

// planAgain works out what is to be done. Passwords are made only where they will be
// written.
func (a *app) planAgain(ctx context.Context, dir string, from answerSource, force, write bool) (*rerun, error) {
	k, err := a.readKept(dir)
	if err != nil {
		return nil, err
	}
	ans, err := from.over(k.base)
	if err != nil {
		return nil, err
	}
	if ans.KeyType != k.was.KeyType && k.has(scaffold.PathKey) {
		return nil, usage(fmt.Errorf("--key-type: the deployment has its signing key (%s), which init does not replace; got %s", k.was.KeyType, ans.KeyType),
			"regctl-setup keys --help tells how to change the key")
	}
	if err := foldersOf(dir, ans, &k.disk); err != nil {
		return nil, err
	}
	m, accounts, err := a.rerunMaterial(k, ans, from.said, write)
	if err != nil {
		return nil, err
	}
	r := &rerun{kept: k, ans: ans, accounts: accounts, command: commandLine(append([]string{"regctl-setup", "init", dir}, from.args...))}
	if write {
		r.command = commandLine([]string{"regctl-setup", "init", dir}) // the answers are recorded then
	}
	r.plan, err = scaffold.PlanRerun(scaffold.RerunInput{
		Disk: k.disk, Record: k.record, Old: k.was, New: ans, OldMaterial: k.former(), Material: m, Force: force, Now: a.now(),
	})
	var ps answers.Problems
	var cps config.Problems
	switch {
	case errors.As(err, &ps):
		return nil, answersError(ps)
	case errors.As(err, &cps):
		return nil, editError(err)
	case err != nil:
		return nil, fail(err)
	}
	warnings, err := r.plan.Check(ctx)
	if err != nil {
		return nil, refuse(err, "nothing was written; files that were changed by hand are kept and no longer fit the answers",
			"mend them by hand, or --force replaces them and keeps a backup beside each")
	}
	r.warnings = append(k.warnings, warnings...)
	for _, w := range ans.Warnings() {
		r.warnings = append(r.warnings, w)
	}
	return r, r.ownerFits(m.UID)
}

// foldersOf looks which folders of the answers are there.
func foldersOf(dir string, ans answers.Answers, d *scaffold.Disk) error {
	for name := range scaffold.Dirs(ans) {
		st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case err == nil && !st.IsDir():
			return fail(fmt.Errorf("%s is not a folder", filepath.Join(dir, filepath.FromSlash(name))))
		case err == nil:
			d.Folders[name] = true
		case !errors.Is(err, fs.ErrNotExist):
			return fail(err)
		}
	}
	return nil
}

// ownerFits refuses to make files that the services could not read: they run as the user
// whom the deployment belongs to, and root's new files are root's.
func (r *rerun) ownerFits(uid int) error {
	if os.Geteuid() != 0 || uid == 0 {
		return nil
	}
	for _, i := range r.plan.Items {
		if i.Write && i.Old == nil {
			return fail(fmt.Errorf("%s would belong to root, but the services run as uid %d and could not use it", i.Path, uid),
				fmt.Sprintf("run init as that user: sudo -u '#%d' regctl-setup init …", uid))
		}
	}
	return nil
}

// accessOf works out who gains and loses what, where the auth config is edited.
func (a *app) accessOf(ctx context.Context, dir string, r *rerun) error {
	before, after := r.plan.Auth, r.plan.NewAuth
	if before == nil || after == nil || before == after {
		return nil
	}
	d, err := deployment.Open(dir)
	if err != nil {
		return fail(err)
	}
	r.access, err = a.accessChanges(ctx, d, before, after, impact{rules: true})
	return err
}

// applyAgain writes the plan, with its intent and its result in the audit log.
func (a *app) applyAgain(ctx context.Context, dir string, r *rerun) error {
	finish, err := a.recordAgain(ctx, dir, r)
	if err != nil {
		return err
	}
	err = r.plan.Apply(ctx, a.fs, dir, a.lockOptions("the deployment's files"))
	var unsure *safefile.DurabilityError
	if errors.As(err, &unsure) {
		finish(nil) // it is written; only a power cut could undo it
	} else {
		finish(err)
	}
	if err != nil {
		return safefileError(err)
	}
	if r.plan.Auth == nil || slices.Equal(r.plan.Auth.Bytes(), r.plan.NewAuth.Bytes()) {
		return nil
	}
	var d *deployment.Deployment
	if d, err = deployment.Open(dir); err == nil {
		err = a.keep(ctx, d, r.plan.Auth.Bytes())
	}
	if err != nil {
		a.note("warning: the former auth config is not kept for undo: %v", err)
	}
	return nil
}

// recordAgain writes to the audit log what a second run is about to do: the answers that
// change, the files, and what that means for users and their access.
func (a *app) recordAgain(ctx context.Context, dir string, r *rerun) (finish func(error, ...string), err error) {
	if !r.plan.Pending() {
		return func(error, ...string) {}, nil
	}
	// Not Open: the auth config may be what is missing.
	d, err := deployment.ForConfig(filepath.Join(dir, filepath.FromSlash(scaffold.PathAuth)), dir)
	if err != nil {
		return nil, fail(err)
	}
	c := change{file: scaffold.PathAnswers, access: r.access}
	for _, f := range answers.Fields() {
		if was, will := f.Text(&r.kept.was), f.Text(&r.ans); was != will {
			c.what = append(c.what, fmt.Sprintf("--%s is %q, before %q", f.Flag, will, was))
		}
	}
	if before, after := r.plan.Auth, r.plan.NewAuth; before != nil && after != nil && before != after {
		what, accounts := describeEdit(before, after)
		c.what, c.accounts = append(c.what, what...), accounts
		c.file, c.before, c.after = d.Rel(d.Auth), before.Bytes(), after.Bytes()
	}
	for _, acc := range r.accounts {
		if !slices.Contains(c.accounts, acc.Name) {
			c.accounts, c.what = append(c.accounts, acc.Name), append(c.what, fmt.Sprintf("user %q is added", acc.Name))
		}
	}
	if written := r.plan.Written(); len(written) > 0 {
		c.what = append(c.what, "written: "+strings.Join(written, ", "))
	}
	return a.recordChange(ctx, d, r.plan.Auth, c)
}

// showAgain prints the plan as a list or as a diff. The status says whether there is
// anything to write.
func (a *app) showAgain(dir string, r *rerun, rf *rerunFlags) error {
	diff := ""
	if rf.diff {
		diff = r.plan.Diff(func(p string) string { return displayPath(filepath.Join(dir, filepath.FromSlash(p))) })
	}
	switch {
	case a.json():
		if err := a.printAgainJSON(dir, r, false, diff); err != nil {
			return err
		}
	case rf.diff:
		_, _ = fmt.Fprint(a.io.Out, diff)
		a.noteHandEdits(r)
	default:
		a.printItems(r)
	}
	if !a.json() {
		a.tellAgain(r)
	}
	if !r.plan.Pending() {
		if !a.json() {
			a.note("nothing to do: %s is as the answers say", displayPath(dir))
		}
		return nil
	}
	return no()
}

// commandLine joins words so that a POSIX shell reads them as they are.
func commandLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = doctor.ShellWord(w)
	}
	return strings.Join(quoted, " ")
}

// noteHandEdits names the files that are kept as a person made them.
func (a *app) noteHandEdits(r *rerun) {
	for _, i := range r.plan.Items {
		if (i.Status == scaffold.Edited || i.Status == scaffold.Both) && !i.Write {
			a.note("%s: %s (%s --diff --force shows the difference to what would be generated)", i.Path, i.Note, r.command)
		}
	}
}

// printItems lists everything that is not simply unchanged.
func (a *app) printItems(r *rerun) {
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	same := 0
	for _, i := range r.plan.Items {
		if i.Status == scaffold.Unchanged {
			same++
			continue
		}
		note := i.Note
		if i.Backup != "" {
			note += "; backup " + i.Backup
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\n", i.Status, i.Path, note)
	}
	_ = tw.Flush()
	a.out("%s unchanged", number(same, "file"))
}

// notes are the plan's, with the command lines as they are to be typed.
func (r *rerun) notes() []string {
	out := []string{}
	for _, n := range r.plan.Notes {
		out = append(out, strings.ReplaceAll(n, scaffold.InitCommand, r.command))
	}
	return out
}

// tellAgain prints what the list can't say.
func (a *app) tellAgain(r *rerun) {
	for _, n := range r.notes() {
		a.note("note: %s", n)
	}
	if r.plan.Auth != nil && r.plan.NewAuth != r.plan.Auth {
		a.printChanges(r.access)
	}
}

// confirmAgain shows the plan and asks, where there is somebody to ask.
func (a *app) confirmAgain(dir string, r *rerun) error {
	if !a.json() {
		a.printItems(r)
		a.tellAgain(r)
	}
	if a.yes || !a.io.CanPrompt() {
		return nil
	}
	ok, err := a.io.Confirm(fmt.Sprintf("Make these changes in %s?", displayPath(dir)))
	if err != nil {
		return fail(err)
	}
	if !ok {
		return refuse(errors.New("nothing written"))
	}
	return nil
}

// doneAgain ends a run that was not a preview.
func (a *app) doneAgain(dir string, r *rerun, written bool) error {
	if a.json() {
		return a.printAgainJSON(dir, r, written, "")
	}
	if !written {
		a.printItems(r)
		a.tellAgain(r)
		a.noteHandEdits(r)
		a.note("nothing to do: %s is as the answers say", displayPath(dir))
		return nil
	}
	if len(r.accounts) > 0 {
		a.printAccounts(r.accounts)
	}
	a.note("")
	a.note("Changed the deployment in %s.", absPath(dir))
	if next := r.next(); len(next) > 0 {
		a.note("To make it live:")
		for _, line := range next {
			a.note("  %s", strings.ReplaceAll(line, "DIR", doctor.ShellWord(dir)))
		}
	}
	return nil
}

// next lists the commands after which the services run with the new files.
func (r *rerun) next() []string {
	written := r.plan.Written()
	has := func(paths ...string) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return slices.Contains(written, p) })
	}
	secrets := slices.ContainsFunc(written, func(p string) bool { return strings.HasPrefix(p, "secrets/") && !strings.HasPrefix(p, "secrets/tls/") })
	if r.ans.Runtime == answers.RuntimeEmbedded {
		if has(scaffold.PathRegistry, scaffold.PathKey, scaffold.PathAnswers) {
			return []string{"end the running \"regctl-setup up\" with Ctrl-C, then: regctl-setup up DIR"}
		}
		return nil
	}
	var lines []string
	was, will := r.kept.was.Resolve(), r.ans.Resolve()
	if has(scaffold.PathCompose, scaffold.PathEnv, scaffold.PathEngine, scaffold.PathDockerfile, scaffold.PathCACerts) || secrets {
		line := "docker compose up -d --wait"
		if will.BuildsImage() {
			line += " --build"
		}
		if was.HasAuditService() && !will.HasAuditService() || was.BundlesStore() && !will.BundlesStore() || was.BundlesStore() && was.Storage != will.Storage {
			line += " --remove-orphans"
		}
		lines = append(lines, line)
	}
	var restart []string
	if has(scaffold.PathKey) {
		restart = append(restart, "auth")
	}
	if has(scaffold.PathAuditSecret) && was.HasAuditService() {
		restart = append(restart, "audit")
	}
	if has(scaffold.PathRegistry, scaffold.PathBundle, scaffold.PathJWKS) || secrets {
		restart = append(restart, "registry")
	}
	if has(scaffold.PathCache) && was.HasCache() {
		restart = append(restart, "cache")
	}
	if has(scaffold.PathCaddyfile, scaffold.PathACMERoot, scaffold.PathTLSCert, scaffold.PathTLSKey) {
		restart = append(restart, "caddy")
	}
	if len(restart) > 0 {
		lines = append(lines, "docker compose restart "+strings.Join(restart, " "))
	}
	if len(lines) > 0 {
		lines = []string{"cd DIR && " + strings.Join(lines, " && ")}
	}
	if was.Host() != will.Host() {
		lines = append(lines, "docker login "+will.Host())
	}
	return lines
}

// itemJSON is one file of the plan.
type itemJSON struct {
	Path   string          `json:"path"`
	Status scaffold.Status `json:"status"`
	Write  bool            `json:"write"`
	Backup string          `json:"backup,omitempty"`
	Note   string          `json:"note,omitempty"`
}

func (a *app) printAgainJSON(dir string, r *rerun, written bool, diff string) error {
	out := struct {
		Dir      string      `json:"dir"`
		Registry string      `json:"registry"`
		Realm    string      `json:"realm"`
		Changed  bool        `json:"changed"` // something is to be written, or was
		Written  bool        `json:"written"`
		Files    []itemJSON  `json:"files"`
		Notes    []string    `json:"notes"`
		Gains    []grantJSON `json:"gains"`
		Losses   []grantJSON `json:"losses"`
		Accounts []account   `json:"accounts"`
		Next     []string    `json:"next"`
		Diff     string      `json:"diff,omitempty"`
	}{
		Dir: absPath(dir), Registry: r.ans.Resolve().Host(), Realm: r.ans.Resolve().Realm(), Changed: r.plan.Pending(), Written: written,
		Files: []itemJSON{}, Notes: r.notes(), Gains: []grantJSON{}, Losses: []grantJSON{},
		Accounts: []account{}, Next: []string{}, Diff: diff,
	}
	for _, i := range r.plan.Items {
		out.Files = append(out.Files, itemJSON{i.Path, i.Status, i.Write, i.Backup, i.Note})
	}
	if before, after := r.plan.Auth, r.plan.NewAuth; before != nil && after != nil {
		for _, c := range r.access.Gains {
			out.Gains = append(out.Gains, describeChange(c, before.ACL, after.ACL, true))
		}
		for _, c := range r.access.Losses {
			out.Losses = append(out.Losses, describeChange(c, before.ACL, after.ACL, false))
		}
	}
	if written {
		out.Accounts = append(out.Accounts, r.accounts...)
		for _, line := range r.next() {
			out.Next = append(out.Next, strings.ReplaceAll(line, "DIR", doctor.ShellWord(dir)))
		}
	}
	return a.printJSON(out)
}

// previewNew shows the files of a deployment that is not there yet.
func (a *app) previewNew(ctx context.Context, dir string, ans answers.Answers, rf *rerunFlags) error {
	m, _, err := a.material(ans, nil)
	if err != nil {
		return err
	}
	files, err := scaffold.Plan(ans, m)
	if err != nil {
		return fail(err)
	}
	if err := scaffold.Check(ctx, files); err != nil {
		return fail(err)
	}
	files = append(files, scaffold.NewRecord(ans, files).File())
	plan := scaffold.NewTree(files, scaffold.Dirs(ans))
	r := &rerun{kept: &kept{was: ans}, ans: ans, plan: plan}
	return a.showAgain(dir, r, rf)
}
