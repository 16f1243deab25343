package authserver

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/regctl-setup/regctl-setup/internal/token"
)

func TestTokenCacheIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := newTokenCache()
	// A header of any size is kept once.
	tok := inPieces(token.Token{Raw: strings.Repeat("h", 5000) + "." + strings.Repeat("x", 1999), IssuedAt: now, Expires: now.Add(time.Hour)})
	c.put([]byte("often"), tok)
	for i := range 50_000 {
		c.put(fmt.Appendf(nil, "key %d", i), tok)
		if _, ok := c.get([]byte("often"), now); !ok {
			t.Fatalf("what is asked for all the time is gone after %d others", i)
		}
	}
	if size := (len(c.young) + len(c.old)) * len(tok.rest); size > maxReused || size < maxReused/4 {
		t.Errorf("about %d bytes are kept, want at most %d and a good part of it", size, maxReused)
	}
	if _, ok := c.get([]byte("key 0"), now); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := c.get([]byte("often"), now.Add(-time.Second)); ok {
		t.Error("a token from the future was handed out")
	}
	for key, kept := range c.young {
		if unsafe.StringData(kept.header) != unsafe.StringData(c.header) {
			t.Fatalf("%q has a header of its own", key)
		}
	}
	if got, ok := c.get([]byte("often"), now); !ok || got != tok {
		t.Error("not the token that was put in")
	}
	// The same key again takes no more room.
	was := c.bytes
	c.put([]byte("key 49999"), tok)
	if c.bytes != was {
		t.Errorf("%d bytes after the same key again, were %d", c.bytes, was)
	}
}
