//go:build unix

package audit

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockFile takes a kernel lock on the open file; with wait it waits for it. The lock goes
// with the process, so it is never stale.
func lockFile(f *os.File, wait bool) (bool, error) {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
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

func unlockFile(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// adopt gives a new file to the folder's owner where root has made it: the server that
// writes there next runs as that owner.
func adopt(f *os.File, dir string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(dir)
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
}

// inheritOwner gives a new folder to the owner of the one that it lies in, where root has
// made it.
func inheritOwner(dir, parent string) {
	if os.Geteuid() != 0 {
		return
	}
	if info, err := os.Stat(parent); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			_ = os.Chown(dir, int(st.Uid), int(st.Gid))
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.EINVAL) {
		err = nil // a file system that can't
	}
	return errors.Join(err, d.Close())
}
