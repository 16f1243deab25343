package cli

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/iostreams"
)

// hostileMatrix has texts that mean something in each form of output.
func hostileMatrix() *matrixTable {
	return &matrixTable{
		By: "account",
		Columns: []matrixColumn{
			{Type: "repository", Names: "a|b/**", Examples: []string{`"><img src=x>`}},
			{Type: "repository", Names: "for example x", Rest: true},
			{Type: "registry", Names: "catalog", Rest: true},
		},
		Rows: []matrixRow{
			{Accounts: []string{"", "</script><script>alert(1)</script>", "=1+1"}, Cells: [][]string{{"pull"}, {}, {}}},
			{Accounts: []string{"x|y_z"}, Cells: [][]string{{"*"}, {"*"}, {"*"}}},
			{External: "any other account, without labels", Accounts: []string{}, Cells: [][]string{{}, {}, {}}},
		},
		Undecided: []string{"entry <1>"},
	}
}

func printedMatrix(t *testing.T, table *matrixTable, output string) string {
	t.Helper()
	io, out, _ := iostreams.Test("")
	if err := (&app{io: io}).printMatrix(table, output); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMatrixPageIsEscapedAndLoadsNothing(t *testing.T) {
	t.Parallel()
	page := printedMatrix(t, hostileMatrix(), "html")
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d script elements, want the page's own", n)
	}
	for _, bad := range []string{"<img", "alert(1)</script>", "<1>", "http:", "https:", "src=\"", "href=", "@import", "url("} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;alert(1)&lt;/script&gt;", "any other name", "registry:catalog", "prefers-color-scheme: dark", "default-src &#39;none&#39;"} {
		if !strings.Contains(strings.ReplaceAll(page, "'", "&#39;"), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestMatrixMarkdownKeepsItsColumns(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(strings.TrimSpace(printedMatrix(t, hostileMatrix(), "markdown")), "\n") {
		if n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); n != 5 {
			t.Errorf("%d bars, want 5: %s", n, line)
		}
		if strings.Contains(line, "<") {
			t.Errorf("HTML in %s", line)
		}
	}
}

func TestMatrixCSVHasNoFormula(t *testing.T) {
	t.Parallel()
	lines, err := csv.NewReader(strings.NewReader(printedMatrix(t, hostileMatrix(), "csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		got = append(got, l[0])
		if len(l) != 4 {
			t.Errorf("%d fields in %q, want 4", len(l), l)
		}
	}
	want := []string{"account", "anonymous", "</script><script>alert(1)</script>", "'=1+1", "x|y_z", "any other account, without labels"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("first fields %q, want %q", got, want)
	}
}

func TestJoinRows(t *testing.T) {
	t.Parallel()
	row := func(name string, actions ...string) matrixRow {
		return matrixRow{Accounts: []string{name}, Cells: [][]string{append([]string{}, actions...)}}
	}
	for _, tt := range []struct {
		name string
		rows []matrixRow
		want string
	}{
		{"one", []matrixRow{row("a", "pull")}, "pull"},
		{"the same", []matrixRow{row("a", "pull"), row("b", "pull")}, "pull"},
		{"more", []matrixRow{row("a", "pull"), row("b", "pull", "push")}, "pull (some: push)"},
		{"nothing in common", []matrixRow{row("a", "pull"), row("b")}, "(some: pull)"},
		{"any", []matrixRow{row("a", "*"), row("b", "pull")}, "pull (some: *)"},
		{"any and any", []matrixRow{row("a", "*"), row("b", "*")}, "*"},
		{"nothing", []matrixRow{row("a"), row("b")}, ""},
		{"three", []matrixRow{row("a", "pull"), row("b", "push"), row("c", "pull", "push")}, "(some: pull,push)"},
	} {
		r := joinRows("k=v", tt.rows)
		if got := r.cell(0); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
