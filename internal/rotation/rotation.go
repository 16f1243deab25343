// Package rotation changes the key that tokens are signed with while registries and
// clients go on working.
//
// A registry reads what it trusts once, when it starts. So the key changes in stages,
// each of which leaves a deployment whose parts agree:
//
//	trust   the new key is trusted beside the old one; then the registry is restarted
//	switch  tokens are signed with the new key; tokens of the old one go on being valid
//	drop    once the last token of the old key is out, it is trusted no longer
//
// Where the registry trusts a certificate authority ([keys.CA]) and tokens carry their
// certificate (x5c, RFC 7515 section 4.1.6), a new key needs no stages: [Rotation.Replace]
// puts it in place, and no registry has to know.
//
// # Contract
//
// Every stage is one journaled change (package safefile): after a crash all files of it
// are old, or all are new, and the record in state/rotation says where it stands. What
// has to happen outside the files, a restart, is told with [Rotation.TrustLive] and
// [Rotation.SignerLive]; without that the next stage is refused. Certificates and keys
// that belong to neither pair are left where they are.
//
// # Example
//
//	r, err := rotation.Open(files)
//	err = r.Trust(ctx, newPair, rotation.Options{Now: time.Now, Lifetime: 15 * time.Minute})
//	// restart the registry
//	err = r.TrustLive(ctx)
//	err = r.Switch(ctx)
//	// restart docker_auth; the bundled server sees the new files
//	err = r.SignerLive(ctx)
//	err = r.Drop(ctx) // *TokensLiveError until the old key's tokens are out
//	// restart the registry
//	err = r.DropLive(ctx)
package rotation

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// Leeway is how long registries accept a token after its end: distribution allows 60
// seconds for clocks that differ. Ten more are for the token server to see its new key.
const Leeway = 70 * time.Second

// Where a rotation keeps its record and keys, relative to the deployment.
const (
	folder     = "state/rotation"
	recordPath = folder + "/record.json"
	newKeyPath = folder + "/new.key"
	newPemPath = folder + "/new.pem"
	oldKeyPath = folder + "/old.key"
	oldPemPath = folder + "/old.pem"
)

// Files are a deployment's signing pair and what its registry trusts, relative to Dir,
// with slashes. Bundle may be the same file as Cert, as in folders made by hand; JWKS,
// CAKey and CACert may be "".
type Files struct {
	Dir           string
	Key, Cert     string
	Bundle, JWKS  string
	CAKey, CACert string
}

// Stage is how far a rotation has come.
type Stage string

// The stages. The zero value: no rotation is going on.
const (
	Idle     Stage = ""
	Trusting Stage = "trusting" // both keys are trusted on disk; the old one signs
	Switched Stage = "switched" // the new key signs; both are trusted
	Dropped  Stage = "dropped"  // one key is in the files; a registry that runs may still trust both
)

// Record is what is known of a rotation that is going on.
type Record struct {
	Version  int       `json:"version"`
	Stage    Stage     `json:"stage"`
	Old      string    `json:"old_kid"` // libtrust ids
	New      string    `json:"new_kid"`
	Started  time.Time `json:"started"`
	Lifetime int64     `json:"token_lifetime"` // seconds, the longest of the old key's tokens
	// Since is when the files of the stage were written; Live when whoever reads them was
	// known to have done so, zero before that.
	Since time.Time `json:"since"`
	Live  time.Time `json:"live,omitzero"`
	// Aborted says that the key that goes is the one that should have come.
	Aborted bool `json:"aborted,omitempty"`
}

// OldTokensUntil is when no token of the old key is accepted any more; zero while it
// still signs.
func (r Record) OldTokensUntil() time.Time {
	if r.Stage != Switched || r.Live.IsZero() {
		return time.Time{}
	}
	return r.Live.Add(time.Duration(r.Lifetime)*time.Second + Leeway)
}

// TokensLiveError refuses to drop a key whose tokens are still valid.
type TokensLiveError struct{ Until time.Time }

