package authserver

import (
	"sync/atomic"
	"time"
)

// Observed is what [Stats] has for those who watch the server from outside.
type Observed struct {
	// Decisions are the token requests by result, all results in a fixed order.
	Decisions []DecisionStats
	// Remembered is how many logins needed no password check, since the password was
	// checked a short while ago or the account needs none.
	Remembered uint64
	// TokensKept are the tokens that may be handed out again.
	TokensKept int
	// Banned is what has failed too often lately: accounts (each at one address) and addresses.
	BannedAccounts, BannedAddresses int
	Connections                     ConnectionStats
	// Started is when the server was made, Loaded when the state in force was.
	Started, Loaded time.Time
	// Degraded says why /healthz says so.
	Degraded []Degradation
	// Log is how the log's destination is doing; HasLog tells whether that is known.
	Log    LogState
	HasLog bool
}

// DecisionStats are the token requests of one result.
type DecisionStats struct {
	Result Result
	Count  uint64
	// Sum is how long they took together.
	Sum time.Duration
	// Buckets are how many took at most as long as the bound of the same place in
	// [LatencyBounds]; what took longer than all bounds is in Count only.
	Buckets []uint64
}

// ConnectionStats are the connections of the server's own listeners.
type ConnectionStats struct {
	Open    int64  // now
	Limit   int    // how many may be open
	Evicted uint64 // idle or slow ones that were closed for a newcomer
	Refused uint64 // newcomers that were closed at once
}

// Certificate is one that is in use.
type Certificate struct {
	Name    string // what it is for: "signing" or "server"
	Expires time.Time
}

// latencyBounds are the upper bounds of the latencies' buckets: a token that is handed out
// again takes a tenth of a millisecond, a new one a few, a password check a tenth of a second
// and more.
const numBounds = 16

func latencyBounds() [numBounds]time.Duration {
	const us, ms = time.Microsecond, time.Millisecond
	return [...]time.Duration{
		50 * us, 100 * us, 250 * us, 500 * us, 1 * ms, 2500 * us, 5 * ms, 10 * ms, 25 * ms, 50 * ms,
		100 * ms, 250 * ms, 500 * ms, 1000 * ms, 2500 * ms, 10_000 * ms,
	}
}

// LatencyBounds are the upper bounds of [DecisionStats.Buckets], ascending.
func LatencyBounds() []time.Duration {
	b := latencyBounds()
	return b[:]
}

// results lists all results; its order is that of timings.
func results() [numResults]Result {
	return [...]Result{
		ResultGranted, ResultPartial, ResultDenied, ResultLogin, ResultUnauthorized,
		ResultMalformed, ResultLimited, ResultBusy, ResultError, ResultGone,
	}
}

const numResults = 10

// timings count token requests by result and by how long they took. Noting one costs two
// atomic additions.
type timings [numResults]struct {
	sum     atomic.Int64 // ns
	buckets [numBounds + 1]atomic.Uint64
}

func (t *timings) note(r Result, took time.Duration) {
	at := -1
	for i, known := range results() {
		if known == r {
			at = i
			break
		}
	}
	if at < 0 {
		return // a panic before any result; the log has it
	}
	bucket := numBounds
	for i, bound := range latencyBounds() {
		if took <= bound {
			bucket = i
			break
		}
	}
	t[at].sum.Add(int64(max(took, 0)))
	t[at].buckets[bucket].Add(1)
}

func (t *timings) stats() []DecisionStats {
	out := make([]DecisionStats, 0, numResults)
	for i, r := range results() {
		d := DecisionStats{Result: r, Sum: time.Duration(t[i].sum.Load()), Buckets: make([]uint64, numBounds)}
		for b := range t[i].buckets {
			d.Count += t[i].buckets[b].Load()
			if b < numBounds {
				d.Buckets[b] = d.Count
			}
		}
		out = append(out, d)
	}
	return out
}

// connCounts count the connections of all tables of a server. A nil one counts nothing.
type connCounts struct {
	open             atomic.Int64
	evicted, refused atomic.Uint64
}

func (c *connCounts) noteOpen(n int64) {
	if c != nil {
		c.open.Add(n)
	}
}

func (c *connCounts) noteEvicted(n int) {
	if c != nil && n > 0 {
		c.evicted.Add(uint64(n))
	}
}

func (c *connCounts) noteRefused() {
	if c != nil {
		c.refused.Add(1)
	}
}

// kept is how many tokens a cache holds.
func (c *tokenCache) kept() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}

func (s *Server) observed() Observed {
	st := s.State()
	s.mu.Lock()
	loaded := s.loadedAt
	s.mu.Unlock()
	o := Observed{
		Decisions: s.timings.stats(), Remembered: s.counts.recalled.Load(), TokensKept: st.reuse.kept(),
		Connections: ConnectionStats{
			Open: s.conns.open.Load(), Limit: min(st.Listen.withDefaults().Connections, maxConnections()),
			Evicted: s.conns.evicted.Load(), Refused: s.conns.refused.Load(),
		},
		Started: s.started, Loaded: loaded, Degraded: s.degraded(st), HasLog: s.logState != nil,
	}
	o.BannedAccounts, o.BannedAddresses = s.guard.Banned()
	if o.HasLog {
		o.Log = s.logState()
	}
	return o
}
