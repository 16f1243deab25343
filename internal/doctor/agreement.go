package doctor

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// autoRedirect reports whether the registry makes its realm from the Host header.
func (f *Facts) autoRedirect() bool { return f.settings.on("auth.token.autoredirect") }

// realm is the token endpoint's URL in the registry's configuration; nil where there is none, or
// none that can be read.
func (f *Facts) realm() *url.URL {
	u, err := url.Parse(f.settings.text("auth.token.realm"))
	if err != nil || u.Host == "" {
		return nil
	}
	return u
}

// sitesFor are the sites of the Caddyfile that answer for a host.
func (f *Facts) sitesFor(host string) []caddySite {
	if f.site == nil {
		return nil
	}
	var out []caddySite
	for _, s := range f.site.sites {
		if slices.Contains(s.hosts(), host) || slices.Contains(s.hosts(), "") && !slices.Contains(s.hosts(), "127.0.0.1") {
			out = append(out, s)
		}
	}
	return out
}

// registrySites are the sites that pass requests on to the registry.
func (f *Facts) registrySites() []caddySite {
	if f.site == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(f.site.sites), func(s caddySite) bool {
		return !slices.ContainsFunc(s.upstreams(), func(d directive) bool {
			return slices.ContainsFunc(targets(d), func(t string) bool { return f.registry != nil && upstreamHost(t) == f.registry.Name })
		})
	})
}

func upstreamHost(target string) string {
	host, _, _ := splitSite(target)
	return host
}

