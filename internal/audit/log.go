package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// SyncPolicy says when lines are forced to the disk. They survive the end of the process
// with every policy, and a power cut as far as they had been forced.
type SyncPolicy string

// The policies.
const (
	// SyncAlways: before Append returns; those that wait together share one sync.
	SyncAlways SyncPolicy = "always"
	// SyncInterval: within [Options.SyncEvery].
	SyncInterval SyncPolicy = "interval"
	// SyncNever: when the system does.
	SyncNever SyncPolicy = "never"
)

// Options say where a log is and how it is kept. Zero values mean the defaults.
type Options struct {
	// Dir is the log's folder; it is made, mode 0700, where its parent exists.
	Dir string
	// Sync is when lines are forced to the disk; default [SyncInterval], every second.
	Sync      SyncPolicy
	SyncEvery time.Duration
	// RotateSize and RotateAge are how many bytes a segment has and for how long it is
	// written before the next one begins; defaults 64 MiB and 24 hours. Negative: never.
	RotateSize int64
	RotateAge  time.Duration
	// Keep is for how long lines are kept, KeepSize how many bytes all segments may take
	// together (the one that is written aside); zero: for ever, any.
	Keep     time.Duration
	KeepSize int64
	// Plain leaves rotated segments as they are instead of compressing them.
	Plain bool
	// Wait bounds how long Append waits for a disk or another process; default 2 s.
	Wait time.Duration
	// Once is for programs that append a few lines and end: they rotate but leave
	// compressing to the next one that stays.
	Once bool
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Failed is called when lines can't be written (with the reason) and when they can be
	// again (with nil), once each.
	Failed func(error)

	// write stands in for a full disk in tests, sync for a slow one.
	write func(*os.File, []byte) (int, error)
	sync  func(*os.File) error
}

func (o Options) withDefaults() Options {
	if o.Sync == "" {
		o.Sync = SyncInterval
	}
	if o.SyncEvery <= 0 {
		o.SyncEvery = time.Second
	}
	if o.RotateSize == 0 {
		o.RotateSize = 64 << 20
	}
	if o.RotateAge == 0 {
		o.RotateAge = 24 * time.Hour
	}
	if o.Wait <= 0 {
		o.Wait = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	if o.write == nil {
		o.write = (*os.File).Write
	}
	if o.sync == nil {
		o.sync = (*os.File).Sync
	}
	return o
}

// The errors of [Log.Append] beside those of the system.
var (
	ErrClosed  = errors.New("the audit log is closed")
	ErrStalled = errors.New("the audit log does not take lines in time: the disk, or another process that holds its lock, hangs")
)

// retryEvery is how often a log that failed is tried again while nobody appends.
const retryEvery = time.Second

// maxBatch is how many requests share a turn on the lock.
const maxBatch = 1024

// Log writes a log. It is safe for concurrent use, also by several processes.
type Log struct {
	o     Options
	queue chan *request
	stop  chan struct{}
	ended chan struct{}
	start sync.Once
	close sync.Once
	gzip  sync.WaitGroup
	// packing counts who wants rotated segments compressed.
	packing atomic.Int64

	closing sync.RWMutex // held for reading while a request is put into the queue
	closed  bool

	// since is when the writer began what it is at (Unix nanoseconds), 0 when it waits.
	since atomic.Int64
	head  atomic.Pointer[Head]
	fault atomic.Pointer[error]
	lines atomic.Uint64
	// refused counts requests that did not get as far as the writer.
	refused atomic.Uint64

	// Of the one goroutine that writes.
	w     writer
	batch []*request
}

// request is what one call of Append has to write.
type request struct {
	bodies [][]byte
	done   chan error
	timer  *time.Timer
}

// requests are used again, with their memory, once nobody has them any more.
var requests = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &request{done: make(chan error, 1), timer: t}
}}

func (r *request) recycle() {
	const most = 1 << 14 // bytes; a request with many scopes is rare, and not kept
	size := 0
	for _, b := range r.bodies {
		size += cap(b)
	}
	if size <= most {
		r.bodies = r.bodies[:0]
		requests.Put(r)
	}
}

