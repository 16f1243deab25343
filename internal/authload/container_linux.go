package authload

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lostWithContainer reports whether dir lies in the writable layer of a container, which is
// gone when the container is made anew, and which nobody outside sees: it is on the same
// file system as "/". What marks a container are the files that Docker and Podman put there.
func lostWithContainer(dir string) bool {
	inContainer := false
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
			inContainer = true
		}
	}
	return inContainer && sameDevice(dir, "/")
}

func sameDevice(a, b string) bool {
	var sa, sb syscall.Stat_t
	return syscall.Stat(a, &sa) == nil && syscall.Stat(b, &sb) == nil && sa.Dev == sb.Dev
}
