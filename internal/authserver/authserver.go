// Package authserver is the token server: an http.Handler that answers what a registry's
// challenge sends clients to, as docker_auth does.
//
//	GET, HEAD, POST {prefix}/auth, {prefix}/auth/token   a token
//	GET, HEAD       {prefix}/                             a page that names the issuer
//	GET, HEAD       /healthz, /healthz?verbose, /readyz   health
//	GET, HEAD       /.well-known/jwks.json                the public key of the tokens
//
// A request is read and checked ([parseTokenRequest]), the client is authenticated
// ([authn]), each scope is decided on its own ([acl.Policy.Decide]) and a token with what
// was granted is signed ([token.Issuer]). Refusing access is no failure: the token then
// grants less than was asked, or nothing. Credentials that can't be used are never taken
// for none.
//
// All that comes from configuration is one immutable [State]. [Server.Reload] builds a
// new one whole and swaps one pointer; a state that can't be built leaves the old one in
// place. [Server.Watch] reloads when files have changed.
//
//	srv, err := authserver.New(authserver.Options{Load: loader.Load, Logger: log})
//	if err != nil { … }
//	go srv.Watch(ctx, authserver.WatchOptions{})
//	err = srv.ListenAndServe(ctx) // or hand srv to any other http.Server as its handler
package authserver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/scope"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// TokenIssuer signs tokens; [*token.Issuer] is one.
type TokenIssuer interface {
	Issue(token.Request) (token.Token, error)
}

// Authorizer decides what the policy has no entry for.
type Authorizer interface {
	// Authorize returns what is granted of the request's actions. matched is false when
	// it has nothing to say, and the next one is asked. The error is ctx's when that
	// ended, an [*authn.BusyError], or says why the answer can't be had: then the whole
	// request fails.
	Authorize(ctx context.Context, req *acl.Request) (granted []string, matched bool, err error)
	// Name is the config's section, for the record of the decision.
	Name() string
}

// State is all that the server takes from its configuration. Once handed over it never
// changes.
type State struct {
	// Realm is named in the challenge and on the page: the token's issuer.
	Realm string
	// Issuer signs the tokens.
	Issuer TokenIssuer
	// SigningKey is the id of the key that a registry must know to trust the tokens: the
	// one that signs them, or that of the authority to which the chain in them leads. ""
	// where the server makes its own keys.
	SigningKey string
	// Expiration is the lifetime of tokens. PullExpiration and PushExpiration, where
	// they are set, replace it for tokens that grant nothing but pull, and for others.
	Expiration, PullExpiration, PushExpiration time.Duration
	// ReuseTokens lets a token that would say the same be handed out again, to the same
	// client, while more than three quarters of its life are left.
	ReuseTokens bool
	// Policy decides.
	Policy *acl.Policy
	// Authorizers are asked in this order where no entry of the policy matches.
	Authorizers []Authorizer
	// Authenticators are asked in this order. Those behind the first compute no hashes:
	// the guard lets others in while they are asked.
	Authenticators []authn.Authenticator
	// RefreshTokens gives out and knows refresh tokens; nil: there are none.
	RefreshTokens RefreshTokens
	// Services are the audiences that tokens are signed for; nil: any.
	Services []string
	// PathPrefix stands before the paths of the token endpoint and the page.
	PathPrefix string
	// HSTS adds Strict-Transport-Security to every answer.
	HSTS bool
	// RealIP says where the client's address is found.
	RealIP RealIP
	// Limits bound a request.
	Limits Limits
	// Guard bounds password checks.
	Guard authn.GuardOptions
	// Listen says where and how to listen.
	Listen Listen
	// Recorder receives every decision, in the place of [Options.Recorder]; nil: that one
	// does.
	Recorder Recorder
	// AuditRequired refuses to issue a token that can't be recorded.
	AuditRequired bool
	// JWKS is the public key of the tokens as a JSON Web Key Set (RFC 7517), under all ids
	// that registries look for; empty: none is shown.
	JWKS []byte
	// MetricsListen is host:port of the metrics; "" for none. The server itself does not
	// listen there. MetricsGiven tells that the configuration says so, and not a default.
	MetricsListen string
	MetricsGiven  bool
	// Certificates are those whose end the metrics and /healthz show.
	Certificates []Certificate
	// Users is how many accounts the configuration has.
	Users int
	// Sources are the files that the state was built from.
	Sources []string
	// Fingerprint is what [FingerprintFiles] said of them then.
	Fingerprint Fingerprint
	// Follows judges whether this state may take the place of old without anybody asking
	// for it: an error says why the files look as if they were still being written. It
	// is asked when a change was noticed on disk, not by [Server.Reload]. Nil: it may.
	Follows func(old *State) error
	// Source is whatever Load wants to find again in Follows.
	Source any
	// Warnings are for the log.
	Warnings []string

	// reuse is made when the state comes into force; nil: every token is new.
	reuse *tokenCache
}

