package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// TestTrapsAreAvoided reads the table of traps in docs/init.md: each row names a test that
// exists and a code that doctor has.
func TestTrapsAreAvoided(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "docs", "init.md"))
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, pattern := range []string{"answers/*_test.go", "scaffold/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	name := regexp.MustCompile(`Test[A-Z]\w*(?:/(\d\d))?`)
	code := regexp.MustCompile("`([a-z0-9]+(?:-[a-z0-9]+)+)`")
	rows := 0
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || !regexp.MustCompile(`^\| \d+$`).MatchString(cells[0]) {
			continue
		}
		rows++
		tests := name.FindAllStringSubmatch(cells[2], -1)
		if len(tests) == 0 {
			t.Errorf("trap %s: no test is named", cells[0])
		}
		for _, m := range tests {
			test, _, _ := strings.Cut(m[0], "/")
			if !strings.Contains(source.String(), "func "+test+"(") || m[1] != "" && !strings.Contains(source.String(), "\t\""+m[1]) {
				t.Errorf("trap %s: there is no %s", cells[0], m[0])
			}
		}
		codes := code.FindAllStringSubmatch(cells[3], -1)
		if len(codes) == 0 {
			t.Errorf("trap %s: no code is named", cells[0])
		}
		for _, m := range codes {
			if !slices.ContainsFunc(doctor.Checks(), func(c doctor.Check) bool { return c.Code == m[1] }) {
				t.Errorf("trap %s: doctor has no code %s", cells[0], m[1])
			}
		}
	}
	if rows != 28 {
		t.Errorf("%d traps, want 28", rows)
	}
}
