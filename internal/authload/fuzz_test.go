package authload_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzServeHTTP: whatever is sent, the answer is one of the documented statuses, JSON
// where it is an error, and a token names nobody but the one whose password was sent.
func FuzzServeHTTP(f *testing.F) {
	for _, seed := range []struct {
		method, path, query, auth, contentType, xff, body string
	}{
		{"GET", "/auth", "service=r&scope=repository:a/b:pull,push", "Basic YWxpY2U6dGVzdGluZw==", "", "10.0.0.1", ""},
		{"POST", "/auth/token", "", "", "application/x-www-form-urlencoded", "10.0.0.1", "username=alice&password=testing&scope=x:y:z"},
		{"HEAD", "/", "", "", "", "", ""},
		{"PUT", "/healthz", "verbose", "", "", "", ""},
		{"GET", "/auth", "account=alice&scope=a::b", "Bearer x", "", "::1, junk", ""},
		{"POST", "/auth", "username=a", "Basic Og==", "text/plain", "1.2.3.4:5", "\x00\xff%zz"},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.auth, seed.contentType, seed.xff, seed.body)
	}
	yaml := strings.Replace(house, `{addr: "@ADDR@"}`, `{addr: "@ADDR@", real_ip_header: X-Forwarded-For}`, 1) +
		"x-regctl-setup: {limits: {failures_per_client: 1000000000, failures_per_user: 1000000000}}\n"
	o := newFolder(f, yaml).options()
	o.Verify = func(h, p secretText) bool { return p.Reveal() == "testing" && h.Reveal() == testing5 }
	srv := newServer(f, o, nil)
	allowed := map[int]bool{200: true, 400: true, 401: true, 404: true, 405: true, 413: true}
	f.Fuzz(func(t *testing.T, method, path, query, auth, contentType, xff, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		for k, v := range map[string]string{"Authorization": auth, "Content-Type": contentType, "X-Forwarded-For": xff} {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		if !allowed[w.Code] {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Fatalf("status %d, challenge %q", w.Code, w.Header().Get("WWW-Authenticate"))
		}
		if srv.Stats().Panics != 0 {
			t.Fatal("a panic")
		}
		if method == http.MethodHead {
			return
		}
		if w.Code != 200 {
			expectForm(t, "error", w)
			return
		}
		if !strings.HasPrefix(path, "/auth") || !json.Valid(w.Body.Bytes()) {
			return
		}
		c, _ := tokenOf(t, w.Body.Bytes())
		_, password, _ := r.BasicAuth()
		if c.Sub != "" && password != "testing" && !strings.Contains(body, "testing") {
			t.Fatalf("a token for %q without its password", c.Sub)
		}
	})
}
