package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/rotation"
)

// leafLife is how long a certificate that the deployment's own authority issues is good
// for; the authority's end bounds it. A date that nobody has to think of is better than
// one that stops a registry: what makes keys short-lived is their rotation.
const leafLife = 10 * 365 * 24 * time.Hour

func newKeysRotateCommand(a *app) *cobra.Command {
	var o rotateOptions
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Change the signing key while pushes and pulls go on",
		Long: `Change the key that tokens are signed with, while pushes and pulls go on.

With the bundled engine the registry trusts a certificate authority of the deployment
(conf/keys/ca.key), and every token carries its certificate: one run puts a new key in
place, the server takes it within three seconds, and nothing is restarted.

With docker_auth, or where there is no such authority yet, the key changes in stages:

  1. both keys are trusted; the registry is restarted, since it reads them at its start
  2. tokens are signed with the new key; docker_auth is restarted, which does not look
  3. when the last token of the old key is out, it is trusted no longer

Each run goes as far as it can and says what comes next: a stage waits for its restart,
which is done through Docker Compose where the services run, and else told with
--restarted; the last one waits for the old tokens (--wait stays until then). An
interrupted run is taken up by the next one. --abort goes back to the old key.

Exit status 0 when the rotation is over, 1 while it waits for something.`,
		Example: `  regctl-setup keys rotate
  regctl-setup keys rotate --wait
  regctl-setup keys rotate --restarted
  regctl-setup keys rotate --abort`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error { return a.rotate(cmd.Context(), o) }),
	}
	f := c.Flags()
	f.StringVar(&o.keyType, "key-type", "", "of the new key: rsa-2048, rsa-3072, rsa-4096 or ecdsa-p256 (default: as the present one)")
	f.BoolVar(&o.restarted, "restarted", false, "the services that the last run named have been restarted")
	f.BoolVar(&o.wait, "wait", false, "stay until the old key's tokens are out, and finish")
	f.BoolVar(&o.abort, "abort", false, "go back to the old key")
	c.MarkFlagsMutuallyExclusive("abort", "key-type")
	return c
}

type rotateOptions struct {
	keyType                string
	restarted, wait, abort bool
}

// rotator is one run of keys rotate.
type rotator struct {
	*app
	o     rotateOptions
	d     *deployment.Deployment
	file  *config.File
	files rotation.Files
	r     *rotation.Rotation
	// readers of the trusted keys, and holders of the signing key, as compose services.
	registries, signers []string
	engine              string
}

func (a *app) rotate(ctx context.Context, o rotateOptions) error {
	t, err := a.rotator(ctx, o)
	if err != nil {
		return err
	}
	if o.abort {
		if err := t.abort(ctx); err != nil {
			return err
		}
	} else if t.r.Record().Stage == rotation.Idle {
		done, err := t.begin(ctx)
		if err != nil || done {
			return err
		}
	} else if o.keyType != "" {
		return usage(errors.New("--key-type: a rotation is going on already, with a key that is made"), "without the flag it goes on; --abort goes back")
	}
	return t.goOn(ctx)
}

func (a *app) rotator(ctx context.Context, o rotateOptions) (*rotator, error) {
	f, d, s, err := a.signingFiles(ctx)
	if err != nil {
		return nil, err
	}
	t := &rotator{app: a, o: o, d: d, file: f}
	if t.engine, err = a.engineOf(d); err != nil {
		return nil, err
	}
	if s.bundle == "" {
		if s, err = handTrust(ctx, d, s); err != nil {
			return nil, err
		}
	}
	t.files.Dir = d.Dir
	caDir := filepath.Dir(s.key)
	for _, p := range []struct {
		to   *string
		path string
	}{
		{&t.files.Key, s.key},
		{&t.files.Cert, s.cert},
		{&t.files.Bundle, s.bundle},
		{&t.files.JWKS, s.jwks},
		{&t.files.CAKey, filepath.Join(caDir, "ca.key")},
		{&t.files.CACert, filepath.Join(caDir, "ca.pem")},
	} {
		if p.path == "" {
			continue
		}
		rel, err := filepath.Rel(d.Dir, p.path)
		if err != nil || !filepath.IsLocal(rel) {
			return nil, fail(fmt.Errorf("%s lies outside the deployment %s: its keys can't be changed together", p.path, d.Dir))
		}
		*p.to = filepath.ToSlash(rel)
	}
	if t.r, err = rotation.Open(t.files, a.now); err != nil {
		return nil, fail(err)
	}
	if t.signers, err = d.Mounting(ctx, s.key); err == nil {
		t.registries, err = d.Mounting(ctx, s.bundle)
	}
	if err != nil {
		return nil, fail(err)
	}
	if only := slices.DeleteFunc(slices.Clone(t.registries), func(n string) bool { return slices.Contains(t.signers, n) }); len(only) > 0 {
		t.registries = only
	}
	return t, nil
}

