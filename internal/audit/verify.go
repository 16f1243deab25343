package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// VerifyOptions say what a log is held against beside its own chain.
type VerifyOptions struct {
	// Head is one that was kept elsewhere: the log must have had it.
	Head *Head
}

// Finding is a place where the log is not what it was.
type Finding struct {
	File string `json:"file"`
	Line int    `json:"line"` // 0: the file as a whole
	Seq  uint64 `json:"seq,omitempty"`
	What string `json:"what"`
}

// String is FILE:LINE: WHAT.
func (f Finding) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.What
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.What)
}

// Report is what [Verify] found.
type Report struct {
	Files int
	Lines int // records
	// First and Head are the first line that is there and the end of the log.
	First uint64
	Head  Head
	// Findings are alterations, removals and cuts; an intact log has none.
	Findings []Finding
	// Torn counts lines that a crash cut and the next writer marked; nobody had been told
	// that they were recorded. Unrecorded counts records that could not be written, as
	// the log itself tells. Beyond counts whole lines beyond the head: their writer ended
	// before it could write it.
	Torn       int
	Unrecorded uint64
	Beyond     int
}

// Intact reports whether nothing was found.
func (r *Report) Intact() bool { return len(r.Findings) == 0 }

// maxFindings bounds what is reported: after a file was replaced every line of it differs.
const maxFindings = 100

// Verify reads the whole log and holds each line against the chain, the numbers of the lines
// against each other, and the end against the head. It reports what was altered, removed
// or cut and where; after a place where the chain breaks it goes on from what stands there,
// so that one alteration is one finding. The error is of reading only; it wraps
// [fs.ErrNotExist] where there is no log.
func Verify(ctx context.Context, dir string, o VerifyOptions) (*Report, error) {
	v := &verifier{o: o, report: &Report{}, dec: newDecoder()}
	list, err := segments(dir)
	if err == nil && len(list) == 0 {
		if _, herr := readHead(dir); herr != nil {
			return nil, fmt.Errorf("audit log %s: %w", dir, fs.ErrNotExist)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	// The head first: what is written while this goes on lies beyond it.
	head, headErr := readHead(dir)
	if headErr != nil && !errors.Is(headErr, errNoHead) {
		return nil, fmt.Errorf("audit log %s: %w", dir, headErr)
	}
	if headErr == nil {
		v.stored = &head
	}
	for i := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := v.file(ctx, &list[i]); err != nil {
			return nil, fmt.Errorf("audit log %s: %w", dir, err)
		}
	}
	v.finish(headErr)
	return v.report, nil
}

type verifier struct {
	o      VerifyOptions
	report *Report
	stored *state

	begun bool
	at    Head
	// odd is what could not be read since the last good line: a torn tail if the next
	// line says so.
	odd     []byte
	oddFile string
	oddLine int

	foundStored, foundGiven bool
	dec                     *decoder
	rec                     Record
	name                    string
	line                    int
}

func (v *verifier) find(file string, line int, seq uint64, format string, args ...any) {
	if len(v.report.Findings) < maxFindings {
		v.report.Findings = append(v.report.Findings, Finding{File: file, Line: line, Seq: seq, What: fmt.Sprintf(format, args...)})
	}
}

func (v *verifier) file(ctx context.Context, s *segment) error {
	r, err := s.ahead()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // retention, which moves the head's beginning
		}
		v.find(s.name(), 0, 0, "can't be read: %v", err)
		return nil
	}
	defer func() { _ = r.Close() }()
	v.report.Files++
	v.name, v.line = s.name(), 0
	br := bufio.NewReaderSize(r, 1<<18)
	for {
		text, err := br.ReadSlice('\n') // a line has room; what is longer comes in unreadable pieces
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			v.find(v.name, v.line+1, 0, "can't be read: %v", err)
			return nil
		}
		if len(text) > 0 {
			v.line++
			v.check(text)
			if v.line%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if err != nil {
			return nil
		}
	}
}

// check holds one line against what came before.
func (v *verifier) check(text []byte) {
	covered, chain, ok := unchain(text)
	var r *Record
	if ok && text[len(text)-1] == '\n' {
		if v.dec.decode(bytes.TrimSuffix(text, []byte{'\n'}), &v.rec) == nil {
			r = &v.rec
		}
	}
	if r == nil || r.Seq == 0 {
		if v.odd == nil {
			v.oddFile, v.oddLine = v.name, v.line
		}
		if len(v.odd) < 1<<20 {
			v.odd = append(v.odd, text...)
		}
		return
	}
	v.oddity(r)
	v.report.Lines++
	prev, ok := v.join(r)
	if ok && link(prev, covered) != chain {
		v.find(v.name, v.line, r.Seq, "line %d was altered, or the one before it: its hash is not that of its content", r.Seq)
	}
	v.at = Head{r.Seq, chain}
	if v.stored != nil && v.at == v.stored.Head {
		v.foundStored = true
	}
	if v.o.Head != nil && v.at == *v.o.Head {
		v.foundGiven = true
	}
	if g := r.Gap; g != nil {
		switch g.Kind {
		case GapUnrecorded:
			v.report.Unrecorded += g.Lost
		case GapHead:
			v.find(v.name, v.line, r.Seq, "the head was missing here and was made anew: what stood after the line before may have been cut off")
		case GapMissing:
			v.find(v.name, v.line, r.Seq, "lines were missing here, at the end of the log as it was then")
		}
	}
}

