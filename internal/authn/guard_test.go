package authn_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// soak picks the full count where REGCTL_SETUP_SOAK is set, else the reduced one.
func soak(full, reduced int) int {
	if os.Getenv("REGCTL_SETUP_SOAK") != "" {
		return full
	}
	return reduced
}

func attempt(account, password, addr string) authn.Attempt {
	a := authn.Attempt{Account: account, Password: secret.New(password)}
	if addr != "" {
		a.Addr = netip.MustParseAddr(addr)
	}
	return a
}

// slow is a password check that takes its time.
func slow(d time.Duration, err error) func() error {
	return func() error { time.Sleep(d); return err }
}

// bcryptTime is about what a hash of cost 10 takes.
const bcryptTime = 55 * time.Millisecond

func TestA5GuessesAreLimited(t *testing.T) {
	t.Parallel()
	for _, concurrent := range []int{1, 7} {
		for _, distinct := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d at once, distinct names %v", concurrent, distinct), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := authn.NewGuard(authn.GuardOptions{Concurrent: concurrent})
					var ran, limited atomic.Int64
					begin := time.Now()
					var wg sync.WaitGroup
					for conn := range 8 {
						wg.Go(func() {
							for i := range 125 {
								name := "ci"
								if distinct {
									name = fmt.Sprintf("u%d-%d", conn, i)
								}
								err := g.Do(t.Context(), attempt(name, fmt.Sprint("guess", conn, i), "192.0.2.7"), func() error {
									ran.Add(1)
									time.Sleep(bcryptTime)
									return authn.ErrWrongPassword
								})
								var limit *authn.LimitError
								switch {
								case errors.As(err, &limit):
									limited.Add(1)
									if limit.RetryAfter < time.Second || limit.RetryAfter > time.Minute || limit.RetryAfter%time.Second != 0 {
										t.Errorf("RetryAfter %v", limit.RetryAfter)
									}
								case !errors.Is(err, authn.ErrWrongPassword):
									t.Errorf("error %v", err)
								}
								time.Sleep(400 * time.Millisecond)
							}
						})
					}
					wg.Wait()
					if d := time.Since(begin); d > time.Minute {
						t.Fatalf("the guesses took %v, they are meant for one minute", d)
					}
					want := int64(10)
					if distinct {
						want = 20
					}
					if got := ran.Load(); got != want {
						t.Errorf("%d checks ran, want %d", got, want)
					}
					if got := limited.Load(); got != 1000-want {
						t.Errorf("%d guesses were refused, want %d", got, 1000-want)
					}
				})
			})
		}
	}
}

func TestA5BanEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{})
		for i := range 10 {
			if err := g.Do(t.Context(), attempt("ci", fmt.Sprint(i), "192.0.2.7"), slow(bcryptTime, authn.ErrWrongPassword)); !errors.Is(err, authn.ErrWrongPassword) {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		try := func() error { return g.Do(t.Context(), attempt("ci", "right", "192.0.2.7"), slow(0, nil)) }
		var limit *authn.LimitError
		if err := try(); !errors.As(err, &limit) || limit.Address {
			t.Fatalf("the eleventh: %v, want a LimitError of the account", err)
		}
		time.Sleep(limit.RetryAfter - 1500*time.Millisecond)
		if err := try(); !errors.As(err, &limit) {
			t.Errorf("before the ban's end: %v", err)
		}
		time.Sleep(1500 * time.Millisecond)
		if err := try(); err != nil {
			t.Errorf("at the time that RetryAfter named: %v", err)
		}
	})
}

