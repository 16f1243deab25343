package acltest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

// Target is what the cases are run against.
type Target struct {
	Config *config.File
	// Policy is the compiled rules of Config, as the deployment's engine
	// understands them.
	Policy *acl.Policy
	// Service is the registry's own name, for cases that name none.
	Service string
	// Now is when the cases are asked, for accounts that expire; the zero time
	// looks at no expiry.
	Now time.Time
}

// Options choose among the cases.
type Options struct {
	// Run is matched against the account ("anonymous" for none) and the reason of
	// a case, as [Case.Title] joins them; nil runs all.
	Run *regexp.Regexp
}

// ErrNoCase reports that no case was run: the file has none, or [Options].Run
// fits none. A run that tested nothing has not passed.
var ErrNoCase = errors.New("no case was run")

// Result is what came out of a run.
type Result struct {
	Path    string // of the cases
	Skipped int    // cases that Options.Run left out
	Cases   []CaseResult
}

// CaseResult is what came out of one case.
type CaseResult struct {
	Case *Case
	// Err is not empty when the case can't be asked, and then fails without any
	// check.
	Err    string
	Note   string // what the reader should know about how it was asked; may be empty
	Checks []CheckResult
}

// CheckResult is what came out of one line of accept or deny.
type CheckResult struct {
	Question Question
	Accept   bool
	Failures []Failure // none: it holds
}

// Failure says why a line does not hold for one action.
type Failure struct {
	Action  string
	Message string
	// Witness is a request that the engine answers otherwise than the line says;
	// nil when none was looked for or found.
	Witness *acl.Request
	Entry   int // that decides the witness, from 0; -1: none
}

// Passed reports whether the case holds.
func (c *CaseResult) Passed() bool {
	return c.Err == "" && !slices.ContainsFunc(c.Checks, func(k CheckResult) bool { return len(k.Failures) > 0 })
}

// Failed counts the cases that do not hold.
func (r *Result) Failed() int {
	n := 0
	for i := range r.Cases {
		if !r.Cases[i].Passed() {
			n++
		}
	}
	return n
}

// Err returns nil when at least one case was run and all hold. Otherwise it is
// [ErrNoCase], or lists what fails, one line a failure with its position, at
// most ten of them.
func (r *Result) Err() error {
	if len(r.Cases) == 0 {
		return ErrNoCase
	}
	var errs []error
	more := 0
	add := func(pos acl.Pos, text string) {
		if len(errs) == 10 {
			more++
			return
		}
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", pos.File, pos.Line, pos.Column, text))
	}
	for i := range r.Cases {
		c := &r.Cases[i]
		if c.Err != "" {
			add(c.Case.Pos, c.Case.Title()+": "+c.Err)
		}
		for k := range c.Checks {
			for f := range c.Checks[k].Failures {
				add(c.Checks[k].Question.Pos, c.Case.Title()+": "+c.Checks[k].Failures[f].Message)
			}
		}
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("%s: %d more failures", r.Path, more))
	}
	return errors.Join(errs...)
}

// Run asks the cases of a file. It fails only when the context ends or the
// rules can't be analysed; a case that does not hold, or can't be asked, is in
// the result.
func Run(ctx context.Context, t Target, f *File, o Options) (*Result, error) {
	r := &runner{target: t}
	out := &Result{Path: f.Path}
	for i := range f.Cases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := &f.Cases[i]
		if o.Run != nil && !o.Run.MatchString(c.Title()) {
			out.Skipped++
			continue
		}
		res, err := r.run(c)
		if err != nil {
			return nil, err
		}
		out.Cases = append(out.Cases, res)
	}
	return out, nil
}

type runner struct {
	target   Target
	analysis *analysis.Analysis // made when the first pattern is asked about
}

// subject is the account of a case as the engine sees it.
type subject struct {
	labels  map[string][]string // not nil
	service string
	barred  string // why it gets nothing, whatever the rules say
}

func (r *runner) run(c *Case) (CaseResult, error) {
	res := CaseResult{Case: c}
	s, ok := r.subject(c, &res)
	if !ok {
		return res, nil
	}
	if rules := r.elsewhere(); rules != "" && len(c.Deny) > 0 {
		if res.Note != "" {
			res.Note += "; "
		}
		res.Note += fmt.Sprintf("what no entry matches counts as denied, though %s may grant it", rules)
	}
	for _, side := range []struct {
		accept bool
		lines  []Question
	}{{true, c.Accept}, {false, c.Deny}} {
		for _, q := range side.lines {
			check := CheckResult{Question: q, Accept: side.accept}
			for _, action := range q.Actions {
				f, err := r.ask(c, s, q, action, side.accept)
				if err != nil {
					return res, err
				}
				if f != nil {
					check.Failures = append(check.Failures, *f)
				}
			}
			res.Checks = append(res.Checks, check)
		}
	}
	return res, nil
}

// elsewhere names what decides where no entry matches; "" when nothing does.
func (r *runner) elsewhere() string { return strings.Join(r.target.Config.ExternalRules(), ", then ") }

