// Package hardening keeps what a process holds in memory, passwords and signing keys among
// it, from being copied out by the system's means for finding faults.
//
//	if err := hardening.NoCoreDumps(); err != nil {
//		log.Warn("core dumps are not switched off", "error", err)
//	}
package hardening

// NoCoreDumps keeps the kernel from writing or handing over a core dump of this process, and
// other processes of the same user from reading its memory: on Linux the process is made not
// dumpable (PR_SET_DUMPABLE, prctl(2)), which pipes in core_pattern heed too; on every unix
// the limit on the size of a core is 0, which child processes inherit. Where the system has
// nothing of the kind it does nothing. It can't be undone.
func NoCoreDumps() error { return noCoreDumps() }
