package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

const (
	certificateSoon = 60 * 24 * time.Hour // before the end of the signing certificate
	tlsSoon         = 21 * 24 * time.Hour // before the end of a TLS certificate
	userSoon        = 14 * 24 * time.Hour // before an account expires
)

// sendsX5C reports whether the tokens carry the certificate chain.
func (f *Facts) sendsX5C() bool {
	if !f.Bundled || f.Auth == nil || f.Auth.Extras.X5C == string(token.X5CNever) {
		return false
	}
	chain := f.signing()
	return chain != nil && (f.Auth.Extras.X5C == string(token.X5CAlways) || keys.CheckDates(f.Now, chain...) == nil)
}

func signingChecks() []Check {
	return []Check{
		{
			Code: "signing-key-unusable", Severity: Error,
			Title: "a signing key or certificate that can't be used",
			Why:   "the token server does not start, or its tokens are refused",
			Mend:  "bring the file back, or make a new pair: remove the old one and the registry's copies, then regctl-setup keys generate",
			run: func(p *pass) {
				if p.Auth == nil {
					return
				}
				cert, key := p.Auth.SigningPair()
				if key != "" && isFile(p.Resolve(key)) {
					// Who may read it is a check of its own.
					if _, err := keys.LoadKey(p.Resolve(key), keys.LoadOptions{AllowReadableKey: true}); err != nil {
						p.reportKey(key, err)
					}
				}
				if cert != "" && isFile(p.Resolve(cert)) {
					if _, err := keys.LoadCertificates(p.Resolve(cert)); err != nil {
						p.reportKey(cert, err)
					}
				}
			},
		},
		{
			Code: "key-certificate-differ", Severity: Error,
			Title: "a signing key that is not the certificate's",
			Why:   "the registry checks tokens against the certificate's key: it refuses all of them",
			Mend:  "bring back the file that belongs to the other, or make a new pair",
			run:   pairAgrees,
		},
		{
			Code: "signing-certificate-expires", Severity: Warning,
			Title: "a signing certificate that is out of date, or soon will be",
			Why:   "a registry that gets the certificate in the token (x5c) refuses it from that moment on; one that goes by the key's id alone does not look",
			Mend:  "regctl-setup keys rotate changes the key while pushes and pulls go on",
			run: func(p *pass) {
				for _, c := range p.signing() {
					cert, _ := p.Auth.SigningPair()
					left := c.NotAfter.Sub(p.Now)
					switch {
					case p.Now.Before(c.NotBefore):
						p.report(at(p.rel(p.Resolve(cert))), "it is valid from %s on only: is this machine's clock right?", c.NotBefore.Format(time.DateOnly)).mend("date; timedatectl   show and set the clock").Severity = Error
					case left < 0:
						f := p.report(at(p.rel(p.Resolve(cert))), "it ended %s, on %s", days(left), c.NotAfter.Format(time.DateOnly)).mend("%s", p.rotate())
						if p.sendsX5C() {
							f.Severity = Error
						}
					case left < certificateSoon:
						p.report(at(p.rel(p.Resolve(cert))), "it ends %s, on %s", days(left), c.NotAfter.Format(time.DateOnly)).mend("before that day: %s", p.rotate())
					}
				}
			},
		},
		{
			Code: "key-id-not-accepted", Severity: Error,
			Title: "tokens whose form of key id this registry does not look up",
			Why:   "the registry refuses every token with \"token signed by untrusted key with ID\", while docker login says that all is well with the password",
			Mend:  "list the key under both ids in a jwks file (registry 3), or send the libtrust id (registry 2)",
			run:   keyIDAccepted,
		},
		{
			Code: "x5c-without-bundle", Severity: Error,
			Title: "tokens with a certificate for a registry that has no certificate bundle",
			Why:   "with x5c the registry looks at its rootcertbundle only; with a jwks alone it refuses every such token",
			Mend:  "set auth.token.rootcertbundle, or x5c: never",
			run: func(p *pass) {
				if p.sendsX5C() && p.settings.has("auth.token") && p.settings.text("auth.token.rootcertbundle") == "" && p.registryMajor() >= 3 {
					p.report(p.settings.at("auth.token"), "tokens carry x5c, and rootcertbundle is not set").
						mend("add under auth.token: rootcertbundle: /etc/regctl-setup/trust/bundle.pem   then: %s", p.restart("registry"))
				}
			},
		},
		{
			Code: "algorithm-not-accepted", Severity: Error,
			Title: "a signing algorithm that the registry's list leaves out",
			Why:   "the registry answers 401 to every token, and its log says no word about why",
			Mend:  "name the key's algorithm in auth.token.signingalgorithms",
			run: func(p *pass) {
				chain := p.signing()
				if chain == nil || p.registryMajor() < 3 || p.finds(pairAgrees) {
					return
				}
				list := p.settings.list("auth.token.signingalgorithms")
				alg, err := keys.Algorithm(chain[0].PublicKey)
				if err == nil && list != nil && !slices.Contains(list, alg) {
					p.report(p.settings.at("auth.token.signingalgorithms"), "tokens are signed with %s, and the registry accepts %q", alg, list).
						mend("write signingalgorithms: [%s], then: %s", alg, p.restart("registry"))
				}
			},
		},
	}
}

