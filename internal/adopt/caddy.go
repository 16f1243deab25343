package adopt

import (
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// site is one site of a Caddyfile, as far as it matters here.
type site struct {
	scheme, host string
	directives   [][]string // words of every line inside, blocks opened
}

type caddyfile struct {
	sites    []*site
	snippets map[string][][]string
	email    string
	staging  bool
	internal bool
	proxies  []string // trusted_proxies
}

// readCaddyfile reads the Caddyfile that the proxy's container sees; an empty one where
// there is none.
func (r *reader) readCaddyfile() *caddyfile {
	c := &caddyfile{snippets: map[string][][]string{}}
	if r.caddy == nil {
		return c
	}
	path, err := r.d.HostPath(r.ctx, r.caddy, "/etc/caddy/Caddyfile")
	if err != nil {
		r.changed("no Caddyfile was found behind service %s", r.caddy.Name)
		return c
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.block(r.d.Rel(path), "", "%s", err)
		return c
	}
	r.oldFile(path, "conf/caddy/Caddyfile")
	c.parse(string(data), func(name string) string {
		if v := r.caddy.Environment[name]; v != nil {
			return *v
		}
		return ""
	})
	for _, s := range c.sites {
		for _, words := range s.directives {
			switch words[0] {
			case "reverse_proxy", "tls", "import", "handle", "respond", "log", "header", "request_body", "encode", "route", "redir", "}", "bind":
			case "basic_auth", "basicauth", "forward_auth", "rate_limit", "remote_ip":
				r.changed("the Caddyfile's %s (site %s) is not taken over; the file is kept beside", words[0], s.host)
			}
		}
	}
	return c
}

// parse reads sites and global options. What directives mean is looked at later; braces
// inside quotes are not understood, and such a file finds no site.
func (c *caddyfile) parse(text string, env func(string) string) {
	text = expand(text, env)
	depth, joined := 0, ""
	var at *site
	snippet, global := "", false
	for line := range strings.Lines(text) {
		if i := strings.Index(" "+line, " #"); i >= 0 {
			line = line[:i]
		}
		words := strings.Fields(joined + line)
		joined = ""
		if len(words) == 0 {
			continue
		}
		if depth == 0 && strings.HasSuffix(words[len(words)-1], ",") {
			joined = strings.Join(words, " ") + " "
			continue
		}
		opens := words[len(words)-1] == "{"
		if opens {
			words = words[:len(words)-1]
		}
		if depth == 0 {
			at, snippet, global = nil, "", false
			switch {
			case !opens: // the short form: one site, without braces
				if len(c.sites) == 0 {
					at = c.open(words)
				} else {
					c.sites[0].directives = append(c.sites[0].directives, words)
				}
			case len(words) == 0:
				global = true
			case strings.HasPrefix(words[0], "("):
				snippet = strings.Trim(words[0], "()")
			default:
				at = c.open(words)
			}
		} else if len(words) > 0 && words[0] != "}" {
			switch {
			case global:
				c.option(words)
			case snippet != "":
				c.snippets[snippet] = append(c.snippets[snippet], words)
			case at != nil:
				at.directives = append(at.directives, words)
			}
		}
		if opens {
			depth++
		}
		if len(words) > 0 && words[0] == "}" && depth > 0 {
			depth--
		}
	}
}

// open adds a site for each of its addresses, and returns the first; the others share
// its directives by name alone, which is enough to find domains.
func (c *caddyfile) open(addresses []string) *site {
	address := strings.Trim(addresses[0], ",")
	s := &site{scheme: "https", host: address}
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		s.scheme, s.host = u.Scheme, u.Host
	}
	if h, _, err := net.SplitHostPort(s.host); err == nil {
		s.host = h
	}
	s.host = strings.ToLower(s.host)
	c.sites = append(c.sites, s)
	return s
}

func (c *caddyfile) option(words []string) {
	switch {
	case words[0] == "email" && len(words) > 1:
		c.email = strings.Trim(words[1], `"`)
	case words[0] == "acme_ca" && len(words) > 1:
		c.staging = strings.Contains(words[1], "staging")
	case words[0] == "local_certs":
		c.internal = true
	case words[0] == "trusted_proxies" && len(words) > 2:
		c.proxies = words[2:]
	}
}

// all returns a site's directives with those of the snippets that it imports.
func (c *caddyfile) all(s *site) [][]string {
	out := slices.Clone(s.directives)
	for _, words := range s.directives {
		if words[0] == "import" && len(words) > 1 {
			out = append(out, c.snippets[words[1]]...)
		}
	}
	return out
}

// site returns the first site that passes requests to the service; nil without one.
func (c *caddyfile) site(service string) *site {
	for _, s := range c.sites {
		for _, words := range c.all(s) {
			if words[0] != "reverse_proxy" && words[0] != "to" {
				continue
			}
			for _, w := range words[1:] {
				w = strings.TrimPrefix(strings.TrimPrefix(w, "http://"), "h2c://")
				if host, _, _ := strings.Cut(w, ":"); service != "" && host == service {
					return s
				}
			}
		}
	}
	return nil
}

// expand replaces {$NAME} and {$NAME:default} as Caddy does.
func expand(text string, env func(string) string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{$")
		inside, after, closed := strings.Cut(rest, "}")
		b.WriteString(before)
		if !ok || !closed {
			return b.String()
		}
		name, fallback, _ := strings.Cut(inside, ":")
		value := env(name)
		if value == "" {
			value = fallback
		}
		b.WriteString(value)
		text = after
	}
}

// tls takes over how the registry's site gets its certificate.
func (r *reader) tls(c *caddyfile, s *site) {
	a := &r.Answers
	a.TrustedProxies = c.proxies
	if s.scheme == "http" {
		a.TLS = answers.TLSOff
		r.kept("plain HTTP behind another proxy")
		return
	}
	if c.internal {
		a.TLS = answers.TLSInternal
	}
	for _, words := range c.all(s) {
		if words[0] != "tls" || len(words) < 2 {
			continue
		}
		switch {
		case words[1] == "internal":
			a.TLS = answers.TLSInternal
		case strings.Contains(words[1], "@"):
			a.Email = words[1]
		case len(words) > 2:
			r.tlsFiles(words[1], words[2])
		}
	}
	if a.TLS == "" && c.staging {
		a.TLS = answers.TLSACMEStaging
	}
	switch a.TLS {
	case answers.TLSInternal:
		r.kept("TLS by Caddy's own authority")
		r.changed("Caddy's own authority is a new one unless its volume is copied: clients must trust its root again")
	case "":
		r.changed("certificates are asked for once more, since Caddy's data gets a volume of its own")
	}
}

func (r *reader) tlsFiles(cert, key string) {
	a := &r.Answers
	a.TLS, a.TLSCert, a.TLSKey = answers.TLSFiles, r.inTarget("secrets/tls/cert.pem"), r.inTarget("secrets/tls/key.pem")
	for _, f := range []struct {
		inside string
		set    func([]byte)
	}{{cert, func(b []byte) { r.m.TLSCertPEM = b }}, {key, func(b []byte) { r.m.TLSKeyPEM = secret.New(string(b)) }}} {
		path, err := r.d.HostPath(r.ctx, r.caddy, strings.Trim(f.inside, `"`))
		if err == nil {
			var data []byte
			if data, err = os.ReadFile(path); err == nil {
				f.set(data)
			}
		}
		if err != nil {
			r.block("", "", "certificate of the proxy: %s", err)
		}
	}
	r.kept("the proxy's own certificate")
}
