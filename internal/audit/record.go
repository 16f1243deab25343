package audit

import (
	"net/netip"
	"slices"
	"time"
)

// MaxLine is the longest a line may be, in bytes, its newline included.
const MaxLine = 8 << 10

// Kind says what a record is about.
type Kind string

// The kinds of records.
const (
	KindToken   Kind = "token"   // a decision of the token server
	KindEvent   Kind = "event"   // something that the registry did
	KindChange  Kind = "change"  // something that the command line changed
	KindGap     Kind = "gap"     // lines that are torn or missing, or could not be written
	KindSegment Kind = "segment" // the first line of a file
)

// Record is one line of the log. Which fields have a meaning depends on the kind; zero ones
// are left out of the line. docs/audit.md lists their names in JSON. A record never holds
// a password, a hash of one, or a token.
type Record struct {
	// Seq numbers the lines from 1; the log sets it.
	Seq uint64
	// Time is when the request came, the event happened or the change was made. The log
	// sets it where it is zero, and where it lies after the time of writing.
	Time time.Time
	Kind Kind

	// RequestID is the one in the token server's answer; for events, the registry's own.
	RequestID string
	// Account is who was verified, "" being the anonymous account, which is told from
	// nobody by Authenticated. Presented is the name that the client sent, where it
	// differs or was not verified.
	Authenticated bool
	Account       string
	Presented     string
	// Address is the client's as the rules see it, Peer the connection's where it differs.
	Address, Peer netip.Addr
	Method        string
	UserAgent     string
	ClientID      string
	Service       string
	// Scopes are what was asked for and granted. A decision whose scopes do not fit into
	// one line takes several: Part counts them from 1, Parts says how many there are, and
	// the other fields are the same in each.
	Scopes      []Scope
	Part, Parts int
	// Result is how it ended; Reason says why where that alone does not.
	Result, Reason string
	// Status is the HTTP status.
	Status int
	// TokenID is the jti of the token, Lifetime how long it is valid (whole seconds).
	TokenID  string
	Lifetime time.Duration
	// Duration is how long the answer took, to the microsecond.
	Duration time.Duration

	Event  *Event
	Change *Change
	Gap    *Gap
	// Segment is the number of the file that this line begins.
	Segment int
	// Prev is the chain's hash (hexadecimal) that a segment or a gap goes on from.
	Prev string
}

// Scope is what became of one scope of a token request.
type Scope struct {
	Type, Class, Name string
	Asked, Granted    []string
	// Entry is the deciding entry's place in the list, from 1; 0: none matched. File, Line
	// and Comment are that entry's.
	Entry   int
	File    string
	Line    int
	Comment string
	// Error says why the scope was denied although entries were left to try.
	Error string
}

// Refused reports whether something that was asked for was not granted.
func (s *Scope) Refused() bool {
	for _, a := range s.Asked {
		if !slices.Contains(s.Granted, a) {
			return true
		}
	}
	return false
}

// Event is what the registry reports.
type Event struct {
	ID string
	// Action is pull, push, mount or delete.
	Action         string
	Repository     string
	FromRepository string // of a mount
	Tag, Digest    string
	MediaType      string
	Size           int64
	// Host is the registry's name as the client used it, Instance which process reports.
	Host, Instance string
	// Received is when the report came, where that is later than Time by a second or more.
	Received time.Time
	// Join is "probable" where a decision of the same account from the same address allowed
	// this within the life of its token: registries report no token ids. JoinRequestID and
	// JoinTokenID are that decision's.
	Join, JoinRequestID, JoinTokenID string
}

// JoinProbable is the value of [Event.Join].
const JoinProbable = "probable"

// Change is something that the command line did, in two records of the same ID: the intent
// before anything is written, and the result.
type Change struct {
	ID, Phase string
	Command   string
	// UID and Login are the person's on the machine; SudoUser where sudo told. UID is -1
	// where the system has no such numbers.
	UID             int
	Login, SudoUser string
	File            string
	// What says in words what is changed, Gains and Losses what that does to access.
	What, Gains, Losses []string
	// Accounts are those that the change concerns.
	Accounts []string
	// Before and After are SHA-256 hashes (hexadecimal) of the file.
	Before, After string
}

// The phases of a change and its results.
const (
	PhaseIntent = "intent"
	PhaseResult = "result"
	ChangeDone  = "done"
	ChangeFail  = "failed"
)

// GapKind says what kind of gap a record marks.
type GapKind string

// The kinds of gaps.
const (
	// GapTorn: the line before this one was cut by a crash while it was written. Nobody
	// was told that it had been recorded.
	GapTorn GapKind = "torn"
	// GapMissing: the head knew of lines that are not there any more.
	GapMissing GapKind = "missing"
	// GapUnrecorded: lines could not be written for a time.
	GapUnrecorded GapKind = "unrecorded"
	// GapHead: the head was missing or could not be read, and was made again.
	GapHead GapKind = "head"
)

// Gap marks a break in the log.
type Gap struct {
	Kind GapKind
	// Bytes and SHA256 are those of the torn line before this one.
	Bytes  int64
	SHA256 string
	// From and To are the first and last missing line.
	From, To uint64
	// Lost is how many records could not be written since Since.
	Lost  uint64
	Since time.Time
}

// Clone returns a copy that shares nothing that [Scan] uses again.
func (r *Record) Clone() *Record {
	c := *r
	c.Scopes = slices.Clone(r.Scopes)
	for i := range c.Scopes {
		c.Scopes[i].Asked, c.Scopes[i].Granted = slices.Clone(c.Scopes[i].Asked), slices.Clone(c.Scopes[i].Granted)
	}
	if r.Event != nil {
		e := *r.Event
		c.Event = &e
	}
	return &c
}

// Denied reports whether the record is of somebody who was refused something.
func (r *Record) Denied() bool {
	switch r.Result {
	case "denied", "partial", "unauthorized", "limited", "malformed":
		return true
	}
	return false
}
