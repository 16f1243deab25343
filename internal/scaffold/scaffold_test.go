package scaffold

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// plan plans answers with the test material and fails on any error.
func plan(t testing.TB, a answers.Answers) []safefile.File {
	t.Helper()
	files, err := Plan(a, testMaterial(t, a))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// eachProfile runs f on the planned files of every profile.
func eachProfile(t *testing.T, f func(t *testing.T, a answers.Answers, files []safefile.File)) {
	t.Helper()
	for _, p := range profiles() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			a := p.answers()
			f(t, a, plan(t, a))
		})
	}
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	eachProfile(t, func(t *testing.T, a answers.Answers, files []safefile.File) {
		again := plan(t, a)
		if diff := cmp.Diff(files, again); diff != "" {
			t.Errorf("two plans differ:\n%s", diff)
		}
		if !slices.IsSortedFunc(files, func(a, b safefile.File) int { return strings.Compare(a.Path, b.Path) }) {
			t.Error("files are not sorted")
		}
	})
}

// TestPlanLeavesMaterialAlone changes a planned file and expects the material unchanged.
func TestPlanLeavesMaterialAlone(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	m := testMaterial(t, a)
	files, err := Plan(a, m)
	if err != nil {
		t.Fatal(err)
	}
	before := string(m.Bundle)
	for i := range files {
		clear(files[i].Data)
	}
	if string(m.Bundle) != before {
		t.Error("a planned file shares memory with the material")
	}
}

// TestSecretsStayInTheirFiles looks for every secret in every file.
func TestSecretsStayInTheirFiles(t *testing.T) {
	t.Parallel()
	canaries := map[string][]string{
		testHTTPSecret:           {PathRegistry, PathCache},
		testHash:                 {PathAuth},
		testStoreKey:             {PathS3Keys, PathVersityGW, PathMinIOUser},
		testStoreSecret:          {PathS3Keys, PathVersityGW, PathMinIOSecret},
		testAzure:                {PathRegistry},
		"TESTEXTERNALKEY00001":   {PathS3Keys},
		"TESTGCSPRIVATEKEY":      {PathGCSKey},
		testLoginSecret:          {PathLoginSecret("ldap"), PathLoginSecret("oidc"), PathLoginSecret("github"), PathLoginSecret("gitlab"), PathLoginSecret("google")},
		"a $ecret: #1":           {PathCache},
		"-----BEGIN PRIVATE KEY": {PathKey, PathTLSKey},
	}
	var mu = make(chan struct{}, 1)
	found := map[string]bool{}
	t.Run("profiles", func(t *testing.T) {
		eachProfile(t, func(t *testing.T, _ answers.Answers, files []safefile.File) {
			for _, f := range files {
				for canary, allowed := range canaries {
					if !bytes.Contains(f.Data, []byte(canary)) {
						continue
					}
					mu <- struct{}{}
					found[canary] = true
					<-mu
					if !slices.Contains(allowed, f.Path) {
						t.Errorf("%s holds the secret %.12s…", f.Path, canary)
					}
					if f.Mode != 0o600 {
						t.Errorf("%s holds a secret and has mode %s", f.Path, f.Mode)
					}
				}
			}
		})
	})
	if len(found) != len(canaries) {
		t.Errorf("only %d of %d secrets turned up at all", len(found), len(canaries))
	}
}

// TestSecretFilesAreIgnored: what is secret stays out of version control, but for the
// auth config, whose rules want a history.
func TestSecretFilesAreIgnored(t *testing.T) {
	t.Parallel()
	ignore := string(fileData(t, plan(t, answers.Defaults()), PathGitignore))
	for _, f := range plan(t, profileNamed(t, "minio-bundled")) {
		if f.Mode != 0o600 || f.Path == PathAuth || f.Path == PathEnv {
			continue
		}
		ignored := false
		for line := range strings.Lines(ignore) {
			pattern := strings.TrimPrefix(strings.TrimSpace(line), "/")
			if dir, ok := strings.CutSuffix(pattern, "/"); ok && strings.HasPrefix(f.Path, dir+"/") {
				ignored = true
			} else if ok, _ := filepath.Match(pattern, f.Path); ok && pattern != "" {
				ignored = true
			}
		}
		if !ignored {
			t.Errorf("%s is not in .gitignore", f.Path)
		}
	}
}