// Error says until when.
func (e *TokensLiveError) Error() string {
	return fmt.Sprintf("tokens of the old key are valid until %s: dropping it now would break pulls and pushes that use them", e.Until.Format(time.TimeOnly))
}

// ErrNotLive refuses a stage whose predecessor has not reached the programs that read the
// files.
var ErrNotLive = errors.New("the stage before is written, but not known to be in use")

// ErrStage refuses a step that does not follow the present stage.
var ErrStage = errors.New("the rotation is at another stage")

// Options of [Rotation.Trust].
type Options struct {
	// Lifetime is the longest that a token of the old key may live.
	Lifetime time.Duration
	// CA, when not nil, is the authority that issued the new pair and does not exist on
	// disk yet; Files must then name CAKey and CACert.
	CA *keys.Pair
}

// Rotation is the state of one deployment's keys. It is for one goroutine.
type Rotation struct {
	files Files
	now   func() time.Time
	rec   Record
	// sum of the record as it was read, for the next change's expectation.
	sum string
}

// Open reads how far a rotation has come; without one its stage is [Idle]. now is the
// clock; nil: time.Now.
func Open(files Files, now func() time.Time) (*Rotation, error) {
	if now == nil {
		now = time.Now
	}
	r := &Rotation{files: files, now: now, sum: safefile.Absent}
	path := r.path(recordPath)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return nil, fmt.Errorf("key rotation: %w", err)
	}
	if err := json.Unmarshal(data, &r.rec); err != nil {
		return nil, fmt.Errorf("key rotation: %s: %w", path, err)
	}
	if r.rec.Version != 1 || !slices.Contains([]Stage{Trusting, Switched, Dropped}, r.rec.Stage) {
		return nil, fmt.Errorf("key rotation: %s: version %d, stage %q: written by another version of this program", path, r.rec.Version, r.rec.Stage)
	}
	r.sum = safefile.Sum(data)
	return r, nil
}

// Record returns what is known.
func (r *Rotation) Record() Record { return r.rec }

func (r *Rotation) path(rel string) string {
	return filepath.Join(r.files.Dir, filepath.FromSlash(rel))
}

// Trust writes what makes registries trust next beside the present key, from their next
// start on. The present key goes on signing.
func (r *Rotation) Trust(ctx context.Context, next *keys.Pair, o Options) error {
	if r.rec.Stage != Idle {
		return fmt.Errorf("trust a new key: %w (%s)", ErrStage, r.rec.Stage)
	}
	cur, err := r.current()
	if err != nil {
		return err
	}
	b := r.batch(cur)
	b.bundle(append(slices.Clone(cur.bundle), next.Chain...))
	b.jwks(append(slices.Clone(cur.trusted), next.Public()))
	b.add(newKeyPath, 0o600, []byte(next.KeyPEM().Reveal()))
	b.add(newPemPath, 0o600, next.CertPEM())
	if o.CA != nil {
		b.add(r.files.CACert, 0o644, o.CA.CertPEM())
		b.add(r.files.CAKey, 0o600, []byte(o.CA.KeyPEM().Reveal()))
	}
	rec := Record{Version: 1, Stage: Trusting, Started: r.stamp(), Since: r.stamp(), Lifetime: int64(o.Lifetime / time.Second)}
	if rec.Old, err = keys.LibtrustID(cur.pair.Public()); err == nil {
		rec.New, err = keys.LibtrustID(next.Public())
	}
	if err != nil {
		return err
	}
	return r.commit(ctx, b, &rec)
}

// TrustLive records that every registry has started since [Rotation.Trust].
func (r *Rotation) TrustLive(ctx context.Context) error { return r.live(ctx, Trusting) }

// SignerLive records that every token server has taken the new key since [Rotation.Switch].
func (r *Rotation) SignerLive(ctx context.Context) error { return r.live(ctx, Switched) }

func (r *Rotation) live(ctx context.Context, want Stage) error {
	if r.rec.Stage != want {
		return fmt.Errorf("%w (%s)", ErrStage, r.rec.Stage)
	}
	if !r.rec.Live.IsZero() {
		return nil
	}
	rec := r.rec
	rec.Live = r.stamp()
	return r.commit(ctx, &batch{}, &rec)
}

