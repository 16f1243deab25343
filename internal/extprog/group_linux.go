package extprog

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// groupAttr makes the program the leader of a new group, and lets it die with the server.
func groupAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitEnd returns when the process has ended, and leaves it to be waited for. False says
// that the system can't do that.
func awaitEnd(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}
