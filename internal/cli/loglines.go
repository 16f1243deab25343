package cli

import (
	"bytes"
	"io"
)

// lineWriter passes whole lines on, each changed by edit. It keeps what has no end yet, until
// flush.
type lineWriter struct {
	to   io.Writer
	edit func(string) string
	rest []byte
}

func newLineWriter(to io.Writer, edit func(string) string) *lineWriter {
	return &lineWriter{to: to, edit: edit}
}

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := w.edit(string(w.rest[:i])) + "\n"
		w.rest = w.rest[i+1:]
		if _, err := io.WriteString(w.to, line); err != nil {
			return 0, err
		}
	}
}

// flush passes on a last line without an end.
func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		_, _ = io.WriteString(w.to, w.edit(string(w.rest))+"\n")
		w.rest = nil
	}
}
