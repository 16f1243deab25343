//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoak puts a bounded load on one embedded registry, for 3 s or as long as
// REGCTL_SETUP_SOAK says: every answer must be right, and memory must not creep.
func TestSoak(t *testing.T) {
	length := 3 * time.Second
	if v := os.Getenv("REGCTL_SETUP_SOAK"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatalf("REGCTL_SETUP_SOAK: %v", err)
		}
	}
	s, p := startEmbedded(t)
	var rounds atomic.Int64
	until := time.Now().Add(length)
	load := func(workers int, until time.Time) {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := 0; i == 0 || time.Now().Before(until) && !t.Failed(); i++ {
					round(t, s, fmt.Sprintf("soak/w%d", w))
					rounds.Add(1)
				}
			})
		}
		wg.Wait()
	}
	load(4, time.Now().Add(length/4)) // caches and pools fill
	before := resident(t, p)
	load(4, until)
	after := resident(t, p)
	t.Logf("%d rounds in %s, resident memory %d MiB, then %d MiB", rounds.Load(), length, before>>20, after>>20)
	if limit := before + before/2 + 64<<20; after > limit {
		t.Errorf("resident memory went from %d to %d MiB, want at most %d", before>>20, after>>20, limit>>20)
	}
	if status := p.terminate(t); status != 0 {
		t.Errorf("up ended with %d, want 0", status)
	}
	if strings.Contains(p.err.String(), "panic") {
		t.Error("up logged a panic")
	}
}

// round pushes a layer, reads it back, and is refused what the rules refuse.
func round(t *testing.T, s *site, repo string) {
	data, digest := blob(t, 32<<10)
	token := s.token(t, s.admin, "repository:"+repo+":pull,push")
	begun := s.do(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", token, nil)
	if begun.status != http.StatusAccepted {
		t.Errorf("starting an upload: status %d: %s", begun.status, begun.body)
		return
	}
	u, err := url.Parse(begun.header.Get("Location"))
	if err != nil {
		t.Error(err)
		return
	}
	q := u.Query()
	q.Set("digest", digest)
	u.RawQuery = q.Encode()
	if got := s.do(t, http.MethodPut, u.String(), token, bytes.NewReader(data)); got.status != http.StatusCreated {
		t.Errorf("upload: status %d, want 201: %s", got.status, got.body)
	}
	path := "/v2/" + repo + "/blobs/" + digest
	viewer := s.token(t, s.viewer, "repository:"+repo+":pull,push")
	if got := s.do(t, http.MethodGet, path, viewer, nil); got.status != http.StatusOK || got.body != string(data) {
		t.Errorf("download: status %d and %d bytes, want 200 and %d", got.status, len(got.body), len(data))
	}
	if got := s.do(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", viewer, nil); got.status != http.StatusUnauthorized {
		t.Errorf("viewer starts an upload: status %d, want 401", got.status)
	}
	if got := s.do(t, http.MethodGet, path, "", nil); got.status != http.StatusUnauthorized {
		t.Errorf("download without a token: status %d, want 401", got.status)
	}
}

// resident is the memory that a process holds, in bytes.
func resident(t *testing.T, p *process) int64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		missing(t, "resident memory is read from /proc: %v", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("/proc/PID/status has no VmRSS")
	return 0
}
