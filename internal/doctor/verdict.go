package doctor

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// Trust is what a registry checks tokens with.
type Trust struct {
	Major           int // of the registry: 3 or 2
	Issuer, Service string
	Bundle          []*x509.Certificate
	JWKS            map[string]crypto.PublicKey // by key id; registry 2 reads none
	Algorithms      []string                    // nil: all that the registry knows; registry 2 reads none
}

// Trust returns what the deployment's registry checks tokens with, as its files say. The error
// names what can't be read.
func (f *Facts) Trust() (Trust, error) {
	t := f.trust()
	if !f.settings.has("auth.token") {
		return Trust{}, errors.New("the registry's configuration has no auth.token section, or can't be read")
	}
	if err := errors.Join(t.bundleErr, t.jwksErr); err != nil {
		return Trust{}, err
	}
	return Trust{
		Major: f.registryMajor(), Issuer: f.settings.text("auth.token.issuer"), Service: f.settings.text("auth.token.service"),
		Bundle: t.bundle, JWKS: t.jwks, Algorithms: f.settings.list("auth.token.signingalgorithms"),
	}, nil
}

// Reason is why a registry refuses a token.
type Reason struct {
	Field string // x5c, kid, alg, signature, iss, aud, nbf or exp
	Text  string
}

// String returns "FIELD: TEXT".
func (r Reason) String() string { return r.Field + ": " + r.Text }

// Judge verifies a token as the registry does: by x5c where the token has it, and then by nothing
// else; otherwise by the id of its key, in the form that the registry's version looks up. No reason
// means that the registry accepts it. The error says that the text is no token at all.
func (t Trust) Judge(raw string, now time.Time) (token.Header, token.Claims, []Reason, error) {
	h, c, err := token.Inspect(raw)
	if err != nil {
		return h, c, nil, err
	}
	set := token.KeySet{Roots: t.Bundle}
	if len(h.X5C) == 0 {
		set = token.KeySet{ByID: t.byID()}
	}
	var reasons []Reason
	_, _, err = token.Verify(raw, token.VerifyOptions{Keys: set, Issuer: t.Issuer, Audience: t.Service, Now: now, Leeway: token.Leeway})
	for _, e := range parts(err) {
		reasons = append(reasons, t.reason(e, h))
	}
	if t.Major == 2 && c.AudienceIsList {
		reasons = append(reasons, Reason{"aud", "it is a list, and registry 2 takes one text only"})
	}
	if t.Major != 2 && t.Algorithms != nil && !slices.Contains(t.Algorithms, h.Algorithm) {
		reasons = append(reasons, Reason{"alg", fmt.Sprintf("%s is none of the registry's signingalgorithms %q", h.Algorithm, t.Algorithms)})
	}
	return h, c, reasons, nil
}

// parts are the errors that errors.Join put together.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// byID are the keys by the ids that this version of the registry looks up.
func (t Trust) byID() map[string]crypto.PublicKey {
	out := map[string]crypto.PublicKey{}
	for _, c := range t.Bundle {
		id, err := keys.Thumbprint(c.PublicKey)
		if t.Major == 2 {
			id, err = keys.LibtrustID(c.PublicKey)
		}
		if err == nil {
			out[id] = c.PublicKey
		}
	}
	if t.Major != 2 {
		for id, k := range t.JWKS {
			out[id] = k
		}
	}
	return out
}

func (t Trust) reason(err error, h token.Header) Reason {
	text := err.Error()
	for _, kind := range []struct {
		err   error
		field string
	}{
		{token.ErrUnknownKey, "kid"}, {token.ErrCertificate, "x5c"}, {token.ErrAlgorithm, "alg"}, {token.ErrExpired, "exp"},
		{token.ErrNotYet, "nbf"}, {token.ErrIssuer, "iss"}, {token.ErrAudience, "aud"}, {token.ErrSignature, "signature"},
	} {
		if !errors.Is(err, kind.err) {
			continue
		}
		if kind.field == "kid" {
			return Reason{"kid", t.whyUnknown(h)}
		}
		if kind.field == "x5c" && len(t.Bundle) == 0 {
			return Reason{"x5c", "the registry has no rootcertbundle, and looks at nothing else for a token with x5c"}
		}
		return Reason{kind.field, text}
	}
	return Reason{"signature", text}
}

// whyUnknown explains a key id that the registry does not find.
func (t Trust) whyUnknown(h token.Header) string {
	other := map[string]crypto.PublicKey{}
	for _, c := range t.Bundle {
		for _, id := range keyIDs(c.PublicKey) {
			other[id] = c.PublicKey
		}
	}
	if _, known := other[h.KeyID]; known {
		if t.Major == 2 {
			return fmt.Sprintf("%s is the RFC 7638 form; registry 2 looks keys up by the libtrust form only", h.KeyID)
		}
		return fmt.Sprintf("%s is the libtrust form; registry 3 finds it only in a jwks file that lists the key under it", h.KeyID)
	}
	var ids []string
	for id := range t.byID() {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return fmt.Sprintf("%q is not known: the registry knows no key at all", h.KeyID)
	}
	return fmt.Sprintf("%q is not known; the registry knows %s", h.KeyID, strings.Join(ids[:min(len(ids), 4)], ", "))
}
