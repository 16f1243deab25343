package safefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// File is one file of a folder.
type File struct {
	Path string      // relative to the folder, with slashes, as fs.ValidPath wants it
	Mode fs.FileMode // exact permission bits, whatever the umask; 0 means 0600
	Data []byte
}

// defaultDirMode is the mode of folders that the caller says nothing about.
const defaultDirMode = fs.FileMode(0o755)

// WriteTree makes the folder dir with these files, whole or not at all.
//
// dirs gives folders (relative, with slashes) and their exact modes; "." is dir itself. Folders that
// files need and dirs does not name get 0755. Everything is built in a temporary folder beside dir,
// readable by its owner alone, synced, and renamed. On a failure, or when ctx is done before the
// rename, nothing is left, missing parents of dir that were made included; after a crash the next
// WriteTree to the same place removes what is left.
//
// dir may exist when it is empty: it is replaced in one step, its mode (unless dirs names ".") and
// owner kept. An empty folder that can't be replaced, because it is a mount point, its parent is not
// writable, or it is this process's working directory (whoever stands in it would be left in a
// removed one), is filled in place through the journal of [Begin]: a crash then leaves a part, which
// [Recover] or the next WriteTree finishes or removes. "lost+found", which a fresh file system has,
// does not count.
//
// A folder with anything in it is refused with a *NotEmptyError.
func WriteTree(ctx context.Context, dir string, files []File, dirs map[string]fs.FileMode) error {
	return FS{}.WriteTree(ctx, dir, files, dirs)
}

// WriteTree is the function of the same name.
func (f FS) WriteTree(ctx context.Context, dir string, files []File, dirs map[string]fs.FileMode) error {
	const op = "write folder"
	plan, err := planTree(files, dirs)
	if err != nil {
		return err
	}
	target, exists, err := f.emptyDir(ctx, dir)
	if err != nil {
		return explain(op, dir, "", err)
	}
	if exists && mustStay(target) {
		return f.fillTree(ctx, target, files, plan)
	}
	made, err := f.mkdirAll(filepath.Dir(target))
	if err == nil {
		err = f.buildTree(ctx, target, files, plan)
	}
	var cant *cannotReplace
	if errors.As(err, &cant) {
		if exists {
			return f.fillTree(ctx, target, files, plan)
		}
		err = cant.err
	}
	var applied *DurabilityError
	if err != nil && !errors.As(err, &applied) {
		for _, d := range slices.Backward(made) {
			_ = os.Remove(d)
		}
	}
	if err == nil {
		for _, d := range made {
			if syncErr := f.syncDir(filepath.Dir(d)); syncErr != nil {
				return &DurabilityError{Path: filepath.Dir(d), Err: syncErr}
			}
		}
	}
	return explain(op, dir, "nothing was written", err)
}

// cannotReplace marks an error that filling the folder in place may avoid.
type cannotReplace struct{ err error }

func (e *cannotReplace) Error() string { return e.err.Error() }
func (e *cannotReplace) Unwrap() error { return e.err }

// emptyDir finds where dir really is and that nothing is in it.
func (f FS) emptyDir(ctx context.Context, dir string) (target string, exists bool, err error) {
	target = filepath.Clean(dir)
	info, err := os.Lstat(target)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		to, err := filepath.EvalSymlinks(target)
		if err != nil {
			return "", false, &Error{
				Op: "follow link", Path: dir, Err: err, Reason: "the link leads nowhere",
				Remedy: "remove the link, or make the directory that it names",
			}
		}
		there, err := os.Stat(to)
		if err != nil {
			return "", false, err
		}
		if !trustedLink(info, there) {
			return "", false, &Error{
				Op: "follow link", Path: dir,
				Reason: fmt.Sprintf("it is a symbolic link of another user, and leads to %q, which is not that user's", to),
				Remedy: "give the real path, if that directory is meant",
			}
		}
		target, info = to, there
	}
	if errors.Is(err, fs.ErrNotExist) {
		return target, false, nil
	}
	if err != nil {
		return "", false, err
	}
	if !info.IsDir() {
		return "", false, &Error{Op: "write folder", Path: dir, Reason: "it is not a directory", Err: syscall.ENOTDIR}
	}
	// What an interrupted WriteTree has left in the folder does not count.
	if _, err := f.Recover(ctx, target, RecoverOptions{}); err != nil {
		return "", false, err
	}
	if checkEmpty(target, dir, "state") == nil {
		f.dropLeftState(ctx, target)
	}
	return target, true, checkEmpty(target, dir)
}

// checkEmpty refuses a folder that holds anything but an empty file system's own folder and the
// names given.
func checkEmpty(target, shown string, except ...string) error {
	entries, err := os.ReadDir(target)
	if err != nil {
		return err
	}
	const few = 3
	e := &NotEmptyError{Dir: shown}
	for _, entry := range entries {
		if entry.Name() == "lost+found" || slices.Contains(except, entry.Name()) {
			continue
		}
		if len(e.Entries) == few {
			e.More++
			continue
		}
		e.Entries = append(e.Entries, entry.Name())
	}
	if len(e.Entries) > 0 {
		return e
	}
	return nil
}

// mustStay reports whether an existing folder has to keep its identity.
func mustStay(dir string) bool {
	if isMountPoint(dir) {
		return true
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return true // lost+found
	}
	here, err := os.Stat(".")
	if err != nil {
		return false
	}
	there, err := os.Stat(dir)
	return err == nil && os.SameFile(here, there)
}

// treePlan is the checked list: every folder with its mode, parents first.
type treePlan struct {
	order []string
	modes map[string]fs.FileMode
	root  fs.FileMode // 0: not given
}

