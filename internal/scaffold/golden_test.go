package scaffold

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

var update = flag.Bool("update", false, "rewrite the golden trees")

// material reports whether a file comes from the material unchanged, so that a golden
// tree names it and does not show it.
func material(path string) bool {
	return strings.HasPrefix(path, "conf/keys/") || strings.HasPrefix(path, "conf/trust/") ||
		strings.HasPrefix(path, "secrets/tls/") || path == PathGCSKey || path == PathACMERoot || path == PathEngine || path == PathCACerts
}

// tree is the golden form of planned files: every path with its mode, then the texts.
func tree(p profile, files []safefile.File) []byte {
	var ar txtar.Archive
	var head strings.Builder
	dirs := Dirs(p.answers())
	for _, d := range sortedKeys(dirs) {
		fmt.Fprintf(&head, "%s %s/\n", dirs[d], d)
	}
	for _, f := range files {
		fmt.Fprintf(&head, "%s %s\n", f.Mode, f.Path)
		if !material(f.Path) {
			ar.Files = append(ar.Files, txtar.File{Name: f.Path, Data: f.Data})
		}
	}
	ar.Comment = []byte(head.String())
	return txtar.Format(&ar)
}

// TestGolden plans every profile, has the real parsers read the result, and compares it
// with the golden tree.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, p := range profiles() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			a := p.answers()
			files, err := Plan(a, testMaterial(t, a))
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(context.Background(), files); err != nil {
				t.Errorf("check: %v", err)
			}
			got := tree(p, files)
			golden := filepath.Join("testdata", "golden", p.name+".txtar")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("differs from %s (-want +got; -update rewrites it):\n%s", golden, diff)
			}
		})
	}
}

// TestGoldenHasNoStranger fails on a golden tree that no profile makes any more.
func TestGoldenHasNoStranger(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join("testdata", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range profiles() {
		known[p.name+".txtar"] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("%s belongs to no profile", e.Name())
		}
	}
	if len(entries) != len(known) {
		t.Errorf("%d golden trees, %d profiles", len(entries), len(known))
	}
}

// TestCaddyAdapts runs Caddy's own adapter on every Caddyfile, where CADDY_BIN names a
// Caddy: it must accept the file without a warning, and need no environment.
func TestCaddyAdapts(t *testing.T) {
	t.Parallel()
	caddy := os.Getenv("CADDY_BIN")
	if caddy == "" {
		t.Skip("CADDY_BIN names no Caddy; the end-to-end tests run its adapter")
	}
	for _, p := range profiles() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			a := p.answers()
			files, err := Plan(a, testMaterial(t, a))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(file, fileData(t, files, PathCaddyfile), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), caddy, "adapt", "--adapter", "caddyfile", "--config", file)
			cmd.Env = []string{"HOME=" + t.TempDir()}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			if strings.Contains(strings.ToLower(stderr.String()), "warn") {
				t.Errorf("warnings:\n%s", stderr.String())
			}
			for _, want := range []string{`"admin":{"disabled":true}`, `"registry:5000"`, `"auth:5001"`, a.Domain} {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("adapted config lacks %s", want)
				}
			}
		})
	}
}

func fileData(t testing.TB, files []safefile.File, path string) []byte {
	t.Helper()
	for _, f := range files {
		if f.Path == path {
			return f.Data
		}
	}
	t.Fatalf("no %s among the files", path)
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
