package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/scope"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

type tokenJSON struct {
	Token     string         `json:"token"`
	ExpiresIn int            `json:"expires_in"`
	IssuedAt  time.Time      `json:"issued_at"`
	Subject   string         `json:"subject"`
	Service   string         `json:"service"`
	Access    []token.Access `json:"access"`
}

func newTokenIssueCommand(a *app) *cobra.Command {
	var scopes []string
	var service, ip string
	c := &cobra.Command{
		Use:   "issue USER --scope TYPE:NAME:ACTION[,ACTION]",
		Short: "Sign a token as the token server would for USER",
		Long: `Sign a token for USER with the deployment's key, without a password: it grants of the scopes
what the rules grant, and nothing that the token server would not. It takes read access to the
signing key, with which every token could be made; for scripts and for finding faults.

What the rules do not grant is told on stderr, and left out of the token as the token server
does. A disabled or expired account gets none (exit status 1). The token is recorded in the
deployment's audit log before it is signed; nothing else changes on disk.`,
		Example: `  regctl-setup token issue ci --scope repository:dev/app:pull,push
  regctl-setup token issue admin --scope 'registry:catalog:*' --format json
  curl -H "Authorization: Bearer $(regctl-setup token issue admin --scope 'registry:catalog:*')" https://REGISTRY/v2/_catalog`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			s, err := a.newSigner(cmd, args[0], ip)
			if err != nil {
				return err
			}
			if service == "" {
				if service, err = serviceOf(cmd.Context(), s.d, s.file); err != nil {
					return fail(err)
				}
			}
			t, err := s.issue(service, scopes)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(t)
			}
			a.out("%s", t.Token)
			return nil
		}),
	}
	f := c.Flags()
	f.StringArrayVar(&scopes, "scope", nil, "a `SCOPE` such as repository:dev/app:pull,push; repeat for several")
	f.StringVar(&service, "service", "", "the registry's service name (default: the deployment's)")
	f.StringVar(&ip, "ip", "", "the client's address, for rules that look at it")
	return c
}

// signer makes tokens for one account, after the rules.
type signer struct {
	ctx    context.Context // of the command
	a      *app
	d      *deployment.Deployment
	file   *config.File
	policy *acl.Policy
	user   *config.User
	ip     netip.Addr
	sign   *token.Issuer
}

func (a *app) newSigner(cmd *cobra.Command, name, ip string) (*signer, error) {
	file, d, err := a.loadConfig(cmd.Context())
	if err != nil {
		return nil, err
	}
	s := &signer{ctx: cmd.Context(), a: a, d: d, file: file}
	if s.user, err = findUser(file, name); err != nil {
		return nil, err
	}
	if reason := cantLogIn(a, s.user); reason != "" {
		return nil, refuse(errors.New(reason))
	}
	if ip != "" {
		if s.ip, err = netip.ParseAddr(ip); err != nil {
			return nil, usage(fmt.Errorf("--ip %q is not an IP address", ip))
		}
		s.ip = s.ip.Unmap()
	}
	if s.policy, err = a.policy(file, d); err != nil {
		return nil, err
	}
	facts, err := doctor.Gather(cmd.Context(), doctor.Options{Deployment: d, Engine: a.engine(), Now: a.now, Dir: a.dir()})
	if err != nil {
		return nil, fail(err)
	}
	if s.sign, err = facts.Signer(a.now); err != nil {
		return nil, fail(fmt.Errorf("signing pair: %w", err), "it takes read access to the signing key: run it as the deployment's owner")
	}
	return s, nil
}

// issue decides about the scopes and signs what is granted.
func (s *signer) issue(service string, values []string) (tokenJSON, error) {
	if allowed := s.file.Extras.Services; len(allowed) > 0 && !slices.Contains(allowed, service) {
		return tokenJSON{}, refuse(fmt.Errorf("the token server signs for the services %q only, not for %q", allowed, service))
	}
	scopes, err := scope.ParseList(values, scope.Limits{})
	if err != nil {
		return tokenJSON{}, usage(fmt.Errorf("--scope: %w", err), "a scope is TYPE:NAME:ACTION[,ACTION], such as repository:dev/app:pull")
	}
	access := []token.Access{}
	pullsOnly := len(scopes) > 0
	for _, sc := range scopes {
		d := s.policy.Decide(&acl.Request{Account: s.user.Name, Type: sc.Type, Name: sc.Name, Service: service, Labels: s.user.LabelMap(), IP: s.ip, Actions: sc.Actions}, nil)
		granted := slices.Clone(d.Granted)
		if d.Err != nil {
			s.a.note("note: %s is denied: %v", sc, d.Err)
		} else if missing := slices.DeleteFunc(slices.Clone(sc.Actions), func(x string) bool { return slices.Contains(granted, x) }); len(missing) > 0 {
			name := sc.Name
			if sc.Type != "repository" {
				name = sc.Type + ":" + name
			}
			s.a.note("note: not granted: %s:%s:%s   (regctl-setup acl test %s %s '%s' says why)", sc.Type, sc.Name, strings.Join(missing, ","),
				accountName(s.user.Name), name, strings.Join(missing, ","))
		}
		if granted == nil {
			granted = []string{}
		}
		pullsOnly = pullsOnly && !slices.ContainsFunc(granted, func(x string) bool { return x != "pull" })
		access = append(access, token.Access{Type: sc.Type, Name: sc.Name, Actions: granted})
	}
	lifetime := s.file.Token.Expiration
	switch x := &s.file.Extras; {
	case pullsOnly && x.PullExpiration > 0:
		lifetime = x.PullExpiration
	case !pullsOnly && x.PushExpiration > 0:
		lifetime = x.PushExpiration
	}
	what := make([]string, 0, len(access))
	for _, x := range access {
		what = append(what, fmt.Sprintf("sign a token for %s: %s:%s:%s", accountName(s.user.Name), x.Type, x.Name, strings.Join(x.Actions, ",")))
	}
	if len(what) == 0 {
		what = append(what, "sign a token for "+accountName(s.user.Name)+" without access")
	}
	finish, err := s.a.recordChange(s.ctx, s.d, s.file, change{what: what, accounts: []string{s.user.Name}})
	if err != nil {
		return tokenJSON{}, err
	}
	t, err := s.sign.Issue(token.Request{Subject: s.user.Name, Audience: service, Access: access, Lifetime: lifetime})
	if err != nil {
		finish(err)
		return tokenJSON{}, fail(err)
	}
	finish(nil, fmt.Sprintf("its id is %s, it is valid for %s", t.ID, t.Expires.Sub(t.IssuedAt)))
	return tokenJSON{Token: t.Raw, ExpiresIn: int(t.Expires.Sub(t.IssuedAt) / time.Second), IssuedAt: t.IssuedAt, Subject: s.user.Name, Service: service, Access: access}, nil
}
