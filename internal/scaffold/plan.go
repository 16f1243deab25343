package scaffold

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/templates"
)

// Plan returns the files of the deployment that the answers describe, sorted by path.
// It returns [answers.Problems] when the answers have any, and else every fault of the
// material at once.
func Plan(a answers.Answers, m Material) ([]safefile.File, error) {
	if ps := a.Validate(); len(ps) > 0 {
		return nil, ps
	}
	v, err := newView(a, m)
	if err != nil {
		return nil, err
	}
	p := planner{view: v}
	p.render("docker-compose.yml.tmpl", PathCompose, modePublic)
	p.render("env.tmpl", PathEnv, modeSecret)
	p.render("gitignore.tmpl", PathGitignore, modePublic)
	p.render("auth-server.yml.tmpl", PathAuth, modeSecret)
	p.render("Caddyfile.tmpl", PathCaddyfile, modePublic)
	p.render("registry-config.yml.tmpl", PathRegistry, modeSecret)
	p.render("acl-tests.yml.tmpl", PathACLTests, modePublic)
	if v.A.HasCache() {
		p.render("cache-config.yml.tmpl", PathCache, modeSecret)
	}
	p.add(PathAnswers, modePublic, a.Marshal())
	p.add(PathKey, modeSecret, []byte(m.AuthKeyPEM.Reveal()))
	p.add(PathCert, modePublic, m.CertPEM)
	if !m.CAKeyPEM.IsZero() {
		p.add(PathCAKey, modeSecret, []byte(m.CAKeyPEM.Reveal()))
		p.add(PathCACert, modePublic, m.CACertPEM)
	}
	p.add(PathBundle, modePublic, m.Bundle)
	p.add(PathJWKS, modePublic, m.JWKS)
	p.secrets(m)
	if v.EventsURL != "" {
		path := PathEventsSecret
		if v.AuditService {
			path = PathAuditSecret
		}
		p.add(path, modeSecret, []byte(m.eventsSecret().Reveal()+"\n"))
	}
	if v.A.BuildsImage() {
		p.render("engine.Dockerfile.tmpl", PathDockerfile, modePublic)
		if len(m.EngineBinary) > 0 {
			p.add(PathEngine, modeProgram, m.EngineBinary)
		}
		if v.CACerts {
			p.add(PathCACerts, modePublic, m.CACerts)
		}
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	slices.SortFunc(p.files, func(a, b safefile.File) int { return cmp.Compare(a.Path, b.Path) })
	return p.files, nil
}

type planner struct {
	view  *view
	files []safefile.File
	errs  []error
}

func (p *planner) add(path string, mode fs.FileMode, data []byte) {
	p.files = append(p.files, safefile.File{Path: path, Mode: mode, Data: bytes.Clone(data)})
}

func (p *planner) render(name, path string, mode fs.FileMode) {
	t, err := template.New(name).Option("missingkey=error").Funcs(funcs()).ParseFS(templates.FS, name)
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", path, err))
		return
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p.view); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", path, err))
		return
	}
	p.add(path, mode, b.Bytes())
}

// secrets adds the files below secrets/ that the answers need.
func (p *planner) secrets(m Material) {
	a := p.view.A
	switch {
	case a.BundlesStore():
		p.add(PathS3Keys, modeSecret, []byte(S3Credentials(m.StoreKeyID, m.StoreSecret).Reveal()))
		if a.Storage == answers.StorageVersityGW {
			p.add(PathVersityGW, modeSecret, []byte("ROOT_ACCESS_KEY="+m.StoreKeyID.Reveal()+"\nROOT_SECRET_KEY="+m.StoreSecret.Reveal()+"\n"))
		} else {
			p.add(PathMinIOUser, modeSecret, []byte(m.StoreKeyID.Reveal()))
			p.add(PathMinIOSecret, modeSecret, []byte(m.StoreSecret.Reveal()))
		}
	case p.view.S3File:
		p.add(PathS3Keys, modeSecret, []byte(m.S3Credentials.Reveal()))
	case p.view.GCSKey:
		p.add(PathGCSKey, modeSecret, []byte(m.GCSKey.Reveal()))
	}
	for _, login := range loginSecrets(a) {
		p.add(PathLoginSecret(login), modeSecret, []byte(m.LoginSecrets[login].Reveal()))
	}
	if p.view.LDAPCA {
		p.add(PathLDAPCA, modePublic, m.LDAPCA)
	}
	if p.view.ACMERoot {
		p.add(PathACMERoot, modePublic, m.ACMERoot)
	}
	if a.TLS == answers.TLSFiles {
		p.add(PathTLSCert, modePublic, m.TLSCertPEM)
		p.add(PathTLSKey, modeSecret, []byte(m.TLSKeyPEM.Reveal()))
	}
}

