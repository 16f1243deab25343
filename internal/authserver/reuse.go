package authserver

import (
	"net/netip"
	"strconv"
	"strings"
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
// A header that carries certificates is most of its token, and the same in all of them: it is
// kept once.
//
// It has two generations: what is asked for moves to the young one, and when that is half of
// the bound the old one is dropped. A nil cache keeps nothing. It is safe for concurrent use.
type tokenCache struct {
	mu         sync.Mutex
	young, old map[string]signed
	bytes      int    // of young
	header     string // of the token that came last
	hits       uint64
}

func newTokenCache() *tokenCache { return &tokenCache{young: map[string]signed{}} }

// signed is a token in two pieces.
type signed struct {
	header, rest    string // rest begins with the first dot
	id              string
	issued, expires int64 // Unix seconds
}

func inPieces(t token.Token) signed {
	at := max(strings.IndexByte(t.Raw, '.'), 0)
	return signed{header: t.Raw[:at], rest: t.Raw[at:], id: t.ID, issued: t.IssuedAt.Unix(), expires: t.Expires.Unix()}
}

// reusable reports whether so much of the token's life is left, more than three quarters,
// that it is as good as a new one. One from the future was made before the clock was set.
func (t signed) reusable(now time.Time) bool {
	issued := time.Unix(t.issued, 0)
	age := now.Sub(issued)
	return age >= 0 && 4*age < time.Unix(t.expires, 0).Sub(issued)
}

// get returns a token that may be handed out again.
func (c *tokenCache) get(key []byte, now time.Time) (signed, bool) {
	if c == nil {
		return signed{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.young[string(key)]
	if !ok {
		if t, ok = c.old[string(key)]; !ok {
			return signed{}, false
		}
		delete(c.old, string(key))
		if t.reusable(now) {
			c.add(string(key), t)
		}
	}
	if !t.reusable(now) {
		return signed{}, false
	}
	c.hits++
	return t, true
}

// put keeps a token.
func (c *tokenCache) put(key []byte, t signed) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.header != c.header {
		c.header = strings.Clone(t.header)
	}
	// A part of a text would keep all of it.
	t.header, t.rest = c.header, strings.Clone(t.rest)
	c.add(string(key), t)
}

// entryOverhead is about what a map's entry takes beside its texts, in bytes.
const entryOverhead = 200

func (c *tokenCache) add(key string, t signed) {
	size := len(key) + len(t.rest) + entryOverhead
	if was, ok := c.young[key]; ok {
		size = len(t.rest) - len(was.rest)
	}
	if c.bytes+size > maxReused/2 && len(c.young) > 0 {
		c.young, c.old, c.bytes = map[string]signed{}, c.young, 0
		size = len(key) + len(t.rest) + entryOverhead
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
func (s *Server) issue(st *State, r token.Request, addr netip.Addr) (t signed, reused bool, err error) {
	if st.reuse == nil {
		whole, err := st.Issuer.Issue(r)
		return inPieces(whole), false, err
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
	whole, err := st.Issuer.Issue(r)
	if err != nil {
		return signed{}, false, err
	}
	t = inPieces(whole)
	st.reuse.put(key, t)
	return t, false, nil
}