func TestA5TablesAreBounded(t *testing.T) { // not parallel: it measures the heap
	n := soak(1_000_000, 80_000)
	g := authn.NewGuard(authn.GuardOptions{FailuresPerAddress: 1 << 30})
	before := heap()
	bad := func() error { return authn.ErrNoSuchUser }
	var ip [4]byte
	for i := range n {
		ip = [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		err := g.Do(t.Context(), authn.Attempt{Account: fmt.Sprintf("name-%0200d", i), Addr: netip.AddrFrom4(ip)}, bad)
		if !errors.Is(err, authn.ErrNoSuchUser) {
			t.Fatal(err)
		}
	}
	grown := int64(heap()) - int64(before)
	t.Logf("%d names and addresses: heap grew by %.1f MB", n, float64(grown)/1e6)
	if grown > 64<<20 {
		t.Errorf("heap grew by %d bytes, want at most 64 MB", grown)
	}
	if s := g.Stats(); s.Accounts > authn.DefaultTracked || s.Clients > authn.DefaultTracked {
		t.Errorf("tracked %d accounts and %d clients, want at most %d each", s.Accounts, s.Clients, authn.DefaultTracked)
	}
	runtime.KeepAlive(g)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestA6NobodyIsLockedOutFromElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for c := range 50 {
			wg.Go(func() {
				for i := range 20 {
					_ = g.Do(ctx, attempt("ci", fmt.Sprint(c, i), "127.0.0.2"), slow(bcryptTime, authn.ErrWrongPassword))
				}
			})
		}
		time.Sleep(bcryptTime / 2)
		begin := time.Now()
		if err := g.Do(t.Context(), attempt("ci", "right", "127.0.0.3"), slow(bcryptTime, nil)); err != nil {
			t.Errorf("ci from its own address: %v", err)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("ci from its own address waited %v", d)
		}
		cancel()
		wg.Wait()
	})
}

func TestIPv6CountsByNetwork(t *testing.T) {
	t.Parallel()
	g := authn.NewGuard(authn.GuardOptions{})
	bad := func() error { return authn.ErrWrongPassword }
	for i := range 20 {
		_ = g.Do(t.Context(), attempt(fmt.Sprint("u", i), "x", fmt.Sprintf("2001:db8::%d", i+1)), bad)
	}
	var limit *authn.LimitError
	if err := g.Do(t.Context(), attempt("a", "x", "2001:db8::ffff:1"), bad); !errors.As(err, &limit) || !limit.Address {
		t.Errorf("another address of the same /64: %v, want a LimitError of the address", err)
	}
	if err := g.Do(t.Context(), attempt("a", "x", "2001:db8:0:1::1"), bad); !errors.Is(err, authn.ErrWrongPassword) {
		t.Errorf("the next /64: %v", err)
	}
	for range 10 {
		_ = g.Do(t.Context(), attempt("b", "x", "192.0.2.1"), bad)
	}
	if err := g.Do(t.Context(), attempt("b", "x", "::ffff:192.0.2.1"), bad); !errors.As(err, &limit) {
		t.Errorf("the same IPv4 address, written as IPv6: %v", err)
	}
}

func TestA7FloodDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	const cost12 = 200 * time.Millisecond
	for _, tt := range []struct {
		name  string
		flood func(conn, i int) authn.Attempt
	}{
		{"one account", func(c, i int) authn.Attempt { return attempt("victim", fmt.Sprint(c, i), "192.0.2.7") }},
		{"many accounts", func(c, i int) authn.Attempt {
			return attempt(fmt.Sprint("u", c, "-", i), fmt.Sprint(c, i), "192.0.2.7")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := authn.NewGuard(authn.GuardOptions{Concurrent: 1})
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for c := range 64 {
					wg.Go(func() {
						for i := 0; ctx.Err() == nil; i++ {
							begin := time.Now()
							_ = g.Do(ctx, tt.flood(c, i), slow(cost12, authn.ErrWrongPassword))
							if d := time.Since(begin); d > 5*time.Second {
								t.Errorf("one of the flood waited %v", d)
							}
							time.Sleep(20 * time.Millisecond)
						}
					})
				}
				var took []time.Duration
				for i := range 40 {
					begin := time.Now()
					err := g.Do(t.Context(), attempt(fmt.Sprint("good", i), "right", "198.51.100.9"), slow(cost12, nil))
					if err != nil {
						t.Errorf("good login %d: %v", i, err)
					}
					took = append(took, time.Since(begin))
				}
				cancel()
				wg.Wait()
				slices.Sort(took)
				if p95 := took[len(took)*95/100]; p95 > time.Second {
					t.Errorf("p95 of a good login is %v, want at most 1 s", p95)
				}
			})
		})
	}
}

