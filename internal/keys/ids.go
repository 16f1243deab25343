package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// LibtrustID returns the key id of docker/libtrust, as docker_auth and registry 2.8 compute it:
// the SHA-256 of the DER SubjectPublicKeyInfo, its first 30 bytes in base32, in 12 groups of four
// joined by ":".
func LibtrustID(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("key id: %w", err)
	}
	sum := sha256.Sum256(der)
	s := base32.StdEncoding.EncodeToString(sum[:30])
	groups := make([]string, 0, 12)
	for ; s != ""; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(groups, ":"), nil
}

// Thumbprint returns the RFC 7638 thumbprint of an RSA or ECDSA key: SHA-256, base64url without
// padding. Coordinates have the curve's full length, as RFC 7518 section 6.2.1.2 wants; registry 3
// drops their leading zero bytes and so computes another id for one such key in 128.
func Thumbprint(pub crypto.PublicKey) (string, error) {
	k, err := newJWK(pub)
	if err != nil {
		return "", err
	}
	// The required members alone, in the order of their names.
	var canonical []byte
	if k.Kty == "RSA" {
		canonical = fmt.Appendf(nil, `{"e":"%s","kty":"RSA","n":"%s"}`, k.E, k.N)
	} else {
		canonical = fmt.Appendf(nil, `{"crv":"%s","kty":"EC","x":"%s","y":"%s"}`, k.Crv, k.X, k.Y)
	}
	sum := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// Algorithm returns the JWS algorithm for a key: RS256 for RSA, ES256, ES384 or ES512 by curve.
func Algorithm(pub crypto.PublicKey) (string, error) {
	k, err := newJWK(pub)
	return k.Alg, err
}

type jwk struct {
	Kid string `json:"kid"`
	Kty string `json:"kty"`
	Alg string `json:"alg"`
	Use string `json:"use"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

func newJWK(pub crypto.PublicKey) (jwk, error) {
	enc := base64.RawURLEncoding.EncodeToString
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return jwk{
			Kty: "RSA", Alg: "RS256", Use: "sig",
			N: enc(k.N.Bytes()), E: enc(big.NewInt(int64(k.E)).Bytes()),
		}, nil
	case *ecdsa.PublicKey:
		name := k.Params().Name
		alg, ok := map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[name]
		if !ok {
			return jwk{}, fmt.Errorf("curve %s can't sign tokens", name)
		}
		point, err := k.Bytes() // 4, x, y
		if err != nil {
			return jwk{}, fmt.Errorf("key id: %w", err)
		}
		half := (len(point) - 1) / 2
		return jwk{
			Kty: "EC", Alg: alg, Use: "sig", Crv: name,
			X: enc(point[1 : 1+half]), Y: enc(point[1+half:]),
		}, nil
	}
	return jwk{}, fmt.Errorf("a key of type %T can't sign tokens for all registries", pub)
}

// JWKS returns the key set for the registry's "jwks" option: each key twice, under its libtrust id
// and its thumbprint. A key that is given twice is listed once.
func JWKS(pubs ...crypto.PublicKey) ([]byte, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	seen := map[string]bool{}
	for _, pub := range pubs {
		k, err := newJWK(pub)
		if err != nil {
			return nil, err
		}
		legacy, err := LibtrustID(pub)
		if err != nil {
			return nil, err
		}
		if seen[legacy] {
			continue
		}
		seen[legacy] = true
		thumb, err := Thumbprint(pub)
		if err != nil {
			return nil, err
		}
		for _, id := range []string{legacy, thumb} {
			k.Kid = id
			set.Keys = append(set.Keys, k)
		}
	}
	data, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// ParseJWKS returns the public keys of a key set by id. It refuses a set with private keys, without
// ids, or with one id for two keys.
func ParseJWKS(data []byte) (map[string]crypto.PublicKey, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("parse key set: %w", err)
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("the key set has no keys")
	}
	byID := map[string]crypto.PublicKey{}
	for i, k := range set.Keys {
		if !k.Valid() {
			return nil, fmt.Errorf("key %d of the set is not valid", i+1)
		}
		if !k.IsPublic() {
			return nil, fmt.Errorf("key %d of the set (%q) is not a public key", i+1, k.KeyID)
		}
		if k.KeyID == "" {
			return nil, fmt.Errorf("key %d of the set has no kid", i+1)
		}
		if old, ok := byID[k.KeyID]; ok && !equalKeys(old, k.Key) {
			return nil, fmt.Errorf("the set has two different keys with the id %q", k.KeyID)
		}
		byID[k.KeyID] = k.Key
	}
	return byID, nil
}

func equalKeys(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Bundle returns the certificates as PEM, each once, in the order given.
func Bundle(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, c := range certs {
		if seen[string(c.Raw)] {
			continue
		}
		seen[string(c.Raw)] = true
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes everything
	}
	return out.Bytes()
}

// ParseBundle returns the certificates of a PEM file. Text between blocks and blocks of other types
// are skipped, as registries do; a private key in the file is an error, and so is a file without
// any certificate.
func ParseBundle(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for n := 1; ; n++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("PEM block %d is a private key: it does not belong among certificates", n)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("there is no certificate in it (no \"-----BEGIN CERTIFICATE-----\")")
	}
	return certs, nil
}

// Fingerprint returns the SHA-256 of the certificate as OpenSSL prints it: upper-case hex pairs
// joined by ":".
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	h := strings.ToUpper(hex.EncodeToString(sum[:]))
	pairs := make([]string, 0, len(sum))
	for ; h != ""; h = h[2:] {
		pairs = append(pairs, h[:2])
	}
	return strings.Join(pairs, ":")
}

// TypeOf returns the type that Generate makes such a key of, or "" where there is none.
func TypeOf(pub crypto.PublicKey) Type {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if t := Type(fmt.Sprintf("rsa-%d", k.N.BitLen())); slices.Contains(Types(), t) {
			return t
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return ECDSAP256
		}
	}
	return ""
}

// Describe names a public key for people: "RSA 4096 bits", "ECDSA P-256".
func Describe(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	}
	return fmt.Sprintf("%T", pub)
}
