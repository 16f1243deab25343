//go:build e2e

package e2e

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stories tells what the generated rules promise, on a site with the default answer
// about anonymous users (none).
func stories(t *testing.T, s *site) {
	t.Helper()
	// What every story pulls.
	nginx := newImage(t, 2048)
	if r := s.crane(t, s.admin, "push", nginx.tar, s.ref("library/nginx:1")); r.status != 0 {
		t.Fatalf("admin can't push library/nginx, so no story can begin: %s", r)
	}
	for _, story := range []struct {
		name string
		tell func(*testing.T, *site, image)
	}{
		{"the administrator pushes and pulls anything", storyAdmin},
		{"a developer pushes to the own team's namespace only", storyDeveloper},
		{"every logged-in user pulls everything and pushes nothing", storyViewer},
		{"nobody without an account gets anything", storyAnonymousNone},
		{"a wrong password is 401", storyWrongPassword},
		{"the catalog is the administrator's", storyCatalog},
		{"deleting is the administrator's", storyDelete},
		{"a layer is mounted from a repository that may be pulled", storyMount},
		{"tokens that are expired, foreign or changed are refused", storyBadTokens},
		{"login and logout by crane", storyLogin},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			story.tell(t, s, nginx)
		})
	}
}

func storyAdmin(t *testing.T, s *site, _ image) {
	img := newImage(t, 64<<10)
	for _, repo := range []string{"anything:1", "deep/er/and/deep-er_still:1", "dev-frontend/web:1", "dev-backend/by-admin:1"} {
		allowed(t, "admin pushes "+repo+" with crane", s.crane(t, s.admin, "push", img.tar, s.ref(repo)))
		got := s.crane(t, s.admin, "digest", s.ref(repo))
		if want := img.digest.String(); strings.TrimSpace(got.stdout) != want {
			t.Errorf("digest of %s: %s, want %s", repo, got, want)
		}
	}
	back := filepath.Join(t.TempDir(), "back.tar")
	allowed(t, "admin pulls with crane", s.crane(t, s.admin, "pull", s.ref("anything:1"), back))
	if st, err := os.Stat(back); err != nil || st.Size() == 0 {
		t.Errorf("crane pull wrote nothing: %v", err)
	}

	other := newImage(t, 64<<10)
	allowed(t, "admin pushes with skopeo", s.skopeoCopy(t, s.admin, "dest", "oci:"+other.layout+":latest", "docker://"+s.ref("skopeo/made:1")))
	dir := filepath.Join(t.TempDir(), "back")
	allowed(t, "admin pulls with skopeo", s.skopeoCopy(t, s.admin, "src", "docker://"+s.ref("skopeo/made:1"), "oci:"+dir+":latest"))
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil || !bytes.Contains(index, []byte(other.oci.String())) {
		t.Errorf("skopeo pulled %s (%v), want the manifest %s", index, err, other.oci)
	}
}

func storyDeveloper(t *testing.T, s *site, _ image) {
	img := newImage(t, 4096)
	for _, repo := range []string{"dev-backend/api", "dev-backend/sub/app"} {
		allowed(t, "developer pushes "+repo+" with crane", s.crane(t, s.developer, "push", img.tar, s.ref(repo+":crane")))
		allowed(t, "developer pushes "+repo+" with skopeo", s.skopeoCopy(t, s.developer, "dest", "oci:"+img.layout+":latest", "docker://"+s.ref(repo+":skopeo")))
		allowed(t, "developer pulls "+repo, s.crane(t, s.developer, "manifest", s.ref(repo+":crane")))
	}
	for _, repo := range []string{"dev-frontend/web", "dev-backend", "dev-backendx/api", "x/dev-backend/api", "library/nginx", "backend/api"} {
		refused(t, "developer pushes "+repo+" with crane", s.crane(t, s.developer, "push", img.tar, s.ref(repo+":mine")))
	}
	refused(t, "developer pushes dev-frontend/web with skopeo",
		s.skopeoCopy(t, s.developer, "dest", "oci:"+img.layout+":latest", "docker://"+s.ref("dev-frontend/web:mine")))
	// What was refused must not have left anything behind.
	if got := s.crane(t, s.admin, "manifest", s.ref("dev-frontend/web:mine")); got.status == 0 {
		t.Errorf("the refused push arrived all the same: %s", got)
	}
	got := grants(t, s.token(t, s.developer, "repository:dev-backend/api:pull,push,delete", "repository:dev-frontend/web:pull,push,delete"))
	want := []string{"repository:dev-backend/api:pull,push", "repository:dev-frontend/web:pull"}
	if !slices.Equal(got, want) {
		t.Errorf("developer's token grants %q, want %q", got, want)
	}
}

