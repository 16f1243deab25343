package wizard

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Sections, in the order in which they are asked and listed.
const (
	SectionName      = "Name"
	SectionTLS       = "Certificates"
	SectionStorage   = "Storage"
	SectionSoftware  = "Software"
	SectionAccess    = "Who may do what"
	SectionAddresses = "Ports, addresses and proxies"
	SectionNames     = "More names"
	SectionMore      = "Deleting, redirects, own namespaces, audit log"
	SectionTokens    = "Tokens and keys"
	SectionLogins    = "External logins"
	SectionCache     = "Pull-through cache"
	SectionImages    = "Images"
)

// step is a question with how its answer is read and stored.
type step struct {
	id, flag, section, label string
	title, explain, example  string
	kind                     Kind
	essential                bool // asked without being opened
	optional                 bool
	file                     bool   // the answer is the path of a file
	choosesProgram           bool   // the answer asks something of this program that Start.Check knows
	pristine                 string // the default of the field
	always                   bool   // the suggestion stands above any default
	choices                  func(*Session) []Option
	when                     func(*Session) bool
	suggest                  func(*Session) string // a default that is better than the field's
	derived                  func(*Session) string // what an empty answer comes to
	get                      func(*Session) string
	set                      func(*answers.Answers, string) error
	store                    func(*Session, string) // what is not part of the answers
}

func (st step) options(s *Session) []Option {
	if st.choices == nil {
		return nil
	}
	return st.choices(s)
}

// words is what a person reads about a field; what is left out comes from the field.
type words struct {
	flag, section, label, title, explain, example string
	essential                                     bool
	options                                       []Option
	when                                          func(*Session) bool
	suggest                                       func(*Session) string
}

func resolved(s *Session) answers.Answers { return s.now.r }

func compose(s *Session) bool { return s.a.Runtime == answers.RuntimeCompose }

func acme(s *Session) bool {
	tls := resolved(s).TLS
	return compose(s) && (tls == answers.TLSACME || tls == answers.TLSACMEStaging)
}

func tlsOff(s *Session) bool { return compose(s) && resolved(s).TLS == answers.TLSOff }

func regionMatters(s *Session) bool {
	r := resolved(s)
	return r.Storage == answers.StorageS3 && r.S3.Provider != answers.ProviderR2
}

func awsLogs(s *Session) string {
	if r := resolved(s); r.Storage == answers.StorageS3 && r.S3.Provider == answers.ProviderAWS {
		return "nothing: this machine's role"
	}
	return ""
}

