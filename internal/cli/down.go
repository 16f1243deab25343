package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// stopWait is longer than the registry's and Caddy's own time to finish uploads.
const stopWait = 90 * time.Second

func newDownCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the deployment; images, users and keys stay",
		Long: `Stop the deployment in the runtime that it records. Uploads in flight are finished first, as
far as the registry's drain time goes. Images, users, keys and certificates stay; "up" starts
it again.

Exit status 1 when nothing was running.`,
		Example: `  regctl-setup -C ./registry down`,
		Args:    cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			d, embedded, err := a.runtimeOf(cmd.Context())
			if err != nil {
				return err
			}
			if embedded {
				return a.stopEmbedded(cmd.Context(), d)
			}
			return a.stopCompose(cmd.Context(), d)
		}),
	}
}

// runtimeOf opens the deployment and says whether its runtime is the embedded one.
func (a *app) runtimeOf(ctx context.Context) (*deployment.Deployment, bool, error) {
	d, err := a.deployment(ctx)
	if err != nil {
		return nil, false, err
	}
	ans, recorded, err := d.Answered()
	if err != nil {
		return nil, false, answersError(err)
	}
	return d, recorded && ans.Runtime == answers.RuntimeEmbedded, nil
}

func (a *app) stopCompose(ctx context.Context, d *deployment.Deployment) error {
	if d.Compose == "" {
		return fail(fmt.Errorf("%s has no compose file", d.Dir))
	}
	if err := engineError(ctx); err != nil {
		return fail(err, doctor.EngineHint(err))
	}
	list, err := composeServices(ctx, d)
	if err != nil {
		return fail(err)
	}
	there := 0
	for _, s := range list {
		if s.State != "absent" {
			there++
		}
	}
	if there == 0 {
		return refuse(errors.New("nothing of this deployment runs"))
	}
	cmd := compose(ctx, d, "down")
	cmd.Stdout, cmd.Stderr = a.io.ErrOut, a.io.ErrOut
	if err := cmd.Run(); err != nil {
		return fail(fmt.Errorf("docker compose down: %w", err))
	}
	a.note("stopped; images, users and keys are where they were")
	return nil
}

// storeHolder is who holds the lock on the image store, in the lock's words; "" when
// nobody does.
func storeHolder(ctx context.Context, d *deployment.Deployment) string {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	lock, err := safefile.Acquire(ctx, d.Path(deployment.DataDir), safefile.LockOptions{Command: "regctl-setup status"})
	var locked *safefile.LockedError
	if errors.As(err, &locked) {
		return locked.Holder
	}
	if err == nil {
		_ = lock.Release()
	}
	return ""
}

// holderProcess is the number of the process in a lock holder's text, and its host.
func holderProcess(text string) (pid int, host string) {
	m := regexp.MustCompile(`^process (\d+) on (\S+) \(regctl-setup up\)`).FindStringSubmatch(text)
	if m == nil {
		return 0, ""
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, ""
	}
	return pid, m[2]
}

// stopEmbedded ends the process that holds the image store, as Ctrl-C there would.
func (a *app) stopEmbedded(ctx context.Context, d *deployment.Deployment) error {
	holder := storeHolder(ctx, d)
	if holder == "" {
		return refuse(fmt.Errorf("no registry runs on %s", displayPath(d.Path(deployment.DataDir))))
	}
	pid, host := holderProcess(holder)
	if here, err := os.Hostname(); err != nil || pid == 0 || host != here {
		return fail(fmt.Errorf("the image store is in use by %s", holder), "end it where it runs")
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		return fail(fmt.Errorf("end %s: %w", holder, err), "end it where it runs")
	}
	waitCtx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	lock, err := safefile.Acquire(waitCtx, d.Path(deployment.DataDir), safefile.LockOptions{Command: "regctl-setup down"})
	if err != nil {
		return fail(fmt.Errorf("process %d has not ended within %v", pid, stopWait), "a second signal ends it at once: kill "+strconv.Itoa(pid))
	}
	_ = lock.Release()
	a.note("stopped; images, users and keys are in %s", displayPath(filepath.Clean(d.Dir)))
	return nil
}
