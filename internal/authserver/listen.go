package authserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// DrainTimeout is how long requests in flight may take to end when the server stops.
const DrainTimeout = 10 * time.Second

// HTTPServer returns an http.Server for s with the configured time limits, without the
// limits on connections, which [Server.Serve] adds. HTTP/2 is off: clients ask once for
// a token, and one connection with many streams would be outside all counting.
func (s *Server) HTTPServer() *http.Server {
	l := s.State().Listen.withDefaults()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: l.ReadHeaderTimeout,
		ReadTimeout:       l.ReadTimeout,
		WriteTimeout:      l.WriteTimeout,
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    s.State().Limits.withDefaults().Header,
		Protocols:         protocols,
		ErrorLog:          slog.NewLogLogger(debugOnly{s.log.Handler()}, slog.LevelDebug),
	}
}

// debugOnly makes the HTTP server's own messages, which name clients and quote what they
// sent, printable.
type debugOnly struct{ slog.Handler }

func (h debugOnly) Handle(ctx context.Context, r slog.Record) error {
	r.Message = printable(r.Message, 1000)
	return h.Handler.Handle(ctx, r)
}

// liveServer is what runs between the beginning and the end of [Server.ListenAndServe].
type liveServer struct {
	ctx      context.Context //nolint:containedctx // the server's own life
	net      string
	addr     string
	current  *instance
	failed   chan error
	retiring sync.WaitGroup
}

// instance is one listener with its HTTP server.
type instance struct {
	srv      *http.Server
	listener net.Listener
	cancel   context.CancelFunc
}

// ListenAndServe listens where the state says and serves until ctx ends; then it waits
// up to [DrainTimeout] for requests in flight, closes what is left and returns nil. A
// reload with another address moves there: the new listener is open before the old one
// closes. ready, where given, is called with the first address once it is open.
func (s *Server) ListenAndServe(ctx context.Context, ready func(net.Addr)) error {
	at := s.State().Listen.withDefaults()
	l, err := Open(ctx, at.Net, at.Addr)
	if err != nil {
		return err
	}
	live := &liveServer{ctx: ctx, net: at.Net, addr: at.Addr, failed: make(chan error, 1)}
	live.current = s.start(l, live.failed)
	s.mu.Lock()
	s.live = live
	s.mu.Unlock()
	if ready != nil {
		ready(l.Addr())
	}
	select {
	case <-ctx.Done():
	case err = <-live.failed:
	}
	s.draining.Store(true)
	s.mu.Lock()
	s.live = nil
	current := live.current
	s.mu.Unlock()
	s.drain(current)
	live.retiring.Wait()
	return err
}

// Serve is [Server.ListenAndServe] on listeners that the caller has opened, as those handed
// over by a service manager. A reload with another address stays here, and says so.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	failed := make(chan error, len(listeners))
	var all []*instance
	for _, l := range listeners {
		all = append(all, s.start(l, failed))
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.draining.Store(true)
	var ending sync.WaitGroup
	for _, inst := range all {
		ending.Go(func() { s.drain(inst) })
	}
	ending.Wait()
	return err
}

// start serves on l.
func (s *Server) start(l net.Listener, failed chan<- error) *instance {
	srv := s.HTTPServer()
	base, cancel := context.WithCancel(context.Background())
	srv.BaseContext = func(net.Listener) context.Context { return base }
	conns := newConnTable(func() (int, int) {
		at := s.State().Listen.withDefaults()
		return min(at.Connections, maxConnections()), at.ConnectionsPerAddress
	}, func(c net.Conn) bool {
		// What a proxy sends is many clients.
		st, peer := s.State(), peerOf(c.RemoteAddr().String())
		return st.RealIP.Header != "" && (st.RealIP.Trusted == nil || st.RealIP.trusts(peer))
	})
	conns.counts = &s.conns
	srv.ConnState = conns.noteState
	srv.ConnContext = withConn
	inst := &instance{srv: srv, listener: l, cancel: cancel}
	s.log.Info("listening", "net", l.Addr().Network(), "address", l.Addr().String(), "tls", s.State().Listen.TLS != nil)
	go func() {
		err := srv.Serve(&limitListener{Listener: l, conns: conns, tls: func() *tls.Config { return s.State().Listen.TLS }})
		if !errors.Is(err, http.ErrServerClosed) {
			select {
			case failed <- fmt.Errorf("serving on %s: %w", l.Addr(), err):
			default:
			}
		}
	}()
	return inst
}

