// Package scaffold turns answers into the files of a deployment folder.
//
// # Contract
//
// [Plan] is pure: the same answers and the same material give the same files, byte for
// byte; keys, password hashes and secrets are made before and come in as [Material].
// Every value goes into its file through the quoting of that file's format, and a value
// that a format can't hold unchanged is an error, never a different value.
//
// [Check] gives each file to the parser that will read it in service: compose-go for
// the compose file with the generated .env, the registry's own configuration type, this
// project's parser for the auth config, X.509 and JWKS parsers for what the registry
// trusts. Nothing is written before it is content. Caddy's adapter is too heavy to be
// linked in; the end-to-end tests run it on the same files.
//
// [Write] makes the folder, whole or not at all.
//
// # Example
//
//	files, err := scaffold.Plan(a, scaffold.Material{AuthKeyPEM: pair.KeyPEM(), …})
//	if err == nil {
//		err = scaffold.Check(ctx, files)
//	}
//	if err == nil {
//		err = scaffold.Write(ctx, safefile.FS{}, dir, files, scaffold.Dirs(a))
//	}
package scaffold

import (
	"context"
	"io/fs"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Paths of the generated files, relative to the deployment, with slashes.
const (
	PathCompose   = "docker-compose.yml"
	PathEnv       = ".env"
	PathAnswers   = "regctl-setup.yaml"
	PathGitignore = ".gitignore"
	PathAuth      = "conf/auth/auth-server.yml"

	// What the registry's notifications must bring to EventsURL and AuditURL.
	PathEventsSecret = "conf/auth/events-secret"  //nolint:gosec // a file's name
	PathAuditSecret  = "conf/audit/events-secret" //nolint:gosec // a file's name
	PathCaddyfile    = "conf/caddy/Caddyfile"
	PathRegistry     = "conf/registry/config.yml"
	PathACLTests     = "conf/acl-tests.yml"
	PathKey          = "conf/keys/server.key"
	PathCert         = "conf/keys/server.pem"
	PathCAKey        = "conf/keys/ca.key"
	PathCACert       = "conf/keys/ca.pem"
	PathBundle       = "conf/trust/bundle.pem"
	PathJWKS         = "conf/trust/jwks.json"
	PathS3Keys       = "secrets/s3_credentials"
	PathGCSKey       = "secrets/gcs_key.json"
	PathTLSCert      = "secrets/tls/cert.pem"
	PathTLSKey       = "secrets/tls/key.pem"
	PathVersityGW    = "secrets/versitygw.env"
	PathMinIOUser    = "secrets/minio_user"
	PathMinIOSecret  = "secrets/minio_password"
	PathDockerfile   = "engine/Dockerfile"
	PathEngine       = "engine/regctl-setup"
	PathCACerts      = "engine/ca-certificates.crt"
	PathCache        = "conf/cache/config.yml"
	PathACMERoot     = "conf/caddy/acme_ca_root.pem" // the Caddyfile names it by where it is in the container
	PathLDAPCA       = "conf/auth/ldap_ca.pem"
)

// EventsURL is where the registry reports to the bundled engine, on the internal network.
const EventsURL = "http://auth:5002/events"

// AuditURL is where it reports to beside docker_auth: the service that keeps the audit log.
const AuditURL = "http://audit:5002/events"

// Modes of what is written.
const (
	modePublic  fs.FileMode = 0o644
	modeSecret  fs.FileMode = 0o600
	modeProgram fs.FileMode = 0o755
	modeDir     fs.FileMode = 0o755
	modePrivate fs.FileMode = 0o700
)

// UserHash is an account of a new deployment.
type UserHash struct {
	Name   string
	Hash   secret.Text // bcrypt
	Labels []answers.Label
}

// Material is what a deployment holds besides its answers. Texts that nobody may see
// are [secret.Text]; what a set of answers does not use stays zero.
type Material struct {
	Project string // compose project's name; "" = from the domain

	Users []UserHash // as answers.Answers.Accounts, with passwords

	AuthKeyPEM secret.Text // signing key
	CertPEM    []byte      // its certificate chain, leaf first
	Bundle     []byte      // certificates that the registry trusts (PEM), the leaf among them
	JWKS       []byte      // the same keys, each under both key ids
	CAKeyPEM   secret.Text // key of the authority that issued the signing certificate; none: it is self-signed
	CACertPEM  []byte      // its certificate, in the bundle too
	HTTPSecret secret.Text // registry's http.secret, as from NewHTTPSecret

	// EventsSecret is what the registry's notifications bring, where the deployment has one
	// already; zero: it is made from HTTPSecret.
	EventsSecret secret.Text

	UID, GID int // owner of the files, from 0 up; where the system has no such numbers, 1000 will do

	S3Credentials secret.Text // AWS credentials file, for s3 and an existing minio with keys
	StoreKeyID    secret.Text // access key of the bundled store, as from NewStoreKeys
	StoreSecret   secret.Text // secret key of the bundled store, as from NewStoreKeys
	AzureSecret   secret.Text // account key or client secret
	GCSKey        secret.Text // service account key (JSON)
	TLSCertPEM    []byte      // for tls files
	ACMERoot      []byte      // for an ACME authority whose own HTTPS is not of a public one
	LDAPCA        []byte      // for an LDAP login with a certificate authority of its own
	CachePassword secret.Text // of the cache's account at its upstream

	// LoginSecrets holds the bind password of ldap and the client secrets of the other external
	// logins, by the login's name.
	LoginSecrets map[string]secret.Text

	TLSKeyPEM secret.Text // for tls files

	EngineBinary []byte // this program, for which CheckEngine holds; for answers.Answers.BuildsImage (optional when embedded)
	CACerts      []byte // public certificate authorities for that image; may be empty
}

// Dirs returns the folders of a deployment with their modes: those that services mount
// are 0755 and hold secrets only in files of mode 0600, those that only this program
// uses are 0700.
func Dirs(a answers.Answers) map[string]fs.FileMode {
	a = a.Resolve()
	dirs := map[string]fs.FileMode{
		"conf": modeDir, "conf/auth": modeDir, "conf/caddy": modeDir, "conf/keys": modeDir,
		"conf/registry": modeDir, "conf/trust": modeDir,
		// The parent keeps other users of the machine out of the images; containers mount
		// the folder below it and never walk through it.
		"data": modePrivate, "data/registry": modeDir,
		"secrets": modePrivate, "audit": modePrivate, "state": modePrivate,
	}
	if a.BundlesStore() {
		dirs["data/s3"] = modeDir
		// A bucket of versitygw and of MinIO is a directory: no service has to make it.
		dirs["data/s3/"+a.S3.Bucket] = modeDir
	}
	if a.TLS == answers.TLSFiles {
		dirs["secrets/tls"] = modeDir
	}
	if a.BuildsImage() {
		dirs["engine"] = modeDir
	}
	if a.Engine == answers.EngineBundled {
		dirs["state/refresh"] = modePrivate
	}
	if a.HasAuditService() {
		dirs["conf/audit"] = modeDir
	}
	if len(loginSecrets(a)) > 0 {
		dirs["secrets/auth"] = modeDir
	}
	if len(loginPages(a)) > 0 {
		dirs["data/auth"] = modeDir
	}
	if a.HasCache() {
		dirs["conf/cache"], dirs["data/cache"] = modeDir, modeDir
	}
	return dirs
}

// Write makes the folder dir with the files and folders, whole or not at all; see
// [safefile.FS.WriteTree], whose errors it returns. A dir that is not empty is refused.
func Write(ctx context.Context, fsys safefile.FS, dir string, files []safefile.File, dirs map[string]fs.FileMode) error {
	return fsys.WriteTree(ctx, dir, files, dirs)
}
