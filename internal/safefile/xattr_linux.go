package safefile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const aclAttr = "system.posix_acl_access"

// keepAttrs gives file the access list and the SELinux label of old.
//
// The access list matters for secrecy, not only for convenience: where a file has one, the group
// bits of its mode are the list's mask, and the same mode without the list would let the owning
// group in. A list that file got from its directory's default is removed when old has none.
func keepAttrs(file, old *os.File) error {
	list, err := getxattr(old, aclAttr)
	switch {
	case err == nil:
		err = unix.Fsetxattr(int(file.Fd()), aclAttr, list, 0)
	case errors.Is(err, unix.ENODATA):
		err = unix.Fremovexattr(int(file.Fd()), aclAttr)
	}
	if err != nil && !noAttr(err) {
		return &os.PathError{Op: "copy access list", Path: old.Name(), Err: err}
	}
	if label, err := getxattr(old, "security.selinux"); err == nil {
		// Most callers may not set a label; the policy's default for the directory then stands.
		_ = unix.Fsetxattr(int(file.Fd()), "security.selinux", label, 0)
	}
	return nil
}

func getxattr(file *os.File, name string) ([]byte, error) {
	for size := 256; ; {
		buf := make([]byte, size)
		n, err := unix.Fgetxattr(int(file.Fd()), name, buf)
		if errors.Is(err, unix.ERANGE) && size < 64<<10 {
			size *= 4
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}

func noAttr(err error) bool {
	return errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS)
}
