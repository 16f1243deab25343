//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ready is what `up --format json` prints once it serves.
type ready struct {
	Registry string    `json:"registry"`
	Realm    string    `json:"realm"`
	Accounts []account `json:"accounts"`
}

// startUp runs `up` and waits for its line.
func startUp(t *testing.T, args ...string) (*process, ready) {
	t.Helper()
	p := start(t, "up", environ(t.TempDir()), append([]string{program, "up", "--yes", "--format", "json"}, args...)...)
	p.until(t, "JSON object on stdout", func() error {
		if !strings.HasSuffix(p.out.String(), "}\n") {
			return fmt.Errorf("stdout is %q", p.out.String())
		}
		return nil
	})
	return p, decode[ready](t, p.out.String())
}

// startEmbedded runs `up` on a deployment with the accounts of the stories.
func startEmbedded(t *testing.T, args ...string) (*site, *process) {
	t.Helper()
	part(t, "crane")
	s := initDeployment(t, append([]string{"--runtime", "embedded"}, args...)...)
	p := s.up(t, fmt.Sprintf("localhost:%d", freePort(t)))
	return s, p
}

// up starts the site on addr. Its log is told to say everything that a test waits for.
func (s *site) up(t *testing.T, addr string) *process {
	t.Helper()
	p, got := startUp(t, s.dir, "--embedded", "--listen", addr, "--log-level", "info")
	if got.Registry != addr {
		t.Fatalf("up serves %q, want %q", got.Registry, addr)
	}
	if len(got.Accounts) != 0 {
		t.Errorf("up on a folder that is there made accounts: %v", got.Accounts)
	}
	s.host, s.base, s.ca = addr, "http://"+addr, ""
	s.http = httpClient(t, "")
	p.ready(t, s.http, s.base+"/v2/", http.StatusUnauthorized)
	return p
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	s, _ := startEmbedded(t)
	stories(t, s)
}

func TestEmbeddedAnonymousPull(t *testing.T) {
	t.Parallel()
	s, _ := startEmbedded(t, "--anonymous-pull", "all")
	storiesAnonymousAll(t, s)
}

// TestUpFromNothing is the README's first command.
func TestUpFromNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "registry")
	addr := fmt.Sprintf("localhost:%d", freePort(t))
	p, got := startUp(t, dir, "--listen", addr)
	if got.Registry != addr || got.Realm != "http://"+addr+"/auth" {
		t.Errorf("up says registry %q and realm %q, want %s", got.Registry, got.Realm, addr)
	}
	i := slices.IndexFunc(got.Accounts, func(a account) bool { return a.Name == "admin" })
	if i < 0 || !slices.Equal(got.Accounts[i].Labels["role"], []string{"administrator"}) {
		t.Fatalf("up made %+v, want an admin with role=administrator", got.Accounts)
	}
	admin := got.Accounts[i]
	if strings.Contains(p.err.String(), admin.Password) {
		t.Error("stderr holds the password: only the data on stdout may")
	}
	s := &site{dir: dir, host: addr, base: "http://" + addr, http: httpClient(t, ""), admin: admin, registry: 3}
	img := newImage(t, 4096)
	allowed(t, "admin pushes", s.crane(t, admin, "push", img.tar, s.ref("team/app:1")))
	allowed(t, "admin pulls", s.crane(t, admin, "pull", s.ref("team/app:1"), filepath.Join(t.TempDir(), "i.tar")))
	refused(t, "anonymous pulls", s.crane(t, anonymous, "manifest", s.ref("team/app:1")))

	if status := p.terminate(t); status != 0 {
		t.Errorf("up ended with %d on SIGTERM, want 0", status)
	}
	for _, word := range []string{"panic", "DATA RACE"} {
		if strings.Contains(p.err.String(), word) {
			t.Errorf("up logged %q", word)
		}
	}
}

