package authserver

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMountPoints(t *testing.T) {
	t.Parallel()
	const text = `22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw
30 22 8:1 /srv/auth.yml /config/auth\040server.yml ro,relatime - ext4 /dev/sda1 rw
31 22 8:1 /srv/a\134b /a\134b rw - ext4 /dev/sda1 rw
short line
`
	got := slices.Sorted(maps.Keys(mountPoints(strings.NewReader(text))))
	if want := []string{"/", "/a\\b", "/config/auth server.yml"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The child runs in a mount namespace of its own, where the file is mounted over itself.
func TestSingleFileMounts(t *testing.T) {
	t.Parallel()
	if path := os.Getenv("MOUNT_TEST_FILE"); path != "" {
		if got := singleFileMounts([]string{path, filepath.Dir(path), "/nowhere"}); !slices.Equal(got, []string{path}) {
			t.Errorf("found %q, want %q", got, path)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "auth server.yml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := singleFileMounts([]string{path}); len(got) > 0 {
		t.Errorf("not mounted, but found: %q", got)
	}
	if err := exec.CommandContext(t.Context(), "unshare", "--mount", "true").Run(); err != nil {
		t.Skipf("no mount namespace to be had here: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", `mount --bind "$1" "$1"; exec "$0" -test.run '^TestSingleFileMounts$'`, self, path)
	cmd.Env = append(os.Environ(), "MOUNT_TEST_FILE="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
