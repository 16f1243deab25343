// Package answers holds what a deployment is asked: the schema of regctl-setup.yaml,
// of `init`'s flags and of the REGCTL_SETUP_* variables, which are three ways to say
// the same thing.
//
// # Contract
//
// [Answers] keeps what was said; an empty text means "derive it", and [Answers.Resolve]
// derives: the TLS mode from the domain, the service from the domain, the image
// references from the engine, the registry's major version and the storage. Changing
// the domain later therefore changes everything that was not said on its own.
//
// [Answers.Validate] returns every problem at once, each with its flag and what was
// expected. Whatever passes can be written into YAML, .env, compose and Caddy files
// with those formats' quoting and is read back as the same value: nothing that passes
// holds a line break or another control character, and names that become part of a
// pattern hold no metacharacters.
//
// [Fields] is the table that flags, environment, help text and wizard are made from.
// The package imports nothing of this project and does no I/O.
//
// # Example
//
//	a := answers.Defaults()
//	a.Domain = "registry.example.com"
//	if p := a.Validate(); len(p) > 0 {
//		return p // one line a problem
//	}
//	file := a.Marshal()                                     // regctl-setup.yaml
//	b, err := answers.ParseYAML("regctl-setup.yaml", file)  // b equals a
package answers

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Values of [Answers.Runtime].
const (
	RuntimeCompose  = "compose"  // Docker Compose runs the services
	RuntimeEmbedded = "embedded" // one process: this program with the registry inside
)

// Values of [Answers.Engine].
const (
	EngineDockerAuth = "docker_auth" // the published image cesanta/docker_auth
	EngineBundled    = "bundled"     // this program, in an image that compose builds
)

// Values of [Answers.TLS].
const (
	TLSACME        = "acme"         // certificates from Let's Encrypt, or from the authority of ACMECA
	TLSACMEStaging = "acme-staging" // the same from its test service, trusted by nobody
	TLSInternal    = "internal"     // a CA of Caddy's own
	TLSFiles       = "files"        // a certificate and key that the user has
	TLSOff         = "off"          // plain HTTP, behind another proxy
)

// Values of [Answers.Storage].
const (
	StorageFilesystem = "filesystem" // data/registry in the deployment
	StorageS3         = "s3"         // an S3 service; see S3.Provider
	StorageMinIO      = "minio"      // a MinIO that exists, or one beside the registry
	StorageVersityGW  = "versitygw"  // an S3 gateway over data/s3, beside the registry
	StorageAzure      = "azure"
	StorageGCS        = "gcs"
)

// Values of [S3.Provider].
const (
	ProviderAWS     = "aws"
	ProviderR2      = "r2"
	ProviderB2      = "b2"
	ProviderWasabi  = "wasabi"
	ProviderSpaces  = "spaces"
	ProviderGarage  = "garage"
	ProviderGeneric = "generic"
)

// Values of [S3.Redirect].
const (
	RedirectAuto = "auto" // on where the provider's endpoint is public
	RedirectOn   = "on"   // clients fetch layers from the store, by signed URLs
	RedirectOff  = "off"  // layers pass through the registry
)

// Values of [Azure.Credentials].
const (
	AzureSharedKey    = "shared_key"
	AzureClientSecret = "client_secret"
	AzureDefault      = "default_credentials"
)

// Values of [Answers.Logins]: where accounts can live besides the users of the auth
// config. Each fills in one section of docker_auth's configuration.
const (
	LoginLDAP   = "ldap"
	LoginOIDC   = "oidc"
	LoginGitHub = "github"
	LoginGitLab = "gitlab"
	LoginGoogle = "google"
)

// Values of [LDAP.TLS], docker_auth's own.
const (
	LDAPTLSAlways   = "always"   // ldaps
	LDAPTLSStartTLS = "starttls" // plain, then encrypted
	LDAPTLSNone     = "none"     // passwords in the clear
)

// Values of [Answers.AnonymousPull]; anything else is a name pattern.
const (
	AnonymousNone = "none"
	AnonymousAll  = "all"
)

// Values of [Answers.KeyType].
const (
	KeyRSA2048   = "rsa-2048"
	KeyRSA3072   = "rsa-3072"
	KeyRSA4096   = "rsa-4096"
	KeyECDSAP256 = "ecdsa-p256"
)

