package cli

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/config"
)

// displayPath is how a path is shown: relative to the working directory where that is
// shorter to read, else as it is.
func displayPath(p string) string {
	wd, err := os.Getwd()
	if err != nil {
		return p
	}
	rel, err := filepath.Rel(wd, p)
	if err != nil || strings.HasPrefix(rel, ".."+string(filepath.Separator)+"..") {
		return p
	}
	return rel
}

// nearest returns the user whose name is one or two letters away, or "".
func nearest(name string, f *config.File) string {
	best, at := 3, ""
	for i := range f.Users {
		if n := f.Users[i].Name; n != "" {
			if d := distance(name, n); d < best {
				best, at = d, n
			}
		}
	}
	return at
}

// distance is the Levenshtein distance of two names in bytes, at most 3.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diag, row[j] = row[j], min(row[j]+1, row[j-1]+1, diag+cost)
		}
	}
	return min(row[len(b)], 3)
}