func TestA7TwoHundredLoginsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 1})
		var wg sync.WaitGroup
		begin := time.Now()
		for i := range 200 {
			wg.Go(func() {
				if err := g.Do(t.Context(), attempt(fmt.Sprint("ci-", i), "right", "192.0.2.7"), slow(bcryptTime, nil)); err != nil {
					t.Errorf("login %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if got, want := time.Since(begin), 200*bcryptTime; got != want {
			t.Errorf("took %v, want %v: one after the other without a gap", got, want)
		}
	})
}

func TestA7ConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 3})
		var now, most atomic.Int64
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				_ = g.Do(t.Context(), attempt(fmt.Sprint(i), "x", fmt.Sprintf("192.0.2.%d", i)), func() error {
					n := now.Add(1)
					for {
						m := most.Load()
						if n <= m || most.CompareAndSwap(m, n) {
							break
						}
					}
					time.Sleep(bcryptTime)
					now.Add(-1)
					return nil
				})
			})
		}
		wg.Wait()
		if got := most.Load(); got != 3 {
			t.Errorf("%d checks at once, want 3", got)
		}
	})
}

func TestC7WhoLeavesCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 1})
		var ran atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				err := g.Do(ctx, attempt(fmt.Sprint(i), "x", fmt.Sprintf("192.0.2.%d", i)), func() error {
					ran.Add(1)
					time.Sleep(time.Second)
					return nil
				})
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if got := ran.Load(); got != 1 {
			t.Errorf("%d checks ran, want the one that had begun", got)
		}
		if s := g.Stats(); s.Waiting != 0 || s.Running != 0 || s.Left != 59 {
			t.Errorf("afterwards %+v, want nobody waiting, 59 gone", s)
		}
		if err := g.Do(ctx, attempt("a", "b", ""), func() error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 1})
		_ = g.Do(t.Context(), attempt("suspect", "x", "192.0.2.7"), slow(0, authn.ErrWrongPassword))
		var wg sync.WaitGroup
		wg.Go(func() { _ = g.Do(t.Context(), attempt("hog", "x", "192.0.2.1"), slow(time.Hour, nil)) })
		synctest.Wait()
		var busy *authn.BusyError
		begin := time.Now()
		err := g.Do(t.Context(), attempt("suspect", "y", "192.0.2.7"), slow(0, nil))
		if d := time.Since(begin); !errors.As(err, &busy) || d != 2*time.Second || busy.RetryAfter != 2*time.Second {
			t.Errorf("who failed lately: %v after %v, want a BusyError after 2 s", err, d)
		}
		begin = time.Now()
		err = g.Do(t.Context(), attempt("other", "y", "192.0.2.7"), slow(0, nil))
		if d := time.Since(begin); !errors.As(err, &busy) || d != 24*time.Second {
			t.Errorf("anybody else: %v after %v, want a BusyError after 24 s", err, d)
		}
		time.Sleep(2 * time.Hour)
		wg.Wait()
	})
}

