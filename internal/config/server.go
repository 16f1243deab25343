package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Lifetimes of tokens, in seconds: clients take a shorter one for 60 s, and a longer one than a day
// is a long time for somebody whose rights are gone.
const (
	shortLifetime = 60
	longLifetime  = 24 * 60 * 60
	maxSeconds    = 100 * 366 * 24 * 60 * 60
)

func (w *walker) server(p pair) {
	f := &w.f.Server
	f.Pos = w.pos(p.key)
	val := w.deref(p.val)
	if !w.mapping(val, subject{format: "server"}, `a map with addr, as in {addr: ":5001"}`, &serverSection) {
		return
	}
	w.sawServer = true
	meant := map[string]bool{}
	pairs := w.pairs(val, subject{format: "server"}, true, nil)
	var addr, version *yaml.Node
	for _, k := range pairs {
		s := subject{format: "server." + k.name}
		switch k.name {
		case "addr":
			f.Addr = w.text(k.val, s)
			addr = k.val
		case "net":
			switch text := w.text(k.val, s); text {
			case "tcp", "unix":
				f.Net = text
			case "":
			default:
				w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("server.net: expected tcp or unix, found %q", text)})
			}
		case "path_prefix":
			f.PathPrefix = w.text(k.val, s)
			switch {
			case f.PathPrefix != "" && !strings.HasPrefix(f.PathPrefix, "/"):
				w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("server.path_prefix: expected a path that begins with /, found %q", f.PathPrefix),
					Hint: fmt.Sprintf("did you mean %q?", "/"+f.PathPrefix)})
			case strings.ContainsAny(f.PathPrefix, "?#%") || strings.ContainsFunc(f.PathPrefix, isControl):
				w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("server.path_prefix: %q cannot be the beginning of a path", f.PathPrefix)})
			case strings.HasSuffix(f.PathPrefix, "/"):
				w.warn(k.val, Problem{Code: CodeSetting, Msg: fmt.Sprintf("server.path_prefix: with %q the path is %q, with two slashes", f.PathPrefix, f.PathPrefix+"/auth"),
					Hint: "remove the slash at the end"})
			}
		case "real_ip_header":
			f.RealIPHeader = w.text(k.val, s)
			if strings.ContainsFunc(f.RealIPHeader, func(r rune) bool { return !isHeaderRune(r) }) {
				w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("server.real_ip_header: %q is not the name of an HTTP header", f.RealIPHeader)})
			}
		case "real_ip_pos":
			if pos, ok := w.integer(k.val, s); ok {
				if pos < -1000 || pos > 1000 {
					w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("server.real_ip_pos: %d is out of range, expected the place of an address in the header (0 is the leftmost, -1 the rightmost)", pos)})
				}
				f.RealIPPos = int(max(min(pos, 1000), -1000))
			}
		case "certificate":
			f.Certificate = w.text(k.val, s)
		case "key":
			f.Key = w.text(k.val, s)
		case "hsts":
			f.HSTS = w.boolean(k.val, s)
		case "tls_min_version":
			version = k.val
			f.TLSMinVersion = w.tlsVersion(k.val, s)
		case "tls_curve_preferences":
			f.TLSCurvePreferences = w.tlsIDs(k.val, s, curveNames())
		case "tls_cipher_suites":
			f.TLSCipherSuites = w.tlsIDs(k.val, s, suiteNames())
		case "letsencrypt":
			w.letsEncrypt(k)
		default:
			meant[w.unknown(k, &serverSection)] = true
		}
	}
	switch {
	case f.Addr != "":
		w.address(addr)
	case !meant["addr"] && !w.mistyped(pairs, "addr"):
		w.required(p, &serverSection, "addr", `the address to listen on, as in ":5001"`)
	}
	w.both(pairs, "server", f.Certificate, f.Key, meant)
	if f.TLSCipherSuites != nil && f.TLSMinVersion == tls.VersionTLS13 {
		w.problem(version, Problem{Code: CodeBadValue, Msg: "server.tls_cipher_suites: the cipher suites of TLS 1.3 cannot be chosen", Hint: "remove tls_cipher_suites, or lower tls_min_version"})
	}
	if f.Certificate == "" && f.Key == "" && !meant["certificate"] && !meant["key"] {
		for _, k := range pairs {
			if strings.HasPrefix(k.name, "tls_") && serverSection.has(k.name) && !isNull(w.deref(k.val)) {
				w.problem(k.key, Problem{Code: CodeTLSWithoutCert, Msg: fmt.Sprintf("server.%s is set but there is no certificate and key: the server would speak plain HTTP", k.name),
					Hint: "set server.certificate and server.key, or remove the TLS settings and let the proxy do TLS"})
			}
		}
	}
}

