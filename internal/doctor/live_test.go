package doctor_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
	"github.com/regctl-setup/regctl-setup/internal/embedded"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

const testPassword = "a password of the tests"

// running is an embedded registry of a golden deployment, and a proxy in front of it that tests
// make faulty.
type running struct {
	dir   string
	facts *doctor.Facts
	url   string // of the proxy
	plain string // of the registry itself
}

// start runs the deployment in dir. fault sees each request before the registry does, and each
// answer before the client; nil: nothing is changed.
func start(t *testing.T, dir string, fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) running {
	t.Helper()
	d, err := deployment.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := users.Hash(secret.New(testPassword), users.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "conf/auth/auth-server.yml")
	write(t, config, []byte(strings.ReplaceAll(string(read(t, config)), testHash, hash.Reveal())), 0o600)
	loader := authload.NewLoader(authload.Options{ConfigPath: d.Auth, Resolve: d.Resolve})
	trail := audit.NewLog(audit.Options{Dir: filepath.Join(dir, "audit")})
	t.Cleanup(func() { _ = trail.Close() })
	reports := httptest.NewServer(audit.NewEvents(audit.EventsOptions{Log: trail, Path: "/events", Secret: secret.New("the secret of the tests")}))
	t.Cleanup(reports.Close)
	tokens, err := authserver.New(authserver.Options{Recorder: authserver.NewAuditRecorder(trail, nil, ""), Load: func(ctx context.Context) (*authserver.State, error) {
		st, err := loader.Load(ctx)
		if err == nil {
			st.RealIP = authserver.RealIP{}
		}
		return st, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := embedded.New(embedded.Options{
		Addr: "127.0.0.1:0", ConfigPath: d.Path(deployment.RegistryConfig), DataDir: d.Path(deployment.DataDir),
		TrustBundle: d.Path(deployment.TrustBundle), JWKS: d.Path(deployment.JWKS), Auth: tokens,
		Events: &embedded.EventTarget{URL: reports.URL + "/events", Secret: secret.New("the secret of the tests")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	t.Cleanup(func() { srv.Close(); cancel(); <-done })

	target := &url.URL{Scheme: "http", Host: srv.Addr()}
	proxy := httputil.NewSingleHostReverseProxy(target) // keeps the client's Host
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault == nil {
			proxy.ServeHTTP(w, r)
			return
		}
		fault(w, r, proxy)
	}))
	t.Cleanup(front.Close)
	facts, err := doctor.Gather(t.Context(), doctor.Options{Deployment: d, Space: roomy})
	if err != nil {
		t.Fatal(err)
	}
	return running{dir, facts, front.URL, "http://" + srv.Addr()}
}

func (r running) ask(t *testing.T, o doctor.LiveOptions) doctor.Report {
	t.Helper()
	if o.URL == "" {
		o.URL = r.url
	}
	report, err := doctor.Live(t.Context(), r.facts, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// left lists what the registry's store holds of uploads and manifests.
func left(t *testing.T, dir, kind string) []string {
	t.Helper()
	var out []string
	root := filepath.Join(dir, "data/registry")
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		// A registry 3 writes the state of an empty hash again after a session was cancelled.
		if err == nil && !d.IsDir() && strings.Contains(filepath.ToSlash(p), kind) && !strings.Contains(filepath.ToSlash(p), "/hashstates/") {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLiveGood: a registry that is well has no finding, with a login and with a push; of the
// uploads nothing stays.
func TestLiveGood(t *testing.T) {
	t.Parallel()
	r := start(t, good(t, "embedded"), nil)
	var steps []string
	report := r.ask(t, doctor.LiveOptions{Account: "admin", Password: secret.New(testPassword), Write: true, LayerSize: 1 << 20, Progress: func(s string) { steps = append(steps, s) }})
	if len(report.Findings) > 0 || len(report.Unknown) > 0 {
		t.Errorf("findings on a good registry:\n%s", show(report))
	}
	if len(steps) < 10 || report.Ran != len(steps) {
		t.Errorf("steps %q, ran %d", steps, report.Ran)
	}
	if files := left(t, r.dir, "_uploads"); len(files) > 0 {
		t.Errorf("uploads are left: %q", files)
	}
	if files := left(t, r.dir, "_manifests/revisions"); len(files) > 0 {
		t.Errorf("the manifest is left: %q", files)
	}
}

// status answers with a status and a text.
func status(code int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text))
	}
}

// recorded runs next and returns its answer.
func recorded(next http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	return rec
}

func replay(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// liveBreakage makes a good registry faulty on its way to the client.
type liveBreakage struct {
	code  string
	say   string
	write bool
	login bool
	fault func(w http.ResponseWriter, r *http.Request, next http.Handler)
	on    func(t *testing.T, dir string) // before the start
	after func(t *testing.T, dir string) // when it runs, before the facts are read
	words string                         // that the message must hold
	// ask changes what is asked, and about which deployment.
	ask func(t *testing.T, r *running, o *doctor.LiveOptions)
}

// nobody is an address on which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// inContainers makes the deployment one of containers, whose engine tells these states.
func inContainers(t *testing.T, r *running, o *doctor.LiveOptions, states ...doctor.ServiceState) {
	t.Helper()
	r.facts = gather(t, good(t, "localhost"))
	o.Services = func(context.Context) ([]doctor.ServiceState, error) { return states, nil }
}

// behindTLS serves the registry with a certificate for 127.0.0.1 and example.com.
func behindTLS(t *testing.T, r *running) *httptest.Server {
	t.Helper()
	registry, err := url.Parse(r.plain)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(registry)
	proxy.ModifyResponse = func(r *http.Response) error {
		// The embedded registry takes no proxy's word for the scheme.
		r.Header.Set("WWW-Authenticate", strings.Replace(r.Header.Get("WWW-Authenticate"), "http:", "https:", 1))
		return nil
	}
	front := httptest.NewUnstartedServer(proxy)
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	front.StartTLS()
	t.Cleanup(front.Close)
	return front
}

func rootsOf(s *httptest.Server) *x509.CertPool {
	return s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

func when(method, part string, answer func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == method && strings.Contains(r.URL.Path, part) {
			answer(w)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// header changes a header of the answers to matching requests.
func header(method, part, name string, change func(string) string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := recorded(next, r)
		if r.Method == method && strings.Contains(r.URL.Path, part) {
			if v := rec.Header().Get(name); v != "" || name == "Date" {
				rec.Header().Set(name, change(v))
			}
		}
		replay(w, rec)
	}
}

func liveBreakages() []liveBreakage {
	return []liveBreakage{
		{code: "name-unresolved", say: "no address record for the domain", words: "registry.example.com", ask: func(_ *testing.T, _ *running, o *doctor.LiveOptions) {
			o.URL = "https://registry.example.com"
			o.Lookup = func(context.Context, string) ([]string, error) {
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			}
		}},
		{code: "port-closed", say: "the deployment was never started", words: "nothing listens", ask: func(t *testing.T, _ *running, o *doctor.LiveOptions) {
			o.URL = "http://" + nobody(t)
		}},
		{code: "service-down", say: "docker compose stop caddy", words: "service caddy does not run: exited (0) 2 minutes ago", ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			inContainers(t, r, o, doctor.ServiceState{Name: "auth", State: "running"}, doctor.ServiceState{Name: "caddy", State: "exited", Status: "Exited (0) 2 minutes ago"}, doctor.ServiceState{Name: "registry", State: "running"})
			o.URL = "http://" + nobody(t)
		}},
		{code: "service-down", say: "a registry that ends at once, and is started again and again", words: "ends again and again", fault: when(http.MethodGet, "/v2/", status(502, "")), ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			inContainers(t, r, o, doctor.ServiceState{Name: "auth", State: "running"}, doctor.ServiceState{Name: "registry", State: "restarting", Status: "Restarting (1) 5 seconds ago"})
		}},
		{code: "service-down", say: "docker compose pause registry", words: "docker compose unpause registry", fault: when(http.MethodGet, "/v2/", status(504, "")), ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			inContainers(t, r, o, doctor.ServiceState{Name: "registry", State: "paused", Status: "Up 2 hours (Paused)"}, doctor.ServiceState{Name: "auth", State: "running"})
		}},
		{code: "service-down", say: "docker compose down", words: "none of the services runs", ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			inContainers(t, r, o, doctor.ServiceState{Name: "auth", State: "absent"}, doctor.ServiceState{Name: "registry", State: "absent"})
			o.URL = "http://" + nobody(t)
		}},
		{code: "service-down", say: "the Docker engine is stopped", words: "sudo systemctl start docker", ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			inContainers(t, r, o)
			o.Services = func(context.Context) ([]doctor.ServiceState, error) {
				return nil, errors.New("no Docker engine answers")
			}
			o.URL = "http://" + nobody(t)
		}},
		{code: "port-taken", say: "another web server was started first", words: "ss -ltnp", fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write([]byte("It works!")) }, ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			inContainers(t, r, o, doctor.ServiceState{Name: "auth", State: "running"}, doctor.ServiceState{Name: "caddy", State: "created"}, doctor.ServiceState{Name: "registry", State: "running"})
		}},
		{code: "tls-not-spoken", say: "another server than Caddy on the port, without TLS", words: "not with TLS", ask: func(_ *testing.T, r *running, o *doctor.LiveOptions) {
			o.URL = strings.Replace(r.plain, "http:", "https:", 1)
		}},
		{code: "tls-untrusted", say: "tls: internal, and this machine was not given Caddy's authority", words: "root.crt", ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			o.URL = behindTLS(t, r).URL
		}},
		{code: "tls-wrong-host", say: "the certificate of another host", words: "example.com", ask: func(t *testing.T, r *running, o *doctor.LiveOptions) {
			front := behindTLS(t, r)
			o.URL, o.Roots = strings.Replace(front.URL, "127.0.0.1", "localhost", 1), rootsOf(front)
		}},
		{code: "registry-down", say: "the registry's health check fails", fault: when(http.MethodGet, "/v2/", status(503, `{"errors":[{"code":"UNAVAILABLE","detail":"health check failed: please see /debug/health"}]}`)), words: "storage"},
		{code: "not-a-registry", say: "the proxy answers /v2/ itself", fault: when(http.MethodGet, "/v2/", status(404, "not found")), words: "404"},
		{code: "registry-open", say: "no auth section", fault: when(http.MethodGet, "/v2/", func(w http.ResponseWriter) {
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			w.WriteHeader(200)
		})},
		{code: "challenge-wrong", say: "auth: htpasswd in place of auth: token", fault: header(http.MethodGet, "/v2/", "WWW-Authenticate", func(string) string { return `Basic realm="x"` })},
		{code: "config-not-live", say: "service changed in conf/registry/config.yml, and no restart", fault: header(http.MethodGet, "/v2/", "WWW-Authenticate", func(v string) string {
			return strings.Replace(v, `service="localhost"`, `service="Docker registry"`, 1)
		}), words: "Docker registry"},
		{code: "clock-skew", say: "the server's clock is two minutes ahead", fault: header(http.MethodGet, "/v2/", "Date", func(string) string {
			return time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat)
		}), words: "apart"},
		{code: "realm-refused", say: "realm: http://10.0.0.5:5001/auth", fault: header(http.MethodGet, "/v2/", "WWW-Authenticate", func(v string) string {
			return `Bearer realm="http://127.0.0.1:1/auth",service="localhost"`
		}), words: "realm-unreachable follows"},
		{code: "realm-unreachable", say: "realm: http://localhost:1/auth, where nobody listens", fault: header(http.MethodGet, "/v2/", "WWW-Authenticate", func(string) string {
			return `Bearer realm="http://localhost:1/auth",service="localhost"`
		}), words: "http://localhost:1 does not answer"},
		{code: "realm-answers-wrong", say: "the token server is down", fault: when(http.MethodGet, "/auth", status(502, "")), words: "502"},
		{code: "login-refused", say: "another password", login: true, fault: nil, words: "admin"},
		{code: "token-refused", say: "the registry still runs with an older conf/trust", on: func(t *testing.T, dir string) {
			put("conf/keys/server.key", "ecdsa.key", 0o600)(t, dir)
			put("conf/keys/server.pem", "ecdsa.pem", 0o644)(t, dir)
		}, words: "x5c"},
		{code: "token-refused", say: "another issuer in conf/auth/auth-server.yml", on: func(t *testing.T, dir string) {
			replaceLine("conf/auth/auth-server.yml", "  issuer: ", "  issuer: 'Acme auth server'")(t, dir)
		}, words: `iss: the issuer is another one: "Acme auth server"`},
		{code: "signer-differs", say: "a new pair in conf/keys, and no restart of the token server", login: true, after: func(t *testing.T, dir string) {
			// The registry trusts both; the token server has not taken the new one.
			put("conf/keys/server.key", "ecdsa.key", 0o600)(t, dir)
			put("conf/keys/server.pem", "ecdsa.pem", 0o644)(t, dir)
		}, on: func(t *testing.T, dir string) {
			both := append(read(t, filepath.Join(goldenDir, "keys/rsa.pem")), read(t, filepath.Join(goldenDir, "keys/ecdsa.pem"))...)
			write(t, filepath.Join(dir, "conf/trust/bundle.pem"), both, 0o644)
			replaceLine("conf/registry/config.yml", "    signingalgorithms: ", "    signingalgorithms: [RS256, ES256]")(t, dir)
		}},
		{code: "upload-refused", say: "storage.maintenance.readonly.enabled: true", fault: when(http.MethodPost, "/blobs/uploads/", status(405, "")), words: "405"},
		{code: "upload-fails", say: "data/registry belongs to another user", fault: when(http.MethodPost, "/blobs/uploads/", status(500, "mkdir: permission denied")), words: "storage"},
		{code: "upload-location-wrong", say: "http.host: http://registry:5000", fault: header(http.MethodPost, "/blobs/uploads/", "Location", func(v string) string {
			return "http://registry:5000" + v
		}), words: "registry:5000"},
		{code: "upload-size-limited", say: "request_body max_size in the Caddyfile", fault: when(http.MethodPatch, "/blobs/uploads/", status(413, "")), words: "413"},
		{code: "upload-lost", say: "two registries with different http secrets", fault: when(http.MethodPatch, "/blobs/uploads/", status(404, `{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}`))},
		{code: "push-fails", say: "the disk is full", write: true, fault: when(http.MethodPut, "/blobs/uploads/", status(500, "no space left on device")), words: "500"},
		{code: "redirect-unreachable", say: "redirects to http://minio:9000", write: true, fault: when(http.MethodGet, "/blobs/sha256:", func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/bucket/layer")
			w.WriteHeader(307)
		}), words: "127.0.0.1:1"},
		{code: "pull-fails", say: "damaged storage", write: true, fault: when(http.MethodGet, "/blobs/sha256:", status(200, "something else"))},
		{code: "catalog-fails", say: "a proxy that hides the catalog", write: true, fault: when(http.MethodGet, "/v2/_catalog", status(404, ""))},
		{code: "rules-not-enforced", say: "a second way to the registry without authentication", write: true, fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPost && r.Header.Get("Authorization") == "" {
				w.WriteHeader(202)
				return
			}
			next.ServeHTTP(w, r)
		}, words: "no token"},
		{code: "delete-differs", say: "delete switched off, and no restart", write: true, fault: when(http.MethodDelete, "/manifests/", status(405, "")), words: "405"},
		{code: "anonymous-differs", say: "anonymous pull added to the rules, and a token server that has not taken it", write: true, fault: nil, after: func(t *testing.T, dir string) {
			replaceLine("conf/auth/auth-server.yml", "users:", "users:\n  '': {}")(t, dir)
			replaceLine("conf/auth/auth-server.yml", "acl:", "acl:\n  - match: {account: ''}\n    actions: [pull]")(t, dir)
		}},
		{code: "audit-line-missing", say: "a token server that does not write to the deployment's audit folder", write: true, fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := recorded(next, r)
			if rec.Header().Get("X-Request-Id") != "" {
				rec.Header().Set("X-Request-Id", "4f1c2d3e")
			}
			replay(w, rec)
		}, words: "answered request 4f1c2d3e"},
		{code: "mount-fails", say: "a proxy that drops the query of requests", write: true, fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPost {
				r.URL.RawQuery = ""
			}
			next.ServeHTTP(w, r)
		}},
	}
}