// table is the order of the questions and their words. Fields that are not in it are asked
// after it, in the section of their group.
func table() []words {
	return []words{
		{flag: "domain", section: SectionName, label: "Domain", essential: true, when: compose,
			title:   "What is the registry's domain?",
			explain: "The name in front of every image, as in docker pull DOMAIN/app. localhost is for trying it out on this machine.",
			example: "registry.example.com",
			suggest: func(s *Session) string {
				if answers.IsPublicName(s.start.Host) {
					return strings.ToLower(s.start.Host)
				}
				return ""
			}},
		{flag: "tls", section: SectionTLS, label: "Certificate from", essential: true, when: compose,
			title:   "Where does the HTTPS certificate come from?",
			explain: "Docker talks to a registry over HTTPS only; localhost is the exception."},
		{flag: "email", section: SectionTLS, label: "E-mail", essential: true, when: acme,
			title:   "Which e-mail address may the certificate authority write to?",
			explain: "For trouble with the certificate. Empty: none, certificates are renewed all the same.",
			example: "ops@example.com"},
		{flag: "tls-cert", section: SectionTLS, label: "Certificate", essential: true, when: compose,
			title:   "Which file holds the certificate?",
			explain: "PEM, the server's certificate first, then those of its authority. It is copied into the deployment.",
			example: "/etc/ssl/registry.pem"},
		{flag: "tls-key", section: SectionTLS, label: "Private key", essential: true, when: compose,
			title:   "Which file holds its private key?",
			explain: "PEM, without a passphrase. It is copied into the deployment, readable for its owner only.",
			example: "/etc/ssl/registry.key"},
		{flag: "trusted-proxy", section: SectionTLS, label: "Proxies", essential: true, when: tlsOff,
			title:   "What is the address of the proxy that does HTTPS?",
			explain: "An address or a network; several with spaces between. Only it may say who the client is.",
			example: "10.0.0.0/8"},

		{flag: "storage", section: SectionStorage, label: "Images go to", essential: true, when: compose,
			title:   "Where are the images kept?",
			explain: "A disk of this machine is the simplest; an object store grows without you.",
			options: []Option{
				{answers.StorageFilesystem, "this machine's disk: data/registry in the deployment's folder"},
				{answers.StorageS3, "an S3 service: AWS, Cloudflare R2, Backblaze, Wasabi, Garage …"},
				{answers.StorageMinIO, "MinIO: one that you run, or one beside the registry"},
				{answers.StorageVersityGW, "VersityGW: an S3 gateway beside the registry, over its disk"},
				{answers.StorageAzure, "Azure Blob Storage"},
				{answers.StorageGCS, "Google Cloud Storage"},
			},
			suggest: func(s *Session) string {
				for _, p := range []struct{ prefix, storage string }{{"s3-", answers.StorageS3}, {"azure-", answers.StorageAzure}, {"gcs-", answers.StorageGCS}} {
					for flag := range s.start.Fixed {
						if strings.HasPrefix(flag, p.prefix) {
							return p.storage
						}
					}
				}
				return ""
			}},
		{flag: "storage-image", section: SectionStorage, label: "MinIO image", essential: true,
			when:    func(s *Session) bool { return s.a.Storage == answers.StorageMinIO },
			title:   "Shall MinIO run beside the registry? From which image?",
			explain: "Empty: you run it already, elsewhere. MinIO publishes no images any more, so it must be one that you built or mirror.",
			example: "=empty: it runs elsewhere"},
		{flag: "s3-provider", section: SectionStorage, label: "S3 service", essential: true,
			title:   "Which S3 service?",
			explain: "Each has habits of its own; the registry is set up for them.",
			options: []Option{
				{answers.ProviderAWS, "Amazon S3"},
				{answers.ProviderR2, "Cloudflare R2"},
				{answers.ProviderB2, "Backblaze B2"},
				{answers.ProviderWasabi, "Wasabi"},
				{answers.ProviderSpaces, "DigitalOcean Spaces"},
				{answers.ProviderGarage, "Garage"},
				{answers.ProviderGeneric, "another one, by its URL"},
			},
			suggest: func(s *Session) string {
				if s.start.Fixed["s3-endpoint"] {
					return answers.ProviderGeneric
				}
				return ""
			}},
		{flag: "s3-region", section: SectionStorage, label: "Region", essential: true, when: regionMatters,
			title:   "Which region is the bucket in?",
			explain: "As the service writes it.",
			example: "eu-central-1"},
		{flag: "s3-endpoint", section: SectionStorage, label: "Endpoint", essential: true,
			title:   "What is the service's URL?",
			explain: "Scheme and host, and the port where it is not the usual one; without the bucket.",
			example: "https://s3.example.com"},
		{flag: "s3-bucket", section: SectionStorage, label: "Bucket", essential: true,
			when:    func(s *Session) bool { return !resolved(s).BundlesStore() },
			title:   "Which bucket?",
			explain: "It should be the registry's alone.",
			example: "my-registry"},
		{flag: "s3-credentials-file", section: SectionStorage, label: "Keys", essential: true,
			title:   "Which file holds the keys?",
			explain: "An AWS credentials file with a [default] section. It is copied into the deployment, readable for its owner only.",
			example: "/root/.aws/credentials"},
		{flag: "azure-account", section: SectionStorage, label: "Account", essential: true,
			title: "Which storage account?", explain: "Its name, as in NAME.blob.core.windows.net.", example: "mystorage"},
		{flag: "azure-container", section: SectionStorage, label: "Container", essential: true,
			title: "Which blob container?", explain: "It should be the registry's alone.", example: "registry"},
		{flag: "azure-credentials", section: SectionStorage, label: "Logs in by", essential: true,
			title: "How does the registry log in to Azure?", explain: "A managed identity needs no secret, but works on Azure's own machines only.",
			options: []Option{
				{answers.AzureSharedKey, "the account's key"},
				{answers.AzureClientSecret, "an application and its secret"},
				{answers.AzureDefault, "the machine's managed identity"},
			}},
		{flag: "azure-tenant-id", section: SectionStorage, label: "Tenant", essential: true,
			title: "Which tenant does the application belong to?", explain: "The directory's id or its domain."},
		{flag: "azure-client-id", section: SectionStorage, label: "Application", essential: true,
			title: "What is the application's (client) id?", explain: "As Entra ID shows it.", example: "00000000-0000-0000-0000-000000000000"},
		{flag: "azure-secret-file", section: SectionStorage, label: "Secret", essential: true,
			title: "Which file holds the account's key, or the application's secret?", explain: "Its text goes into conf/registry/config.yml, readable for its owner only."},
		{flag: "gcs-bucket", section: SectionStorage, label: "Bucket", essential: true,
			title: "Which bucket?", explain: "It should be the registry's alone.", example: "my-registry"},
		{flag: "gcs-key-file", section: SectionStorage, label: "Key", essential: true,
			title: "Which file holds the service account's key (JSON)?", explain: "It is copied into the deployment. Empty: the machine's own account, on Google's machines.",
			example: "=nothing: this machine's account"},

		{flag: "registry", section: SectionSoftware, label: "Registry", essential: true, when: compose,
			title:   "Which version of the registry?",
			explain: "3 unless something of yours still needs 2.",
			options: []Option{{"3", "3: current"}, {"2", "2: frozen at 2.8.3, gets no security fixes any more"}}},
		{flag: "engine", section: SectionSoftware, label: "Logins by", essential: true, when: compose,
			title:   "Which program checks logins and rights?",
			explain: "Both read the same file, so this can be changed later.",
			options: []Option{
				{answers.EngineDockerAuth, "docker_auth: the published image; needs nothing built"},
				{answers.EngineBundled, "bundled: regctl-setup itself; keeps expiry dates and an audit log"},
			}},

		{flag: "anonymous-pull", section: SectionAccess, label: "Without login", essential: true,
			title:   "What may be pulled without a login?",
			explain: "Pushing always needs one.",
			options: []Option{
				{answers.AnonymousNone, "nothing"},
				{answers.AnonymousAll, "everything"},
				{namesOption, "some names: such as everything below public/"},
			}},
		{flag: "team", section: SectionAccess, label: "Teams", essential: true,
			title:   "Which teams are there?",
			explain: "Members of backend push to dev-backend/ and nobody else does. Names with spaces between; empty: none.",
			example: "backend frontend"},
		{flag: "user", section: SectionAccess, label: "Users", essential: true,
			title:   "Who gets an account, besides admin?",
			explain: "NAME, or NAME:team=TEAM for a member, with spaces between. Without a team: pull only. More can be added at any time.",
			example: "alice:team=backend bob"},

		{flag: "http-port", section: SectionAddresses, label: "HTTP port", when: compose,
			title: "Which port for plain HTTP?", explain: "It sends browsers to HTTPS, and the certificate authority checks there that the domain is yours."},
		{flag: "https-port", section: SectionAddresses, label: "HTTPS port", when: compose,
			title: "Which port for HTTPS?", explain: "Another one than 443 becomes part of every image's name."},
		{flag: "bind", section: SectionAddresses, label: "On address", when: compose, example: "=all addresses",
			title: "On which address of this machine?", explain: "Empty: on all of them."},
		{flag: "acme-ca", section: SectionAddresses, label: "ACME authority", when: compose,
			title:   "Do you run a certificate authority with ACME? Where is its directory?",
			explain: "As step-ca has it: it may certify names that only your network knows. Empty: Let's Encrypt, for a public name.",
			example: "https://ca.example.com/acme/acme/directory"},
		{flag: "acme-ca-root", section: SectionAddresses, label: "Its root", when: compose,
			title:   "Which file holds the certificate that its own HTTPS is trusted by?",
			explain: "PEM; it is copied into the deployment. Empty: it has a certificate of a public authority.",
			example: "=public authorities"},
		{flag: "trusted-proxy", section: SectionAddresses, label: "Proxies",
			when:  func(s *Session) bool { return compose(s) && !tlsOff(s) },
			title: "Is there a proxy in front? At which address?", explain: "An address or a network; only it may say who the client is. Empty: none.", example: "=none"},
		{flag: "runtime", section: SectionAddresses, label: "Run by",
			title: "How does it run?", explain: "Docker Compose runs it as a service; embedded is one process on this machine, without HTTPS, to try it out.",
			options: []Option{
				{answers.RuntimeCompose, "Docker Compose"},
				{answers.RuntimeEmbedded, "embedded: inside this program (regctl-setup up)"},
			}},
		{flag: "listen", section: SectionAddresses, label: "Listens on",
			when:  func(s *Session) bool { return !compose(s) },
			title: "Where does it listen?", explain: "HOST:PORT on this machine."},
		{flag: "auth-domain", section: SectionNames, label: "Login domain", when: compose, example: "=none: the registry's own",
			title: "Shall logins have a domain of their own?", explain: "Empty: no. With one, it too must lead to this machine."},
		{flag: "service", section: SectionNames, label: "Service", example: "=the domain",
			title: "What is the registry called in tokens?", explain: "Empty: as its domain. Other registries that share the token server need other names."},
		{flag: "issuer", section: SectionNames, label: "Issuer",
			title: "What is the token server called in tokens?", explain: "The registry takes tokens under this name only."},
		{flag: "delete", section: SectionMore, label: "Deleting",
			title: "May images be deleted at all?", explain: "Who may is up to the rules: at first only admin.",
			options: yesNo()},
		{flag: "s3-redirect", section: SectionMore, label: "Redirects",
			title: "Do clients fetch image data from the bucket itself?", explain: "It saves this machine's bandwidth, but clients must be able to reach the bucket.",
			options: []Option{
				{answers.RedirectAuto, "as it suits the service"},
				{answers.RedirectOn, "yes: by links that are valid for minutes"},
				{answers.RedirectOff, "no: everything passes through the registry"},
			}},
		{flag: "own-namespace", section: SectionMore, label: "Own namespaces",
			title: "Does every account own the names below its own?", explain: "alice then pushes to and deletes from alice/ as she likes.",
			options: yesNo()},
		{flag: "audit", section: SectionMore, label: "Audit log",
			when:    func(s *Session) bool { return compose(s) && s.a.Engine == answers.EngineDockerAuth },
			title:   "Shall a service beside docker_auth keep an audit log?",
			explain: "Who pulled and pushed what, from where. It is regctl-setup itself, in an image that compose builds.",
			options: yesNo()},
		{flag: "expiration", section: SectionTokens, label: "Token lifetime",
			title: "How long is a login's token valid?", explain: "In seconds, or as 1h. A push must end before its token does; a right that is taken away lasts as long."},
		{flag: "key-type", section: SectionTokens, label: "Signing key",
			when:  func(s *Session) bool { return !s.start.Existing },
			title: "Which kind of key signs the tokens?", explain: "rsa-4096 suits every client and registry."},
		{flag: "login", section: SectionLogins, label: "Logins from", example: "=none",
			title: "Where else do accounts live?", explain: "Any of ldap, oidc, github, gitlab, google, with spaces between; empty: only here. Needs docker_auth."},
		{flag: "ldap-addr", section: SectionLogins, label: "LDAP server",
			title: "Where is the directory?", explain: "HOST:PORT; 636 is LDAPS, 389 is plain or StartTLS.", example: "ldap.example.com:636"},
		{flag: "ldap-tls", section: SectionLogins, label: "LDAP TLS",
			title: "How is the line to the directory encrypted?", explain: "Every password that somebody types goes over it.",
			options: []Option{
				{answers.LDAPTLSAlways, "TLS from the first byte (ldaps)"},
				{answers.LDAPTLSStartTLS, "plain at first, then TLS (StartTLS)"},
				{answers.LDAPTLSNone, "not at all: passwords in the clear"},
			}},
		{flag: "ldap-ca-file", section: SectionLogins, label: "LDAP authority", example: "=the public ones",
			title: "Which file holds the authority that signed the directory's certificate?", explain: "PEM; it is copied into the deployment. Empty: a public authority did."},
		{flag: "ldap-base", section: SectionLogins, label: "LDAP base",
			title: "Below which entry are the accounts?", explain: "A distinguished name (DN).", example: "ou=people,dc=example,dc=com"},
		{flag: "ldap-filter", section: SectionLogins, label: "LDAP filter",
			title: "Which filter finds one account?", explain: "${account} stands for the name that somebody logs in with. With Active Directory: (sAMAccountName=${account})."},
		{flag: "ldap-bind-dn", section: SectionLogins, label: "LDAP reader", example: "=nobody: an anonymous bind",
			title: "As whom does the token server look accounts up?", explain: "The DN of an account that may only read. Empty: as nobody, which few directories allow."},
		{flag: "ldap-bind-password-file", section: SectionLogins, label: "LDAP password",
			title: "Which file holds that account's password?", explain: "Its text, without a newline. It is copied into the deployment, readable for its owner only."},
		{flag: "ldap-label", section: SectionLogins, label: "LDAP labels", example: "team=memberOf+cn+lower",
			title: "Which attributes become labels?", explain: "KEY=ATTRIBUTE with spaces between; +cn takes a group's CN out of its DN, +lower writes it small. Rules then speak of ${labels:KEY}."},
		{flag: "oidc-issuer", section: SectionLogins, label: "OIDC provider",
			title: "What is the provider's issuer URL?", explain: "Below it is .well-known/openid-configuration.", example: "https://login.example.com/realms/main"},
		clientID("oidc", "OIDC client", "the provider"),
		clientSecret("oidc", "OIDC secret"),
		{flag: "oidc-user-claim", section: SectionLogins, label: "OIDC name", example: "=email",
			title: "Which claim is the account's name?", explain: "One that people can't choose themselves. Empty: email.",
		},
		{flag: "oidc-label-claim", section: SectionLogins, label: "OIDC labels", example: "groups",
			title: "Which claims become labels?", explain: "Claims that are lists of texts, with spaces between. Rules then speak of ${labels:CLAIM}. Empty: none."},
		{flag: "oidc-scope", section: SectionLogins, label: "OIDC scopes", example: "=openid email",
			title: "Which scopes are asked for?", explain: "With spaces between, openid among them. Empty: openid and email."},
		{flag: "github-organization", section: SectionLogins, label: "GitHub org",
			title: "Members of which organisation may log in?", explain: "Its name as in its URL. Their teams become the label teams.", example: "my-company"},
		clientID("github", "GitHub client", "GitHub"),
		clientSecret("github", "GitHub secret"),
		{flag: "github-url", section: SectionLogins, label: "GitHub server", example: "=github.com",
			title: "Is it a GitHub Enterprise Server? At which URL?", explain: "Empty: github.com."},
		{flag: "gitlab-url", section: SectionLogins, label: "GitLab",
			title: "What is your GitLab's URL?", explain: "Everybody with an account there may log in, so it must be your own.", example: "https://gitlab.example.com"},
		clientID("gitlab", "GitLab client", "GitLab"),
		clientSecret("gitlab", "GitLab secret"),
		{flag: "google-domain", section: SectionLogins, label: "Google domain",
			title: "Accounts of which Google Workspace domain may log in?", explain: "All of them, and nobody else's.", example: "example.com"},
		clientID("google", "Google client", "Google"),
		clientSecret("google", "Google secret"),

		{flag: "cache-domain", section: SectionCache, label: "Cache", example: "=none",
			title: "Shall a second registry keep copies of another one's images?", explain: "The domain that it gets, which must lead to this machine; empty: none."},
		{flag: "cache-upstream", section: SectionCache, label: "Cache of",
			title: "Which registry does the cache fetch from?", explain: "Its URL. Docker Hub's registry is not at its web site."},
		{flag: "cache-username", section: SectionCache, label: "Cache account", example: "=none: what is public there",
			title: "As whom does the cache fetch?", explain: "Whoever may pull from the cache reads all that this account reads. Empty: as nobody."},
		{flag: "cache-password-file", section: SectionCache, label: "Cache password",
			title: "Which file holds that account's password or token?", explain: "Its text goes into conf/cache/config.yml, readable for its owner only."},
		{flag: "cache-ttl", section: SectionCache, label: "Kept for",
			title: "How long is a fetched image kept?", explain: "As 168h for a week; 0 for ever. After that it is fetched again when somebody asks."},

		image("auth", "the token server"),
		image("registry", "the registry"),
		image("caddy", "Caddy, which does HTTPS"),
		{flag: "allow-old-images", section: SectionImages, label: "Old images",
			title: "Are versions with known security holes taken, too?", explain: "Only for a while, and where nobody else reaches the registry.",
			options: []Option{{"false", "no: they are refused"}, {"true", "yes"}}},
	}
}

