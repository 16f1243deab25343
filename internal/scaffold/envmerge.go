package scaffold

import (
	"slices"
	"strings"
)

// envLine is one line of an .env file; key is "" for comments and blank lines.
type envLine struct{ key, text string }

func envLines(data []byte) []envLine {
	var out []envLine
	for _, line := range splitLines(data) {
		key, _, ok := strings.Cut(line, "=")
		key = strings.TrimPrefix(strings.TrimSpace(key), "export ")
		if !ok || strings.HasPrefix(key, "#") {
			key = ""
		}
		out = append(out, envLine{key, line})
	}
	return out
}

func envValue(lines []envLine, key string) (string, int) {
	i := slices.IndexFunc(lines, func(l envLine) bool { return l.key == key })
	if i < 0 {
		return "", -1
	}
	return strings.TrimSpace(lines[i].text), i
}

// mergeEnv brings what changed from base to next into disk, an .env file that a person
// has changed. Upgrades are made in that file by hand, so it is merged by variable. It
// returns the variables that both changed; they stay as they are on disk.
func mergeEnv(base, disk, next []byte) (merged []byte, conflicts []string) {
	b, d, n := envLines(base), envLines(disk), envLines(next)
	if len(d) > 0 && !strings.HasSuffix(string(disk), "\n") {
		d[len(d)-1].text = strings.SplitAfter(d[len(d)-1].text, "\n")[0]
	}
	last := "" // the variable before this one in next
	for _, line := range n {
		if line.key == "" {
			continue
		}
		want := strings.TrimSpace(line.text)
		was, inBase := envValue(b, line.key)
		is, at := envValue(d, line.key)
		switch {
		case want == is, want == was && inBase >= 0:
		case at >= 0 && is == was:
			d[at].text = line.text
		case at < 0 && inBase < 0:
			at = len(d)
			if _, i := envValue(d, last); last != "" && i >= 0 {
				at = i + 1
			}
			d = slices.Insert(d, at, line)
		default:
			conflicts = append(conflicts, line.key)
		}
		last = line.key
	}
	for _, line := range b {
		if _, i := envValue(n, line.key); line.key == "" || i >= 0 {
			continue
		}
		if is, at := envValue(d, line.key); at >= 0 && is == strings.TrimSpace(line.text) {
			d = slices.Delete(d, at, at+1)
		}
	}
	var out strings.Builder
	for _, line := range d {
		out.WriteString(line.text)
	}
	return []byte(out.String()), conflicts
}
