package doctor

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// audited looks for what the token server and the registry must have written down by now: the
// decision on a request of this conversation, and the push of the manifest.
func (p *prober) audited(ctx context.Context, digest string) {
	dir := p.auditDir()
	if dir == "" || p.requestID == "" && !p.auditService() {
		return // nothing is kept, or another program answers the token endpoint
	}
	p.step("the lines about it in the audit log")
	where := p.shown(p.rel(dir))
	keeper, found, err := "auth", true, error(nil)
	if p.auditService() {
		keeper = "audit" // docker_auth's decisions stand in its own log
	} else {
		found, err = inAudit(ctx, dir, &audit.Filter{Kinds: []audit.Kind{audit.KindToken}, RequestID: p.requestID}, nil)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.find("audit-line-missing", "there is no audit log in %s, although the auth config keeps one", where).
			mend("%s   shows why it is not written; the folder must be mounted into the token server, and belong to its user", p.logsCommand("auth"))
		return
	case err != nil:
		p.unsure("audit-line-missing", "the audit log can't be read: %v; as root it can", trimPath(err, dir))
		return
	case !found:
		p.find("audit-line-missing", "the token server answered request %s, and %s has no line about it", p.requestID, where).
			mend("%s   shows why; %s   looks for torn lines", p.logsCommand("auth"), p.cmd("audit verify"))
		return
	}
	if !p.Embedded && !p.auditService() && p.Auth.Extras.Audit.Events == nil {
		return // the registry reports to nobody
	}
	// The registry reports after it has answered.
	isPush := func(r *audit.Record) bool {
		return r.Event != nil && r.Event.Action == "push" && r.Event.Digest == digest
	}
	wait, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := inAudit(ctx, dir, &audit.Filter{Kinds: []audit.Kind{audit.KindEvent}, Account: probeAccount, HasAccount: true}, isPush)
		if found {
			return
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it begins with the first report
			p.unsure("audit-line-missing", "the audit log can't be read: %v", trimPath(err, dir))
			return
		}
		select {
		case <-tick.C:
		case <-wait.Done():
			p.find("audit-line-missing", "the push of %s was not reported to the audit log in %s within %s", digest, where, p.o.Timeout).
				mend("compare url and Authorization of notifications.endpoints in the registry's configuration with %s; %s   shows what is refused", p.eventsSettings(), p.logsCommand(keeper))
			return
		}
	}
}

// eventsSettings names what the registry's notifications must fit.
func (p *prober) eventsSettings() string {
	if p.auditService() {
		return "the service audit and " + scaffold.PathAuditSecret
	}
	return "audit.events in the auth config"
}

// inAudit reports whether a log holds a record that the filter and holds (nil: any) take.
func inAudit(ctx context.Context, dir string, filter *audit.Filter, holds func(*audit.Record) bool) (bool, error) {
	errFound := errors.New("found")
	_, err := audit.Scan(ctx, dir, filter, func(r *audit.Record) error {
		if holds == nil || holds(r) {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}