// clientID and clientSecret ask for what a provider of logins gave this deployment.
func clientID(login, label, who string) words {
	return words{flag: login + "-client-id", section: SectionLogins, label: label,
		title: "Which client id did " + who + " give this deployment?", explain: "From the page on which the application was registered there."}
}

func clientSecret(login, label string) words {
	return words{flag: login + "-client-secret-file", section: SectionLogins, label: label,
		title: "Which file holds the client secret?", explain: "Its text. It is copied into the deployment, readable for its owner only."}
}

// image asks for another image than the tested one.
func image(name, what string) words {
	return words{flag: name + "-image", section: SectionImages, label: strings.ToUpper(name[:1]) + name[1:], example: "=the tested one",
		title: "Another image of " + what + "?", explain: "By tag or digest, such as a copy in a registry of your own. Empty: the version that this program was tested with."}
}

// namesOption stands for a pattern in the choice about anonymous pulls.
const namesOption = "names"

func yesNo() []Option { return []Option{{"true", "yes"}, {"false", "no"}} }

// sectionOf is where a field without words is asked.
func sectionOf(f answers.Field) string {
	parent, _, _ := strings.Cut(f.Key, ".")
	switch {
	case slices.Contains([]string{"logins", "ldap", "oidc", "github", "gitlab", "google"}, parent):
		return SectionLogins
	case parent == "cache":
		return SectionCache
	case parent == "images":
		return SectionImages
	}
	switch f.Group {
	case answers.GroupTLS:
		return SectionAddresses
	case answers.GroupNames:
		return SectionNames
	case answers.GroupTokens:
		return SectionTokens
	}
	return SectionMore
}

