package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// robotLabel marks accounts of machines.
const robotLabel = "robot"

// robotFlags make a machine's account in one step: user, password, label and entry.
type robotFlags struct {
	robot   bool
	names   []string
	actions []string
	output  string
}

func (r *robotFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&r.robot, "robot", false, "an account of a machine: makes the password and an entry of the rules too")
	f.StringArrayVar(&r.names, "for", nil, "with --robot: repositories, as a name `PATTERN` (* within a component, ** across); repeat for more")
	f.StringSliceVar(&r.actions, "actions", []string{"pull"}, "with --robot: what it may do there")
	f.StringVar(&r.output, "output", "", "with --robot: print the credentials as docker-config, k8s-secret or env")
}

// check says what is wrong with the flags and turns the name patterns into those of the rules.
func (r *robotFlags) check(f *pflag.FlagSet, pf *passwordFlags) (patterns []string, err error) {
	if !r.robot {
		for _, flag := range []string{"for", "actions", "output"} {
			if flagSet(f, flag) {
				return nil, usage(fmt.Errorf("--%s belongs to --robot", flag))
			}
		}
		return nil, nil
	}
	if pf.stdin {
		return nil, usage(errors.New("--password-stdin and --robot exclude each other: a robot's password is made here"))
	}
	pf.generate = true
	if len(r.names) == 0 {
		return nil, usage(errors.New("--robot needs --for PATTERN: the repositories it is for"), "--for 'dev-backend/**' --actions pull,push")
	}
	switch r.output {
	case "", "docker-config", "k8s-secret", "env":
	default:
		return nil, usage(fmt.Errorf("--output %q: expected docker-config, k8s-secret or env", r.output))
	}
	for _, a := range r.actions {
		if !slices.Contains([]string{"pull", "push", "delete", "*"}, a) {
			return nil, usage(fmt.Errorf("--actions %q: expected pull, push, delete or *", a))
		}
	}
	if slices.Contains(r.actions, "*") && len(r.actions) > 1 {
		return nil, usage(errors.New(`--actions: "*" stands alone; beside others it is an action of that name`))
	}
	if slices.Contains(r.actions, "push") && !slices.Contains(r.actions, "pull") {
		return nil, usage(errors.New("--actions push alone is of no use: a registry asks for pull and push to push"), "--actions pull,push")
	}
	for _, name := range r.names {
		p, err := answers.NamePattern(name)
		if err != nil {
			return nil, usage(fmt.Errorf("--for %q: %w", name, err))
		}
		if p == "" {
			p = "/.+/"
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// edits are the entries of the robot, before all others: they are for this account alone, so
// they take nothing from anybody, and no broader entry above hides them.
func (r *robotFlags) edits(name string, patterns []string) []config.Edit {
	var out []config.Edit
	repository := "repository"
	for i, p := range patterns {
		out = append(out, config.InsertEntry(i, acl.Entry{
			Match:   acl.Match{Account: &name, Type: &repository, Name: &p},
			Actions: r.actions,
			Comment: fmt.Sprintf("robot %s: %s on %s", name, strings.Join(r.actions, ", "), r.names[i]),
		}))
	}
	return out
}

// printRobot shows the credentials in the form that was asked for.
func (a *app) printRobot(ctx context.Context, d *deployment.Deployment, f *config.File, output, name string, pw secret.Text) error {
	host, err := registryHost(ctx, d, f)
	if err != nil {
		return fail(err)
	}
	dockerConfig, err := json.Marshal(map[string]any{"auths": map[string]any{
		host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(name + ":" + pw.Reveal()))},
	}})
	if err != nil {
		return fail(err)
	}
	switch output {
	case "docker-config":
		a.out("%s", dockerConfig)
	case "k8s-secret":
		a.out("apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: %s",
			kubernetesName(name), base64.StdEncoding.EncodeToString(dockerConfig))
	case "env":
		// Names and passwords that are made here have no quote in them.
		a.out("REGISTRY='%s'\nREGISTRY_USER='%s'\nREGISTRY_PASSWORD='%s'", host, name, pw.Reveal())
	}
	return nil
}

// registryHost is the registry as clients write it: from the answers, else its service name.
func registryHost(ctx context.Context, d *deployment.Deployment, f *config.File) (string, error) {
	ans, ok, err := d.Answered()
	if err != nil {
		return "", err
	}
	if ok {
		r := ans.Resolve()
		if r.Runtime == answers.RuntimeEmbedded {
			return r.Listen, nil
		}
		return r.Host(), nil
	}
	return serviceOf(ctx, d, f)
}

// kubernetesName turns an account's name into one of an object (RFC 1123 subdomain).
func kubernetesName(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), ".-") + "-registry"
}
