// Package extprog asks external programs who somebody is and what he may do, as
// docker_auth's sections ext_auth and ext_authz do.
//
// A program is run with its arguments as they stand in the config; no shell reads them.
// It gets its question on stdin and answers with its exit status:
//
//	ext_auth    stdin: the account, a space, the password; no newline at the end
//	            0 let in; stdout may hold {"labels": {"KEY": ["VALUE", ...]}}
//	            1 wrong password, 2 no such user (the next login is asked)
//	ext_authz   stdin: {"Account", "Type", "Name", "Service", "IP", "Actions", "Labels"} as JSON
//	            0 all that was asked, 1 nothing of it
//
// Any other status, a signal, and output that can't be read are errors: nobody is let in
// and nothing is granted.
//
// Programs hang, flood and fork, and the requests that run them come from anybody. A
// [Pool] therefore bounds how many run at once, how long one runs, and what it may print.
// Each run has a process group of its own, which is killed as a whole when the program
// has ended, when its time is over, when the client has left and when the pool closes:
// nothing stays behind. Only a program that leaves its group on purpose (setsid) escapes;
// on Windows only the program itself is killed. The environment holds PATH, HOME, the
// locale, the time zone and the directory for temporary files, and nothing else of ours.
//
//	pool := extprog.NewPool()
//	defer pool.Close()
//	path, err := extprog.Find("/usr/local/bin/login", nil)
//	login := extprog.NewLogin(pool, extprog.Program{Name: "ext_auth", Path: path}, extprog.Limits{})
//	id, err := login.Authenticate(ctx, "alice", password)
package extprog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Program is what is run.
type Program struct {
	// Name is the config's section, for messages.
	Name string
	// Path is the file, as [Find] returned it.
	Path string
	// Args are the arguments behind it.
	Args []string
}

// Limits bound the runs. A zero field means its default.
type Limits struct {
	// Timeout is the longest run; 10 s.
	Timeout time.Duration
	// Concurrent is how many run at once in the whole pool; 16.
	Concurrent int
	// Wait is the longest wait for one of them to end; 2 s.
	Wait time.Duration
	// Output is the most bytes that a program may print on stdout; 64 KiB.
	Output int
}

func (l Limits) withDefaults() Limits {
	if l.Timeout <= 0 {
		l.Timeout = 10 * time.Second
	}
	if l.Concurrent <= 0 {
		l.Concurrent = 16
	}
	if l.Wait <= 0 {
		l.Wait = 2 * time.Second
	}
	if l.Output <= 0 {
		l.Output = 64 << 10
	}
	return l
}

// maxStderr is how much of a program's complaints is kept, in bytes; the rest is read
// and dropped, so that it does not hang in a full pipe.
const maxStderr = 4 << 10

// FindError says why a program can't be run.
type FindError struct {
	Command string
	Reason  string
	Remedy  string
	Err     error // may be nil
}

// Error names the program and the reason.
func (e *FindError) Error() string { return fmt.Sprintf("%q %s", e.Command, e.Reason) }

// Unwrap returns the cause.
func (e *FindError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *FindError) Hint() string { return e.Remedy }

