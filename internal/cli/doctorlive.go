package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

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
	if o.Roots, err = l.roots(); err != nil {
		return doctor.Report{}, err
	}
	if l.account != "" {
		if o.Password, err = a.readPassword(l.account, l.stdin); err != nil {
			return doctor.Report{}, err
		}
	}
	if l.write {
		a.note("note: %s is pushed to; its name stays in the registry's catalog for ever, and where deleting is off 32 MB stay too", doctor.ProbeRepository)
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
