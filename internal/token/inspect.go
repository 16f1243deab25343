package token

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/regctl-setup/regctl-setup/internal/keys"
)

// maxToken bounds what Inspect and Verify read, in bytes. Our own largest token (100 scopes with
// names of 255 bytes and a chain of two) has 55 KiB.
const maxToken = 1 << 20

// Header is the header of a token, which nothing vouches for.
type Header struct {
	Type      string
	Algorithm string
	KeyID     string
	X5C       []*x509.Certificate // leaf first; nil when there is none
	HasJWK    bool                // it carries its own key: never trust it for that
	JSON      []byte              // as it stands in the token
}

// Claims are the contents of a token.
type Claims struct {
	Issuer   string
	Subject  string
	Audience []string
	// AudienceIsList is true where aud is a JSON list, be it of one element: registry 2.8
	// refuses the token then.
	AudienceIsList bool
	Expires        time.Time // zero: not given
	NotBefore      time.Time // zero: not given
	IssuedAt       time.Time // zero: not given
	ID             string
	Access         []Access
	JSON           []byte // as it stands in the token
}

// Inspect reads a token without any check of its signature or dates: for display. White space around
// it, and a leading "Bearer ", are ignored.
func Inspect(raw string) (Header, Claims, error) {
	raw = trim(raw)
	if len(raw) > maxToken {
		return Header{}, Claims{}, fmt.Errorf("a token of %d bytes is over the limit of %d", len(raw), maxToken)
	}
	// Counted before they are split: a text of dots must not become a million strings.
	if n := strings.Count(raw, "."); n != 2 {
		return Header{}, Claims{}, fmt.Errorf("not a token: %d parts, want 3 joined by dots", n+1)
	}
	parts := strings.Split(raw, ".")
	var c Claims
	h, err := readHeader(parts[0])
	if err != nil {
		return h, c, fmt.Errorf("token header: %w", err)
	}
	if c, err = readClaims(parts[1]); err != nil {
		return h, c, fmt.Errorf("token claims: %w", err)
	}
	if _, err := decode(parts[2]); err != nil {
		return h, c, fmt.Errorf("token signature: %w", err)
	}
	return h, c, nil
}

func trim(raw string) string {
	raw = strings.TrimSpace(raw)
	if len(raw) > 7 && strings.EqualFold(raw[:7], "bearer ") {
		raw = strings.TrimSpace(raw[7:])
	}
	return raw
}

func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64url without padding")
	}
	return b, nil
}

func readHeader(part string) (h Header, err error) {
	if h.JSON, err = decode(part); err != nil {
		return h, err
	}
	var in struct {
		Typ string          `json:"typ"`
		Alg string          `json:"alg"`
		Kid string          `json:"kid"`
		X5C [][]byte        `json:"x5c"`
		JWK json.RawMessage `json:"jwk"`
	}
	if err := json.Unmarshal(h.JSON, &in); err != nil {
		return h, fmt.Errorf("not a JSON object of the expected kind: %w", err)
	}
	h.Type, h.Algorithm, h.KeyID, h.HasJWK = in.Typ, in.Alg, in.Kid, in.JWK != nil
	const maxChain = 10
	if len(in.X5C) > maxChain {
		return h, fmt.Errorf("x5c has %d certificates, more than %d", len(in.X5C), maxChain)
	}
	for n, der := range in.X5C {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return h, fmt.Errorf("x5c, certificate %d: %w", n+1, err)
		}
		h.X5C = append(h.X5C, cert)
	}
	return h, nil
}

func readClaims(part string) (c Claims, err error) {
	if c.JSON, err = decode(part); err != nil {
		return c, err
	}
	var in struct {
		Issuer    string          `json:"iss"`
		Subject   string          `json:"sub"`
		Audience  json.RawMessage `json:"aud"`
		Expires   *json.Number    `json:"exp"`
		NotBefore *json.Number    `json:"nbf"`
		IssuedAt  *json.Number    `json:"iat"`
		ID        string          `json:"jti"`
		Access    []Access        `json:"access"`
	}
	if err := json.Unmarshal(c.JSON, &in); err != nil {
		return c, fmt.Errorf("not a JSON object of the expected kind: %w", err)
	}
	c.Issuer, c.Subject, c.ID, c.Access = in.Issuer, in.Subject, in.ID, in.Access
	if len(in.Audience) > 0 && string(in.Audience) != "null" {
		var one string
		if err := json.Unmarshal(in.Audience, &one); err == nil {
			c.Audience = []string{one}
		} else if err := json.Unmarshal(in.Audience, &c.Audience); err != nil {
			return c, errors.New("aud is neither a string nor a list of strings")
		} else {
			c.AudienceIsList = true
		}
	}
	for _, f := range []struct {
		name string
		from *json.Number
		to   *time.Time
	}{{"exp", in.Expires, &c.Expires}, {"nbf", in.NotBefore, &c.NotBefore}, {"iat", in.IssuedAt, &c.IssuedAt}} {
		if f.from == nil {
			continue
		}
		// RFC 7519 allows fractions. The bounds are years 1 to 9999.
		v, err := f.from.Float64()
		if err != nil || math.IsNaN(v) || v < -62135596800 || v > 253402300799 {
			return c, fmt.Errorf("%s is not a time: %s", f.name, f.from)
		}
		*f.to = time.Unix(int64(v), 0).UTC()
	}
	return c, nil
}