// Find returns the path of a program. One with a slash is a path, which resolve, where it
// is given, finds; any other is looked for in PATH. The error is a [*FindError].
func Find(command string, resolve func(string) string) (string, error) {
	path := command
	if !strings.ContainsAny(command, `/\`) {
		found, err := exec.LookPath(command)
		if err != nil {
			return "", &FindError{Command: command, Reason: "is not in PATH", Remedy: "write the program's whole path", Err: err}
		}
		return found, nil
	}
	if resolve != nil {
		path = resolve(command)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e := &FindError{Command: command, Reason: "does not exist", Remedy: "install the program there, or correct the path", Err: fs.ErrNotExist}
		if path != command {
			e.Reason = fmt.Sprintf("does not exist (looked for as %q)", path)
		}
		return "", e
	case err != nil:
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", &FindError{Command: command, Reason: "can't be looked at: " + err.Error(), Remedy: "the server's user needs the right to reach it", Err: err}
	case !info.Mode().IsRegular():
		return "", &FindError{Command: command, Reason: "is not a file", Remedy: "name the program itself"}
	}
	if path, err = exec.LookPath(path); err != nil {
		return "", &FindError{Command: command, Reason: "can't be executed by the server's user", Remedy: "chmod +x, and see that the user may execute it", Err: err}
	}
	return path, nil
}

// Result is what became of a program that ended by itself.
type Result struct {
	// Status is its exit status.
	Status int
	// Stdout is all that it printed there; Stderr the beginning of what it printed there.
	Stdout, Stderr []byte
}

// Errors that are not the program's own answer.
var (
	// ErrClosed: the pool has closed.
	ErrClosed = errors.New("the server is stopping")
	// ErrTimeout: the program ran for longer than it may, and was killed.
	ErrTimeout = errors.New("did not end in time and was killed")
	// ErrOutput: the program printed more than it may, and was killed.
	ErrOutput = errors.New("printed too much and was killed")
)

// Pool bounds the runs of all programs of a server. It outlives reloads, so that these
// can't multiply them. It is safe for concurrent use.
type Pool struct {
	mu      sync.Mutex
	running int
	queue   []*turn
	runs    map[*run]struct{}
	closed  bool
	closing chan struct{} // closed with the pool
	idle    chan struct{} // closed when the pool has closed and nothing runs
}

// run is a program that runs.
type run struct {
	stop context.CancelCauseFunc // kills it
}

// turn is one that waits.
type turn struct {
	limit int
	ready chan struct{}
}

// NewPool returns a pool in which nothing runs.
func NewPool() *Pool {
	return &Pool{runs: map[*run]struct{}{}, closing: make(chan struct{}), idle: make(chan struct{})}
}

// Running is how many programs run now.
func (p *Pool) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

// closeWait is how long Close waits for killed processes to be gone, which is a matter
// of milliseconds unless the kernel itself holds them.
const closeWait = 2 * time.Second

// Close kills all programs that run and lets no more begin. It returns when they are
// gone.
func (p *Pool) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
		for r := range p.runs {
			r.stop(ErrClosed)
		}
		if p.running == 0 {
			close(p.idle)
		}
	}
	p.mu.Unlock()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-p.idle:
	case <-timer.C:
	}
}

// errBusy: no turn came within the wait.
var errBusy = errors.New("too many external programs run at once")

// acquire waits for a turn.
func (p *Pool) acquire(ctx context.Context, l Limits) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.running < l.Concurrent && len(p.queue) == 0 {
		p.running++
		p.mu.Unlock()
		return nil
	}
	t := &turn{limit: l.Concurrent, ready: make(chan struct{})}
	p.queue = append(p.queue, t)
	p.mu.Unlock()
	timer := time.NewTimer(l.Wait)
	defer timer.Stop()
	var err error
	select {
	case <-t.ready:
		if err = ctx.Err(); err == nil { // of two that are ready, select takes either
			return nil
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = errBusy
	case <-p.closing:
		err = ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, q := range p.queue {
		if q == t {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			p.next() // one with a higher limit may stand behind
			return err
		}
	}
	p.end() // the turn came in the same moment
	return err
}

// next starts those whose turn has come. The caller holds the lock.
func (p *Pool) next() {
	for len(p.queue) > 0 && p.running < p.queue[0].limit && !p.closed {
		p.running++
		close(p.queue[0].ready)
		p.queue = p.queue[1:]
	}
}

// end gives a turn back. The caller holds the lock.
func (p *Pool) end() {
	p.running--
	if p.closed && p.running == 0 {
		close(p.idle)
	}
	p.next()
}

func (p *Pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

// Run asks the program and waits for its end. The error is ctx's when that ended, one of
// this package's, one that says that too many run ([Busy]), or the system's.
func (p *Pool) Run(ctx context.Context, prog Program, input []byte, limits Limits) (Result, error) {
	limits = limits.withDefaults()
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if err := p.acquire(ctx, limits); err != nil {
		return Result{}, err
	}
	defer p.release()
	return p.run(ctx, prog, input, limits)
}

// Busy reports whether err says that the program was not run because too many others do.
func Busy(err error) bool { return errors.Is(err, errBusy) }

// run runs the program in the turn that it has got.
func (p *Pool) run(ctx context.Context, prog Program, input []byte, limits Limits) (Result, error) {
	// What ends it early, with the reason.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	timer := time.AfterFunc(limits.Timeout, func() { stop(ErrTimeout) })
	defer timer.Stop()
	defer p.enlist(&run{stop})()

	stdout := &bounded{most: limits.Output, over: func() { stop(ErrOutput) }}
	stderr := &bounded{most: maxStderr}
	status, err := runGroup(ctx, prog, input, stdout, stderr)
	result := Result{Status: status, Stdout: stdout.bytes(), Stderr: stderr.bytes()}
	if cause := context.Cause(ctx); cause != nil {
		return result, cause
	}
	return result, err
}

// enlist lets Close stop r until the function that it returns is called.
func (p *Pool) enlist(r *run) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs[r] = struct{}{}
	if p.closed {
		r.stop(ErrClosed)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.runs, r)
	}
}

// bounded keeps the first bytes of what is written to it and drops the rest.
type bounded struct {
	most int
	over func() // called when there is more; may be nil

	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *bounded) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := b.most - b.buf.Len()
	if len(data) > room && b.over != nil {
		b.over()
	}
	b.buf.Write(data[:min(len(data), room)])
	return len(data), nil
}

func (b *bounded) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

// pipes are the program's streams: its ends and ours.
type pipes struct {
	theirs, ours []*os.File
	writing      sync.WaitGroup
	reading      sync.WaitGroup
}

func openPipes() (*pipes, error) {
	p := &pipes{}
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			p.closeAll()
			return nil, err
		}
		if i == 0 {
			p.theirs, p.ours = append(p.theirs, r), append(p.ours, w)
		} else {
			p.theirs, p.ours = append(p.theirs, w), append(p.ours, r)
		}
	}
	return p, nil
}

// begin feeds the program and reads what it prints.
func (p *pipes) begin(input []byte, stdout, stderr io.Writer) {
	p.writing.Go(func() {
		_, _ = p.ours[0].Write(input) // a program need not read its question
		_ = p.ours[0].Close()
	})
	for i, to := range []io.Writer{stdout, stderr} {
		p.reading.Go(func() { _, _ = io.Copy(to, p.ours[i+1]) })
	}
}

// lastWords is how long the output of a program that has ended is waited for. All of it
// is in the pipes by then; only a process that left the group can still hold them open.
const lastWords = 100 * time.Millisecond

// end waits for the last of the output and closes everything.
func (p *pipes) end() {
	late := time.AfterFunc(lastWords, p.closeAll)
	p.reading.Wait()
	late.Stop()
	p.closeAll()
	p.writing.Wait()
}

func (p *pipes) closeTheirs() {
	for _, f := range p.theirs {
		_ = f.Close()
	}
}

func (p *pipes) closeAll() {
	p.closeTheirs()
	for _, f := range p.ours {
		_ = f.Close()
	}
}

// environment is what a program sees of ours: enough to find other programs and to print
// in the right language, and nothing that may be a secret.
func environment(lookup func(string) (string, bool)) []string {
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT", "TEMP", "TMP"} {
		if value, ok := lookup(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// command prepares the program with its streams.
func command(prog Program, p *pipes) *exec.Cmd {
	c := exec.Command(prog.Path, prog.Args...) //nolint:noctx // the administrator's own program; runGroup ends it
	c.Env = environment(os.LookupEnv)
	c.Stdin, c.Stdout, c.Stderr = p.theirs[0], p.theirs[1], p.theirs[2]
	return c
}
