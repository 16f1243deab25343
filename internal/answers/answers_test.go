package answers

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/viper"
)

// full returns answers in which every field differs from its default. They contradict
// each other, which only [Answers.Validate] minds.
func full() Answers {
	return Answers{
		Runtime: RuntimeEmbedded, Engine: EngineBundled, Registry: 2,
		Domain: "registry.example.com", AuthDomain: "auth.example.com", Service: "Docker registry", Issuer: "it's #1: {acme} $HOME",
		TLS: TLSOff, Email: "ops+registry@example.com", ACMECA: "https://[2001:db8::1]:9000/acme/it's-$here/directory", ACMECARoot: "root #1.pem", TLSCert: `C:\certs\full.pem`, TLSKey: "/tmp/a key's \"name\"",
		TrustedProxies: []string{"10.0.0.0/8", "2001:db8::/32"}, Bind: "::1", HTTPPort: 8080, HTTPSPort: 8443, Listen: "[::1]:5001",
		Storage: StorageS3,
		S3:      S3{Provider: ProviderGeneric, Bucket: "my.bucket-1", Region: "eu-1", Endpoint: "http://minio:9000", CredentialsFile: "~/.aws/credentials", Redirect: RedirectOn},
		Azure:   Azure{Account: "acme123", Container: "a-b-c", Credentials: AzureClientSecret, TenantID: "acme.onmicrosoft.com", ClientID: "01234567-89ab-cdef-0123-456789abcdef", SecretFile: "s"},
		GCS:     GCS{Bucket: "b_c.d", KeyFile: "k.json"},
		Delete:  false, AnonymousPull: "public/**", OwnNamespace: true,
		Teams:  []Team{{"backend"}, {"1"}},
		Users:  []User{{Name: "dev", Labels: []Label{{"team", []string{"backend", "web"}}, {"role", []string{"developer"}}}}, {Name: "7"}, {Name: "j.urgen@example.com"}},
		Logins: []string{LoginGoogle, LoginLDAP},
		LDAP: LDAP{Addr: "ldap.example.com:389", TLS: LDAPTLSStartTLS, CAFile: "ca.pem", Base: `ou=a\, b,dc=example`, Filter: "(|(uid=${account})(mail=${account}))",
			BindDN: "cn=it's,dc=example", BindPasswordFile: "p", Labels: []string{"team=memberOf+cn+lower", "role=title"}},
		OIDC:       OIDC{Issuer: "https://login.example.com/realms/a", ClientID: "id #1", ClientSecretFile: "s", UserClaim: "sub", LabelClaims: []string{"groups"}, Scopes: []string{"openid", "profile"}},
		GitHub:     GitHub{Organization: "acme-1", ClientID: "g", ClientSecretFile: "s", URL: "https://github.example.com"},
		GitLab:     GitLab{URL: "https://git.example.com:8443/gitlab", ClientID: "l", ClientSecretFile: "s"},
		Google:     Google{Domain: "example.com", ClientID: "1-2.apps.googleusercontent.com", ClientSecretFile: "s"},
		Cache:      Cache{Domain: "cache.example.com", Upstream: "http://up.example.com:5000", Username: "robot$x", PasswordFile: "p", TTL: "0"},
		Expiration: 900, KeyType: KeyECDSAP256,
		Images: Images{AllowOld: true, Auth: "a:1", Registry: "b.example.com:5000/c/d:2", Caddy: "caddy@sha256:" + strings.Repeat("0", 64), Storage: "e:3"},
	}
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if ps := Defaults().Validate(); len(ps) > 0 {
		t.Errorf("Defaults().Validate() = %v", ps)
	}
	if ps := Defaults().Warnings(); len(ps) > 0 {
		t.Errorf("Defaults().Warnings() = %v", ps)
	}
	r := Defaults().Resolve()
	if r.TLS != TLSInternal || r.Service != "localhost" || r.Images.Auth != ImageDockerAuth || r.Images.Registry != ImageRegistry3 {
		t.Errorf("Defaults().Resolve() = %+v", r)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, a := range []Answers{Defaults(), full()} {
		once := a.Resolve()
		if diff := cmp.Diff(once, once.Resolve()); diff != "" {
			t.Errorf("Resolve is not idempotent:\n%s", diff)
		}
	}
	a := Defaults()
	a.Domain, a.Engine, a.Registry, a.Storage = "r.example.com", EngineBundled, 2, StorageVersityGW
	r := a.Resolve()
	for _, c := range []struct{ what, got, want string }{
		{"tls", r.TLS, TLSACME},
		{"service", r.Service, "r.example.com"},
		{"auth image", r.Images.Auth, "r-example-com-auth:local"},
		{"registry image", r.Images.Registry, ImageRegistry2},
		{"store image", r.Images.Storage, ImageVersityGW},
		{"bucket", r.S3.Bucket, "registry"},
		{"endpoint", r.S3.Endpoint, "http://s3:7070"},
		{"redirect", r.S3.Redirect, RedirectOff},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.what, c.got, c.want)
		}
	}
}

