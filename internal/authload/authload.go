// Package authload turns an auth config and its key files into what the token server
// serves: an [authserver.State].
//
// Nothing half-understood is served. Every problem of the file stops it, all of them
// reported at once with their positions ([config.Problems]); so does a section that this
// server does not serve, and a signing pair that can't be used. The paths in the file
// are resolved by the caller, who knows which folder they are relative to.
//
//	loader := authload.NewLoader(authload.Options{ConfigPath: "conf/auth/auth-server.yml", Resolve: dep.Resolve})
//	srv, err := authserver.New(authserver.Options{Load: loader.Load})
//
// [Load] does it once, for commands that only want the parts.
package authload

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/extprog"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/token"
)

// Options say what to load.
type Options struct {
	// ConfigPath is the auth config, as messages shall name it.
	ConfigPath string
	// Resolve finds the file behind a path of the config; nil: the path itself.
	Resolve func(path string) string
	// Warn is called when the signing certificate goes out of date while the server runs,
	// and with "" when all is well again; nil: nobody is told.
	Warn func(string)
	// Verify compares a hash with a password; nil: the real thing.
	Verify func(hash, password secret.Text) bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Rand is the source of keys and token ids; nil: crypto/rand.
	Rand io.Reader
	// Programs runs what ext_auth and ext_authz name; nil: a pool of its own for each
	// load. A [Loader] uses one for all of its loads.
	Programs *extprog.Pool
}

// Loader loads the same config again and again, as a server does that reloads. It is
// safe for concurrent use.
type Loader struct {
	o Options

	rotating sync.Mutex // one change of the signing key at a time
	told     *leaf      // what the log says signs; held with rotating

	mu   sync.Mutex
	file *config.File
	leaf *leaf // what signs in the place of the pair on disk; nil: that one does
}

// NewLoader returns a loader that has loaded nothing yet.
func NewLoader(o Options) *Loader {
	if o.Programs == nil {
		o.Programs = extprog.NewPool()
	}
	return &Loader{o: o}
}

// Close kills the external programs that the loaded states still run, and lets no more
// begin. It is for the end of the process.
func (l *Loader) Close() { l.o.Programs.Close() }

// ProgramsRunning is how many external programs run now.
func (l *Loader) ProgramsRunning() int { return l.o.Programs.Running() }

// Load is what [authserver.Options] wants.
func (l *Loader) Load(ctx context.Context) (*authserver.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	last := l.leaf
	l.mu.Unlock()
	st, f, err := load(l.o, last)
	if err != nil {
		return nil, err
	}
	f.Detach() // nobody edits what is served
	l.mu.Lock()
	l.file = f
	if src, ok := st.Source.(*source); ok {
		l.leaf = src.leaf
	}
	l.mu.Unlock()
	return st, nil
}

// File returns the config that was loaded last, without its text ([config.File.Detach]); nil
// before that.
func (l *Loader) File() *config.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file
}

// source is what a state remembers of its config, to judge the next one by.
type source struct {
	data []byte
	file *config.File
	// disk is the signing pair of the files, leaf what signs in its place; nil: it does itself.
	disk *keys.Pair
	leaf *leaf
}

// Load reads the config and its key files. The error is a [config.Problems] where the
// config is at fault; others name the file. The config comes back beside the state, and
// beside an error where its text could be understood.
func Load(o Options) (*authserver.State, *config.File, error) { return load(o, nil) }

func (o Options) withDefaults() Options {
	if o.Resolve == nil {
		o.Resolve = func(p string) string { return p }
	}
	return o
}