// TestEachLiveBreakageIsFound: that code is found, and no other.
func TestEachLiveBreakageIsFound(t *testing.T) {
	t.Parallel()
	outputs := newExamples(t, "live", len(liveBreakages()))
	for i, b := range liveBreakages() {
		t.Run(b.code+" "+b.say, func(t *testing.T) {
			t.Parallel()
			dir := good(t, "embedded")
			if b.on != nil {
				b.on(t, dir)
			}
			r := start(t, dir, b.fault)
			if b.after != nil {
				b.after(t, dir)
				r.facts = again(t, dir)
			}
			o := doctor.LiveOptions{Write: b.write, LayerSize: 1 << 20, Timeout: 20 * time.Second}
			if b.login {
				o.Account, o.Password = "admin", secret.New(testPassword)
				if b.code == "login-refused" {
					o.Password = secret.New("not the password")
				}
			}
			if b.ask != nil {
				b.ask(t, &r, &o)
			}
			report := r.ask(t, o)
			var codes []string
			for _, f := range report.Findings {
				if !slices.Contains(codes, f.Code) {
					codes = append(codes, f.Code)
				}
				if f.Fix.Text == "" || f.Why == "" {
					t.Errorf("no mend or reason: %s", f)
				}
			}
			want := []string{b.code}
			if strings.HasSuffix(b.words, " follows") {
				want = append(want, strings.TrimSuffix(b.words, " follows"))
			} else if !strings.Contains(show(report), b.words) {
				t.Errorf("the message does not hold %q:\n%s", b.words, show(report))
			}
			if !sameSet(codes, want) {
				t.Errorf("codes %q, want %q\n%s", codes, want, show(report))
			}
			outputs.add(i, b.code, b.say+"\n", show(report))
			if files := left(t, r.dir, "_uploads"); len(files) > 0 && b.code != "push-fails" {
				t.Errorf("uploads are left: %q", files)
			}
		})
	}
}

