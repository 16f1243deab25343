package answers

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Validate returns every problem of the answers, in the order of [Fields], then those
// of answers that contradict each other. nil means that a deployment can be written.
func (a Answers) Validate() Problems {
	v := validator{a: a}
	v.each()
	v.together()
	return v.problems
}

type validator struct {
	a        Answers
	problems Problems
	bad      map[string]bool // flags whose own value is wrong: no more is said of them
}

func (v *validator) add(flag, hint, format string, args ...any) {
	f, _ := FieldByFlag(flag)
	v.problems = append(v.problems, Problem{Key: f.Key, Flag: flag, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// each checks every answer on its own.
func (v *validator) each() {
	v.bad = map[string]bool{}
	for _, f := range Fields() {
		values := f.Get(&v.a)
		if f.Kind == KindList && f.Key == "users" {
			v.users()
			continue
		}
		for _, s := range values {
			if err := f.Check(s); err != nil {
				v.add(f.Flag, "", "%s", err)
				v.bad[f.Flag] = true
			}
		}
	}
}

// users checks the accounts as they stand: the text form of a user, which [Field.Check]
// reads, can't tell a label value with a comma from two labels.
func (v *validator) users() {
	seen := map[string]bool{}
	for _, u := range v.a.Users {
		if err := checkUserName(u.Name); err != nil {
			v.add("user", "", "%s: %s", quote(u.Name), err)
		}
		if seen[u.Name] {
			v.add("user", "", "%s is answered twice", quote(u.Name))
		}
		seen[u.Name] = true
		labels := map[string]bool{}
		for _, l := range u.Labels {
			if err := checkLabelValue(l.Name); err != nil {
				v.add("user", "", "%s: label key %s: %s", quote(u.Name), quote(l.Name), err)
			}
			if labels[l.Name] {
				v.add("user", "", "%s: label %s is answered twice; give it a list of values", quote(u.Name), quote(l.Name))
			}
			labels[l.Name] = true
			if len(l.Values) == 0 {
				v.add("user", "", "%s: label %s has no value", quote(u.Name), quote(l.Name))
			}
			for _, value := range l.Values {
				check := checkLabelValue
				if l.Name == TeamLabel {
					check = checkTeam
				}
				if err := check(value); err != nil {
					v.add("user", "docker_auth pastes label values into patterns as they are", "%s: label %s: value %s: %s", quote(u.Name), quote(l.Name), quote(value), err)
				}
			}
		}
		if v.a.OwnNamespace {
			for _, team := range v.a.TeamNames() {
				if u.Name == TeamPrefix+team {
					v.add("user", "choose another name, or no own namespaces", "%s would own the namespace of team %s", quote(u.Name), quote(team))
				}
			}
		}
	}
}

// together checks answers against each other.
func (v *validator) together() {
	a := v.a.Resolve()
	seen := map[string]bool{}
	for _, t := range a.Teams {
		if seen[t.Name] {
			v.add("team", "", "%s is answered twice", quote(t.Name))
		}
		seen[t.Name] = true
	}
	v.tls(a)
	v.ports(a)
	v.engine(a)
	v.storage(a)
	v.logins(a)
	v.cache(a)
	v.images(a)
}

func (v *validator) tls(a Answers) {
	if a.AuthDomain != "" && a.AuthDomain == a.Domain {
		v.add("auth-domain", "leave it empty: the token endpoint is then /auth on the registry's domain", "%s is the registry's domain too", quote(a.AuthDomain))
	}
	if _, err := netip.ParseAddr(a.AuthDomain); err == nil {
		v.add("auth-domain", "leave it empty: the token endpoint is then /auth on the registry's domain",
			"%s is an address; clients refuse to send passwords to one that is not the registry's own", quote(a.AuthDomain))
	}
	acme := a.TLS == TLSACME || a.TLS == TLSACMEStaging
	for _, d := range []struct{ flag, host string }{{"domain", a.Domain}, {"auth-domain", a.AuthDomain}, {"cache-domain", a.Cache.Domain}} {
		switch {
		case !acme || d.host == "" || v.bad[d.flag]:
		case a.ACMECA != "" && isLoopback(d.host):
			v.add("acme-ca", "leave it out: --tls internal is for trying out on this machine",
				"no certificate authority but Caddy's own reaches %s (--%s)", quote(d.host), d.flag)
		case a.ACMECA == "" && !IsPublicName(d.host):
			v.add("tls", "use --tls internal, --tls files with a certificate of your own, or --acme-ca with an authority of your own",
				"no public certificate authority certifies %s (--%s); expected a public host name", quote(d.host), d.flag)
		}
	}
	v.authority(a)
	files := []struct{ flag, value string }{{"tls-cert", a.TLSCert}, {"tls-key", a.TLSKey}}
	for _, f := range files {
		switch {
		case a.TLS == TLSFiles && f.value == "":
			v.add(f.flag, "", "missing; --tls files needs both --tls-cert and --tls-key")
		case a.TLS != TLSFiles && f.value != "":
			v.add(f.flag, "", "given, but --tls is %s; expected --tls files", a.TLS)
		}
	}
	if a.TLS == TLSOff && len(a.TrustedProxies) == 0 && a.Domain != "localhost" {
		v.add("trusted-proxy", "without it clients would be sent to http://, which they refuse",
			"missing; --tls off expects the address of the proxy that does TLS")
	}
}

// authority checks what belongs to an ACME authority of one's own.
func (v *validator) authority(a Answers) {
	if a.TLS == TLSACME {
		if a.ACMECARoot != "" && a.ACMECA == "" {
			v.add("acme-ca-root", "", "given without --acme-ca, whose HTTPS it is for")
		}
		return
	}
	for _, f := range []struct{ flag, value string }{{"acme-ca", a.ACMECA}, {"acme-ca-root", a.ACMECARoot}} {
		if f.value != "" {
			v.add(f.flag, "", "given, but --tls is %s; expected --tls acme", a.TLS)
		}
	}
}

func (v *validator) ports(a Answers) {
	if a.HTTPPort == a.HTTPSPort {
		v.add("https-port", "", "%d is --http-port too; expected two ports", a.HTTPSPort)
	}
	for _, p := range []struct {
		flag string
		port int
	}{{"http-port", a.HTTPPort}, {"https-port", a.HTTPSPort}} {
		if p.port == HealthPort {
			v.add(p.flag, "", "%d is the port of Caddy's own health check; expected another", p.port)
		}
	}
}

// HealthPort is where Caddy answers its health check, inside its container.
const HealthPort = 2020

func (v *validator) engine(a Answers) {
	if a.KeyType == KeyECDSAP256 && a.AuthEngine() == EngineDockerAuth {
		v.add("key-type", "choose an RSA key, or --engine bundled", "%s can't be had with docker_auth, which gives every such key the same wrong id; expected an RSA key", a.KeyType)
	}
	if a.Runtime == RuntimeEmbedded && a.Storage != StorageFilesystem {
		v.add("storage", "use --runtime compose", "the embedded runtime stores on disk only, got %s; expected filesystem", a.Storage)
	}
}

func (v *validator) storage(a Answers) {
	missing := func(flag, value, what string) {
		if value == "" {
			v.add(flag, "", "missing; --storage %s needs %s", a.Storage, what)
		}
	}
	d := Defaults()
	unused := func(flag, value, def string) {
		if value != def {
			v.add(flag, "", "given, but --storage is %s", a.Storage)
		}
	}
	if !a.UsesS3() {
		unused("s3-bucket", v.a.S3.Bucket, "")
		unused("s3-region", v.a.S3.Region, "")
		unused("s3-endpoint", v.a.S3.Endpoint, "")
		unused("s3-credentials-file", v.a.S3.CredentialsFile, "")
		unused("storage-image", v.a.Images.Storage, "")
	}
	if a.Storage != StorageS3 {
		unused("s3-provider", v.a.S3.Provider, d.S3.Provider)
	}
	if a.Storage != StorageAzure {
		unused("azure-account", a.Azure.Account, "")
		unused("azure-container", a.Azure.Container, "")
		unused("azure-credentials", a.Azure.Credentials, d.Azure.Credentials)
		unused("azure-tenant-id", a.Azure.TenantID, "")
		unused("azure-client-id", a.Azure.ClientID, "")
		unused("azure-secret-file", a.Azure.SecretFile, "")
	}
	if a.Storage != StorageGCS {
		unused("gcs-bucket", a.GCS.Bucket, "")
		unused("gcs-key-file", a.GCS.KeyFile, "")
	}
	switch a.Storage {
	case StorageS3:
		if v.a.Images.Storage != "" {
			v.add("storage-image", "", "given, but no object store is bundled with --storage s3")
		}
		v.s3(a, missing)
	case StorageMinIO:
		v.minio(a, missing)
	case StorageVersityGW:
		for _, f := range []struct{ flag, value string }{{"s3-endpoint", v.a.S3.Endpoint}, {"s3-credentials-file", v.a.S3.CredentialsFile}} {
			if f.value != "" {
				v.add(f.flag, "use --storage s3 --s3-provider generic for one that runs elsewhere", "given, but --storage versitygw runs beside the registry and gets keys of its own")
			}
		}
		v.noRedirect(a)
	case StorageAzure:
		v.azure(a, missing)
	case StorageGCS:
		missing("gcs-bucket", a.GCS.Bucket, "the bucket")
	}
}

type missingFunc func(flag, value, what string)

func (v *validator) s3(a Answers, missing missingFunc) {
	missing("s3-bucket", a.S3.Bucket, "the bucket")
	switch a.S3.Provider {
	case ProviderAWS:
		missing("s3-region", a.S3.Region, "the bucket's region, such as eu-central-1")
		if v.a.S3.Endpoint != "" {
			v.add("s3-endpoint", "use --s3-provider generic for a service that is not AWS", "given, but AWS is reached by its region")
		}
	case ProviderR2:
		missing("s3-endpoint", a.S3.Endpoint, "the account's endpoint, https://ACCOUNT.r2.cloudflarestorage.com")
		if a.Registry == 2 {
			v.add("s3-provider", "use --registry 3", "r2 refuses the uneven parts that registry 2 uploads")
		}
	case ProviderB2, ProviderWasabi, ProviderSpaces:
		missing("s3-region", a.S3.Region, "the bucket's region at the provider")
	case ProviderGarage, ProviderGeneric:
		missing("s3-endpoint", a.S3.Endpoint, "the service's URL")
	}
	if a.S3.Provider != ProviderAWS && a.S3.CredentialsFile == "" {
		v.add("s3-credentials-file", "", "missing; only AWS has roles, %s needs keys", a.S3.Provider)
	}
}

func (v *validator) minio(a Answers, missing missingFunc) {
	if !a.BundlesStore() {
		missing("s3-endpoint", a.S3.Endpoint, "the URL of your MinIO, or --storage-image to run one beside the registry")
		missing("s3-bucket", a.S3.Bucket, "the bucket")
		missing("s3-credentials-file", a.S3.CredentialsFile, "the keys of your MinIO")
		return
	}
	for _, f := range []struct{ flag, value string }{{"s3-endpoint", v.a.S3.Endpoint}, {"s3-credentials-file", v.a.S3.CredentialsFile}} {
		if f.value != "" {
			v.add(f.flag, "name an endpoint for a MinIO that exists, an image for one beside the registry", "given together with --storage-image")
		}
	}
	v.noRedirect(a)
}

// noRedirect refuses redirects to a store that only the compose project's own network
// reaches.
func (v *validator) noRedirect(a Answers) {
	if a.S3.Redirect == RedirectOn {
		v.add("s3-redirect", "", "clients can't reach the store inside the compose project; expected off or auto")
	}
}

func (v *validator) azure(a Answers, missing missingFunc) {
	missing("azure-account", a.Azure.Account, "the storage account")
	missing("azure-container", a.Azure.Container, "the blob container")
	ids := []struct{ flag, value, what string }{
		{"azure-tenant-id", a.Azure.TenantID, "the tenant"}, {"azure-client-id", a.Azure.ClientID, "the application"},
	}
	switch a.Azure.Credentials {
	case AzureSharedKey:
		missing("azure-secret-file", a.Azure.SecretFile, "the file with the account key")
	case AzureClientSecret:
		missing("azure-secret-file", a.Azure.SecretFile, "the file with the client secret")
		for _, id := range ids {
			missing(id.flag, id.value, id.what)
		}
	case AzureDefault:
		if a.Azure.SecretFile != "" {
			v.add("azure-secret-file", "", "given, but --azure-credentials is %s", a.Azure.Credentials)
		}
	}
	if a.Azure.Credentials != AzureClientSecret {
		for _, id := range ids {
			if id.value != "" {
				v.add(id.flag, "", "given, but --azure-credentials is %s; expected %s", a.Azure.Credentials, AzureClientSecret)
			}
		}
	}
	if a.Registry == 2 && a.Azure.Credentials != AzureSharedKey {
		v.add("azure-credentials", "use --registry 3", "registry 2 knows only %s", AzureSharedKey)
	}
}

// Warnings returns what is allowed and yet worth a word before it is written. The
// answers must be free of problems.
func (a Answers) Warnings() Problems {
	v := validator{a: a}
	r := a.Resolve()
	if r.Registry == 2 {
		v.add("registry", "", "registry 2 gets no security fixes any more, and its image is frozen at 2.8.3")
	}
	if r.TLS == TLSACMEStaging {
		v.add("tls", "run init again with --tls acme when it works", "certificates of the staging service are trusted by no client")
	}
	if r.TLS == TLSACME || r.TLS == TLSACMEStaging {
		if r.HTTPPort != DefaultHTTPPort && r.HTTPSPort != DefaultHTTPSPort {
			v.add("tls", "", "the certificate authority connects to port 80 or 443 of %s; neither %d nor %d is one, so something must forward to them", r.Domain, r.HTTPPort, r.HTTPSPort)
		}
		if strings.HasPrefix(r.Bind, "127.") || r.Bind == "::1" {
			v.add("bind", "", "the certificate authority can't reach %s", r.Bind)
		}
		if u, err := url.Parse(r.ACMECA); err == nil && isLoopback(u.Hostname()) {
			v.add("acme-ca", "name the authority as other machines reach it", "Caddy runs in a container, where %s is the container itself", u.Hostname())
		}
	}
	if r.Storage == StorageMinIO && r.BundlesStore() {
		v.add("storage", "consider versitygw, or filesystem on one machine", "MinIO's free edition is not maintained since 2026")
	}
	if r.Delete && r.Registry == 2 {
		v.add("delete", "", "registry 2 deletes by digest only, and its garbage collection with --delete-untagged destroys multi-platform images")
	}
	if !r.Delete && r.OwnNamespace {
		v.add("own-namespace", "", "the rules let accounts delete below their own name, but --delete=false makes the registry refuse it")
	}
	if r.Expiration < 900 {
		v.add("expiration", "", "%d seconds end large pushes on slow lines with \"unauthorized\"; 3600 is the default", r.Expiration)
	}
	v.loginWarnings(r)
	return v.problems
}
