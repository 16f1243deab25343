package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/embedded"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

func newUpCommand(a *app) *cobra.Command {
	var (
		af       answerFlags
		asProc   bool
		skip     bool
		listen   string
		logLevel string
	)
	c := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Bring a deployment up; make one first where there is none",
		Long: `Bring the deployment in DIR up, in the runtime that it records.

Where DIR is empty or absent, a deployment with the embedded runtime is made first (the
answers of init are flags here too), and its passwords are printed once. The embedded
runtime is the CNCF registry and the token server in this process, on one loopback
address, until Ctrl-C; uploads in flight are finished first.

With the compose runtime the files are looked through first, as "doctor --offline" does:
an error in them stops the command. Once the containers are healthy, the registry is asked
as a client would.

A deployment that was started before is used as it is; nothing of it changes on disk but
the images that are pushed.`,
		Example: `  regctl-setup up --yes ./registry
  regctl-setup up ./registry --listen localhost:5050
  regctl-setup up --yes ./registry --team backend --user alice:team=backend`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			dir, err := a.positionalDir(args)
			if err != nil {
				return err
			}
			if flagSet(cmd.Flags(), "listen") {
				if err := embedded.CheckAddr(listen); err != nil {
					return usage(fmt.Errorf("--listen: %w", err))
				}
			}
			level, err := parseLevel(logLevel)
			if err != nil {
				return err
			}
			asked, err := a.metricsAsked(cmd.Flags())
			if err != nil {
				return err
			}
			free, err := emptyOrAbsent(dir)
			if err != nil {
				return err
			}
			var accounts []account
			if free {
				ans, err := af.read(a, cmd)
				if err != nil {
					return err
				}
				ans.Runtime = answers.RuntimeEmbedded
				if flagSet(cmd.Flags(), "listen") {
					ans.Listen = listen
				}
				if err := a.confirmAnswers(dir, ans); err != nil {
					return err
				}
				if err := canListen(ans.Listen); err != nil {
					return err // before a folder is made whose passwords nobody would see again
				}
				if accounts, _, err = a.generate(cmd.Context(), dir, ans, nil); err != nil {
					return err
				}
			} else if given := af.given(cmd); len(given) > 0 {
				return usage(fmt.Errorf("%s: answers make a new deployment, and %s has one already", strings.Join(given, ", "), dir))
			}
			d, err := deployment.Open(dir)
			if err != nil {
				if errors.Is(err, deployment.ErrNotFound) {
					return refuse(fmt.Errorf("%s is not empty and holds no deployment", dir), "name a new folder, or an empty one")
				}
				return fail(err)
			}
			if err := a.recoverJournal(cmd.Context(), d.Dir); err != nil {
				return err
			}
			ans, recorded, err := d.Answered()
			if err != nil {
				return answersError(err)
			}
			if asProc || recorded && ans.Runtime == answers.RuntimeEmbedded {
				addr := listen
				if !flagSet(cmd.Flags(), "listen") && recorded && ans.Listen != "" {
					addr = ans.Listen
				}
				return a.upEmbedded(cmd.Context(), d, addr, accounts, level, asked)
			}
			return a.upCompose(cmd.Context(), d, skip)
		}),
	}
	f := c.Flags()
	f.BoolVar(&asProc, "embedded", false, "run registry and token server in this process, whatever the deployment records")
	f.BoolVar(&skip, "skip-checks", false, "start the containers without looking for faults before and after")
	f.StringVar(&listen, "listen", answers.Defaults().Listen, "loopback `HOST:PORT` of the embedded runtime")
	f.StringVar(&logLevel, "log-level", "warn", "what is logged on stderr: debug, info, warn or error")
	metricsFlag(f)
	af.register(a, c, "listen", "runtime")
	return c
}

// canListen says in time that the address is taken.
func canListen(addr string) error {
	l, err := embedded.Probe(addr)
	if err != nil {
		return listenError(addr, err)
	}
	return l.Close()
}

