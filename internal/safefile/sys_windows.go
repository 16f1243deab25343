package safefile

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// removeLocked: an open file can't be removed, so lock files stay.
const removeLocked = false

// lockOffset is far behind any content: locked bytes can't be read by others, and the
// holder's name must be.
const lockOffset = 1 << 30

func openLockFile(name string) (*os.File, error) {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: errors.New("lock file is not a plain file of its own")}
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

func tryLock(file *os.File) (bool, error) {
	at := &windows.Overlapped{Offset: lockOffset}
	err := windows.LockFileEx(windows.Handle(file.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	}
	return false, err
}

func adoptOwner(*os.File, string) {}

func owner(fs.FileInfo) (uid, gid int) { return -1, -1 }

func trustedLink(_, _ fs.FileInfo) bool { return true }

func keepOwner(*os.File, fs.FileInfo) error { return nil }

func chmod(*os.File, fs.FileMode) error { return nil }

// syncDir does nothing: Windows has no call for it, NTFS journals names.
func syncDir(string) error { return nil }

// rename replaces the target. Virus scanners and readers without the delete share mode keep a
// file busy for moments, so a refusal is tried again for a second. A directory in the way, which
// callers have seen to be empty, is removed first.
func rename(from, to string) error {
	if info, err := os.Lstat(to); err == nil && info.IsDir() {
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(time.Second)
	for {
		err := os.Rename(from, to)
		if err == nil || !(errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)) ||
			time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func openRead(path string) (*os.File, error) { return os.Open(path) }

func isMountPoint(string) bool { return false }

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func noHardLinks(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, windows.ERROR_NOT_SUPPORTED)
}
