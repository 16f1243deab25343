package safefile

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	// maxLinks bounds a chain of symbolic links.
	maxLinks = 40
	// maxRounds bounds how often Transform starts again because of another program's writes.
	maxRounds = 100
	intact    = "the old file is intact"
)

// Options of [Replace].
type Options struct {
	// Mode is the exact mode (whatever the umask) of a file that does not exist yet.
	// Zero means 0600. An existing file keeps its own mode and owner.
	Mode fs.FileMode
	// Max, when not zero, takes permission bits away from an existing file's mode: with 0600
	// a file that was 0644 ends as 0600, one that was 0400 stays so. For secrets.
	Max fs.FileMode
	// Lock tells others who is writing; see LockOptions.
	Lock LockOptions
}

// TransformOptions of [Transform].
type TransformOptions struct {
	// Create lets the file be absent: the function then gets nil, and the file is created
	// with Mode. Without it an absent file is an error.
	Create bool
	// Mode and Max are as in Options.
	Mode, Max fs.FileMode
	// MaxSize refuses a file that is longer, in bytes; zero is no limit.
	MaxSize int64
	// Command and OnWait are as in LockOptions.
	Command string
	OnWait  func(holder string)
	// Lock holds the rarer settings of the lock; Command and OnWait above win.
	Lock LockOptions
}

// CreateExclusive writes a new file with exactly that mode, whatever the umask, and fails with an
// error that is fs.ErrExist when there is anything at path, a dangling symbolic link included.
// The file appears under its name only when it is complete and synced; it is never visible with a
// looser mode. A failure leaves nothing behind.
func CreateExclusive(path string, data []byte, mode fs.FileMode) error {
	return FS{}.CreateExclusive(path, data, mode)
}

// CreateExclusive is the function of the same name.
func (f FS) CreateExclusive(path string, data []byte, mode fs.FileMode) error {
	ctx, cancel := context.WithTimeout(context.Background(), defaultWait)
	defer cancel()
	const op = "create"
	if _, err := os.Lstat(path); err == nil {
		return &Error{Op: op, Path: path, Err: fs.ErrExist}
	}
	lock, err := Acquire(ctx, path, LockOptions{})
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // a lock that can't be closed ends with the process
	f.removeStale(path)
	if err := f.put(ctx, path, snapshot{}, data, mode, 0); err != nil {
		if errors.Is(err, errMoved) {
			err = &Error{Op: op, Path: path, Err: fs.ErrExist}
		}
		return explain(op, path, "", err)
	}
	return nil
}

// Replace writes data to path, whatever was there: a new file of the given mode, or the old one's
// content changed with mode and owner kept. Symbolic links are followed, their target is replaced.
// It waits up to 30 seconds for the file's lock.
func Replace(path string, data []byte, o Options) error { return FS{}.Replace(path, data, o) }

// Replace is the function of the same name.
func (f FS) Replace(path string, data []byte, o Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), defaultWait)
	defer cancel()
	const op = "replace"
	target, lock, err := lockTarget(ctx, path, o.Lock)
	if err != nil {
		return explain(op, path, intact, err)
	}
	defer lock.Release() //nolint:errcheck // a lock that can't be closed ends with the process
	f.removeStale(target)
	for range maxRounds {
		var old snapshot
		old, err = f.stat(target)
		if err != nil {
			break
		}
		err = f.put(ctx, target, old, data, o.Mode, o.Max)
		old.close()
		if !errors.Is(err, errMoved) {
			break
		}
	}
	return explain(op, path, intact, err)
}

// Transform changes the file at path by a function from the old content to the new, under the
// file's lock. It reports whether the file was written: equal contents are not.
//
// The function may be called several times, when a program that does not take the lock changes the
// file meanwhile; it must not keep or change its argument. Its error ends the operation and comes
// back as it is; the file is then untouched. ctx bounds the wait for the lock and is looked at until
// just before the rename.
//
// When changed is true and the error is a *DurabilityError, the new content is in place.
func Transform(ctx context.Context, path string, change func(old []byte) ([]byte, error), o TransformOptions) (changed bool, err error) {
	return FS{}.Transform(ctx, path, change, o)
}

