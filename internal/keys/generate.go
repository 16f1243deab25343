package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Type is a kind and size of key.
type Type string

// The types that can be generated. RSA4096 is the default: every registry accepts it under some key
// id. ECDSA keys need tokens with x5c for registry 2.8 and 3.0, and docker_auth can't use them with
// its RFC 7638 ids at all.
const (
	RSA2048   Type = "rsa-2048"
	RSA3072   Type = "rsa-3072"
	RSA4096   Type = "rsa-4096"
	ECDSAP256 Type = "ecdsa-p256"

	DefaultType = RSA4096
)

// Types returns the types that can be generated, in the order in which help texts list them.
func Types() []Type { return []Type{RSA4096, RSA3072, RSA2048, ECDSAP256} }

// ParseType reads a type as flags and answers give it. "" is DefaultType.
func ParseType(s string) (Type, error) {
	if s == "" {
		return DefaultType, nil
	}
	t := Type(strings.ToLower(s))
	if !slices.Contains(Types(), t) {
		all := make([]string, 0, 4)
		for _, t := range Types() {
			all = append(all, string(t))
		}
		return "", fmt.Errorf("unknown key type %q: want one of %s", s, strings.Join(all, ", "))
	}
	return t, nil
}

const (
	// backdate lets hosts whose clocks lag use a certificate at once.
	backdate = 24 * time.Hour
	// lifeYears of a self-signed certificate. An expired one goes on working by key id alone,
	// but a date that nobody has to think of is better.
	lifeYears = 20

	defaultName = "regctl-setup token signing"
	// maxName is the bound of X.520 for a common name, in characters.
	maxName = 64
)

// Options of Generate and GenerateCA.
type Options struct {
	// Rand is where serial numbers come from. Default: crypto/rand. Keys and signatures always
	// come from the system's generator: Go's crypto packages take no other.
	Rand io.Reader
	// Now is the clock for the certificate's dates. Default: time.Now.
	Now func() time.Time
	// CommonName is the certificate's subject; it has no meaning to registries. Longer than 64
	// characters it is cut.
	CommonName string
}

func (o *Options) fill() {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CommonName == "" {
		o.CommonName = defaultName
	}
	if r := []rune(o.CommonName); len(r) > maxName {
		o.CommonName = string(r[:maxName])
	}
}

// Pair is a signing key and its certificate.
type Pair struct {
	Signer crypto.Signer
	Chain  []*x509.Certificate // leaf first; never empty; the leaf's key is the signer's
}

// Leaf returns the certificate of the signing key.
func (p *Pair) Leaf() *x509.Certificate { return p.Chain[0] }

// Public returns the public key.
func (p *Pair) Public() crypto.PublicKey { return p.Signer.Public() }

// KeyPEM returns the private key as PKCS #8 PEM ("BEGIN PRIVATE KEY"), which OpenSSL, docker_auth
// and every Go program read. It is empty for a signer that does not show its key.
func (p *Pair) KeyPEM() secret.Text {
	der, err := x509.MarshalPKCS8PrivateKey(p.Signer)
	if err != nil {
		return secret.Text{}
	}
	return secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// CertPEM returns the chain as PEM, leaf first.
func (p *Pair) CertPEM() []byte { return Bundle(p.Chain...) }

// Generate makes a key and a self-signed certificate for it: valid from a day ago for 20 years, key
// usage digital signature, and no authority. An RSA key of 4096 bits takes seconds on a slow machine.
func Generate(t Type, o Options) (*Pair, error) {
	o.fill()
	key, err := generateKey(t)
	if err != nil {
		return nil, err
	}
	now := o.Now().UTC().Truncate(time.Second)
	tmpl, err := template(o, now.Add(-backdate), now.AddDate(lifeYears, 0, 0))
	if err != nil {
		return nil, err
	}
	cert, err := sign(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Pair{Signer: key, Chain: []*x509.Certificate{cert}}, nil
}

func generateKey(t Type) (crypto.Signer, error) {
	var (
		key crypto.Signer
		err error
	)
	switch t {
	case RSA2048:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		key, err = rsa.GenerateKey(rand.Reader, 4096)
	case ECDSAP256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("unknown key type %q", t)
	}
	if err != nil {
		return nil, fmt.Errorf("generate %s key: %w", t, err)
	}
	return key, nil
}

func template(o Options, from, to time.Time) (*x509.Certificate, error) {
	// 127 bits, positive and not zero; RFC 5280 allows 20 bytes.
	serial := make([]byte, 16)
	if _, err := io.ReadFull(o.Rand, serial); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	serial[0] = serial[0]&0x7f | 0x40
	return &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: o.CommonName},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}, nil
}

func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// CA is a root that issues signing certificates. With its certificate in the registry's bundle, the
// signing key can change without a change there, as long as tokens carry x5c.
type CA struct {
	Pair *Pair
	opts Options
}

// GenerateCA makes a root: valid from a day ago for 20 years, key usage certificate signing, path
// length zero.
func GenerateCA(t Type, o Options) (*CA, error) {
	o.fill()
	key, err := generateKey(t)
	if err != nil {
		return nil, err
	}
	now := o.Now().UTC().Truncate(time.Second)
	tmpl, err := template(o, now.Add(-backdate), now.AddDate(lifeYears, 0, 0))
	if err != nil {
		return nil, err
	}
	tmpl.IsCA, tmpl.MaxPathLenZero = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	cert, err := sign(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &CA{Pair: &Pair{Signer: key, Chain: []*x509.Certificate{cert}}, opts: o}, nil
}

// NewCA uses a pair that was read from disk as a root.
func NewCA(p *Pair, o Options) (*CA, error) {
	o.fill()
	if !p.Leaf().IsCA || p.Leaf().KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("the certificate is not one of a certification authority")
	}
	return &CA{Pair: p, opts: o}, nil
}

// IssueLeaf makes a signing key and its certificate, which ends with the root's at the latest. The
// chain is leaf, root.
func (c *CA) IssueLeaf(t Type, lifetime time.Duration) (*Pair, error) {
	if lifetime <= 0 {
		return nil, fmt.Errorf("lifetime %v is not positive", lifetime)
	}
	root := c.Pair.Leaf()
	now := c.opts.Now().UTC().Truncate(time.Second)
	if !now.Before(root.NotAfter) {
		return nil, fmt.Errorf("the root has expired on %s", root.NotAfter.Format(time.RFC3339))
	}
	key, err := generateKey(t)
	if err != nil {
		return nil, err
	}
	from, to := now.Add(-backdate), now.Add(lifetime)
	if from.Before(root.NotBefore) {
		from = root.NotBefore
	}
	if to.After(root.NotAfter) {
		to = root.NotAfter
	}
	o := c.opts
	tmpl, err := template(o, from, to)
	if err != nil {
		return nil, err
	}
	// A name of its own: with the root's, a verifier takes the leaf for self-issued.
	name := []rune(o.CommonName)
	const suffix = " leaf"
	tmpl.Subject.CommonName = string(name[:min(len(name), maxName-len(suffix))]) + suffix
	cert, err := sign(tmpl, root, key.Public(), c.Pair.Signer)
	if err != nil {
		return nil, err
	}
	return &Pair{Signer: key, Chain: append([]*x509.Certificate{cert}, c.Pair.Chain...)}, nil
}
