package authserver

import (
	"context"

	"github.com/regctl-setup/regctl-setup/internal/audit"
)

// AuditRecorder is the [Recorder] that writes decisions to the audit log.
type AuditRecorder struct {
	log    *audit.Log
	joiner *audit.Joiner
	file   string
}

// NewAuditRecorder returns a recorder that writes to log and, where joiner is not nil, lets it
// know what was granted. file is the name that the log has for the file with the rules,
// wherever the server was started from.
func NewAuditRecorder(log *audit.Log, joiner *audit.Joiner, file string) *AuditRecorder {
	return &AuditRecorder{log: log, joiner: joiner, file: file}
}

// Record writes the decision. It returns when the line is in the log, as far as its sync
// policy promises, or after the log's own time limit: a client that leaves meanwhile
// does not undo what was decided.
func (a *AuditRecorder) Record(ctx context.Context, d *Decision) error {
	r := auditRecord(d, a.file)
	if err := a.log.Append(context.WithoutCancel(ctx), r); err != nil {
		return err
	}
	if a.joiner != nil {
		a.joiner.Add(r)
	}
	return nil
}

// Err is why decisions can't be recorded now; nil when they can.
func (a *AuditRecorder) Err() error { return a.log.Err() }

// Head is where the log ends, as this process last wrote it; false before its first line.
func (a *AuditRecorder) Head() (audit.Head, bool) { return a.log.Head() }

// auditRecord is the decision as a line of the audit log, and shares memory with it. The
// presented name is left out where it is the account.
func auditRecord(d *Decision, file string) *audit.Record {
	r := &audit.Record{
		Time: d.Time.UTC(), Kind: audit.KindToken, RequestID: d.RequestID, Authenticated: d.Authenticated, Account: d.Account,
		Address: d.Address, Method: d.Method, UserAgent: d.UserAgent, ClientID: d.ClientID, Service: d.Service,
		Result: string(d.Result), Reason: d.Reason, Status: d.Status, TokenID: d.TokenID, Lifetime: d.Lifetime, Duration: d.Duration,
	}
	if !d.Authenticated || d.Presented != d.Account {
		r.Presented = d.Presented
	}
	if d.Peer != d.Address {
		r.Peer = d.Peer
	}
	r.Scopes = make([]audit.Scope, len(d.Scopes))
	for i := range d.Scopes {
		s := &d.Scopes[i]
		r.Scopes[i] = audit.Scope{
			Type: s.Type, Class: s.Class, Name: s.Name, Asked: s.Asked, Granted: s.Granted,
			Entry: s.Entry, Line: s.Line, Comment: s.Comment, Error: s.Err,
		}
		if s.Entry > 0 {
			r.Scopes[i].File = file
		}
	}
	return r
}
