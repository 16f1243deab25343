// Package tracing follows token requests by OpenTelemetry, where the standard environment
// variables ask for it.
//
// It is off unless OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
// OTEL_TRACES_EXPORTER is set, and off whenever OTEL_TRACES_EXPORTER is none or
// OTEL_SDK_DISABLED is true. The SDK reads the others: OTEL_SERVICE_NAME (regctl-setup
// unless set), OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_PROTOCOL and
// _HEADERS, OTEL_BSP_…. A request that carries a traceparent header (W3C Trace Context)
// becomes a part of that trace.
//
// A collector that is slow or away costs no request anything: spans wait in a bounded queue
// and are lost when it is full. A span never holds a password, a token, or what was sent by
// somebody who was not let in.
//
//	t, err := tracing.New(ctx, tracing.Options{Getenv: os.Getenv, Version: "v1", Logger: log})
//	if t != nil {
//		defer t.Close()
//		options.Tracer = t
//	}
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
)

// Options are what tracing takes from the world around it.
type Options struct {
	// Getenv tells whether traces are asked for. The SDK reads the process's environment by
	// itself. Required.
	Getenv func(string) string
	// Version is the program's.
	Version string
	// Logger is told, once a minute at most, that spans are being lost; nil: nobody is.
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Bounds of what one span may hold, and of how long the end of the process waits.
const (
	maxValue      = 256 // bytes of a text
	maxAttributes = 32
	maxScopes     = 10
	exportTimeout = 5 * time.Second
	closeTimeout  = time.Second
	complainEvery = time.Minute
)

// Tracer is an [authserver.Tracer]. It is safe for concurrent use.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	exporter *exporter
}

// asked reports whether the environment asks for traces.
func asked(getenv func(string) string) bool {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || exporter == "none" {
		return false
	}
	return exporter != "" || getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// New returns a tracer, or nil where the environment asks for none. The error says which
// variable can't be used.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if !asked(o.Getenv) {
		return nil, nil //nolint:nilnil // no traces are no error
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	to, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces, as the OTEL_… environment variables want them: %w", err)
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "regctl-setup"), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // goes before what stands above
	)
	if err != nil {
		return nil, fmt.Errorf("traces, OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	e := &exporter{to: to, log: o.Logger, now: o.Now}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(e.complain)) // the SDK's own goes to stderr and can block
	var batch []sdktrace.BatchSpanProcessorOption
	if o.Getenv("OTEL_BSP_EXPORT_TIMEOUT") == "" {
		batch = append(batch, sdktrace.WithExportTimeout(exportTimeout))
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit, limits.AttributeCountLimit = maxValue, maxAttributes
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(e, batch...), sdktrace.WithResource(res), sdktrace.WithRawSpanLimits(limits),
	)
	const scope = "github.com/regctl-setup/regctl-setup/internal/authserver"
	return &Tracer{provider: provider, tracer: provider.Tracer(scope, trace.WithInstrumentationVersion(o.Version)), exporter: e}, nil
}

// Lost is how many spans the collector did not take. Those for which there was no room in the
// queue while it was away are not among them.
func (t *Tracer) Lost() uint64 { return t.exporter.lost.Load() }

// Close sends what is queued, for a second at most.
func (t *Tracer) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.exporter.complain(err)
	}
}

// Begin begins the span of a request.
func (t *Tracer) Begin(r *http.Request) authserver.Trace {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		method = "HTTP" // anybody may send any word
	}
	ctx, span := t.tracer.Start(ctx, method+" token", trace.WithSpanKind(trace.SpanKindServer))
	return &request{tracer: t.tracer, ctx: ctx, span: span}
}

// request is one traced request.
type request struct {
	tracer trace.Tracer
	ctx    context.Context //nolint:containedctx // the parent of the request's phases
	span   trace.Span
}

// Phase begins a span below the request's.
func (r *request) Phase(name string) (end func()) {
	_, span := r.tracer.Start(r.ctx, name)
	return func() { span.End() }
}

// End writes what became of the request, and ends its span.
func (r *request) End(d *authserver.Decision) {
	defer r.span.End()
	if !r.span.IsRecording() {
		return
	}
	text := func(key, value string) {
		if value != "" {
			r.span.SetAttributes(attribute.String(key, strings.ToValidUTF8(value, "?")))
		}
	}
	text("request.id", d.RequestID) // finds the line of the log, which has the rest
	text("result", string(d.Result))
	r.span.SetAttributes(attribute.Int("http.response.status_code", d.Status))
	if d.Address.IsValid() {
		text("client.address", d.Address.String())
	}
	if d.Result == authserver.ResultError {
		r.span.SetStatus(codes.Error, "")
	}
	if !d.Authenticated {
		return // all else is a stranger's: a password may stand where a name belongs
	}
	text("enduser.id", d.Account)
	text("service", d.Service)
	text("user_agent.original", d.UserAgent)
	text("token.id", d.TokenID)
	r.span.SetAttributes(attribute.Bool("token.reused", d.Reused), attribute.Int("scopes.count", len(d.Scopes)))
	var scopes []string
	for i := range d.Scopes {
		if i == maxScopes {
			break
		}
		s := &d.Scopes[i]
		line := fmt.Sprintf("%s:%s:%s granted %q entry %d", s.Type, s.Name, strings.Join(s.Asked, ","), strings.Join(s.Granted, ","), s.Entry)
		scopes = append(scopes, strings.ToValidUTF8(line, "?"))
	}
	if len(scopes) > 0 {
		r.span.SetAttributes(attribute.StringSlice("scopes", scopes))
	}
}

// exporter counts what the one behind it loses.
type exporter struct {
	to   sdktrace.SpanExporter
	log  *slog.Logger
	now  func() time.Time
	lost atomic.Uint64

	mu   sync.Mutex
	told time.Time
}

// ExportSpans sends spans. It reports no error: it has said so itself.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.to.ExportSpans(ctx, spans); err != nil {
		e.lost.Add(uint64(len(spans)))
		e.complain(err)
	}
	return nil
}

// Shutdown ends the exporter.
func (e *exporter) Shutdown(ctx context.Context) error { return e.to.Shutdown(ctx) }

func (e *exporter) complain(err error) {
	e.mu.Lock()
	now := e.now()
	quiet := !e.told.IsZero() && now.Sub(e.told) < complainEvery
	if !quiet {
		e.told = now
	}
	e.mu.Unlock()
	if !quiet {
		e.log.Warn("traces are being lost; requests are not affected", "error", err.Error(), "lost", e.lost.Load())
	}
}
