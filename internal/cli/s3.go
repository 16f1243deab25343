package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/s3probe"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

func newS3Command(a *app) *cobra.Command {
	return group("s3", "Make and prove the bucket behind the registry",
		`Make and prove the bucket behind the registry, with the registry's own settings and keys.`,
		newS3InitCommand(a))
}

func newS3InitCommand(a *app) *cobra.Command {
	var endpoint string
	var noCreate bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the bucket if it is missing, and prove that the registry can use it",
		Long: `Make the bucket if it is missing, and prove that the registry can use it: put, list, get,
upload in parts, copy, a signed link, delete. Bucket, region, endpoint and keys are those in
the deployment's registry configuration, so what works here works for the registry.

Nothing changes on disk. In the bucket only objects below a prefix of its own are made
(regctl-setup-probe-…), and they are removed again.

A store that runs inside the compose project is reached by a name that only the project
knows: name its address with --endpoint.`,
		Example: `  regctl-setup -C registry s3 init
  regctl-setup -C registry s3 init --no-create --format json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			d, err := a.deployment(cmd.Context())
			if err != nil {
				return err
			}
			s, err := s3Settings(cmd.Context(), d)
			if err != nil {
				return err
			}
			s.Create, s.StepTimeout, s.Rand = !noCreate, timeout, a.rand
			if endpoint != "" {
				s.Endpoint = endpoint
			}
			if !a.json() {
				where := s.Endpoint
				if where == "" {
					where = "Amazon S3, " + s.Region
				}
				a.note("Bucket %s at %s:", s.Bucket, where)
			}
			steps := s3probe.Probe(cmd.Context(), s)
			if err := a.printSteps(steps); err != nil {
				return err
			}
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if !s3probe.OK(steps) {
				return refuse(fmt.Errorf("the registry can't work with bucket %q like this", s.Bucket))
			}
			return nil
		}),
	}
	f := c.Flags()
	f.StringVar(&endpoint, "endpoint", "", "reach the service at `URL` instead of the configured endpoint")
	f.BoolVar(&noCreate, "no-create", false, "only look: a missing bucket is an error")
	f.DurationVar(&timeout, "timeout", 30*time.Second, "how long one step may take")
	return c
}

// s3Settings reads the registry's own settings and finds its keys on this machine.
func s3Settings(ctx context.Context, d *deployment.Deployment) (s3probe.Settings, error) {
	v, err := d.RegistryValues(ctx)
	if err != nil {
		return s3probe.Settings{}, fail(err)
	}
	driver, parameters := v.Storage()
	if driver != "s3" {
		if driver == "" {
			driver = "of the image's own configuration"
		}
		return s3probe.Settings{}, usage(fmt.Errorf("the registry's storage is %s: there is no bucket to prove", driver),
			"regctl-setup init --storage s3 makes a deployment with one")
	}
	s, err := s3probe.FromParameters(parameters)
	if err != nil {
		return s, fail(fmt.Errorf("registry configuration: %w", err))
	}
	s.Redirect = v.Text("storage", "redirect", "disable") != "true"
	if v.Service == nil || !s.AccessKey.IsZero() && !s.SecretKey.IsZero() {
		return s, nil
	}
	env := func(name string) string {
		if p := v.Service.Environment[name]; p != nil {
			return *p
		}
		return ""
	}
	// The SDK's own order: variables, then the file.
	if id, key := env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"); id != "" && key != "" {
		s.AccessKey, s.SecretKey, s.SessionToken = secret.New(id), secret.New(key), secret.New(env("AWS_SESSION_TOKEN"))
		return s, nil
	}
	if inside := env("AWS_SHARED_CREDENTIALS_FILE"); inside != "" {
		if s.CredentialsFile, err = d.HostPath(ctx, v.Service, inside); err != nil {
			return s, fail(fmt.Errorf("the registry's AWS_SHARED_CREDENTIALS_FILE: %w", err))
		}
		if _, err := os.Stat(s.CredentialsFile); err != nil {
			return s, fail(fmt.Errorf("the registry's keys: %w", err))
		}
	}
	return s, nil
}

// printSteps shows what was tried and how it went.
func (a *app) printSteps(steps []s3probe.Step) error {
	if a.json() {
		type row struct {
			Name    string `json:"name"`
			OK      bool   `json:"ok"`
			Skipped bool   `json:"skipped,omitempty"`
			Error   string `json:"error,omitempty"`
			Hint    string `json:"hint,omitempty"`
			TookMS  int64  `json:"took_ms"`
		}
		rows := make([]row, 0, len(steps))
		for _, s := range steps {
			r := row{Name: s.Name, OK: s.Err == nil, Skipped: errors.Is(s.Err, s3probe.ErrSkipped), Hint: s.Hint, TookMS: s.Took.Milliseconds()}
			if s.Err != nil {
				r.Error = s.Err.Error()
			}
			rows = append(rows, r)
		}
		return a.printJSON(struct {
			OK    bool  `json:"ok"`
			Steps []row `json:"steps"`
		}{s3probe.OK(steps), rows})
	}
	for _, s := range steps {
		switch {
		case errors.Is(s.Err, s3probe.ErrSkipped):
			a.out("  skipped  %s", s.Name)
		case s.Err != nil:
			a.out("  FAILED   %s: %v", s.Name, s.Err)
		default:
			a.out("%s", strings.TrimRight(fmt.Sprintf("  ok       %-14s %4d ms  %s", s.Name, s.Took.Milliseconds(), s.Hint), " "))
			continue
		}
		if s.Hint != "" {
			a.note("hint: %s", s.Hint)
		}
	}
	return nil
}
