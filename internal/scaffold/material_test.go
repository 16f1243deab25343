package scaffold

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Secrets of the test material. Each must turn up only where it belongs.
const (
	testHTTPSecret    = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	testStoreKey      = "TESTSTOREACCESSKEY01"
	testStoreSecret   = "TestStoreSecretKey0123456789abcdefghijkl"
	testAzure         = "dGVzdC1henVyZS1hY2NvdW50LWtleQ=="
	testHash          = "$2y$10$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"
	testS3File        = "[default]\naws_access_key_id = TESTEXTERNALKEY00001\naws_secret_access_key = it's $ecret #1 \\ = \"x\"\n"
	testLoginSecret   = "TestLoginSecret-"
	testCachePassword = "it's a $ecret: #1"
	testGCSKey        = `{"type": "service_account", "client_email": "r@p.iam.gserviceaccount.com", "private_key": "TESTGCSPRIVATEKEY"}`
)

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// testMaterial returns what the answers need, the same on every run.
func testMaterial(t testing.TB, a answers.Answers) Material {
	t.Helper()
	pair := "rsa"
	if a.KeyType == answers.KeyECDSAP256 {
		pair = "ecdsa"
	}
	cert := readTestdata(t, "keys/"+pair+".pem")
	m := Material{
		AuthKeyPEM: secret.New(string(readTestdata(t, "keys/"+pair+".key"))),
		CertPEM:    cert, Bundle: cert, JWKS: testJWKS(t, cert),
		HTTPSecret: secret.New(testHTTPSecret),
		UID:        1000, GID: 1000,
	}
	for _, u := range a.Accounts() {
		m.Users = append(m.Users, UserHash{Name: u.Name, Hash: secret.New(testHash), Labels: u.Labels})
	}
	if a.BundlesStore() {
		m.StoreKeyID, m.StoreSecret = secret.New(testStoreKey), secret.New(testStoreSecret)
	}
	if a.S3.CredentialsFile != "" {
		m.S3Credentials = secret.New(testS3File)
	}
	if a.GCS.KeyFile != "" {
		m.GCSKey = secret.New(testGCSKey)
	}
	if a.Azure.SecretFile != "" {
		m.AzureSecret = secret.New(testAzure)
	}
	m.LoginSecrets = map[string]secret.Text{}
	for _, login := range a.Logins {
		m.LoginSecrets[login] = secret.New(testLoginSecret + login)
	}
	if a.LDAP.CAFile != "" {
		m.LDAPCA = readTestdata(t, "keys/tls.pem")
	}
	if a.ACMECARoot != "" {
		m.ACMERoot = readTestdata(t, "keys/tls.pem")
	}
	if a.Cache.PasswordFile != "" {
		m.CachePassword = secret.New(testCachePassword)
	}
	if a.TLS == answers.TLSFiles {
		m.TLSCertPEM = readTestdata(t, "keys/tls.pem")
		m.TLSKeyPEM = secret.New(string(readTestdata(t, "keys/tls.key")))
	}
	if a.BuildsImage() {
		m.EngineBinary, m.CACerts = []byte("\x7fELF stand-in"), readTestdata(t, "keys/tls.pem")
	}
	return m
}