func storyViewer(t *testing.T, s *site, nginx image) {
	img := newImage(t, 1024)
	for _, a := range []account{s.admin, s.developer, s.viewer} {
		got := s.crane(t, a, "digest", s.ref("library/nginx:1"))
		if strings.TrimSpace(got.stdout) != nginx.digest.String() {
			t.Errorf("%s pulls library/nginx: %s, want %s", a, got, nginx.digest)
		}
		allowed(t, a.Name+" pulls library/nginx whole", s.crane(t, a, "pull", s.ref("library/nginx:1"), filepath.Join(t.TempDir(), "i.tar")))
	}
	allowed(t, "viewer pulls with skopeo", s.skopeoCopy(t, s.viewer, "src", "docker://"+s.ref("library/nginx:1"), "oci:"+t.TempDir()+":x"))
	allowed(t, "viewer lists the tags", s.crane(t, s.viewer, "ls", s.ref("library/nginx")))
	for _, repo := range []string{"library/nginx:2", "viewer/own:1", "dev-backend/api:viewer"} {
		refused(t, "viewer pushes "+repo, s.crane(t, s.viewer, "push", img.tar, s.ref(repo)))
	}
	refused(t, "viewer pushes with skopeo", s.skopeoCopy(t, s.viewer, "dest", "oci:"+img.layout+":latest", "docker://"+s.ref("library/nginx:2")))
}

func storyAnonymousNone(t *testing.T, s *site, _ image) {
	img := newImage(t, 1024)
	refused(t, "anonymous pulls with crane", s.crane(t, anonymous, "manifest", s.ref("library/nginx:1")))
	refused(t, "anonymous pulls with skopeo", s.skopeoCopy(t, anonymous, "src", "docker://"+s.ref("library/nginx:1"), "oci:"+t.TempDir()+":x"))
	refused(t, "anonymous lists tags", s.crane(t, anonymous, "ls", s.ref("library/nginx")))
	refused(t, "anonymous pushes", s.crane(t, anonymous, "push", img.tar, s.ref("library/nginx:2")))
	refused(t, "anonymous reads the catalog", s.crane(t, anonymous, "catalog", s.host))
	for _, path := range []string{"/v2/", "/v2/_catalog", "/v2/library/nginx/tags/list", "/v2/library/nginx/manifests/1", "/v2/never/was/tags/list"} {
		if got := s.do(t, http.MethodGet, path, "", nil); got.status != http.StatusUnauthorized {
			t.Errorf("GET %s without a token: status %d, want 401", path, got.status)
		}
	}
	// Without the question answered there is no anonymous account, or one without rights.
	switch got := s.ask(t, anonymous, "repository:library/nginx:pull"); got.status {
	case http.StatusUnauthorized:
	case http.StatusOK:
		for _, g := range grants(t, decode[struct{ Token string }](t, got.body).Token) {
			if !strings.HasSuffix(g, ":") {
				t.Errorf("an anonymous token grants %q, want nothing", g)
			}
		}
	default:
		t.Errorf("an anonymous token request: status %d, want 401 or an empty grant: %s", got.status, got.body)
	}
}

