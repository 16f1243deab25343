package hardening

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func noCoreDumps() error {
	var errs []error
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("limit cores to 0 bytes: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("make the process not dumpable: %w", err))
	}
	return errors.Join(errs...)
}
