package hardening_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/regctl-setup/regctl-setup/internal/hardening"
)

// The child process switches its own dumps off, looks, and aborts.
func TestMain(m *testing.M) {
	if os.Getenv("HARDENING_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	if err := hardening.NoCoreDumps(); err != nil {
		os.Exit(3)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		os.Exit(4)
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &r); err != nil || r.Cur != 0 || r.Max != 0 {
		os.Exit(5)
	}
	_ = unix.Kill(os.Getpid(), unix.SIGABRT)
	select {}
}

func TestNoCoreDumps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Dir = dir
	// With crash the runtime lets the signal have its way, so that the kernel decides.
	cmd.Env = append(os.Environ(), "HARDENING_TEST_CHILD=1", "GOTRACEBACK=crash")
	out, err := cmd.CombinedOutput()
	var ee *exec.ExitError
	if !errors.As(err, &ee) {
		t.Fatalf("the child: %v", err)
	}
	ws, ok := ee.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() || ws.Signal() != syscall.SIGABRT {
		t.Fatalf("the child ended with %v, want SIGABRT (3: error, 4: dumpable, 5: limit)\n%.300s", ee, out)
	}
	if ws.CoreDump() {
		t.Error("the kernel dumped core")
	}
	if cores, _ := filepath.Glob(filepath.Join(dir, "core*")); len(cores) > 0 {
		t.Errorf("cores: %v", cores)
	}
}