// Leeway is how far registries let clocks differ when they check exp and nbf.
const Leeway = 60 * time.Second

// The kinds of refusal that errors.Is finds in what Verify returns.
var (
	ErrSignature   = errors.New("the signature is wrong")
	ErrUnknownKey  = errors.New("the token is signed by a key that is not trusted")
	ErrCertificate = errors.New("the certificate chain is not trusted")
	ErrAlgorithm   = errors.New("the algorithm is not one of RSA or ECDSA signatures")
	ErrExpired     = errors.New("the token has expired")
	ErrNotYet      = errors.New("the token is not valid yet")
	ErrIssuer      = errors.New("the issuer is another one")
	ErrAudience    = errors.New("the token is for another service")
)

// KeySet is what a registry trusts.
type KeySet struct {
	// Roots are the certificates of the bundle.
	Roots []*x509.Certificate
	// ByID are the keys of the JWKS file.
	ByID map[string]crypto.PublicKey
}

// VerifyOptions say what the registry expects.
type VerifyOptions struct {
	Keys     KeySet
	Issuer   string // "" accepts any
	Audience string // "" accepts any
	// Now is the time to check at; zero is the present.
	Now time.Time
	// Leeway for exp and nbf; zero is none. Registries use the constant Leeway.
	Leeway time.Duration
}

// Verify reads a token and checks it as a registry does: with x5c, the chain must lead to one of the
// roots, and be valid now; otherwise kid must be one of the key set, or the RFC 7638 or libtrust id
// of a root's key. Header and claims come back even when the token is refused. The error joins all
// reasons, each of which errors.Is tells.
func Verify(raw string, o VerifyOptions) (Header, Claims, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	raw = trim(raw)
	h, c, err := Inspect(raw)
	if err != nil {
		return h, c, err
	}
	var reasons []error
	refuse := func(kind error, format string, args ...any) {
		reasons = append(reasons, fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...)))
	}
	if key, err := o.Keys.find(h, o.Now); err != nil {
		reasons = append(reasons, err)
	} else if err := checkSignature(raw, h.Algorithm, key); err != nil {
		reasons = append(reasons, err)
	}
	if o.Issuer != "" && c.Issuer != o.Issuer {
		refuse(ErrIssuer, "%q, want %q", c.Issuer, o.Issuer)
	}
	if o.Audience != "" && !slices.Contains(c.Audience, o.Audience) {
		refuse(ErrAudience, "%q, want %q", c.Audience, o.Audience)
	}
	// A registry takes a missing exp or nbf for 1970.
	if o.Now.After(c.Expires.Add(o.Leeway)) {
		refuse(ErrExpired, "on %s", c.Expires.Format(time.RFC3339))
	}
	if o.Now.Before(c.NotBefore.Add(-o.Leeway)) {
		refuse(ErrNotYet, "before %s", c.NotBefore.Format(time.RFC3339))
	}
	return h, c, errors.Join(reasons...)
}

// find returns the key that a token is signed with, if it is a trusted one.
func (s KeySet) find(h Header, now time.Time) (crypto.PublicKey, error) {
	if len(h.X5C) == 0 {
		if key, ok := s.ByID[h.KeyID]; ok {
			return key, nil
		}
		for _, root := range s.Roots {
			for _, id := range []func(crypto.PublicKey) (string, error){keys.Thumbprint, keys.LibtrustID} {
				if got, err := id(root.PublicKey); err == nil && got == h.KeyID {
					return root.PublicKey, nil
				}
			}
		}
		return nil, fmt.Errorf("%w: kid %q", ErrUnknownKey, h.KeyID)
	}
	roots, rest := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range s.Roots {
		roots.AddCert(c)
	}
	for _, c := range h.X5C[1:] {
		rest.AddCert(c)
	}
	_, err := h.X5C[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: rest, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return h.X5C[0].PublicKey, nil
}

func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

func checkSignature(raw, alg string, key crypto.PublicKey) error {
	if !slices.Contains(algorithms(), jose.SignatureAlgorithm(alg)) {
		return fmt.Errorf("%w: %q", ErrAlgorithm, alg)
	}
	jws, err := jose.ParseSignedCompact(raw, algorithms())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if _, err := jws.Verify(key); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}
