package authserver

import (
	"context"
	"net/netip"
	"time"
)

// Result says how a token request ended.
type Result string

// The results of token requests.
const (
	ResultGranted      Result = "granted"      // all that was asked
	ResultPartial      Result = "partial"      // some of it
	ResultDenied       Result = "denied"       // nothing of it
	ResultLogin        Result = "login"        // nothing was asked but to be let in
	ResultUnauthorized Result = "unauthorized" // credentials missing or no good
	ResultMalformed    Result = "malformed"    // not a request that can be answered
	ResultLimited      Result = "limited"      // too many failures
	ResultBusy         Result = "busy"         // too many others
	ResultError        Result = "error"        // a backend or the server itself failed
	ResultGone         Result = "gone"         // the client left
)

// Decision is the record of one token request. It never holds a credential or a token.
type Decision struct {
	// Time is when the request came, Duration how long the answer took.
	Time     time.Time
	Duration time.Duration
	// RequestID is the one in the X-Request-Id header of the answer.
	RequestID string
	Method    string
	// Authenticated tells whether Account was verified; the anonymous account "" is
	// verified where the configuration has it.
	Authenticated bool
	Account       string
	// Presented is the user name as the client sent it, verified or not.
	Presented string
	// Address is the client's as the rules see it, Peer the connection's. Zero: none.
	Address, Peer netip.Addr
	UserAgent     string
	ClientID      string
	Service       string
	Scopes        []ScopeDecision
	Result        Result
	// Reason says why, where Result alone does not, and names the refresh token of the
	// request by its id.
	Reason string
	// Status is the HTTP status.
	Status int
	// TokenID is the token's jti, Lifetime how long it is valid; zero without a token.
	TokenID  string
	Lifetime time.Duration
	// Reused tells that the token was made for an earlier request.
	Reused bool

	trace Trace // nil: nobody follows the request
	// refreshID is the refresh token that was shown or given out; refreshNew tells the latter.
	refreshID  string
	refreshNew bool
}

// ScopeDecision is what became of one scope.
type ScopeDecision struct {
	Type, Class, Name string
	Asked, Granted    []string
	// Entry is the deciding entry's place in the list, from 1; 0: none matched. File,
	// Line and Comment are that entry's.
	Entry   int
	File    string
	Line    int
	Comment string
	// Authorizer is the section that decided in place of an entry, as "ext_authz".
	Authorizer string
	// Err is set where a pattern broke and the scope was denied for it.
	Err string
}

// Recorder keeps decisions. Record is called before the answer is sent and must not
// block for long. Where the configuration requires an audit log, an error keeps the
// token from being issued (503); otherwise it is counted and logged.
type Recorder interface {
	Record(context.Context, *Decision) error
}
