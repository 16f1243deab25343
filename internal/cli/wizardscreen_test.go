package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/hostcheck"
	"github.com/regctl-setup/regctl-setup/internal/wizard"
)

// driver runs the screen's commands as Bubble Tea does, without a terminal.
type driver struct {
	t    *testing.T
	m    *screen
	msgs chan tea.Msg
	quit bool
}

func drive(t *testing.T, w, h int, start wizard.Start) *driver {
	t.Helper()
	refused := errors.New("no network in this test")
	iv := &interview{
		dir: "reg", session: wizard.New(start),
		host: hostcheck.Checker{
			Lookup:     func(context.Context, string) ([]netip.Addr, error) { return nil, refused },
			Interfaces: func() ([]netip.Addr, error) { return nil, nil },
			Listen:     func(context.Context, string) (net.Listener, error) { return nil, refused },
		},
		files: func(answers.Answers) ([]plannedFile, error) {
			var out []plannedFile
			for i := range 16 {
				out = append(out, plannedFile{Path: fmt.Sprintf("conf/registry/file-%02d.yml", i), Mode: fs.FileMode(0o600), State: "new"})
			}
			return out, nil
		},
	}
	d := &driver{t: t, m: newScreen(t.Context(), iv), msgs: make(chan tea.Msg, 1000)}
	d.run(d.m.Init())
	d.send(tea.WindowSizeMsg{Width: w, Height: h})
	return d
}

func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		switch msg := cmd().(type) {
		case nil:
		case tea.BatchMsg:
			for _, c := range msg {
				d.run(c)
			}
		default:
			d.msgs <- msg
		}
	}()
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.m.Update(msg)
	d.run(cmd)
}

func (d *driver) text() string { return ansi.Strip(d.m.View().Content) }

// until handles messages until the screen shows want.
func (d *driver) until(want string) {
	d.t.Helper()
	deadline := time.After(10 * time.Second)
	for !strings.Contains(d.text(), want) {
		select {
		case msg := <-d.msgs:
			if _, ok := msg.(tea.QuitMsg); ok {
				d.quit = true
				return
			}
			d.send(msg)
		case <-deadline:
			d.t.Fatalf("%q does not come up:\n%s", want, d.text())
		}
	}
}

func (d *driver) typed(text string) {
	for _, r := range text {
		d.send(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

func (d *driver) press(code rune, mod tea.KeyMod) {
	d.send(tea.KeyPressMsg{Code: code, Mod: mod})
}

// answer replaces what stands there and goes on.
func (d *driver) answer(text string) {
	d.press('u', tea.ModCtrl)
	d.typed(text)
	d.press(tea.KeyEnter, 0)
}

// fits fails where the screen is larger than the terminal, or lacks a part of the question.
func (d *driver) fits(w, h int) {
	d.t.Helper()
	lines := strings.Split(d.text(), "\n")
	if len(lines) > h {
		d.t.Errorf("%d lines on a terminal of %d:\n%s", len(lines), h, d.text())
	}
	for _, l := range lines {
		if ansi.StringWidth(l) > w {
			d.t.Errorf("%d columns on a terminal of %d: %q", ansi.StringWidth(l), w, l)
		}
	}
	if d.m.mode != asking {
		return
	}
	flat := squeeze(d.text())
	for _, part := range append([]wizard.Option{{Label: d.m.q.Title}, {Label: d.m.q.Explain}}, d.m.q.Options...) {
		if !strings.Contains(flat, squeeze(part.Label)) {
			d.t.Errorf("%s: %q is clipped at %dx%d:\n%s", d.m.q.ID, part.Label, w, h, d.text())
		}
	}
}

// squeeze leaves out blanks and the border, so that wrapped text compares.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '┃' || r == '>' {
			return -1
		}
		return r
	}, s)
}

// TestEveryQuestionFits opens every section on every path, at the usual size and at a
// narrow one.
func TestEveryQuestionFits(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ w, h int }{{80, 24}, {60, 20}} {
		for _, storage := range []string{answers.StorageFilesystem, answers.StorageS3, answers.StorageMinIO, answers.StorageAzure, answers.StorageGCS} {
			t.Run(fmt.Sprintf("%dx%d %s", size.w, size.h, storage), func(t *testing.T) {
				t.Parallel()
				a := answers.Defaults()
				a.Domain, a.Storage = "registry.example.com", storage
				a.Azure.Credentials = answers.AzureClientSecret
				if storage != answers.StorageAzure {
					a.Azure = answers.Defaults().Azure
				}
				d := drive(t, size.w, size.h, wizard.Start{Answers: a})
				s := d.m.iv.session
				for _, section := range s.Sections() {
					s.Open(section)
					for _, q := range s.Pending() {
						d.m.mode, d.m.q, d.m.value = asking, q, q.Default
						d.run(d.m.show())
						d.fits(size.w, size.h)
					}
				}
			})
		}
	}
}

