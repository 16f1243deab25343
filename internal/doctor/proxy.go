package doctor

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/regctl-setup/regctl-setup/internal/answers"
)

func proxyChecks() []Check {
	return []Check{
		{
			Code: "caddyfile-invalid", Severity: Error,
			Title: "a Caddyfile that can't be read",
			Why:   "Caddy does not start: nobody reaches the registry",
			Mend:  "correct the line named",
			run: func(p *pass) {
				if p.siteErr == nil {
					return
				}
				pos, msg := at(p.rel(p.caddyfile)), p.siteErr.Error()
				if e, ok := p.siteErr.(*caddySyntaxError); ok { //nolint:errorlint // made above, never wrapped
					pos, msg = e.pos, e.msg
				}
				p.report(pos, "%s", msg).mend("correct the line, then: %s", p.dockerCompose("restart caddy"))
			},
		},
		{
			Code: "upstream-mismatch", Severity: Error,
			Title: "a proxy target that no service listens on",
			Why:   "Caddy answers 502 to every request",
			Mend:  "name the service and the port that it listens on",
			run:   upstreams,
		},
		{
			Code: "registry-not-proxied", Severity: Error,
			Title: "a Caddyfile in which nothing leads to the registry or the token server",
			Why:   "clients get 404 or an empty page",
			Mend:  "add a handle block with reverse_proxy registry:5000 or auth:5001",
			run: func(p *pass) {
				if p.site == nil || p.Embedded {
					return
				}
				for _, s := range []*service{p.registry, p.auth} {
					if s == nil || len(p.routes(s.Name)) > 0 {
						continue
					}
					p.report(at(p.site.file), "no reverse_proxy leads to service %s", s.Name).mend("add to the site: reverse_proxy %s:%s", s.Name, p.listens(s))
				}
			},
		},
		{
			Code: "uploads-limited", Severity: Error,
			Title: "a proxy limit that cuts uploads",
			Why:   "layers are large and lines slow: a limit of size or time ends pushes with 413 or \"unexpected EOF\" although nothing is wrong with them",
			Mend:  "keep request_body and read_body out of the way to the registry",
			run:   uploadLimits,
		},
		{
			Code: "respond-before-proxy", Severity: Error,
			Title: "a respond that comes before the proxy",
			Why:   "Caddy runs directives in an order of its own: a bare respond at the site's level answers everything, also what reverse_proxy was for",
			Mend:  "put each route into a handle block of its own",
			run: func(p *pass) {
				if p.site == nil {
					return
				}
				for _, s := range p.site.sites {
					bare := slices.IndexFunc(s.block, func(d directive) bool {
						return d.name() == "respond" && (len(d.words) < 2 || !strings.HasPrefix(d.words[1], "@") && !strings.HasPrefix(d.words[1], "/"))
					})
					if bare >= 0 && slices.ContainsFunc(s.block, func(d directive) bool { return d.name() == "reverse_proxy" }) {
						p.report(s.block[bare].pos, "respond beside reverse_proxy in site %s answers every request", strings.Join(s.addresses, ", ")).
							mend("write handle { respond … } and handle @v2 { reverse_proxy … }, then: %s", p.dockerCompose("restart caddy"))
					}
				}
			},
		},
		{
			Code: "v2-without-slash", Severity: Warning,
			Title: "a route that matches /v2/ but not /v2",
			Why:   "some clients ask for /v2 first, and get 404",
			Mend:  "write @v2 path /v2 /v2/*",
			run: func(p *pass) {
				if p.site == nil {
					return
				}
				for _, s := range p.site.sites {
					walk(s.block, func(d directive, _ []directive) {
						words := d.words
						if len(words) > 1 && strings.HasPrefix(words[0], "@") && words[1] == "path" {
							words = words[1:]
						} else if !slices.Contains([]string{"handle", "reverse_proxy", "route"}, d.name()) {
							return
						}
						if slices.Contains(words, "/v2/*") && !slices.Contains(words, "/v2") && !slices.Contains(words, "/v2*") {
							p.report(d.pos, "/v2/* does not match /v2").mend("write @v2 path /v2 /v2/*   and use @v2 here")
						}
					})
				}
			},
		},
		{
			Code: "caddy-admin-exposed", Severity: Error,
			Title: "Caddy's admin interface open to the network",
			Why:   "whoever reaches it can make the proxy do anything, without a password",
			Mend:  "write admin off in the global options",
			run: func(p *pass) {
				if p.site == nil {
					return
				}
				for _, d := range p.site.globals {
					if d.name() != "admin" || len(d.words) < 2 || d.words[1] == "off" {
						continue
					}
					host, _, err := net.SplitHostPort(d.words[1])
					if err != nil || host != "localhost" && host != "127.0.0.1" && host != "::1" {
						p.report(d.pos, "admin %s listens for everybody", d.words[1]).mend("write admin off, then: %s", p.dockerCompose("restart caddy"))
					}
				}
			},
		},
		{
			Code: "caddy-data-lost", Severity: Warning,
			Title: "certificates that are kept inside the container",
			Why:   "every new container asks for new certificates: after a few the certificate authority refuses for a week; a CA of Caddy's own is another one each time, and clients trust the old",
			Mend:  "mount a named volume at /data",
			run: func(p *pass) {
				if p.caddy == nil || p.caddy.mounts("/data") || p.Answers != nil && (p.Answers.TLS == answers.TLSFiles || p.Answers.TLS == answers.TLSOff) {
					return
				}
				also := ", and at the end of the file volumes: {caddy-data: {}}"
				if _, there := p.project.Volumes["caddy-data"]; there {
					also = ""
				}
				p.report(p.serviceAt(p.caddy, "volumes"), "nothing is mounted at /data in service %s", p.caddy.Name).
					mend("add to the volumes of service %s: caddy-data:/data%s, then: %s", p.caddy.Name, also, p.dockerCompose("up -d "+p.caddy.Name))
			},
		},
		{
			Code: "caddy-cannot-start", Severity: Error,
			Title: "Caddy without the capability that its program needs",
			Why:   "it does not start: \"exec /usr/bin/caddy: operation not permitted\"",
			Mend:  "add cap_add: [NET_BIND_SERVICE]",
			run: func(p *pass) {
				if p.caddy == nil || !slices.ContainsFunc(p.caddy.CapDrop, func(c string) bool { return strings.EqualFold(c, "ALL") }) ||
					slices.ContainsFunc(p.caddy.CapAdd, func(c string) bool { return strings.TrimPrefix(strings.ToUpper(c), "CAP_") == "NET_BIND_SERVICE" }) {
					return
				}
				p.report(p.serviceAt(p.caddy), "all capabilities are dropped, NET_BIND_SERVICE too").
					mend("add to service %s: cap_add: [NET_BIND_SERVICE], then: %s", p.caddy.Name, p.dockerCompose("up -d "+p.caddy.Name))
			},
		},
		{
			Code: "upload-location", Severity: Error,
			Title: "plain HTTP between two proxies, and nothing that tells the registry the public address",
			Why:   "the registry builds the Location of uploads from what it sees: http:// for clients that came by https, and pushes fail",
			Mend:  "set http.relativeurls: true in the registry's configuration",
			run: func(p *pass) {
				if p.site == nil || p.Embedded || p.settings.on("http.relativeurls") || p.settings.text("http.host") != "" {
					return
				}
				for _, s := range p.registrySites() {
					plain := slices.ContainsFunc(s.addresses, func(a string) bool {
						_, scheme, port := splitSite(a)
						return scheme == "http" || scheme == "" && port == "80"
					})
					trusted := false
					walk(p.site.globals, func(d directive, _ []directive) { trusted = trusted || d.name() == "trusted_proxies" })
					if plain && !trusted {
						p.report(s.pos, "the site is plain HTTP, without trusted_proxies, and the registry has neither relativeurls nor http.host").
							mend("write relativeurls: true under http in the registry's configuration, then: %s", p.restart("registry"))
					}
				}
			},
		},
		{
			Code: "port-published", Severity: Error,
			Title: "a service that can be reached around the proxy",
			Why:   "passwords and tokens cross the network in clear there, and limits of the proxy do not hold",
			Mend:  "remove ports from the service; Caddy reaches it by its name",
			run: func(p *pass) {
				for _, s := range p.services() {
					if p.caddy == nil || s.Name == p.caddy.Name {
						continue
					}
					for _, port := range s.Ports {
						if port.HostIP == "127.0.0.1" || port.HostIP == "::1" {
							continue
						}
						p.report(p.serviceAt(s, "ports"), "service %s publishes port %s", s.Name, portText(port)).mend("remove ports from service %s, then: %s", s.Name, p.dockerCompose("up -d"))
						break
					}
				}
			},
		},
	}
}

