package acl

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"sync/atomic"
)

// Pos is where an entry stands in its file; the zero Pos is nowhere.
type Pos struct {
	File         string
	Line, Column int // from 1; Column in characters
}

// LabelMatch asks that some value of the user's label Key matches Pattern.
type LabelMatch struct{ Key, Pattern string }

// Match is what an entry asks of a request. A nil field is absent and matches anything.
type Match struct {
	Account, Type, Name, Service, IP *string
	Labels                           []LabelMatch // all must hold
}

// Entry is one element of a policy.
type Entry struct {
	Match   Match
	Actions []string // nil is an error of Compile; empty grants nothing
	Comment string
	Pos     Pos
}

// Options change how a policy reads its entries.
type Options struct {
	// LiteralLabels escapes the values of labels and captures before they are put into a
	// pattern, and lets no value turn a glob into a regexp. docker_auth does neither.
	LiteralLabels bool
}

// MaxCombinations is how many combinations of label values are tried for one field when
// they must be tried one by one.
const MaxCombinations = 1000

// Errors that an Error wraps.
var (
	// ErrNoActions is wrapped by the error of an entry without actions.
	ErrNoActions = errors.New("actions are missing")
	// ErrCombinations is wrapped when a field has more than MaxCombinations combinations of
	// label values that would have to be tried one by one.
	ErrCombinations = fmt.Errorf("more than %d combinations of label values", MaxCombinations)
	// ErrTooLarge is wrapped when values blow a regexp up beyond reason.
	ErrTooLarge = errors.New("regexp is too large after substitution")
	// ErrLabelKey is wrapped when a label's key can't stand in a placeholder.
	ErrLabelKey = errors.New(`a label key with "}" or "${" is never substituted`)
)

// Error is a problem of one field of one entry.
type Error struct {
	Entry   int    // index in the policy; -1 when it is about no entry
	Field   string // account, type, name, service, ip, labels.KEY or actions
	Label   string // the user's label to blame, where there is one
	Pattern string // as written in the entry
	Err     error
}

// Error returns the place, the pattern and the cause in one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Entry >= 0 {
		fmt.Fprintf(&b, "acl[%d]", e.Entry)
		if e.Field != "" {
			b.WriteByte('.')
		}
	}
	b.WriteString(e.Field)
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Pattern != "" {
		fmt.Fprintf(&b, "pattern %q: ", e.Pattern)
	}
	if e.Label != "" {
		fmt.Fprintf(&b, "label %q: ", e.Label)
	}
	fmt.Fprintf(&b, "%v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all problems found, in the order of the entries.
type Errors []*Error

// Error returns one problem a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one, for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, err := range e {
		out[i] = err
	}
	return out
}

// Policy is a compiled list of entries. It is immutable as seen from outside and may be
// used by any number of goroutines.
type Policy struct {
	entries  []Entry
	compiled []entry
	options  Options
	index    index
	// labelled are the fields with label placeholders. Those in fragile must be checked for
	// every user, the others only for users whose values are pattern syntax.
	labelled, fragile []labelledField
	cache             regexpCache
	walkers           sync.Pool
}

// entry is an Entry made ready for matching.
type entry struct {
	fields   [numFields]*matcher // nil: absent
	ip       *netip.Prefix
	labels   []labelCondition
	actions  []string
	star     bool // grants all that is asked
	captures bool // some pattern holds a capture
}

type labelCondition struct {
	key     string
	pattern *matcher
}

// matcher is a compiled pattern. Matchers are shared by entries with the same text.
type matcher struct {
	Pattern
	dynamic  bool      // has placeholders
	template *template // of a dynamic pattern; nil: substituted as text

	// For patterns without placeholders.
	finite   []string // the texts it matches, when it is known to match only these
	prefix   string   // what every value it matches begins with
	required string   // what every value it matches contains
	prefixes [][]elem // for the index

	compiled atomic.Pointer[regexp.Regexp]
}

