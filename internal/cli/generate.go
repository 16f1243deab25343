package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sync/errgroup"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

// account is a user made in this run, with the password that is shown once.
type account struct {
	Name     string              `json:"name"`
	Password string              `json:"password,omitempty"` // empty: it was typed
	Labels   map[string][]string `json:"labels"`
}

// generate makes a deployment in dir: key, certificate and passwords, all files checked by
// the parsers that will read them, then written whole or not at all. typed are passwords by
// account; the others are made up.
func (a *app) generate(ctx context.Context, dir string, ans answers.Answers, typed map[string]secret.Text) ([]account, []safefile.File, error) {
	m, accounts, err := a.material(ans, typed)
	if err != nil {
		return nil, nil, err
	}
	files, err := scaffold.Plan(ans, m)
	if err != nil {
		return nil, nil, fail(err)
	}
	if err := scaffold.Check(ctx, files); err != nil {
		return nil, nil, fail(err, "the generated files do not pass their own checks, and nothing was written",
			"this is a fault of regctl-setup; please report it with the answers given")
	}
	files = append(files, scaffold.NewRecord(ans, files).File())
	left := safefile.Leftovers(dir)
	if err := scaffold.Write(ctx, a.fs, dir, files, scaffold.Dirs(ans)); err != nil {
		var notEmpty *safefile.NotEmptyError
		if errors.As(err, &notEmpty) {
			return nil, nil, refuse(notEmpty, "there was nothing when this run began: another init, or somebody, was faster; nothing of this run is written",
				"regctl-setup init "+doctor.ShellWord(dir)+" --dry-run tells what is there")
		}
		return nil, nil, safefileError(err)
	}
	now := safefile.Leftovers(dir)
	for _, p := range left {
		if !slices.Contains(now, p) {
			a.note("note: an earlier run of init was interrupted before it made %s; what it had written (%s) is removed", dir, p)
		}
	}
	return accounts, files, nil
}

