//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRotateKeys changes the signing key while clients push and pull in loops, against
// both registries and both ways: an authority whose leaf is replaced, and the stages of
// docker_auth, whose tokens name their key by its id alone. No push and no pull may fail.
func TestRotateKeys(t *testing.T) {
	t.Parallel()
	for _, registry := range []string{"registry", "docker-registry"} {
		t.Run(registry+", authority", func(t *testing.T) {
			t.Parallel()
			// "docker_auth" starts what serves; the folder is of the bundled engine.
			s := newStack(t, registry, asServe, "--runtime", "embedded", "--key-type", "rsa-2048")
			loops := s.busy(t)
			for range 3 {
				before := s.header(t)
				cli(t, "", "-C", s.dir, "keys", "rotate")
				eventually(t, "the new key's tokens", func() error {
					if s.header(t) == before {
						return errors.New("the old key still signs")
					}
					return nil
				})
				loops.rounds(t, 2)
			}
			loops.end(t)
			cli(t, "", "-C", s.dir, "keys", "verify")
		})
		t.Run(registry+", stages", func(t *testing.T) {
			t.Parallel()
			s := newStack(t, registry, asDockerAuth, "--engine", "docker_auth", "--key-type", "rsa-2048", "--expiration", "60")
			config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
			data, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			const extras = "x-regctl-setup:\n"
			if strings.Count(string(data), extras) != 1 {
				t.Fatalf("%s: no place for a setting", config)
			}
			mustWrite(t, config, []byte(strings.Replace(string(data), extras, extras+"  x5c: never\n", 1)), 0o600)
			s.restartAuth()
			loops := s.busy(t)
			rotate := func(want int, args ...string) {
				t.Helper()
				r := try(t, "", append([]string{"-C", s.dir, "keys", "rotate"}, args...)...)
				if r.status != want {
					t.Errorf("keys rotate %q: %s, want status %d", args, r, want)
				}
			}
			rotate(1)
			loops.rounds(t, 2)
			s.restartRegistry()
			rotate(1, "--restarted")
			loops.rounds(t, 2)
			s.restartAuth()
			rotate(1, "--restarted") // the old key's tokens live on
			loops.rounds(t, 2)
			if os.Getenv("REGCTL_SETUP_E2E_FULL") != "" {
				rotate(0, "--wait")
				s.restartRegistry()
				loops.rounds(t, 2)
			}
			loops.end(t)
			cli(t, "", "-C", s.dir, "keys", "verify")
		})
	}
}

// header is that of a new token, which names its key.
func (s *site) header(t *testing.T) string {
	t.Helper()
	raw := s.token(t, s.admin, "repository:library/loop:pull")
	header, _, _ := strings.Cut(raw, ".")
	return header
}

// traffic is clients that push and pull until they are told to end.
type traffic struct {
	cancel        context.CancelFunc
	clients       sync.WaitGroup
	pushes, pulls atomic.Int64
	mu            sync.Mutex
	failures      []string
}

// busy starts a client that pushes and one that pulls, each a new process with a token of
// its own every time.
func (s *site) busy(t *testing.T) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &traffic{cancel: cancel}
	img := newImage(t, 64<<10)
	allowed(t, "first push", s.crane(t, s.admin, "push", img.tar, s.ref("library/loop:0")))
	loop := func(count *atomic.Int64, argv func(n int64) []string) {
		defer l.clients.Done()
		for ctx.Err() == nil {
			n := count.Load() + 1
			if r := s.crane(t, s.admin, argv(n)...); r.status != 0 {
				l.mu.Lock()
				l.failures = append(l.failures, fmt.Sprintf("%q: %s", argv(n), r))
				l.mu.Unlock()
			}
			count.Add(1)
		}
	}
	out := t.TempDir()
	l.clients.Add(2)
	go loop(&l.pushes, func(n int64) []string { return []string{"push", img.tar, s.ref(fmt.Sprintf("library/loop:%d", n))} })
	go loop(&l.pulls, func(int64) []string {
		return []string{"pull", s.ref("library/loop:0"), filepath.Join(out, "pulled.tar")}
	})
	t.Cleanup(func() { cancel(); l.clients.Wait() })
	return l
}

// rounds waits until each loop has gone round n more times.
func (l *traffic) rounds(t *testing.T, n int64) {
	t.Helper()
	pushes, pulls := l.pushes.Load()+n, l.pulls.Load()+n
	eventually(t, "more pushes and pulls", func() error {
		if l.pushes.Load() < pushes || l.pulls.Load() < pulls {
			return fmt.Errorf("%d pushes and %d pulls, want %d and %d", l.pushes.Load(), l.pulls.Load(), pushes, pulls)
		}
		return nil
	})
}

// end stops the loops and counts.
func (l *traffic) end(t *testing.T) {
	t.Helper()
	l.cancel()
	l.clients.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d pushes, %d pulls, %d failures", l.pushes.Load(), l.pulls.Load(), len(l.failures))
	for _, f := range l.failures {
		t.Errorf("during the rotation: %s", f)
	}
}
