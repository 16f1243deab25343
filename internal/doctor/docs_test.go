package doctor_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

const docsFile = "../../docs/doctor.md"

// examples collects what broken deployments look like, for docs/doctor.md.
type examples struct {
	mu   sync.Mutex
	list map[int]example
}

type example struct{ code, broken, output string }

// newExamples holds a part of docs/doctor.md to the examples, once want of them have come.
func newExamples(t *testing.T, part string, want int) *examples {
	t.Helper()
	e := &examples{list: map[int]example{}}
	t.Cleanup(func() {
		if len(e.list) == want && !t.Failed() {
			e.document(t, part)
		}
	})
	return e
}

// What differs from run to run, and with every line that a template gets: ports, seconds, lines.
var (
	address = regexp.MustCompile(`(?:127\.0\.0\.1|localhost):\d{4,5}`)
	seconds = regexp.MustCompile(`\b\d+m\d+s\b`)
	place   = regexp.MustCompile(`(\.ya?ml|\.env|Caddyfile):\d+(?::\d+)?`)
	dialled = regexp.MustCompile(`dial tcp \S+: `)
	sport   = regexp.MustCompile(`sport = :\d+`)
	line    = regexp.MustCompile(`\blines? \d+\b`)
)

// steady is an output without what differs from run to run.
func steady(output string) string {
	output = line.ReplaceAllString(place.ReplaceAllString(output, "$1:LINE"), "line LINE")
	output = sport.ReplaceAllString(output, "sport = :443")
	output = dialled.ReplaceAllString(output, "")
	return seconds.ReplaceAllString(address.ReplaceAllString(output, "registry.example.com"), "2m0s")
}

func (e *examples) add(i int, code, broken, output string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list[i] = example{code, broken, output}
}

// document compares the part of the documentation with the examples, or writes it.
func (e *examples) document(t *testing.T, part string) {
	t.Helper()
	begin, end := "<!-- "+part+": begin -->\n", "<!-- "+part+": end -->\n"
	docs := read(t, docsFile)
	from, to := bytes.Index(docs, []byte(begin)), bytes.Index(docs, []byte(end))
	if from < 0 || to < from {
		t.Fatalf("%s has no part %q", docsFile, part)
	}
	text := []byte(e.text(part))
	if bytes.Equal(docs[from+len(begin):to], text) {
		return
	}
	if !*update {
		t.Errorf("the part %q of %s is not what the checks say: go test ./internal/doctor -update", part, docsFile)
		return
	}
	if err := os.WriteFile(docsFile, slices.Concat(docs[:from+len(begin)], text, docs[to:]), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (e *examples) text(part string) string {
	var b strings.Builder
	for _, c := range doctor.Checks() {
		if (c.Kind == doctor.OnDisk) != (part == "disk") {
			continue
		}
		kind := ""
		if c.Kind == doctor.Writing {
			kind = ", with `--write`"
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s%s: %s.\n\n- Why: %s.\n- Mend: %s.\n", c.Code, c.Severity, kind, c.Title, c.Why, c.Mend)
		for i := range len(e.list) {
			x := e.list[i]
			if x.code != c.Code {
				continue
			}
			lang := "text"
			if strings.Contains(x.broken, "\n+") {
				lang = "diff"
			}
			fmt.Fprintf(&b, "\n```%s\n%s```\n\n```text\n%s```\n", lang, x.broken, steady(x.output))
		}
	}
	return b.String()
}

// text is the breakage as a difference.
func (b breakage) text() string {
	var out strings.Builder
	for _, e := range b.edits {
		fmt.Fprintf(&out, "--- %s\n", e.file)
		old, neu := strings.Split(strings.TrimSuffix(e.old, "\n"), "\n"), strings.Split(strings.TrimSuffix(e.new, "\n"), "\n")
		for len(old) > 0 && len(neu) > 0 && old[0] == neu[0] {
			fmt.Fprintf(&out, " %s\n", old[0])
			old, neu = old[1:], neu[1:]
		}
		for _, l := range old {
			if !slices.Contains(neu, l) {
				fmt.Fprintf(&out, "-%s\n", l)
			}
		}
		for _, l := range neu {
			if l != "" || len(neu) > 1 {
				mark := "+"
				if slices.Contains(old, l) {
					mark = " "
				}
				fmt.Fprintf(&out, "%s%s\n", mark, l)
			}
		}
	}
	if b.say != "" {
		out.WriteString(b.say + "\n")
	}
	if out.Len() == 0 {
		return "a deployment of registry 2\n"
	}
	return out.String()
}

// TestDocumentationIsComplete: every code has its entry, and there is no other.
func TestDocumentationIsComplete(t *testing.T) {
	t.Parallel()
	if *update {
		t.Skip("being written")
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### ([a-z0-9-]+)$`).FindAllStringSubmatch(string(read(t, docsFile)), -1) {
		documented[m[1]] = true
	}
	for _, c := range doctor.Checks() {
		if !documented[c.Code] {
			t.Errorf("%s is not in %s", c.Code, docsFile)
		}
		delete(documented, c.Code)
	}
	for code := range documented {
		t.Errorf("%s documents %s, which is no check", docsFile, code)
	}
}
