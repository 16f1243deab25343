package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestServeTakesTheCommandLineOfDockerAuth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"as the image is started", "serve -logtostderr -v=1 conf/auth/auth-server.yml", "serve conf/auth/auth-server.yml"},
		{"value apart", "serve -v 2 -stderrthreshold INFO c.yml", "serve c.yml"},
		{"two dashes", "serve --logtostderr --v=1 c.yml", "serve c.yml"},
		{"flags before serve stay", "-C dir serve -logtostderr c.yml", "-C dir serve c.yml"},
		{"our own flags stay", "serve --check --format json", "serve --check --format json"},
		{"after -- all stays", "serve -- -v=1", "serve -- -v=1"},
		{"other commands are left alone", "acl test -v=1", "acl test -v=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, want := serveArgs(strings.Fields(tt.in)), strings.Fields(tt.want); !slices.Equal(got, want) {
				t.Errorf("serveArgs(%q) = %q, want %q", tt.in, got, want)
			}
		})
	}
}
