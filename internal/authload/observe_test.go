package authload_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/keys"
)

// TestJWKS: the key set has the signing key under both ids, follows a reload, and the key of a
// token is in it.
func TestJWKS(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	srv := newServer(t, f.options(), nil)
	ids := func() []string {
		t.Helper()
		w := do(t, srv, call{path: "/.well-known/jwks.json"})
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/jwk-set+json" ||
			w.Header().Get("Cache-Control") != "public, max-age=300" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		set, err := keys.ParseJWKS(w.Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(w.Body.String(), `"d"`) {
			t.Error("a private member is shown")
		}
		var out []string
		for id := range set {
			out = append(out, id)
		}
		slices.Sort(out)
		return out
	}
	want := func() []string {
		pair, err := keys.LoadPair(f.path("server.key"), f.path("server.pem"), keys.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		legacy, err := keys.LibtrustID(pair.Public())
		thumb, err2 := keys.Thumbprint(pair.Public())
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		out := []string{legacy, thumb}
		slices.Sort(out)
		return out
	}
	first := ids()
	if !slices.Equal(first, want()) {
		t.Errorf("got ids %q, want %q", first, want())
	}
	other := makePair(2048)
	f.write("server.key", other[0])
	f.write("server.pem", other[1])
	if err := srv.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, want()) || slices.Equal(got, first) {
		t.Errorf("after a reload: ids %q, want %q", got, want())
	}
	if w := do(t, srv, call{method: http.MethodPost, path: "/.well-known/jwks.json"}); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// TestHealthReasons: all that is wrong is told in words, at once, and to nobody far away.
func TestHealthReasons(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house)
	rec := &memoryRecorder{err: errors.New("no space left on device")}
	var logs authserver.LogState
	srv, err := authserver.New(authserver.Options{
		Load: authload.NewLoader(f.options()).Load, Recorder: rec, LogState: func() authserver.LogState { return logs },
	})
	if err != nil {
		t.Fatal(err)
	}
	health := func(peer string) (status string, reasons []string) {
		t.Helper()
		w := do(t, srv, call{path: "/healthz?verbose", peer: peer})
		var h struct {
			Status  string
			Reasons []string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %v %s", w.Code, err, w.Body)
		}
		return h.Status, h.Reasons
	}
	if status, reasons := health("127.0.0.1:1"); status != "ok" || len(reasons) > 0 {
		t.Errorf("at the start: %s %q", status, reasons)
	}
	do(t, srv, call{path: "/auth?service=r", user: basic("alice", "testing")})
	logs.Err = "broken pipe"
	f.config(house + "usres: {}\n")
	if srv.Reload(t.Context()) == nil {
		t.Fatal("a config with nonsense was loaded")
	}
	status, reasons := health("127.0.0.1:1")
	all := strings.Join(reasons, "\n")
	for _, want := range []string{"could not be loaded at", "usres", "audit log", "log lines are being lost: broken pipe"} {
		if !strings.Contains(all, want) {
			t.Errorf("the reasons do not say %q: %q", want, reasons)
		}
	}
	if status != "degraded" || len(reasons) != 3 {
		t.Errorf("%s for %d reasons, want degraded for 3: %q", status, len(reasons), reasons)
	}
	if status, reasons := health("192.0.2.1:1"); status != "degraded" || len(reasons) > 0 {
		t.Errorf("from far away: %s %q", status, reasons)
	}
}
