package scaffold

import (
	"context"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/distribution/v3/configuration"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// consumed is one profile as its consumers read it.
type consumed struct {
	a          answers.Answers // resolved
	files      []safefile.File
	project    *types.Project
	auth       *config.File
	registries map[string]*configuration.Configuration // by service
	caddyfile  string
}

func read(t *testing.T, a answers.Answers, files []safefile.File) consumed {
	t.Helper()
	g := consumed{a: a.Resolve(), files: files, registries: map[string]*configuration.Configuration{}}
	var err error
	if g.project, err = LoadCompose(context.Background(), fileData(t, files, PathCompose), fileData(t, files, PathEnv)); err != nil {
		t.Fatal(err)
	}
	for service, p := range map[string]string{"registry": PathRegistry, "cache": PathCache} {
		if service == "cache" && !a.HasCache() {
			continue
		}
		if g.registries[service], err = RegistryConfig(fileData(t, files, p)); err != nil {
			t.Fatal(err)
		}
	}
	var problems config.Problems
	if g.auth, problems = config.Parse(PathAuth, fileData(t, files, PathAuth)); len(problems) > 0 {
		t.Fatal(problems)
	}
	g.caddyfile = string(fileData(t, files, PathCaddyfile))
	return g
}

// traps are the known ways in which such deployments go wrong, as what must hold for every
// generated one. docs/init.md lists them with the numbers used here.
func traps() map[string]func(*testing.T, consumed) {
	eachRegistry := func(f func(*testing.T, consumed, string, *configuration.Configuration)) func(*testing.T, consumed) {
		return func(t *testing.T, g consumed) {
			for service, c := range g.registries {
				f(t, g, service, c)
			}
		}
	}
	return map[string]func(*testing.T, consumed){
		"01-04 keys under both ids, and certificates": eachRegistry(func(t *testing.T, g consumed, service string, c *configuration.Configuration) {
			token := c.Auth["token"]
			if token["rootcertbundle"] == nil || token["jwks"] == nil {
				t.Errorf("%s: rootcertbundle %v, jwks %v", service, token["rootcertbundle"], token["jwks"])
			}
			if g.a.AuthEngine() == answers.EngineDockerAuth && !slices.Equal(token["signingalgorithms"].([]any), []any{"RS256"}) {
				t.Errorf("%s: docker_auth signs with %v", service, token["signingalgorithms"])
			}
		}),
		"03 the realm is the registry's own or a name": eachRegistry(func(t *testing.T, g consumed, service string, c *configuration.Configuration) {
			realm, _ := c.Auth["token"]["realm"].(string)
			if realm != g.a.Realm() || g.a.TwoDomains() == (c.Auth["token"]["autoredirect"] == true) {
				t.Errorf("%s: realm %q, autoredirect %v", service, realm, c.Auth["token"]["autoredirect"])
			}
		}),
		"05 06 07 20 27 the registry is set by its own file": eachRegistry(func(t *testing.T, g consumed, service string, _ *configuration.Configuration) {
			s := g.project.Services[service]
			if len(s.Command) != 2 || s.Command[0] != "serve" || path.Dir(s.Command[1]) != "/etc/regctl-setup/"+service {
				t.Errorf("%s: command %q", service, s.Command)
			}
			for name := range s.Environment {
				if strings.HasPrefix(name, "REGISTRY_") || strings.HasPrefix(name, "AWS_SECRET") || strings.HasPrefix(name, "AWS_ACCESS") || name == "AWS_CA_BUNDLE" {
					t.Errorf("%s: is set by %s too", service, name)
				}
			}
		}),
		"08 an endpoint wants the bucket in the path": eachRegistry(func(t *testing.T, _ consumed, service string, c *configuration.Configuration) {
			if s3 := c.Storage["s3"]; s3["regionendpoint"] != nil && s3["forcepathstyle"] != true {
				t.Errorf("%s: endpoint %v without forcepathstyle", service, s3["regionendpoint"])
			}
		}),
		"09 no redirect to a store that clients can't reach": eachRegistry(func(t *testing.T, g consumed, service string, c *configuration.Configuration) {
			if g.a.BundlesStore() && c.Storage["redirect"]["disable"] != true {
				t.Errorf("%s: clients are sent to %s", service, g.a.S3.Endpoint)
			}
		}),
		"10 19 no cache of descriptors, no redis": eachRegistry(func(t *testing.T, _ consumed, service string, c *configuration.Configuration) {
			if len(c.Storage["cache"]) > 0 || len(c.Redis.Options.Addrs) > 0 {
				t.Errorf("%s: cache %v, redis %v", service, c.Storage["cache"], c.Redis.Options.Addrs)
			}
		}),
		"14 16 services run as the owner of what they read and write": func(t *testing.T, g consumed) {
			for name, s := range g.project.Services {
				if name != "caddy" && s.User != "1000:1000" {
					t.Errorf("%s runs as %q", name, s.User)
				}
				for _, v := range s.Volumes {
					if name != "caddy" && v.Type != types.VolumeTypeBind {
						t.Errorf("%s: a volume at %s would be root's", name, v.Target)
					}
				}
			}
		},
		"15 25 docker_auth logs to the console, and no passwords": func(t *testing.T, g consumed) {
			if g.a.Engine == answers.EngineDockerAuth && !slices.Equal(g.project.Services["auth"].Command, []string{"-logtostderr", "-v=1", PathAuth}) {
				t.Errorf("auth: command %q", g.project.Services["auth"].Command)
			}
			for service, c := range g.registries {
				// The registry logs the headers of its endpoints. What stands in the one that is
				// written opens the listener on the internal network and nothing else.
				for _, e := range c.Notifications.Endpoints {
					url, file := EventsURL, PathEventsSecret
					if g.a.Engine == answers.EngineDockerAuth {
						url, file = AuditURL, PathAuditSecret
					} else if !slices.Equal(g.auth.Extras.Audit.Events.Peers, config.PrivateRanges()) {
						t.Errorf("anybody may report: %v", g.auth.Extras.Audit.Events.Peers)
					}
					own := strings.TrimSpace(string(fileData(t, g.files, file)))
					if e.URL != url || len(e.Headers) != 1 || !slices.Equal(e.Headers["Authorization"], []string{"Bearer " + own}) || own == c.HTTP.Secret {
						t.Errorf("%s: endpoint %s, whose headers would be logged", service, e.URL)
					}
				}
				want := 0
				if g.a.Runtime == answers.RuntimeCompose && service == "registry" && (g.a.AuthEngine() == answers.EngineBundled || g.a.HasAuditService()) {
					want = 1
				}
				if n := len(c.Notifications.Endpoints); n != want {
					t.Errorf("%s: %d endpoints, want %d", service, n, want)
				}
			}
		},
		"17 folders are mounted, not files": func(t *testing.T, g consumed) {
			for name, s := range g.project.Services {
				for _, v := range s.Volumes {
					rel := strings.TrimPrefix(v.Source, checkRoot+"/")
					if v.Type == types.VolumeTypeBind && slices.ContainsFunc(g.files, func(f safefile.File) bool { return f.Path == rel }) {
						t.Errorf("%s mounts the file %s", name, rel)
					}
				}
			}
		},
		"18 a fixed http secret of 256 bits": eachRegistry(func(t *testing.T, _ consumed, service string, c *configuration.Configuration) {
			if len(c.HTTP.Secret) != 64 {
				t.Errorf("%s: http secret of %d digits", service, len(c.HTTP.Secret))
			}
		}),
		"21 routes are in a handle of their own": func(t *testing.T, g consumed) {
			for line := range strings.Lines(g.caddyfile) {
				// At a site's own level a directive has one tab.
				if text := strings.TrimRight(line, "\n"); strings.HasPrefix(text, "\treverse_proxy") || strings.HasPrefix(text, "\trespond") && !strings.Contains(text, "/healthz") {
					t.Errorf("Caddyfile: %q outside a handle", text)
				}
			}
		},
		"22 no hash in what compose interpolates": func(t *testing.T, g consumed) {
			for _, p := range []string{PathCompose, PathEnv} {
				if strings.Contains(string(fileData(t, g.files, p)), "$2") {
					t.Errorf("%s holds a password hash", p)
				}
			}
		},
		"23 no image that is gone": func(t *testing.T, g consumed) {
			for name, s := range g.project.Services {
				if strings.HasPrefix(s.Image, "minio/") {
					t.Errorf("%s: image %s", name, s.Image)
				}
			}
		},
		"24 upload locations are right behind any proxy": eachRegistry(func(t *testing.T, _ consumed, service string, c *configuration.Configuration) {
			if !c.HTTP.RelativeURLs {
				t.Errorf("%s: relativeurls is off", service)
			}
		}),
		"26 ports are published where the answers say": func(t *testing.T, g consumed) {
			for _, p := range g.project.Services["caddy"].Ports {
				if p.HostIP != g.a.Bind || p.Mode == "host" {
					t.Errorf("port %s on %q, answered was %q", p.Published, p.HostIP, g.a.Bind)
				}
			}
		},
		"27 28 health and metrics inside the container, with the storage's state": eachRegistry(func(t *testing.T, g consumed, service string, c *configuration.Configuration) {
			if c.HTTP.Debug.Addr != "127.0.0.1:5001" || !c.Health.StorageDriver.Enabled {
				t.Errorf("%s: debug server at %q, storage checked: %v", service, c.HTTP.Debug.Addr, c.Health.StorageDriver.Enabled)
			}
			if check := g.project.Services[service].HealthCheck; check == nil || !slices.Contains(check.Test, "http://127.0.0.1:5001/debug/health") {
				t.Errorf("%s: health check %+v", service, check)
			}
		}),
	}
}

// TestTraps holds every profile to every trap.
func TestTraps(t *testing.T) {
	t.Parallel()
	eachProfile(t, func(t *testing.T, a answers.Answers, files []safefile.File) {
		g := read(t, a, files)
		for name, check := range traps() {
			t.Run(name, func(t *testing.T) { check(t, g) })
		}
	})
}
