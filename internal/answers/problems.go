package answers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with the answers.
type Problem struct {
	File         string // the answers file, where the problem was found in one
	Line, Column int    // 1-based, column in runes; 0 = not known
	Key          string // key in regctl-setup.yaml, such as "s3.bucket"; "" = none
	Flag         string // flag without dashes, such as "s3-bucket"; "" = none
	Msg          string // what is wrong and what was expected, with the offending text
	Hint         string // what to do; may be empty
}

// Error returns the position, the flag and the message on one line, without the hint.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	switch {
	case p.File != "" && p.Key != "":
		b.WriteString(p.Key + ": ")
	case p.Flag != "":
		b.WriteString("--" + p.Flag + ": ")
	}
	b.WriteString(p.Msg)
	return b.String()
}

// Problems is every problem that was found, in the order of the file or of [Fields].
type Problems []Problem

// Error returns one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// err returns ps as an error, nil when there is none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// sort orders by position.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// nearest returns the candidate that a typo may have meant, "" when none is close.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", 3
	if len(word) <= 4 {
		bestDistance = 2
	}
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d < bestDistance && d < len(word) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance, with a swap of two neighbours as one edit.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
