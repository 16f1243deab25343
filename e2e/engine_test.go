//go:build e2e && linux

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dockerGroup is the group that may use the engine's socket, a number that no real group has.
const dockerGroup = 54321

// dockerEngine is a Docker engine of this test's own: its daemon, its socket, its images.
type dockerEngine struct {
	env    []string
	socket string // its path
	config string // the docker CLI's folder
}

// startEngine starts dockerd and makes the docker CLI with the compose plugin talk to it.
func startEngine(t *testing.T) *dockerEngine {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "a Docker engine takes root")
	}
	dockerd, plugin := part(t, "dockerd"), part(t, "docker-compose")
	part(t, "docker")
	// Not t.TempDir: a socket's path has at most 107 bytes, and the daemon unmounts late.
	dir, err := os.MkdirTemp("", "e2e-dk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	plugins := filepath.Join(dir, "cfg", "cli-plugins")
	mustMkdir(t, plugins)
	if err := os.Symlink(plugin, filepath.Join(plugins, "docker-compose")); err != nil {
		t.Fatal(err)
	}
	sock := "unix://" + filepath.Join(dir, "d.sock")
	e := &dockerEngine{socket: strings.TrimPrefix(sock, "unix://"), config: filepath.Join(dir, "cfg"), env: append(environ(filepath.Join(dir, "home")), "DOCKER_HOST="+sock, "DOCKER_CONFIG="+filepath.Join(dir, "cfg"))}
	p := start(t, "dockerd", environ(dir), dockerd, "-H", sock, "--group", fmt.Sprint(dockerGroup), "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--storage-driver=vfs")
	p.until(t, "Docker engine", func() error {
		cmd := exec.CommandContext(t.Context(), "docker", "version")
		cmd.Env = e.env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return e
}

func (e *dockerEngine) try(t *testing.T, in string, args ...string) result {
	t.Helper()
	return execute(t, in, e.env, append([]string{"docker"}, args...)...)
}

func (e *dockerEngine) docker(t *testing.T, in string, args ...string) result {
	t.Helper()
	r := e.try(t, in, args...)
	if r.status != 0 {
		t.Fatalf("docker %s: %v", strings.Join(args, " "), r)
	}
	return r
}

// image makes an image from static programs: busybox, for health checks, and one more.
func (e *dockerEngine) image(t *testing.T, name, program, at string, changes ...string) {
	t.Helper()
	busybox := part(t, "busybox")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name, from string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg})
		}
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Folders by name: what is left to the import is for root alone, and root without
	// capabilities is nobody. The last three are as in the published images.
	dirs := []string{"./", "bin/", "usr/", "usr/bin/", "docker_auth/", "etc/", "tmp/", "data/", "config/"}
	libs := sharedLibraries(t, program)
	for _, lib := range libs {
		parents := strings.Split(strings.Trim(path.Dir(lib), "/"), "/")
		for i := range parents {
			if dir := strings.Join(parents[:i+1], "/") + "/"; !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	for _, dir := range dirs {
		mode := int64(0o755)
		if dir == "tmp/" || dir == "data/" || dir == "config/" {
			mode = 0o1777
		}
		if err := w.WriteHeader(&tar.Header{Name: dir, Mode: mode, Typeflag: tar.TypeDir}); err != nil {
			t.Fatal(err)
		}
	}
	add("bin/busybox", busybox)
	for _, tool := range []string{"sh", "wget"} {
		if err := w.WriteHeader(&tar.Header{Name: "bin/" + tool, Linkname: "busybox", Typeflag: tar.TypeSymlink}); err != nil {
			t.Fatal(err)
		}
	}
	add(strings.TrimPrefix(at, "/"), program)
	for _, lib := range libs {
		add(strings.TrimPrefix(lib, "/"), lib)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	args := []string{"import"}
	for _, c := range append([]string{"ENV PATH=/bin:/usr/bin"}, changes...) {
		args = append(args, "--change", c)
	}
	e.docker(t, b.String(), append(args, "-", name)...)
}

// sharedLibraries lists what a program loads, the loader included: nothing for a static one.
func sharedLibraries(t *testing.T, program string) []string {
	t.Helper()
	r := execute(t, "", environ(t.TempDir()), "ldd", program)
	if strings.Contains(r.stdout+r.stderr, "not a dynamic executable") {
		return nil
	}
	var libs []string
	for line := range strings.Lines(r.stdout) {
		if i := strings.Index(line, "/"); i >= 0 {
			libs = append(libs, strings.Fields(line[i:])[0])
		}
	}
	if r.status != 0 || len(libs) == 0 {
		t.Fatalf("ldd %s: %v", program, r)
	}
	return libs
}

// images makes those that init's compose files name, from the real programs; serve stands
// in docker_auth's place, under its command line.
func (e *dockerEngine) images(t *testing.T, combinations ...combination) {
	t.Helper()
	e.image(t, "cesanta/docker_auth:1.14.0", program, "/docker_auth/auth_server", `ENTRYPOINT ["/docker_auth/auth_server"]`)
	e.image(t, "caddy:2.11.4", part(t, "caddy"), "/usr/bin/caddy",
		"ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data",
		`CMD ["caddy","run","--config","/etc/caddy/Caddyfile","--adapter","caddyfile"]`)
	for name, make := range map[string]func(){
		"3": func() {
			e.image(t, "registry:3.1.1", part(t, "registry"), "/bin/registry", `ENTRYPOINT ["/bin/registry"]`)
		},
		"2": func() {
			e.image(t, "registry:2.8.3", part(t, "docker-registry"), "/bin/registry", `ENTRYPOINT ["/bin/registry"]`)
		},
		"filesystem": func() {},
		"versitygw": func() {
			e.image(t, "versity/versitygw:v1.8.0", part(t, "versitygw"), "/usr/bin/versitygw", `ENTRYPOINT ["/usr/bin/versitygw"]`)
		},
		"minio": func() { e.image(t, minioImage, part(t, "minio"), "/usr/bin/minio", `ENTRYPOINT ["/usr/bin/minio"]`) },
	} {
		if slices.ContainsFunc(combinations, func(c combination) bool { return c.registry == name || c.storage == name }) {
			make()
		}
	}
}

// minioImage is an image as a user might build one: there is no published one any more.
const minioImage = "example.com/minio:built"

// combination is one way to answer init's questions about what runs.
type combination struct{ storage, registry, engine string }

func (c combination) String() string { return c.storage + ", registry " + c.registry + ", " + c.engine }

// args are the answers as flags.
func (c combination) args() []string {
	args := []string{"--storage", c.storage, "--registry", c.registry, "--engine", c.engine}
	if c.engine == "docker_auth" {
		args = append(args, "--audit") // the bundled engine keeps the log by itself
	}
	if c.storage == "minio" {
		args = append(args, "--storage-image", minioImage)
	}
	return args
}

// combinations are those to be tried: each answer once, or all of them.
func combinations() []combination {
	if os.Getenv("REGCTL_SETUP_E2E_FULL") == "" {
		return []combination{{"filesystem", "3", "docker_auth"}, {"versitygw", "2", "bundled"}}
	}
	var all []combination
	for _, storage := range []string{"filesystem", "versitygw", "minio"} {
		for _, registry := range []string{"3", "2"} {
			for _, engine := range []string{"docker_auth", "bundled"} {
				all = append(all, combination{storage, registry, engine})
			}
		}
	}
	return all
}

// compose runs docker compose on a folder.
func (e *dockerEngine) compose(t *testing.T, dir string, args ...string) result {
	t.Helper()
	r := e.tryCompose(t, dir, args...)
	if r.status != 0 {
		logs := e.tryCompose(t, dir, "logs", "--tail", "40")
		t.Fatalf("docker compose %s: %v\n%s", strings.Join(args, " "), r, logs.stdout)
	}
	return r
}

func (e *dockerEngine) tryCompose(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return e.try(t, "", append([]string{"compose", "--project-directory", dir}, args...)...)
}

// program runs regctl-setup with this engine behind its docker.
func (e *dockerEngine) program(t *testing.T, args ...string) result {
	t.Helper()
	return execute(t, "", e.env, append([]string{program}, args...)...)
}

// TestComposeStack brings the folders that init writes up on a real engine: healthy, and the
// stories hold through Caddy's TLS; docker itself logs in, pushes and pulls; a push outlives a
// restart of everything; a user that is added is seen without one; after down and up the image
// is still there. Each storage, registry and engine once, or all combinations with
// REGCTL_SETUP_E2E_FULL=1.
func TestComposeStack(t *testing.T) {
	e := startEngine(t)
	all := combinations()
	e.images(t, all...)
	for _, c := range all {
		t.Run(c.String(), func(t *testing.T) { composeStack(t, e, c) })
	}
}

// statusAndLogs asks what runs, while it runs.
func statusAndLogs(t *testing.T, e *dockerEngine, s *site, services []string) {
	r := e.program(t, "-C", s.dir, "status", "--format", "json")
	got := decode[struct {
		Healthy  *bool
		Services []struct{ Name, State, Health string }
		Unknown  []string
		Users    int
		Entries  int
		TLSDays  *int `json:"tls_certificate_days"`
		KeyDays  *int `json:"signing_certificate_days"`
	}](t, r.stdout)
	if r.status != 0 || got.Healthy == nil || !*got.Healthy || len(got.Services) != len(services) {
		t.Errorf("status: %v, want %d healthy services", r, len(services))
	}
	if got.Users < 3 || got.Entries < 3 || got.TLSDays == nil || got.KeyDays == nil || *got.KeyDays < 3000 || len(got.Unknown) > 0 {
		t.Errorf("status tells too little: %+v", got)
	}
	if r := e.program(t, "-C", s.dir, "logs", "registry"); r.status != 0 || !strings.Contains(r.stdout, "listening on") {
		t.Errorf("logs registry: %v", r)
	}
	if r := e.program(t, "-C", s.dir, "logs", "nosuch"); r.status != 2 || !strings.Contains(r.stderr, "registry") {
		t.Errorf("logs of a service that is not there: %v, want status 2 and the services' names", r)
	}
}

// composeStack tells the story of one deployment, from init to the second up.
func composeStack(t *testing.T, e *dockerEngine, c combination) {
	httpPort, httpsPort := freePort(t), freePort(t)
	s := initDeployment(t, append(c.args(), "--http-port", fmt.Sprint(httpPort), "--https-port", fmt.Sprint(httpsPort), "--bind", "127.0.0.1")...)
	s.registry = map[string]int{"3": 3, "2": 2}[c.registry]
	// With its volumes: all deployments here are of one name, which makes one project.
	t.Cleanup(func() { e.tryCompose(t, s.dir, "down", "-v", "-t", "1") })

	// up, as the user would: it records the runtime compose, and starts the containers.
	began := time.Now()
	if r := e.program(t, "up", s.dir); r.status != 0 || !strings.Contains(r.stdout, "Registry ready") {
		for _, id := range strings.Fields(e.tryCompose(t, s.dir, "ps", "-aq").stdout) {
			t.Log(e.try(t, "", "inspect", "-f", "{{.Name}} {{json .State}}", id).stdout)
		}
		t.Fatalf("up: %v\n%s", r, e.tryCompose(t, s.dir, "logs").stdout)
	}
	t.Logf("up took %s", time.Since(began).Round(100*time.Millisecond))
	services := strings.Fields(e.compose(t, s.dir, "ps", "--services").stdout)
	if want := 3; len(services) < want {
		t.Fatalf("only %q run", services)
	}
	for _, service := range services {
		id := strings.TrimSpace(e.compose(t, s.dir, "ps", "-q", service).stdout)
		if got := strings.TrimSpace(e.docker(t, "", "inspect", "-f", "{{.State.Health.Status}}", id).stdout); got != "healthy" {
			t.Errorf("%s is %q, want healthy", service, got)
		}
	}
	s.ca = filepath.Join(t.TempDir(), "ca.crt")
	e.compose(t, s.dir, "cp", "caddy:/data/caddy/pki/authorities/local/root.crt", s.ca)
	s.host = fmt.Sprintf("localhost:%d", httpsPort)
	s.http = httpClient(t, s.ca)
	s.base = "https://" + s.host
	t.Run("stories", func(t *testing.T) { stories(t, s) })

	image := s.ref("dev-backend/from-docker:1")
	t.Run("docker", func(t *testing.T) {
		e.docker(t, s.developer.Password, "login", s.host, "-u", "developer", "--password-stdin")
		e.docker(t, "", "tag", "caddy:2.11.4", image)
		e.docker(t, "", "push", image)
		e.docker(t, "", "rmi", image)
		e.docker(t, "", "pull", image)
		e.docker(t, "", "tag", "caddy:2.11.4", s.ref("dev-frontend/from-docker:1"))
		if r := e.try(t, "", "push", s.ref("dev-frontend/from-docker:1")); r.status == 0 || !strings.Contains(r.stderr+r.stdout, "denied") {
			t.Errorf("a push that the rules deny: %v", r)
		}
	})

	t.Run("the audit log tells who pushed", func(t *testing.T) {
		eventually(t, "the push in the audit log", func() error {
			if r := e.program(t, "-C", s.dir, "audit", "who-pushed", image); r.status != 0 || !strings.Contains(r.stdout, "developer") {
				return fmt.Errorf("%v", r)
			}
			return nil
		})
		// The command line and the service write the same log.
		if r := e.program(t, "-C", s.dir, "audit", "--kind", "change"); r.status != 0 || !strings.Contains(r.stdout, `user "viewer" is added`) {
			t.Errorf("changes: %v", r)
		}
		if r := e.program(t, "-C", s.dir, "audit", "verify"); r.status != 0 {
			t.Errorf("verify: %v", r)
		}
	})

	if c.engine == "bundled" {
		t.Run("docker on a refresh token", func(t *testing.T) { refreshTokensOfDocker(t, e, s) })
	}

	t.Run("a push outlives a restart", func(t *testing.T) { pushThroughRestart(t, e, s) })

	t.Run("status and logs", func(t *testing.T) { statusAndLogs(t, e, s, services) })

	t.Run("a new user is seen without a restart", func(t *testing.T) {
		late := s.addUser(t, "late")
		eventually(t, "the token server takes the new user", func() error {
			if a := s.ask(t, late); a.status != http.StatusOK {
				return fmt.Errorf("status %d", a.status)
			}
			return nil
		})
	})

	t.Run("the image outlives the containers", func(t *testing.T) {
		if r := e.program(t, "-C", s.dir, "down"); r.status != 0 {
			t.Errorf("down: %v", r)
		}
		if r := e.program(t, "-C", s.dir, "down"); r.status != 1 || !strings.Contains(r.stderr, "nothing of this deployment runs") {
			t.Errorf("down once more: %v, want status 1", r)
		}
		if r := e.program(t, "-C", s.dir, "status"); r.status != 1 || !strings.Contains(r.stdout, "not running") {
			t.Errorf("status of a stopped deployment: %v, want status 1", r)
		}
		e.compose(t, s.dir, "up", "-d", "--wait")
		e.docker(t, "", "rmi", image)
		e.docker(t, "", "pull", image)
	})

	if c.storage != "filesystem" { // what this program can't reach from outside the compose network
		return
	}
	t.Run("no second registry on the same store", func(t *testing.T) {
		r := e.program(t, "up", s.dir, "--embedded", "--listen", fmt.Sprintf("localhost:%d", freePort(t)))
		if r.status != 3 || !strings.Contains(r.stderr, "must not share a store") {
			t.Errorf("up --embedded beside the containers: %v", r)
		}
	})
}

// pushThroughRestart restarts all services once part of a layer has reached the store: docker,
// which goes on trying for a while, ends its push well, and what arrived is what was sent.
func pushThroughRestart(t *testing.T, e *dockerEngine, s *site) {
	img := newImage(t, 96<<20)
	ref := s.ref("dev-backend/big:1")
	e.docker(t, "", "load", "-i", img.tar)
	e.docker(t, "", "tag", "example.com/random:latest", ref)
	id := func() string { return strings.TrimSpace(e.docker(t, "", "inspect", "-f", "{{.Id}}", ref).stdout) }
	want := id()
	store := filepath.Join(s.dir, "data")
	before := size(t, store)
	pushed := make(chan result, 1)
	go func() { pushed <- execute(t, "", e.env, "docker", "push", ref) }()
	eventually(t, "a part of the layers has arrived", func() error {
		if got := size(t, store) - before; got < 8<<20 {
			return fmt.Errorf("%d bytes", got)
		}
		return nil
	})
	select {
	case r := <-pushed:
		t.Fatalf("the push was over before the restart: %v", r)
	default:
	}
	began := time.Now()
	e.compose(t, s.dir, "restart")
	t.Logf("the restart took %s", time.Since(began).Round(100*time.Millisecond))
	r := <-pushed
	t.Logf("the push ended %s later; it tried %d times more", time.Since(began).Round(100*time.Millisecond), strings.Count(r.stdout, "Retrying"))
	allowed(t, "a push with a restart in the middle", r)
	// A container is "starting" until its first check, up to ten seconds after its start; a quick
	// push ends before that.
	eventually(t, "everything is healthy after the restart", func() error {
		if r := e.program(t, "-C", s.dir, "status"); r.status != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	e.docker(t, "", "rmi", ref, "example.com/random:latest")
	e.docker(t, "", "pull", ref)
	if got := id(); got != want {
		t.Errorf("pulled image %s, want %s", got, want)
	}
}

// size is how many bytes the files below dir hold; files that go away meanwhile don't count.
func size(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		sum += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestComposeAsUser: init and up take no root, but for a group that may use Docker. What they
// write belongs to the user, and the services run as that user.
func TestComposeAsUser(t *testing.T) {
	const uid = 54320
	e := startEngine(t)
	e.images(t, combination{"filesystem", "3", "docker_auth"})
	// A place that the user may reach; this checkout and the built program need not be one.
	home, err := os.MkdirTemp("", "e2e-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	plugins := filepath.Join(home, ".docker", "cli-plugins")
	mustMkdir(t, plugins)
	own := filepath.Join(home, "regctl-setup")
	for from, to := range map[string]string{program: own, part(t, "docker-compose"): filepath.Join(plugins, "docker-compose")} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, to, data, 0o755)
	}
	for _, dir := range []string{home, filepath.Join(home, ".docker"), plugins} {
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(e.socket), 0o711); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) result {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		var out, errOut bytes.Buffer
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = home, &out, &errOut
		cmd.Env = append(environ(home), "DOCKER_HOST=unix://"+e.socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{dockerGroup}}}
		if err := cmd.Run(); err != nil {
			t.Logf("%q: %v", args, err)
		}
		return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
	}
	dir := filepath.Join(home, "registry")
	httpsPort := freePort(t)
	made := as(own, "init", dir, "--yes", "--format", "json", "--bind", "127.0.0.1",
		"--http-port", fmt.Sprint(freePort(t)), "--https-port", fmt.Sprint(httpsPort))
	if made.status != 0 {
		t.Fatalf("init as a user: %v", made)
	}
	t.Cleanup(func() { e.tryCompose(t, dir, "down", "-v", "-t", "1") })
	if r := as(own, "up", dir); r.status != 0 {
		t.Fatalf("up as a user: %v\n%s", r, e.tryCompose(t, dir, "logs").stdout)
	}
	for _, service := range []string{"auth", "registry"} {
		if r := as("docker", "compose", "--project-directory", dir, "exec", "-T", service, "/bin/busybox", "id", "-u"); strings.TrimSpace(r.stdout) != fmt.Sprint(uid) {
			t.Errorf("%s runs as %v, want %d", service, r, uid)
		}
	}
	s := &site{dir: dir, host: fmt.Sprintf("localhost:%d", httpsPort), registry: 3, ca: filepath.Join(home, "ca.crt")}
	if r := as("docker", "compose", "--project-directory", dir, "cp", "caddy:/data/caddy/pki/authorities/local/root.crt", s.ca); r.status != 0 {
		t.Fatal(r)
	}
	admin := decode[struct{ Accounts []account }](t, made.stdout).Accounts[0]
	img := newImage(t, 4096)
	allowed(t, "admin pushes", s.crane(t, admin, "push", img.tar, s.ref("library/app:1")))
	allowed(t, "admin pulls", s.crane(t, admin, "validate", "--remote", s.ref("library/app:1")))
	err = filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != uid {
			t.Errorf("%s belongs to %d, want %d", name, owner, uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls cond until it holds or a deadline passes.
func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startDeadline)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, startDeadline, err)
		case <-ticker.C:
		}
	}
}