// Switch puts the new pair in the place of the present one, which is kept in the record's
// folder until [Rotation.Drop].
func (r *Rotation) Switch(ctx context.Context) error {
	if r.rec.Stage != Trusting {
		return fmt.Errorf("switch to the new key: %w (%s)", ErrStage, r.rec.Stage)
	}
	if r.rec.Live.IsZero() {
		return fmt.Errorf("switch to the new key: %w", ErrNotLive)
	}
	return r.exchange(ctx, newKeyPath, newPemPath, oldKeyPath, oldPemPath, false)
}

// exchange signs with the pair at inKey and inPem, and keeps the present one at outKey and outPem.
func (r *Rotation) exchange(ctx context.Context, inKey, inPem, outKey, outPem string, aborted bool) error {
	cur, err := r.current()
	if err != nil {
		return err
	}
	next, err := keys.LoadPair(r.path(inKey), r.path(inPem), keys.LoadOptions{})
	if err != nil {
		return err
	}
	b := r.batch(cur)
	b.add(outKey, 0o600, []byte(cur.pair.KeyPEM().Reveal()))
	b.add(outPem, 0o600, cur.pair.CertPEM())
	b.sign(next)
	b.remove(inKey, inPem)
	rec := r.rec
	rec.Stage, rec.Since, rec.Live = Switched, r.stamp(), time.Time{}
	if aborted {
		rec.Old, rec.New, rec.Aborted = rec.New, rec.Old, true
	}
	return r.commit(ctx, b, &rec)
}

// Abort gives the rotation up. Before the switch it takes the new key out of what is
// trusted, and the rotation is over. After it, the old key signs again, and what was the
// new one is dropped in its turn: the stage stays [Switched].
func (r *Rotation) Abort(ctx context.Context) error {
	switch r.rec.Stage {
	case Trusting:
		return r.forget(ctx, newKeyPath, newPemPath, nil)
	case Dropped:
		return fmt.Errorf("abort: %w (the old key is out of the files already)", ErrStage)
	case Switched:
		if r.rec.Aborted {
			return fmt.Errorf("abort: %w (aborted already)", ErrStage)
		}
		return r.exchange(ctx, oldKeyPath, oldPemPath, newKeyPath, newPemPath, true)
	}
	return fmt.Errorf("abort: %w (none is going on)", ErrStage)
}

// Drop takes the key that no longer signs out of what is trusted. While its tokens may be
// valid it fails with a [*TokensLiveError]. Registries go on trusting the key until they are
// started again; [Rotation.DropLive] ends the rotation then.
func (r *Rotation) Drop(ctx context.Context) error {
	if r.rec.Stage != Switched {
		return fmt.Errorf("drop the old key: %w (%s)", ErrStage, r.rec.Stage)
	}
	if r.rec.Live.IsZero() {
		return fmt.Errorf("drop the old key: %w", ErrNotLive)
	}
	if until := r.rec.OldTokensUntil(); r.now().Before(until) {
		return &TokensLiveError{Until: until}
	}
	rec := r.rec
	rec.Stage, rec.Since, rec.Live = Dropped, r.stamp(), time.Time{}
	if r.rec.Aborted {
		return r.forget(ctx, newKeyPath, newPemPath, &rec)
	}
	return r.forget(ctx, oldKeyPath, oldPemPath, &rec)
}

// DropLive ends the rotation: every registry was restarted since [Rotation.Drop], or nobody here
// can tell.
func (r *Rotation) DropLive(ctx context.Context) error {
	if r.rec.Stage != Dropped {
		return fmt.Errorf("end the rotation: %w (%s)", ErrStage, r.rec.Stage)
	}
	return r.commit(ctx, &batch{}, nil)
}

