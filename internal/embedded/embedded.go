// Package embedded runs the CNCF distribution registry in this process, beside
// the token server, on one host:port.
//
// It is the runtime for one machine: plain HTTP on loopback, where every client
// (docker, crane, skopeo) accepts it. Paths below /v2/ belong to the registry;
// the token endpoint and its pages belong to the handler in [Options.Auth]. The
// realm in the registry's challenge follows the Host that the client used, so
// that localhost, 127.0.0.1 and [::1] all work.
//
//	srv, err := embedded.New(embedded.Options{
//		Addr: "localhost:5000", ConfigPath: "conf/registry/config.yml", DataDir: "data/registry",
//		TrustBundle: "conf/trust/bundle.pem", JWKS: "conf/trust/jwks.json", Auth: tokens,
//	})
//	if err != nil { … }
//	err = srv.Serve(ctx) // until ctx ends and the uploads in flight are done
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/token" // the access controller that the configuration names
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the storage driver that the configuration names
	"github.com/sirupsen/logrus"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// RealmPath is the token endpoint's path on the registry's own listener.
const RealmPath = "/auth"

// DefaultDrainTimeout bounds the wait for uploads in flight where the registry's
// configuration sets no http.draintimeout.
const DefaultDrainTimeout = 60 * time.Second

// Options say what to run and where.
type Options struct {
	// Addr is the loopback host:port to listen on. The host "localhost" listens on
	// 127.0.0.1 and, where the machine has it, on ::1.
	Addr string
	// ConfigPath is the registry's configuration file (distribution's format). Its
	// storage root, listener, realm, trust paths and debug server are replaced by
	// what an embedded registry needs; all else counts.
	ConfigPath string
	// DataDir is the storage root.
	DataDir string
	// TrustBundle and JWKS are the files with the certificates and keys that tokens
	// are checked against.
	TrustBundle, JWKS string
	// Auth answers the token endpoint, the page at / and the health paths. It sees no
	// forwarding headers: nothing stands in front of an embedded registry.
	Auth http.Handler
	// Logger receives life-cycle messages.
	Logger *slog.Logger
	// LogOutput receives the registry's own log lines (JSON); nil drops them.
	LogOutput io.Writer
	// LogLevel is from which level on they are written. Above info, what every client does
	// in the ordinary course (a first request without a token, a look for a layer that is
	// not there yet) is left out, although the registry calls it a warning or an error.
	LogLevel slog.Level
	// Events is where the registry reports what it did, in this process; nil: nowhere. What
	// the configuration says about notifications is for other runtimes and left out.
	Events *EventTarget
}

// EventTarget is a listener for the registry's notifications.
type EventTarget struct {
	URL string
	// Secret is sent as Authorization: Bearer SECRET.
	Secret secret.Text
}

// ErrAddrInUse reports that another process listens on the address.
var ErrAddrInUse = errors.New("address already in use")

// Server is an embedded registry, listening and ready to serve.
type Server struct {
	app       *handlers.App
	http      *http.Server
	listeners []net.Listener
	addr      string
	service   string
	drain     time.Duration
	log       *slog.Logger
	uploads   *uploadTracker
}

