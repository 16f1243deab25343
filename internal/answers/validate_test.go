package answers

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	public := func(a *Answers) { a.Domain = "registry.example.com" }
	ldap := func(a *Answers) { a.Logins, a.LDAP.Addr, a.LDAP.Base = []string{LoginLDAP}, "ldap.lan:636", "dc=lan" }
	for _, c := range []struct {
		name   string
		change func(*Answers)
		want   []string // "flag: substring", in order; nil = valid
	}{
		{"public name", public, nil},
		{"ecdsa with docker_auth", func(a *Answers) { a.KeyType = KeyECDSAP256 }, []string{"key-type: docker_auth"}},
		{"ecdsa, bundled", func(a *Answers) { a.KeyType, a.Engine = KeyECDSAP256, EngineBundled }, nil},
		{"ecdsa, embedded", func(a *Answers) { a.KeyType, a.Runtime = KeyECDSAP256, RuntimeEmbedded }, nil},
		{"acme on localhost", func(a *Answers) { a.TLS = TLSACME }, []string{"tls: no public certificate authority"}},
		{"acme on an address", func(a *Answers) { a.Domain, a.TLS = "192.0.2.1", TLSACMEStaging }, []string{"tls: \"192.0.2.1\""}},
		{"acme with a private token domain", func(a *Answers) { public(a); a.AuthDomain = "auth.lan" }, []string{"tls: --auth-domain"}},
		{"private names under an authority of one's own", func(a *Answers) {
			a.Domain, a.ACMECA, a.ACMECARoot, a.Cache.Domain = "registry.internal", "https://ca.internal/directory", "root.pem", "hub.lan"
		}, nil},
		{"an address under an authority of one's own", func(a *Answers) { a.Domain, a.ACMECA = "192.0.2.1", "https://ca.internal/directory" }, nil},
		{"localhost under an authority of one's own", func(a *Answers) { a.ACMECA = "https://ca.internal/directory" }, []string{"acme-ca: \"localhost\""}},
		{"an authority under other TLS", func(a *Answers) {
			public(a)
			a.TLS, a.ACMECA, a.ACMECARoot = TLSInternal, "https://ca.internal/directory", "root.pem"
		}, []string{"acme-ca: --tls is internal; expected --tls acme", "acme-ca-root: --tls is internal"}},
		{"two authorities", func(a *Answers) { public(a); a.TLS, a.ACMECA = TLSACMEStaging, "https://ca.internal/directory" },
			[]string{"acme-ca: --tls is acme-staging"}},
		{"a root of nobody", func(a *Answers) { public(a); a.ACMECARoot = "root.pem" }, []string{"acme-ca-root: without --acme-ca"}},
		{"bad domain is said once", func(a *Answers) { a.Domain, a.TLS = "x y", TLSACME }, []string{"domain: expected a host name"}},
		{"files without files", func(a *Answers) { a.TLS = TLSFiles }, []string{"tls-cert: missing", "tls-key: missing"}},
		{"files without --tls files", func(a *Answers) { a.TLSCert = "x" }, []string{"tls-cert: --tls is internal"}},
		{"tls off in the open", func(a *Answers) { public(a); a.TLS = TLSOff }, []string{"trusted-proxy: missing"}},
		{"tls off on localhost", func(a *Answers) { a.TLS = TLSOff }, nil},
		{"same domain twice", func(a *Answers) { public(a); a.AuthDomain = a.Domain }, []string{"auth-domain: registry's domain too"}},
		{"an address for tokens", func(a *Answers) { a.Domain, a.AuthDomain = "10.0.0.5", "10.0.0.6" }, []string{"auth-domain: clients refuse"}},
		{"same port twice", func(a *Answers) { a.HTTPPort = 443 }, []string{"https-port: two ports"}},
		{"health port", func(a *Answers) { a.HTTPPort = 2020 }, []string{"http-port: health check"}},
		{"embedded with s3", func(a *Answers) {
			a.Runtime, a.Storage, a.S3.Bucket, a.S3.Region = RuntimeEmbedded, StorageS3, "bucket", "eu-west-1"
		}, []string{"storage: on disk only"}},
		{"s3 without anything", func(a *Answers) { a.Storage = StorageS3 }, []string{"s3-bucket: missing", "s3-region: missing"}},
		{"aws with an endpoint", func(a *Answers) {
			a.Storage, a.S3.Bucket, a.S3.Region, a.S3.Endpoint = StorageS3, "bucket", "eu-west-1", "https://x.example.com"
		}, []string{"s3-endpoint: AWS is reached by its region"}},
		{"r2 without its things, registry 2", func(a *Answers) {
			a.Storage, a.S3.Provider, a.S3.Bucket, a.Registry = StorageS3, ProviderR2, "bucket", 2
		}, []string{"s3-endpoint: missing", "s3-provider: uneven parts", "s3-credentials-file: missing"}},
		{"s3 settings without s3", func(a *Answers) { a.S3.Bucket, a.S3.Provider = "bucket", ProviderB2 }, []string{"s3-bucket: --storage is filesystem", "s3-provider: --storage is filesystem"}},
		{"a store image with s3", func(a *Answers) {
			a.Storage, a.S3.Bucket, a.S3.Region, a.Images.Storage = StorageS3, "bucket", "eu-west-1", "x:1"
		}, []string{"storage-image: no object store"}},
		{"minio, neither nor", func(a *Answers) { a.Storage = StorageMinIO }, []string{"s3-endpoint: missing", "s3-bucket: missing", "s3-credentials-file: missing"}},
		{"minio, both", func(a *Answers) { a.Storage, a.Images.Storage, a.S3.Endpoint = StorageMinIO, "x:1", "http://m:9000" }, []string{"s3-endpoint: --storage-image"}},
		{"minio bundled", func(a *Answers) { a.Storage, a.Images.Storage = StorageMinIO, "x:1" }, nil},
		{"versitygw elsewhere", func(a *Answers) {
			a.Storage, a.S3.Endpoint, a.S3.Redirect = StorageVersityGW, "http://m:9000", RedirectOn
		}, []string{"s3-endpoint: beside the registry", "s3-redirect: can't reach"}},
		{"azure without anything", func(a *Answers) { a.Storage = StorageAzure }, []string{"azure-account: missing", "azure-container: missing", "azure-secret-file: missing"}},
		{"azure client without ids, registry 2", func(a *Answers) {
			a.Storage, a.Registry = StorageAzure, 2
			a.Azure = Azure{Account: "acme", Container: "images", Credentials: AzureClientSecret, SecretFile: "x"}
		}, []string{"azure-tenant-id: missing", "azure-client-id: missing", "azure-credentials: registry 2"}},
		{"azure settings without azure", func(a *Answers) { a.Azure.Account = "acme" }, []string{"azure-account: --storage is filesystem"}},
		{"gcs without a bucket", func(a *Answers) { a.Storage = StorageGCS }, []string{"gcs-bucket: missing"}},
		{"gcs settings without gcs", func(a *Answers) { a.GCS.KeyFile = "x" }, []string{"gcs-key-file: --storage is filesystem"}},
		{"a team twice", func(a *Answers) { a.Teams = []Team{{"a"}, {"a"}} }, []string{"team: twice"}},
		{"user twice", func(a *Answers) { a.Users = []User{{Name: "a"}, {Name: "a"}} }, []string{"user: twice"}},
		{"label twice", func(a *Answers) {
			a.Users = []User{{Name: "a", Labels: []Label{{"x", []string{"1"}}, {"x", []string{"2"}}}}}
		}, []string{"user: give it a list"}},
		{"label without value", func(a *Answers) { a.Users = []User{{Name: "a", Labels: []Label{{"x", nil}}}} }, []string{"user: no value"}},
		{"label value that is a pattern", func(a *Answers) {
			a.Users = []User{{Name: "a", Labels: []Label{{"team", []string{".*", "a|b", "", "a,b=c"}}}}}
		}, []string{`user: value ".*"`, `user: value "a|b"`, `user: value ""`, `user: value "a,b=c"`}},
		{"owner of a team's namespace", func(a *Answers) {
			a.OwnNamespace, a.Teams, a.Users = true, []Team{{"web"}}, []User{{Name: "dev-web"}}
		}, []string{"user: would own the namespace"}},
		{"ldap without anything", func(a *Answers) { a.Logins = []string{LoginLDAP} }, []string{"ldap-addr: missing", "ldap-base: missing"}},
		{"ldap whole", ldap, nil},
		{"ldap, bundled", func(a *Answers) { ldap(a); a.Engine = EngineBundled }, []string{"login: ldap can't be had with --engine bundled"}},
		{"ldap, embedded", func(a *Answers) { ldap(a); a.Runtime = RuntimeEmbedded }, []string{"login: ldap can't be had with --runtime embedded"}},
		{"ldap in parts", func(a *Answers) {
			ldap(a)
			a.LDAP.BindDN, a.LDAP.TLS, a.LDAP.CAFile, a.LDAP.Labels = "cn=a", LDAPTLSNone, "ca", []string{"team=ou", "team=cn"}
		}, []string{"ldap-bind-password-file: missing", "ldap-ca-file: --ldap-tls is none", "ldap-label: twice"}},
		{"ldap settings without ldap", func(a *Answers) { a.LDAP.Addr, a.LDAP.Filter = "h:1", "(a=${account})" }, []string{"ldap-addr: without --login ldap", "ldap-filter: without --login ldap"}},
		{"a login twice", func(a *Answers) { ldap(a); a.Logins = append(a.Logins, LoginLDAP) }, []string{"login: twice"}},
		{"oidc without anything", func(a *Answers) { a.Logins = []string{LoginOIDC} }, []string{"oidc-client-id: missing", "oidc-client-secret-file: missing", "oidc-issuer: missing"}},
		{"oidc with everybody", func(a *Answers) {
			a.Logins, a.OIDC = []string{LoginOIDC}, OIDC{Issuer: "https://accounts.google.com", ClientID: "x", ClientSecretFile: "s", Scopes: []string{"email"}}
		}, []string{"oidc-issuer: everybody", "oidc-scope: lacks openid"}},
		{"github without an organisation", func(a *Answers) {
			a.Logins, a.GitHub = []string{LoginGitHub}, GitHub{ClientID: "x", ClientSecretFile: "s"}
		}, []string{"github-organization: everybody at GitHub"}},
		{"gitlab.com", func(a *Answers) {
			a.Logins, a.GitLab = []string{LoginGitLab}, GitLab{URL: "https://gitlab.com", ClientID: "x", ClientSecretFile: "s"}
		}, []string{"gitlab-url: checks no group"}},
		{"google without a domain", func(a *Answers) {
			a.Logins, a.Google = []string{LoginGoogle}, Google{ClientID: "x", ClientSecretFile: "s"}
		}, []string{"google-domain: everybody"}},
		{"cache", func(a *Answers) { public(a); a.Cache.Domain = "hub.example.com" }, nil},
		{"cache settings without a cache", func(a *Answers) { a.Cache.Username, a.Cache.TTL = "x", "24h" }, []string{"cache-username: without --cache-domain", "cache-ttl: without --cache-domain"}},
		{"cache with everything wrong", func(a *Answers) {
			public(a)
			a.Registry, a.Cache = 2, Cache{Domain: "registry.example.com", Upstream: "http://docker.io", Username: "x", TTL: "1h"}
		}, []string{"cache-domain: CVE-2026-33540", "cache-domain: --domain too", "cache-password-file: missing", "cache-upstream: not https", "cache-upstream: a web site"}},
		{"cache by address", func(a *Answers) { a.Cache.Domain = "10.0.0.6" }, []string{"cache-domain: an address"}},
		{"cache with a private name under acme", func(a *Answers) { public(a); a.Cache.Domain = "hub.lan" }, []string{"tls: --cache-domain"}},
		{"old images", func(a *Answers) {
			a.Images = Images{Auth: "cesanta/docker_auth:1.12.0", Registry: "registry:3.0.0", Caddy: "mirror.lan:5000/caddy:2.10"}
		}, []string{"auth-image: /auth/token", "registry-image: CVE-2026-41888", "caddy-image: CVE-2026-27587"}},
		{"old images, asked for", func(a *Answers) {
			a.Images = Images{Registry: "registry:3.0.0", Caddy: "caddy:2.10", AllowOld: true}
		}, nil},
		{"registry 2's image with 3", func(a *Answers) { a.Images.Registry = "registry:2" }, []string{"registry-image: is registry 2"}},
		{"registry 2 too old", func(a *Answers) { a.Registry, a.Images.Registry = 2, "registry:2.8.2" }, []string{"registry-image: CVE-2023-2253"}},
		{"everything at once", func(a *Answers) {
			a.Domain, a.Email, a.HTTPPort, a.Bind, a.TrustedProxies = "a b", "x", 0, "y", []string{"z", "10.0.0.0/8", "w"}
		}, []string{"domain: ", "email: ", "trusted-proxy: \"z\"", "trusted-proxy: \"w\"", "bind: ", "http-port: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := Defaults()
			c.change(&a)
			got := a.Validate()
			if len(got) != len(c.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(got), len(c.want), got)
			}
			for i, p := range got {
				flag, text, _ := strings.Cut(c.want[i], ": ")
				if p.Flag != flag || !strings.Contains(p.Msg, text) || p.Key == "" {
					t.Errorf("problem %d = %v (key %q), want --%s … %q", i, p, p.Key, flag, text)
				}
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Answers)
		flags  []string
	}{
		{"registry 2", func(a *Answers) { a.Registry = 2 }, []string{"registry", "delete"}},
		{"staging", func(a *Answers) { a.Domain, a.TLS = "r.example.com", TLSACMEStaging }, []string{"tls"}},
		{"acme on other ports", func(a *Answers) { a.Domain, a.HTTPPort, a.HTTPSPort = "r.example.com", 8080, 8443 }, []string{"tls"}},
		{"acme on loopback", func(a *Answers) { a.Domain, a.Bind = "r.example.com", "127.0.0.1" }, []string{"bind"}},
		{"an authority in the container", func(a *Answers) { a.Domain, a.ACMECA = "r.lan", "https://127.0.0.1:9000/directory" }, []string{"acme-ca"}},
		{"minio", func(a *Answers) { a.Storage, a.Images.Storage = StorageMinIO, "x:1" }, []string{"storage"}},
		{"short tokens", func(a *Answers) { a.Expiration = 300 }, []string{"expiration"}},
		{"plain ldap", func(a *Answers) {
			a.Logins, a.LDAP.Addr, a.LDAP.Base, a.LDAP.TLS, a.OwnNamespace = []string{LoginLDAP}, "ldap.lan:389", "dc=lan", LDAPTLSNone, true
		}, []string{"ldap-tls", "own-namespace"}},
		{"a GitLab, a cache's account", func(a *Answers) {
			a.Logins, a.GitLab = []string{LoginGitLab}, GitLab{URL: "https://git.lan", ClientID: "x", ClientSecretFile: "s"}
			a.Cache.Domain, a.Cache.Username, a.Cache.PasswordFile = "hub.lan", "x", "p"
		}, []string{"gitlab-url", "cache-username"}},
		{"no delete", func(a *Answers) { a.Delete, a.OwnNamespace = false, true }, []string{"own-namespace"}},
	} {
		a := Defaults()
		c.change(&a)
		if ps := a.Validate(); len(ps) > 0 {
			t.Errorf("%s: %v", c.name, ps)
		}
		var flags []string
		for _, w := range a.Warnings() {
			flags = append(flags, w.Flag)
		}
		if strings.Join(flags, " ") != strings.Join(c.flags, " ") {
			t.Errorf("%s: warnings for %q, want %q", c.name, flags, c.flags)
		}
	}
}
