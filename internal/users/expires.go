package users

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxLifetime bounds how far in the future an expiry may lie; more is a slip of the finger.
const maxLifetime = 100 * 366 * 24 * time.Hour

// ParseExpires reads when an account ends: a number of days, weeks or hours from now ("90d", "12w",
// "12h"), a date ("2027-01-31", the account ends as that day begins in UTC) or an RFC 3339 time.
// The result is in UTC, in whole seconds, and after now.
func ParseExpires(s string, now time.Time) (time.Time, error) {
	t, err := parseExpires(s, now)
	if err != nil {
		return time.Time{}, err
	}
	t = t.UTC().Truncate(time.Second)
	switch {
	case !t.After(now):
		return time.Time{}, fmt.Errorf("expiry %q is not in the future (it is %s now)", s, now.UTC().Format(time.RFC3339))
	case t.Sub(now) > maxLifetime:
		return time.Time{}, fmt.Errorf("expiry %q is more than 100 years away", s)
	}
	return t, nil
}

func parseExpires(s string, now time.Time) (time.Time, error) {
	const want = "expected a length of time (90d, 12w, 12h), a date (2027-01-31) or an RFC 3339 time"
	if s == "" {
		return time.Time{}, fmt.Errorf("expiry is empty, %s", want)
	}
	unit := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]
	if unit != 0 {
		if n, err := strconv.ParseUint(s[:len(s)-1], 10, 31); err == nil {
			if n == 0 {
				return time.Time{}, fmt.Errorf("expiry %q is no time at all", s)
			}
			if n > uint64(maxLifetime/unit) {
				return time.Time{}, fmt.Errorf("expiry %q is more than 100 years away", s)
			}
			return now.Add(time.Duration(n) * unit), nil
		}
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339, strings.ToUpper(s)); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("bad expiry %q, %s", s, want)
}
