package cli

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

type aclMatrixOptions struct {
	by, output, names, ip string
}

func newACLMatrixCommand(a *app) *cobra.Command {
	var o aclMatrixOptions
	c := &cobra.Command{
		Use:   "matrix",
		Short: "Show who may do what with each kind of name, as a table",
		Long: `Show who may do what with each kind of name, as a table: the rows are accounts, those with
the same rights in one row, or with --by label the values of labels; the columns are the
kinds of names that the rules tell apart, each name in exactly one of them.

With --by label a cell has what every account with that label may do, and in parentheses
what only some of them may. Without --ip the table is for a client at no address that the
rules name. The HTML page needs nothing from elsewhere and has a filter.

Changes nothing on disk.`,
		Example: `  regctl-setup acl matrix
  regctl-setup acl matrix --by label --for 'prod/**'
  regctl-setup acl matrix --output html > rights.html`,
		Args: cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			return runACLMatrix(cmd.Context(), a, o)
		}),
	}
	f := c.Flags()
	f.StringVar(&o.by, "by", "account", "what the rows are: `account` or label")
	f.StringVar(&o.output, "output", "", "the table as text, markdown, csv, json or html (default: as --format says)")
	f.StringVar(&o.names, "for", "", "only names of this `PATTERN`: * within a component, ** across")
	f.StringVar(&o.ip, "ip", "", "the client's address")
	return c
}

// matrixTable is what acl matrix shows, in any form. Cells are sorted actions, ["*"] for any.
type matrixTable struct {
	By        string         `json:"by"`
	Columns   []matrixColumn `json:"columns"`
	Rows      []matrixRow    `json:"rows"`
	Undecided []string       `json:"undecided,omitempty"`
}

type matrixColumn struct {
	Type     string   `json:"type"`
	Names    string   `json:"names"`
	Examples []string `json:"examples"`
	Rest     bool     `json:"rest"` // the names that no entry names
}

type matrixRow struct {
	Label    string     `json:"label,omitempty"` // key=value, by label
	Accounts []string   `json:"accounts"`        // "" is anonymous
	External string     `json:"external,omitempty"`
	Cells    [][]string `json:"cells"`
	Some     [][]string `json:"some,omitempty"` // by label: what only some of the accounts may
}

func runACLMatrix(ctx context.Context, a *app, o aclMatrixOptions) error {
	if o.by != "account" && o.by != "label" {
		return usage(fmt.Errorf("--by %q: expected account or label", o.by))
	}
	if o.output == "" {
		o.output = "text"
		if a.json() {
			o.output = "json"
		}
	}
	if !slices.Contains([]string{"text", "markdown", "csv", "json", "html"}, o.output) {
		return usage(fmt.Errorf("--output %q: expected text, markdown, csv, json or html", o.output))
	}
	q := analysis.MatrixQuestion{}
	if o.ip != "" {
		ip, err := netip.ParseAddr(o.ip)
		if err != nil {
			return usage(fmt.Errorf("--ip %q is not an IP address", o.ip))
		}
		q.IP = ip.Unmap()
	}
	if o.names == "registry:catalog" {
		q.Type = analysis.TypeRegistry
	} else if o.names != "" {
		p, err := namePattern(o.names)
		if err != nil {
			return err
		}
		q.Type, q.Names = analysis.TypeRepository, p
	}
	f, d, err := a.loadConfig(ctx)
	if err != nil {
		return err
	}
	an, err := a.analyze(ctx, f, d)
	if err != nil {
		return err
	}
	t := newMatrixTable(an, q, f.ACL)
	if o.by == "label" {
		t = t.byLabel(f)
	} else {
		t.group()
	}
	for _, u := range t.Undecided {
		a.note("warning: the table is not complete: %s", u)
	}
	return a.printMatrix(t, o.output)
}

// newMatrixTable puts the tables of all types side by side, one account a row. With a type in
// the question it is about that type only.
func newMatrixTable(an *analysis.Analysis, q analysis.MatrixQuestion, entries []acl.Entry) *matrixTable {
	t := &matrixTable{By: "account", Columns: []matrixColumn{}, Rows: []matrixRow{}}
	types := []string{q.Type}
	if q.Type == "" {
		types = matrixTypes(entries)
	}
	at := map[string]int{}
	for k, typ := range types {
		q.Type = typ
		m := an.Matrix(q)
		for _, u := range m.NotDecided {
			t.Undecided = append(t.Undecided, u.String())
		}
		done := len(t.Columns)
		order := restLast(m.Classes)
		for _, from := range order {
			c := m.Classes[from]
			examples := c.Names.Examples
			if examples == nil {
				examples = []string{}
			}
			t.Columns = append(t.Columns, matrixColumn{Type: typ, Names: c.Names.String(), Examples: examples, Rest: c.Rest})
		}
		for r, row := range m.Rows {
			for _, n := range matrixAccounts(row) {
				key := row.External + "\x00" + n
				i, ok := at[key]
				if !ok {
					if k > 0 {
						continue // every type has the same accounts
					}
					i = len(t.Rows)
					at[key] = i
					one := matrixRow{Accounts: []string{}, External: row.External}
					if row.External == "" {
						one.Accounts = append(one.Accounts, n)
					}
					t.Rows = append(t.Rows, one)
				}
				for c, from := range order {
					cell := m.Cells[r][from]
					if cell == nil {
						cell = []string{}
					}
					t.Rows[i].Cells = append(t.Rows[i].Cells[:done+c], cell)
				}
			}
		}
	}
	slices.SortStableFunc(t.Rows, func(x, y matrixRow) int {
		if x.External != "" || y.External != "" {
			return strings.Compare(x.External, y.External)
		}
		return strings.Compare(x.Accounts[0], y.Accounts[0])
	})
	return t
}

