package authserver

import (
	"errors"
	"slices"
	"strings"
)

// maxReason is how many bytes of an error a log line or the health page holds.
const maxReason = 4000

// reason is an error as one line: lists of problems, which stand one a line, are divided
// by semicolons.
func reason(err error) string {
	return printable(strings.ReplaceAll(err.Error(), "\n", "; "), maxReason)
}

// hint is what to do about an error, as far as what it wraps says so; "" where it does not.
func hint(err error) string {
	var list []string
	var many interface{ Hints() []string }
	if errors.As(err, &many) {
		list = many.Hints()
	}
	var one interface{ Hint() string }
	if errors.As(err, &one) && one.Hint() != "" && !slices.Contains(list, one.Hint()) {
		list = append(list, one.Hint())
	}
	return printable(strings.Join(list, "; "), maxReason)
}

// reasonAndHint is both as one text.
func reasonAndHint(err error) string {
	if h := hint(err); h != "" {
		return reason(err) + " (" + h + ")"
	}
	return reason(err)
}
