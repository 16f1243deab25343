package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/hostcheck"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
	"github.com/regctl-setup/regctl-setup/internal/wizard"
)

// probeTime bounds what the wizard asks the network in the background.
const probeTime = 3 * time.Second

// plannedFile is a file that will be written, as the wizard's summary lists it.
type plannedFile struct {
	Path  string // relative to the deployment
	Mode  fs.FileMode
	State string // new, changed, kept …
}

// interview is what a run of the wizard is given, however it is drawn.
type interview struct {
	dir     string // as the user named it
	session *wizard.Session
	files   func(answers.Answers) ([]plannedFile, error) // what would be written
	host    hostcheck.Checker
	there   bool // the deployment exists
}

// runWizard asks on the terminal what start leaves open, shows what will be written and
// returns the answers, with the passwords that were typed. [iostreams.ErrInterrupted]
// reports that the person left; nothing is written by the wizard itself.
func (a *app) runWizard(ctx context.Context, dir string, start wizard.Start, files func(answers.Answers) ([]plannedFile, error)) (answers.Answers, map[string]secret.Text, error) {
	if start.Host == "" {
		start.Host, _ = os.Hostname() // only a suggestion
	}
	start.Check = checkHere
	if start.Existing {
		start.Check = checkChanged(start.Answers)
	}
	start.CheckPassword = func(pw secret.Text) error { return users.CheckPassword(pw, users.PasswordPolicy{}) }
	iv := &interview{dir: dir, session: wizard.New(start), files: files, host: hostcheck.System(), there: start.Existing}
	ask := a.askOnScreen
	if plainPrompts() {
		ask = a.askInLines
	}
	if err := ask(ctx, iv); err != nil {
		return answers.Answers{}, nil, err
	}
	return iv.session.Answers(), iv.session.Passwords(), nil
}

// plainPrompts reports whether questions are asked line by line, for screen readers and
// for terminals that can't be drawn on.
func plainPrompts() bool { return os.Getenv("ACCESSIBLE") != "" || os.Getenv("TERM") == "dumb" }

// checkHere says what only this machine knows: whether a file can be read, and whether
// this program can be put into an image. It is called while the answer is typed.
func checkHere(flag, value string) error {
	switch flag {
	case "engine":
		if value != answers.EngineBundled {
			return nil
		}
		_, err := ownBinary(answers.Answers{Engine: answers.EngineBundled})
		return err
	case "audit":
		if value != "true" {
			return nil
		}
		_, err := ownBinary(answers.Answers{Engine: answers.EngineDockerAuth, Audit: true})
		return err
	}
	f, err := os.Open(value)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("%q: %w", value, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return fmt.Errorf("%q is a folder; expected a file", value)
	}
	return nil
}

// checkChanged is checkHere of a deployment that is there: what its answers name already
// was copied into it, and need not be there any more.
func checkChanged(was answers.Answers) func(flag, value string) error {
	return func(flag, value string) error {
		for _, f := range answers.Fields() {
			if f.Flag == flag && f.Text(&was) == value {
				return nil
			}
		}
		return checkHere(flag, value)
	}
}

// probeKey names what the notes about the host depend on.
func (iv *interview) probeKey() string {
	r := iv.session.Answers().Resolve()
	return fmt.Sprint(r.Runtime, r.Domain, r.AuthDomain, r.TLS, r.Bind, r.HTTPPort, r.HTTPSPort)
}

// probe asks the resolver about the domains and this machine about the ports. It returns
// sentences; none of them stops anybody, and without a network it returns in time.
func (iv *interview) probe(ctx context.Context, a answers.Answers) []string {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	r := a.Resolve()
	if r.Runtime == answers.RuntimeEmbedded {
		return nil
	}
	var notes []string
	for _, name := range []string{r.Domain, r.AuthDomain} {
		if name != "" && name != "localhost" {
			notes = append(notes, nameNote(iv.host.Resolve(ctx, name), r))
		}
	}
	return append(notes, iv.portNotes(ctx, r)...)
}

