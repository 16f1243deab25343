//go:build unix

package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// removeLocked: a lock file can be removed while it is held.
const removeLocked = true

// openLockFile opens or makes a lock file without following a link: its first bytes get written.
func openLockFile(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	if !info.Mode().IsRegular() || links(info) > 1 {
		_ = file.Close()
		return nil, &fs.PathError{Op: "lock", Path: name, Err: errors.New("lock file is not a plain file of its own")}
	}
	return file, nil
}

func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // its type differs between systems
	}
	return 1
}

func tryLock(file *os.File) (bool, error) {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, err
		}
	}
}

// adoptOwner lets whoever may write the guarded file use a lock file that root has left behind.
// Readers of the file get no access: an open lock file, even for reading, is enough to hold it.
func adoptOwner(lock *os.File, path string) {
	info, err := os.Stat(path)
	if err != nil {
		info, err = os.Stat(filepath.Dir(path))
		if err != nil {
			return
		}
	}
	mine, err := lock.Stat()
	if err != nil {
		return
	}
	uid, gid := owner(info)
	if u, g := owner(mine); u != uid || g != gid {
		if os.Geteuid() != 0 || lock.Chown(uid, gid) != nil {
			return
		}
	}
	mode := fs.FileMode(0o600)
	if info.Mode().IsRegular() && info.Mode().Perm()&0o020 != 0 {
		mode = 0o660
	}
	if mine.Mode().Perm() != mode {
		_ = lock.Chmod(mode)
	}
}

func owner(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}

// trustedLink reports whether the symbolic link is one that this process may follow to write:
// its own, root's, or one that belongs to the owner of what it leads to. Another user's link
// could lead a privileged process to any file.
func trustedLink(link, target fs.FileInfo) bool {
	uid, _ := owner(link)
	if uid == 0 || uid == os.Geteuid() {
		return true
	}
	if target == nil {
		return false
	}
	t, _ := owner(target)
	return uid == t
}

// keepOwner gives file the owner and group of old.
func keepOwner(file *os.File, old fs.FileInfo) error {
	mine, err := file.Stat()
	if err != nil {
		return err
	}
	uid, gid := owner(old)
	u, g := owner(mine)
	if uid == u && gid == g {
		return nil
	}
	if uid == u {
		uid = -1
	}
	return file.Chown(uid, gid)
}

func chmod(file *os.File, mode fs.FileMode) error { return file.Chmod(mode) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	// Some network and FUSE file systems can't sync a directory; they order names themselves.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// rename is rename(2). os.Rename refuses to put a directory in the place of an empty one.
func rename(from, to string) error {
	for {
		err := unix.Rename(from, to)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return nil
	}
}

// openRead opens a file for reading; a FIFO in its place does not block.
func openRead(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
}

// isMountPoint reports whether another file system begins at dir. A bind mount of the same file
// system is not seen here; the rename that it stops is handled where it fails.
func isMountPoint(dir string) bool {
	a, err1 := os.Stat(dir)
	b, err2 := os.Stat(filepath.Join(dir, ".."))
	if err1 != nil || err2 != nil {
		return false
	}
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && (x.Dev != y.Dev || x.Ino == y.Ino)
}

func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

// noHardLinks reports whether err means that the file system has no hard links.
func noHardLinks(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) ||
		errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EACCES)
}
