package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl/acltest"
	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/sdnotify"
)

func newServeCommand(a *app) *cobra.Command {
	var (
		check    bool
		logLevel string
	)
	c := &cobra.Command{
		Use:   "serve [CONFIG]",
		Short: "Run the token server on docker_auth's configuration file",
		Long: `Run the token server: the same configuration file, the same requests and answers as
cesanta/docker_auth, without its accidents (docs/compatibility.md lists the differences).

CONFIG is the auth config; without it, the one of the deployment in --dir. Relative paths in
it are below --dir, else below the deployment that the file lies in, else below the working
directory; a path that exists only inside a container is found through the compose file.

It listens where server.addr says. The file, the key and the certificate are watched: a
change is taken over when it is complete and right, else the old state stays and the log says
why. SIGHUP reloads at once. SIGTERM and Ctrl-C end it with 0 after the requests in flight.

docker_auth's logging flags (-logtostderr, -v=1, …) are accepted and ignored.

Settings of its own stand under x-regctl-setup: in the file (docs/serve.md):

` + describeSettings(config.Settings()) + `
Limits stand under x-regctl-setup.limits:

` + describeSettings(config.LimitSettings()),
		Example: `  regctl-setup serve conf/auth/auth-server.yml
  regctl-setup -C ./registry serve
  regctl-setup -C ./registry serve --check`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			level, err := parseLevel(logLevel)
			if err != nil {
				return err
			}
			d, err := a.serveDeployment(cmd.Context(), args)
			if err != nil {
				return err
			}
			if check {
				return a.serveCheck(cmd.Context(), d)
			}
			asked, err := a.metricsAsked(cmd.Flags())
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), d, level, asked)
		}),
	}
	c.Flags().BoolVar(&check, "check", false, "ask the server that runs on this config whether it is healthy, and end (for container health checks)")
	c.Flags().StringVar(&logLevel, "log-level", "info", "what is logged on stderr: debug, info, warn or error")
	metricsFlag(c.Flags())
	return c
}

// describeSettings lists settings for a help text.
func describeSettings(list []config.Setting) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "  %s", s.Key)
		if s.Default != "" {
			fmt.Fprintf(&b, " (default %s)", s.Default)
		}
		fmt.Fprintf(&b, "\n      %s\n", s.Meaning)
	}
	return b.String()
}

func parseLevel(text string) (level slog.Level, err error) {
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return level, usage(fmt.Errorf("--log-level %q: expected debug, info, warn or error", text))
	}
	return level, nil
}

// serveDeployment finds the config that serve is for.
func (a *app) serveDeployment(ctx context.Context, args []string) (*deployment.Deployment, error) {
	if len(args) == 0 {
		return a.deployment(ctx)
	}
	if a.viper.GetString(flagConfig) != "" {
		return nil, usage(fmt.Errorf("the config is named twice: %q and --config %q", args[0], a.viper.GetString(flagConfig)))
	}
	dir := ""
	if a.dirGiven() {
		dir = a.dir()
	}
	d, err := deployment.ForConfig(args[0], dir)
	if err != nil {
		return nil, fail(err)
	}
	return d, nil
}

// tokenServer loads the config and builds the server on it. What the file says wrongly is
// reported problem by problem. adapt, where given, changes each loaded state. Decisions go
// to the trail.
func (a *app) tokenServer(d *deployment.Deployment, trail *auditTrail, log *slog.Logger, logState func() authserver.LogState, obs *observation, adapt func(*authserver.State)) (*authserver.Server, *authload.Loader, error) {
	if err := checkAuthConfig(d.Auth); err != nil {
		return nil, nil, fail(err)
	}
	loader := authload.NewLoader(authload.Options{ConfigPath: displayPath(d.Auth), Resolve: d.Resolve, Now: a.now, Rand: a.rand})
	running := false // at the start failing tests of the rules only warn: there is no older state to keep
	srv, err := authserver.New(authserver.Options{
		Load: func(ctx context.Context) (*authserver.State, error) {
			st, err := loader.Load(ctx)
			if err != nil {
				return nil, err
			}
			if err := a.policyTests(ctx, d, loader.File()); err != nil {
				if running {
					return nil, err
				}
				log.Warn("the rules do not pass the deployment's own tests", "error", err.Error())
			}
			obs.adapt(st)
			if adapt != nil {
				adapt(st)
			}
			st.Recorder, err = trail.configure(loader.File(), st.PathPrefix)
			return st, err
		},
		Logger: log, LogState: logState, Adopted: obs.adopted, Tracer: obs.serverTracer(), Now: a.now, Rand: a.rand,
	})
	if err != nil {
		var ps config.Problems
		if errors.As(err, &ps) {
			return nil, nil, problemsError(ps)
		}
		var hinted interface{ Hint() string }
		if errors.As(err, &hinted) && hinted.Hint() != "" {
			return nil, nil, fail(err, hinted.Hint())
		}
		return nil, nil, fail(err)
	}
	running = true
	return srv, loader, nil
}