// Names that the rules of a new deployment give a meaning.
const (
	AdminUser     = "admin"         // the account that every deployment gets
	RoleLabel     = "role"          // label key
	TeamLabel     = "team"          // label key
	RoleAdmin     = "administrator" // value of RoleLabel: may do everything
	RoleDeveloper = "developer"     // value of RoleLabel: may push to dev-TEAM/
	TeamPrefix    = "dev-"          // first name component of a team's namespace
)

// Image references that are written when none was answered. They are pinned by tag.
const (
	ImageDockerAuth = "cesanta/docker_auth:1.14.0"
	ImageRegistry3  = "registry:3.1.1"
	ImageRegistry2  = "registry:2.8.3"
	ImageCaddy      = "caddy:2.11.4"
	ImageVersityGW  = "versity/versitygw:v1.8.0"
)

// DockerHub is the registry behind short image names, the default of [Cache.Upstream].
const DockerHub = "https://registry-1.docker.io"

// Ports that clients need not name.
const (
	DefaultHTTPPort  = 80
	DefaultHTTPSPort = 443
)

// Answers is everything that `init` asks. The zero value is not useful: start from
// [Defaults]. Tags are the keys of regctl-setup.yaml.
type Answers struct {
	Runtime  string `yaml:"runtime" mapstructure:"runtime"`
	Engine   string `yaml:"engine" mapstructure:"engine"`
	Registry int    `yaml:"registry" mapstructure:"registry"` // major version of the registry: 3 or 2
	Audit    bool   `yaml:"audit" mapstructure:"audit"`       // docker_auth gets a service beside it that keeps the audit log

	Domain     string `yaml:"domain" mapstructure:"domain"`           // host name or IPv4 address, without scheme and port
	AuthDomain string `yaml:"auth_domain" mapstructure:"auth_domain"` // "" = the token endpoint is on Domain
	Service    string `yaml:"service" mapstructure:"service"`         // "" = Domain
	Issuer     string `yaml:"issuer" mapstructure:"issuer"`

	TLS            string   `yaml:"tls" mapstructure:"tls"` // "" = acme for a public name or with ACMECA, else internal
	Email          string   `yaml:"email" mapstructure:"email"`
	ACMECA         string   `yaml:"acme_ca" mapstructure:"acme_ca"`           // directory URL (RFC 8555, section 7.1.1); "" = Let's Encrypt
	ACMECARoot     string   `yaml:"acme_ca_root" mapstructure:"acme_ca_root"` // PEM file that is copied; "" = the public authorities
	TLSCert        string   `yaml:"tls_cert" mapstructure:"tls_cert"`         // PEM file that is copied into the deployment
	TLSKey         string   `yaml:"tls_key" mapstructure:"tls_key"`           // PEM file that is copied into the deployment
	TrustedProxies []string `yaml:"trusted_proxies" mapstructure:"trusted_proxies"`
	Bind           string   `yaml:"bind" mapstructure:"bind"` // IP address of this host, "" = all
	HTTPPort       int      `yaml:"http_port" mapstructure:"http_port"`
	HTTPSPort      int      `yaml:"https_port" mapstructure:"https_port"`
	Listen         string   `yaml:"listen" mapstructure:"listen"` // host:port of the embedded runtime

	Storage string `yaml:"storage" mapstructure:"storage"`
	S3      S3     `yaml:"s3" mapstructure:"s3"`
	Azure   Azure  `yaml:"azure" mapstructure:"azure"`
	GCS     GCS    `yaml:"gcs" mapstructure:"gcs"`
	Delete  bool   `yaml:"delete" mapstructure:"delete"` // whether the registry deletes at all

	AnonymousPull string `yaml:"anonymous_pull" mapstructure:"anonymous_pull"`
	OwnNamespace  bool   `yaml:"own_namespace" mapstructure:"own_namespace"`
	Teams         []Team `yaml:"teams" mapstructure:"teams"`
	Users         []User `yaml:"users" mapstructure:"users"`

	Logins []string `yaml:"logins" mapstructure:"logins"` // external logins, for docker_auth
	LDAP   LDAP     `yaml:"ldap" mapstructure:"ldap"`
	OIDC   OIDC     `yaml:"oidc" mapstructure:"oidc"`
	GitHub GitHub   `yaml:"github" mapstructure:"github"`
	GitLab GitLab   `yaml:"gitlab" mapstructure:"gitlab"`
	Google Google   `yaml:"google" mapstructure:"google"`

	Cache Cache `yaml:"cache" mapstructure:"cache"`

	Expiration int    `yaml:"expiration" mapstructure:"expiration"` // lifetime of a token in seconds
	KeyType    string `yaml:"key_type" mapstructure:"key_type"`

	Images Images `yaml:"images" mapstructure:"images"`
}

