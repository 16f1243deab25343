package logsink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/logsink"
)

// lost writes a loss as a line.
func lost(l logsink.Loss) []byte { return fmt.Appendf(nil, "LOST %d: %v\n", l.Lines, l.Err) }

// gate is a destination that takes nothing until it is opened, or fails for a while.
type gate struct {
	mu   sync.Mutex
	out  bytes.Buffer
	err  error
	part int // bytes that are taken of the next write that fails
	open chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	if g.open != nil {
		<-g.open
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		n := min(g.part, len(p))
		g.out.Write(p[:n])
		g.part = 0
		return n, g.err
	}
	return g.out.Write(p)
}

func (g *gate) set(err error, part int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.part = err, part
}

func (g *gate) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.String()
}

func put(t *testing.T, s *logsink.Sink, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if n, err := fmt.Fprintf(s, "line %d\n", i); err != nil || n == 0 {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
}

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func TestEveryLineInOrder(t *testing.T) {
	t.Parallel()
	var g gate
	s := logsink.New(&g, logsink.Options{Lost: lost})
	put(t, s, 0, 5000)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.text(); got != lines(0, 5000) {
		t.Errorf("%d bytes came out, want %d", len(got), len(lines(0, 5000)))
	}
	if st := s.Stats(); st.Written != 5000 || st.Dropped != 0 || st.Err != nil {
		t.Errorf("stats %+v", st)
	}
	put(t, s, 0, 1)
	if st := s.Stats(); st.Dropped != 1 {
		t.Errorf("a line after Close: %+v", st)
	}
}

// While the destination takes nothing, the oldest lines wait and the rest is counted; the
// loss is told of in its place.
func TestStalledDestination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate{open: make(chan struct{})}
		s := logsink.New(&g, logsink.Options{Lines: 10, Lost: lost})
		put(t, s, 0, 1)
		synctest.Wait() // the first is on its way
		put(t, s, 1, 101)
		if st := s.Stats(); st.Queued != 10 || st.Dropped != 90 || !errors.Is(st.Err, logsink.ErrFull) {
			t.Errorf("stalled: %+v", st)
		}
		close(g.open)
		synctest.Wait()
		if st := s.Stats(); st.Queued != 0 || st.Written != 11 || st.Dropped != 90 || st.Err != nil {
			t.Errorf("recovered: %+v", st)
		}
		put(t, s, 101, 102)
		synctest.Wait()
		want := lines(0, 11) + "LOST 90: " + logsink.ErrFull.Error() + "\n" + lines(101, 102)
		if got := g.text(); got != want {
			t.Errorf("got %q\nwant %q", got, want)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLargeLinesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate{open: make(chan struct{})}
		s := logsink.New(&g, logsink.Options{Bytes: 1000, Lost: lost})
		put(t, s, 0, 1)
		synctest.Wait()
		for range 5 {
			_, _ = s.Write(append(bytes.Repeat([]byte("x"), 299), '\n'))
		}
		if st := s.Stats(); st.Queued != 3 || st.Dropped != 2 {
			t.Errorf("%+v", st)
		}
		close(g.open)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A destination that fails and recovers: nothing is glued to a line that was cut, and the
// loss is told of without another line to make it so.
func TestFailingDestination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gate
		full := errors.New("no space")
		s := logsink.New(&g, logsink.Options{Lost: lost})
		g.set(full, 3)
		put(t, s, 0, 1)
		synctest.Wait()
		g.set(full, 0)
		put(t, s, 1, 3)
		synctest.Wait()
		if st := s.Stats(); st.Dropped != 3 || st.Written != 0 || !errors.Is(st.Err, full) {
			t.Errorf("failing: %+v", st)
		}
		g.set(nil, 0)
		time.Sleep(2 * logsink.DefaultRetry)
		synctest.Wait()
		if got, want := g.text(), "lin\nLOST 3: no space\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		put(t, s, 3, 5)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got, want := g.text(), "lin\nLOST 3: no space\n"+lines(3, 5); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if st := s.Stats(); st.Err != nil || st.Written != 2 {
			t.Errorf("recovered: %+v", st)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate{open: make(chan struct{})}
		s := logsink.New(&g, logsink.Options{})
		put(t, s, 0, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); err == nil {
			t.Error("no error although nothing was written")
		}
		close(g.open)
		if err := s.Close(t.Context()); err != nil || g.text() != lines(0, 3) {
			t.Errorf("%v, %q", err, g.text())
		}
	})
}

// A real pipe: its buffer fills while nobody reads, and its reader goes.
func TestPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := logsink.New(w, logsink.Options{Lines: 100, Lost: lost})
	const n = 20_000
	put(t, s, 0, n)
	if st := s.Stats(); st.Dropped == 0 {
		t.Errorf("nobody reads, and nothing is lost: %+v", st)
	}
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(r)
		read <- string(text)
	}()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	text := <-read
	var got, missing uint64
	for line := range strings.Lines(text) {
		var k uint64
		if _, err := fmt.Sscanf(line, "LOST %d:", &k); err == nil {
			missing += k
			continue
		}
		if _, err := fmt.Sscanf(line, "line %d\n", &k); err != nil {
			t.Fatalf("a line that nobody wrote: %q", line)
		}
		if k != got+missing {
			t.Fatalf("line %d after %d lines and %d that are told to be missing", k, got, missing)
		}
		got++
	}
	if st := s.Stats(); got+missing != n || st.Written != got || st.Dropped != missing {
		t.Errorf("%d lines and %d missing of %d; stats %+v", got, missing, n, st)
	}

	r, w, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_ = r.Close()
	gone := logsink.New(w, logsink.Options{})
	put(t, gone, 0, 10)
	if err := gone.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if st := gone.Stats(); st.Dropped != 10 || st.Err == nil {
		t.Errorf("without a reader: %+v", st)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("/dev/full is Linux's")
	}
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := logsink.New(f, logsink.Options{Lost: lost})
	put(t, s, 0, 100)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Dropped != 100 || st.Written != 0 || st.Err == nil || !strings.Contains(st.Err.Error(), "no space") {
		t.Errorf("%+v", st)
	}
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	var g gate
	s := logsink.New(&g, logsink.Options{Lines: 1 << 20, Bytes: 1 << 26, Lost: lost})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { put(t, s, 0, 500) })
	}
	wg.Wait()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(g.text(), "\n"); got != 4000 {
		t.Errorf("%d lines, want 4000", got)
	}
	for line := range strings.Lines(g.text()) {
		if !strings.HasPrefix(line, "line ") {
			t.Fatalf("a torn line: %q", line)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	s := logsink.New(io.Discard, logsink.Options{})
	line := append(bytes.Repeat([]byte("x"), 400), '\n')
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Write(line)
	}
	_ = s.Close(context.Background())
}
