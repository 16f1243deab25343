//go:build unix && !linux

package extprog

import "syscall"

// groupAttr makes the program the leader of a new group.
func groupAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitEnd says that this system can't await a process's end without reaping it: the
// group is killed a moment later, when its number is free only if nobody is left in it.
func awaitEnd(int) bool { return false }
