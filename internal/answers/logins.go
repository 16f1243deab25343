package answers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// LDAPLabel is a label that docker_auth takes from an attribute of the directory.
type LDAPLabel struct {
	Key       string // label key
	Attribute string // whose values become the label's
	CN        bool   // of a DN only its first CN
	Lower     bool   // in lower case
}

// ParseLDAPLabel reads a label as `--ldap-label` has it: KEY=ATTRIBUTE, then +cn and
// +lower where they are wanted.
func ParseLDAPLabel(s string) (LDAPLabel, error) {
	key, rest, ok := strings.Cut(s, "=")
	if !ok {
		return LDAPLabel{}, errors.New("expected KEY=ATTRIBUTE[+cn][+lower]")
	}
	if err := checkLabelValue(key); err != nil {
		return LDAPLabel{}, fmt.Errorf("label key %s: %w", quote(key), err)
	}
	parts := strings.Split(rest, "+")
	l := LDAPLabel{Key: key, Attribute: parts[0]}
	if !attribute.MatchString(l.Attribute) {
		return LDAPLabel{}, fmt.Errorf("attribute %s: expected a name such as memberOf", quote(l.Attribute))
	}
	for _, o := range parts[1:] {
		switch {
		case o == "cn" && !l.CN:
			l.CN = true
		case o == "lower" && !l.Lower:
			l.Lower = true
		default:
			return LDAPLabel{}, fmt.Errorf("option %s; expected +cn and +lower, each once", quote(o))
		}
	}
	return l, nil
}

func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		err = checkPort(port)
	}
	if _, aerr := netip.ParseAddr(host); err == nil && aerr != nil {
		err = checkHost(host)
	}
	if err != nil {
		return errors.New("expected HOST:PORT, such as ldap.example.com:636")
	}
	return nil
}

// checkDN accepts a distinguished name as far as its shape goes: pieces with "=",
// separated by commas (RFC 4514).
func checkDN(s string) error {
	if err := text(s); err != nil {
		return err
	}
	for piece := range strings.SplitSeq(strings.ReplaceAll(s, `\,`, ""), ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(piece), "=")
		if !ok || strings.TrimSpace(key) == "" || strings.TrimSpace(value) == "" {
			return errors.New("expected a distinguished name such as ou=people,dc=example,dc=com")
		}
	}
	return nil
}

// checkLDAPFilter accepts a filter in parentheses that pair up (RFC 4515) and that holds
// the account: without it every login would find the same entry.
func checkLDAPFilter(s string) error {
	if err := text(s); err != nil {
		return err
	}
	depth := 0
	for i, r := range s {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth < 0 || depth == 0 && i < len(s)-1 {
			return errors.New("parentheses don't pair up; expected a filter such as (uid=${account})")
		}
	}
	if s == "" || depth != 0 {
		return errors.New("parentheses don't pair up; expected a filter such as (uid=${account})")
	}
	if !strings.Contains(s, "${account}") {
		return errors.New("has no ${account}; expected a filter such as (uid=${account})")
	}
	return nil
}

// checkProviderURL accepts an https URL, with a path at most: passwords and secrets go
// there.
func checkProviderURL(s string) error {
	return checkHTTPS(s, "secrets go there", "expected a URL such as https://login.example.com/realms/acme, without query and credentials")
}

