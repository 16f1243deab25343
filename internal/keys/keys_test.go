package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regctl-setup/regctl-setup/internal/keys"
)

var testNow = time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)

func clock() time.Time { return testNow }

// shared returns one pair of the type for all tests that only read it: RSA keys take a while.
func shared(t testing.TB, typ keys.Type) *keys.Pair {
	t.Helper()
	p, err := pairs[typ]()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var pairs = func() map[keys.Type]func() (*keys.Pair, error) {
	m := map[keys.Type]func() (*keys.Pair, error){}
	for _, typ := range keys.Types() {
		m[typ] = sync.OnceValues(func() (*keys.Pair, error) {
			return keys.Generate(typ, keys.Options{Now: clock, CommonName: "registry.example.com"})
		})
	}
	return m
}()

func write(t *testing.T, name string, data []byte, mode fs.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func writePair(t *testing.T, p *keys.Pair) (key, cert string) {
	t.Helper()
	return write(t, "server.key", []byte(p.KeyPEM().Reveal()), 0o600), write(t, "server.pem", p.CertPEM(), 0o644)
}

func TestParseType(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]keys.Type{"": keys.RSA4096, "rsa-2048": keys.RSA2048, "RSA-3072": keys.RSA3072, "ecdsa-p256": keys.ECDSAP256} {
		if got, err := keys.ParseType(in); err != nil || got != want {
			t.Errorf("ParseType(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"rsa", "rsa-1024", "ed25519", "rsa-2048 "} {
		_, err := keys.ParseType(in)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", in)) || !strings.Contains(err.Error(), "rsa-4096, rsa-3072, rsa-2048, ecdsa-p256") {
			t.Errorf("ParseType(%q): error %v", in, err)
		}
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	for typ, want := range map[keys.Type]string{
		keys.RSA2048: "RSA 2048 bits", keys.RSA3072: "RSA 3072 bits", keys.RSA4096: "RSA 4096 bits", keys.ECDSAP256: "ECDSA P-256",
	} {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			if testing.Short() && typ == keys.RSA4096 {
				t.Skip("takes seconds")
			}
			p := shared(t, typ)
			if got := keys.Describe(p.Public()); got != want {
				t.Errorf("key is %s, want %s", got, want)
			}
			c := p.Leaf()
			if c.Subject.CommonName != "registry.example.com" || c.Issuer.String() != c.Subject.String() {
				t.Errorf("subject %v, issuer %v", c.Subject, c.Issuer)
			}
			if c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA || !c.BasicConstraintsValid {
				t.Errorf("key usage %v, CA %v", c.KeyUsage, c.IsCA)
			}
			if back, ahead := testNow.Sub(c.NotBefore), c.NotAfter.Sub(testNow); back < 24*time.Hour || back > 25*time.Hour || ahead < 10*365*24*time.Hour {
				t.Errorf("valid %v to %v at %v", c.NotBefore, c.NotAfter, testNow)
			}
			if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() != 127 {
				t.Errorf("serial number %v", c.SerialNumber)
			}
			if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
				t.Error(err)
			}
			// As registries verify it: its own root, whatever the purpose.
			roots := x509.NewCertPool()
			roots.AddCert(c)
			if _, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: testNow, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				t.Error(err)
			}
			// As docker_auth loads it.
			if _, err := tls.X509KeyPair(p.CertPEM(), []byte(p.KeyPEM().Reveal())); err != nil {
				t.Error(err)
			}
			key, cert := writePair(t, p)
			got, err := keys.LoadPair(key, cert, keys.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Leaf().Raw, c.Raw) || got.KeyPEM().Reveal() != p.KeyPEM().Reveal() {
				t.Error("LoadPair gave another pair")
			}
		})
	}
}

func TestGenerateTakesSerialsFromRand(t *testing.T) {
	t.Parallel()
	p, err := keys.Generate(keys.ECDSAP256, keys.Options{Rand: bytes.NewReader(make([]byte, 16)), CommonName: strings.Repeat("ü", 100)})
	if err != nil {
		t.Fatal(err)
	}
	if want := new(big.Int).Lsh(big.NewInt(0x40), 120); p.Leaf().SerialNumber.Cmp(want) != 0 {
		t.Errorf("serial number %x, want %x", p.Leaf().SerialNumber, want)
	}
	if got := p.Leaf().Subject.CommonName; got != strings.Repeat("ü", 64) {
		t.Errorf("common name %q", got)
	}
	if _, err := keys.Generate(keys.ECDSAP256, keys.Options{Rand: bytes.NewReader(nil)}); err == nil {
		t.Error("no error without randomness")
	}
	if _, err := keys.Generate("dsa", keys.Options{}); err == nil {
		t.Error("no error for an unknown type")
	}
}

