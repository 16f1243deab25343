package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// Fingerprint tells the contents of a list of files from others.
type Fingerprint [sha256.Size]byte

// maxWatched is how much of a file is read to tell whether it has changed. No file that
// is larger is ever loaded.
const maxWatched = 64<<20 + 1

// FingerprintFiles reads the files and hashes what matters of them: their contents and
// permissions, or why they can't be read. Names are followed to where they lead, so that
// a link set anew counts as a change when there is something else at its end.
func FingerprintFiles(paths []string) Fingerprint {
	f := fileSet{}
	fp, _ := f.fingerprint(paths, time.Time{})
	return fp
}

// fileSet remembers the files' hashes, so that a large one that shows no sign of a
// change is not read at every look.
type fileSet map[string]fileSum

type fileSum struct {
	info   fs.FileInfo
	sum    [sha256.Size]byte
	hashed time.Time
}

// Files up to alwaysRead are hashed at every look. For larger ones identity, size and
// time of change decide, and every rereadAfter the contents: there are tools that write
// in place and set the time back.
const (
	alwaysRead  = 1 << 20
	rereadAfter = 10 * time.Second
)

// fingerprint returns the files' fingerprint and the time at which the newest of them was
// written; times in the future say nothing and are not looked at.
func (f fileSet) fingerprint(paths []string, now time.Time) (Fingerprint, time.Time) {
	var newest time.Time
	all := sha256.New()
	var n [8]byte
	field := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		all.Write(n[:])
		all.Write(b)
	}
	for _, path := range paths {
		field([]byte(path))
		sum, info, err := f.file(path, now)
		if err != nil {
			field([]byte(errorKind(err)))
			continue
		}
		field([]byte(info.Mode().String()))
		field(sum[:])
		if t := info.ModTime(); t.After(newest) && !t.After(now) {
			newest = t
		}
	}
	var fp Fingerprint
	all.Sum(fp[:0])
	return fp, newest
}

var errNotRegular = errors.New("not a regular file")

func (f fileSet) file(path string, now time.Time) ([sha256.Size]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return [sha256.Size]byte{}, nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for its writer
		return [sha256.Size]byte{}, nil, errNotRegular
	}
	if last, ok := f[path]; ok && info.Size() > alwaysRead && os.SameFile(last.info, info) &&
		last.info.Size() == info.Size() && last.info.ModTime().Equal(info.ModTime()) &&
		last.hashed.Sub(info.ModTime()) > 2*time.Second && now.Sub(last.hashed) < rereadAfter {
		last.info = info
		f[path] = last
		return last.sum, info, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return [sha256.Size]byte{}, nil, err
	}
	defer func() { _ = file.Close() }()
	if info, err = file.Stat(); err != nil {
		return [sha256.Size]byte{}, nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(file, maxWatched)); err != nil {
		return [sha256.Size]byte{}, nil, err
	}
	s := fileSum{info: info, hashed: now}
	h.Sum(s.sum[:0])
	f[path] = s
	return s.sum, info, nil
}

// errorKind names an error without what changes from one time to the next.
func errorKind(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "absent"
	case errors.Is(err, fs.ErrPermission):
		return "forbidden"
	}
	return "unreadable"
}

// WatchOptions say how files are watched. The zero value has the defaults.
type WatchOptions struct {
	// Interval is how often the files are looked at; zero: twice a second.
	Interval time.Duration
	// Settle is how long they must have the same contents before they are loaded,
	// counted from the change; zero: 2.5 seconds. A file that somebody writes slowly,
	// or with a pause, is so not taken for whole.
	Settle time.Duration
	// Retry is after what time a configuration that could not be loaded is tried again
	// although it has not changed: something else may have been in the way. Zero: a
	// minute.
	Retry time.Duration
}

