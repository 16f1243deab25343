package adopt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regctl-setup/regctl-setup/internal/adopt"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

func now() time.Time { return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) }

// guide copies the hand-made folder, with a key pair and the change of one file each.
func guide(t *testing.T, change map[string]func(string) string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "guide")
	if err := os.CopyFS(dir, os.DirFS("../../testdata/guide")); err != nil {
		t.Fatal(err)
	}
	pair, err := keys.Generate(keys.RSA2048, keys.Options{Rand: rand.Reader, Now: now, CommonName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "conf/keys/server.key", pair.KeyPEM().Reveal())
	write(t, dir, "conf/keys/server.pem", string(pair.CertPEM()))
	for name, f := range change {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		write(t, dir, name, f(string(data)))
	}
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func replace(pairs ...string) func(string) string {
	return func(s string) string { return strings.NewReplacer(pairs...).Replace(s) }
}

func text(s string) func(string) string { return func(string) string { return s } }

func read(t *testing.T, dir string, o adopt.Options) *adopt.Found {
	t.Helper()
	d, err := deployment.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := adopt.Read(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func made() adopt.Made {
	return adopt.Made{HTTPSecret: secret.New(strings.Repeat("ab", 32)), UID: 1000, GID: 1000}
}

func data(t *testing.T, files []safefile.File, path string) string {
	t.Helper()
	for _, f := range files {
		if f.Path == path {
			return string(f.Data)
		}
	}
	t.Fatalf("no %s is planned", path)
	return ""
}

func TestGuide(t *testing.T) {
	t.Parallel()
	dir := guide(t, nil)
	f := read(t, dir, adopt.Options{})
	if len(f.Blocks) > 0 {
		t.Fatalf("blocks: %v", f.Blocks)
	}
	a := f.Answers
	want := answers.Defaults()
	want.Registry, want.Domain, want.AuthDomain = 2, "registry.yourdomain.com", "auth.yourdomain.com"
	want.Service, want.Issuer, want.Expiration = "Docker registry", "Acme auth server", 900
	want.Storage, want.S3.Bucket, want.S3.Region = answers.StorageS3, "bucketname", "eu-west-1"
	want.S3.CredentialsFile = filepath.Join(dir, "secrets", "s3_credentials")
	want.Delete, want.AnonymousPull, want.KeyType = false, answers.AnonymousAll, answers.KeyRSA2048
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if len(f.Steps) == 0 || f.Steps[0] != "docker compose -p guide down" {
		t.Errorf("steps %q do not begin with the old project", f.Steps)
	}
	files, err := f.Plan(t.Context(), made())
	if err != nil {
		t.Fatal(err)
	}
	if got := data(t, files, "secrets/s3_credentials"); !strings.Contains(got, "aws_access_key_id = accesskey") {
		t.Error("the bucket's keys are not kept")
	}
	compose := data(t, files, "docker-compose.yml")
	for _, s := range []string{"secretkey", "somerandomstringhere"} {
		if strings.Contains(compose+data(t, files, ".env"), s) {
			t.Errorf("%s is in clear", s)
		}
	}
	if env := data(t, files, ".env"); !strings.Contains(env, answers.ImageRegistry2) {
		t.Error("the registry's major version is not kept")
	}
}

// The auth config is edited, not rendered: every line of users and rules is there, in its
// order, with its comment.
func TestAuthConfigKeepsEveryLine(t *testing.T) {
	t.Parallel()
	dir := guide(t, nil)
	files, err := read(t, dir, adopt.Options{}).Plan(t.Context(), made())
	if err != nil {
		t.Fatal(err)
	}
	got := data(t, files, scaffold.PathAuth)
	old, err := os.ReadFile(filepath.Join(dir, "conf/auth-server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	rest := got
	for line := range strings.Lines(string(old)) {
		if strings.Contains(line, "/certs/server") {
			continue
		}
		_, after, ok := strings.Cut(rest, line)
		if !ok {
			t.Fatalf("line %q is gone or elsewhere:\n%s", line, got)
		}
		rest = after
	}
	before, _ := config.Parse("a", old)
	after, problems := config.Parse("b", []byte(got))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if after.Token.Key != scaffold.PathKey || !slices.Equal(after.Extras.Services, []string{"Docker registry"}) || !after.Extras.HasTrustedProxies {
		t.Errorf("token %+v, extras %+v", after.Token, after.Extras)
	}
	if len(before.Users) != len(after.Users) || len(before.ACL) != len(after.ACL) {
		t.Error("users or rules are not all there")
	}
}

func TestChangesAreAllOrNothing(t *testing.T) {
	t.Parallel()
	dir := guide(t, nil)
	f := read(t, dir, adopt.Options{})
	files, err := f.Plan(t.Context(), made())
	if err != nil {
		t.Fatal(err)
	}
	changes, backup, err := f.Changes(files, now())
	if err != nil {
		t.Fatal(err)
	}
	if backup != "state/adopted-20260304" {
		t.Errorf("backup folder %q", backup)
	}
	was := tree(t, dir)
	j, err := safefile.Begin(t.Context(), dir, changes, safefile.JournalOptions{Dirs: f.Dirs(backup)})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Rollback(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, tree(t, dir)); diff != "" {
		t.Errorf("rolled back, and yet:\n%s", diff)
	}
	if j, err = safefile.Begin(t.Context(), dir, changes, safefile.JournalOptions{Dirs: f.Dirs(backup)}); err != nil {
		t.Fatal(err)
	}
	if err := j.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	is := tree(t, dir)
	for name, content := range was {
		if strings.HasPrefix(name, "conf/keys/") || name == "README.md" {
			if is[name] != content {
				t.Errorf("%s changed", name)
			}
			continue
		}
		if is[backup+"/"+name] != content {
			t.Errorf("%s is not in the backup", name)
		}
	}
	for _, gone := range []string{"conf/auth-server.yml", "conf/Caddyfile"} {
		if _, there := is[gone]; there {
			t.Errorf("%s is still at its old place", gone)
		}
	}
	for _, file := range files {
		if is[file.Path] != string(file.Data) {
			t.Errorf("%s is not what was planned", file.Path)
		}
		st, err := os.Stat(filepath.Join(dir, file.Path))
		if err != nil || st.Mode().Perm()&^file.Mode != 0 {
			t.Errorf("%s has mode %v, at most %v was planned", file.Path, st.Mode(), file.Mode)
		}
	}
	d, err := deployment.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adopt.Read(t.Context(), d, adopt.Options{}); err == nil {
		t.Error("a deployment of this program is taken over again")
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		if err != nil || st.IsDir() || strings.HasSuffix(p, ".lock") {
			return err
		}
		content, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[filepath.ToSlash(rel)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVariants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change map[string]func(string) string
		check  func(*answers.Answers)
		steps  string
	}{
		{"one domain, path split", map[string]func(string) string{
			"conf/Caddyfile":     text("{\n\temail ops@example.com # who\n}\n(reg) {\n\treverse_proxy registry:5000\n}\nhttps://{$REGISTRY_DOMAIN} {\n\thandle /auth* {\n\t\treverse_proxy http://auth:5001\n\t}\n\timport reg\n}\n"),
			"docker-compose.yml": replace("https://${AUTH_DOMAIN}/auth", "https://${REGISTRY_DOMAIN}/auth"),
		}, func(a *answers.Answers) { a.AuthDomain, a.Email = "", "ops@example.com" }, ""},
		{"internal authority and other ports", map[string]func(string) string{
			"conf/Caddyfile":     replace("reverse_proxy registry:5000", "tls internal\n\treverse_proxy registry:5000"),
			"docker-compose.yml": replace("443:443", "127.0.0.1:8443:443"),
		}, func(a *answers.Answers) {
			a.TLS, a.HTTPSPort, a.Bind = answers.TLSInternal, 8443, "127.0.0.1"
		}, ""},
		{"registry 3, a config file, a volume", map[string]func(string) string{
			"docker-compose.yml": func(s string) string {
				head, _, _ := strings.Cut(s, "    environment:\n      # Where")
				_, tail, _ := strings.Cut(s, "  caddy:\n")
				return strings.Replace(head, "registry:2", "registry:3.0.0", 1) +
					"    volumes: [\"./reg.yml:/etc/distribution/config.yml\", \"images:/var/lib/registry\", \"./conf/keys/server.pem:/certs/certificate.pem\"]\n  caddy:\n" + tail + "volumes: {images: {}}\n"
			},
			"reg.yml": text("version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}\nhttp: {addr: \":5000\"}\nauth: {token: {realm: https://auth.yourdomain.com/auth, service: Docker registry, issuer: Acme auth server, rootcertbundle: /certs/certificate.pem}}\n"),
		}, func(a *answers.Answers) {
			a.Registry, a.Storage, a.Delete = 3, answers.StorageFilesystem, true
			a.S3 = answers.Defaults().S3
		}, "docker run --rm -v guide_images:/from:ro"},
		{"an endpoint of Backblaze, no anonymous account", map[string]func(string) string{
			"docker-compose.yml":   replace("REGISTRY_STORAGE_S3_REGION: eu-west-1", "REGISTRY_STORAGE_S3_REGION: us-west-004\n      REGISTRY_STORAGE_S3_REGIONENDPOINT: https://s3.us-west-004.backblazeb2.com\n      REGISTRY_STORAGE_DELETE_ENABLED: \"true\""),
			"conf/auth-server.yml": replace("  \"\": {} # Allow anonymous (no \"docker login\") access.\n", ""),
		}, func(a *answers.Answers) {
			a.S3.Provider, a.S3.Region, a.S3.Endpoint = answers.ProviderB2, "us-west-004", "https://s3.us-west-004.backblazeb2.com"
			a.Delete, a.AnonymousPull = true, answers.AnonymousNone
		}, ""},
		{"registry 3 with its image's own file", map[string]func(string) string{
			"docker-compose.yml": func(s string) string {
				head, rest, _ := strings.Cut(s, "      # S3 Storage")
				_, tail, _ := strings.Cut(rest, "    volumes:\n")
				return strings.Replace(head, "registry:2", "registry:3.1.1", 1) + "    volumes:\n      - ./data/registry:/var/lib/registry\n" + tail
			},
		}, func(a *answers.Answers) {
			a.Registry, a.Storage, a.Delete = 3, answers.StorageFilesystem, true
			a.S3 = answers.Defaults().S3
		}, "chown -R"},
		{"an image of one's own", map[string]func(string) string{
			"docker-compose.yml": replace("cesanta/docker_auth:1", "mirror.lan:5000/docker_auth:1.14.0"),
		}, func(a *answers.Answers) { a.Images.Auth = "mirror.lan:5000/docker_auth:1.14.0" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := read(t, guide(t, nil), adopt.Options{}).Answers
			dir := guide(t, c.change)
			f := read(t, dir, adopt.Options{})
			want.S3.CredentialsFile = filepath.Join(dir, "secrets", "s3_credentials")
			c.check(&want)
			if want.Storage != answers.StorageS3 {
				want.S3.CredentialsFile = ""
			}
			if diff := cmp.Diff(want, f.Answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if !strings.Contains(strings.Join(f.Steps, "\n"), c.steps) {
				t.Errorf("steps %q lack %q", f.Steps, c.steps)
			}
			if _, err := f.Plan(t.Context(), made()); err != nil {
				t.Error(err, f.Blocks)
			}
		})
	}
}

// What can't be kept is all said, and nothing is planned.
func TestBlocks(t *testing.T) {
	t.Parallel()
	dir := guide(t, map[string]func(string) string{
		"docker-compose.yml": func(s string) string {
			return replace("REGISTRY_STORAGE_S3_REGION: eu-west-1", "REGISTRY_STORAGE_S3_REGION: eu-west-1\n      REGISTRY_STORAGE_S3_ROOTDIRECTORY: /deep")(s) + "  redis:\n    image: redis:7\n"
		},
		"conf/auth-server.yml": replace("  addr: \":5001\"", "  addr: \":5001\"\n  path_prefix: /x", "# Access is", "ldap_auth: {addr: \"h:1\", base: dc=x}\n# Access is"),
		"conf/keys/server.key": text("no key"),
	})
	f := read(t, dir, adopt.Options{})
	for _, want := range []string{"service redis (redis:7) has no place", "storage.s3.rootdirectory (/deep)", "path_prefix", "section ldap_auth", "signing pair"} {
		if !slices.ContainsFunc(f.Blocks, func(b adopt.Block) bool { return strings.Contains(b.Error(), want) }) {
			t.Errorf("no block says %q: %v", want, f.Blocks)
		}
	}
	if _, err := f.Plan(t.Context(), made()); err == nil {
		t.Error("planned all the same")
	}
	f = read(t, guide(t, map[string]func(string) string{"conf/auth-server.yml": replace("acl:", "acls:")}), adopt.Options{})
	if len(f.Blocks) == 0 || f.Blocks[0].Line == 0 {
		t.Errorf("a misspelt section: %v", f.Blocks)
	}
}

// What the folder kept out of version control stays out.
func TestGitignoreIsMerged(t *testing.T) {
	t.Parallel()
	f := read(t, guide(t, map[string]func(string) string{".gitignore": text("*.bak\n/secrets/\n"), ".env": func(s string) string { return s + "OTHER=1\n" }}), adopt.Options{})
	files, err := f.Plan(t.Context(), made())
	if err != nil {
		t.Fatal(err)
	}
	got := data(t, files, scaffold.PathGitignore)
	if !strings.HasSuffix(got, "taken over.\n*.bak\n") || strings.Count(got, "/secrets/\n") != 1 {
		t.Errorf(".gitignore:\n%s", got)
	}
	if !slices.ContainsFunc(f.Changed, func(s string) bool { return strings.HasPrefix(s, "OTHER is not") }) {
		t.Errorf("nothing is said of a variable that is dropped: %q", f.Changed)
	}
}

// Every code that doctor finds in the guide has a remedy, or is a choice of its owner.
func TestRemedies(t *testing.T) {
	t.Parallel()
	dir := guide(t, nil)
	d, err := deployment.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := doctor.Gather(t.Context(), doctor.Options{Deployment: d, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range doctor.Disk(t.Context(), facts).Findings {
		found[f.Code] = true
		if adopt.Remedy(f.Code) == "" && f.Code != "acl-lint" && f.Code != "registry-2-unmaintained" {
			t.Errorf("%v: nothing is done about it", f)
		}
	}
	// The faults that the guide's README lists.
	for _, code := range []string{"acl-lint", "caddy-data-lost", "registry-2-unmaintained", "http-secret-weak", "single-file-mount"} {
		if !found[code] {
			t.Errorf("%s is not found in the guide", code)
		}
	}
	for _, c := range doctor.Checks() {
		found[c.Code] = true
	}
	for _, code := range []string{"single-file-mount", "storage-drivers", "env-value-mangled", "caddy-admin-exposed", "port-published", "config-not-mounted"} {
		if !found[code] || adopt.Remedy(code) == "" {
			t.Errorf("%s is no code of doctor's, or has no remedy", code)
		}
	}
}

func TestOverride(t *testing.T) {
	t.Parallel()
	f := read(t, guide(t, nil), adopt.Options{Target: t.TempDir(), Override: func(a *answers.Answers) error {
		a.Domain, a.AuthDomain = "new.example.com", ""
		return nil
	}})
	files, err := f.Plan(t.Context(), made())
	if err != nil {
		t.Fatal(err, f.Blocks)
	}
	if !bytes.Contains([]byte(data(t, files, scaffold.PathRegistry)), []byte("realm: 'https://new.example.com/auth'")) {
		t.Error("the answer that was said is not taken")
	}
}