// again reads the facts anew, at the real time.
func again(t *testing.T, dir string) *doctor.Facts {
	t.Helper()
	d, err := doctor.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := doctor.Gather(t.Context(), doctor.Options{Deployment: d, Space: roomy})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLiveInterrupted ends the run in the middle of an upload: the session is cancelled all the same.
func TestLiveInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	cancelled := make(chan struct{}, 1)
	r := start(t, good(t, "embedded"), func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(w, req)
		switch req.Method {
		case http.MethodPatch:
			interrupt()
		case http.MethodDelete:
			cancelled <- struct{}{}
		}
	})
	if _, err := doctor.Live(ctx, r.facts, doctor.LiveOptions{URL: r.url}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want the context's", err)
	}
	select {
	case <-cancelled:
	default:
		t.Error("the upload session was not cancelled")
	}
	if files := left(t, r.dir, "_uploads"); len(files) > 0 {
		t.Errorf("uploads are left: %q", files)
	}
}

// TestLiveHangs: a registry that never answers is told within the deadline.
func TestLiveHangs(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	report, err := doctor.Live(t.Context(), gather(t, good(t, "embedded")), doctor.LiveOptions{URL: "http://" + l.Addr().String(), Timeout: 2 * time.Second})
	if err != nil || len(report.Findings) != 1 || report.Findings[0].Code != "registry-down" || !strings.Contains(report.Findings[0].Message, "no answer in time") {
		t.Errorf("a registry that hangs: %v\n%s", err, show(report))
	}
}

