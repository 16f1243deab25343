package audit

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	activeName = "audit.jsonl"
	lockName   = "lock"
	namePrefix = "audit-"
	nameSuffix = ".jsonl"
	gzSuffix   = ".gz"
)

// segment is a file of the log.
type segment struct {
	// number counts from 1; 0 is the one that is written.
	number int
	path   string
	gz     bool
}

func (s *segment) name() string { return filepath.Base(s.path) }

// rotatedName is the name of a segment once it is rotated away.
func rotatedName(number int) string { return fmt.Sprintf("%s%08d%s", namePrefix, number, nameSuffix) }

// segments lists the log's files, the oldest first and the one that is written last. Where
// a segment is there plain and compressed, the compressing has just ended or was
// interrupted: both are whole, the plain one is listed.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []segment
	active := false
	for _, e := range entries {
		name := e.Name()
		if name == activeName {
			active = true
			continue
		}
		base, gz := strings.CutSuffix(name, gzSuffix)
		digits, ok := strings.CutPrefix(base, namePrefix)
		if !ok {
			continue
		}
		if digits, ok = strings.CutSuffix(digits, nameSuffix); !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || name != rotatedName(n) && name != rotatedName(n)+gzSuffix {
			continue
		}
		out = append(out, segment{number: n, path: filepath.Join(dir, name), gz: gz})
	}
	slices.SortFunc(out, func(a, b segment) int {
		if c := cmp.Compare(a.number, b.number); c != 0 {
			return c
		}
		if a.gz { // plain first
			return 1
		}
		return -1
	})
	out = slices.CompactFunc(out, func(a, b segment) bool { return a.number == b.number })
	if active {
		out = append(out, segment{path: filepath.Join(dir, activeName)})
	}
	return out, nil
}

// open opens the segment for reading. A rotated one may have been compressed since it was
// listed; the one that is written may have been rotated away, which is told by the error.
func (s *segment) open() (io.ReadCloser, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) && s.number > 0 {
		other := *s
		if s.gz {
			other.path = strings.TrimSuffix(s.path, gzSuffix)
		} else {
			other.path = s.path + gzSuffix
		}
		if f, err = os.Open(other.path); err == nil {
			*s = segment{number: s.number, path: other.path, gz: !s.gz}
		}
	}
	if err != nil {
		return nil, err
	}
	if !s.gz {
		return f, nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<18))
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return &gzFile{Reader: z, file: f}, nil
}

type gzFile struct {
	*gzip.Reader
	file *os.File
}

func (g *gzFile) Close() error { return errors.Join(g.Reader.Close(), g.file.Close()) }

// ahead reads a compressed segment beside its reader, some hundred kilobytes ahead of it.
func (s *segment) ahead() (io.ReadCloser, error) {
	r, err := s.open()
	if err != nil || !s.gz {
		return r, err
	}
	const parts = 4
	a := &aheadReader{full: make(chan part, parts), free: make(chan []byte, parts), stop: make(chan struct{}), ended: make(chan error, 1)}
	for range parts {
		a.free <- make([]byte, 1<<17)
	}
	go func() {
		defer func() { a.ended <- r.Close() }()
		for {
			var p part
			select {
			case p.b = <-a.free:
			case <-a.stop:
				return
			}
			for p.n < len(p.b) && p.err == nil { // not io.ReadFull: its error hides that of a file that was cut
				var n int
				n, p.err = r.Read(p.b[p.n:])
				p.n += n
			}
			a.full <- p // has room for all parts
			if p.err != nil {
				return
			}
		}
	}()
	return a, nil
}

// part is what one read gave.
type part struct {
	b   []byte
	n   int
	err error
}

type aheadReader struct {
	full  chan part
	free  chan []byte
	stop  chan struct{}
	ended chan error
	at    part
	read  int // of at
}

func (a *aheadReader) Read(b []byte) (int, error) {
	for a.read == a.at.n {
		if a.at.err != nil {
			return 0, a.at.err
		}
		if a.at.b != nil {
			a.free <- a.at.b
		}
		a.at, a.read = <-a.full, 0
	}
	n := copy(b, a.at.b[a.read:a.at.n])
	a.read += n
	return n, nil
}

func (a *aheadReader) Close() error {
	close(a.stop)
	return <-a.ended
}

// firstLine reads the record that begins the segment.
func (s *segment) firstLine() (*Record, error) {
	r, err := s.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	text, err := bufio.NewReaderSize(r, MaxLine).ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("%s: first line: %w", s.path, err)
	}
	return Parse(text)
}

// compress replaces rotated segments by compressed ones, unless another process is at it.
// What it writes is on the disk before what it read is removed.
func compress(dir string) error {
	lock, err := os.OpenFile(filepath.Join(dir, lockName+".gzip"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if ok, err := lockFile(lock, false); !ok {
		return err
	}
	defer unlockFile(lock)
	adopt(lock, dir)
	list, err := segments(dir)
	if err != nil {
		return err
	}
	for i := range list {
		if s := &list[i]; s.number > 0 && !s.gz {
			if err := compressFile(dir, s.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// yielding lets others run before each part that is read: compressing is in no hurry, answers are.
type yielding struct{ io.Reader }

func (y yielding) Read(b []byte) (int, error) {
	runtime.Gosched()
	return y.Reader.Read(b)
}

func compressFile(dir, path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // retention was faster
		}
		return err
	}
	defer func() { _ = in.Close() }()
	tmp := path + gzSuffix + ".tmp" // one at a time, so a former one is a leftover
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		_ = out.Close()
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	adopt(out, dir)
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed+2)
	if err != nil {
		return err
	}
	if _, err = io.Copy(z, yielding{in}); err != nil {
		return err
	}
	if err = z.Close(); err != nil {
		return err
	}
	if err = out.Sync(); err != nil {
		return err
	}
	if err = out.Close(); err != nil {
		return err
	}
	if err = os.Rename(tmp, path+gzSuffix); err != nil {
		return err
	}
	if err = syncDir(dir); err != nil {
		return err
	}
	return os.Remove(path)
}

// outdated returns the rotated segments that retention no longer keeps, the oldest first,
// and the first line that stays. now is the time, last the number of the one that is
// written.
func (o *Options) outdated(list []segment, now time.Time) (drop []segment, keep *Record, err error) {
	total := int64(0)
	sizes := make([]int64, len(list))
	for i := range list {
		if info, err := os.Stat(list[i].path); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for i := 0; i+1 < len(list); i++ {
		next, err := list[i+1].firstLine()
		if err != nil {
			return drop, keep, err
		}
		old := o.Keep > 0 && now.Sub(next.Time) > o.Keep // all of it was written before that
		big := o.KeepSize > 0 && total > o.KeepSize
		if !old && !big {
			break
		}
		drop, keep = append(drop, list[i]), next
		total -= sizes[i]
	}
	return drop, keep, nil
}
