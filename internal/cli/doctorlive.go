package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// liveFlags say how the registry is asked.
type liveFlags struct {
	write   bool
	account string
	stdin   bool
	url     string
	ca      string
}

func (l *liveFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&l.write, "write", false, "push, pull, mount and delete as well, in the repository "+doctor.ProbeRepository)
	f.StringVar(&l.account, "as", "", "log in as this `USER` too, with a password from the terminal or --password-stdin")
	f.BoolVar(&l.stdin, "password-stdin", false, "read the password from standard input, one line")
	l.registerWhere(f)
}

// registerWhere adds the flags that say which registry is asked, and who is trusted.
func (l *liveFlags) registerWhere(f *pflag.FlagSet) {
	f.StringVar(&l.url, "url", "", "the registry as clients reach it, such as https://registry.example.com (default: what the deployment records)")
	f.StringVar(&l.ca, "ca", "", "a PEM `FILE` of authorities to trust beside the system's")
}

// check refuses flags that would do nothing.
func (l *liveFlags) check(offline bool) error {
	if l.stdin && l.account == "" {
		return usage(errors.New("--password-stdin is for --as USER"))
	}
	if offline && (l.write || l.account != "" || l.url != "" || l.ca != "") {
		return usage(errors.New("--offline looks at files only: --write, --as, --url and --ca exclude it"))
	}
	return nil
}

// roots are the authorities that are trusted; nil: the system's.
func (l *liveFlags) roots() (*x509.CertPool, error) {
	if l.ca == "" {
		return nil, nil //nolint:nilnil // nil is the system's own
	}
	data, err := os.ReadFile(l.ca)
	if err != nil {
		return nil, fail(fmt.Errorf("--ca: %w", err))
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fail(fmt.Errorf("--ca %s holds no certificate", l.ca))
	}
	return pool, nil
}

// rootsFor are the authorities that are trusted for the deployment's own registry: where its Caddy
// has an authority of its own and --ca names none, that of the running container too.
func (a *app) rootsFor(ctx context.Context, l *liveFlags, facts *doctor.Facts) (*x509.CertPool, error) {
	if l.ca != "" || l.url != "" || facts == nil || !ownAuthority(facts) {
		return l.roots()
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	pool := caddyRoots(ctx, facts.Deployment)
	if pool != nil {
		a.note("note: trusting Caddy's own authority, as its container has it; clients must be given it")
	}
	return pool, nil
}

// engineTimeout is how long the engine may take to tell something.
const engineTimeout = 10 * time.Second

// ownAuthority reports whether the deployment runs in containers, with a certificate of Caddy's own
// authority.
func ownAuthority(f *doctor.Facts) bool {
	return f.Answers != nil && !f.Embedded && f.Compose != "" && f.Answers.TLS == answers.TLSInternal
}

// caddyRoots are the system's authorities and that of the deployment's own Caddy, which
// is asked of its container; nil, the system's alone, where it does not tell.
func caddyRoots(ctx context.Context, d *deployment.Deployment) *x509.CertPool {
	archive, err := compose(ctx, d, "cp", "caddy:/data/caddy/pki/authorities/local/root.crt", "-").Output()
	if err != nil {
		return nil
	}
	file := tar.NewReader(bytes.NewReader(archive))
	if _, err := file.Next(); err != nil {
		return nil
	}
	pem, err := io.ReadAll(file)
	if err != nil {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil
	}
	return pool
}

// containerAddress asks the engine for the address of a service's container, which the machine
// that runs it can reach.
func containerAddress(ctx context.Context, d *deployment.Deployment, service string) (string, error) {
	out, err := compose(ctx, d, "ps", "-q", service).Output()
	id, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	switch {
	case err != nil:
		return "", fmt.Errorf("docker compose ps %s: %w", service, err)
	case id == "":
		return "", errors.New("it does not run")
	}
	out, err = exec.CommandContext(ctx, "docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}", id).Output()
	if err != nil {
		return "", fmt.Errorf("docker inspect %s: %w", service, err)
	}
	if list := strings.Fields(string(out)); len(list) > 0 {
		return list[0], nil
	}
	return "", errors.New("it has no address")
}

// servicesOf asks the engine how the services of the compose file are.
func servicesOf(d *deployment.Deployment) func(context.Context) ([]doctor.ServiceState, error) {
	return func(ctx context.Context) ([]doctor.ServiceState, error) {
		ctx, cancel := context.WithTimeout(ctx, engineTimeout)
		defer cancel()
		if err := engineError(ctx); err != nil {
			return nil, err
		}
		list, err := composeServices(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", doctor.ErrServicesUnknown, err)
		}
		states := make([]doctor.ServiceState, 0, len(list))
		for _, s := range list {
			states = append(states, doctor.ServiceState{Name: s.Name, State: s.State, Status: s.Status})
		}
		return states, nil
	}
}

// readPassword reads the password of an account, by flag or from the terminal.
func (a *app) readPassword(account string, stdin bool) (secret.Text, error) {
	var pw secret.Text
	var err error
	switch {
	case stdin:
		pw, err = a.io.SecretFromInput()
	case a.io.CanPrompt():
		pw, err = a.io.Secret(fmt.Sprintf("Password of %s: ", account))
	default:
		return pw, usage(fmt.Errorf("no password for %q: there is no terminal to ask on", account), "--password-stdin reads one from standard input")
	}
	if err != nil {
		return pw, usage(err)
	}
	return pw, nil
}

// doctorLive asks the registry, with progress on a terminal.
func (a *app) doctorLive(ctx context.Context, facts *doctor.Facts, l liveFlags) (doctor.Report, error) {
	o := doctor.LiveOptions{URL: l.url, Write: l.write, Account: l.account, Now: a.now}
	var err error
	if o.Roots, err = a.rootsFor(ctx, &l, facts); err != nil {
		return doctor.Report{}, err
	}
	if l.account != "" {
		if o.Password, err = a.readPassword(l.account, l.stdin); err != nil {
			return doctor.Report{}, err
		}
	}
	if l.write {
		a.note("note: %s is pushed to; its name stays in the registry's catalog for ever, and 32 MB stay in its storage: where deleting is on, until the next garbage collection", doctor.ProbeRepository)
	}
	if !facts.Embedded && facts.Compose != "" {
		if l.url == "" {
			o.Services = servicesOf(facts.Deployment)
		}
		o.Container = func(ctx context.Context, service string) (string, error) {
			return containerAddress(ctx, facts.Deployment, service)
		}
	}
	if a.io.ErrIsTerminal() {
		o.Progress = func(step string) { a.note("  %s", step) }
	}
	report, err := doctor.Live(ctx, facts, o)
	switch {
	case err != nil && ctx.Err() != nil:
		return report, ctx.Err()
	case err != nil:
		return report, usage(err, "--url https://HOST[:PORT] names it", "--offline looks at the files only")
	}
	return report, nil
}
