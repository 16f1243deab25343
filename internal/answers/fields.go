package answers

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind says how a field's text is read.
type Kind int

// The kinds of fields.
const (
	KindText Kind = iota // one line of text
	KindInt              // a decimal number (the lifetime also as 1h30m)
	KindBool             // true or false
	KindList             // any number of texts; the flag may be repeated
)

// Field is one answer as data: enough to make a flag, a variable, a line of help and a
// question of the wizard from it.
type Field struct {
	Key         string   // path in regctl-setup.yaml, such as "s3.bucket"
	Flag        string   // flag without dashes, such as "s3-bucket"
	Help        string   // one clause without a period
	Placeholder string   // the value's name in usage text, such as "HOST"
	Kind        Kind     //
	Values      []string // the only values that are accepted; nil = free
	Group       string   // heading in regctl-setup.yaml and in the wizard
	Optional    bool     // empty text means "derive it" or "none"

	get   func(*Answers) []string
	set   func(*Answers, []string) error
	check func(string) error
}

// Env returns the environment variable that answers the field: REGCTL_SETUP_ and the
// flag in capitals. A list is separated by spaces there.
func (f Field) Env() string {
	return "REGCTL_SETUP_" + strings.ToUpper(strings.ReplaceAll(f.Flag, "-", "_"))
}

// Default returns the text of the default, "" for what is derived and for empty lists.
func (f Field) Default() string {
	a := Defaults()
	return f.Text(&a)
}

// Get returns the field's values: one text, but for lists, which may be empty.
func (f Field) Get(a *Answers) []string { return f.get(a) }

// Text returns the field's values as one text, those of a list separated by spaces.
func (f Field) Text(a *Answers) string { return strings.Join(f.get(a), " ") }

// Set checks the values and stores them. Without an error a is changed, with one it is
// not. Lists take any number of values, other fields exactly one. The error is a
// [Problem] or [Problems] that name the flag.
func (f Field) Set(a *Answers, values []string) error {
	if f.Kind != KindList && len(values) != 1 {
		return f.problem(fmt.Sprintf("expected one value, got %d", len(values)))
	}
	var ps Problems
	for _, v := range values {
		if err := f.Check(v); err != nil {
			ps = append(ps, f.problem(err.Error()))
		}
	}
	if len(ps) > 0 {
		return ps
	}
	if err := f.set(a, values); err != nil {
		return f.problem(err.Error())
	}
	return nil
}

// SetText is [Field.Set] on one text, as environment variables have it: a list's
// values are separated by white space.
func (f Field) SetText(a *Answers, s string) error {
	if f.Kind == KindList {
		return f.Set(a, strings.Fields(s))
	}
	return f.Set(a, []string{s})
}

// Check says what is wrong with one value (of a list: with one element), as a clause
// that begins with the value; nil when it is fine. It looks at nothing else.
func (f Field) Check(s string) error {
	if s == "" && f.Optional && f.Kind != KindList {
		return nil
	}
	if len(f.Values) > 0 && !slices.Contains(f.Values, s) {
		if n := nearest(s, f.Values); n != "" {
			return fmt.Errorf("%s is not a choice; did you mean %s?", quote(s), n)
		}
		return fmt.Errorf("%s is not a choice; expected %s", quote(s), strings.Join(f.Values, ", "))
	}
	if f.check == nil {
		return nil
	}
	if err := f.check(s); err != nil {
		return fmt.Errorf("%s: %w", quote(s), err)
	}
	return nil
}

func (f Field) problem(msg string) Problem { return Problem{Key: f.Key, Flag: f.Flag, Msg: msg} }

// quote is %q, cut where the text is long.
func quote(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q…", s[:77])
	}
	return fmt.Sprintf("%q", s)
}

// FieldByFlag returns the field with that flag (without dashes).
func FieldByFlag(flag string) (Field, bool) {
	for _, f := range Fields() {
		if f.Flag == flag {
			return f, true
		}
	}
	return Field{}, false
}

