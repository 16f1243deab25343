// Package wizard decides what `init` asks on a terminal: which questions, in which order,
// with which words and defaults, and what an answer leads to. It draws nothing.
//
// # Contract
//
// A [Session] begins with answers and with the flags that were already given ("fixed"),
// and asks for the rest one question at a time, the few that matter first. Everything
// else has a default and is asked only when its section is opened from the summary.
// Questions, checks and help come from answers.Fields, so that no flag, variable and
// question can disagree; this package adds the words for a person who has no manual at
// hand. A field that has no words here is asked by its help.
//
// An answer is checked as the flag of the same name is, then against the other answers:
// what contradicts an answer that stands is refused with the reason, and a later answer
// that no longer fits is asked again. Answers of a path that was left (another storage,
// another kind of certificate) go back to their defaults.
//
// A session is not safe for concurrent use.
//
// # Example
//
//	s := wizard.New(wizard.Start{Answers: answers.Defaults(), Fixed: map[string]bool{"domain": true}})
//	for q, ok := s.Question(); ok; q, ok = s.Question() {
//		text := ask(q) // q.Title, q.Explain, q.Default
//		if err := s.Answer(text); err != nil {
//			explain(err)
//		}
//	}
//	a := s.Answers()
package wizard

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Start is what a session begins with. Only Answers must be set.
type Start struct {
	Answers answers.Answers
	Fixed   map[string]bool // flags (without dashes) that were given and are not asked

	Existing bool     // the answers are those of a deployment that is there
	Accounts []string // accounts that are there; no password is asked for them
	Host     string   // this machine's name, offered as the domain where a certificate can be had for it

	// Check says what only this machine knows of a value that is otherwise fine, such as a
	// file that can't be read. nil: everything is fine.
	Check func(flag, value string) error
	// CheckPassword says why a password can't be had. nil: every one can.
	CheckPassword func(secret.Text) error
}

// Kind says how a question is answered.
type Kind int

// The kinds of questions.
const (
	Text   Kind = iota // one line
	Choice             // one of Options
	Secret             // a password: masked, and asked twice
)

// Option is one answer of a [Choice].
type Option struct {
	Value string // what Answer takes
	Label string // one short line
}

// Question is one thing to ask.
type Question struct {
	ID       string   // what the question is known by within a session
	Flag     string   // the flag that answers it too; "" where there is none
	Section  string   // heading
	Label    string   // a word or two, for lists of answers
	Title    string   // the question itself
	Explain  string   // what it means for whoever answers
	Kind     Kind     //
	Options  []Option // of a Choice
	Default  string   // what stands there at first
	Example  string   // shown where nothing stands, "" = none
	Optional bool     // nothing is an answer too
}

// Line is one answer as it is shown.
type Line struct{ Label, Value string }

// Session is a run of the wizard. Make one with [New].
type Session struct {
	start     Start
	a         answers.Answers
	done      map[string]bool
	history   []string // ids in the order of their answers
	open      string   // section that was opened from the summary
	fields    []answers.Field
	now       paths // of a, normalised
	typed     bool  // passwords are typed instead of generated
	passwords map[string]secret.Text
}

// New starts a session.
func New(start Start) *Session {
	s := &Session{start: start, fields: answers.Fields(), done: map[string]bool{}, passwords: map[string]secret.Text{}}
	s.take(start.Answers)
	return s
}

// take makes a the answers.
func (s *Session) take(a answers.Answers) {
	s.a = a
	s.now = s.paths(s.normal(a))
}

// Answers returns the answers so far.
func (s *Session) Answers() answers.Answers { return s.normal(s.a) }

// Passwords returns the passwords that were typed, by account; the others are to be
// generated.
func (s *Session) Passwords() map[string]secret.Text {
	out := map[string]secret.Text{}
	if s.typed {
		for _, name := range s.newAccounts() {
			if pw, ok := s.passwords[name]; ok {
				out[name] = pw
			}
		}
	}
	return out
}

// Problems returns what is wrong with the answers as a whole, every problem at once; nil
// when they can be written.
func (s *Session) Problems() answers.Problems { return s.Answers().Validate() }

// Question returns what is to be asked next; false when nothing is.
func (s *Session) Question() (Question, bool) {
	for _, st := range s.steps() {
		if s.pending(st) {
			return s.question(st), true
		}
	}
	return Question{}, false
}

// Pending returns all questions that are open as the answers stand. Answers that are yet
// to come may bring more.
func (s *Session) Pending() []Question {
	var out []Question
	for _, st := range s.steps() {
		if s.pending(st) {
			out = append(out, s.question(st))
		}
	}
	return out
}

func (s *Session) pending(st step) bool {
	return !s.done[st.id] && s.askable(st) && (st.essential || st.section == s.open)
}

// askable reports whether the question makes sense with the answers so far and was not
// answered by a flag.
func (s *Session) askable(st step) bool {
	return !s.start.Fixed[st.flag] && (st.when == nil || st.when(s))
}

