package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"charm.land/huh/v2"

	"github.com/regctl-setup/regctl-setup/internal/iostreams"
	"github.com/regctl-setup/regctl-setup/internal/wizard"
)

// askInLines asks one question after the other in plain lines that stay where they are:
// for screen readers (ACCESSIBLE) and for terminals that can't be drawn on (TERM=dumb).
// Fields are huh's, in its accessible mode; passwords are read as all commands read them.
func (a *app) askInLines(ctx context.Context, iv *interview) error {
	l := &lines{app: a, iv: iv, in: &lineReader{ctx: ctx, in: a.io.In}, said: map[string]bool{}}
	a.note("Questions for the deployment in %s. Enter takes the answer in brackets;", iv.where())
	a.note("a hyphen (-) empties it; Ctrl-C leaves, and nothing is written.")
	for {
		if q, ok := iv.session.Question(); ok {
			if err := l.ask(ctx, q); err != nil {
				return err
			}
			continue
		}
		done, err := l.summary(ctx)
		if done || err != nil {
			return err
		}
	}
}

type lines struct {
	app  *app
	iv   *interview
	in   *lineReader
	said map[string]bool // notes that were read out
}

// ask asks one question until it has an answer.
func (l *lines) ask(ctx context.Context, q wizard.Question) error {
	l.notes(ctx, q)
	l.app.note("")
	l.app.note("%s: %s", q.Section, q.Title)
	l.app.note("%s", q.Explain)
	value := q.Default
	switch q.Kind {
	case wizard.Secret:
		return l.password()
	case wizard.Choice:
		if err := l.choose(q.Options, &value); err != nil {
			return err
		}
	default:
		if q.Example != "" && value == "" {
			l.app.note("Empty, or %s.", q.Example)
		}
		prompt := q.Label + ":"
		if value != "" {
			prompt = fmt.Sprintf("%s [%s]:", q.Label, value)
		}
		input := huh.NewInput().Title(prompt).Value(&value).Validate(func(text string) error {
			return l.iv.session.Check(emptied(text, q.Default))
		})
		if err := l.run(input); err != nil {
			return err
		}
		value = emptied(value, q.Default)
	}
	if err := l.iv.session.Answer(value); err != nil {
		l.app.note("%v", err) // a choice that can't be had with another answer
	}
	return nil
}

// emptied reads what was typed: nothing stands for the default, a hyphen for nothing.
func emptied(text, def string) string {
	switch strings.TrimSpace(text) {
	case "":
		return def
	case "-":
		return ""
	}
	return text
}

// choose asks for one of the options by number.
func (l *lines) choose(options []wizard.Option, value *string) error {
	at := 1
	for i, o := range options {
		if o.Value == *value {
			at = i + 1
		}
	}
	return l.run(selectField(fmt.Sprintf("Choices; Enter takes %d.", at), "", options, value))
}

// run runs a field of huh in its accessible mode.
func (l *lines) run(field huh.Field) error {
	err := field.WithTheme(huh.ThemeFunc(plainTheme)).RunAccessible(l.app.io.ErrOut, l.in)
	if l.in.err != nil {
		return l.in.err // huh can't tell: it takes the end of the input for an empty answer
	}
	return err
}

// plainTheme has no colours and draws nothing.
func plainTheme(bool) *huh.Styles { return &huh.Styles{} }

func (l *lines) password() error {
	for {
		pw, err := l.app.io.Secret("Password, not shown while it is typed: ")
		if err != nil {
			return err
		}
		if !pw.IsZero() {
			if err := l.iv.session.Check(pw.Reveal()); err != nil {
				l.app.note("%v", err)
				continue
			}
			again, err := l.app.io.Secret("The same password once more: ")
			if err != nil {
				return err
			}
			if again.Reveal() != pw.Reveal() {
				l.app.note("That is not the same password.")
				continue
			}
		}
		return l.iv.session.Answer(pw.Reveal())
	}
}

// notes reads out what the probes find, each sentence once.
func (l *lines) notes(ctx context.Context, q wizard.Question) []string {
	if q.Section != wizard.SectionTLS && q.Section != "" {
		return nil
	}
	notes := l.iv.probe(ctx, l.iv.session.Answers())
	for _, n := range notes {
		if !l.said[n] {
			l.app.note("%s", n)
		}
		l.said[n] = true
	}
	return notes
}

// summary shows what will be written and asks whether to; done when so.
func (l *lines) summary(ctx context.Context) (done bool, err error) {
	l.app.note("")
	v := l.iv.sum(l.notes(ctx, wizard.Question{}))
	l.app.note("Summary:")
	for _, line := range v.lines {
		l.app.note("  %s: %s", line.Label, line.Value)
	}
	for _, w := range v.warnings {
		l.app.note("warning: %s", w)
	}
	for _, p := range v.problems {
		l.app.note("problem: %s", p)
	}
	if v.same {
		l.app.note("Nothing changes in %s.", l.iv.where())
	}
	if len(v.files) > 0 {
		l.app.note("Files in %s:", l.iv.where())
	}
	for _, f := range v.files {
		l.app.note("  %s, %s, mode %04o", f.Path, f.State, f.Mode.Perm())
	}
	l.app.note("")
	options := l.iv.choices(v)
	choice := options[0].Value
	if err := l.choose(options, &choice); err != nil {
		return false, err
	}
	switch choice {
	case chooseWrite:
		return true, nil
	case chooseLeave:
		return false, iostreams.ErrInterrupted
	}
	menu := l.iv.menu()
	section := menu[len(menu)-1].Value
	if err := l.choose(menu, &section); err != nil {
		return false, err
	}
	if section != "" {
		l.iv.session.Open(section)
	}
	return false, nil
}

// lineReader reads from the terminal no further than the line at hand, so that a field
// takes nothing that the next one should get, and ends when the context does. The read
// that waits then is left behind, in a process that is about to end.
type lineReader struct {
	ctx     context.Context
	in      io.Reader
	err     error // why nothing more comes
	pending []byte
}

func (r *lineReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, io.EOF
	}
	if len(r.pending) == 0 {
		type result struct {
			data []byte
			err  error
		}
		got := make(chan result, 1)
		go func() {
			buf := make([]byte, 4096)
			n, err := r.in.Read(buf)
			got <- result{buf[:n], err}
		}()
		select {
		case <-r.ctx.Done():
			r.err = iostreams.ErrInterrupted
			return 0, io.EOF
		case g := <-got:
			r.pending = g.data
			if len(g.data) == 0 {
				r.err = errors.New("the input ended before the questions did; nothing is written")
				if g.err != nil && !errors.Is(g.err, io.EOF) {
					r.err = g.err
				}
				return 0, io.EOF
			}
		}
	}
	n := len(r.pending)
	for i, b := range r.pending {
		if b == '\n' {
			n = i + 1
			break
		}
	}
	n = copy(p, r.pending[:n])
	r.pending = r.pending[n:]
	return n, nil
}