// NewLog returns a log. Nothing is opened or made before the first line: a log whose folder
// can't be written fails at each [Log.Append], and works as soon as it can be.
func NewLog(o Options) *Log {
	o = o.withDefaults()
	l := &Log{o: o, queue: make(chan *request, 4*maxBatch), stop: make(chan struct{}), ended: make(chan struct{})}
	l.w = writer{o: &l.o, log: l}
	return l
}

// Append writes the records, in this order and with nothing of others between them. It
// returns nil when they are in the log as [Options.Sync] promises. An error says that they
// may not be: they are counted, and a record of kind [KindGap] tells of them later.
func (l *Log) Append(ctx context.Context, records ...*Record) error {
	now := l.o.Now().UTC()
	req, _ := requests.Get().(*request)
	for _, r := range records {
		if r.Time.IsZero() || r.Time.After(now) {
			c := *r // the caller's stays as it is
			c.Time = now
			r = &c
		}
		req.bodies = appendBodies(req.bodies, r)
	}
	if err := l.send(req); err != nil {
		l.refused.Add(1)
		req.recycle()
		return err
	}
	req.timer.Reset(l.o.Wait)
	select {
	case err := <-req.done:
		req.timer.Stop() // before somebody else has it
		req.recycle()
		return err
	case <-ctx.Done(): // the writer still has the request
		req.timer.Stop()
		return ctx.Err()
	case <-req.timer.C:
		return ErrStalled
	}
}

func (l *Log) send(req *request) error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	l.start.Do(func() { go l.run() })
	// Whoever comes while the writer hangs is not made to wait as long as the first.
	if l.stalled() {
		return ErrStalled
	}
	select {
	case l.queue <- req:
		return nil
	default:
		return ErrStalled
	}
}

// Err is why lines can't be written now; nil when they can.
func (l *Log) Err() error {
	if l.stalled() {
		return ErrStalled
	}
	for _, fault := range []*atomic.Pointer[error]{&l.fault, &l.w.syncFault} {
		if p := fault.Load(); p != nil {
			return *p
		}
	}
	return nil
}

// stalled reports whether the writer, or what forces its lines to the disk, hangs.
func (l *Log) stalled() bool {
	for _, since := range []*atomic.Int64{&l.since, &l.w.syncSince} {
		if at := since.Load(); at != 0 && time.Since(time.Unix(0, at)) > l.o.Wait {
			return true
		}
	}
	return false
}

// Head is where the log ended when this process last wrote to it; false before that.
func (l *Log) Head() (Head, bool) {
	if h := l.head.Load(); h != nil {
		return *h, true
	}
	return Head{}, false
}

// Lines is how many lines this process has written.
func (l *Log) Lines() uint64 { return l.lines.Load() }

// Dir is the log's folder.
func (l *Log) Dir() string { return l.o.Dir }

// Close writes what was appended before, forces it to the disk and waits until that and
// compressing are done.
func (l *Log) Close() error {
	l.close.Do(func() {
		l.closing.Lock()
		l.closed = true
		l.closing.Unlock()
		l.start.Do(func() { close(l.ended) }) // never begun
		close(l.stop)
	})
	<-l.ended
	l.gzip.Wait()
	return nil
}

// run is the one goroutine that writes.
func (l *Log) run() {
	defer close(l.ended)
	defer l.w.release()
	if !l.o.Once {
		l.compressLater()
	}
	tick := time.NewTicker(min(l.o.SyncEvery, retryEvery))
	defer tick.Stop()
	for {
		select {
		case first := <-l.queue:
			l.commit(l.gather(first))
		case <-tick.C:
			l.idle()
		case <-l.stop:
			for {
				select {
				case first := <-l.queue:
					l.commit(l.gather(first))
					continue
				default:
				}
				break
			}
			l.w.sync()
			return
		}
	}
}