// forget removes the pair from what is trusted and notes the stage that this makes; nil ends the
// rotation.
func (r *Rotation) forget(ctx context.Context, keyPath, pemPath string, next *Record) error {
	cur, err := r.current()
	if err != nil {
		return err
	}
	gone, err := keys.LoadPair(r.path(keyPath), r.path(pemPath), keys.LoadOptions{})
	if err != nil {
		return err
	}
	b := r.batch(cur)
	b.bundle(slices.DeleteFunc(slices.Clone(cur.bundle), func(c *x509.Certificate) bool {
		return slices.ContainsFunc(gone.Chain, c.Equal) && !slices.ContainsFunc(cur.pair.Chain, c.Equal)
	}))
	b.jwks(slices.DeleteFunc(slices.Clone(cur.trusted), func(k crypto.PublicKey) bool { return same(k, gone.Public()) }))
	b.remove(keyPath, pemPath)
	return r.commit(ctx, b, next)
}

// ErrUntrustedCA refuses to replace a key without stages, since registries would not
// trust the new one.
var ErrUntrustedCA = errors.New("the registry does not trust the authority that issued the new key")

// Replace signs with a new pair whose chain ends with a certificate that is in the bundle
// already: tokens that carry the chain are accepted at once. The key set on disk lists the
// new key beside the old one, for registries that start later.
func (r *Rotation) Replace(ctx context.Context, next *keys.Pair) error {
	if r.rec.Stage != Idle {
		return fmt.Errorf("replace the key: %w (%s)", ErrStage, r.rec.Stage)
	}
	cur, err := r.current()
	if err != nil {
		return err
	}
	root := next.Chain[len(next.Chain)-1]
	if len(next.Chain) < 2 || !slices.ContainsFunc(cur.bundle, root.Equal) {
		return ErrUntrustedCA
	}
	b := r.batch(cur)
	b.sign(next)
	// The leaves of before go from the files, but for the one that still has tokens out.
	leaf := cur.pair.Leaf()
	keep := slices.DeleteFunc(slices.Clone(cur.bundle), func(c *x509.Certificate) bool {
		return !c.Equal(leaf) && !c.IsCA && c.CheckSignatureFrom(root) == nil
	})
	b.bundle(append(keep, next.Leaf()))
	b.jwks([]crypto.PublicKey{next.Public(), cur.pair.Public()})
	return r.commit(ctx, b, nil)
}

// stamp is the time in the record, in whole seconds, UTC.
func (r *Rotation) stamp() time.Time { return r.now().UTC().Truncate(time.Second) }

// present is what the files hold.
type present struct {
	pair    *keys.Pair
	bundle  []*x509.Certificate
	trusted []crypto.PublicKey // of the key set, the signing key first
	sums    map[string]string
}

