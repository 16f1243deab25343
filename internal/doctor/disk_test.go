package doctor_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// TestGoodDeploymentsAreSilent: what init writes has no finding, on every profile.
func TestGoodDeploymentsAreSilent(t *testing.T) {
	t.Parallel()
	for _, profile := range profiles(t) {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			r := doctor.Disk(t.Context(), gather(t, good(t, profile)))
			if !r.Healthy(doctor.Warning) || len(r.Unknown) > 0 {
				t.Errorf("findings in what init writes:\n%s", show(r))
			}
			for _, f := range r.Findings {
				if f.Code != "registry-2-unmaintained" {
					t.Errorf("an opinion on what init writes: %s", f)
				}
			}
		})
	}
}

// TestChecksAreSound: every check has a plain code of its own and all its texts.
func TestChecksAreSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range doctor.Checks() {
		if seen[c.Code] || strings.Trim(c.Code, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("check %q is there twice, or has no plain code", c.Code)
		}
		seen[c.Code] = true
		for name, text := range map[string]string{"title": c.Title, "why": c.Why, "mend": c.Mend} {
			if text == "" || strings.HasSuffix(text, ".") || slices.Contains([]string{"TODO"}, text) {
				t.Errorf("check %s: %s %q", c.Code, name, text)
			}
		}
	}
	if len(seen) < 45 {
		t.Errorf("%d checks, want 45 or more", len(seen))
	}
}

// TestGuide runs on the folder that the published guide has people write by hand.
func TestGuide(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../testdata/guide")); err != nil {
		t.Fatal(err)
	}
	put("conf/keys/server.key", "rsa.key", 0o600)(t, dir)
	put("conf/keys/server.pem", "rsa.pem", 0o644)(t, dir)
	r := doctor.Disk(t.Context(), gather(t, dir))
	for _, want := range []string{
		"single-file-mount", "caddy-data-lost", "http-secret-weak", "drain-timeout", "image-tag-floats", "secret-in-compose",
		"docker-auth-log-lost", "mode-too-open", "acl-lint", "registry-2-unmaintained",
	} {
		if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Code == want }) {
			t.Errorf("no %s", want)
		}
	}
	for _, f := range r.Findings {
		if slices.Contains([]string{"file-missing", "compose-invalid", "issuer-mismatch", "service-mismatch", "trust-not-mounted", "upstream-mismatch", "key-id-not-accepted"}, f.Code) {
			t.Errorf("a false alarm: %s", f)
		}
	}
	if t.Failed() {
		t.Log(show(r))
	}
}
