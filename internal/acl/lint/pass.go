package lint

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

// pass is one run: the file made ready, and what was found so far.
type pass struct {
	in      Input
	file    *config.File
	options acl.Options
	entries []entry
	// policy is nil when an entry has a fault: what such rules allow is not what they say.
	policy *acl.Policy
	users  []*config.User // who can log in, each name once
	values map[string][]string
	single map[int]*acl.Policy

	analysed bool
	an       *analysis.Analysis
	real     []analysis.EntryReport // over the accounts of the file
	reports  []analysis.EntryReport // and over those that entries were written for

	rule     *Rule
	findings []Finding
	marked   map[mark]bool
}

// mark says that a rule has found something about an entry.
type mark struct {
	rule  string
	entry int
}

// entry is an entry with its patterns split at their placeholders. Patterns with a fault are nil,
// as absent ones are; broken tells.
type entry struct {
	acl.Entry
	broken                      bool
	account, typ, name, service *acl.Pattern
	labels                      []label
}

type label struct {
	key     string
	pattern acl.Pattern
}

func newPass(in Input) *pass {
	f := in.File
	p := &pass{in: in, file: f, options: acl.Options{LiteralLabels: f.Extras.LiteralLabels && in.Bundled},
		values: map[string][]string{}, single: map[int]*acl.Policy{}, marked: map[mark]bool{}}
	seen := map[string]bool{}
	for i := range f.Users {
		u := &f.Users[i]
		if seen[u.Name] {
			continue
		}
		seen[u.Name] = true
		for _, l := range u.Labels {
			p.values[l.Key] = append(p.values[l.Key], l.Values...)
		}
		if !u.Disabled {
			p.users = append(p.users, u)
		}
	}
	for k, v := range p.values {
		slices.Sort(v)
		p.values[k] = slices.Compact(v)
	}
	p.entries = make([]entry, len(f.ACL))
	sound := true
	for i := range f.ACL {
		e := &p.entries[i]
		e.Entry = f.ACL[i]
		get := func(text *string) *acl.Pattern {
			if text == nil {
				return nil
			}
			q, err := acl.ParsePattern(*text)
			if err != nil {
				e.broken = true
				return nil
			}
			return &q
		}
		e.account, e.typ, e.name, e.service = get(e.Match.Account), get(e.Match.Type), get(e.Match.Name), get(e.Match.Service)
		for _, l := range e.Match.Labels {
			if q := get(&l.Pattern); q != nil {
				e.labels = append(e.labels, label{l.Key, *q})
			}
		}
	}
	for _, problem := range f.Problems() {
		if i := p.entryAt(problem.Line); i >= 0 {
			p.entries[i].broken = true
		}
	}
	for i := range p.entries {
		sound = sound && !p.entries[i].broken && p.entries[i].Actions != nil
	}
	if sound {
		p.policy, _ = acl.Compile(f.ACL, p.options)
	}
	return p
}

// entryAt returns the entry that a line belongs to, or -1.
func (p *pass) entryAt(line int) int {
	at := sort.Search(len(p.file.ACL), func(i int) bool { return p.file.ACL[i].Pos.Line > line }) - 1
	if at < 0 || line > p.endOfRules() {
		return -1
	}
	return at
}

// endOfRules returns the last line of the acl section.
func (p *pass) endOfRules() int {
	start := p.file.Position("acl").Line
	end := int(^uint(0) >> 1)
	next := func(pos acl.Pos) {
		if pos.Line > start && pos.Line <= end {
			end = pos.Line - 1
		}
	}
	next(p.file.Server.Pos)
	next(p.file.Token.Pos)
	next(p.file.Extras.Pos)
	if p.file.HasUsers {
		next(p.file.Position("users"))
	}
	for _, s := range p.file.Sections {
		next(s.Pos)
	}
	return end
}

// report adds a finding of the current rule.
func (p *pass) report(pos acl.Pos, format string, args ...any) *Finding {
	p.findings = append(p.findings, Finding{Rule: p.rule.Name, Severity: p.rule.Severity, Pos: pos, Message: oneLine(fmt.Sprintf(format, args...)), entry: -1})
	return &p.findings[len(p.findings)-1]
}

// reportEntry adds a finding of the current rule about an entry; the message begins with its number.
func (p *pass) reportEntry(i int, format string, args ...any) *Finding {
	f := p.report(p.entries[i].Pos, "entry %d: %s", i+1, fmt.Sprintf(format, args...))
	f.entry = i
	p.marked[mark{p.rule.Name, i}] = true
	return f
}