// load is Load after a state whose signing pair was last.
func load(o Options, last *leaf) (*authserver.State, *config.File, error) {
	o = o.withDefaults()
	data, err := readConfig(o.ConfigPath)
	if err != nil {
		return nil, nil, err
	}
	f, problems := config.Parse(o.ConfigPath, data)
	if f != nil {
		problems = append(problems, f.Unserved()...)
	}
	programs, missing := findPrograms(o, f)
	problems = append(problems, missing...)
	if len(problems) > 0 {
		return nil, f, problems
	}
	sources := []string{o.ConfigPath}
	for _, p := range []string{f.Token.Certificate, f.Token.Key, f.Server.Certificate, f.Server.Key} {
		if p = o.resolve(p); p != "" && !slices.Contains(sources, p) {
			sources = append(sources, p)
		}
	}
	for _, p := range authoritySources(o, f) {
		if !slices.Contains(sources, p) {
			sources = append(sources, p)
		}
	}
	// Before and after: a state made of files that changed in between would be of no
	// moment that ever was.
	before := authserver.FingerprintFiles(sources)
	src := &source{data: data, file: f}
	st, err := build(o, f, programs, src, last)
	if err != nil {
		return nil, f, err
	}
	again, err := readConfig(o.ConfigPath)
	if err != nil {
		return nil, f, err
	}
	if authserver.FingerprintFiles(sources) != before || !bytes.Equal(again, data) {
		return nil, f, fmt.Errorf("%s: %w", o.ConfigPath, authserver.ErrChanged)
	}
	st.Sources, st.Fingerprint = sources, before
	st.Source = src
	st.Follows = src.follows
	return st, f, nil
}

func (o Options) resolve(path string) string {
	if path == "" {
		return ""
	}
	return o.Resolve(path)
}

// readConfig reads the file, of which config.Parse judges the size and the contents.
func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError("auth config", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("auth config %s: not a file but %s", path, kind(info.Mode()))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError("auth config", path, err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, config.MaxFileSize+1))
	if err != nil {
		return nil, fileError("auth config", path, err)
	}
	return data, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// fileError puts the path in front once.
func fileError(what, path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}