func TestS3Presets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		provider, region, endpoint         string
		wantRegion, wantSign, wantEndpoint string
		pathStyle                          bool
		redirect                           string
	}{
		{ProviderAWS, "eu-central-1", "", "eu-central-1", "eu-central-1", "", false, RedirectOn},
		{ProviderR2, "", "https://x.r2.cloudflarestorage.com", "auto", "auto", "https://x.r2.cloudflarestorage.com", true, RedirectOn},
		{ProviderB2, "us-west-004", "", "us-west-004", "us-west-004", "https://s3.us-west-004.backblazeb2.com", true, RedirectOn},
		{ProviderWasabi, "eu-central-1", "", "eu-central-1", "eu-central-1", "https://s3.eu-central-1.wasabisys.com", true, RedirectOn},
		{ProviderSpaces, "fra1", "", "fra1", "us-east-1", "https://fra1.digitaloceanspaces.com", true, RedirectOn},
		{ProviderGarage, "", "http://garage:3900", "garage", "garage", "http://garage:3900", true, RedirectOff},
		{ProviderGeneric, "", "https://s3.lan", "us-east-1", "us-east-1", "https://s3.lan", true, RedirectOff},
	} {
		a := Defaults()
		a.Storage = StorageS3
		a.S3.Provider, a.S3.Region, a.S3.Endpoint = c.provider, c.region, c.endpoint
		s := a.Resolve().S3
		if s.Region != c.wantRegion || s.SignRegion() != c.wantSign || s.Endpoint != c.wantEndpoint || s.PathStyle() != c.pathStyle || s.Redirect != c.redirect {
			t.Errorf("%s: %+v, signs %s, path style %v; want %+v", c.provider, s, s.SignRegion(), s.PathStyle(), c)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                 string
		change               func(*Answers)
		host, realm, project string
	}{
		{"defaults", func(*Answers) {}, "localhost", "https://localhost/auth", "localhost"},
		{"port", func(a *Answers) { a.HTTPSPort = 8443 }, "localhost:8443", "https://localhost:8443/auth", "localhost-8443"},
		{"domain", func(a *Answers) { a.Domain = "r.example.com" }, "r.example.com", "https://r.example.com/auth", "r-example-com"},
		{"two domains", func(a *Answers) { a.Domain, a.AuthDomain = "r.example.com", "a.example.com" }, "r.example.com", "https://a.example.com/auth", "r-example-com"},
		{"address", func(a *Answers) { a.Domain = "10.0.0.5" }, "10.0.0.5", "https://10.0.0.5/auth", "10-0-0-5"},
		{"plain http", func(a *Answers) { a.TLS, a.HTTPPort = TLSOff, 8080 }, "localhost:8080", "http://localhost:8080/auth", "localhost"},
		{"behind a proxy", func(a *Answers) {
			a.Domain, a.TLS, a.HTTPPort, a.TrustedProxies = "r.example.com", TLSOff, 8080, []string{"10.0.0.0/8"}
		}, "r.example.com", "https://r.example.com/auth", "r-example-com"},
	} {
		a := Defaults()
		c.change(&a)
		if a.Host() != c.host || a.Realm() != c.realm || a.ProjectName() != c.project {
			t.Errorf("%s: %q, %q, %q; want %q, %q, %q", c.name, a.Host(), a.Realm(), a.ProjectName(), c.host, c.realm, c.project)
		}
		if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`).MatchString(a.ProjectName()) {
			t.Errorf("%s: compose refuses the project name %q", c.name, a.ProjectName())
		}
	}
}

func TestIsPublicName(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"registry.example.com": true, "a.io": true, "xn--bcher-kva.ch": true,
		"localhost": false, "registry": false, "registry.local": false, "r.lan": false, "r.home.arpa": false, "home.arpa": false,
		"r.internal": false, "x.localhost": false, "10.0.0.5": false, "r.test": false, "r.EXAMPLE": false,
	} {
		if got := IsPublicName(host); got != want {
			t.Errorf("IsPublicName(%q) = %v, want %v", host, got, want)
		}
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	role := func(v string) Label { return Label{RoleLabel, []string{v}} }
	a := Defaults()
	a.Users = []User{
		{Name: "dev", Labels: []Label{{TeamLabel, []string{"web"}}}},
		{Name: "boss", Labels: []Label{{TeamLabel, []string{"web"}}, role("administrator")}},
		{Name: "ci"},
	}
	want := []User{
		{Name: "admin", Labels: []Label{role("administrator")}},
		{Name: "dev", Labels: []Label{{TeamLabel, []string{"web"}}, role("developer")}},
		a.Users[1], a.Users[2],
	}
	if diff := cmp.Diff(want, a.Accounts()); diff != "" {
		t.Errorf("Accounts (-want +got):\n%s", diff)
	}
	if got := a.TeamNames(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("TeamNames() = %q, want the users' teams too", got)
	}
	a.Users = []User{{Name: "admin"}}
	if got := a.Accounts(); len(got) != 1 || got[0].Label(RoleLabel)[0] != "administrator" {
		t.Errorf("an answered admin without a role = %+v", got)
	}
	if a.Users[0].Labels != nil {
		t.Error("Accounts changed the answers")
	}
}

// TestFieldsCoverAnswers compares the table of fields with the struct: every key of one
// is a key of the other, and both decoders know it by the same name.
func TestFieldsCoverAnswers(t *testing.T) {
	t.Parallel()
	var keys []string
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, prefix string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			tag := f.Tag.Get("yaml")
			if tag == "" || tag != f.Tag.Get("mapstructure") {
				t.Errorf("%s.%s: tags yaml %q, mapstructure %q", typ.Name(), f.Name, tag, f.Tag.Get("mapstructure"))
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, prefix+tag+".")
				continue
			}
			keys = append(keys, prefix+tag)
		}
	}
	walk(reflect.TypeFor[Answers](), "")
	var fields []string
	flags := map[string]bool{}
	for _, f := range Fields() {
		fields = append(fields, f.Key)
		if flags[f.Flag] || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(f.Flag) {
			t.Errorf("flag %q is taken or badly formed", f.Flag)
		}
		flags[f.Flag] = true
		if f.Help == "" || f.Group == "" || strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: help %q, group %q", f.Key, f.Help, f.Group)
		}
		if !regexp.MustCompile(`^REGCTL_SETUP_[A-Z0-9_]+$`).MatchString(f.Env()) {
			t.Errorf("%s: variable %q", f.Key, f.Env())
		}
	}
	slices.Sort(keys)
	slices.Sort(fields)
	if diff := cmp.Diff(keys, fields); diff != "" {
		t.Errorf("struct (-) and fields (+) differ:\n%s", diff)
	}
	// DESIGN's flags, by name: scripts rely on them.
	for _, flag := range strings.Fields(`domain auth-domain email tls tls-cert tls-key trusted-proxy bind http-port https-port storage
		s3-provider s3-bucket s3-region s3-endpoint s3-credentials-file registry engine runtime anonymous-pull own-namespace team user
		delete expiration key-type issuer service`) {
		if !flags[flag] {
			t.Errorf("no flag --%s", flag)
		}
	}
}

// TestFieldsCopy copies answers field by field, as text, and expects all of them back.
func TestFieldsCopy(t *testing.T) {
	t.Parallel()
	for _, from := range []Answers{Defaults(), full()} {
		var to Answers
		for _, f := range Fields() {
			if err := f.Set(&to, f.Get(&from)); err != nil {
				t.Errorf("%s: Set(%q): %v", f.Key, f.Get(&from), err)
			}
		}
		if diff := cmp.Diff(from, to, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("copy differs (-want +got):\n%s", diff)
		}
	}
}

func TestFieldSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flag, text string
		want       string // text afterwards
		err        string // substring; "" = none
	}{
		{"domain", "Registry.Example.COM", "registry.example.com", ""},
		{"domain", "https://x.example.com", "localhost", "holds a scheme"},
		{"domain", "x.example.com:5000", "localhost", "holds a port"},
		{"domain", "x_y.example.com", "localhost", "expected a host name"},
		{"domain", "::1", "localhost", "IPv6"},
		{"domain", "1.2.3", "localhost", "ends like a number"},
		{"domain", "", "localhost", "expected a host name"},
		{"tls", "acmee", "", "did you mean acme?"},
		{"tls", "nothing", "", "expected acme, acme-staging, internal, files, off"},
		{"registry", "4", "3", "expected 3, 2"},
		{"registry", "2", "2", ""},
		{"https-port", "0", "443", "expected a port"},
		{"https-port", "99999", "443", "expected a port"},
		{"expiration", "1h30m", "5400", ""},
		{"expiration", "5", "3600", "from 60 seconds"},
		{"expiration", "soon", "3600", "expected seconds"},
		{"delete", "false", "false", ""},
		{"delete", "no", "true", "expected true or false"},
		{"team", "a b", "a b", ""},
		{"team", "A", "", "expected lower-case"},
		{"team", "a.b", "", "expected lower-case"},
		{"team", "a--b", "", "expected lower-case"},
		{"user", "dev:team=a,team=b,role=x bob", "dev:team=a,team=b,role=x bob", ""},
		{"user", "dev:team", "", "expected KEY=VALUE"},
		{"user", "dev:team=a.*", "", "expected lower-case"},
		{"user", "anonymous", "", "account without credentials"},
		{"user", "-x", "", "beginning with a letter"},
		{"user", "a$b", "", "expected letters"},
		{"user", "é", "", "expected letters"},
		{"trusted-proxy", "10.0.0.0/8 192.0.2.1", "10.0.0.0/8 192.0.2.1", ""},
		{"trusted-proxy", "10.0.0.1/8", "", "expected 10.0.0.0/8"},
		{"trusted-proxy", "0.0.0.0/0", "", "every address"},
		{"bind", "eth0", "", "expected an IP address"},
		{"listen", ":5000", "localhost:5000", "expected HOST:PORT"},
		{"listen", "127.0.0.1:5001", "127.0.0.1:5001", ""},
		{"email", "ops@example.com", "ops@example.com", ""},
		{"email", "a b@example.com", "", "expected an e-mail address"},
		{"email", "ops@example.com\nadmin on", "", "expected an e-mail address"},
		{"issuer", "", "regctl-setup", "must not be empty"},
		{"issuer", `a"b`, "regctl-setup", "HTTP header"},
		{"issuer", "a\nb", "regctl-setup", "control character"},
		{"service", "Docker registry", "Docker registry", ""},
		{"service", "café", "", "plain ASCII"},
		{"anonymous-pull", "public/**", "public/**", ""},
		{"anonymous-pull", "public**", "none", "must stand alone"},
		{"anonymous-pull", "Public/*", "none", "characters of repository names"},
		{"registry-image", "registry", "", "neither tag nor digest"},
		{"registry-image", "Registry:3", "", "expected an image reference"},
		{"storage-image", "minio/minio:latest", "", "deleted from Docker Hub"},
		{"storage-image", "docker.io/minio/minio:latest", "", "deleted from Docker Hub"},
		{"s3-endpoint", "s3.example.com", "", "expected a URL"},
		{"s3-endpoint", "https://user:pw@s3.example.com", "", "expected a URL"},
		{"s3-endpoint", "https://s3.example.com/bucket", "", "expected a URL"},
		{"s3-endpoint", "http://my_minio:9000", "http://my_minio:9000", ""},
		{"s3-bucket", "A", "", "expected a bucket's name"},
		{"s3-bucket", "10.0.0.1", "", "looks like an address"},
		{"acme-ca", "https://ca.internal:9000/acme/acme/directory", "https://ca.internal:9000/acme/acme/directory", ""},
		{"acme-ca", "http://ca.internal/directory", "", "is not https"},
		{"acme-ca", "ca.internal/directory", "", "is not https"},
		{"acme-ca", "https:///directory", "", "expected the URL of an ACME directory"},
		{"acme-ca", "https://u:p@ca.internal/directory", "", "expected the URL of an ACME directory"},
		{"acme-ca", "https://ca.internal:0/directory", "", "expected the URL of an ACME directory"},
		{"acme-ca", "https://ca.internal/{env.HOME}", "", "without braces"},
		{"acme-ca", "https://ca.internal/a\nadmin on", "", "expected the URL of an ACME directory"},
		{"tls-cert", "a\x00b", "", "expected the path"},
	} {
		a := Defaults()
		f, ok := FieldByFlag(c.flag)
		if !ok {
			t.Fatalf("no flag %s", c.flag)
		}
		err := f.SetText(&a, c.text)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("--%s %q: %v", c.flag, c.text, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), "--"+c.flag+": ")):
			t.Errorf("--%s %q: error %v, want --%s: … %q", c.flag, c.text, err, c.flag, c.err)
		}
		if got := f.Text(&a); got != c.want {
			t.Errorf("--%s %q: stored %q, want %q", c.flag, c.text, got, c.want)
		}
	}
}

func TestNamePattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, want string
		yes, no       []string
	}{
		{"public/**", "/^public/.+$/", []string{"public/a", "public/a/b"}, []string{"public", "xpublic/a", "private/public/a"}},
		{"base/*", "/^base/[^/]+$/", []string{"base/a"}, []string{"base/a/b", "base/"}},
		{"a.b/c*", `/^a\.b/c[^/]*$/`, []string{"a.b/c", "a.b/cd"}, []string{"axb/c", "a.b/c/d"}},
		{"**", "/^.+$/", []string{"a", "a/b"}, nil},
		{"**/nginx", "/^.+/nginx$/", []string{"a/nginx", "a/b/nginx"}, []string{"nginx", "a/nginx2"}},
		{"library/nginx", "/^library/nginx$/", []string{"library/nginx"}, []string{"library/nginx/x"}},
	} {
		got, err := NamePattern(c.pattern)
		if err != nil || got != c.want {
			t.Errorf("NamePattern(%q) = %q, %v; want %q", c.pattern, got, err, c.want)
			continue
		}
		re := regexp.MustCompile(strings.Trim(got, "/"))
		for _, name := range c.yes {
			if !re.MatchString(name) {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
		}
		for _, name := range c.no {
			if re.MatchString(name) {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
	}
	for _, bad := range []string{"", "/a", "a/", "a//b", "a**", "A", "a:b", "a|b", "a b", "a/../b", "$", "${account}", "a\n"} {
		if got, err := NamePattern(bad); err == nil {
			t.Errorf("NamePattern(%q) = %q, want an error", bad, got)
		}
	}
}

// TestViper reads the file as viper does and expects the same answers.
func TestViper(t *testing.T) {
	t.Parallel()
	for _, want := range []Answers{Defaults(), full()} {
		v := viper.New()
		v.SetConfigType("yaml")
		if err := v.ReadConfig(strings.NewReader(string(want.Marshal()))); err != nil {
			t.Fatal(err)
		}
		got := Defaults()
		if err := v.UnmarshalExact(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("viper reads something else (-want +got):\n%s", diff)
		}
	}
}