// S3Credentials returns an AWS credentials file with these keys.
func S3Credentials(keyID, secretKey secret.Text) secret.Text {
	return secret.New("[default]\naws_access_key_id = " + keyID.Reveal() + "\naws_secret_access_key = " + secretKey.Reveal() + "\n")
}

// view is what the templates see.
type view struct {
	A         answers.Answers // resolved
	Project   string
	AuthHost  string // host of the token endpoint
	UID, GID  int
	Users     []UserHash
	Teams     []string
	Cases     []aclCase
	Algorithm string // JWS name

	Anonymous        bool
	AnonymousPattern string // ACL pattern; "" = every name

	BundledAuth  bool
	AuditService bool
	AuditImage   string
	EventsURL    string // where the registry reports to; "" = nowhere
	CACerts      bool

	Ports           []string // of caddy, as compose has them
	SiteScheme      string   // what Caddy's site addresses begin with
	SitePort        string   // and what they end with: "" or ":PORT"
	SNI             string   // "" = clients name a host
	ACME            bool
	ACMERoot        bool // the authority's HTTPS is trusted by a certificate of its own
	HSTS            bool
	CaddyKeepsState bool // whether /data holds something that must survive
	CustomHTTPPort  bool

	// LoginHelp: the token server's page tells how to log in, under the registry's own name.
	LoginHelp      bool
	LoginPages     []string // paths of docker_auth's login pages, without the slash
	LoginSecrets   []string // logins with a secret in secrets/auth
	LDAPCA         bool
	LDAPLabels     []answers.LDAPLabel
	GitHubURL      string
	GitLabURL      string
	CachePassword  secret.Text
	ServicePattern string // ACL pattern that the registry's service alone matches

	HTTPSecret     secret.Text
	EventsBearer   secret.Text // what the registry's notifications bring
	AzureSecret    secret.Text
	S3File         bool // keys in secrets/s3_credentials
	S3Region       string
	S3Endpoint     string
	GCSKey         bool
	RemoteStore    bool   // the registry must reach beyond this machine
	StoreService   string // service name of the bundled store
	RedirectOff    bool
	RedirectReason string

	RegistrySecrets string // names, as a YAML flow list's inside
	Secrets         []composeSecret
}

type composeSecret struct{ Name, File string }

func newView(a answers.Answers, m Material) (*view, error) {
	v := bareView(a.Resolve(), m)
	return v, v.check(m)
}

// bareView is newView of resolved answers without the check of the material.
func bareView(a answers.Answers, m Material) *view {
	v := &view{
		A: a, Project: cmp.Or(m.Project, a.ProjectName()), AuthHost: cmp.Or(a.AuthDomain, a.Domain),
		UID: m.UID, GID: m.GID, Users: m.Users, Teams: a.TeamNames(),
		BundledAuth: a.Engine == answers.EngineBundled, LoginHelp: a.Engine == answers.EngineBundled && !a.TwoDomains(), CACerts: a.Engine == answers.EngineBundled && len(m.CACerts) > 0,
		ACME:           a.TLS == answers.TLSACME || a.TLS == answers.TLSACMEStaging,
		CustomHTTPPort: a.HTTPPort != answers.DefaultHTTPPort,
		HTTPSecret:     m.HTTPSecret, AzureSecret: m.AzureSecret,
		EventsBearer: secret.New("Bearer " + m.eventsSecret().Reveal()),
	}
	v.ACMERoot = a.ACMECARoot != ""
	// Browsers remember the header: it would lock localhost and the clients of a private
	// CA out of plain HTTP, and of a new CA, for a year.
	v.HSTS = a.TLS == answers.TLSACME && a.ACMECA == "" || a.TLS == answers.TLSFiles
	v.CaddyKeepsState = v.ACME || a.TLS == answers.TLSInternal
	switch {
	case v.BundledAuth:
		v.EventsURL = EventsURL
	case a.HasAuditService():
		v.EventsURL, v.AuditService, v.AuditImage = AuditURL, true, a.ProjectName()+"-audit:local"
	}
	switch {
	case a.TLS == answers.TLSOff:
		v.SiteScheme = "http://"
	case a.HTTPSPort != answers.DefaultHTTPSPort:
		// Not the option https_port: Caddy's redirects leave that port out, as they take it
		// for one that 443 is forwarded to.
		v.SitePort = ":" + strconv.Itoa(a.HTTPSPort)
	}
	if _, err := netip.ParseAddr(a.Domain); err == nil && a.TLS != answers.TLSOff {
		v.SNI = a.Domain
	}
	v.Ports = ports(a)
	v.anonymous()
	v.storage(m)
	v.logins(m)
	v.Cases = v.cases()
	return v
}

