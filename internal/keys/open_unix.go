//go:build unix

package keys

import "golang.org/x/sys/unix"

// nonblock keeps a named pipe in the file's place from holding the process up.
const nonblock = unix.O_NONBLOCK