// Transform is the function of the same name.
func (f FS) Transform(ctx context.Context, path string, change func(old []byte) ([]byte, error), o TransformOptions) (changed bool, err error) {
	const op = "change"
	lo := o.Lock
	if o.Command != "" {
		lo.Command = o.Command
	}
	if o.OnWait != nil {
		lo.OnWait = o.OnWait
	}
	target, lock, err := lockTarget(ctx, path, lo)
	if err != nil {
		return false, explain(op, path, intact, err)
	}
	defer lock.Release() //nolint:errcheck // a lock that can't be closed ends with the process
	f.removeStale(target)
	for range maxRounds {
		if err := ctx.Err(); err != nil {
			return false, explain(op, path, intact, err)
		}
		changed, again, err := f.transformOnce(ctx, path, target, change, o)
		if !again {
			return changed, err
		}
	}
	return false, &Error{
		Op: op, Path: path, Err: ErrChanged, Reason: intact,
		Remedy: "another program writes the file all the time; stop it and run the command again",
	}
}

func (f FS) transformOnce(ctx context.Context, path, target string, change func([]byte) ([]byte, error), o TransformOptions) (changed, again bool, err error) {
	const op = "change"
	old, data, err := f.read(target, o.MaxSize)
	if err != nil {
		return false, false, explain(op, path, intact, err)
	}
	defer old.close()
	if !old.exists && !o.Create {
		return false, false, &Error{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	next, err := change(data)
	if err != nil {
		return false, false, err
	}
	if sha256.Sum256(data) != old.sum {
		return false, false, &Error{Op: op, Path: path, Reason: "the function changed its argument; " + intact}
	}
	if old.exists && bytes.Equal(data, next) {
		return false, false, nil
	}
	err = f.put(ctx, target, old, next, o.Mode, o.Max)
	var applied *DurabilityError
	switch {
	case errors.Is(err, errMoved):
		return false, true, nil
	case errors.As(err, &applied):
		return true, false, err
	case err != nil:
		return false, false, explain(op, path, intact, err)
	}
	return true, false, nil
}

// lockTarget follows the links of path and locks what they lead to.
func lockTarget(ctx context.Context, path string, o LockOptions) (target string, lock *Lock, err error) {
	for {
		target, err = resolve(path)
		if err != nil {
			return "", nil, err
		}
		lock, err = Acquire(ctx, target, o)
		if err != nil {
			return "", nil, err
		}
		// A link may have been turned elsewhere during the wait.
		again, err := resolve(path)
		if err == nil && again == target {
			return target, lock, nil
		}
		_ = lock.Release()
		if err != nil {
			return "", nil, err
		}
	}
}

// resolve returns the file that a write to path must replace: path itself, or where its symbolic
// links lead. The file may be absent, but no link may dangle: a link that somebody left behind
// must not decide where a new file goes.
func resolve(path string) (string, error) {
	p := filepath.Clean(path)
	var followed []fs.FileInfo
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(p))
		if err != nil {
			return "", err
		}
		p = filepath.Join(dir, filepath.Base(p))
		info, err := os.Lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if len(followed) > 0 {
				return "", &Error{
					Op: "follow link", Path: path, Err: fs.ErrNotExist,
					Reason: fmt.Sprintf("it leads to %q, which is not there", p),
					Remedy: "remove the dangling link, or make the file that it names",
				}
			}
			return p, nil
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink != 0:
			followed = append(followed, info)
			to, err := os.Readlink(p)
			if err != nil {
				return "", err
			}
			if filepath.IsAbs(to) {
				p = filepath.Clean(to)
			} else {
				p = filepath.Join(dir, to)
			}
			continue
		case !info.Mode().IsRegular():
			return "", &Error{
				Op: "replace", Path: path,
				Reason: fmt.Sprintf("it is %s, not a regular file", kind(info.Mode())),
			}
		}
		for _, link := range followed {
			if !trustedLink(link, info) {
				return "", &Error{
					Op: "follow link", Path: path,
					Reason: fmt.Sprintf("it is a symbolic link of another user, and leads to %q, which is not that user's", p),
					Remedy: "give the real path, if that file is meant",
				}
			}
		}
		return p, nil
	}
	return "", &Error{Op: "follow link", Path: path, Reason: fmt.Sprintf("more than %d symbolic links; is it a loop?", maxLinks)}
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

