package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Path is where the metrics are found on their listener.
const Path = "/metrics"

// scrapesAtOnce bounds those who look at the same time; each costs some memory.
const scrapesAtOnce = 4

// closeTimeout is how long a scrape in flight may take to end.
const closeTimeout = time.Second

// Listener shows metrics on an address of their own, which may change. Nobody logs in there:
// who reaches the address may look. It is safe for concurrent use.
type Listener struct {
	handler http.Handler
	log     *slog.Logger

	mu     sync.Mutex
	addr   string // as it was asked for; "": none
	bound  net.Addr
	server *http.Server
	closed bool
}

// NewListener returns a listener that does not listen yet; log may be nil.
func NewListener(from prometheus.Gatherer, log *slog.Logger) *Listener {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, promhttp.HandlerFor(from, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             10 * time.Second,
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(w, "metrics of regctl-setup: "+Path)
	})
	return &Listener{handler: mux, log: log}
}

// Listen moves to addr (host:port); "" listens nowhere. The new address is open before the
// old one closes; when it can't be opened the old one stays, and the error says why.
func (l *Listener) Listen(ctx context.Context, addr string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if addr == l.addr || l.closed {
		return nil
	}
	var server *http.Server
	var bound net.Addr
	if addr != "" {
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("metrics: listen on %s: %w", addr, err)
		}
		bound = listener.Addr()
		server = &http.Server{
			Handler:           l.handler,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       5 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute, // longer than the usual time between two scrapes
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		}
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				l.log.Error("the metrics are not shown any more", "address", addr, "error", err)
			}
		}()
		l.log.Info("showing metrics", "address", bound.String(), "path", Path)
	}
	shut(l.server)
	l.addr, l.bound, l.server = addr, bound, server
	return nil
}

// Addr is where it listens; nil: nowhere.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bound
}

// Close ends it for good.
func (l *Listener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	shut(l.server)
	l.addr, l.bound, l.server, l.closed = "", nil, nil, true
}

func shut(s *http.Server) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close()
	}
}
