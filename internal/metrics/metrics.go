// Package metrics shows a token server's counters to Prometheus.
//
// Nothing is counted here: [New] returns a collector that asks the server for its
// [authserver.Stats] whenever somebody looks, so that requests pay for no more than the
// server's own atomic counters. No metric carries an account, an address or a repository:
// these are in the audit log.
//
//	reg, err := metrics.Registry(metrics.Source{Stats: srv.Stats, State: srv.State})
//	listener := metrics.NewListener(reg, log)
//	err = listener.Listen(ctx, "127.0.0.1:9101")
//	defer listener.Close()
//
// docs/metrics.md lists the metrics; a test holds it, the dashboard and the alert rules
// against what a server really shows.
package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
)

// Source is what is shown.
type Source struct {
	// Stats and State are the token server's. Required.
	Stats func() authserver.Stats
	State func() *authserver.State
	// Programs is how many external programs run now; nil: none ever do.
	Programs func() int
	// SpansLost is how many traces' spans could not be exported; nil: none ever are.
	SpansLost func() uint64
	// Version is the program's.
	Version string
}

// Registry returns a registry with the source's metrics and those of the Go runtime and the
// process.
func Registry(src Source) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		New(src),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return reg, nil
}

// metric is one name with its labels, and what it says of a source.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*view, func(value float64, labels ...string))
}

// view is a source at one moment, so that all metrics of a scrape are of the same one.
type view struct {
	src   Source
	stats authserver.Stats
	state *authserver.State
}

// Collector reads the metrics of one server. It is safe for concurrent use.
type Collector struct {
	src      Source
	list     []metric
	duration *prometheus.Desc
}

// New returns a collector.
func New(src Source) *Collector {
	return &Collector{src: src, list: list(), duration: prometheus.NewDesc(prefix+"decision_duration_seconds",
		"How long token requests took, from their headers to their answer, by result.", []string{"result"}, nil)}
}

// Describe sends the descriptions.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.list {
		to <- m.desc
	}
	to <- c.duration
}

// Collect sends the values.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	v := &view{src: c.src, stats: c.src.Stats(), state: c.src.State()}
	for _, m := range c.list {
		m.read(v, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
		})
	}
	bounds := authserver.LatencyBounds()
	for _, d := range v.stats.Decisions {
		buckets := make(map[float64]uint64, len(bounds))
		for i, b := range bounds {
			buckets[b.Seconds()] = d.Buckets[i]
		}
		to <- prometheus.MustNewConstHistogram(c.duration, d.Count, d.Sum.Seconds(), buckets, string(d.Result))
	}
}

// prefix begins every name.
const prefix = "regctl_setup_"

// one makes a metric without labels.
func one(kind prometheus.ValueType, name, help string, value func(*view) float64) metric {
	return metric{prometheus.NewDesc(prefix+name, help, nil, nil), kind, func(v *view, emit func(float64, ...string)) { emit(value(v)) }}
}

// by makes a metric with one label.
func by(kind prometheus.ValueType, name, help, label string, read func(*view, func(float64, ...string))) metric {
	return metric{prometheus.NewDesc(prefix+name, help, []string{label}, nil), kind, read}
}

