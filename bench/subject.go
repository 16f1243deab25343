package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/logsink"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// subject is the token server that is measured, with its config on disk and its log going
// nowhere, but through all that a log goes through.
type subject struct {
	dir      string
	server   *authserver.Server
	issuer   *token.Issuer
	sink     *logsink.Sink
	audit    *audit.Log // nil: decisions are not recorded
	accounts int
	asked    []request // by account
}

const password = "benchmark"

// newSubject makes a server with so many accounts and entries, and with an audit log if asked.
func newSubject(kind keys.Type, accounts, entries int, record bool) (_ *subject, err error) {
	s := &subject{accounts: accounts, sink: logsink.New(nowhere{}, logsink.Options{})}
	if s.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	pair, err := keys.Generate(kind, keys.Options{CommonName: "bench"})
	if err != nil {
		return nil, err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	path := func(name string) string { return filepath.Join(s.dir, name) }
	var b strings.Builder
	fmt.Fprintf(&b, "server: {addr: \"127.0.0.1:0\"}\ntoken: {issuer: bench, expiration: 900, certificate: %q, key: %q}\n", path("cert.pem"), path("key.pem"))
	b.WriteString("x-regctl-setup: {limits: {failures_per_client: 1000000}}\nusers:\n  \"\": {}\n")
	for i := range accounts {
		fmt.Fprintf(&b, "  u%d: {password: %q}\n", i, hash)
	}
	b.WriteString("acl:\n")
	for i := range accounts {
		s.asked = append(s.asked, newRequest("bench", "/auth?service=r&scope=repository:public/app:pull", fmt.Sprintf("u%d", i), password))
	}
	for i := range entries {
		fmt.Fprintf(&b, "- {match: {account: \"other%d\", name: \"proj%d/*\"}, actions: [pull]}\n", i, i)
	}
	b.WriteString("- {match: {name: \"public/*\"}, actions: [pull]}\n")
	for name, data := range map[string][]byte{"key.pem": []byte(pair.KeyPEM().Reveal()), "cert.pem": pair.CertPEM(), "auth.yml": []byte(b.String())} {
		if err := os.WriteFile(path(name), data, 0o600); err != nil {
			return nil, err
		}
	}
	if s.issuer, err = token.New(token.Options{Issuer: "bench", Pair: pair, LegacyKeyID: true}); err != nil {
		return nil, err
	}
	o := authserver.Options{
		Load:   authload.NewLoader(authload.Options{ConfigPath: path("auth.yml")}).Load,
		Logger: slog.New(warningsLeftOut{slog.NewJSONHandler(s.sink, nil)}),
	}
	if record {
		s.audit = audit.NewLog(audit.Options{Dir: path("audit")})
		o.Recorder = authserver.NewAuditRecorder(s.audit, audit.NewJoiner(), "auth.yml")
	}
	s.server, err = authserver.New(o)
	return s, err
}

func (s *subject) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.sink.Close(ctx)
	if s.audit != nil {
		_ = s.audit.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// nowhere is a log's destination that takes everything.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// warningsLeftOut drops what the config is warned of: weak hashes are the point here.
type warningsLeftOut struct{ slog.Handler }

func (h warningsLeftOut) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// fresh asks for a token that nobody has asked for.
func (s *subject) fresh(n int) request {
	return newRequest("bench", fmt.Sprintf("/auth?service=r&scope=repository:public/%d:pull", n), "", "")
}

// repeated asks for the same token as accounts requests before.
func (s *subject) repeated(n int) request { return s.asked[n%s.accounts] }

// signer signs a short text for each request, with the server's own key: the most tokens that
// this machine could give out over HTTP.
func (s *subject) signer() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t, err := s.issuer.Issue(token.Request{Audience: "r", Lifetime: time.Minute})
		if err != nil {
			http.Error(w, "not signed", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(t.Raw[len(t.Raw)-8:]))
	})
}

// withServer serves h on a free port of loopback while f runs.
func withServer(ctx context.Context, h http.Handler, f func(addr string) (result, error)) (result, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return result{}, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l) // ends with Close
	}()
	r, err := f(l.Addr().String())
	_ = srv.Close()
	<-ended
	return r, err
}