// Team is a group of accounts with a namespace of its own, dev-NAME/.
type Team struct {
	Name string `yaml:"name" mapstructure:"name"`
}

// User is an account that `init` makes. Passwords are never part of the answers.
type User struct {
	Name   string  `yaml:"name" mapstructure:"name"`
	Labels []Label `yaml:"labels" mapstructure:"labels"`
}

// Label is one label key of a user with its values.
type Label struct {
	Name   string   `yaml:"name" mapstructure:"name"`
	Values []string `yaml:"values" mapstructure:"values"`
}

// S3 says where the bucket is; also used by the storages minio and versitygw.
type S3 struct {
	Provider        string `yaml:"provider" mapstructure:"provider"`
	Bucket          string `yaml:"bucket" mapstructure:"bucket"`
	Region          string `yaml:"region" mapstructure:"region"`
	Endpoint        string `yaml:"endpoint" mapstructure:"endpoint"`                 // "" = what the provider's preset says
	CredentialsFile string `yaml:"credentials_file" mapstructure:"credentials_file"` // AWS credentials file that is copied; "" = the machine's role
	Redirect        string `yaml:"redirect" mapstructure:"redirect"`
}

// Azure says where the blob container is.
type Azure struct {
	Account     string `yaml:"account" mapstructure:"account"`
	Container   string `yaml:"container" mapstructure:"container"`
	Credentials string `yaml:"credentials" mapstructure:"credentials"`
	TenantID    string `yaml:"tenant_id" mapstructure:"tenant_id"`
	ClientID    string `yaml:"client_id" mapstructure:"client_id"`
	SecretFile  string `yaml:"secret_file" mapstructure:"secret_file"` // holds the account key or the client secret; read once
}

// GCS says where the Google Cloud Storage bucket is.
type GCS struct {
	Bucket  string `yaml:"bucket" mapstructure:"bucket"`
	KeyFile string `yaml:"key_file" mapstructure:"key_file"` // service account key (JSON) that is copied; "" = the machine's own
}

// LDAP says how docker_auth asks a directory. It binds, looks the account up with the
// filter, and binds again with what it found and the account's password.
type LDAP struct {
	Addr             string   `yaml:"addr" mapstructure:"addr"` // host:port
	TLS              string   `yaml:"tls" mapstructure:"tls"`
	CAFile           string   `yaml:"ca_file" mapstructure:"ca_file"` // PEM file that is copied; "" = the public authorities
	Base             string   `yaml:"base" mapstructure:"base"`
	Filter           string   `yaml:"filter" mapstructure:"filter"`
	BindDN           string   `yaml:"bind_dn" mapstructure:"bind_dn"`                       // "" = anonymous
	BindPasswordFile string   `yaml:"bind_password_file" mapstructure:"bind_password_file"` // copied to secrets/auth
	Labels           []string `yaml:"labels" mapstructure:"labels"`                         // KEY=ATTRIBUTE, see ParseLDAPLabel
}

// OIDC says which OpenID Connect provider accounts come from.
type OIDC struct {
	Issuer           string   `yaml:"issuer" mapstructure:"issuer"`
	ClientID         string   `yaml:"client_id" mapstructure:"client_id"`
	ClientSecretFile string   `yaml:"client_secret_file" mapstructure:"client_secret_file"` // copied to secrets/auth
	UserClaim        string   `yaml:"user_claim" mapstructure:"user_claim"`                 // "" = email
	LabelClaims      []string `yaml:"label_claims" mapstructure:"label_claims"`             // lists of the ID token that become labels
	Scopes           []string `yaml:"scopes" mapstructure:"scopes"`                         // none = openid, email
}