// TestOpenSSLReadsThem checks the files with a second implementation, where there is one.
func TestOpenSSLReadsThem(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl")
	}
	for _, typ := range []keys.Type{keys.RSA2048, keys.ECDSAP256} {
		p := shared(t, typ)
		key, cert := writePair(t, p)
		run := func(args ...string) string {
			t.Helper()
			out, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("openssl %v: %v: %s", args, err, out)
			}
			return string(out)
		}
		run("pkey", "-in", key, "-check", "-noout")
		if got := run("pkey", "-in", key, "-pubout"); got != run("x509", "-in", cert, "-pubkey", "-noout") {
			t.Errorf("%s: keys differ", typ)
		}
		if got, want := run("x509", "-in", cert, "-fingerprint", "-sha256", "-noout"), keys.Fingerprint(p.Leaf()); !strings.HasSuffix(strings.TrimSpace(got), "="+want) {
			t.Errorf("%s: fingerprint %s, want %s", typ, got, want)
		}
	}
}

func publicKey(t *testing.T, text string) crypto.PublicKey {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// Two keys made once with openssl. The x of the second begins with a zero byte.
const (
	rsaPublic = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAiIw76xiB6Z8tSLlVlSoT
zwF1/NAx9EpcXVRPVRcP7XcjLlNdXD8oHV0nZp1BpvrCi2PLEpElsg8/+V/Nf0ZB
fGKMdEtGiF70dABOKuA7KV+ITqiQ2L+zoifBrAGpgFlPXweYQmmHZzgBdoxIcDgn
8uXPz2g2EZZqbYacYH3KrLW4U4mdZXTPqiQQnsaycubZl/gdr5fzTpMHlwTK4SHn
yOSWZbZQMOIYHbQ6EWGfyu0oTcG3r/r8paK/NloBjd5Kob/ITu2DsphBMxjNPYH2
lHiNmCRJDnG1iEN1H//a95ng2XXTC/AAW4eirkRQRYUIeBMLHa0pfGMC/S4YvToO
AwIDAQAB
-----END PUBLIC KEY-----
`
	ecPublic = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAPfyxz1LlfKv8Dh0DDDVCF+oIXFh
IKITEyMMY+CSBCMWdVncUKjOoqcTwPfBurwhJYMf5uKzoaSbVZ2fEb0W6A==
-----END PUBLIC KEY-----
`
)

// TestLibtrustID: values computed once with
//
//	openssl pkey -pubin -in key.pub -outform DER | openssl dgst -sha256 -binary | head -c 30 | base32 -w0 | fold -w4 | paste -sd:
func TestLibtrustID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		rsaPublic: "UCXZ:ZPEZ:JRMF:D6QT:DVS4:MOVF:D6RY:72R7:3FWW:C34G:SHDZ:YA5W",
		ecPublic:  "62V6:XMQS:HL7H:SBB4:H7UL:PAGV:ISOW:RTU2:TINJ:RJOA:CQSL:2MSZ",
	} {
		if got, err := keys.LibtrustID(publicKey(t, text)); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := keys.LibtrustID("no key"); err == nil {
		t.Error("no error for a string")
	}
}

