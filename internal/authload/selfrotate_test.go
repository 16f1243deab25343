package authload_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/keys"
)

const rotateRules = `server: {addr: "@ADDR@"}
token: {issuer: "https://auth.example/auth", expiration: 900, key: "@KEY@", certificate: "@CERT@"}
users: {"": {}}
acl: []
x-regctl-setup:
  rotate_signing_key: 30d
`

// setClock is a clock that is set by hand.
type setClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *setClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *setClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rotating is a server whose signing key an authority issued.
type rotating struct {
	*folder
	t      *testing.T
	clock  *setClock
	loader *authload.Loader
	srv    *authserver.Server
	log    lockedBuffer
}

func (f *folder) pair(key, cert string, p *keys.Pair) {
	f.write(key, []byte(p.KeyPEM().Reveal()))
	f.write(cert, p.CertPEM())
}

func (f *folder) authority(t testing.TB, now func() time.Time) *keys.CA {
	t.Helper()
	ca, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	f.pair("ca.key", "ca.pem", ca.Pair)
	return ca
}

func (f *folder) leaf(t testing.TB, ca *keys.CA) {
	t.Helper()
	p, err := ca.IssueLeaf(keys.ECDSAP256, 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.pair("server.key", "server.pem", p)
}

func newRotating(t *testing.T) (*rotating, *keys.CA) {
	t.Helper()
	r := &rotating{folder: newFolder(t, rotateRules), t: t, clock: &setClock{now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}}
	ca := r.authority(t, r.clock.Now)
	r.leaf(t, ca)
	o := r.options()
	o.Now = r.clock.Now
	r.loader = authload.NewLoader(o)
	srv, err := authserver.New(authserver.Options{Load: r.loader.Load, Now: r.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	r.srv = srv
	return r, ca
}

// signedBy is the key of a new token: its id, as header and key set name it, and the chain
// that it carries.
func (r *rotating) signedBy() (kid string, chain [][]byte) {
	r.t.Helper()
	w := do(r.t, r.srv, call{path: "/auth?service=r"})
	_, answer := tokenOf(r.t, w.Body.Bytes())
	raw, _ := answer["token"].(string)
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
	if err != nil {
		r.t.Fatal(err)
	}
	var h struct {
		Kid string
		X5C [][]byte
	}
	if err := json.Unmarshal(text, &h); err != nil {
		r.t.Fatal(err)
	}
	if set := do(r.t, r.srv, call{path: "/.well-known/jwks.json"}).Body.String(); !strings.Contains(set, h.Kid) {
		r.t.Errorf("the key set does not have %s: %s", h.Kid, set)
	}
	return h.Kid, h.X5C
}

func (r *rotating) rotate(want bool) {
	r.t.Helper()
	got, err := r.loader.RotateIfDue(r.srv, slog.New(slog.NewTextHandler(&r.log, nil)))
	if err != nil || got != want {
		r.t.Errorf("rotated: %v, %v; want %v", got, err, want)
	}
}

// TestKnownAuthority: a new key of the authority that the registry knows is nothing to warn of, as
// keys rotate makes one; another authority's is, and so is a new key where tokens carry no chain.
func TestKnownAuthority(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		x5c       string
		authority bool // another one
		warns     bool
	}{{"auto", false, false}, {"auto", true, true}, {"never", false, true}} {
		f := newFolder(t, strings.Replace(rotateRules, "rotate_signing_key: 30d", "x5c: "+tt.x5c, 1))
		ca := f.authority(t, time.Now)
		f.leaf(t, ca)
		var log lockedBuffer
		o := f.options()
		srv, err := authserver.New(authserver.Options{Load: authload.NewLoader(o).Load, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if tt.authority {
			ca = f.authority(t, time.Now)
		}
		f.leaf(t, ca)
		if err := srv.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "another key"); got != tt.warns {
			t.Errorf("%+v: warned %v: %s", tt, got, log.String())
		}
	}
}

func (r *rotating) reload() {
	r.t.Helper()
	if err := r.srv.Reload(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func TestSigningKeyRotatesItself(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	r, ca := newRotating(t)
	disk, _ := r.signedBy()
	r.rotate(false)
	r.clock.add(30*day - time.Second)
	r.rotate(false)
	if kid, _ := r.signedBy(); kid != disk {
		t.Error("before its time another key signs")
	}
	r.clock.add(time.Second)
	r.rotate(true)
	first, chain := r.signedBy()
	if first == disk || len(chain) != 2 || !bytes.Equal(chain[1], ca.Pair.Leaf().Raw) {
		t.Errorf("key %s with %d certificates, want another one than %s with the authority's", first, len(chain), disk)
	}
	leaf := r.srv.State().Certificates[0]
	if want := r.clock.Now().Add(30*day + 15*time.Minute); leaf.Name != "signing" || leaf.Expires.Before(want) {
		t.Errorf("certificate %q until %v, want until %v at least", leaf.Name, leaf.Expires, want)
	}
	if got := r.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, first) {
		t.Errorf("the log has %q, want one line with %s", got, first)
	}

	// A reload keeps it, the next time comes a month later.
	r.config(rotateRules + "  token_reuse: false\n")
	r.reload()
	if kid, _ := r.signedBy(); kid != first {
		t.Error("a reload changed the key")
	}
	r.clock.add(30*day - time.Second)
	r.rotate(false)
	r.clock.add(time.Second)
	r.rotate(true)
	second, _ := r.signedBy()
	if second == first || second == disk {
		t.Error("an old key signs again")
	}

	// Tokens that live longer than the certificate get another one.
	r.config(strings.Replace(rotateRules, "expiration: 900", "expiration: 8640000", 1))
	r.reload()
	third, _ := r.signedBy()
	if third == second || r.srv.State().Certificates[0].Expires.Before(r.clock.Now().Add(100*day)) {
		t.Error("the certificate ends before its tokens")
	}

	// A newer pair on disk signs; and another authority's is not mixed with the old one's.
	r.clock.add(time.Hour)
	r.leaf(t, ca)
	r.reload()
	if kid, _ := r.signedBy(); kid == third || kid == second {
		t.Error("the newer pair on disk does not sign")
	}
	r.clock.add(31 * day)
	r.rotate(true)
	before, _ := r.signedBy()
	other := r.authority(t, r.clock.Now)
	r.leaf(t, other)
	r.reload()
	kid, chain := r.signedBy()
	if kid == before || !bytes.Equal(chain[1], other.Pair.Leaf().Raw) {
		t.Error("the former authority's key signs")
	}
}

// TestSigningKeyIsOldAtTheStart: a server that was stopped for long begins with a new key.
func TestSigningKeyIsOldAtTheStart(t *testing.T) {
	t.Parallel()
	r, _ := newRotating(t)
	disk, _ := r.signedBy()
	r.clock.add(40 * 24 * time.Hour)
	r.reload()
	if kid, _ := r.signedBy(); kid == disk {
		t.Error("the old key signs")
	}
	r.rotate(false)
	r.rotate(false)
	if got := r.log.String(); strings.Count(got, "signed with a new key") != 1 {
		t.Errorf("the log has %q, want one line about the key", got)
	}
}

// TestRotationBesideServing: no request is refused while the key changes again and again.
func TestRotationBesideServing(t *testing.T) {
	t.Parallel()
	r, _ := newRotating(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if w := do(t, r.srv, call{path: "/auth?service=r"}); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
					return
				}
			}
		})
	}
	for range 20 {
		r.clock.add(30 * 24 * time.Hour)
		r.rotate(true)
	}
	close(stop)
	wg.Wait()
}

func TestSigningKeyCannotRotate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		do   func(t *testing.T, f *folder, ca *keys.CA)
		want string
	}{
		"no authority":      {func(t *testing.T, f *folder, _ *keys.CA) { remove(t, f.path("ca.key")) }, "ca.key"},
		"no certificate":    {func(t *testing.T, f *folder, _ *keys.CA) { remove(t, f.path("ca.pem")) }, "ca.pem"},
		"another authority": {func(t *testing.T, f *folder, _ *keys.CA) { f.authority(t, nil) }, "was not issued by the authority"},
		"no authority at all": {func(_ *testing.T, f *folder, ca *keys.CA) {
			p, _ := ca.IssueLeaf(keys.ECDSAP256, time.Hour)
			f.pair("ca.key", "ca.pem", p)
		}, "not one of a certification authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, rotateRules)
			ca := f.authority(t, nil)
			f.leaf(t, ca)
			tt.do(t, f, ca)
			st, _, err := authload.Load(f.options())
			if err == nil || st != nil {
				t.Fatalf("state %v, error %v", st, err)
			}
			for _, w := range []string{filepath.Base(f.path("auth-server.yml")) + ":6:3: x-regctl-setup.rotate_signing_key", tt.want} {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