// GitHub says which organisation's members may log in.
type GitHub struct {
	Organization     string `yaml:"organization" mapstructure:"organization"`
	ClientID         string `yaml:"client_id" mapstructure:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file" mapstructure:"client_secret_file"` // copied to secrets/auth
	URL              string `yaml:"url" mapstructure:"url"`                               // of GitHub Enterprise Server; "" = github.com
}

// GitLab says which GitLab's accounts may log in: all of them, as docker_auth asks for
// no group.
type GitLab struct {
	URL              string `yaml:"url" mapstructure:"url"`
	ClientID         string `yaml:"client_id" mapstructure:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file" mapstructure:"client_secret_file"` // copied to secrets/auth
}

// Google says which Google Workspace domain's accounts may log in.
type Google struct {
	Domain           string `yaml:"domain" mapstructure:"domain"`
	ClientID         string `yaml:"client_id" mapstructure:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file" mapstructure:"client_secret_file"` // copied to secrets/auth
}

// Cache is the pull-through cache: a second registry, which answers on a domain of its
// own with what it fetched from another one.
type Cache struct {
	Domain       string `yaml:"domain" mapstructure:"domain"` // "" = no cache
	Upstream     string `yaml:"upstream" mapstructure:"upstream"`
	Username     string `yaml:"username" mapstructure:"username"`           // at the upstream; "" = nobody
	PasswordFile string `yaml:"password_file" mapstructure:"password_file"` // its text goes into conf/cache/config.yml
	TTL          string `yaml:"ttl" mapstructure:"ttl"`                     // how long an image is kept after it was fetched; "0" = for ever
}

// Images are the image references; "" = the pinned reference of this program's version.
type Images struct {
	Auth     string `yaml:"auth" mapstructure:"auth"`
	Registry string `yaml:"registry" mapstructure:"registry"`
	Caddy    string `yaml:"caddy" mapstructure:"caddy"`
	Storage  string `yaml:"storage" mapstructure:"storage"`     // the bundled object store
	AllowOld bool   `yaml:"allow_old" mapstructure:"allow_old"` // take versions with known holes, see ImageFloors
}

// Defaults returns the answers that `--yes` takes: localhost, disk storage,
// docker_auth, registry 3, TLS by a CA of Caddy's own, no anonymous pull.
func Defaults() Answers {
	return Answers{
		Runtime:  RuntimeCompose,
		Engine:   EngineDockerAuth,
		Registry: 3,

		Domain: "localhost",
		Issuer: "regctl-setup",

		HTTPPort:  DefaultHTTPPort,
		HTTPSPort: DefaultHTTPSPort,
		Listen:    "localhost:5000",

		Storage: StorageFilesystem,
		S3:      S3{Provider: ProviderAWS, Redirect: RedirectAuto},
		Azure:   Azure{Credentials: AzureSharedKey},
		Delete:  true,

		LDAP:  LDAP{TLS: LDAPTLSAlways, Filter: "(&(objectClass=person)(uid=${account}))"},
		Cache: Cache{Upstream: DockerHub, TTL: "168h"},

		AnonymousPull: AnonymousNone,
		Expiration:    3600,
		KeyType:       KeyRSA4096,
	}
}

// Resolve returns a copy in which everything that was left to be derived is filled
// in. It is idempotent.
func (a Answers) Resolve() Answers {
	if a.TLS == "" {
		a.TLS = TLSInternal
		if IsPublicName(a.Domain) || a.ACMECA != "" {
			a.TLS = TLSACME
		}
	}
	if a.Service == "" {
		a.Service = a.Domain
	}
	a.S3 = a.resolveS3()
	if a.Images.Auth == "" {
		a.Images.Auth = ImageDockerAuth
		if a.Engine == EngineBundled {
			a.Images.Auth = a.ProjectName() + "-auth:local"
		}
	}
	if a.Images.Registry == "" {
		a.Images.Registry = ImageRegistry3
		if a.Registry == 2 {
			a.Images.Registry = ImageRegistry2
		}
	}
	if a.Images.Caddy == "" {
		a.Images.Caddy = ImageCaddy
	}
	if a.Images.Storage == "" && a.Storage == StorageVersityGW {
		a.Images.Storage = ImageVersityGW
	}
	return a
}

// preset is what is known of an S3 provider.
type preset struct {
	region     string // default region
	signRegion string // region that requests are signed for, where it is a fixed one
	endpoint   string // REGION is replaced; "" = must be answered, but for AWS
	pathStyle  bool
	public     bool // clients can reach the endpoint, so redirects work
}

