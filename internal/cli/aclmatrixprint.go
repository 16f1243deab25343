package cli

import (
	_ "embed" // the page
	"encoding/csv"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

// The page is a template of its own file, so that it can be read and edited as HTML.

//go:embed aclmatrix.html.tmpl
var matrixPage string

// printMatrix writes the table in one of its forms.
func (a *app) printMatrix(t *matrixTable, output string) error {
	var err error
	switch output {
	case "json":
		return a.printJSON(t)
	case "markdown":
		a.printMatrixMarkdown(t)
	case "csv":
		err = a.printMatrixCSV(t)
	case "html":
		err = a.printMatrixHTML(t)
	default:
		err = a.printMatrixText(t)
	}
	if err != nil {
		return fail(fmt.Errorf("write the table: %w", err))
	}
	return nil
}

// title is how a column is called.
func (c *matrixColumn) title() string {
	switch {
	case c.Rest && c.Type == analysis.TypeRepository:
		return "any other name"
	case c.Type == analysis.TypeRepository:
		return c.Names
	}
	return c.Type + ":" + c.Names
}

// names lists what a row is about; most bounds the accounts that are shown, 0 shows all.
func (r *matrixRow) names(most int) string {
	switch {
	case r.Label != "":
		return r.Label
	case r.External != "":
		return externalText(r.External)
	case most > 0:
		return whoText(analysis.Grant{Accounts: r.Accounts})
	}
	return r.who()
}

// who lists all accounts of a row.
func (r *matrixRow) who() string {
	var names []string
	for _, n := range r.Accounts {
		names = append(names, accountName(n))
	}
	return strings.Join(names, ", ")
}

// cell is what a row may do with a column's names; empty for nothing.
func (r *matrixRow) cell(c int) string {
	text := strings.Join(r.Cells[c], ",")
	if r.Some != nil && len(r.Some[c]) > 0 {
		text = strings.TrimSpace(text + " (some: " + strings.Join(r.Some[c], ",") + ")")
	}
	return text
}

// printMatrixText numbers the columns: names are long, and terminals are not wide.
func (a *app) printMatrixText(t *matrixTable) error {
	tw := tabwriter.NewWriter(a.io.Out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "\tNAMES\tFOR EXAMPLE")
	for k := range t.Columns {
		c := &t.Columns[k]
		_, _ = fmt.Fprintf(tw, "%d\t%s\t%s\n", k+1, c.title(), dash(someExamples(c.title(), c.Examples)))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	a.out("")
	head := strings.ToUpper(t.By)
	for k := range t.Columns {
		head += fmt.Sprintf("\t%d", k+1)
	}
	_, _ = fmt.Fprintln(tw, head)
	for i := range t.Rows {
		line := t.Rows[i].names(1)
		for k := range t.Columns {
			line += "\t" + dash(t.Rows[i].cell(k))
		}
		_, _ = fmt.Fprintln(tw, line)
	}
	return tw.Flush()
}

func (a *app) printMatrixMarkdown(t *matrixTable) {
	head, rule := "| "+t.By+" |", "| --- |"
	for k := range t.Columns {
		head += " " + markdownCell(t.Columns[k].title()) + " |"
		rule += " --- |"
	}
	a.out("%s", head)
	a.out("%s", rule)
	for i := range t.Rows {
		line := "| " + markdownCell(t.Rows[i].names(0)) + " |"
		for k := range t.Columns {
			line += " " + markdownCell(dash(t.Rows[i].cell(k))) + " |"
		}
		a.out("%s", line)
	}
}

// markdownCell escapes what Markdown or HTML in it would take for its own.
func markdownCell(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_[]|~#", r):
			b.WriteRune('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// printMatrixCSV has one account a line, for spreadsheets to sort and filter.
func (a *app) printMatrixCSV(t *matrixTable) error {
	w := csv.NewWriter(a.io.Out)
	head := []string{t.By}
	if t.By == "label" {
		head = append(head, "accounts")
	}
	for k := range t.Columns {
		head = append(head, csvCell(t.Columns[k].title()))
	}
	_ = w.Write(head)
	for i := range t.Rows {
		r := &t.Rows[i]
		firsts := [][]string{{r.names(0)}}
		if t.By == "label" {
			firsts = [][]string{{r.names(0), r.who()}}
		} else if r.External == "" {
			firsts = nil
			for _, n := range r.Accounts {
				firsts = append(firsts, []string{accountName(n)})
			}
		}
		for _, line := range firsts {
			for k := range line {
				line[k] = csvCell(line[k])
			}
			for k := range t.Columns {
				line = append(line, csvCell(r.cell(k)))
			}
			_ = w.Write(line)
		}
	}
	w.Flush()
	return w.Error()
}

// csvCell keeps a spreadsheet from taking a text for a formula.
func csvCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// printMatrixHTML writes one page that loads nothing.
func (a *app) printMatrixHTML(t *matrixTable) error {
	page, err := template.New("matrix").Parse(matrixPage)
	if err != nil {
		return err
	}
	type cell struct {
		Text    string
		Actions string // all that the cell mentions, separated by spaces
	}
	type row struct {
		Name, Who string
		Cells     []cell
	}
	type column struct{ Title, Examples string }
	data := struct {
		By        string
		Columns   []column
		Rows      []row
		Undecided []string
	}{By: t.By, Undecided: t.Undecided}
	for k := range t.Columns {
		c := &t.Columns[k]
		data.Columns = append(data.Columns, column{c.title(), strings.Join(c.Examples, ", ")})
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		out := row{Name: r.names(0)}
		if r.Label != "" {
			out.Who = r.who()
		}
		for k := range t.Columns {
			actions := slices.Clone(r.Cells[k])
			if r.Some != nil {
				actions = append(actions, r.Some[k]...)
			}
			out.Cells = append(out.Cells, cell{r.cell(k), strings.Join(actions, " ")})
		}
		data.Rows = append(data.Rows, out)
	}
	return page.Execute(a.io.Out, data)
}
