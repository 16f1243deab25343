package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/refresh"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T, path string, o refresh.Options) *refresh.Store {
	t.Helper()
	o.Path = path
	s := refresh.New(o)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func issue(t *testing.T, s *refresh.Store, account string) (secret.Text, refresh.Token) {
	t.Helper()
	text, tok, err := s.Issue(t.Context(), refresh.Grant{Account: account, Service: "reg", Client: "docker", Hash: secret.New("hash of " + account)})
	if err != nil {
		t.Fatal(err)
	}
	return text, tok
}

func TestTokenIsFoundByAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state", "refresh", refresh.FileName)
	s := open(t, path, refresh.Options{})
	text, made := issue(t, s, "alice")
	if len(text.Reveal()) != len(refresh.Prefix)+43 || !strings.HasPrefix(text.Reveal(), refresh.Prefix) {
		t.Errorf("a token of %d characters, want the prefix and 43", len(text.Reveal()))
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder mode %v, %v; want 0700", st.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(data), text.Reveal()) || strings.Contains(string(data), "hash of") {
		t.Errorf("the file holds the token or the hash: %s %v", data, err)
	}

	other := open(t, path, refresh.Options{})
	got, err := other.Find(text)
	if err != nil || got.ID != made.ID || got.Account != "alice" || got.Service != "reg" || got.Client != "docker" {
		t.Fatalf("found %+v, %v", got, err)
	}
	for hash, want := range map[string]bool{"hash of alice": true, "another": false, "": false} {
		if ok, err := other.Bound(&got, secret.New(hash)); ok != want || err != nil {
			t.Errorf("bound to %q: %v %v, want %v", hash, ok, err, want)
		}
	}
	for _, bad := range []string{"", "junk", text.Reveal() + "x", text.Reveal()[1:], strings.ToUpper(text.Reveal())} {
		if _, err := other.Find(secret.New(bad)); !errors.Is(err, refresh.ErrUnknown) {
			t.Errorf("%q: %v, want ErrUnknown", bad, err)
		}
	}
	// What one revokes is dead for the other at once.
	removed, err := other.Remove(t.Context(), func(t *refresh.Token) bool { return t.ID == made.ID })
	if err != nil || len(removed) != 1 {
		t.Fatalf("removed %v, %v", removed, err)
	}
	if _, err := s.Find(text); !errors.Is(err, refresh.ErrUnknown) {
		t.Errorf("after the removal: %v, want ErrUnknown", err)
	}
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	c := &clock{now: start}
	path := filepath.Join(t.TempDir(), refresh.FileName)
	s := open(t, path, refresh.Options{Lifetime: time.Hour, Now: c.Now})
	text, tok := issue(t, s, "alice")
	if got, want := s.Expires(&tok), start.Add(time.Hour); !got.Equal(want) {
		t.Errorf("expires %v, want %v", got, want)
	}
	c.add(time.Hour - time.Second)
	if _, err := s.Find(text); err != nil {
		t.Errorf("a second before the end: %v", err)
	}
	c.add(time.Second)
	if _, err := s.Find(text); !errors.Is(err, refresh.ErrExpired) {
		t.Errorf("at the end: %v, want ErrExpired", err)
	}
	if forever := open(t, path, refresh.Options{Now: c.Now}); !forever.Expires(&tok).IsZero() {
		t.Error("without a lifetime it expires")
	} else if _, err := forever.Find(text); err != nil {
		t.Errorf("without a lifetime: %v", err)
	}
	issue(t, s, "bob") // sweeps what is over
	if list, err := s.List(); err != nil || len(list) != 1 || list[0].Account != "bob" {
		t.Errorf("left: %+v, %v", list, err)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	c := &clock{now: start}
	s := open(t, filepath.Join(t.TempDir(), refresh.FileName), refresh.Options{PerAccount: 2, Total: 3, Now: c.Now})
	first, _ := issue(t, s, "alice")
	c.add(time.Hour)
	second, _ := issue(t, s, "alice")
	c.add(time.Hour)
	tok, err := s.Find(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Used(t.Context(), tok.ID); err != nil {
		t.Fatal(err)
	}
	third, _ := issue(t, s, "alice")
	for name, tt := range map[string]struct {
		text secret.Text
		want error
	}{"used lately": {first, nil}, "idle": {second, refresh.ErrUnknown}, "new": {third, nil}} {
		if _, err := s.Find(tt.text); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	issue(t, s, "bob")
	if _, _, err := s.Issue(t.Context(), refresh.Grant{Account: "carol"}); !errors.Is(err, refresh.ErrFull) {
		t.Errorf("over the total: %v, want ErrFull", err)
	}
}

func TestLastUseIsWrittenNowAndThen(t *testing.T) {
	t.Parallel()
	c := &clock{now: start}
	path := filepath.Join(t.TempDir(), refresh.FileName)
	s := open(t, path, refresh.Options{Now: c.Now})
	_, tok := issue(t, s, "alice")
	used := func() time.Time {
		t.Helper()
		list, err := open(t, path, refresh.Options{}).List()
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		return list[0].Used
	}
	for _, step := range []struct {
		wait time.Duration
		want time.Duration // after the start
	}{{time.Minute, time.Minute}, {refresh.UseStep - time.Second, time.Minute}, {time.Second, time.Minute + refresh.UseStep}} {
		c.add(step.wait)
		if err := s.Used(t.Context(), tok.ID); err != nil {
			t.Fatal(err)
		}
		if got := used(); !got.Equal(start.Add(step.want)) {
			t.Errorf("used %v, want %v", got, start.Add(step.want))
		}
	}
}

// TestManyWriters: of several stores on one file that give out and revoke side by side,
// nothing gets lost.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), refresh.FileName)
	const writers, each = 4, 6
	var wg sync.WaitGroup
	for w := range writers {
		s := open(t, path, refresh.Options{})
		wg.Go(func() {
			for i := range each {
				_, tok, err := s.Issue(context.Background(), refresh.Grant{Account: fmt.Sprintf("user%d", w), Service: fmt.Sprint(i)})
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					if removed, err := s.Remove(context.Background(), func(t *refresh.Token) bool { return t.ID == tok.ID }); err != nil || len(removed) != 1 {
						t.Errorf("removed %v, %v", removed, err)
					}
				}
			}
		})
	}
	wg.Wait()
	list, err := open(t, path, refresh.Options{}).List()
	if err != nil || len(list) != writers*each/2 {
		t.Errorf("%d tokens left, want %d: %v", len(list), writers*each/2, err)
	}
	if slices.ContainsFunc(list, func(t refresh.Token) bool { return t.Service != "1" && t.Service != "3" && t.Service != "5" }) {
		t.Errorf("a revoked one is left: %+v", list)
	}
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "not JSON": "{", "another version": `{"version": 2, "key": "", "tokens": []}`,
		"no key":       `{"version": 1, "tokens": []}`,
		"half a token": `{"version": 1, "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "tokens": [{"id": "a"}]}`,
	} {
		path := filepath.Join(t.TempDir(), refresh.FileName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := refresh.New(refresh.Options{Path: path})
		err := s.Prepare(t.Context())
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "log in again") {
			t.Errorf("%s: %v, want the path and what to do", name, err)
		}
		if _, err := s.Find(secret.New("x")); err == nil || errors.Is(err, refresh.ErrUnknown) {
			t.Errorf("%s: Find says %v, want what is wrong with the file", name, err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != text {
			t.Errorf("%s: the file was changed to %q, %v", name, data, err)
		}
	}
}

func TestNoFileIsNoTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), refresh.FileName)
	s := open(t, path, refresh.Options{})
	text, _ := issue(t, s, "alice")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(text); !errors.Is(err, refresh.ErrUnknown) {
		t.Errorf("Find: %v, want ErrUnknown", err)
	}
	text, _ = issue(t, s, "alice")
	if _, err := s.Find(text); err != nil {
		t.Errorf("a new one: %v", err)
	}
}
