package doctor_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// TestLogLinesKnowTheirExamples: each example is taken for its own line and for no other, also
// behind the prefix of docker compose.
func TestLogLinesKnowTheirExamples(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, l := range doctor.LogLines() {
		if seen[l.Name] || l.Meaning == "" || l.Harmless != (l.Mend == "") {
			t.Errorf("line %q is there twice, or lacks a text", l.Name)
		}
		seen[l.Name] = true
		for _, text := range []string{l.Example, "registry-1  | " + l.Example + "\n"} {
			r, err := doctor.ReadLog(strings.NewReader(text))
			if err != nil || len(r.Matches) != 1 || r.Matches[0].Name != l.Name || r.Matches[0].Count != 1 || r.StrangeCount != 0 {
				t.Errorf("%s: %q is taken for %+v, %v", l.Name, text, r.Matches, err)
			}
			if r.Healthy() != l.Harmless {
				t.Errorf("%s: healthy %t, harmless %t", l.Name, r.Healthy(), l.Harmless)
			}
		}
	}
}

// TestReadLog: counts, order, unknown errors, secrets, long and last lines.
func TestReadLog(t *testing.T) {
	t.Parallel()
	log := strings.Repeat("level=warning msg=\"error authorizing context: authorization token required\"\n", 3) +
		"level=info msg=\"all is well\"\r\n" +
		"level=error msg=\"something new\" Authorization: Basic dXNlcjpwYXNzd29yZA== \x1b[31mred\n" +
		"level=error msg=\"" + strings.Repeat("x", 200_000) + "\"\n" +
		"token from untrusted issuer: \"x\" eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
	r, err := doctor.ReadLog(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if r.Lines != 7 || len(r.Matches) != 2 || r.Matches[0].Name != "token-issuer" || r.Matches[1].Count != 3 || r.StrangeCount != 2 {
		t.Errorf("report %+v", r)
	}
	all := fmt.Sprintf("%+v", r)
	for _, leak := range []string{"dXNlcjpwYXNzd29yZA", "\x1b", "eyJhbGciOiJSUzI1NiJ9"} {
		if strings.Contains(all, leak) {
			t.Errorf("%q is repeated", leak)
		}
	}
	for _, s := range r.Strange {
		if len([]rune(s)) > 241 {
			t.Errorf("a line of %d characters is shown", len([]rune(s)))
		}
	}
}

// TestLogDocumentation holds the table of docs/doctor.md to the lines.
func TestLogDocumentation(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| line | from | means | mend |\n| --- | --- | --- | --- |\n")
	for _, l := range doctor.LogLines() {
		mend := l.Mend
		if l.Harmless {
			mend = "harmless"
		}
		fmt.Fprintf(&b, "| `%s`<br>%s | %s | %s | %s |\n", strings.ReplaceAll(l.Example, "|", `\|`), l.Name, l.From, l.Meaning, mend)
	}
	const begin, end = "<!-- logs: begin -->\n", "<!-- logs: end -->\n"
	docs := read(t, logDocsFile)
	from, to := bytes.Index(docs, []byte(begin)), bytes.Index(docs, []byte(end))
	if from < 0 || to < from {
		t.Fatalf("%s has no table of log lines", logDocsFile)
	}
	if bytes.Equal(docs[from+len(begin):to], []byte(b.String())) {
		return
	}
	if !*update {
		t.Errorf("the table of %s is not that of the lines: go test ./internal/doctor -update", logDocsFile)
	} else if err := os.WriteFile(logDocsFile, slices.Concat(docs[:from+len(begin)], []byte(b.String()), docs[to:]), 0o600); err != nil {
		t.Fatal(err)
	}
}

const logDocsFile = "../../docs/doctor-logs.md"

func FuzzReadLog(f *testing.F) {
	for _, l := range doctor.LogLines()[:4] {
		f.Add(l.Example)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := doctor.ReadLog(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		n := r.StrangeCount
		for _, m := range r.Matches {
			n += m.Count
			if strings.ContainsFunc(m.First, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
				t.Errorf("a control character is shown: %q", m.First)
			}
		}
		if n > r.Lines || r.Lines > strings.Count(text, "\n")+1 {
			t.Errorf("%d known and strange lines of %d", n, r.Lines)
		}
	})
}