// subject finds who a case is about. It reports false when that is not known.
func (r *runner) subject(c *Case, res *CaseResult) (subject, bool) {
	s := subject{labels: c.Labels, service: c.Service}
	if s.service == "" {
		s.service = r.target.Service
	}
	f := r.target.Config
	u, known := f.User(c.Who)
	external := f.HasExternalLogin()
	switch {
	case known:
		s.barred = r.barred(u)
		if s.labels == nil {
			s.labels = u.LabelMap()
		} else if c.Who != "" {
			res.Note = fmt.Sprintf("asked with the labels of the case, not with those that %q has in %s", c.Who, f.Path)
		}
	case s.labels != nil && c.Who != "":
	case c.Who == "" && !external:
		s.barred = `anonymous can't log in: the config has no user ""`
	case c.Who == "":
	case external:
		res.Note = fmt.Sprintf("%q is not in users: asked without labels, as an account of the external login", c.Who)
	default:
		res.Err = fmt.Sprintf("no user %q in %s; an account that lives elsewhere needs labels", c.Who, f.Path)
		if near := nearestUser(c.Who, f); near != "" {
			res.Err += fmt.Sprintf(" (did you mean %q?)", near)
		}
		return s, false
	}
	if s.labels == nil {
		s.labels = map[string][]string{}
	}
	if services := f.Extras.Services; s.barred == "" && len(services) > 0 && !slices.Contains(services, s.service) {
		s.barred = fmt.Sprintf("the token server signs for the services %q only, not for %q", services, s.service)
	}
	return s, true
}

// barred says why a user can't log in.
func (r *runner) barred(u *config.User) string {
	switch {
	case u.Disabled:
		return fmt.Sprintf("%q can't log in: disabled", u.Name)
	case !u.Expires.IsZero() && !r.target.Now.IsZero() && !r.target.Now.Before(u.Expires):
		return fmt.Sprintf("%q can't log in: expired on %s", u.Name, u.Expires.UTC().Format("2006-01-02 15:04 MST"))
	}
	return ""
}

func nearestUser(name string, f *config.File) string {
	names := make([]string, 0, len(f.Users))
	for i := range f.Users {
		if n := f.Users[i].Name; n != "" && len(n) <= 2*len(name)+4 {
			names = append(names, n)
		}
	}
	return nearest(name, names)
}

// ask asks about one action; it returns nil when the line holds.
func (r *runner) ask(c *Case, s subject, q Question, action string, accept bool) (*Failure, error) {
	f := &Failure{Action: action, Entry: -1}
	switch {
	case s.barred != "" && accept:
		f.Message = fmt.Sprintf("must be allowed to %s %s: %s", action, q.names(), s.barred)
		return f, nil
	case s.barred != "":
		return nil, nil
	case q.Name != "":
		return r.decide(c, s, q, action, accept), nil
	}
	if r.analysis == nil {
		// No accounts: every claim brings its own.
		an, err := analysis.New(r.target.Policy, analysis.Universe{})
		if err != nil {
			return nil, fmt.Errorf("analyse the rules of %s: %w", r.target.Config.Path, err)
		}
		r.analysis = an
	}
	v, err := r.analysis.Check(analysis.Claim{
		Account: c.Who, Labels: s.labels, Action: action, Names: q.Names, Type: q.Type, Service: s.service, IP: c.IP, Accept: accept,
	})
	if err != nil {
		return nil, fmt.Errorf("%s:%d:%d: %w", q.Pos.File, q.Pos.Line, q.Pos.Column, err)
	}
	switch {
	case v.Holds:
		return nil, nil
	case v.Witness != nil:
		f.Witness, f.Entry = v.Witness, v.Entry
		f.Message = r.sentence(q, action, accept, v.Witness, v.Entry)
	case v.NotDecided != "":
		f.Message = fmt.Sprintf("%s %s: %s", action, q.names(), v.NotDecided)
	default:
		f.Message = fmt.Sprintf("%s %s: %s", action, q.names(), v.Reason)
	}
	return f, nil
}

// decide asks the engine about a single name: for the address of the case, or
// for one address of each kind that the rules tell apart.
func (r *runner) decide(c *Case, s subject, q Question, action string, accept bool) *Failure {
	cells := []netip.Addr{c.IP}
	if !c.IP.IsValid() {
		cells = r.target.Policy.IPCells()
	}
	for _, ip := range cells {
		req := &acl.Request{Account: c.Who, Labels: s.labels, Type: q.Type, Name: q.Name, Service: s.service, IP: ip, Actions: []string{action}}
		d := r.target.Policy.Decide(req, nil)
		if (len(d.Granted) == 1) == accept {
			continue
		}
		f := &Failure{Action: action, Witness: req, Entry: d.Index, Message: r.sentence(q, action, accept, req, d.Index)}
		if d.Err != nil {
			f.Message += ": " + d.Err.Error()
		}
		return f
	}
	return nil
}

// names is what a line is about, as it is written.
func (q *Question) names() string {
	name := q.Name
	if name == "" {
		name = q.Names.String()
	}
	if q.Type != analysis.TypeRepository {
		name = q.Type + ":" + name
	}
	return name
}

// sentence says what is otherwise than a line wants, and which entry decides.
func (r *runner) sentence(q Question, action string, accept bool, w *acl.Request, entry int) string {
	must, is := "denied", "allowed"
	if accept {
		must, is = is, must
	}
	text := fmt.Sprintf("%s %s must be %s, but", action, q.names(), must)
	if q.Name == "" {
		text += " " + w.Name
	}
	text += " is " + is
	if w.IP.IsValid() {
		text += " from " + w.IP.String()
	}
	entries := r.target.Policy.Entries()
	if entry < 0 || entry >= len(entries) {
		text += ": no entry matches"
		if rules := r.elsewhere(); rules != "" {
			text += ", and " + rules + " is not asked here"
		}
		return text
	}
	e := entries[entry]
	text += fmt.Sprintf(" by entry %d", entry+1)
	if e.Pos.Line > 0 {
		text += fmt.Sprintf(" (%s:%d)", e.Pos.File, e.Pos.Line)
	}
	if e.Comment != "" {
		text += fmt.Sprintf(" %q", e.Comment)
	}
	return text + ", which grants [" + strings.Join(e.Actions, ", ") + "]"
}
