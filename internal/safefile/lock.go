package safefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

const (
	noticeAfter = time.Second
	// defaultWait bounds the wait of functions that take no context.
	defaultWait = 30 * time.Second
	firstPause  = 2 * time.Millisecond
	longPause   = 50 * time.Millisecond
)

// LockOptions tells who is locking and who wants to hear about a wait.
type LockOptions struct {
	// Command is what others read while they wait, such as "regctl-setup user add".
	// It must hold nothing secret. Default: "regctl-setup".
	Command string
	// OnWait is called once, when the lock has been busy for NoticeAfter, with the
	// holder in words ("" when unknown).
	OnWait func(holder string)
	// NoticeAfter is how long a wait stays silent. Default: one second.
	NoticeAfter time.Duration
	// Now is the clock for the time that the lock file records. Default: time.Now.
	Now func() time.Time
}

// Lock is a kernel lock on the sidecar file of a path.
type Lock struct {
	file *os.File
	path string
}

// Acquire locks the sidecar file ".NAME.lock" beside path, which itself need not exist, and
// waits for it until ctx is done. Locks exclude each other between processes and between
// goroutines, on every path that names the same file only if callers resolve links first, as
// this package's own operations do. The error is a *LockedError when the wait ended.
func Acquire(ctx context.Context, path string, o LockOptions) (*Lock, error) {
	if o.NoticeAfter <= 0 {
		o.NoticeAfter = noticeAfter
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Command == "" {
		o.Command = "regctl-setup"
	}
	name := lockName(path)
	var (
		notice = time.NewTimer(o.NoticeAfter)
		told   = o.OnWait == nil
		holder string
		pause  = firstPause
	)
	defer notice.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, &LockedError{Path: path, Holder: holder, Err: err}
		}
		l, busy, err := tryAcquire(name, path, o)
		switch {
		case err != nil:
			return nil, explain("lock", path, "", err)
		case l != nil:
			return l, nil
		case busy == "" && holder != "":
			// The holder has just changed and has not written its name yet.
		default:
			holder = busy
		}
		// Random pauses keep a crowd of waiters from asking in step.
		timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // nothing to guess
		pause = min(2*pause, longPause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-notice.C:
			if !told {
				told = true
				o.OnWait(holder)
			}
		}
		timer.Stop()
	}
}

// lockName returns the sidecar's path.
func lockName(path string) string {
	dir, base := filepath.Split(filepath.Clean(path))
	return filepath.Join(dir, "."+shorten(base)+".lock")
}

// tryAcquire makes one attempt. Both results are zero when the lock file went away meanwhile
// or the holder is unknown.
func tryAcquire(name, path string, o LockOptions) (l *Lock, holder string, err error) {
	file, err := openLockFile(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			if _, statErr := os.Lstat(name); statErr == nil {
				return nil, "", &Error{
					Op: "lock", Path: path, Err: err,
					Reason: fmt.Sprintf("the lock file %q belongs to another user", name),
					Remedy: "run the command as the file's owner; remove the lock file when no such process is running",
				}
			}
		}
		return nil, "", err
	}
	ok, err := tryLock(file)
	if err != nil {
		_ = file.Close()
		return nil, "", fmt.Errorf("the file system does not support locks: %w", err)
	}
	if !ok {
		holder = readHolder(file)
		_ = file.Close()
		return nil, holder, nil
	}
	if !current(file, name) {
		_ = file.Close()
		return nil, "", nil
	}
	adoptOwner(file, path)
	writeHolder(file, o)
	return &Lock{file: file, path: name}, "", nil
}

// current reports whether name still leads to file. A holder removes the lock file when it lets go,
// so the one that was opened may be an orphan by now.
func current(file *os.File, name string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(name)
	return err == nil && os.SameFile(mine, there)
}

// Release gives the lock up. It is safe to call more than once.
func (l *Lock) Release() error {
	if l == nil || l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	// Still locked: nobody else can be its holder. Waiters that have it open notice that
	// the name leads elsewhere.
	if removeLocked {
		_ = os.Remove(l.path)
	} else {
		_ = file.Truncate(0)
	}
	return file.Close()
}

// writeHolder says in the lock file who holds it. It is information for people: errors don't matter.
func writeHolder(file *os.File, o LockOptions) {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	text := fmt.Sprintf("process %d on %s (%s), since %s\n",
		os.Getpid(), host, clean(o.Command), o.Now().UTC().Format(time.RFC3339))
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(text), 0)
}

func readHolder(file *os.File) string {
	buf := make([]byte, 512)
	n, err := file.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	return clean(string(line))
}

// clean keeps a text that another process wrote from drawing on the terminal.
func clean(s string) string {
	const limit = 400
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit])
	}
	return s
}
