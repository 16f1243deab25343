package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/regctl-setup/regctl-setup/internal/keys"
)

const (
	// backdate is how long before its issue a token is valid, for registries whose clocks lag.
	backdate = 10 * time.Second

	// MinLifetime is the shortest lifetime of a token: registries count in seconds.
	MinLifetime = time.Second
	// MaxLifetime is the longest: ten years.
	MaxLifetime = 3653 * 24 * time.Hour

	idBytes = 16
)

// Access is what a token grants on one resource.
type Access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// X5CMode says when a token carries the certificate chain.
type X5CMode string

// The modes. The zero value is X5CAuto.
const (
	X5CAuto   X5CMode = "auto"   // while the chain is valid
	X5CAlways X5CMode = "always" // even when registries will refuse it
	X5CNever  X5CMode = "never"  // as docker_auth; also right for a registry with jwks and no rootcertbundle
)

// ParseX5CMode reads a mode; "" is X5CAuto.
func ParseX5CMode(s string) (X5CMode, error) {
	switch m := X5CMode(s); m {
	case "":
		return X5CAuto, nil
	case X5CAuto, X5CAlways, X5CNever:
		return m, nil
	}
	return "", fmt.Errorf("unknown x5c mode %q: want auto, always or never", s)
}

// Options of New.
type Options struct {
	// Issuer becomes iss; it must not be empty.
	Issuer string
	// Pair signs.
	Pair *keys.Pair
	// LegacyKeyID makes kid the libtrust id (token.disable_legacy_key_id: false, the default of
	// docker_auth), otherwise the RFC 7638 thumbprint.
	LegacyKeyID bool
	X5C         X5CMode
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Rand is where token ids come from; it is used by one goroutine at a time. Default:
	// crypto/rand. Signatures always take the system's generator.
	Rand io.Reader
	// Warn, when not nil, is called by Issue when the chain goes out of date, or is valid again:
	// once for each such change, with the text of the warning or "" when all is well. It may be
	// called from any goroutine.
	Warn func(warning string)
}

// Issuer signs tokens. It is safe for concurrent use.
type Issuer struct {
	opts     Options
	alg      string
	kid      string
	hash     crypto.Hash
	half     int       // bytes of one half of an ECDSA signature; 0 for RSA
	bare     string    // header without x5c, in base64url, with the dot
	full     string    // header with x5c
	from, to time.Time // when the chain is valid

	randMu sync.Mutex

	warnMu sync.Mutex
	warned string
}

