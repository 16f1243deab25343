package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/metrics"
	"github.com/regctl-setup/regctl-setup/internal/tracing"
)

const flagMetricsListen = "metrics-listen"

// metricsFlag registers the flag that says where a service shows its metrics.
func metricsFlag(f *pflag.FlagSet) {
	f.String(flagMetricsListen, "", "where Prometheus finds the metrics: `HOST:PORT`, or off (default: x-regctl-setup.metrics.listen in the config)")
}

// metricsAsked is what the flag, else the environment says; Given is false where neither does.
func (a *app) metricsAsked(f *pflag.FlagSet) (config.Metrics, error) {
	const env = EnvPrefix + "_METRICS_LISTEN"
	_ = a.viper.BindEnv(flagMetricsListen, env)
	text, from := a.viper.GetString(flagMetricsListen), env
	if flagSet(f, flagMetricsListen) {
		text, _ = f.GetString(flagMetricsListen)
		from = "--" + flagMetricsListen
	} else if text == "" {
		return config.Metrics{}, nil
	}
	m, err := config.ParseMetricsListen(text)
	if err != nil {
		return m, usage(fmt.Errorf("%s %q: expected host:port, as %s, or off: %w", from, text, config.DefaultMetricsListen, err))
	}
	return m, nil
}

// observation is how a service is seen from outside.
type observation struct {
	asked config.Metrics // by flag or environment, which go before the config
	// byDefault shows metrics where nobody said anything.
	byDefault bool
	log       *slog.Logger
	tracer    *tracing.Tracer // nil: no traces are asked for

	mu       sync.Mutex
	listener *metrics.Listener
}

// observe prepares to show a service. Call close at its end.
func observe(ctx context.Context, asked config.Metrics, byDefault bool, log *slog.Logger) (*observation, error) {
	t, err := tracing.New(ctx, tracing.Options{Getenv: os.Getenv, Version: buildVersion().Version, Logger: log})
	if err != nil {
		return nil, fail(err, "OTEL_TRACES_EXPORTER=none switches traces off")
	}
	if t != nil {
		log.Info("tracing token requests, as the OTEL_ environment variables ask")
	}
	return &observation{asked: asked, byDefault: byDefault, log: log, tracer: t}, nil
}

// close ends what is shown.
func (o *observation) close() {
	o.mu.Lock()
	l := o.listener
	o.mu.Unlock()
	if l != nil {
		l.Close()
	}
	if o.tracer != nil {
		o.tracer.Close()
	}
}

// serverTracer is the tracer as the server wants it; nil: none.
func (o *observation) serverTracer() authserver.Tracer {
	if o.tracer == nil {
		return nil
	}
	return o.tracer
}

// addr is where the metrics of a state are shown.
func (o *observation) addr(st *authserver.State) string {
	if o.asked.Given {
		return o.asked.Listen
	}
	return st.MetricsListen
}

// adopted follows a reload. An address that can't be had is logged; the old one stays.
func (o *observation) adopted(st *authserver.State) {
	o.mu.Lock()
	l := o.listener
	o.mu.Unlock()
	if l == nil {
		return
	}
	go func() { // it waits for scrapes at the old address
		if err := l.Listen(context.Background(), o.addr(st)); err != nil {
			o.log.Error("the metrics stay where they are", "error", err)
		}
	}()
}

// adapt takes an address that nobody asked for out of a state, where it is not to be used.
func (o *observation) adapt(st *authserver.State) {
	if !o.byDefault && !st.MetricsGiven {
		st.MetricsListen = ""
	}
}

// start shows the server's metrics. An address that nobody chose and that is taken
// is no reason not to serve.
func (o *observation) start(ctx context.Context, srv *authserver.Server, loader *authload.Loader) error {
	src := metrics.Source{Stats: srv.Stats, State: srv.State, Programs: loader.ProgramsRunning, Version: buildVersion().Version}
	if o.tracer != nil {
		src.SpansLost = o.tracer.Lost
	}
	reg, err := metrics.Registry(src)
	if err != nil {
		return fail(err)
	}
	l := metrics.NewListener(reg, o.log)
	st := srv.State()
	if err := l.Listen(ctx, o.addr(st)); err != nil {
		hint := "x-regctl-setup: {metrics: {listen: HOST:PORT}} or --metrics-listen chooses another address, and off none"
		if o.asked.Given || st.MetricsGiven || !errors.Is(err, syscall.EADDRINUSE) {
			return fail(err, hint)
		}
		o.log.Warn("no metrics are shown", "error", err, "hint", hint)
	}
	o.mu.Lock()
	o.listener = l
	o.mu.Unlock()
	return nil
}