// textField is a field that is one string of [Answers].
func textField(f Field, p func(*Answers) *string, check func(string) error) Field {
	f.get = func(a *Answers) []string { return []string{*p(a)} }
	f.set = func(a *Answers, v []string) error { *p(a) = v[0]; return nil }
	f.check = check
	return f
}

// hostField is a textField that is stored in lower case.
func hostField(f Field, p func(*Answers) *string) Field {
	f = textField(f, p, func(s string) error { return checkHost(strings.ToLower(s)) })
	f.set = func(a *Answers, v []string) error { *p(a) = strings.ToLower(v[0]); return nil }
	return f
}

func intField(f Field, p func(*Answers) *int, check func(string) error) Field {
	f.Kind = KindInt
	f.get = func(a *Answers) []string { return []string{strconv.Itoa(*p(a))} }
	f.set = func(a *Answers, v []string) error {
		n, err := strconv.Atoi(v[0])
		if err != nil {
			return fmt.Errorf("%s: expected a number", quote(v[0]))
		}
		*p(a) = n
		return nil
	}
	f.check = check
	return f
}

func boolField(f Field, p func(*Answers) *bool) Field {
	f.Kind = KindBool
	f.get = func(a *Answers) []string { return []string{strconv.FormatBool(*p(a))} }
	f.set = func(a *Answers, v []string) error { *p(a) = v[0] == "true"; return nil }
	f.check = func(s string) error {
		if s != "true" && s != "false" {
			return errors.New("expected true or false")
		}
		return nil
	}
	return f
}

// seconds reads a lifetime: seconds, or a duration such as 1h.
func seconds(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		d, derr := time.ParseDuration(s)
		if derr != nil || d%time.Second != 0 {
			return 0, errors.New("expected seconds, or a duration such as 1h")
		}
		n = int(d / time.Second)
	}
	if n < 60 || n > 86400 {
		return 0, errors.New("expected a lifetime from 60 seconds to 86400 (one day)")
	}
	return n, nil
}

// ParseUser reads a user as `--user` has it: NAME, or NAME:KEY=VALUE[,KEY=VALUE…],
// where a key that comes again collects its values.
func ParseUser(s string) (User, error) {
	name, rest, labelled := strings.Cut(s, ":")
	u := User{Name: name}
	if err := checkUserName(name); err != nil {
		return User{}, err
	}
	if !labelled {
		return u, nil
	}
	for pair := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return User{}, fmt.Errorf("label %s: expected KEY=VALUE", quote(pair))
		}
		if err := checkLabelValue(k); err != nil {
			return User{}, fmt.Errorf("label key %s: %w", quote(k), err)
		}
		if err := checkLabelValue(v); err != nil {
			return User{}, fmt.Errorf("label value %s: %w", quote(v), err)
		}
		i := slices.IndexFunc(u.Labels, func(l Label) bool { return l.Name == k })
		if i < 0 {
			u.Labels = append(u.Labels, Label{Name: k})
			i = len(u.Labels) - 1
		}
		if !slices.Contains(u.Labels[i].Values, v) {
			u.Labels[i].Values = append(u.Labels[i].Values, v)
		}
	}
	return u, nil
}

// String returns the user as `--user` takes it.
func (u User) String() string {
	var pairs []string
	for _, l := range u.Labels {
		for _, v := range l.Values {
			pairs = append(pairs, l.Name+"="+v)
		}
	}
	if len(pairs) == 0 {
		return u.Name
	}
	return u.Name + ":" + strings.Join(pairs, ",")
}

// Groups of fields, in the order of regctl-setup.yaml and of the wizard.
const (
	GroupWhat    = "What runs"
	GroupNames   = "Names"
	GroupTLS     = "TLS and addresses"
	GroupStorage = "Storage"
	GroupRights  = "Who may do what"
	GroupLogins  = "External logins (docker_auth only)"
	GroupCache   = "Pull-through cache"
	GroupTokens  = "Tokens"
	GroupImages  = "Images (empty: the version that this program was made for)"
)

