package deployment_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// guide copies the hand-made folder and gives it a key pair's files.
func guide(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../testdata/guide")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "conf/keys/server.key"), "key")
	write(t, filepath.Join(dir, "conf/keys/server.pem"), "cert")
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHandMadeFolder(t *testing.T) {
	t.Parallel()
	dir := guide(t)
	d, err := deployment.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "conf/auth-server.yml"); d.Auth != want {
		t.Errorf("Auth = %s, want %s", d.Auth, want)
	}
	if got, want := d.Resolve("/certs/server.key"), filepath.Join(dir, "conf/keys/server.key"); got != want {
		t.Errorf("Resolve(/certs/server.key) = %s, want the host's %s", got, want)
	}
	if got, want := d.Resolve("/nowhere/server.key"), "/nowhere/server.key"; got != want {
		t.Errorf("Resolve of a path that is nowhere = %s, want it as it was", got)
	}
	if got, err := d.Service(t.Context()); err != nil || got != "Docker registry" {
		t.Errorf("Service() = %q, %v, want the compose file's", got, err)
	}
	if got, err := d.SingleFileMount(t.Context(), d.Auth); err != nil || got != "auth" {
		t.Errorf("SingleFileMount(auth config) = %q, %v, want auth", got, err)
	}
	if got, err := d.SingleFileMount(t.Context(), filepath.Join(dir, "conf/keys/server.key")); err != nil || got != "" {
		t.Errorf("SingleFileMount(key) = %q, %v, want none: its folder is mounted", got, err)
	}
}

// The folder's own .env fills in the compose file, and nothing of the process's environment.
func TestProjectTakesItsOwnEnv(t *testing.T) {
	t.Setenv("AUTH_DOMAIN", "of.the.shell")
	d, err := deployment.Open(guide(t))
	if err != nil {
		t.Fatal(err)
	}
	project, err := d.Project(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := project.Services["registry"].Environment["REGISTRY_AUTH_TOKEN_REALM"]; got == nil || *got != "https://auth.yourdomain.com/auth" {
		t.Errorf("the realm is %v, want the one with the folder's AUTH_DOMAIN", got)
	}
}

func TestOpenPrefersTheGeneratedLayout(t *testing.T) {
	t.Parallel()
	dir := guide(t)
	write(t, filepath.Join(dir, "conf/auth/auth-server.yml"), "server: {}\n")
	d, err := deployment.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "conf/auth/auth-server.yml"); d.Auth != want {
		t.Errorf("Auth = %s, want %s", d.Auth, want)
	}
}

func TestOpenWithoutConfig(t *testing.T) {
	t.Parallel()
	if _, err := deployment.Open(t.TempDir()); !errors.Is(err, deployment.ErrNotFound) {
		t.Errorf("error = %v, want ErrNotFound", err)
	}
}

func TestForConfigFindsItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "conf/auth/auth-server.yml")
	write(t, file, "server: {}\n")
	write(t, filepath.Join(dir, "regctl-setup.yaml"), "domain: localhost\n")
	write(t, filepath.Join(dir, "conf/keys/server.key"), "key")
	d, err := deployment.ForConfig(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if d.Dir != dir {
		t.Errorf("Dir = %s, want %s", d.Dir, dir)
	}
	if got, want := d.Resolve("conf/keys/server.key"), filepath.Join(dir, "conf/keys/server.key"); got != want {
		t.Errorf("Resolve = %s, want %s", got, want)
	}
	other := t.TempDir()
	if d, err = deployment.ForConfig(file, other); err != nil || d.Dir != other {
		t.Errorf("ForConfig with a folder given: %v, %v, want Dir %s", d, err, other)
	}
}
