package cli

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

func newInitCommand(a *app) *cobra.Command {
	var (
		af answerFlags
		rf rerunFlags
		ad adoptFlags
	)
	c := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Generate a deployment: compose file, proxy, registry, token server, keys, users",
		Long: `Generate a deployment in DIR: docker-compose.yml, Caddyfile, the registry's and the token
server's configuration, users with fresh passwords, access rules, signing key and
certificate. What the flags do not say comes from REGCTL_SETUP_* variables, then from
--answers. The rest is asked on a terminal (ACCESSIBLE=1 asks line by line, for screen
readers), or comes from defaults with --yes.

Without --domain the deployment is for localhost, with certificates of Caddy's own CA.

A new DIR is written whole or not at all; a folder that is not empty and holds no deployment
is refused with exit status 1. In a folder that holds one, the answers given now are laid
over the recorded ones (regctl-setup.yaml) and what they change is written, all or nothing:
--dry-run lists it, --diff shows it. Users, rules, keys and secrets survive, files that were
changed by hand are kept (--force replaces them), and --team and --user add to those there.

--adopt reads a folder that was made by hand instead: what it is, what is wrong with it, what
a rewritten one does about each fault. --yes rewrites it, all or nothing: users, rules, key,
names and storage are kept, the old files go to state/adopted-DATE.

Every file is read by the parser that will use it before anything is written. Passwords
are printed once and kept nowhere.`,
		Example: `  regctl-setup init ./registry --yes
  regctl-setup init ./registry --yes --domain registry.example.com --email ops@example.com \
      --team backend --user alice:team=backend --anonymous-pull 'public/**'
  regctl-setup init ./registry --domain registry.example.net --diff
  regctl-setup init ./registry --team frontend --yes
  regctl-setup init /srv/old-registry --adopt`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			dir, err := a.positionalDir(args)
			if err != nil {
				return err
			}
			if ad.adopt {
				return a.initAdopt(cmd, dir, &af, ad, rf.preview())
			}
			if ad.into != "" {
				return usage(errors.New("--into is for --adopt"))
			}
			if there, err := a.deploymentIn(cmd.Context(), dir); err != nil || there {
				if err != nil {
					return err
				}
				return a.initAgain(cmd, dir, &af, &rf)
			}
			ans, refused, err := af.collect(a, cmd, answers.Defaults(), false)
			if err != nil {
				return err
			}
			if err := a.refuseFull(dir); err != nil {
				return err
			}
			if rf.preview() {
				if problems := append(refused, remaining(ans, refused)...); len(problems) > 0 {
					return answersError(problems)
				}
				return a.previewNew(cmd.Context(), dir, ans, &rf)
			}
			ans, typed, err := a.settleAnswers(cmd.Context(), dir, ans, refused, af.answered())
			if err != nil {
				return err
			}
			for _, w := range ans.Warnings() {
				a.note("warning: %v", w)
			}
			accounts, files, err := a.generate(cmd.Context(), dir, ans, typed)
			if err != nil {
				return err
			}
			paths := make([]string, 0, len(files))
			for _, f := range files {
				paths = append(paths, f.Path)
			}
			slices.Sort(paths)
			if a.json() {
				return a.printJSON(struct {
					Dir      string    `json:"dir"`
					Registry string    `json:"registry"`
					Realm    string    `json:"realm"`
					Files    []string  `json:"files"`
					Accounts []account `json:"accounts"`
				}{absPath(dir), ans.Resolve().Host(), ans.Resolve().Realm(), paths, accounts})
			}
			a.printAccounts(accounts)
			a.nextAfterInit(dir, ans.Resolve())
			return nil
		}),
	}
	rf.register(c)
	ad.register(c)
	af.register(a, c)
	return c
}

// refuseFull refuses a folder that has something in it: what is there is somebody's.
func (a *app) refuseFull(dir string) error {
	free, err := emptyOrAbsent(dir)
	if err != nil {
		return err
	}
	if !free {
		return refuse(fmt.Errorf("%s is not empty and holds no deployment (no %s): nothing is written", dir, scaffold.PathAnswers),
			"name a new folder, or an empty one")
	}
	return nil
}

// confirmAnswers asks before anything is written. Without a terminal only --yes answers.
func (a *app) confirmAnswers(dir string, ans answers.Answers) error {
	if a.yes {
		return nil
	}
	r := ans.Resolve()
	if !a.io.CanPrompt() {
		return usage(errors.New("there is no terminal to ask on, and --yes was not given"),
			"--yes takes the defaults for what no flag says: --domain (localhost), --tls, --storage (filesystem), --registry (3), --engine (docker_auth), --anonymous-pull (none)",
			"regctl-setup init --help lists every answer's flag")
	}
	a.note("A deployment for %s will be written to %s:", r.Host(), dir)
	a.note("  runtime %s, registry %d, engine %s, storage %s, TLS %s", r.Runtime, r.Registry, r.AuthEngine(), r.Storage, r.TLS)
	for _, u := range r.Accounts() {
		a.note("  user %s", u)
	}
	ok, err := a.io.Confirm("Write it?")
	if err != nil {
		return fail(err)
	}
	if !ok {
		return refuse(errors.New("nothing written"))
	}
	return nil
}

// nextAfterInit says what to type next.
func (a *app) nextAfterInit(dir string, r answers.Answers) {
	a.note("")
	a.note("Wrote the deployment to %s. Next:", dir)
	dir = doctor.ShellWord(dir)
	if r.Runtime == answers.RuntimeEmbedded {
		a.note("  regctl-setup up %s", dir)
		return
	}
	if r.UsesS3() && !r.BundlesStore() {
		a.note("  regctl-setup -C %s s3 init   # makes the bucket where it is missing, and tries it with the registry's keys", dir)
	}
	a.note("  cd %s && docker compose up -d --wait", dir)
	a.note("  docker login %s -u %s", r.Host(), r.Accounts()[0].Name)
	if r.TLS == answers.TLSInternal {
		a.note("Clients must trust Caddy's own CA first; in the folder:")
		a.note("  docker compose cp caddy:/data/caddy/pki/authorities/local/root.crt ca.crt")
		a.note("  sudo install -D -m 0644 ca.crt /etc/docker/certs.d/%s/ca.crt", r.Host())
	}
	a.trustAuthority(r, dir)
	a.nextLogins(r)
	a.note("Rules to try before anybody logs in:")
	a.note("  regctl-setup -C %s acl test %s library/nginx push", dir, r.Accounts()[0].Name)
}

// trustAuthority says how clients come to trust an ACME authority of one's own.
func (a *app) trustAuthority(r answers.Answers, dir string) {
	if r.ACMECA == "" {
		return
	}
	a.note("Clients must trust the authority at %s first. With its root as ca.crt:", r.ACMECA)
	a.note("  sudo install -D -m 0644 ca.crt /etc/docker/certs.d/%s/ca.crt", r.Host())
	if r.ACMECARoot != "" {
		a.note("step-ca's root is %s itself.", path.Join(dir, scaffold.PathACMERoot))
	}
}

func absPath(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