// Fields returns every answer, in the order of regctl-setup.yaml.
func Fields() []Field {
	return []Field{
		textField(Field{Key: "runtime", Flag: "runtime", Group: GroupWhat, Values: []string{RuntimeCompose, RuntimeEmbedded},
			Help: "compose runs the services with Docker, embedded runs the registry inside this program"},
			func(a *Answers) *string { return &a.Runtime }, nil),
		textField(Field{Key: "engine", Flag: "engine", Group: GroupWhat, Values: []string{EngineDockerAuth, EngineBundled},
			Help: "what answers token requests under compose: the docker_auth image, or this program in an image that compose builds"},
			func(a *Answers) *string { return &a.Engine }, nil),
		intField(Field{Key: "registry", Flag: "registry", Group: GroupWhat, Values: []string{"3", "2"},
			Help: "major version of the registry; 2 gets no security fixes any more"},
			func(a *Answers) *int { return &a.Registry }, nil),
		boolField(Field{Key: "audit", Flag: "audit", Group: GroupWhat,
			Help: "beside docker_auth: a service that keeps the audit log of what is pulled and pushed; the bundled engine always keeps it"},
			func(a *Answers) *bool { return &a.Audit }),

		hostField(Field{Key: "domain", Flag: "domain", Group: GroupNames, Placeholder: "HOST",
			Help: "host name that clients use for the registry, without scheme and port"},
			func(a *Answers) *string { return &a.Domain }),
		hostField(Field{Key: "auth_domain", Flag: "auth-domain", Group: GroupNames, Placeholder: "HOST", Optional: true,
			Help: "a host name of its own for the token endpoint; empty: /auth on the registry's"},
			func(a *Answers) *string { return &a.AuthDomain }),
		textField(Field{Key: "service", Flag: "service", Group: GroupNames, Placeholder: "NAME", Optional: true,
			Help: "the registry's name in tokens (their audience); empty: the domain"},
			func(a *Answers) *string { return &a.Service }, checkQuotable),
		textField(Field{Key: "issuer", Flag: "issuer", Group: GroupNames, Placeholder: "NAME",
			Help: "the token server's name in tokens"},
			func(a *Answers) *string { return &a.Issuer }, notEmpty(checkQuotable)),

		textField(Field{Key: "tls", Flag: "tls", Group: GroupTLS, Optional: true,
			Values: []string{TLSACME, TLSACMEStaging, TLSInternal, TLSFiles, TLSOff},
			Help:   "where certificates come from; empty: acme for a public name or with an authority named, else internal (a CA of Caddy's own)"},
			func(a *Answers) *string { return &a.TLS }, nil),
		textField(Field{Key: "email", Flag: "email", Group: GroupTLS, Placeholder: "ADDRESS", Optional: true,
			Help: "where the certificate authority writes to when a certificate is in trouble"},
			func(a *Answers) *string { return &a.Email }, checkEmail),
		textField(Field{Key: "acme_ca", Flag: "acme-ca", Group: GroupTLS, Placeholder: "URL", Optional: true,
			Help: "another authority than Let's Encrypt for tls acme, such as step-ca, by its ACME directory; it may certify private names too"},
			func(a *Answers) *string { return &a.ACMECA }, checkDirectoryURL),
		textField(Field{Key: "acme_ca_root", Flag: "acme-ca-root", Group: GroupTLS, Placeholder: "FILE", Optional: true,
			Help: "certificate (PEM) by which Caddy trusts that authority's own HTTPS; copied to conf/caddy/acme_ca_root.pem; empty: the public ones"},
			func(a *Answers) *string { return &a.ACMECARoot }, checkPath),
		textField(Field{Key: "tls_cert", Flag: "tls-cert", Group: GroupTLS, Placeholder: "FILE", Optional: true,
			Help: "certificate chain (PEM) for tls files; copied to secrets/tls/cert.pem"},
			func(a *Answers) *string { return &a.TLSCert }, checkPath),
		textField(Field{Key: "tls_key", Flag: "tls-key", Group: GroupTLS, Placeholder: "FILE", Optional: true,
			Help: "private key (PEM) for tls files; copied to secrets/tls/key.pem"},
			func(a *Answers) *string { return &a.TLSKey }, checkPath),
		listField(Field{Key: "trusted_proxies", Flag: "trusted-proxy", Group: GroupTLS, Placeholder: "CIDR",
			Help: "address or network of a proxy in front, whose X-Forwarded headers are believed"},
			func(a *Answers) *[]string { return &a.TrustedProxies }, checkCIDR),
		textField(Field{Key: "bind", Flag: "bind", Group: GroupTLS, Placeholder: "IP", Optional: true,
			Help: "address of this machine that the ports are published on; empty: all"},
			func(a *Answers) *string { return &a.Bind }, checkIP),
		intField(Field{Key: "http_port", Flag: "http-port", Group: GroupTLS, Placeholder: "PORT",
			Help: "port for plain HTTP: redirects, and the certificate authority's check"},
			func(a *Answers) *int { return &a.HTTPPort }, checkPort),
		intField(Field{Key: "https_port", Flag: "https-port", Group: GroupTLS, Placeholder: "PORT",
			Help: "port for HTTPS, as clients write it"},
			func(a *Answers) *int { return &a.HTTPSPort }, checkPort),
		textField(Field{Key: "listen", Flag: "listen", Group: GroupTLS, Placeholder: "HOST:PORT",
			Help: "where the embedded runtime listens"},
			func(a *Answers) *string { return &a.Listen }, checkListen),

		textField(Field{Key: "storage", Flag: "storage", Group: GroupStorage,
			Values: []string{StorageFilesystem, StorageS3, StorageMinIO, StorageVersityGW, StorageAzure, StorageGCS},
			Help:   "where image data goes; filesystem is data/registry in the deployment"},
			func(a *Answers) *string { return &a.Storage }, nil),
		textField(Field{Key: "s3.provider", Flag: "s3-provider", Group: GroupStorage,
			Values: []string{ProviderAWS, ProviderR2, ProviderB2, ProviderWasabi, ProviderSpaces, ProviderGarage, ProviderGeneric},
			Help:   "which S3 service, for its settings"},
			func(a *Answers) *string { return &a.S3.Provider }, nil),
		textField(Field{Key: "s3.bucket", Flag: "s3-bucket", Group: GroupStorage, Placeholder: "NAME", Optional: true,
			Help: "the bucket"},
			func(a *Answers) *string { return &a.S3.Bucket }, checkBucket),
		textField(Field{Key: "s3.region", Flag: "s3-region", Group: GroupStorage, Placeholder: "REGION", Optional: true,
			Help: "the bucket's region; empty: what the provider's preset says"},
			func(a *Answers) *string { return &a.S3.Region }, matches(s3Region, "a region such as eu-central-1")),
		textField(Field{Key: "s3.endpoint", Flag: "s3-endpoint", Group: GroupStorage, Placeholder: "URL", Optional: true,
			Help: "the S3 service's URL; empty: what the provider's preset says"},
			func(a *Answers) *string { return &a.S3.Endpoint }, checkURL),
		textField(Field{Key: "s3.credentials_file", Flag: "s3-credentials-file", Group: GroupStorage, Placeholder: "FILE", Optional: true,
			Help: "AWS credentials file with a [default] section; copied to secrets/s3_credentials; empty: the machine's role (AWS)"},
			func(a *Answers) *string { return &a.S3.CredentialsFile }, checkPath),
		textField(Field{Key: "s3.redirect", Flag: "s3-redirect", Group: GroupStorage, Values: []string{RedirectAuto, RedirectOn, RedirectOff},
			Help: "send clients to the bucket for layers; auto: where its endpoint is public"},
			func(a *Answers) *string { return &a.S3.Redirect }, nil),
		textField(Field{Key: "azure.account", Flag: "azure-account", Group: GroupStorage, Placeholder: "NAME", Optional: true,
			Help: "the storage account"},
			func(a *Answers) *string { return &a.Azure.Account }, matches(azAccount, "a storage account's name: 3 to 24 of a-z 0-9")),
		textField(Field{Key: "azure.container", Flag: "azure-container", Group: GroupStorage, Placeholder: "NAME", Optional: true,
			Help: "the blob container"},
			func(a *Answers) *string { return &a.Azure.Container }, matches(azContainer, "a container's name: 3 to 63 of a-z 0-9 and single hyphens")),
		textField(Field{Key: "azure.credentials", Flag: "azure-credentials", Group: GroupStorage,
			Values: []string{AzureSharedKey, AzureClientSecret, AzureDefault},
			Help:   "how the registry proves itself to Azure"},
			func(a *Answers) *string { return &a.Azure.Credentials }, nil),
		textField(Field{Key: "azure.tenant_id", Flag: "azure-tenant-id", Group: GroupStorage, Placeholder: "ID", Optional: true,
			Help: "the tenant, for client_secret"},
			func(a *Answers) *string { return &a.Azure.TenantID }, matches(azTenant, "a tenant's id or domain")),
		textField(Field{Key: "azure.client_id", Flag: "azure-client-id", Group: GroupStorage, Placeholder: "ID", Optional: true,
			Help: "the application, for client_secret"},
			func(a *Answers) *string { return &a.Azure.ClientID }, matches(azClient, "an application's id, such as 00000000-0000-0000-0000-000000000000")),
		textField(Field{Key: "azure.secret_file", Flag: "azure-secret-file", Group: GroupStorage, Placeholder: "FILE", Optional: true,
			Help: "file with the account key or the client secret; its text goes into conf/registry/config.yml"},
			func(a *Answers) *string { return &a.Azure.SecretFile }, checkPath),
		textField(Field{Key: "gcs.bucket", Flag: "gcs-bucket", Group: GroupStorage, Placeholder: "NAME", Optional: true,
			Help: "the Google Cloud Storage bucket"},
			func(a *Answers) *string { return &a.GCS.Bucket }, matches(gcsBucket, "a bucket's name: a-z 0-9 . _ -")),
		textField(Field{Key: "gcs.key_file", Flag: "gcs-key-file", Group: GroupStorage, Placeholder: "FILE", Optional: true,
			Help: "service account key (JSON); copied to secrets/gcs_key.json; empty: the machine's own account"},
			func(a *Answers) *string { return &a.GCS.KeyFile }, checkPath),
		boolField(Field{Key: "delete", Flag: "delete", Group: GroupStorage,
			Help: "let the registry delete at all; who may is the rules' affair"},
			func(a *Answers) *bool { return &a.Delete }),

		textField(Field{Key: "anonymous_pull", Flag: "anonymous-pull", Group: GroupRights, Placeholder: "none|all|PATTERN",
			Help: "what may be pulled without a login: none, all, or names such as public/** (* within a component, ** across)"},
			func(a *Answers) *string { return &a.AnonymousPull }, checkAnonymous),
		boolField(Field{Key: "own_namespace", Flag: "own-namespace", Group: GroupRights,
			Help: "let every account push, pull and delete below its own name"},
			func(a *Answers) *bool { return &a.OwnNamespace }),
		teamsField(),
		usersField(),

		listField(Field{Key: "logins", Flag: "login", Group: GroupLogins, Placeholder: "NAME",
			Values: []string{LoginLDAP, LoginOIDC, LoginGitHub, LoginGitLab, LoginGoogle},
			Help:   "where accounts can live besides the auth config's users"},
			func(a *Answers) *[]string { return &a.Logins }, nil),
		textField(Field{Key: "ldap.addr", Flag: "ldap-addr", Group: GroupLogins, Placeholder: "HOST:PORT", Optional: true,
			Help: "the directory server; 636 with TLS, else 389"},
			func(a *Answers) *string { return &a.LDAP.Addr }, checkHostPort),
		textField(Field{Key: "ldap.tls", Flag: "ldap-tls", Group: GroupLogins, Values: []string{LDAPTLSAlways, LDAPTLSStartTLS, LDAPTLSNone},
			Help: "how the line to the directory is encrypted"},
			func(a *Answers) *string { return &a.LDAP.TLS }, nil),
		textField(Field{Key: "ldap.ca_file", Flag: "ldap-ca-file", Group: GroupLogins, Placeholder: "FILE", Optional: true,
			Help: "certificate authority of the directory (PEM); copied to conf/auth/ldap_ca.pem; empty: the public ones"},
			func(a *Answers) *string { return &a.LDAP.CAFile }, checkPath),
		textField(Field{Key: "ldap.base", Flag: "ldap-base", Group: GroupLogins, Placeholder: "DN", Optional: true,
			Help: "where accounts are looked for, such as ou=people,dc=example,dc=com"},
			func(a *Answers) *string { return &a.LDAP.Base }, checkDN),
		textField(Field{Key: "ldap.filter", Flag: "ldap-filter", Group: GroupLogins, Placeholder: "FILTER",
			Help: "what finds one account; ${account} is the name that somebody logs in with"},
			func(a *Answers) *string { return &a.LDAP.Filter }, checkLDAPFilter),
		textField(Field{Key: "ldap.bind_dn", Flag: "ldap-bind-dn", Group: GroupLogins, Placeholder: "DN", Optional: true,
			Help: "who looks accounts up; empty: nobody (an anonymous bind)"},
			func(a *Answers) *string { return &a.LDAP.BindDN }, checkDN),
		textField(Field{Key: "ldap.bind_password_file", Flag: "ldap-bind-password-file", Group: GroupLogins, Placeholder: "FILE", Optional: true,
			Help: "file with that account's password; copied to secrets/auth/ldap_bind_password"},
			func(a *Answers) *string { return &a.LDAP.BindPasswordFile }, checkPath),
		listField(Field{Key: "ldap.labels", Flag: "ldap-label", Group: GroupLogins, Placeholder: "KEY=ATTRIBUTE[+cn][+lower]",
			Help: "an attribute whose values become a label, such as team=memberOf+cn+lower (cn: of a DN its first CN; lower: in lower case)"},
			func(a *Answers) *[]string { return &a.LDAP.Labels },
			func(s string) error { _, err := ParseLDAPLabel(s); return err }),
		textField(Field{Key: "oidc.issuer", Flag: "oidc-issuer", Group: GroupLogins, Placeholder: "URL", Optional: true,
			Help: "the OpenID Connect provider, below which .well-known/openid-configuration is"},
			func(a *Answers) *string { return &a.OIDC.Issuer }, checkProviderURL),
		clientIDField("oidc", "the provider", func(a *Answers) *string { return &a.OIDC.ClientID }),
		clientSecretField("oidc", func(a *Answers) *string { return &a.OIDC.ClientSecretFile }),
		textField(Field{Key: "oidc.user_claim", Flag: "oidc-user-claim", Group: GroupLogins, Placeholder: "CLAIM", Optional: true,
			Help: "the claim that is the account's name; empty: email"},
			func(a *Answers) *string { return &a.OIDC.UserClaim }, matches(claim, "a claim such as preferred_username")),
		listField(Field{Key: "oidc.label_claims", Flag: "oidc-label-claim", Group: GroupLogins, Placeholder: "CLAIM",
			Help: "a claim that is a list of texts and becomes a label of its own name, such as groups"},
			func(a *Answers) *[]string { return &a.OIDC.LabelClaims }, matches(claim, "a claim such as groups")),
		listField(Field{Key: "oidc.scopes", Flag: "oidc-scope", Group: GroupLogins, Placeholder: "SCOPE",
			Help: "a scope to ask the provider for; none: openid and email"},
			func(a *Answers) *[]string { return &a.OIDC.Scopes }, matches(claim, "a scope such as openid")),
		textField(Field{Key: "github.organization", Flag: "github-organization", Group: GroupLogins, Placeholder: "NAME", Optional: true,
			Help: "whose members may log in; their teams become the label teams"},
			func(a *Answers) *string { return &a.GitHub.Organization }, matches(githubOrg, "an organisation's name as in its URL")),
		clientIDField("github", "GitHub", func(a *Answers) *string { return &a.GitHub.ClientID }),
		clientSecretField("github", func(a *Answers) *string { return &a.GitHub.ClientSecretFile }),
		textField(Field{Key: "github.url", Flag: "github-url", Group: GroupLogins, Placeholder: "URL", Optional: true,
			Help: "a GitHub Enterprise Server; empty: github.com"},
			func(a *Answers) *string { return &a.GitHub.URL }, checkProviderURL),
		textField(Field{Key: "gitlab.url", Flag: "gitlab-url", Group: GroupLogins, Placeholder: "URL", Optional: true,
			Help: "your GitLab; everybody with an account there may log in"},
			func(a *Answers) *string { return &a.GitLab.URL }, checkProviderURL),
		clientIDField("gitlab", "GitLab", func(a *Answers) *string { return &a.GitLab.ClientID }),
		clientSecretField("gitlab", func(a *Answers) *string { return &a.GitLab.ClientSecretFile }),
		textField(Field{Key: "google.domain", Flag: "google-domain", Group: GroupLogins, Placeholder: "DOMAIN", Optional: true,
			Help: "the Google Workspace domain whose accounts may log in"},
			func(a *Answers) *string { return &a.Google.Domain }, checkHost),
		clientIDField("google", "Google", func(a *Answers) *string { return &a.Google.ClientID }),
		clientSecretField("google", func(a *Answers) *string { return &a.Google.ClientSecretFile }),

		hostField(Field{Key: "cache.domain", Flag: "cache-domain", Group: GroupCache, Placeholder: "HOST", Optional: true,
			Help: "host name of a second registry that fetches from another one and keeps a copy; empty: none"},
			func(a *Answers) *string { return &a.Cache.Domain }),
		textField(Field{Key: "cache.upstream", Flag: "cache-upstream", Group: GroupCache, Placeholder: "URL",
			Help: "the registry that the cache fetches from"},
			func(a *Answers) *string { return &a.Cache.Upstream }, notEmpty(checkURL)),
		textField(Field{Key: "cache.username", Flag: "cache-username", Group: GroupCache, Placeholder: "NAME", Optional: true,
			Help: "the cache's account there; whoever may pull from the cache reads all that this account reads"},
			func(a *Answers) *string { return &a.Cache.Username }, checkQuotable),
		textField(Field{Key: "cache.password_file", Flag: "cache-password-file", Group: GroupCache, Placeholder: "FILE", Optional: true,
			Help: "file with that account's password or token; its text goes into conf/cache/config.yml"},
			func(a *Answers) *string { return &a.Cache.PasswordFile }, checkPath),
		textField(Field{Key: "cache.ttl", Flag: "cache-ttl", Group: GroupCache, Placeholder: "DURATION",
			Help: "how long a fetched image is kept, such as 168h; 0: for ever"},
			func(a *Answers) *string { return &a.Cache.TTL }, checkTTL),

		expirationField(),
		textField(Field{Key: "key_type", Flag: "key-type", Group: GroupTokens,
			Values: []string{KeyRSA4096, KeyRSA3072, KeyRSA2048, KeyECDSAP256},
			Help:   "the signing key of a new deployment; ecdsa-p256 only with the bundled engine"},
			func(a *Answers) *string { return &a.KeyType }, nil),

		imageField("auth", "the token server", func(a *Answers) *string { return &a.Images.Auth }),
		imageField("registry", "the registry", func(a *Answers) *string { return &a.Images.Registry }),
		imageField("caddy", "Caddy", func(a *Answers) *string { return &a.Images.Caddy }),
		imageField("storage", "the object store beside the registry (minio: naming one bundles it)", func(a *Answers) *string { return &a.Images.Storage }),
		boolField(Field{Key: "images.allow_old", Flag: "allow-old-images", Group: GroupImages,
			Help: "take images of versions with known security holes"},
			func(a *Answers) *bool { return &a.Images.AllowOld }),
	}
}

