package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

func newKeysCommand(a *app) *cobra.Command {
	return group("keys", "Make and check the key that tokens are signed with",
		`Make and check the key that tokens are signed with, its certificate, and what the registry
trusts: the certificate bundle and the key set (JWKS).`,
		newKeysGenerateCommand(a), newKeysShowCommand(a), newKeysVerifyCommand(a), newKeysRotateCommand(a),
	)
}

// signingFiles are the files of a deployment's signing pair and of what the registry trusts.
type signingFiles struct {
	key, cert    string
	bundle, jwks string // of generated deployments only, else ""
}

func (a *app) signingFiles(ctx context.Context) (*config.File, *deployment.Deployment, signingFiles, error) {
	var s signingFiles
	f, d, err := a.loadForReading(ctx)
	if err != nil {
		return nil, nil, s, err
	}
	cert, key := f.SigningPair()
	if cert == "" || key == "" {
		return nil, nil, s, fail(fmt.Errorf("%s names no signing pair: token.certificate and token.key", f.Path))
	}
	s.key, s.cert = d.ResolveNew(key), d.ResolveNew(cert)
	if d.Auth == d.Path(deployment.AuthConfig) {
		s.bundle, s.jwks = d.Path(deployment.TrustBundle), d.Path(deployment.JWKS)
	}
	return f, d, s, nil
}

func newKeysGenerateCommand(a *app) *cobra.Command {
	var keyType string
	c := &cobra.Command{
		Use:   "generate",
		Short: "Make the signing key and its certificate where there are none",
		Long: `Make the signing key and its certificate where the auth config names them, and in a generated
deployment the bundle and the key set that the registry trusts.

Writes new files only: when one of them exists, nothing is written and the exit status is 1,
since a registry that trusts the old key would refuse every token of a new one.`,
		Example: `  regctl-setup -C ./registry keys generate
  regctl-setup --config conf/auth-server.yml keys generate --key-type rsa-2048`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) (done error) {
			typ, err := keys.ParseType(keyType)
			if err != nil {
				return usage(fmt.Errorf("--key-type: %w", err))
			}
			f, d, files, err := a.signingFiles(cmd.Context())
			if err != nil {
				return err
			}
			for _, p := range []string{files.key, files.cert, files.bundle, files.jwks} {
				if p == "" {
					continue
				}
				if _, err := os.Lstat(p); err == nil {
					return refuse(fmt.Errorf("%s exists already, nothing is written", displayPath(p)), "regctl-setup keys show")
				} else if !errors.Is(err, fs.ErrNotExist) {
					return fail(err)
				}
			}
			pair, err := keys.Generate(typ, keys.Options{Rand: a.rand, Now: a.now, CommonName: f.Token.Issuer})
			if err != nil {
				return fail(err)
			}
			jwks, err := keys.JWKS(pair.Signer.Public())
			if err != nil {
				return fail(err)
			}
			finish, err := a.recordChange(cmd.Context(), d, f, change{
				file: d.Rel(files.key), what: []string{fmt.Sprintf("a signing key of type %s is made", typ), "its certificate has the SHA-256 " + keys.Fingerprint(pair.Leaf())},
			})
			if err != nil {
				return err
			}
			defer func() { finish(done) }()
			// The key last: a pair is there when its key is.
			for _, file := range []struct {
				path string
				mode fs.FileMode
				data []byte
			}{
				{files.bundle, 0o644, keys.Bundle(pair.Chain...)},
				{files.jwks, 0o644, jwks},
				{files.cert, 0o644, pair.CertPEM()},
				{files.key, 0o600, []byte(pair.KeyPEM().Reveal())},
			} {
				if file.path == "" {
					continue
				}
				if err := os.MkdirAll(filepath.Dir(file.path), 0o755); err != nil {
					return fail(err)
				}
				if err := safefile.CreateExclusive(file.path, file.data, file.mode); err != nil {
					return safefileError(err)
				}
				a.note("wrote %s", displayPath(file.path))
			}
			if files.bundle == "" {
				a.note("the registry must trust %s (REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE)", d.Rel(files.cert))
			}
			return nil
		}),
	}
	c.Flags().StringVar(&keyType, "key-type", string(keys.RSA4096), "rsa-2048, rsa-3072, rsa-4096 or ecdsa-p256")
	return c
}

