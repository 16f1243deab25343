package rotation_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/rotation"
)

// clock is a clock that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newPair(t *testing.T, c *clock) *keys.Pair {
	t.Helper()
	p, err := keys.Generate(keys.ECDSAP256, keys.Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newLeaf(t *testing.T, ca *keys.CA) *keys.Pair {
	t.Helper()
	p, err := ca.IssueLeaf(keys.ECDSAP256, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newFolder writes a deployment's keys: as init lays them out, or with one certificate
// file for both sides, as in the published guide.
func newFolder(t *testing.T, pair *keys.Pair, guide bool) rotation.Files {
	t.Helper()
	f := rotation.Files{
		Dir: t.TempDir(), Key: "keys/server.key", Cert: "keys/server.pem",
		Bundle: "trust/bundle.pem", JWKS: "trust/jwks.json", CAKey: "keys/ca.key", CACert: "keys/ca.pem",
	}
	if guide {
		f.Bundle, f.JWKS = f.Cert, ""
	}
	write := func(name string, mode os.FileMode, data []byte) {
		p := filepath.Join(f.Dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(f.Key, 0o600, []byte(pair.KeyPEM().Reveal()))
	write(f.Cert, 0o644, pair.CertPEM())
	if !guide {
		jwks, err := keys.JWKS(pair.Public())
		if err != nil {
			t.Fatal(err)
		}
		write(f.Bundle, 0o644, keys.Bundle(pair.Chain...))
		write(f.JWKS, 0o644, jwks)
	}
	return f
}

func open(t *testing.T, f rotation.Files, c *clock) *rotation.Rotation {
	t.Helper()
	r, err := rotation.Open(f, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// state is what programs read from the folder: who signs, and whom the registry trusts.
type state struct {
	signer          string
	bundle, trusted []string
}

func read(t *testing.T, f rotation.Files) state {
	t.Helper()
	pair, err := keys.LoadPair(filepath.Join(f.Dir, f.Key), filepath.Join(f.Dir, f.Cert), keys.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := state{signer: keys.Fingerprint(pair.Leaf())}
	certs, err := keys.LoadCertificates(filepath.Join(f.Dir, f.Bundle))
	if err != nil {
		t.Fatal(err)
	}
	s.bundle = fingerprints(certs...)
	if f.JWKS == "" {
		return s
	}
	data, err := os.ReadFile(filepath.Join(f.Dir, f.JWKS))
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.ParseJWKS(data)
	if err != nil {
		t.Fatal(err)
	}
	for kid := range set {
		s.trusted = append(s.trusted, kid)
	}
	slices.Sort(s.trusted)
	return s
}

func fingerprints(certs ...*x509.Certificate) []string {
	var all []string
	for _, c := range certs {
		all = append(all, keys.Fingerprint(c))
	}
	slices.Sort(all)
	return all
}

// ids are the ids that a key set must list for the pairs.
func ids(t *testing.T, pairs ...*keys.Pair) []string {
	t.Helper()
	var all []string
	for _, p := range pairs {
		a, err := keys.LibtrustID(p.Public())
		if err != nil {
			t.Fatal(err)
		}
		b, err := keys.Thumbprint(p.Public())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a, b)
	}
	slices.Sort(all)
	return all
}

// check compares the folder with who must sign and who must be trusted.
func check(t *testing.T, f rotation.Files, signer *keys.Pair, trusted ...*keys.Pair) {
	t.Helper()
	got := read(t, f)
	want := state{signer: keys.Fingerprint(signer.Leaf())}
	var certs []*x509.Certificate
	for _, p := range trusted {
		certs = append(certs, p.Chain...)
	}
	want.bundle = slices.Compact(fingerprints(certs...))
	if f.JWKS != "" {
		want.trusted = ids(t, trusted...)
	}
	if got.signer != want.signer || !slices.Equal(got.bundle, want.bundle) || !slices.Equal(got.trusted, want.trusted) {
		t.Errorf("folder\n got %+v\nwant %+v", got, want)
	}
	if info, err := os.Stat(filepath.Join(f.Dir, f.Key)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: mode %v, error %v", info.Mode(), err)
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	for _, guide := range []bool{false, true} {
		name := map[bool]string{false: "generated folder", true: "one certificate file for both sides"}[guide]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
			old, next := newPair(t, c), newPair(t, c)
			f := newFolder(t, old, guide)
			// Each step with a rotation read anew, as after an interruption.
			if err := open(t, f, c).Trust(t.Context(), next, rotation.Options{Lifetime: 15 * time.Minute}); err != nil {
				t.Fatal(err)
			}
			check(t, f, old, old, next)
			if err := open(t, f, c).Switch(t.Context()); !errors.Is(err, rotation.ErrNotLive) {
				t.Errorf("switch before the registry's restart: %v, want ErrNotLive", err)
			}
			if err := open(t, f, c).TrustLive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := open(t, f, c).Switch(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, f, next, old, next)
			if err := open(t, f, c).Drop(t.Context()); !errors.Is(err, rotation.ErrNotLive) {
				t.Errorf("drop before the signer's restart: %v, want ErrNotLive", err)
			}
			if err := open(t, f, c).SignerLive(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.at = c.at.Add(15*time.Minute + rotation.Leeway - time.Second)
			var live *rotation.TokensLiveError
			if err := open(t, f, c).Drop(t.Context()); !errors.As(err, &live) || !live.Until.Equal(c.at.Add(time.Second)) {
				t.Errorf("drop a second too early: %v", err)
			}
			check(t, f, next, old, next)
			c.at = c.at.Add(time.Second)
			if err := open(t, f, c).Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, f, next, next)
			// Until the registry's restart is known, the rotation is not over.
			if got := open(t, f, c).Record().Stage; got != rotation.Dropped {
				t.Errorf("stage %q before the registry's restart, want %q", got, rotation.Dropped)
			}
			if err := open(t, f, c).Abort(t.Context()); !errors.Is(err, rotation.ErrStage) {
				t.Errorf("abort after the drop: %v, want ErrStage", err)
			}
			if err := open(t, f, c).DropLive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := open(t, f, c).DropLive(t.Context()); !errors.Is(err, rotation.ErrStage) {
				t.Errorf("a second end: %v, want ErrStage", err)
			}
			if got := open(t, f, c).Record().Stage; got != rotation.Idle {
				t.Errorf("stage %q after the end", got)
			}
			if left, err := filepath.Glob(filepath.Join(f.Dir, "state/rotation/*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
	old, next := newPair(t, c), newPair(t, c)
	f := newFolder(t, old, false)
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	step("trust", open(t, f, c).Trust(t.Context(), next, rotation.Options{Lifetime: time.Minute}))
	step("abort before the switch", open(t, f, c).Abort(t.Context()))
	check(t, f, old, old)

	step("trust", open(t, f, c).Trust(t.Context(), next, rotation.Options{Lifetime: time.Minute}))
	step("live", open(t, f, c).TrustLive(t.Context()))
	step("switch", open(t, f, c).Switch(t.Context()))
	step("live", open(t, f, c).SignerLive(t.Context()))
	step("abort after the switch", open(t, f, c).Abort(t.Context()))
	check(t, f, old, old, next)
	if err := open(t, f, c).Abort(t.Context()); !errors.Is(err, rotation.ErrStage) {
		t.Errorf("second abort: %v, want ErrStage", err)
	}
	// What goes now is the new key, and its tokens live too.
	step("live", open(t, f, c).SignerLive(t.Context()))
	var live *rotation.TokensLiveError
	if err := open(t, f, c).Drop(t.Context()); !errors.As(err, &live) {
		t.Errorf("drop: %v, want TokensLiveError", err)
	}
	c.at = live.Until
	step("drop", open(t, f, c).Drop(t.Context()))
	check(t, f, old, old)
	step("end", open(t, f, c).DropLive(t.Context()))
}

// What somebody else added to the trust stays through all stages.
func TestStagesKeepStrangers(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
	old, next, other := newPair(t, c), newPair(t, c), newPair(t, c)
	f := newFolder(t, old, false)
	jwks, err := keys.JWKS(old.Public(), other.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{f.JWKS: jwks, f.Bundle: keys.Bundle(old.Leaf(), other.Leaf())} {
		if err := os.WriteFile(filepath.Join(f.Dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range []func(*rotation.Rotation) error{
		func(r *rotation.Rotation) error { return r.Trust(t.Context(), next, rotation.Options{}) },
		func(r *rotation.Rotation) error { return r.TrustLive(t.Context()) },
		func(r *rotation.Rotation) error { return r.Switch(t.Context()) },
		func(r *rotation.Rotation) error { return r.SignerLive(t.Context()) },
		func(r *rotation.Rotation) error { c.at = c.at.Add(rotation.Leeway); return r.Drop(t.Context()) },
	} {
		if err := do(open(t, f, c)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, f, next, next, other)
}

func TestReplace(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
	ca, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := newLeaf(t, ca), newLeaf(t, ca), newLeaf(t, ca)
	f := newFolder(t, one, false)
	for _, step := range []struct{ signer, before *keys.Pair }{{two, one}, {three, two}} {
		if err := open(t, f, c).Replace(t.Context(), step.signer); err != nil {
			t.Fatal(err)
		}
		check(t, f, step.signer, step.signer, step.before)
	}
	stranger, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string]*keys.Pair{"another authority's": newLeaf(t, stranger), "a self-signed": newPair(t, c)} {
		if err := open(t, f, c).Replace(t.Context(), pair); !errors.Is(err, rotation.ErrUntrustedCA) {
			t.Errorf("%s pair: %v, want ErrUntrustedCA", what, err)
		}
	}
	check(t, f, three, three, two)
}

// The first rotation of a deployment without an authority brings one, with its key.
func TestTrustNewAuthority(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
	ca, err := keys.GenerateCA(keys.ECDSAP256, keys.Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	old, next := newPair(t, c), newLeaf(t, ca)
	f := newFolder(t, old, false)
	if err := open(t, f, c).Trust(t.Context(), next, rotation.Options{CA: ca.Pair}); err != nil {
		t.Fatal(err)
	}
	check(t, f, old, old, next)
	read, err := keys.LoadPair(filepath.Join(f.Dir, f.CAKey), filepath.Join(f.Dir, f.CACert), keys.LoadOptions{})
	if err != nil || !read.Leaf().Equal(ca.Pair.Leaf()) {
		t.Errorf("authority on disk: %v", err)
	}
}

func TestOpenRefusesForeignRecord(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
	f := newFolder(t, newPair(t, c), false)
	dir := filepath.Join(f.Dir, "state/rotation")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"version":2,"stage":"trusting"}`, `{"version":1,"stage":"elsewhere"}`} {
		if err := os.WriteFile(filepath.Join(dir, "record.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := rotation.Open(f, c.now); err == nil {
			t.Errorf("record %q was taken", text)
		}
	}
}