func clientIDField(login, who string, p func(*Answers) *string) Field {
	return textField(Field{Key: login + ".client_id", Flag: login + "-client-id", Group: GroupLogins, Placeholder: "ID", Optional: true,
		Help: "the client id that " + who + " gave this deployment"}, p, checkQuotable)
}

func clientSecretField(login string, p func(*Answers) *string) Field {
	return textField(Field{Key: login + ".client_secret_file", Flag: login + "-client-secret-file", Group: GroupLogins, Placeholder: "FILE", Optional: true,
		Help: "file with the client secret; copied to secrets/auth/" + login + "_client_secret"}, p, checkPath)
}

func notEmpty(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return errors.New("must not be empty")
		}
		return check(s)
	}
}

func listField(f Field, p func(*Answers) *[]string, check func(string) error) Field {
	f.Kind = KindList
	f.get = func(a *Answers) []string { return slices.Clone(*p(a)) }
	f.set = func(a *Answers, v []string) error { *p(a) = slices.Clone(v); return nil }
	f.check = check
	return f
}

func imageField(name, what string, p func(*Answers) *string) Field {
	return textField(Field{Key: "images." + name, Flag: name + "-image", Group: GroupImages, Placeholder: "IMAGE", Optional: true,
		Help: "image of " + what + ", by tag or digest"}, p, checkImage)
}

