package safefile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Absent is the sum of a file that does not exist.
const Absent = "absent"

// Sum returns what Change.Expect compares: the SHA-256 of the content, in hex.
func Sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// Change is the new content of one file, or its removal.
type Change struct {
	Path string // relative to the folder, with slashes
	// Mode is the exact mode of a file that does not exist yet; 0 means 0600. An existing
	// file keeps its mode and owner, less what Max (when not zero) takes away.
	Mode, Max fs.FileMode
	Data      []byte
	Remove    bool
	// Expect is the Sum of the content that the change was made from, or Absent. With it,
	// Begin fails when the file holds something else. "" takes the file as it is.
	Expect string
}

// JournalOptions of [Begin].
type JournalOptions struct {
	// Dirs gives folders that must exist, with their exact modes when they are new. Folders
	// that new files need and Dirs does not name get 0755.
	Dirs map[string]fs.FileMode
	// State is the folder that keeps the record, relative to the deployment, with slashes.
	// Recover must be given the same. Default: "state/journal".
	State string
	// Lock tells others who is writing; its Command and Now go into the record.
	Lock LockOptions

	// fresh: the folder is empty and the journal's own lock is enough.
	fresh bool
}

// RecoverOptions of [Recover].
type RecoverOptions struct {
	State string // as in JournalOptions
	Lock  LockOptions
}

const defaultState = "state/journal"

// The record's file name is the journal's state: it is renamed from one to the next.
const (
	stateBegin  = "begin.json"  // staging: no file is changed; a crash rolls back
	stateCommit = "commit.json" // everything is staged; a crash goes forward
	stateUndo   = "undo.json"   // a rename was refused; a crash goes on putting back
)

type record struct {
	Version int            `json:"version"`
	ID      string         `json:"id"`
	Command string         `json:"command,omitempty"`
	Started time.Time      `json:"started"`
	Changes []recordChange `json:"changes"`
	Dirs    []string       `json:"dirs,omitempty"`   // made for the change, parents first
	States  []string       `json:"states,omitempty"` // made for the journal, parents first
}

type recordChange struct {
	Path   string `json:"path"`
	Target string `json:"target,omitempty"` // absolute, where Path is a symbolic link
	Old    string `json:"old"`              // Sum or Absent
	New    string `json:"new"`
}

// Journal is a change of several files that has been staged and waits for Commit or Rollback.
// It holds the locks of its files. It is for one goroutine.
type Journal struct {
	fs    FS
	dir   string
	state string // the folder of the record
	rec   record
	snaps []snapshot
	locks []*Lock // the journal's own first
	fresh bool
	done  bool
}

// Begin stages changes to several files of the folder dir: it locks them, writes the new contents
// beside the old ones and a record into the state folder, and syncs both. Until Commit no file of
// the folder differs. Changes that change nothing are left out.
//
// On an error everything is as it was. The caller must end the journal with Commit or Rollback.
// A journal that a crash has left behind makes Begin fail with ErrPending.
func Begin(ctx context.Context, dir string, changes []Change, o JournalOptions) (*Journal, error) {
	return FS{}.Begin(ctx, dir, changes, o)
}

