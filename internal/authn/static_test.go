package authn_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

func hashOf(t testing.TB, password string, cost int) secret.Text {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(string(h))
}

func newStatic(t testing.TB, list []authn.User, o authn.StaticOptions) *authn.Static {
	t.Helper()
	s, err := authn.NewStatic(list, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatic(t *testing.T) {
	t.Parallel()
	hash := hashOf(t, "testing", bcrypt.MinCost)
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	labels := map[string][]string{"team": {"backend"}}
	s := newStatic(t, []authn.User{
		{Name: "alice", Hash: hash, Labels: labels},
		{Name: "y", Hash: secret.New("$2y$" + hash.Reveal()[4:])},
		{Name: "b", Hash: secret.New("$2b$" + hash.Reveal()[4:])},
		{Name: "off", Hash: secret.New("!" + hash.Reveal())},
		{Name: "off2", Hash: hash, Disabled: true},
		{Name: "old", Hash: hash, Expires: now},
		{Name: "new", Hash: hash, Expires: now.Add(time.Second)},
		{Name: "open", Passwordless: true},
		{Name: "openold", Passwordless: true, Expires: now},
		{Name: "openoff", Passwordless: true, Disabled: true},
		{Name: "", Passwordless: true},
	}, authn.StaticOptions{Now: func() time.Time { return now }})
	for _, tt := range []struct {
		account, password string
		want              error
	}{
		{"alice", "testing", nil},
		{"y", "testing", nil},
		{"b", "testing", nil},
		{"alice", "Testing", authn.ErrWrongPassword},
		{"alice", "", authn.ErrWrongPassword},
		{"alice", "testing\x00", authn.ErrWrongPassword},
		{"Alice", "testing", authn.ErrNoSuchUser},
		{"ghost", "testing", authn.ErrNoSuchUser},
		{"off", "testing", authn.ErrDisabled},
		{"off", "wrong", authn.ErrDisabled},
		{"off2", "testing", authn.ErrDisabled},
		{"old", "testing", authn.ErrExpired},
		{"new", "testing", nil},
		{"open", "anything", nil},
		{"openold", "anything", authn.ErrExpired},
		{"openoff", "anything", authn.ErrDisabled},
		{"", "", nil},
	} {
		id, err := s.Authenticate(t.Context(), tt.account, secret.New(tt.password))
		if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
			t.Errorf("%q with %q: error %v, want %v", tt.account, tt.password, err, tt.want)
		}
		if err == nil && id.Account != tt.account || err != nil && (id.Account != "" || id.Labels != nil) {
			t.Errorf("%q with %q: identity %+v, %v", tt.account, tt.password, id, err)
		}
		if err != nil && !authn.Refused(err) {
			t.Errorf("%q: Refused(%v) is false", tt.account, err)
		}
	}
	id, _ := s.Authenticate(t.Context(), "alice", secret.New("testing"))
	if got := id.Labels["team"]; !slices.Equal(got, []string{"backend"}) {
		t.Errorf("labels %v", id.Labels)
	}
	if _, ok := s.Recall("alice", secret.New("testing")); ok {
		t.Error("Recall of a password although nothing is to be remembered")
	}
	if s.Len() != 11 {
		t.Errorf("Len() = %d", s.Len())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Authenticate(ctx, "alice", secret.New("testing")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the client left: %v", err)
	}
}

func TestNewStaticRefuses(t *testing.T) {
	t.Parallel()
	const canary = "canary-plain-password"
	for name, list := range map[string][]authn.User{
		"plain text": {{Name: "a", Hash: secret.New(canary)}},
		"empty hash": {{Name: "a"}},
		"duplicate":  {{Name: "a", Passwordless: true}, {Name: "a", Passwordless: true}},
	} {
		_, err := authn.NewStatic(list, authn.StaticOptions{})
		if err == nil || !strings.Contains(err.Error(), `"a"`) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hash, compared := hashOf(t, "testing", bcrypt.MinCost), 0
		o := authn.StaticOptions{
			Remember: 5 * time.Minute, Remembered: 2,
			Verify: func(hash, pw secret.Text) bool {
				compared++
				return bcrypt.CompareHashAndPassword([]byte(hash.Reveal()), []byte(pw.Reveal())) == nil
			},
		}
		list := []authn.User{
			{Name: "alice", Hash: hash},
			{Name: "ab", Hash: hash},
			{Name: "a", Hash: hash},
			{Name: "soon", Hash: hash, Expires: time.Now().Add(time.Minute)},
			{Name: "open", Passwordless: true},
		}
		s := newStatic(t, list, o)
		login := func(name, pw string) bool {
			if _, ok := s.Recall(name, secret.New(pw)); ok {
				return true
			}
			_, err := s.Authenticate(t.Context(), name, secret.New(pw))
			return err == nil
		}
		expect := func(what string, got, want bool, comparisons int) {
			t.Helper()
			if got != want || compared != comparisons {
				t.Errorf("%s: %v with %d comparisons, want %v with %d", what, got, compared, want, comparisons)
			}
			compared = 0
		}
		expect("first", login("alice", "testing"), true, 1)
		expect("again", login("alice", "testing"), true, 0)
		expect("wrong password", login("alice", "testinG"), false, 1)
		expect("wrong again", login("alice", "testinG"), false, 1)
		expect("another user with that password", login("ab", "testing"), true, 1)
		expect("passwordless", login("open", "x"), true, 0)
		time.Sleep(5*time.Minute - time.Nanosecond)
		expect("just before the end", login("alice", "testing"), true, 0)
		time.Sleep(time.Nanosecond)
		expect("after it", login("alice", "testing"), true, 1)

		s = newStatic(t, list, o)
		expect("a new one remembers nothing", login("alice", "testing"), true, 1)

		expect("expires soon", login("soon", "testing"), false, 1) // its minute is over

		list[3].Expires = time.Now().Add(time.Minute)
		s = newStatic(t, list, o)
		expect("before its end", login("soon", "testing"), true, 1)
		time.Sleep(time.Minute)
		expect("a remembered password of an expired user", login("soon", "testing"), false, 1)

		// Three users, two places.
		for range 3 {
			for _, name := range []string{"alice", "ab", "a"} {
				if !login(name, "testing") {
					t.Errorf("%s is refused", name)
				}
			}
		}
		if compared < 3 {
			t.Errorf("%d comparisons for three users in two places", compared)
		}
	})
}

// User and password are told apart whatever their letters: ("ab", "c") is not ("a", "bc").
func TestMemoryKeepsFieldsApart(t *testing.T) {
	t.Parallel()
	always := func(secret.Text, secret.Text) bool { return true }
	hash := hashOf(t, "x", bcrypt.MinCost)
	s := newStatic(t, []authn.User{{Name: "ab", Hash: hash}, {Name: "a", Hash: hash}}, authn.StaticOptions{Remember: time.Hour, Verify: always})
	if _, err := s.Authenticate(t.Context(), "ab", secret.New("c")); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Recall("ab", secret.New("c")); !ok {
		t.Error("the password is not remembered")
	}
	if _, ok := s.Recall("a", secret.New("bc")); ok {
		t.Error(`("a", "bc") passes for ("ab", "c")`)
	}
	if _, ok := s.Recall("ab", secret.New(strings.Repeat("c", 73))); ok {
		t.Error("a longer password passes")
	}
}

func TestA8LongPasswordsAreToldApart(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 72)
	s := newStatic(t, []authn.User{{Name: "u", Hash: hashOf(t, long, bcrypt.MinCost)}}, authn.StaticOptions{Remember: time.Hour})
	// bcrypt reads 72 bytes: as in docker_auth a longer password still logs in, since
	// hashes of such exist. What is remembered is the whole password.
	for _, pw := range []string{long, long + "X", long + "YZ"} {
		if _, ok := s.Recall("u", secret.New(pw)); ok {
			t.Errorf("%d bytes: recalled before it was verified", len(pw))
		}
		if _, err := s.Authenticate(t.Context(), "u", secret.New(pw)); err != nil {
			t.Errorf("%d bytes: %v", len(pw), err)
		}
	}
	if _, err := s.Authenticate(t.Context(), "u", secret.New(long[:71])); !errors.Is(err, authn.ErrWrongPassword) {
		t.Errorf("71 bytes: %v", err)
	}
}

