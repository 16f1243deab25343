//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHtpasswdUsersLogIn: what Apache's htpasswd wrote can be taken over, and given back.
func TestHtpasswdUsersLogIn(t *testing.T) {
	t.Parallel()
	htpasswd := part(t, "htpasswd")
	dir := t.TempDir()
	file := filepath.Join(dir, "htpasswd")
	env := environ(dir)
	const password = "correct horse 7 battery"
	for _, r := range []result{
		execute(t, password, env, htpasswd, "-ciB", file, "carol"),
		execute(t, password+"!", env, htpasswd, "-iB", "-C", "6", file, "dave"),
	} {
		if r.status != 0 {
			t.Fatalf("htpasswd: %s", r)
		}
	}
	s, p := startEmbedded(t)
	cli(t, "", "-C", s.dir, "user", "import", file)
	for _, a := range []account{{Name: "carol", Password: password}, {Name: "dave", Password: password + "!"}} {
		p.until(t, "login of "+a.Name, func() error {
			if got := s.ask(t, a, "repository:library/nginx:pull"); got.status != http.StatusOK {
				return fmt.Errorf("status %d", got.status)
			}
			return nil
		})
		wrong := account{Name: a.Name, Password: a.Password + "?"}
		if got := s.ask(t, wrong, "repository:library/nginx:pull"); got.status != http.StatusUnauthorized {
			t.Errorf("%s with a wrong password: status %d, want 401", a, got.status)
		}
	}
	back := filepath.Join(dir, "back")
	mustWrite(t, back, []byte(cli(t, "", "-C", s.dir, "user", "export").stdout), 0o600)
	if r := execute(t, s.viewer.Password, env, htpasswd, "-vi", back, s.viewer.Name); r.status != 0 {
		t.Errorf("htpasswd does not accept what user export wrote: %s", r)
	}
	if r := execute(t, s.viewer.Password+"x", env, htpasswd, "-vi", back, s.viewer.Name); r.status == 0 {
		t.Error("htpasswd accepts a wrong password for what user export wrote")
	}
}

// terminal is a program on a real terminal of 80 by 24, in tmux.
type terminal struct {
	t    *testing.T
	argv []string // tmux with its socket
	env  []string
}

func newTerminal(t *testing.T, argv ...string) *terminal {
	t.Helper()
	dir := t.TempDir()
	// A socket's path is at most about 100 bytes, which a test's folder may exceed.
	sockets, err := os.MkdirTemp("", "tmux")
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, env: append(environ(dir), "TERM=xterm-256color", "SHELL=/bin/sh"),
		argv: []string{part(t, "tmux"), "-S", filepath.Join(sockets, "s"), "-f", os.DevNull}}
	t.Cleanup(func() {
		execute(t, "", term.env, append(term.argv, "kill-server")...)
		os.RemoveAll(sockets)
	})
	// The status is shown, and the pane stays for it to be read. The shell gets a Ctrl-C too and
	// would end with it.
	script := `trap : INT; "$@"; echo "exit status $?"; cat`
	run := append(append(term.argv, "new-session", "-d", "-x", "80", "-y", "24", "--", "/bin/sh", "-c", script, "sh"), argv...)
	if r := execute(t, "", term.env, run...); r.status != 0 {
		t.Fatalf("tmux: %s", r)
	}
	return term
}

func (term *terminal) screen() string {
	return execute(term.t, "", term.env, append(term.argv, "capture-pane", "-p", "-S", "-200")...).stdout
}

// see waits until the screen shows text.
func (term *terminal) see(text string) string {
	term.t.Helper()
	deadline := time.Now().Add(startDeadline)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		screen := term.screen()
		if strings.Contains(screen, text) {
			return screen
		}
		if time.Now().After(deadline) {
			term.t.Fatalf("the screen never showed %q:\n%s", text, indent(screen))
		}
		<-ticker.C
	}
}

// enter types text and the Enter key.
func (term *terminal) enter(text string) {
	term.t.Helper()
	term.send("-l", "--", text)
	term.key("Enter")
}