// steps returns every question, whether it is to be asked or not.
func (s *Session) steps() []step {
	var out []step
	worded := map[string]bool{}
	fields := map[string]answers.Field{}
	for _, f := range s.fields {
		fields[f.Flag] = f
	}
	for _, w := range table() {
		f, ok := fields[w.flag]
		if !ok {
			continue
		}
		worded[w.flag] = true
		st := fieldStep(f, w)
		if w.flag == "trusted-proxy" && w.essential {
			st.id += ":" + answers.TLSOff // the same answer is asked at two places, of which one is shown
		}
		out = append(out, st)
		switch w.flag {
		case "anonymous-pull":
			out = append(out, patternStep(f))
		case "user":
			out = append(out, s.passwordSteps()...)
		}
	}
	for _, f := range s.fields {
		if !worded[f.Flag] {
			out = append(out, fieldStep(f, words{}))
		}
	}
	return out
}

// fieldStep is the question about one field.
func fieldStep(f answers.Field, w words) step {
	st := step{
		id: f.Flag, flag: f.Flag, section: w.section, label: w.label, title: w.title, explain: w.explain, example: w.example,
		essential: w.essential, suggest: w.suggest, pristine: f.Default(),
		optional: f.Optional || f.Kind == answers.KindList,
		file:     f.Placeholder == "FILE", choosesProgram: f.Flag == "engine" || f.Flag == "audit",
		get: func(s *Session) string { return f.Text(&s.a) },
		set: f.SetText,
	}
	if st.section == "" {
		st.section = sectionOf(f)
	}
	if st.label == "" {
		st.label = f.Flag
	}
	if st.title == "" {
		st.title = strings.ToUpper(f.Help[:1]) + f.Help[1:]
	}
	st.when = func(s *Session) bool { return s.now.meaningful(f) && (w.when == nil || w.when(s)) }
	if st.optional && f.Kind != answers.KindList {
		st.derived = func(s *Session) string {
			if f.Text(&s.a) != "" {
				return ""
			}
			r := resolved(s)
			return f.Text(&r)
		}
	}
	switch {
	case f.Flag == "tls":
		tlsStep(&st, f)
	case f.Flag == "anonymous-pull":
		anonymousStep(&st)
	case w.options != nil:
		st.kind, st.choices = Choice, func(*Session) []Option { return w.options }
	case f.Kind == answers.KindBool:
		st.kind, st.choices = Choice, func(*Session) []Option { return yesNo() }
	case len(f.Values) > 0 && f.Kind != answers.KindList:
		st.kind, st.choices = Choice, func(*Session) []Option {
			var out []Option
			for _, v := range f.Values {
				out = append(out, Option{v, v})
			}
			return out
		}
	}
	if f.Flag == "s3-credentials-file" {
		st.derived = awsLogs
	}
	return st
}

