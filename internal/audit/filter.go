package audit

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Filter says which records are asked for: those for which everything that is set holds. The
// zero Filter asks for all.
type Filter struct {
	// Account is who was verified, or the name that was presented, or who made a change or
	// is concerned by it; HasAccount tells the anonymous account "" from any.
	Account    string
	HasAccount bool
	// Repository judges names of repositories and of other resources; nil: any.
	// RepositoryText is a text that every name which it takes has in it ("" where there is
	// none): it makes the search fast.
	Repository     func(name string) bool
	RepositoryText string
	// Actions are what was asked for or done, any of them. For a denied request those
	// count that were denied.
	Actions []string
	// Since and Until bound Time: from Since on, before Until. Zero: unbounded.
	Since, Until time.Time
	// Denied asks for requests that were refused something.
	Denied bool
	// Addresses are networks, any of which holds the client's address.
	Addresses []netip.Prefix
	// Kinds are any of these; nil: all but those of the log itself ([KindSegment]).
	Kinds []Kind
	// RequestID and TokenID find the records of one request or token.
	RequestID, TokenID string
}

// Match reports whether the record is asked for.
func (f *Filter) Match(r *Record) bool {
	switch {
	case f == nil:
		return r.Kind != KindSegment
	case f.Kinds == nil && r.Kind == KindSegment, f.Kinds != nil && !slices.Contains(f.Kinds, r.Kind):
		return false
	case !f.Since.IsZero() && r.Time.Before(f.Since), !f.Until.IsZero() && !r.Time.Before(f.Until):
		return false
	case f.HasAccount && !f.account(r), f.Denied && !r.Denied():
		return false
	case f.RequestID != "" && r.RequestID != f.RequestID && (r.Event == nil || r.Event.JoinRequestID != f.RequestID):
		return false
	case f.TokenID != "" && r.TokenID != f.TokenID && (r.Event == nil || r.Event.JoinTokenID != f.TokenID):
		return false
	case len(f.Addresses) > 0 && !slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Contains(r.Address.Unmap()) }):
		return false
	}
	return f.object(r)
}

func (f *Filter) account(r *Record) bool {
	if r.Authenticated && r.Account == f.Account {
		return true
	}
	if f.Account == "" {
		return false
	}
	if c := r.Change; c != nil {
		return c.Login == f.Account || c.SudoUser == f.Account || slices.Contains(c.Accounts, f.Account)
	}
	return r.Presented == f.Account
}

// object judges names and actions, of one and the same scope.
func (f *Filter) object(r *Record) bool {
	if f.Repository == nil && len(f.Actions) == 0 {
		return true
	}
	if e := r.Event; e != nil {
		return (f.Repository == nil || f.Repository(e.Repository) || e.FromRepository != "" && f.Repository(e.FromRepository)) &&
			(len(f.Actions) == 0 || slices.Contains(f.Actions, e.Action))
	}
	return slices.ContainsFunc(r.Scopes, func(s Scope) bool { return f.Scope(&s) })
}

// Scope reports whether it is this scope of a record that the filter asks for.
func (f *Filter) Scope(s *Scope) bool {
	if f == nil {
		return true
	}
	if f.Repository != nil && !f.Repository(s.Name) {
		return false
	}
	wanted := func(a string) bool { return len(f.Actions) == 0 || slices.Contains(f.Actions, a) }
	if f.Denied {
		return slices.ContainsFunc(s.Asked, func(a string) bool { return wanted(a) && !slices.Contains(s.Granted, a) })
	}
	return len(f.Actions) == 0 || slices.ContainsFunc(s.Asked, wanted)
}

// sieve looks at a line's bytes before it is read: what it lets fall the filter would not
// have matched. Lines have the form that this package writes.
type sieve struct {
	all   [][]byte // texts that must be there
	any   []texts  // of each of which one must be there
	since []byte
	until []byte
}

// texts are some of which one must follow the key, which may be empty. To look for the key alone
// takes one pass over the line, however many texts there are.
type texts struct {
	key  []byte
	list [][]byte
}

func (g *texts) in(line []byte) bool {
	if len(g.key) == 0 {
		return slices.ContainsFunc(g.list, func(text []byte) bool { return bytes.Contains(line, text) })
	}
	for {
		i := bytes.Index(line, g.key)
		if i < 0 {
			return false
		}
		line = line[i+len(g.key):]
		if slices.ContainsFunc(g.list, func(text []byte) bool { return bytes.HasPrefix(line, text) }) {
			return true
		}
	}
}

func (f *Filter) sieve() *sieve {
	s := &sieve{}
	if f == nil {
		return s
	}
	need := func(text string) {
		if b := appendText(nil, text, 1<<20); len(b) <= limitFree {
			s.all = append(s.all, b)
		}
	}
	if f.HasAccount {
		if f.Account == "" {
			s.all = append(s.all, []byte(`"account":""`))
		} else {
			need(f.Account)
		}
	}
	if f.RequestID != "" {
		need(f.RequestID)
	}
	if f.TokenID != "" {
		need(f.TokenID)
	}
	if t := f.RepositoryText; t != "" && strings.IndexFunc(t, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) < 0 {
		s.all = append(s.all, []byte(t))
	}
	oneOf := func(key string, values []string) {
		g := texts{key: []byte(key)}
		for _, v := range values {
			g.list = append(g.list, appendText(nil, v, 1<<20))
		}
		s.any = append(s.any, g)
	}
	if f.Denied {
		oneOf(`"result":`, []string{"denied", "partial", "unauthorized", "limited", "malformed"})
	}
	if f.Kinds != nil {
		var kinds []string
		for _, k := range f.Kinds {
			kinds = append(kinds, string(k))
		}
		oneOf(`"kind":`, kinds)
	}
	if len(f.Actions) > 0 {
		oneOf("", f.Actions)
	}
	if !f.Since.IsZero() {
		s.since = f.Since.UTC().Truncate(time.Microsecond).AppendFormat(nil, timeLayout)
	}
	if !f.Until.IsZero() {
		s.until = f.Until.UTC().Add(time.Microsecond).AppendFormat(nil, timeLayout)
	}
	return s
}

var timeKey = []byte(`"time":"`)

func (s *sieve) pass(line []byte) bool {
	if s.since != nil || s.until != nil {
		// The time stands right behind the number of the line. Its form sorts as text.
		if i := bytes.Index(line[:min(len(line), 40)], timeKey); i >= 0 && len(line) >= i+len(timeKey)+len(timeLayout) {
			t := line[i+len(timeKey):][:len(timeLayout)]
			if t[len(t)-1] == 'Z' && (s.since != nil && bytes.Compare(t, s.since) < 0 || s.until != nil && bytes.Compare(t, s.until) >= 0) {
				return false
			}
		}
	}
	for _, text := range s.all {
		if !bytes.Contains(line, text) {
			return false
		}
	}
	for i := range s.any {
		if !s.any[i].in(line) {
			return false
		}
	}
	return true
}