// TestLiveNobody: a closed port and a name without an address.
func TestLiveNobody(t *testing.T) {
	t.Parallel()
	addr := nobody(t)
	report, err := doctor.Live(t.Context(), gather(t, good(t, "embedded")), doctor.LiveOptions{URL: "http://" + addr})
	if err != nil || len(report.Findings) != 1 || report.Findings[0].Code != "port-closed" {
		t.Errorf("a closed port: %v\n%s", err, show(report))
	}
	for _, c := range []struct {
		err      error
		findings int
	}{{&net.DNSError{Err: "no such host", IsNotFound: true}, 1}, {&net.DNSError{Err: "server misbehaving", IsTemporary: true}, 0}} {
		report, err := doctor.Live(t.Context(), gather(t, good(t, "embedded")), doctor.LiveOptions{
			URL: "https://registry.example.com", Lookup: func(context.Context, string) ([]string, error) { return nil, c.err },
		})
		switch {
		case err != nil || len(report.Findings) != c.findings || len(report.Unknown) != 1-c.findings:
			t.Errorf("%v: %v, %d findings, %d unknown, want %d and %d", c.err, err, len(report.Findings), len(report.Unknown), c.findings, 1-c.findings)
		case c.findings == 1 && (report.Findings[0].Code != "name-unresolved" || !strings.Contains(report.Findings[0].Fix.Text, "registry.example.com")):
			t.Errorf("a name without an address:\n%s", show(report))
		case c.findings == 0 && report.Unknown[0].Code != "name-unresolved":
			t.Errorf("a name server that does not answer: %+v", report.Unknown)
		}
	}
	if _, err := doctor.Live(t.Context(), gather(t, good(t, "embedded")), doctor.LiveOptions{URL: "registry"}); err == nil {
		t.Error("an address without scheme is taken")
	}
}

