package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// peopleChecks are about what ends at a date: accounts and TLS certificates.
func peopleChecks() []Check {
	return []Check{
		{
			Code: "account-expires", Severity: Warning,
			Title: "an account that is about to expire",
			Why:   "its next login after that day is refused: a nightly build stops",
			Mend:  "regctl-setup user passwd NAME with a new expiry, or user remove NAME",
			run: func(p *pass) {
				if p.Auth == nil {
					return
				}
				for i := range p.Auth.Users {
					u := &p.Auth.Users[i]
					left := u.Expires.Sub(p.Now)
					if u.Expires.IsZero() || u.Disabled || left < 0 || left > userSoon {
						continue
					}
					p.report(u.Pos, "%q expires %s, on %s", u.Name, days(left), u.Expires.Format(time.DateOnly)).
						mend("change expires under x-regctl-setup.users in %s, or: %s", p.Auth.Path, p.cmd("user remove "+ShellWord(u.Name)))
				}
			},
		},
		{
			Code: "expiry-not-enforced", Severity: Error,
			Title: "an expired account that docker_auth still lets in",
			Why:   "docker_auth does not know expiry dates: the account works until it is disabled",
			Mend:  "regctl-setup user disable NAME",
			run: func(p *pass) {
				if p.Auth == nil || p.Bundled {
					return
				}
				for i := range p.Auth.Users {
					if u := &p.Auth.Users[i]; !u.Expires.IsZero() && !u.Disabled && !u.Expires.After(p.Now) {
						p.report(u.Pos, "%q expired on %s, and docker_auth still lets it in", u.Name, u.Expires.Format(time.DateOnly)).mend("%s", p.cmd("user disable "+ShellWord(u.Name)))
					}
				}
			},
		},
		{
			Code: "tls-files", Severity: Error,
			Title: "TLS files that don't fit each other, the domain or the date",
			Why:   "every client refuses the connection",
			Mend:  "put a certificate for the domain, its chain and its key into secrets/tls, then restart caddy",
			run: func(p *pass) {
				if p.Answers == nil || p.Answers.TLS != answers.TLSFiles || !isFile(p.Path(scaffold.PathTLSCert)) {
					return
				}
				cert, err := firstCertificate(p.Path(scaffold.PathTLSCert))
				if err != nil {
					p.report(at(scaffold.PathTLSCert), "%v", err).mend("put the certificate and its chain there as PEM, then: %s", p.dockerCompose("restart caddy"))
					return
				}
				if isFile(p.Path(scaffold.PathTLSKey)) {
					// The cause could quote the key.
					if _, err := tls.LoadX509KeyPair(p.Path(scaffold.PathTLSCert), p.Path(scaffold.PathTLSKey)); err != nil {
						p.report(at(scaffold.PathTLSKey), "it is not the key of %s", scaffold.PathTLSCert).mend("put the certificate's own key there, then: %s", p.dockerCompose("restart caddy"))
					}
				}
				for _, name := range slices.Compact([]string{p.Answers.Domain, authDomain(p.Answers)}) {
					if cert.VerifyHostname(name) != nil {
						p.report(at(scaffold.PathTLSCert), "it is for %q, not for %s", cert.DNSNames, name).mend("get a certificate that names %s, put it and its key into %s, then: %s", name, p.shown("secrets/tls"), p.dockerCompose("restart caddy"))
					}
				}
				if left := cert.NotAfter.Sub(p.Now); left < tlsSoon {
					f := p.report(at(scaffold.PathTLSCert), "it ends %s, on %s", days(left), cert.NotAfter.Format(time.DateOnly)).
						mend("put the new certificate and key into %s, then: %s", p.shown("secrets/tls"), p.dockerCompose("restart caddy"))
					if left > 0 {
						f.Severity = Warning
					}
				}
			},
		},
	}
}

// firstCertificate reads the leaf of a PEM file.
func firstCertificate(file string) (*x509.Certificate, error) {
	data, err := readBounded(file, maxConfigSize)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("holds no certificate")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
}
