package cli

import (
	"strings"
	"testing"
)

// TestLineWriter: lines are edited whole, however they arrive.
func TestLineWriter(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	w := newLineWriter(&b, strings.ToUpper)
	for _, part := range []string{"on", "e\ntw", "o\n\nthr", "ee"} {
		if n, err := w.Write([]byte(part)); err != nil || n != len(part) {
			t.Fatalf("Write(%q) = %d, %v", part, n, err)
		}
	}
	if got, want := b.String(), "ONE\nTWO\n\n"; got != want {
		t.Errorf("before flush %q, want %q", got, want)
	}
	w.flush()
	w.flush()
	if got, want := b.String(), "ONE\nTWO\n\nTHREE\n"; got != want {
		t.Errorf("after flush %q, want %q", got, want)
	}
}
