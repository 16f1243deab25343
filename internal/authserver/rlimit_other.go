//go:build !unix

package authserver

// maxConnections is how many connections the system leaves room for: here no limit on
// open files is known.
func maxConnections() int { return 1 << 20 }
