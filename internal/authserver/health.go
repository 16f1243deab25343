package authserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// health is the answer of /healthz. Only "status" is there without ?verbose.
type health struct {
	// Status is "ok", or "degraded" when something is wrong while the server serves;
	// Reasons say what, in words.
	Status   string        `json:"status"`
	Reasons  []string      `json:"reasons,omitempty"`
	Started  string        `json:"started,omitempty"`
	Config   *healthConfig `json:"config,omitempty"`
	Requests *healthCounts `json:"requests,omitempty"`
	Log      *healthLog    `json:"log,omitempty"`
}

type healthLog struct {
	Written uint64 `json:"lines_written"`
	Dropped uint64 `json:"lines_dropped"`
	Queued  int    `json:"lines_queued"`
	// Error is why lines are being lost now.
	Error string `json:"error,omitempty"`
}

type healthConfig struct {
	LoadedAt      string `json:"loaded_at"`
	Entries       int    `json:"entries"`
	Reloads       uint64 `json:"reloads"`
	ReloadsFailed uint64 `json:"reloads_failed"`
	// LastError is why the last reload failed; absent once one has succeeded.
	LastError   string `json:"last_error,omitempty"`
	LastErrorAt string `json:"last_error_at,omitempty"`
	// Waiting says what keeps a changed file from being loaded.
	Waiting string `json:"waiting,omitempty"`
}

type healthCounts struct {
	Total         uint64 `json:"total"`
	Granted       uint64 `json:"granted"`
	Refused       uint64 `json:"refused"`
	Malformed     uint64 `json:"malformed"`
	Limited       uint64 `json:"limited"`
	Busy          uint64 `json:"busy"`
	Failed        uint64 `json:"failed"`
	MatcherErrors uint64 `json:"matcher_errors"`
	AuditErrors   uint64 `json:"audit_errors"`
	TokensReused  uint64 `json:"tokens_reused"`
	Checks        uint64 `json:"password_checks"`
	ChecksFailed  uint64 `json:"password_checks_failed"`
	ChecksWaiting int    `json:"password_checks_waiting"`
}

// serveHealth says that the process answers, and with ?verbose how it is. A failed
// reload is no reason to restart a server that works: the status is 200 then, too.
func (s *Server) serveHealth(w *answerWriter, r *http.Request, st *State) {
	s.mu.Lock()
	loadedAt, lastError, lastFailed, notice := s.loadedAt, s.lastError, s.lastFailed, s.notice
	s.mu.Unlock()
	h := health{Status: "ok"}
	var logs LogState
	if s.logState != nil {
		logs = s.logState()
	}
	wrong := s.degraded(st)
	if len(wrong) > 0 {
		h.Status = "degraded"
	}
	// Errors quote the configuration, which is nobody's business on the internet.
	if r.URL.Query().Has("verbose") && nearby(r, st) {
		for _, d := range wrong {
			h.Reasons = append(h.Reasons, d.Text)
		}
		stats := s.Stats()
		h.Started = s.started.UTC().Format(time.RFC3339)
		h.Config = &healthConfig{
			LoadedAt: loadedAt.UTC().Format(time.RFC3339), Entries: st.Policy.Len(),
			Reloads: stats.Reloads, ReloadsFailed: stats.ReloadsFailed, Waiting: notice,
		}
		if lastError != nil {
			h.Config.LastError, h.Config.LastErrorAt = reasonAndHint(lastError), lastFailed.UTC().Format(time.RFC3339)
		}
		h.Requests = &healthCounts{
			Total: stats.Requests, Granted: stats.Granted, Refused: stats.Refused, Malformed: stats.Malformed,
			Limited: stats.Limited, Busy: stats.Busy, Failed: stats.Failed,
			MatcherErrors: stats.MatcherErrors, AuditErrors: stats.AuditErrors, TokensReused: stats.TokensReused,
			Checks: stats.Guard.Checked, ChecksFailed: stats.Guard.Failed, ChecksWaiting: stats.Guard.Waiting,
		}
	}
	if h.Requests != nil && s.logState != nil {
		h.Log = &healthLog{Written: logs.Written, Dropped: logs.Dropped, Queued: logs.Queued, Error: printable(logs.Err, maxReasonField)}
	}
	s.sendJSON(w, r, http.StatusOK, h)
}

// SelfCheck asks the handler how it is, as a client on this machine would, but without a
// connection, which others may have used up: it tells a server that is busy from one that
// hangs. The error says why there was no good answer before ctx ended.
func (s *Server) SelfCheck(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/healthz?verbose", http.NoBody)
	if err != nil {
		return err
	}
	answered := make(chan int, 1)
	go func() {
		w := &statusOnly{header: http.Header{}}
		s.ServeHTTP(w, r)
		answered <- w.status
	}()
	select {
	case status := <-answered:
		if status != http.StatusOK {
			return fmt.Errorf("/healthz answers %d", status)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("/healthz does not answer: %w", ctx.Err())
	}
}

// statusOnly keeps an answer's status and drops the rest.
type statusOnly struct {
	header http.Header
	status int
}

func (w *statusOnly) Header() http.Header         { return w.header }
func (w *statusOnly) WriteHeader(status int)      { w.status = status }
func (w *statusOnly) Write(p []byte) (int, error) { return len(p), nil }

// serveReady says whether requests should be sent here: not while the server drains.
func (s *Server) serveReady(w *answerWriter, r *http.Request, _ *State) {
	if s.draining.Load() {
		s.sendJSON(w, r, http.StatusServiceUnavailable, health{Status: "draining"})
		return
	}
	s.sendJSON(w, r, http.StatusOK, health{Status: "ready"})
}

func (s *Server) sendJSON(w *answerWriter, r *http.Request, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.send(r, status, append(body, '\n'))
}

// nearby reports whether the request comes from this machine or a private network, as
// far as the connection and, where one is configured, the proxy's header tell.
func nearby(r *http.Request, st *State) bool {
	peer := peerOf(r.RemoteAddr)
	if !private(peer) {
		return false
	}
	if st.RealIP.Header != "" && len(r.Header.Values(st.RealIP.Header)) > 0 {
		addr, err := st.RealIP.client(r.Header, peer)
		return err == nil && private(addr)
	}
	return true
}

func private(a netip.Addr) bool {
	return !a.IsValid() || a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}