// build makes the state of a config that is in order, and notes in src what signs. last is
// what signed before.
func build(o Options, f *config.File, programs map[string]extprog.Program, src *source, last *leaf) (*authserver.State, error) {
	certPath, keyPath := f.SigningPair()
	pair, err := keys.LoadPair(o.resolve(keyPath), o.resolve(certPath), keys.LoadOptions{AllowReadableKey: f.Extras.AllowReadableKey})
	if err != nil {
		return nil, fmt.Errorf("signing pair: %w", err)
	}
	sign, newLeaf, err := signer(o, f, pair, last)
	if err != nil {
		return nil, err
	}
	src.disk, src.leaf = pair, newLeaf
	policy, err := f.Policy()
	if err != nil {
		return nil, err
	}
	costKey, err := costKey(pair)
	if err != nil {
		return nil, err
	}
	static, err := authn.NewStatic(users(f), authn.StaticOptions{
		Remember: f.Extras.PasswordCache, CostKey: costKey, Verify: o.Verify, Now: o.Now, Rand: o.Rand,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	tlsConfig, err := serverTLS(o, f)
	if err != nil {
		return nil, err
	}
	refreshTokens, err := refreshTokens(o, f, static)
	if err != nil {
		return nil, err
	}
	x, l := &f.Extras, &f.Extras.Limits
	st := &authserver.State{
		Realm:          f.Token.Issuer,
		Expiration:     f.Token.Expiration,
		PullExpiration: x.PullExpiration, PushExpiration: x.PushExpiration,
		ReuseTokens:    x.TokenReuse,
		Policy:         policy,
		Authenticators: []authn.Authenticator{static},
		RefreshTokens:  refreshTokens,
		Services:       x.Services,
		PathPrefix:     f.Server.PathPrefix,
		HSTS:           f.Server.HSTS,
		RealIP:         authserver.RealIP{Header: f.Server.RealIPHeader, Pos: f.Server.RealIPPos},
		Limits: authserver.Limits{
			Body: l.Body, Header: l.Header, Scopes: l.Scopes, Actions: l.Actions, Name: l.Name, User: l.User, Password: l.Password,
		},
		Guard: authn.GuardOptions{
			Concurrent: l.Bcrypt, Wait: l.BcryptQueue,
			// Who has done nothing wrong may wait longer, but not so long that the answer
			// comes after the connection's end.
			Patience:        min(12*l.BcryptQueue, l.WriteTimeout*4/5),
			FailuresPerPair: l.FailuresPerUser, FailuresPerAddress: l.FailuresPerClient,
			Forget: x.PasswordCache == 0, Now: o.Now,
		},
		Listen: authserver.Listen{
			Net: f.Server.Net, Addr: f.Server.Addr, TLS: tlsConfig,
			ReadHeaderTimeout: l.ReadHeaderTimeout, ReadTimeout: l.ReadTimeout, WriteTimeout: l.WriteTimeout, IdleTimeout: l.IdleTimeout,
			Connections: l.Connections, ConnectionsPerAddress: l.ConnectionsPerAddress,
		},
		AuditRequired: x.Audit.Mode == config.AuditRequired,
		MetricsListen: x.Metrics.Listen, MetricsGiven: x.Metrics.Given,
		Users: len(f.Users),
	}
	issuer, err := signing(o, f, sign, st)
	if err != nil {
		return nil, err
	}
	if x.RotateSigningKey == 0 {
		known := sign.Signer.Public()
		if top := sign.Chain[len(sign.Chain)-1]; token.X5CMode(x.X5C) != token.X5CNever {
			known = top.PublicKey // a token carries the chain to the one that the registry has
		}
		if st.SigningKey, err = keys.Thumbprint(known); err != nil {
			return nil, fmt.Errorf("signing pair: %w", err)
		}
	}
	if tlsConfig != nil {
		st.Certificates = append(st.Certificates, authserver.Certificate{Name: "server", Expires: tlsConfig.Certificates[0].Leaf.NotAfter})
	}
	addPrograms(st, o, f, programs)
	if x.HasTrustedProxies {
		// An empty list trusts nobody, which is not the same as none.
		st.RealIP.Trusted = append([]netip.Prefix{}, x.TrustedProxies...)
	}
	for _, w := range f.Warnings {
		st.Warnings = append(st.Warnings, w.Error())
	}
	st.Warnings = append(st.Warnings, issuer.Warnings()...)
	if text := refreshWarning(o, f); text != "" {
		st.Warnings = append(st.Warnings, text)
	}
	return st, nil
}

// findPrograms looks for the programs that the sections name. What can't be run is a
// problem of the config: better found now than by the first client.
func findPrograms(o Options, f *config.File) (map[string]extprog.Program, config.Problems) {
	if f == nil {
		return nil, nil
	}
	programs := map[string]extprog.Program{}
	var problems config.Problems
	for _, s := range f.Sections {
		if s.Program == nil || s.Program.Command == "" {
			continue
		}
		path, err := extprog.Find(s.Program.Command, o.resolve)
		if err != nil {
			p := config.Problem{
				File: s.Program.Pos.File, Line: s.Program.Pos.Line, Column: s.Program.Pos.Column, Code: config.CodeProgram,
				Msg: fmt.Sprintf("%s.command: the program %v", s.Name, err),
			}
			var fe *extprog.FindError
			if errors.As(err, &fe) {
				p.Hint = fe.Remedy
			}
			problems = append(problems, p)
			continue
		}
		programs[s.Name] = extprog.Program{Name: s.Name, Path: path, Args: s.Program.Args}
	}
	return programs, problems
}

// addPrograms puts the programs behind the config's own users and entries.
func addPrograms(st *authserver.State, o Options, f *config.File, programs map[string]extprog.Program) {
	pool := o.Programs
	if pool == nil {
		pool = extprog.NewPool()
	}
	l := &f.Extras.Limits
	limits := extprog.Limits{Timeout: l.ProgramTimeout, Concurrent: l.Programs, Wait: l.ProgramQueue}
	if prog, ok := programs["ext_auth"]; ok {
		login := extprog.NewLogin(pool, prog, limits)
		login.Now = o.Now
		login.Expires = func(account string) time.Time { return f.Extras.Users[account].Expires }
		st.Authenticators = append(st.Authenticators, login)
	}
	if prog, ok := programs["ext_authz"]; ok {
		st.Authorizers = append(st.Authorizers, extprog.NewRules(pool, prog, limits))
	}
}

// users are the config's users as the authenticator wants them.
func users(f *config.File) []authn.User {
	list := make([]authn.User, 0, len(f.Users))
	for i := range f.Users {
		u := &f.Users[i]
		list = append(list, authn.User{
			Name: u.Name, Hash: u.Hash, Passwordless: !u.HasPassword, Disabled: u.Disabled,
			Labels: u.LabelMap(), Expires: u.Expires,
		})
	}
	return list
}

// costKey derives from the signing key what decides the costs of unknown users: secret,
// and the same after a restart.
func costKey(pair *keys.Pair) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(pair.Signer)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte("regctl-setup: costs of unknown users"))
	return mac.Sum(nil), nil
}

