package analysis

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// MatrixQuestion asks for a table.
type MatrixQuestion struct {
	Names NamePattern // the zero value: all names
	Type  string      // empty: repository
	// IP is the client's address; the zero address is none.
	IP netip.Addr
	// Classes bounds how many kinds of names are told apart; 0: 500.
	Classes int
}

// Matrix says who may do what with each kind of name that the entries tell
// apart, asked with the first known service.
type Matrix struct {
	Rows    []MatrixRow
	Classes []MatrixClass
	// Cells has the actions granted, by row and class: sorted, ["*"] for any.
	Cells [][][]string
	// NotDecided says what is missing: entries whose names are not known, or
	// more kinds of names than were asked for.
	NotDecided []Undecided
}

// MatrixRow is a set of accounts with the same rights.
type MatrixRow struct {
	Accounts []string // sorted
	External string   // of an example of accounts that live elsewhere
}

// MatrixClass is a set of names with which everybody may do the same.
type MatrixClass struct {
	Names NameClass
	// Rest says that these are the names that are left: no entry names them.
	Rest bool
}

// Matrix computes the table. Rows with the same rights are one row, kinds of
// names with the same rights for everybody are one class.
func (a *Analysis) Matrix(q MatrixQuestion) Matrix {
	var m Matrix
	limit := q.Classes
	if limit <= 0 {
		limit = 500
	}
	if q.Type == "" {
		q.Type = TypeRepository
	}
	typ := slices.IndexFunc(a.types, func(t typeInfo) bool { return t.name == q.Type })
	if typ < 0 {
		m.NotDecided = append(m.NotDecided, Undecided{Entry: -1, Why: fmt.Sprintf("the policy writes no type %q", q.Type)})
		return m
	}
	st := site{typ: typ, ip: a.cell(q.IP)}
	asked, ok := a.langs.and(a.types[typ].lang, a.language(q.Names))
	if !ok {
		m.NotDecided = append(m.NotDecided, Undecided{Entry: -1, Why: fmt.Sprintf("pattern %q is too large", q.Names.String())})
		return m
	}
	parts, rest, undecided := a.kinds(st, asked, limit)
	m.NotDecided = undecided

	// One name of each kind stands for all of it.
	actions := probes(a)
	all := append([]langID(nil), parts...)
	if rest != langNone {
		all = append(all, rest)
	}
	columns := make([]string, len(all))
	rows := make([][]string, len(a.accounts))
	for k, id := range all {
		name, found, err := a.search.Shortest(automata.Query{In: []*automata.Lang{a.langs.of(id)}})
		if err != nil || !found {
			continue
		}
		var column strings.Builder
		for u := range a.accounts {
			_, granted, _ := a.decide(u, st, name, actions)
			cell := strings.Join(shorten(granted, actions), ",")
			rows[u] = append(rows[u], cell)
			column.WriteString(cell + ";")
		}
		columns[k] = column.String()
	}
	// Kinds with equal columns are one class, accounts with equal rows one row.
	class := map[string]int{}
	var members [][]langID
	var keep []int
	for k, c := range columns {
		if c == "" && len(a.accounts) > 0 {
			continue
		}
		at, ok := class[c]
		if !ok {
			at = len(members)
			class[c] = at
			members = append(members, nil)
			keep = append(keep, k)
			m.Classes = append(m.Classes, MatrixClass{})
		}
		members[at] = append(members[at], all[k])
		if all[k] == rest && rest != langNone {
			m.Classes[at].Rest = true
		}
	}
	for k := range m.Classes {
		m.Classes[k].Names = a.describeKinds(typ, members[k])
	}
	at := map[string]int{}
	for _, u := range a.byRank {
		key := strings.Join(rows[u], ";")
		if a.accounts[u].external {
			key += "\x00" + a.accounts[u].condition
		}
		r, ok := at[key]
		if !ok {
			r = len(m.Rows)
			at[key] = r
			m.Rows = append(m.Rows, MatrixRow{})
			var cells [][]string
			for _, k := range keep {
				var cell []string
				if rows[u][k] != "" {
					cell = strings.Split(rows[u][k], ",")
				}
				cells = append(cells, cell)
			}
			m.Cells = append(m.Cells, cells)
		}
		if a.accounts[u].external {
			m.Rows[r].External = a.accounts[u].condition
		} else {
			m.Rows[r].Accounts = append(m.Rows[r].Accounts, a.accounts[u].name)
		}
	}
	return m
}

