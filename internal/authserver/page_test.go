package authserver

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func showPage(t *testing.T, realm, host string, header http.Header) (*httptest.ResponseRecorder, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Host = host
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	(&Server{}).servePage(&answerWriter{ResponseWriter: w}, r, &State{Realm: realm})
	return w, w.Body.String()
}

func TestPageNamesTheRegistry(t *testing.T) {
	t.Parallel()
	https := http.Header{"X-Forwarded-Proto": {"https"}}
	for _, tt := range []struct {
		host   string
		header http.Header
		want   string
		plain  bool
	}{
		{"registry.example.com", https, "registry.example.com", false},
		{"registry.example.com:443", https, "registry.example.com", false},
		{"registry.example.com:8443", https, "registry.example.com:8443", false},
		{"registry.example.com", nil, "registry.example.com", false}, // a proxy that does not say https
		{"localhost:5000", nil, "localhost:5000", true},
		{"127.0.0.1:5000", nil, "127.0.0.1:5000", true},
		{"[::1]:5000", nil, "[::1]:5000", true},
		{"localhost:5000", https, "localhost:5000", false},
		{"", nil, noHost, false},
		{"-x.example.com", nil, noHost, false},
		{"a;rm -rf $HOME", nil, noHost, false},
		{"<script>alert(1)</script>", nil, noHost, false},
		{strings.Repeat("a", 300), nil, noHost, false},
	} {
		w, body := showPage(t, "Acme & <b>Co</b>", tt.host, tt.header)
		for _, want := range []string{
			"docker login -u NAME " + tt.want + "</code>", "docker push " + tt.want + "/PROJECT/IMAGE:TAG</code>",
			"<title>Acme &amp; &lt;b&gt;Co&lt;/b&gt;</title>",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%q: the page does not say %q", tt.host, want)
			}
		}
		if got := strings.Contains(body, "podman login --tls-verify=false"); got != tt.plain {
			t.Errorf("%q: the page takes it for plain HTTP: %v, want %v", tt.host, got, tt.plain)
		}
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %d %v", tt.host, w.Code, w.Header())
		}
		if strings.Contains(body, "<script") {
			t.Errorf("%q: the page has a script", tt.host)
		}
	}
}

// TestPagePolicy: the policy allows the page's own style, and nothing else.
func TestPagePolicy(t *testing.T) {
	t.Parallel()
	w, body := showPage(t, "Acme", "registry.example.com", nil)
	_, rest, _ := strings.Cut(body, "<style>")
	style, after, found := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	if got := w.Header().Get("Content-Security-Policy"); !found || got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, bad := range []string{"style=", "<link", "src=", "href=", "url(", "<style", "@import"} {
		if strings.Contains(after, bad) || strings.Contains(style, bad) {
			t.Errorf("the page has %q, which the policy forbids or which is fetched", bad)
		}
	}
}
