package authserver

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"html/template"
	"net"
	"net/http"
	"strings"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var pageStyle string

// page is the one HTML page. It needs nothing from elsewhere, so that its policy can forbid
// everything but its own style.
var page = template.Must(template.New("page").Parse(pageText))

// pagePolicy is the page's Content-Security-Policy (CSP level 3): nothing but the style of
// exactly this text.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}()

// pageView is what the page says.
type pageView struct {
	Issuer string
	// Host is the registry's name as clients write it: the one that the browser used.
	Host string
	// Plain: this machine is asked without TLS, which docker takes for loopback names, and
	// other clients when they are told to.
	Plain bool
	Style template.CSS
}

// servePage sends the page: what this is, and how clients log in. It is the same for browsers
// and probes, as in docker_auth, and says nothing that is not in every challenge.
func (s *Server) servePage(w *answerWriter, r *http.Request, st *State) {
	view := pageView{Issuer: st.Realm, Host: pageHost(r.Host), Style: template.CSS(pageStyle)} //nolint:gosec // our own file
	view.Plain = r.TLS == nil && !strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") && loopbackName(view.Host)
	var body bytes.Buffer
	if err := page.Execute(&body, view); err != nil {
		s.refuse(w, r, st, &refusal{status: http.StatusInternalServerError, code: "UNKNOWN", msg: "internal error"})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store") // it names the host that was asked for
	w.send(r, http.StatusOK, body.Bytes())
}

// noHost stands for a name that could not be told.
const noHost = "REGISTRY"

// pageHost is a Host header as it may stand in a command: letters, digits, "-", "." and ":",
// and the brackets of IPv6.
func pageHost(host string) string {
	if host == "" || len(host) > 260 || strings.ContainsFunc(host, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-.:[]", r))
	}) || host[0] == '-' {
		return noHost
	}
	return strings.TrimSuffix(host, ":443")
}

// loopbackName reports whether a host, with or without a port, is this machine.
func loopbackName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}