// TestScreenFromFirstToLast answers as a person does: a slip, its correction, one step back.
func TestScreenFromFirstToLast(t *testing.T) {
	t.Parallel()
	d := drive(t, 80, 24, wizard.Start{Answers: answers.Defaults()})
	d.until("What is the registry's domain?")
	d.press('u', tea.ModCtrl)
	d.typed("https://registry.example.com")
	d.until("holds a scheme") // without enter
	d.press(tea.KeyEnter, 0)
	d.until("What is the registry's domain?")
	d.answer("registry.example.com")
	d.until("Where does the HTTPS certificate come from?")
	d.until("could not look up registry.example.com")
	d.press(tea.KeyTab, tea.ModShift)
	d.until("> registry.example.com")
	// All at once, faster than the screens change: nothing may be lost, and nothing may
	// answer the wrong question.
	d.press(tea.KeyEnter, 0)
	d.press(tea.KeyEnter, 0)
	d.typed("ops@example.com")
	d.press(tea.KeyEnter, 0)
	d.until("Where are the images kept?")
	d.press(tea.KeyEnter, 0)
	d.until("Which version")
	d.press(tea.KeyEnter, 0)
	d.until("Which program checks")
	d.press(tea.KeyEnter, 0)
	d.until("What may be pulled")
	d.press(tea.KeyEnter, 0)
	d.until("Which teams")
	d.answer("backend")
	d.until("Who gets an account")
	d.answer("alice:team=backend")
	d.until("Whose passwords?")
	d.press(tea.KeyDown, 0)
	d.press(tea.KeyEnter, 0)
	d.until("Password of admin")
	d.answer("correct horse battery")
	d.until("once more")
	d.answer("correct horse")
	d.until("that is not the same password")
	d.answer("correct horse battery")
	d.until("Password of alice")
	d.press(tea.KeyEnter, 0)
	d.until("Write the files")
	d.fits(80, 24)
	if strings.Contains(d.text(), "correct horse") {
		t.Error("a password is on the screen")
	}
	d.press(tea.KeyEnter, 0)
	d.until("never shown, the program ends")
	if !d.quit || !d.m.done || d.m.left {
		t.Errorf("quit %v, done %v, left %v; want a run that ended with write", d.quit, d.m.done, d.m.left)
	}
	got := d.m.iv.session.Answers()
	if got.Domain != "registry.example.com" || got.Email != "ops@example.com" || len(got.Teams) != 1 || len(got.Users) != 1 {
		t.Errorf("answers %+v", got)
	}
	if pw := d.m.iv.session.Passwords(); len(pw) != 1 {
		t.Errorf("%d typed passwords, want admin's", len(pw))
	}
}

// TestScreenIsLeft: esc and ctrl+c leave at once, wherever one is.
func TestScreenIsLeft(t *testing.T) {
	t.Parallel()
	for _, key := range []tea.KeyPressMsg{{Code: tea.KeyEscape}, {Code: 'c', Mod: tea.ModCtrl}} {
		for at := range 9 {
			d := drive(t, 80, 24, wizard.Start{Answers: answers.Defaults()})
			for range at {
				before := d.m.q.ID
				d.press(tea.KeyEnter, 0)
				for d.m.q.ID == before && d.m.mode == asking {
					d.send(<-d.msgs)
				}
			}
			d.send(key)
			d.until("never shown, the program ends")
			if !d.m.left || d.m.done || !d.quit {
				t.Errorf("%s at %s: left %v, done %v", key, d.m.q.ID, d.m.left, d.m.done)
			}
		}
	}
}

// TestSummaryNamesWhatStandsInTheWay: contradictions among given answers are shown, and
// there is nothing to write.
func TestSummaryNamesWhatStandsInTheWay(t *testing.T) {
	t.Parallel()
	a := answers.Defaults()
	a.S3.Bucket = "images"
	fixed := map[string]bool{}
	for _, f := range answers.Fields() {
		fixed[f.Flag] = true
	}
	d := drive(t, 80, 24, wizard.Start{Answers: a, Fixed: fixed, Accounts: []string{"admin"}})
	d.until("--s3-bucket: given, but --storage is filesystem")
	if strings.Contains(d.text(), "Write the files") {
		t.Errorf("it can be written:\n%s", d.text())
	}
}