func (r *Rotation) current() (present, error) {
	var p present
	var err error
	if p.pair, err = keys.LoadPair(r.path(r.files.Key), r.path(r.files.Cert), keys.LoadOptions{}); err != nil {
		return p, err
	}
	if p.bundle, err = keys.LoadCertificates(r.path(r.files.Bundle)); err != nil {
		return p, err
	}
	if r.files.Bundle == r.files.Cert {
		p.pair.Chain = chainOf(p.pair.Chain)
	}
	p.sums = map[string]string{}
	for _, name := range []string{r.files.Key, r.files.Cert, r.files.Bundle, r.files.JWKS} {
		if name == "" {
			continue
		}
		data, err := os.ReadFile(r.path(name))
		if err != nil {
			return p, err
		}
		p.sums[name] = safefile.Sum(data)
		if name == r.files.JWKS {
			if p.trusted, err = listed(data, p.pair.Public()); err != nil {
				return p, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return p, nil
}

// chainOf returns the leaf and those of its issuers that follow it: in a file that is
// certificate and bundle at once, others may come after.
func chainOf(certs []*x509.Certificate) []*x509.Certificate {
	n := 1
	for n < len(certs) && certs[n].IsCA && certs[n-1].CheckSignatureFrom(certs[n]) == nil && !certs[n-1].Equal(certs[n]) {
		n++
	}
	return certs[:n]
}

// listed returns the keys of a key set, each once: first where it is there, the others in
// the order of their ids.
func listed(data []byte, first crypto.PublicKey) ([]crypto.PublicKey, error) {
	set, err := keys.ParseJWKS(data)
	if err != nil {
		return nil, err
	}
	var all []crypto.PublicKey
	for _, k := range set {
		if !slices.ContainsFunc(all, func(other crypto.PublicKey) bool { return same(k, other) }) {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b crypto.PublicKey) int {
		if same(a, first) || same(b, first) {
			if same(a, first) {
				return -1
			}
			return 1
		}
		x, _ := keys.LibtrustID(a) // ids of keys that a set can hold always exist
		y, _ := keys.LibtrustID(b)
		return cmp.Compare(x, y)
	})
	return all, nil
}

func same(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// batch collects the files of one stage.
type batch struct {
	files   Files
	cur     present
	changes []safefile.Change
	signer  *keys.Pair // when it changes
	certs   []*x509.Certificate
	err     error
}

func (r *Rotation) batch(cur present) *batch {
	return &batch{files: r.files, cur: cur, certs: cur.bundle}
}

func (b *batch) add(path string, mode fs.FileMode, data []byte) {
	b.changes = append(b.changes, safefile.Change{Path: path, Mode: mode, Data: data, Expect: b.cur.sums[path]})
}

func (b *batch) remove(paths ...string) {
	for _, p := range paths {
		b.changes = append(b.changes, safefile.Change{Path: p, Remove: true})
	}
}

func (b *batch) sign(next *keys.Pair) {
	b.signer = next
	b.add(b.files.Key, 0o600, []byte(next.KeyPEM().Reveal()))
}

func (b *batch) bundle(certs []*x509.Certificate) { b.certs = certs }

func (b *batch) jwks(pubs []crypto.PublicKey) {
	if b.files.JWKS == "" {
		return
	}
	data, err := keys.JWKS(pubs...)
	if err != nil {
		b.err = err
		return
	}
	b.add(b.files.JWKS, 0o644, data)
}

// finish adds the certificate files. Where they are one, the signing certificate comes
// first, since token servers take the first one for theirs.
func (b *batch) finish() {
	if b.files.Cert == "" {
		return // a record alone
	}
	signer := b.cur.pair
	if b.signer != nil {
		signer = b.signer
	}
	if b.files.Cert == b.files.Bundle {
		b.add(b.files.Cert, 0o644, keys.Bundle(append(slices.Clone(signer.Chain), b.certs...)...))
		return
	}
	b.add(b.files.Bundle, 0o644, keys.Bundle(b.certs...))
	if b.signer != nil {
		b.add(b.files.Cert, 0o644, signer.CertPEM())
	}
}

// commit writes the batch and the record, nil for its end, as one change.
func (r *Rotation) commit(ctx context.Context, b *batch, rec *Record) error {
	b.finish()
	if b.err != nil {
		return b.err
	}
	sum := safefile.Absent
	switch {
	case rec != nil:
		data, err := json.MarshalIndent(rec, "", "  ")
		if err != nil {
			return err
		}
		data = append(data, '\n')
		sum = safefile.Sum(data)
		b.changes = append(b.changes, safefile.Change{Path: recordPath, Mode: 0o600, Data: data, Expect: r.sum})
	case r.rec.Stage != Idle:
		b.changes = append(b.changes, safefile.Change{Path: recordPath, Remove: true, Expect: r.sum})
	}
	j, err := safefile.Begin(ctx, r.files.Dir, b.changes, safefile.JournalOptions{
		Dirs: map[string]fs.FileMode{"state": 0o700, folder: 0o700},
		Lock: safefile.LockOptions{Command: "regctl-setup keys rotate", Now: r.now},
	})
	if err != nil {
		return err
	}
	if err := j.Commit(ctx); err != nil {
		return err
	}
	r.rec, r.sum = Record{}, sum
	if rec != nil {
		r.rec = *rec
	}
	return nil
}

// Trusts reports whether the certificate is among those of a bundle (PEM).
func Trusts(bundle []byte, cert *x509.Certificate) bool {
	certs, err := keys.ParseBundle(bundle)
	return err == nil && slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, cert.Raw) })
}