// New reads the configuration, opens the storage and binds the listeners. Errors name
// the file or the address; [ErrAddrInUse] is wrapped where the port is taken.
func New(o Options) (*Server, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg, err := loadConfig(o)
	if err != nil {
		return nil, err
	}
	configureLog(o.LogOutput, o.LogLevel)
	listeners, addr, err := listen(o.Addr)
	if err != nil {
		return nil, err
	}
	app, err := newApp(cfg)
	if err != nil {
		for _, l := range listeners {
			_ = l.Close()
		}
		return nil, fmt.Errorf("registry configuration %s: %w", o.ConfigPath, err)
	}
	s := &Server{
		app: app, listeners: listeners, addr: addr, log: log,
		drain: cfg.HTTP.DrainTimeout, uploads: newUploadTracker(time.Now),
	}
	if s.drain <= 0 {
		s.drain = DefaultDrainTimeout
	}
	if p, ok := cfg.Auth["token"]; ok {
		s.service, _ = p["service"].(string)
	}
	s.http = &http.Server{
		Handler:           s.handler(o),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Addr is the host:port that clients use.
func (s *Server) Addr() string { return s.addr }

// Service is the registry's service name, the audience of its tokens.
func (s *Server) Service() string { return s.service }

// Realm is the token endpoint's URL for clients that use [Server.Addr].
func (s *Server) Realm() string { return "http://" + s.addr + RealmPath }

// Serve answers requests until ctx ends, then waits for the uploads in flight to be
// finished by their clients, at most the drain timeout, and closes the registry.
// A push is several requests, so the listener stays open while an upload session is.
// It returns nil after an orderly stop. A second way to stop at once is [Server.Close].
func (s *Server) Serve(ctx context.Context) error {
	errs := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { errs <- s.http.Serve(l) }()
	}
	select {
	case err := <-errs:
		s.Close()
		return fmt.Errorf("serve on %s: %w", s.addr, err)
	case <-ctx.Done():
	}
	deadline := time.Now().Add(s.drain)
	if n := s.uploads.active(); n > 0 {
		s.log.Info("finishing uploads in flight", "uploads", n, "at_most", s.drain.String())
		s.uploads.waitQuiet(deadline)
	}
	stop, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	err := s.http.Shutdown(stop)
	if err != nil {
		_ = s.http.Close()
		err = fmt.Errorf("stopped with requests still in flight after %s", s.drain)
	}
	return errors.Join(err, s.app.Shutdown())
}

// Close ends everything at once, cutting requests in flight.
func (s *Server) Close() {
	_ = s.http.Close()
	s.uploads.giveUp()
}

// handler routes by path: /v2 to the registry, the token server's paths to Auth.
func (s *Server) handler(o Options) http.Handler {
	registry := s.uploads.wrap(s.app)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopbackHost(r.Host) {
			// Another name would need TLS: clients refuse plain HTTP for it, and
			// answering any Host would let a web page of a rebound DNS name in.
			writeError(w, http.StatusMisdirectedRequest, "UNSUPPORTED",
				"this embedded registry answers to localhost, 127.0.0.1 and [::1] only; other names need TLS (runtime compose)")
			return
		}
		// Nothing stands in front: what a client says about proxies is not believed.
		for _, h := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip", "Forwarded"} {
			r.Header.Del(h)
		}
		r.Header.Set("X-Forwarded-Proto", "http") // the registry builds https realms without it
		if r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/") {
			registry.ServeHTTP(w, r)
			return
		}
		o.Auth.ServeHTTP(w, r)
	})
}

// loadConfig reads the registry's configuration and turns it into that of an embedded one.
func loadConfig(o Options) (*configuration.Configuration, error) {
	f, err := os.Open(o.ConfigPath)
	if err != nil {
		return nil, fmt.Errorf("registry configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	// Environment variables named REGISTRY_… would override the file: the embedded
	// registry is what the folder says, whatever the shell exported.
	cfg, err := parseWithoutEnv(f)
	if err != nil {
		return nil, fmt.Errorf("registry configuration %s: %w", o.ConfigPath, err)
	}
	if t := cfg.Storage.Type(); t != "filesystem" {
		return nil, fmt.Errorf("registry configuration %s: storage %q is not served by the embedded runtime, which keeps images on disk", o.ConfigPath, t)
	}
	if cfg.Storage["filesystem"] == nil {
		cfg.Storage["filesystem"] = configuration.Parameters{}
	}
	cfg.Storage["filesystem"]["rootdirectory"] = o.DataDir
	cfg.HTTP.Addr, cfg.HTTP.Net, cfg.HTTP.Host = "", "", ""
	cfg.HTTP.Debug.Addr = ""
	// Nobody could read its metrics, and a second registry in the process could not register them.
	cfg.HTTP.Debug.Prometheus.Enabled = false
	cfg.HTTP.RelativeURLs = true
	cfg.Notifications.Endpoints = nil
	if o.Events != nil {
		cfg.Notifications.Endpoints = []configuration.Endpoint{{
			Name: "audit", URL: o.Events.URL, Headers: http.Header{"Authorization": {"Bearer " + o.Events.Secret.Reveal()}},
			// No media type is ignored: mounts of layers would be lost with the rest. The listener
			// leaves out what manifests tell already.
			Timeout: 2 * time.Second, Threshold: 5, Backoff: time.Second,
		}}
	}
	token, ok := cfg.Auth["token"]
	if !ok {
		return nil, fmt.Errorf("registry configuration %s: no auth.token section: the registry would be open to everybody", o.ConfigPath)
	}
	token["autoredirect"], token["autoredirectpath"] = true, RealmPath
	token["realm"] = "http://" + o.Addr + RealmPath
	token["rootcertbundle"], token["jwks"] = o.TrustBundle, o.JWKS
	return cfg, nil
}

func parseWithoutEnv(r io.Reader) (*configuration.Configuration, error) {
	saved := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, _ := strings.Cut(kv, "="); strings.HasPrefix(strings.ToUpper(k), "REGISTRY_") {
			saved[k] = v
			_ = os.Unsetenv(k)
		}
	}
	defer func() {
		for k, v := range saved {
			_ = os.Setenv(k, v)
		}
	}()
	return configuration.Parse(r)
}

// newApp builds the registry. Its constructor panics on a configuration that it can't
// run; that is an error here.
func newApp(cfg *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			app, err = nil, fmt.Errorf("%v", p)
		}
	}()
	return handlers.NewApp(context.Background(), cfg), nil
}

