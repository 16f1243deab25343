package audit

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Tally counts what was done.
type Tally struct {
	Pulls   int `json:"pulls"`
	Pushes  int `json:"pushes"`
	Mounts  int `json:"mounts"`
	Deletes int `json:"deletes"`
	Denied  int `json:"denied"`
	Tokens  int `json:"tokens"`
}

// Total is what a list is ordered by: what the registry did, and what was refused.
func (t *Tally) Total() int { return t.Pulls + t.Pushes + t.Mounts + t.Deletes + t.Denied }

func (t *Tally) add(r *Record) {
	switch {
	case r.Kind == KindToken:
		if r.TokenID != "" && r.Part <= 1 {
			t.Tokens++
		}
		if r.Denied() && r.Part <= 1 {
			t.Denied++
		}
	case r.Event == nil || r.Result == "failed":
	case r.Event.Action == "pull":
		t.Pulls++
	case r.Event.Action == "push":
		t.Pushes++
	case r.Event.Action == "mount":
		t.Mounts++
	case r.Event.Action == "delete":
		t.Deletes++
	}
}

// Row is a line of a list: whose or of what, and the counts.
type Row struct {
	Name string `json:"name"`
	Tally
}

// maxNames bounds the names that a summary holds; what comes after counts as [OtherNames].
const maxNames = 100_000

// OtherNames stands in a list for names beyond those that a summary holds.
const OtherNames = "(others)"

// Summary counts records by account, repository and client address, and by time.
type Summary struct {
	Total       Tally
	First, Last time.Time
	accounts    map[string]*Tally
	repos       map[string]*Tally
	addresses   map[netip.Addr]*Tally
	refusals    map[refusal]*Refusal
	slots       map[int64]*Tally
}

type refusal struct{ account, result, name, entry string }

// Refusal is how often an account was refused the same thing.
type Refusal struct {
	// Account is who it was; Verified tells whether that is known.
	Account  string
	Verified bool
	Result   string
	Reason   string
	Name     string
	Actions  []string
	// File and Line are the deciding entry's; Entry is its place, 0: none matched.
	Entry, Line int
	File        string
	Comment     string
	Count       int
	Last        time.Time
}

// slot is the finest that is counted by: all zones' offsets are multiples of it.
const slot = 15 * time.Minute

// NewSummary returns an empty one.
func NewSummary() *Summary {
	return &Summary{accounts: map[string]*Tally{}, repos: map[string]*Tally{}, addresses: map[netip.Addr]*Tally{}, refusals: map[refusal]*Refusal{}, slots: map[int64]*Tally{}}
}

// Add counts a record of kind [KindToken] or [KindEvent]; others are nothing to it.
func (s *Summary) Add(r *Record) {
	if r.Kind != KindToken && r.Kind != KindEvent {
		return
	}
	if s.First.IsZero() || r.Time.Before(s.First) {
		s.First = r.Time
	}
	if r.Time.After(s.Last) {
		s.Last = r.Time
	}
	s.Total.add(r)
	count(s.accounts, who(r), OtherNames).add(r)
	if r.Address.IsValid() {
		count(s.addresses, r.Address, netip.Addr{}).add(r)
	}
	at := r.Time.Unix() - r.Time.Unix()%int64(slot/time.Second)
	if s.slots[at] == nil {
		s.slots[at] = &Tally{}
	}
	s.slots[at].add(r)
	if e := r.Event; e != nil {
		count(s.repos, e.Repository, OtherNames).add(r)
		return
	}
	for i := range r.Scopes {
		sc := &r.Scopes[i]
		if sc.Type != "repository" {
			continue
		}
		t := count(s.repos, sc.Name, OtherNames)
		if len(sc.Granted) > 0 {
			t.Tokens++
		}
		if sc.Refused() && r.Denied() {
			t.Denied++
		}
	}
	if r.Denied() {
		s.refuse(r)
	}
}

// who is the account as lists show it.
func who(r *Record) string {
	switch {
	case r.Authenticated && r.Account == "":
		return "anonymous"
	case r.Authenticated:
		return r.Account
	case r.Presented != "":
		return r.Presented + " (not verified)"
	}
	return "(no name)"
}

