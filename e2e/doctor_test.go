//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doctorLive asks the site as doctor does, logged in as its admin.
func doctorLive(t *testing.T, s *site, args ...string) result {
	t.Helper()
	return try(t, s.admin.Password+"\n", append([]string{"-C", s.dir, "doctor", "--live-only", "--url", s.base, "--as", "admin", "--password-stdin"}, args...)...)
}

// TestDoctorOnRealParts: a stack of the real registry, Caddy and serve is healthy; what is broken
// is named, and mended it is healthy again.
func TestDoctorOnRealParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		registry string
		how      engine
	}{{"registry", asServe}, {"docker-registry", asDockerAuth}} {
		t.Run(c.registry, func(t *testing.T) {
			t.Parallel()
			s := startStack(t, c.registry, c.how)
			if r := doctorLive(t, s, "--ca", s.ca, "--write"); r.status != 0 || !strings.HasPrefix(r.stdout, "healthy: ") {
				t.Fatalf("a good stack: %v", r)
			}
			// What was pushed is gone; the repository's name stays, as was said.
			if left, err := filepath.Glob(filepath.Join(s.dir, "data/registry/docker/registry/v2/repositories/regctl-setup/doctor/_uploads/*/data")); err != nil || len(left) > 0 {
				t.Errorf("uploads are left: %q, %v", left, err)
			}
			if r := doctorLive(t, s); r.status != 1 || !strings.Contains(r.stdout, "[tls-untrusted]") || !strings.Contains(r.stdout, "no password is sent") {
				t.Errorf("without the authority: %v", r)
			}
			config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
			good, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, config, []byte(strings.Replace(string(good), "issuer: 'regctl-setup'", "issuer: 'Acme auth server'", 1)), 0o600)
			if r := doctorLive(t, s, "--ca", s.ca); r.status != 1 || !strings.Contains(r.stdout, "[token-refused]") || !strings.Contains(r.stdout, "iss: ") {
				t.Errorf("another issuer: %v", r)
			}
			mustWrite(t, config, good, 0o600)
			if r := doctorLive(t, s, "--ca", s.ca); r.status != 0 {
				t.Errorf("mended: %v", r)
			}
			if r := try(t, "", "-C", s.dir, "token", "curl", s.base+"/v2/_catalog", "--as", "admin", "--issue", "--ca", s.ca); r.status != 0 || !strings.Contains(r.stdout, `"repositories"`) {
				t.Errorf("token curl: %v", r)
			}
		})
	}
}