// TestUpAgainChangesNothing: a second start reuses what is there, byte for byte.
func TestUpAgainChangesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "registry")
	addr := fmt.Sprintf("localhost:%d", freePort(t))
	p, first := startUp(t, dir, "--listen", addr)
	s := &site{dir: dir, host: addr, base: "http://" + addr, http: httpClient(t, ""), registry: 3}
	s.admin = first.Accounts[slices.IndexFunc(first.Accounts, func(a account) bool { return a.Name == "admin" })]
	img := newImage(t, 4096)
	allowed(t, "admin pushes", s.crane(t, s.admin, "push", img.tar, s.ref("a/b:1")))
	if status := p.terminate(t); status != 0 {
		t.Fatalf("up ended with %d, want 0", status)
	}

	before := snapshot(t, dir)
	p = s.up(t, addr)
	if status := p.terminate(t); status != 0 {
		t.Errorf("the second up ended with %d, want 0", status)
	}
	after := snapshot(t, dir)
	for path, was := range before {
		if is, ok := after[path]; !ok {
			t.Errorf("%s is gone after the second up", path)
		} else if is != was {
			t.Errorf("%s: %s before, %s after the second up", path, was, is)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s is new after the second up", path)
		}
	}

	// The image and the password are still good.
	p = s.up(t, addr)
	got := s.crane(t, s.admin, "digest", s.ref("a/b:1"))
	if strings.TrimSpace(got.stdout) != img.digest.String() {
		t.Errorf("pull after two restarts: %s, want %s", got, img.digest)
	}
	if status := p.terminate(t); status != 0 {
		t.Errorf("the third up ended with %d, want 0", status)
	}
}

// snapshot describes every file below dir: kind, mode, time and content.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text := st.Mode().String()
		if st.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			text += fmt.Sprintf(" %s %d bytes %s", st.ModTime().UTC().Format(time.RFC3339Nano), len(data), hex.EncodeToString(sum[:8]))
		}
		out[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRealmFollowsHost: whichever loopback name the client used, it is sent back to it.
func TestRealmFollowsHost(t *testing.T) {
	t.Parallel()
	s, p := startEmbedded(t)
	img := newImage(t, 1024)
	allowed(t, "admin pushes", s.crane(t, s.admin, "push", img.tar, s.ref("library/nginx:1")))
	_, port, err := net.SplitHostPort(s.host)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			if host == "[::1]" {
				l, err := net.Listen("tcp", "[::1]:0")
				if err != nil {
					missing(t, "this machine has no IPv6 loopback: %v", err)
				}
				l.Close()
			}
			c := *s
			c.host = host + ":" + port
			c.base = "http://" + c.host
			hello := c.do(t, http.MethodGet, "/v2/", "", nil, "X-Forwarded-Proto", "https")
			if got, want := parseChallenge(t, hello.header.Get("WWW-Authenticate")).realm, c.base+"/auth"; got != want && got != want+"/token" {
				t.Errorf("realm %q, want %q", got, want)
			}
			got := c.crane(t, c.viewer, "digest", c.ref("library/nginx:1"))
			if strings.TrimSpace(got.stdout) != img.digest.String() {
				t.Errorf("crane pulls from %s: %s", c.host, got)
			}
			if host == "[::1]" {
				return // no image reference of skopeo's can hold an IPv6 address
			}
			allowed(t, "skopeo pulls from "+c.host, c.skopeoCopy(t, c.viewer, "src", "docker://"+c.ref("library/nginx:1"), "oci:"+t.TempDir()+":x"))
		})
	}
	if status := p.terminate(t); status != 0 {
		t.Errorf("up ended with %d, want 0", status)
	}
}

// gate is a body of which the rest is sent when the gate opens.
type gate struct {
	first   *bytes.Reader
	rest    *bytes.Reader
	started chan struct{} // closed once the first part has been taken
	open    chan struct{}
}

func (g *gate) Read(p []byte) (int, error) {
	if n, err := g.first.Read(p); err == nil {
		return n, nil
	}
	select {
	case <-g.started:
	default:
		close(g.started)
	}
	<-g.open
	return g.rest.Read(p)
}