func profileNamed(t testing.TB, name string) answers.Answers {
	t.Helper()
	for _, p := range profiles() {
		if p.name == name {
			return p.answers()
		}
	}
	t.Fatalf("no profile %s", name)
	return answers.Answers{}
}

// TestH5ComposeIsHardened reads the compose file as compose does and holds every
// service to the promises in its comments.
func TestH5ComposeIsHardened(t *testing.T) {
	t.Parallel()
	eachProfile(t, func(t *testing.T, a answers.Answers, files []safefile.File) {
		p, err := LoadCompose(context.Background(), fileData(t, files, PathCompose), fileData(t, files, PathEnv))
		if err != nil {
			t.Fatal(err)
		}
		a = a.Resolve()
		if p.Name != a.ProjectName() {
			t.Errorf("project %q, want %q", p.Name, a.ProjectName())
		}
		want := []string{"auth", "caddy", "registry"}
		switch {
		case a.Storage == answers.StorageVersityGW:
			want = append(want, "s3")
		case a.BundlesStore():
			want = []string{"auth", "caddy", "minio", "registry"}
		case a.HasCache():
			want = []string{"auth", "cache", "caddy", "registry"}
		}
		if a.HasAuditService() {
			want = append([]string{"audit"}, want...)
		}
		if got := p.ServiceNames(); !slices.Equal(got, want) {
			t.Errorf("services %q, want %q", got, want)
		}
		for name, s := range p.Services {
			hardened(t, name, s)
			if name != "caddy" && s.User != "1000:1000" {
				t.Errorf("%s runs as %q", name, s.User)
			}
			for _, v := range s.Volumes {
				writable := []string{"/data", "/var/lib/registry", "/srv/deployment/data/auth", "/srv/deployment/audit", "/srv/deployment/state/refresh"}
				if v.Type == types.VolumeTypeBind && !slices.Contains(writable, v.Target) && !v.ReadOnly {
					t.Errorf("%s may write to %s", name, v.Source)
				}
			}
		}
		for net := range p.Services["auth"].Networks {
			if net != "backend" && (net != "egress" || len(a.Logins) == 0) {
				t.Errorf("auth is in network %s", net)
			}
		}
		if !p.Networks["backend"].Internal {
			t.Error("backend is not internal")
		}
		if got := p.Services["registry"].Networks; (got["egress"] != nil || slices.Contains(sortedKeys(got), "egress")) == (a.Storage == answers.StorageFilesystem || a.BundlesStore()) {
			t.Errorf("registry's networks: %q with storage %s", sortedKeys(got), a.Storage)
		}
		for _, v := range p.Services["registry"].Volumes {
			if strings.Contains(v.Source, "conf/keys") {
				t.Error("the registry sees the signing key")
			}
		}
		for name, want := range map[string]string{"auth": a.Images.Auth, "registry": a.Images.Registry, "caddy": a.Images.Caddy} {
			if got := p.Services[name].Image; got != want {
				t.Errorf("%s: image %q, want %q", name, got, want)
			}
		}
		if build := p.Services["auth"].Build; (build != nil) != (a.Engine == answers.EngineBundled) {
			t.Errorf("auth's build = %v with engine %s", build, a.Engine)
		}
		if s, there := p.Services["audit"]; there != (a.Audit && a.Engine == answers.EngineDockerAuth) || there && (s.Build == nil || !slices.Equal(sortedKeys(s.Networks), []string{"backend"})) {
			t.Errorf("service audit: %v, with build %v and networks %q", there, s.Build, sortedKeys(s.Networks))
		} else if there {
			for _, v := range s.Volumes {
				if v.Target != "/srv/deployment/audit" && v.Target != "/srv/deployment/conf/audit" {
					t.Errorf("the audit service sees %s", v.Source)
				}
			}
		}
	})
}