// drain ends an instance, at the latest after DrainTimeout.
func (s *Server) drain(inst *instance) {
	ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
	defer cancel()
	if err := inst.srv.Shutdown(ctx); err != nil {
		s.log.Warn("requests were still in flight and are cut off", "after", DrainTimeout.String())
		inst.cancel()
		_ = inst.srv.Close()
	}
	inst.cancel()
}

// relisten moves to the address of st where that is another one. The caller holds
// s.reloading.
func (s *Server) relisten(st *State) error {
	s.mu.Lock()
	live := s.live
	s.mu.Unlock()
	at, was := st.Listen.withDefaults(), s.State().Listen.withDefaults()
	if live == nil {
		if at.Net != was.Net || at.Addr != was.Addr {
			s.log.Warn("server.addr has changed; the listener was opened by somebody else and stays")
		}
		return nil
	}
	if at.Net == live.net && at.Addr == live.addr {
		return nil
	}
	l, err := Open(live.ctx, at.Net, at.Addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.live != live { // the server has begun to stop
		s.mu.Unlock()
		_ = l.Close()
		return nil
	}
	old := live.current
	live.current, live.net, live.addr = s.start(l, live.failed), at.Net, at.Addr
	live.retiring.Add(1)
	s.mu.Unlock()
	go func() {
		defer live.retiring.Done()
		s.drain(old)
	}()
	return nil
}

// Open opens a listener. A unix socket gets mode 0660 before it can be found under its
// name; one that nobody listens on any more is replaced.
func Open(ctx context.Context, network, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	if network != "unix" {
		l, err := lc.Listen(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		return l, nil
	}
	fail := func(err error) (net.Listener, error) {
		return nil, fmt.Errorf("listen on unix socket %s: %w", addr, err)
	}
	switch info, err := os.Lstat(addr); {
	case err == nil && info.Mode().Type() != os.ModeSocket:
		return fail(errors.New("there is a file of this name"))
	case err == nil:
		var d net.Dialer
		dialCtx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if c, err := d.DialContext(dialCtx, "unix", addr); err == nil {
			_ = c.Close()
			return fail(errors.New("address already in use"))
		}
	case !errors.Is(err, os.ErrNotExist):
		return fail(err)
	}
	// Made under another name and renamed: between its creation and chmod a socket has
	// whatever mode the umask leaves.
	tmp := addr + ".new"
	if info, err := os.Lstat(tmp); err == nil && info.Mode().Type() == os.ModeSocket {
		_ = os.Remove(tmp)
	}
	l, err := lc.Listen(ctx, "unix", tmp)
	if err != nil {
		return fail(err)
	}
	ul := l.(*net.UnixListener) //nolint:forcetypeassert // of network "unix"
	ul.SetUnlinkOnClose(false)
	err = os.Chmod(tmp, 0o660) //nolint:gosec // the proxy's group connects
	if err == nil {
		err = os.Rename(tmp, addr)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(tmp)
		return fail(err)
	}
	info, err := os.Lstat(addr)
	if err != nil {
		_ = l.Close()
		return fail(err)
	}
	return &unixListener{UnixListener: ul, path: addr, info: info}, nil
}

// unixListener removes its socket when it closes, unless another has taken its place.
type unixListener struct {
	*net.UnixListener
	path string
	info os.FileInfo
	once sync.Once
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	l.once.Do(func() {
		if info, statErr := os.Lstat(l.path); statErr == nil && os.SameFile(info, l.info) {
			_ = os.Remove(l.path)
		}
	})
	return err
}
