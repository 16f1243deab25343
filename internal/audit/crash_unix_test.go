//go:build unix

package audit

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets a test start this program as a writer that it can kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDIT_TEST_WRITER"); dir != "" {
		os.Exit(writeForever(dir, os.Getenv("AUDIT_TEST_NAME")))
	}
	os.Exit(m.Run())
}

// writeForever appends lines and prints the number of each that it was told is recorded. A
// limit in AUDIT_TEST_LINES ends it.
func writeForever(dir, name string) int {
	limit, _ := strconv.Atoi(os.Getenv("AUDIT_TEST_LINES"))
	l := NewLog(Options{Dir: dir, Sync: SyncNever, RotateSize: 64 << 10, Wait: time.Minute})
	for i := 0; limit == 0 || i < limit; i++ {
		if err := l.Append(context.Background(), login(fmt.Sprintf("%s-%d", name, i))); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(i) + "\n")
	}
	if err := l.Close(); err != nil {
		return 1
	}
	return 0
}

// writer starts one; the lines that it was told are recorded come back when it has ended.
func startWriter(t *testing.T, dir, name string, lines int) (*exec.Cmd, func() int, chan struct{}) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "AUDIT_TEST_WRITER="+dir, "AUDIT_TEST_NAME="+name, "AUDIT_TEST_LINES="+strconv.Itoa(lines))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := make(chan int, 1)
	first := make(chan struct{})
	go func() {
		n := 0
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			if n++; n == 1 {
				close(first)
			}
		}
		last <- n
	}()
	return cmd, func() int { n := <-last; _ = cmd.Wait(); return n }, first
}

// TestF5WritersAndKills: 20 processes write 500 lines each while 50 others are killed in the
// middle of what they do. Every line that somebody was told is recorded is there, every
// line is a record but for at most one torn tail a kill, and the chain holds.
func TestF5WritersAndKills(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("70 processes; not with -short")
	}
	dir := filepath.Join(t.TempDir(), "audit")
	const writers, lines, kills = 20, 500, 50
	told := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range writers {
		name := fmt.Sprintf("steady%d", i)
		_, wait, _ := startWriter(t, dir, name, lines)
		wg.Go(func() {
			n := wait()
			mu.Lock()
			told[name] = n
			mu.Unlock()
		})
	}
	for i := range kills {
		name := fmt.Sprintf("killed%d", i)
		cmd, wait, first := startWriter(t, dir, name, 0)
		select {
		case <-first:
		case <-time.After(time.Minute):
			t.Fatal("a writer writes nothing")
		}
		time.Sleep(time.Duration(i%7) * time.Millisecond) //nolint:forbidigo // the kills shall hit different moments
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		n := wait()
		mu.Lock()
		told[name] = n
		mu.Unlock()
	}
	wg.Wait()
	got := map[string]int{}
	for _, a := range accounts(t, dir) {
		name, _, _ := strings.Cut(a, "-")
		got[name]++
	}
	for name, n := range told {
		if strings.HasPrefix(name, "steady") && n != lines {
			t.Errorf("%s wrote %d lines", name, n)
		}
		// The last line of who was killed may be there although nobody was told.
		if got[name] != n && got[name] != n+1 {
			t.Errorf("%s was told of %d lines, the log has %d", name, n, got[name])
		}
	}
	rep := mustVerify(t, dir)
	for _, f := range rep.Findings {
		t.Errorf("finding: %s", f)
	}
	if rep.Torn > kills {
		t.Errorf("%d torn lines from %d kills", rep.Torn, kills)
	}
	t.Logf("%d lines in %d files, %d torn", rep.Lines, rep.Files, rep.Torn)
}
