package authserver

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// singleFileMounts returns those of the paths that lead to a file that is mounted by itself,
// as a container's -v FILE:FILE does: a rename outside replaces the name there, and the mount
// here keeps the old file.
func singleFileMounts(paths []string) []string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil // without it nobody can tell
	}
	defer func() { _ = f.Close() }()
	points := mountPoints(f)
	var out []string
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			continue
		}
		if real, err := filepath.EvalSymlinks(abs); err == nil {
			abs = real
		}
		if points[abs] {
			out = append(out, path)
		}
	}
	return out
}

// mountPoints reads mountinfo (proc(5)): the fifth field of each line is where something is
// mounted, with blanks and the like written in octal.
func mountPoints(r io.Reader) map[string]bool {
	points := map[string]bool{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if fields := strings.Fields(sc.Text()); len(fields) >= 5 {
			points[unescapeOctal(fields[4])] = true
		}
	}
	return points
}

func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