// tlsStep offers what can be had for the domain. The choice that the domain leads to by
// itself is kept as "derive it", so that it follows when the domain changes.
func tlsStep(st *step, f answers.Field) {
	st.kind = Choice
	st.optional, st.derived = false, nil
	st.choices = func(s *Session) []Option {
		own := []Option{
			{answers.TLSInternal, "an authority of its own: every client must be told to trust it"},
			{answers.TLSFiles, "files that you have"},
			{answers.TLSOff, "none: plain HTTP, a proxy in front does HTTPS"},
		}
		if s.a.Domain == "localhost" {
			own[2].Label = "none: plain HTTP, which Docker accepts for localhost"
		}
		if s.a.ACMECA != "" {
			return append([]Option{{answers.TLSACME, "the authority at " + s.a.ACMECA}}, own...)
		}
		if !answers.IsPublicName(s.a.Domain) {
			return own
		}
		return append([]Option{
			{answers.TLSACME, "Let's Encrypt: free, renewed by itself; the domain must lead here"},
			{answers.TLSACMEStaging, "Let's Encrypt's test service: to try it out, trusted by nobody"},
		}, own...)
	}
	st.get = func(s *Session) string { return resolved(s).TLS }
	st.suggest = func(s *Session) string {
		if s.start.Fixed["tls-cert"] || s.start.Fixed["tls-key"] {
			return answers.TLSFiles
		}
		return ""
	}
	st.always = true // it is only made for files that were given
	st.set = func(a *answers.Answers, text string) error {
		if text == "" {
			return errors.New("choose one")
		}
		derived := *a
		derived.TLS = ""
		if derived.Resolve().TLS == text {
			text = ""
		}
		return f.SetText(a, text)
	}
}

