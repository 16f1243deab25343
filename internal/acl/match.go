package acl

import (
	"net/netip"
	"path"
	"strings"
	"unicode/utf8"
)

// Request asks for actions on one resource.
type Request struct {
	Account string // "" is the anonymous account
	Type    string // "repository", "registry", ...
	Name    string
	Service string
	Labels  map[string][]string // of the account
	IP      netip.Addr          // the zero Addr: no address
	Actions []string            // sorted, each once
}

// Decision is what a policy says about a request.
type Decision struct {
	// Granted are the actions granted, in the order asked. It may share memory with
	// Request.Actions or with the buffer given to Decide.
	Granted []string
	// Index is the deciding entry, from 0; -1 when none matched.
	Index int
	// Err is an *Error when entry Index could not be decided; then nothing is granted.
	Err error
}

// Step is how one entry met a request.
type Step struct {
	Index   int
	Matched bool
	// Field is the first field that did not match (account, type, name, service, ip or
	// labels.KEY) or, with Err, could not be decided. Empty when the entry matched.
	Field   string
	Pattern string // of that field, as written
	Value   string // of the request; a label's values are joined with ", "
	Err     error
}

// Decide finds the first entry that matches r. Granted is built in buf[:0] when it is not
// all of r.Actions, so that a caller with a buffer causes no allocation.
func (p *Policy) Decide(r *Request, buf []string) Decision {
	w := p.walker(r)
	defer p.release(w)
	for i, ok := w.next(); ok; i, ok = w.next() {
		switch out := w.match(i); out.verdict {
		case yes:
			return Decision{Granted: p.compiled[i].granted(r.Actions, buf), Index: i}
		case undecided:
			return Decision{Index: i, Err: w.undecidedError(i, out)}
		}
	}
	return Decision{Index: -1}
}

// Explain decides as Decide does, entry by entry without the index, and returns a step for
// every entry up to the deciding one.
func (p *Policy) Explain(r *Request) (Decision, []Step) {
	w := p.walker(r)
	defer p.release(w)
	var steps []Step
	for i := range p.compiled {
		out := w.match(i)
		step := w.step(i, out)
		steps = append(steps, step)
		switch out.verdict {
		case yes:
			return Decision{Granted: p.compiled[i].granted(r.Actions, nil), Index: i}, steps
		case undecided:
			return Decision{Index: i, Err: step.Err}, steps
		}
	}
	return Decision{Index: -1}, steps
}

func (e *entry) granted(asked, buf []string) []string {
	if e.star {
		return asked
	}
	granted := buf[:0]
	for _, a := range asked {
		for _, listed := range e.actions {
			if a == listed {
				granted = append(granted, a)
				break
			}
		}
	}
	return granted
}

// verdict is the three-valued answer for a field or an entry.
type verdict uint8

const (
	no verdict = iota
	yes
	undecided
)

// Fields of an outcome beyond the four of a request; label conditions follow.
const (
	outcomeIP     = int(numFields)
	outcomeLabels = outcomeIP + 1
)

// outcome is how an entry met the request. field is the first one that fails, or, for an
// undecided entry, the first one that could not be decided.
type outcome struct {
	verdict verdict
	field   int
	err     error
}

// walker holds a request's values and the memory needed to walk the entries for it. It does
// not hold the request, so that a caller's request may stay on its stack.
type walker struct {
	policy     *Policy
	values     [numFields]string
	userLabels map[string][]string
	ip         netip.Addr

	labels []labelValues // of the user, looked up so far
	absent labelValues   // any other

	cursors cursors
	last    int32 // entry that next returned last
	all     bool  // walk all entries, the index does not apply
	budget  int

	captures [numFields]captured // of the entry being matched

	marks   [maxMarks]markValues
	ones    [maxMarks]string
	visited []uint64
	stack   []uint64
	reach   []bool
	text    []byte
	lists   []labelChoice
}

// labelValues are the user's values of a label.
type labelValues struct {
	key     string
	values  []string
	present bool
	traits  traits
}

// captured are the groups of a field's regexp in the request's value.
type captured struct {
	done   bool
	groups []int
}

func (p *Policy) walker(r *Request) *walker {
	w, _ := p.walkers.Get().(*walker)
	if w == nil {
		w = &walker{}
	}
	w.policy = p
	w.values = [numFields]string{r.Account, r.Type, r.Name, r.Service}
	w.userLabels = r.Labels
	w.ip = plainAddr(r.IP)
	w.start()
	return w
}

// release keeps the memory for the next request and lets go of the request itself.
func (p *Policy) release(w *walker) {
	w.userLabels = nil
	w.values = [numFields]string{}
	clear(w.labels)
	w.labels = w.labels[:0]
	clear(w.cursors)
	w.cursors = w.cursors[:0]
	w.captures = [numFields]captured{}
	w.marks = [maxMarks]markValues{}
	w.ones = [maxMarks]string{}
	clear(w.lists)
	w.lists = w.lists[:0]
	p.walkers.Put(w)
}

// match decides one entry. A field that fails for certain makes the entry fail even when
// another one is undecided, so the order in which fields are looked at does not matter.
func (w *walker) match(i int) outcome {
	e := &w.policy.compiled[i]
	if e.captures {
		w.captures = [numFields]captured{}
	}
	open := outcome{verdict: yes}
	for f, m := range e.fields {
		if m == nil {
			continue
		}
		v, err := w.field(e, m, w.values[f])
		if v == no {
			return outcome{verdict: no, field: f}
		}
		if v == undecided && open.verdict == yes {
			open = outcome{verdict: undecided, field: f, err: err}
		}
	}
	if e.ip != nil && (!w.ip.IsValid() || !e.ip.Contains(w.ip)) {
		return outcome{verdict: no, field: outcomeIP}
	}
	for l := range e.labels {
		v, err := w.label(e, &e.labels[l])
		if v == no {
			return outcome{verdict: no, field: outcomeLabels + l}
		}
		if v == undecided && open.verdict == yes {
			open = outcome{verdict: undecided, field: outcomeLabels + l, err: err}
		}
	}
	return open
}