// key presses a key by tmux's name for it.
func (term *terminal) key(name string) { term.t.Helper(); term.send(name) }

func (term *terminal) send(keys ...string) {
	term.t.Helper()
	if r := execute(term.t, "", term.env, append(append(term.argv, "send-keys"), keys...)...); r.status != 0 {
		term.t.Fatalf("tmux send-keys: %s", r)
	}
}

// TestPasswordOnATerminal: it is asked for twice, and never seen.
func TestPasswordOnATerminal(t *testing.T) {
	t.Parallel()
	part(t, "tmux")
	s := initDeployment(t, "--runtime", "embedded")
	config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
	before, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	const password = "Tr0ub4dor-and-more"

	typing := newTerminal(t, program, "-C", s.dir, "user", "add", "erin")
	typing.see("Password for erin:")
	typing.enter(password)
	typing.see("once more")
	typing.enter(password + "x")
	typing.see("differ")
	if after, err := os.ReadFile(config); err != nil || string(after) != string(before) {
		t.Errorf("two different passwords changed the config (%v)", err)
	}
	// Ctrl-C leaves the file, and the terminal, as they were.
	typing.key("C-c")
	if screen := typing.see("exit status "); !strings.Contains(screen, "exit status 130") {
		t.Errorf("Ctrl-C at the prompt, want exit status 130:\n%s", indent(screen))
	}
	typing.enter("echo is on")
	typing.see("echo is on")
	if after, err := os.ReadFile(config); err != nil || string(after) != string(before) {
		t.Errorf("Ctrl-C changed the config (%v)", err)
	}

	same := newTerminal(t, program, "-C", s.dir, "user", "add", "erin")
	same.see("Password for erin:")
	same.enter(password)
	same.see("once more")
	same.enter(password)
	screen := same.see("exit status ")
	if !strings.Contains(screen, "exit status 0") {
		t.Errorf("the same password twice:\n%s", indent(screen))
	}
	if strings.Contains(screen, password) {
		t.Errorf("the password was shown:\n%s", indent(screen))
	}
	if r := try(t, password+"\n", "-C", s.dir, "user", "verify", "erin", "--password-stdin"); r.status != 0 {
		t.Errorf("user verify with the typed password: %s", r)
	}
	if r := try(t, password+"x\n", "-C", s.dir, "user", "verify", "erin", "--password-stdin"); r.status != 1 {
		t.Errorf("user verify with another password: %s, want exit 1", r)
	}
}

// TestTypoStopsTheServer: a rule whose key is misspelt would match everybody.
func TestTypoStopsTheServer(t *testing.T) {
	t.Parallel()
	s := initDeployment(t, "--domain", "localhost")
	config := filepath.Join(s.dir, "conf", "auth", "auth-server.yml")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(data), "account:", "acount:", 1)
	if broken == string(data) {
		t.Fatal("the generated rules name no account")
	}
	line := 1 + strings.Count(broken[:strings.Index(broken, "acount:")], "\n")
	mustWrite(t, config, []byte(broken), 0o600)
	r := try(t, "", "serve", config)
	if r.status != 3 {
		t.Errorf("serve with a typo: %s, want exit 3", r)
	}
	for _, want := range []string{fmt.Sprintf("auth-server.yml:%d:", line), `"acount"`, "account"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("serve with a typo does not say %q: %s", want, r)
		}
	}
}

// TestH3InitRefusesWhatIsNotItsOwn: nothing of somebody's folder is touched.
func TestH3InitRefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustWrite(t, filepath.Join(dir, "letter.txt"), []byte("dear\n"), 0o644)
	r := try(t, "", "init", dir, "--yes")
	if r.status != 1 || !strings.Contains(r.stderr, "not empty") {
		t.Errorf("init in a folder that is not empty: %s, want exit 1", r)
	}
	got := snapshot(t, dir)
	if _, ok := got["letter.txt"]; len(got) != 2 || !ok {
		t.Errorf("init left %v behind", got)
	}
	if _, err := os.Stat(dir + ".lock"); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("init left a lock file beside the folder (%v)", err)
	}
}
