package metrics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/regctl-setup/regctl-setup/internal/authload"
	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/metrics"
)

const configText = `server: {addr: "127.0.0.1:0", certificate: "server.pem", key: "server.key"}
token: {issuer: "Acme", expiration: 900}
users:
  alice: {password: "$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"} # testing
  bob: {password: "$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"}
acl:
  - {match: {account: alice, name: "a/*"}, actions: [pull]}
x-regctl-setup: {limits: {failures_per_user: 2}}
`

// served is a token server on real files.
type served struct {
	dir    string
	srv    *authserver.Server
	loader *authload.Loader
	log    authserver.LogState
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{dir: t.TempDir()}
	pair, err := keys.Generate(keys.ECDSAP256, keys.Options{CommonName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.dir, "server.key", []byte(pair.KeyPEM().Reveal()))
	write(t, s.dir, "server.pem", pair.CertPEM())
	write(t, s.dir, "auth-server.yml", []byte(configText))
	s.loader = authload.NewLoader(authload.Options{
		ConfigPath: filepath.Join(s.dir, "auth-server.yml"),
		Resolve:    func(p string) string { return filepath.Join(s.dir, p) },
	})
	s.srv, err = authserver.New(authserver.Options{Load: s.loader.Load, LogState: func() authserver.LogState { return s.log }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *served) ask(t *testing.T, user, password, query string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/auth?"+query, http.NoBody)
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	w := httptest.NewRecorder()
	s.srv.ServeHTTP(w, r)
	return w.Code
}

// listener shows the server's metrics on a port of its own.
func (s *served) listener(t *testing.T) *metrics.Listener {
	t.Helper()
	reg, err := metrics.Registry(metrics.Source{
		Stats: s.srv.Stats, State: s.srv.State, Programs: s.loader.ProgramsRunning,
		SpansLost: func() uint64 { return 7 }, Version: "v1.2.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	l := metrics.NewListener(reg, nil)
	if err := l.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// scrape reads the metrics as Prometheus does.
func scrape(t *testing.T, l *metrics.Listener) (map[string]*dto.MetricFamily, []byte) {
	t.Helper()
	resp := get(t, "http://"+l.Addr().String()+"/metrics")
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families, text
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// value is that of one series: name and label values.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	f := families["regctl_setup_"+name]
	for _, m := range f.GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, l.GetValue())
		}
		if !slices.Equal(have, labels) {
			continue
		}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			return m.GetCounter().GetValue()
		case dto.MetricType_GAUGE:
			return m.GetGauge().GetValue()
		case dto.MetricType_HISTOGRAM:
			return float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Errorf("no series %s %q", name, labels)
	return -1
}

func TestValues(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.log = authserver.LogState{Written: 5, Dropped: 3, Queued: 2, Err: "the disk is full"}
	const scope = "service=r&scope=repository:a/b:"
	for _, q := range []struct {
		user, password, query string
		want                  int
	}{
		{"alice", "testing", scope + "pull", 200},
		{"alice", "testing", scope + "pull", 200},
		{"alice", "testing", scope + "pull,push", 200},
		{"alice", "testing", scope + "push", 200},
		{"alice", "testing", "service=r", 200},
		{"bob", "wrong", "service=r", 401},
		{"bob", "wrong", "service=r", 401},
		{"bob", "wrong", "service=r", 429},
		{"", "", "scope=x", 400},
	} {
		if got := s.ask(t, q.user, q.password, q.query); got != q.want {
			t.Fatalf("%s %s: %d, want %d", q.user, q.query, got, q.want)
		}
	}
	write(t, s.dir, "auth-server.yml", []byte(configText+"nonsense: 1\n"))
	if err := s.srv.Reload(t.Context()); err == nil {
		t.Fatal("a config with nonsense was loaded")
	}
	families, _ := scrape(t, s.listener(t))
	for _, want := range []struct {
		name   string
		value  float64
		labels []string
	}{
		{"http_requests_total", 9, nil},
		{"decisions_total", 2, []string{"granted"}},
		{"decisions_total", 1, []string{"partial"}},
		{"decisions_total", 1, []string{"denied"}},
		{"decisions_total", 1, []string{"login"}},
		{"decisions_total", 2, []string{"unauthorized"}},
		{"decisions_total", 1, []string{"limited"}},
		{"decisions_total", 1, []string{"malformed"}},
		{"decisions_total", 0, []string{"error"}},
		{"decision_duration_seconds", 2, []string{"granted"}},
		{"tokens_reused_total", 2, nil}, // what was granted of pull,push is what pull got,
		{"tokens_kept", 3, nil},
		{"password_checks_total", 1, []string{"ok"}},
		{"password_checks_total", 2, []string{"failed"}},
		{"password_checks_refused_total", 1, []string{"limited"}},
		{"logins_remembered_total", 4, nil},
		{"banned", 1, []string{"account"}},
		{"banned", 0, []string{"address"}},
		{"failures_tracked", 1, []string{"account"}},
		{"users", 2, nil},
		{"acl_entries", 1, nil},
		{"reloads_total", 0, []string{"ok"}},
		{"reloads_total", 1, []string{"failed"}},
		{"degraded", 1, []string{"reload_failed"}},
		{"degraded", 1, []string{"log_dropping"}},
		{"degraded", 0, []string{"audit_failing"}},
		{"log_lines_total", 5, nil},
		{"log_lines_dropped_total", 3, nil},
		{"log_lines_queued", 2, nil},
		{"trace_spans_lost_total", 7, nil},
		{"connections_limit", 4096, nil},
	} {
		if got := value(t, families, want.name, want.labels...); got != want.value && (want.name != "connections_limit" || got <= 0) {
			t.Errorf("%s %q: got %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	end := s.srv.State().Certificates[0].Expires
	if got := value(t, families, "certificate_expires_timestamp_seconds", "signing"); int64(got) != end.Unix() {
		t.Errorf("the certificate ends at %v, want %v", got, end.Unix())
	}
	if got := value(t, families, "config_loaded_timestamp_seconds"); time.Since(time.UnixMilli(int64(got*1000))) > time.Minute {
		t.Errorf("loaded at %v", got)
	}
}

// TestHistogram: the buckets count up to all requests, and are those of the documentation's
// promise: a request is in the bucket of its time and in all larger ones.
func TestHistogram(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for range 5 {
		s.ask(t, "alice", "testing", "service=r")
	}
	families, _ := scrape(t, s.listener(t))
	for _, m := range families["regctl_setup_decision_duration_seconds"].GetMetric() {
		h := m.GetHistogram()
		last := uint64(0)
		for _, b := range h.GetBucket() {
			if b.GetCumulativeCount() < last {
				t.Errorf("%v: bucket %v has %d after %d", m.GetLabel(), b.GetUpperBound(), b.GetCumulativeCount(), last)
			}
			last = b.GetCumulativeCount()
		}
		if m.GetLabel()[0].GetValue() == "login" && (h.GetSampleCount() != 5 || h.GetSampleSum() <= 0) {
			t.Errorf("%d requests of %v s", h.GetSampleCount(), h.GetSampleSum())
		}
	}
}

var docRow = regexp.MustCompile("(?m)^\\| `(regctl_setup_[a-z_]+)` \\| (\\w+) \\| ([^|]*) \\| ([^|]*) \\|$")

// TestDocumented holds docs/metrics.md against what a server shows: names, types, labels and
// meanings, in both directions.
func TestDocumented(t *testing.T) {
	t.Parallel()
	s := serve(t)
	families, _ := scrape(t, s.listener(t))
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for _, m := range docRow.FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]] = m[2:]
	}
	for name, f := range families {
		if !strings.HasPrefix(name, "regctl_setup_") {
			continue
		}
		row, ok := rows[name]
		if !ok {
			t.Errorf("%s is not in docs/metrics.md", name)
			continue
		}
		delete(rows, name)
		labels := map[string]bool{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels["`"+l.GetName()+"`"] = true
		}
		documented := map[string]bool{}
		for _, l := range strings.Split(row[1], ", ") {
			if l = strings.TrimSpace(l); l != "" {
				documented[l] = true
			}
		}
		if kind := strings.ToLower(f.GetType().String()); row[0] != kind || row[2] != f.GetHelp() || !maps.Equal(labels, documented) {
			t.Errorf("%s: docs/metrics.md says %q, the server shows %s, %v, %q", name, row, kind, labels, f.GetHelp())
		}
	}
	for name := range rows {
		t.Errorf("docs/metrics.md has %s, which the server does not show", name)
	}
	for _, kind := range authserver.Degradations() {
		if !strings.Contains(string(doc), "| `"+kind+"` |") {
			t.Errorf("docs/metrics.md does not explain degraded %q", kind)
		}
	}
}

var metricName = regexp.MustCompile(`\b(regctl_setup|process|go)_[a-z_]+`)

// TestDashboardAndAlerts: every metric that they name is shown, and every one that is shown
// is on the dashboard or in an alert.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	s := serve(t)
	families, _ := scrape(t, s.listener(t))
	used := map[string]bool{}
	for _, file := range []string{"grafana-dashboard.json", "prometheus-rules.yml"} {
		data, err := os.ReadFile("../../packaging/monitoring/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(data) {
			t.Errorf("%s is no JSON", file)
		}
		for _, name := range metricName.FindAllString(string(data), -1) {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base := strings.TrimSuffix(name, suffix); families[base].GetType() == dto.MetricType_HISTOGRAM {
					name = base
				}
			}
			if families[name] == nil {
				t.Errorf("%s names %s, which the server does not show", file, name)
			}
			used[name] = true
		}
	}
	// What a picture of is of no use: totals that are a part of another, and small things.
	unused := []string{"regctl_setup_http_requests_total", "regctl_setup_log_lines_total", "regctl_setup_log_lines_queued"}
	for name := range families {
		if strings.HasPrefix(name, "regctl_setup_") && !used[name] && !slices.Contains(unused, name) {
			t.Errorf("%s is neither on the dashboard nor in an alert", name)
		}
	}
}

// TestDashboardPanels: every panel has a title, an explanation and a query, and none lies over
// another.
func TestDashboardPanels(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../packaging/monitoring/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID                       int
			Title, Type, Description string
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{}
	for _, p := range board.Panels {
		if p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d %q lacks something", p.ID, p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				at := fmt.Sprint(x, " ", y)
				if taken[at] != "" || x > 23 {
					t.Fatalf("%q lies over %q at %s", p.Title, taken[at], at)
				}
				taken[at] = p.Title
			}
		}
	}
}