type keyJSON struct {
	Key         string    `json:"key"`
	Certificate string    `json:"certificate"`
	Type        string    `json:"type"`
	KeyID       string    `json:"kid_libtrust"`
	Thumbprint  string    `json:"kid_rfc7638"`
	Fingerprint string    `json:"certificate_sha256"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	DaysLeft    int       `json:"days_left"`
}

func newKeysShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the signing key's ids, its certificate, and the days left",
		Long: `Show the signing key by both of its ids: the libtrust id, which registry 2.8 looks keys up by
and docker_auth sends by default, and the RFC 7638 thumbprint, which registry 3 looks up.
Changes nothing on disk.`,
		Example: `  regctl-setup keys show
  regctl-setup keys show --format json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			_, _, files, err := a.signingFiles(cmd.Context())
			if err != nil {
				return err
			}
			pair, err := loadPair(files)
			if err != nil {
				return err
			}
			pub := pair.Signer.Public()
			j := keyJSON{
				Key: files.key, Certificate: files.cert, Type: keys.Describe(pub), Fingerprint: keys.Fingerprint(pair.Leaf()),
				NotBefore: pair.Leaf().NotBefore.UTC(), NotAfter: pair.Leaf().NotAfter.UTC(),
				DaysLeft: int(pair.ExpiresIn(a.now()) / (24 * time.Hour)),
			}
			if j.KeyID, err = keys.LibtrustID(pub); err == nil {
				j.Thumbprint, err = keys.Thumbprint(pub)
			}
			if err != nil {
				return fail(err)
			}
			if a.json() {
				return a.printJSON(j)
			}
			a.out("key:                %s (%s)", displayPath(j.Key), j.Type)
			a.out("certificate:        %s", displayPath(j.Certificate))
			a.out("  SHA-256:          %s", j.Fingerprint)
			a.out("  valid:            %s to %s (%d days left)", j.NotBefore.Format(time.DateOnly), j.NotAfter.Format(time.DateOnly), j.DaysLeft)
			a.out("key id, libtrust:   %s   (registry 2.8; docker_auth by default)", j.KeyID)
			a.out("key id, RFC 7638:   %s   (registry 3)", j.Thumbprint)
			return nil
		}),
	}
}

func loadPair(files signingFiles) (*keys.Pair, error) {
	pair, err := keys.LoadPair(files.key, files.cert, keys.LoadOptions{})
	if err == nil {
		return pair, nil
	}
	var le *keys.LoadError
	if errors.As(err, &le) && le.Hint() != "" {
		return nil, fail(err, le.Hint())
	}
	return nil, fail(err)
}

func newKeysVerifyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Check that the registry trusts what the token server signs with",
		Long: `Check that the signing key belongs to its certificate, that the certificate is in the bundle
and in date, and that the key set lists the key under both of its ids.

Exit status 0 when all agree, 1 when not. Changes nothing on disk.`,
		Example: `  regctl-setup keys verify`,
		Args:    cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			_, d, files, err := a.signingFiles(cmd.Context())
			if err != nil {
				return err
			}
			pair, err := loadPair(files)
			if err != nil {
				return err
			}
			var faults []error
			if err := pair.CheckDates(a.now()); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", d.Rel(files.cert), err))
			}
			if files.bundle != "" {
				faults = append(faults, verifyTrust(d, files, pair)...)
			}
			if len(faults) > 0 {
				return refuse(errors.Join(faults...))
			}
			a.note("the key, its certificate and what the registry trusts agree")
			return nil
		}),
	}
}

// verifyTrust compares the signing pair with the files that the registry reads.
func verifyTrust(d *deployment.Deployment, files signingFiles, pair *keys.Pair) []error {
	var faults []error
	certs, err := keys.LoadCertificates(files.bundle)
	root := pair.Chain[len(pair.Chain)-1]
	switch {
	case err != nil:
		faults = append(faults, err)
	case !slices.ContainsFunc(certs, root.Equal):
		faults = append(faults, fmt.Errorf("%s does not hold the certificate of %s: the registry refuses its tokens", d.Rel(files.bundle), d.Rel(files.cert)))
	}
	data, err := os.ReadFile(files.jwks)
	if err != nil {
		return append(faults, err)
	}
	set, err := keys.ParseJWKS(data)
	if err != nil {
		return append(faults, fmt.Errorf("%s: %w", d.Rel(files.jwks), err))
	}
	pub := pair.Signer.Public()
	for _, id := range []func() (string, error){
		func() (string, error) { return keys.LibtrustID(pub) },
		func() (string, error) { return keys.Thumbprint(pub) },
	} {
		kid, err := id()
		if err != nil {
			return append(faults, err)
		}
		if _, listed := set[kid]; !listed {
			faults = append(faults, fmt.Errorf("%s does not list the signing key under %s", d.Rel(files.jwks), kid))
		}
	}
	return faults
}
