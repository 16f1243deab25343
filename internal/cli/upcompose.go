package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// upCompose starts the containers and waits until they are healthy: after a look at the
// files, and before one at what clients see.
func (a *app) upCompose(ctx context.Context, d *deployment.Deployment, skip bool) error {
	hint := "--embedded runs registry and token server in this process instead, on loopback without TLS"
	if d.Compose == "" {
		return fail(fmt.Errorf("%s has no compose file", d.Dir), hint)
	}
	if err := engineError(ctx); err != nil {
		return fail(fmt.Errorf("this deployment's runtime is compose: %w", err), doctor.EngineHint(err), hint)
	}
	if !skip {
		if err := a.preflight(ctx, d); err != nil {
			return err
		}
	}
	release, err := a.lockRuntimeForCompose(ctx, d)
	if err != nil {
		return err
	}
	defer release()
	if err := portsTaken(ctx, d); err != nil {
		return err
	}
	cmd := compose(ctx, d, "up", "-d", "--wait")
	cmd.Stdout, cmd.Stderr = a.io.ErrOut, a.io.ErrOut
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return a.sickServices(ctx, d, err)
	}
	ans, ok, err := d.Answered()
	if err != nil || !ok {
		a.note("up")
		return nil // the containers run; the answers only help to say where
	}
	r := ans.Resolve()
	if !skip {
		a.lookFromOutside(ctx, d)
	}
	if a.json() {
		return a.printJSON(readyJSON{Registry: r.Host(), Realm: r.Realm(), Accounts: []account{}})
	}
	a.out("Registry ready on %s://%s", r.Scheme(), r.Host())
	a.nextAfterUp(d, r)
	return nil
}

// sickServices names the containers that keep "up" from success.
func (a *app) sickServices(ctx context.Context, d *deployment.Deployment, cause error) error {
	hints := []string{}
	if list, err := composeServices(ctx, d); err == nil {
		for _, s := range list {
			switch {
			case s.ok() || s.State == "absent":
			case s.State == "created":
				hints = append(hints, fmt.Sprintf("%s was made and could not be started: docker's message above says why", s.Name))
			default:
				hints = append(hints, fmt.Sprintf("%s is %s: regctl-setup %slogs %s", s.Name, strings.TrimSpace(s.State+" "+s.Health), a.dirArg(), s.Name))
			}
		}
	}
	if len(hints) == 0 {
		hints = append(hints, fmt.Sprintf("regctl-setup %slogs   shows why", a.dirArg()))
	}
	hints = append(hints, fmt.Sprintf("regctl-setup %sdoctor logs   explains the lines that are known", a.dirArg()))
	return fail(fmt.Errorf("docker compose up: %w", cause), hints...)
}

// portsTaken says in time which port that a service publishes another program listens on. Docker
// says so too, once some of the containers run. Ports of services that run are not asked.
func portsTaken(ctx context.Context, d *deployment.Deployment) error {
	project, err := d.Project(ctx)
	if err != nil {
		return nil //nolint:nilerr // docker compose will say it
	}
	states, err := composeServices(ctx, d)
	if err != nil {
		return nil //nolint:nilerr // docker compose will say it
	}
	var taken []string
	var hints []string
	for _, s := range states {
		if s.State == "running" || s.State == "paused" || s.State == "restarting" {
			continue
		}
		for _, port := range project.Services[s.Name].Ports {
			if port.Protocol == "udp" {
				continue
			}
			addr := net.JoinHostPort(port.HostIP, port.Published)
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
			if err == nil {
				_ = l.Close()
				continue
			}
			if !errors.Is(err, syscall.EADDRINUSE) {
				continue // such as a port that only root may open: Docker may
			}
			taken = append(taken, fmt.Sprintf("%s, which service %s publishes", addr, s.Name))
			hints = append(hints, fmt.Sprintf("sudo ss -ltnp 'sport = :%s'   names the program that listens there", port.Published))
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return fail(fmt.Errorf("not started: another program listens on %s", strings.Join(taken, " and ")),
		append(hints, "stop that program, or choose other ports: regctl-setup init --http-port N --https-port N")...)
}

// preflight looks at the files. Errors stop; warnings are told.
func (a *app) preflight(ctx context.Context, d *deployment.Deployment) error {
	facts, err := doctor.Gather(ctx, doctor.Options{Deployment: d, Engine: a.engine(), Now: a.now, Dir: a.dir()})
	if err != nil {
		return fail(err)
	}
	report := doctor.Disk(ctx, facts)
	a.noteFindings(report, doctor.Warning)
	if !report.Healthy(doctor.Error) {
		return refuse(errors.New("not started: the files have errors that would not let the registry work"),
			"mend them as said above", "--skip-checks starts it all the same")
	}
	return ctx.Err()
}

// noteFindings tells findings beside the command's own output.
func (a *app) noteFindings(report doctor.Report, from doctor.Severity) {
	for _, f := range report.Findings {
		if f.Severity < from {
			continue
		}
		a.note("%s", f)
		a.note("    mend: %s", f.Fix.Text)
	}
}

// lookFromOutside asks the registry as a client on this machine. The containers run by
// now, so what it finds is told and stops nothing: a name may not lead here yet.
func (a *app) lookFromOutside(ctx context.Context, d *deployment.Deployment) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	facts, err := doctor.Gather(ctx, doctor.Options{Deployment: d, Engine: a.engine(), Now: a.now, Dir: a.dir()})
	if err != nil {
		a.note("warning: %v", err)
		return
	}
	o := doctor.LiveOptions{Now: a.now, Services: servicesOf(d)}
	if ownAuthority(facts) {
		o.Roots = caddyRoots(ctx, d)
	}
	if a.io.ErrIsTerminal() {
		o.Progress = func(step string) { a.note("  %s", step) }
	}
	report, err := doctor.Live(ctx, facts, o)
	if err != nil {
		a.note("warning: the registry could not be asked: %v", err)
		return
	}
	a.noteFindings(report, doctor.Warning)
	for _, u := range report.Unknown {
		a.note("not told, %s: %s", u.Code, u.Reason)
	}
	if !report.Healthy(doctor.Warning) {
		a.note("the containers are healthy; clients will have the trouble above: regctl-setup %sdoctor   looks again", a.dirArg())
	}
}

// nextAfterUp says what to type next.
func (a *app) nextAfterUp(d *deployment.Deployment, r answers.Answers) {
	dir := displayPath(d.Dir)
	if r.TLS == answers.TLSInternal {
		a.note("Clients must trust Caddy's own CA first:")
		a.note("  docker compose --project-directory %s cp caddy:/data/caddy/pki/authorities/local/root.crt ca.crt", dir)
		a.note("  sudo install -D -m 0644 ca.crt /etc/docker/certs.d/%s/ca.crt", r.Host())
	}
	a.trustAuthority(r, dir)
	a.note("Next:")
	a.note("  docker login %s -u %s", r.Host(), r.Accounts()[0].Name)
	a.note("  regctl-setup -C %s status", dir)
	a.note("  regctl-setup -C %s user add NAME --label KEY=VALUE", dir)
}