// policyTests runs the deployment's test cases of the rules, where it has any.
func (a *app) policyTests(ctx context.Context, d *deployment.Deployment, f *config.File) error {
	path := d.Path(scaffold.PathACLTests)
	if _, err := os.Stat(path); err != nil {
		return nil //nolint:nilerr // no cases, nothing to hold the rules to
	}
	cases, err := readCases(path)
	if err != nil {
		return err
	}
	// The rules are what is tested here. A case about an account that was removed or disabled
	// must not keep the configuration from being taken that keeps it out.
	cases.Cases = slices.DeleteFunc(cases.Cases, func(c acltest.Case) bool {
		u, known := f.User(c.Who)
		return c.Labels == nil && c.Who != "" && !known || known && cantLogIn(a, u) != ""
	})
	target := acltest.Target{Config: f, Now: a.now()}
	if target.Policy, err = f.Policy(); err != nil {
		return err
	}
	if target.Service, err = serviceOf(ctx, d, f); err != nil {
		return err
	}
	result, err := acltest.Run(ctx, target, cases, acltest.Options{})
	if err != nil {
		return err
	}
	if n := result.Failed(); n > 0 {
		return fmt.Errorf("%d of %d test cases in %s fail; regctl-setup acl test shows which", n, len(result.Cases), displayPath(path))
	}
	return nil
}

// saveMemory makes the garbage collector begin at half the memory in use instead of at all of
// it: requests leave little behind, so that memory costs more than collecting does. Go's own
// GOGC goes before it.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// serve listens and answers until ctx ends.
func (a *app) serve(ctx context.Context, d *deployment.Deployment, level slog.Level, asked config.Metrics) error {
	var programs atomic.Pointer[authload.Loader]
	defer onSecondSignal(func() {
		if loader := programs.Load(); loader != nil {
			loader.Close()
		}
		os.Exit(exitOK)
	})()
	log, logState, closeLog := a.serviceLog(level)
	defer closeLog()
	harden(log)
	saveMemory()
	manager, listeners, err := startedBy()
	if err != nil {
		return fail(err)
	}
	defer func() { _ = manager.Close() }()
	trail := a.newAuditTrail(d, log)
	defer trail.close()
	obs, err := observe(ctx, asked, true, log)
	if err != nil {
		return err
	}
	defer obs.close()
	srv, loader, err := a.tokenServer(d, trail, log, logState, obs, nil)
	if err != nil {
		return err
	}
	defer loader.Close()
	programs.Store(loader)
	if err := obs.start(ctx, srv, loader); err != nil {
		return err
	}
	stop := ctx // ends with the first signal
	ctx, cancel := context.WithCancel(ctx)
	status := func() string {
		f := loader.File()
		return fmt.Sprintf("serving %d users and %d entries of %s", len(f.Users), len(f.ACL), displayPath(d.Auth))
	}
	go reloadOnHangup(ctx, srv, manager, log, status)
	go srv.Watch(ctx, authserver.WatchOptions{})
	go loader.RotateSigningKey(ctx, srv, log)
	go watchdog(ctx, manager, srv, log)
	var told sync.WaitGroup
	told.Go(func() {
		<-ctx.Done()
		if stop.Err() != nil {
			log.Info("stopping: the requests in flight are waited for", "at_most", authserver.DrainTimeout.String(), "hint", "a second signal ends it at once")
		}
		tell(log, manager.Stopping())
	})
	defer told.Wait()
	defer cancel()
	ready := func(net.Addr) {
		f := loader.File()
		log.Info("serving", "config", displayPath(d.Auth), "users", len(f.Users), "entries", len(f.ACL))
		tell(log, manager.Ready(status()))
	}
	if len(listeners) > 0 {
		log.Info("listening on the service manager's sockets; server.addr is not opened", "sockets", len(listeners))
		ready(nil)
		err = srv.Serve(ctx, listeners...)
	} else {
		err = srv.ListenAndServe(ctx, ready)
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fail(err, "another process listens there; server.addr in "+displayPath(d.Auth)+" chooses the address")
	case err != nil:
		return fail(err)
	}
	log.Info("stopped")
	return nil
}

// reloadOnHangup reloads at once on SIGHUP. manager may be nil.
func reloadOnHangup(ctx context.Context, srv *authserver.Server, manager *sdnotify.Manager, log *slog.Logger, status func() string) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			tell(log, manager.Reloading())
			text := status
			if err := srv.Reload(ctx); err != nil { // which is logged there
				text = func() string { return "the reload failed, the old configuration stays in force" }
			}
			tell(log, manager.Ready(text()))
		}
	}
}

// serveCheck asks the running server's /healthz and ends with 0 or 1.
func (a *app) serveCheck(ctx context.Context, d *deployment.Deployment) error {
	file, err := readConfig(d.Auth)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/healthz?verbose", nil)
	if err != nil {
		return fail(err)
	}
	network, addr := "tcp", dialAddr(file.Server.Addr)
	if file.Server.Net == "unix" {
		network, addr = "unix", d.Resolve(file.Server.Addr)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	if file.Server.Certificate != "" {
		req.URL.Scheme = "https"
		transport.TLSClientConfig = selfCheckTLS()
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return refuse(fmt.Errorf("no token server answers on %s: %w", addr, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refuse(fmt.Errorf("the token server on %s answers %s", addr, resp.Status))
	}
	if a.json() { // its own words: state, last reload, counts
		_, err := io.Copy(a.io.Out, io.LimitReader(resp.Body, 64<<10))
		return err
	}
	a.note("healthy")
	return nil
}

// dialAddr is where a server that listens on addr can be reached from its own machine.
func dialAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if _, err := strconv.Atoi(port); err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