// handTrust finds what the registry of a folder made by hand trusts.
func handTrust(ctx context.Context, d *deployment.Deployment, s signingFiles) (signingFiles, error) {
	reg, err := d.Registry(ctx)
	if err != nil {
		return s, fail(err)
	}
	if reg.RootCertBundle == "" {
		return s, fail(errors.New("nothing tells which certificates the registry trusts (REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE)"),
			"its trust has to change together with the key, so both must be found")
	}
	s.bundle = d.Resolve(reg.RootCertBundle)
	if reg.JWKS != "" {
		s.jwks = d.Resolve(reg.JWKS)
	}
	return s, nil
}

// begin starts a rotation. done says that it is over already.
func (t *rotator) begin(ctx context.Context) (done bool, err error) {
	pair, err := loadPair(signingFiles{key: t.d.Path(t.files.Key), cert: t.d.Path(t.files.Cert)})
	if err != nil {
		return false, err
	}
	typ := keys.TypeOf(pair.Public())
	if t.o.keyType != "" {
		if typ, err = keys.ParseType(t.o.keyType); err != nil {
			return false, usage(fmt.Errorf("--key-type: %w", err))
		}
	}
	if typ == "" {
		typ = keys.RSA4096
	}
	if typ == keys.ECDSAP256 && t.engine == answers.EngineDockerAuth {
		return false, usage(errors.New("--key-type ecdsa-p256: docker_auth signs with RSA keys only, as far as registries accept it"))
	}
	opts := keys.Options{Rand: t.rand, Now: t.now, CommonName: t.file.Token.Issuer}
	if t.engine == answers.EngineDockerAuth || t.file.Extras.X5C == "never" {
		next, err := keys.Generate(typ, opts)
		if err != nil {
			return false, fail(err)
		}
		return false, t.trust(ctx, next, nil)
	}
	ca, exists, err := t.authority(opts)
	if err != nil {
		return false, err
	}
	next, err := ca.IssueLeaf(typ, leafLife)
	if err != nil {
		return false, fail(err)
	}
	if !exists {
		t.note("no authority is there yet: the first rotation makes one, and takes one restart of the registry")
		return false, t.trust(ctx, next, ca.Pair)
	}
	id, err := keys.LibtrustID(next.Public())
	if err != nil {
		return false, fail(err)
	}
	err = t.recorded(ctx, func() error { return t.r.Replace(ctx, next) }, "tokens are signed with the new key %s, of type %s", id, typ)
	if errors.Is(err, rotation.ErrUntrustedCA) {
		t.note("%s does not hold the authority's certificate yet", t.files.Bundle)
		return false, t.trust(ctx, next, nil)
	}
	if err != nil {
		return false, rotateError(err)
	}
	t.note("tokens are signed with the new key %s from now on", id)
	return true, t.sees(ctx, id)
}

// sees restarts the token servers that can't see a replaced file, and ends the run.
func (t *rotator) sees(ctx context.Context, id string) error {
	blind, err := t.blind(ctx)
	if err != nil {
		return err
	}
	if len(blind) > 0 {
		if _, err := t.restart(ctx, blind); err != nil {
			return err
		}
	}
	if t.json() {
		return t.printJSON(rotateJSON{Stage: "done", New: id})
	}
	if len(blind) == 0 {
		t.note("a running server takes it within three seconds; the registry trusts its issuer and needs no restart")
	}
	return nil
}

// authority reads the deployment's certificate authority, or makes one in memory.
func (t *rotator) authority(o keys.Options) (ca *keys.CA, exists bool, err error) {
	keyPath := t.d.Path(t.files.CAKey)
	if _, err := os.Lstat(keyPath); errors.Is(err, fs.ErrNotExist) {
		ca, err := keys.GenerateCA(keys.ECDSAP256, o)
		if err != nil {
			return nil, false, fail(err)
		}
		return ca, false, nil
	}
	pair, err := loadPair(signingFiles{key: keyPath, cert: t.d.Path(t.files.CACert)})
	if err != nil {
		return nil, false, err
	}
	if ca, err = keys.NewCA(pair, o); err != nil {
		return nil, false, fail(fmt.Errorf("%s: %w", t.files.CACert, err))
	}
	return ca, true, nil
}

func (t *rotator) trust(ctx context.Context, next, ca *keys.Pair) error {
	id, err := keys.LibtrustID(next.Public())
	if err != nil {
		return fail(err)
	}
	err = t.recorded(ctx, func() error {
		return t.r.Trust(ctx, next, rotation.Options{Lifetime: t.lifetime(), CA: ca})
	}, "a new key %s, of type %s, is trusted beside the old one", id, keys.TypeOf(next.Public()))
	if err != nil {
		return rotateError(err)
	}
	t.note("stage 1 of 3: %s holds the old and the new key %s", t.files.Bundle, t.r.Record().New)
	return nil
}

