package internal_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoLinksInTheTree: a link in the repository leads somewhere else, or nowhere, on every
// other machine, and takes the place of what lies there under its name.
func TestNoLinksInTheTree(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--stage")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no git checkout: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "120000 ") {
			t.Errorf("a link is in the repository: %s", line)
		}
	}
}
