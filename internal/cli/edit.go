package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// loadConfig reads and checks the deployment's auth config. Every problem of the file is
// an error of its own; warnings go to stderr.
func (a *app) loadConfig(ctx context.Context) (*config.File, *deployment.Deployment, error) {
	d, err := a.deployment(ctx)
	if err != nil {
		return nil, nil, err
	}
	file, err := readConfig(d.Auth)
	if err != nil {
		return nil, nil, err
	}
	return file, d, nil
}

func readConfig(path string) (*config.File, error) {
	data, err := readAuthConfig(path)
	if err != nil {
		return nil, fail(err)
	}
	file, problems := config.Parse(displayPath(path), data)
	if len(problems) > 0 {
		return nil, problemsError(problems)
	}
	return file, nil
}

// checkAuthConfig says why the file can't be an auth config, without reading it.
func checkAuthConfig(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("auth config %s: no such file", displayPath(path))
	case err != nil:
		return fmt.Errorf("auth config: %w", err)
	case st.IsDir():
		return fmt.Errorf("auth config %s is a directory, expected a file", displayPath(path))
	case st.Size() > config.MaxFileSize:
		return fmt.Errorf("auth config %s has %d bytes, more than the %d that are read", displayPath(path), st.Size(), config.MaxFileSize)
	}
	return nil
}

// readAuthConfig reads the file with a bound on its size.
func readAuthConfig(path string) ([]byte, error) {
	if err := checkAuthConfig(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("auth config: %w", err)
	}
	return data, nil
}

// problemsError makes one line for each problem, and a hint for each that has one.
func problemsError(problems config.Problems) error {
	errs := make([]error, 0, len(problems))
	var hints []string
	seen := map[string]bool{}
	for _, p := range problems {
		errs = append(errs, p)
		if p.Hint != "" && !seen[p.Hint] {
			seen[p.Hint] = true
			hints = append(hints, p.Hint)
		}
	}
	return fail(errors.Join(errs...), hints...)
}

// policy compiles the rules as the deployment's engine understands them.
func (a *app) policy(file *config.File, d *deployment.Deployment) (*acl.Policy, error) {
	engine, err := a.engineOf(d)
	if err != nil {
		return nil, err
	}
	literal := file.Extras.LiteralLabels && engine == answers.EngineBundled
	if literal == file.Extras.LiteralLabels { // the file's own compiled rules
		p, err := file.Policy()
		if err != nil {
			return nil, editError(err)
		}
		return p, nil
	}
	p, err := acl.Compile(file.ACL, acl.Options{LiteralLabels: literal})
	if err != nil {
		return nil, fail(fmt.Errorf("compile the rules of %s: %w", file.Path, err))
	}
	return p, nil
}

// engineOf is the engine whose semantics count: --engine, else the recorded one.
func (a *app) engineOf(d *deployment.Deployment) (string, error) {
	if e := a.engine(); e != "" {
		return e, nil
	}
	e, err := d.Engine()
	if err != nil {
		return "", answersError(err)
	}
	return e, nil
}

// serviceOf is the service name that the registry's tokens are for, "" where nothing tells.
func serviceOf(ctx context.Context, d *deployment.Deployment, file *config.File) (string, error) {
	service, err := d.Service(ctx)
	if err != nil || service != "" {
		return service, err
	}
	if len(file.Extras.Services) == 1 {
		return file.Extras.Services[0], nil
	}
	return "", nil
}