// material makes what no template holds: secrets, keys, hashes, the owner's ids. The key
// and the hashes are made side by side; both take most of the time.
func (a *app) material(ans answers.Answers, typed map[string]secret.Text) (scaffold.Material, []account, error) {
	var m scaffold.Material
	keyType, err := keys.ParseType(ans.KeyType)
	if err != nil {
		return m, nil, usage(err)
	}
	var g errgroup.Group
	var pair, ca *keys.Pair
	g.Go(func() (err error) {
		pair, ca, err = newSigningPair(keyType, ans.AuthEngine(), keys.Options{Rand: rand.Reader, Now: a.now, CommonName: ans.Resolve().Issuer})
		return err
	})
	list := ans.Accounts()
	accounts := make([]account, len(list))
	m.Users = make([]scaffold.UserHash, len(list))
	for i, u := range list {
		pw, given := typed[u.Name]
		if !given {
			var err error
			if pw, err = users.Generate(a.rand); err != nil {
				return m, nil, fail(err)
			}
		}
		labels := map[string][]string{}
		for _, l := range u.Labels {
			labels[l.Name] = l.Values
		}
		accounts[i] = account{Name: u.Name, Labels: labels}
		if !given {
			accounts[i].Password = pw.Reveal()
		}
		g.Go(func() error {
			hash, err := users.Hash(pw, users.DefaultCost)
			m.Users[i] = scaffold.UserHash{Name: u.Name, Hash: hash, Labels: u.Labels}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return m, nil, fail(err)
	}
	if m.HTTPSecret, err = scaffold.NewHTTPSecret(a.rand); err != nil {
		return m, nil, fail(err)
	}
	m.AuthKeyPEM, m.CertPEM = pair.KeyPEM(), pair.CertPEM()
	m.Bundle = keys.Bundle(pair.Chain...)
	if ca != nil {
		m.CAKeyPEM, m.CACertPEM = ca.KeyPEM(), ca.CertPEM()
	}
	if m.JWKS, err = keys.JWKS(pair.Signer.Public()); err != nil {
		return m, nil, fail(err)
	}
	m.UID, m.GID = owner()
	if err := a.givenMaterial(ans.Resolve(), &m); err != nil {
		return m, nil, err
	}
	return m, accounts, nil
}

// newSigningPair makes the pair that tokens are signed with. The bundled engine sends the
// certificate with every token, so its pair comes from an authority of the deployment's
// own: the registry trusts that, and the key can change without it. docker_auth sends a
// key id only, which the registry must know.
func newSigningPair(t keys.Type, engine string, o keys.Options) (pair, ca *keys.Pair, err error) {
	if engine != answers.EngineBundled {
		pair, err = keys.Generate(t, o)
		return pair, nil, err
	}
	authority, err := keys.GenerateCA(keys.ECDSAP256, o)
	if err != nil {
		return nil, nil, err
	}
	pair, err = authority.IssueLeaf(t, leafLife)
	return pair, authority.Pair, err
}

// givenMaterial reads the files that the answers name, and makes the keys of a bundled store.
func (a *app) givenMaterial(r answers.Answers, m *scaffold.Material) error {
	var errs []error
	read := func(flag, path string) secret.Text {
		if path == "" {
			return secret.Text{}
		}
		data, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
		return secret.New(string(data))
	}
	if r.UsesS3() && !r.BundlesStore() {
		m.S3Credentials = read("s3-credentials-file", r.S3.CredentialsFile)
	}
	switch r.Storage {
	case answers.StorageAzure:
		m.AzureSecret = secret.New(strings.TrimSpace(read("azure-secret-file", r.Azure.SecretFile).Reveal()))
	case answers.StorageGCS:
		m.GCSKey = read("gcs-key-file", r.GCS.KeyFile)
	}
	m.LoginSecrets = map[string]secret.Text{}
	for login, path := range loginSecretFiles(r) {
		m.LoginSecrets[login] = secret.New(strings.TrimSpace(read(loginSecretFlag(login), path).Reveal()))
	}
	m.ACMERoot = []byte(read("acme-ca-root", r.ACMECARoot).Reveal())
	m.LDAPCA = []byte(read("ldap-ca-file", r.LDAP.CAFile).Reveal())
	m.CachePassword = secret.New(strings.TrimSpace(read("cache-password-file", r.Cache.PasswordFile).Reveal()))
	if r.TLS == answers.TLSFiles {
		m.TLSCertPEM = []byte(read("tls-cert", r.TLSCert).Reveal())
		m.TLSKeyPEM = read("tls-key", r.TLSKey)
	}
	if r.BundlesStore() {
		var err error
		if m.StoreKeyID, m.StoreSecret, err = scaffold.NewStoreKeys(a.rand); err != nil {
			return fail(err)
		}
	}
	if r.BuildsImage() && r.Runtime == answers.RuntimeCompose {
		var err error
		if m.EngineBinary, err = ownBinary(r); err != nil {
			errs = append(errs, err)
		}
		m.CACerts = publicAuthorities()
	}
	if len(errs) > 0 {
		return usage(errors.Join(errs...))
	}
	return nil
}

// owner returns whose files a new deployment's are.
func owner() (uid, gid int) {
	uid, gid = os.Getuid(), os.Getgid()
	if uid < 0 { // Windows has no such ids; the folder is for a Linux host
		return 1000, 1000
	}
	return uid, gid
}

// publicAuthorities returns this machine's list of certificate authorities, nil when it has none.
func publicAuthorities() []byte {
	for _, file := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		if data, err := os.ReadFile(file); err == nil {
			return data
		}
	}
	return nil
}

// loginSecretFiles names for each external login the file that its secret is read from.
func loginSecretFiles(a answers.Answers) map[string]string {
	return map[string]string{
		answers.LoginLDAP: a.LDAP.BindPasswordFile, answers.LoginOIDC: a.OIDC.ClientSecretFile, answers.LoginGitHub: a.GitHub.ClientSecretFile,
		answers.LoginGitLab: a.GitLab.ClientSecretFile, answers.LoginGoogle: a.Google.ClientSecretFile,
	}
}

// loginSecretFlag names the flag of such a file.
func loginSecretFlag(login string) string {
	if login == answers.LoginLDAP {
		return "ldap-bind-password-file"
	}
	return login + "-client-secret-file"
}

// ownBinary reads this program for the image that the answers want, which has nothing else in it.
func ownBinary(r answers.Answers) ([]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read this program: %w", err)
	}
	if err := scaffold.CheckEngine(data, runtime.GOARCH); err != nil {
		flag := "--engine bundled"
		if r.HasAuditService() {
			flag = "--audit"
		}
		return nil, fmt.Errorf("%s: %w; build one with CGO_ENABLED=0 GOOS=linux go build -o regctl-setup ./cmd/regctl-setup, and run init with it", flag, err)
	}
	return data, nil
}

// safefileError gives a file error its hint.
func safefileError(err error) error {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		return fail(err, hinted.Hint())
	}
	return fail(err)
}

// printAccounts shows the accounts that were just made.
func (a *app) printAccounts(accounts []account) {
	a.out("Accounts (each password is shown this once and kept nowhere):")
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	for _, acc := range accounts {
		var labels []string
		for _, k := range sortedKeys(acc.Labels) {
			labels = append(labels, k+"="+strings.Join(acc.Labels[k], ","))
		}
		_, _ = fmt.Fprintf(tw, "  %s\t%s\t%s\n", acc.Name, cmp.Or(acc.Password, "(as typed)"), strings.Join(labels, " "))
	}
	_ = tw.Flush()
}
