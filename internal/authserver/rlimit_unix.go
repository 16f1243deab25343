//go:build unix

package authserver

import "golang.org/x/sys/unix"

// maxConnections is how many connections the limit on open files leaves room for: a
// server that runs into it can accept nobody, and read no file.
func maxConnections() int {
	const reserve, unlimited = 64, 1 << 20
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return unlimited
	}
	files := uint64(r.Cur) //nolint:unconvert // signed on some systems
	if files > unlimited {
		return unlimited
	}
	return max(16, int(files)-reserve)
}
