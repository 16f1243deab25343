//go:build e2e

package e2e

import "syscall"

// endWithParent lets the kernel end a server whose test binary died without clean-up
// (a panic, a timeout, a kill).
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