// label decides whether some value of the user's label matches.
func (w *walker) label(e *entry, c *labelCondition) (verdict, error) {
	result, cause := no, error(nil)
	for _, value := range w.userLabels[c.key] {
		v, err := w.field(e, c.pattern, value)
		if v == yes {
			return yes, nil
		}
		if v == undecided && result == no {
			result, cause = undecided, err
		}
	}
	return result, cause
}

// field decides whether value matches a pattern.
func (w *walker) field(e *entry, m *matcher, value string) (verdict, error) {
	if !m.dynamic {
		if m.matches(value) {
			return yes, nil
		}
		return no, nil
	}
	how := asText
	if m.template != nil {
		if how = w.fillMarks(e, m.template, value); how == asTemplate {
			return w.matchTemplate(m.template, value)
		}
	}
	return w.matchText(e, m, value, how == asTextPruned)
}

// matches decides a pattern without placeholders.
func (m *matcher) matches(value string) bool {
	if m.finite != nil {
		for _, s := range m.finite {
			if s == value {
				return true
			}
		}
		return false
	}
	if !strings.HasPrefix(value, m.prefix) || !strings.Contains(value, m.required) {
		return false
	}
	if m.kind == Regexp {
		return m.regexp().MatchString(value)
	}
	ok, _ := path.Match(m.text, value) // its syntax was checked by Compile
	return ok
}

// labelValues returns the user's values of a label with their traits.
func (w *walker) labelValues(key string) *labelValues {
	for i := range w.labels {
		if w.labels[i].key == key {
			return &w.labels[i]
		}
	}
	values, present := w.userLabels[key]
	if !present {
		return &w.absent
	}
	l := labelValues{key: key, values: values, present: true}
	for _, v := range values {
		l.traits |= traitsOf(v, w.policy.options.LiteralLabels)
	}
	w.labels = append(w.labels, l)
	return &w.labels[len(w.labels)-1]
}

// capture returns the text of a capture group, or false when the placeholder stays as
// written.
func (w *walker) capture(e *entry, s *Segment) (string, bool) {
	c := &w.captures[s.Field]
	value := w.values[s.Field]
	if !c.done {
		c.done = true
		c.groups = e.fields[s.Field].regexp().FindStringSubmatchIndex(value)
	}
	if 2*s.Group+1 >= len(c.groups) {
		return "", false
	}
	if lo, hi := c.groups[2*s.Group], c.groups[2*s.Group+1]; lo >= 0 {
		return value[lo:hi], true
	}
	return "", true
}

func (w *walker) undecidedError(i int, out outcome) *Error {
	field, pattern, _ := w.describe(i, out.field)
	return &Error{Entry: i, Field: field, Pattern: pattern, Err: out.err}
}

func (w *walker) step(i int, out outcome) Step {
	s := Step{Index: i, Matched: out.verdict == yes}
	if s.Matched {
		return s
	}
	s.Field, s.Pattern, s.Value = w.describe(i, out.field)
	if out.verdict == undecided {
		s.Err = w.undecidedError(i, out)
	}
	return s
}

// describe names a field of an outcome, its pattern and the request's value.
func (w *walker) describe(i, field int) (name, pattern, value string) {
	e := &w.policy.compiled[i]
	switch {
	case field < int(numFields):
		return fieldNames[field], e.fields[field].text, w.values[field]
	case field == outcomeIP:
		if w.ip.IsValid() {
			value = w.ip.String()
		}
		return "ip", *w.policy.entries[i].Match.IP, value
	}
	c := &e.labels[field-outcomeLabels]
	return labelField(c.key), c.pattern.text, strings.Join(w.userLabels[c.key], ", ")
}

// traits tell which characters of a value mean something in a pattern.
type traits uint8

const (
	traitSlash         traits = 1 << iota // empty, or begins with "/"
	traitWildGlob                         // * or ?
	traitSpecialGlob                      // [ or \
	traitDot                              // the regexp .
	traitSpecialRegexp                    // any other metacharacter, or no UTF-8
	traitNotASCII
)

// traitsOf classifies a value that is put into a pattern. A literal value is escaped first,
// so only what no escape helps against counts.
func traitsOf(v string, literal bool) traits {
	if v == "" {
		return traitSlash
	}
	var t traits
	if v[0] == '/' {
		t |= traitSlash
	}
	for i := 0; i < len(v); i++ {
		t |= byteTraits[v[i]]
	}
	if literal {
		t &= traitSlash | traitNotASCII
	}
	if v[len(v)-1] >= utf8.RuneSelf || t&traitNotASCII != 0 {
		if !utf8.ValidString(v) {
			t |= traitSpecialRegexp
		}
	}
	return t
}

var byteTraits = func() (t [256]traits) {
	for _, c := range `\+()|[]{}^$` {
		t[c] |= traitSpecialRegexp
	}
	t['*'] = traitWildGlob | traitSpecialRegexp
	t['?'] = traitWildGlob | traitSpecialRegexp
	t['['] |= traitSpecialGlob
	t['\\'] |= traitSpecialGlob
	t['.'] = traitDot
	for c := utf8.RuneSelf; c < len(t); c++ {
		t[c] = traitNotASCII
	}
	return t
}()