// lifetime is the longest that a token of this config may live.
func (t *rotator) lifetime() time.Duration {
	return max(t.file.Token.Expiration, t.file.Extras.PullExpiration, t.file.Extras.PushExpiration)
}

// goOn takes a rotation as far as it can go now.
func (t *rotator) goOn(ctx context.Context) error {
	if t.r.Record().Stage == rotation.Trusting {
		if err := t.confirm(ctx, t.registries, t.r.TrustLive); err != nil {
			return err
		}
		rec := t.r.Record()
		if err := t.recorded(ctx, func() error { return t.r.Switch(ctx) }, "tokens are signed with the key %s, before with %s", rec.New, rec.Old); err != nil {
			return rotateError(err)
		}
		t.o.restarted = false // it was said of the stage before
		t.note("stage 2 of 3: %s holds the new key", t.files.Key)
	}
	if t.r.Record().Stage == rotation.Dropped {
		return t.end(ctx)
	}
	if t.r.Record().Stage != rotation.Switched {
		return nil // aborted before the switch
	}
	signers := t.signers
	if t.engine != answers.EngineDockerAuth {
		var err error
		if signers, err = t.blind(ctx); err != nil {
			return err
		}
	}
	switch {
	case len(signers) == 0 && t.engine != answers.EngineDockerAuth:
		// The bundled server follows its files.
		if err := t.r.SignerLive(ctx); err != nil {
			return safefileError(err)
		}
	default:
		if err := t.confirm(ctx, signers, t.r.SignerLive); err != nil {
			return err
		}
	}
	return t.drop(ctx)
}

