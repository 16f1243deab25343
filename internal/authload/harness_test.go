package authload_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// testing5 is the hash of "testing" with cost 5 from docker_auth's own examples.
const testing5 = "$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"

// soak picks the full count where REGCTL_SETUP_SOAK is set, else the reduced one.
func soak(full, reduced int) int {
	if os.Getenv("REGCTL_SETUP_SOAK") != "" {
		return full
	}
	return reduced
}

// medians runs both measurements n times, in turns, so that a busy machine slows both.
func medians(n int, first, second func() time.Duration) (time.Duration, time.Duration) {
	var a, b []time.Duration
	for range n {
		a, b = append(a, first()), append(b, second())
	}
	slices.Sort(a)
	slices.Sort(b)
	return a[n/2], b[n/2]
}

// keyPair makes a signing pair once for all tests; making RSA keys is slow.
var keyPair = sync.OnceValue(func() [2][]byte { return makePair(2048) })

// makePair returns key and certificate in PEM.
func makePair(bits int) [2][]byte {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return [2][]byte{
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
	}
}

// folder is a config with its keys on disk.
type folder struct {
	t   testing.TB
	dir string
}

func newFolder(t testing.TB, yaml string) *folder {
	t.Helper()
	f := &folder{t: t, dir: t.TempDir()}
	pair := keyPair()
	f.write("server.key", pair[0])
	f.write("server.pem", pair[1])
	f.config(yaml)
	return f
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// write replaces a file as a careful program does.
func (f *folder) write(name string, data []byte) {
	f.t.Helper()
	tmp := f.path(name + ".tmp")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(tmp, f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

// expand fills in what the recorded configs leave open.
func (f *folder) expand(yaml string) string {
	return strings.NewReplacer("@ADDR@", "127.0.0.1:0", "@KEY@", f.path("server.key"), "@CERT@", f.path("server.pem")).Replace(yaml)
}

func (f *folder) config(yaml string) {
	f.t.Helper()
	f.write("auth-server.yml", []byte(f.expand(yaml)))
}

func (f *folder) options() authload.Options {
	return authload.Options{ConfigPath: f.path("auth-server.yml")}
}

// counted makes the comparisons of password hashes count.
func counted(o authload.Options, verify func(hash, password secret.Text) bool) authload.Options {
	o.Verify = verify
	return o
}

func newServer(t testing.TB, o authload.Options, logTo io.Writer) *authserver.Server {
	t.Helper()
	if logTo == nil {
		logTo = io.Discard
	}
	srv, err := authserver.New(authserver.Options{
		Load:   authload.NewLoader(o).Load,
		Logger: slog.New(slog.NewJSONHandler(logTo, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// call is a request to the handler.
type call struct {
	method string
	path   string // with the query
	peer   string // "192.0.2.1:1234" unless said
	header http.Header
	body   string
	user   *[2]string
}

func do(t testing.TB, h http.Handler, c call) *httptest.ResponseRecorder {
	t.Helper()
	return doCtx(t.Context(), h, c)
}

func doCtx(ctx context.Context, h http.Handler, c call) *httptest.ResponseRecorder {
	if c.method == "" {
		c.method = http.MethodGet
	}
	r := httptest.NewRequestWithContext(ctx, c.method, "/", strings.NewReader(c.body))
	if c.body == "" {
		r = httptest.NewRequestWithContext(ctx, c.method, "/", http.NoBody)
	}
	path, query, _ := strings.Cut(c.path, "?")
	r.URL.Path, r.URL.RawQuery = path, query
	r.RequestURI = c.path
	if c.peer != "" {
		r.RemoteAddr = c.peer
	}
	if c.body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range c.header {
		r.Header[k] = v
	}
	if c.user != nil {
		r.SetBasicAuth(c.user[0], c.user[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func basic(user, password string) *[2]string { return &[2]string{user, password} }

// claims are a token's, as far as the tests look at them.
type claims struct {
	Iss    string
	Sub    string
	Aud    string
	Exp    int64
	Iat    int64
	Nbf    int64
	Jti    string
	Access []struct {
		Type, Name string
		Actions    []string
	}
}

// tokenOf reads the claims in a body, without checking the signature.
func tokenOf(t testing.TB, body []byte) (claims, map[string]any) {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("the answer is no JSON: %v: %q", err, body)
	}
	raw, _ := answer["token"].(string)
	if raw == "" || answer["access_token"] != raw {
		t.Fatalf("no token, or another access_token: %q", body)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c claims
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatalf("claims %s: %v", text, err)
	}
	return c, answer
}

// granted is the token's access in short: "repository:a/b:pull,push …".
func (c claims) granted() string {
	var out []string
	for _, a := range c.Access {
		out = append(out, a.Type+":"+a.Name+":"+strings.Join(slices.Sorted(slices.Values(a.Actions)), ","))
	}
	return strings.Join(out, " ")
}

func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return "?" + v.Encode()
}

func tryServer(o authload.Options) (*authserver.Server, error) {
	return authserver.New(authserver.Options{Load: authload.NewLoader(o).Load})
}

type secretText = secret.Text

// memoryRecorder keeps decisions in memory.
type memoryRecorder struct {
	mu   sync.Mutex
	list []authserver.Decision
	err  error
}

func (r *memoryRecorder) Record(_ context.Context, d *authserver.Decision) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.list = append(r.list, *d)
	}
	return r.err
}

func (r *memoryRecorder) all() []authserver.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

func (r *memoryRecorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}
