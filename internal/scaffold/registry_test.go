package scaffold

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/go-jose/go-jose/v4"
	"github.com/sirupsen/logrus"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// TestRegistryTakesItsConfig starts the real registry on the generated config (with
// container paths replaced, and nothing else), asks it for its challenge, and shows it
// tokens of the generated key under both key ids.
func TestRegistryTakesItsConfig(t *testing.T) {
	t.Parallel()
	logrus.SetOutput(io.Discard) // the registry logs to the package's logger
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
	started := 0
	for _, p := range profiles() {
		a := p.answers().Resolve()
		if a.Storage != answers.StorageFilesystem {
			continue // the other drivers are not linked in
		}
		started++
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			app := registryApp(t, plan(t, p.answers()))
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodGet, "http://registry.test:5000/v2/", nil)
			req.Header.Set("X-Forwarded-Proto", "https")
			app.ServeHTTP(rec, req)
			realm := a.Realm()
			if !a.TwoDomains() {
				realm = "https://registry.test:5000/auth/token" // follows the client's Host
			}
			want := `Bearer realm="` + realm + `",service="` + a.Service + `"`
			if got := rec.Header().Get("WWW-Authenticate"); rec.Code != http.StatusUnauthorized || got != want {
				t.Errorf("GET /v2/ = %d, challenge %s; want 401 and %s", rec.Code, got, want)
			}
			for _, token := range testTokens(t, a) {
				rec := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodGet, "http://registry.test:5000/v2/", nil)
				req.Header.Set("Authorization", "Bearer "+token)
				app.ServeHTTP(rec, req)
				if rec.Code != http.StatusOK {
					t.Errorf("GET /v2/ with a token = %d: %s", rec.Code, rec.Body)
				}
			}
		})
	}
	if started < 8 {
		t.Errorf("only %d profiles were tried", started)
	}
}

func registryApp(t *testing.T, files []safefile.File) http.Handler {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []string{PathBundle, PathJWKS} {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), fileData(t, files, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("/etc/regctl-setup/trust", dir, "/var/lib/registry", filepath.Join(dir, "data")).Replace(string(fileData(t, files, PathRegistry)))
	cfg, err := RegistryConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTP.Debug.Prometheus.Enabled = false // its metrics can be registered once in a process
	return handlers.NewApp(t.Context(), cfg)
}

// testTokens signs one token for each key id in the key set.
func testTokens(t *testing.T, a answers.Answers) []string {
	t.Helper()
	name := "rsa"
	alg := jose.RS256
	if a.KeyType == answers.KeyECDSAP256 {
		name, alg = "ecdsa", jose.ES256
	}
	cert := readTestdata(t, "keys/"+name+".pem")
	pair, err := tls.X509KeyPair(cert, readTestdata(t, "keys/"+name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(testJWKS(t, cert), &set); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": a.Issuer, "aud": a.Service, "sub": "admin", "jti": "1",
		"iat": now, "nbf": now - 10, "exp": now + 60, "access": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, k := range set.Keys {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: pair.PrivateKey, KeyID: k.KeyID}}, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, token)
	}
	if len(out) != 2 {
		t.Fatalf("%d key ids, want 2", len(out))
	}
	return out
}
