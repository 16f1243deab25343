//go:build !linux

package authload

// lostWithContainer reports whether dir goes with the container that this runs in: only
// Linux has such.
func lostWithContainer(string) bool { return false }
