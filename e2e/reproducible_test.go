//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestH6TwoBuildsAreTheSame builds the program as a release does, from two copies of the
// source in folders of different names. The second build has an empty cache, so that every
// package is compiled anew and none is merely linked again.
func TestH6TwoBuildsAreTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED under -short: it compiles the program and all that is in it a second time; run it without -short")
	}
	t.Parallel()
	// Both copies first: somebody may edit the source meanwhile.
	dirs := [2]string{filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "another", "folder of the second")}
	for _, dir := range dirs {
		copySource(t, dir)
	}
	var builds [2][]byte
	for i, dir := range dirs {
		out := filepath.Join(t.TempDir(), "regctl-setup")
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", out,
			"-ldflags", "-s -w -X github.com/regctl-setup/regctl-setup/internal/cli.version=1.2.3 -X github.com/regctl-setup/regctl-setup/internal/cli.commit="+strings.Repeat("c0", 20),
			"./cmd/regctl-setup")
		build.Dir = dir
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		if i == 1 {
			build.Env = append(build.Env, "GOCACHE="+t.TempDir())
		}
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %d: %v\n%s", i+1, err, text)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		builds[i] = data
		if at := strings.Index(string(data), dir); at >= 0 {
			t.Errorf("build %d has the folder that it was built in at byte %d", i+1, at)
		}
	}
	if a, b := sha256.Sum256(builds[0]), sha256.Sum256(builds[1]); a != b {
		at := 0
		for at < min(len(builds[0]), len(builds[1])) && builds[0][at] == builds[1][at] {
			at++
		}
		t.Fatalf("two builds differ: sha256 %x of %d bytes and %x of %d, first at byte %d", a, len(builds[0]), b, len(builds[1]), at)
	}
	t.Logf("two builds for %s/%s: sha256 %x, %d bytes", runtime.GOOS, runtime.GOARCH, sha256.Sum256(builds[0]), len(builds[0]))
}

// copySource copies what the program is built from.
func copySource(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"cmd", "internal", "templates"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join("..", folder))); err != nil {
			t.Fatal(fmt.Errorf("copying %s: %w", folder, err))
		}
	}
}
