package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"
)

// ScanStats says what a scan went through.
type ScanStats struct {
	Files   int
	Lines   int
	Matched int
	// Unreadable counts lines that are no records: torn ones, or damaged ones. [Verify]
	// tells which.
	Unreadable int
	// Vanished counts segments that retention removed while the scan went on.
	Vanished int
}

// chunkSize is how many bytes are read and searched at a time.
const chunkSize = 1 << 20

// chunk is a part of a file that consists of whole lines, and what was found in it.
type chunk struct {
	data    []byte
	records []Record
	n       int // of records
	lines   int
	bad     int
	err     error
	done    chan struct{}
}

// Scan calls f with every record that the filter (nil: all) holds for, in the order in which
// they were written, and stops with the error that f returns. A record is f's only until
// it returns: [Record.Clone] keeps it. Memory does not grow with the log.
//
// The error wraps [fs.ErrNotExist] where there is no log.
func Scan(ctx context.Context, dir string, filter *Filter, f func(*Record) error) (ScanStats, error) {
	var stats ScanStats
	list, err := segments(dir)
	if err == nil && len(list) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return stats, fmt.Errorf("audit log %s: %w", dir, err)
	}
	if filter != nil && !filter.Since.IsZero() {
		list = skipBefore(list, filter.Since)
	}
	err = pipeline(ctx, &stats, filter, f, func(emit func([]byte) error, buffer func() []byte) error {
		for i := range list {
			if err := readSegment(&list[i], emit, buffer, &stats); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("audit log %s: %w", dir, err)
	}
	return stats, err
}

// skipBefore leaves out segments that ended before the time: their lines tell of nothing
// later than when they were written.
func skipBefore(list []segment, since time.Time) []segment {
	skip := 0
	for i := 1; i < len(list); i++ {
		first, err := list[i].firstLine()
		if err != nil || first.Kind != KindSegment || !first.Time.Before(since) {
			break
		}
		skip = i
	}
	return list[skip:]
}

// readSegment passes the file on in chunks of whole lines. What follows the last newline of
// the file that is written is on its way, and left.
func readSegment(s *segment, emit func([]byte) error, buffer func() []byte, stats *ScanStats) error {
	r, err := s.open()
	if errors.Is(err, fs.ErrNotExist) && s.number == 0 {
		// Rotated away just now; it has been or will be begun again.
		if next, lerr := segments(dirOf(s)); lerr == nil && len(next) > 1 {
			s2 := next[len(next)-2]
			r, err = s2.open()
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		stats.Vanished++
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	stats.Files++
	return readLines(r, emit, buffer)
}

func dirOf(s *segment) string { return s.path[:len(s.path)-len(s.name())] }

// readLines cuts r into chunks at newlines. A line that no chunk has room for is passed on
// in pieces, which then are unreadable lines.
func readLines(r io.Reader, emit func([]byte) error, buffer func() []byte) error {
	buf := buffer()
	have := 0
	for {
		n, err := io.ReadFull(r, buf[have:cap(buf)])
		have += n
		end := bytes.LastIndexByte(buf[:have], '\n') + 1
		atEnd := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !atEnd {
			return err
		}
		if end == 0 && !atEnd {
			end = have
		}
		next := buffer()
		rest := copy(next[:cap(next)], buf[end:have])
		if end > 0 {
			if err := emit(buf[:end]); err != nil {
				return err
			}
		}
		if atEnd {
			if rest > 0 && !isActive(r) {
				return emit(next[:rest])
			}
			return nil
		}
		buf, have = next, rest
	}
}

// isActive reports whether r is a file that lines are still written to.
func isActive(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && bytes.HasSuffix([]byte(f.Name()), []byte(activeName))
}

// pipeline reads, searches and hands over at the same time: source emits chunks, workers
// look through them, f gets the records in the order of the chunks.
func pipeline(ctx context.Context, stats *ScanStats, filter *Filter, f func(*Record) error, source func(emit func([]byte) error, buffer func() []byte) error) error {
	return process(ctx, stats, f, source, func() func(*chunk) {
		d, sv := newDecoder(), filter.sieve()
		return func(c *chunk) { c.search(d, sv, filter) }
	})
}

func process(ctx context.Context, stats *ScanStats, f func(*Record) error, source func(emit func([]byte) error, buffer func() []byte) error, worker func() func(*chunk)) error {
	ctx, cancel := context.WithCancel(ctx)
	workers := max(2, min(runtime.GOMAXPROCS(0), 4))
	buffers := sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}
	chunks := sync.Pool{New: func() any { return &chunk{} }}
	work, order := make(chan *chunk, workers), make(chan *chunk, 2*workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			search := worker()
			for c := range work {
				search(c)
				close(c.done)
			}
		})
	}
	var sourceErr error
	wg.Go(func() {
		defer close(order)
		defer close(work)
		sourceErr = source(func(data []byte) error {
			c, _ := chunks.Get().(*chunk)
			c.data, c.n, c.lines, c.bad, c.err, c.done = data, 0, 0, 0, nil, make(chan struct{})
			for _, ch := range []chan *chunk{order, work} {
				select {
				case ch <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}, func() []byte {
			b, _ := buffers.Get().(*[]byte)
			return (*b)[:0:chunkSize]
		})
	})
	var err error
	for c := range order {
		select {
		case <-c.done:
		case <-ctx.Done(): // it may never be looked at
			continue
		}
		if err != nil {
			continue
		}
		stats.Lines += c.lines
		stats.Unreadable += c.bad
		for i := range c.records[:c.n] {
			stats.Matched++
			if err = f(&c.records[i]); err != nil {
				cancel()
				break
			}
		}
		data := c.data[:0:chunkSize]
		buffers.Put(&data)
		chunks.Put(c)
	}
	canceled := ctx.Err()
	cancel()
	wg.Wait()
	switch {
	case err != nil:
		return err
	case sourceErr != nil:
		return sourceErr
	}
	return canceled
}

// search finds the records that the filter asks for.
func (c *chunk) search(d *decoder, sv *sieve, filter *Filter) {
	for rest := c.data; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		c.lines++
		if !sv.pass(line) {
			continue
		}
		r := c.room()
		switch err := d.decode(line, r); {
		case err != nil:
			c.bad++
			c.n--
		case !filter.Match(r):
			c.n--
		}
	}
}

// room returns a record to read into.
func (c *chunk) room() *Record {
	if c.n < len(c.records) {
		c.n++
		return &c.records[c.n-1]
	}
	c.records = append(c.records, Record{})
	c.n++
	return &c.records[c.n-1]
}
