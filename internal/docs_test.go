package internal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeSpan     = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	// A path of this repository in backquotes, with what may follow a file's name.
	namedPath = regexp.MustCompile("`((?:cmd|docs|e2e|internal|templates|testdata|tools|\\.ci)/[A-Za-z0-9_./-]+)`")
)

// TestDocumentationNamesWhatExists: every link and every path of the repository that a
// document names is there.
func TestDocumentationNamesWhatExists(t *testing.T) {
	t.Parallel()
	documents := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "dist" || d.Name() != ".." && d.Name() != ".ci" && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".md"):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		documents++
		for _, m := range namedPath.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s names %s, which is not there", path, m[1])
			}
		}
		for _, m := range markdownLink.FindAllStringSubmatch(codeSpan.ReplaceAllString(string(data), ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s, which is not there", path, target)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if documents == 0 {
		t.Error("found no documents: the checks above held for nothing")
	}
}