// TestSingleFileMount: a folder made by hand mounts the auth config as a single file. The
// container keeps the old one; the program says so, and --apply makes the change live.
func TestSingleFileMount(t *testing.T) {
	e := startEngine(t)
	e.image(t, "cesanta/docker_auth:1", program, "/docker_auth/auth_server",
		`ENTRYPOINT ["/docker_auth/auth_server"]`, `CMD ["/config/auth_config.yml"]`)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../testdata/guide")); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	mustWrite(t, filepath.Join(dir, "docker-compose.yml"), fmt.Appendf(nil, `name: single-file
services:
  auth:
    image: cesanta/docker_auth:1
    ports: ["127.0.0.1:%d:5001"]
    volumes:
      - ./conf/auth-server.yml:/config/auth_config.yml
      - ./conf/keys:/certs
`, port), 0o644)
	if r := e.program(t, "-C", dir, "keys", "generate", "--key-type", "rsa-2048"); r.status != 0 {
		t.Fatalf("keys generate: %v", r)
	}
	t.Cleanup(func() { e.tryCompose(t, dir, "down", "-t", "1") })
	e.compose(t, dir, "up", "-d")
	base := fmt.Sprintf("http://127.0.0.1:%d/auth", port)
	login := func(name, password string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base, http.NoBody)
		if err != nil {
			return 0, err
		}
		req.SetBasicAuth(name, password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		_ = resp.Body.Close()
		return resp.StatusCode, nil
	}
	want := func(name, password string, status int) func() error {
		return func() error {
			got, err := login(name, password)
			if err == nil && got != status {
				err = fmt.Errorf("%s gets %d, want %d", name, got, status)
			}
			return err
		}
	}
	eventually(t, "the server is up", want("admin", "testing", http.StatusOK))

	add := func(name string, args ...string) (password, messages string) {
		r := e.program(t, append([]string{"-C", dir, "user", "add", name, "--generate", "--format", "json", "--cost", "5"}, args...)...)
		if r.status != 0 {
			t.Fatalf("user add: %v", r)
		}
		var made struct{ Password string }
		if err := json.Unmarshal([]byte(r.stdout), &made); err != nil {
			t.Fatal(err)
		}
		return made.Password, r.stderr
	}
	bob, messages := add("bob")
	if !strings.Contains(messages, "not live yet") {
		t.Errorf("nothing says that the change is not live yet:\n%s", messages)
	}
	// The container still has the old file: what the host's file holds now is not in it.
	if r := e.compose(t, dir, "exec", "-T", "auth", "/bin/busybox", "grep", "-c", "admin", "/config/auth_config.yml"); r.status != 0 {
		t.Fatal(r)
	}
	if r := e.tryCompose(t, dir, "exec", "-T", "auth", "/bin/busybox", "grep", "bob", "/config/auth_config.yml"); r.status == 0 {
		t.Error("the container sees the new file: the premise of this test is gone")
	}
	if err := want("bob", bob, http.StatusUnauthorized)(); err != nil {
		t.Error(err)
	}
	carol, messages := add("carol", "--apply")
	if !strings.Contains(messages, `restarted service "auth"`) {
		t.Errorf("nothing says that the service was restarted:\n%s", messages)
	}
	eventually(t, "carol is let in", want("carol", carol, http.StatusOK))
	eventually(t, "bob is let in", want("bob", bob, http.StatusOK))
}