// isHeaderRune reports whether r may be in the name of an HTTP header (RFC 9110, token).
func isHeaderRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// address checks server.addr.
func (w *walker) address(n *yaml.Node) {
	f := &w.f.Server
	bad := func(msg, hint string) {
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("server.addr: %s, found %q", msg, f.Addr), Hint: hint})
	}
	if f.Net == "unix" {
		if strings.ContainsFunc(f.Addr, isControl) {
			bad("expected the path of a socket", "")
		}
		return
	}
	_, port, err := net.SplitHostPort(f.Addr)
	if err != nil {
		hint := ""
		if _, err := strconv.ParseUint(f.Addr, 10, 16); err == nil {
			hint = fmt.Sprintf("did you mean %q?", ":"+f.Addr)
		} else if strings.HasPrefix(f.Addr, "/") {
			hint = "a socket needs net: unix beside it"
		}
		bad(`expected HOST:PORT, as in ":5001"`, hint)
		return
	}
	if number, err := strconv.Atoi(port); err == nil && (number < 0 || number > 65535) || port == "" {
		bad("expected a port from 0 to 65535 after the colon", "")
	} else if err != nil && strings.ContainsFunc(port, func(r rune) bool { return !isHeaderRune(r) }) {
		bad("expected a port from 0 to 65535 after the colon", "")
	}
}

// letsEncrypt refuses what makes docker_auth say that it uses Let's Encrypt and then speak plain
// HTTP.
func (w *walker) letsEncrypt(k pair) {
	val := w.deref(k.val)
	if isNull(val) {
		return
	}
	s := subject{format: "server.letsencrypt"}
	if !w.mapping(val, s, "a map", &letsEncryptSection) {
		return
	}
	pairs := w.pairs(val, s, true, nil)
	set := false
	for _, p := range pairs {
		if !letsEncryptSection.has(p.name) {
			w.unknown(p, &letsEncryptSection)
			continue
		}
		set = w.text(p.val, subject{format: "server.letsencrypt." + p.name}) != "" || set
	}
	if set {
		w.problem(k.key, Problem{Code: CodeLetsEncrypt, Msg: "server.letsencrypt is set: docker_auth then serves plain HTTP all the same",
			Hint: "let the reverse proxy do TLS, or set server.certificate and server.key"})
	}
}

// tlsVersion reads a version's name or number; 0 when it is none or not set.
func (w *walker) tlsVersion(n *yaml.Node, s subject) uint16 {
	text := w.text(n, s)
	if text == "" {
		return 0
	}
	version, ok := map[string]uint16{"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}[text]
	if !ok {
		number, err := strconv.ParseUint(text, 0, 16)
		if err != nil || number < tls.VersionTLS10 || number > tls.VersionTLS13 {
			w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("server.tls_min_version: expected TLS12, TLS13 or a number as 0x0303, found %q", text)})
			return 0
		}
		version = uint16(number)
	}
	if version < tls.VersionTLS12 {
		w.warn(n, Problem{Code: CodeWeakTLS, Msg: fmt.Sprintf("server.tls_min_version: %s has known weaknesses, expected TLS12 or TLS13", text)})
	}
	return version
}

// tlsIDs reads a list of names or numbers; nil when it is not set.
func (w *walker) tlsIDs(n *yaml.Node, s subject, names map[string]uint16) []uint16 {
	val := w.deref(n)
	texts, ok := w.list(n, s, "")
	if !ok {
		return nil
	}
	ids := make([]uint16, 0, len(texts))
	for i, text := range texts {
		id, known := names[text]
		if !known {
			number, err := strconv.ParseUint(text, 0, 16)
			if err != nil {
				at := val
				if len(texts) == len(val.Content) {
					at = w.deref(val.Content[i])
				}
				hint := ""
				known := make([]string, 0, len(names))
				for name := range names {
					known = append(known, name)
				}
				if near := nearest(text, known); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				w.problem(at, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: unknown name %q", s, maskedKey(text)), Hint: hint})
				continue
			}
			id = uint16(number)
		}
		ids = append(ids, id)
	}
	return ids
}

// curveNames are docker_auth's names of the curves.
func curveNames() map[string]uint16 {
	return map[string]uint16{"P256": uint16(tls.CurveP256), "P384": uint16(tls.CurveP384), "P521": uint16(tls.CurveP521), "X25519": uint16(tls.X25519)}
}

// suiteNames are the IANA names of the cipher suites that Go knows.
func suiteNames() map[string]uint16 {
	names := map[string]uint16{}
	for _, suites := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, s := range suites {
			names[s.Name] = s.ID
		}
	}
	return names
}

// lifetime checks a number of seconds that tokens are good for.
func (w *walker) lifetime(n *yaml.Node, name string, seconds int64) time.Duration {
	switch {
	case seconds <= 0:
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected more than 0 seconds, found %d", name, seconds)})
		return 0
	case seconds > maxSeconds:
		w.problem(n, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: %d seconds are more than 100 years", name, seconds)})
		return 0
	case seconds < shortLifetime:
		w.warn(n, Problem{Code: CodeLifetimeShort, Msg: fmt.Sprintf("%s: %d seconds; clients take less than %d for %d, and a push must end before its token does", name, seconds, shortLifetime, shortLifetime)})
	case seconds > longLifetime:
		w.warn(n, Problem{Code: CodeLifetimeLong, Msg: fmt.Sprintf("%s: %d seconds are more than a day, in which a removed user can still pull and push", name, seconds)})
	}
	return time.Duration(seconds) * time.Second
}