// flagged reports whether one of the rules has found something about the entry.
func (p *pass) flagged(i int, rules ...string) bool {
	return slices.ContainsFunc(rules, func(r string) bool { return p.marked[mark{r, i}] })
}

// advise is a fix that only a person can decide on.
func advise(format string, args ...any) *Fix {
	return &Fix{Text: oneLine(fmt.Sprintf(format, args...))}
}

// oneLine writes what can't be printed, line breaks among it, as %q does: patterns and names of the
// file stand in messages as they are.
func oneLine(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// anonymous reports whether requests without a login are let in.
func (p *pass) anonymous() bool {
	return slices.ContainsFunc(p.users, func(u *config.User) bool { return u.Name == "" })
}

// star reports whether the entry grants whatever is asked for.
func (e *entry) star() bool { return len(e.Actions) == 1 && e.Actions[0] == "*" }

// grants reports whether the entry grants an action that a registry asks for.
func (e *entry) grants(action string) bool { return e.star() || slices.Contains(e.Actions, action) }

// patterns calls f for every pattern of the entry with the name of its field.
func (e *entry) patterns(f func(field string, p *acl.Pattern)) {
	for _, x := range []struct {
		field string
		p     *acl.Pattern
	}{{"account", e.account}, {"type", e.typ}, {"name", e.name}, {"service", e.service}} {
		if x.p != nil {
			f(x.field, x.p)
		}
	}
	for i := range e.labels {
		f("labels."+e.labels[i].key, &e.labels[i].pattern)
	}
}

// matchesText reports whether a pattern that may be absent matches a value, placeholders taken as
// written.
func matchesText(p *acl.Pattern, value string) bool {
	if p == nil {
		return true
	}
	ok, err := acl.MatchText(p.String(), value)
	return ok && err == nil
}

// matches reports whether entry i would match a request if it were the only one.
func (p *pass) matches(i int, r *acl.Request) bool {
	policy, ok := p.single[i]
	if !ok {
		policy, _ = acl.Compile(p.file.ACL[i:i+1], p.options)
		p.single[i] = policy
	}
	if policy == nil {
		return false
	}
	d := policy.Decide(r, nil)
	return d.Index == 0 && d.Err == nil
}

// decide asks the engine about an account of the file.
func (p *pass) decide(u *config.User, typ, name string, actions ...string) (acl.Request, acl.Decision) {
	r := acl.Request{Account: u.Name, Labels: u.LabelMap(), Type: typ, Name: name, Service: p.in.Service, Actions: actions}
	d := p.policy.Decide(&r, nil)
	d.Granted = slices.Clone(d.Granted)
	return r, d
}

// analyse answers for every entry whether some request gets to it, once.
func (p *pass) analyse() bool {
	if p.analysed || p.policy == nil {
		return p.an != nil
	}
	p.analysed = true
	universe := analysis.Universe{External: p.file.HasExternalLogin()}
	if p.in.Service != "" {
		universe.Services = []string{p.in.Service}
	}
	for _, u := range p.users {
		universe.Users = append(universe.Users, analysis.User{Name: u.Name, Labels: u.LabelMap()})
	}
	an, err := analysis.New(p.policy, universe)
	if err != nil {
		return false
	}
	p.an = an
	p.real = an.Reachable()
	p.reports = p.real
	known := map[string]bool{}
	for i := range p.file.Users {
		known[p.file.Users[i].Name] = true
	}
	made := slices.Clip(universe.Users)
	for i := range p.real {
		if p.real[i].Reachable || p.real[i].NotDecided != "" {
			continue
		}
		if u, ok := p.madeUp(i, known); ok {
			known[u.Name] = true
			made = append(made, u)
		}
	}
	if len(made) == len(universe.Users) {
		return true
	}
	universe.Users = made
	if more, err := analysis.New(p.policy, universe); err == nil {
		p.reports = more.Reachable()
	}
	return true
}

// somebody returns a name that no account of the file has.
func (p *pass) somebody() string {
	name := "somebody"
	for {
		if _, ok := p.file.User(name); !ok {
			return name
		}
		name += "1"
	}
}

// closest returns the candidate that is at most two changes away from the word, or "".
func closest(word string, candidates []string) string {
	best, least := "", 3
	for _, c := range candidates {
		if c == "" || c == word {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least && d*2 < len(c) {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, remove, replace or swap with their neighbour (optimal
// string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		for j := range rows[i] {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = i + j
				continue
			case x[i-1] == y[j-1]:
				rows[i][j] = rows[i-1][j-1]
			default:
				rows[i][j] = 1 + rows[i-1][j-1]
			}
			rows[i][j] = min(rows[i][j], rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
