package wizard

import (
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/answers"
)

// TestEveryQuestionHasItsOwnWords holds the table of questions against the fields: a new field
// that is asked about without a word of explanation fails here.
func TestEveryQuestionHasItsOwnWords(t *testing.T) {
	t.Parallel()
	worded := map[string]bool{}
	for _, w := range table() {
		worded[w.flag] = true
		for what, text := range map[string]string{"section": w.section, "label": w.label, "title": w.title, "explanation": w.explain} {
			if text == "" {
				t.Errorf("--%s: no %s", w.flag, what)
			}
		}
		if len(w.label) > 16 {
			t.Errorf("--%s: label %q is longer than the summary's column", w.flag, w.label)
		}
		if !strings.HasSuffix(w.title, "?") || !strings.HasSuffix(strings.TrimRight(w.explain, ")"), ".") {
			t.Errorf("--%s: %q, %q: want a question and sentences", w.flag, w.title, w.explain)
		}
	}
	for _, f := range answers.Fields() {
		if !worded[f.Flag] {
			t.Errorf("--%s: the wizard has no words for it", f.Flag)
		}
	}
}