func list() []metric {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []metric{
		{prometheus.NewDesc(prefix+"build_info", "Always 1; the labels say which program this is.", []string{"version", "goversion"}, nil), gauge,
			func(v *view, emit func(float64, ...string)) { emit(1, v.src.Version, runtime.Version()) }},
		one(counter, "http_requests_total", "Requests of any path.", func(v *view) float64 { return float64(v.stats.Requests) }),
		by(counter, "decisions_total", "Token requests by result.", "result", func(v *view, emit func(float64, ...string)) {
			for _, d := range v.stats.Decisions {
				emit(float64(d.Count), string(d.Result))
			}
		}),
		one(counter, "tokens_reused_total", "Tokens that were handed out again; begins anew with each reload.", func(v *view) float64 { return float64(v.stats.TokensReused) }),
		one(gauge, "tokens_kept", "Tokens that may be handed out again.", func(v *view) float64 { return float64(v.stats.TokensKept) }),
		one(counter, "matcher_errors_total", "Scopes that were denied because a pattern broke on the values put into it.", func(v *view) float64 { return float64(v.stats.MatcherErrors) }),
		one(counter, "panics_total", "Requests that ended in a fault of the program.", func(v *view) float64 { return float64(v.stats.Panics) }),

		by(counter, "password_checks_total", "Password checks that ran, by whether the credentials were good.", "result", func(v *view, emit func(float64, ...string)) {
			emit(float64(v.stats.Guard.Checked-v.stats.Guard.Failed), "ok")
			emit(float64(v.stats.Guard.Failed), "failed")
		}),
		by(counter, "password_checks_refused_total", "Logins that got no password check: limited (too many failures), busy (too many others), left (the client went away).", "reason", func(v *view, emit func(float64, ...string)) {
			emit(float64(v.stats.Guard.Limited), "limited")
			emit(float64(v.stats.Guard.Busy), "busy")
			emit(float64(v.stats.Guard.Left), "left")
		}),
		one(counter, "logins_remembered_total", "Logins whose password had been checked a short while ago.", func(v *view) float64 { return float64(v.stats.Remembered) }),
		one(gauge, "password_checks_running", "Password checks that run now.", func(v *view) float64 { return float64(v.stats.Guard.Running) }),
		one(gauge, "password_checks_waiting", "Logins that wait for their password check.", func(v *view) float64 { return float64(v.stats.Guard.Waiting) }),
		by(gauge, "banned", "What is refused now for too many failed logins: account (each at one address) or address.", "what", func(v *view, emit func(float64, ...string)) {
			emit(float64(v.stats.BannedAccounts), "account")
			emit(float64(v.stats.BannedAddresses), "address")
		}),
		by(gauge, "failures_tracked", "What is remembered for failed logins: account (each at one address) or address.", "what", func(v *view, emit func(float64, ...string)) {
			emit(float64(v.stats.Guard.Accounts), "account")
			emit(float64(v.stats.Guard.Clients), "address")
		}),
		one(gauge, "programs_running", "External programs (ext_auth, ext_authz) that run now.", func(v *view) float64 {
			if v.src.Programs == nil {
				return 0
			}
			return float64(v.src.Programs())
		}),

		one(gauge, "users", "Accounts in the configuration in force.", func(v *view) float64 { return float64(v.state.Users) }),
		one(gauge, "acl_entries", "Entries of the access rules in force.", func(v *view) float64 { return float64(v.state.Policy.Len()) }),
		by(counter, "reloads_total", "Reloads of the configuration by result.", "result", func(v *view, emit func(float64, ...string)) {
			emit(float64(v.stats.Reloads), "ok")
			emit(float64(v.stats.ReloadsFailed), "failed")
		}),
		one(gauge, "config_loaded_timestamp_seconds", "When the configuration in force was loaded, in seconds since 1970.", func(v *view) float64 { return unix(v.stats.Loaded.UnixMilli()) }),
		by(gauge, "degraded", "1 for each reason why /healthz says degraded, else 0.", "reason", func(v *view, emit func(float64, ...string)) {
			for _, kind := range authserver.Degradations() {
				value := 0.0
				for _, d := range v.stats.Degraded {
					if d.Kind == kind {
						value = 1
					}
				}
				emit(value, kind)
			}
		}),
		by(gauge, "certificate_expires_timestamp_seconds", "When a certificate ends, in seconds since 1970: signing (of the tokens), server (of TLS).", "certificate", func(v *view, emit func(float64, ...string)) {
			for _, c := range v.state.Certificates {
				emit(float64(c.Expires.Unix()), c.Name)
			}
		}),

		one(counter, "audit_failures_total", "Decisions that could not be written to the audit log.", func(v *view) float64 { return float64(v.stats.AuditErrors) }),
		one(counter, "log_lines_total", "Log lines that the log's destination took.", func(v *view) float64 { return float64(v.stats.Log.Written) }),
		one(counter, "log_lines_dropped_total", "Log lines that were lost because the log's destination did not take them.", func(v *view) float64 { return float64(v.stats.Log.Dropped) }),
		one(gauge, "log_lines_queued", "Log lines that wait for the log's destination.", func(v *view) float64 { return float64(v.stats.Log.Queued) }),
		one(counter, "trace_spans_lost_total", "Spans that the collector of traces did not take.", func(v *view) float64 {
			if v.src.SpansLost == nil {
				return 0
			}
			return float64(v.src.SpansLost())
		}),

		one(gauge, "connections_open", "Connections that are open now.", func(v *view) float64 { return float64(v.stats.Connections.Open) }),
		one(gauge, "connections_limit", "Connections that may be open at once.", func(v *view) float64 { return float64(v.stats.Connections.Limit) }),
		by(counter, "connections_closed_total", "Connections that were closed for there being too many: evicted (idle or slow ones, for a newcomer), refused (newcomers).", "reason", func(v *view, emit func(float64, ...string)) {
			emit(float64(v.stats.Connections.Evicted), "evicted")
			emit(float64(v.stats.Connections.Refused), "refused")
		}),
	}
}

// unix turns milliseconds since 1970 into seconds.
func unix(ms int64) float64 { return float64(ms) / 1000 }