// Limits bound one request. A zero field means the default, the one that config has.
type Limits struct {
	Body     int // bytes of a form
	Header   int // bytes of a header; the request line, too
	Scopes   int // scopes in a request
	Actions  int // actions in a scope
	Name     int // bytes of a resource's name, an action or a service
	User     int // bytes of a user name
	Password int // bytes of a password
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&l.Body, 64<<10)
	set(&l.Header, 32<<10)
	set(&l.Scopes, scope.DefaultScopes)
	set(&l.Actions, scope.DefaultActions)
	set(&l.Name, scope.DefaultName)
	set(&l.User, 255)
	set(&l.Password, 1024)
	return l
}

// Listen says where and how the server listens. The zero times and counts mean the
// defaults of the threat model: 5 s, 10 s, 30 s, 60 s, 4096 and 512. After a reload the
// counts, TLS and ReadTimeout for bodies are the new ones at once; the other times are
// those that the listener was opened with.
type Listen struct {
	// Net is "tcp" or "unix", Addr host:port or the socket's path.
	Net, Addr string
	// TLS is nil for plain HTTP.
	TLS *tls.Config

	ReadHeaderTimeout, ReadTimeout, WriteTimeout, IdleTimeout time.Duration
	// Connections is how many may be open at once, ConnectionsPerAddress from one peer
	// that is no trusted proxy.
	Connections, ConnectionsPerAddress int
}

func (l Listen) withDefaults() Listen {
	setTime := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	if l.Net == "" {
		l.Net = "tcp"
	}
	setTime(&l.ReadHeaderTimeout, 5*time.Second)
	setTime(&l.ReadTimeout, 10*time.Second)
	setTime(&l.WriteTimeout, 30*time.Second)
	setTime(&l.IdleTimeout, 60*time.Second)
	set(&l.Connections, 4096)
	set(&l.ConnectionsPerAddress, 512)
	return l
}

// Options are what a server needs beside its configuration.
type Options struct {
	// Load builds the state: at the beginning and on every reload. It must build all of
	// it anew, keeping nothing of the last one that requests use. Required.
	Load func(context.Context) (*State, error)
	// Logger receives one line for each request and the life cycle; nil: nothing.
	Logger *slog.Logger
	// LogState tells how the log's destination is doing, for /healthz?verbose; nil: nobody
	// knows.
	LogState func() LogState
	// Recorder receives every decision; nil: none does.
	Recorder Recorder
	// Tracer follows token requests; nil: none does.
	Tracer Tracer
	// Adopted is called with each state once it is in force; it must not block. Nil: nobody
	// is told.
	Adopted func(*State)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Rand is the source of request ids, safe for concurrent use; nil: crypto/rand.
	Rand io.Reader
}

// LogState is how the log's destination is doing.
type LogState struct {
	Written uint64 // lines that it took
	Dropped uint64 // lines that were lost because it did not
	Queued  int    // lines that wait for it
	Err     string // why lines are being lost now; "": none are
}