// An unknown user is compared with a hash of the costs in use, always the same for a
// name, each cost as often as users have it.
func TestA4CostsOfUnknownUsers(t *testing.T) {
	t.Parallel()
	var list []authn.User
	for cost, n := range map[int]int{4: 10, 5: 30, 6: 60} {
		h := hashOf(t, "x", cost)
		for i := range n {
			list = append(list, authn.User{Name: fmt.Sprintf("u%d-%d", cost, i), Hash: h})
		}
	}
	var asked int
	o := authn.StaticOptions{
		CostKey: []byte("fixed key"),
		Verify: func(hash, _ secret.Text) bool {
			asked, _ = bcrypt.Cost([]byte(hash.Reveal()))
			return true // even then an unknown user stays unknown
		},
	}
	first, second := newStatic(t, list, o), newStatic(t, append(slices.Clone(list), authn.User{Name: "one-more", Hash: list[0].Hash}), o)
	counts, moved := map[int]int{}, 0
	const names = 5000
	for i := range names {
		name := fmt.Sprint("ghost", i)
		if _, err := first.Authenticate(t.Context(), name, secret.New("x")); !errors.Is(err, authn.ErrNoSuchUser) {
			t.Fatalf("%s: %v", name, err)
		}
		cost := asked
		counts[cost]++
		_, _ = first.Authenticate(t.Context(), name, secret.New("y"))
		if asked != cost {
			t.Fatalf("%s: cost %d, then %d", name, cost, asked)
		}
		if _, _ = second.Authenticate(t.Context(), name, secret.New("x")); asked != cost {
			moved++
		}
	}
	for cost, share := range map[int]float64{4: .1, 5: .3, 6: .6} {
		if got := float64(counts[cost]) / names; math.Abs(got-share) > .03 {
			t.Errorf("cost %d for %.3f of the unknown names, want about %.1f", cost, got, share)
		}
	}
	if moved > names/50 {
		t.Errorf("one user more moves %d of %d unknown names to another cost", moved, names)
	}
	o.CostKey = []byte("another key")
	third, differ := newStatic(t, list, o), 0
	for i := range 200 {
		_, _ = first.Authenticate(t.Context(), fmt.Sprint("ghost", i), secret.New("x"))
		cost := asked
		if _, _ = third.Authenticate(t.Context(), fmt.Sprint("ghost", i), secret.New("x")); asked != cost {
			differ++
		}
	}
	if differ < 50 {
		t.Errorf("with another key %d of 200 names change their cost, want about half", differ)
	}
	empty := newStatic(t, nil, o)
	if _, err := empty.Authenticate(t.Context(), "x", secret.New("x")); !errors.Is(err, authn.ErrNoSuchUser) || asked != 10 {
		t.Errorf("without users: %v, cost %d; want the default cost 10", err, asked)
	}
}

