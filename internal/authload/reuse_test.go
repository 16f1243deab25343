package authload_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
)

// fetch gets a token and returns its id, with the answer's own claims checked.
func fetch(t testing.TB, h http.Handler, c call) string {
	t.Helper()
	w := do(t, h, c)
	expectStatus(t, c.path, w, 200)
	got, answer := tokenOf(t, w.Body.Bytes())
	at, err := time.Parse(time.RFC3339, fmt.Sprint(answer["issued_at"]))
	if err != nil || at.Unix() != got.Iat || answer["expires_in"] != float64(got.Exp-got.Iat) {
		t.Errorf("issued_at %v and expires_in %v; the token says %d to %d", answer["issued_at"], answer["expires_in"], got.Iat, got.Exp)
	}
	return got.Jti
}

func TestTokenReuse(t *testing.T) {
	t.Parallel()
	f := newFolder(t, house+"x-regctl-setup: {expiration: {pull: 400, push: 4000}}\n")
	synctest.Test(t, func(t *testing.T) {
		// The key pair was made outside of the bubble, whose clock stands elsewhere.
		f.config(house + "x-regctl-setup: {x5c: never, expiration: {pull: 400, push: 4000}}\n")
		rec := &memoryRecorder{}
		srv, err := authserver.New(authserver.Options{Load: authload.NewLoader(f.options()).Load, Recorder: rec})
		if err != nil {
			t.Fatal(err)
		}
		base := call{path: "/auth?service=r&scope=repository:public/x:pull", user: basic("alice", "testing")}
		first := fetch(t, srv, base)
		again := fetch(t, srv, base)
		if again != first {
			t.Error("the same request got another token")
		}
		all := rec.all()
		if len(all) != 2 || all[0].TokenID != first || all[1].TokenID != first || all[0].Reused || !all[1].Reused || all[1].Lifetime != 400*time.Second {
			t.Errorf("records %+v", all)
		}
		if got := srv.Stats().TokensReused; got != 1 {
			t.Errorf("%d tokens reused, want 1", got)
		}
		seen := map[string]string{first: "the first"}
		for name, c := range map[string]call{
			"another account":        {path: base.path},
			"another service":        {path: strings.Replace(base.path, "service=r", "service=s", 1), user: base.user},
			"another repository":     {path: strings.Replace(base.path, "public/x", "public/y", 1), user: base.user},
			"more actions":           {path: base.path + ",push", user: base.user},
			"more scopes":            {path: base.path + "&scope=repository:public/z:pull", user: base.user},
			"another address":        {path: base.path, user: base.user, peer: "192.0.2.2:1234"},
			"an IPv6 address":        {path: base.path, user: base.user, peer: "[2001:db8:0:1::1]:1234"},
			"another IPv6 network":   {path: base.path, user: base.user, peer: "[2001:db8:0:2::1]:1234"},
			"nothing but a login":    {path: "/auth?service=r", user: base.user},
			"the name in two pieces": {path: "/auth?service=r&scope=repository:public:pull&scope=repository:x:pull", user: base.user},
		} {
			id := fetch(t, srv, c)
			if was, ok := seen[id]; ok {
				t.Errorf("%s: the token of %s", name, was)
			}
			seen[id] = name
			if fetch(t, srv, c) != id {
				t.Errorf("%s: not reused", name)
			}
		}
		if fetch(t, srv, call{path: base.path, user: base.user, peer: "[2001:db8:0:1::2]:99"}) == first {
			t.Error("IPv6 and IPv4 share a token")
		}
		// A form says the same; its answer has the scope, too.
		w := do(t, srv, call{method: "POST", path: "/auth", body: "service=r&username=alice&password=testing&scope=repository:public/x:pull"})
		c, answer := tokenOf(t, w.Body.Bytes())
		if c.Jti != first || answer["scope"] != "repository:public/x:pull" {
			t.Errorf("by POST: id %q, want %q; scope %v", c.Jti, first, answer["scope"])
		}
		time.Sleep(99 * time.Second)
		if fetch(t, srv, base) != first {
			t.Error("with more than three quarters of its life left: another token")
		}
		time.Sleep(time.Second)
		second := fetch(t, srv, base)
		if second == first {
			t.Error("with three quarters of its life left: the old token")
		}
		// A wrong password gets nothing of it.
		expectStatus(t, "wrong password", do(t, srv, call{path: base.path, user: basic("alice", "wrong")}), 401)
		if err := srv.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if fetch(t, srv, base) == second {
			t.Error("a token of before the reload")
		}
		f.config(house + "x-regctl-setup: {x5c: never, token_reuse: false}\n")
		if err := srv.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if first, again := fetch(t, srv, base), fetch(t, srv, base); first == again {
			t.Error("switched off, and reused")
		}
	})
}