// blind are the services that mount the key or its certificate as single files: a
// replaced one reaches them with a restart only.
func (t *rotator) blind(ctx context.Context) ([]string, error) {
	var names []string
	for _, p := range []string{t.files.Key, t.files.Cert} {
		name, err := t.d.SingleFileMount(ctx, t.d.Path(p))
		if err != nil {
			return nil, fail(err)
		}
		if name != "" && slices.Contains(t.signers, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// confirm makes sure that the services have started since the present stage was written:
// it restarts those that run, takes the word of --restarted, or says what to do.
func (t *rotator) confirm(ctx context.Context, services []string, live func(context.Context) error) error {
	if !t.r.Record().Live.IsZero() {
		return nil
	}
	known := t.o.restarted
	if !known && len(services) > 0 {
		var err error
		if known, err = t.restart(ctx, services); err != nil {
			return err
		}
	}
	if !known {
		what := "the registry, however it runs"
		if t.r.Record().Stage == rotation.Switched {
			what = "the token server, however it runs"
		}
		if len(services) > 0 {
			what = fmt.Sprintf("docker compose --project-directory %s restart %s", displayPath(t.d.Dir), strings.Join(services, " "))
		}
		return refuse(errors.New("the rotation waits for a restart that this command can't do or see"),
			"restart: "+what, "then: regctl-setup "+t.dirArg()+"keys rotate --restarted")
	}
	if err := live(ctx); err != nil {
		return safefileError(err)
	}
	return nil
}

// restart restarts the compose services that run, and waits until they are healthy.
// Services that do not run count as done: they will read the files when they start. known
// is false where no engine tells.
func (t *rotator) restart(ctx context.Context, services []string) (known bool, err error) {
	if t.d.Compose == "" {
		return false, nil
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return false, nil //nolint:nilerr // no engine on this machine: somebody else restarts
	}
	out, err := compose(ctx, t.d, "ps", "--services", "--status", "running").Output()
	if err != nil {
		return false, nil //nolint:nilerr // likewise
	}
	running := slices.DeleteFunc(strings.Fields(string(out)), func(s string) bool { return !slices.Contains(services, s) })
	if len(running) == 0 {
		t.note("%s: not running; the next start reads the new files", strings.Join(services, ", "))
		return true, nil
	}
	t.note("restarting %s", strings.Join(running, ", "))
	if out, err := compose(ctx, t.d, append([]string{"restart"}, running...)...).CombinedOutput(); err != nil {
		return false, fail(fmt.Errorf("docker compose restart %s: %w: %s", strings.Join(running, " "), err, lastLine(string(out))),
			"both keys are trusted on disk: mend the service and run the command again")
	}
	up := append([]string{"up", "-d", "--no-deps", "--no-recreate", "--no-build", "--wait"}, running...)
	if out, err := compose(ctx, t.d, up...).CombinedOutput(); err != nil {
		return false, fail(fmt.Errorf("%s did not get healthy after the restart: %s", strings.Join(running, ", "), lastLine(string(out))),
			fmt.Sprintf("regctl-setup %slogs %s   shows why", t.dirArg(), strings.Join(running, " ")),
			"regctl-setup "+t.dirArg()+"keys rotate   tries again; with --abort it goes back to the old key")
	}
	return true, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// drop ends the rotation when the old key's tokens are out.
func (t *rotator) drop(ctx context.Context) error {
	rec := t.r.Record()
	err := t.dropOld(ctx)
	var live *rotation.TokensLiveError
	if errors.As(err, &live) && t.o.wait {
		t.note("waiting until %s, when the old key's last token is out", live.Until.Local().Format(time.TimeOnly))
		if err := t.waitUntil(ctx, live.Until); err != nil {
			return err
		}
		err = t.dropOld(ctx)
	}
	if errors.As(err, &live) {
		until := live.Until.Local()
		if t.json() {
			if err := t.printJSON(rotateJSON{Stage: string(rec.Stage), Old: rec.Old, New: rec.New, OldTokensUntil: &live.Until}); err != nil {
				return err
			}
		}
		return refuse(fmt.Errorf("tokens of the old key live until %s (%s): it stays trusted until then", until.Format(time.TimeOnly), until.Format(time.DateOnly)),
			"then: regctl-setup "+t.dirArg()+"keys rotate   (or now, with --wait)")
	}
	if err != nil {
		return rotateError(err)
	}
	t.note("stage 3 of 3: the key %s is out of %s", rec.Old, t.files.Bundle)
	t.o.restarted = false // it was said of the stage before
	return t.end(ctx)
}

// end restarts the registries that trust the dropped key as long as they run. An interruption
// before that leaves the stage, and the next run restarts them.
func (t *rotator) end(ctx context.Context) error {
	rec, known := t.r.Record(), t.o.restarted
	if !known && len(t.registries) > 0 {
		var err error
		if known, err = t.restart(ctx, t.registries); err != nil {
			return err
		}
	}
	if !known {
		t.note("registries that run go on trusting the key %s until they are restarted", rec.Old)
	}
	if err := t.r.DropLive(ctx); err != nil {
		return safefileError(err)
	}
	if t.json() {
		return t.printJSON(rotateJSON{Stage: "done", Old: rec.Old, New: rec.New})
	}
	t.note("the rotation is over: tokens are signed with %s", rec.New)
	return nil
}

// dropOld takes the old key out of what the registry trusts, once its tokens are out; an attempt
// that comes too early changes nothing, and is not recorded.
func (t *rotator) dropOld(ctx context.Context) error {
	rec := t.r.Record()
	if until := rec.OldTokensUntil(); !rec.Live.IsZero() && t.now().Before(until) {
		return &rotation.TokensLiveError{Until: until}
	}
	return t.recorded(ctx, func() error { return t.r.Drop(ctx) }, "the key %s is trusted no longer", rec.Old)
}

// recorded makes a change of the keys, with its intent and its result in the audit log. What
// can't be recorded is not done.
func (t *rotator) recorded(ctx context.Context, do func() error, format string, args ...any) error {
	finish, err := t.recordChange(ctx, t.d, t.file, change{file: t.files.Key, what: []string{fmt.Sprintf(format, args...)}})
	if err != nil {
		return err
	}
	err = do()
	finish(err)
	return err
}

// rotateError gives an error of a rotation its status, where it has none.
func rotateError(err error) error {
	var se *statusError
	if errors.As(err, &se) {
		return se
	}
	return safefileError(err)
}

func (t *rotator) waitUntil(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(until.Sub(t.now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (t *rotator) abort(ctx context.Context) error {
	rec := t.r.Record()
	switch rec.Stage {
	case rotation.Idle:
		return refuse(errors.New("no rotation is going on"))
	case rotation.Dropped:
		return refuse(errors.New("the old key is out of the files already: there is nothing to go back to"), "regctl-setup "+t.dirArg()+"keys rotate   restarts the registry and ends the rotation")
	}
	if err := t.recorded(ctx, func() error { return t.r.Abort(ctx) }, "the rotation is given up: the key %s signs, %s is trusted no longer", rec.Old, rec.New); err != nil {
		return rotateError(err)
	}
	t.o.restarted = false
	if rec.Stage == rotation.Trusting {
		t.note("the new key %s is out of %s again; the old one goes on signing", rec.New, t.files.Bundle)
		return nil
	}
	t.note("%s holds the old key %s again", t.files.Key, rec.Old)
	return nil
}

// dirArg is how the deployment was named on the command line, for a command to type.
func (a *app) dirArg() string {
	if !a.dirGiven() {
		return ""
	}
	return "-C " + a.dir() + " "
}

type rotateJSON struct {
	Stage          string     `json:"stage"` // switched, or done
	Old            string     `json:"old_kid,omitempty"`
	New            string     `json:"new_kid,omitempty"`
	OldTokensUntil *time.Time `json:"old_tokens_until,omitempty"`
}
