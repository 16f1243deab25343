package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: at} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newTestLog(t *testing.T, o Options) *Log {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "audit")
	}
	if o.Sync == "" {
		o.Sync = SyncNever
	}
	l := NewLog(o)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func login(name string) *Record {
	return &Record{Kind: KindToken, Authenticated: true, Account: name, Result: "login"}
}

func appendAll(t *testing.T, l *Log, records ...*Record) {
	t.Helper()
	for _, r := range records {
		if err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// accounts are those of all lines, in their order.
func accounts(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	if _, err := Scan(t.Context(), dir, nil, func(r *Record) error {
		if r.Kind == KindToken {
			out = append(out, r.Account)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func mustVerify(t *testing.T, dir string) *Report {
	t.Helper()
	rep, err := Verify(t.Context(), dir, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func intact(t *testing.T, dir string) *Report {
	t.Helper()
	rep := mustVerify(t, dir)
	for _, f := range rep.Findings {
		t.Errorf("finding: %s", f)
	}
	return rep
}

func TestLinesAreNumberedAndChained(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{})
	appendAll(t, l, login("a"), login("b"))
	h, ok := l.Head()
	if !ok || h.Count != 3 { // the line that begins the file, and two
		t.Fatalf("head %v, %v", h, ok)
	}
	data, err := os.ReadFile(filepath.Join(l.Dir(), activeName))
	if err != nil {
		t.Fatal(err)
	}
	var chain Hash
	for i, text := range bytes.SplitAfter(bytes.TrimSpace(data), []byte("\n")) {
		covered, got, ok := unchain(text)
		if chain = link(chain, covered); !ok || got != chain {
			t.Fatalf("line %d: %s", i+1, text)
		}
	}
	if chain != h.Chain {
		t.Errorf("the head is not the last line's hash")
	}
	if rep := intact(t, l.Dir()); rep.Lines != 3 || rep.Head != h {
		t.Errorf("report %+v, head %v", rep, h)
	}
	for name, mode := range map[string]os.FileMode{".": 0o700 | os.ModeDir, activeName: 0o600, headFile: 0o600, lockName: 0o600} {
		if st, err := os.Stat(filepath.Join(l.Dir(), name)); err != nil || st.Mode() != mode {
			t.Errorf("%s: mode %v (%v), want %v", name, st.Mode(), err, mode)
		}
	}
}

func TestRotationKeepsTheChain(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := newTestLog(t, Options{RotateSize: 2000, RotateAge: time.Hour, Now: c.now})
	var want []string
	for i := range 40 {
		name := fmt.Sprintf("user%02d", i)
		want = append(want, name)
		appendAll(t, l, login(name))
	}
	c.add(2 * time.Hour)
	appendAll(t, l, login("late"))
	want = append(want, "late")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := segments(l.Dir())
	if err != nil || len(list) < 4 {
		t.Fatalf("%d segments, %v", len(list), err)
	}
	for _, s := range list[:len(list)-1] {
		if !s.gz {
			t.Errorf("%s is not compressed", s.name())
		}
	}
	if got := accounts(t, l.Dir()); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v\nwant %v", got, want)
	}
	intact(t, l.Dir())
}

func TestRetentionMovesTheBeginning(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := newTestLog(t, Options{RotateAge: time.Hour, Keep: 5 * time.Hour, Now: c.now, Plain: true})
	for i := range 10 {
		appendAll(t, l, login(fmt.Sprintf("user%d", i)))
		c.add(time.Hour)
	}
	got := accounts(t, l.Dir())
	if len(got) >= 10 || got[len(got)-1] != "user9" || got[0] == "user0" {
		t.Errorf("kept %v", got)
	}
	rep := intact(t, l.Dir())
	if rep.First <= 1 {
		t.Errorf("the log begins at line %d", rep.First)
	}
	// What somebody else removes is noticed.
	list, err := segments(l.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(list[0].path); err != nil {
		t.Fatal(err)
	}
	if rep := mustVerify(t, l.Dir()); rep.Intact() {
		t.Error("a removed segment is not noticed")
	}
}

func TestKeepSize(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{RotateSize: 1000, KeepSize: 3000, Plain: true})
	for i := range 60 {
		appendAll(t, l, login(fmt.Sprintf("user%d", i)))
	}
	total := int64(0)
	list, err := segments(l.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		st, err := os.Stat(s.path)
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	if total > 3000+2*1500 {
		t.Errorf("%d bytes are kept", total)
	}
	intact(t, l.Dir())
}

// TestTwoLogsShareAFolder: what the server and the command line append, in turns.
func TestTwoLogsShareAFolder(t *testing.T) {
	t.Parallel()
	a := newTestLog(t, Options{RotateSize: 3000})
	b := newTestLog(t, Options{Dir: a.Dir(), RotateSize: 3000, Once: true})
	for i := range 50 {
		appendAll(t, a, login(fmt.Sprintf("a%d", i)))
		appendAll(t, b, login(fmt.Sprintf("b%d", i)))
	}
	if got := accounts(t, a.Dir()); len(got) != 100 {
		t.Errorf("%d lines", len(got))
	}
	intact(t, a.Dir())
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Sync: SyncAlways})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 50 {
				if err := l.Append(t.Context(), login(fmt.Sprintf("%d-%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := accounts(t, l.Dir()); len(got) != 1000 {
		t.Errorf("%d lines", len(got))
	}
	intact(t, l.Dir())
}

// active opens the file that is written, as somebody with an editor does.
func active(t *testing.T, dir string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, activeName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestF5TornTail: a line that a crash has cut is ended and marked, wherever it was cut, and
// the chain goes on.
func TestF5TornTail(t *testing.T) {
	t.Parallel()
	for cut := 1; ; cut += 7 {
		l := newTestLog(t, Options{})
		appendAll(t, l, login("first"))
		head, err := os.ReadFile(filepath.Join(l.Dir(), headFile))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.Stat(filepath.Join(l.Dir(), activeName))
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, l, login("second"))
		_ = l.Close()
		// A process that was killed before the line was whole has not written the head.
		whole := false
		active(t, l.Dir(), func(data []byte) []byte {
			end := int(kept.Size()) + cut
			whole = end >= len(data)
			return data[:min(end, len(data))]
		})
		if whole {
			return
		}
		if err := os.WriteFile(filepath.Join(l.Dir(), headFile), head, 0o600); err != nil {
			t.Fatal(err)
		}
		if rep := mustVerify(t, l.Dir()); !rep.Intact() || rep.Torn != 1 {
			t.Fatalf("cut at %d, before it is marked: %+v", cut, rep)
		}
		again := newTestLog(t, Options{Dir: l.Dir()})
		appendAll(t, again, login("third"))
		_ = again.Close()
		if got := accounts(t, l.Dir()); strings.Join(got, " ") != "first third" {
			t.Fatalf("cut at %d: %v", cut, got)
		}
		if rep := mustVerify(t, l.Dir()); rep.Torn != 1 || !rep.Intact() {
			t.Fatalf("cut at %d: %+v", cut, rep)
		}
	}
}

func TestLostHead(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(p string) error { return os.Truncate(p, 0) },
		"garbage": func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("x"), 1024), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newTestLog(t, Options{RotateSize: 1500})
			for i := range 20 {
				appendAll(t, l, login(fmt.Sprint(i)))
			}
			_ = l.Close()
			if err := damage(filepath.Join(l.Dir(), headFile)); err != nil {
				t.Fatal(err)
			}
			if rep := mustVerify(t, l.Dir()); rep.Intact() {
				t.Error("a log without a head counts as intact")
			}
			again := newTestLog(t, Options{Dir: l.Dir(), RotateSize: 1500})
			appendAll(t, again, login("after"))
			_ = again.Close()
			if got := accounts(t, l.Dir()); len(got) != 21 {
				t.Errorf("%d lines", len(got))
			}
			rep := mustVerify(t, l.Dir())
			if len(rep.Findings) != 1 || !strings.Contains(rep.Findings[0].What, "head") {
				t.Errorf("findings %v", rep.Findings)
			}
		})
	}
}

// TestHeadBehind: a process was killed between its lines and the head.
func TestHeadBehind(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{})
	appendAll(t, l, login("a"))
	head, err := os.ReadFile(filepath.Join(l.Dir(), headFile))
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, login("b"), login("c"))
	_ = l.Close()
	if err := os.WriteFile(filepath.Join(l.Dir(), headFile), head, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := mustVerify(t, l.Dir()); !rep.Intact() || rep.Beyond != 2 {
		t.Errorf("%+v", rep)
	}
	again := newTestLog(t, Options{Dir: l.Dir()})
	appendAll(t, again, login("d"))
	if got := strings.Join(accounts(t, l.Dir()), ""); got != "abcd" {
		t.Errorf("got %s", got)
	}
	intact(t, l.Dir())
}

// TestInterruptedRotation: killed between the rename and the new file, and with the new
// file begun but without its first line.
func TestInterruptedRotation(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]string{"no file": "-", "empty": "", "part of a line": `{"seq":4,"time":`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newTestLog(t, Options{})
			appendAll(t, l, login("a"), login("b"))
			_ = l.Close()
			path := filepath.Join(l.Dir(), activeName)
			if err := os.Rename(path, filepath.Join(l.Dir(), rotatedName(1))); err != nil {
				t.Fatal(err)
			}
			if begun != "-" {
				if err := os.WriteFile(path, []byte(begun), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			again := newTestLog(t, Options{Dir: l.Dir()})
			appendAll(t, again, login("c"))
			_ = again.Close()
			if got := strings.Join(accounts(t, l.Dir()), ""); got != "abc" {
				t.Errorf("got %s", got)
			}
			intact(t, l.Dir())
		})
	}
}

// TestF4DiskFull: a line that does not fit is refused, leaves no part of itself, and once
// there is space again the log tells how many are missing, without anybody appending.
func TestF4DiskFull(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	space := 1 << 20
	set := func(n int) { mu.Lock(); space = n; mu.Unlock() }
	var told []string
	l := newTestLog(t, Options{
		SyncEvery: 10 * time.Millisecond,
		Failed: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(err != nil))
		},
		write: func(f *os.File, b []byte) (int, error) {
			mu.Lock()
			n := min(space, len(b))
			space -= n
			mu.Unlock()
			if n, err := f.Write(b[:n]); err != nil {
				return n, err
			}
			if n < len(b) {
				return n, syscall.ENOSPC
			}
			return n, nil
		},
	})
	appendAll(t, l, login("before"))
	set(40)
	for range 3 {
		if err := l.Append(t.Context(), login("lost")); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("error %v", err)
		}
	}
	if l.Err() == nil {
		t.Error("the log says that it works")
	}
	set(1 << 20)
	deadline := time.Now().Add(10 * time.Second)
	for l.Err() != nil {
		if time.Now().After(deadline) {
			t.Fatal("the log does not recover by itself")
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // waits for a state, with a deadline
	}
	appendAll(t, l, login("after"))
	if got := strings.Join(accounts(t, l.Dir()), " "); got != "before after" {
		t.Errorf("got %s", got)
	}
	lost := uint64(0)
	if _, err := Scan(t.Context(), l.Dir(), nil, func(r *Record) error {
		if r.Gap != nil && r.Gap.Kind == GapUnrecorded {
			lost += r.Gap.Lost
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if lost != 3 {
		t.Errorf("the log tells of %d lost records, want 3", lost)
	}
	mu.Lock()
	if got := strings.Join(told, " "); got != "true false" {
		t.Errorf("told %s", got)
	}
	mu.Unlock()
	if rep := mustVerify(t, l.Dir()); !rep.Intact() || rep.Unrecorded != 3 {
		t.Errorf("%+v", rep)
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{Dir: filepath.Join(t.TempDir(), "no", "such", "place")})
	if err := l.Append(t.Context(), login("a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(l.Dir()), 0o700); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, login("b"))
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}

func TestClosedLog(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{})
	_ = l.Close()
	if err := l.Append(context.Background(), login("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	_ = l.Close() // a second time does nothing
}

// TestStalledDisk: whoever appends waits a bounded time, and those after the first not at all.
func TestStalledDisk(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	l := newTestLog(t, Options{Wait: 20 * time.Millisecond, write: func(f *os.File, b []byte) (int, error) {
		<-release
		return f.Write(b)
	}})
	if err := l.Append(t.Context(), login("a")); !errors.Is(err, ErrStalled) {
		t.Errorf("error %v", err)
	}
	if err := l.Append(t.Context(), login("b")); !errors.Is(err, ErrStalled) || l.Err() == nil {
		t.Errorf("error %v, state %v", err, l.Err())
	}
	close(release)
	_ = l.Close()
	if got := strings.Join(accounts(t, l.Dir()), ""); got != "a" {
		t.Errorf("got %q", got)
	}
}

// TestBatchOnNearlyFullDisk: lines that wait together are written together. Where they don't fit,
// those that do are in the log, and the others leave no part of themselves.
func TestBatchOnNearlyFullDisk(t *testing.T) {
	t.Parallel()
	const waiting = 6
	for room := range waiting + 1 {
		var mu sync.Mutex
		limit, writes := int64(1<<20), 0
		gate := make(chan struct{})
		l := newTestLog(t, Options{write: func(f *os.File, b []byte) (int, error) {
			<-gate
			mu.Lock()
			defer mu.Unlock()
			writes++
			info, err := f.Stat()
			if err != nil {
				return 0, err
			}
			n := min(int64(len(b)), limit-info.Size())
			if n, err := f.Write(b[:n]); err != nil {
				return n, err
			}
			if n < int64(len(b)) {
				return int(n), syscall.ENOSPC
			}
			return int(n), nil
		}})
		results := make(chan error, waiting)
		first := make(chan error, 1)
		go func() { first <- l.Append(context.Background(), login("0")) }()
		gate <- struct{}{} // the segment's line: the writer is at its turn
		for range waiting {
			go func() { results <- l.Append(context.Background(), login("x")) }()
		}
		for len(l.queue) < waiting {
			runtime.Gosched()
		}
		gate <- struct{}{}
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(l.Dir(), activeName))
		if err != nil {
			t.Fatal(err)
		}
		line := len(data) - bytes.IndexByte(data, '\n') - 1
		mu.Lock()
		limit, writes = int64(len(data)+room*line+line/2), 0
		mu.Unlock()
		close(gate)
		good := 0
		for range waiting {
			if err := <-results; err == nil {
				good++
			} else if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("room for %d: %v", room, err)
			}
		}
		mu.Lock()
		n := writes
		limit = 1 << 20
		mu.Unlock()
		if good != room || room == waiting && n != 1 {
			t.Errorf("room for %d: %d are in the log after %d writes", room, good, n)
		}
		_ = l.Close()
		if got := len(accounts(t, l.Dir())); got != 1+room {
			t.Errorf("room for %d: the log has %d lines", room, got)
		}
		if rep, err := Verify(t.Context(), l.Dir(), VerifyOptions{}); err != nil || !rep.Intact() {
			t.Errorf("room for %d: %+v, %v", room, rep, err)
		}
	}
}

// TestSlowSync: nobody waits for the disk but who asked for that; a disk that hangs is one that
// takes no lines; and what can't be forced there is told.
func TestSlowSync(t *testing.T) {
	t.Parallel()
	begun, result := make(chan struct{}), make(chan error)
	l := newTestLog(t, Options{Sync: SyncInterval, SyncEvery: time.Millisecond, Wait: time.Hour, sync: func(*os.File) error {
		begun <- struct{}{}
		return <-result
	}})
	appendAll(t, l, login("a"))
	<-begun
	appendAll(t, l, login("b"), login("c"))
	if err := l.Err(); err != nil {
		t.Errorf("while the disk is at it: %v", err)
	}
	l.w.syncSince.Store(time.Now().Add(-2 * time.Hour).UnixNano())
	if err := l.Append(t.Context(), login("hung")); !errors.Is(err, ErrStalled) || !errors.Is(l.Err(), ErrStalled) {
		t.Errorf("a disk that hangs: %v, %v", err, l.Err())
	}
	result <- syscall.EIO
	<-begun // tried again, for the same lines
	if err := l.Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a disk that fails: %v", err)
	}
	result <- nil
	// d comes after the one that is refused has been told of, and so has another sync to wait for.
	appended := make(chan error, 1)
	go func() { appended <- l.Append(context.Background(), login("d")) }()
	<-begun
	result <- nil
	if err := <-appended; err != nil {
		t.Error(err)
	}
	go func() {
		for range begun {
			result <- nil
		}
	}()
	_ = l.Close()
	close(begun)
	if err := l.Err(); err != nil {
		t.Errorf("in the end: %v", err)
	}
	if got := strings.Join(accounts(t, l.Dir()), ""); got != "abcd" {
		t.Errorf("got %q", got)
	}
}

// TestSlotIsJSON: other programs may read what the head says.
func TestSlotIsJSON(t *testing.T) {
	t.Parallel()
	big := state{Head: Head{math.MaxUint64, Hash{1, 0xff}}, segment: math.MaxInt32, size: math.MaxInt64, first: math.MaxUint64 - 1, firstPrev: Hash{2}}
	for _, s := range []state{big, {segment: 1, first: 1}} {
		var b [slotSize]byte
		text := s.encode(&b, at)
		if got, ok := parseSlot(text); !ok || got != s {
			t.Errorf("read back as %+v, want %+v", got, s)
		}
		want, err := json.Marshal(slotJSON{s.Count, s.Chain.String(), s.segment, s.size, s.first, s.firstPrev.String(), at.UTC().Format(time.RFC3339)})
		if err != nil || !bytes.HasPrefix(text, append(want, ' ')) {
			t.Errorf("slot %s, want %s, %v", text, want, err)
		}
	}
}

// TestHeadSlots: whichever half a crash damages, the other one is found.
func TestHeadSlots(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, Options{})
	appendAll(t, l, login("a"), login("b"), login("c"))
	path := filepath.Join(l.Dir(), headFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(bytes.NewReader(data))
	n := 0
	for sc.Scan() {
		n++
	}
	if n != 2 || len(data) != 2*slotSize {
		t.Fatalf("%d lines, %d bytes", n, len(data))
	}
	for half := range 2 {
		broken := bytes.Clone(data)
		broken[half*slotSize+10] ^= 1
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := ReadHead(l.Dir()); err != nil || h.Count < 3 {
			t.Errorf("half %d broken: %v, %v", half, h, err)
		}
	}
}
