package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Defaults of [GuardOptions].
const (
	DefaultFailuresPerPair    = 10
	DefaultFailuresPerAddress = 20
	DefaultWindow             = time.Minute
	DefaultWait               = 2 * time.Second
	DefaultPatience           = 24 * time.Second
	DefaultQueue              = 2048
	DefaultQueuePerAddress    = 512
	DefaultTracked            = 1 << 16
)

// familiarFor is how long credentials that were good once are exempt from the limits.
// They still have to be good now. A day covers a job that runs every night.
const familiarFor = 25 * time.Hour

// GuardOptions are the limits of a [Guard]. A zero field means the default.
type GuardOptions struct {
	// Concurrent is how many checks run at once: one less than the processors, so that
	// something is left for answering those who need no check, and at least one.
	Concurrent int
	// FailuresPerPair is how many failed checks within Window one account has from one
	// address before it is refused there; FailuresPerAddress counts all accounts. An
	// account is never refused because of what happens elsewhere: a stranger could lock
	// its owner out.
	FailuresPerPair, FailuresPerAddress int
	// Window is the time over which failures count.
	Window time.Duration
	// Wait is how long a check may wait for its turn when its account or its address
	// has failed lately; Patience is how long any other may. A few hundred jobs that
	// start in the same second wait longer than two seconds on a small machine, and
	// shall be served all the same.
	Wait, Patience time.Duration
	// Queue is how many may wait in all, QueuePerAddress from one address.
	Queue, QueuePerAddress int
	// Tracked is how many accounts and how many addresses are remembered for their
	// failures; the ones not seen for longest go first.
	Tracked int
	// Forget makes the guard forget good credentials at once: no one is exempt from the
	// limits because he was let in before.
	Forget bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

func (o GuardOptions) withDefaults() GuardOptions {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	setTime := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&o.Concurrent, max(1, runtime.GOMAXPROCS(0)-1))
	set(&o.FailuresPerPair, DefaultFailuresPerPair)
	set(&o.FailuresPerAddress, DefaultFailuresPerAddress)
	set(&o.Queue, DefaultQueue)
	set(&o.QueuePerAddress, DefaultQueuePerAddress)
	set(&o.Tracked, DefaultTracked)
	setTime(&o.Window, DefaultWindow)
	setTime(&o.Wait, DefaultWait)
	setTime(&o.Patience, DefaultPatience)
	o.Patience = max(o.Patience, o.Wait)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// LimitError refuses a client that failed too often.
type LimitError struct {
	// RetryAfter is when the next check may be asked for, in whole seconds, at least one.
	RetryAfter time.Duration
	// Address is true when the address as a whole is refused, false when it is the
	// account from this address.
	Address bool
}

// Error says that there were too many failures, and until when.
func (e *LimitError) Error() string {
	what := "of this account from this address"
	if e.Address {
		what = "from this address"
	}
	return fmt.Sprintf("too many failed logins %s; try again in %d s", what, int(e.RetryAfter/time.Second))
}

// BusyError refuses a client because too many others wait.
type BusyError struct {
	// RetryAfter is when to try again, in whole seconds.
	RetryAfter time.Duration
	// Full is true when there was no room to wait, false when the wait was too long.
	Full bool
	// For is what was waited for, where it was no password check.
	For string
}

// Error says why no turn came.
func (e *BusyError) Error() string {
	if e.For != "" {
		return "waited too long for " + e.For
	}
	if e.Full {
		return "too many password checks waiting"
	}
	return "waited too long for a password check"
}

// Attempt is one try to log in.
type Attempt struct {
	Account  string
	Password secret.Text
	// Addr is the client's address. IPv6 clients count by their /64. The zero Addr
	// stands for all clients without one, as those of a unix socket.
	Addr netip.Addr
}

// GuardStats counts what a [Guard] did.
type GuardStats struct {
	Checked  uint64 // checks that ran
	Failed   uint64 // of these, with bad credentials
	Limited  uint64 // refused for their failures
	Busy     uint64 // refused for the others' number
	Left     uint64 // gone before their turn came
	Waiting  int    // waiting now
	Running  int    // running now
	Accounts int    // (account, address) pairs tracked
	Clients  int    // addresses tracked
}

// Guard decides whether and when a password is checked.
//
// Failures are counted by (account, address) and by address; a check that runs counts as
// a failure until it has ended, so that guesses sent side by side can't slip through.
// Waiting clients take turns by address. Credentials that were good lately skip the
// limits and the queue, though not the check: behind one address may be a whole
// company, and a reload under attack must not lock its machines out.
//
// It is safe for concurrent use and meant to outlive reloads.
type Guard struct {
	seed  maphash.Seed
	keyed keyedHash

	mu       sync.Mutex
	o        GuardOptions
	epoch    time.Time
	pairs    table
	addrs    table
	familiar map[digest]time.Time // when it ends

	running int
	waiting int
	first   []*waiter        // familiar ones
	lanes   map[uint64]*lane // by address
	ring    []*lane          // the same, in turn
	turn    int
	stats   GuardStats
}

type lane struct {
	addr    uint64
	waiters []*waiter
}

type waiter struct {
	pair, addr uint64
	familiar   bool
	since      time.Time
	ready      chan struct{} // closed once resolved
	resolved   bool
	yielded    bool  // no longer counted among those that run
	err        error // why not; nil: it may run
	pairRec    *record
	addrRec    *record
}

// NewGuard returns a guard with nothing counted.
func NewGuard(o GuardOptions) *Guard {
	o = o.withDefaults()
	g := &Guard{
		seed: maphash.MakeSeed(), o: o, epoch: o.Now(),
		familiar: map[digest]time.Time{}, lanes: map[uint64]*lane{},
	}
	g.pairs.init()
	g.addrs.init()
	// Since Go 1.24 crypto/rand never fails: it ends the process instead.
	_, _ = rand.Read(g.keyed.key[:])
	return g
}

// Configure sets new limits. What was counted stays.
func (g *Guard) Configure(o GuardOptions) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.Now == nil {
		o.Now = g.o.Now
	}
	g.o = o.withDefaults()
	if g.o.Forget {
		clear(g.familiar)
	}
	g.dispatch()
}

