package yamledit

import (
	"bytes"
	"flag"
	"math/rand"
	"sort"
	"testing"
)

var (
	mutants   = flag.Int("mutants", 600, "how many damaged files TestMutants makes")
	firstSeed = flag.Int("seed", 0, "the seed of the first of them")
)

// mutate damages a file as people and merges do.
func mutate(r *rand.Rand, data []byte) []byte {
	lines := bytes.SplitAfter(data, []byte("\n"))
	for range 1 + r.Intn(3) {
		i := r.Intn(len(lines))
		line := append([]byte(nil), lines[i]...)
		at := r.Intn(len(line) + 1)
		switch r.Intn(9) {
		case 0:
			lines = append(lines[:i:i], lines[i+1:]...)
			if len(lines) == 0 {
				return nil
			}
			continue
		case 1:
			j := r.Intn(len(lines))
			lines = append(lines[:j:j], append([][]byte{line}, lines[j:]...)...)
			continue
		case 2:
			line = append([]byte("  "), line...)
		case 3:
			line = bytes.TrimPrefix(line, []byte("  "))
		case 4:
			line = append(line[:at:at], line[min(at+1+r.Intn(3), len(line)):]...)
		default:
			tokens := []string{" ", "#", " # c", ":", ": ", ",", "{", "}", "[", "]", "[]", "{}", "\"", "'", "- ", "\n", "\n\n", "\r\n", "\t",
				"&a ", "*a", "|\n", ">\n", "? ", "~", "!t ", "a", "é", "\u2028", "\\", "<<: ", "\n# c\n", "\n    # c\n", " x", "  "}
			line = append(line[:at:at], append([]byte(tokens[r.Intn(len(tokens))]), line[at:]...)...)
		}
		lines[i] = line
	}
	return bytes.Join(lines, nil)
}

// TestMutants tries edits on damaged files that still parse, and compares the
// reader with the library on all of them.
func TestMutants(t *testing.T) {
	t.Parallel()
	files := corpus(t)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var c tally
	parsed, read := 0, 0
	for seed := *firstSeed; seed < *firstSeed+*mutants; seed++ {
		r := rand.New(rand.NewSource(int64(seed)))
		name := names[r.Intn(len(names))]
		data := mutate(r, files[name])
		if checkReader(t, data) {
			read++
		}
		d, err := Parse(data)
		if err != nil {
			continue
		}
		parsed++
		tries, n := 0, 20*len(nodesOf(d))+1
		tryAll(t, &c, d, func() bool {
			if tries < 3 && r.Intn(n) < 4 {
				tries++
				return true
			}
			return false
		})
		if t.Failed() {
			t.Fatalf("seed %d, a mutant of %s:\n%s", seed, name, data)
		}
	}
	t.Logf("%d of %d parse, %d read by the reader; %d edits made, %d refused as unsafe, %d because of aliases",
		parsed, *mutants, read, c.made, c.unsafe, c.shared)
	if c.made < *mutants/2 {
		t.Errorf("only %d edits made", c.made)
	}
}