// TestThumbprint: the first value is the example of RFC 7638 section 3.1. The others were computed once
// in Python from the output of "openssl rsa -pubin -noout -modulus", and from the last 64 bytes of
// "openssl ec -pubin -outform DER":
//
//	d = {"e": "AQAB", "kty": "RSA", "n": u(modulus)}  # or crv, kty, x, y; u is base64url without padding
//	u(hashlib.sha256(json.dumps(d, separators=(",", ":"), sort_keys=True).encode()).digest())
func TestThumbprint(t *testing.T) {
	t.Parallel()
	n, err := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	if err != nil {
		t.Fatal(err)
	}
	rfc := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	for _, tt := range []struct {
		pub  crypto.PublicKey
		want string
	}{
		{rfc, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{publicKey(t, rsaPublic), "MoI38r11UGMCVJgo2sIYjoyB8mPTZq0lmrXmDmcHcf8"},
		{publicKey(t, ecPublic), "qDBZP4yYbrmM8E0l_TbwHyXbtlWTkdknPpLHOPPnSHo"},
	} {
		if got, err := keys.Thumbprint(tt.pub); err != nil || got != tt.want {
			t.Errorf("got %q, %v, want %q", got, err, tt.want)
		}
	}
	if _, err := keys.Thumbprint(ed25519.PublicKey(make([]byte, 32))); err == nil {
		t.Error("no error for Ed25519")
	}
}

func TestAlgorithm(t *testing.T) {
	t.Parallel()
	for curve, want := range map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512", elliptic.P224(): ""} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keys.Algorithm(k.Public()); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", curve.Params().Name, got, err, want)
		}
	}
	if got, err := keys.Algorithm(publicKey(t, rsaPublic)); err != nil || got != "RS256" {
		t.Errorf("RSA: %q, %v", got, err)
	}
}

