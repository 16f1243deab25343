//go:build unix

package authserver

import (
	"io/fs"
	"syscall"
)

// unlinked reports whether a file that was found under a name has none any more, which a
// mount of the single file makes possible.
func unlinked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