// listenError explains why an address can't be had, and which flag chooses another.
func listenError(addr string, err error) error {
	if !errors.Is(err, embedded.ErrAddrInUse) {
		return fail(err)
	}
	hints := []string{"choose another address with --listen, such as --listen localhost:5050"}
	if strings.HasSuffix(addr, ":5000") {
		hint := "on macOS port 5000 is taken by AirPlay Receiver (System Settings, General, AirDrop & Handoff)"
		if runtime.GOOS == "darwin" {
			hints = append([]string{hint}, hints...)
		} else {
			hints = append(hints, hint)
		}
	}
	return fail(err, hints...)
}

// upEmbedded runs registry and token server in this process until ctx ends.
func (a *app) upEmbedded(ctx context.Context, d *deployment.Deployment, addr string, accounts []account, level slog.Level, asked config.Metrics) error {
	if _, err := os.Stat(d.Path(deployment.RegistryConfig)); err != nil {
		return fail(fmt.Errorf("the embedded runtime needs %s: %w", deployment.RegistryConfig, err),
			"regctl-setup init makes a deployment that has one")
	}
	release, err := a.lockRuntime(ctx, d)
	if err != nil {
		return err
	}
	defer release()

	log, logState, closeLog := a.serviceLog(level)
	defer closeLog()
	harden(log)
	trail := a.newAuditTrail(d, log)
	defer trail.close()
	if trail.inProcess, err = inProcessEvents(a.rand); err != nil {
		return fail(err)
	}
	obs, err := observe(ctx, asked, false, log)
	if err != nil {
		return err
	}
	defer obs.close()
	tokens, loader, err := a.tokenServer(d, trail, log, logState, obs, func(st *authserver.State) {
		st.RealIP = authserver.RealIP{} // no proxy stands in front: the peer is the client
		st.PathPrefix = ""
	})
	if err != nil {
		return err
	}
	defer loader.Close()
	if err := obs.start(ctx, tokens, loader); err != nil {
		return err
	}
	srv, err := embedded.New(embedded.Options{
		Addr: addr, ConfigPath: d.Path(deployment.RegistryConfig), DataDir: d.Path(deployment.DataDir),
		TrustBundle: d.Path(deployment.TrustBundle), JWKS: d.Path(deployment.JWKS),
		Auth: tokens, Logger: log, LogOutput: a.io.ErrOut, LogLevel: level, Events: trail.target(),
	})
	if err != nil {
		return listenError(addr, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go reloadOnHangup(ctx, tokens, nil, log, func() string { return "" })
	go tokens.Watch(ctx, authserver.WatchOptions{})
	go loader.RotateSigningKey(ctx, tokens, log)
	defer onSecondSignal(srv.Close)()
	if err := a.printReady(d, srv, loader.File(), accounts); err != nil {
		srv.Close()
		return err
	}
	if err := srv.Serve(ctx); err != nil {
		return fail(err)
	}
	a.note("stopped")
	return nil
}

// onSecondSignal ends a stop that takes too long for the person who waits: it calls closeNow
// at the second SIGTERM or Ctrl-C. It must be called before the first can come.
func onSecondSignal(closeNow func()) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		for n := 0; n < 2; n++ {
			select {
			case <-signals:
			case <-ended:
				return
			}
		}
		closeNow()
	}()
	return func() {
		signal.Stop(signals)
		close(ended)
	}
}

// lockRuntime makes sure that one runtime at a time uses the deployment's store.
func (a *app) lockRuntime(ctx context.Context, d *deployment.Deployment) (release func(), err error) {
	lock, err := lockStore(ctx, d)
	if err != nil {
		return nil, err
	}
	if running, _ := composeRunning(ctx, d); running {
		_ = lock.Release()
		return nil, fail(fmt.Errorf("the compose runtime of %s is up: two registries must not share a store", d.Dir),
			fmt.Sprintf("docker compose --project-directory %s down   stops it", d.Dir))
	}
	return func() { _ = lock.Release() }, nil
}

