package doctor

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// trustState is what the registry trusts, as far as it can be read.
type trustState struct {
	bundleFile, jwksFile string // on the host; "" = not set or not found
	bundle               []*x509.Certificate
	jwks                 map[string]crypto.PublicKey
	bundleErr, jwksErr   error
}

func (f *Facts) trust() trustState {
	var t trustState
	t.bundleFile, _ = f.trustFile("auth.token.rootcertbundle")
	t.jwksFile, _ = f.trustFile("auth.token.jwks")
	if isFile(t.bundleFile) {
		t.bundle, t.bundleErr = registryCertificates(t.bundleFile)
	}
	if isFile(t.jwksFile) {
		data, err := readBounded(t.jwksFile, maxConfigSize)
		if err == nil {
			t.jwks, err = keys.ParseJWKS(data)
		}
		t.jwksErr = err
	}
	return t
}

// registryCertificates reads a bundle as the registry does: blocks of other types are skipped.
func registryCertificates(file string) ([]*x509.Certificate, error) {
	data, err := readBounded(file, maxConfigSize)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("holds no certificate")
	}
	return out, nil
}

// signing returns the signing certificates, leaf first; nil where they can't be read.
func (f *Facts) signing() []*x509.Certificate {
	if f.Auth == nil {
		return nil
	}
	cert, _ := f.Auth.SigningPair()
	if cert == "" {
		return nil
	}
	chain, err := keys.LoadCertificates(f.Resolve(cert))
	if err != nil {
		return nil
	}
	return chain
}

func trustChecks() []Check {
	return []Check{
		{
			Code: "trust-unreadable", Severity: Error,
			Title: "a certificate bundle or key set that the registry can't read",
			Why:   "the registry does not start, or trusts no key and refuses every token",
			Mend:  "regctl-setup doctor --fix makes both files again from the signing certificate",
			run: func(p *pass) {
				t := p.trust()
				for _, x := range []struct {
					setting, file string
					err           error
				}{{"auth.token.rootcertbundle", t.bundleFile, t.bundleErr}, {"auth.token.jwks", t.jwksFile, t.jwksErr}} {
					if x.err != nil {
						p.report(at(p.rel(x.file)), "%v", trimPath(x.err, x.file)).
							mend("%s   makes it again from the signing certificate; then: %s", p.cmd("doctor --fix"), p.restart("registry")).
							makes(p.writeTrust(x.setting, x.file))
					}
				}
			},
		},
		{
			Code: "bundle-misses-certificate", Severity: Error,
			Title: "a signing certificate that the registry's bundle does not hold",
			Why:   "the registry refuses every token: \"token signed by untrusted key\"",
			Mend:  "regctl-setup doctor --fix adds the certificate, then restart the registry",
			run: func(p *pass) {
				t, chain := p.trust(), p.signing()
				if t.bundle == nil || chain == nil || leadsTo(chain, t.bundle) || p.finds(pairAgrees) {
					return // of a certificate that is not the key's nothing must get into the bundle
				}
				p.report(at(p.rel(t.bundleFile)), "none of the certificates in it (%d) is that of the signing key", len(t.bundle)).
					mend("%s   adds it; then: %s", p.cmd("doctor --fix"), p.restart("registry")).
					makes(p.writeTrust("auth.token.rootcertbundle", t.bundleFile))
			},
		},
		{
			Code: "jwks-misses-key", Severity: Error,
			Title: "a signing key that the registry's key set does not list under both of its ids",
			Why:   "registry 3 looks keys up by id: it refuses the form of id that is missing with \"token signed by untrusted key with ID\"",
			Mend:  "regctl-setup doctor --fix adds the key, then restart the registry",
			run: func(p *pass) {
				t, chain := p.trust(), p.signing()
				if t.jwks == nil || chain == nil || p.registryMajor() < 3 || p.finds(pairAgrees) {
					return
				}
				for _, id := range keyIDs(chain[0].PublicKey) {
					if _, listed := t.jwks[id]; listed {
						continue
					}
					p.report(at(p.rel(t.jwksFile)), "the signing key is not listed under %s", id).
						mend("%s   adds it; then: %s", p.cmd("doctor --fix"), p.restart("registry")).
						makes(p.writeTrust("auth.token.jwks", t.jwksFile))
					return
				}
			},
		},
		{
			Code: "trust-not-mounted", Severity: Error,
			Title: "a trust file that the registry's container does not see",
			Why:   "the registry does not start: \"unable to open token auth root certificate bundle file\"",
			Mend:  "mount the folder that holds it into the registry",
			run: func(p *pass) {
				for _, s := range []string{"auth.token.rootcertbundle", "auth.token.jwks"} {
					if v, set := p.settings.get(s); set && v.value != "" {
						if _, mounted := p.trustFile(s); !mounted && p.registry != nil && !p.Embedded && !p.registry.mounts(v.value) {
							p.report(v.pos, "%s is %s, and nothing is mounted there in service %s", s, v.value, p.registry.Name).
								mend("add to the volumes of service %s: ./conf/trust:/etc/regctl-setup/trust:ro", p.registry.Name)
						}
					}
				}
			},
		},
		{
			Code: "registry-2-needs-bundle", Severity: Error,
			Title: "registry 2 without a certificate bundle",
			Why:   "it panics at start: token auth requires a valid option string: \"rootcertbundle\"",
			Mend:  "set auth.token.rootcertbundle to a PEM file with the signing certificate",
			run: func(p *pass) {
				if p.registryMajor() == 2 && p.settings.has("auth.token") && p.settings.text("auth.token.rootcertbundle") == "" {
					p.report(p.settings.at("auth.token"), "registry 2 reads no jwks, and rootcertbundle is not set").
						mend("add under auth.token: rootcertbundle: /etc/regctl-setup/trust/bundle.pem")
				}
			},
		},
		{
			Code: "ed25519-in-bundle", Severity: Error,
			Title: "an Ed25519 certificate in the bundle of registry 2",
			Why:   "registry 2 panics at start when its bundle holds one",
			Mend:  "remove the certificate from the bundle",
			run: func(p *pass) {
				t := p.trust()
				for i, c := range t.bundle {
					if _, ed := c.PublicKey.(ed25519.PublicKey); ed && p.registryMajor() == 2 {
						p.report(at(p.rel(t.bundleFile)), "certificate %d (%s) has an Ed25519 key", i+1, c.Subject).
							mend("remove that certificate from %s, then: %s", p.shown(p.rel(t.bundleFile)), p.restart("registry"))
					}
				}
			},
		},
	}
}

