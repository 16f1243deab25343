package token_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	access := []token.Access{{Type: "repository", Name: "a/b", Actions: []string{"pull", "push"}}, {Type: "registry", Name: "catalog", Actions: []string{}}}
	i := newIssuer(t, token.Options{LegacyKeyID: true})
	tok := issue(t, i, token.Request{Subject: "alice", Audience: testService, Access: access})
	for _, raw := range []string{tok.Raw, " \n" + tok.Raw + "\n", "Bearer " + tok.Raw, "bearer  " + tok.Raw} {
		h, c, err := token.Inspect(raw)
		if err != nil {
			t.Fatal(err)
		}
		if h.Type != "JWT" || h.Algorithm != "ES256" || h.KeyID != i.KeyID() || len(h.X5C) != 1 || !h.X5C[0].Equal(i.Chain()[0]) || h.HasJWK {
			t.Errorf("header %+v", h)
		}
		if c.Issuer != testIssuer || c.Subject != "alice" || c.AudienceIsList || !c.Expires.Equal(tok.Expires) || !c.IssuedAt.Equal(tok.IssuedAt) ||
			!c.NotBefore.Equal(tok.IssuedAt.Add(-10*time.Second)) || c.ID != tok.ID {
			t.Errorf("claims %+v", c)
		}
		if diff := cmp.Diff([]string{testService}, c.Audience); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(access, c.Access); diff != "" {
			t.Error(diff)
		}
	}
}

// made returns an unsigned token of these parts.
func made(header, claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(header)) + "." + enc([]byte(claims)) + "." + enc([]byte("signature"))
}

