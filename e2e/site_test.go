//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// account is a user with the password that a command printed once.
type account struct {
	Name     string              `json:"name"`
	Password string              `json:"password"`
	Labels   map[string][]string `json:"labels"`
}

// anonymous is a client that sends no credentials.
var anonymous = account{}

func (a account) String() string {
	if a.Name == "" {
		return "anonymous"
	}
	return a.Name
}

// site is a running registry with rights.
type site struct {
	dir  string // the deployment
	host string // host:port as clients write it
	base string // the same with its scheme
	ca   string // PEM file of the CA that clients must trust; "" over plain HTTP
	http *http.Client

	registry int // major version of what serves /v2/: 3 or 2

	admin     account // role=administrator
	developer account // role=developer, team=backend
	viewer    account // no labels
}

// httpClient trusts the CA in file, or nothing beyond the system's where file is "".
func httpClient(t *testing.T, file string) *http.Client {
	t.Helper()
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			t.Fatalf("%s holds no certificate", file)
		}
	}
	tr := &http.Transport{
		TLSClientConfig:     conf,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// cli runs the program under test on the deployment and requires exit status 0.
func cli(t *testing.T, in string, args ...string) result {
	t.Helper()
	r := try(t, in, args...)
	if r.status != 0 {
		t.Fatalf("regctl-setup %q: %s", args, r)
	}
	return r
}

// try runs the program under test.
func try(t *testing.T, in string, args ...string) result {
	t.Helper()
	return execute(t, in, environ(t.TempDir()), append([]string{program}, args...)...)
}

// decode reads the one JSON object that a command printed.
func decode[T any](t *testing.T, out string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("not one JSON object: %v\n%s", err, indent(out))
	}
	return v
}

// initDeployment writes a new deployment with the teams backend and frontend and the
// accounts of the stories.
func initDeployment(t *testing.T, args ...string) *site {
	t.Helper()
	s := &site{dir: filepath.Join(t.TempDir(), "deployment"), registry: 3}
	made := decode[struct{ Accounts []account }](t,
		cli(t, "", append([]string{"init", s.dir, "--yes", "--format", "json", "--team", "backend", "--team", "frontend", "--delete"}, args...)...).stdout)
	for _, a := range made.Accounts {
		if a.Name == "admin" {
			s.admin = a
		}
	}
	if s.admin.Password == "" {
		t.Fatalf("init made no admin with a password: %+v", made)
	}
	s.developer = s.addUser(t, "developer", "--label", "role=developer", "--label", "team=backend")
	s.viewer = s.addUser(t, "viewer")
	return s
}

// addUser adds a user with a generated password.
func (s *site) addUser(t *testing.T, name string, args ...string) account {
	t.Helper()
	a := decode[account](t, cli(t, "", append([]string{"-C", s.dir, "user", "add", name, "--generate", "--format", "json"}, args...)...).stdout)
	if a.Name != name || len(a.Password) < 16 {
		t.Fatalf("user add --generate printed %q with a password of %d characters", a.Name, len(a.Password))
	}
	return a
}

// newPassword gives an account another password.
func (s *site) newPassword(t *testing.T, name string) string {
	t.Helper()
	a := decode[account](t, cli(t, "", "-C", s.dir, "user", "passwd", name, "--generate", "--format", "json").stdout)
	if len(a.Password) < 16 {
		t.Fatalf("user passwd --generate printed a password of %d characters", len(a.Password))
	}
	return a.Password
}

// clientEnv is the environment of a client that is logged in as a.
func (s *site) clientEnv(t *testing.T, a account) []string {
	t.Helper()
	home := t.TempDir()
	docker := filepath.Join(home, ".docker")
	mustMkdir(t, docker)
	conf := map[string]any{}
	if a.Name != "" {
		conf["auths"] = map[string]any{s.host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(a.Name + ":" + a.Password))}}
	}
	data, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(docker, "config.json"), data, 0o600)
	var extra []string
	if s.ca != "" {
		extra = append(extra, "SSL_CERT_FILE="+s.ca)
	}
	return environ(home, extra...)
}

// crane runs crane as a.
func (s *site) crane(t *testing.T, a account, args ...string) result {
	t.Helper()
	return execute(t, "", s.clientEnv(t, a), append([]string{part(t, "crane")}, args...)...)
}

func (s *site) ref(repo string) string { return s.host + "/" + repo }

// skopeoCopy copies between the registry and an OCI layout as a. side is "src" or
// "dest": the end that is the registry.
func (s *site) skopeoCopy(t *testing.T, a account, side, from, to string) result {
	t.Helper()
	argv := []string{part(t, "skopeo"), "--insecure-policy", "copy"}
	if a.Name == "" {
		argv = append(argv, "--"+side+"-no-creds")
	} else {
		argv = append(argv, "--"+side+"-creds", a.Name+":"+a.Password)
	}
	if s.ca == "" {
		argv = append(argv, "--"+side+"-tls-verify=false")
	} else {
		certs := t.TempDir()
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, filepath.Join(certs, "ca.crt"), pem, 0o644)
		argv = append(argv, "--"+side+"-cert-dir="+certs)
	}
	return execute(t, "", s.clientEnv(t, a), append(argv, from, to)...)
}