// Begin is the function of the same name.
func (f FS) Begin(ctx context.Context, dir string, changes []Change, o JournalOptions) (_ *Journal, err error) {
	const op = "stage changes in"
	plan, err := planTree(asFiles(changes), o.Dirs)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if msg := checkPath(c.Path); msg != "" {
			return nil, &InputError{Problems: []string{msg}}
		}
	}
	state, err := stateDir(dir, o.State)
	if err != nil {
		return nil, err
	}
	now := o.Lock.Now
	if now == nil {
		now = time.Now
	}
	j := &Journal{fs: f, dir: dir, state: state, fresh: o.fresh}
	j.rec = record{Version: 1, ID: randomID(), Command: clean(o.Lock.Command), Started: now().UTC()}
	defer func() {
		if err != nil {
			if undoErr := j.Rollback(); undoErr != nil {
				err = errors.Join(err, undoErr)
			}
			err = explain(op, dir, "nothing was changed", err)
		}
	}()
	if err = j.lockState(ctx, o.Lock); err != nil {
		return nil, err
	}
	found, err := findRecord(state)
	if err != nil {
		return nil, err
	}
	if found != "" {
		j.rec.States = nil // not ours to remove
		j.done = true
		j.release()
		return nil, &Error{Op: op, Path: dir, Err: ErrPending, Remedy: "finish or roll back the interrupted change first"}
	}

	todo, err := j.snapshot(ctx, changes, o.Lock)
	if err != nil {
		return nil, err
	}
	for _, d := range plan.order {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(d)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || slices.Contains(j.rec.States, d) {
			j.rec.Dirs = append(j.rec.Dirs, d)
		}
	}
	data, err := json.MarshalIndent(j.rec, "", "  ")
	if err != nil {
		return nil, err
	}
	// From here on a crash leaves a record that names everything that may lie around.
	err = f.put(ctx, filepath.Join(state, stateBegin), snapshot{}, data, 0o600, 0)
	if unsure := (*DurabilityError)(nil); errors.As(err, &unsure) {
		err = unsure.Err // nothing is applied that could be durable or not
	}
	if err != nil {
		return nil, err
	}
	touched := map[string]bool{}
	for _, d := range j.rec.Dirs {
		p := filepath.Join(dir, filepath.FromSlash(d))
		touched[filepath.Dir(p)] = true
		if slices.Contains(j.rec.States, d) {
			continue
		}
		if err = f.mkdirPrivate(p); err != nil {
			return nil, err
		}
	}
	for i, c := range todo {
		target := j.target(i)
		if !c.Remove {
			if _, err = f.stage(ctx, target, j.staged(i), j.snaps[i], c.Data, c.Mode, c.Max); err != nil {
				return nil, err
			}
			touched[filepath.Dir(target)] = true
		}
	}
	for _, d := range slices.Backward(j.rec.Dirs) {
		p := filepath.Join(dir, filepath.FromSlash(d))
		if err = f.finishDir(p, plan.modes[d]); err != nil {
			return nil, err
		}
		delete(touched, p)
	}
	for _, d := range slices.Sorted(maps.Keys(touched)) {
		if err = f.syncDir(d); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func asFiles(changes []Change) []File {
	var files []File
	for _, c := range changes {
		if !c.Remove {
			files = append(files, File{Path: c.Path, Mode: c.Mode})
		}
	}
	return files
}

func stateDir(dir, state string) (string, error) {
	if state == "" {
		state = defaultState
	}
	if msg := checkPath(state); msg != "" {
		return "", &InputError{Problems: []string{"state folder " + msg}}
	}
	return filepath.Join(dir, filepath.FromSlash(state)), nil
}

// lockState makes the folder of the record and takes the journal's lock, which lies beside it.
func (j *Journal) lockState(ctx context.Context, lo LockOptions) error {
	if info, err := os.Stat(j.dir); err != nil {
		return err
	} else if !info.IsDir() {
		return &Error{Op: "open", Path: j.dir, Reason: "it is not a directory"}
	}
	for {
		if err := j.makeState(); err != nil {
			return err
		}
		lock, err := Acquire(ctx, j.state, lo)
		if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			continue // whoever had made the folder has just removed it
		}
		if err != nil {
			return err
		}
		j.locks = append(j.locks, lock)
		err = j.makeState() // the innermost folder may have gone in the same way
		return err
	}
}

