package authserver

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// connTable counts the open connections. Where there are too many, of one address or in
// all, the oldest that has not yet sent a whole request, its body included, is closed for
// the newcomer, then the oldest idle one: somebody who opens connections and leaves them
// takes from himself first. Connections with a request being answered are never closed;
// when there are only such, the newcomer is.
type connTable struct {
	limits func() (total, perAddress int)
	exempt func(net.Conn) bool // from the limit per address
	counts *connCounts         // of all tables of a server; nil: not counted

	mu      sync.Mutex
	oldest  *trackedConn // list by age
	newest  *trackedConn
	total   int
	perAddr map[netip.Prefix]int
}

type trackedConn struct {
	net.Conn
	table      *connTable
	client     netip.Prefix
	counted    bool // by address
	state      http.ConnState
	reading    bool // the body of a request, which may never end
	gone       bool
	prev, next *trackedConn
}

func newConnTable(limits func() (int, int), exempt func(net.Conn) bool) *connTable {
	return &connTable{limits: limits, exempt: exempt, perAddr: map[netip.Prefix]int{}}
}

// add takes c in, or returns nil when it must be closed.
func (t *connTable) add(c net.Conn) *trackedConn {
	total, perAddress := t.limits()
	tc := &trackedConn{Conn: c, table: t, client: connClient(c), state: http.StateNew}
	tc.counted = !t.exempt(c)
	var evicted []*trackedConn
	defer func() {
		t.counts.noteEvicted(len(evicted))
		for _, e := range evicted {
			_ = e.Conn.Close()
		}
	}()
	t.mu.Lock()
	defer t.mu.Unlock()
	if tc.counted && t.perAddr[tc.client] >= perAddress {
		e := t.victim(func(o *trackedConn) bool { return o.counted && o.client == tc.client })
		if e == nil {
			t.counts.noteRefused()
			return nil
		}
		t.remove(e)
		evicted = append(evicted, e)
	}
	if t.total >= total {
		e := t.victim(func(*trackedConn) bool { return true })
		if e == nil {
			t.counts.noteRefused()
			return nil
		}
		t.remove(e)
		evicted = append(evicted, e)
	}
	tc.prev = t.newest
	if t.newest != nil {
		t.newest.next = tc
	} else {
		t.oldest = tc
	}
	t.newest = tc
	t.total++
	t.counts.noteOpen(1)
	if tc.counted {
		t.perAddr[tc.client]++
	}
	return tc
}

// victim finds a connection that may be closed.
func (t *connTable) victim(of func(*trackedConn) bool) *trackedConn {
	var idle *trackedConn
	for c := t.oldest; c != nil; c = c.next {
		switch {
		case !of(c):
		case c.state == http.StateNew || c.reading:
			return c
		case c.state == http.StateIdle && idle == nil:
			idle = c
		}
	}
	return idle
}

// remove takes c out. The caller holds t.mu.
func (t *connTable) remove(c *trackedConn) {
	if c.gone {
		return
	}
	c.gone = true
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		t.oldest = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		t.newest = c.prev
	}
	t.total--
	t.counts.noteOpen(-1)
	if c.counted {
		if t.perAddr[c.client]--; t.perAddr[c.client] == 0 {
			delete(t.perAddr, c.client)
		}
	}
}

// noteState is the HTTP server's ConnState hook.
func (t *connTable) noteState(c net.Conn, state http.ConnState) {
	tc := tracked(c)
	if tc == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tc.state = state
}

type connKey struct{}

// withConn makes the connection known to its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if tc := tracked(c); tc != nil {
		return context.WithValue(ctx, connKey{}, tc)
	}
	return ctx
}

// noteReading notes that the request's body is being read, until the returned function
// is called.
func noteReading(ctx context.Context) (done func()) {
	tc, ok := ctx.Value(connKey{}).(*trackedConn)
	if !ok {
		return func() {}
	}
	set := func(reading bool) {
		tc.table.mu.Lock()
		tc.reading = reading
		tc.table.mu.Unlock()
	}
	set(true)
	return func() { set(false) }
}

// tracked finds the table's connection below one that the HTTP server holds.
func tracked(c net.Conn) *trackedConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	tc, _ := c.(*trackedConn)
	return tc
}

// Close closes the connection and makes room for another.
func (c *trackedConn) Close() error {
	c.table.mu.Lock()
	c.table.remove(c)
	c.table.mu.Unlock()
	return c.Conn.Close()
}

// connClient is what counts as one address, as for failed logins: IPv6 by its /64.
func connClient(c net.Conn) netip.Prefix {
	addr := peerOf(c.RemoteAddr().String())
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// limitListener accepts what the table takes, and speaks TLS while the state says so.
type limitListener struct {
	net.Listener
	conns *connTable
	tls   func() *tls.Config
}

func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tc := l.conns.add(c)
		if tc == nil {
			_ = c.Close()
			continue
		}
		if cfg := l.tls(); cfg != nil {
			return tls.Server(tc, cfg), nil
		}
		return tc, nil
	}
}