// serverTLS is the server's own TLS; nil for plain HTTP.
func serverTLS(o Options, f *config.File) (*tls.Config, error) {
	if f.Server.Certificate == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	pair, err := keys.LoadPair(o.resolve(f.Server.Key), o.resolve(f.Server.Certificate), keys.LoadOptions{AllowReadableKey: f.Extras.AllowReadableKey, TLS: true})
	if err != nil {
		return nil, fmt.Errorf("server pair: %w", err)
	}
	cert := tls.Certificate{PrivateKey: pair.Signer, Leaf: pair.Leaf()}
	for _, c := range pair.Chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		CipherSuites: f.Server.TLSCipherSuites,
		NextProtos:   []string{"http/1.1"},
	}
	if v := f.Server.TLSMinVersion; v != 0 {
		cfg.MinVersion = v
	}
	for _, c := range f.Server.TLSCurvePreferences {
		cfg.CurvePreferences = append(cfg.CurvePreferences, tls.CurveID(c))
	}
	return cfg, nil
}

// follows judges a config that has appeared on disk against the one in force: is it whole,
// or is somebody still writing it? A file is written from its beginning to its end, so
// what a cut takes away is the end. That must not widen anything: a condition of an
// entry, a label that a denying entry looks at, a setting.
func (s *source) follows(old *authserver.State) error {
	if n := len(s.data); n > 0 && s.data[n-1] != '\n' {
		return fmt.Errorf("the last line of %s has no newline", s.file.Path)
	}
	was, ok := old.Source.(*source)
	if !ok {
		return nil
	}
	switch {
	case len(was.file.Users) > 0 && len(s.file.Users) == 0 && !s.file.HasUsers:
		return fmt.Errorf("%s has no users any more; users: {} says that this is meant", s.file.Path)
	case len(was.file.ACL) > 0 && len(s.file.ACL) == 0 && !s.file.HasACL:
		return fmt.Errorf("%s has no acl entries any more; acl: [] says that this is meant", s.file.Path)
	case len(s.data) < len(was.data) && bytes.HasPrefix(was.data, s.data) && !onlyShorter(was.file, s.file):
		return fmt.Errorf("%s ends where it once went on", s.file.Path)
	}
	return nil
}

// onlyShorter reports whether now is old without some users and entries at the end, and
// nothing else. Fewer users and fewer entries, where the first that matches decides and
// none denies, never allow more.
func onlyShorter(old, now *config.File) bool {
	if len(now.Users) > len(old.Users) || len(now.ACL) > len(old.ACL) || len(now.Sections) != len(old.Sections) {
		return false
	}
	for i := range now.Users {
		if !reflect.DeepEqual(now.Users[i], old.Users[i]) {
			return false
		}
	}
	for i := range now.ACL {
		if !reflect.DeepEqual(now.ACL[i], old.ACL[i]) {
			return false
		}
	}
	return reflect.DeepEqual(now.Server, old.Server) && reflect.DeepEqual(now.Token, old.Token) && reflect.DeepEqual(now.Extras, old.Extras)
}
