//go:build linux || darwin

package doctor

import "syscall"

// diskSpace asks the file system what this user may still write in dir, and how large it is, in
// bytes (statfs(2)).
func diskSpace(dir string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	size := uint64(st.Bsize) // positive; its type differs between systems
	return st.Bavail * size, st.Blocks * size, nil
}