// regexp returns the compiled regexp of the pattern as written. Most regexps of a large
// policy are never needed, the index and the literal parts decide; so they are compiled
// when they are.
func (m *matcher) regexp() *regexp.Regexp {
	if re := m.compiled.Load(); re != nil {
		return re
	}
	re, err := regexp.Compile(regexpBody(m.text))
	if err != nil {
		// Compile has parsed it; there is no other reason to fail.
		re = regexp.MustCompile(`[^\x00-\x{10FFFF}]`)
	}
	m.compiled.CompareAndSwap(nil, re)
	return m.compiled.Load()
}

// Compile checks entries and makes them ready for deciding. The error, when there is one,
// is an Errors with every problem of every entry. The entries are copied as far as needed;
// later changes to the slices do not matter.
func Compile(entries []Entry, options Options) (*Policy, error) {
	p := &Policy{
		entries:  append([]Entry(nil), entries...),
		compiled: make([]entry, len(entries)),
		options:  options,
	}
	c := compiler{policy: p, shared: map[string]*matcher{}, sharedLabels: map[string]*matcher{}}
	for i := range p.entries {
		c.entry(i)
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	p.index = buildIndex(p.compiled)
	return p, nil
}

type compiler struct {
	policy       *Policy
	shared       map[string]*matcher // by text, for patterns without captures
	sharedLabels map[string]*matcher // the same for label patterns
	errs         Errors
}

func (c *compiler) fail(i int, field, pattern string, err error) {
	c.errs = append(c.errs, &Error{Entry: i, Field: field, Pattern: pattern, Err: err})
}

func (c *compiler) entry(i int) {
	src, dst := &c.policy.entries[i], &c.policy.compiled[i]
	if src.Actions == nil {
		c.fail(i, "actions", "", ErrNoActions)
	}
	dst.actions = append([]string(nil), src.Actions...)
	dst.star = len(src.Actions) == 1 && src.Actions[0] == "*"
	texts := [numFields]*string{src.Match.Account, src.Match.Type, src.Match.Name, src.Match.Service}
	captures := c.captures(texts)
	dst.captures = len(captures) > 0
	for f, text := range texts {
		if text == nil {
			continue
		}
		m, err := c.matcher(*text, captures, true)
		if err != nil {
			c.fail(i, fieldNames[f], *text, err)
			continue
		}
		dst.fields[f] = m
		if m.hasLabels() {
			at := labelledField{entry: i, field: Field(f)}
			c.policy.labelled = append(c.policy.labelled, at)
			if m.fragile() {
				c.policy.fragile = append(c.policy.fragile, at)
			}
		}
	}
	if src.Match.IP != nil {
		prefix, err := parseIP(*src.Match.IP)
		if err != nil {
			c.fail(i, "ip", *src.Match.IP, err)
		}
		dst.ip = &prefix
	}
	for _, l := range src.Match.Labels {
		m, err := c.matcher(l.Pattern, captures, false)
		if err != nil {
			c.fail(i, labelField(l.Key), l.Pattern, err)
			continue
		}
		dst.labels = append(dst.labels, labelCondition{key: l.Key, pattern: m})
	}
}

func labelField(key string) string { return "labels." + key }

// captures returns the captures that are replaced in an entry with these fields.
func (c *compiler) captures(texts [numFields]*string) []capture {
	var out []capture
	for _, text := range texts {
		if text == nil {
			continue
		}
		for _, found := range findCaptures(*text) {
			target := texts[found.field]
			if target == nil || !isRegexp(*target) {
				continue
			}
			re, err := parseRegexp(regexpBody(*target))
			if err == nil && found.group <= re.MaxCap() {
				out = append(out, found)
			}
		}
	}
	return out
}

func (c *compiler) matcher(text string, captures []capture, labels bool) (*matcher, error) {
	shared := c.shared
	if !labels {
		shared = c.sharedLabels
	}
	share := true
	for _, found := range captures {
		if strings.Contains(text, found.text) {
			share = false
		}
	}
	if share {
		if m := shared[text]; m != nil {
			return m, nil
		}
	}
	m, err := newMatcher(text, captures, labels)
	if err != nil {
		return nil, err
	}
	if share {
		shared[text] = m
	}
	return m, nil
}

func newMatcher(text string, captures []capture, labels bool) (*matcher, error) {
	p, tree, err := parsePattern(text, captures, labels)
	if err != nil {
		return nil, err
	}
	m := &matcher{Pattern: p, dynamic: p.HasPlaceholders()}
	switch {
	case m.dynamic:
		m.template = newTemplate(p)
	case p.kind == Regexp:
		m.analyse(tree)
	case p.kind == Literal:
		lit, _ := globLiteral(text)
		m.finite = []string{lit}
		m.prefix = lit
	case p.kind == Glob:
		m.prefix = globPrefix(text)
	}
	if !m.dynamic {
		m.segs = nil // one segment of text; Patterns restores it
		if m.prefixes == nil && m.prefix != "" {
			m.prefixes = [][]elem{{{lit: m.prefix, mark: -1}}}
		}
	}
	return m, nil
}

// analyse takes from a regexp without placeholders what decides most values without
// running it.
func (m *matcher) analyse(re *syntax.Regexp) {
	alts, exact := prefixes(re, maxFinite)
	if exact {
		m.finite = make([]string, len(alts))
		for i, alt := range alts {
			if len(alt) > 0 {
				m.finite[i] = alt[0].lit
			}
		}
	}
	if len(alts) > maxPrefixes && !exact {
		alts = nil
	}
	m.prefixes = alts
	if len(alts) == 1 && len(alts[0]) > 0 {
		m.prefix = alts[0][0].lit
	}
	m.required = required(re)
}

func (m *matcher) hasLabels() bool {
	for _, s := range m.segs {
		if s.Kind == Label {
			return true
		}
	}
	return false
}

// globPrefix returns the text before the first wildcard.
func globPrefix(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '*', '?', '[':
			return b.String()
		case '\\':
			i++
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

// Len returns the number of entries.
func (p *Policy) Len() int { return len(p.entries) }

// Entry returns the entry with this index, from 0, as [Decision.Index] has it.
func (p *Policy) Entry(index int) Entry { return p.entries[index] }

// Entries returns the entries as they were given to Compile: a copy of the whole list.
func (p *Policy) Entries() []Entry { return append([]Entry(nil), p.entries...) }

// LiteralLabels reports whether the policy was compiled with Options.LiteralLabels.
func (p *Policy) LiteralLabels() bool { return p.options.LiteralLabels }

// Patterns are the patterns of an entry with exactly those captures as segments that are
// replaced in it. Nil is absent.
type Patterns struct {
	Account, Type, Name, Service *Pattern
	IP                           *netip.Prefix
	Labels                       []LabelPattern
}

// LabelPattern is a label condition of an entry.
type LabelPattern struct {
	Key     string
	Pattern Pattern
}

// Patterns returns the patterns of entry i, which must be in [0, Len).
func (p *Policy) Patterns(i int) Patterns {
	e := &p.compiled[i]
	get := func(f Field) *Pattern {
		if e.fields[f] == nil {
			return nil
		}
		q := e.fields[f].public()
		return &q
	}
	out := Patterns{Account: get(FieldAccount), Type: get(FieldType), Name: get(FieldName), Service: get(FieldService)}
	if e.ip != nil {
		ip := *e.ip
		out.IP = &ip
	}
	for _, l := range e.labels {
		out.Labels = append(out.Labels, LabelPattern{Key: l.key, Pattern: l.pattern.public()})
	}
	return out
}

func (m *matcher) public() Pattern {
	p := m.Pattern
	if !m.dynamic && p.text != "" {
		p.segs = []Segment{{Kind: Text, Text: p.text}}
	}
	return p
}
