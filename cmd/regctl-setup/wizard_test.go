//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is the program on a pseudo terminal, as a person has it.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	mu   sync.Mutex
	seen bytes.Buffer
	from int // what was waited for before ends here
	more chan struct{}
	end  chan struct{}
}

// onTerminal starts init in an empty folder, with stdin, stdout and stderr on a terminal of
// 24 lines of 80.
func onTerminal(t *testing.T, env []string, args ...string) (*terminal, string) {
	t.Helper()
	dir := t.TempDir()
	return onTerminalIn(t, dir, env, args...), dir
}

// onTerminalIn starts init in the folder.
func onTerminalIn(t *testing.T, dir string, env []string, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	p := &terminal{t: t, more: make(chan struct{}, 1), end: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, "regctl-setup", append([]string{"init", "reg"}, args...)...)
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TERM=xterm-256color", "LANG=C.UTF-8"}, env...)
	tty, err := pty.StartWithSize(p.cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, pty.ErrUnsupported) {
		t.Skipf("no pseudo terminal here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.tty = tty
	t.Cleanup(func() { _ = tty.Close() })
	go func() {
		defer close(p.end)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			p.mu.Lock()
			p.seen.Write(buf[:n])
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

// escape leaves the terminal's titles: they name the question as a whole, while of the
// screen only the cells that differ from those before are written.
var escape = regexp.MustCompile("\x1b(?:\\[[0-9;?<>=$]*[a-zA-Z@`]|[()][0-9A-Z]|[=>78M])")

func (p *terminal) raw() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

// text is what came since the last wait, without escape sequences and blanks: the screen is
// redrawn in parts, and cells that stay as they are are jumped over.
func (p *terminal) text() string {
	s := p.raw()
	return squeezed(escape.ReplaceAllString(s[p.from:], ""))
}

func squeezed(s string) string { return strings.Join(strings.Fields(s), "") }

// until waits until the program has written want, then types keys.
func (p *terminal) until(want, keys string) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for !strings.Contains(p.text(), squeezed(want)) {
		select {
		case <-p.more:
		case <-p.end:
			if !strings.Contains(p.text(), squeezed(want)) {
				p.t.Fatalf("it ended before %q:\n%s", want, p.text())
			}
		case <-deadline:
			p.t.Fatalf("%q does not come up:\n%q", want, p.raw()[p.from:])
		}
	}
	p.from = len(p.raw())
	if _, err := p.tty.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the program's end and returns its status.
func (p *terminal) exit() int {
	<-p.end
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func answersOf(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "reg", "regctl-setup.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// byFlags is the answers file that the flags give without a terminal.
func byFlags(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "regctl-setup", append([]string{"init", "reg", "--yes"}, flags...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("init --yes: %v\n%s", err, out)
	}
	return answersOf(t, dir)
}

const enter = "\r"

// TestWizardOnATerminal goes through the wizard and gets what the flags would give.
func TestWizardOnATerminal(t *testing.T) {
	t.Parallel()
	want := byFlags(t, "--domain", "registry.example.com", "--email", "ops@example.com", "--registry", "2",
		"--anonymous-pull", "public/**", "--team", "backend", "--user", "alice:team=backend", "--key-type", "rsa-2048")
	p, dir := onTerminal(t, nil, "--key-type", "rsa-2048")
	p.until("What is the registry's domain?", "\x15registry.example.com/"+enter)
	p.until("expected a host name", "\x7f"+enter)
	p.until("Where does the HTTPS certificate come from?", enter)
	p.until("Which e-mail address", "ops@example.com"+enter)
	p.until("Where are the images kept?", enter)
	p.until("Which version of the registry?", "\x1b[B"+enter)
	p.until("Which program checks logins and rights?", enter)
	p.until("What may be pulled without a login?", "\x1b[B\x1b[B"+enter)
	p.until("Which names may be pulled", enter)
	p.until("Which teams are there?", "backend"+enter)
	p.until("Who gets an account, besides admin?", "alice:team=backend"+enter)
	p.until("Whose passwords?", enter)
	p.until("init: summary", enter)
	if status := p.exit(); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, p.text())
	}
	if got := answersOf(t, dir); got != want {
		t.Errorf("regctl-setup.yaml is not that of the same flags:\n%s", got)
	}
	out := p.raw()
	if i := strings.LastIndex(out, "\x1b[?1049l"); i < 0 || !strings.Contains(out[i:], "each password is shown this once") {
		t.Error("the passwords are not on the terminal's first buffer, or that was not restored")
	}
}

// TestWizardIsLeft: Ctrl-C and Esc on every screen leave nothing behind.
func TestWizardIsLeft(t *testing.T) {
	t.Parallel()
	screens := []string{
		"What is the registry's domain?", "Where does the HTTPS certificate come from?", "Where are the images kept?",
		"Which version of the registry?", "Which program checks logins", "What may be pulled", "Which teams", "Who gets an account",
		"Whose passwords?", "init: summary",
	}
	for i, screen := range screens {
		key := map[bool]string{true: "\x03", false: "\x1b"}[i%2 == 0]
		t.Run(screen, func(t *testing.T) {
			t.Parallel()
			p, dir := onTerminal(t, nil)
			for _, before := range screens[:i] {
				p.until(before, enter)
			}
			p.until(screen, key)
			if status := p.exit(); status != 130 {
				t.Errorf("exit status %d, want 130", status)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("it left %v behind (%v)", entries, err)
			}
			if out := p.raw(); !strings.Contains(out, "\x1b[?1049l") || !strings.Contains(out, "regctl-setup: interrupted") {
				t.Errorf("the terminal is not restored, or nothing is said: %q", out[max(0, len(out)-300):])
			}
		})
	}
}

// TestWizardWithoutColour: with NO_COLOR no colour is set, in any of the ways to set one.
func TestWizardWithoutColour(t *testing.T) {
	t.Parallel()
	colour := regexp.MustCompile("\x1b\\[[0-9;:]*m")
	set := regexp.MustCompile("(?:^|;)(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;|:|$)")
	coloured := func(env ...string) (n int) {
		p, _ := onTerminal(t, env)
		p.until("What is the registry's domain?", "\x15x y")
		p.until("expected a host name", "\x03")
		p.exit()
		for _, sgr := range colour.FindAllString(p.raw(), -1) {
			if set.MatchString(strings.Trim(sgr, "\x1b[m")) {
				n++
			}
		}
		return n
	}
	if n := coloured("NO_COLOR=1"); n > 0 {
		t.Errorf("%d colours with NO_COLOR", n)
	}
	if n := coloured(); n == 0 {
		t.Error("no colour without NO_COLOR: this test looks for the wrong thing")
	}
}

// TestWizardAgain: in a folder that holds a deployment the recorded answers are the defaults,
// no password is asked for, and what changes is shown and confirmed before it is written.
func TestWizardAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := exec.CommandContext(t.Context(), "regctl-setup", "init", "reg", "--yes", "--key-type", "rsa-2048",
		"--domain", "10.0.0.7", "--registry", "2", "--team", "backend", "--user", "alice:team=backend")
	made.Dir = dir
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("init --yes: %v\n%s", err, out)
	}
	before := answersOf(t, dir)
	lines := []string{"ACCESSIBLE=1"}
	through := func(users, last string) *terminal {
		p := onTerminalIn(t, dir, lines)
		p.until("Domain [10.0.0.7]:", "\n")
		p.until("Where does the HTTPS certificate come from?", "\n")
		p.until("Where are the images kept?", "\n")
		p.until("2: frozen at 2.8.3, gets no security fixes any more\nEnter a number", "\n")
		p.until("Which program", "\n")
		p.until("without a login?", "\n")
		p.until("Teams [backend]:", "\n")
		p.until("Users [alice:team=backend]:", users+"\n")
		p.until(last, "\n")
		return p
	}

	p := through("", "Nothing changes in reg.")
	if status := p.exit(); status != 0 || !strings.Contains(p.raw(), "nothing to do") {
		t.Errorf("nothing changed: exit status %d:\n%s", status, p.raw())
	}
	p = through("alice:team=backend bob", "Go on: what changes is shown once more")
	p.until("Make these changes in reg?", "n\n")
	if status := p.exit(); status != 1 || answersOf(t, dir) != before {
		t.Errorf("refused: exit status %d, want 1; answers:\n%s", status, answersOf(t, dir))
	}
	p = through("alice:team=backend bob", "Go on: what changes is shown once more")
	p.until("Make these changes in reg?", "y\n")
	if status := p.exit(); status != 0 || !strings.Contains(answersOf(t, dir), "name: bob") {
		t.Errorf("exit status %d:\n%s", status, p.raw())
	}
	if out := p.raw(); strings.Contains(out, "Whose passwords?") || !strings.Contains(out, "each password is shown this once") {
		t.Errorf("the new account's password is asked for, or not shown:\n%s", out)
	}

	// A flag is an answer: nothing else is asked.
	p = onTerminalIn(t, dir, lines, "--expiration", "30m")
	p.until("Make these changes in reg?", "y\n")
	if status := p.exit(); status != 0 || strings.Contains(p.raw(), "Domain [") {
		t.Errorf("with a flag: exit status %d:\n%s", status, p.raw())
	}
}

// TestWizardInLines: with ACCESSIBLE, and on a dumb terminal, the questions are plain lines.
func TestWizardInLines(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"ACCESSIBLE=1", "TERM=dumb"} {
		t.Run(env, func(t *testing.T) {
			t.Parallel()
			want := byFlags(t, "--domain", "10.0.0.7", "--team", "backend", "--user", "alice:team=backend", "--key-type", "rsa-2048", "--delete=false")
			p, dir := onTerminal(t, []string{env}, "--key-type", "rsa-2048", "--storage", "filesystem")
			p.until("Domain [localhost]:", "https://x\n")
			p.until("holds a scheme", "10.0.0.7\n")
			p.until("Enter takes 1.", "\n")
			p.until("Which version", "\n")
			p.until("Which program", "\n")
			p.until("without a login?", "9\n")
			p.until("between 1 and 3", "1\n")
			p.until("Teams:", "backend\n")
			p.until("Users:", "alice:team=backend\n")
			p.until("Whose passwords?", "2\n")
			p.until("not shown while it is typed:", "correct horse battery\n")
			p.until("once more:", "correct horse battery\n")
			p.until("not shown while it is typed:", "\n")
			p.until("Write the files", "2\n")
			p.until("Deleting, redirects", "7\n")
			p.until("May images be deleted", "2\n")
			p.until("own the names below", "\n")
			p.until("keep an audit log", "\n")
			p.until("Write the files", "\n")
			if status := p.exit(); status != 0 {
				t.Fatalf("exit status %d:\n%s", status, p.raw())
			}
			if got := answersOf(t, dir); got != want {
				t.Errorf("regctl-setup.yaml is not that of the same flags:\n%s", got)
			}
			if strings.Contains(p.raw(), "\x1b") {
				t.Errorf("there are escape sequences: %q", p.raw())
			}
			if strings.Contains(p.raw(), "correct horse") {
				t.Error("the password was echoed")
			}
		})
	}
	p, dir := onTerminal(t, []string{"ACCESSIBLE=1"})
	p.until("Domain [localhost]:", "\x03")
	if status := p.exit(); status != 130 {
		t.Errorf("Ctrl-C: exit status %d, want 130", status)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("Ctrl-C left %v behind", entries)
	}
}