func planTree(files []File, dirs map[string]fs.FileMode) (treePlan, error) {
	var bad InputError
	p := treePlan{modes: map[string]fs.FileMode{}}
	isFile := map[string]bool{}
	addParents := func(name string) {
		for d := path.Dir(name); d != "."; d = path.Dir(d) {
			if _, ok := p.modes[d]; !ok {
				p.modes[d] = defaultDirMode
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		mode := dirs[name]
		if mode&^fs.ModePerm != 0 || mode == 0 {
			bad.Problems = append(bad.Problems, fmt.Sprintf("mode %v of folder %q is not a set of permission bits", mode, name))
		}
		if name == "." {
			p.root = mode
			continue
		}
		if msg := checkPath(name); msg != "" {
			bad.Problems = append(bad.Problems, msg)
			continue
		}
		p.modes[name] = mode
		addParents(name)
	}
	for _, file := range files {
		if file.Mode&^fs.ModePerm != 0 {
			bad.Problems = append(bad.Problems, fmt.Sprintf("mode %v of %q is not a set of permission bits", file.Mode, file.Path))
		}
		if msg := checkPath(file.Path); msg != "" {
			bad.Problems = append(bad.Problems, msg)
			continue
		}
		if isFile[file.Path] {
			bad.Problems = append(bad.Problems, fmt.Sprintf("%q is listed twice", file.Path))
		}
		isFile[file.Path] = true
		addParents(file.Path)
	}
	for _, d := range slices.Sorted(maps.Keys(p.modes)) {
		if isFile[d] {
			bad.Problems = append(bad.Problems, fmt.Sprintf("%q is both a file and a folder", d))
		}
		p.order = append(p.order, d) // sorted: a parent sorts before what is in it
	}
	if len(bad.Problems) > 0 {
		return treePlan{}, &bad
	}
	return p, nil
}

// checkPath says what is wrong with a relative path, or "".
func checkPath(name string) string {
	if !fs.ValidPath(name) || name == "." || !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\x00\\") {
		return fmt.Sprintf("%q is not a clean relative path with slashes", name)
	}
	return ""
}

// buildTree builds the folder beside target and renames it.
func (f FS) buildTree(ctx context.Context, target string, files []File, plan treePlan) (err error) {
	parent := filepath.Dir(target)
	lock, err := Acquire(ctx, target, LockOptions{})
	if err != nil {
		return replaceable(err)
	}
	defer lock.Release() //nolint:errcheck // a lock that can't be closed ends with the process
	f.removeStale(target)

	tmp := tempName(target)
	if err := f.mkdirPrivate(tmp); err != nil {
		return replaceable(err)
	}
	defer func() {
		if tmp != "" {
			_ = os.RemoveAll(tmp)
		}
	}()
	for _, d := range plan.order {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.mkdirPrivate(filepath.Join(tmp, filepath.FromSlash(d))); err != nil {
			return err
		}
	}
	for _, file := range files {
		name := filepath.Join(tmp, filepath.FromSlash(file.Path))
		if _, err := f.stage(ctx, name, name, snapshot{}, file.Data, file.Mode, 0); err != nil {
			return err
		}
	}
	for _, d := range slices.Backward(plan.order) {
		if err := f.finishDir(filepath.Join(tmp, filepath.FromSlash(d)), plan.modes[d]); err != nil {
			return err
		}
	}
	old, err := os.Lstat(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	root := plan.root
	if err == nil {
		if root == 0 {
			root = old.Mode().Perm()
		}
		if err := chownLike(tmp, old); err != nil {
			return &cannotReplace{err}
		}
	}
	if root == 0 {
		root = defaultDirMode
	}
	if err := f.finishDir(tmp, root); err != nil {
		return err
	}
	err = f.do(OpRename, target, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := checkEmpty(target, target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return rename(tmp, target)
	})
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		// Somebody was faster; say what is there.
		if full := checkEmpty(target, target); full != nil {
			return full
		}
	}
	if err != nil {
		return replaceable(err)
	}
	tmp = ""
	if err := f.syncDir(parent); err != nil {
		return &DurabilityError{Path: parent, Err: err}
	}
	return nil
}

// replaceable marks the errors that say "not by a rename, not here".
func replaceable(err error) error {
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) || isReadOnly(err) || errors.Is(err, fs.ErrPermission) {
		return &cannotReplace{err}
	}
	return err
}

// finishDir gives dir its mode and makes that and the names in it durable.
func (f FS) finishDir(dir string, mode fs.FileMode) error {
	if err := f.do(OpChmod, dir, func() error { return os.Chmod(dir, mode) }); err != nil {
		return err
	}
	return f.syncDir(dir)
}

// chownLike gives a directory the owner of another.
func chownLike(dir string, like fs.FileInfo) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if ownerOf(info) == ownerOf(like) {
		return nil
	}
	return os.Chown(dir, ownerOf(like).uid, ownerOf(like).gid)
}

// fillTree writes into an existing empty folder through a journal.
func (f FS) fillTree(ctx context.Context, dir string, files []File, plan treePlan) error {
	changes := make([]Change, len(files))
	for i, file := range files {
		changes[i] = Change{Path: file.Path, Mode: file.Mode, Data: file.Data, Expect: Absent}
	}
	j, err := f.Begin(ctx, dir, changes, JournalOptions{Dirs: plan.modes, fresh: true})
	if err != nil {
		return err
	}
	if err := j.Commit(ctx); err != nil {
		return err
	}
	if plan.root != 0 {
		return f.do(OpChmod, dir, func() error { return os.Chmod(dir, plan.root) })
	}
	return nil
}
