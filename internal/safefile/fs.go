package safefile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Op names one kind of step that changes or reads the disk.
type Op string

// The steps. Their names are part of what tests rely on.
const (
	OpRead    Op = "read"
	OpCreate  Op = "create"
	OpWrite   Op = "write" // once for each 64 KiB
	OpChown   Op = "chown"
	OpChmod   Op = "chmod"
	OpSync    Op = "fsync"
	OpLink    Op = "link"
	OpRename  Op = "rename"
	OpRemove  Op = "remove"
	OpMkdir   Op = "mkdir"
	OpDirSync Op = "dir-fsync"
)

// Step is one step, about to be taken or just taken.
type Step struct {
	Op    Op
	After bool   // false: about to be taken
	Path  string // the file or directory; for a rename the new name
}

// String returns the failpoint's name and place, such as "before rename /srv/x".
func (s Step) String() string {
	if s.After {
		return "after " + string(s.Op) + " " + s.Path
	}
	return "before " + string(s.Op) + " " + s.Path
}

// FS carries out the operations of this package. The zero value is the real thing, and the
// package's functions use it; a Hook makes steps fail or stops the process at them, which is
// how crash safety is tested.
type FS struct {
	// Hook is called before and after every step. An error that it returns before a step
	// takes the step's place: the step is not taken. After a step the result is ignored.
	Hook func(Step) error
}

func (f FS) do(op Op, path string, step func() error) error {
	if f.Hook == nil {
		return step()
	}
	if err := f.Hook(Step{Op: op, Path: path}); err != nil {
		return &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	if err := step(); err != nil {
		return err
	}
	_ = f.Hook(Step{Op: op, After: true, Path: path})
	return nil
}

const chunk = 64 << 10

// write writes data to file in chunks, and stops between two of them when ctx is done.
func (f FS) write(ctx context.Context, file *os.File, data []byte) error {
	for first := true; first || len(data) > 0; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(data), chunk)
		err := f.do(OpWrite, file.Name(), func() error {
			_, err := file.Write(data[:n])
			return err
		})
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (f FS) sync(file *os.File) error {
	return f.do(OpSync, file.Name(), file.Sync)
}

// syncDir makes the names in dir durable.
func (f FS) syncDir(dir string) error {
	return f.do(OpDirSync, dir, func() error { return syncDir(dir) })
}

func (f FS) rename(from, to string) error {
	return f.do(OpRename, to, func() error { return rename(from, to) })
}

// remove removes path; a path that is gone already is fine.
func (f FS) remove(path string) error {
	return f.do(OpRemove, path, func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func (f FS) mkdir(path string, mode fs.FileMode) error {
	return f.do(OpMkdir, path, func() error { return os.Mkdir(path, mode) })
}

// mkdirPrivate makes a directory of mode 0700, whatever the umask.
func (f FS) mkdirPrivate(path string) error {
	return f.do(OpMkdir, path, func() error {
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		return os.Chmod(path, 0o700) //nolint:gosec // a directory
	})
}

// mkdirAll makes the missing directories of path, each with mode 0755 less the umask, and
// returns those that it made, outermost first.
func (f FS) mkdirAll(path string) (made []string, err error) {
	var missing []string
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		missing = append(missing, p)
		if filepath.Dir(p) == p {
			break
		}
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := f.mkdir(missing[i], 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return made, err
		} else if err == nil {
			made = append(made, missing[i])
		}
	}
	return made, nil
}
