package authn

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

// User is one user of the config file.
type User struct {
	// Name is the account; "" is the anonymous one.
	Name string
	// Hash is the bcrypt hash of the password. A "!" before it disables the user.
	Hash secret.Text
	// Passwordless users are let in with any password; their Hash is not looked at.
	Passwordless bool
	// Disabled users are refused whatever their password.
	Disabled bool
	// Labels are what the access rules see.
	Labels map[string][]string
	// Expires is when the user stops being let in; the zero time never comes.
	Expires time.Time
}

// DefaultRemembered is how many good credentials a [Static] remembers at most.
const DefaultRemembered = 1 << 16

// StaticOptions are what a [Static] needs beside the users. The zero value remembers
// nothing.
type StaticOptions struct {
	// Remember is how long a verified password is remembered; zero or less: not at all.
	Remember time.Duration
	// Remembered is how many are remembered at most; zero: [DefaultRemembered].
	Remembered int
	// CostKey decides, together with its name, with which cost an unknown user is
	// refused. It should be secret and stay the same over restarts: names whose cost
	// changes are unknown ones. Empty: a random key.
	CostKey []byte
	// Verify compares a hash with a password; nil: [users.Verify].
	Verify func(hash, password secret.Text) bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Rand is the source of keys; nil: crypto/rand.
	Rand io.Reader
}

// Static authenticates the users of a config file by their bcrypt hashes.
//
// An unknown name costs what a wrong password costs: it is compared with a hash that
// nothing matches, of a cost that its keyed hash picks from those really in use, each as
// often as users have it. Of a file of mixed costs an outsider can so tell that there
// are mixed costs, but not who is in it.
//
// Verified passwords are remembered as an HMAC-SHA256, under a random key, over the
// account, the password and the stored hash, each with its length before it. A new
// Static remembers nothing, so replacing it on reload forgets all of them at once.
//
// It is safe for concurrent use.
type Static struct {
	entries map[string]entry
	costs   []costShare // ascending; what unknown users are compared with
	costKey []byte
	verify  func(hash, password secret.Text) bool
	now     func() time.Time
	memory  memory
}

type entry struct {
	id           Identity
	hash         secret.Text // without the "!"
	passwordless bool
	disabled     bool
	expires      time.Time
}

// costShare is a cost and the share of users, of all and below, that have at most it.
type costShare struct {
	cost  int
	upTo  uint64 // users with this cost or a lower one
	dummy secret.Text
}

