package deployment_test

import (
	"path/filepath"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

func TestRegistry(t *testing.T) {
	t.Parallel()
	const auth = "conf/auth/auth-server.yml"
	const config = "auth: {token: {service: hub, issuer: Acme}}\nstorage: {filesystem: {rootdirectory: /x}, delete: {enabled: true}}\n"
	const compose = "services:\n  registry:\n    image: registry:2\n    environment:\n"
	for _, c := range []struct {
		name   string
		files  map[string]string
		want   deployment.Registry
		source string
		fails  bool
	}{
		{"nothing", map[string]string{}, deployment.Registry{}, "", false},
		{"file", map[string]string{"conf/registry/config.yml": config}, deployment.Registry{Service: "hub", Issuer: "Acme", Delete: true}, "conf/registry/config.yml", false},
		{"environment", map[string]string{"docker-compose.yml": compose + "      REGISTRY_AUTH_TOKEN_SERVICE: hub\n      REGISTRY_STORAGE_DELETE_ENABLED: 'true'\n"}, deployment.Registry{Service: "hub", Delete: true}, "docker-compose.yml", false},
		{"environment over file", map[string]string{"conf/registry/config.yml": config, "docker-compose.yml": compose + "      REGISTRY_STORAGE_DELETE_ENABLED: 'false'\n"}, deployment.Registry{Service: "hub", Issuer: "Acme"}, "conf/registry/config.yml", false},
		{"no YAML", map[string]string{"conf/registry/config.yml": "a: [b"}, deployment.Registry{}, "", true},
		{"no boolean", map[string]string{"docker-compose.yml": compose + "      REGISTRY_STORAGE_DELETE_ENABLED: perhaps\n"}, deployment.Registry{}, "docker-compose.yml", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, filepath.FromSlash(auth)), "users: {}\n")
			for name, text := range c.files {
				write(t, filepath.Join(dir, filepath.FromSlash(name)), text)
			}
			d, err := deployment.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if c.source != "" {
				c.want.Source = filepath.Join(d.Dir, filepath.FromSlash(c.source))
			}
			got, err := d.Registry(t.Context())
			if (err != nil) != c.fails || err == nil && got != c.want {
				t.Errorf("Registry() = %+v, %v, want %+v (an error: %v)", got, err, c.want, c.fails)
			}
		})
	}
}
