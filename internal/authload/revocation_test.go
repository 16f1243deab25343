package authload_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestB11RevocationIsSeenByTheNextToken: once a change is loaded, no new token says what was
// taken away, whatever is remembered; labels are replaced, never merged. What lives on is the
// last token before, for the lifetime in the config and not a second more.
func TestB11RevocationIsSeenByTheNextToken(t *testing.T) {
	t.Parallel()
	const yaml = head + `users:
  "alice": {password: "` + testing5 + `", labels: {team: ["backend", "frontend"]}}
  "bob": {password: "` + testing5 + `"}
acl:
- {match: {labels: {team: "*"}, name: "${labels:team}/*"}, actions: ["pull", "push"]}
- {match: {account: "bob"}, actions: ["pull"]}
`
	f := newFolder(t, yaml)
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, f.options(), nil)
		alice := call{path: "/auth?service=r&scope=repository:backend/a:push&scope=repository:frontend/a:push", user: basic("alice", "testing")}
		bob := call{path: "/auth?service=r&scope=repository:backend/a:pull", user: basic("bob", "testing")}
		for range 2 { // the second time by the remembered password
			w := do(t, srv, alice)
			expectStatus(t, "alice", w, 200)
			c, _ := tokenOf(t, w.Body.Bytes())
			if got, want := c.granted(), "repository:backend/a:push repository:frontend/a:push"; got != want {
				t.Fatalf("before: granted %q, want %q", got, want)
			}
			if life := c.Exp - time.Now().Unix(); life > 900 {
				t.Errorf("a token lives for %d s, want at most 900", life)
			}
			expectStatus(t, "bob", do(t, srv, bob), 200)
		}
		for _, tt := range []struct {
			what, old, new string
			alice          string
			bob            int
		}{
			{"a label's value is removed", `["backend", "frontend"]`, `["backend"]`, "repository:backend/a:push repository:frontend/a:", 200},
			{"the user is removed", `  "bob": {password: "` + testing5 + `"}` + "\n", "", "repository:backend/a:push repository:frontend/a:push", 401},
			{"the user is disabled", `"bob": {password: "`, `"bob": {password: "!`, "repository:backend/a:push repository:frontend/a:push", 401},
			{"the user expires", "acl:", "x-regctl-setup: {users: {\"bob\": {expires: 2000-01-01}}}\nacl:", "repository:backend/a:push repository:frontend/a:push", 401},
			{"the entry is removed", `- {match: {account: "bob"}, actions: ["pull"]}` + "\n", "", "repository:backend/a:push repository:frontend/a:push", 200},
		} {
			changed := strings.Replace(yaml, tt.old, tt.new, 1)
			if changed == yaml {
				t.Fatalf("%s: nothing to change", tt.what)
			}
			f.config(changed)
			if err := srv.Reload(t.Context()); err != nil {
				t.Fatalf("%s: %v", tt.what, err)
			}
			c, _ := tokenOf(t, do(t, srv, alice).Body.Bytes())
			if got := c.granted(); got != tt.alice {
				t.Errorf("%s: alice is granted %q, want %q", tt.what, got, tt.alice)
			}
			w := do(t, srv, bob)
			expectStatus(t, tt.what+": bob", w, tt.bob)
			if w.Code == 200 && tt.what == "the entry is removed" {
				if c, _ := tokenOf(t, w.Body.Bytes()); c.granted() != "repository:backend/a:" {
					t.Errorf("%s: bob is granted %q, want nothing", tt.what, c.granted())
				}
			}
			f.config(yaml)
			if err := srv.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
