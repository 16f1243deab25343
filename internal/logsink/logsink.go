// Package logsink keeps a log's destination from holding up the program that writes it.
//
// A [Sink] is an io.Writer for whole lines. Write copies the line into a bounded queue and
// returns at once, whatever the destination does: a pipe whose reader has stopped, a full
// disk, a reader that is gone. One goroutine writes the queue out. Lines that find no room,
// and those that could not be written, are counted, and one line says how many were lost,
// and why, in the place where they are missing, as soon as the destination takes lines
// again.
//
//	sink := logsink.New(os.Stderr, logsink.Options{Lost: func(l logsink.Loss) []byte { … }})
//	log := slog.New(slog.NewJSONHandler(sink, nil))
//	…
//	sink.Close(ctx) // writes out what is queued, at most until ctx ends
//
// A process that writes to its own standard output or error must also take SIGPIPE (as by
// signal.Notify): else the Go runtime ends it when the reader has gone.
package logsink

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"
)

// The bounds of the queue where [Options] has none.
const (
	DefaultLines = 8192
	DefaultBytes = 4 << 20
)

// batch is how much is written at once, in bytes: as much as a pipe takes on Linux.
const batch = 64 << 10

// DefaultRetry is after what time a destination that failed is tried again where no new
// line does so before.
const DefaultRetry = time.Second

// ErrFull is the reason of a loss where the destination did not fail but was too slow.
var ErrFull = errors.New("the destination does not take lines as fast as they come")

// Loss is what the line about missing lines tells.
type Loss struct {
	// Lines is how many are missing.
	Lines uint64
	// Since is when the first of them was.
	Since time.Time
	// Err is why: [ErrFull], or what the destination said last.
	Err error
}

// Options bound a sink. The zero value has the defaults.
type Options struct {
	// Lines and Bytes are how much may be queued; zero: [DefaultLines], [DefaultBytes].
	Lines, Bytes int
	// Retry is after what time a destination that failed is tried again; zero: [DefaultRetry].
	Retry time.Duration
	// Lost returns the line, with its newline, that tells of a loss. Nil: nothing tells of it
	// but [Sink.Stats].
	Lost func(Loss) []byte
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Stats is how a sink is doing.
type Stats struct {
	Written uint64 // lines that the destination took
	Dropped uint64 // lines that were lost
	Queued  int    // lines that wait
	// Err is why lines are being lost now: [ErrFull] or the destination's own error. Nil: none
	// is, or those that were have been told of.
	Err error
}

// Sink is a writer that never blocks and never fails. It is safe for concurrent use.
type Sink struct {
	w io.Writer
	o Options

	mu     sync.Mutex // guards what follows
	queue  []item
	bytes  int
	tail   Loss // lost after the last queued line
	err    error
	stats  Stats
	closed bool
	idle   [][]byte // room of lines that were written, for those to come

	wake chan struct{} // of one place: there is work, or the end
	done chan struct{} // closed when the goroutine has ended
}

// item is a line and what was lost before it.
type item struct {
	line []byte
	lost Loss
}

// New starts a sink that writes to w.
func New(w io.Writer, o Options) *Sink {
	if o.Lines <= 0 {
		o.Lines = DefaultLines
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	if o.Retry <= 0 {
		o.Retry = DefaultRetry
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Sink{w: w, o: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// Write queues one or more whole lines. It always returns len(p) and no error.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	switch {
	case s.closed:
		s.stats.Dropped++
	case len(s.queue) >= s.o.Lines || s.bytes+len(p) > s.o.Bytes:
		s.lose(&s.tail, 1, ErrFull)
		s.err = ErrFull
	default:
		s.queue = append(s.queue, item{line: append(s.room(), p...), lost: s.tail})
		s.bytes += len(p)
		s.tail = Loss{}
	}
	s.mu.Unlock()
	s.signal()
	return len(p), nil
}

// Stats tells how the sink is doing.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Queued, st.Err = len(s.queue), s.err
	return st
}

// Close takes no more lines and waits until those that are queued are written, at most until
// ctx ends. The error says that lines were left.
func (s *Sink) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return errors.New("the log's destination did not take the last lines in time")
	}
}

func (s *Sink) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lose adds lines to a loss. The caller holds s.mu.
func (s *Sink) lose(l *Loss, lines uint64, err error) {
	if l.Lines == 0 {
		l.Since = s.o.Now()
	}
	l.Lines += lines
	l.Err = err
	s.stats.Dropped += lines
}

