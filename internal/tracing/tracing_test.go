package tracing_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/tracing"
)

// clean unsets what the machine's own environment may say.
func clean(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

func TestOffUnlessAsked(t *testing.T) {
	clean(t)
	for name, tt := range map[string]struct {
		env map[string]string
		on  bool
		err string
	}{
		"nothing":              {nil, false, ""},
		"a name alone":         {map[string]string{"OTEL_SERVICE_NAME": "x"}, false, ""},
		"an endpoint":          {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, true, ""},
		"the traces' endpoint": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, true, ""},
		"an exporter":          {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"none":                 {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, false, ""},
		"disabled":             {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, false, ""},
		"an exporter unknown":  {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, "OTEL_"},
		"a protocol unknown":   {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, false, "OTLP protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			tr, err := tracing.New(t.Context(), tracing.Options{Getenv: os.Getenv})
			if tr != nil {
				tr.Close()
			}
			if (tr != nil) != tt.on || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("on %v, %v; want %v, %q", tr != nil, err, tt.on, tt.err)
			}
		})
	}
}

// taker is a collector that takes everything.
type taker struct {
	mu   sync.Mutex
	raw  []byte
	list []*tracepb.ResourceSpans
}

func (c *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(body, &req)); err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body...)
	c.list = append(c.list, req.GetResourceSpans()...)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func decision() *authserver.Decision {
	return &authserver.Decision{
		RequestID: "0123456789abcdef", Method: http.MethodGet, Authenticated: true, Account: "alice", Presented: "alice",
		Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "docker/28", Service: "registry.example.com",
		Scopes: []authserver.ScopeDecision{{Type: "repository", Name: "a/b", Asked: []string{"pull", "push"}, Granted: []string{"pull"}, Entry: 3}},
		Result: authserver.ResultPartial, Status: http.StatusOK, TokenID: "jti-1",
	}
}

func TestSpans(t *testing.T) {
	clean(t)
	to := &taker{}
	srv := httptest.NewServer(to)
	defer srv.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_SERVICE_NAME", "tokens")
	tr, err := tracing.New(t.Context(), tracing.Options{Getenv: os.Getenv, Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	const canary = "canary-7c1e94b2"
	request := func(method string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), method, "/auth?password="+canary, strings.NewReader("password="+canary))
		r.SetBasicAuth("alice", canary)
		r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		r.Header.Set("Cookie", canary)
		return r
	}
	one := tr.Begin(request(http.MethodGet))
	one.Phase("authenticate")()
	one.Phase("sign")()
	one.End(decision())
	// Who is not let in may have put anything anywhere.
	stranger := decision()
	stranger.Authenticated, stranger.Account, stranger.Result, stranger.Status = false, canary, authserver.ResultUnauthorized, http.StatusUnauthorized
	stranger.Presented, stranger.Service, stranger.UserAgent, stranger.Reason = canary, canary, canary, canary
	tr.Begin(request(canary)).End(stranger)
	fault := decision()
	fault.Result, fault.Status, fault.Reason = authserver.ResultError, http.StatusInternalServerError, canary
	tr.Begin(request(http.MethodPost)).End(fault)
	tr.Close()
	if tr.Lost() != 0 {
		t.Errorf("%d spans lost", tr.Lost())
	}
	for _, secret := range []string{canary, base64.StdEncoding.EncodeToString([]byte("alice:" + canary))} {
		if bytes.Contains(to.raw, []byte(secret)) {
			t.Errorf("the spans hold %q", secret)
		}
	}
	var names []string
	attrs := map[string]string{}
	for _, rs := range to.list {
		for _, a := range rs.GetResource().GetAttributes() {
			attrs[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				names = append(names, s.GetName())
				if len(s.GetTraceId()) != 16 || s.GetTraceId()[0] != 0x0a || s.GetTraceId()[15] != 0x9c {
					t.Errorf("%s is of trace %x, not of the caller's", s.GetName(), s.GetTraceId())
				}
				if s.GetName() == "POST token" && s.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
					t.Errorf("an error has status %v", s.GetStatus())
				}
				if s.GetName() == "GET token" {
					for _, a := range s.GetAttributes() {
						attrs[a.GetKey()] = a.GetValue().GetStringValue()
					}
				}
			}
		}
	}
	slices.Sort(names)
	if want := []string{"GET token", "HTTP token", "POST token", "authenticate", "sign"}; !slices.Equal(names, want) {
		t.Errorf("spans %q, want %q", names, want)
	}
	for key, want := range map[string]string{
		"service.name": "tokens", "service.version": "v1.2.3", "request.id": "0123456789abcdef",
		"result": "partial", "enduser.id": "alice", "client.address": "192.0.2.1", "service": "registry.example.com",
	} {
		if attrs[key] != want {
			t.Errorf("%s is %q, want %q", key, attrs[key], want)
		}
	}
}

// TestCollectorAway: a collector that takes connections and never answers holds nothing up,
// neither requests nor the end; the log says so once.
func TestCollectorAway(t *testing.T) {
	clean(t)
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "100")
	var log bytes.Buffer
	tr, err := tracing.New(t.Context(), tracing.Options{Getenv: os.Getenv, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/auth", http.NoBody)
	for range 10_000 { // more than the queue holds
		one := tr.Begin(r)
		one.Phase("sign")()
		one.End(decision())
	}
	tr.Close()
	if tr.Lost() == 0 {
		t.Error("nothing is known to be lost")
	}
	if n := strings.Count(log.String(), "traces are being lost"); n != 1 {
		t.Errorf("the log says so %d times, want once:\n%s", n, log.String())
	}
}
