//go:build e2e && !linux

package e2e

import "syscall"

func endWithParent() *syscall.SysProcAttr { return nil }