// restLast is the order of columns: that of the rules, and the names that no entry names at the
// end.
func restLast(classes []analysis.MatrixClass) []int {
	var order, rest []int
	for i := range classes {
		if classes[i].Rest {
			rest = append(rest, i)
		} else {
			order = append(order, i)
		}
	}
	return append(order, rest...)
}

// matrixAccounts lists the accounts of a row; one that lives elsewhere has no name.
func matrixAccounts(row analysis.MatrixRow) []string {
	if row.External != "" {
		return []string{""}
	}
	return row.Accounts
}

// matrixTypes are the types of resources that have columns: those that registries ask for, and
// those that the entries write.
func matrixTypes(entries []acl.Entry) []string {
	types := []string{analysis.TypeRepository, analysis.TypeRegistry}
	for _, e := range entries {
		if typ := e.Match.Type; typ != nil && *typ != "" && !slices.Contains(types, *typ) && strings.Trim(*typ, "abcdefghijklmnopqrstuvwxyz0123456789") == "" {
			types = append(types, *typ)
		}
	}
	return types
}

// group joins the rows of accounts with the same rights.
func (t *matrixTable) group() {
	var rows []matrixRow
	at := map[string]int{}
	for _, r := range t.Rows {
		key := fmt.Sprintf("%q", r.Cells)
		i, ok := at[key]
		if r.External == "" && ok {
			rows[i].Accounts = append(rows[i].Accounts, r.Accounts...)
			continue
		}
		if r.External == "" {
			at[key] = len(rows)
		}
		rows = append(rows, r)
	}
	t.Rows = rows
}

// byLabel turns a table of accounts into one of label values. Who has no label keeps a row, the
// anonymous account and those that live elsewhere rows of their own.
func (t *matrixTable) byLabel(f *config.File) *matrixTable {
	out := &matrixTable{By: "label", Columns: t.Columns, Rows: []matrixRow{}, Undecided: t.Undecided}
	labelled := map[string][]matrixRow{}
	var none, others []matrixRow
	for _, r := range t.Rows {
		if r.External != "" || r.Accounts[0] == "" {
			others = append(others, r)
			continue
		}
		labels := map[string]bool{}
		if u, ok := f.User(r.Accounts[0]); ok {
			for _, l := range u.Labels {
				for _, v := range l.Values {
					labels[l.Key+"="+v] = true
				}
			}
		}
		for l := range labels {
			labelled[l] = append(labelled[l], r)
		}
		if len(labels) == 0 {
			none = append(none, r)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(labelled)) {
		out.Rows = append(out.Rows, joinRows(l, labelled[l]))
	}
	if len(none) > 0 {
		out.Rows = append(out.Rows, joinRows("(no label)", none))
	}
	out.Rows = append(out.Rows, others...)
	return out
}

// joinRows makes one row of accounts with possibly different rights.
func joinRows(label string, rows []matrixRow) matrixRow {
	out := matrixRow{Label: label}
	for _, r := range rows {
		out.Accounts = append(out.Accounts, r.Accounts...)
	}
	for c := range rows[0].Cells {
		all, any := rows[0].Cells[c], rows[0].Cells[c]
		for _, r := range rows[1:] {
			all, any = bothActions(all, r.Cells[c]), eitherActions(any, r.Cells[c])
		}
		some := []string{}
		if !isAnyAction(all) {
			for _, action := range any {
				if !slices.Contains(all, action) {
					some = append(some, action)
				}
			}
		}
		out.Cells = append(out.Cells, all)
		out.Some = append(out.Some, some)
	}
	return out
}

func isAnyAction(actions []string) bool { return slices.Contains(actions, "*") }

// bothActions is what both allow.
func bothActions(x, y []string) []string {
	switch {
	case isAnyAction(x):
		return y
	case isAnyAction(y):
		return x
	}
	out := []string{}
	for _, action := range x {
		if slices.Contains(y, action) {
			out = append(out, action)
		}
	}
	return out
}

// eitherActions is what one of them allows.
func eitherActions(x, y []string) []string {
	if isAnyAction(x) || isAnyAction(y) {
		return []string{"*"}
	}
	out := slices.Concat(x, y)
	slices.Sort(out)
	return slices.Compact(out)
}
