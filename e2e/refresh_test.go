//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refreshTokenRow is a line of `token list --format json`.
type refreshTokenRow struct{ ID, Account, Service, Client, Dead string }

// allowRefreshTokens switches refresh tokens on in the configuration.
func (s *site) allowRefreshTokens(t *testing.T) {
	t.Helper()
	config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	const extras = "x-regctl-setup:\n"
	if strings.Count(string(data), extras) != 1 {
		t.Fatalf("%s: no place for a setting", config)
	}
	mustWrite(t, config, []byte(strings.Replace(string(data), extras, extras+"  refresh_tokens: true\n", 1)), 0o600)
}

// withRefreshTokens switches refresh tokens on and starts the token server again.
func withRefreshTokens(t *testing.T, s *stack) {
	t.Helper()
	s.allowRefreshTokens(t)
	s.restartAuth()
}

// refreshTokens is what the command line lists for an account.
func (s *site) refreshTokens(t *testing.T, account string) []refreshTokenRow {
	t.Helper()
	r := try(t, "", "-C", s.dir, "token", "list", "--account", account, "--format", "json")
	return decode[struct{ Tokens []refreshTokenRow }](t, r.stdout).Tokens
}

// identityEnv is the environment of a client that holds a refresh token, as docker login
// leaves it behind.
func (s *site) identityEnv(t *testing.T, token string) []string {
	t.Helper()
	env := s.clientEnv(t, anonymous)
	for _, v := range env {
		if home, ok := strings.CutPrefix(v, "HOME="); ok {
			data, err := json.Marshal(map[string]any{"auths": map[string]any{s.host: map[string]string{
				"auth": base64.StdEncoding.EncodeToString([]byte("00000000-0000-0000-0000-000000000000:")), "identitytoken": token,
			}}})
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, filepath.Join(home, ".docker", "config.json"), data, 0o600)
			return env
		}
	}
	t.Fatal("no HOME in the environment")
	return nil
}

// offlineLogin asks for a refresh token as docker login does.
func (s *site) offlineLogin(t *testing.T, a account) string {
	t.Helper()
	c := parseChallenge(t, s.do(t, http.MethodGet, "/v2/", "", nil).header.Get("WWW-Authenticate"))
	q := url.Values{"service": {c.service}, "account": {a.Name}, "client_id": {"docker"}, "offline_token": {"true"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.realm+"?"+q.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(a.Name, a.Password)
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"refresh_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || answer.Token == "" {
		t.Fatalf("login: %s, refresh token of %d bytes, %v", resp.Status, len(answer.Token), err)
	}
	return answer.Token
}

// TestRefreshTokens: clients push and pull with a refresh token, over a restart of the token
// server, until it is revoked or its account is disabled.
func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	for _, registry := range []string{"registry", "docker-registry"} {
		t.Run(registry, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, registry, asServe, "--engine", "bundled")
			withRefreshTokens(t, s)
			token := s.offlineLogin(t, s.admin)
			img := newImage(t, 16<<10)
			crane := func(token string, args ...string) result {
				t.Helper()
				return execute(t, "", s.identityEnv(t, token), append([]string{part(t, "crane")}, args...)...)
			}
			allowed(t, "push with a refresh token", crane(token, "push", img.tar, s.ref("team/app:1")))
			s.restartAuth()
			allowed(t, "pull after a restart", crane(token, "pull", s.ref("team/app:1"), filepath.Join(t.TempDir(), "i.tar")))
			refused(t, "pull with another token", crane(token+"x", "pull", s.ref("team/app:1"), filepath.Join(t.TempDir(), "i.tar")))

			rows := s.refreshTokens(t, s.admin.Name)
			if len(rows) != 1 || rows[0].Client != "docker" || rows[0].Dead != "" {
				t.Fatalf("token list: %+v", rows)
			}
			cli(t, "", "-C", s.dir, "token", "revoke", rows[0].ID)
			refused(t, "pull after the revocation", crane(token, "pull", s.ref("team/app:1"), filepath.Join(t.TempDir(), "i.tar")))

			token = s.offlineLogin(t, s.developer)
			allowed(t, "developer pushes", crane(token, "push", img.tar, s.ref("dev-backend/app:1")))
			cli(t, "", "-C", s.dir, "user", "disable", s.developer.Name)
			begin := time.Now()
			eventually(t, "the end of the disabled account's token", func() error {
				if r := crane(token, "digest", s.ref("dev-backend/app:1")); r.status == 0 {
					return errors.New("it is served")
				}
				return nil
			})
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("the token lived on for %v", d)
			}
			cli(t, "", "-C", s.dir, "user", "enable", s.developer.Name)
			eventually(t, "the enabled account's password", func() error {
				if r := s.crane(t, s.developer, "digest", s.ref("dev-backend/app:1")); r.status != 0 {
					return fmt.Errorf("refused: %s", r)
				}
				return nil
			})
			refused(t, "the old token of the enabled account", crane(token, "digest", s.ref("dev-backend/app:1")))
			if rows := s.refreshTokens(t, s.developer.Name); len(rows) != 0 {
				t.Errorf("left of the developer: %+v", rows)
			}
		})
	}
}

