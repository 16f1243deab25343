package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// clientsDocument is where the results of TestClients stand.
const clientsDocument = "../docs/clients.md"

// clientNames are the clients that TestClients tries, in the order of the tables.
func clientNames() []string {
	return []string{"docker", "containerd", "buildctl", "buildx", "podman", "buildah", "skopeo", "crane", "regctl", "oras", "helm"}
}

// capabilities are the columns of the first table, after client and version.
func capabilities() []string {
	return []string{"login", "push", "pull", "multi-arch push", "delete", "mount"}
}

// clientTable returns the rows of the table between the document's markers of that name, with
// the cells trimmed; first the header, without the line of dashes.
func clientTable(t *testing.T, text, name string) [][]string {
	t.Helper()
	_, rest, begun := strings.Cut(text, "<!-- begin: "+name+" -->\n")
	table, _, ended := strings.Cut(rest, "<!-- end: "+name+" -->\n")
	if !begun || !ended {
		t.Fatalf("%s has no table between <!-- begin: %s --> and <!-- end: %s -->", clientsDocument, name, name)
	}
	var rows [][]string
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		inner, left := strings.CutPrefix(line, "| ")
		inner, right := strings.CutSuffix(inner, " |")
		if !left || !right {
			t.Fatalf("%s, table %s: no row: %q", clientsDocument, name, line)
		}
		rows = append(rows, strings.Split(inner, " | "))
	}
	if len(rows) < 2 || strings.Trim(strings.Join(rows[1], ""), "-") != "" {
		t.Fatalf("%s, table %s: no header with a line of dashes", clientsDocument, name)
	}
	return slices.Delete(rows, 1, 2)
}

// resultCell is what may stand in a cell of the first table: that it works, that the client has
// no such command, that it was not tried, or what happens instead; the same with both
// registries, or told apart.
var resultCell = regexp.MustCompile(`^(?:(?:yes|–|no: .+|not tried: .+)|registry 3: (?:yes|–|no: .+); registry 2: (?:yes|–|no: .+))$`)

// TestClientsDocumented: docs/clients.md has the tables that TestClients writes, with a row for
// each client, and a note on each.
func TestClientsDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(clientsDocument)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, table := range []struct {
		name   string
		header []string
		cell   *regexp.Regexp
	}{
		{"results", append([]string{"client", "version"}, capabilities()...), resultCell},
		{"refusals", []string{"client", "push without the right", "wrong password"}, regexp.MustCompile("^(?:not tried|`.+`)$")},
	} {
		rows := clientTable(t, text, table.name)
		if !slices.Equal(rows[0], table.header) {
			t.Errorf("table %s has the columns %q, want %q", table.name, rows[0], table.header)
		}
		var named []string
		for _, row := range rows[1:] {
			named = append(named, row[0])
			if len(row) != len(table.header) {
				t.Errorf("table %s, client %s: %d cells, want %d", table.name, row[0], len(row), len(table.header))
				continue
			}
			from := 1
			if table.name == "results" {
				from = 2 // the version is any text
			}
			for i, cell := range row[from:] {
				if !table.cell.MatchString(cell) {
					t.Errorf("table %s, client %s, %s: %q is no result", table.name, row[0], table.header[from+i], cell)
				}
			}
		}
		if want := clientNames(); !slices.Equal(named, want) {
			t.Errorf("table %s has rows for %q, want %q", table.name, named, want)
		}
	}
	for _, name := range clientNames() {
		if !strings.Contains(text, "\n- **"+name+"**: ") {
			t.Errorf("%s has no note on %s (\"- **%s**: …\")", clientsDocument, name, name)
		}
	}
}