func portText(c types.ServicePortConfig) string {
	if c.Published == "" {
		return fmt.Sprint(c.Target)
	}
	return c.Published
}

// routes are the reverse_proxy directives that lead to a service.
func (f *Facts) routes(name string) []directive {
	var out []directive
	for _, s := range f.site.sites {
		for _, d := range s.upstreams() {
			if slices.ContainsFunc(targets(d), func(t string) bool { return upstreamHost(t) == name }) {
				out = append(out, d)
			}
		}
	}
	return out
}

// listens is the port of a service, as its own configuration says; "" where it does not.
func (f *Facts) listens(s *service) string {
	switch {
	case f.registry != nil && s.Name == f.registry.Name:
		return portOf(f.settings.text("http.addr"))
	case f.auth != nil && s.Name == f.auth.Name && f.Auth != nil && f.Auth.Server.Net == "tcp":
		return portOf(f.Auth.Server.Addr)
	}
	return ""
}

func upstreams(p *pass) {
	if p.site == nil || p.Embedded || p.project == nil {
		return
	}
	for _, s := range p.site.sites {
		for _, d := range s.upstreams() {
			for _, t := range targets(d) {
				host, _, port := splitSite(t)
				if net.ParseIP(host) != nil || host == "localhost" || strings.Contains(host, ".") || host == "" {
					continue
				}
				target := p.service(host)
				if target == nil {
					p.report(d.pos, "reverse_proxy leads to %q, and the compose file has no such service", host).
						mend("name one of its services: %s", strings.Join(p.project.ServiceNames(), ", "))
					continue
				}
				if want := p.listens(target); want != "" && port != want {
					p.report(d.pos, "reverse_proxy leads to port %s of %s, which listens on %s", port, host, want).mend("write reverse_proxy %s:%s, then: %s", host, want, p.dockerCompose("restart caddy"))
				}
			}
		}
	}
}

