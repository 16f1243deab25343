package authserver

import (
	"time"
)

// The kinds of degradation.
const (
	DegradedReload      = "reload_failed"       // the files on disk can't be served
	DegradedWaiting     = "reload_waiting"      // changed files are not taken over yet
	DegradedAudit       = "audit_failing"       // decisions are not recorded
	DegradedLog         = "log_dropping"        // log lines are being lost
	DegradedCertificate = "certificate_expired" // a certificate is out of date
)

// Degradations lists all kinds.
func Degradations() []string {
	return []string{DegradedReload, DegradedWaiting, DegradedAudit, DegradedLog, DegradedCertificate}
}

// Degradation is something that is wrong while the server serves.
type Degradation struct {
	Kind string
	// Text says it in words, and what to do. It may quote the configuration.
	Text string
}

// degraded lists what is wrong now.
func (s *Server) degraded(st *State) []Degradation {
	s.mu.Lock()
	lastError, lastFailed, notice := s.lastError, s.lastFailed, s.notice
	s.mu.Unlock()
	var list []Degradation
	add := func(kind, text string) { list = append(list, Degradation{kind, printable(text, 4000)}) }
	if lastError != nil {
		add(DegradedReload, "the configuration on disk could not be loaded at "+lastFailed.UTC().Format(time.RFC3339)+
			"; the one before stays in force: "+reasonAndHint(lastError))
	}
	if notice != "" {
		add(DegradedWaiting, "the changed configuration is not taken over yet: "+notice+"; SIGHUP takes it over as it is")
	}
	if s.auditFault(st) {
		text := "decisions can not be written to the audit log; tokens are issued all the same"
		if st.AuditRequired {
			text = "decisions can not be written to the audit log, which the configuration requires: no tokens are issued"
		}
		add(DegradedAudit, text+"; look at the disk of the log")
	}
	if s.logState != nil {
		if logs := s.logState(); logs.Err != "" {
			add(DegradedLog, "log lines are being lost: "+logs.Err)
		}
	}
	now := s.now()
	for _, c := range st.Certificates {
		if !c.Expires.IsZero() && now.After(c.Expires) {
			add(DegradedCertificate, "the "+c.Name+" certificate has been out of date since "+c.Expires.UTC().Format(time.RFC3339)+
				": make a new one (regctl-setup keys, for signing)")
		}
	}
	return list
}