// New checks the options and prepares what all tokens have in common.
func New(o Options) (*Issuer, error) {
	if o.Issuer == "" {
		return nil, errors.New("the issuer is empty")
	}
	if !utf8.ValidString(o.Issuer) {
		return nil, fmt.Errorf("the issuer %q is not UTF-8", o.Issuer)
	}
	if o.Pair == nil || o.Pair.Signer == nil || len(o.Pair.Chain) == 0 {
		return nil, errors.New("the issuer has no signing pair")
	}
	mode, err := ParseX5CMode(string(o.X5C))
	if err != nil {
		return nil, err
	}
	o.X5C = mode
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	i := &Issuer{opts: o}
	i.from, i.to = o.Pair.Window()
	pub := o.Pair.Public()
	if i.alg, err = keys.Algorithm(pub); err != nil {
		return nil, err
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		i.hash = crypto.SHA256
	case *ecdsa.PublicKey:
		i.half = (k.Params().BitSize + 7) / 8
		i.hash = map[string]crypto.Hash{"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512}[i.alg]
	}
	id := keys.Thumbprint
	if o.LegacyKeyID {
		id = keys.LibtrustID
	}
	if i.kid, err = id(pub); err != nil {
		return nil, err
	}
	chain := make([][]byte, len(o.Pair.Chain)) // []byte is standard base64 in JSON, as x5c wants it
	for n, c := range o.Pair.Chain {
		chain[n] = c.Raw
	}
	if i.bare, err = encodeHeader(i.alg, i.kid, nil); err != nil {
		return nil, err
	}
	if i.full, err = encodeHeader(i.alg, i.kid, chain); err != nil {
		return nil, err
	}
	return i, nil
}

func encodeHeader(alg, kid string, chain [][]byte) (string, error) {
	data, err := json.Marshal(struct {
		Typ string   `json:"typ"`
		Alg string   `json:"alg"`
		Kid string   `json:"kid"`
		X5C [][]byte `json:"x5c,omitempty"`
	}{"JWT", alg, kid, chain})
	if err != nil {
		return "", fmt.Errorf("encode token header: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(data) + ".", nil
}

// KeyID returns what kid will be.
func (i *Issuer) KeyID() string { return i.kid }

// Algorithm returns what alg will be.
func (i *Issuer) Algorithm() string { return i.alg }

// Warnings returns what is wrong with the tokens that would be issued now, each with its
// consequence; nil when nothing is.
func (i *Issuer) Warnings() []string {
	var all []string
	now := i.opts.Now()
	if w := i.dateWarning(now); w != "" {
		all = append(all, w)
	}
	if !i.withChain(now) && i.half > 0 {
		all = append(all, fmt.Sprintf("tokens of an ECDSA key without x5c: a registry older than 3.1 goes by the kid %q alone, and may refuse it", i.kid))
	}
	return all
}

// dateWarning says what an out of date chain means in the issuer's mode.
func (i *Issuer) dateWarning(now time.Time) string {
	if i.opts.X5C == X5CNever {
		return ""
	}
	err := i.opts.Pair.CheckDates(now)
	if err == nil {
		return ""
	}
	if i.opts.X5C == X5CAlways {
		return fmt.Sprintf("%v: registries refuse every token that carries it (x5c: always)", err)
	}
	return fmt.Sprintf("%v: tokens go without it (x5c: auto), and registries that do not know the key id %q refuse them; make a new certificate", err, i.kid)
}

// CarriesChain reports whether a token that is issued at this time carries the certificate chain.
func (i *Issuer) CarriesChain(at time.Time) bool { return i.withChain(at) }

func (i *Issuer) withChain(now time.Time) bool {
	switch i.opts.X5C {
	case X5CAlways:
		return true
	case X5CNever:
		return false
	}
	return !now.Before(i.from) && !now.After(i.to)
}

// Request is what a token is asked for.
type Request struct {
	Subject  string // the account; "" for anonymous
	Audience string // the service
	// Access is what was granted; nil is no access. Actions are sorted, and taken once, in the
	// token; the argument is left as it is.
	Access []Access
	// Lifetime is cut to whole seconds; MinLifetime to MaxLifetime.
	Lifetime time.Duration
}

// Token is a signed token.
type Token struct {
	Raw      string
	ID       string    // jti
	IssuedAt time.Time // whole seconds, UTC
	Expires  time.Time // likewise
}

type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	ID        string   `json:"jti"`
	Access    []Access `json:"access"`
}

// Issue signs a token. It fails when the lifetime is out of bounds, when a text is not UTF-8 (JSON
// would replace the bytes, and two accounts could become one), and when the key can't sign.
func (i *Issuer) Issue(r Request) (Token, error) {
	if r.Lifetime < MinLifetime || r.Lifetime > MaxLifetime {
		return Token{}, fmt.Errorf("token lifetime %v is not between %v and ten years", r.Lifetime, MinLifetime)
	}
	for _, s := range []string{r.Subject, r.Audience} {
		if !utf8.ValidString(s) {
			return Token{}, fmt.Errorf("%q is not UTF-8", s)
		}
	}
	access := make([]Access, len(r.Access))
	for n, a := range r.Access {
		if !utf8.ValidString(a.Type) || !utf8.ValidString(a.Name) {
			return Token{}, fmt.Errorf("resource %q %q is not UTF-8", a.Type, a.Name)
		}
		for _, action := range a.Actions {
			if !utf8.ValidString(action) {
				return Token{}, fmt.Errorf("action %q is not UTF-8", action)
			}
		}
		a.Actions = sorted(a.Actions)
		access[n] = a
	}
	id, err := i.newID()
	if err != nil {
		return Token{}, err
	}
	precise := i.opts.Now()
	now := precise.UTC().Truncate(time.Second)
	t := Token{ID: id, IssuedAt: now, Expires: now.Add(r.Lifetime.Truncate(time.Second))}
	payload, err := json.Marshal(claims{
		Issuer: i.opts.Issuer, Subject: r.Subject, Audience: r.Audience,
		Expires: t.Expires.Unix(), NotBefore: now.Add(-backdate).Unix(), IssuedAt: now.Unix(),
		ID: id, Access: access,
	})
	if err != nil {
		return Token{}, fmt.Errorf("encode token: %w", err)
	}
	header := i.bare
	if i.withChain(precise) {
		header = i.full
	}
	i.warn(precise)

	enc := base64.RawURLEncoding
	raw := make([]byte, 0, len(header)+enc.EncodedLen(len(payload))+1+enc.EncodedLen(512))
	raw = append(raw, header...)
	raw = enc.AppendEncode(raw, payload)
	sig, err := i.sign(raw)
	if err != nil {
		return Token{}, err
	}
	raw = append(raw, '.')
	raw = enc.AppendEncode(raw, sig)
	t.Raw = string(raw)
	return t, nil
}

// sorted returns the actions sorted, each once, and never nil: null is not a list to registries.
func sorted(actions []string) []string {
	strict := true
	for n := 1; n < len(actions); n++ {
		if actions[n-1] >= actions[n] {
			strict = false
		}
	}
	if strict && actions != nil {
		return actions
	}
	out := append(make([]string, 0, len(actions)), actions...)
	slices.Sort(out)
	return slices.Compact(out)
}

func (i *Issuer) newID() (string, error) {
	var b [idBytes]byte
	i.randMu.Lock()
	_, err := io.ReadFull(i.opts.Rand, b[:])
	i.randMu.Unlock()
	if err != nil {
		return "", fmt.Errorf("make a token id: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// warn tells Options.Warn when the chain's state has changed since the last token.
func (i *Issuer) warn(now time.Time) {
	if i.opts.Warn == nil {
		return
	}
	w := i.dateWarning(now)
	i.warnMu.Lock()
	changed := w != i.warned
	i.warned = w
	i.warnMu.Unlock()
	if changed {
		i.opts.Warn(w)
	}
}

// sign returns the JWS signature of the text: PKCS #1 v1.5 for RSA, the two numbers side by side for
// ECDSA (RFC 7518 sections 3.3 and 3.4).
func (i *Issuer) sign(text []byte) ([]byte, error) {
	h := i.hash.New()
	h.Write(text)
	sig, err := i.opts.Pair.Signer.Sign(rand.Reader, h.Sum(nil), i.hash)
	if err != nil {
		return nil, fmt.Errorf("sign token: %w", err)
	}
	if i.half == 0 {
		return sig, nil
	}
	// crypto.Signer gives SEQUENCE{INTEGER, INTEGER}, whose numbers have no fixed length.
	out := make([]byte, 2*i.half)
	var r, s []byte
	input := cryptobyte.String(sig)
	var inner cryptobyte.String
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() ||
		len(r) > i.half || len(s) > i.half {
		return nil, errors.New("sign token: the key gave no ECDSA signature")
	}
	copy(out[i.half-len(r):i.half], r)
	copy(out[2*i.half-len(s):], s)
	return out, nil
}

// Chain returns the certificates that x5c holds, leaf first.
func (i *Issuer) Chain() []*x509.Certificate { return slices.Clone(i.opts.Pair.Chain) }