// Check says what is wrong with text as the answer of the question that is open. Nothing
// is stored.
func (s *Session) Check(text string) error {
	st, ok := s.current()
	if !ok {
		return errors.New("there is nothing to answer")
	}
	_, _, err := s.try(st, text)
	return err
}

// Answer stores text as the answer of the open question, or says what is wrong with it
// and leaves everything as it was.
func (s *Session) Answer(text string) error {
	st, ok := s.current()
	if !ok {
		return errors.New("there is nothing to answer")
	}
	a, again, err := s.try(st, text)
	if err != nil {
		return err
	}
	if st.store != nil {
		st.store(s, text)
	}
	s.take(a)
	s.done[st.id] = true
	s.history = append(s.history, st.id)
	for _, id := range again {
		delete(s.done, id)
	}
	return nil
}

// Back opens the question that was answered last again. It reports whether there was one.
func (s *Session) Back() bool {
	for len(s.history) > 0 {
		last := s.history[len(s.history)-1]
		s.history = s.history[:len(s.history)-1]
		for _, st := range s.steps() {
			if st.id != last || !s.askable(st) {
				continue
			}
			delete(s.done, last)
			if !st.essential {
				s.open = st.section
			}
			return true
		}
	}
	return false
}

// Sections returns the sections that can be opened: those with something to answer.
func (s *Session) Sections() []string {
	var out []string
	for _, st := range s.steps() {
		if s.askable(st) && !slices.Contains(out, st.section) {
			out = append(out, st.section)
		}
	}
	return out
}

// Open asks the questions of a section (again).
func (s *Session) Open(section string) {
	s.open = section
	for _, st := range s.steps() {
		if st.section == section {
			delete(s.done, st.id)
		}
	}
}

// Progress tells which of the sections that are asked the open question is in, counted
// from 1.
func (s *Session) Progress() (at, of int) {
	var names []string
	q, _ := s.Question()
	for _, st := range s.steps() {
		if (st.essential || st.section == s.open) && s.askable(st) && !slices.Contains(names, st.section) {
			names = append(names, st.section)
		}
	}
	return slices.Index(names, q.Section) + 1, len(names)
}

// Answered returns the answers of a section that were given in this session.
func (s *Session) Answered(section string) []Line {
	var out []Line
	for _, st := range s.steps() {
		if st.section == section && s.done[st.id] && s.askable(st) && st.kind != Secret {
			out = append(out, Line{st.label, s.shown(st)})
		}
	}
	return out
}

// shown is the answer of a step as a person reads it.
func (s *Session) shown(st step) string {
	value := st.get(s)
	for _, o := range st.options(s) {
		if o.Value == value {
			head, _, _ := strings.Cut(o.Label, ": ")
			return head
		}
	}
	if value == "" {
		return "–"
	}
	return value
}

func (s *Session) current() (step, bool) {
	for _, st := range s.steps() {
		if s.pending(st) {
			return st, true
		}
	}
	return step{}, false
}

func (s *Session) question(st step) Question {
	q := Question{
		ID: st.id, Flag: st.flag, Section: st.section, Label: st.label, Title: st.title, Explain: st.explain, Kind: st.kind,
		Options: st.options(s), Optional: st.optional, Default: st.get(s),
	}
	// Words that say what nothing means begin with "="; all others are values.
	if text, meaning := strings.CutPrefix(st.example, "="); meaning {
		q.Example = text
	} else if text != "" {
		q.Example = "such as " + text
	}
	if st.derived != nil {
		if d := st.derived(s); d != "" {
			q.Example = d
		}
	}
	if st.suggest != nil && !s.done[st.id] && !slices.Contains(s.history, st.id) && !s.start.Existing && (st.always || q.Default == st.pristine) {
		if v := st.suggest(s); v != "" {
			q.Default = v
		}
	}
	if q.Kind == Choice && !slices.ContainsFunc(q.Options, func(o Option) bool { return o.Value == q.Default }) && len(q.Options) > 0 {
		q.Default = q.Options[0].Value
	}
	return q
}

// try returns the answers with text as the answer of st, and the later questions that it
// opens again.
func (s *Session) try(st step, text string) (answers.Answers, []string, error) {
	if st.kind == Secret {
		if text != "" && s.start.CheckPassword != nil {
			if err := s.start.CheckPassword(secret.New(text)); err != nil {
				return s.a, nil, err
			}
		}
		return s.a, nil, nil
	}
	text = strings.TrimSpace(text)
	if options := st.options(s); st.kind == Choice && !slices.ContainsFunc(options, func(o Option) bool { return o.Value == text }) {
		var expected []string
		for _, o := range options {
			expected = append(expected, o.Value)
		}
		return s.a, nil, fmt.Errorf("%q is not a choice; expected %s", text, strings.Join(expected, ", "))
	}
	a := s.a
	if err := st.set(&a, text); err != nil {
		return s.a, nil, plainError(err)
	}
	if st.file && text != "" && s.start.Check != nil || st.choosesProgram && s.start.Check != nil {
		if err := s.start.Check(st.flag, text); err != nil {
			return s.a, nil, err
		}
	}
	before := map[string]bool{}
	for _, p := range s.normal(s.a).Validate() {
		before[p.Flag] = true
	}
	var again, wrong []string
	for _, p := range s.normal(a).Validate() {
		switch {
		case p.Flag == st.flag:
			wrong = append(wrong, explain(p, false))
		case before[p.Flag]:
		case s.start.Fixed[p.Flag]:
			wrong = append(wrong, explain(p, true))
		default:
			later, answered := s.answeredAfter(st, p.Flag)
			if later {
				again = append(again, p.Flag)
			} else if answered {
				wrong = append(wrong, explain(p, true))
			}
		}
	}
	if len(wrong) > 0 {
		return s.a, nil, errors.New(strings.Join(wrong, "; "))
	}
	return a, again, nil
}