// gather takes all requests that wait, at most maxBatch. The turn that a batch takes costs more
// than its lines: whoever is about to append is let do so first, which takes no time when
// nobody is.
func (l *Log) gather(first *request) []*request {
	runtime.Gosched()
	batch := append(l.batch[:0], first)
	defer func() { l.batch = batch }()
	for len(batch) < maxBatch {
		select {
		case r := <-l.queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// idle does what is due while nobody appends.
func (l *Log) idle() {
	l.since.Store(time.Now().UnixNano())
	defer l.since.Store(0)
	if l.o.Sync == SyncInterval {
		l.w.syncAside()
	}
	if l.fault.Load() != nil && l.w.lost > 0 {
		_, err := l.w.turn(nil)
		l.settle(err)
	}
}

// commit writes a batch and tells everybody what became of theirs.
func (l *Log) commit(batch []*request) {
	l.since.Store(time.Now().UnixNano())
	written, err := l.w.turn(batch)
	l.since.Store(0)
	// Noted before anybody is told, so that whoever appended finds the head of their line.
	l.settle(err)
	for i, r := range batch {
		if i < written {
			r.done <- nil
		} else {
			r.done <- err
		}
		batch[i] = nil
	}
}

// settle notes whether the log works.
func (l *Log) settle(err error) {
	was := l.fault.Load() != nil
	if err == nil {
		h := l.w.at.Head
		l.head.Store(&h)
		l.fault.Store(nil)
		if was {
			l.o.Failed(nil)
		}
		return
	}
	l.fault.Store(&err)
	if !was {
		l.o.Failed(err)
	}
}

func (l *Log) compressLater() {
	if l.o.Plain || l.o.Once {
		return
	}
	// One at a time; whoever comes while it runs makes it look again.
	if l.packing.Add(1) > 1 {
		return
	}
	l.gzip.Go(func() {
		for n := l.packing.Load(); ; n = l.packing.Load() {
			// After an error the segments stay as they are, whole and readable; the next
			// rotation tries again.
			_ = compress(l.o.Dir)
			if l.packing.CompareAndSwap(n, 0) {
				return
			}
		}
	})
}

// writer is the file side of a log. It belongs to one goroutine.
type writer struct {
	o   *Options
	log *Log

	lock *os.File
	head *os.File
	file *os.File
	info fs.FileInfo
	// looked is when the lock was last seen to be the one in the folder.
	looked time.Time
	at     state
	// began is when the segment was begun.
	began time.Time
	half  int // which half of the head is written next
	// dirty: there are lines that were not forced to the disk; syncing: they are on their way.
	dirty, syncing atomic.Bool
	syncs          sync.WaitGroup
	// syncSince is since when (Unix nanoseconds; 0: not now), syncFault why they are not there.
	syncSince atomic.Int64
	syncFault atomic.Pointer[error]
	// buf and slot are memory for lines and for the head.
	buf  []byte
	slot [slotSize]byte

	// lost counts records that could not be written since lostAt.
	lost   uint64
	lostAt time.Time
	reason error
}

// turn takes the lock and writes the batch. It returns how many requests are in the log, and
// why the others are not.
func (w *writer) turn(batch []*request) (int, error) {
	fail := func(written int, err error) (int, error) {
		n := len(batch) - written
		if w.lost == 0 && n > 0 {
			w.lostAt = w.o.Now().UTC()
		}
		w.lost += uint64(n)
		w.reason = err
		return written, err
	}
	if err := w.acquire(); err != nil {
		return fail(0, err)
	}
	defer unlockFile(w.lock)
	if err := w.prepare(); err != nil {
		return fail(0, err)
	}
	written, err := w.batch(batch)
	if err == nil || written > 0 {
		if w.o.Sync == SyncAlways {
			if serr := w.o.sync(w.file); serr != nil {
				written, err = 0, fmt.Errorf("audit log: %w", serr)
			}
		} else {
			w.dirty.Store(true)
		}
		w.saveHead()
	}
	if err != nil {
		return fail(written, err)
	}
	return written, nil
}

// acquire opens the lock file where it is not open, and takes the lock.
func (w *writer) acquire() error {
	if w.lock != nil {
		now := time.Now()
		if now.Sub(w.looked) < retryEvery || w.sameFolder() {
			if now.Sub(w.looked) >= retryEvery {
				w.looked = now
			}
			_, err := lockFile(w.lock, true)
			return err
		}
		w.release()
	}
	if err := os.Mkdir(w.o.Dir, 0o700); err == nil {
		inheritOwner(w.o.Dir, filepath.Dir(w.o.Dir))
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("audit log: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(w.o.Dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	adopt(f, w.o.Dir)
	w.lock = f
	if _, err = lockFile(f, true); err != nil {
		return fmt.Errorf("audit log %s: lock: %w", w.o.Dir, err)
	}
	return nil
}

// sameFolder reports whether the lock is the one that others find: the folder may have been
// moved away and made anew.
func (w *writer) sameFolder() bool {
	mine, err := w.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(w.o.Dir, lockName))
	return err == nil && os.SameFile(mine, there)
}

// release closes all files.
func (w *writer) release() {
	w.syncs.Wait()
	for _, f := range []*os.File{w.file, w.head, w.lock} {
		if f != nil {
			_ = f.Close()
		}
	}
	w.file, w.head, w.lock, w.looked = nil, nil, nil, time.Time{}
}

// sync forces what was written to the disk.
func (w *writer) sync() {
	w.syncs.Wait()
	if w.file != nil && w.dirty.Swap(false) {
		w.force(w.file)
	}
}

// syncAside is sync beside the writer: a disk takes its time, and whoever appends need not wait
// for it. One runs at a time.
func (w *writer) syncAside() {
	if w.file == nil || !w.dirty.Load() || !w.syncing.CompareAndSwap(false, true) {
		return
	}
	w.dirty.Store(false)
	w.syncSince.Store(time.Now().UnixNano())
	f := w.file
	w.syncs.Go(func() {
		w.force(f)
		w.syncSince.Store(0)
		w.syncing.Store(false)
	})
}

// force forces the file to the disk and notes whether that went well.
func (w *writer) force(f *os.File) {
	err := w.o.sync(f)
	if err == nil || errors.Is(err, fs.ErrClosed) { // rotate has closed it, and forced it there before
		w.syncFault.Store(nil)
		return
	}
	w.dirty.Store(true)
	err = fmt.Errorf("audit log: %w", err)
	w.syncFault.Store(&err)
}

// prepare finds the end of the log, begins a new segment where one is due, and tells of
// lines that were lost before.
func (w *writer) prepare() error {
	if err := w.resume(); err != nil {
		return err
	}
	if w.rotationDue() {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	if n := w.log.refused.Swap(0); n > 0 {
		if w.lost == 0 {
			w.lostAt, w.reason = w.o.Now().UTC(), ErrStalled
		}
		w.lost += n
	}
	if w.lost == 0 {
		return nil
	}
	gap := &Record{Time: w.o.Now().UTC(), Kind: KindGap, Gap: &Gap{Kind: GapUnrecorded, Lost: w.lost, Since: w.lostAt}}
	if w.reason != nil {
		gap.Reason = w.reason.Error()
	}
	if err := w.line(appendBody(nil, gap)); err != nil {
		return err
	}
	w.saveHead()
	w.lost, w.reason = 0, nil
	return nil
}

// resume makes sure that file and at are the log's end.
func (w *writer) resume() error {
	path := filepath.Join(w.o.Dir, activeName)
	if w.file != nil {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, w.info) && info.Size() == w.at.size {
			return nil // nobody else has written
		}
		_ = w.file.Close()
		w.file = nil
	}
	if w.head != nil { // it may have been removed
		_ = w.head.Close()
		w.head = nil
	}
	at, headErr := readHead(w.o.Dir)
	if headErr != nil && !errors.Is(headErr, errNoHead) {
		return fmt.Errorf("audit log: head: %w", headErr)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return w.begin(at, headErr)
	}
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if whole, err := hasLine(f); err != nil || !whole {
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		// Only the line that begins each file can have been on its way into it.
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		return w.begin(at, headErr)
	}
	w.file, w.at, w.half = f, at, 1-at.half
	if err := w.catchUp(headErr != nil); err != nil {
		_ = f.Close()
		w.file = nil
		return err
	}
	return nil
}

// hasLine reports whether the file has at least one whole line.
func hasLine(f *os.File) (bool, error) {
	b := make([]byte, MaxLine)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.IndexByte(b[:n], '\n') >= 0, nil
}

// begin makes the file that is written, of a new log or of one that lost it.
func (w *writer) begin(at state, headErr error) error {
	list, err := segments(w.o.Dir)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	var gap *Gap
	switch {
	case headErr == nil && len(list) > 0 && list[len(list)-1].number == at.segment:
		// A rotation was interrupted between its two steps: nothing is missing.
		at.segment++
	case headErr == nil && at.size > 0:
		gap = &Gap{Kind: GapMissing, To: at.Count}
		at.segment++
	case headErr == nil: // the segment was about to begin
	case len(list) > 0:
		last := list[len(list)-1]
		end, _, err := walk(&last)
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		first, err := list[0].firstLine()
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		at.Head, at.segment, at.first = end, last.number+1, max(first.Seq, 1)
		at.firstPrev, _ = ParseHash(first.Prev)
		gap = &Gap{Kind: GapHead}
	default:
		at = state{segment: 1, first: 1}
	}
	return w.create(at, gap)
}

// create makes the segment's file with its first line, and a second one for a gap.
func (w *writer) create(at state, gap *Gap) error {
	path := filepath.Join(w.o.Dir, activeName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	adopt(f, w.o.Dir)
	now := w.o.Now().UTC()
	w.file, w.began = f, now
	w.at, w.half = at, 1-at.half
	w.at.size = 0
	if err = w.stat(); err == nil {
		err = w.line(appendBody(nil, &Record{Time: now, Kind: KindSegment, Segment: at.segment, Prev: at.Chain.String()}))
	}
	if err != nil {
		// Not the file without its first line: the next turn begins it again.
		_ = f.Close()
		w.file = nil
		_ = os.Remove(path)
		return err
	}
	if gap != nil {
		if err := w.markGap(gap, ""); err != nil {
			return err
		}
	}
	w.saveHead()
	return syncDir(w.o.Dir)
}

func (w *writer) stat() (err error) {
	w.info, err = w.file.Stat()
	return err
}

// catchUp reads what was written after the head was: by a process that ended before it could
// write the head, or all of the file where there is no head. A torn tail is ended and
// marked, and so are lines that are missing.
func (w *writer) catchUp(noHead bool) error {
	if err := w.stat(); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	size := w.info.Size()
	first, err := (&segment{path: w.file.Name()}).firstLine()
	if err == nil {
		w.began = first.Time
	} else if w.began.IsZero() {
		w.began = w.o.Now().UTC()
	}
	var gap *Gap
	lost := false
	switch {
	case noHead:
		w.at = state{first: 1}
		if first != nil && first.Kind == KindSegment && first.Segment > 0 && first.Seq > 0 {
			w.at.Count, w.at.segment = first.Seq-1, first.Segment
			w.at.Chain, _ = ParseHash(first.Prev)
		} else {
			w.at.segment = 1
		}
		if err := w.findFirst(first); err != nil {
			return err
		}
		gap = &Gap{Kind: GapHead}
	case first != nil && first.Kind == KindSegment && first.Segment > w.at.segment:
		// Another process has begun this file and ended before it wrote the head.
		w.at.segment, w.at.size = first.Segment, 0
	case size < w.at.size:
		gap, lost = &Gap{Kind: GapMissing, To: w.at.Count}, true
	}
	if lost {
		w.at.size = size
		// The cut may have gone through a line.
		if err := w.endLine(); err != nil {
			return err
		}
		return w.markGap(gap, "")
	}
	if _, err := w.file.Seek(w.at.size, io.SeekStart); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	end, rest, err := follow(w.file, w.at.Head)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	w.at.Head = end.Head
	w.at.size += end.bytes
	if len(rest) > 0 {
		if err := w.tornTail(rest, size); err != nil {
			return err
		}
	}
	if gap != nil {
		if err := w.markGap(gap, ""); err != nil {
			return err
		}
	}
	w.saveHead()
	return nil
}

// findFirst works out from the rotated segments where the log begins.
func (w *writer) findFirst(active *Record) error {
	list, err := segments(w.o.Dir)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	r := active
	if len(list) > 1 {
		if r, err = list[0].firstLine(); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	if r != nil && r.Kind == KindSegment && r.Seq > 0 {
		w.at.first = r.Seq
		w.at.firstPrev, _ = ParseHash(r.Prev)
	}
	return nil
}

// endLine ends a line that the file was cut in.
func (w *writer) endLine() error {
	if w.at.size == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := w.file.ReadAt(last, w.at.size-1); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if last[0] == '\n' {
		return nil
	}
	return w.put([]byte{'\n'})
}

// tornTail marks what follows the last good line: rest, the beginning of a line or what can't
// be read as one. It stays where it is; its newline and the record that tells of it are
// written at once.
func (w *writer) tornTail(rest []byte, size int64) error {
	sum := sha256.Sum256(bytes.TrimSuffix(rest, []byte{'\n'}))
	prefix := "\n"
	if rest[len(rest)-1] == '\n' {
		prefix = ""
	}
	w.at.size = size
	gap := &Gap{Kind: GapTorn, Bytes: int64(len(bytes.TrimSuffix(rest, []byte{'\n'}))), SHA256: hex.EncodeToString(sum[:])}
	return w.markGap(gap, prefix)
}

// markGap writes the record of a gap. prefix goes before it in the same write.
func (w *writer) markGap(gap *Gap, prefix string) error {
	r := &Record{Time: w.o.Now().UTC(), Kind: KindGap, Gap: gap, Prev: w.at.Chain.String()}
	if err := w.prefixed(prefix, appendBody(nil, r)); err != nil {
		return err
	}
	w.saveHead()
	return nil
}

// maxWrite is how many bytes of several requests go into one write.
const maxWrite = 256 << 10

// batch writes the lines of the requests, as many as fit in one write, and returns how many
// requests are in the log. Where a write fails there may be room for some of its requests:
// they are written one by one.
func (w *writer) batch(batch []*request) (written int, err error) {
	for written < len(batch) {
		n, size := 0, 0
		for _, r := range batch[written:] {
			for _, b := range r.bodies {
				size += len(b)
			}
			if n > 0 && size > maxWrite {
				break
			}
			n++
		}
		if n > 1 && w.together(batch[written:written+n]) == nil {
			written += n
			continue
		}
		for range n {
			if w.file == nil { // what was written in part could not be taken back
				return written, fmt.Errorf("audit log: %w", fs.ErrClosed)
			}
			if err := w.group(batch[written].bodies); err != nil {
				return written, err
			}
			written++
		}
	}
	return written, nil
}

// together writes the lines of the requests in one write: all of them or none.
func (w *writer) together(batch []*request) error {
	at, b := w.at.Head, w.buf[:0]
	for _, r := range batch {
		for _, body := range r.bodies {
			b, at = appendLine(b, at, body)
		}
	}
	w.buf = b
	if err := w.put(b); err != nil {
		return err
	}
	w.log.lines.Add(at.Count - w.at.Count)
	w.at.Head = at
	return nil
}

// appendLine appends the line that comes after the head, and returns the head after it.
func appendLine(b []byte, at Head, body []byte) ([]byte, Head) {
	begin := len(b)
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, at.Count+1, 10)
	b = append(b, ',')
	b = append(b, body...)
	next := link(at.Chain, b[begin:])
	b = append(b, chainKey...)
	b = hex.AppendEncode(b, next[:])
	return append(b, "\"}\n"...), Head{at.Count + 1, next}
}

// group writes the lines of one request. Where one fails the earlier ones stay: they are
// whole lines.
func (w *writer) group(bodies [][]byte) error {
	for _, b := range bodies {
		if err := w.line(b); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) line(body []byte) error { return w.prefixed("", body) }

// prefixed numbers, chains and writes a line in one write.
func (w *writer) prefixed(prefix string, body []byte) error {
	b, next := appendLine(append(w.buf[:0], prefix...), w.at.Head, body)
	w.buf = b
	if err := w.put(b); err != nil {
		return err
	}
	w.at.Head = next
	w.log.lines.Add(1)
	return nil
}

// put appends b whole or not at all.
func (w *writer) put(b []byte) error {
	n, err := w.o.write(w.file, b)
	if err == nil && n == len(b) {
		w.at.size += int64(n)
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	if n > 0 {
		// A part that nobody was told of. Where it can't be taken back it is found and
		// marked as a torn tail.
		if terr := w.file.Truncate(w.at.size); terr != nil {
			_ = w.file.Close()
			w.file = nil
		}
	}
	return fmt.Errorf("audit log: %w", err)
}

// chainKey stands between what the chain covers and the hash.
const chainKey = `,"chain":"`

// linker is memory for one [link]: every line that is written or checked takes one.
type linker struct {
	h    hash.Hash
	next Hash
}

var linkers = sync.Pool{New: func() any { return &linker{h: sha256.New()} }}

// link is the chain's next hash.
func link(prev Hash, text []byte) Hash {
	l, _ := linkers.Get().(*linker)
	defer linkers.Put(l)
	l.next = prev
	l.h.Reset()
	l.h.Write(l.next[:])
	l.h.Write(text)
	l.h.Sum(l.next[:0])
	return l.next
}

// saveHead writes the head. A failure is not one of the lines: they are there, and whoever
// comes next finds them beyond the head.
func (w *writer) saveHead() {
	b := w.at.encode(&w.slot, w.o.Now())
	if w.head == nil {
		path := filepath.Join(w.o.Dir, headFile)
		f, err := os.OpenFile(path, os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err == nil {
				adopt(f, w.o.Dir)
				// Both halves, so that later writes need no space.
				_, _ = f.WriteAt(b, slotSize)
			}
		}
		if err != nil {
			return
		}
		w.head = f
	}
	if _, err := w.head.WriteAt(b, int64(w.half)*slotSize); err == nil {
		w.at.half, w.half = w.half, 1-w.half
	}
}

func (w *writer) rotationDue() bool {
	if w.at.size == 0 {
		return false
	}
	return w.o.RotateSize > 0 && w.at.size >= w.o.RotateSize ||
		w.o.RotateAge > 0 && w.o.Now().Sub(w.began) >= w.o.RotateAge
}

// rotate ends the segment and begins the next one.
func (w *writer) rotate() error {
	if err := w.o.sync(w.file); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	active := filepath.Join(w.o.Dir, activeName)
	_ = w.file.Close()
	w.file = nil
	if err := os.Rename(active, filepath.Join(w.o.Dir, rotatedName(w.at.segment))); err != nil {
		return fmt.Errorf("audit log: rotate: %w", err)
	}
	at := w.at
	at.segment++
	if err := w.create(at, nil); err != nil {
		return err
	}
	w.retire()
	w.log.compressLater()
	return nil
}

// retire removes segments that are kept no longer. The head tells from then on where the log
// begins, so that what is removed by anybody else is noticed.
func (w *writer) retire() {
	if w.o.Keep <= 0 && w.o.KeepSize <= 0 {
		return
	}
	list, err := segments(w.o.Dir)
	if err != nil {
		return
	}
	drop, keep, _ := w.o.outdated(list, w.o.Now())
	if len(drop) == 0 || keep == nil || keep.Kind != KindSegment {
		return
	}
	prev, err := ParseHash(keep.Prev)
	if err != nil {
		return
	}
	w.at.first, w.at.firstPrev = keep.Seq, prev
	w.saveHead()
	w.saveHead() // both halves, before anything goes
	for _, s := range drop {
		_ = os.Remove(s.path)
		_ = os.Remove(s.path + gzSuffix)
	}
}
