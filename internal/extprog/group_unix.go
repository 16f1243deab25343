//go:build unix

package extprog

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
)

// runGroup runs the program in a process group of its own and kills what is left of the
// group when the program has ended or ctx has. It returns the exit status.
func runGroup(ctx context.Context, prog Program, input []byte, stdout, stderr io.Writer) (int, error) {
	p, err := openPipes()
	if err != nil {
		return 0, fmt.Errorf("could not be started: %w", err)
	}
	c := command(prog, p)
	c.SysProcAttr = groupAttr()
	// Linux kills the program when the thread that started it ends, should the server
	// itself be killed. The thread must not end before the program, then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.Start(); err != nil {
		p.closeAll()
		return 0, fmt.Errorf("could not be started: %w", err)
	}
	p.closeTheirs()
	p.begin(input, stdout, stderr)
	g := &group{id: c.Process.Pid}
	unhook := context.AfterFunc(ctx, g.kill)
	// Until the program is waited for it keeps its process id, which is the group's: what
	// is left of the group is killed before, where the system can tell.
	if awaitEnd(c.Process.Pid) {
		g.kill()
		g.gone()
		err = c.Wait()
	} else {
		err = c.Wait()
		g.kill()
		g.gone()
	}
	unhook()
	p.end()
	if state := c.ProcessState; state != nil {
		if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 0, fmt.Errorf("was killed by signal %d (%s)", int(ws.Signal()), ws.Signal())
		}
		return state.ExitCode(), nil
	}
	return 0, err
}

// group is a process group that may be killed until its leader has been waited for:
// after that the number may be somebody else's.
type group struct {
	mu   sync.Mutex
	id   int
	over bool
}

func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		_ = syscall.Kill(-g.id, syscall.SIGKILL) // ESRCH: nobody is left
	}
}

func (g *group) gone() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}