// configureLog directs the registry's log, which goes through logrus' standard logger.
func configureLog(out io.Writer, level slog.Level) {
	if out == nil {
		out = io.Discard
	}
	logrus.SetOutput(out)
	var format logrus.Formatter = &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano, DisableHTMLEscape: true}
	switch {
	case level <= slog.LevelDebug:
		logrus.SetLevel(logrus.DebugLevel)
	case level <= slog.LevelInfo:
		logrus.SetLevel(logrus.InfoLevel)
	case level <= slog.LevelWarn:
		logrus.SetLevel(logrus.WarnLevel)
		format = ordinaryLeftOut{format}
	default:
		logrus.SetLevel(logrus.ErrorLevel)
		format = ordinaryLeftOut{format}
	}
	logrus.SetFormatter(format)
}

// ordinaryLeftOut writes nothing for lines about requests that ended as they should.
type ordinaryLeftOut struct{ logrus.Formatter }

func (f ordinaryLeftOut) Format(e *logrus.Entry) ([]byte, error) {
	status, ok := e.Data["http.response.status"].(int)
	if ok && status < http.StatusInternalServerError || strings.HasPrefix(e.Message, "error authorizing context") {
		return nil, nil
	}
	return f.Formatter.Format(e)
}

// CheckAddr tells whether addr is a host:port that the embedded runtime can serve:
// a loopback address or localhost, with a port. Port 0 picks a free one.
func CheckAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port", port)
	}
	if !loopbackName(host) {
		return fmt.Errorf("%q is not a loopback host: the embedded runtime speaks plain HTTP, which clients accept on localhost, 127.0.0.1 and [::1] only", host)
	}
	return nil
}

// Probe binds addr as [New] does and gives the listeners back, to learn early whether it
// can be had. Closing the result frees the address.
func Probe(addr string) (io.Closer, error) {
	ls, _, err := listen(addr)
	if err != nil {
		return nil, err
	}
	return closers(ls), nil
}

type closers []net.Listener

