// Package safefile writes files so that a crash, a full disk or a second process
// can't damage them.
//
// The contract, for every function that changes a file:
//
//   - The file is always the old one or the new one, whole. New contents go into a
//     temporary file in the same directory (mode 0600, created exclusively), which is
//     synced, given the old file's owner, mode and access list, and renamed over the
//     old one; then the directory is synced. Nothing is ever truncated and written again.
//   - Whoever changes a file holds a kernel lock on a sidecar file beside it
//     (".NAME.lock") meanwhile. The lock is never stale: it goes with its process.
//     A waiter learns who holds it. The data file itself can't carry the lock, because
//     a rename replaces it.
//   - Programs that don't know the lock (a person's editor) are noticed: [Transform]
//     compares the content just before the rename with what it has read, and starts
//     again when it differs.
//   - Symbolic links are followed once and their target is replaced; the link stays.
//   - Temporary files of processes that died (".NAME.regctl-setup-*.tmp") are removed by
//     the next change of the same file.
//
// The rename is a plain one. Exchanging the two names (RENAME_EXCHANGE) would let a lost
// race with an editor be seen afterwards, but programs that watch the file by its inode
// (docker_auth does) take the exchange for "moved away" and stop looking.
//
// Three sizes of change:
//
//   - one file: [CreateExclusive], [Replace], [Transform];
//   - a new folder, whole or absent: [WriteTree];
//   - several files of an existing folder, through a journal that finishes or rolls
//     back after a crash: [Begin], [Journal.Commit], [Recover].
//
// An example, which adds a line to a file however many processes do the same:
//
//	changed, err := safefile.Transform(ctx, "names", func(old []byte) ([]byte, error) {
//		return append(bytes.Clone(old), "carol\n"...), nil
//	}, safefile.TransformOptions{Command: "names add"})
//
// Errors that a person can do something about are of type [*Error] and carry a hint.
// [*DurabilityError] means: applied, but a power cut may undo it.
//
// On Windows modes and owners are left to the system, directories can't be synced,
// and lock files stay where they are; the rest holds.
package safefile
