package audit

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"
)

const (
	// maxGrants is how many tokens a [Joiner] remembers.
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
// It is safe for concurrent use. Its memory is bounded: it forgets the oldest tokens. One that
// is handed out again counts once.
type Joiner struct {
	mu        sync.Mutex
	byAccount map[string][]*grant
	byToken   map[handedOut]*grant
	order     []*grant // the oldest first, from next on
	next      int
}

// handedOut is a token, and to where.
type handedOut struct {
	tokenID string
	address netip.Addr
}

type grant struct {
	handedOut
	account   string
	requestID string // of the newest hand-out
	// from and to bound the token's life, newest is when it was handed out last.
	from, to, newest time.Time
	scopes           []grantedScope
}

type grantedScope struct {
	name    string
	actions []string
}

// NewJoiner returns one that knows no decision yet.
func NewJoiner() *Joiner {
	return &Joiner{byAccount: map[string][]*grant{}, byToken: map[handedOut]*grant{}}
}

// Add remembers a decision that gave a token with some access. It keeps nothing of the record's
// memory: texts of a request are parts of all that the client sent.
func (j *Joiner) Add(r *Record) {
	if r.Kind != KindToken || r.TokenID == "" {
		return
	}
	key := handedOut{r.TokenID, r.Address.Unmap()}
	j.mu.Lock()
	defer j.mu.Unlock()
	if g := j.byToken[key]; g != nil && g.account == r.Account {
		g.requestID = strings.Clone(r.RequestID)
		if r.Time.After(g.newest) {
			g.newest = r.Time
		}
		return
	}
	var scopes []grantedScope
	for i := range r.Scopes {
		if s := &r.Scopes[i]; len(s.Granted) > 0 && s.Type == "repository" {
			actions := make([]string, len(s.Granted))
			for i, a := range s.Granted {
				actions[i] = unique.Make(a).Value()
			}
			scopes = append(scopes, grantedScope{strings.Clone(s.Name), actions})
		}
	}
	if len(scopes) == 0 {
		return
	}
	key.tokenID = strings.Clone(key.tokenID)
	g := &grant{
		handedOut: key, account: strings.Clone(r.Account), requestID: strings.Clone(r.RequestID),
		from: r.Time, to: r.Time.Add(r.Lifetime + leeway), newest: r.Time, scopes: scopes,
	}
	if len(j.order) < maxGrants {
		j.order = append(j.order, g)
	} else {
		old := j.order[j.next]
		j.order[j.next] = g
		j.next = (j.next + 1) % maxGrants
		if j.byToken[old.handedOut] == old {
			delete(j.byToken, old.handedOut)
		}
		// What is forgotten first is also the first of its account.
		if rest := j.byAccount[old.account][1:]; len(rest) > 0 {
			j.byAccount[old.account] = rest
		} else {
			delete(j.byAccount, old.account)
		}
	}
	j.byToken[key] = g
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
	var best *grant
	for _, g := range slices.Backward(j.byAccount[r.Account]) {
		if r.Time.Before(g.from.Add(-leeway)) || r.Time.After(g.to) || r.Address.IsValid() && g.address.IsValid() && r.Address.Unmap() != g.address {
			continue
		}
		if (best == nil || g.newest.After(best.newest)) &&
			slices.ContainsFunc(g.scopes, func(s grantedScope) bool { return s.name == e.Repository && slices.Contains(s.actions, action) }) {
			best = g
		}
	}
	if best != nil {
		e.Join, e.JoinRequestID, e.JoinTokenID = JoinProbable, best.requestID, best.tokenID
	}
}