// testJWKS lists the certificate's key under its libtrust id and its thumbprint.
func testJWKS(t testing.TB, cert []byte) []byte {
	t.Helper()
	c, err := leaf(cert)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(c.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	var groups []string
	for i := 0; i < len(text); i += 4 {
		groups = append(groups, text[i:i+4])
	}
	key := jose.JSONWebKey{Key: c.PublicKey, Use: "sig"}
	thumb, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	for _, id := range []string{strings.Join(groups, ":"), base64.RawURLEncoding.EncodeToString(thumb)} {
		key.KeyID = id
		set.Keys = append(set.Keys, key)
	}
	data, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// profile is a named set of answers.
type profile struct {
	name   string
	change func(*answers.Answers)
}

func (p profile) answers() answers.Answers {
	a := answers.Defaults()
	p.change(&a)
	return a
}

func public(a *answers.Answers) { a.Domain, a.Email = "registry.example.com", "ops@example.com" }

func team(name string, values ...string) answers.User {
	return answers.User{Name: name, Labels: []answers.Label{{Name: answers.TeamLabel, Values: values}}}
}

// profiles are the deployments that the golden trees show. Together they take every
// branch of every template.
func profiles() []profile {
	return []profile{
		{"localhost", func(*answers.Answers) {}},
		{"embedded", func(a *answers.Answers) {
			a.Runtime = answers.RuntimeEmbedded
			a.Users = []answers.User{team("developer", "backend")}
		}},
		{"acme-teams", func(a *answers.Answers) {
			public(a)
			a.Teams = []answers.Team{{Name: "backend"}, {Name: "frontend"}}
			a.Users = []answers.User{team("developer", "backend"), team("lead", "backend", "frontend"), {Name: "ci@example.com"}}
		}},
		{"guide-two-domains", func(a *answers.Answers) {
			public(a)
			a.AuthDomain = "auth.example.com"
			a.Service, a.Issuer = "Docker registry", "Acme auth server"
			a.AnonymousPull = answers.AnonymousAll
			a.Teams = []answers.Team{{Name: "backend"}}
		}},
		{"staging-registry2", func(a *answers.Answers) {
			public(a)
			a.TLS, a.Registry, a.Delete = answers.TLSACMEStaging, 2, false
		}},
		{"acme-own-authority", func(a *answers.Answers) {
			a.Domain, a.Email, a.Cache.Domain = "registry.corp.internal", "ops@corp.internal", "hub.corp.internal"
			a.ACMECA, a.ACMECARoot = "https://ca.corp.internal:9000/acme/acme/directory", "root_ca.crt"
		}},
		{"bundled-ecdsa", func(a *answers.Answers) {
			public(a)
			a.Engine, a.KeyType = answers.EngineBundled, answers.KeyECDSAP256
			a.OwnNamespace, a.AnonymousPull = true, "public/**"
			a.Users = []answers.User{{Name: "alice"}}
		}},
		{"audit-service", func(a *answers.Answers) {
			public(a)
			a.Audit = true
		}},
		{"address-ports", func(a *answers.Answers) {
			a.Domain, a.Bind, a.HTTPPort, a.HTTPSPort = "10.0.0.5", "10.0.0.5", 8080, 8443
		}},
		{"tls-files", func(a *answers.Answers) {
			public(a)
			a.TLS, a.TLSCert, a.TLSKey = answers.TLSFiles, "/etc/ssl/full.pem", "/etc/ssl/key.pem"
			a.AuthDomain, a.Bind = "auth.example.com", "::1"
		}},
		{"tls-off-behind-proxy", func(a *answers.Answers) {
			public(a)
			a.TLS, a.Email, a.Bind, a.HTTPPort = answers.TLSOff, "", "127.0.0.1", 8080
			a.TrustedProxies = []string{"10.1.0.0/16", "2001:db8::/64", "192.0.2.7"}
		}},
		{"s3-aws-role", func(a *answers.Answers) {
			public(a)
			a.Storage, a.S3.Bucket, a.S3.Region = answers.StorageS3, "acme-registry", "eu-central-1"
		}},
		{"s3-r2", func(a *answers.Answers) {
			public(a)
			a.Storage = answers.StorageS3
			a.S3 = answers.S3{Provider: answers.ProviderR2, Bucket: "images", Endpoint: "https://0123456789abcdef.r2.cloudflarestorage.com",
				CredentialsFile: "/root/.aws/r2", Redirect: answers.RedirectAuto}
		}},
		{"s3-spaces", func(a *answers.Answers) {
			public(a)
			a.Storage = answers.StorageS3
			a.S3 = answers.S3{Provider: answers.ProviderSpaces, Bucket: "images", Region: "fra1", CredentialsFile: "keys", Redirect: answers.RedirectOff}
		}},
		{"s3-garage", func(a *answers.Answers) {
			public(a)
			a.Storage = answers.StorageS3
			a.S3 = answers.S3{Provider: answers.ProviderGarage, Bucket: "images", Endpoint: "http://garage.lan:3900", CredentialsFile: "keys", Redirect: answers.RedirectAuto}
		}},
		{"minio-existing", func(a *answers.Answers) {
			public(a)
			a.Storage, a.S3.Bucket, a.S3.Endpoint, a.S3.CredentialsFile = answers.StorageMinIO, "images", "http://minio.lan:9000", "keys"
		}},
		{"minio-bundled", func(a *answers.Answers) {
			a.Storage, a.Images.Storage = answers.StorageMinIO, "registry.lan/minio:2025-10-15"
		}},
		{"versitygw-bundled", func(a *answers.Answers) {
			public(a)
			a.Storage, a.Engine = answers.StorageVersityGW, answers.EngineBundled
		}},
		{"azure-key-registry2", func(a *answers.Answers) {
			public(a)
			a.Storage, a.Registry = answers.StorageAzure, 2
			a.Azure = answers.Azure{Account: "acmeregistry", Container: "images", Credentials: answers.AzureSharedKey, SecretFile: "key"}
		}},
		{"azure-key", func(a *answers.Answers) {
			public(a)
			a.Storage = answers.StorageAzure
			a.Azure = answers.Azure{Account: "acmeregistry", Container: "images", Credentials: answers.AzureSharedKey, SecretFile: "key"}
		}},
		{"azure-client", func(a *answers.Answers) {
			public(a)
			a.Storage = answers.StorageAzure
			a.Azure = answers.Azure{Account: "acmeregistry", Container: "images", Credentials: answers.AzureClientSecret, SecretFile: "secret",
				TenantID: "acme.onmicrosoft.com", ClientID: "01234567-89ab-cdef-0123-456789abcdef"}
		}},
		{"azure-managed", func(a *answers.Answers) {
			public(a)
			a.Storage = answers.StorageAzure
			a.Azure = answers.Azure{Account: "acmeregistry", Container: "images", Credentials: answers.AzureDefault}
		}},
		{"login-ldap", func(a *answers.Answers) {
			public(a)
			a.Logins = []string{answers.LoginLDAP}
			a.LDAP.Addr, a.LDAP.Base, a.LDAP.CAFile = "ldap.example.com:636", "ou=people,dc=example,dc=com", "ca.pem"
			a.LDAP.BindDN, a.LDAP.BindPasswordFile = "cn=registry,ou=services,dc=example,dc=com", "password"
			a.LDAP.Labels = []string{"team=memberOf+cn+lower", "role=employeeType"}
			a.Teams = []answers.Team{{Name: "backend"}}
		}},
		{"login-pages", func(a *answers.Answers) {
			public(a)
			a.AuthDomain = "auth.example.com"
			a.Logins = []string{answers.LoginOIDC, answers.LoginGitHub, answers.LoginGitLab, answers.LoginGoogle}
			a.OIDC = answers.OIDC{Issuer: "https://login.example.com/realms/acme", ClientID: "registry", ClientSecretFile: "s",
				UserClaim: "preferred_username", LabelClaims: []string{"groups"}, Scopes: []string{"openid", "profile"}}
			a.GitHub = answers.GitHub{Organization: "acme", ClientID: "Iv1.0123456789abcdef", ClientSecretFile: "s", URL: "https://github.example.com/"}
			a.GitLab = answers.GitLab{URL: "https://git.example.com", ClientID: "0123", ClientSecretFile: "s"}
			a.Google = answers.Google{Domain: "example.com", ClientID: "1-2.apps.googleusercontent.com", ClientSecretFile: "s"}
		}},
		{"login-ldap-plain", func(a *answers.Answers) {
			a.Logins = []string{answers.LoginLDAP, answers.LoginGitHub}
			a.LDAP.Addr, a.LDAP.Base, a.LDAP.TLS = "10.0.0.7:389", "dc=example,dc=com", answers.LDAPTLSNone
			a.GitHub = answers.GitHub{Organization: "acme", ClientID: "x", ClientSecretFile: "s"}
		}},
		{"cache-hub", func(a *answers.Answers) {
			public(a)
			a.Cache.Domain, a.Cache.Username, a.Cache.PasswordFile = "hub.example.com", "acme", "token"
			a.AnonymousPull = answers.AnonymousAll
			a.Storage, a.S3.Bucket, a.S3.Region = answers.StorageS3, "acme-registry", "eu-central-1"
		}},
		{"cache-two-domains", func(a *answers.Answers) {
			public(a)
			a.AuthDomain, a.Service = "auth.example.com", "Docker registry"
			a.Cache.Domain, a.Cache.Upstream, a.Cache.TTL = "ghcr.example.com", "https://ghcr.io", "0"
			a.AnonymousPull = "public/**"
		}},
		{"gcs-key", func(a *answers.Answers) {
			public(a)
			a.Storage, a.GCS = answers.StorageGCS, answers.GCS{Bucket: "acme_images", KeyFile: "key.json"}
		}},
		{"gcs-default", func(a *answers.Answers) {
			public(a)
			a.Storage, a.GCS = answers.StorageGCS, answers.GCS{Bucket: "acme_images"}
		}},
	}
}
