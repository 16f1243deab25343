package token_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/ecdsa"

	"github.com/distribution/distribution/v3/registry/auth"
	_ "github.com/distribution/distribution/v3/registry/auth/token" // the registry's own verifier
	"github.com/sirupsen/logrus"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // the verifier logs each refusal
	os.Exit(m.Run())
}

// trust writes what a registry is given. A nil list leaves the file out.
func trust(t *testing.T, certs []*x509.Certificate, pubs []crypto.PublicKey) map[string]any {
	t.Helper()
	o := map[string]any{"realm": "http://localhost/auth", "issuer": testIssuer, "service": testService}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if certs != nil {
		o["rootcertbundle"] = file("bundle.pem", keys.Bundle(certs...))
	}
	if pubs != nil {
		set, err := keys.JWKS(pubs...)
		if err != nil {
			t.Fatal(err)
		}
		o["jwks"] = file("jwks.json", set)
	}
	return o
}

// registry3 returns the access controller of the registry in go.mod.
func registry3(t *testing.T, options map[string]any) auth.AccessController {
	t.Helper()
	c, err := auth.GetAccessController("token", options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func authorized(c auth.AccessController, raw string, action string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost/v2/a/b/manifests/latest", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	grant, err := c.Authorized(req, auth.Access{Resource: auth.Resource{Type: "repository", Name: "a/b"}, Action: action})
	if err == nil && grant.User.Name != "alice" {
		return fmt.Errorf("user is %q", grant.User.Name)
	}
	return err
}

func request() token.Request {
	return token.Request{
		Subject: "alice", Audience: testService, Lifetime: 5 * time.Minute,
		Access: []token.Access{{Type: "repository", Name: "a/b", Actions: []string{"push", "pull"}}},
	}
}

// TestE1Registry3 is the table of COMPAT for the registry in go.mod, with the files that this project writes.
func TestE1Registry3(t *testing.T) {
	t.Parallel()
	for _, typ := range []keys.Type{keys.RSA2048, keys.ECDSAP256} {
		p := pair(t, typ)
		bundle, set := []*x509.Certificate{p.Leaf()}, []crypto.PublicKey{p.Public()}
		if typ == keys.ECDSAP256 && short(p) {
			t.Log("a key with a short coordinate: the registry's id for it is another one")
		}
		for _, tt := range []struct {
			name   string
			certs  []*x509.Certificate
			pubs   []crypto.PublicKey
			legacy bool
			mode   token.X5CMode
			want   bool
		}{
			{"x5c, legacy kid, bundle", bundle, nil, true, token.X5CAuto, true},
			{"x5c, thumbprint, bundle", bundle, nil, false, token.X5CAuto, true},
			{"x5c, legacy kid, both files", bundle, set, true, token.X5CAuto, true},
			{"x5c, no bundle", nil, set, true, token.X5CAuto, false},
			{"legacy kid, both files", bundle, set, true, token.X5CNever, true},
			{"thumbprint, both files", bundle, set, false, token.X5CNever, true},
			{"legacy kid, jwks", nil, set, true, token.X5CNever, true},
			{"thumbprint, jwks", nil, set, false, token.X5CNever, true},
			{"legacy kid, bundle alone", bundle, nil, true, token.X5CNever, false},
			{"thumbprint, bundle alone", bundle, nil, false, token.X5CNever, !short(p)},
		} {
			c := registry3(t, trust(t, tt.certs, tt.pubs))
			tok := issue(t, newIssuer(t, token.Options{Pair: p, LegacyKeyID: tt.legacy, X5C: tt.mode}), request())
			for action, granted := range map[string]bool{"pull": true, "push": true, "delete": false} {
				if err := authorized(c, tok.Raw, action); (err == nil) != (tt.want && granted) {
					t.Errorf("%s, %s, %s: %v, want %v", typ, tt.name, action, err, tt.want && granted)
				}
			}
		}
	}
}

// TestRegistry3Refuses: what must not pass does not, so the tests above can fail.
func TestRegistry3Refuses(t *testing.T) {
	t.Parallel()
	p, other := pair(t, keys.ECDSAP256), pair(t, keys.RSA2048)
	c := registry3(t, trust(t, []*x509.Certificate{p.Leaf()}, []crypto.PublicKey{p.Public()}))
	foreign := request()
	foreign.Audience = "elsewhere"
	short := request()
	short.Lifetime = time.Second
	past := func() time.Time { return time.Now().Add(-2 * time.Minute) }
	for name, tt := range map[string]struct {
		o token.Options
		r token.Request
	}{
		"another key":      {token.Options{Pair: other}, request()},
		"another issuer":   {token.Options{Pair: p, Issuer: "someone"}, request()},
		"another audience": {token.Options{Pair: p}, foreign},
		"expired":          {token.Options{Pair: p, Now: past}, short},
		"from the future":  {token.Options{Pair: p, Now: func() time.Time { return time.Now().Add(2 * time.Minute) }}, request()},
		"broken pair":      {token.Options{Pair: &keys.Pair{Signer: p.Signer, Chain: other.Chain}}, request()},
	} {
		if err := authorized(c, issue(t, newIssuer(t, tt.o), tt.r).Raw, "pull"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestRegistry3Chain: with the root alone in the bundle, signing keys can change.
func TestRegistry3Chain(t *testing.T) {
	t.Parallel()
	ca, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{CommonName: "root"})
	if err != nil {
		t.Fatal(err)
	}
	c := registry3(t, trust(t, ca.Pair.Chain, nil))
	for range 3 {
		leaf, err := ca.IssueLeaf(keys.ECDSAP256, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := authorized(c, issue(t, newIssuer(t, token.Options{Pair: leaf}), request()).Raw, "pull"); err != nil {
			t.Error(err)
		}
	}
	stranger, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{CommonName: "root"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := stranger.IssueLeaf(keys.ECDSAP256, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := authorized(c, issue(t, newIssuer(t, token.Options{Pair: leaf}), request()).Raw, "pull"); err == nil {
		t.Error("a chain from another root of the same name is accepted")
	}
}

// TestExpiredCertificate: without x5c the registry does not look at dates, so "auto" goes on working.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	p, err := keys.Generate(keys.ECDSAP256, keys.Options{Now: func() time.Time { return time.Now().AddDate(-30, 0, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	c := registry3(t, trust(t, p.Chain, []crypto.PublicKey{p.Public()}))
	for mode, want := range map[token.X5CMode]bool{token.X5CAuto: true, token.X5CAlways: false, token.X5CNever: true} {
		i := newIssuer(t, token.Options{Pair: p, X5C: mode, LegacyKeyID: true})
		if err := authorized(c, issue(t, i, request()).Raw, "pull"); (err == nil) != want {
			t.Errorf("%s: %v, want %v", mode, err, want)
		}
	}
}

// short reports whether a coordinate of an ECDSA key begins with a zero byte.
func short(p *keys.Pair) bool {
	k, ok := p.Public().(*ecdsa.PublicKey)
	if !ok {
		return false
	}
	point, err := k.Bytes()
	return err == nil && (point[1] == 0 || point[33] == 0)
}

// freshKeys makes n P-256 pairs, the last of which has a short coordinate: one in 128 has.
func freshKeys(t *testing.T, n int) []*keys.Pair {
	t.Helper()
	all := make([]*keys.Pair, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			p, err := keys.Generate(keys.ECDSAP256, keys.Options{CommonName: fmt.Sprintf("key %d", i)})
			for tries := 0; i == n-1 && err == nil && !short(p) && tries < 10_000; tries++ {
				p, err = keys.Generate(keys.ECDSAP256, keys.Options{CommonName: fmt.Sprintf("key %d", i)})
			}
			if err != nil {
				t.Error(err)
			}
			all[i] = p
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

func keyCount() int {
	if os.Getenv("REGCTL_SETUP_SOAK") == "1" {
		return 300
	}
	return 60
}

// TestE2FreshKeysRegistry3: every fresh P-256 key's tokens are accepted, thanks to x5c, whatever the kid.
// 60 keys, or 300 with REGCTL_SETUP_SOAK=1.
func TestE2FreshKeysRegistry3(t *testing.T) {
	t.Parallel()
	all := freshKeys(t, keyCount())
	var certs []*x509.Certificate
	for _, p := range all {
		certs = append(certs, p.Leaf())
	}
	c := registry3(t, trust(t, certs, nil))
	for n, p := range all {
		for _, legacy := range []bool{true, false} {
			if err := authorized(c, issue(t, newIssuer(t, token.Options{Pair: p, LegacyKeyID: legacy}), request()).Raw, "pull"); err != nil {
				t.Errorf("key %d, legacy %v: %v", n, legacy, err)
			}
		}
	}
	last := all[len(all)-1]
	if !short(last) {
		t.Fatal("no key with a short coordinate was found")
	}
	// Why x5c: with the right RFC 7638 id alone the registry does not know such a key.
	if err := authorized(c, issue(t, newIssuer(t, token.Options{Pair: last, X5C: token.X5CNever}), request()).Raw, "pull"); err == nil {
		t.Error("the registry has learnt to pad coordinates: x5c is no longer needed for it")
	}
}

// TestE2FreshKeysRegistry28 asks a real registry 2.8 (Debian's docker-registry, or REGISTRY_28_BIN).
func TestE2FreshKeysRegistry28(t *testing.T) {
	t.Parallel()
	bin := os.Getenv("REGISTRY_28_BIN")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("docker-registry"); err != nil {
			t.Skip("no docker-registry 2.8 in PATH, and REGISTRY_28_BIN is not set")
		}
	}
	all := freshKeys(t, keyCount())
	rsaPair := pair(t, keys.RSA2048)
	ca, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{CommonName: "root"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.IssueLeaf(keys.ECDSAP256, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certs := []*x509.Certificate{rsaPair.Leaf(), ca.Pair.Leaf()}
	for _, p := range all {
		certs = append(certs, p.Leaf())
	}
	base := startRegistry28(t, bin, trust(t, certs, nil)["rootcertbundle"].(string))
	status := func(o token.Options) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v2/a/b/blobs/uploads/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+issue(t, newIssuer(t, o), request()).Raw)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, tt := range []struct {
		name string
		o    token.Options
		want int
	}{
		{"RSA, x5c, legacy kid", token.Options{Pair: rsaPair, LegacyKeyID: true}, http.StatusAccepted},
		{"RSA, x5c, thumbprint", token.Options{Pair: rsaPair}, http.StatusAccepted},
		{"RSA, legacy kid", token.Options{Pair: rsaPair, LegacyKeyID: true, X5C: token.X5CNever}, http.StatusAccepted},
		{"RSA, thumbprint", token.Options{Pair: rsaPair, X5C: token.X5CNever}, http.StatusUnauthorized},
		{"EC, legacy kid", token.Options{Pair: all[0], LegacyKeyID: true, X5C: token.X5CNever}, http.StatusAccepted},
		{"EC, thumbprint", token.Options{Pair: all[0], X5C: token.X5CNever}, http.StatusUnauthorized},
		{"chain below a root", token.Options{Pair: leaf}, http.StatusAccepted},
		{"unknown key", token.Options{Pair: pair(t, keys.ECDSAP256)}, http.StatusUnauthorized},
	} {
		if got := status(tt.o); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
	for n, p := range all {
		for _, legacy := range []bool{true, false} {
			if got := status(token.Options{Pair: p, LegacyKeyID: legacy}); got != http.StatusAccepted {
				t.Errorf("key %d (short coordinate: %v), legacy %v: status %d", n, short(p), legacy, got)
			}
		}
	}
}

// startRegistry28 starts the registry and returns its address.
func startRegistry28(t *testing.T, bin, bundle string) string {
	t.Helper()
	dir := t.TempDir()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q}
auth: {token: {realm: "http://localhost/auth", service: %q, issuer: %q, rootcertbundle: %q}}
`, filepath.Join(dir, "data"), addr, testService, testIssuer, bundle)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), bin, "serve", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Fatalf("status %d without a token", resp.StatusCode)
			}
			return "http://" + addr
		}
		retry := time.NewTimer(20 * time.Millisecond)
		select {
		case <-exited:
			t.Fatalf("registry 2.8 ended: %s", strings.TrimSpace(log.String()))
		case <-ctx.Done():
			t.Fatal("registry 2.8 did not start in time")
		case <-retry.C:
		}
	}
}

// TestShortCoordinate: the id that registries 3 compute for such keys is not the one of RFC 7638, which is why
// the bundle alone is not enough. This pins the reason down.
func TestShortCoordinate(t *testing.T) {
	t.Parallel()
	p := freshKeys(t, 1)[0]
	k := p.Public().(*ecdsa.PublicKey)
	point, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:])
	if len(x.Bytes()) == 32 && len(y.Bytes()) == 32 {
		t.Fatal("both coordinates are long")
	}
	set, err := keys.JWKS(p.Public())
	if err != nil {
		t.Fatal(err)
	}
	byID, err := keys.ParseJWKS(set)
	if err != nil || len(byID) != 2 {
		t.Fatalf("%d ids, %v", len(byID), err)
	}
	// In the key set the id stands beside the key, so the registry computes nothing.
	c := registry3(t, trust(t, nil, []crypto.PublicKey{p.Public()}))
	for _, legacy := range []bool{true, false} {
		if err := authorized(c, issue(t, newIssuer(t, token.Options{Pair: p, LegacyKeyID: legacy, X5C: token.X5CNever}), request()).Raw, "pull"); err != nil {
			t.Errorf("legacy %v: %v", legacy, err)
		}
	}
}