// nameNote says where a name leads.
func nameNote(found hostcheck.Resolution, r answers.Answers) string {
	var list []string
	for _, addr := range found.Addresses {
		list = append(list, addr.String())
	}
	at := strings.Join(list, ", ")
	needs := ""
	if r.TLS == answers.TLSACME || r.TLS == answers.TLSACMEStaging {
		needs = " The certificate authority gives no certificate before it does."
	}
	switch {
	case found.NoSuch:
		return fmt.Sprintf("warning: %s does not resolve yet.%s", found.Name, needs)
	case len(list) == 0:
		return fmt.Sprintf("warning: could not look up %s; is there a network?", found.Name)
	case found.Here && found.Name == at:
		return fmt.Sprintf("ok: %s is an address of this machine.", found.Name)
	case found.Here:
		return fmt.Sprintf("ok: %s leads to this machine (%s).", found.Name, at)
	case found.Err != nil:
		return fmt.Sprintf("note: %s leads to %s; whether that is this machine can't be told.", found.Name, at)
	case found.Name == at:
		return fmt.Sprintf("warning: %s is no address of this machine. Behind NAT or a load balancer that is as it should be.", found.Name)
	}
	return fmt.Sprintf("warning: %s leads to %s, which is no address of this machine. Behind NAT or a load balancer that is as it should be.", found.Name, at)
}

// portNotes says whether the ports are free.
func (iv *interview) portNotes(ctx context.Context, r answers.Answers) []string {
	list := []int{r.HTTPPort, r.HTTPSPort}
	if r.TLS == answers.TLSOff {
		list = list[:1]
	}
	var free, taken, notes []string
	for _, port := range list {
		p := strconv.Itoa(port)
		switch state, err := iv.host.PortFree(ctx, net.JoinHostPort(r.Bind, p)); {
		case state == hostcheck.PortFree:
			free = append(free, p)
		case state == hostcheck.PortTaken:
			taken = append(taken, p)
		default:
			notes = append(notes, fmt.Sprintf("note: whether port %s is free can't be told: %v.", p, err))
		}
	}
	if len(free) > 0 {
		notes = append(notes, fmt.Sprintf("ok: %s free.", portsAre(free)))
	}
	if len(taken) > 0 {
		why := "Stop what listens there, or choose another port before you write."
		if iv.there {
			why = "By this deployment itself, if it runs."
		}
		notes = append(notes, fmt.Sprintf("warning: %s taken on this machine. %s", portsAre(taken), why))
	}
	return notes
}

func portsAre(list []string) string {
	if len(list) == 1 {
		return "port " + list[0] + " is"
	}
	return "ports " + strings.Join(list, " and ") + " are"
}

// notesBelong reports whether what the probes found is shown beside the question.
func notesBelong(q wizard.Question) bool {
	switch q.Section {
	case wizard.SectionName, wizard.SectionTLS, wizard.SectionAddresses:
		return true
	}
	return q.Flag == "auth-domain"
}

// choices of the summary.
const (
	chooseWrite  = "write"
	chooseChange = "change"
	chooseLeave  = "leave"
)

// verdict is the summary as text: what was answered, what stands in the way, what will be
// written.
type verdict struct {
	lines    []wizard.Line
	warnings []string
	problems []string
	files    []plannedFile
	same     bool // the deployment is as the answers say
}

// sum works the summary out. notes are those of the probes.
func (iv *interview) sum(notes []string) verdict {
	a := iv.session.Answers()
	v := verdict{lines: iv.session.Summary()}
	for _, n := range notes {
		if strings.HasPrefix(n, "warning: ") {
			v.warnings = append(v.warnings, strings.TrimPrefix(n, "warning: "))
		}
	}
	for _, p := range iv.session.Problems() {
		text := p.Error()
		if p.Hint != "" {
			text += " (" + p.Hint + ")"
		}
		v.problems = append(v.problems, text)
	}
	if len(v.problems) > 0 {
		return v
	}
	for _, w := range a.Warnings() {
		v.warnings = append(v.warnings, w.Msg)
	}
	files, err := iv.files(a)
	if err != nil {
		v.problems = append(v.problems, strings.Split(err.Error(), "\n")...)
		return v
	}
	v.files, v.same = files, len(files) == 0
	return v
}

// menu is what can be opened from the summary.
func (iv *interview) menu() []wizard.Option {
	var out []wizard.Option
	for _, section := range iv.session.Sections() {
		out = append(out, wizard.Option{Value: section, Label: section})
	}
	return append(out, wizard.Option{Value: "", Label: "Nothing: back to the summary"})
}

func (iv *interview) choices(v verdict) []wizard.Option {
	write := "Write the files"
	switch {
	case v.same:
		write = "Done: there is nothing to write"
	case iv.there:
		write = "Go on: what changes is shown once more before it is written"
	}
	out := []wizard.Option{
		{Value: chooseWrite, Label: write},
		{Value: chooseChange, Label: "Change an answer, or see more settings"},
		{Value: chooseLeave, Label: "Leave; nothing is written"},
	}
	if len(v.problems) > 0 {
		return out[1:]
	}
	return out
}

// where is the folder as the person knows it.
func (iv *interview) where() string {
	if iv.dir == "." {
		return absPath(iv.dir)
	}
	return filepath.Clean(iv.dir)
}