// Server answers token requests. It is an http.Handler and safe for concurrent use.
type Server struct {
	load     func(context.Context) (*State, error)
	log      *slog.Logger
	logState func() LogState
	recorder Recorder
	now      func() time.Time
	rand     io.Reader
	guard    *authn.Guard
	started  time.Time
	headers  fixedHeaders
	bodies   sync.Pool // of *[]byte

	state    atomic.Pointer[State]
	draining atomic.Bool
	// unrecorded is set while the recorder fails.
	unrecorded atomic.Bool
	counts     counters
	timings    timings
	conns      connCounts
	adopted    func(*State)
	tracer     Tracer

	reloading sync.Mutex // held while a state is built and swapped in

	mu         sync.Mutex // guards what follows
	loadedAt   time.Time
	lastError  error
	lastFailed time.Time
	notice     string // what the watcher waits for
	live       *liveServer
}

// New loads the first state. It fails as [Options.Load] does: a server that was never
// able to serve is no server.
func New(o Options) (*Server, error) {
	if o.Load == nil {
		return nil, errors.New("authserver: no Load function")
	}
	s := &Server{load: o.Load, log: o.Logger, logState: o.LogState, recorder: o.Recorder, adopted: o.Adopted, tracer: o.Tracer, now: o.Now, rand: o.Rand,
		headers: newFixedHeaders()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	s.started = s.now()
	st, err := s.build(context.Background())
	if err != nil {
		return nil, err
	}
	guard := st.Guard
	if guard.Now == nil {
		guard.Now = s.now
	}
	s.guard = authn.NewGuard(guard)
	s.adopt(st)
	debug.FreeOSMemory() // loading leaves several times as much behind as it keeps
	return s, nil
}

// State returns the state that requests are answered from now.
func (s *Server) State() *State { return s.state.Load() }

// Reload builds a new state and puts it in the old one's place. Requests that are being
// answered keep the state that they began with. When the new state can't be built, or
// its address can't be listened on, the old one stays, and the error is returned, logged
// and shown by /healthz?verbose.
func (s *Server) Reload(ctx context.Context) error { return s.reload(ctx, nil) }

// Replace puts next, which was made of old by changing what signs, in its place where old is
// still in force, and reports whether it was. Nothing is loaded and the listeners stay.
func (s *Server) Replace(old, next *State) bool {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.State() != old {
		return false
	}
	if next.reuse = nil; next.ReuseTokens {
		next.reuse = newTokenCache()
	}
	s.state.Store(next)
	if s.adopted != nil {
		s.adopted(next)
	}
	return true
}

// ErrChanged is what a Load returns whose files changed while it read them. The next look
// will find them whole.
var ErrChanged = errors.New("the files changed while they were being read")

// isOf reports whether the files that next was loaded from are those that had this
// fingerprint. Where it has other files than the state in force, what counts is that those
// of the latter are still as they were found.
func (s *Server) isOf(next *State, found Fingerprint) bool {
	if next.Fingerprint == found {
		return true
	}
	old := s.State().Sources
	return !slices.Equal(next.Sources, old) && FingerprintFiles(old) == found
}

// heldError: the files can be loaded, but look as if they were still being written.
type heldError struct{ reason error }

func (e *heldError) Error() string { return e.reason.Error() }

// reload is Reload. Where want is given, only a state of exactly these files is taken,
// and one that follows the old one. want is of the files of the state in force: a
// configuration that names others has another fingerprint.
func (s *Server) reload(ctx context.Context, want *Fingerprint) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	st, err := s.build(ctx)
	if want != nil && (errors.Is(err, ErrChanged) || err == nil && !s.isOf(st, *want)) {
		return ErrChanged
	}
	if err == nil && want != nil {
		if st.Follows != nil {
			if reason := st.Follows(s.State()); reason != nil {
				return &heldError{reason}
			}
		}
	}
	if err == nil {
		err = s.relisten(st)
	}
	if err != nil {
		s.counts.reloadsFailed.Add(1)
		s.mu.Lock()
		s.lastError, s.lastFailed = err, s.now()
		s.mu.Unlock()
		told := []any{"error", reason(err)}
		if h := hint(err); h != "" {
			told = append(told, "hint", h)
		}
		s.log.Error("reload failed, the old configuration stays in force", told...)
		return err
	}
	s.counts.reloads.Add(1)
	former := s.State().SigningKey
	s.guard.Configure(st.Guard)
	s.adopt(st)
	s.guard.Forgive()
	debug.FreeOSMemory()
	s.log.Info("configuration reloaded", "users", st.Users, "entries", st.Policy.Len())
	if former != "" && st.SigningKey != "" && former != st.SigningKey {
		s.log.Warn("tokens are signed with another key now", "key", st.SigningKey, "former", former,
			"hint", "a registry that does not know the new key answers its tokens with 401: its bundle must hold the new certificate, and it reads that at start only; \"regctl-setup doctor\" tells")
	}
	return nil
}

