package audit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// pollEvery is how often a log that is followed is looked at.
const pollEvery = 250 * time.Millisecond

// MarshalJSON is the record as its line has it, without the hash.
func (r *Record) MarshalJSON() ([]byte, error) {
	e := encoder{b: append(make([]byte, 0, 512), '{'), first: true}
	e.number("seq", int64(r.Seq))
	if r.Seq > 0 {
		e.b = append(e.b, ',')
	}
	return append(appendBody(e.b, r), '}'), nil
}

// Follow calls f with the records after the line seq as they are written, until ctx ends,
// whose error it returns. It goes along when the file is rotated away.
func Follow(ctx context.Context, dir string, seq uint64, filter *Filter, f func(*Record) error) error {
	path := filepath.Join(dir, activeName)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var file *os.File
	defer func() {
		if file != nil {
			_ = file.Close()
		}
	}()
	var br *bufio.Reader
	var part []byte
	read := func() error {
		for {
			text, err := br.ReadBytes('\n')
			part = append(part, text...)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			r, perr := Parse(part[:len(part)-1])
			part = part[:0]
			if perr != nil || r.Seq <= seq {
				continue
			}
			seq = r.Seq
			if !filter.Match(r) {
				continue
			}
			if err := f(r); err != nil {
				return err
			}
		}
	}
	for {
		if file == nil {
			opened, err := os.Open(path)
			if err == nil {
				file, br, part = opened, bufio.NewReader(opened), nil
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if file != nil {
			there, serr := os.Stat(path)
			mine, err := file.Stat()
			// First what stands in the old file, then the new one: nothing is added to a
			// file once another one has its name.
			if rerr := read(); rerr != nil {
				return rerr
			}
			if serr != nil || err != nil || !os.SameFile(there, mine) {
				_ = file.Close()
				file = nil
				if serr == nil {
					continue
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