// edit changes the auth config under its lock: alter gets the file as it is now and
// returns it edited. What that does to the access of im is told, and asked about, before it
// is written. Nothing is written when the file or the change has a problem, or when the
// bytes are the same.
func (a *app) edit(ctx context.Context, im impact, alter func(*config.File) (*config.File, error)) (*deployment.Deployment, bool, error) {
	d, err := a.deployment(ctx)
	if err != nil {
		return nil, false, err
	}
	if err := checkAuthConfig(d.Auth); err != nil {
		return nil, false, fail(err)
	}
	var former []byte
	finish := func(error, ...string) {}
	changed, err := safefile.Transform(ctx, d.Auth, func(old []byte) ([]byte, error) {
		former = bytes.Clone(old)
		file, problems := config.Parse(displayPath(d.Auth), old)
		if file == nil {
			return nil, problemsError(problems)
		}
		edited, err := alter(file)
		if err != nil {
			return nil, editError(err)
		}
		if bytes.Equal(edited.Bytes(), old) {
			return old, nil
		}
		changes, err := a.announce(ctx, d, file, edited, im)
		if err != nil {
			return nil, err
		}
		finish(errors.New("somebody else changed the file meanwhile; beginning again"))
		what, accounts := describeEdit(file, edited)
		finish, err = a.recordChange(ctx, d, file, change{
			file: d.Rel(d.Auth), what: what, accounts: accounts, access: changes, before: old, after: edited.Bytes(),
		})
		if err != nil {
			finish = func(error, ...string) {}
			return nil, err
		}
		return edited.Bytes(), nil
	}, safefile.TransformOptions{OnWait: func(holder string) {
		a.note("waiting for the lock on %s, held by %s", displayPath(d.Auth), holder)
	}})
	var unsure *safefile.DurabilityError
	if errors.As(err, &unsure) {
		finish(nil)
	} else {
		finish(err)
	}
	switch {
	case errors.As(err, &unsure):
		a.note("warning: %v", unsure) // applied; only a power cut could undo it
	case err != nil:
		return d, false, editError(err)
	}
	if changed {
		if err := a.keep(ctx, d, former); err != nil {
			a.note("warning: the former version is not kept for undo: %v", err)
		}
	}
	return d, changed, nil
}

// live says when a change reaches a running token server, if it does not by itself.
func (a *app) live(ctx context.Context, d *deployment.Deployment) {
	service, err := d.SingleFileMount(ctx, d.Auth)
	if err != nil {
		a.note("warning: %v", err)
		return
	}
	if service == "" {
		return
	}
	if a.apply {
		if out, err := compose(ctx, d, "restart", service).CombinedOutput(); err != nil {
			a.note("warning: the change is written, but service %q could not be restarted: %s", service, firstLine(string(out)))
			return
		}
		a.note("restarted service %q, which now sees the new file", service)
		return
	}
	a.note("not live yet: the container of service %q mounts the single file and still sees the old one", service)
	a.note("  --apply restarts the service after a change; now: docker compose restart %s", service)
	a.note("  mounting the file's folder instead makes every change live by itself")
}

// editRules changes the rules; change returns the edited file and what was done, in words.
// With dryRun the difference is shown and nothing is written.
func (a *app) editRules(cmd *cobra.Command, dryRun bool, change func(*config.File) (*config.File, string, error)) error {
	if dryRun {
		f, d, err := a.loadConfig(cmd.Context())
		if err != nil {
			return err
		}
		edited, _, err := change(f)
		if err != nil {
			return editError(err)
		}
		changes, err := a.accessChanges(cmd.Context(), d, f, edited, impact{rules: true})
		if err != nil {
			return err
		}
		a.printChanges(changes)
		return a.printDiff(displayPath(d.Auth), f.Bytes(), edited.Bytes())
	}
	done := ""
	d, changed, err := a.edit(cmd.Context(), impact{rules: true}, func(f *config.File) (edited *config.File, err error) {
		edited, done, err = change(f)
		return edited, err
	})
	if err != nil {
		return err
	}
	if !changed {
		a.note("nothing to change in %s", displayPath(d.Auth))
		return nil
	}
	a.note("%s in %s", done, displayPath(d.Auth))
	a.live(cmd.Context(), d)
	return nil
}

// editError gives an edit's error its status: the file's own problems line by line, what can't
// be written as a wrong call.
func editError(err error) error {
	var se *statusError
	var ps config.Problems
	switch {
	case errors.As(err, &se):
		return se
	case errors.As(err, &ps):
		return problemsError(ps)
	case errors.Is(err, config.ErrBadEdit):
		return usage(err)
	case errors.Is(err, config.ErrUserExists), errors.Is(err, config.ErrNoSuchUser), errors.Is(err, config.ErrNoSuchEntry), errors.Is(err, config.ErrNoSuchLabel):
		return refuse(err)
	}
	return safefileError(err)
}

// printDiff shows a unified difference, hashes of passwords masked.
func (a *app) printDiff(name string, old, data []byte) error {
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(string(old)), B: difflib.SplitLines(string(data)),
		FromFile: name, ToFile: name + " (new)", Context: 3,
	})
	if err != nil {
		return fail(err)
	}
	_, err = fmt.Fprint(a.io.Out, scaffold.Mask(text))
	return err
}
