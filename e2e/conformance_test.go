//go:build e2e

package e2e

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestConformance runs the OCI distribution-spec conformance suite against a registry alone,
// and against the same registry with Caddy and `serve` in front: what passes must not differ.
func TestConformance(t *testing.T) {
	t.Parallel()
	suite := part(t, "conformance")
	s := startStack(t, "registry", asServe)

	bare := startBareRegistry(t, filepath.Join(s.dir, "conf", "registry", "config.yml"))
	want := conformance(t, suite, "OCI_REGISTRY="+bare, "OCI_TLS=disabled")
	got := conformance(t, suite, "OCI_REGISTRY="+s.host, "OCI_TLS=enabled", "SSL_CERT_FILE="+s.ca,
		"OCI_USERNAME="+s.admin.Name, "OCI_PASSWORD="+s.admin.Password)
	count := map[string]int{}
	for _, test := range slices.Sorted(maps.Keys(want)) {
		count[want[test].Status]++
		if _, ok := got[test]; !ok {
			t.Errorf("%s: not so through Caddy and serve", test)
		}
	}
	for test, v := range got {
		if _, ok := want[test]; !ok {
			t.Errorf("%s: not so without Caddy and serve: %s", test, v.Output)
		}
	}
	t.Logf("conformance: %d tests, the same with and without: %v", len(want), count)
	if count["passed"] < 300 || count["error"] > 0 {
		t.Errorf("results %v: the registry alone does not pass what it is known to pass", count)
	}
}

// startBareRegistry starts registry 3 with a generated config but for its rights: anybody may
// do anything, over plain HTTP. It returns host:port.
func startBareRegistry(t *testing.T, config string) string {
	t.Helper()
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	var conf map[string]any
	if err := yaml.Unmarshal(data, &conf); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	host, debug := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	delete(conf, "auth")
	conf["storage"].(map[string]any)["filesystem"] = map[string]any{"rootdirectory": filepath.Join(dir, "data")}
	conf["http"].(map[string]any)["addr"] = host
	conf["http"].(map[string]any)["debug"] = map[string]any{"addr": debug}
	if data, err = yaml.Marshal(conf); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.yml")
	mustWrite(t, file, data, 0o600)
	p := start(t, "bare registry", environ(dir), part(t, "registry"), "serve", file)
	p.ready(t, httpClient(t, ""), "http://"+host+"/v2/", http.StatusOK)
	return host
}

// verdict is how one test of the conformance suite ended.
type verdict struct {
	Name   string `xml:"name,attr"`
	Status string `xml:"status,attr"`
	Output string `xml:"system-out"`
}

// conformance runs the suite and returns its verdicts by name.
func conformance(t *testing.T, suite string, env ...string) map[string]verdict {
	t.Helper()
	dir := t.TempDir()
	r := execute(t, "", environ(dir, append(env, "OCI_RESULTS_DIR="+dir)...), suite)
	data, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatalf("the conformance suite left no report: %v: %s", err, r)
	}
	var report struct {
		Suites []struct {
			Tests []verdict `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]verdict{}
	for _, s := range report.Suites {
		for _, v := range s.Tests {
			// The same step on several images, in any order: as many must end in each way.
			key := v.Name + " " + v.Status
			for n := 2; verdicts[key].Name != ""; n++ {
				key = fmt.Sprintf("%s %s#%d", v.Name, v.Status, n)
			}
			verdicts[key] = v
		}
	}
	return verdicts
}