// storiesAnonymousAll are the stories of a site where `--anonymous-pull all` was answered.
func storiesAnonymousAll(t *testing.T, s *site) {
	t.Helper()
	img := newImage(t, 2048)
	allowed(t, "admin pushes", s.crane(t, s.admin, "push", img.tar, s.ref("library/nginx:1")))
	allowed(t, "anonymous pulls with crane", s.crane(t, anonymous, "pull", s.ref("library/nginx:1"), filepath.Join(t.TempDir(), "i.tar")))
	allowed(t, "anonymous pulls with skopeo", s.skopeoCopy(t, anonymous, "src", "docker://"+s.ref("library/nginx:1"), "oci:"+t.TempDir()+":x"))
	allowed(t, "anonymous lists tags", s.crane(t, anonymous, "ls", s.ref("library/nginx")))
	other := newImage(t, 1024)
	for _, repo := range []string{"library/nginx:2", "anonymous/own:1", "dev-backend/api:1"} {
		refused(t, "anonymous pushes "+repo, s.crane(t, anonymous, "push", other.tar, s.ref(repo)))
	}
	// A tag for what is there needs no layer to be pushed. (Not by crane: after the refusal
	// it sends the request again without its body, which a proxy answers with 502.)
	manifest := s.do(t, http.MethodGet, "/v2/library/nginx/manifests/1", s.token(t, anonymous, "repository:library/nginx:pull"), nil,
		"Accept", "application/vnd.docker.distribution.manifest.v2+json")
	got := s.do(t, http.MethodPut, "/v2/library/nginx/manifests/2", s.token(t, anonymous, "repository:library/nginx:pull,push"), strings.NewReader(manifest.body),
		"Content-Type", manifest.header.Get("Content-Type"))
	if manifest.status != http.StatusOK || got.status != http.StatusUnauthorized {
		t.Errorf("anonymous reads a manifest: status %d, and tags it anew: status %d, want 200 and 401", manifest.status, got.status)
	}
	refused(t, "anonymous deletes", s.crane(t, anonymous, "delete", s.ref("library/nginx@"+img.digest.String())))
	refused(t, "anonymous reads the catalog", s.crane(t, anonymous, "catalog", s.host))
	granted := grants(t, s.token(t, anonymous, "repository:library/nginx:delete,pull,push", "registry:catalog:*"))
	if want := []string{"repository:library/nginx:pull", "registry:catalog:"}; !slices.Equal(granted, want) {
		t.Errorf("an anonymous token grants %q, want %q", granted, want)
	}
	// A wrong password is no way to become anonymous.
	wrong := account{Name: s.viewer.Name, Password: s.viewer.Password + "x"}
	refused(t, "a wrong password pulls", s.crane(t, wrong, "manifest", s.ref("library/nginx:1")))
}

func storyWrongPassword(t *testing.T, s *site, _ image) {
	for _, a := range []account{
		{Name: s.admin.Name, Password: s.admin.Password + "x"},
		{Name: s.admin.Name, Password: s.viewer.Password},
		{Name: s.admin.Name, Password: ""},
		{Name: "nobody", Password: s.admin.Password},
	} {
		got := s.ask(t, a, "repository:library/nginx:pull")
		if got.status != http.StatusUnauthorized {
			t.Errorf("token for %s with a wrong password: status %d, want 401", a, got.status)
		}
		if c := got.header.Get("WWW-Authenticate"); !strings.HasPrefix(c, `Basic realm="`) {
			t.Errorf("token for %s with a wrong password: challenge %q, want Basic", a, c)
		}
		if strings.Contains(got.body, "eyJ") {
			t.Errorf("token for %s with a wrong password: the answer holds a token", a)
		}
		if a.Password != "" {
			refused(t, a.Name+" pulls with a wrong password", s.crane(t, a, "manifest", s.ref("library/nginx:1")))
			refused(t, a.Name+" pulls with a wrong password and skopeo",
				s.skopeoCopy(t, a, "src", "docker://"+s.ref("library/nginx:1"), "oci:"+t.TempDir()+":x"))
		}
	}
}

