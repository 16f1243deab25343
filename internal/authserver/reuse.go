package authserver

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/token"
)

// maxReused bounds the tokens that are kept for being handed out again, in bytes and about.
const maxReused = 16 << 20

// tokenCache keeps tokens that may be handed out again: to the same account, at the same
// address, for the same service, with the same access and lifetime. It belongs to one
// [State], so that whatever a reload changes (rules, users, keys) empties it as a whole.
//
// It has two generations: what is asked for moves to the young one, and when that is half of
// the bound the old one is dropped. A nil cache keeps nothing. It is safe for concurrent use.
type tokenCache struct {
	mu         sync.Mutex
	young, old map[string]token.Token
	bytes      int // of young
	hits       uint64
}

func newTokenCache() *tokenCache { return &tokenCache{young: map[string]token.Token{}} }

// reusable reports whether so much of the token's life is left, more than three quarters,
// that it is as good as a new one. One from the future was made before the clock was set.
func reusable(t token.Token, now time.Time) bool {
	age := now.Sub(t.IssuedAt)
	return age >= 0 && 4*age < t.Expires.Sub(t.IssuedAt)
}

// get returns a token that may be handed out again.
func (c *tokenCache) get(key []byte, now time.Time) (token.Token, bool) {
	if c == nil {
		return token.Token{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.young[string(key)]
	if !ok {
		if t, ok = c.old[string(key)]; !ok {
			return token.Token{}, false
		}
		delete(c.old, string(key))
		if reusable(t, now) {
			c.add(string(key), t)
		}
	}
	if !reusable(t, now) {
		return token.Token{}, false
	}
	c.hits++
	return t, true
}

// put keeps a token.
func (c *tokenCache) put(key []byte, t token.Token) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(string(key), t)
}

// entryOverhead is about what a map's entry takes beside its texts, in bytes.
const entryOverhead = 200

func (c *tokenCache) add(key string, t token.Token) {
	size := len(key) + len(t.Raw) + entryOverhead
	if was, ok := c.young[key]; ok {
		size = len(t.Raw) - len(was.Raw)
	}
	if c.bytes+size > maxReused/2 && len(c.young) > 0 {
		c.young, c.old, c.bytes = map[string]token.Token{}, c.young, 0
		size = len(key) + len(t.Raw) + entryOverhead
	}
	c.young[key] = t
	c.bytes += size
}

// reused is how often a token was handed out again.
func (c *tokenCache) reused() uint64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits
}

// tokenKey names all that a token says but its times and its id, and for whom it is: each
// field with its length before it, so that no two requests have the same key. chain tells
// whether the token carries the certificates.
func tokenKey(buf []byte, r *token.Request, addr netip.Addr, chain bool) []byte {
	field := func(s string) {
		buf = strconv.AppendInt(buf, int64(len(s)), 10)
		buf = append(buf, ':')
		buf = append(buf, s...)
	}
	field(r.Subject)
	field(r.Audience)
	buf = strconv.AppendInt(buf, int64(r.Lifetime), 10)
	buf = strconv.AppendBool(append(buf, ' '), chain)
	// One client: IPv6 by its /64, as everywhere.
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	buf = addr.AppendTo(append(buf, ' '))
	for i := range r.Access {
		a := &r.Access[i]
		buf = append(buf, ' ')
		field(a.Type)
		field(a.Name)
		buf = strconv.AppendInt(buf, int64(len(a.Actions)), 10)
		for _, action := range a.Actions {
			field(action)
		}
	}
	return buf
}

// issue returns a token that says what r asks for: one that was made before, where the state
// allows it and enough of its life is left, else a new one.
func (s *Server) issue(st *State, r token.Request, addr netip.Addr) (t token.Token, reused bool, err error) {
	if st.reuse == nil {
		t, err = st.Issuer.Issue(r)
		return t, false, err
	}
	now := s.now()
	chain := false
	if c, ok := st.Issuer.(interface{ CarriesChain(time.Time) bool }); ok {
		chain = c.CarriesChain(now)
	}
	var buf [512]byte
	key := tokenKey(buf[:0], &r, addr, chain)
	if t, ok := st.reuse.get(key, now); ok {
		return t, true, nil
	}
	if t, err = st.Issuer.Issue(r); err == nil {
		st.reuse.put(key, t)
	}
	return t, false, err
}