// Forgive forgets all failures; checks that run still count while they do. It is for when
// the passwords themselves have changed: what was wrong under the old ones says nothing
// about the new ones, and whoever waited for an account to be made must not be kept out
// for having asked too early. Nobody from outside can bring that about.
func (g *Guard) Forgive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range []*table{&g.pairs, &g.addrs} {
		for _, r := range t.m {
			r.failed = nil
			t.dropIfEmpty(r)
		}
	}
	g.dispatch()
}

// Stats returns the counters.
func (g *Guard) Stats() GuardStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Waiting, s.Running, s.Accounts, s.Clients = g.waiting, g.running, len(g.pairs.m), len(g.addrs.m)
	return s
}

// Do runs check when its turn comes and returns its error. An error that is [Refused]
// counts as a failure; nil makes the credentials familiar. Where check does not run, the
// error is a [*LimitError], a [*BusyError] or ctx's.
func (g *Guard) Do(ctx context.Context, a Attempt, check func() error) error {
	return g.DoYielding(ctx, a, func(func()) error { return check() })
}

// DoYielding is [Guard.Do] for a check that computes no more hashes once it has called
// yield: somebody else's may then begin, so that a slow backend holds nobody up who does
// not need it. Until it ends the check still counts as a failure of its client.
func (g *Guard) DoYielding(ctx context.Context, a Attempt, check func(yield func()) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The familiar ones are known by the password too: who only knows the name is not
	// exempt from anything.
	id := g.keyed.digest(a.Account, a.Password.Reveal())
	w, err := g.enter(a, id)
	if err != nil {
		return err
	}
	if err := g.await(ctx, w); err != nil {
		return err
	}
	err = errUnfinished
	defer func() { g.done(w, id, err) }()
	err = check(func() { g.yield(w) })
	return err
}

// yield gives w's turn back before w has ended.
func (g *Guard) yield(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.yielded {
		w.yielded = true
		g.running--
		g.dispatch()
	}
}

// errUnfinished stands for a check that panicked: neither good nor bad.
var errUnfinished = errors.New("check did not finish")