func teamsField() Field {
	return Field{Key: "teams", Flag: "team", Group: GroupRights, Placeholder: "NAME", Kind: KindList,
		Help: "a team: its developers push to and pull from dev-NAME/",
		get: func(a *Answers) []string {
			var out []string
			for _, t := range a.Teams {
				out = append(out, t.Name)
			}
			return out
		},
		set: func(a *Answers, v []string) error {
			a.Teams = nil
			for _, name := range v {
				a.Teams = append(a.Teams, Team{Name: name})
			}
			return nil
		},
		check: checkTeam,
	}
}

func usersField() Field {
	return Field{Key: "users", Flag: "user", Group: GroupRights, Placeholder: "NAME[:KEY=VALUE,…]", Kind: KindList,
		Help: "an account besides admin, with its labels, such as dev:team=backend (role=developer comes with a team)",
		get: func(a *Answers) []string {
			var out []string
			for _, u := range a.Users {
				out = append(out, u.String())
			}
			return out
		},
		set: func(a *Answers, v []string) error {
			var users []User
			for _, s := range v {
				u, err := ParseUser(s)
				if err != nil {
					return fmt.Errorf("%s: %w", quote(s), err)
				}
				users = append(users, u)
			}
			a.Users = users
			return nil
		},
		check: func(s string) error { _, err := ParseUser(s); return err },
	}
}

func expirationField() Field {
	f := intField(Field{Key: "expiration", Flag: "expiration", Group: GroupTokens, Placeholder: "SECONDS",
		Help: "lifetime of a token in seconds, or as 1h; a push must end before its token does"},
		func(a *Answers) *int { return &a.Expiration },
		func(s string) error { _, err := seconds(s); return err })
	f.set = func(a *Answers, v []string) (err error) {
		n, err := seconds(v[0])
		if err == nil {
			a.Expiration = n
		}
		return err
	}
	return f
}