func TestFullQueueTakesFromTheLongest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 1, Queue: 40, QueuePerAddress: 30})
		var wg sync.WaitGroup
		wg.Go(func() { _ = g.Do(t.Context(), attempt("hog", "x", "192.0.2.1"), slow(time.Second, nil)) })
		synctest.Wait()
		var full atomic.Int64
		enqueue := func(n int, addr string, fatal bool) {
			for i := range n {
				wg.Go(func() {
					err := g.Do(t.Context(), attempt(fmt.Sprint(i), "x", addr), slow(time.Millisecond, nil))
					var busy *authn.BusyError
					if errors.As(err, &busy) && busy.Full {
						full.Add(1)
						if fatal {
							t.Errorf("a request from %s was refused", addr)
						}
					}
				})
			}
			synctest.Wait()
		}
		enqueue(35, "192.0.2.7", false)
		if got := full.Load(); got != 5 {
			t.Errorf("%d refused of 35 from one address, want 5", got)
		}
		enqueue(10, "192.0.2.8", true)
		enqueue(1, "192.0.2.9", true)
		if got, s := full.Load(), g.Stats(); got != 6 || s.Waiting != 40 {
			t.Errorf("%d refused, %d waiting; want 6, 40: the newest of the longest queue goes", got, s.Waiting)
		}
		wg.Wait()
	})
}

func TestFamiliarCredentialsSkipTheLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 1})
		const nat = "192.0.2.7"
		ok := func() error { return nil }
		bad := func() error { return authn.ErrWrongPassword }
		if err := g.Do(t.Context(), attempt("ci", "right", nat), ok); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			_ = g.Do(t.Context(), attempt(fmt.Sprint("ghost", i), "x", nat), bad)
		}
		for i := range 10 {
			_ = g.Do(t.Context(), attempt("ci", fmt.Sprint("guess", i), "192.0.2.8"), bad)
		}
		var limit *authn.LimitError
		if err := g.Do(t.Context(), attempt("alice", "right", nat), ok); !errors.As(err, &limit) {
			t.Errorf("a newcomer from an address that failed 20 times: %v", err)
		}
		if err := g.Do(t.Context(), attempt("ci", "other", nat), ok); !errors.As(err, &limit) {
			t.Errorf("another password of a known account: %v", err)
		}
		for _, addr := range []string{nat, "192.0.2.8", "192.0.2.9"} {
			if err := g.Do(t.Context(), attempt("ci", "right", addr), ok); err != nil {
				t.Errorf("credentials that were good, from %s: %v", addr, err)
			}
		}
		// Good once is not good for ever: the check decides, and a failure ends it.
		if err := g.Do(t.Context(), attempt("ci", "right", nat), bad); !errors.Is(err, authn.ErrWrongPassword) {
			t.Errorf("after a change of password: %v", err)
		}
		if err := g.Do(t.Context(), attempt("ci", "right", nat), ok); !errors.As(err, &limit) {
			t.Errorf("after that: %v, want a LimitError", err)
		}
		if err := g.Do(t.Context(), attempt("bob", "right", "192.0.2.10"), ok); err != nil {
			t.Fatal(err)
		}
		g.Configure(authn.GuardOptions{Concurrent: 1, Forget: true})
		if err := g.Do(t.Context(), attempt("bob", "right", nat), ok); !errors.As(err, &limit) {
			t.Errorf("after forgetting: %v, want a LimitError", err)
		}
	})
}

func TestPanickingCheckFreesItsPlace(t *testing.T) {
	t.Parallel()
	g := authn.NewGuard(authn.GuardOptions{Concurrent: 1})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = g.Do(t.Context(), attempt("a", "b", "192.0.2.7"), func() error { panic("boom") })
	}()
	if err := g.Do(t.Context(), attempt("a", "b", "192.0.2.7"), func() error { return nil }); err != nil {
		t.Error(err)
	}
	if s := g.Stats(); s.Running != 0 || s.Failed != 0 || s.Accounts != 0 || s.Clients != 0 {
		t.Errorf("afterwards %+v, want nothing tracked", s)
	}
}

// A backend that can't answer says nothing about the credentials.
func TestOtherErrorsAreNoFailures(t *testing.T) {
	t.Parallel()
	g := authn.NewGuard(authn.GuardOptions{})
	down := errors.New("backend is down")
	for range 50 {
		if err := g.Do(t.Context(), attempt("a", "b", "192.0.2.7"), func() error { return down }); !errors.Is(err, down) {
			t.Fatal(err)
		}
	}
}