// pairAgrees compares the signing key with its certificate. Where the registry's bundle still holds
// the certificate of the key, it is the certificate that was changed, and that one can be brought
// back.
func pairAgrees(p *pass) {
	chain := p.signing()
	if chain == nil {
		return
	}
	cert, keyFile := p.Auth.SigningPair()
	key, err := keys.LoadKey(p.Resolve(keyFile), keys.LoadOptions{AllowReadableKey: true})
	if err != nil || sameKey(key.Public(), chain[0].PublicKey) {
		return
	}
	f := p.report(at(p.rel(p.Resolve(keyFile))), "it is not the key of %s", p.rel(p.Resolve(cert)))
	t := p.trust()
	i := slices.IndexFunc(t.bundle, func(c *x509.Certificate) bool { return sameKey(c.PublicKey, key.Public()) })
	if i < 0 {
		f.mend("bring back the right one of the two; or %s", p.newPair())
		return
	}
	f.Pos = at(p.rel(p.Resolve(cert)))
	f.Message = fmt.Sprintf("it is not the certificate of %s; the one that is stands in %s", p.rel(p.Resolve(keyFile)), p.rel(t.bundleFile))
	f.mend("%s   brings it back from there; then: %s", p.cmd("doctor --fix"), p.restart("auth")).
		makes(func(ctx context.Context) (string, error) {
			file := p.Resolve(cert)
			chain := []*x509.Certificate{t.bundle[i]}
			for _, c := range t.bundle {
				if !c.Equal(chain[0]) && chain[0].CheckSignatureFrom(c) == nil {
					chain = append(chain, c)
				}
			}
			_, err := safefile.Transform(ctx, file, func([]byte) ([]byte, error) { return keys.Bundle(chain...), nil }, safefile.TransformOptions{Command: "regctl-setup doctor --fix"})
			return fmt.Sprintf("%s: the certificate of the key again, from %s (%s)", p.rel(file), p.rel(t.bundleFile), p.restart("auth")), err
		})
}

// reportKey reports a key or certificate file with the loader's own hint.
func (p *pass) reportKey(file string, err error) {
	host := p.Resolve(file)
	f := p.report(at(p.rel(host)), "%v", err)
	var le *keys.LoadError
	if errors.As(err, &le) {
		f.Message = le.Reason
		if le.Err != nil {
			f.Message += ": " + le.Err.Error()
		}
		if hint := le.Hint(); hint != "" && !strings.Contains(hint, "keys generate") {
			f.mend("%s", hint)
		}
	}
	if f.Fix.Text == "" {
		f.mend("bring it back from a backup; or %s", p.newPair())
	}
}

func keyIDAccepted(p *pass) {
	chain, t := p.signing(), p.trust()
	if chain == nil || !p.settings.has("auth.token") || p.sendsX5C() {
		return
	}
	legacy := !p.Auth.Token.DisableLegacyKeyID
	at := p.Auth.Position("token")
	if !legacy {
		at = p.Auth.Position("token", "disable_legacy_key_id")
	}
	if p.registryMajor() == 2 {
		if !legacy {
			p.report(at, "disable_legacy_key_id makes ids in the RFC 7638 form, and registry 2 looks for the libtrust form").
				mend("remove disable_legacy_key_id, then: %s", p.restart("auth"))
		}
		return
	}
	_, ec := chain[0].PublicKey.(*ecdsa.PublicKey)
	switch {
	case legacy && p.settings.text("auth.token.jwks") == "" && inBundle(chain[0], t.bundle):
		p.report(p.settings.at("auth.token.rootcertbundle"), "the token server sends the libtrust form of the key's id; registry 3 knows the keys of a bundle by their RFC 7638 form only").
			mend("add under auth.token: jwks: /etc/regctl-setup/trust/jwks.json (%s prints both ids), then: %s", p.cmd("keys show"), p.restart("registry"))
	case ec && !legacy && !p.Bundled:
		p.report(at, "docker_auth makes the same RFC 7638 id for all ECDSA keys (of the curve, not of the key), which registry 3 does not find").
			mend("use an RSA key, or remove disable_legacy_key_id and list the key in a jwks file")
	}
}

func inBundle(c *x509.Certificate, bundle []*x509.Certificate) bool {
	return slices.ContainsFunc(bundle, c.Equal)
}
