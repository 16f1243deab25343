package token_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

const (
	testIssuer  = "regctl-setup"
	testService = "registry.example.com"
)

// pairs are made once: RSA keys take a while.
var pairs = map[keys.Type]func() (*keys.Pair, error){
	keys.RSA2048:   sync.OnceValues(func() (*keys.Pair, error) { return keys.Generate(keys.RSA2048, keys.Options{}) }),
	keys.RSA4096:   sync.OnceValues(func() (*keys.Pair, error) { return keys.Generate(keys.RSA4096, keys.Options{}) }),
	keys.ECDSAP256: sync.OnceValues(func() (*keys.Pair, error) { return keys.Generate(keys.ECDSAP256, keys.Options{}) }),
}

func pair(t testing.TB, typ keys.Type) *keys.Pair {
	t.Helper()
	p, err := pairs[typ]()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newIssuer(t testing.TB, o token.Options) *token.Issuer {
	t.Helper()
	if o.Issuer == "" {
		o.Issuer = testIssuer
	}
	if o.Pair == nil {
		o.Pair = pair(t, keys.ECDSAP256)
	}
	i, err := token.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func issue(t testing.TB, i *token.Issuer, r token.Request) token.Token {
	t.Helper()
	if r.Lifetime == 0 {
		r.Lifetime = 15 * time.Minute
	}
	tok, err := i.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// part decodes a part of a token into v, strictly.
func part(t testing.TB, raw string, n int) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(parts[n])
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestClaimsAreExactlyTheContract(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 6, 7, 8, 9, 999_999_999, time.FixedZone("somewhere", 7200))
	p, err := keys.Generate(keys.ECDSAP256, keys.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	i := newIssuer(t, token.Options{Pair: p, Now: func() time.Time { return now }, Rand: bytes.NewReader([]byte("0123456789abcdefX"))})
	asked := []string{"push", "pull", "delete", "pull"}
	tok := issue(t, i, token.Request{
		Subject: "alice", Audience: testService, Lifetime: 900*time.Second + 999*time.Millisecond,
		Access: []token.Access{
			{Type: "repository", Name: "a/b", Actions: asked},
			{Type: "registry", Name: "catalog", Actions: nil},
			{Type: "repository", Name: "<&>\"\\é", Actions: []string{"*"}},
		},
	})
	iat := now.Unix()
	num := func(n int64) json.Number { return json.Number(fmt.Sprint(n)) }
	want := map[string]any{
		"iss": testIssuer, "sub": "alice", "aud": testService,
		"exp": num(iat + 900), "nbf": num(iat - 10), "iat": num(iat), "jti": "MDEyMzQ1Njc4OWFiY2RlZg",
		"access": []any{
			map[string]any{"type": "repository", "name": "a/b", "actions": []any{"delete", "pull", "push"}},
			map[string]any{"type": "registry", "name": "catalog", "actions": []any{}},
			map[string]any{"type": "repository", "name": "<&>\"\\é", "actions": []any{"*"}},
		},
	}
	if diff := cmp.Diff(want, part(t, tok.Raw, 1)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if tok.ID != "MDEyMzQ1Njc4OWFiY2RlZg" || tok.IssuedAt.Unix() != iat || tok.Expires.Unix() != iat+900 || tok.IssuedAt.Location() != time.UTC {
		t.Errorf("token says %+v", tok)
	}
	if got := strings.Join(asked, " "); got != "push pull delete pull" {
		t.Errorf("the caller's actions became %q", got)
	}
	// The last byte of randomness is left: not enough for another token.
	if _, err := i.Issue(token.Request{Lifetime: time.Minute}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without randomness: %v", err)
	}
}

func TestAnonymousWithoutScopes(t *testing.T) {
	t.Parallel()
	got := part(t, issue(t, newIssuer(t, token.Options{}), token.Request{}).Raw, 1)
	for name, want := range map[string]any{"sub": "", "aud": ""} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if list, ok := got["access"].([]any); !ok || len(list) != 0 {
		t.Errorf("access is %v, want []", got["access"])
	}
}

// TestE4HeaderCarriesNoKey: a header is exactly typ, alg, kid and x5c; never a "jwk", which
// some registries trusted by its id alone.
func TestE4HeaderCarriesNoKey(t *testing.T) {
	t.Parallel()
	ca, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.IssueLeaf(keys.ECDSAP256, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		pair *keys.Pair
		alg  string
	}{"rsa": {pair(t, keys.RSA2048), "RS256"}, "ec": {pair(t, keys.ECDSAP256), "ES256"}, "chain": {leaf, "ES256"}} {
		for _, legacy := range []bool{true, false} {
			for _, mode := range []token.X5CMode{"", token.X5CAuto, token.X5CAlways, token.X5CNever} {
				i := newIssuer(t, token.Options{Pair: tt.pair, LegacyKeyID: legacy, X5C: mode})
				got := part(t, issue(t, i, token.Request{}).Raw, 0)
				id := keys.Thumbprint
				if legacy {
					id = keys.LibtrustID
				}
				kid, err := id(tt.pair.Public())
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]any{"typ": "JWT", "alg": tt.alg, "kid": kid}
				if mode != token.X5CNever {
					var x5c []any
					for _, c := range tt.pair.Chain {
						x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Raw))
					}
					want["x5c"] = x5c
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, legacy %v, x5c %q: -want +got:\n%s", name, legacy, mode, diff)
				}
				if i.KeyID() != kid || i.Algorithm() != tt.alg || len(i.Chain()) != len(tt.pair.Chain) {
					t.Errorf("issuer says %q, %q", i.KeyID(), i.Algorithm())
				}
			}
		}
	}
}

// TestX5CFollowsTheClock: auto decides when a token is issued, not when the issuer is made.
func TestX5CFollowsTheClock(t *testing.T) {
	t.Parallel()
	p := pair(t, keys.ECDSAP256)
	from, to := p.Window()
	now := from
	var told []string
	clock := func() time.Time { return now }
	auto := newIssuer(t, token.Options{Pair: p, Now: clock, Warn: func(w string) { told = append(told, w) }})
	always := newIssuer(t, token.Options{Pair: p, Now: clock, X5C: token.X5CAlways})
	never := newIssuer(t, token.Options{Pair: p, Now: clock, X5C: token.X5CNever})
	for _, tt := range []struct {
		now  time.Time
		x5c  bool
		warn string
		told int
	}{
		{from, true, "", 0},
		{to, true, "", 0},
		{to.Add(time.Second), false, "has expired on", 1},
		{to.Add(time.Hour), false, "has expired on", 1},
		{from.Add(-time.Second), false, "is not valid before", 2},
		{from.Add(time.Hour), true, "", 3},
		{from.Add(2 * time.Hour), true, "", 3},
	} {
		now = tt.now
		if _, got := part(t, issue(t, auto, token.Request{}).Raw, 0)["x5c"]; got != tt.x5c {
			t.Errorf("auto at %v: x5c %v, want %v", now, got, tt.x5c)
		}
		if _, got := part(t, issue(t, always, token.Request{}).Raw, 0)["x5c"]; !got {
			t.Errorf("always at %v: no x5c", now)
		}
		if _, got := part(t, issue(t, never, token.Request{}).Raw, 0)["x5c"]; got {
			t.Errorf("never at %v: x5c", now)
		}
		all := strings.Join(auto.Warnings(), "\n")
		if tt.warn == "" && all != "" || !strings.Contains(all, tt.warn) {
			t.Errorf("warnings at %v: %q, want %q", now, all, tt.warn)
		}
		if w := always.Warnings(); (len(w) > 0) != (tt.warn != "") || len(w) > 0 && !strings.Contains(w[0], "refuse every token") {
			t.Errorf("always, warnings at %v: %q", now, w)
		}
		if len(told) != tt.told {
			t.Errorf("at %v Warn was called %d times, want %d: %q", now, len(told), tt.told, told)
		}
	}
	if last := told[len(told)-1]; last != "" {
		t.Errorf("the end of the trouble is told as %q", last)
	}
	if w := never.Warnings(); len(w) != 1 || !strings.Contains(w[0], "ECDSA key without x5c") {
		t.Errorf("never with an ECDSA key: %q", w)
	}
	if w := newIssuer(t, token.Options{Pair: pair(t, keys.RSA2048), X5C: token.X5CNever}).Warnings(); w != nil {
		t.Errorf("never with an RSA key: %q", w)
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, token.Options{})
	for name, tt := range map[string]struct {
		r    token.Request
		want string
	}{
		"zero":           {token.Request{}, "lifetime"},
		"negative":       {token.Request{Lifetime: -time.Hour}, "lifetime"},
		"under a second": {token.Request{Lifetime: 999 * time.Millisecond}, "lifetime"},
		"over ten years": {token.Request{Lifetime: token.MaxLifetime + 1}, "lifetime"},
		"subject":        {token.Request{Lifetime: time.Minute, Subject: "a\xff"}, "not UTF-8"},
		"audience":       {token.Request{Lifetime: time.Minute, Audience: "a\xff"}, "not UTF-8"},
		"type":           {token.Request{Lifetime: time.Minute, Access: []token.Access{{Type: "\xff"}}}, "not UTF-8"},
		"name":           {token.Request{Lifetime: time.Minute, Access: []token.Access{{Name: "\xff"}}}, "not UTF-8"},
		"action":         {token.Request{Lifetime: time.Minute, Access: []token.Access{{Actions: []string{"\xff"}}}}, "not UTF-8"},
	} {
		if tok, err := i.Issue(tt.r); err == nil || tok.Raw != "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v, want %q", name, tok.Raw, err, tt.want)
		}
	}
	for _, d := range []time.Duration{token.MinLifetime, token.MaxLifetime, 10 * 365 * 24 * time.Hour} {
		tok, err := i.Issue(token.Request{Lifetime: d})
		if err != nil || tok.Expires.Sub(tok.IssuedAt) != d {
			t.Errorf("lifetime %v: %v, %v", d, tok.Expires.Sub(tok.IssuedAt), err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	p := pair(t, keys.ECDSAP256)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]token.Options{
		"no issuer":   {Pair: p},
		"issuer":      {Pair: p, Issuer: "\xff"},
		"no pair":     {Issuer: testIssuer},
		"no signer":   {Issuer: testIssuer, Pair: &keys.Pair{Chain: p.Chain}},
		"no chain":    {Issuer: testIssuer, Pair: &keys.Pair{Signer: p.Signer}},
		"mode":        {Issuer: testIssuer, Pair: p, X5C: "sometimes"},
		"wrong curve": {Issuer: testIssuer, Pair: &keys.Pair{Signer: p224, Chain: p.Chain}},
	} {
		if i, err := token.New(o); err == nil || i != nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConcurrentIssue(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, token.Options{Warn: func(string) {}})
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		ids = map[string]bool{}
	)
	for n := range 8 {
		wg.Go(func() {
			for range 50 {
				tok, err := i.Issue(token.Request{Subject: fmt.Sprint(n), Lifetime: time.Minute, Access: []token.Access{{Type: "t", Name: "n", Actions: []string{"b", "a"}}}})
				if err != nil {
					t.Error(err)
					return
				}
				if _, c, err := token.Verify(tok.Raw, token.VerifyOptions{Keys: token.KeySet{Roots: i.Chain()}}); err != nil || c.Subject != fmt.Sprint(n) {
					t.Errorf("subject %q, %v", c.Subject, err)
				}
				mu.Lock()
				ids[tok.ID] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(ids) != 400 {
		t.Errorf("%d different ids in 400 tokens", len(ids))
	}
}

// signerFunc is a key that signs as the test says.
type signerFunc struct {
	pub crypto.PublicKey
	f   func() ([]byte, error)
}

func (s signerFunc) Public() crypto.PublicKey { return s.pub }
func (s signerFunc) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return s.f()
}

// TestECDSASignatureForm: the numbers of a signature keep their place when they are short.
func TestECDSASignatureForm(t *testing.T) {
	t.Parallel()
	p := pair(t, keys.ECDSAP256)
	asn := func(r, s *big.Int) []byte {
		b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	high := new(big.Int).SetBytes(bytes.Repeat([]byte{0xff}, 32))
	for name, tt := range map[string]struct {
		sig  []byte
		err  error
		want []byte // nil: an error
	}{
		"short": {asn(big.NewInt(1), big.NewInt(0x1234)), nil, append(append(make([]byte, 31), 1), append(make([]byte, 30), 0x12, 0x34)...)},
		"high":  {asn(high, high), nil, bytes.Repeat([]byte{0xff}, 64)},
		"long":  {asn(new(big.Int).Lsh(high, 8), high), nil, nil},
		"no":    {[]byte{1, 2, 3}, nil, nil},
		"more":  {append(asn(high, high), 0), nil, nil},
		"error": {nil, errors.New("token of hardware is gone"), nil},
	} {
		i := newIssuer(t, token.Options{Pair: &keys.Pair{Chain: p.Chain, Signer: signerFunc{p.Public(), func() ([]byte, error) { return tt.sig, tt.err }}}})
		tok, err := i.Issue(token.Request{Lifetime: time.Minute})
		if tt.want == nil {
			if err == nil || tok.Raw != "" || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%s: %q, %v", name, tok.Raw, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := base64.RawURLEncoding.DecodeString(tok.Raw[strings.LastIndex(tok.Raw, ".")+1:])
		if err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: signature %x, want %x", name, got, tt.want)
		}
	}
}

// TestOtherCurves: an existing key may be on another curve than the ones we make.
func TestOtherCurves(t *testing.T) {
	t.Parallel()
	for curve, alg := range map[elliptic.Curve]string{elliptic.P384(): "ES384", elliptic.P521(): "ES512"} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		i := newIssuer(t, token.Options{Pair: &keys.Pair{Signer: key, Chain: []*x509.Certificate{cert}}})
		h, _, err := token.Verify(issue(t, i, token.Request{}).Raw, token.VerifyOptions{Keys: token.KeySet{Roots: i.Chain()}})
		if err != nil || h.Algorithm != alg {
			t.Errorf("%s: %q, %v", alg, h.Algorithm, err)
		}
	}
}

func TestParseX5CMode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]token.X5CMode{"": token.X5CAuto, "auto": token.X5CAuto, "always": token.X5CAlways, "never": token.X5CNever} {
		if got, err := token.ParseX5CMode(in); err != nil || got != want {
			t.Errorf("ParseX5CMode(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := token.ParseX5CMode("Auto"); err == nil || !strings.Contains(err.Error(), `"Auto"`) {
		t.Errorf("got %v", err)
	}
}
