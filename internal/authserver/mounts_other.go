//go:build !linux

package authserver

// singleFileMounts finds none where single files can't be mounted.
func singleFileMounts([]string) []string { return nil }