// anonymousStep is the choice before the pattern.
func anonymousStep(st *step) {
	st.kind = Choice
	choices := table()
	i := slices.IndexFunc(choices, func(w words) bool { return w.flag == "anonymous-pull" })
	options := choices[i].options
	st.choices = func(*Session) []Option { return options }
	st.get = func(s *Session) string {
		switch s.a.AnonymousPull {
		case answers.AnonymousNone, answers.AnonymousAll:
			return s.a.AnonymousPull
		}
		return namesOption
	}
	st.set = func(a *answers.Answers, text string) error {
		switch text {
		case answers.AnonymousNone, answers.AnonymousAll:
			a.AnonymousPull = text
		case namesOption:
			if a.AnonymousPull == answers.AnonymousNone || a.AnonymousPull == answers.AnonymousAll {
				a.AnonymousPull = "public/**"
			}
		default:
			return fmt.Errorf("%q: expected none, all or names", text)
		}
		return nil
	}
}

// patternStep asks which names may be pulled without a login.
func patternStep(f answers.Field) step {
	return step{
		id: "anonymous-pull:names", flag: f.Flag, section: SectionAccess, label: "Names", essential: true,
		title:   "Which names may be pulled without a login?",
		explain: "* is any part of a name up to the next slash, ** is the rest: public/** is everything below public/.",
		example: "public/**",
		when: func(s *Session) bool {
			return s.a.AnonymousPull != answers.AnonymousNone && s.a.AnonymousPull != answers.AnonymousAll
		},
		get: func(s *Session) string { return s.a.AnonymousPull },
		set: f.SetText,
	}
}