// answeredAfter reports whether the question of flag was answered, and whether it comes
// after st, so that it can simply be asked again.
func (s *Session) answeredAfter(st step, flag string) (later, answered bool) {
	past := false
	for _, other := range s.steps() {
		if other.flag == flag && s.done[other.id] {
			return past, true
		}
		past = past || other.id == st.id
	}
	return false, false
}

// explain is a problem as a sentence on the screen of its own question, or of another one.
func explain(p answers.Problem, elsewhere bool) string {
	msg := p.Msg
	if elsewhere {
		msg = "--" + p.Flag + ": " + msg
	}
	if p.Hint != "" {
		msg += " (" + p.Hint + ")"
	}
	return msg
}

// plainError is the error of a field without its flag, which the screen names already.
func plainError(err error) error {
	var ps answers.Problems
	var p answers.Problem
	switch {
	case errors.As(err, &ps):
	case errors.As(err, &p):
		ps = answers.Problems{p}
	default:
		return err
	}
	var texts []string
	for _, p := range ps {
		texts = append(texts, explain(p, false))
	}
	return errors.New(strings.Join(texts, "; "))
}

// normal returns a without the answers of paths that were left.
func (s *Session) normal(a answers.Answers) answers.Answers {
	d := answers.Defaults()
	if a.Runtime == answers.RuntimeEmbedded && !s.start.Fixed["storage"] {
		a.Storage = answers.StorageFilesystem // it has no other
	}
	p := s.paths(a)
	for _, f := range s.fields {
		if !s.start.Fixed[f.Flag] && !p.meaningful(f) {
			_ = f.Set(&a, f.Get(&d)) // a default is never refused
		}
	}
	return a
}

// paths are the answers that decide which others mean something.
type paths struct {
	r           answers.Answers // resolved
	logins      []string
	cacheDomain string
	derivedTLS  bool // where certificates come from follows from other answers
}

func (s *Session) paths(a answers.Answers) paths {
	p := paths{r: a.Resolve(), derivedTLS: a.TLS == ""}
	for _, f := range s.fields {
		switch f.Flag {
		case "login":
			p.logins = f.Get(&a)
		case "cache-domain":
			p.cacheDomain = f.Text(&a)
		}
	}
	return p
}

// meaningful reports whether the field has a meaning with the other answers. What has none
// is a problem when it is answered, and is not asked.
func (p paths) meaningful(f answers.Field) bool {
	r := p.r
	switch f.Flag {
	case "tls-cert", "tls-key":
		return r.TLS == answers.TLSFiles
	case "acme-ca":
		return (r.TLS == answers.TLSACME || p.derivedTLS) && r.Domain != "localhost"
	case "acme-ca-root":
		return r.ACMECA != ""
	case "s3-provider":
		return r.Storage == answers.StorageS3
	case "s3-endpoint":
		return r.Storage == answers.StorageS3 && r.S3.Provider != answers.ProviderAWS || r.Storage == answers.StorageMinIO && !r.BundlesStore()
	case "s3-credentials-file":
		return r.UsesS3() && !r.BundlesStore()
	case "storage-image":
		return r.Storage == answers.StorageMinIO || r.Storage == answers.StorageVersityGW
	case "s3-redirect":
		return r.Storage == answers.StorageS3 || r.Storage == answers.StorageMinIO && !r.BundlesStore()
	case "azure-secret-file":
		return r.Storage == answers.StorageAzure && r.Azure.Credentials != answers.AzureDefault
	case "azure-tenant-id", "azure-client-id":
		return r.Storage == answers.StorageAzure && r.Azure.Credentials == answers.AzureClientSecret
	}
	switch parent, rest, _ := strings.Cut(f.Key, "."); parent {
	case "s3":
		return r.UsesS3()
	case "azure":
		return r.Storage == answers.StorageAzure
	case "gcs":
		return r.Storage == answers.StorageGCS
	case "ldap", "oidc", "github", "gitlab", "google":
		return slices.Contains(p.logins, parent)
	case "cache":
		return rest == "domain" || p.cacheDomain != ""
	}
	return true
}

// newAccounts returns the names of the accounts that are not there yet.
func (s *Session) newAccounts() []string {
	var out []string
	for _, u := range s.a.Accounts() {
		if !slices.Contains(s.start.Accounts, u.Name) {
			out = append(out, u.Name)
		}
	}
	return out
}