func hardened(t *testing.T, name string, s types.ServiceConfig) {
	t.Helper()
	limits := s.Deploy
	switch {
	case !s.ReadOnly, !slices.Equal(s.CapDrop, []string{"ALL"}), !slices.Contains(s.SecurityOpt, "no-new-privileges:true"):
		t.Errorf("%s: read_only %v, cap_drop %q, security_opt %q", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
	case len(s.Ports) > 0 != (name == "caddy"), len(s.CapAdd) > 0 != (name == "caddy"):
		t.Errorf("%s: ports %v, cap_add %q", name, s.Ports, s.CapAdd)
	case s.HealthCheck == nil, s.Restart != "unless-stopped", s.Logging == nil || s.Logging.Options["max-size"] == "":
		t.Errorf("%s: health check, restart or log limits are missing", name)
	case limits == nil || limits.Resources.Limits == nil || limits.Resources.Limits.MemoryBytes == 0 || limits.Resources.Limits.Pids == 0:
		t.Errorf("%s: no limits of memory and processes", name)
	case !slices.ContainsFunc(s.Tmpfs, func(m string) bool { return strings.HasPrefix(m, "/tmp:") }):
		t.Errorf("%s: no /tmp", name)
	case s.Privileged, s.NetworkMode != "", s.Pid != "":
		t.Errorf("%s: privileged or in a namespace of the host", name)
	}
}

func TestPortsAndGrace(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"localhost": "80:80 443:443", "address-ports": "10.0.0.5:8080:8080 10.0.0.5:8443:8443",
		"tls-files": "[::1]:80:80 [::1]:443:443", "tls-off-behind-proxy": "127.0.0.1:8080:8080",
	} {
		files := plan(t, profileNamed(t, name))
		p, err := LoadCompose(context.Background(), fileData(t, files, PathCompose), fileData(t, files, PathEnv))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, port := range p.Services["caddy"].Ports {
			host := port.HostIP
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			if host != "" {
				host += ":"
			}
			got = append(got, host+port.Published+":"+strconv.Itoa(int(port.Target)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: ports %q, want %q", name, got, want)
		}
		cfg, err := RegistryConfig(fileData(t, files, PathRegistry))
		if err != nil {
			t.Fatal(err)
		}
		drain, reg, proxy := cfg.HTTP.DrainTimeout, *p.Services["registry"].StopGracePeriod, *p.Services["caddy"].StopGracePeriod
		if drain <= 0 || drain >= time.Duration(reg) || time.Duration(reg) >= time.Duration(proxy) {
			t.Errorf("%s: draintimeout %s, grace of registry %s, of caddy %s: want them rising", name, drain, reg, proxy)
		}
	}
}

// TestRulesAreTheDesign compares the rules with the contract, pattern by pattern.
func TestRulesAreTheDesign(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	a.Teams = []answers.Team{{Name: "backend"}}
	a.OwnNamespace, a.AnonymousPull = true, "public/**"
	f, problems := config.Parse(PathAuth, fileData(t, plan(t, a), PathAuth))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p := func(s string) *string { return &s }
	want := []acl.Entry{
		{Match: acl.Match{Labels: []acl.LabelMatch{{Key: "role", Pattern: "administrator"}}}, Actions: []string{"*"}},
		{Match: acl.Match{Labels: []acl.LabelMatch{{Key: "role", Pattern: "developer"}}, Type: p("repository"), Name: p("/^dev-(?:${labels:team})/.+$/")}, Actions: []string{"pull", "push"}},
		{Match: acl.Match{Account: p("/.+/"), Type: p("repository"), Name: p("/^${account}/.+$/")}, Actions: []string{"pull", "push", "delete"}},
		{Match: acl.Match{Account: p("/.+/"), Type: p("repository")}, Actions: []string{"pull"}},
		{Match: acl.Match{Account: p(""), Type: p("repository"), Name: p("/^public/.+$/")}, Actions: []string{"pull"}},
	}
	got := slices.Clone(f.ACL)
	for i := range got {
		if got[i].Comment == "" {
			t.Errorf("entry %d has no comment", i+1)
		}
		got[i].Comment, got[i].Pos = "", acl.Pos{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if _, ok := f.User(""); !ok {
		t.Error("no anonymous account, so the rule for it is never asked")
	}
}

// TestACLCasesHold runs conf/acl-tests.yml on the rules beside it, for every profile.
func TestACLCasesHold(t *testing.T) {
	t.Parallel()
	eachProfile(t, func(t *testing.T, a answers.Answers, files []safefile.File) {
		f, problems := config.Parse(PathAuth, fileData(t, files, PathAuth))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		policy, err := f.Policy()
		if err != nil {
			t.Fatal(err)
		}
		var tests struct {
			Cases []struct {
				Who          string
				Labels       map[string][]string
				Accept, Deny []string
				Reason       string
			}
		}
		if err := yaml.Unmarshal(fileData(t, files, PathACLTests), &tests); err != nil {
			t.Fatal(err)
		}
		for _, c := range tests.Cases {
			account, labels := c.Who, c.Labels
			if account == "anonymous" {
				account = ""
			} else if u, ok := f.User(account); ok {
				if labels != nil {
					t.Errorf("%s is an account and has labels in the case", account)
				}
				labels = u.LabelMap()
			} else if len(labels) == 0 {
				t.Errorf("%s is no account and has no labels", account)
			}
			ask := func(line string) bool {
				action, name, _ := strings.Cut(line, " ")
				d := policy.Decide(&acl.Request{Account: account, Labels: labels, Type: "repository", Name: name, Service: a.Resolve().Service, Actions: []string{action}}, nil)
				return d.Err == nil && slices.Equal(d.Granted, []string{action})
			}
			for _, line := range c.Accept {
				if !ask(line) {
					t.Errorf("%s: %q is denied", c.Who, line)
				}
			}
			for _, line := range c.Deny {
				if ask(line) {
					t.Errorf("%s: %q is allowed", c.Who, line)
				}
			}
		}
		if len(tests.Cases) < 3 {
			t.Errorf("only %d cases", len(tests.Cases))
		}
	})
}

// TestAnonymousNeverExceedsLogin: what anonymous may pull, any account may.
func TestAnonymousNeverExceedsLogin(t *testing.T) {
	t.Parallel()
	for _, pull := range []string{answers.AnonymousNone, answers.AnonymousAll, "public/**", "**", "*/base"} {
		a := answers.Defaults()
		a.AnonymousPull = pull
		f, problems := config.Parse(PathAuth, fileData(t, plan(t, a), PathAuth))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		policy, err := f.Policy()
		if err != nil {
			t.Fatal(err)
		}
		anonymous := 0
		for _, name := range []string{"a", "public/x", "public/x/y", "library/base", "dev-x/y"} {
			for _, action := range []string{"pull", "push", "delete", "*"} {
				r := acl.Request{Type: "repository", Name: name, Service: "localhost", Actions: []string{action}}
				without := len(policy.Decide(&r, nil).Granted)
				r.Account = "somebody"
				with := len(policy.Decide(&r, nil).Granted)
				anonymous += without
				if without > with || without > 0 && action != "pull" {
					t.Errorf("%s: anonymous may %s %s", pull, action, name)
				}
			}
		}
		if (anonymous > 0) != (pull != answers.AnonymousNone) {
			t.Errorf("%s: anonymous was granted %d times", pull, anonymous)
		}
		r := acl.Request{Type: "registry", Name: "catalog", Account: "somebody", Actions: []string{"*"}}
		if d := policy.Decide(&r, nil); len(d.Granted) > 0 {
			t.Error("everybody sees the catalog")
		}
	}
}

// TestH2Injection answers every field with texts that break out of naive templates:
// each is refused, or what is written has exactly the expected services, users and
// sites, and the value arrives as it was.
func TestH2Injection(t *testing.T) {
	t.Parallel()
	payloads := []string{
		"x {\n respond /pwn \"pwned\"\n}\n:21998", "x.example.com\nadmin on", "a'b", "a''b", "' : x", "'\n  'root': {}\n", "\"", "\\", "a\\", "$HOME", "${HOME}", "$$", "$(id)", "`id`",
		"{$HOME}", "{env.HOME}", "{{.HTTPSecret}}", "a #b", "#", "a: b", "- a", "!!str a", "&a", "*a", "a\tb", "a\rb", "a\x00b", "a\u2028b", "\xff", "<script>", "../../etc/passwd", "/", ";", "a,b", "a b", " ",
		"%0a", "a|b", ".*", "|", "[a-z]", "(a)", "^a$", "a=b", "-v=9", "--help", "~", "null", "true", "0", "1e9",
	}
	refused, accepted := 0, 0
	for _, field := range answers.Fields() {
		for _, payload := range payloads {
			a := answers.Defaults()
			a.Domain = "registry.example.com"
			if err := field.Set(&a, []string{payload}); err != nil || len(a.Validate()) > 0 {
				refused++
				continue
			}
			accepted++
			checkArrived(t, a, plan(t, a))
			if t.Failed() {
				t.Fatalf("--%s %q", field.Flag, payload)
			}
		}
	}
	t.Logf("%d refused, %d accepted", refused, accepted)
	if refused+accepted < 100 || accepted == 0 {
		t.Errorf("%d refused, %d accepted: the test tests nothing", refused, accepted)
	}
}

// checkArrived reads everything that was written back and compares it with the answers.
func checkArrived(t testing.TB, a answers.Answers, files []safefile.File) {
	t.Helper()
	r := a.Resolve()
	equal := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	vars, err := dotenv.Parse(bytes.NewReader(fileData(t, files, PathEnv)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"AUTH_IMAGE": r.Images.Auth, "REGISTRY_IMAGE": r.Images.Registry, "CADDY_IMAGE": r.Images.Caddy,
		"REGISTRY_DOMAIN": r.Domain, "AUTH_DOMAIN": r.Domain, "REGISTRY_UID": "1000", "REGISTRY_GID": "1000",
	}
	if r.AuthDomain != "" {
		want["AUTH_DOMAIN"] = r.AuthDomain
	}
	if r.BundlesStore() {
		want["STORAGE_IMAGE"] = r.Images.Storage
	}
	if r.HasAuditService() {
		want["AUDIT_IMAGE"] = r.ProjectName() + "-audit:local"
	}
	equal(".env", vars, want)

	p, err := LoadCompose(context.Background(), fileData(t, files, PathCompose), fileData(t, files, PathEnv))
	if err != nil {
		t.Fatal(err)
	}
	equal("domain in caddy's environment", *p.Services["caddy"].Environment["REGISTRY_DOMAIN"], r.Domain)

	f, problems := config.Parse(PathAuth, fileData(t, files, PathAuth))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	equal("issuer", f.Token.Issuer, r.Issuer)
	equal("services", f.Extras.Services, []string{r.Service})
	var users []answers.User
	for _, u := range f.Users {
		if u.Name == "" {
			continue
		}
		user := answers.User{Name: u.Name}
		for _, l := range u.Labels {
			user.Labels = append(user.Labels, answers.Label{Name: l.Key, Values: l.Values})
		}
		users = append(users, user)
	}
	equal("users", users, a.Accounts())

	cfg, err := RegistryConfig(fileData(t, files, PathRegistry))
	if err != nil {
		t.Fatal(err)
	}
	equal("realm", cfg.Auth["token"]["realm"], any(r.Realm()))
	equal("service", cfg.Auth["token"]["service"], any(r.Service))
	if r.UsesS3() {
		equal("bucket", cfg.Storage["s3"]["bucket"], any(r.S3.Bucket))
	}

	caddy := string(fileData(t, files, PathCaddyfile))
	sites := regexp.MustCompile(`(?m)^[^\s#}].*$`).FindAllString(caddy, -1)
	wantSites := 6
	if r.TwoDomains() {
		wantSites = 7
	}
	if len(sites) != wantSites { // options, three snippets, the sites, the health check
		t.Errorf("Caddyfile has the blocks %q, want %d", sites, wantSites)
	}
	if r.Email != "" && strings.Contains(caddy, "email") && !strings.Contains(caddy, `email "`+r.Email+"\"\n") {
		t.Error("the e-mail address did not arrive")
	}
}

// FuzzAnswers answers the free texts with whatever the fuzzer finds.
func FuzzAnswers(f *testing.F) {
	f.Add("registry.example.com", "ops@example.com", "regctl-setup", "Docker registry", "dev:team=backend", "public/**", "10.0.0.0/8", "registry:3", "bucket", "http://minio:9000")
	f.Add("10.0.0.5", "", "it's", "$HOME #1", "a@b", "none", "::1", "a@sha256:0", "x", "https://[::1]:1")
	for _, s := range nasty()[:20] {
		f.Add(s, s, s, s, s, s, s, s, s, s)
	}
	f.Fuzz(func(t *testing.T, domain, email, issuer, service, user, pattern, proxy, image, bucket, endpoint string) {
		a := answers.Defaults()
		for flag, value := range map[string]string{"domain": domain, "email": email, "issuer": issuer, "service": service, "user": user,
			"anonymous-pull": pattern, "trusted-proxy": proxy, "registry-image": image} {
			field, _ := answers.FieldByFlag(flag)
			_ = field.Set(&a, []string{value}) // refused values leave the default
		}
		with := a
		with.Storage = answers.StorageMinIO
		for flag, value := range map[string]string{"s3-bucket": bucket, "s3-endpoint": endpoint, "s3-credentials-file": "x"} {
			field, _ := answers.FieldByFlag(flag)
			_ = field.Set(&with, []string{value})
		}
		for _, a := range []answers.Answers{a, with} {
			if len(a.Validate()) > 0 {
				continue
			}
			files := plan(t, a)
			if err := Check(context.Background(), files); err != nil {
				t.Fatal(err)
			}
			checkArrived(t, a, files)
		}
	})
}

// TestPlanRefuses: bad answers and bad material, all faults at once, no secret in them.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	a.Domain, a.KeyType = "a b", answers.KeyECDSAP256
	var ps answers.Problems
	if _, err := Plan(a, Material{}); !errors.As(err, &ps) || len(ps) != 2 {
		t.Errorf("bad answers: %v", err)
	}
	for _, c := range []struct {
		name    string
		profile string
		change  func(*Material)
		want    []string
	}{
		{"nothing", "localhost", func(m *Material) { *m = Material{UID: -1} },
			[]string{"no user", "uid -1", "http secret", "signing certificate", "trust bundle or key set is missing"}},
		{"a user without a hash", "localhost", func(m *Material) { m.Users[0].Hash = secret.Text{} }, []string{`user "admin" has no password hash`}},
		{"a user twice", "localhost", func(m *Material) { m.Users = append(m.Users, m.Users[0]) }, []string{"comes twice"}},
		{"short http secret", "localhost", func(m *Material) { m.HTTPSecret = secret.New("hunter2") }, []string{"http secret"}},
		{"no program", "bundled-ecdsa", func(m *Material) { m.EngineBinary = nil }, []string{"engine bundled"}},
		{"weak store keys", "versitygw-bundled", func(m *Material) { m.StoreSecret = secret.New("hunter2\nX=y") }, []string{"keys of the bundled store"}},
		{"no S3 keys", "s3-r2", func(m *Material) { m.S3Credentials = secret.Text{} }, []string{"aws_access_key_id"}},
		{"S3 keys of another profile", "s3-r2", func(m *Material) {
			m.S3Credentials = secret.New("[other]\naws_access_key_id=hunter2\naws_secret_access_key=hunter2\n")
		}, []string{"[default] has no aws_access_key_id"}},
		{"S3 keys that are none", "s3-r2", func(m *Material) { m.S3Credentials = secret.New("hunter2") }, []string{"line 1: expected KEY = VALUE"}},
		{"a GCS key that is none", "gcs-key", func(m *Material) { m.GCSKey = secret.New(`{"type":"hunter2"}`) }, []string{"service account"}},
		{"no Azure secret", "azure-key", func(m *Material) { m.AzureSecret = secret.Text{} }, []string{"Azure secret"}},
		{"an Azure secret of two lines", "azure-key", func(m *Material) { m.AzureSecret = secret.New("hunter2\nx: y") }, []string{PathRegistry}},
		{"no authority's root", "acme-own-authority", func(m *Material) { m.ACMERoot = m.Bundle[:10] }, []string{"--acme-ca-root: holds no certificate"}},
		{"TLS key of another", "tls-files", func(m *Material) { m.TLSKeyPEM = m.AuthKeyPEM }, []string{"--tls-cert and --tls-key"}},
		{"TLS certificate of another", "tls-files", func(m *Material) {
			m.TLSCertPEM, m.TLSKeyPEM = m.CertPEM, m.AuthKeyPEM
		}, []string{"registry.example.com", "auth.example.com"}},
	} {
		a := profileNamed(t, c.profile)
		m := testMaterial(t, a)
		c.change(&m)
		files, err := Plan(a, m)
		if err == nil || files != nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error lacks %q:\n%v", c.name, want, err)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the secret: %v", c.name, err)
		}
	}
}

// TestCheckFindsFaults breaks one file at a time.
func TestCheckFindsFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, path, old, new, want string }{
		{"unknown compose key", PathCompose, "restart: unless-stopped", "restrat: unless-stopped", "restrat"},
		{"missing variable", PathEnv, "CADDY_IMAGE=", "CADDI_IMAGE=", "CADDY_IMAGE"},
		{"empty variable", PathEnv, "REGISTRY_UID='1000'", "REGISTRY_UID=''", "REGISTRY_UID"},
		{"second published port", PathCompose, "    working_dir:", "    ports: ['5001:5001']\n    working_dir:", "auth publishes a port"},
		{"unknown registry key", PathRegistry, "relativeurls", "relativeurl", "relativeurl"},
		{"unknown storage key", PathRegistry, "rootdirectory", "rootdir", "rootdir"},
		{"unknown token key", PathRegistry, "    autoredirect", "    autoredirct", "autoredirct"},
		{"registry open to all", PathRegistry, "auth:\n  token:", "health:\n  token:", PathRegistry},
		{"wrong type", PathRegistry, "draintimeout: 60s", "draintimeout: [60s]", PathRegistry},
		{"unknown auth key", PathAuth, "  expiration:", "  expiratoin:", "expiratoin"},
		{"bad hash", PathAuth, "$2y$10$", "$2y$1$", PathAuth},
		{"other issuer", PathAuth, "issuer: 'regctl-setup'", "issuer: 'other'", "issuer"},
		{"other service", PathAuth, "services: ['localhost']", "services: ['other']", "service"},
		{"other key", PathAuth, "conf/keys/server.key", "conf/keys/other.key", "other.key"},
		{"test case without names", PathACLTests, "'pull library/nginx'", "'pull'", "ACTION REPOSITORY"},
		{"test case with a typo", PathACLTests, "    deny:", "    dney:", "dney"},
		{"open brace", PathCaddyfile, "handle @v2 {", "handle @v2", "brace"},
		{"unknown answer", PathAnswers, "domain: localhost", "domian: localhost", "domian"},
		{"bad answer", PathAnswers, "tls: ''", "tls: 'acme'", "no public certificate authority"},
		{"edited answers", PathAnswers, "# where image data goes", "# where data goes", "read back"},
		{"key of another", PathKey, "-----BEGIN", "-----BEGIM", "is not the key"},
		{"no certificate", PathBundle, "-----BEGIN CERTIFICATE", "-----BEGIN CERTIFICAT", PathBundle},
		{"a key in the bundle", PathBundle, "CERTIFICATE-----", "PRIVATE KEY-----", "expected certificates only"},
		{"one key id", PathJWKS, `"kid"`, `"key_id"`, "under 1 ids"},
		{"no JSON", PathJWKS, "{", "(", PathJWKS},
	} {
		files := plan(t, answers.Defaults())
		changed := false
		for i, f := range files {
			if f.Path == c.path {
				data := strings.ReplaceAll(string(f.Data), c.old, c.new)
				changed = data != string(f.Data)
				files[i].Data = []byte(data)
			}
		}
		if !changed {
			t.Errorf("%s: nothing was broken in %s", c.name, c.path)
			continue
		}
		err := Check(context.Background(), files)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), testHTTPSecret) {
			t.Errorf("%s: the error tells a secret", c.name)
		}
	}
	for _, f := range plan(t, answers.Defaults()) {
		if f.Path == PathGitignore {
			continue
		}
		files := slices.DeleteFunc(plan(t, answers.Defaults()), func(g safefile.File) bool { return g.Path == f.Path })
		if err := Check(context.Background(), files); err == nil || !strings.Contains(err.Error(), f.Path) {
			t.Errorf("without %s: %v", f.Path, err)
		}
	}
	outside := append(plan(t, answers.Defaults()), safefile.File{Path: "../x"}, safefile.File{Path: PathEnv})
	if err := Check(context.Background(), outside); err == nil || !strings.Contains(err.Error(), "leaves the deployment") || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a file outside, one twice: %v", err)
	}
}