// checkHTTPS accepts an https URL with a host, and perhaps a port and a path, that can stand in
// a configuration file as it is. why says what plain HTTP would give away.
func checkHTTPS(s, why, expected string) error {
	u, err := url.Parse(s)
	if err != nil || text(s) != nil || u.User != nil || strings.ContainsAny(s, "?# \"\\") || strings.HasSuffix(u.Host, ":") {
		return errors.New(expected)
	}
	if u.Scheme != "https" {
		return errors.New("is not https, and " + why + "; " + expected)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && checkHost(u.Hostname()) != nil {
		return errors.New(expected)
	}
	if p := u.Port(); p != "" && checkPort(p) != nil {
		return errors.New(expected)
	}
	return nil
}

func checkTTL(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 0 && d < time.Hour || d > 10*365*24*time.Hour {
		return errors.New("expected a duration of an hour or more such as 168h, or 0 for ever")
	}
	return nil
}

// logins checks the external logins against the rest.
func (v *validator) logins(a Answers) {
	for i, l := range a.Logins {
		if slices.Index(a.Logins, l) < i {
			v.add("login", "", "%s is answered twice", quote(l))
		}
	}
	if len(a.Logins) > 0 && a.AuthEngine() == EngineBundled {
		what := "--engine bundled"
		if a.Runtime == RuntimeEmbedded {
			what = "--runtime embedded"
		}
		v.add("login", "choose --engine docker_auth with --runtime compose, or make the accounts with \"user add\"",
			"%s can't be had with %s: the bundled token server knows the auth config's own users only; expected docker_auth", strings.Join(a.Logins, ", "), what)
	}
	v.loginSettings(a)
	if a.HasLogin(LoginLDAP) {
		v.ldap(a)
	}
	for _, login := range []string{LoginOIDC, LoginGitHub, LoginGitLab, LoginGoogle} {
		if a.HasLogin(login) {
			v.required(a, login, "client_id", "the client id from the provider's list of applications")
			v.required(a, login, "client_secret_file", "a file with the client secret")
		}
	}
	if a.HasLogin(LoginOIDC) {
		v.required(a, LoginOIDC, "issuer", "the provider's URL")
		if strings.TrimSuffix(a.OIDC.Issuer, "/") == "https://accounts.google.com" {
			v.add("oidc-issuer", "use --login google with --google-domain", "everybody with a Google account could log in and pull")
		}
		if len(a.OIDC.Scopes) > 0 && !slices.Contains(a.OIDC.Scopes, "openid") {
			v.add("oidc-scope", "", "%s lacks openid, without which there is no ID token", quote(strings.Join(a.OIDC.Scopes, " ")))
		}
	}
	if a.HasLogin(LoginGitHub) {
		v.required(a, LoginGitHub, "organization", "the organisation whose members may log in; without one everybody at GitHub could pull")
	}
	if a.HasLogin(LoginGoogle) {
		v.required(a, LoginGoogle, "domain", "the domain whose accounts may log in; without one everybody with a Google account could pull")
	}
	if a.HasLogin(LoginGitLab) {
		v.required(a, LoginGitLab, "url", "the URL of your GitLab")
		if u, err := url.Parse(a.GitLab.URL); err == nil && (u.Hostname() == "gitlab.com" || strings.HasSuffix(u.Hostname(), ".gitlab.com")) {
			v.add("gitlab-url", "use --login oidc with a provider that only your people have accounts at",
				"docker_auth checks no group, so everybody with an account at gitlab.com could log in and pull")
		}
	}
}

// loginSettings reports settings of logins that were not chosen.
func (v *validator) loginSettings(a Answers) {
	for _, f := range Fields() {
		login, _, nested := strings.Cut(f.Key, ".")
		if !nested || f.Group != GroupLogins || a.HasLogin(login) || f.Text(&v.a) == f.Default() {
			continue
		}
		v.add(f.Flag, "", "given without --login %s", login)
	}
}

// required reports a text that a login needs and that was not answered.
func (v *validator) required(a Answers, login, key, what string) {
	for _, f := range Fields() {
		if f.Key == login+"."+key && f.Text(&a) == "" {
			v.add(f.Flag, "", "missing; --login %s needs %s", login, what)
		}
	}
}

func (v *validator) ldap(a Answers) {
	v.required(a, LoginLDAP, "addr", "the directory's HOST:PORT")
	v.required(a, LoginLDAP, "base", "where accounts are looked for")
	if (a.LDAP.BindDN == "") != (a.LDAP.BindPasswordFile == "") {
		flag := "ldap-bind-password-file"
		if a.LDAP.BindDN == "" {
			flag = "ldap-bind-dn"
		}
		v.add(flag, "", "missing; --ldap-bind-dn and --ldap-bind-password-file go together")
	}
	if a.LDAP.TLS == LDAPTLSNone && a.LDAP.CAFile != "" {
		v.add("ldap-ca-file", "", "given, but --ldap-tls is none")
	}
	seen := map[string]bool{}
	for _, s := range a.LDAP.Labels {
		l, err := ParseLDAPLabel(s)
		if err == nil && seen[l.Key] {
			v.add("ldap-label", "", "label %s is answered twice", quote(l.Key))
		}
		seen[l.Key] = true
	}
}

// cache checks the pull-through cache against the rest.
func (v *validator) cache(a Answers) {
	if !a.HasCache() {
		for _, f := range Fields() {
			if f.Group == GroupCache && f.Text(&v.a) != f.Default() {
				v.add(f.Flag, "", "given without --cache-domain")
			}
		}
		return
	}
	if a.Registry == 2 {
		v.add("cache-domain", "use --registry 3", "registry 2 sends the upstream's password to whatever realm an answer names (CVE-2026-33540); expected registry 3")
	}
	if a.Runtime == RuntimeEmbedded {
		v.add("cache-domain", "use --runtime compose", "the embedded runtime runs one registry, without a cache")
	}
	if _, err := netip.ParseAddr(a.Cache.Domain); err == nil {
		v.add("cache-domain", "", "%s is an address; expected a host name: it is what tells the cache from the registry", quote(a.Cache.Domain))
	}
	for _, d := range []struct{ flag, host string }{{"--domain", a.Domain}, {"--auth-domain", a.AuthDomain}, {"--service", a.Service}} {
		if d.host == a.Cache.Domain {
			v.add("cache-domain", "", "%s is %s too; expected a name of its own: one registry either takes pushes or is a cache", quote(a.Cache.Domain), d.flag)
			break
		}
	}
	if (a.Cache.Username == "") != (a.Cache.PasswordFile == "") {
		flag := "cache-password-file"
		if a.Cache.Username == "" {
			flag = "cache-username"
		}
		v.add(flag, "", "missing; --cache-username and --cache-password-file go together")
	}
	if u, err := url.Parse(a.Cache.Upstream); err == nil {
		if u.Scheme == "http" && a.Cache.Username != "" {
			v.add("cache-upstream", "", "is not https, and the password of --cache-username would go there")
		}
		if u.Host == a.Host() || u.Host == a.CacheHost() {
			v.add("cache-upstream", "", "%s is this deployment itself", quote(a.Cache.Upstream))
		}
		if slices.Contains([]string{"docker.io", "hub.docker.com", "index.docker.io"}, u.Hostname()) {
			v.add("cache-upstream", "leave it empty, or "+DockerHub, "%s is a web site, not the registry", quote(a.Cache.Upstream))
		}
	}
}

// loginWarnings says what is allowed with external logins and yet worth a word.
func (v *validator) loginWarnings(r Answers) {
	if r.HasLogin(LoginLDAP) && r.LDAP.TLS == LDAPTLSNone {
		v.add("ldap-tls", "use starttls or always", "passwords go to %s in the clear", r.LDAP.Addr)
	}
	if len(r.Logins) > 0 && r.OwnNamespace {
		v.add("own-namespace", "", "whoever gets an account named like a first name component at %s owns what is below it: \"library\" would own library/", strings.Join(r.Logins, ", "))
	}
	if r.HasLogin(LoginGitLab) {
		v.add("gitlab-url", "", "everybody with an account at %s can log in and pull: docker_auth checks no group", r.GitLab.URL)
	}
	if r.HasCache() && r.Cache.Username != "" {
		v.add("cache-username", "", "whoever may pull from %s reads everything that %s reads at %s", r.Cache.Domain, r.Cache.Username, r.Cache.Upstream)
	}
}
