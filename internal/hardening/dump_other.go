//go:build !unix

package hardening

func noCoreDumps() error { return nil }
