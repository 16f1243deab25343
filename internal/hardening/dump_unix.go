//go:build unix && !linux

package hardening

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func noCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit cores to 0 bytes: %w", err)
	}
	return nil
}