// leadsTo reports whether the chain is one of the roots, or was issued below one of them.
func leadsTo(chain, roots []*x509.Certificate) bool {
	for _, c := range chain {
		if slices.ContainsFunc(roots, c.Equal) {
			return true
		}
	}
	last := chain[len(chain)-1]
	return slices.ContainsFunc(roots, func(r *x509.Certificate) bool { return last.CheckSignatureFrom(r) == nil })
}

// keyIDs are both ids of a key, the libtrust form first; nil for a key that has none.
func keyIDs(pub crypto.PublicKey) []string {
	legacy, err := keys.LibtrustID(pub)
	if err != nil {
		return nil
	}
	thumb, err := keys.Thumbprint(pub)
	if err != nil {
		return nil
	}
	return []string{legacy, thumb}
}

// writeTrust makes the registry's bundle or key set again: what it holds and can be read stays,
// and the signing certificate comes to it.
func (f *Facts) writeTrust(setting, file string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		chain := f.signing()
		if chain == nil {
			return "", fmt.Errorf("%s: the signing certificate can't be read", f.rel(file))
		}
		if (&pass{Facts: f, ctx: ctx}).finds(pairAgrees) {
			return "", fmt.Errorf("%s: the signing certificate is not that of the signing key", f.rel(file))
		}
		t := f.trust()
		bundle := t.bundle
		if !leadsTo(chain, bundle) {
			bundle = append(slices.Clone(bundle), chain[len(chain)-1])
		}
		data := keys.Bundle(bundle...)
		if setting == "auth.token.jwks" {
			pubs := []crypto.PublicKey{chain[0].PublicKey}
			for _, id := range sortedNames(t.jwks) {
				if !slices.ContainsFunc(pubs, func(k crypto.PublicKey) bool { return sameKey(k, t.jwks[id]) }) {
					pubs = append(pubs, t.jwks[id])
				}
			}
			var err error
			if data, err = keys.JWKS(pubs...); err != nil {
				return "", err
			}
		}
		_, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			err = safefile.CreateExclusive(file, data, 0o644)
		} else if err == nil {
			_, err = safefile.Transform(ctx, file, func([]byte) ([]byte, error) { return data, nil }, safefile.TransformOptions{Command: "regctl-setup doctor --fix"})
		}
		return fmt.Sprintf("%s: made again with the signing key (the registry reads it at start: %s)", f.rel(file), f.restart("registry")), err
	}
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
