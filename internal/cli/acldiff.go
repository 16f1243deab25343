package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

func newACLDiffCommand(a *app) *cobra.Command {
	failOn := "any"
	c := &cobra.Command{
		Use:   "diff OLD [NEW]",
		Short: "Tell who gains and who loses which rights from OLD to NEW",
		Long: `Tell who gains and who loses which rights from OLD to NEW, two auth configs: on exactly
which names, and with a request as a witness that one of them grants and the other one
does not. Users who are only in one of them gain or lose all that it grants them. Two
files that are written differently and mean the same have no difference.

OLD and NEW are files, or versions in git: REV: is the deployment's auth config in that
revision, REV:PATH any file of the repository, with PATH from its top (REV:./PATH from
the working directory). NEW is the deployment's auth config where it is not given.

Exit status 0 when both mean the same, 1 when something changed: of the kind that
--fail-on names. What can't be decided is told, and counts as a change. Changes nothing
on disk.`,
		Example: `  regctl-setup acl diff HEAD:
  regctl-setup acl diff old.yml new.yml --fail-on gain
  regctl-setup acl diff v1.2: main:conf/auth/auth-server.yml --format json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"gain", "loss", "any"}, failOn) {
				return usage(fmt.Errorf("--fail-on %q: expected gain, loss or any", failOn))
			}
			return runACLDiff(cmd.Context(), a, failOn, args)
		}),
	}
	c.Flags().StringVar(&failOn, "fail-on", failOn, "which changes end with status 1: `gain`, loss or any")
	return c
}

// changeJSON is a row of acl diff: who, what and where, and which entries decide.
type changeJSON struct {
	grantJSON
	OldEntry int `json:"old_entry"` // from 1; 0: no entry, or no such account
	NewEntry int `json:"new_entry"`
}

func runACLDiff(ctx context.Context, a *app, failOn string, args []string) error {
	before, err := a.diffSide(ctx, args[0])
	if err != nil {
		return err
	}
	var after *diffSide
	if len(args) > 1 {
		after, err = a.diffSide(ctx, args[1])
	} else {
		after, err = a.deployedSide(ctx)
	}
	if err != nil {
		return err
	}
	was, err := a.analyze(ctx, before.file, before.d)
	if err != nil {
		return err
	}
	is, err := a.analyze(ctx, after.file, after.d)
	if err != nil {
		return err
	}
	changes, err := analysis.Diff(was, is)
	if err != nil {
		return fail(err)
	}
	if a.json() {
		err = a.printJSON(struct {
			Gains     []changeJSON `json:"gains"`
			Losses    []changeJSON `json:"losses"`
			Undecided []string     `json:"undecided,omitempty"`
		}{
			describeChanges(changes.Gains, before.file.ACL, after.file.ACL, true),
			describeChanges(changes.Losses, before.file.ACL, after.file.ACL, false),
			undecidedTexts(changes.Undecided),
		})
		if err != nil {
			return err
		}
	} else {
		a.printACLDiff(changes, before.file, after.file)
	}
	changed := len(changes.Undecided) > 0 ||
		failOn != "loss" && len(changes.Gains) > 0 ||
		failOn != "gain" && len(changes.Losses) > 0
	if changed {
		return no()
	}
	return nil
}

func describeChanges(list []analysis.Change, before, after []acl.Entry, gain bool) []changeJSON {
	out := make([]changeJSON, 0, len(list))
	for _, c := range list {
		out = append(out, changeJSON{describeChange(c, before, after, gain), c.OldEntry + 1, c.NewEntry + 1})
	}
	return out
}

func (a *app) printACLDiff(c analysis.Changes, before, after *config.File) {
	if c.Empty() {
		a.out("no change: both mean the same for every account and every name")
		return
	}
	tell := func(verb string, list []analysis.Change) {
		for _, ch := range list {
			a.out("%s %s %s on %s", changeWho(ch), verb, strings.Join(ch.Actions, ","), changeNames(ch))
			a.out("  before: %s", decider(before, ch.OldEntry))
			a.out("  after:  %s", decider(after, ch.NewEntry))
			if w := ch.Witness; w != nil {
				a.out("  witness: %s", witnessText(w, ch.External != ""))
			}
		}
	}
	tell("gains", c.Gains)
	tell("loses", c.Losses)
	for _, u := range c.Undecided {
		a.out("%s", u)
	}
}

// decider names the entry that decides on one side of a difference.
func decider(f *config.File, entry int) string {
	if entry < 0 || entry >= len(f.ACL) {
		return "no entry"
	}
	e := f.ACL[entry]
	return fmt.Sprintf("entry %d, %s:%d%s: actions [%s]", entry+1, f.Path, e.Pos.Line, quotedComment(e.Comment), strings.Join(e.Actions, ", "))
}

// witnessText is a request as the arguments of acl test, with the labels of an account that
// lives elsewhere.
func witnessText(r *acl.Request, external bool) string {
	name, actions := r.Name, strings.Join(r.Actions, ",")
	if r.Type != analysis.TypeRepository {
		name = r.Type + ":" + name
	}
	if slices.Contains(r.Actions, "*") {
		actions = "'*'"
	}
	text := fmt.Sprintf("%s %s %s", accountName(r.Account), name, actions)
	if r.IP.IsValid() {
		text += " --ip " + r.IP.String()
	}
	if external {
		for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
			for _, value := range r.Labels[key] {
				text += fmt.Sprintf(" --label %s=%s", key, value)
			}
		}
	}
	return text
}

// diffSide is one of the two files that are compared.
type diffSide struct {
	file *config.File
	d    *deployment.Deployment
}

// deployedSide is the deployment's auth config as it is.
func (a *app) deployedSide(ctx context.Context) (*diffSide, error) {
	f, d, err := a.loadConfig(ctx)
	if err != nil {
		return nil, err
	}
	return &diffSide{f, d}, nil
}

// diffSide reads a file, or a version in git where no such file is there and the argument has
// a colon.
func (a *app) diffSide(ctx context.Context, arg string) (*diffSide, error) {
	rev, path, isRev := strings.Cut(arg, ":")
	if _, err := os.Stat(arg); err == nil || !isRev || rev == "" {
		if arg == "" || rev == "" && isRev && err != nil {
			return nil, usage(fmt.Errorf("%q is neither a file nor REV: or REV:PATH", arg))
		}
		d, err := deployment.ForConfig(arg, a.sideDir())
		if err != nil {
			return nil, fail(err)
		}
		f, err := readConfig(d.Auth)
		if err != nil {
			return nil, err
		}
		return &diffSide{f, d}, nil
	}
	if strings.HasPrefix(rev, "-") {
		return nil, usage(fmt.Errorf("%q: a revision can't begin with -", arg))
	}
	d, repo, err := a.revisionPlace(ctx, path)
	if err != nil {
		return nil, err
	}
	if path == "" {
		path = "./" + filepath.Base(d.Auth)
	}
	data, err := gitFile(ctx, repo, rev, path)
	if err != nil {
		return nil, fail(err)
	}
	f, problems := config.Parse(rev+":"+strings.TrimPrefix(path, "./"), data)
	if len(problems) > 0 {
		return nil, problemsError(problems)
	}
	return &diffSide{f, d}, nil
}

// sideDir is the folder that files named on the command line belong to, "" to look for it.
func (a *app) sideDir() string {
	if a.dirGiven() {
		return a.dir()
	}
	return ""
}

// revisionPlace returns the deployment whose engine and service count for a version in git, and
// the folder in whose repository git looks for it.
func (a *app) revisionPlace(ctx context.Context, path string) (d *deployment.Deployment, repo string, err error) {
	if path == "" {
		if d, err = a.deployment(ctx); err != nil {
			return nil, "", err
		}
		return d, filepath.Dir(d.Auth), nil
	}
	repo = a.dir()
	if file := a.viper.GetString(flagConfig); file != "" && !a.dirGiven() {
		repo = filepath.Dir(file)
	}
	d, err = deployment.Open(repo)
	if errors.Is(err, deployment.ErrNotFound) {
		d, err = deployment.ForConfig(filepath.Join(repo, filepath.Base(filepath.FromSlash(path))), a.sideDir())
	}
	if err != nil {
		return nil, "", fail(err)
	}
	return d, repo, nil
}

// gitFile returns a file of a revision, from the repository that dir lies in. The path counts
// from the repository's top, or from dir when it begins with "./".
func gitFile(ctx context.Context, dir, rev, path string) ([]byte, error) {
	object := rev + ":" + filepath.ToSlash(path)
	// Not git show: it lists a directory, and may run a text filter of the repository.
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "cat-file", "blob", object)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("read %s: git is not installed, and there is no file of this name", object)
		}
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	data, readErr := io.ReadAll(io.LimitReader(stdout, config.MaxFileSize+1))
	if len(data) > config.MaxFileSize {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("read %s: more than the %d bytes that are read", object, config.MaxFileSize)
	}
	if err := cmd.Wait(); err != nil {
		if text := strings.TrimPrefix(firstLine(stderr.String()), "fatal: "); text != "" {
			return nil, fmt.Errorf("read %s: git: %s", object, text)
		}
		return nil, fmt.Errorf("read %s: git: %w", object, err)
	}
	if readErr != nil {
		return nil, fmt.Errorf("read %s: %w", object, readErr)
	}
	return data, nil
}
