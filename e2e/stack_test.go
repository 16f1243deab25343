//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// engine is how the token server of a stack is started.
type engine int

const (
	asServe      engine = iota // regctl-setup serve CONFIG
	asDockerAuth               // the command line of docker_auth's image
)

// startStack runs `serve`, a registry and Caddy from the files that init wrote, as
// processes on loopback. registry is "registry" (3) or "docker-registry" (2.8).
func startStack(t *testing.T, registry string, how engine, args ...string) *site {
	t.Helper()
	return newStack(t, registry, how, args...).site
}

// stack is a site of processes, two of which can be started again.
type stack struct {
	*site
	front                        *process // Caddy, which logs the requests
	marks                        int      // requests made to find the end of that log
	restartAuth, restartRegistry func()
}

// newStack is startStack, with a hold on the processes.
func newStack(t *testing.T, registry string, how engine, args ...string) *stack {
	t.Helper()
	registryBin, caddyBin := part(t, registry), part(t, "caddy")
	part(t, "crane")
	major := map[string]int{"registry": 3, "docker-registry": 2}[registry]
	s := initDeployment(t, append([]string{"--domain", "localhost", "--tls", "internal", "--registry", strconv.Itoa(major)}, args...)...)
	s.registry = major
	at := newAddresses(t)
	rehost(t, s.dir, "localhost", at)
	home := t.TempDir()
	plain := httpClient(t, "")

	auth := s.startAuth(t, how, at, home)
	if secret := filepath.Join(s.dir, "conf", "audit", "events-secret"); fileExists(secret) {
		p := start(t, "audit", environ(home), program, "audit", "serve", "--listen", at.events, "--secret-file", secret, "--path", filepath.Join(s.dir, "audit"))
		p.ready(t, plain, "http://"+at.events+"/healthz", http.StatusOK)
		cli(t, "", "audit", "serve", "--check", "--listen", at.events)
	}
	reg := s.startRegistry(t, registryBin, at, home)

	caddy := start(t, "caddy", environ(home, "REGISTRY_DOMAIN=localhost", "AUTH_DOMAIN=localhost"),
		caddyBin, "run", "--config", filepath.Join(s.dir, "conf", "caddy", "Caddyfile"), "--adapter", "caddyfile")
	caddy.ready(t, plain, "http://"+at.health+"/healthz", http.StatusOK)
	s.ca = filepath.Join(home, "data", "caddy", "pki", "authorities", "local", "root.crt")
	caddy.until(t, "root certificate", func() error { _, err := os.Stat(s.ca); return err })

	s.host = fmt.Sprintf("localhost:%d", at.https)
	s.base = "https://" + s.host
	s.http = httpClient(t, s.ca)
	caddy.ready(t, s.http, s.base+"/v2/", http.StatusUnauthorized)
	return &stack{
		site:            s,
		front:           caddy,
		restartAuth:     func() { auth.terminate(t); auth = s.startAuth(t, how, at, home) },
		restartRegistry: func() { reg.terminate(t); reg = s.startRegistry(t, registryBin, at, home) },
	}
}

// startAuth starts the token server of a rehosted site.
func (s *site) startAuth(t *testing.T, how engine, at addresses, home string) *process {
	t.Helper()
	config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
	argv := []string{program, "serve", config}
	if how == asDockerAuth {
		argv = []string{program, "serve", "-logtostderr", "-v=1", config}
	}
	p := start(t, "serve", environ(home), argv...)
	p.ready(t, httpClient(t, ""), "http://"+at.auth+"/", http.StatusOK)
	return p
}

// startRegistry starts the registry of a rehosted site.
func (s *site) startRegistry(t *testing.T, bin string, at addresses, home string) *process {
	t.Helper()
	p := start(t, filepath.Base(bin), environ(home), bin, "serve", filepath.Join(s.dir, "conf", "registry", "config.yml"))
	p.ready(t, httpClient(t, ""), "http://"+at.debug+"/debug/health", http.StatusOK)
	return p
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestStackRegistry3(t *testing.T) {
	t.Parallel()
	s := startStack(t, "registry", asServe)
	t.Run("front", func(t *testing.T) { storyFront(t, s) })
	stories(t, s)
}

func TestStackRegistry2(t *testing.T) {
	t.Parallel()
	s := startStack(t, "docker-registry", asDockerAuth)
	t.Run("front", func(t *testing.T) { storyFront(t, s) })
	stories(t, s)
}

func TestStackRegistry3AnonymousPull(t *testing.T) {
	t.Parallel()
	storiesAnonymousAll(t, startStack(t, "registry", asDockerAuth, "--anonymous-pull", "all"))
}

func TestStackRegistry2AnonymousPull(t *testing.T) {
	t.Parallel()
	storiesAnonymousAll(t, startStack(t, "docker-registry", asServe, "--anonymous-pull", "all"))
}

// storyFront is what Caddy lets through.
func storyFront(t *testing.T, s *site) {
	hello := s.do(t, http.MethodGet, "/v2/", "", nil)
	if c := parseChallenge(t, hello.header.Get("WWW-Authenticate")); c.realm != s.base+"/auth" && c.realm != s.base+"/auth/token" || c.scheme != "Bearer" {
		t.Errorf("challenge %+v, want a Bearer realm at %s/auth or /auth/token", c, s.base)
	}
	for path, want := range map[string]int{
		"/":               http.StatusNotFound,
		"/metrics":        http.StatusNotFound,
		"/debug/health":   http.StatusNotFound,
		"/debug/pprof/":   http.StatusNotFound,
		"/healthz":        http.StatusNotFound,
		"/v2":             http.StatusUnauthorized, // or the registry's own redirect to /v2/, followed
		"/v2/_catalog":    http.StatusUnauthorized,
		"/v2/x/tags/list": http.StatusUnauthorized,
	} {
		if got := s.do(t, http.MethodGet, path, "", nil); got.status != want {
			t.Errorf("GET %s through Caddy: status %d, want %d", path, got.status, want)
		}
	}
	if h := hello.header.Get("Alt-Svc"); h != "" {
		t.Errorf("Caddy offers %q, want no HTTP/3", h)
	}
}