// build runs Load and checks what it returned. A panic in it is an error: it must not
// end a server that works.
func (s *Server) build(ctx context.Context) (st *State, err error) {
	defer func() {
		if p := recover(); p != nil {
			st, err = nil, fmt.Errorf("loading the configuration panicked: %v", p)
		}
	}()
	st, err = s.load(ctx)
	switch {
	case err != nil:
		return nil, err
	case st == nil || st.Policy == nil || st.Issuer == nil:
		return nil, errors.New("loading the configuration gave an incomplete state")
	case st.Expiration <= 0:
		return nil, errors.New("the tokens' lifetime is not positive")
	case st.AuditRequired && s.recorder == nil && st.Recorder == nil:
		return nil, errors.New("the configuration requires an audit log, which this server does not have")
	}
	return st, nil
}

// adopt makes st the state in force.
func (s *Server) adopt(st *State) {
	s.mu.Lock()
	s.loadedAt, s.lastError, s.lastFailed, s.notice = s.now(), nil, time.Time{}, ""
	s.mu.Unlock()
	if st.reuse = nil; st.ReuseTokens {
		st.reuse = newTokenCache()
	}
	s.state.Store(st)
	s.sweep(st)
	for _, path := range singleFileMounts(st.Sources) {
		s.log.Warn("this file is mounted by itself: when it is replaced outside, as editors and this program do, the mount keeps the old one",
			"file", printable(path, 1000), "hint", "mount its directory instead; until then restart after each change")
	}
	for _, w := range st.Warnings {
		s.log.Warn("configuration: " + printable(w, 1000))
	}
	if s.adopted != nil {
		s.adopted(st)
	}
}

// counters are the server's metrics.
type counters struct {
	requests, granted, refused, malformed, limited, busy, failed, panics atomic.Uint64
	reloads, reloadsFailed, matcherErrors, auditErrors, recalled         atomic.Uint64
}

// Stats are the server's counters since it started.
type Stats struct {
	Requests      uint64 // of any path
	Granted       uint64 // answered with a token, however little it grants
	Refused       uint64 // 401
	Malformed     uint64 // 400 and its like
	Limited       uint64 // 429
	Busy          uint64 // 503
	Failed        uint64 // 500
	Panics        uint64
	Reloads       uint64
	ReloadsFailed uint64
	MatcherErrors uint64 // scopes denied because a pattern broke
	AuditErrors   uint64 // decisions that could not be recorded
	TokensReused  uint64 // handed out again since the last reload
	Guard         authn.GuardStats
	Observed
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	c := &s.counts
	return Stats{
		Requests: c.requests.Load(), Granted: c.granted.Load(), Refused: c.refused.Load(), Malformed: c.malformed.Load(),
		Limited: c.limited.Load(), Busy: c.busy.Load(), Failed: c.failed.Load(), Panics: c.panics.Load(),
		Reloads: c.reloads.Load(), ReloadsFailed: c.reloadsFailed.Load(),
		MatcherErrors: c.matcherErrors.Load(), AuditErrors: c.auditErrors.Load(),
		TokensReused: s.State().reuse.reused(),
		Guard:        s.guard.Stats(),
		Observed:     s.observed(),
	}
}

// RealIP says where the client's address is found.
type RealIP struct {
	// Header holds the address; "": the connection's peer is the client.
	Header string
	// Pos picks the address where Trusted is nil: 0 is the leftmost, -1 the rightmost.
	Pos int
	// Trusted are the proxies whose header counts. Of all its addresses the rightmost
	// that is no trusted proxy is the client. Peers of a unix socket are trusted. Nil:
	// any peer's header counts, which lets a peer choose its address.
	Trusted []netip.Prefix
}
