package doctor

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/rotation"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

const (
	// rotationLong is how long a stage may wait for a restart, or for the next run, before that
	// looks forgotten.
	rotationLong = time.Hour
	rotationDir  = "state/rotation"
)

// rotationChecks are about how the signing key is changed.
func rotationChecks() []Check {
	return []Check{
		{
			Code: "rotation-unfinished", Severity: Warning,
			Title: "a change of the signing key that was begun and not finished",
			Why:   "two keys are trusted for longer than was meant; whoever has the old one goes on making tokens, and the next change has to wait",
			Mend:  "regctl-setup keys rotate goes on where it stopped; keys rotate --abort goes back",
			run:   unfinishedRotation,
		},
		{
			Code: "authority-unusable", Severity: Warning,
			Title: "an authority of one's own that can't issue the next signing key",
			Why:   "keys rotate fails, also the one that runs by itself, or needs a restart of the registry that nobody expects",
			Mend:  "bring conf/keys/ca.key and ca.pem back from a backup; or remove both, and the next keys rotate makes new ones in stages",
			run:   unusableAuthority,
		},
	}
}

// rotate is the command that changes the signing key without a pause, for advice.
func (f *Facts) rotate() string {
	return f.cmd("keys rotate") + "   changes the key while pushes and pulls go on"
}

func unfinishedRotation(p *pass) {
	const record = rotationDir + "/record.json"
	if !isFile(p.Path(record)) {
		return
	}
	r, err := rotation.Open(rotation.Files{Dir: p.Dir}, func() time.Time { return p.Now })
	if err != nil {
		p.report(at(record), "it can't be read: %v", trimPath(err, p.Path(record))).
			mend("bring it back from a backup, with the rest of %s; the program that wrote it may be newer: regctl-setup version", p.shown(rotationDir))
		return
	}
	rec := r.Record()
	next := p.cmd("keys rotate") + "   goes on; " + p.cmd("keys rotate --abort") + "   goes back to the old key"
	if p.Now.Sub(rec.Since) < rotationLong {
		return
	}
	since := rec.Since.UTC().Format("2006-01-02 15:04 MST")
	switch {
	case rec.Stage == rotation.Trusting && rec.Live.IsZero():
		p.report(at(record), "stage 1 of 3 since %s: the files trust the new key, and the registry was not restarted since, as far as is known", since).mend("%s", next)
	case rec.Stage == rotation.Trusting:
		p.report(at(record), "stage 1 of 3 since %s: the registry trusts both keys, and the old one still signs", since).mend("%s", next)
	case rec.Stage == rotation.Dropped:
		p.report(at(record), "stage 3 of 3 since %s: the old key is out of the files, and a registry that was not restarted since still trusts it", since).
			mend("%s   restarts the registry and ends the rotation", p.cmd("keys rotate"))
	case rec.Live.IsZero():
		p.report(at(record), "stage 2 of 3 since %s: the new key is in place, and the token server was not restarted since, as far as is known", since).mend("%s", next)
	case p.Now.Sub(rec.OldTokensUntil()) >= rotationLong:
		p.report(at(record), "stage 2 of 3 since %s: the last token of the old key ended %s, and the registry still trusts that key", since, days(rec.OldTokensUntil().Sub(p.Now))).
			mend("%s   drops the old key", p.cmd("keys rotate"))
	}
}

// unusableAuthority looks at the authority that lies beside the signing key.
func unusableAuthority(p *pass) {
	if p.Auth == nil {
		return
	}
	_, signing := p.Auth.SigningPair()
	if signing == "" {
		return
	}
	dir := filepath.Dir(p.Resolve(signing))
	keyFile, certFile := filepath.Join(dir, filepath.Base(scaffold.PathCAKey)), filepath.Join(dir, filepath.Base(scaffold.PathCACert))
	if _, err := os.Lstat(keyFile); errors.Is(err, fs.ErrNotExist) {
		return // none, or one whose key is kept elsewhere
	}
	restore := "bring " + p.shown(p.rel(keyFile)) + " and " + p.shown(p.rel(certFile)) + " back from a backup; or: rm " + p.shown(p.rel(keyFile)) + " " + p.shown(p.rel(certFile)) +
		" && " + p.cmd("keys rotate") + "   makes new ones, in stages"
	pair, err := keys.LoadPair(keyFile, certFile, keys.LoadOptions{AllowReadableKey: true})
	if err == nil {
		_, err = keys.NewCA(pair, keys.Options{Now: func() time.Time { return p.Now }})
	}
	if err != nil {
		reason := err.Error()
		if le := (*keys.LoadError)(nil); errors.As(err, &le) {
			reason = strings.ReplaceAll(le.Reason, p.Dir+string(filepath.Separator), "")
		}
		p.report(at(p.rel(keyFile)), "it can't issue certificates: %s", reason).mend("%s", restore)
		return
	}
	t := p.trust()
	ca, err := keys.LoadCertificates(certFile)
	if err != nil || t.bundle == nil {
		return // the registry's files have checks of their own
	}
	chain := p.signing()
	if p.Bundled && chain != nil && leadsTo(chain, t.bundle) && !slices.ContainsFunc(t.bundle, ca[0].Equal) && !p.rotating() {
		p.report(at(p.rel(t.bundleFile)), "it does not hold %s: the registry refuses what that authority issues", p.rel(certFile)).
			mend("cat %s >> %s   then: %s", p.shown(p.rel(certFile)), p.shown(p.rel(t.bundleFile)), p.restart("registry"))
	}
	if left := ca[0].NotAfter.Sub(p.Now); left < certificateSoon {
		p.report(at(p.rel(certFile)), "it ends %s, on %s", days(left), ca[0].NotAfter.Format(time.DateOnly)).mend("%s", restore)
	}
}

// rotating reports whether the key is being changed right now.
func (f *Facts) rotating() bool {
	data, err := readBounded(f.Path(rotationDir+"/record.json"), maxConfigSize)
	return err == nil && len(bytes.TrimSpace(data)) > 0
}