// passwordSteps ask how the passwords of new accounts come about, and for those that are
// typed.
func (s *Session) passwordSteps() []step {
	names := s.newAccounts()
	keep := func(*answers.Answers, string) error { return nil }
	how := step{
		id: "passwords", section: SectionAccess, label: "Passwords", essential: true, kind: Choice,
		title:   "Whose passwords?",
		explain: "For " + strings.Join(names, ", ") + ".",
		// In a deployment that is there, passwords are made up when the change is written.
		when: func(s *Session) bool { return len(names) > 0 && !s.start.Existing },
		choices: func(*Session) []Option {
			return []Option{{"generated", "made up: long random ones, shown once at the end"}, {"typed", "typed: I'll type each one twice"}}
		},
		get: func(s *Session) string {
			if s.typed {
				return "typed"
			}
			return "generated"
		},
		set:   keep,
		store: func(s *Session, text string) { s.typed = text == "typed" },
	}
	out := []step{how}
	for _, name := range names {
		out = append(out, step{
			id: "password:" + name, section: SectionAccess, label: "Password of " + name, essential: true, kind: Secret, optional: true,
			title:   "Password of " + name,
			explain: "Empty: a random one is made up and shown at the end.",
			when:    func(s *Session) bool { return s.typed && !s.start.Existing },
			get:     func(*Session) string { return "" },
			set:     keep,
			store: func(s *Session, text string) {
				delete(s.passwords, name)
				if text != "" {
					s.passwords[name] = secret.New(text)
				}
			},
		})
	}
	return out
}