// TestLiveTLS: certificates of nobody's authority, for another name, and no TLS at all.
func TestLiveTLS(t *testing.T) {
	t.Parallel()
	r := start(t, good(t, "embedded"), nil)
	front := behindTLS(t, &r)
	codes := func(o doctor.LiveOptions) []string {
		var out []string
		for _, f := range r.ask(t, o).Findings {
			out = append(out, f.Code)
		}
		return out
	}
	if got := codes(doctor.LiveOptions{URL: front.URL}); !slices.Contains(got, "tls-untrusted") {
		t.Errorf("an unknown authority: %q", got)
	}
	roots := rootsOf(front)
	if got := codes(doctor.LiveOptions{URL: strings.Replace(front.URL, "127.0.0.1", "localhost", 1), Roots: roots}); !slices.Contains(got, "tls-wrong-host") {
		t.Errorf("a certificate for another name: %q", got)
	}
	if got := codes(doctor.LiveOptions{URL: front.URL, Roots: roots, Now: func() time.Time { return time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC) }}); !slices.Contains(got, "tls-expired") {
		t.Errorf("an expired certificate: %q", got)
	}
	if got := codes(doctor.LiveOptions{URL: strings.Replace(r.plain, "http:", "https:", 1)}); !slices.Equal(got, []string{"tls-not-spoken"}) {
		t.Errorf("no TLS: %q", got)
	}
	// No password goes to whom nobody vouches for.
	report := r.ask(t, doctor.LiveOptions{URL: front.URL, Account: "admin", Password: secret.New(testPassword)})
	if !slices.ContainsFunc(report.Unknown, func(u doctor.Unknown) bool { return u.Code == "login-refused" }) {
		data, _ := json.Marshal(report.Unknown)
		t.Errorf("a login over TLS that is not trusted: %s\n%s", data, show(report))
	}
}
