package doctor_test

import (
	"crypto"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	registryauth "github.com/distribution/distribution/v3/registry/auth"
	_ "github.com/distribution/distribution/v3/registry/auth/token" // the controller that the oracle asks for

	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

func testPair(t *testing.T, name string) *keys.Pair {
	t.Helper()
	pair, err := keys.LoadPair(filepath.Join(goldenDir, "keys", name+".key"), filepath.Join(goldenDir, "keys", name+".pem"), keys.LoadOptions{AllowReadableKey: true})
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// TestJudgeAgreesWithTheRegistry compares the verdicts with those of the registry's own access
// controller, over every combination of what can be wrong with a token.
func TestJudgeAgreesWithTheRegistry(t *testing.T) {
	t.Parallel()
	rsa, ec := testPair(t, "rsa"), testPair(t, "ecdsa")
	// The test certificates begin with the day that they were made on.
	issued := time.Now()
	if from, _ := rsa.Window(); issued.Before(from) {
		t.Skipf("the test certificates are valid from %s on", from)
	}
	dir := t.TempDir()
	asked, refused := 0, 0
	for _, trusted := range []*keys.Pair{rsa, ec} {
		jwks, err := keys.JWKS(trusted.Public())
		if err != nil {
			t.Fatal(err)
		}
		set, err := keys.ParseJWKS(jwks)
		if err != nil {
			t.Fatal(err)
		}
		kind := strings.ReplaceAll(keys.Describe(trusted.Public()), " ", "")
		bundleFile, jwksFile := filepath.Join(dir, kind+".pem"), filepath.Join(dir, kind+".json")
		write(t, bundleFile, keys.Bundle(trusted.Chain...), 0o600)
		write(t, jwksFile, jwks, 0o600)
		for _, sources := range []string{"bundle", "jwks", "bundle jwks"} {
			trust := doctor.Trust{Major: 3, Issuer: "regctl-setup", Service: "registry"}
			options := map[string]any{"realm": "https://registry/auth", "issuer": "regctl-setup", "service": "registry"}
			if strings.Contains(sources, "bundle") {
				trust.Bundle, options["rootcertbundle"] = trusted.Chain, bundleFile
			}
			if strings.Contains(sources, "jwks") {
				trust.JWKS, options["jwks"] = set, jwksFile
			}
			for _, algorithms := range [][]string{nil, {"RS256"}} {
				if algorithms != nil {
					trust.Algorithms, options["signingalgorithms"] = algorithms, []any{"RS256"}
				}
				controller, err := registryauth.GetAccessController("token", options)
				if err != nil {
					t.Fatal(err)
				}
				for _, signer := range []*keys.Pair{rsa, ec} {
					for _, legacy := range []bool{true, false} {
						for _, x5c := range []token.X5CMode{token.X5CAlways, token.X5CNever} {
							for _, iss := range []string{"regctl-setup", "other"} {
								for _, aud := range []string{"registry", "other"} {
									for _, age := range []time.Duration{0, time.Hour, -time.Hour} {
										at := issued.Add(-age)
										issuer, err := token.New(token.Options{Issuer: iss, Pair: signer, LegacyKeyID: legacy, X5C: x5c, Now: func() time.Time { return at }})
										if err != nil {
											t.Fatal(err)
										}
										tok, err := issuer.Issue(token.Request{Subject: "x", Audience: aud, Lifetime: 5 * time.Minute})
										if err != nil {
											t.Fatal(err)
										}
										req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry/v2/", http.NoBody)
										if err != nil {
											t.Fatal(err)
										}
										req.Header.Set("Authorization", "Bearer "+tok.Raw)
										_, oracle := controller.Authorized(req)
										_, _, reasons, err := trust.Judge(tok.Raw, issued)
										if err != nil {
											t.Fatal(err)
										}
										asked++
										if oracle != nil {
											refused++
										}
										if (oracle == nil) != (len(reasons) == 0) {
											t.Errorf("%s, trusts %s by %s, %v; legacy %t, x5c %s, iss %s, aud %s, age %s: the registry says %v, we say %v",
												keys.Describe(signer.Public()), kind, sources, algorithms, legacy, x5c, iss, aud, age, oracle, reasons)
										}
									}
								}
							}
						}
					}
				}
			}
		}
	}
	if refused == 0 || refused == asked {
		t.Errorf("%d of %d tokens are refused: nothing is compared", refused, asked)
	}
}

// TestJudgeNamesTheReason: one fault, one reason.
func TestJudgeNamesTheReason(t *testing.T) {
	t.Parallel()
	rsa, ec := testPair(t, "rsa"), testPair(t, "ecdsa")
	at := now()
	jwks := map[string]crypto.PublicKey{}
	good := doctor.Trust{Major: 3, Issuer: "regctl-setup", Service: "registry", Bundle: rsa.Chain, JWKS: jwks}
	for _, c := range []struct {
		name   string
		change func(*doctor.Trust, *token.Options)
		judged time.Time
		want   string
	}{
		{"all well", func(*doctor.Trust, *token.Options) {}, at, ""},
		{"another issuer", func(tr *doctor.Trust, _ *token.Options) { tr.Issuer = "Acme" }, at, "iss"},
		{"another service", func(tr *doctor.Trust, _ *token.Options) { tr.Service = "Docker registry" }, at, "aud"},
		{"expired", func(*doctor.Trust, *token.Options) {}, at.Add(time.Hour), "exp"},
		{"not yet", func(*doctor.Trust, *token.Options) {}, at.Add(-time.Hour), "nbf"},
		{"another certificate", func(_ *doctor.Trust, o *token.Options) { o.Pair = ec }, at, "x5c"},
		{"no bundle", func(tr *doctor.Trust, _ *token.Options) { tr.Bundle = nil }, at, "x5c"},
		{"libtrust id for registry 3", func(_ *doctor.Trust, o *token.Options) { o.X5C, o.LegacyKeyID = token.X5CNever, true }, at, "kid"},
		{"RFC 7638 id for registry 2", func(tr *doctor.Trust, o *token.Options) { tr.Major, o.X5C = 2, token.X5CNever }, at, "kid"},
		{"libtrust id for registry 2", func(tr *doctor.Trust, o *token.Options) { tr.Major, o.X5C, o.LegacyKeyID = 2, token.X5CNever, true }, at, ""},
		{"algorithm", func(tr *doctor.Trust, _ *token.Options) { tr.Algorithms = []string{"ES256"} }, at, "alg"},
	} {
		trust, o := good, token.Options{Issuer: "regctl-setup", Pair: rsa, X5C: token.X5CAlways, Now: func() time.Time { return at }}
		c.change(&trust, &o)
		issuer, err := token.New(o)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := issuer.Issue(token.Request{Subject: "x", Audience: "registry", Lifetime: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		_, _, reasons, err := trust.Judge(tok.Raw, c.judged)
		if err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, r := range reasons {
			fields = append(fields, r.Field)
		}
		if got := strings.Join(fields, " "); got != c.want {
			t.Errorf("%s: reasons %v, want %q", c.name, reasons, c.want)
		}
	}
	if _, _, _, err := good.Judge("no token", at); err == nil {
		t.Error("a text that is no token has a verdict")
	}
}