// allowed requires that a client's command succeeded.
func allowed(t *testing.T, what string, r result) {
	t.Helper()
	if r.status != 0 {
		t.Errorf("%s: refused, want allowed: %s", what, r)
	}
}

// refusal is how crane and skopeo report that the registry or the token server said no.
var refusal = regexp.MustCompile(`(?i)UNAUTHORIZED|DENIED|authentication required|requested access to the resource is denied`)

// refused requires that a client's command failed, and because of rights.
func refused(t *testing.T, what string, r result) {
	t.Helper()
	switch {
	case r.status == 0:
		t.Errorf("%s: allowed, want refused: %s", what, r)
	case !refusal.MatchString(r.stderr):
		t.Errorf("%s: failed, but not for want of rights: %s", what, r)
	}
}

// image is a random image on disk, in the forms that the clients read.
type image struct {
	tar    string // docker tarball, for crane
	layout string // OCI layout with the tag "latest", for skopeo
	layer  v1.Hash
	digest v1.Hash // of the manifest that crane pushes
	oci    v1.Hash // of the manifest that skopeo pushes
}

// newImage makes an image that no other test has.
func newImage(t *testing.T, size int64) image {
	t.Helper()
	dir := t.TempDir()
	i := image{tar: filepath.Join(dir, "image.tar"), layout: filepath.Join(dir, "layout")}
	img, err := random.Image(size, 2)
	if err != nil {
		t.Fatal(err)
	}
	if i.digest, err = img.Digest(); err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if i.layer, err = layers[0].Digest(); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("example.com/random:latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(i.tar, tag, img); err != nil {
		t.Fatal(err)
	}

	layer, err := random.Layer(size, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	oci, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	if i.oci, err = oci.Digest(); err != nil {
		t.Fatal(err)
	}
	p, err := layout.Write(i.layout, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(oci, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "latest"})); err != nil {
		t.Fatal(err)
	}
	return i
}

// challenge is what the registry tells a client that has no token.
type challenge struct{ scheme, realm, service, scope string }

var challengeParam = regexp.MustCompile(`(\w+)="([^"]*)"`)

func parseChallenge(t *testing.T, h string) challenge {
	t.Helper()
	scheme, rest, ok := strings.Cut(h, " ")
	if !ok {
		t.Fatalf("WWW-Authenticate: %q: no parameters", h)
	}
	c := challenge{scheme: scheme}
	for _, m := range challengeParam.FindAllStringSubmatch(rest, -1) {
		switch m[1] {
		case "realm":
			c.realm = m[2]
		case "service":
			c.service = m[2]
		case "scope":
			c.scope = m[2]
		}
	}
	return c
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends one request to the registry with a bearer token ("" for none). target is a
// path, or a Location that the registry gave.
func (s *site) do(t *testing.T, method, target, token string, body io.Reader, header ...string) answer {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.base + target
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return send(t, s.http, req)
}

func send(t *testing.T, c *http.Client, req *http.Request) answer {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", req.Method, req.URL, err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// ask requests a token as a, as clients do: at the realm of the registry's challenge.
func (s *site) ask(t *testing.T, a account, scopes ...string) answer {
	t.Helper()
	hello := s.do(t, http.MethodGet, "/v2/", "", nil)
	if hello.status != http.StatusUnauthorized {
		t.Fatalf("GET /v2/ without a token: status %d, want 401", hello.status)
	}
	c := parseChallenge(t, hello.header.Get("WWW-Authenticate"))
	u, err := url.Parse(c.realm)
	if err != nil {
		t.Fatalf("realm %q: %v", c.realm, err)
	}
	u.RawQuery = url.Values{"service": {c.service}, "scope": scopes}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "" {
		req.SetBasicAuth(a.Name, a.Password)
	}
	return send(t, s.http, req)
}

// token requires that a gets a token for the scopes; what it grants is the token's business.
func (s *site) token(t *testing.T, a account, scopes ...string) string {
	t.Helper()
	got := s.ask(t, a, scopes...)
	if got.status != http.StatusOK {
		t.Fatalf("token for %s and %q: status %d, want 200: %s", a, scopes, got.status, got.body)
	}
	return decode[struct{ Token string }](t, got.body).Token
}

// grants returns what a token grants, as "type:name:actions" in the token's order.
func grants(t *testing.T, raw string) []string {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := decode[struct {
		Access []struct {
			Type, Name string
			Actions    []string
		}
	}](t, string(payload))
	out := []string{}
	for _, a := range claims.Access {
		out = append(out, fmt.Sprintf("%s:%s:%s", a.Type, a.Name, strings.Join(a.Actions, ",")))
	}
	return out
}