func agreementChecks() []Check {
	return []Check{
		{
			Code: "issuer-mismatch", Severity: Error,
			Title: "an issuer that differs between token server and registry",
			Why:   "the registry refuses every token: \"token from untrusted issuer\"; clients ask for the password again and again",
			Mend:  "write the same issuer in both files",
			run: func(p *pass) {
				v, set := p.settings.get("auth.token.issuer")
				if p.Auth == nil || !set || v.value == p.Auth.Token.Issuer || p.Auth.Token.Issuer == "" {
					return
				}
				p.report(v.pos, "the registry expects the issuer %q, and the token server (%s:%d) is %q", v.value, p.Auth.Path, p.Auth.Position("token", "issuer").Line, p.Auth.Token.Issuer).
					mend("write the issuer %q here, then: %s", p.Auth.Token.Issuer, p.restart("registry"))
			},
		},
		{
			Code: "service-mismatch", Severity: Error,
			Title: "a registry's service name that the token server does not sign for",
			Why:   "the token server answers 400, and docker login fails",
			Mend:  "list the service under x-regctl-setup.services in the auth config",
			run: func(p *pass) {
				v, set := p.settings.get("auth.token.service")
				if p.Auth == nil || !set || len(p.Auth.Extras.Services) == 0 || slices.Contains(p.Auth.Extras.Services, v.value) {
					return
				}
				p.report(v.pos, "the registry's service is %q, and the token server (%s:%d) signs for %q only", v.value, p.Auth.Path,
					p.Auth.Position("x-regctl-setup", "services").Line, p.Auth.Extras.Services).
					mend("write services: [%s] in %s", strings.Join(p.wanted(v.value), ", "), p.Auth.Path)
			},
		},
		{
			Code: "no-token-auth", Severity: Error,
			Title: "a registry that asks for no token",
			Why:   "everybody who reaches it may push, pull and delete: no rule is ever asked",
			Mend:  "add the auth.token section to the registry's configuration",
			run: func(p *pass) {
				if p.hasRegistry() && p.settingsErr == nil && !p.settings.has("auth.token") {
					p.report(p.settings.at("auth"), "the registry's configuration has no auth.token section").
						mend("add auth: {token: {realm: …, service: …, issuer: …, rootcertbundle: …}}; %s writes a whole one", "regctl-setup init --dry-run")
				}
			},
		},
		{
			Code: "realm-unusable", Severity: Error,
			Title: "a realm that clients can't reach or refuse",
			Why:   "it is the client that goes to the realm for its token, from wherever it is: names of containers, localhost and private addresses mean something else there, and go-containerregistry (crane, ko, kaniko) refuses them",
			Mend:  "write the public https address, on the registry's own host where possible",
			run:   realmUsable,
		},
		{
			Code: "realm-path", Severity: Error,
			Title: "a realm whose path the token server does not answer",
			Why:   "the client gets 404 instead of a token",
			Mend:  "let the realm end with the token server's path_prefix and /auth",
			run: func(p *pass) {
				u := p.realm()
				if u == nil || p.Auth == nil || p.autoRedirect() {
					return
				}
				want := p.Auth.Server.PathPrefix + "/auth"
				if u.Path != want && u.Path != want+"/token" {
					p.report(p.settings.at("auth.token.realm"), "the realm's path is %q, and the token server answers at %s", u.Path, want).
						mend("write realm: %s://%s%s, then: %s", u.Scheme, u.Host, want, p.restart("registry"))
				}
			},
		},
		{
			Code: "realm-not-served", Severity: Error,
			Title: "a realm on a host that the proxy does not serve",
			Why:   "the client asks a host that nobody answers for: docker login ends with a TLS or connection error about a name that nobody typed",
			Mend:  "let the realm's host be one of the Caddyfile's sites",
			run: func(p *pass) {
				u := p.realm()
				if u == nil || p.site == nil || p.Embedded || p.autoRedirect() || len(p.registrySites()) == 0 || p.finds(realmUsable) || p.realmMoved() {
					return
				}
				if len(p.sitesFor(u.Hostname())) == 0 {
					p.report(p.settings.at("auth.token.realm"), "the realm is on %s, and %s has no site of that name", u.Host, p.site.file).
						mend("write the realm on the host of a site, or correct the domain in %s", p.site.file)
				}
			},
		},
		{
			Code: "domain-mismatch", Severity: Error,
			Title: "a domain that differs between .env, the recorded answers and the registry's configuration",
			Why:   "the proxy gets a certificate for one name and clients ask for the other",
			Mend:  "regctl-setup init --domain NAME changes all places at once",
			run:   domainsAgree,
		},
		{
			Code: "autoredirect-two-domains", Severity: Error,
			Title: "autoredirect although the token endpoint has a domain of its own",
			Why:   "with autoredirect the registry sends clients to /auth/token on its own host, where no token server is",
			Mend:  "remove autoredirect",
			run: func(p *pass) {
				v, set := p.settings.get("auth.token.autoredirect")
				if !set || !p.autoRedirect() || p.site == nil || p.auth == nil {
					return
				}
				for _, s := range p.registrySites() {
					if !slices.ContainsFunc(s.upstreams(), func(d directive) bool {
						return slices.ContainsFunc(targets(d), func(t string) bool { return upstreamHost(t) == p.auth.Name })
					}) {
						p.report(v.pos, "autoredirect is on, and the site %s (%s:%d) does not lead to the token server", strings.Join(s.addresses, ", "), p.site.file, s.pos.Line).
							mend("remove the line, then: %s", p.restart("registry"))
					}
				}
			},
		},
		{
			Code: "registry-address-mismatch", Severity: Error,
			Title: "an http.host of the registry that is not the public address",
			Why:   "the registry writes it into the Location of every upload: pushes go to the wrong place",
			Mend:  "write http.host: https://DOMAIN, or remove it and set relativeurls: true",
			run: func(p *pass) {
				v, set := p.settings.get("http.host")
				if !set || v.value == "" {
					return
				}
				u, err := url.Parse(v.value)
				if err == nil && u.Scheme != "" && u.Host != "" && (p.site == nil || len(p.sitesFor(u.Hostname())) > 0) && (p.Answers == nil || p.Embedded || u.Host == p.Answers.Host() && u.Scheme == p.Answers.Scheme()) {
					return
				}
				p.report(v.pos, "http.host is %q, which is not where clients reach the registry", v.value).
					mend("remove the line and write relativeurls: true under http, then: %s", p.restart("registry"))
			},
		},
	}
}

