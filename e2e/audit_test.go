//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuditBeside lets users push, pull and mount where docker_auth answers the token endpoint, and
// asks the log that the service beside it keeps.
func TestAuditBeside(t *testing.T) {
	t.Parallel()
	for _, registry := range []string{"registry", "docker-registry"} {
		t.Run(registry, func(t *testing.T) {
			t.Parallel()
			s := startStack(t, registry, asDockerAuth, "--audit", "--key-type", "rsa-2048")
			img := newImage(t, 512)
			const repo = "dev-backend/api"
			allowed(t, "push", s.crane(t, s.developer, "push", img.tar, s.ref(repo+":1.4")))
			allowed(t, "pull", s.crane(t, s.admin, "manifest", s.ref(repo+":1.4")))
			refused(t, "push by the viewer", s.crane(t, s.viewer, "push", newImage(t, 512).tar, s.ref(repo+":1.5")))
			allowed(t, "copy", s.crane(t, s.developer, "copy", s.ref(repo+":1.4"), s.ref("dev-backend/copy:1")))
			allowed(t, "delete", s.crane(t, s.admin, "delete", s.ref("dev-backend/copy@"+img.digest.String())))

			for want, args := range map[string][]string{
				"developer  from 127.0.0.1  " + repo + ":1.4  " + img.digest.String(): {"who-pushed", repo + ":1.4"},
				"pull          admin":       {"--account", "admin", "--kind", "event", "--action", "pull"},
				"from " + repo:              {"--action", "mount", "--kind", "event", "--account", "developer"},
				"delete        admin":       {"--action", "delete", "--kind", "event"},
				`user "developer" is added`: {"--kind", "change"},
				"mounts":                    {"top", "--format", "csv", "--kind", "event"},
			} {
				eventually(t, fmt.Sprintf("the answer of audit %q", args), func() error {
					if r := try(t, "", append([]string{"-C", s.dir, "audit"}, args...)...); r.status != 0 || !strings.Contains(r.stdout, want) {
						return fmt.Errorf("no %q: %s", want, r)
					}
					return nil
				})
			}
			if r := try(t, "", "-C", s.dir, "audit", "who-pushed", repo+":1.5"); r.status != 1 {
				t.Errorf("who pushed what was refused: %s", r)
			}
			allowed(t, "verify", try(t, "", "-C", s.dir, "audit", "verify"))
		})
	}
}

// TestAuditEmbedded asks the log of the registry in one process, mounts of layers included.
func TestAuditEmbedded(t *testing.T) {
	t.Parallel()
	s, _ := startEmbedded(t)
	img := newImage(t, 512)
	allowed(t, "push", s.crane(t, s.admin, "push", img.tar, s.ref("dev-backend/api:1.4")))
	allowed(t, "copy", s.crane(t, s.admin, "copy", s.ref("dev-backend/api:1.4"), s.ref("dev-backend/copy:1")))
	for want, args := range map[string][]string{
		"dev-backend/api:1.4  " + img.digest.String(): {"who-pushed", "dev-backend/api:1.4"},
		"from dev-backend/api":                        {"--action", "mount", "--kind", "event"},
	} {
		eventually(t, fmt.Sprintf("the answer of audit %q", args), func() error {
			if r := try(t, "", append([]string{"-C", s.dir, "audit"}, args...)...); r.status != 0 || !strings.Contains(r.stdout, want) {
				return fmt.Errorf("no %q: %s", want, r)
			}
			return nil
		})
	}
}

// TestAudit lets several users push, pull, mount and be refused, and asks the audit log alone
// what happened. Then somebody lays hands on the log.
func TestAudit(t *testing.T) {
	t.Parallel()
	for _, registry := range []string{"registry", "docker-registry"} {
		t.Run(registry, func(t *testing.T) {
			t.Parallel()
			s := startStack(t, registry, asServe, "--engine", "bundled", "--key-type", "rsa-2048")
			img := newImage(t, 512)
			const repo = "dev-backend/api"
			allowed(t, "push", s.crane(t, s.developer, "push", img.tar, s.ref(repo+":1.4")))
			allowed(t, "pull", s.crane(t, s.admin, "manifest", s.ref(repo+":1.4")))
			refused(t, "push by the viewer", s.crane(t, s.viewer, "push", newImage(t, 512).tar, s.ref(repo+":1.5")))
			allowed(t, "copy", s.crane(t, s.developer, "copy", s.ref(repo+":1.4"), s.ref("dev-backend/copy:1")))

			audit := func(args ...string) result { return try(t, "", append([]string{"-C", s.dir, "audit"}, args...)...) }
			answers := func(want []string, args ...string) {
				t.Helper()
				eventually(t, fmt.Sprintf("the answer of audit %q", args), func() error {
					r := audit(args...)
					for _, w := range want {
						if r.status != 0 || !strings.Contains(r.stdout, w) {
							return fmt.Errorf("no %q: %s", w, r)
						}
					}
					return nil
				})
			}
			answers([]string{"developer", "127.0.0.1", repo + ":1.4", img.digest.String(), "probably with token"}, "who-pushed", repo+":1.4")
			answers([]string{"admin", "pull"}, "--account", "admin", "--kind", "event")
			answers([]string{"mount"}, "--action", "mount", "--account", "developer", "--kind", "event")
			answers([]string{`"account":"viewer"`, `"name":"dev-backend/api"`, `"file":"conf/auth/auth-server.yml"`}, "--denied", "--account", "viewer", "--format", "json")
			if r := audit("who-pushed", repo+":1.5"); r.status != 1 {
				t.Errorf("who pushed what was refused: %s", r)
			}
			allowed(t, "verify", audit("verify"))

			file := filepath.Join(s.dir, "audit", "audit.jsonl")
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.SplitAfter(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n"))
			last := len(lines) - 1
			for name, changed := range map[string][]byte{
				"altered": bytes.Replace(whole, []byte(`"developer"`), []byte(`"somebody"`), 1),
				"missing": bytes.Join(append(append([][]byte{}, lines[:2]...), lines[3:]...), nil),
				"cut off": bytes.Join(lines[:last], nil),
			} {
				if name == "missing" {
					changed = append(changed, '\n')
				}
				dir := filepath.Join(t.TempDir(), "audit")
				if err := os.CopyFS(dir, os.DirFS(filepath.Dir(file))); err != nil {
					t.Fatal(err)
				}
				mustWrite(t, filepath.Join(dir, "audit.jsonl"), changed, 0o600)
				if r := audit("verify", "--path", dir); r.status != 1 || !strings.Contains(r.stdout, name) || !strings.Contains(r.stdout, "audit.jsonl") {
					t.Errorf("%s: %s", name, r)
				}
			}
		})
	}
}
