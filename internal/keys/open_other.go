//go:build !unix

package keys

const nonblock = 0
