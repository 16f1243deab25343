//go:build !unix

package authserver

import "io/fs"

// unlinked reports whether a file that was found under a name has none any more: where
// single files can't be mounted it always has one.
func unlinked(fs.FileInfo) bool { return false }
