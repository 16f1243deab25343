package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

var (
	// ErrNotEmpty is what errors.Is finds in the error of WriteTree for a folder that has
	// something in it. The error itself is a *NotEmptyError.
	ErrNotEmpty = errors.New("directory is not empty")
	// ErrChanged is found in the error of an operation that gave up because the file kept
	// changing, or no longer had the content that the caller expected.
	ErrChanged = errors.New("file was changed by another program")
	// ErrPending is found in the error of Begin in a folder that has the journal of an
	// interrupted change: call Recover first.
	ErrPending = errors.New("an interrupted change is pending")
)

// Error says which operation failed on which file, why, and what a person can do.
type Error struct {
	Op     string // what was being done: "replace", "create", "lock", …
	Path   string // the file, as the caller named it or as links led to it
	Reason string // in words, where the system's own text is not enough; may be empty
	Remedy string // what to do; may be empty
	Err    error  // the cause; may be nil when Reason says it all
}

// Error returns `OP "PATH": REASON: CAUSE`.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", e.Op, e.Path)
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Err != nil {
		b.WriteString(": " + cause(e.Err))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns what a person can do about it, or "".
func (e *Error) Hint() string { return e.Remedy }

// cause is the text of err without the path that [Error] has said already.
func cause(err error) string {
	switch e := err.(type) { //nolint:errorlint // only the outermost error's own text is wanted
	case *fs.PathError:
		return e.Op + ": " + e.Err.Error()
	case *os.LinkError:
		return e.Op + ": " + e.Err.Error()
	}
	return err.Error()
}

// NotEmptyError lists what is in the way of WriteTree.
type NotEmptyError struct {
	Dir     string
	Entries []string // the first few names, sorted
	More    int      // how many more there are
}

// Error names the directory and a few of its entries.
func (e *NotEmptyError) Error() string {
	quoted := make([]string, len(e.Entries))
	for i, n := range e.Entries {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	s := strings.Join(quoted, ", ")
	if e.More > 0 {
		s += fmt.Sprintf(" and %d more", e.More)
	}
	return fmt.Sprintf("directory %q is not empty: it holds %s", e.Dir, s)
}

// Is makes errors.Is(err, ErrNotEmpty) true.
func (e *NotEmptyError) Is(target error) bool { return target == ErrNotEmpty }

// Hint says what to do.
func (e *NotEmptyError) Hint() string { return "choose a new or an empty directory" }

// LockedError says that the wait for a lock ended before the lock was free.
type LockedError struct {
	Path   string // the file that the lock guards
	Holder string // who holds it, in words; "" when that is unknown
	Err    error  // why the wait ended: the context's error
}

// Error names the file and the holder.
func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return fmt.Sprintf("lock %q: held by %s: %v", e.Path, holder, e.Err)
}

// Unwrap returns the context's error.
func (e *LockedError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *LockedError) Hint() string {
	return "wait until that process is done, or end it; the lock goes with it"
}

// DurabilityError says that a change is applied and visible, but that the system could not
// confirm that it would survive a power cut.
type DurabilityError struct {
	Path string // the directory that could not be synced
	Err  error
}

// Error says applied, durability unknown.
func (e *DurabilityError) Error() string {
	return fmt.Sprintf("applied, but durability unknown: sync directory %q: %s", e.Path, cause(e.Err))
}

// Unwrap returns the cause.
func (e *DurabilityError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *DurabilityError) Hint() string {
	return "check the disk and its file system, then look at the file before you rely on it"
}

// InputError lists everything that is wrong with the arguments of WriteTree or Begin.
type InputError struct{ Problems []string }

// Error joins the problems with "; ".
func (e *InputError) Error() string { return "bad file list: " + strings.Join(e.Problems, "; ") }

// IsFull reports whether err says that the disk is full, or the quota used up.
func IsFull(err error) bool { return isFull(err) }

// explain wraps err, saying in words what the usual causes mean. intact tells the reader
// what became of the old content, such as "the old file is intact".
func explain(op, path, intact string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	e := &Error{Op: op, Path: path, Reason: intact, Err: err}
	add := func(s string) {
		if e.Reason == "" {
			e.Reason = s
		} else {
			e.Reason = s + "; " + e.Reason
		}
	}
	switch {
	case isFull(err):
		add("the disk is full, or the quota is used up")
		e.Remedy = "free some space and run the command again"
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		add("it is a mount point of its own, and a mount point can't be replaced")
		e.Remedy = "mount the directory that holds it, not the single file"
	case isReadOnly(err):
		add("the file system is read-only")
		e.Remedy = "run the command where the directory is mounted writable"
	case errors.Is(err, fs.ErrPermission):
		add("not permitted")
		e.Remedy = "a file is replaced by a new one: that needs write permission on its directory; run the command as the owner"
	case errors.Is(err, syscall.ENAMETOOLONG):
		add("the name is too long for this file system")
	}
	return e
}
