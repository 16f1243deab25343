package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit statuses, as `help exit-codes` tells them.
const (
	exitOK          = 0
	exitNo          = 1   // the answer is no: denied, findings, exists already, no such user
	exitUsage       = 2   // the call is wrong
	exitFailure     = 3   // it could not be done or could not be told
	exitInterrupted = 130 // Ctrl-C in a command that had not finished
)

// statusError is an error that says how the process ends and what to do next.
// Errors of any other type end with [exitFailure].
type statusError struct {
	status int
	err    error // nil: the command has printed its answer, only the status is left
	hints  []string
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// no ends with status 1 after an answer that was printed.
func no() error { return &statusError{status: exitNo} }

// refuse ends with status 1: the answer is no, for this reason.
func refuse(err error, hints ...string) error {
	return &statusError{status: exitNo, err: err, hints: hints}
}

// usage ends with status 2: the call is wrong in this way.
func usage(err error, hints ...string) error {
	return &statusError{status: exitUsage, err: err, hints: hints}
}

// fail ends with status 3: it could not be done.
func fail(err error, hints ...string) error {
	return &statusError{status: exitFailure, err: err, hints: hints}
}

// report prints err as every command does, one line an error, then the hints, and
// returns the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	status := exitFailure
	var hints []string
	shown := err
	var se *statusError
	if errors.As(err, &se) {
		status, hints = se.status, se.hints
		if se.err == nil {
			return status
		}
		shown = se.err
	}
	for _, line := range leaves(shown) {
		_, _ = fmt.Fprintf(w, "regctl-setup: error: %s\n", line)
	}
	for _, h := range hints {
		_, _ = fmt.Fprintf(w, "hint: %s\n", h)
	}
	return status
}

// leaves splits joined errors into one text each.
func leaves(err error) []string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		if list := joined.Unwrap(); len(list) > 0 && isJoin(err, list) {
			var out []string
			for _, e := range list {
				out = append(out, leaves(e)...)
			}
			return out
		}
	}
	return strings.Split(err.Error(), "\n")
}

// isJoin reports whether err says nothing but what its parts say: errors.Join and lists
// of problems do, fmt.Errorf with two %w adds words of its own.
func isJoin(err error, list []error) bool {
	return err.Error() == errors.Join(list...).Error()
}
