package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// historySize is how many former versions of the auth config are kept.
const historySize = 10

// historyTime begins the names of kept versions: sortable, and without characters that a
// file system refuses.
const historyTime = "20060102T150405.000000000Z"

// historyDir is where former versions of the auth config are kept. They hold hashes of former
// passwords, so it is a folder that no container sees: the deployment's state folder, or for
// a file that lies in no deployment, one of this user's own.
func historyDir(ctx context.Context, d *deployment.Deployment) (string, error) {
	if d.Compose != "" || d.Answers != "" {
		dir := d.Path(deployment.StateDir + "/history")
		mounted, err := d.Mounted(ctx, dir)
		if err == nil && !mounted {
			return dir, nil
		}
	}
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no folder for former versions: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	sum := sha256.Sum256([]byte(d.Auth))
	return filepath.Join(base, "regctl-setup", "history", hex.EncodeToString(sum[:8])), nil
}

// keep puts the former content into the history and drops the oldest version beyond the last ten.
func (a *app) keep(ctx context.Context, d *deployment.Deployment, old []byte) error {
	dir, err := historyDir(ctx, d)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := a.now().UTC().Format(historyTime) + "-" + filepath.Base(d.Auth)
	if err := safefile.CreateExclusive(filepath.Join(dir, name), old, 0o600); err != nil {
		return err
	}
	versions, err := history(dir)
	if err != nil {
		return err
	}
	for _, v := range versions[min(len(versions), historySize):] {
		if err := os.Remove(v.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

type former struct {
	path string
	at   time.Time
}

// history lists the kept versions, the newest first.
func history(dir string) ([]former, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []former
	for _, e := range entries {
		stamp, _, ok := strings.Cut(e.Name(), "-")
		at, err := time.Parse(historyTime, stamp)
		if ok && err == nil && e.Type().IsRegular() {
			out = append(out, former{filepath.Join(dir, e.Name()), at})
		}
	}
	slices.SortFunc(out, func(a, b former) int { return b.at.Compare(a.at) })
	return out, nil
}

func newUserUndoCommand(a *app) *cobra.Command {
	var list bool
	c := &cobra.Command{
		Use:   "undo [N]",
		Short: "Show and restore a former version of the auth config",
		Long: `Show the difference to the Nth former version of the auth config (1, the default, is the
one before the last change) and restore it. The last 10 versions that this program replaced
are kept, also of rules that "acl" changed.

On a terminal it asks first; without one it only shows, unless --yes is given. Restoring is
a change like any other: the version that it replaces is kept too. Writes the auth config.
Exit status 1 when there is no such version, or when nothing was restored.`,
		Example: `  regctl-setup user undo --list
  regctl-setup user undo
  regctl-setup user undo 3 --yes`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			d, err := a.deployment(cmd.Context())
			if err != nil {
				return err
			}
			dir, err := historyDir(cmd.Context(), d)
			if err != nil {
				return fail(err)
			}
			versions, err := history(dir)
			if err != nil {
				return fail(err)
			}
			if list {
				return a.listVersions(versions)
			}
			n := 1
			if len(args) == 1 {
				if _, err := fmt.Sscanf(args[0], "%d", &n); err != nil || n < 1 {
					return usage(fmt.Errorf("version %q is not a number from 1 on", args[0]))
				}
			}
			if n > len(versions) {
				return refuse(fmt.Errorf("no version %d of %s is kept: there are %d", n, displayPath(d.Auth), len(versions)), "regctl-setup user undo --list")
			}
			return a.restore(cmd.Context(), d, versions[n-1])
		}),
	}
	c.Flags().BoolVar(&list, "list", false, "list the kept versions")
	return c
}

func (a *app) listVersions(versions []former) error {
	if a.json() {
		type row struct {
			N    int       `json:"n"`
			At   time.Time `json:"at"`
			File string    `json:"file"`
		}
		rows := []row{}
		for i, v := range versions {
			rows = append(rows, row{i + 1, v.at, v.path})
		}
		return a.printJSON(map[string]any{"versions": rows})
	}
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "N\tREPLACED\tFILE")
	for i, v := range versions {
		_, _ = fmt.Fprintf(tw, "%d\t%s\t%s\n", i+1, v.at.Format(time.DateTime+"Z"), displayPath(v.path))
	}
	return tw.Flush()
}

func (a *app) restore(ctx context.Context, d *deployment.Deployment, v former) error {
	data, err := os.ReadFile(v.path)
	if err != nil {
		return fail(err)
	}
	if _, problems := config.Parse(displayPath(v.path), data); len(problems) > 0 {
		return problemsError(problems)
	}
	current, err := readAuthConfig(d.Auth)
	if err != nil {
		return fail(err)
	}
	if err := a.printDiff(displayPath(d.Auth), current, data); err != nil {
		return fail(err)
	}
	if !a.yes {
		if !a.io.CanPrompt() {
			return refuse(errors.New("nothing restored: there is no terminal to ask on"), "--yes restores without asking")
		}
		ok, err := a.io.Confirm("Restore this version?")
		if err != nil {
			return fail(err)
		}
		if !ok {
			return refuse(errors.New("nothing restored"))
		}
	}
	d, changed, err := a.edit(ctx, impact{rules: true}, func(*config.File) (*config.File, error) {
		f, problems := config.Parse(displayPath(d.Auth), data)
		if len(problems) > 0 {
			return nil, problems
		}
		return f, nil
	})
	if err != nil {
		return err
	}
	if !changed {
		a.note("nothing to change: %s is that version already", displayPath(d.Auth))
		return nil
	}
	a.note("restored %s as it was until %s", displayPath(d.Auth), v.at.Format(time.DateTime+"Z"))
	a.live(ctx, d)
	return nil
}