// oddity judges what could not be read before a good line.
func (v *verifier) oddity(r *Record) {
	if v.odd == nil {
		return
	}
	torn := bytes.TrimSuffix(v.odd, []byte{'\n'})
	sum := sha256.Sum256(torn)
	if g := r.Gap; g != nil && g.Kind == GapTorn && g.SHA256 == hex.EncodeToString(sum[:]) && g.Bytes == int64(len(torn)) {
		v.report.Torn++
	} else if r.Gap == nil || r.Gap.Kind != GapMissing {
		v.find(v.oddFile, v.oddLine, 0, "no record can be read here: %s", excerpt(torn))
	}
	v.odd = nil
}

// excerpt shows the beginning of what can't be read, without anything that draws on a
// terminal.
func excerpt(b []byte) string { return string(appendText(nil, string(b[:min(len(b), 60)]), 200)) }

// join finds the hash that the line continues: that of the line before, or where that is not
// its neighbour what the line itself names.
func (v *verifier) join(r *Record) (prev Hash, ok bool) {
	hasPrev := r.Prev != ""
	var named Hash
	if hasPrev {
		var err error
		named, err = ParseHash(r.Prev)
		hasPrev = err == nil
	}
	if !v.begun {
		v.begun = true
		v.report.First = r.Seq
		switch {
		case v.stored != nil && r.Seq > v.stored.first:
			v.find(v.name, v.line, r.Seq, "the log begins at line %d here: lines %d to %d were removed", r.Seq, v.stored.first, r.Seq-1)
		case v.stored != nil && r.Seq == v.stored.first && hasPrev && named != v.stored.firstPrev:
			v.find(v.name, v.line, r.Seq, "the first line does not continue what the head says went before it")
		}
		if r.Seq == 1 {
			return Hash{}, true
		}
		return named, hasPrev
	}
	switch {
	case r.Seq == v.at.Count+1:
		if hasPrev && named != v.at.Chain {
			v.find(v.name, v.line, r.Seq, "line %d does not continue the line before it", r.Seq)
			return named, true
		}
		return v.at.Chain, true
	case r.Seq > v.at.Count+1:
		v.find(v.name, v.line, r.Seq, "%s missing before line %d", span(v.at.Count+1, r.Seq-1, "is", "are"), r.Seq)
	default:
		v.find(v.name, v.line, r.Seq, "line %d stands after line %d", r.Seq, v.at.Count)
	}
	return named, hasPrev
}

func (v *verifier) finish(headErr error) {
	rep := v.report
	rep.Head = v.at
	if v.odd != nil {
		if bytes.IndexByte(v.odd, '\n') < 0 && v.name == activeName {
			rep.Torn++ // a line on its way, or cut by a crash: the next writer marks it
		} else {
			v.find(v.oddFile, v.oddLine, 0, "no record can be read here: %s", excerpt(v.odd))
		}
	}
	switch {
	case headErr != nil:
		v.find(headFile, 0, 0, "the head is missing or damaged: whether the end of the log was cut off can't be told")
	case v.foundStored:
		if v.at.Count > v.stored.Count {
			rep.Beyond = int(v.at.Count - v.stored.Count)
		}
	case v.at.Count < v.stored.Count:
		v.find(v.name, v.line, v.at.Count, "the log ends at line %d: %s cut off, which the head says were there", v.at.Count, span(v.at.Count+1, v.stored.Count, "was", "were"))
	default:
		v.find(headFile, 0, v.stored.Count, "the head's hash of line %d is not that of the log", v.stored.Count)
	}
	if g := v.o.Head; g != nil && !v.foundGiven {
		switch {
		case g.Count > v.at.Count:
			v.find(v.name, v.line, v.at.Count, "the log ends at line %d, but it had %d lines when the given head was taken", v.at.Count, g.Count)
		case g.Count < rep.First:
			v.find(v.name, 0, g.Count, "line %d, of which the given head was taken, is kept no longer", g.Count)
		default:
			v.find(v.name, 0, g.Count, "the log was written anew: line %d is not the one of which the given head was taken", g.Count)
		}
	}
}

// span names lines by their numbers, with the verb that fits.
func span(from, to uint64, one, more string) string {
	if from == to {
		return fmt.Sprintf("line %d %s", from, one)
	}
	return fmt.Sprintf("lines %d to %d %s", from, to, more)
}
