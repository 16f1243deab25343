//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// addresses are where the parts of a rehosted deployment listen, all on loopback.
type addresses struct {
	auth, registry, debug, health string // host:port
	events                        string // where the registry reports to
	http, https                   int    // Caddy's
}

func newAddresses(t *testing.T) addresses {
	t.Helper()
	loopback := func() string { return fmt.Sprintf("127.0.0.1:%d", freePort(t)) }
	return addresses{
		auth: loopback(), registry: loopback(), debug: loopback(), health: loopback(), events: loopback(),
		http: freePort(t), https: freePort(t),
	}
}

// substitution is one text that must stand exactly times times in a file.
type substitution struct {
	old, new string
	times    int
}

// rehost turns a folder that init wrote for containers into one whose parts run as
// processes on loopback. It rewrites hosts, ports and root paths, and nothing else: what
// the stories then prove, they prove about the files that init wrote.
func rehost(t *testing.T, dir, domain string, at addresses) {
	t.Helper()
	inAuth, beside := 0, 0 // who takes the registry's reports: the bundled engine, or a service beside docker_auth
	if _, err := os.Stat(filepath.Join(dir, "conf", "auth", "events-secret")); err == nil {
		inAuth = 1
	}
	if _, err := os.Stat(filepath.Join(dir, "conf", "audit", "events-secret")); err == nil {
		beside = 1
	}
	for file, subs := range map[string][]substitution{
		"conf/auth/auth-server.yml": {
			{"addr: ':5001'", "addr: '" + at.auth + "'", 1},
			{"address: ':5002'", "address: '" + at.events + "'", inAuth},
		},
		"conf/registry/config.yml": {
			{"rootdirectory: /var/lib/registry", "rootdirectory: " + filepath.Join(dir, "data", "registry"), 1},
			{"addr: ':5000'", "addr: '" + at.registry + "'", 1},
			{"addr: 127.0.0.1:5001", "addr: " + at.debug, 1},
			{"http://auth:5002/events", "http://" + at.events + "/events", inAuth},
			{"http://audit:5002/events", "http://" + at.events + "/events", beside},
			{"https://" + domain + "/auth", fmt.Sprintf("https://%s:%d/auth", domain, at.https), 1},
			{"/etc/regctl-setup/trust/", filepath.Join(dir, "conf", "trust") + "/", 2},
		},
		"conf/caddy/Caddyfile": caddySubstitutions(dir, at),
	} {
		rehostFile(t, filepath.Join(dir, filepath.FromSlash(file)), subs)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// caddySubstitutions are what [rehost] does to the Caddyfile.
func caddySubstitutions(dir string, at addresses) []substitution {
	ownRoot := filepath.Join(dir, "conf", "caddy", "acme_ca_root.pem")
	roots := 0
	if fileExists(ownRoot) {
		roots = 1
	}
	return []substitution{
		{"\tadmin off\n", fmt.Sprintf("\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port %d\n\thttps_port %d\n", at.http, at.https), 1},
		{"reverse_proxy auth:5001", "reverse_proxy " + at.auth, 1},
		{"reverse_proxy registry:5000", "reverse_proxy " + at.registry, 1},
		{"http://127.0.0.1:2020", "http://" + at.health, 1},
		{"/etc/caddy/acme_ca_root.pem", ownRoot, roots},
	}
}

// rehostFile makes the substitutions in one file, and makes sure that nothing is left of what
// works in a container only.
func rehostFile(t *testing.T, path string, subs []substitution) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatalf("init did not write what the deployment needs: %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subs {
		if n := bytes.Count(data, []byte(s.old)); n != s.times {
			t.Errorf("%s holds %q %d times, want %d", path, s.old, n, s.times)
		}
		data = bytes.ReplaceAll(data, []byte(s.old), []byte(s.new))
	}
	for i, line := range strings.Split(string(data), "\n") {
		if left := containerOnly.FindString(withoutComment(line)); left != "" {
			t.Errorf("%s:%d: %q works in a container only and was not rewritten: %s", path, i+1, left, line)
		}
	}
	if err := os.WriteFile(path, data, st.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}

// containerOnly finds what resolves or exists inside a container only.
var containerOnly = regexp.MustCompile(`\b(?:auth|audit|registry|caddy):\d+|/etc/(?:regctl-setup|caddy)\b|/var/lib/registry\b|['" ]:\d{4,5}\b`)

func withoutComment(line string) string {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return ""
	}
	return line
}