// realmUsable applies what clients ask of a realm, the rule of go-containerregistry included: no
// private or loopback address but the registry's own host and port, and https for https.
func realmUsable(p *pass) {
	v, set := p.settings.get("auth.token.realm")
	if !set || p.Embedded || p.autoRedirect() {
		return
	}
	u, err := url.Parse(v.value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		p.report(v.pos, "the realm %q is no absolute URL", v.value).mend("write realm: https://DOMAIN/auth")
		return
	case strings.Contains(v.value, "${"), u.Hostname() == "":
		p.report(v.pos, "the realm %q names no host", v.value).mend("write realm: https://DOMAIN/auth")
		return
	}
	public := ""
	if p.Answers != nil {
		public = p.Answers.Host()
	}
	host := u.Hostname()
	own := public != "" && u.Host == public
	switch {
	case own:
	case p.service(host) != nil:
		p.report(v.pos, "the realm is on %q, which is the name of a container", host).mend("write realm: https://%s/auth", orDomain(public))
		return
	case strings.EqualFold(host, "localhost"):
		p.report(v.pos, "the realm is on localhost, which is another machine for every client").mend("write realm: https://%s/auth", orDomain(public))
		return
	default:
		if ip, err := netip.ParseAddr(host); err == nil && privateAddress(ip) {
			p.report(v.pos, "the realm is on the private address %s, which is not the registry's own host and port: crane, ko and kaniko refuse it", u.Host).
				mend("write realm: https://%s/auth", orDomain(public))
			return
		}
	}
	if u.Scheme == "http" && (p.Answers == nil || p.Answers.Scheme() == "https") {
		p.report(v.pos, "the realm is http: passwords would cross the network in clear, and clients of a registry with https refuse it").
			mend("write realm: https://%s%s", u.Host, u.Path)
	}
}

// wanted are the services that the token server should sign for, in quotes: the cache's is one more.
func (p *pass) wanted(service string) []string {
	list := []string{service}
	if p.cache {
		list = append(slices.Clone(p.Auth.Extras.Services), service)
	}
	for i, s := range list {
		list[i] = strconv.Quote(s)
	}
	return list
}

func orDomain(host string) string {
	if host == "" {
		return "DOMAIN"
	}
	return host
}

// privateAddress reports whether an address means something else elsewhere.
func privateAddress(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}

// service returns a service of the compose file by its name; nil when there is none.
func (f *Facts) service(name string) *service {
	for _, s := range f.services() {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// domainsAgree compares the domain's places, the answers being what was meant.
func domainsAgree(p *pass) {
	a := p.Answers
	if a == nil || p.Embedded {
		return
	}
	for _, x := range []struct{ name, want, flag string }{{"REGISTRY_DOMAIN", a.Domain, "--domain "}, {"AUTH_DOMAIN", authDomain(a), "--auth-domain "}} {
		if l, ok := p.envVar(x.name); ok {
			if got, err := composeValue(l.raw); err == nil && got != x.want {
				p.report(envAt(l), "%s is %q, and %s says %q", x.name, got, deployment.AnswersFile, x.want).
					mend("write %s='%s', then: %s; or, where %s is right, change it everywhere: %s", x.name, x.want, p.dockerCompose("up -d"), got, p.cmd("init "+x.flag+ShellWord(got)))
			}
		}
	}
	if p.realmMoved() && !p.finds(realmUsable) {
		f := p.report(p.settings.at("auth.token.realm"), "the realm is on %s, and %s says %s", p.realm().Host, deployment.AnswersFile, hostOf(a.Realm())).
			mend("write realm: %s, then: %s", a.Realm(), p.restart("registry"))
		f.Why = "clients go there for their token, and find nobody who gives them one"
	}
	if p.site == nil || len(p.registrySites()) == 0 {
		return
	}
	if env, ok := p.envVar("REGISTRY_DOMAIN"); ok {
		if got, err := composeValue(env.raw); err == nil && got != a.Domain {
			return // said above, and the site follows it
		}
	}
	for _, s := range p.registrySites() {
		if !slices.Contains(s.hosts(), a.Domain) && !slices.Contains(s.hosts(), "") {
			p.report(s.pos, "the site that leads to the registry is %s, and %s says %q", strings.Join(s.addresses, ", "), deployment.AnswersFile, a.Domain).
				mend("write the site as %s in %s, then: %s", siteNamed(s, a.Domain), p.site.file, p.restart("caddy"))
		}
	}
}

// realmMoved reports whether the realm is on another host than the recorded answers say.
func (f *Facts) realmMoved() bool {
	u := f.realm()
	return u != nil && f.Answers != nil && !f.Embedded && u.Host != hostOf(f.Answers.Realm())
}

// siteNamed is a site's first address with another host: scheme and port stay.
func siteNamed(s caddySite, domain string) string {
	_, scheme, port := splitSite(s.addresses[0])
	if port != "" {
		domain = net.JoinHostPort(domain, port)
	}
	if scheme != "" {
		domain = scheme + "://" + domain
	}
	return domain
}

func authDomain(a *answers.Answers) string {
	if a.AuthDomain != "" {
		return a.AuthDomain
	}
	return a.Domain
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// portOf is the port of a listening address, such as ":5000".
func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return port
}