// errMoved tells that the file is no longer what the snapshot says.
var errMoved = errors.New("file changed meanwhile")

// snapshot is what was at a path: nothing, or one file, kept open so that its inode number can't
// be used again for another one.
type snapshot struct {
	exists bool
	file   *os.File
	info   fs.FileInfo
	hashed bool              // sum was taken
	sum    [sha256.Size]byte // of the content; of "" when the file does not exist
}

func (s snapshot) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// stat takes a snapshot without the content, of a file that will be overwritten whatever it holds.
func (f FS) stat(path string) (s snapshot, err error) {
	s.sum = sha256.Sum256(nil)
	err = f.do(OpRead, path, func() error {
		file, err := openRead(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		s.exists, s.file = true, file
		s.info, err = file.Stat()
		if err == nil && !s.info.Mode().IsRegular() {
			err = &Error{Op: "read", Path: path, Reason: "it is " + kind(s.info.Mode()) + ", not a regular file"}
		}
		return err
	})
	if err != nil {
		s.close()
		return snapshot{}, err
	}
	return s, nil
}

// read takes a snapshot with the content. An error is never an empty file.
func (f FS) read(path string, limit int64) (snapshot, []byte, error) {
	s, err := f.stat(path)
	if err != nil || !s.exists {
		return s, nil, err
	}
	tooLong := &Error{Op: "read", Path: path, Reason: fmt.Sprintf("it is longer than %d bytes", limit)}
	if limit > 0 && s.info.Size() > limit {
		s.close()
		return snapshot{}, nil, tooLong
	}
	data := make([]byte, 0, s.info.Size()+bytes.MinRead)
	buf := bytes.NewBuffer(data)
	src := io.Reader(s.file)
	if limit > 0 {
		src = io.LimitReader(src, limit+1)
	}
	if _, err := buf.ReadFrom(src); err != nil {
		s.close()
		return snapshot{}, nil, err
	}
	if limit > 0 && int64(buf.Len()) > limit {
		s.close()
		return snapshot{}, nil, tooLong
	}
	s.sum, s.hashed = sha256.Sum256(buf.Bytes()), true
	return s, buf.Bytes(), nil
}

// unchanged returns errMoved when path no longer holds what the snapshot says.
func (s snapshot) unchanged(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if s.exists {
			return errMoved
		}
		return nil
	case err != nil:
		return err
	case !s.exists:
		return errMoved
	case !info.Mode().IsRegular():
		return errMoved
	case !s.hashed:
		if !os.SameFile(info, s.info) {
			return errMoved
		}
		return nil
	}
	sum, err := sumFile(path)
	if err != nil {
		return err
	}
	if sum != s.sum {
		return errMoved
	}
	// A file with other access rights, even of the same content, is somebody's change too.
	after, err := os.Lstat(path)
	if err != nil || !os.SameFile(after, info) || !sameRights(after, s.info) {
		return errMoved
	}
	return nil
}

func sameRights(a, b fs.FileInfo) bool {
	if a.Mode() != b.Mode() {
		return false
	}
	if runtime.GOOS == "windows" {
		return true
	}
	return ownerOf(a) == ownerOf(b)
}

