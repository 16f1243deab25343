package authload_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
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
	srv := fuzzServer(f)
	f.Fuzz(func(t *testing.T, method, path, query, auth, contentType, xff, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		for k, v := range map[string]string{"Authorization": auth, "Content-Type": contentType, "X-Forwarded-For": xff} {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		checkAnswer(t, srv, r, body)
	})
}

// checkAnswer sends r and says what is wrong with the answer; text is where a password of
// a form can stand.
func checkAnswer(t testing.TB, srv *authserver.Server, r *http.Request, text string) (status int) {
	t.Helper()
	_, password, _ := r.BasicAuth()
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	switch w.Code {
	case 200, 400, 401, 404, 405, 413:
	default:
		t.Errorf("status %d: %s\n%q", w.Code, w.Body, text)
	}
	if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
		t.Errorf("status %d, challenge %q\n%q", w.Code, w.Header().Get("WWW-Authenticate"), text)
	}
	if srv.Stats().Panics != 0 {
		t.Errorf("a panic\n%q", text)
	}
	if r.Method == http.MethodHead {
		return w.Code
	}
	if w.Code != 200 {
		expectForm(t, "error", w)
		return w.Code
	}
	if !strings.HasPrefix(r.URL.Path, "/auth") || !json.Valid(w.Body.Bytes()) {
		return w.Code
	}
	c, _ := tokenOf(t, w.Body.Bytes())
	if c.Sub != "" && password != "testing" && !strings.Contains(text, "testing") {
		t.Errorf("a token for %q without its password\n%q", c.Sub, text)
	}
	return w.Code
}