func TestInspectForeign(t *testing.T) {
	t.Parallel()
	h, c, err := token.Inspect(made(`{"alg":"HS256","jwk":{"kty":"oct"}}`, `{"aud":["a","b"],"exp":1.5e9,"other":[1]}`))
	if err != nil {
		t.Fatal(err)
	}
	if !h.HasJWK || h.Type != "" || h.X5C != nil {
		t.Errorf("header %+v", h)
	}
	if !c.AudienceIsList || strings.Join(c.Audience, " ") != "a b" || c.Expires.Unix() != 1.5e9 || !c.NotBefore.IsZero() || c.Access != nil {
		t.Errorf("claims %+v", c)
	}
	for name, tt := range map[string]struct{ raw, want string }{
		"empty":           {"", "1 parts, want 3"},
		"two parts":       {"a.b", "2 parts"},
		"encrypted":       {"a.b.c.d.e", "5 parts"},
		"dots":            {strings.Repeat(".", 1<<19), "parts, want 3"},
		"too long":        {strings.Repeat("a", 1<<20+1), "over the limit"},
		"header base64":   {"%.e30.e30", "token header: not base64url"},
		"padded":          {"e30=.e30.e30", "token header: not base64url"},
		"header JSON":     {made(`[]`, `{}`), "token header: not a JSON object"},
		"claims JSON":     {made(`{}`, `"x"`), "token claims: not a JSON object"},
		"claims cut":      {made(`{}`, `{"iss":`), "token claims"},
		"signature":       {"e30.e30.%", "token signature"},
		"trailing bits":   {"e30.e31.", "token claims: not base64url"},
		"aud":             {made(`{}`, `{"aud":5}`), "aud is neither"},
		"aud mixed":       {made(`{}`, `{"aud":["a",5]}`), "aud is neither"},
		"exp text":        {made(`{}`, `{"exp":"tomorrow"}`), "token claims"},
		"exp huge":        {made(`{}`, `{"exp":1e300}`), "exp is not a time"},
		"nbf beyond":      {made(`{}`, `{"nbf":1e999}`), "nbf is not a time"},
		"x5c":             {made(`{"x5c":["AAAA"]}`, `{}`), "x5c, certificate 1"},
		"x5c no base64":   {made(`{"x5c":["*"]}`, `{}`), "token header"},
		"x5c of too many": {made(`{"x5c":[`+strings.Repeat(`"",`, 10)+`""]}`, `{}`), "11 certificates"},
	} {
		if _, _, err := token.Inspect(tt.raw); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	rsaPair, ecPair := pair(t, keys.RSA2048), pair(t, keys.ECDSAP256)
	now := time.Now()
	clock := func() time.Time { return now }
	set, err := keys.JWKS(rsaPair.Public())
	if err != nil {
		t.Fatal(err)
	}
	byID, err := keys.ParseJWKS(set)
	if err != nil {
		t.Fatal(err)
	}
	roots := token.KeySet{Roots: []*x509.Certificate{rsaPair.Leaf()}}
	mint := func(p *keys.Pair, legacy bool, mode token.X5CMode) string {
		return issue(t, newIssuer(t, token.Options{Pair: p, LegacyKeyID: legacy, X5C: mode, Now: clock}), token.Request{Subject: "a", Audience: testService, Lifetime: time.Minute}).Raw
	}
	good := mint(rsaPair, true, token.X5CAuto)
	bad := func(n int) string { // with a bit of part n changed
		parts := strings.Split(good, ".")
		b := []byte(parts[n])
		if b[40] != 'A' {
			b[40] = 'A'
		} else {
			b[40] = 'B'
		}
		parts[n] = string(b)
		return strings.Join(parts, ".")
	}
	expired := now.Add(time.Minute + 30*time.Second)
	_, to := rsaPair.Window()
	all := []error{token.ErrSignature, token.ErrUnknownKey, token.ErrCertificate, token.ErrAlgorithm, token.ErrExpired, token.ErrNotYet, token.ErrIssuer, token.ErrAudience}
	for _, tt := range []struct {
		name string
		raw  string
		o    token.VerifyOptions
		want []error
	}{
		{"x5c", good, token.VerifyOptions{Keys: roots, Issuer: testIssuer, Audience: testService}, nil},
		{"thumbprint of a root", mint(rsaPair, false, token.X5CNever), token.VerifyOptions{Keys: roots}, nil},
		{"libtrust id of a root", mint(rsaPair, true, token.X5CNever), token.VerifyOptions{Keys: roots}, nil},
		{"thumbprint in the set", mint(rsaPair, false, token.X5CNever), token.VerifyOptions{Keys: token.KeySet{ByID: byID}}, nil},
		{"libtrust id in the set", mint(rsaPair, true, token.X5CNever), token.VerifyOptions{Keys: token.KeySet{ByID: byID}}, nil},
		{"x5c without roots", good, token.VerifyOptions{Keys: token.KeySet{ByID: byID}}, []error{token.ErrCertificate}},
		{"another root", mint(ecPair, true, token.X5CAuto), token.VerifyOptions{Keys: roots}, []error{token.ErrCertificate}},
		{"another key", mint(ecPair, true, token.X5CNever), token.VerifyOptions{Keys: roots}, []error{token.ErrUnknownKey}},
		{"signature changed", bad(2), token.VerifyOptions{Keys: roots}, []error{token.ErrSignature}},
		{"expired", good, token.VerifyOptions{Keys: roots, Now: expired}, []error{token.ErrExpired}},
		{"expired within the leeway", good, token.VerifyOptions{Keys: roots, Now: expired, Leeway: token.Leeway}, nil},
		{"not yet", good, token.VerifyOptions{Keys: roots, Now: now.Add(-12 * time.Second)}, []error{token.ErrNotYet}},
		{"not yet within the leeway", good, token.VerifyOptions{Keys: roots, Now: now.Add(-12 * time.Second), Leeway: token.Leeway}, nil},
		{"issuer and audience", good, token.VerifyOptions{Keys: roots, Issuer: "x", Audience: "y"}, []error{token.ErrIssuer, token.ErrAudience}},
		{"everything", mint(ecPair, true, token.X5CNever), token.VerifyOptions{Keys: roots, Issuer: "x", Audience: "y", Now: expired}, []error{token.ErrUnknownKey, token.ErrIssuer, token.ErrAudience, token.ErrExpired}},
		{"certificate out of date", good, token.VerifyOptions{Keys: roots, Now: to.Add(time.Hour)}, []error{token.ErrCertificate, token.ErrExpired}},
	} {
		h, c, err := token.Verify(tt.raw, tt.o)
		for _, kind := range all {
			want := slices.Contains(tt.want, kind)
			if errors.Is(err, kind) != want {
				t.Errorf("%s: %v: is %q %v, want %v", tt.name, err, kind, !want, want)
			}
		}
		if len(tt.want) == 0 && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if h.Algorithm == "" || c.Subject != "a" {
			t.Errorf("%s: header and claims did not come back", tt.name)
		}
	}
	if _, _, err := token.Verify("nonsense", token.VerifyOptions{}); err == nil {
		t.Error("nonsense is verified")
	}
}

// TestVerifyAlgorithmTricks: the key decides what a signature is, not the token.
func TestVerifyAlgorithmTricks(t *testing.T) {
	t.Parallel()
	p := pair(t, keys.RSA2048)
	kid, err := keys.LibtrustID(p.Public())
	if err != nil {
		t.Fatal(err)
	}
	trusted := token.VerifyOptions{Keys: token.KeySet{ByID: map[string]crypto.PublicKey{kid: p.Public()}}}
	const claims = `{"exp":99999999999}`
	none := made(`{"alg":"none","kid":"`+kid+`"}`, claims)
	if _, _, err := token.Verify(none[:strings.LastIndex(none, ".")+1], trusted); !errors.Is(err, token.ErrAlgorithm) {
		t.Errorf("none: %v", err)
	}
	// The public key's text as an HMAC key.
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: x509.MarshalPKCS1PublicKey(p.Public().(*rsa.PublicKey))},
		(&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := token.Verify(raw, trusted); !errors.Is(err, token.ErrAlgorithm) {
		t.Errorf("HS256: %v", err)
	}
	// An algorithm of another kind of key.
	if _, _, err := token.Verify(made(`{"alg":"ES256","kid":"`+kid+`"}`, claims), trusted); !errors.Is(err, token.ErrSignature) {
		t.Errorf("ES256 with an RSA key: %v", err)
	}
	// A key that the token brings along.
	signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: pair(t, keys.ECDSAP256).Signer, KeyID: kid}},
		&jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	if jws, err = signer.Sign([]byte(claims)); err != nil {
		t.Fatal(err)
	}
	if raw, err = jws.CompactSerialize(); err != nil {
		t.Fatal(err)
	}
	h, _, err := token.Verify(raw, trusted)
	if err == nil || !h.HasJWK {
		t.Errorf("jwk: %v, %+v", err, h)
	}
}

func FuzzInspect(f *testing.F) {
	i := newIssuer(f, token.Options{})
	f.Add(issue(f, i, token.Request{Subject: "a", Audience: "b", Access: []token.Access{{Type: "t", Name: "n", Actions: []string{"x"}}}}).Raw)
	f.Add(made(`{"alg":"none"}`, `{"aud":["a"],"exp":-1}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		h, c, err := token.Inspect(raw)
		if err != nil {
			return
		}
		if h.JSON == nil || c.JSON == nil || len(h.X5C) > 10 {
			t.Fatalf("header %+v, claims %+v", h, c)
		}
		h2, c2, err := token.Inspect(" " + strings.TrimSpace(raw) + "\n")
		if err != nil || !reflect.DeepEqual(h, h2) || !reflect.DeepEqual(c, c2) {
			t.Fatalf("not the same again: %v", err)
		}
		// Nothing that is not signed by a trusted key is ever verified.
		if _, _, err := token.Verify(raw, token.VerifyOptions{}); err == nil {
			t.Fatal("verified without a trusted key")
		}
	})
}
