//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// program is the regctl-setup under test, built once for the whole run.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	tmp, err := os.MkdirTemp("", "regctl-setup-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tmp)
	program = filepath.Join(tmp, "regctl-setup")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./cmd/regctl-setup")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// part returns the path of a real part (crane, registry, docker-registry, …). Where the
// machine lacks it, the test skips and says what to install, or fails where everything
// is required.
func part(t *testing.T, name string) string {
	t.Helper()
	path, err := findPart(name)
	if err != nil {
		missing(t, "%v", err)
	}
	return path
}

// findPart returns the path of a real part, or an error that says what to install.
func findPart(name string) (string, error) {
	local, err := filepath.Abs(filepath.Join("..", ".bin", name))
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(local); err == nil && st.Mode().IsRegular() {
		return local, nil
	}
	// Debian's package calls the registry docker-registry; "registry" in PATH could be
	// anything.
	if name != "registry" {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is neither in .bin nor in PATH: %s", name, map[string]string{
		"crane":           "make tools",
		"caddy":           "make tools",
		"registry":        "make tools",
		"docker-registry": "apt-get install docker-registry",
		"skopeo":          "apt-get install skopeo",
		"htpasswd":        "apt-get install apache2-utils",
		"tmux":            "apt-get install tmux",
		"busybox":         "apt-get install busybox-static",
		"docker":          "apt-get install docker.io",
		"dockerd":         "apt-get install docker.io",
		"docker-compose":  "make tools",
		"conformance":     "make tools",
		"pebble":          "make tools",
		"versitygw":       "make tools",
		"minio":           "make tools-full",
		"podman":          "apt-get install podman",
		"buildah":         "apt-get install buildah",
		"containerd":      "apt-get install containerd",
		"ctr":             "apt-get install containerd",
		"runc":            "apt-get install runc",
		"buildctl":        "make e2e-clients",
		"buildkitd":       "make e2e-clients",
		"buildx":          "make e2e-clients",
		"helm":            "make e2e-clients",
		"oras":            "make e2e-clients",
		"regctl":          "make e2e-clients",
	}[name])
}

// missing skips the test, or fails it where every part is required.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	msg := fmt.Sprintf(format, args...)
	if os.Getenv("REGCTL_SETUP_E2E_REQUIRED") == "1" {
		t.Fatalf("required, but missing: %s", msg)
	}
	t.Skipf("SKIPPED PART: %s", msg)
}

// environ is the environment of every process here: nothing of the person who runs the
// tests (credentials, proxies, REGCTL_SETUP_*) reaches them.
func environ(home string, extra ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"TMPDIR=" + os.TempDir(),
		"DOCKER_CONFIG=" + filepath.Join(home, ".docker"),
		"XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"XDG_DATA_HOME=" + filepath.Join(home, "data"),
		"XDG_RUNTIME_DIR=" + home,
		"OTEL_TRACES_EXPORTER=none",
		"NO_COLOR=1",
		"LANG=C",
	}
	for _, k := range []string{"SYSTEMROOT", "TEMP", "TMP"} { // what Windows programs can't start without
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return append(env, extra...)
}

// result is how a finished command ended.
type result struct {
	status         int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.status, indent(r.stdout), indent(r.stderr))
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