// count returns the tally of a name, or of the others where m is full.
func count[K comparable](m map[K]*Tally, name, others K) *Tally {
	t, ok := m[name]
	if !ok {
		if len(m) >= maxNames {
			if name = others; m[name] != nil {
				return m[name]
			}
		}
		t = &Tally{}
		m[name] = t
	}
	return t
}

func (s *Summary) refuse(r *Record) {
	add := func(name, file string, asked []string, entry, line int, comment string) {
		k := refusal{who(r), r.Result, name, fmt.Sprintf("%s:%d", file, entry)}
		v := s.refusals[k]
		if v == nil {
			if len(s.refusals) >= maxNames {
				return
			}
			v = &Refusal{Account: who(r), Verified: r.Authenticated, Result: r.Result, Reason: r.Reason, Name: name, Entry: entry, File: file, Line: line, Comment: comment}
			s.refusals[k] = v
		}
		v.Count++
		if r.Time.After(v.Last) {
			v.Last = r.Time
		}
		for _, a := range asked {
			if !slices.Contains(v.Actions, a) {
				v.Actions = append(v.Actions, a)
			}
		}
	}
	if len(r.Scopes) == 0 {
		add("", "", nil, 0, 0, "")
	}
	for i := range r.Scopes {
		if sc := &r.Scopes[i]; sc.Refused() {
			refused := slices.DeleteFunc(slices.Clone(sc.Asked), func(a string) bool { return slices.Contains(sc.Granted, a) })
			add(sc.Name, sc.File, refused, sc.Entry, sc.Line, sc.Comment)
		}
	}
}

// Accounts are the n names with the highest totals, n <= 0: all.
func (s *Summary) Accounts(n int) []Row { return rows(s.accounts, n) }

// Repositories are like [Summary.Accounts].
func (s *Summary) Repositories(n int) []Row { return rows(s.repos, n) }

// Addresses are like [Summary.Accounts].
func (s *Summary) Addresses(n int) []Row {
	m := make(map[string]*Tally, len(s.addresses))
	for addr, t := range s.addresses {
		name := OtherNames
		if addr.IsValid() {
			name = addr.String()
		}
		m[name] = t
	}
	return rows(m, n)
}

func rows(m map[string]*Tally, n int) []Row {
	var out []Row
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Row{name, *m[name]})
	}
	slices.SortStableFunc(out, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), cmp.Compare(b.Tokens, a.Tokens))
	})
	if n > 0 {
		out = out[:min(n, len(out))]
	}
	return out
}

// Refusals are the n most frequent ones, n <= 0: all.
func (s *Summary) Refusals(n int) []Refusal {
	var out []Refusal
	for _, v := range s.refusals {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name))
	})
	if n > 0 {
		out = out[:min(n, len(out))]
	}
	return out
}

// Bucket is a span of time with its counts.
type Bucket struct {
	Start time.Time
	Tally
}

// Buckets are spans of equal length that cover all records, at most n of them: quarters of hours, whole hours,
// days, or several days, which begin at midnight in the zone.
func (s *Summary) Buckets(n int, zone *time.Location) (span time.Duration, out []Bucket) {
	if s.First.IsZero() {
		return slot, nil
	}
	const day = 24 * time.Hour
	span = slot
	for _, d := range []time.Duration{slot, 2 * slot, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day} {
		if span = d; s.Last.Sub(s.First) <= time.Duration(n-1)*d {
			break
		}
	}
	first := s.First.In(zone)
	start := time.Date(first.Year(), first.Month(), first.Day(), 0, 0, 0, 0, zone)
	if span < day {
		start = start.Add(first.Sub(start).Truncate(span))
	}
	for t := start; !t.After(s.Last); t = t.Add(span) {
		out = append(out, Bucket{Start: t})
	}
	for at, tally := range s.slots {
		i := int(time.Unix(at, 0).Sub(start) / span)
		b := &out[max(0, min(i, len(out)-1))].Tally
		b.Pulls += tally.Pulls
		b.Pushes += tally.Pushes
		b.Mounts += tally.Mounts
		b.Deletes += tally.Deletes
		b.Denied += tally.Denied
		b.Tokens += tally.Tokens
	}
	return span, out
}