// NewStatic returns an authenticator for the users. It fails on a name that occurs
// twice and on a hash that is no bcrypt hash, without repeating it.
func NewStatic(list []User, o StaticOptions) (*Static, error) {
	if o.Verify == nil {
		o.Verify = users.Verify
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Remembered <= 0 {
		o.Remembered = DefaultRemembered
	}
	s := &Static{
		entries: make(map[string]entry, len(list)), costKey: o.CostKey, verify: o.Verify, now: o.Now,
		memory: memory{ttl: o.Remember, most: o.Remembered, seen: map[digest]time.Time{}},
	}
	if _, err := io.ReadFull(o.Rand, s.memory.keyed.key[:]); err != nil {
		return nil, fmt.Errorf("key of the password memory: %w", err)
	}
	if len(s.costKey) == 0 {
		s.costKey = make([]byte, 32)
		if _, err := io.ReadFull(o.Rand, s.costKey); err != nil {
			return nil, fmt.Errorf("key of the costs: %w", err)
		}
	}
	inUse := map[int]uint64{}
	for _, u := range list {
		if _, dup := s.entries[u.Name]; dup {
			return nil, fmt.Errorf("user %q occurs twice", u.Name)
		}
		e := entry{
			id:   Identity{Account: u.Name, Labels: u.Labels},
			hash: u.Hash, passwordless: u.Passwordless, disabled: u.Disabled, expires: u.Expires,
		}
		if bare, off := strings.CutPrefix(u.Hash.Reveal(), "!"); off {
			e.hash, e.disabled = secret.New(bare), true
		}
		if !u.Passwordless {
			cost, err := users.Cost(e.hash)
			if err != nil {
				return nil, fmt.Errorf("user %q: %w", u.Name, err)
			}
			inUse[cost]++
		}
		s.entries[u.Name] = e
	}
	if len(inUse) == 0 {
		inUse[users.DefaultCost] = 1
	}
	var sum uint64
	for _, cost := range slices.Sorted(maps.Keys(inUse)) {
		sum += inUse[cost]
		s.costs = append(s.costs, costShare{cost: cost, upTo: sum, dummy: dummyHash(cost)})
	}
	return s, nil
}

// Authenticate compares the password with the user's hash. Every refusal takes one
// comparison, whatever its reason.
func (s *Static) Authenticate(ctx context.Context, account string, password secret.Text) (Identity, error) {
	if err := ctx.Err(); err != nil {
		return Identity{}, err
	}
	e, known := s.entries[account]
	if !known {
		e.hash = s.dummyFor(account)
	}
	if known && e.passwordless {
		switch {
		case e.disabled:
			return Identity{}, ErrDisabled
		case s.expired(e):
			return Identity{}, ErrExpired
		}
		return e.id, nil
	}
	match := s.verify(e.hash, password)
	switch {
	case !known:
		return Identity{}, ErrNoSuchUser
	case e.disabled:
		return Identity{}, ErrDisabled
	case s.expired(e):
		return Identity{}, ErrExpired
	case !match:
		return Identity{}, ErrWrongPassword
	}
	s.memory.put(account, password, e.hash, s.now())
	return e.id, nil
}

// Recall returns the identity of a user without password, and of one whose password was
// verified within the time that such are remembered.
func (s *Static) Recall(account string, password secret.Text) (Identity, bool) {
	e, known := s.entries[account]
	if !known {
		// The same work as for a known user, so that the time tells nothing.
		e.hash = s.dummyFor(account)
	}
	seen := s.memory.has(account, password, e.hash, s.now())
	if !known || e.disabled || s.expired(e) {
		return Identity{}, false
	}
	if e.passwordless || seen {
		return e.id, true
	}
	return Identity{}, false
}

// Standing returns what Authenticate would for the right password, and the hash that it
// would be compared with, without the "!" of a disabled user. Users without a password have
// nothing to be right and are [ErrNoSuchUser]. It is for credentials of another kind that
// shall die with the password.
func (s *Static) Standing(account string) (Identity, secret.Text, error) {
	e, known := s.entries[account]
	switch {
	case !known || e.passwordless:
		return Identity{}, secret.Text{}, ErrNoSuchUser
	case e.disabled:
		return Identity{}, secret.Text{}, ErrDisabled
	case s.expired(e):
		return Identity{}, secret.Text{}, ErrExpired
	}
	return e.id, e.hash, nil
}

// Len is the number of users.
func (s *Static) Len() int { return len(s.entries) }

func (s *Static) expired(e entry) bool {
	return !e.expires.IsZero() && !s.now().Before(e.expires)
}

// dummyFor picks a hash for an unknown account.
func (s *Static) dummyFor(account string) secret.Text {
	if len(s.costs) == 1 {
		return s.costs[0].dummy
	}
	mac := hmac.New(sha256.New, s.costKey)
	mac.Write([]byte("cost of an unknown user\x00"))
	mac.Write([]byte(account))
	// A place on the line of all users, scaled rather than taken modulo: one user more
	// moves few of the unknown names to another cost.
	var sum [sha256.Size]byte
	place := binary.BigEndian.Uint32(mac.Sum(sum[:0]))
	at := uint64(place) * s.costs[len(s.costs)-1].upTo >> 32
	for _, c := range s.costs {
		if at < c.upTo {
			return c.dummy
		}
	}
	return s.costs[len(s.costs)-1].dummy
}

// dummyHash is a well-formed hash that no known password has: its digest is made up.
func dummyHash(cost int) secret.Text {
	return secret.New(fmt.Sprintf("$2y$%02d$%s%s", cost, "eImiTXuWVxfM37uY4JANjO", strings.Repeat(".", 31)))
}

type digest [sha256.Size]byte

// memory holds what was verified lately.
type memory struct {
	keyed keyedHash
	ttl   time.Duration
	most  int

	mu   sync.Mutex
	seen map[digest]time.Time // when it is to be forgotten
}

func (m *memory) digest(account string, password, hash secret.Text) digest {
	return m.keyed.digest(account, password.Reveal(), hash.Reveal())
}

// keyedHash is HMAC-SHA256 under one key, for many goroutines. The zero value is to be given
// its key before it is used.
type keyedHash struct {
	key  [32]byte
	idle sync.Pool // of *mac
}

// mac is an HMAC with room for what goes in and out of it: slices that an interface's method
// is given would be allocated each time.
type mac struct {
	hash.Hash
	in  []byte
	sum digest
}

// digest hashes the fields with their lengths, so that no two lists of fields give the same
// input.
func (k *keyedHash) digest(fields ...string) digest {
	m, ok := k.idle.Get().(*mac)
	if !ok {
		m = &mac{Hash: hmac.New(sha256.New, k.key[:])}
	}
	for _, f := range fields {
		m.in = binary.BigEndian.AppendUint64(m.in, uint64(len(f)))
		m.in = append(m.in, f...)
	}
	m.Write(m.in)
	m.Sum(m.sum[:0])
	d := m.sum
	clear(m.in) // a password
	m.in = m.in[:0]
	m.Reset()
	k.idle.Put(m)
	return d
}

func (m *memory) has(account string, password, hash secret.Text, now time.Time) bool {
	if m.ttl <= 0 {
		return false
	}
	d := m.digest(account, password, hash)
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.seen[d]
	if ok && !now.Before(until) {
		delete(m.seen, d)
		return false
	}
	return ok
}

func (m *memory) put(account string, password, hash secret.Text, now time.Time) {
	if m.ttl <= 0 {
		return
	}
	d := m.digest(account, password, hash)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.seen[d]; !ok && len(m.seen) >= m.most {
		makeRoom(m.seen, now)
	}
	m.seen[d] = now.Add(m.ttl)
}

// makeRoom removes what has run out, or else some entry.
func makeRoom(seen map[digest]time.Time, now time.Time) {
	before := len(seen)
	var some digest
	for d, until := range seen {
		some = d
		if !now.Before(until) {
			delete(seen, d)
		}
	}
	if len(seen) == before && before > 0 {
		delete(seen, some)
	}
}