func s3Preset(provider string) preset {
	switch provider {
	case ProviderAWS:
		return preset{public: true}
	case ProviderR2:
		return preset{region: "auto", pathStyle: true, public: true}
	case ProviderB2:
		return preset{endpoint: "https://s3.REGION.backblazeb2.com", pathStyle: true, public: true}
	case ProviderWasabi:
		return preset{endpoint: "https://s3.REGION.wasabisys.com", pathStyle: true, public: true}
	case ProviderSpaces:
		return preset{endpoint: "https://REGION.digitaloceanspaces.com", signRegion: "us-east-1", pathStyle: true, public: true}
	case ProviderGarage:
		return preset{region: "garage", pathStyle: true}
	}
	return preset{region: "us-east-1", pathStyle: true}
}

// resolveS3 fills in what the provider's preset knows. The bundled stores are reached
// by their service names inside the compose project.
func (a Answers) resolveS3() S3 {
	s := a.S3
	switch a.Storage {
	case StorageMinIO:
		s.Provider = ProviderGeneric
		if a.BundlesStore() && s.Endpoint == "" {
			s.Endpoint = "http://minio:9000"
		}
	case StorageVersityGW:
		s.Provider = ProviderGeneric
		if s.Endpoint == "" {
			s.Endpoint = "http://s3:7070"
		}
	case StorageS3:
	default:
		return s
	}
	if a.BundlesStore() && s.Bucket == "" {
		s.Bucket = "registry"
	}
	p := s3Preset(s.Provider)
	if s.Region == "" {
		s.Region = p.region
	}
	if s.Endpoint == "" && p.endpoint != "" && s.Region != "" {
		s.Endpoint = strings.ReplaceAll(p.endpoint, "REGION", s.Region)
	}
	if s.Redirect == "" || s.Redirect == RedirectAuto {
		s.Redirect = RedirectOff
		if p.public && a.Storage == StorageS3 {
			s.Redirect = RedirectOn
		}
	}
	return s
}

// SignRegion returns the region that S3 requests are signed for: the answered one,
// but for providers that sign all regions alike.
func (s S3) SignRegion() string {
	if r := s3Preset(s.Provider).signRegion; r != "" {
		return r
	}
	return s.Region
}

// PathStyle reports whether the bucket goes into the URL's path instead of its host.
func (s S3) PathStyle() bool { return s3Preset(s.Provider).pathStyle }

// BundlesStore reports whether an object store runs beside the registry: always with
// versitygw, with minio where an image was named.
func (a Answers) BundlesStore() bool {
	return a.Storage == StorageVersityGW || a.Storage == StorageMinIO && a.Images.Storage != ""
}

// UsesS3 reports whether the registry speaks S3 to its storage.
func (a Answers) UsesS3() bool {
	return a.Storage == StorageS3 || a.Storage == StorageMinIO || a.Storage == StorageVersityGW
}

// AuthEngine returns the engine that answers token requests: with the embedded runtime
// always the bundled one, whatever compose would run.
func (a Answers) AuthEngine() string {
	if a.Runtime == RuntimeEmbedded {
		return EngineBundled
	}
	return a.Engine
}

// HasAuditService reports whether the audit log is kept by a service of its own: the bundled
// engine keeps it itself, whatever was answered.
func (a Answers) HasAuditService() bool { return a.Audit && a.Engine == EngineDockerAuth }

// BuildsImage reports whether compose builds an image from this program.
func (a Answers) BuildsImage() bool { return a.Engine == EngineBundled || a.HasAuditService() }

// TwoDomains reports whether the token endpoint has a domain of its own.
func (a Answers) TwoDomains() bool { return a.AuthDomain != "" }

// Scheme returns the scheme that clients use: https, but for plain HTTP with no proxy
// in front.
func (a Answers) Scheme() string {
	if a.Resolve().TLS == TLSOff && len(a.TrustedProxies) == 0 {
		return "http"
	}
	return "https"
}

// Host returns the registry as clients write it: the domain, and the port where it is
// not the scheme's own. Behind another proxy the port is that proxy's, taken as 443.
func (a Answers) Host() string { return a.hostPort(a.Domain) }