// cell returns the index of the address that the entries don't tell from ip.
func (a *Analysis) cell(ip netip.Addr) int {
	if !ip.IsValid() {
		return 0
	}
	ip = ip.Unmap().WithZone("")
	for k, other := range a.ips {
		if !other.IsValid() {
			continue
		}
		same := ip.Is4() == other.Is4()
		for i := range a.rules {
			if p := a.rules[i].patterns.IP; p != nil && p.Contains(ip) != p.Contains(other) {
				same = false
				break
			}
		}
		if same {
			return k
		}
	}
	return 0
}

// kinds cuts a set of names by the name patterns of all entries at a site. Rest
// are the names that no pattern takes but those that take all.
func (a *Analysis) kinds(st site, asked langID, limit int) (parts []langID, rest langID, undecided []Undecided) {
	rest = asked
	done := map[langID]bool{langNone: true}
	for i := range a.rules {
		if !a.at(i, st) {
			continue
		}
		for _, id := range a.languages(i, st) {
			if done[id] {
				continue
			}
			done[id] = true
			if a.langs.dfa(id) == nil {
				undecided = append(undecided, Undecided{Entry: i, Why: a.langs.whyNot(id)})
				continue
			}
			in, ok := a.langs.and(asked, id)
			if !ok {
				undecided = append(undecided, Undecided{Entry: i, Why: errTooBigText})
				continue
			}
			if in == langNone || in == asked {
				continue
			}
			var next []langID
			cut := func(part langID) (inside, outside langID, ok bool) {
				if a.langs.apart(part, in) {
					return langNone, part, true
				}
				if inside, ok = a.langs.and(part, in); !ok {
					return 0, 0, false
				}
				if inside == langNone || inside == part {
					return inside, a.left(part, inside), true
				}
				outside, ok = a.langs.minus(area{in: part, out: []langID{in}})
				return inside, outside, ok
			}
			good := true
			for _, p := range append(slices.Clip(parts), rest) {
				inside, outside, ok := cut(p)
				if !ok {
					good = false
					break
				}
				if p == rest {
					rest = outside
					outside = langNone
				}
				for _, x := range []langID{inside, outside} {
					if x != langNone {
						next = append(next, x)
					}
				}
			}
			if !good {
				undecided = append(undecided, Undecided{Entry: i, Why: errTooBigText})
				continue
			}
			if parts = next; len(parts) > limit {
				undecided = append(undecided, Undecided{Entry: i, Why: fmt.Sprintf("more than %d kinds of names: ask about fewer names", limit)})
				return parts[:limit], rest, undecided
			}
		}
	}
	return parts, rest, undecided
}

const errTooBigText = "too large to be decided exactly"

// left is what is left of part when inside, which is all of it or nothing, is
// taken out.
func (a *Analysis) left(part, inside langID) langID {
	if inside == part {
		return langNone
	}
	return part
}

// languages returns the languages that an entry has for the accounts.
func (a *Analysis) languages(i int, st site) []langID {
	if id, ok := a.constant(i); ok {
		return []langID{id}
	}
	var out []langID
	seen := map[langID]bool{}
	users := a.borrow()
	a.rules[i].users.copyTo(users)
	users.each(func(u int) {
		l := a.names(i, u, st)
		for _, id := range []langID{l.hold, l.stop} {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	})
	a.giveBack(users)
	return out
}

func (t *langTable) whyNot(id langID) string {
	if w := t.why(id); w != "" {
		return w
	}
	return errTooBigText
}

// describeKinds puts several kinds of names together in words.
func (a *Analysis) describeKinds(typ int, ids []langID) NameClass {
	dfas := make([]*automata.DFA, len(ids))
	for k, id := range ids {
		dfas[k] = a.langs.dfa(id)
	}
	var whole NameClass
	if d, err := automata.Or(maxProduct, dfas...); err == nil {
		whole = a.describe(area{typ: typ, in: a.langs.add(automata.FromDFA(d))})
		if !whole.Partial {
			return whole
		}
	}
	const most = 4
	var said []string
	for k, id := range ids {
		if k == most {
			return whole
		}
		c := a.describe(area{typ: typ, in: id})
		if c.Partial {
			return whole
		}
		said = append(said, c.String())
	}
	whole.Pattern, whole.Partial = strings.Join(said, ", "), false
	return whole
}