// ports returns caddy's published ports. Inside the container they are the same as
// outside, so that Caddy's redirects name the port that clients use.
func ports(a answers.Answers) []string {
	list := []int{a.HTTPPort, a.HTTPSPort}
	if a.TLS == answers.TLSOff {
		list = list[:1]
	}
	prefix := ""
	if addr, err := netip.ParseAddr(a.Bind); err == nil {
		prefix = addr.String() + ":"
		if addr.Is6() {
			prefix = "[" + addr.String() + "]:"
		}
	}
	var out []string
	for _, p := range list {
		out = append(out, prefix+strconv.Itoa(p)+":"+strconv.Itoa(p))
	}
	return out
}

func (v *view) anonymous() {
	switch v.A.AnonymousPull {
	case answers.AnonymousNone:
	case answers.AnonymousAll:
		v.Anonymous = true
	default:
		v.Anonymous = true
		v.AnonymousPattern, _ = answers.NamePattern(v.A.AnonymousPull) // validated with the answers
	}
}

func (v *view) storage(m Material) {
	a := v.A
	switch {
	case a.UsesS3():
		v.S3Region, v.S3Endpoint = a.S3.SignRegion(), a.S3.Endpoint
		v.S3File = a.BundlesStore() || a.S3.CredentialsFile != "" || !m.S3Credentials.IsZero()
		v.RemoteStore = !a.BundlesStore()
		if a.S3.Redirect == answers.RedirectOff {
			v.RedirectOff, v.RedirectReason = true, "Layers pass through the registry: clients can't be sent to this store."
		}
	case a.Storage == answers.StorageGCS:
		v.RemoteStore, v.GCSKey = true, a.GCS.KeyFile != "" || !m.GCSKey.IsZero()
		if !v.GCSKey {
			v.RedirectOff, v.RedirectReason = true, "Without a key of its own the registry may not sign links to the bucket."
		}
	case a.Storage == answers.StorageAzure:
		v.RemoteStore = true
	}
	if v.S3File {
		v.RegistrySecrets = "s3_credentials"
		v.Secrets = append(v.Secrets, composeSecret{"s3_credentials", "./" + PathS3Keys})
	}
	if v.GCSKey {
		v.RegistrySecrets = "gcs_key"
		v.Secrets = append(v.Secrets, composeSecret{"gcs_key", "./" + PathGCSKey})
	}
	if !a.BundlesStore() {
		return
	}
	v.StoreService = "s3"
	if a.Storage == answers.StorageMinIO {
		v.StoreService = "minio"
		v.Secrets = append(v.Secrets,
			composeSecret{"minio_user", "./" + PathMinIOUser}, composeSecret{"minio_password", "./" + PathMinIOSecret})
	}
}