// Summary returns the answers as they will be written, the essential ones first, then
// whatever else is not as by default.
func (s *Session) Summary() []Line {
	a := s.normal(s.a)
	r := a.Resolve()
	var out []Line
	add := func(label, value string) { out = append(out, Line{label, value}) }
	embedded := r.Runtime == answers.RuntimeEmbedded
	if embedded {
		add("Registry", r.Listen+", inside this program, plain HTTP")
	} else {
		add("Registry", r.Scheme()+"://"+r.Host())
		add("Certificate", certificate(r))
	}
	add("Images", images(r))
	if !embedded {
		add("Software", "registry "+strconv.Itoa(r.Registry)+", logins by "+r.AuthEngine()+", run by Docker Compose")
	}
	add("Without login", map[string]string{answers.AnonymousNone: "nothing can be pulled", answers.AnonymousAll: "everything can be pulled"}[r.AnonymousPull])
	if out[len(out)-1].Value == "" {
		out[len(out)-1].Value = r.AnonymousPull + " can be pulled"
	}
	if teams := r.TeamNames(); len(teams) > 0 {
		add("Teams", strings.Join(teams, ", "))
	}
	var users []string
	for _, u := range r.Accounts() {
		switch team := u.Label(answers.TeamLabel); {
		case slices.Contains(u.Label(answers.RoleLabel), answers.RoleAdmin):
			users = append(users, u.Name+" (administrator)")
		case len(team) > 0:
			users = append(users, u.Name+" ("+strings.Join(team, ", ")+")")
		default:
			users = append(users, u.Name)
		}
	}
	add("Accounts", strings.Join(users, ", "))
	if names := s.newAccounts(); len(names) > 0 {
		how := "made up, shown once when the files are written"
		if n := len(s.Passwords()); n == len(names) {
			how = "as typed"
		} else if n > 0 {
			how = fmt.Sprintf("%d as typed, %d made up and shown once", n, len(names)-n)
		}
		add("Passwords", how)
	}
	if rest := s.others(a); rest != "" {
		add("And", rest)
	}
	return out
}

// others are the settings beside the essential ones that are not as by default.
func (s *Session) others(a answers.Answers) string {
	d := answers.Defaults()
	var out []string
	seen := map[string]bool{}
	for _, st := range s.steps() {
		i := slices.IndexFunc(s.fields, func(f answers.Field) bool { return f.Flag == st.flag })
		if i < 0 || st.essential && (st.when == nil || st.when(s)) {
			seen[st.flag] = true
			continue
		}
		f := s.fields[i]
		if seen[st.flag] || f.Text(&a) == f.Text(&d) || f.Flag == "runtime" || f.Flag == "listen" {
			continue
		}
		out = append(out, f.Flag+" "+f.Text(&a))
	}
	return strings.Join(out, ", ")
}

func certificate(r answers.Answers) string {
	switch r.TLS {
	case answers.TLSACME:
		who := "Let's Encrypt"
		if r.ACMECA != "" {
			who = "the authority at " + r.ACMECA
		}
		if r.Email != "" {
			return who + ", which writes to " + r.Email
		}
		return who
	case answers.TLSACMEStaging:
		return "Let's Encrypt's test service (trusted by nobody)"
	case answers.TLSFiles:
		return r.TLSCert
	case answers.TLSOff:
		if len(r.TrustedProxies) > 0 {
			return "the proxy's at " + strings.Join(r.TrustedProxies, ", ")
		}
		return "none, plain HTTP"
	}
	return "of an authority of its own, which clients must be told to trust"
}

func images(r answers.Answers) string {
	switch {
	case r.Storage == answers.StorageVersityGW:
		return "VersityGW beside the registry, on this machine's disk"
	case r.BundlesStore():
		return "MinIO beside the registry (" + r.Images.Storage + ")"
	case r.UsesS3() && r.S3.Endpoint != "":
		return "bucket " + r.S3.Bucket + " at " + r.S3.Endpoint
	case r.UsesS3():
		return "bucket " + r.S3.Bucket + " in " + r.S3.Region + " (" + r.S3.Provider + ")"
	case r.Storage == answers.StorageAzure:
		return "container " + r.Azure.Container + " of " + r.Azure.Account + " (Azure)"
	case r.Storage == answers.StorageGCS:
		return "bucket " + r.GCS.Bucket + " (Google Cloud Storage)"
	}
	return "data/registry, on this machine's disk"
}
