package deployment_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

func values(t *testing.T, dir string) (*deployment.Deployment, deployment.RegistryValues) {
	t.Helper()
	d, err := deployment.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := d.RegistryValues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d, v
}

// The guide's registry is set by variables alone.
func TestRegistryValuesOfTheGuide(t *testing.T) {
	t.Parallel()
	_, v := values(t, guide(t))
	driver, params := v.Storage()
	if driver != "s3" || params["bucket"] != "bucketname" || params["region"] != "eu-west-1" {
		t.Errorf("Storage() = %q, %v", driver, params)
	}
	for want, keys := range map[string]string{
		"https://auth.yourdomain.com/auth": "auth.token.realm", "Docker registry": "auth.token.service", "Acme auth server": "auth.token.issuer",
		"somerandomstringhere": "http.secret", "0.0.0.0:5000": "http.addr", "": "http.draintimeout",
	} {
		if got := v.Text(strings.Split(keys, ".")...); got != want {
			t.Errorf("%s = %q, want %q", keys, got, want)
		}
	}
	if v.File != "" || v.Empty() || len(v.Env) != 12 {
		t.Errorf("File %q, %d variables", v.File, len(v.Env))
	}
}

func TestRegistryValuesOfAFile(t *testing.T) {
	t.Parallel()
	dir := guide(t)
	write(t, filepath.Join(dir, "docker-compose.yml"), `services:
  hub:
    image: distribution/distribution:3.1.1
    environment: {REGISTRY_STORAGE_DELETE_ENABLED: "true", REGISTRY_LOG_LEVEL: debug, AWS_SHARED_CREDENTIALS_FILE: /run/secrets/keys}
    volumes: ["./reg.yml:/etc/distribution/config.yml:ro", "./certs:/certs:ro"]
    secrets: [keys]
secrets: {keys: {file: ./aws}}
`)
	write(t, filepath.Join(dir, "reg.yml"), "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: /x}, delete: {enabled: false}}\n")
	write(t, filepath.Join(dir, "aws"), "[default]\n")
	write(t, filepath.Join(dir, "certs/a.pem"), "x")
	d, v := values(t, dir)
	if v.File != filepath.Join(dir, "reg.yml") {
		t.Errorf("File = %q", v.File)
	}
	driver, params := v.Storage()
	if driver != "filesystem" || params["rootdirectory"] != "/x" {
		t.Errorf("Storage() = %q, %v", driver, params)
	}
	if got := v.Text("storage", "delete", "enabled") + " " + v.Text("log", "level"); got != "true debug" {
		t.Errorf("the variables do not stand above the file: %q", got)
	}
	for inside, want := range map[string]string{"/run/secrets/keys": "aws", "/certs/a.pem": "certs/a.pem"} {
		got, err := d.HostPath(t.Context(), v.Service, inside)
		if err != nil || got != filepath.Join(dir, filepath.FromSlash(want)) {
			t.Errorf("HostPath(%s) = %q, %v, want %s", inside, got, err, want)
		}
	}
	for _, inside := range []string{"/certs/b.pem", "/elsewhere"} {
		if got, err := d.HostPath(t.Context(), v.Service, inside); err == nil {
			t.Errorf("HostPath(%s) = %q, want an error", inside, got)
		}
	}
}

// REGISTRY_STORAGE chooses the driver and drops what the file said.
func TestRegistryValuesStorageReplaced(t *testing.T) {
	t.Parallel()
	dir := guide(t)
	write(t, filepath.Join(dir, "docker-compose.yml"), "services:\n  registry:\n    image: registry:2\n    environment: {REGISTRY_STORAGE: s3, REGISTRY_STORAGE_S3_BUCKET: b}\n")
	write(t, filepath.Join(dir, "conf/registry/config.yml"), "storage: {filesystem: {rootdirectory: /x}, delete: {enabled: true}}\n")
	_, v := values(t, dir)
	driver, params := v.Storage()
	if driver != "s3" || params["bucket"] != "b" || v.Text("storage", "delete", "enabled") != "" {
		t.Errorf("Storage() = %q, %v; delete %q", driver, params, v.Text("storage", "delete", "enabled"))
	}
}