func (c closers) Close() error {
	var errs []error
	for _, l := range c {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// listen binds addr. For localhost both families are bound, so that no client ends at
// another program that listens on the same port of the other one.
func listen(addr string) ([]net.Listener, string, error) {
	if err := CheckAddr(addr); err != nil {
		return nil, "", err
	}
	host, port, _ := net.SplitHostPort(addr)
	hosts := []string{host}
	if strings.EqualFold(host, "localhost") {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var ls []net.Listener
	fail := func(at string, err error) ([]net.Listener, string, error) {
		for _, l := range ls {
			_ = l.Close()
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, "", fmt.Errorf("listen on %s: %w", at, ErrAddrInUse)
		}
		return nil, "", fmt.Errorf("listen on %s: %w", at, err)
	}
	for _, h := range hosts {
		at := net.JoinHostPort(h, port)
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", at)
		if err != nil {
			if len(ls) > 0 && !errors.Is(err, syscall.EADDRINUSE) {
				continue // no IPv6 on this machine
			}
			return fail(at, err)
		}
		ls = append(ls, l)
		_, port, _ = net.SplitHostPort(l.Addr().String())
	}
	return ls, net.JoinHostPort(host, port), nil
}

func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return loopbackName(host)
}

func loopbackName(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func writeError(w http.ResponseWriter, status int, code, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`+"\n", code, msg)
}

// uploadTracker knows the upload sessions that are open, so that a stop can wait for
// pushes to end although each is made of several requests.
type uploadTracker struct {
	now      func() time.Time
	mu       sync.Mutex
	inFlight int                  // requests being answered that write
	sessions map[string]time.Time // upload session -> last request of it
	lastSeen time.Time            // last request that wrote
	changed  chan struct{}
	quit     chan struct{}
	quitOnce sync.Once
}

const (
	// quietFor is how long no write may have been seen for a push to count as over:
	// clients go from one layer to the next, and on to the manifest, within it.
	quietFor = time.Second
	// abandoned is how long an open session may stand still before the stop no longer
	// waits for it.
	abandoned = 5 * time.Second
)

func newUploadTracker(now func() time.Time) *uploadTracker {
	return &uploadTracker{now: now, sessions: map[string]time.Time{}, changed: make(chan struct{}, 1), quit: make(chan struct{})}
}

func (t *uploadTracker) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		default:
			next.ServeHTTP(w, r)
			return
		}
		t.begin()
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		defer func() { t.end(r, rec) }()
		next.ServeHTTP(rec, r)
	})
}

func (t *uploadTracker) begin() {
	t.mu.Lock()
	t.inFlight++
	t.mu.Unlock()
}

func (t *uploadTracker) end(r *http.Request, rec *statusRecorder) {
	t.mu.Lock()
	t.inFlight--
	t.lastSeen = t.now()
	const marker = "/blobs/uploads/"
	if i := strings.LastIndex(r.URL.Path, marker); i >= 0 {
		id := r.URL.Path[i+len(marker):]
		switch {
		case r.Method == http.MethodPost && rec.status == http.StatusAccepted:
			if id := rec.Header().Get("Docker-Upload-UUID"); id != "" {
				t.sessions[id] = t.lastSeen
			}
		case r.Method == http.MethodPatch && rec.status == http.StatusAccepted:
			t.sessions[id] = t.lastSeen
		case r.Method == http.MethodPut, r.Method == http.MethodDelete:
			delete(t.sessions, id)
		}
	}
	// Sessions that clients left open for an hour are nobody's push any more.
	for id, seen := range t.sessions {
		if t.lastSeen.Sub(seen) > time.Hour {
			delete(t.sessions, id)
		}
	}
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// active is the number of uploads being worked on: writes being answered and sessions
// seen a short while ago.
func (t *uploadTracker) active() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := 0
	for _, seen := range t.sessions {
		if t.now().Sub(seen) < abandoned {
			open++
		}
	}
	n := max(t.inFlight, open)
	if n == 0 && t.now().Sub(t.lastSeen) < quietFor {
		n = 1 // between two layers of one push
	}
	return n
}

// waitQuiet returns when no upload is active, at the deadline, or on giveUp.
func (t *uploadTracker) waitQuiet(deadline time.Time) {
	tick := time.NewTicker(quietFor / 5)
	defer tick.Stop()
	end := time.NewTimer(time.Until(deadline))
	defer end.Stop()
	for t.active() > 0 {
		select {
		case <-t.changed:
		case <-tick.C:
		case <-end.C:
			return
		case <-t.quit:
			return
		}
	}
}

func (t *uploadTracker) giveUp() { t.quitOnce.Do(func() { close(t.quit) }) }

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(code int) {
	r.status = code
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap gives http.ResponseController the writer below.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