// makeState makes the folder of the record, 0700, and notes what was missing.
func (j *Journal) makeState() error {
	rel, err := filepath.Rel(j.dir, j.state)
	if err != nil {
		return err
	}
	p, name := j.dir, ""
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		p, name = filepath.Join(p, part), path.Join(name, part)
		err := j.fs.mkdirPrivate(p)
		switch {
		case err == nil:
			if !slices.Contains(j.rec.States, name) {
				j.rec.States = append(j.rec.States, name)
			}
			if err := j.fs.syncDir(filepath.Dir(p)); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	return nil
}

// findRecord returns the name of the record in state, or "".
func findRecord(state string) (string, error) {
	for _, name := range []string{stateUndo, stateCommit, stateBegin} {
		_, err := os.Lstat(filepath.Join(state, name))
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// snapshot locks the files, notes what they hold, and returns the changes that change something,
// in the order of the record.
func (j *Journal) snapshot(ctx context.Context, changes []Change, lo LockOptions) ([]Change, error) {
	type item struct {
		Change
		target string
		link   bool
	}
	items := make([]item, 0, len(changes))
	seen := map[string]string{}
	for _, c := range changes {
		p := filepath.Join(j.dir, filepath.FromSlash(c.Path))
		it := item{Change: c, target: p}
		info, err := os.Lstat(p)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			to, err := resolve(p)
			if err != nil {
				return nil, err
			}
			if it.target, err = filepath.Abs(to); err != nil {
				return nil, err
			}
			it.link = true
		} else if err == nil && !info.Mode().IsRegular() {
			return nil, &Error{Op: "replace", Path: p, Reason: "it is " + kind(info.Mode()) + ", not a regular file"}
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if other, ok := seen[it.target]; ok {
			return nil, &InputError{Problems: []string{fmt.Sprintf("%q and %q are the same file", other, c.Path)}}
		}
		seen[it.target] = c.Path
		items = append(items, it)
	}
	// One order for all journals: they can't wait for each other in a circle.
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.target, b.target) })
	var todo []Change
	for _, it := range items {
		locked := false
		if _, err := os.Stat(filepath.Dir(it.target)); err == nil && !j.fresh {
			locked = true
			lock, err := Acquire(ctx, it.target, lo)
			if err != nil {
				return nil, err
			}
			j.locks = append(j.locks, lock)
			j.fs.removeStale(it.target)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		snap, _, err := j.fs.read(it.target, 0)
		if err != nil {
			return nil, err
		}
		rc := recordChange{Path: it.Path, Old: Absent, New: Absent}
		if snap.exists {
			rc.Old = hex.EncodeToString(snap.sum[:])
		}
		if !it.Remove {
			rc.New = Sum(it.Data)
		}
		if it.link {
			rc.Target = it.target
		}
		if it.Expect != "" && it.Expect != rc.Old {
			snap.close()
			return nil, &Error{
				Op: "replace", Path: it.target, Err: ErrChanged, Reason: "it is not what the change was made from",
				Remedy: "look at the file, and run the command again",
			}
		}
		if rc.Old == rc.New && !tighter(snap, it.Max) {
			snap.close()
			if last := len(j.locks) - 1; locked {
				_ = j.locks[last].Release()
				j.locks = j.locks[:last]
			}
			continue
		}
		j.rec.Changes = append(j.rec.Changes, rc)
		j.snaps = append(j.snaps, snap)
		todo = append(todo, it.Change)
	}
	return todo, nil
}

// tighter reports whether limit takes something from the file's mode.
func tighter(s snapshot, limit fs.FileMode) bool {
	return s.exists && limit != 0 && s.info.Mode().Perm()&^limit != 0
}

func (j *Journal) target(i int) string { return j.rec.target(j.dir, i) }
func (j *Journal) staged(i int) string { return j.rec.beside(j.dir, i, ".new") }

func (r *record) target(dir string, i int) string {
	if t := r.Changes[i].Target; t != "" {
		return t
	}
	return filepath.Join(dir, filepath.FromSlash(r.Changes[i].Path))
}

// beside names the staged content and the kept old content. The names differ from those of
// temporary files, which the next change of the file removes.
func (r *record) beside(dir string, i int, end string) string {
	d, base := filepath.Split(r.target(dir, i))
	return filepath.Join(d, "."+shorten(base)+tempMark+r.ID+end)
}

// Files returns the paths that Commit will change, relative and with slashes.
func (j *Journal) Files() []string { return j.rec.paths() }

func (r *record) paths() []string {
	paths := make([]string, len(r.Changes))
	for i, c := range r.Changes {
		paths[i] = c.Path
	}
	slices.Sort(paths)
	return paths
}

// Rollback removes everything that Begin has made. It does nothing after Commit or Rollback.
func (j *Journal) Rollback() error {
	if j.done {
		return nil
	}
	j.done = true
	var err error
	if len(j.locks) > 0 { // else the record, if there is one, is another process's
		err = j.fs.rollback(j.dir, j.state, &j.rec, stateBegin)
	}
	j.release()
	j.fs.dropStates(j.dir, &j.rec, true)
	return err
}

func (j *Journal) release() {
	for _, s := range j.snaps {
		s.close()
	}
	for _, l := range slices.Backward(j.locks) {
		_ = l.Release()
	}
	j.locks, j.snaps = nil, nil
}

// Commit puts all new contents in place. When it fails with anything but a *DurabilityError, every
// file is the old one, unless the error says that the journal is left for Recover to finish.
// ctx is looked at only before the point from which a crash goes forward.
func (j *Journal) Commit(ctx context.Context) (err error) {
	const op = "change files in"
	if j.done {
		return &Error{Op: op, Path: j.dir, Reason: "the journal has ended already"}
	}
	if err = ctx.Err(); err == nil {
		err = j.verify()
	}
	if err == nil {
		err = j.fs.advance(j.state, stateBegin, stateCommit)
	}
	if err != nil {
		if undoErr := j.Rollback(); undoErr != nil {
			err = errors.Join(err, undoErr)
		}
		return explain(op, j.dir, "nothing was changed", err)
	}
	j.done = true
	_, undone, err := j.fs.forward(j.dir, j.state, &j.rec)
	j.release()
	j.fs.dropStates(j.dir, &j.rec, undone)
	return err
}

// verify makes sure that the files are still what Begin has seen.
func (j *Journal) verify() error {
	for i, s := range j.snaps {
		err := s.unchanged(j.target(i))
		if errors.Is(err, errMoved) {
			return &Error{
				Op: "replace", Path: j.target(i), Err: ErrChanged,
				Remedy: "look at the file, and run the command again",
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// advance renames the record, durably.
func (f FS) advance(state, from, to string) error {
	if err := f.rename(filepath.Join(state, from), filepath.Join(state, to)); err != nil {
		return err
	}
	if err := f.syncDir(state); err != nil {
		// Not known to be durable, and nothing has been done on the strength of it.
		if backErr := os.Rename(filepath.Join(state, to), filepath.Join(state, from)); backErr != nil {
			return errors.Join(err, backErr)
		}
		return err
	}
	return nil
}

// forward puts the staged contents in place. It can be repeated from any point. When a step is
// refused it puts the old contents back; undone then says that this went well.
func (f FS) forward(dir, state string, r *record) (conflicts []string, undone bool, err error) {
	const op = "change files in"
	for i := range r.Changes {
		var ok bool
		if ok, err = f.apply(dir, r, i); err != nil {
			err = explain("replace", r.target(dir, i), "", err)
			break
		}
		if !ok {
			conflicts = append(conflicts, r.Changes[i].Path)
		}
	}
	if err == nil {
		return conflicts, false, f.finish(dir, state, r)
	}
	if undoErr := f.advance(state, stateCommit, stateUndo); undoErr != nil {
		return nil, false, &Error{
			Op: op, Path: dir, Err: errors.Join(err, undoErr),
			Reason: "some files are changed, some are not; the journal is kept",
			Remedy: "remove the cause; the next command finishes the change",
		}
	}
	if undoErr := f.undo(dir, state, r); undoErr != nil {
		return nil, false, &Error{
			Op: op, Path: dir, Err: errors.Join(err, undoErr),
			Reason: "some files are changed, and they could not all be put back; the journal is kept",
			Remedy: "remove the cause; the next command puts the old files back",
		}
	}
	refused := &Error{Op: op, Path: dir, Err: err, Reason: "all files are as they were"}
	var why *Error
	if errors.As(err, &why) {
		refused.Remedy = why.Remedy
	}
	return nil, true, refused
}

// finish removes what the journal has left, after all changes are in place.
func (f FS) finish(dir, state string, r *record) error {
	var durability error
	for _, d := range r.touched(dir) {
		if err := f.syncDir(d); err != nil && !errors.Is(err, fs.ErrNotExist) && durability == nil {
			durability = &DurabilityError{Path: d, Err: err}
		}
	}
	var errs []error
	for i := range r.Changes {
		if err := f.remove(r.beside(dir, i, ".old")); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 { // else the record must go on naming them
		if err := f.dropRecord(state, stateCommit); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &Error{
			Op: "change files in", Path: dir, Err: err, Reason: "all files are changed, but the journal could not be removed",
			Remedy: "the next command removes it",
		}
	}
	return durability
}

func (r *record) touched(dir string) []string {
	set := map[string]bool{}
	for i := range r.Changes {
		set[filepath.Dir(r.target(dir, i))] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// currentSum returns the sum of what is at path.
func currentSum(path string) (string, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return kind(info.Mode()), nil
	}
	sum, err := sumFile(path)
	return hex.EncodeToString(sum[:]), err
}

// apply puts one change in place, if it is not yet. ok is false when the file holds something that
// neither the journal nor the state before it knows: somebody has edited it after a crash. Such a
// file stays, and the new content is left beside it as NAME.regctl-setup-new.
func (f FS) apply(dir string, r *record, i int) (ok bool, err error) {
	c, target, staged, kept := r.Changes[i], r.target(dir, i), r.beside(dir, i, ".new"), r.beside(dir, i, ".old")
	_, err = os.Lstat(staged)
	switch {
	case c.New == Absent:
	case errors.Is(err, fs.ErrNotExist):
		// Renamed already. What is there now may have been changed since, rightly.
		return true, nil
	case err != nil:
		return false, err
	}
	sum, err := currentSum(target)
	if err != nil {
		return false, err
	}
	switch {
	case sum == c.Old:
	case sum == c.New && c.New == Absent:
		return true, nil
	case sum == c.New:
		// Put there by hand after the crash.
		return true, f.remove(staged)
	case c.New == Absent:
		return false, nil
	default:
		return false, f.rename(staged, target+".regctl-setup-new")
	}
	if c.Old != Absent {
		err := f.do(OpLink, kept, func() error { return keep(target, kept) })
		if err != nil {
			return false, err
		}
	}
	if c.New == Absent {
		return true, f.remove(target)
	}
	return true, f.rename(staged, target)
}

// keep gives the file at target a second name, or copies it where there are no hard links.
func keep(target, kept string) error {
	_ = os.Remove(kept)
	err := os.Link(target, kept)
	if err == nil || !noHardLinks(err) {
		return err
	}
	data, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	return os.WriteFile(kept, data, 0o600) //nolint:gosec // the path is the caller's
}

// undo puts the old contents back where new ones are in place, and removes the rest of the journal.
func (f FS) undo(dir, state string, r *record) error {
	var errs []error
	for i, c := range slices.Backward(r.Changes) {
		target, kept := r.target(dir, i), r.beside(dir, i, ".old")
		sum, err := currentSum(target)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch {
		case c.Old == Absent && sum == c.New:
			err = f.remove(target)
		case c.Old == Absent, c.Old == sum && c.Old != c.New:
			err = f.remove(kept)
		default:
			if _, statErr := os.Lstat(kept); statErr == nil && (sum == c.New || sum == Absent) {
				err = f.putBack(kept, target)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.rollback(dir, state, r, stateUndo)
}

// putBack renames the kept file to its old place. Where both are names of one file, as after a
// crash between link and rename, rename(2) does nothing and leaves both.
func (f FS) putBack(kept, target string) error {
	a, err1 := os.Lstat(kept)
	b, err2 := os.Lstat(target)
	if err1 == nil && err2 == nil && os.SameFile(a, b) {
		return f.remove(kept)
	}
	return f.rename(kept, target)
}

// rollback removes staged contents, new folders and the record. No file of the folder is touched.
func (f FS) rollback(dir, state string, r *record, name string) error {
	var errs []error
	for i := range r.Changes {
		for _, end := range []string{".new", ".old"} {
			if err := f.remove(r.beside(dir, i, end)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		// A temporary file of an earlier process, or the record's own.
		f.removeStale(r.target(dir, i))
	}
	for _, d := range slices.Backward(r.Dirs) {
		p := filepath.Join(dir, filepath.FromSlash(d))
		if slices.Contains(r.States, d) {
			continue
		}
		// One that somebody has put a file into stays.
		_ = f.do(OpRemove, p, func() error { return os.Remove(p) })
	}
	for _, d := range r.touched(dir) {
		if err := f.syncDir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.dropRecord(state, name)
}

// dropRecord ends the journal.
func (f FS) dropRecord(state, name string) error {
	f.removeStale(filepath.Join(state, stateBegin))
	if err := f.remove(filepath.Join(state, name)); err != nil {
		return err
	}
	// Should a power cut bring the record back, Recover finds nothing to do and removes it again.
	_ = f.syncDir(state)
	return nil
}

// dropStates removes the folders that were made for the journal, unless something is in them or the
// change wanted them. It comes after the locks, which lie in one of them.
func (f FS) dropStates(dir string, r *record, rolledBack bool) {
	for _, d := range slices.Backward(r.States) {
		if !rolledBack && slices.Contains(r.Dirs, d) {
			continue
		}
		p := filepath.Join(dir, filepath.FromSlash(d))
		_ = f.do(OpRemove, p, func() error { return os.Remove(p) })
	}
}

// Outcome is what Recover has done.
type Outcome string

// The outcomes.
const (
	Nothing    Outcome = "nothing"     // there was no journal
	Finished   Outcome = "finished"    // the interrupted change is now complete
	RolledBack Outcome = "rolled back" // the interrupted change is now undone
)

// Recovery reports what Recover found and did.
type Recovery struct {
	Outcome Outcome
	Command string    // of the interrupted process; may be empty
	Started time.Time // when it began
	Files   []string  // the files of the change, relative, with slashes, sorted
	// Conflicts are the files that somebody edited after the crash: they were left, with the
	// new content beside them as NAME.regctl-setup-new.
	Conflicts []string
	// Reason says why a change that could have been finished was rolled back; nil otherwise.
	Reason error
}

// Recover finishes or rolls back what a crashed process has left in the folder dir. Without a
// journal it does nothing and takes no lock, so every command can afford the call. While another
// process is in the middle of a change it waits for it, until ctx is done.
func Recover(ctx context.Context, dir string, o RecoverOptions) (Recovery, error) {
	return FS{}.Recover(ctx, dir, o)
}

// Recover is the function of the same name.
func (f FS) Recover(ctx context.Context, dir string, o RecoverOptions) (Recovery, error) {
	const op = "recover"
	nothing := Recovery{Outcome: Nothing}
	state, err := stateDir(dir, o.State)
	if err != nil {
		return nothing, err
	}
	entries, err := os.ReadDir(state)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nothing, nil
	}
	if err != nil {
		return nothing, explain(op, dir, "", err)
	}
	done, err := f.recoverLocked(ctx, dir, state, o.Lock)
	if err != nil {
		return nothing, explain(op, dir, "", err)
	}
	return done, nil
}

func (f FS) recoverLocked(ctx context.Context, dir, state string, lo LockOptions) (_ Recovery, err error) {
	nothing := Recovery{Outcome: Nothing}
	lock, err := Acquire(ctx, state, lo)
	if err != nil {
		return nothing, err
	}
	locks := []*Lock{lock}
	var r *record
	rolledBack := true
	defer func() {
		for _, l := range slices.Backward(locks) {
			_ = l.Release()
		}
		if r != nil && err == nil {
			f.dropStates(dir, r, rolledBack)
		}
	}()
	name, err := findRecord(state)
	if err != nil {
		return nothing, err
	}
	if name == "" {
		f.removeStale(filepath.Join(state, stateBegin))
		return nothing, nil
	}
	found, err := readRecord(filepath.Join(state, name), dir)
	if err != nil {
		return nothing, err
	}
	r = found
	for _, d := range r.targets(dir) {
		if _, err := os.Stat(filepath.Dir(d)); err != nil || r.made(dir, filepath.Dir(d)) {
			// Nobody else knows a folder that the change has made, and it must be empty
			// to be removed.
			continue
		}
		l, err := Acquire(ctx, d, lo)
		if err != nil {
			return nothing, err
		}
		locks = append(locks, l)
	}
	done := Recovery{Outcome: RolledBack, Command: clean(r.Command), Started: r.Started, Files: r.paths()}
	switch name {
	case stateBegin:
		err = f.rollback(dir, state, r, stateBegin)
	case stateUndo:
		err = f.undo(dir, state, r)
	default:
		done.Conflicts, rolledBack, err = f.forward(dir, state, r)
		if rolledBack {
			done.Reason, err = err, nil
		} else {
			done.Outcome = Finished
		}
	}
	return done, err
}

// dropLeftState removes a state folder in which a process died before it wrote a record: an empty
// one, or one with nothing but the journal's own leftovers.
func (f FS) dropLeftState(ctx context.Context, dir string) {
	state := filepath.Join(dir, filepath.FromSlash(defaultState))
	if _, err := os.Lstat(lockName(state)); err == nil {
		lock, err := Acquire(ctx, state, LockOptions{})
		if err != nil {
			return
		}
		_ = lock.Release()
	}
	for d := state; d != dir; d = filepath.Dir(d) {
		_ = os.Remove(d)
	}
}

// OnlyLeftState reports whether the folder state of dir holds nothing but what a [WriteTree]
// leaves that was killed before it had written anything: [WriteTree] takes dir all the same.
func OnlyLeftState(dir string) bool {
	state := filepath.Join(dir, filepath.FromSlash(defaultState))
	if entries, err := os.ReadDir(state); err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		return false
	}
	entries, err := os.ReadDir(filepath.Dir(state))
	return err == nil && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		name := filepath.Join(filepath.Dir(state), e.Name())
		return name != state && name != lockName(state)
	})
}

func (r *record) targets(dir string) []string {
	all := make([]string, len(r.Changes))
	for i := range r.Changes {
		all[i] = r.target(dir, i)
	}
	slices.Sort(all)
	return all
}

// made reports whether the change has made the folder d.
func (r *record) made(dir, d string) bool {
	return slices.ContainsFunc(r.Dirs, func(name string) bool {
		return filepath.Join(dir, filepath.FromSlash(name)) == d
	})
}

func readRecord(name, dir string) (*record, error) {
	file, err := openRead(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.NewDecoder(file).Decode(&r); err != nil {
		return nil, &Error{
			Op: "read journal", Path: name, Err: err,
			Remedy: "compare the files of the folder with their .NAME.regctl-setup-*.old and *.new neighbours, then remove the journal",
		}
	}
	return &r, r.check(dir, info)
}

// check refuses a record that could lead outside of the folder: whoever can write into the folder
// must not gain more by writing a journal than by writing the files.
func (r *record) check(dir string, info fs.FileInfo) error {
	bad := func(what string) error {
		return &Error{Op: "read journal", Path: dir, Reason: what, Remedy: "remove the journal after a look at it"}
	}
	if r.Version != 1 {
		return bad(fmt.Sprintf("version %d is not known", r.Version))
	}
	if len(r.ID) != 16 || strings.Trim(r.ID, "0123456789abcdef") != "" {
		return bad(fmt.Sprintf("bad id %q", r.ID))
	}
	for _, d := range slices.Concat(r.Dirs, r.States) {
		if msg := checkPath(d); msg != "" {
			return bad(msg)
		}
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for _, c := range r.Changes {
		if msg := checkPath(c.Path); msg != "" {
			return bad(msg)
		}
		if c.Target == "" {
			parent, err := filepath.EvalSymlinks(filepath.Dir(filepath.Join(dir, filepath.FromSlash(c.Path))))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, parent)
			if own := ownerOf(info).uid == os.Geteuid(); !own && (err != nil || !filepath.IsLocal(rel)) {
				return bad(fmt.Sprintf("it is another user's, and %q leads out of the folder", c.Path))
			}
			continue
		}
		to, err := resolve(filepath.Join(dir, filepath.FromSlash(c.Path)))
		if err == nil {
			to, err = filepath.Abs(to)
		}
		if err != nil || to != c.Target {
			return bad(fmt.Sprintf("%q no longer leads to %q", c.Path, c.Target))
		}
	}
	return nil
}
