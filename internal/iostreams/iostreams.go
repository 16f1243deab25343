// Package iostreams is the terminal as the commands see it: three streams, whether
// each is a terminal, and prompts that read secrets without echo.
//
// Commands never touch os.Stdin or os.Stdout: they get an [IO], and tests get one
// from [Test] whose streams are buffers.
package iostreams

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// MaxSecret bounds what is read for one password, in bytes.
const MaxSecret = 4096

// ErrNoTerminal reports that a question can't be asked because nobody sits there.
var ErrNoTerminal = errors.New("no terminal to ask on")

// ErrInterrupted reports that the person who was asked pressed Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// ErrMismatch reports two different answers where the same one was asked for twice.
var ErrMismatch = errors.New("the two passwords differ")

// IO is the three streams of a command.
type IO struct {
	In     io.Reader
	Out    io.Writer // data
	ErrOut io.Writer // everything else

	inTTY, outTTY, errTTY bool
	inFd                  int
	color                 bool
	lines                 *bufio.Reader
}

// System returns the process's own streams.
func System() *IO {
	s := &IO{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr, inFd: int(os.Stdin.Fd())}
	s.inTTY = term.IsTerminal(s.inFd)
	s.outTTY = term.IsTerminal(int(os.Stdout.Fd()))
	s.errTTY = term.IsTerminal(int(os.Stderr.Fd()))
	s.color = s.outTTY && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

// Test returns streams that are buffers, with in as the input, and no terminal.
func Test(in string) (s *IO, out, errOut *bytes.Buffer) {
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	return &IO{In: strings.NewReader(in), Out: out, ErrOut: errOut, inFd: -1}, out, errOut
}

// CanPrompt reports whether a person can be asked: input and error output are terminals.
func (s *IO) CanPrompt() bool { return s.inTTY && s.errTTY }

// OutIsTerminal reports whether the data goes to a terminal.
func (s *IO) OutIsTerminal() bool { return s.outTTY }

// ErrIsTerminal reports whether messages go to a terminal.
func (s *IO) ErrIsTerminal() bool { return s.errTTY }

// Color reports whether colour may be used on Out: a terminal, and NO_COLOR is not set.
func (s *IO) Color() bool { return s.color }

// Secret asks for a password on the terminal, without echo.
// It returns [ErrNoTerminal] where there is none.
func (s *IO) Secret(prompt string) (secret.Text, error) {
	if !s.CanPrompt() {
		return secret.Text{}, ErrNoTerminal
	}
	was, err := term.GetState(s.inFd)
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the password: %w", err)
	}
	var b []byte
	err = untilInterrupted(func() (err error) {
		prompted := make(chan struct{})
		go func() {
			defer close(prompted)
			s.promptWithoutEcho(prompt, was)
		}()
		b, err = term.ReadPassword(s.inFd)
		<-prompted
		return err
	})
	if errors.Is(err, ErrInterrupted) {
		_ = term.Restore(s.inFd, was) // the echo is off while a password is read
	}
	_, _ = fmt.Fprintln(s.ErrOut)
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the password: %w", err)
	}
	return secret.New(string(b)), nil
}

// promptWithoutEcho prints the prompt once the terminal is no longer as it was: whoever
// types, or pastes, as soon as the prompt stands there must not see the password.
func (s *IO) promptWithoutEcho(prompt string, was *term.State) {
	for range 200 { // a terminal that had no echo before stays as it is
		if now, err := term.GetState(s.inFd); err != nil || *now != *was {
			break
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // the terminal tells nobody when its mode changes
	}
	_, _ = fmt.Fprint(s.ErrOut, prompt)
}

// untilInterrupted runs read, which waits for a person, and returns [ErrInterrupted] on
// Ctrl-C or SIGTERM. The read itself can't be ended: it is left behind, for a process that
// is about to end.
func untilInterrupted(read func() error) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	done := make(chan error, 1)
	go func() { done <- read() }()
	select {
	case err := <-done:
		return err
	case <-stop:
		return ErrInterrupted
	}
}

// SecretTwice asks for a new password twice, until both answers are the same, at most
// three times. It returns [ErrMismatch] after that.
func (s *IO) SecretTwice(prompt string) (secret.Text, error) {
	for range 3 {
		a, err := s.Secret(prompt + ": ")
		if err != nil {
			return secret.Text{}, err
		}
		b, err := s.Secret(prompt + ", once more: ")
		if err != nil {
			return secret.Text{}, err
		}
		if a.Reveal() == b.Reveal() {
			return a, nil
		}
		_, _ = fmt.Fprintln(s.ErrOut, "The two differ. Again:")
	}
	return secret.Text{}, ErrMismatch
}

// SecretFromInput reads a password from the input: one line, whose end (LF or CRLF) is
// not part of it. More than [MaxSecret] bytes or a second line are errors.
func (s *IO) SecretFromInput() (secret.Text, error) {
	b, err := io.ReadAll(io.LimitReader(s.In, MaxSecret+1))
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the password from standard input: %w", err)
	}
	if len(b) > MaxSecret {
		return secret.Text{}, fmt.Errorf("the password on standard input is longer than %d bytes", MaxSecret)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if strings.ContainsAny(text, "\r\n") {
		return secret.Text{}, errors.New("standard input holds more than one line; the password is one line")
	}
	return secret.New(text), nil
}

// Confirm asks a yes/no question, with no as the default.
// It returns [ErrNoTerminal] where nobody can be asked.
func (s *IO) Confirm(question string) (bool, error) {
	if !s.CanPrompt() {
		return false, ErrNoTerminal
	}
	if s.lines == nil {
		s.lines = bufio.NewReader(s.In)
	}
	for {
		_, _ = fmt.Fprintf(s.ErrOut, "%s [y/N] ", question)
		var line string
		err := untilInterrupted(func() (err error) {
			line, err = s.lines.ReadString('\n')
			return err
		})
		if errors.Is(err, ErrInterrupted) {
			_, _ = fmt.Fprintln(s.ErrOut)
			return false, err
		}
		if err != nil && line == "" {
			return false, fmt.Errorf("read the answer: %w", err)
		}
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			return false, nil
		}
	}
}
