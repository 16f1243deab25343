package embedded_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/regctl-setup/regctl-setup/internal/embedded"
)

// The registry's health checks and its log are one per process: these tests share it and
// do not run in parallel.

// trust is a signing pair and the files that make the registry trust it.
type trust struct {
	key  *ecdsa.PrivateKey
	cert []byte
	dir  string
}

func newTrust(t *testing.T, config string) *trust {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trust{key: key, cert: der, dir: t.TempDir()}
	tr.write(t, "bundle.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	tr.write(t, "jwks.json", `{"keys":[]}`)
	tr.write(t, "config.yml", config)
	return tr
}

func (tr *trust) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(tr.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (tr *trust) options(addr string) embedded.Options {
	return embedded.Options{
		Addr: addr, ConfigPath: filepath.Join(tr.dir, "config.yml"), DataDir: filepath.Join(tr.dir, "data"),
		TrustBundle: filepath.Join(tr.dir, "bundle.pem"), JWKS: filepath.Join(tr.dir, "jwks.json"),
		Auth: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "auth %s, forwarded for %q", r.URL.Path, r.Header.Get("X-Forwarded-For"))
		}),
	}
}

func (tr *trust) token(t *testing.T, repo string, actions ...string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: tr.key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("x5c", []string{base64.StdEncoding.EncodeToString(tr.cert)}))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": "issuer", "aud": "service", "sub": "tester", "iat": now, "nbf": now - 10, "exp": now + 600, "jti": "x",
		"access": []map[string]any{{"type": "repository", "name": repo, "actions": actions}},
	})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const goodConfig = `version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000", secret: s, draintimeout: 30s}
auth:
  token: {realm: "https://example.com/auth", service: service, issuer: issuer, rootcertbundle: /nowhere, jwks: /nowhere, signingalgorithms: [ES256]}
`

// start serves until the test ends and returns a function that stops it and waits.
func start(t *testing.T, o embedded.Options) (srv *embedded.Server, stop func() error) {
	t.Helper()
	srv, err := embedded.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	var result error
	stopped := false
	stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			select {
			case result = <-done:
			case <-time.After(40 * time.Second):
				result = errors.New("did not stop")
			}
		}
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return srv, stop
}

func do(t *testing.T, method, url, token, host string, body io.Reader, header map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if host != "" {
		req.Host = host
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRealmFollowsTheHostThatTheClientUsed(t *testing.T) {
	tr := newTrust(t, goodConfig)
	srv, _ := start(t, tr.options("localhost:0"))
	_, port, err := net.SplitHostPort(srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"localhost:" + port, "127.0.0.1:" + port}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		hosts = append(hosts, "[::1]:"+port)
	}
	for _, host := range hosts {
		resp := do(t, http.MethodGet, "http://"+host+"/v2/", "", "", nil, map[string]string{
			// What a client claims about proxies changes nothing.
			"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https",
		})
		want := fmt.Sprintf(`Bearer realm="http://%s/auth",service="service"`, host)
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || got != want {
			t.Errorf("%s: %d %s, want 401 %s", host, resp.StatusCode, got, want)
		}
	}
	if got := text(t, do(t, http.MethodGet, "http://"+srv.Addr()+"/auth", "", "", nil, map[string]string{"X-Forwarded-For": "10.0.0.1"})); got != `auth /auth, forwarded for ""` {
		t.Errorf("the token endpoint saw %q, want no claim of the client", got)
	}
	resp := do(t, http.MethodGet, "http://127.0.0.1:"+port+"/v2/", "", "registry.example.com", nil, nil)
	if resp.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(text(t, resp), "other names need TLS") {
		t.Errorf("a foreign Host got %d, want 421 with the reason", resp.StatusCode)
	}
}

// A stop waits for a push that is between its requests.
func TestStopFinishesAPushInFlight(t *testing.T) {
	tr := newTrust(t, goodConfig)
	srv, stop := start(t, tr.options("localhost:0"))
	base := "http://" + srv.Addr()
	tok := tr.token(t, "a/b", "pull", "push")
	resp := do(t, http.MethodPost, base+"/v2/a/b/blobs/uploads/", tok, "", nil, nil)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("upload not opened: %d %s", resp.StatusCode, text(t, resp))
	}
	location := func(r *http.Response) string {
		loc := r.Header.Get("Location")
		if strings.HasPrefix(loc, "/") {
			loc = base + loc
		}
		return loc
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	blob := []byte(strings.Repeat("layer", 1000))
	resp = do(t, http.MethodPatch, location(resp), tok, "", bytes.NewReader(blob[:100]), map[string]string{"Content-Type": "application/octet-stream"})
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("first chunk during the stop: %d %s", resp.StatusCode, text(t, resp))
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(blob))
	resp = do(t, http.MethodPut, location(resp)+"&digest="+digest, tok, "", bytes.NewReader(blob[100:]), nil)
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("commit during the stop: %d %s", resp.StatusCode, text(t, resp))
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("Serve returned %v, want nil", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the server did not stop after the push was done")
	}
	if _, err := http.Get(base + "/v2/"); err == nil {
		t.Error("somebody still answers after the stop")
	}
	if got := filepath.Join(tr.dir, "data", "docker"); !exists(got) {
		t.Errorf("nothing was stored below %s", got)
	}
}

func exists(p string) bool { _, err := os.Stat(p); return err == nil }

func TestNewSaysWhatIsWrong(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	port := taken.Listener.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		name, addr, config, want string
		is                       error
	}{
		{"port taken", fmt.Sprintf("localhost:%d", port), goodConfig, "listen on 127.0.0.1", embedded.ErrAddrInUse},
		{"not loopback", "0.0.0.0:0", goodConfig, `"0.0.0.0" is not a loopback host`, nil},
		{"a name", "registry.example.com:5000", goodConfig, "is not a loopback host", nil},
		{"no port", "localhost", goodConfig, `"localhost" is not HOST:PORT`, nil},
		{"other storage", "localhost:0", strings.Replace(goodConfig, "filesystem: {rootdirectory: /var/lib/registry}", "inmemory: {}", 1), `storage "inmemory" is not served`, nil},
		{"no auth", "localhost:0", goodConfig[:strings.Index(goodConfig, "auth:")], "no auth.token section", nil},
		{"not YAML", "localhost:0", "a: [", "registry configuration", nil},
		{"a panic of the registry", "localhost:0", strings.Replace(goodConfig, "issuer: issuer,", "", 1), "issuer", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrust(t, tt.config)
			srv, err := embedded.New(tr.options(tt.addr))
			if err == nil {
				srv.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("errors.Is(%v, %v) = false", err, tt.is)
			}
		})
	}
}

// Variables that a shell exported for another registry don't change this one.
func TestEnvironmentDoesNotOverrideTheFile(t *testing.T) {
	t.Setenv("REGISTRY_AUTH_TOKEN_SERVICE", "other")
	t.Setenv("REGISTRY_STORAGE", "s3")
	tr := newTrust(t, goodConfig)
	srv, _ := start(t, tr.options("localhost:0"))
	if got := srv.Service(); got != "service" {
		t.Errorf("Service() = %q, want the file's", got)
	}
	if os.Getenv("REGISTRY_STORAGE") != "s3" {
		t.Error("the environment was not put back")
	}
}