func storyCatalog(t *testing.T, s *site, _ image) {
	got := s.crane(t, s.admin, "catalog", s.host)
	allowed(t, "admin reads the catalog", got)
	if !slices.Contains(strings.Fields(got.stdout), "library/nginx") && !strings.Contains(got.stdout, "/library/nginx") {
		t.Errorf("the catalog does not name library/nginx: %s", got)
	}
	for _, a := range []account{s.developer, s.viewer, anonymous} {
		refused(t, a.String()+" reads the catalog", s.crane(t, a, "catalog", s.host))
	}
}

func storyDelete(t *testing.T, s *site, _ image) {
	img := newImage(t, 1024)
	allowed(t, "developer pushes", s.crane(t, s.developer, "push", img.tar, s.ref("dev-backend/doomed:1")))
	target := s.ref("dev-backend/doomed@" + img.digest.String())
	refused(t, "developer deletes what he pushed", s.crane(t, s.developer, "delete", target))
	refused(t, "viewer deletes", s.crane(t, s.viewer, "delete", target))
	refused(t, "anonymous deletes", s.crane(t, anonymous, "delete", target))
	allowed(t, "it is still there", s.crane(t, s.viewer, "manifest", target))
	allowed(t, "admin deletes", s.crane(t, s.admin, "delete", target))
	if got := s.crane(t, s.admin, "manifest", target); got.status == 0 || !strings.Contains(got.stderr, "MANIFEST_UNKNOWN") {
		t.Errorf("after the deletion: %s, want MANIFEST_UNKNOWN", got)
	}
	if s.registry >= 3 { // registry 2 has no deletion by tag
		allowed(t, "admin pushes again", s.crane(t, s.admin, "push", img.tar, s.ref("dev-backend/doomed:2")))
		refused(t, "viewer deletes a tag", s.crane(t, s.viewer, "delete", s.ref("dev-backend/doomed:2")))
		allowed(t, "admin deletes a tag", s.crane(t, s.admin, "delete", s.ref("dev-backend/doomed:2")))
	}
}

func storyMount(t *testing.T, s *site, nginx image) {
	mount := func(token, repo string) answer {
		q := url.Values{"mount": {nginx.layer.String()}, "from": {"library/nginx"}}
		return s.do(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?"+q.Encode(), token, nil)
	}
	both := s.token(t, s.developer, "repository:dev-backend/mounted:pull,push", "repository:library/nginx:pull")
	if got := mount(both, "dev-backend/mounted"); got.status != http.StatusCreated {
		t.Errorf("mount of a layer that may be pulled: status %d, want 201: %s", got.status, got.body)
	} else if d := got.header.Get("Docker-Content-Digest"); d != nginx.layer.String() {
		t.Errorf("mounted %q, want %s", d, nginx.layer)
	}
	if got := s.do(t, http.MethodHead, "/v2/dev-backend/mounted/blobs/"+nginx.layer.String(), both, nil); got.status != http.StatusOK {
		t.Errorf("the mounted layer: status %d, want 200", got.status)
	}
	// A token without the pull on the source repository gets no layer out of it.
	only := s.token(t, s.developer, "repository:dev-backend/mounted2:pull,push")
	if got := mount(only, "dev-backend/mounted2"); got.status == http.StatusCreated {
		t.Error("mount without a pull right on the source: status 201, want no mount")
	}
	viewer := s.token(t, s.viewer, "repository:viewer/mounted:pull,push", "repository:library/nginx:pull")
	if got := mount(viewer, "viewer/mounted"); got.status != http.StatusUnauthorized {
		t.Errorf("mount without a push right on the target: status %d, want 401", got.status)
	}
	// What a client does by itself when it copies.
	allowed(t, "developer copies library/nginx into the team's namespace",
		s.crane(t, s.developer, "copy", s.ref("library/nginx:1"), s.ref("dev-backend/nginx:1")))
	refused(t, "developer copies library/nginx into another team's namespace",
		s.crane(t, s.developer, "copy", s.ref("library/nginx:1"), s.ref("dev-frontend/nginx:1")))
}

// forge changes the claims and the header of a token that the server issued and signs
// it with the key.
func forge(t *testing.T, raw string, key *rsa.PrivateKey, edit func(header, claims map[string]any)) string {
	t.Helper()
	part := func(i int) map[string]any {
		data, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[i])
		if err != nil {
			t.Fatal(err)
		}
		return decode[map[string]any](t, string(data))
	}
	header, claims := part(0), part(1)
	edit(header, claims)
	enc := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	signed := enc(header) + "." + enc(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// signingKey reads the deployment's key, as a thief of the folder could.
func (s *site) signingKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "conf", "keys", "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("conf/keys/server.key holds no PEM")
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := k.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("the signing key is a %T, want RSA", k)
	}
	return r
}

