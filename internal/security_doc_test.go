package internal_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the lists of tests in docs/security.md")

// threatTest is the name of a test that stands for a threat: its row, then what it shows.
var threatTest = regexp.MustCompile(`^Test([A-H][0-9]+)[A-Z_]`)

// TestSecurityDocumentedTests: docs/security.md has a row for each threat that a test is
// named after, and names its tests; -update rewrites those names from the tree.
func TestSecurityDocumentedTests(t *testing.T) {
	t.Parallel()
	tests := threatTests(t)
	file := filepath.Join("..", "docs", "security.md")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	rows := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !regexp.MustCompile(`^ [A-H][0-9]+ $`).MatchString(cells[1]) {
			out.WriteString(line)
			continue
		}
		row := strings.TrimSpace(cells[1])
		if rows[row] {
			t.Errorf("row %s stands there twice", row)
		}
		rows[row] = true
		if len(cells) != 7 {
			t.Errorf("row %s has %d cells, want 5 (a | in a cell is written \\|, which this test does not know)", row, len(cells)-2)
			out.WriteString(line)
			continue
		}
		if len(tests[row]) == 0 {
			t.Errorf("row %s has no test", row)
		}
		want := " " + tests.String(row) + " "
		if got := cells[5]; got != want && !*update {
			t.Errorf("row %s names %s; its tests are %s\nrun: go test ./internal -run SecurityDocumented -update", row, got, want)
		}
		cells[5] = want
		out.WriteString(strings.Join(cells, "|"))
	}
	for _, row := range slices.Sorted(maps.Keys(tests)) {
		if !rows[row] {
			t.Errorf("no row for threat %s, which has %s: write one in docs/security.md", row, tests.String(row))
		}
	}
	if *update && !t.Failed() && out.String() != string(data) {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// namedTests are the names of tests by row and by the folder they are in.
type namedTests map[string]map[string][]string

// String is how a row names its tests.
func (n namedTests) String(row string) string {
	var parts []string
	for _, dir := range slices.Sorted(maps.Keys(n[row])) {
		names := slices.Sorted(slices.Values(n[row][dir]))
		for i, name := range names {
			names[i] = "`" + name + "`"
		}
		parts = append(parts, fmt.Sprintf("%s: %s", dir, strings.Join(slices.Compact(names), ", ")))
	}
	return strings.Join(parts, "; ")
}

// threatTests finds the tests named after threats, whatever their build tags.
func threatTests(t *testing.T) namedTests {
	t.Helper()
	found := namedTests{}
	for _, top := range []string{"cmd", "e2e", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel("..", name)
			if err != nil {
				return err
			}
			dir := strings.TrimPrefix(path.Dir(filepath.ToSlash(rel)), "internal/")
			for _, decl := range parsed.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Recv != nil {
					continue
				}
				m := threatTest.FindStringSubmatch(f.Name.Name)
				if m == nil {
					continue
				}
				if found[m[1]] == nil {
					found[m[1]] = map[string][]string{}
				}
				found[m[1]][dir] = append(found[m[1]][dir], f.Name.Name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) == 0 {
		t.Fatal("found no test named after a threat")
	}
	return found
}

// TestH6EveryDependencyHasItsReason: docs/dependencies.md names each module that go.mod requires
// directly.
func TestH6EveryDependencyHasItsReason(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join("..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile(filepath.Join("..", "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) v\S+$`).FindAllSubmatch(mod, -1) {
		direct++
		if !strings.Contains(string(reasons), "`"+string(m[1])+"`") {
			t.Errorf("docs/dependencies.md does not say why %s is needed", m[1])
		}
	}
	if direct == 0 {
		t.Error("found no direct dependency in go.mod")
	}
}
