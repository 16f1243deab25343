package authload_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// TestD5EveryAnswerIsOldOrNew serves, reloads and edits at once; it is meant for the race
// detector. Version n of the file allows to pull vn and nothing else, so that an answer
// tells which file it is from: one whole file, not older than the one that was in force
// when the request came, not newer than what had been written when it was answered.
func TestD5EveryAnswerIsOldOrNew(t *testing.T) {
	t.Parallel()
	const versions = 40
	entry := func(n int) acl.Entry {
		name := fmt.Sprintf("v%d", n)
		return acl.Entry{Match: acl.Match{Name: &name}, Actions: []string{"pull"}, Comment: name}
	}
	f := newFolder(t, head+"users: {\"\": {}}\nacl:\n- {match: {name: v0}, actions: [\"pull\"]}\n")
	srv := newServer(t, f.options(), nil)
	var written, loaded atomic.Int64
	edit := func(n int) error {
		_, err := safefile.Transform(t.Context(), f.path("auth-server.yml"), func(old []byte) ([]byte, error) {
			file, problems := config.Parse("auth-server.yml", old)
			if len(problems) > 0 {
				return nil, problems
			}
			text, err := file.InsertEntry(0, entry(n))
			if err != nil {
				return nil, err
			}
			if file, problems = config.Parse("auth-server.yml", text); len(problems) > 0 {
				return nil, problems
			}
			written.Store(int64(n)) // before anybody can read it
			return file.RemoveEntry(1)
		}, safefile.TransformOptions{})
		return err
	}
	path := "/auth?service=r"
	for n := range versions + 1 {
		path += fmt.Sprintf("&scope=repository:v%d:pull", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var clients, watcher sync.WaitGroup
	watcher.Go(func() { srv.Watch(ctx, authserver.WatchOptions{}) })
	var asked atomic.Int64
	for range 3 {
		clients.Go(func() {
			for ctx.Err() == nil {
				least := loaded.Load()
				w := do(t, srv, call{path: path})
				most := written.Load()
				asked.Add(1)
				if w.Code != 200 {
					t.Errorf("status %d: %s", w.Code, w.Body)
					return
				}
				c, _ := tokenOf(t, w.Body.Bytes())
				var granted []string
				for _, a := range c.Access {
					if len(a.Actions) > 0 {
						granted = append(granted, a.Name)
					}
				}
				var n int64
				if _, err := fmt.Sscanf(strings.Join(granted, " "), "v%d", &n); err != nil || len(granted) != 1 || n < least || n > most {
					t.Errorf("granted %q; want one of v%d to v%d", granted, least, most)
					return
				}
			}
		})
	}
	for n := 1; n <= versions; n++ {
		if err := errors.Join(edit(n), srv.Reload(t.Context())); err != nil {
			t.Error(err)
			break
		}
		loaded.Store(int64(n))
		for before := asked.Load(); asked.Load() < before+3 && !t.Failed(); {
			do(t, srv, call{path: "/healthz?verbose", peer: "127.0.0.1:1"})
		}
	}
	cancel()
	clients.Wait()
	watcher.Wait()
	t.Logf("%d answers over %d edits and %d reloads", asked.Load(), versions, srv.Stats().Reloads)
	if s := srv.Stats(); s.ReloadsFailed != 0 || s.Panics != 0 {
		t.Errorf("%d reloads failed, %d panics", s.ReloadsFailed, s.Panics)
	}
}