func sumFile(path string) (sum [sha256.Size]byte, err error) {
	file, err := openRead(path)
	if err != nil {
		return sum, err
	}
	defer file.Close() //nolint:errcheck // only read
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// put writes data to a temporary file and puts that in the place of old, which must still be at
// target then: otherwise the error is errMoved. The caller holds the lock.
func (f FS) put(ctx context.Context, target string, old snapshot, data []byte, mode, limit fs.FileMode) (err error) {
	tmp, err := f.stage(ctx, target, tempName(target), old, data, mode, limit)
	if err != nil {
		return err
	}
	defer func() {
		if tmp != "" {
			_ = os.Remove(tmp)
		}
	}()
	op := OpRename
	if !old.exists {
		op = OpLink
	}
	err = f.do(op, target, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := old.unchanged(target); err != nil {
			return err
		}
		if old.exists {
			return rename(tmp, target)
		}
		return moveNew(tmp, target)
	})
	if err != nil {
		return err
	}
	if !old.exists {
		_ = f.remove(tmp) // the second name of the new file, where there is one
	}
	tmp = ""
	dir := filepath.Dir(target)
	if err := f.syncDir(dir); err != nil {
		return &DurabilityError{Path: dir, Err: err}
	}
	return nil
}

// moveNew gives tmp the name target, which must be free.
func moveNew(tmp, target string) error {
	err := os.Link(tmp, target)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return errMoved
	case noHardLinks(err):
		// The name was free a moment ago and the lock is held.
		return rename(tmp, target)
	}
	return err
}

// stage writes data to a new file at tmp, with the rights that the file at target is to have, and
// syncs it. On an error tmp is gone.
func (f FS) stage(ctx context.Context, target, tmp string, old snapshot, data []byte, mode, limit fs.FileMode) (_ string, err error) {
	var file *os.File
	err = f.do(OpCreate, tmp, func() error {
		var err error
		file, err = os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(tmp)
		}
	}()
	if err = f.write(ctx, file, data); err != nil {
		return "", err
	}
	if mode == 0 {
		mode = 0o600
	}
	if old.exists {
		mode = old.info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
		err = f.do(OpChown, tmp, func() error { return keepOwner(file, old.info) })
		if err != nil {
			uid, gid := ownerOf(old.info).uid, ownerOf(old.info).gid
			return "", &Error{
				Op: "keep owner", Path: target, Err: err,
				Reason: fmt.Sprintf("the file belongs to uid %d, gid %d, and only root or that user can make another such file; %s", uid, gid, intact),
				Remedy: "run the command as that user",
			}
		}
		if err = keepAttrs(file, old.file); err != nil {
			return "", err
		}
	}
	if limit != 0 {
		mode &= limit
	}
	if err = f.do(OpChmod, tmp, func() error { return chmod(file, mode) }); err != nil {
		return "", err
	}
	if err = f.sync(file); err != nil {
		return "", err
	}
	if err = file.Close(); err != nil {
		return "", err
	}
	return tmp, nil
}

type ids struct{ uid, gid int }

func ownerOf(info fs.FileInfo) ids {
	uid, gid := owner(info)
	return ids{uid, gid}
}

const (
	tempMark = ".regctl-setup-"
	tempEnd  = ".tmp"
)

// tempName returns a new name beside target. The name starts with a dot and names its target, so
// that a person who finds it knows what it is.
func tempName(target string) string {
	dir, base := filepath.Split(target)
	return filepath.Join(dir, "."+shorten(base)+tempMark+randomID()+tempEnd)
}

// shorten keeps names made from base within what file systems take.
func shorten(base string) string {
	const limit = 200
	if len(base) <= limit {
		return base
	}
	sum := sha256.Sum256([]byte(base))
	return base[:limit-16] + hex.EncodeToString(sum[:8])
}

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// removeStale removes the temporary files, or directories, that earlier processes left for target.
// The caller holds target's lock, so none of them is in use. Errors don't matter here: a temporary
// file that stays is seen again by the next change.
func (f FS) removeStale(target string) {
	for _, p := range Leftovers(target) {
		_ = f.do(OpRemove, p, func() error { return os.RemoveAll(p) })
	}
}

// Leftovers returns the temporary files and directories beside target that a process which
// writes there has, or has left when it was killed. The next write to target removes those
// that are left.
func Leftovers(target string) []string {
	dir, base := filepath.Split(target)
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	prefix := "." + shorten(base) + tempMark
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok {
			continue
		}
		id, ok = strings.CutSuffix(id, tempEnd)
		if !ok || len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
			continue
		}
		out = append(out, filepath.Join(dir, e.Name()))
	}
	return out
}