// TestDockerKeepsIdentityToken: docker login asks for a refresh token by itself, keeps it in
// the place of the password, and goes on with it.
func TestDockerKeepsIdentityToken(t *testing.T) {
	t.Parallel()
	docker := part(t, "docker")
	s := newStack(t, "registry", asServe, "--engine", "bundled")
	withRefreshTokens(t, s)
	// Without an engine the docker CLI logs in by itself, over TLS to localhost.
	env := append(s.clientEnv(t, anonymous), "DOCKER_HOST=unix:///nonexistent/docker.sock")
	if r := execute(t, s.admin.Password+"\n", env, docker, "login", "--username", s.admin.Name, "--password-stdin", s.host); r.status != 0 {
		t.Fatalf("docker login: %s", r)
	}
	var home string
	for _, v := range env {
		if h, ok := strings.CutPrefix(v, "HOME="); ok {
			home = h
		}
	}
	identityTokenKept(t, filepath.Join(home, ".docker", "config.json"), s.host, s.admin)
	img := newImage(t, 4096)
	push := []string{part(t, "crane"), "push", img.tar, s.ref("team/app:1")}
	allowed(t, "push with docker's identity token", execute(t, "", env, push...))
	cli(t, "", "-C", s.dir, "token", "revoke", "--account", s.admin.Name)
	refused(t, "push after the revocation", execute(t, "", env, push...))
}

// identityTokenKept tells that docker keeps a refresh token for a host, and not the password.
func identityTokenKept(t *testing.T, config, host string, a account) {
	t.Helper()
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	kept := decode[struct {
		Auths map[string]struct{ Auth, IdentityToken string }
	}](t, string(data)).Auths[host]
	password, err := base64.StdEncoding.DecodeString(kept.Auth)
	if err != nil || strings.Contains(string(password), a.Password) || kept.IdentityToken == "" {
		t.Fatalf("docker keeps an identity token of %d bytes; the password too: %v (%v)", len(kept.IdentityToken), strings.Contains(string(password), a.Password), err)
	}
}

// refreshTokensOfDocker is docker with its engine on a refresh token: it logs in once, pushes
// and pulls with what it kept, over a restart of the token server, until the token is revoked;
// a new login's token ends with the account's password.
func refreshTokensOfDocker(t *testing.T, e *dockerEngine, s *site) {
	t.Helper()
	s.allowRefreshTokens(t)
	e.compose(t, s.dir, "restart", "auth")
	e.compose(t, s.dir, "up", "-d", "--wait")
	image := s.ref("dev-backend/on-refresh-token:1")
	e.docker(t, "", "tag", "caddy:2.11.4", image)
	login := func() {
		t.Helper()
		e.docker(t, "", "logout", s.host)
		e.docker(t, s.developer.Password, "login", s.host, "-u", s.developer.Name, "--password-stdin")
		identityTokenKept(t, filepath.Join(e.config, "config.json"), s.host, s.developer)
	}
	pushAndPull := func(what string) {
		t.Helper()
		allowed(t, what+": push", e.try(t, "", "push", image))
		e.docker(t, "", "rmi", image)
		allowed(t, what+": pull", e.try(t, "", "pull", image))
	}
	ended := func(what string) {
		t.Helper()
		eventually(t, what, func() error {
			if r := e.try(t, "", "push", image); r.status == 0 {
				return errors.New("docker pushes on")
			}
			return nil
		})
		if r := e.try(t, "", "pull", image); r.status == 0 {
			t.Errorf("%s: docker pulls on", what)
		}
	}

	login()
	pushAndPull("with the identity token")
	e.compose(t, s.dir, "restart", "auth")
	e.compose(t, s.dir, "up", "-d", "--wait")
	pushAndPull("after a restart of the token server")

	rows := s.refreshTokens(t, s.developer.Name)
	if len(rows) != 1 || rows[0].Client != "docker" || rows[0].Dead != "" {
		t.Fatalf("token list: %+v, want one live token of docker", rows)
	}
	if r := e.program(t, "-C", s.dir, "token", "revoke", rows[0].ID); r.status != 0 {
		t.Fatalf("token revoke: %v", r)
	}
	ended("the end of the revoked token")

	login()
	pushAndPull("after a new login")
	s.developer.Password = s.newPassword(t, s.developer.Name)
	ended("the end of the token with the old password")
	login()
	pushAndPull("with the new password")
}