// The time of an unknown user against that of a wrong password, interleaved. The soak
// has the figures of the threat table; the reduced run keeps the shape and asks for less.
func TestA4SameTimeForUnknownUser(t *testing.T) { // not parallel: it measures time
	costs := map[string]int{"low": 4, "mid": 6}
	var list []authn.User
	for name, cost := range costs {
		list = append(list, authn.User{Name: name, Hash: hashOf(t, "right", cost)})
	}
	o := authn.StaticOptions{Remember: time.Minute, CostKey: []byte("k")}
	s := newStatic(t, list, o)
	// An unknown name that is compared at the cost of the known one.
	asked, ghost := 0, ""
	o.Verify = func(hash, _ secret.Text) bool {
		asked, _ = bcrypt.Cost([]byte(hash.Reveal()))
		return false
	}
	for i, probe := 0, newStatic(t, list, o); asked != costs["low"]; i++ {
		ghost = fmt.Sprint("ghost", i)
		_, _ = probe.Authenticate(t.Context(), ghost, secret.New("x"))
	}
	n := soak(1000, 80)
	measure := func(name string) float64 {
		begin := time.Now()
		if _, ok := s.Recall(name, secret.New("wrong")); ok {
			t.Fatalf("%s is let in", name)
		}
		if _, err := s.Authenticate(t.Context(), name, secret.New("wrong")); !authn.Refused(err) {
			t.Fatal(err)
		}
		return float64(time.Since(begin))
	}
	known, unknown := make([]float64, n), make([]float64, n)
	for i := range n {
		known[i], unknown[i] = measure("low"), measure(ghost)
		if i%2 == 1 { // neither always runs first
			unknown[i], known[i] = measure(ghost), measure("low")
		}
	}
	slices.Sort(known)
	slices.Sort(unknown)
	ratio := unknown[n/2] / known[n/2]
	right := bestThreshold(known, unknown)
	t.Logf("%d samples each: median ratio %.3f, best single threshold right in %.1f %%", n, ratio, 100*right)
	lowest, highest, most := 0.95, 1.05, 0.55
	if n < 1000 {
		lowest, highest, most = 0.75, 1.33, 0.75 // five times the margin: this machine may be busy
	}
	if ratio < lowest || ratio > highest || right > most {
		t.Errorf("median ratio %.3f (want %.2f to %.2f), threshold right in %.3f (want at most %.2f)", ratio, lowest, highest, right, most)
	}
}

// bestThreshold is the share of samples that the best single threshold, in either
// direction, puts on the right side. Both slices are sorted.
func bestThreshold(a, b []float64) float64 {
	best := 0
	for _, cut := range append(slices.Clone(a), b...) {
		below, _ := slices.BinarySearch(a, cut)
		above, _ := slices.BinarySearch(b, cut)
		right := below + len(b) - above
		best = max(best, right, len(a)+len(b)-right)
	}
	return float64(best) / float64(len(a)+len(b))
}

func TestStaticIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	hash := hashOf(t, "testing", bcrypt.MinCost)
	s := newStatic(t, []authn.User{{Name: "alice", Hash: hash}}, authn.StaticOptions{Remember: time.Millisecond, Remembered: 1})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 20 {
				pw := "testing" + strings.Repeat("x", (i+j)%2)
				if _, ok := s.Recall("alice", secret.New(pw)); ok && pw != "testing" {
					t.Errorf("%q is recalled", pw)
				}
				if _, err := s.Authenticate(t.Context(), "alice", secret.New(pw)); (err == nil) != (pw == "testing") {
					t.Errorf("%q: %v", pw, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRecall(b *testing.B) {
	always := func(secret.Text, secret.Text) bool { return true }
	s := newStatic(b, []authn.User{{Name: "alice", Hash: hashOf(b, "x", bcrypt.MinCost)}}, authn.StaticOptions{Remember: time.Hour, Verify: always})
	pw := secret.New("right")
	if _, err := s.Authenticate(b.Context(), "alice", pw); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Recall("alice", pw); !ok {
			b.Fatal("forgotten")
		}
	}
}