// run writes the queue out until the sink is closed and the queue empty.
func (s *Sink) run() {
	defer close(s.done)
	timer := time.NewTimer(s.o.Retry)
	timer.Stop()
	out := output{w: s.w}
	var items []item
	for {
		var tail Loss
		var closed bool
		items, tail, closed = s.take(items[:0])
		failed := s.write(&out, items, tail)
		s.giveBack(items)
		switch {
		case closed && len(items) == 0:
			return
		case len(items) > 0:
			continue // there may be more
		case failed:
			timer.Reset(s.o.Retry)
		}
		select {
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take takes what is to be written next out of the queue: lines of at most batch bytes, or,
// where there are none, what was lost last.
func (s *Sink) take(items []item) (_ []item, tail Loss, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && (n == 0 || size+len(s.queue[n].line) <= batch) {
		size += len(s.queue[n].line)
		n++
	}
	items = append(items, s.queue[:n]...)
	if s.queue = slices.Delete(s.queue, 0, n); len(s.queue) == 0 && cap(s.queue) > maxIdle {
		s.queue = nil
	}
	s.bytes -= size
	if n == 0 {
		tail, s.tail = s.tail, Loss{}
	}
	return items, tail, s.closed
}

// write writes the items, each after the line about what is missing before it. What can't be
// written is lost, and is told of later. It reports whether something was.
func (s *Sink) write(out *output, items []item, tail Loss) (failed bool) {
	var carried Loss                       // lost, and not yet told of
	buf, ends := out.buf[:0], out.ends[:0] // ends are those of the lines in buf
	defer func() {
		if out.buf, out.ends = buf, ends; cap(buf) > 2*batch {
			out.buf = nil
		}
	}()
	flush := func() {
		n, err := out.write(buf)
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		s.mu.Lock()
		s.stats.Written += uint64(whole)
		if s.err = err; err == nil && s.tail.Lines > 0 {
			s.err = s.tail.Err
		}
		if err != nil {
			s.lose(&carried, uint64(len(ends)-whole), err)
		}
		s.mu.Unlock()
		buf, ends = buf[:0], ends[:0]
	}
	// tell writes the line about a loss; where that can't be written, the loss stays.
	tell := func() bool {
		if carried.Lines == 0 {
			return true
		}
		if s.o.Lost == nil {
			carried = Loss{}
			return true
		}
		if _, err := out.write(s.o.Lost(carried)); err != nil {
			s.mu.Lock()
			s.err, carried.Err = err, err
			s.mu.Unlock()
			return false
		}
		carried = Loss{}
		return true
	}
	for _, it := range items {
		if it.lost.Lines > 0 || carried.Lines > 0 {
			if len(ends) > 0 {
				flush()
			}
			carried = joined(carried, it.lost)
			if !tell() {
				s.mu.Lock()
				s.lose(&carried, 1, carried.Err)
				s.mu.Unlock()
				continue
			}
		}
		buf = append(buf, it.line...)
		ends = append(ends, len(buf))
	}
	if len(ends) > 0 {
		flush()
	}
	// What was lost just now is told of with the next line, or after a while.
	if tail.Lines > 0 {
		if carried = joined(tail, carried); tell() {
			s.mu.Lock()
			if s.tail.Lines == 0 && (s.o.Lost != nil || errors.Is(s.err, ErrFull)) {
				s.err = nil
			}
			s.mu.Unlock()
		}
	}
	if carried.Lines == 0 {
		return false
	}
	// Before what comes next.
	s.mu.Lock()
	if len(s.queue) > 0 {
		s.queue[0].lost = joined(carried, s.queue[0].lost)
	} else {
		s.tail = joined(carried, s.tail)
	}
	s.mu.Unlock()
	return true
}

// maxIdle and maxIdleLine bound the room that is kept for lines to come: lines, and bytes each.
const (
	maxIdle     = 256
	maxIdleLine = 2 << 10
)

// room is an empty line to write into, nil where none is kept. The caller holds the lock.
func (s *Sink) room() []byte {
	if len(s.idle) == 0 {
		return nil
	}
	last := len(s.idle) - 1
	line := s.idle[last]
	s.idle = s.idle[:last]
	return line
}

// giveBack keeps the room of lines that nobody needs any more.
func (s *Sink) giveBack(items []item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range items {
		if line := items[i].line; len(s.idle) < maxIdle && cap(line) <= maxIdleLine {
			s.idle = append(s.idle, line[:0])
		}
	}
	clear(items)
}

// joined is two losses, one after the other, as one.
func joined(a, b Loss) Loss {
	switch {
	case a.Lines == 0:
		return b
	case b.Lines == 0:
		return a
	}
	return Loss{Lines: a.Lines + b.Lines, Since: a.Since, Err: b.Err}
}

// output writes whole lines. When a write ended within a line, the next one begins a new
// line, so that nothing is glued to the torn one.
type output struct {
	w    io.Writer
	torn bool
	// Room that is used again.
	buf  []byte
	ends []int
}

// write returns how many bytes of p were written.
func (o *output) write(p []byte) (int, error) {
	lead := 0
	if o.torn {
		p, lead = append([]byte{'\n'}, p...), 1
	}
	n, err := o.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	switch {
	case err == nil:
		o.torn = false
	case n > 0:
		o.torn = p[n-1] != '\n'
	}
	return max(0, n-lead), err
}