// Realm returns the URL of the token endpoint.
func (a Answers) Realm() string {
	host := a.Domain
	if a.TwoDomains() {
		host = a.AuthDomain
	}
	return a.Scheme() + "://" + a.hostPort(host) + "/auth"
}

// CacheHost returns the pull-through cache as clients write it, "" without one.
func (a Answers) CacheHost() string {
	if !a.HasCache() {
		return ""
	}
	return a.hostPort(a.Cache.Domain)
}

// HasCache reports whether a pull-through cache runs beside the registry.
func (a Answers) HasCache() bool { return a.Cache.Domain != "" }

// HasLogin reports whether accounts come from that external login; see [Answers.Logins].
func (a Answers) HasLogin(name string) bool { return slices.Contains(a.Logins, name) }

// LoginURL returns the address of docker_auth's login page for an external login, which
// is what its provider must send people back to; "" for ldap, which has no page.
func (a Answers) LoginURL(login string) string {
	if login == LoginLDAP {
		return ""
	}
	return strings.TrimSuffix(a.Realm(), "/auth") + "/" + login + "_auth"
}

func (a Answers) hostPort(host string) string {
	port, standard := a.HTTPSPort, DefaultHTTPSPort
	if a.Resolve().TLS == TLSOff {
		if len(a.TrustedProxies) > 0 {
			return host
		}
		port, standard = a.HTTPPort, DefaultHTTPPort
	}
	if port == standard {
		return host
	}
	return host + ":" + strconv.Itoa(port)
}

// ProjectName returns the compose project's name, made from the domain (and the port,
// where it is not 443): containers, networks and volumes carry it, so two deployments
// on one machine stay apart.
func (a Answers) ProjectName() string {
	name := strings.ReplaceAll(strings.ToLower(a.Domain), ".", "-")
	if a.HTTPSPort != DefaultHTTPSPort {
		name += "-" + strconv.Itoa(a.HTTPSPort)
	}
	return name
}

// TeamNames returns the teams that were answered and those that users were given,
// each once, in that order.
func (a Answers) TeamNames() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, t := range a.Teams {
		add(t.Name)
	}
	for _, u := range a.Users {
		for _, l := range u.Labels {
			if l.Name == TeamLabel {
				for _, v := range l.Values {
					add(v)
				}
			}
		}
	}
	return names
}

// Accounts returns the users that a new deployment gets: the administrator first
// (unless it was answered, then as it was), then the answered ones. A user with a team
// and no role gets the role developer, without which a team means nothing.
func (a Answers) Accounts() []User {
	var out []User
	admin := User{Name: AdminUser, Labels: []Label{{Name: RoleLabel, Values: []string{RoleAdmin}}}}
	if !slices.ContainsFunc(a.Users, func(u User) bool { return u.Name == AdminUser }) {
		out = append(out, admin)
	}
	for _, u := range a.Users {
		labels := slices.Clone(u.Labels)
		has := func(name string) bool {
			return slices.ContainsFunc(labels, func(l Label) bool { return l.Name == name })
		}
		switch {
		case u.Name == AdminUser && !has(RoleLabel):
			labels = append(labels, admin.Labels...)
		case has(TeamLabel) && !has(RoleLabel):
			labels = append(labels, Label{Name: RoleLabel, Values: []string{RoleDeveloper}})
		}
		out = append(out, User{Name: u.Name, Labels: labels})
	}
	return out
}

// Label returns the values of the user's label.
func (u User) Label(name string) []string {
	for _, l := range u.Labels {
		if l.Name == name {
			return l.Values
		}
	}
	return nil
}

// isLoopback reports whether host always is the machine that asks (RFC 6761, section 6.3).
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// IsPublicName reports whether a public certificate authority could certify host: a
// DNS name of two labels or more below a top-level domain that is not kept for private
// use (RFC 2606, 6761, 6762, 8375 and the names that private networks took).
func IsPublicName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.ToLower(host)
	i := strings.LastIndexByte(host, '.')
	if i < 0 {
		return false
	}
	switch host[i+1:] {
	case "localhost", "local", "test", "example", "invalid", "internal", "lan", "home", "corp", "private", "intranet", "localdomain":
		return false
	}
	return host != "home.arpa" && !strings.HasSuffix(host, ".home.arpa")
}