// TestUploadInFlightFinishes: a stop waits for the layer that is on its way.
func TestUploadInFlightFinishes(t *testing.T) {
	t.Parallel()
	s, p := startEmbedded(t)
	data, digest := blob(t, 4<<20)
	token := s.token(t, s.admin, "repository:big/layer:pull,push")
	begun := s.do(t, http.MethodPost, "/v2/big/layer/blobs/uploads/", token, nil)
	if begun.status != http.StatusAccepted {
		t.Fatalf("starting an upload: status %d, want 202: %s", begun.status, begun.body)
	}
	location := begun.header.Get("Location")
	if !strings.HasPrefix(location, "/") && !strings.HasPrefix(location, s.base) {
		t.Fatalf("upload location %q leads away from %s", location, s.base)
	}
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	g := &gate{first: bytes.NewReader(data[:len(data)/2]), rest: bytes.NewReader(data[len(data)/2:]), started: make(chan struct{}), open: make(chan struct{})}
	finished := make(chan answer, 1)
	go func() {
		defer close(finished)
		target := location + sep + "digest=" + digest
		if strings.HasPrefix(target, "/") {
			target = s.base + target
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, target, io.NopCloser(g))
		if err != nil {
			t.Error(err)
			return
		}
		req.ContentLength = int64(len(data))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/octet-stream")
		resp, err := s.http.Do(req)
		if err != nil {
			t.Errorf("the upload broke: %v", err)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		finished <- answer{resp.StatusCode, resp.Header, string(body)}
	}()
	select {
	case <-g.started:
	case <-time.After(startDeadline):
		t.Fatal("the upload did not start")
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.until(t, "word that an upload is waited for", func() error {
		if !strings.Contains(p.err.String(), "finishing uploads in flight") {
			return errors.New("stderr does not say so")
		}
		return nil
	})
	if !p.running() {
		t.Fatal("up ended with an upload in flight")
	}
	close(g.open)
	got, ok := <-finished
	if !ok || got.status != http.StatusCreated {
		t.Errorf("the upload in flight: status %d, want 201: %s", got.status, got.body)
	}
	if status := p.wait(t); status != 0 {
		t.Errorf("up ended with %d, want 0", status)
	}
	s.up(t, s.host)
	if got := s.do(t, http.MethodHead, "/v2/big/layer/blobs/"+digest, s.token(t, s.admin, "repository:big/layer:pull"), nil); got.status != http.StatusOK {
		t.Errorf("the layer after a restart: status %d, want 200", got.status)
	}
}

// TestUpRefusesATakenPort: the error names the flag, and nothing is written.
func TestUpRefusesATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "registry")
	got := try(t, "", "up", "--yes", dir, "--listen", l.Addr().String())
	if got.status != 3 || !strings.Contains(got.stderr, "--listen") || !strings.Contains(got.stderr, l.Addr().String()) {
		t.Errorf("up on a taken port: %s, want exit 3 and the flag and address named", got)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("up on a taken port left %s behind (%v): its passwords were never shown", dir, err)
	}
	if strings.Contains(got.stdout, "assword") {
		t.Errorf("up on a taken port printed passwords: %s", got)
	}
}

// TestOneRuntimeAtATime: the store is not shared by two registries.
func TestOneRuntimeAtATime(t *testing.T) {
	t.Parallel()
	s, _ := startEmbedded(t)
	got := try(t, "", "up", "--yes", s.dir, "--listen", fmt.Sprintf("localhost:%d", freePort(t)))
	if got.status != 3 || !strings.Contains(got.stderr, "in use") {
		t.Errorf("a second up on the same folder: %s, want exit 3", got)
	}
}

// TestUserChangesAreSeen: what the user commands change takes effect while `up` runs.
func TestUserChangesAreSeen(t *testing.T) {
	t.Parallel()
	s, p := startEmbedded(t)
	late := s.addUser(t, "late")
	p.until(t, "login of a user added at run time", func() error {
		if got := s.ask(t, late, "repository:library/nginx:pull"); got.status != http.StatusOK {
			return fmt.Errorf("status %d", got.status)
		}
		return nil
	})
	cli(t, "", "-C", s.dir, "user", "remove", "late", "--yes")
	p.until(t, "refusal of a user removed at run time", func() error {
		if got := s.ask(t, late, "repository:library/nginx:pull"); got.status != http.StatusUnauthorized {
			return fmt.Errorf("status %d", got.status)
		}
		return nil
	})
	if got := s.ask(t, s.admin, "repository:library/nginx:pull"); got.status != http.StatusOK {
		t.Errorf("admin after two reloads: status %d, want 200", got.status)
	}
}