// check returns every fault of the material, and finds the signature algorithm.
func (v *view) check(m Material) error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	a := v.A
	if len(m.Users) == 0 {
		add("no user: nobody could log in")
	}
	seen := map[string]bool{}
	for _, u := range m.Users {
		if seen[u.Name] || u.Name == "" {
			add("user %q comes twice or has no name", u.Name)
		}
		seen[u.Name] = true
		if u.Hash.IsZero() {
			add("user %q has no password hash", u.Name)
		}
	}
	if m.UID < 0 || m.GID < 0 {
		add("uid %d, gid %d: this system has no such owners; expected numbers from 0 up", m.UID, m.GID)
	}
	if b, err := hex.DecodeString(m.HTTPSecret.Reveal()); err != nil || len(b) < 16 {
		add("http secret: expected at least 32 hexadecimal digits")
	}
	if cert, err := leaf(m.CertPEM); err != nil {
		add("signing certificate: %w", err)
	} else if v.Algorithm, err = algorithm(cert); err != nil {
		add("signing certificate: %w", err)
	}
	if m.AuthKeyPEM.IsZero() || len(m.Bundle) == 0 || len(m.JWKS) == 0 {
		add("signing key, trust bundle or key set is missing")
	}
	switch {
	case a.BundlesStore():
		for _, s := range []secret.Text{m.StoreKeyID, m.StoreSecret} {
			if s.Len() < 16 || strings.Trim(s.Reveal(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				add("keys of the bundled store: expected at least 16 letters, digits, hyphens and underscores each")
				break
			}
		}
	case v.S3File:
		if _, _, err := S3Keys(m.S3Credentials); err != nil {
			add("S3 credentials file: %w", err)
		}
	case v.GCSKey:
		if err := checkGCSKey(m.GCSKey); err != nil {
			add("GCS key file: %w", err)
		}
	case a.Storage == answers.StorageAzure && a.Azure.Credentials != answers.AzureDefault && m.AzureSecret.IsZero():
		add("the Azure secret is missing")
	}
	errs = append(errs, v.checkLogins(m)...)
	if a.TLS == answers.TLSFiles {
		errs = append(errs, checkTLSPair(a, m)...)
	}
	if v.ACMERoot {
		if _, err := certificates(m.ACMERoot); err != nil {
			add("--acme-ca-root: %w", err)
		}
	}
	if a.BuildsImage() && len(m.EngineBinary) == 0 && a.Runtime == answers.RuntimeCompose {
		what := "engine bundled"
		if v.AuditService {
			what = "audit"
		}
		add("%s: the program for the image is missing", what)
	}
	return errors.Join(errs...)
}

// leaf returns the first certificate of a PEM text.
func leaf(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("expected a PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// algorithm returns the JWS algorithm that the certificate's key signs tokens with.
func algorithm(cert *x509.Certificate) (string, error) {
	switch k := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return "RS256", nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return "ES256", nil
		case elliptic.P384():
			return "ES384", nil
		case elliptic.P521():
			return "ES512", nil
		}
	}
	return "", fmt.Errorf("a %T can't sign tokens that every registry accepts; expected RSA or ECDSA", cert.PublicKey)
}

func checkGCSKey(s secret.Text) error {
	var key struct {
		Type        string `json:"type"`
		ClientEmail string `json:"client_email"`
		PrivateKey  string `json:"private_key"`
	}
	if err := json.Unmarshal([]byte(s.Reveal()), &key); err != nil {
		return errors.New("expected JSON")
	}
	if key.Type != "service_account" || key.ClientEmail == "" || key.PrivateKey == "" {
		return errors.New("expected the key of a service account, with type, client_email and private_key")
	}
	return nil
}

// checkTLSPair wants a certificate and key that belong together and name the domains.
func checkTLSPair(a answers.Answers, m Material) []error {
	pair, err := tls.X509KeyPair(m.TLSCertPEM, []byte(m.TLSKeyPEM.Reveal()))
	if err != nil {
		return []error{fmt.Errorf("--tls-cert and --tls-key: %w", err)}
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return []error{fmt.Errorf("--tls-cert: %w", err)}
	}
	var errs []error
	for _, host := range []string{a.Domain, a.AuthDomain, a.Cache.Domain} {
		if host == "" {
			continue
		}
		if err := cert.VerifyHostname(host); err != nil {
			errs = append(errs, fmt.Errorf("--tls-cert: clients would refuse it: %w", err))
		}
	}
	return errs
}
