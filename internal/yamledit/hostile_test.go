package yamledit

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// bombs are small files that make careless parsers slow, large or dead. The
// message is what Parse must say; empty for files that are merely odd.
func bombs() map[string]struct{ text, msg string } {
	const mb = 1 << 20
	rep := func(s string, size int) string { return strings.Repeat(s, size/len(s)) }
	var laughs, chain, tags, anchors, keys strings.Builder
	laughs.WriteString("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 8), i-1)
	}
	chain.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 5000; i++ {
		fmt.Fprintf(&chain, "a%d: &a%d [*a%d]\n", i, i, i-1)
	}
	for i := range 100_000 {
		fmt.Fprintf(&tags, "%%TAG !a%d! tag:x,2026:\n", i)
		fmt.Fprintf(&anchors, "k%d: &a%d x\nl%d: *a%d\n", i, i, i, i)
		fmt.Fprintf(&keys, "same: x\n")
	}
	var deep strings.Builder
	for i := range 1500 {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return map[string]struct{ text, msg string }{
		"a billion laughs":             {laughs.String(), "aliases expand the document"},
		"a chain of aliases":           {chain.String(), "aliases nest"},
		"an anchor inside itself":      {"a: &a [x, *a]\n", "contains itself"},
		"a merge of itself":            {"a: &a\n  <<: *a\n  b: c\n", "contains itself"},
		"aliases of a large list":      {"a: &a [" + rep("x, ", 100_000) + "]\nb: [" + rep("*a, ", 100_000) + "]\n", "aliases expand the document"},
		"100,000 anchors":              {anchors.String(), ""},
		"open brackets":                {rep("[", mb), "nested too deep"},
		"open braces":                  {rep("{a: ", mb), "nested too deep"},
		"balanced brackets":            {rep("[", 5000) + rep("]", 5000), "nested more than 100"},
		"dashes in a line":             {rep("- ", 4*mb) + "x\n", ""},
		"question marks in a line":     {rep("? ", 4*mb) + "x\n", ""},
		"deep indentation":             {deep.String(), "nested more than 100"},
		"tag directives":               {tags.String() + "---\na: b\n", "more than 100 directives"},
		"comments":                     {rep("#\n", 4*mb), ""},
		"comments in brackets":         {"[" + rep("#\n", 4*mb) + "]\n", ""},
		"comments beside":              {rep("- a #\n", 4*mb), ""},
		"blank lines":                  {rep("\n", 4*mb), ""},
		"blank lines, then a comment":  {"a:\n" + rep(" \n", 4*mb) + "# x\n", ""},
		"an open quote":                {"a: \"" + rep("x ", 4*mb), "end of stream"},
		"an open quote of line breaks": {"a: \"" + rep("\n", 4*mb), "end of stream"},
		"a plain scalar of many lines": {"a: x" + rep("\n  x", 4*mb), ""},
		"a block scalar":               {"a: |\n" + rep("  x\n", 4*mb), ""},
		"a block scalar of spaces":     {"a: |\n" + rep(" ", 4*mb), ""},
		"a long key":                   {rep("a", 4*mb) + ": b\n", ""},
		"a long line":                  {"a: [" + rep("x, ", 4*mb) + "]\n", ""},
		"a key many times":             {keys.String(), ""},
		"colons":                       {rep(":", 4*mb), ""},
		"many lines of no key":         {"a: b\n" + rep("c\n", 4*mb), ""},
		"commas":                       {"[" + rep(",", 4*mb), ""},
		"anchors on nothing":           {rep("&a ", 4*mb), ""},
		"exclamation marks":            {rep("!", 4*mb), ""},
		"percent escapes in a tag":     {"!<" + rep("%41", 4*mb) + "> a\n", ""},
		"bytes of no meaning":          {rep("\x00\xff", mb), "NUL"},
	}
}

// TestC8ConfigBombs holds the time and the memory that a small file may cost.
func TestC8ConfigBombs(t *testing.T) {
	// The figure to reach is 1 s. What holds on any machine is that no bomb of
	// 4 MB costs ten times what an ordinary file of that size does.
	ordinary := bigFile(27_000, 0)
	_, limit := allocated(func() {
		if _, err := decodeNodes(ordinary); err != nil {
			t.Fatal(err)
		}
	})
	limit *= 10
	for name, bomb := range bombs() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := Parse([]byte(bomb.text))
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			t.Logf("%v, %d MB allocated for %d kB: %.100v", took, (after.TotalAlloc-before.TotalAlloc)>>20, len(bomb.text)>>10, err)
			if took > limit {
				t.Errorf("took %v, more than %v", took, limit)
			}
			if bomb.msg != "" && (err == nil || !strings.Contains(err.Error(), bomb.msg)) {
				t.Errorf("got error %.200v, want %q", err, bomb.msg)
			}
			var se *SyntaxError
			if err != nil && !errors.As(err, &se) {
				t.Errorf("got %T, want *SyntaxError", err)
			}
		})
	}
}
