package keys

import (
	"crypto/x509"
	"fmt"
	"time"
)

// ValidityError says that a certificate of a chain is out of date. A registry that gets the chain in
// a token's x5c header refuses it then; one that goes by the key id alone does not look at dates.
type ValidityError struct {
	Subject             string
	NotBefore, NotAfter time.Time
	Now                 time.Time
}

// Error says since when, or from when.
func (e *ValidityError) Error() string {
	if e.Now.Before(e.NotBefore) {
		return fmt.Sprintf("certificate %q is not valid before %s", e.Subject, e.NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("certificate %q has expired on %s", e.Subject, e.NotAfter.UTC().Format(time.RFC3339))
}

// Issued returns when a certificate that this package made was made: they are valid from a day
// before. Of other certificates it is a day after the begin of their validity.
func Issued(c *x509.Certificate) time.Time { return c.NotBefore.Add(backdate) }

// CheckDates returns a *ValidityError when a certificate of the chain is out of date at the time.
func (p *Pair) CheckDates(now time.Time) error { return CheckDates(now, p.Chain...) }

// CheckDates returns a *ValidityError for the first of the certificates that is out of date.
func CheckDates(now time.Time, certs ...*x509.Certificate) error {
	for _, c := range certs {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return &ValidityError{Subject: c.Subject.CommonName, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Now: now}
		}
	}
	return nil
}

// Window returns the time in which the whole chain is valid.
func (p *Pair) Window() (from, to time.Time) {
	from, to = p.Chain[0].NotBefore, p.Chain[0].NotAfter
	for _, c := range p.Chain[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(to) {
			to = c.NotAfter
		}
	}
	return from, to
}

// ExpiresIn returns how long the whole chain is still valid; negative when it no longer is.
func (p *Pair) ExpiresIn(now time.Time) time.Duration {
	_, to := p.Window()
	return to.Sub(now)
}