// Watch reloads when the contents of the state's files have changed, and returns when
// ctx ends. It polls: notifications are lost when directories, links and mounts are
// swapped, and there is nothing that a look twice a second does not see. What counts is
// what the files hold, not their times: a storm of touches neither delays nor causes
// anything. A change is loaded within three seconds; one that looks cut short
// ([State.Follows]) waits for the rest, or for [Server.Reload].
func (s *Server) Watch(ctx context.Context, o WatchOptions) {
	if o.Interval <= 0 {
		o.Interval = time.Second / 2
	}
	if o.Settle <= 0 {
		o.Settle = 2500 * time.Millisecond
	}
	if o.Retry <= 0 {
		o.Retry = time.Minute
	}
	w := watcher{s: s, o: o, files: fileSet{}, lastLook: s.now()}
	timer := time.NewTimer(o.Interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(w.look(ctx))
	}
}

type watcher struct {
	s        *Server
	o        WatchOptions
	files    fileSet
	lastLook time.Time

	pending bool
	found   Fingerprint // the contents that are waiting
	due     time.Time   // when they may be loaded
	tried   bool        // and did not make it
	triedAt time.Time
	held    bool
	began   time.Time // when the contents first differed from those in force
}

// look looks at the files once and returns when to look again.
func (w *watcher) look(ctx context.Context) time.Duration {
	st := w.s.State()
	now := w.s.now()
	fp, newest := w.files.fingerprint(st.Sources, now)
	lastLook := w.lastLook
	w.lastLook = now
	if fp == st.Fingerprint {
		if w.pending {
			w.pending = false
			w.s.settled()
		}
		w.lookForStale(st)
		return w.o.Interval
	}
	if !w.pending || fp != w.found {
		if !w.pending || w.tried {
			w.began = now
		}
		// The contents settle from when they were written. The file's time tells, unless
		// it was moved here with an older one, or touched again since: the change was
		// after the last look, which bounds the wait.
		if newest.Before(lastLook) {
			newest = lastLook
		}
		due := newest.Add(w.o.Settle)
		if latest := lastLook.Add(w.o.Settle + w.o.Interval*4/5); due.After(latest) {
			due = latest
		}
		w.pending, w.found, w.due, w.tried, w.held = true, fp, due, false, false
	}
	// While something waits: often enough that the load begins in time.
	soon := min(w.o.Interval, 200*time.Millisecond)
	switch {
	case w.tried && (w.held || now.Sub(w.triedAt) < w.o.Retry):
		return w.o.Interval
	case now.Before(w.due):
		if now.Sub(w.began) > 10*time.Second {
			w.s.setNotice("the files keep changing; they are loaded once they have been the same for a while")
		}
		return min(soon, w.due.Sub(now))
	}
	w.triedAt = now
	err := w.s.reload(ctx, &fp)
	var held *heldError
	switch {
	case err == nil:
		w.pending = false
		return w.o.Interval
	case errors.Is(err, ErrChanged):
		w.pending = false // looked at anew
		return soon
	case errors.As(err, &held):
		w.held = true
		notice := "changed files are not loaded: " + held.Error()
		w.s.setNotice(notice)
		w.s.log.Warn(printable(notice, 1000), "hint", "write the file whole, or send SIGHUP to load it as it is")
	}
	w.tried = true
	return w.o.Interval
}

// lookForStale says so when a file can't change any more because its name now belongs to
// another one that nobody here can see: a container into which the single file was
// mounted keeps the one that it began with.
func (w *watcher) lookForStale(st *State) {
	for _, path := range st.Sources {
		if sum, ok := w.files[path]; !ok || !unlinked(sum.info) {
			continue
		}
		notice := path + " was replaced outside, and this process still sees the old file; mount its directory instead, or restart"
		if w.s.setNotice(notice) {
			w.s.log.Warn(printable(notice, 1000))
		}
	}
}

// settled: the files are again those in force.
func (s *Server) settled() {
	s.mu.Lock()
	s.lastError, s.lastFailed, s.notice = nil, time.Time{}, ""
	s.mu.Unlock()
	s.log.Info("the files are again those of the configuration in force")
}

// setNotice shows text in /healthz?verbose and reports whether it is new.
func (s *Server) setNotice(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.notice
	s.notice = text
	return was != text
}
