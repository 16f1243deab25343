//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/crypto/bcrypt"
)

// showing are the addresses at which the program said that it shows metrics.
func showing(log string) []string {
	var out []string
	lines := bufio.NewScanner(strings.NewReader(log))
	for lines.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "showing metrics" {
			out = append(out, line.Address)
		}
	}
	return out
}

// series reads the metrics at addr and returns the value of each series with its labels.
func series(t *testing.T, addr string) (map[string]float64, string) {
	t.Helper()
	status, text, err := ask("tcp", addr, "http://"+addr+"/metrics", "", "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("metrics: %d %v", status, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			out[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out, text
}

// spans takes what a collector of traces gets.
type spans struct {
	mu  sync.Mutex
	raw []byte
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.raw = append(s.raw, body...)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (s *spans) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.raw)
}

// TestObserved looks at a running program as Prometheus and a collector of traces do, moves
// its metrics, and looks for secrets in all that was seen.
func TestObserved(t *testing.T) {
	t.Parallel()
	const password, wrong = "canary-Right-1d0c77a9", "canary-Wrong-53ab0e12"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 5)
	if err != nil {
		t.Fatal(err)
	}
	var secrets canaries
	for _, s := range []string{password, wrong, "alice:" + password, "alice:" + wrong, string(hash)} {
		secrets.add(s)
	}
	config, addr := serverFolder(t, "@SERVER@"+tokenSection+"users: {alice: {password: \""+string(hash)+"\"}}\nacl:\n- {match: {account: alice}, actions: [pull]}\n"+
		"x-regctl-setup: {metrics: {listen: \"127.0.0.1:0\"}}\n")
	var taken spans
	collector := httptest.NewServer(&taken)
	defer collector.Close()
	p, errOut := start(t, func(c *exec.Cmd) {
		c.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_SERVICE_NAME=tokens-of-the-test", "OTEL_BSP_SCHEDULE_DELAY=50")
	}, "serve", "--log-level", "debug", config)
	p.serving("tcp", addr, "http")
	for _, q := range []struct {
		password, query string
		want            int
	}{
		{password, "service=r&scope=repository:a/b:pull", 200},
		{password, "service=r&scope=repository:a/b:push", 200},
		{wrong, "service=r", 401},
	} {
		if got, _, err := ask("tcp", addr, "http://"+addr+"/auth?"+q.query, "alice", q.password); err != nil || got != q.want {
			t.Fatalf("%s: %d %v, want %d", q.query, got, err, q.want)
		}
	}
	at := showing(errOut.String())
	if len(at) != 1 {
		t.Fatalf("metrics at %q, want one place: %s", at, errOut)
	}
	values, text := series(t, at[0])
	for key, want := range map[string]float64{
		"regctl_setup_decisions_total granted":      1,
		"regctl_setup_decisions_total denied":       1,
		"regctl_setup_decisions_total unauthorized": 1,
		"regctl_setup_password_checks_total failed": 1,
		"regctl_setup_users":                        1,
		"regctl_setup_acl_entries":                  1,
		"regctl_setup_trace_spans_lost_total":       0,
	} {
		if got, ok := values[key]; !ok || got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
	if values["go_goroutines"] <= 0 || values["regctl_setup_connections_limit"] <= 0 {
		t.Errorf("goroutines %v, limit of connections %v", values["go_goroutines"], values["regctl_setup_connections_limit"])
	}
	if got, body, err := ask("tcp", addr, "http://"+addr+"/metrics", "", ""); err != nil || got != http.StatusNotFound {
		t.Errorf("metrics where clients are served: %d %v %s", got, err, body)
	}
	eventually(t, "spans arrive", func() bool {
		got := taken.text()
		return strings.Contains(got, "tokens-of-the-test") && strings.Contains(got, "authenticate") && strings.Contains(got, "GET token")
	})

	// A reload moves the metrics.
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(string(data), `"127.0.0.1:0"`, `"localhost:0"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	eventually(t, "the metrics have moved", func() bool { return len(showing(errOut.String())) == 2 })
	if values, _ := series(t, showing(errOut.String())[1]); values["regctl_setup_reloads_total ok"] != 1 {
		t.Errorf("reloads after the move: %v", values["regctl_setup_reloads_total ok"])
	}
	eventually(t, "the old address is closed", func() bool {
		_, _, err := ask("tcp", at[0], "http://"+at[0]+"/metrics", "", "")
		return err != nil
	})
	p.signal(syscall.SIGTERM)
	if got := p.wait(20 * time.Second); got != 0 {
		t.Errorf("ended with %d", got)
	}
	secrets.check(t, "/metrics", text)
	secrets.check(t, "spans", taken.text())
	secrets.check(t, "stderr", errOut.String())
	if !strings.Contains(taken.text(), "alice") {
		t.Error("no span names the account: the test sees too little")
	}
}

// TestMetricsAddressTaken: an address that was asked for and can't be had stops the start; the
// one that nobody asked for does not.
func TestMetricsAddressTaken(t *testing.T) {
	t.Parallel()
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	config, addr := serverFolder(t, plainConfig)
	for name, tt := range map[string]struct {
		env, args []string
		status    int
		says      string
	}{
		"by flag":              {nil, []string{"--metrics-listen", busy.Addr().String()}, 3, "address already in use"},
		"by the environment":   {[]string{"REGCTL_SETUP_METRICS_LISTEN=" + busy.Addr().String()}, nil, 3, "address already in use"},
		"a flag that is wrong": {nil, []string{"--metrics-listen", "9101"}, 2, `--metrics-listen "9101": expected host:port`},
		"a wrong environment":  {[]string{"REGCTL_SETUP_METRICS_LISTEN=x:y"}, nil, 2, `REGCTL_SETUP_METRICS_LISTEN "x:y"`},
	} {
		p, errOut := start(t, func(c *exec.Cmd) { c.Env = append(os.Environ(), tt.env...) }, append([]string{"serve", config}, tt.args...)...)
		if got := p.wait(20 * time.Second); got != tt.status || !strings.Contains(errOut.String(), tt.says) {
			t.Errorf("%s: ended with %d, want %d and %q: %s", name, got, tt.status, tt.says, errOut)
		}
	}
	if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:9101"); err == nil {
		defer l.Close() // else somebody else has it
	}
	p, errOut := start(t, nil, "serve", config)
	p.serving("tcp", addr, "http")
	if !strings.Contains(errOut.String(), "no metrics are shown") {
		t.Errorf("the log does not say that there are no metrics: %s", errOut)
	}
	p.signal(syscall.SIGTERM)
	if got := p.wait(20 * time.Second); got != 0 {
		t.Errorf("ended with %d", got)
	}
}