func (g *Guard) enter(a Attempt, id digest) (*waiter, error) {
	prefix := clientPrefix(a.Addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	w := &waiter{
		addr:  maphash.Comparable(g.seed, prefix),
		pair:  maphash.Comparable(g.seed, pairKey{a.Account, prefix}),
		since: now, ready: make(chan struct{}),
	}
	if until, ok := g.familiar[id]; ok {
		if w.familiar = now.Before(until); !w.familiar {
			delete(g.familiar, id)
		}
	}
	if w.familiar {
		g.first = append(g.first, w)
	} else {
		if limit := g.limited(w, now); limit != nil {
			// Who keeps trying keeps being remembered.
			g.pairs.touch(w.pair, g.o.Tracked)
			g.addrs.touch(w.addr, g.o.Tracked)
			g.stats.Limited++
			return nil, limit
		}
		l := g.lanes[w.addr]
		if l == nil {
			l = &lane{addr: w.addr}
		}
		if len(l.waiters) >= g.o.QueuePerAddress || g.waiting >= g.o.Queue && !g.shed(len(l.waiters)) {
			g.stats.Busy++
			return nil, &BusyError{RetryAfter: wholeSeconds(g.o.Wait), Full: true}
		}
		if len(l.waiters) == 0 {
			g.lanes[w.addr] = l
			g.ring = append(g.ring, l)
		}
		l.waiters = append(l.waiters, w)
	}
	g.waiting++
	g.dispatch()
	return w, nil
}

type pairKey struct {
	account string
	client  netip.Prefix
}

// clientPrefix is what counts as one client: an IPv4 address, an IPv6 /64, or nothing.
func clientPrefix(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
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

// await returns nil when w may run.
func (g *Guard) await(ctx context.Context, w *waiter) error {
	select {
	case <-w.ready:
		return w.err
	default:
	}
	g.mu.Lock()
	wait := g.o.Wait
	g.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-w.ready:
			return w.err
		case <-ctx.Done():
			g.mu.Lock()
			defer g.mu.Unlock()
			if w.resolved {
				if w.err == nil {
					g.release(w)
					g.tidy(w)
					g.dispatch()
				}
			} else {
				g.leave(w)
			}
			g.stats.Left++
			return ctx.Err()
		case <-timer.C:
			g.mu.Lock()
			now := g.o.Now()
			left := g.patience(w, now) - now.Sub(w.since)
			if left <= 0 && !w.resolved {
				g.leave(w)
				g.stats.Busy++
				err := &BusyError{RetryAfter: wholeSeconds(g.o.Wait)}
				g.mu.Unlock()
				return err
			}
			// Looked at again before the patience ends: it shrinks when the client fails.
			timer.Reset(max(min(left, g.o.Wait/4), time.Millisecond))
			g.mu.Unlock()
		}
	}
}

// patience is how long w may wait.
func (g *Guard) patience(w *waiter, now time.Time) time.Duration {
	if !w.familiar &&
		(g.fails(&g.pairs, w.pair, now) > 0 || 2*g.fails(&g.addrs, w.addr, now) >= g.o.FailuresPerAddress) {
		return g.o.Wait
	}
	return g.o.Patience
}

// done ends a check.
func (g *Guard) done(w *waiter, id digest, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	g.release(w)
	g.stats.Checked++
	switch {
	case err == nil:
		if !g.o.Forget {
			if _, ok := g.familiar[id]; !ok && len(g.familiar) >= g.o.Tracked {
				makeRoom(g.familiar, now)
			}
			g.familiar[id] = now.Add(familiarFor)
		}
	case Refused(err):
		g.stats.Failed++
		delete(g.familiar, id)
		w.pairRec.fail(g.tick(now), g.o.FailuresPerPair)
		w.addrRec.fail(g.tick(now), g.o.FailuresPerAddress)
		g.refuseLimited(w.addr, now)
	}
	g.tidy(w)
	g.dispatch()
}

// refuseLimited sends away those from one address that have become limited.
func (g *Guard) refuseLimited(addr uint64, now time.Time) {
	l := g.lanes[addr]
	if l == nil {
		return
	}
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if limit := g.limited(w, now); limit != nil {
			g.stats.Limited++
			g.waiting--
			g.resolve(w, limit)
			continue
		}
		kept = append(kept, w)
	}
	clear(l.waiters[len(kept):])
	l.waiters = kept
	g.dropIfEmpty(l)
}

// limited returns why w may not run at all, or nil.
func (g *Guard) limited(w *waiter, now time.Time) error {
	if d := g.blocked(&g.addrs, w.addr, g.o.FailuresPerAddress, now); d > 0 {
		return &LimitError{RetryAfter: wholeSeconds(d), Address: true}
	}
	if d := g.blocked(&g.pairs, w.pair, g.o.FailuresPerPair, now); d > 0 {
		return &LimitError{RetryAfter: wholeSeconds(d)}
	}
	return nil
}

func wholeSeconds(d time.Duration) time.Duration {
	return max((d + time.Second - 1).Truncate(time.Second), time.Second)
}