// uploadLimits finds limits on the way to the registry.
func uploadLimits(p *pass) {
	if p.site == nil || p.registry == nil {
		return
	}
	walk(p.site.globals, func(d directive, path []directive) {
		inTimeouts := len(path) > 0 && path[len(path)-1].name() == "timeouts"
		if inTimeouts && (d.name() == "read_body" || d.name() == "write") && len(d.words) > 1 && d.words[1] != "0" {
			p.report(d.pos, "%s ends every upload or download after %s", d.name(), d.words[1]).mend("remove the line, then: %s", p.dockerCompose("restart caddy"))
		}
	})
	for _, s := range p.registrySites() {
		walk(s.block, func(d directive, path []directive) {
			if d.name() != "request_body" {
				return
			}
			// In the block of the registry's proxy, or at the site's level, above all routes.
			concerns := len(path) == 0
			if len(path) > 0 {
				concerns = slices.ContainsFunc(path[len(path)-1].block, func(x directive) bool {
					return x.name() == "reverse_proxy" && slices.ContainsFunc(targets(x), func(t string) bool { return upstreamHost(t) == p.registry.Name })
				})
			}
			if concerns {
				p.report(d.pos, "request_body limits what can be pushed").mend("move it into the block of the token server, then: %s", p.dockerCompose("restart caddy"))
			}
		})
	}
}