func storyBadTokens(t *testing.T, s *site, _ image) {
	own := s.signingKey(t)
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := s.token(t, s.admin, "repository:library/nginx:pull")
	ask := func(token string) int {
		return s.do(t, http.MethodGet, "/v2/library/nginx/manifests/1", token, nil, "Accept", "*/*").status
	}
	if got := ask(good); got != http.StatusOK {
		t.Fatalf("the untouched token: status %d, want 200", got)
	}
	same := func(_, _ map[string]any) {}
	if got := ask(forge(t, good, own, same)); got != http.StatusOK {
		t.Fatalf("the token signed again with the deployment's own key: status %d, want 200: the cases below would prove nothing", got)
	}
	shift := func(d time.Duration) func(_, claims map[string]any) {
		return func(_, claims map[string]any) {
			for _, k := range []string{"iat", "nbf", "exp"} {
				claims[k] = int64(claims[k].(float64)) + int64(d/time.Second)
			}
		}
	}
	lifetime := 24 * time.Hour // more than any lifetime that init writes
	parts := strings.Split(good, ".")
	for _, c := range []struct{ name, token string }{
		{"expired", forge(t, good, own, shift(-lifetime))},
		{"not valid yet", forge(t, good, own, shift(lifetime))},
		{"of a foreign key under the same key id", forge(t, good, foreign, same)},
		{"of a foreign key without the certificate", forge(t, good, foreign, func(h, _ map[string]any) { delete(h, "x5c") })},
		{"of a foreign key under a foreign key id", forge(t, good, foreign, func(h, _ map[string]any) { delete(h, "x5c"); h["kid"] = "ABCD:EFGH" })},
		{"for another service", forge(t, good, own, func(_, c map[string]any) { c["aud"] = "other.example.com" })},
		{"of another issuer", forge(t, good, own, func(_, c map[string]any) { c["iss"] = "other" })},
		{"for another repository", s.token(t, s.admin, "repository:library/other:pull")},
		{"with changed claims", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"access":[]}`)) + "." + parts[2]},
		{"with no signature", parts[0] + "." + parts[1] + "."},
		{"with alg none", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."},
		{"that is none", "garbage"},
	} {
		if got := ask(c.token); got != http.StatusUnauthorized {
			t.Errorf("a token %s: status %d, want 401", c.name, got)
		}
	}
}

func storyLogin(t *testing.T, s *site, nginx image) {
	env := s.clientEnv(t, anonymous)
	crane := part(t, "crane")
	login := execute(t, s.developer.Password+"\n", env, crane, "auth", "login", s.host, "-u", s.developer.Name, "--password-stdin")
	allowed(t, "crane auth login", login)
	got := execute(t, "", env, crane, "digest", s.ref("library/nginx:1"))
	if strings.TrimSpace(got.stdout) != nginx.digest.String() {
		t.Errorf("pull after the login: %s, want %s", got, nginx.digest)
	}
	allowed(t, "crane auth logout", execute(t, "", env, crane, "auth", "logout", s.host))
	refused(t, "pull after the logout", execute(t, "", env, crane, "digest", s.ref("library/nginx:1")))
}

// blob is content with its digest.
func blob(t *testing.T, size int) (data []byte, digest string) {
	t.Helper()
	data = make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return data, "sha256:" + hex.EncodeToString(sum[:])
}