// Whatever the order of arrivals, failures and departures: never more at once than
// allowed, never more failures in a window than the limit, and no one is forgotten.
func TestGuardUnderRandomLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 2, Queue: 30, QueuePerAddress: 10, Tracked: 16})
		var wg sync.WaitGroup
		var running atomic.Int64
		var mu sync.Mutex
		failures := map[string][]time.Time{}
		for i := range 3000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%977)*time.Millisecond)
			addr := fmt.Sprintf("192.0.2.%d", i*7%5)
			wg.Go(func() {
				defer cancel()
				_ = g.Do(ctx, attempt(fmt.Sprint("u", i%3), fmt.Sprint(i%11), addr), func() error {
					if running.Add(1) > 2 {
						t.Error("more than two at once")
					}
					defer running.Add(-1)
					time.Sleep(time.Duration(i%13) * time.Millisecond)
					if i%11 == 3 {
						return nil
					}
					mu.Lock()
					failures[addr] = append(failures[addr], time.Now())
					mu.Unlock()
					return authn.ErrWrongPassword
				})
			})
			time.Sleep(time.Duration(i%50) * time.Millisecond)
		}
		wg.Wait()
		if s := g.Stats(); s.Waiting != 0 || s.Running != 0 {
			t.Errorf("afterwards %+v", s)
		}
		for addr, at := range failures {
			for i := 20; i < len(at); i++ {
				if d := at[i].Sub(at[i-20]); d < time.Minute-50*time.Millisecond {
					t.Errorf("%s: 21 failures within %v", addr, d)
				}
			}
		}
	})
}

func BenchmarkGuardDo(b *testing.B) {
	g := authn.NewGuard(authn.GuardOptions{})
	a := attempt("alice", "right", "192.0.2.7")
	ok := func() error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Do(b.Context(), a, ok); err != nil {
			b.Fatal(err)
		}
	}
}

// Who asked for an account before it was made, and too often, is let in once it is there.
func TestForgiveForgetsFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{})
		try := func(err error) error {
			return g.Do(t.Context(), attempt("late", "pw", "192.0.2.1"), func() error { return err })
		}
		var limit *authn.LimitError
		for range 50 {
			if err := try(authn.ErrNoSuchUser); errors.As(err, &limit) {
				break
			}
		}
		if limit == nil {
			t.Fatal("50 failures were not limited")
		}
		g.Forgive()
		if err := try(nil); err != nil {
			t.Errorf("after Forgive: %v, want the check to run", err)
		}
		if s := g.Stats(); s.Accounts != 0 || s.Clients != 0 {
			t.Errorf("%d accounts and %d clients are still tracked, want none", s.Accounts, s.Clients)
		}
	})
}

// A check that waits for a slow backend holds no turn, but still counts as a failure of its
// client until it has ended.
func TestYield(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := authn.NewGuard(authn.GuardOptions{Concurrent: 1, FailuresPerPair: 2})
		var wg sync.WaitGroup
		end := make(chan struct{})
		for range 2 {
			wg.Go(func() {
				_ = g.DoYielding(t.Context(), attempt("slow", "x", "192.0.2.7"), func(yield func()) error {
					yield()
					yield() // once is enough
					<-end
					return authn.ErrWrongPassword
				})
			})
		}
		synctest.Wait()
		if s := g.Stats(); s.Running != 0 || s.Waiting != 0 {
			t.Errorf("while two wait elsewhere: %+v", s)
		}
		if err := g.Do(t.Context(), attempt("other", "x", "192.0.2.7"), slow(time.Second, nil)); err != nil {
			t.Errorf("another account meanwhile: %v", err)
		}
		ran := false
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Do(ctx, attempt("slow", "y", "192.0.2.7"), func() error { ran = true; return nil }); err == nil || ran {
			t.Errorf("a third guess beside two undecided ones: %v, ran %v", err, ran)
		}
		close(end)
		wg.Wait()
		if s := g.Stats(); s.Running != 0 || s.Checked != 3 {
			t.Errorf("in the end %+v", s)
		}
	})
}