func TestJWKS(t *testing.T) {
	t.Parallel()
	r, e := publicKey(t, rsaPublic), publicKey(t, ecPublic)
	data, err := keys.JWKS(r, e, r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	n := base64.RawURLEncoding.EncodeToString(r.(*rsa.PublicKey).N.Bytes())
	rsaKey := func(kid string) map[string]string {
		return map[string]string{"kid": kid, "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": "AQAB"}
	}
	ecKey := func(kid string) map[string]string {
		return map[string]string{
			"kid": kid, "kty": "EC", "alg": "ES256", "use": "sig", "crv": "P-256",
			"x": "APfyxz1LlfKv8Dh0DDDVCF-oIXFhIKITEyMMY-CSBCM", "y": "FnVZ3FCozqKnE8D3wbq8ISWDH-bis6Gkm1WdnxG9Fug",
		}
	}
	want := []map[string]string{
		rsaKey("UCXZ:ZPEZ:JRMF:D6QT:DVS4:MOVF:D6RY:72R7:3FWW:C34G:SHDZ:YA5W"), rsaKey("MoI38r11UGMCVJgo2sIYjoyB8mPTZq0lmrXmDmcHcf8"),
		ecKey("62V6:XMQS:HL7H:SBB4:H7UL:PAGV:ISOW:RTU2:TINJ:RJOA:CQSL:2MSZ"), ecKey("qDBZP4yYbrmM8E0l_TbwHyXbtlWTkdknPpLHOPPnSHo"),
	}
	if diff := cmp.Diff(want, got.Keys); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	back, err := keys.ParseJWKS(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(back) != 4 {
		t.Errorf("%d ids", len(back))
	}
	for _, k := range want {
		pub := r
		if k["kty"] == "EC" {
			pub = e
		}
		if got, ok := back[k["kid"]].(interface{ Equal(crypto.PublicKey) bool }); !ok || !got.Equal(pub) {
			t.Errorf("%s: another key", k["kid"])
		}
	}
	if data, err := keys.JWKS(); err != nil || !bytes.Contains(data, []byte(`"keys": []`)) {
		t.Errorf("empty set: %s, %v", data, err)
	}
	if _, err := keys.JWKS(r, "no key"); err == nil {
		t.Error("no error for a string")
	}
}

func TestParseJWKSRefuses(t *testing.T) {
	t.Parallel()
	one := `"kty":"EC","crv":"P-256","x":"APfyxz1LlfKv8Dh0DDDVCF-oIXFhIKITEyMMY-CSBCM","y":"FnVZ3FCozqKnE8D3wbq8ISWDH-bis6Gkm1WdnxG9Fug"`
	other, err := keys.JWKS(shared(t, keys.ECDSAP256).Public())
	if err != nil {
		t.Fatal(err)
	}
	second := regexp.MustCompile(`"kid": "[^"]*"`).ReplaceAllString(string(other), `"kid": "a"`)
	inner := second[strings.Index(second, "[")+1 : strings.LastIndex(second, "]")]
	for name, tt := range map[string]struct{ text, want string }{
		"no JSON":      {`keys`, "parse key set"},
		"empty":        {`{"keys":[]}`, "no keys"},
		"other object": {`{}`, "no keys"},
		"no kid":       {`{"keys":[{` + one + `}]}`, "no kid"},
		"symmetric":    {`{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}`, "key 1 of the set"},
		"private":      {`{"keys":[{` + one + `,"kid":"a","d":"AQAB"}]}`, ""},
		"two for one":  {`{"keys":[{` + one + `,"kid":"a"},` + inner + `]}`, "two different keys"},
	} {
		if _, err := keys.ParseJWKS([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	a, b := shared(t, keys.RSA2048).Leaf(), shared(t, keys.ECDSAP256).Leaf()
	data := keys.Bundle(a, b, a)
	got, err := keys.ParseBundle(append([]byte("# a comment\n"), data...))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !got[0].Equal(a) || !got[1].Equal(b) {
		t.Errorf("got %d certificates", len(got))
	}
	for name, tt := range map[string]struct{ text, want string }{
		"empty":       {"", "no certificate"},
		"no PEM":      {"hello", "no certificate"},
		"broken":      {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "PEM block 1"},
		"private key": {string(data) + shared(t, keys.ECDSAP256).KeyPEM().Reveal(), "PEM block 3 is a private key"},
	} {
		if _, err := keys.ParseBundle([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	p := shared(t, keys.ECDSAP256)
	from, to := p.Window()
	for _, tt := range []struct {
		now  time.Time
		want string
	}{
		{testNow, ""}, {from, ""}, {to, ""},
		{from.Add(-time.Second), `certificate "registry.example.com" is not valid before 2026-03-03T05:06:07Z`},
		{to.Add(time.Second), `certificate "registry.example.com" has expired on 2046-03-04T05:06:07Z`},
	} {
		err := p.CheckDates(tt.now)
		var v *keys.ValidityError
		if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &v) || err.Error() != tt.want) {
			t.Errorf("at %v: %v, want %q", tt.now, err, tt.want)
		}
	}
	if got := p.ExpiresIn(to.Add(-time.Hour)); got != time.Hour {
		t.Errorf("ExpiresIn = %v, want 1h", got)
	}
	if got := p.ExpiresIn(to.Add(time.Hour)); got != -time.Hour {
		t.Errorf("ExpiresIn = %v, want -1h", got)
	}
}

func TestCA(t *testing.T) {
	t.Parallel()
	now := testNow
	ca, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{Now: func() time.Time { return now }, CommonName: "root"})
	if err != nil {
		t.Fatal(err)
	}
	root := ca.Pair.Leaf()
	if !root.IsCA || root.MaxPathLen != 0 || !root.MaxPathLenZero || root.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("root: CA %v, path length %d, usage %v", root.IsCA, root.MaxPathLen, root.KeyUsage)
	}
	verify := func(leaf *keys.Pair) error {
		roots, rest := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(root)
		for _, c := range leaf.Chain[1:] {
			rest.AddCert(c)
		}
		_, err := leaf.Leaf().Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	for _, typ := range []keys.Type{keys.ECDSAP256, keys.RSA2048} {
		leaf, err := ca.IssueLeaf(typ, 90*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(leaf); err != nil {
			t.Error(err)
		}
		if len(leaf.Chain) != 2 || !leaf.Chain[1].Equal(root) || leaf.Leaf().IsCA || leaf.Leaf().KeyUsage != x509.KeyUsageDigitalSignature {
			t.Errorf("chain of %d, CA %v, usage %v", len(leaf.Chain), leaf.Leaf().IsCA, leaf.Leaf().KeyUsage)
		}
		if got := leaf.ExpiresIn(now.Truncate(time.Second)); got != 90*24*time.Hour {
			t.Errorf("expires in %v", got)
		}
		// And through files, the root included.
		key, cert := writePair(t, leaf)
		if got, err := keys.LoadPair(key, cert, keys.LoadOptions{}); err != nil || len(got.Chain) != 2 {
			t.Errorf("LoadPair: %v, %v", got, err)
		}
	}
	long, err := ca.IssueLeaf(keys.ECDSAP256, 100*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !long.Leaf().NotAfter.Equal(root.NotAfter) || long.Leaf().NotBefore.Before(root.NotBefore) {
		t.Errorf("leaf outlives its root: %v to %v", long.Leaf().NotBefore, long.Leaf().NotAfter)
	}
	if _, err := ca.IssueLeaf(keys.ECDSAP256, 0); err == nil {
		t.Error("no error for a lifetime of 0")
	}
	key, cert := writePair(t, ca.Pair)
	loaded, err := keys.LoadPair(key, cert, keys.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := keys.NewCA(loaded, keys.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := again.IssueLeaf(keys.ECDSAP256, time.Hour); err != nil || verify(leaf) != nil {
		t.Errorf("root from disk: %v", err)
	}
	if _, err := keys.NewCA(shared(t, keys.ECDSAP256), keys.Options{}); err == nil {
		t.Error("a plain pair is taken for a root")
	}
	now = now.AddDate(21, 0, 0)
	if _, err := ca.IssueLeaf(keys.ECDSAP256, time.Hour); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired root: %v", err)
	}
}

func pemOf(t *testing.T, typ string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

// TestE3LoadPair: what must not sign is refused, with the path and what to do.
func TestE3LoadPair(t *testing.T) {
	t.Parallel()
	p, other := shared(t, keys.RSA2048), shared(t, keys.ECDSAP256)
	goodKey, goodCert := writePair(t, p)
	_, otherCert := writePair(t, other)
	key := func(data []byte) string { return write(t, "server.key", data, 0o600) }
	cert := func(data []byte) string { return write(t, "server.pem", data, 0o644) }
	ec := other.Signer.(*ecdsa.PrivateKey)
	ecDER, ecErr := x509.MarshalECPrivateKey(ec)
	// From openssl genrsa -traditional 1024: Go makes no such keys any more.
	smallKey := func() []byte {
		text, err := os.ReadFile(filepath.Join("testdata", "rsa-1024.key"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}()
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edDER, edErr := x509.MarshalPKCS8PrivateKey(edKey)
	k224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224DER, p224Err := x509.MarshalPKCS8PrivateKey(k224)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(p.Signer.(*rsa.PrivateKey))})
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}})
	missing := filepath.Join(t.TempDir(), "no", "server.key")
	dir := t.TempDir()

	tests := []struct {
		name      string
		key, cert string
		want      string // part of the error; "" for success
		hint      string
	}{
		{"good", goodKey, goodCert, "", ""},
		{"PKCS #1", key(pkcs1), goodCert, "", ""},
		{"SEC 1 with parameters", key(append(pemOf(t, "EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}, nil), pemOf(t, "EC PRIVATE KEY", ecDER, ecErr)...)), otherCert, "", ""},
		{"certificate before the key", key(append(p.CertPEM(), p.KeyPEM().Reveal()...)), goodCert, "", ""},
		{"key missing", missing, goodCert, "there is no such private key file", "keys generate"},
		{"certificate missing", goodKey, missing, "there is no such certificate file", "keys generate"},
		{"key is a directory", dir, goodCert, "it is a directory", ""},
		{"key empty", key(nil), goodCert, "no private key", "empty"},
		{"key is text", key([]byte("hello")), goodCert, "no private key", ""},
		{"key is DER", key(ecDER), goodCert, "no private key", "DER"},
		{"swapped", goodCert, goodKey, "open to everybody", ""},
		{"certificate is a key", goodKey, goodKey, "private key", "wrong order"},
		{"key is a certificate", write(t, "c", p.CertPEM(), 0o600), goodCert, "no private key", "wrong order"},
		{"encrypted PKCS #8", key(pemOf(t, "ENCRYPTED PRIVATE KEY", []byte{1}, nil)), goodCert, "encrypted", "openssl pkey"},
		{"encrypted PKCS #1", key(encrypted), goodCert, "encrypted", "openssl pkey"},
		{"OpenSSH", key(pemOf(t, "OPENSSH PRIVATE KEY", []byte{1}, nil)), goodCert, "OpenSSH", "ssh-keygen"},
		{"broken", key(pemOf(t, "PRIVATE KEY", []byte{1, 2}, nil)), goodCert, "can't read a private key", ""},
		{"RSA 1024", key(smallKey), goodCert, "1024 bits", "keys generate"},
		{"Ed25519", key(pemOf(t, "PRIVATE KEY", edDER, edErr)), goodCert, "Ed25519", "keys generate"},
		{"P-224", key(pemOf(t, "PRIVATE KEY", p224DER, p224Err)), goodCert, "P-224", "keys generate"},
		{"another key's certificate", goodKey, otherCert, "not one of the key", "keys verify"},
		{"not first in the file", goodKey, cert(keys.Bundle(other.Leaf(), p.Leaf())), "belongs to certificate 2", "first"},
		{"too long", key(make([]byte, 1<<20+1)), goodCert, "longer than", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS == "windows" && tt.name == "swapped" {
				t.Skip("modes")
			}
			got, err := keys.LoadPair(tt.key, tt.cert, keys.LoadOptions{})
			if tt.want == "" {
				if err != nil || got == nil {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			var e *keys.LoadError
			if !errors.As(err, &e) || !strings.Contains(e.Hint(), tt.hint) {
				t.Errorf("hint %q, want %q", e.Hint(), tt.hint)
			}
			if !strings.Contains(err.Error(), fmt.Sprintf("%q", e.Path)) {
				t.Errorf("error %q does not name %q", err, e.Path)
			}
			if strings.Contains(err.Error(), "PRIVATE KEY-----\nM") {
				t.Errorf("error shows the key: %v", err)
			}
		})
	}
	_, err = keys.LoadPair(missing, missing, keys.LoadOptions{})
	if err == nil || strings.Count(err.Error(), "there is no such") != 2 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("both missing: %v", err)
	}
	if _, err := keys.LoadKey(key(pemOf(t, "PRIVATE KEY", edDER, edErr)), keys.LoadOptions{TLS: true}); err != nil {
		t.Errorf("Ed25519 for TLS: %v", err)
	}
}

func TestE3ReadableKey(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing")
	}
	p := shared(t, keys.ECDSAP256)
	_, cert := writePair(t, p)
	for mode, want := range map[fs.FileMode]string{
		0o600: "", 0o400: "", 0o640: "open to its group (mode 0640)", 0o660: "open to its group", 0o620: "open to its group",
		0o644: "open to everybody (mode 0644)", 0o604: "open to everybody", 0o666: "open to everybody",
	} {
		key := write(t, "it's.key", []byte(p.KeyPEM().Reveal()), mode)
		_, err := keys.LoadPair(key, cert, keys.LoadOptions{})
		if want == "" {
			if err != nil {
				t.Errorf("mode %o: %v", mode, err)
			}
			continue
		}
		var e *keys.LoadError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("mode %o: error %v, want %q", mode, err, want)
			continue
		}
		if want := "chmod 600 '" + filepath.Dir(key) + `/it'\''s.key'`; e.Hint() != want {
			t.Errorf("hint %q, want %q", e.Hint(), want)
		}
		if _, err := keys.LoadPair(key, cert, keys.LoadOptions{AllowReadableKey: true}); err != nil {
			t.Errorf("mode %o allowed: %v", mode, err)
		}
	}
}

// TestModeIsThatOfTheOpenedFile: through a symbolic link, the link's own mode says nothing.
func TestModeIsThatOfTheOpenedFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing")
	}
	p := shared(t, keys.ECDSAP256)
	key, cert := writePair(t, p)
	link := filepath.Join(t.TempDir(), "link.key")
	if err := os.Symlink(key, link); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.LoadPair(link, cert, keys.LoadOptions{}); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.LoadPair(link, cert, keys.LoadOptions{}); err == nil {
		t.Error("a link hides the mode")
	}
}

func FuzzParseBundle(f *testing.F) {
	p, err := keys.Generate(keys.ECDSAP256, keys.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.CertPEM())
	f.Add([]byte("text\n" + string(p.CertPEM()) + p.KeyPEM().Reveal()))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := keys.ParseBundle(data)
		if err != nil {
			return
		}
		if len(certs) == 0 {
			t.Fatal("neither certificates nor an error")
		}
		again, err := keys.ParseBundle(keys.Bundle(certs...))
		if err != nil || len(again) > len(certs) || !again[0].Equal(certs[0]) {
			t.Fatalf("print and parse: %d of %d, %v", len(again), len(certs), err)
		}
	})
}

func FuzzParseJWKS(f *testing.F) {
	p, err := keys.Generate(keys.ECDSAP256, keys.Options{})
	if err != nil {
		f.Fatal(err)
	}
	set, err := keys.JWKS(p.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(set)
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		byID, err := keys.ParseJWKS(data)
		if err != nil {
			return
		}
		for id, pub := range byID {
			if id == "" || pub == nil {
				t.Fatalf("id %q, key %v", id, pub)
			}
		}
	})
}
