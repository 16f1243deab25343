package cli

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/embedded"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// auditDir is the folder of the deployment's audit log, "" where it keeps none: the config
// switches it off, or says nothing and the folder is neither a generated deployment nor has
// a log. A folder made by hand for docker_auth gets none just because it is looked at.
func auditDir(d *deployment.Deployment, f *config.File) string {
	x := config.DefaultAudit()
	if f != nil {
		x = f.Extras.Audit
	}
	if x.Mode == config.AuditOff {
		return ""
	}
	dir := filepath.FromSlash(x.Path)
	if !filepath.IsAbs(dir) {
		dir = d.Path(x.Path)
	}
	if x.Set || d.Answers != "" {
		return dir
	}
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return dir
	}
	return ""
}

// auditOptions are the log's, as the config says.
func (a *app) auditOptions(dir string, x config.Audit) audit.Options {
	return audit.Options{
		Dir: dir, Sync: audit.SyncPolicy(x.Sync), SyncEvery: x.SyncEvery, RotateSize: cmp.Or(x.RotateSize, -1), RotateAge: cmp.Or(x.RotateAge, -1),
		Keep: x.Keep, KeepSize: x.KeepSize, Plain: !x.Compress, Now: a.now,
	}
}

// auditTrail is the audit log of a server: it follows the config through reloads.
type auditTrail struct {
	a   *app
	d   *deployment.Deployment
	log *slog.Logger
	// inProcess is where the registry in this process reports to; nil: the config says.
	inProcess *eventsSettings

	joiner *audit.Joiner
	events atomic.Pointer[audit.Log]

	mu       sync.Mutex
	logs     map[string]*audit.Log
	listener *eventsListener
}

func (a *app) newAuditTrail(d *deployment.Deployment, log *slog.Logger) *auditTrail {
	return &auditTrail{a: a, d: d, log: log, joiner: audit.NewJoiner(), logs: map[string]*audit.Log{}}
}

// configure opens what the config asks for and returns the recorder of decisions, nil where
// there is none. Former logs stay open: requests that are being answered use them.
func (t *auditTrail) configure(f *config.File, prefix string) (authserver.Recorder, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := auditDir(t.d, f)
	if dir == "" {
		return nil, t.listen(nil, "", "")
	}
	x := f.Extras.Audit
	key := fmt.Sprintf("%s %+v", dir, [...]any{x.Sync, x.SyncEvery, x.RotateSize, x.RotateAge, x.Keep, x.KeepSize, x.Compress})
	log := t.logs[key]
	if log == nil {
		o := t.a.auditOptions(dir, x)
		o.Failed = func(err error) {
			if err != nil {
				t.log.Error("decisions can't be recorded", "audit", dir, "error", err.Error(),
					"hint", "free space on the disk of this folder, or make it writable for this user; x-regctl-setup.audit says whether tokens are issued meanwhile")
				return
			}
			t.log.Info("decisions are recorded again", "audit", dir)
		}
		log = audit.NewLog(o)
		t.logs[key] = log
	}
	if err := t.eventsFrom(x.Events, prefix, dir); err != nil {
		return nil, err
	}
	t.events.Store(log)
	return authserver.NewAuditRecorder(log, t.joiner, t.d.Rel(t.d.Auth)), nil
}

// eventsSettings are those of a listener, read and resolved.
type eventsSettings struct {
	address string
	secret  secret.Text
	peers   []netip.Prefix
}

// inProcessEvents is a listener for a registry in this process: on loopback, with a secret
// that nobody else learns.
func inProcessEvents(rand io.Reader) (*eventsSettings, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, err
	}
	return &eventsSettings{address: "127.0.0.1:0", secret: secret.New(hex.EncodeToString(b))}, nil
}

// readEventsSecret reads the file with what the registry must send.
func readEventsSecret(path string) (secret.Text, error) {
	file, err := os.Open(path)
	if err != nil {
		return secret.Text{}, fmt.Errorf("the secret of the listener for events: %w", err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, 4097))
	if err != nil {
		return secret.Text{}, fmt.Errorf("the secret of the listener for events: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if len(text) < 16 || len(data) > 4096 || strings.ContainsAny(text, "\r\n") {
		return secret.Text{}, fmt.Errorf("%s: expected one line of 16 to 4096 bytes, the secret that the registry sends", displayPath(path))
	}
	return secret.New(text), nil
}

// eventsFrom brings the listener to what the settings ask for.
func (t *auditTrail) eventsFrom(e *config.AuditEvents, prefix, dir string) error {
	s := t.inProcess
	if s == nil && e != nil {
		text, err := readEventsSecret(t.d.Resolve(e.SecretFile))
		if err != nil {
			return err
		}
		s = &eventsSettings{address: e.Address, secret: text, peers: e.Peers}
	}
	return t.listen(s, prefix+"/events", dir)
}

// eventsListener is a listener for events that serves.
type eventsListener struct {
	settings eventsSettings
	path     string
	addr     net.Addr
	server   *http.Server
}

// same reports whether the listener is what the settings ask for.
func (l *eventsListener) same(s *eventsSettings, path string) bool {
	return l.path == path && l.settings.address == s.address && fmt.Sprint(l.settings.peers) == fmt.Sprint(s.peers) &&
		subtle.ConstantTimeCompare([]byte(l.settings.secret.Reveal()), []byte(s.secret.Reveal())) == 1
}

// listen opens the listener that s asks for, and closes one that is not asked for any more.
func (t *auditTrail) listen(s *eventsSettings, path, dir string) error {
	if t.listener != nil && s != nil && t.listener.same(s, path) {
		return nil
	}
	if t.listener != nil {
		_ = t.listener.server.Close()
		t.listener = nil
	}
	if s == nil {
		return nil
	}
	handler := audit.NewEvents(audit.EventsOptions{
		Log: currentLog{t}, Path: path, Secret: s.secret, Peers: s.peers, Joiner: t.joiner, Now: t.a.now,
		Refused: func(peer string, err error) {
			t.log.Warn("a report of the registry was not taken", "peer", peer, "error", err.Error())
		},
	})
	handler.Recall(dir)
	l, err := serveEvents(s, path, handler, t.log)
	if err != nil {
		return err
	}
	t.listener = l
	return nil
}

// serveEvents opens a listener for events.
func serveEvents(s *eventsSettings, path string, handler http.Handler, log *slog.Logger) (*eventsListener, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("listen for the registry's events: %w", err)
	}
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener for the registry's events ended", "error", err.Error())
		}
	}()
	log.Info("listening for the registry's events", "address", ln.Addr().String(), "path", path)
	return &eventsListener{settings: *s, path: path, addr: ln.Addr(), server: srv}, nil
}

// target is where a registry in this process reports to; nil: nowhere.
func (t *auditTrail) target() *embedded.EventTarget {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener == nil {
		return nil
	}
	return &embedded.EventTarget{URL: "http://" + t.listener.addr.String() + t.listener.path, Secret: t.listener.settings.secret}
}

// close ends the listener and writes out the logs.
func (t *auditTrail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = t.listener.server.Shutdown(ctx)
		cancel()
		_ = t.listener.server.Close()
	}
	for _, l := range t.logs {
		_ = l.Close()
	}
}

// currentLog appends to the log that the config names now.
type currentLog struct{ t *auditTrail }

// Append is [audit.Log.Append].
func (c currentLog) Append(ctx context.Context, records ...*audit.Record) error {
	log := c.t.events.Load()
	if log == nil {
		return audit.ErrClosed
	}
	return log.Append(ctx, records...)
}