// TestPromtool lets Prometheus's own tool judge the alert rules and the metrics, where it is
// installed.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	for _, args := range [][]string{
		{"check", "rules", "../../packaging/monitoring/prometheus-rules.yml"},
		{"test", "rules", "testdata/alerts_test.yml"},
		{"check", "rules", dashboardRules(t)},
	} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	s := serve(t)
	_, text := scrape(t, s.listener(t))
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(string(text))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("check metrics: %v\n%s", err, out)
	}
}

// dashboardRules writes the dashboard's queries into a file of rules, which promtool can judge.
func dashboardRules(t *testing.T) (path string) {
	t.Helper()
	data, err := os.ReadFile("../../packaging/monitoring/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			expr := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "1m").Replace(q.Expr)
			rules = append(rules, rule{fmt.Sprintf("query_%d", len(rules)), expr})
		}
	}
	if len(rules) < 20 {
		t.Errorf("%d queries on the dashboard: it holds next to nothing", len(rules))
	}
	// JSON is YAML, too.
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "dashboard.yml", text)
	return filepath.Join(dir, "dashboard.yml")
}

func TestListenerMoves(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := s.listener(t)
	first := l.Addr().String()
	if err := l.Listen(t.Context(), first); err == nil {
		t.Error("an address that is taken was opened twice")
	}
	if l.Addr().String() != first {
		t.Errorf("after a failed move at %v, want %s", l.Addr(), first)
	}
	if err := l.Listen(t.Context(), "localhost:0"); err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() == first {
		t.Error("it did not move")
	}
	if _, err := http.Get("http://" + first + "/metrics"); err == nil {
		t.Error("the old address still answers")
	}
	scrape(t, l)
	for path, want := range map[string]int{"/": 200, "/other": 404, "/debug/pprof/": 404} {
		resp := get(t, "http://"+l.Addr().String()+path)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if err := l.Listen(context.Background(), ""); err != nil || l.Addr() != nil {
		t.Errorf("off: %v, at %v", err, l.Addr())
	}
	l.Close()
	if err := l.Listen(t.Context(), "127.0.0.1:0"); err != nil || l.Addr() != nil {
		t.Errorf("after Close: %v, at %v", err, l.Addr())
	}
}