// dispatch starts as many as may run.
func (g *Guard) dispatch() {
	for g.running < g.o.Concurrent {
		w := g.next()
		if w == nil {
			return
		}
		g.waiting--
		g.running++
		w.pairRec, w.addrRec = g.pairs.touch(w.pair, g.o.Tracked), g.addrs.touch(w.addr, g.o.Tracked)
		w.pairRec.running++
		w.addrRec.running++
		g.resolve(w, nil)
	}
}

func (g *Guard) resolve(w *waiter, err error) {
	w.resolved, w.err = true, err
	close(w.ready)
}

func (g *Guard) release(w *waiter) {
	if !w.yielded {
		g.running--
	}
	w.pairRec.running--
	w.addrRec.running--
}

// tidy drops the records of a check that has ended where they say nothing.
func (g *Guard) tidy(w *waiter) {
	g.pairs.dropIfEmpty(w.pairRec)
	g.addrs.dropIfEmpty(w.addrRec)
}

// next takes the waiter whose turn it is out of its queue.
func (g *Guard) next() *waiter {
	if len(g.first) > 0 {
		w := g.first[0]
		g.first = slices.Delete(g.first, 0, 1)
		return w
	}
	for range g.ring {
		if g.turn >= len(g.ring) {
			g.turn = 0
		}
		l := g.ring[g.turn]
		g.turn++
		for i, w := range l.waiters {
			// A check that runs may yet be a failure.
			if g.taken(&g.addrs, w.addr) >= g.o.FailuresPerAddress {
				break
			}
			if g.taken(&g.pairs, w.pair) >= g.o.FailuresPerPair {
				continue
			}
			l.waiters = slices.Delete(l.waiters, i, i+1)
			g.dropIfEmpty(l)
			return w
		}
	}
	return nil
}

// leave takes a waiter that gave up out of its queue.
func (g *Guard) leave(w *waiter) {
	w.resolved = true
	g.waiting--
	if w.familiar {
		g.first = slices.DeleteFunc(g.first, func(o *waiter) bool { return o == w })
		return
	}
	l := g.lanes[w.addr]
	l.waiters = slices.DeleteFunc(l.waiters, func(o *waiter) bool { return o == w })
	g.dropIfEmpty(l)
}

func (g *Guard) dropIfEmpty(l *lane) {
	if len(l.waiters) > 0 {
		return
	}
	delete(g.lanes, l.addr)
	if i := slices.Index(g.ring, l); i >= 0 {
		g.ring = slices.Delete(g.ring, i, i+1)
		if i < g.turn {
			g.turn--
		}
	}
}

// shed makes room in a full queue for an address with mine waiting, at the cost of the
// address that has most. It returns false when no one has clearly more.
func (g *Guard) shed(mine int) bool {
	var most *lane
	for _, l := range g.ring {
		if most == nil || len(l.waiters) > len(most.waiters) {
			most = l
		}
	}
	if most == nil || len(most.waiters) <= mine+1 {
		return false
	}
	last := most.waiters[len(most.waiters)-1]
	g.leave(last)
	g.stats.Busy++
	g.resolve(last, &BusyError{RetryAfter: wholeSeconds(g.o.Wait), Full: true})
	return true
}

// tick is the time in tenths of a second since the guard began, rounded up.
func (g *Guard) tick(now time.Time) uint32 {
	return uint32(max(0, (now.Sub(g.epoch)+tickLength-1)/tickLength))
}

const tickLength = 100 * time.Millisecond

// fails counts the failures of key within the window.
func (g *Guard) fails(t *table, key uint64, now time.Time) int {
	r := t.m[key]
	if r == nil {
		return 0
	}
	r.expire(now.Sub(g.epoch)-g.o.Window, tickLength)
	return len(r.failed)
}

// taken counts failures and checks that run. The failures were brought up to date when
// the waiter came; those that have run out since only delay it.
func (g *Guard) taken(t *table, key uint64) int {
	r := t.m[key]
	if r == nil {
		return 0
	}
	r.expire(g.o.Now().Sub(g.epoch)-g.o.Window, tickLength)
	return len(r.failed) + r.running
}

// blocked is how long key is refused.
func (g *Guard) blocked(t *table, key uint64, limit int, now time.Time) time.Duration {
	n := g.fails(t, key, now)
	if n < limit {
		return 0
	}
	oldest := t.m[key].failed[n-limit]
	return max(time.Duration(oldest)*tickLength+g.o.Window-now.Sub(g.epoch), time.Nanosecond)
}