// lockStore takes the lock on the image data, which an embedded registry holds while it runs.
func lockStore(ctx context.Context, d *deployment.Deployment) (*safefile.Lock, error) {
	waitCtx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	lock, err := safefile.Acquire(waitCtx, d.Path(deployment.DataDir), safefile.LockOptions{Command: "regctl-setup up"})
	var locked *safefile.LockedError
	if errors.As(err, &locked) && ctx.Err() == nil {
		by := "another process"
		if locked.Holder != "" {
			by = locked.Holder
		}
		return nil, fail(fmt.Errorf("the image store %s is in use by %s", displayPath(d.Path(deployment.DataDir)), by),
			"stop that one first: two registries must not share a store")
	}
	if err != nil {
		return nil, safefileError(err)
	}
	return lock, nil
}

// composeRunning asks the Docker engine whether the deployment's registry container runs.
// Without an engine the answer is no.
func composeRunning(ctx context.Context, d *deployment.Deployment) (bool, error) {
	if d.Compose == "" {
		return false, nil
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return false, nil // no docker, no containers
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	out, err := compose(ctx, d, "ps", "--status", "running", "--quiet", "registry").Output()
	return err == nil && len(strings.TrimSpace(string(out))) > 0, err
}

// compose is a docker compose call on the deployment, untouched by what the shell exported
// for another project.
func compose(ctx context.Context, d *deployment.Deployment, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "docker", append([]string{"compose", "--project-directory", d.Dir, "-f", d.Compose}, args...)...)
	c.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "COMPOSE_") || strings.HasPrefix(kv, "REGISTRY_") || strings.HasPrefix(kv, "AUTH_")
	})
	return c
}

// lockRuntimeForCompose refuses to start containers on a store that an embedded registry uses.
func (a *app) lockRuntimeForCompose(ctx context.Context, d *deployment.Deployment) (func(), error) {
	if _, err := os.Stat(d.Path(deployment.DataDir)); err != nil {
		return func() {}, nil //nolint:nilerr // no store on disk, nothing to share
	}
	lock, err := lockStore(ctx, d)
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Release() }, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

type readyJSON struct {
	Registry string    `json:"registry"`
	Realm    string    `json:"realm"`
	Accounts []account `json:"accounts"`
}

// printReady tells who may log in and what to type.
func (a *app) printReady(d *deployment.Deployment, srv *embedded.Server, file *config.File, accounts []account) error {
	if a.json() {
		if accounts == nil {
			accounts = []account{}
		}
		return a.printJSON(readyJSON{Registry: srv.Addr(), Realm: srv.Realm(), Accounts: accounts})
	}
	addr := srv.Addr()
	a.out("Registry ready on %s, images in %s. Ctrl-C stops it.", addr, displayPath(d.Path(deployment.DataDir)))
	a.out("")
	name := ""
	if len(accounts) > 0 {
		a.printAccounts(accounts)
		name = accounts[0].Name
	} else {
		var names []string
		for _, u := range file.Users {
			if u.HasPassword && !u.Disabled {
				names = append(names, u.Name)
			}
		}
		a.out("Accounts: %s (passwords were shown when they were made;", strings.Join(names, ", "))
		a.out("  regctl-setup -C %s user passwd NAME sets a new one)", displayPath(d.Dir))
		if len(names) > 0 {
			name = names[0]
		}
	}
	if name == "" {
		return nil
	}
	a.out("")
	a.out("Try, in another terminal:")
	a.out("  docker login %s -u %s", addr, name)
	a.out("  docker pull busybox && docker tag busybox %s/library/busybox", addr)
	a.out("  docker push %s/library/busybox", addr)
	a.out("  docker pull %s/library/busybox", addr)
	a.out("or without Docker (crane as it is; skopeo with --tls-verify=false):")
	a.out("  crane auth login %s -u %s --password-stdin", addr, name)
	a.out("More accounts: regctl-setup -C %s user add NAME --label KEY=VALUE", displayPath(d.Dir))
	return nil
}

func (a *app) logger(level slog.Level) *slog.Logger {
	return slog.New(a.logHandler(a.io.ErrOut, level))
}

// logHandler formats log lines for whoever reads stderr.
func (a *app) logHandler(w io.Writer, level slog.Level) slog.Handler {
	opts := &slog.HandlerOptions{Level: level}
	if a.io.ErrIsTerminal() {
		return slog.NewTextHandler(w, opts)
	}
	return slog.NewJSONHandler(w, opts)
}