// TestCheckIgnoresTheEnvironment: variables of this process change nothing, as they
// would in the registry itself.
func TestCheckIgnoresTheEnvironment(t *testing.T) {
	t.Setenv("REGISTRY_STORAGE", "s3")
	t.Setenv("REGISTRY_HTTP_SECRET", "x")
	t.Setenv("REGISTRY_IMAGE", "elsewhere:1")
	t.Setenv("COMPOSE_PROJECT_NAME", "other")
	files := plan(t, answers.Defaults())
	if err := Check(context.Background(), files); err != nil {
		t.Error(err)
	}
	p, err := LoadCompose(context.Background(), fileData(t, files, PathCompose), fileData(t, files, PathEnv))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "localhost" || p.Services["registry"].Image != answers.ImageRegistry3 {
		t.Errorf("project %q, image %q: read from the environment", p.Name, p.Services["registry"].Image)
	}
}

func TestH3Write(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"localhost", "minio-bundled", "tls-files"} {
		a := profileNamed(t, name)
		files, dirs := plan(t, a), Dirs(a)
		dir := filepath.Join(t.TempDir(), "registry")
		if err := Write(context.Background(), safefile.FS{}, dir, files, dirs); err != nil {
			t.Fatal(err)
		}
		wantDirs := []string{"conf/auth", "conf/caddy", "conf/keys", "conf/registry", "conf/trust", "data/registry", "audit", "state", "secrets"}
		if name == "minio-bundled" {
			wantDirs = append(wantDirs, "data/s3/registry")
		}
		for _, d := range wantDirs {
			if _, ok := dirs[d]; !ok {
				t.Errorf("%s: no folder %s", name, d)
			}
		}
		modes := map[string]fs.FileMode{}
		for d, m := range dirs {
			modes[d] = m | fs.ModeDir
		}
		for _, f := range files {
			modes[f.Path] = f.Mode
			got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
			if err != nil || !bytes.Equal(got, f.Data) {
				t.Errorf("%s: %s: differs from the plan (%v)", name, f.Path, err)
			}
		}
		if runtime.GOOS != "windows" {
			for p, want := range modes {
				info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(p)))
				if err != nil || info.Mode() != want {
					t.Errorf("%s: %s: mode %v, want %v (%v)", name, p, info.Mode(), want, err)
				}
			}
		}
		if err := Write(context.Background(), safefile.FS{}, dir, files, dirs); !errors.Is(err, safefile.ErrNotEmpty) {
			t.Errorf("%s: written over itself: %v", name, err)
		}
	}
}

func BenchmarkPlanAndCheck(b *testing.B) {
	a := profileNamed(b, "acme-teams")
	m := testMaterial(b, a)
	for b.Loop() {
		files, err := Plan(a, m)
		if err == nil {
			err = Check(context.Background(), files)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
