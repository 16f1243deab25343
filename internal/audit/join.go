package audit

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxGrants is how many decisions a [Joiner] remembers.
	maxGrants = 20_000
	// leeway is how long after its end the registry still takes a token, and how far the
	// two clocks may lie apart.
	leeway = time.Minute
)

// Joiner finds the decision that allowed what the registry reports. The reports do not name
// the token: the newest decision counts that gave the same account, from the same
// address, the action on the repository, in a token that lived at the time. That is probable
// and no more: two clients of one account behind one address can't be told apart.
//
// It is safe for concurrent use. Its memory is bounded: it forgets the oldest decisions.
type Joiner struct {
	mu        sync.Mutex
	byAccount map[string][]*grant
	order     []*grant // the oldest first, from next on
	next      int
}

type grant struct {
	account   string
	at        time.Time
	end       time.Time
	address   netip.Addr
	requestID string
	tokenID   string
	scopes    []Scope
}

// NewJoiner returns one that knows no decision yet.
func NewJoiner() *Joiner { return &Joiner{byAccount: map[string][]*grant{}} }

// Add remembers a decision that gave a token with some access.
func (j *Joiner) Add(r *Record) {
	if r.Kind != KindToken || r.TokenID == "" {
		return
	}
	g := &grant{account: r.Account, at: r.Time, end: r.Time.Add(r.Lifetime + leeway), address: r.Address.Unmap(), requestID: r.RequestID, tokenID: r.TokenID}
	for i := range r.Scopes {
		if s := &r.Scopes[i]; len(s.Granted) > 0 && s.Type == "repository" {
			g.scopes = append(g.scopes, Scope{Name: s.Name, Granted: slices.Clone(s.Granted)})
		}
	}
	if len(g.scopes) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.order) < maxGrants {
		j.order = append(j.order, g)
	} else {
		old := j.order[j.next]
		j.order[j.next] = g
		j.next = (j.next + 1) % maxGrants
		// What is forgotten first is also the first of its account.
		if rest := j.byAccount[old.account][1:]; len(rest) > 0 {
			j.byAccount[old.account] = rest
		} else {
			delete(j.byAccount, old.account)
		}
	}
	j.byAccount[g.account] = append(j.byAccount[g.account], g)
}

// Join notes in the event's record which decision allowed it, where one is known.
func (j *Joiner) Join(r *Record) {
	e := r.Event
	if e == nil || !r.Authenticated {
		return
	}
	action := e.Action
	if action == "mount" {
		action = "push"
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.byAccount[r.Account]
	for i := len(list) - 1; i >= 0; i-- {
		g := list[i]
		if r.Time.Before(g.at.Add(-leeway)) || r.Time.After(g.end) || r.Address.IsValid() && g.address.IsValid() && r.Address.Unmap() != g.address {
			continue
		}
		if slices.ContainsFunc(g.scopes, func(s Scope) bool { return s.Name == e.Repository && slices.Contains(s.Granted, action) }) {
			e.Join, e.JoinRequestID, e.JoinTokenID = JoinProbable, g.requestID, g.tokenID
			return
		}
	}
}
