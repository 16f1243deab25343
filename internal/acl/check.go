package acl

import (
	"slices"
	"strings"
)

// labelledField is a field whose pattern has label placeholders.
type labelledField struct {
	entry int
	field Field
}

// fragile reports whether values that are plain text can still be too many to try, or
// change how the pattern is read.
func (m *matcher) fragile() bool {
	t := m.template
	if t == nil || t.ambiguous || t.fold {
		return true
	}
	return slices.ContainsFunc(t.marks, func(mk mark) bool { return mk.tied })
}

// CheckLabels returns what a user with these labels runs into: patterns that a value breaks,
// fields with more than MaxCombinations combinations that must be tried one by one, and
// keys that can't stand in a placeholder (Entry is -1 then). Requests that meet such a field
// are denied. Variables count as plain text here, captures as unmatched.
func (p *Policy) CheckLabels(labels map[string][]string) Errors {
	var errs Errors
	special := false
	keys := make([]string, 0, len(labels))
	for key, values := range labels {
		keys = append(keys, key)
		for _, v := range values {
			if traitsOf(v, p.options.LiteralLabels)&(traitSpecialGlob|traitSpecialRegexp) != 0 {
				special = true
			}
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if strings.Contains(key, "}") || strings.Contains(key, "${") {
			errs = append(errs, &Error{Entry: -1, Label: key, Err: ErrLabelKey})
		}
	}
	fields := p.fragile
	if special {
		fields = p.labelled
	}
	if len(fields) == 0 {
		return errs
	}
	w := p.walker(&Request{Account: "x", Type: "x", Name: "x", Service: "x", Labels: labels})
	defer p.release(w)
	checked := map[*matcher]*Error{}
	for _, at := range fields {
		e := &p.compiled[at.entry]
		m := e.fields[at.field]
		found, done := checked[m]
		if !done {
			if e.captures {
				w.captures = [numFields]captured{}
			}
			found = w.check(e, m)
			checked[m] = found
		}
		if found != nil {
			errs = append(errs, &Error{
				Entry: at.entry, Field: at.field.String(), Label: found.Label, Pattern: m.text, Err: found.Err,
			})
		}
	}
	return errs
}

// check returns what is wrong with m for the user, with Label and Err set.
func (w *walker) check(e *entry, m *matcher) *Error {
	if t := m.template; t != nil && w.fillMarks(e, t, "") == asTemplate {
		total, blame := 1, ""
		for _, k := range t.labels {
			if n := len(w.marks[k].values); t.marks[k].tied && n > 1 && total <= MaxCombinations {
				total *= n
				blame = t.marks[k].seg.Key
			}
		}
		if total > MaxCombinations {
			return &Error{Label: blame, Err: ErrCombinations}
		}
		return nil
	}
	lists, total := w.choices(m, "", false)
	if total > MaxCombinations {
		return &Error{Label: w.blame(m, lists), Err: ErrCombinations}
	}
	for ok := total > 0; ok; ok = advance(lists) {
		text := w.substitute(e, m, lists)
		if err := checkSubstituted(text, w.mayBeRegexp(m)); err != nil {
			return &Error{Label: w.blame(m, lists), Err: substitutedError(text, err)}
		}
	}
	return nil
}

// blame names the label whose value is most likely at fault: the first one whose present
// value, or any value, is pattern syntax.
func (w *walker) blame(m *matcher, lists []labelChoice) string {
	syntax := traitSpecialGlob | traitWildGlob
	if m.kind == Regexp {
		syntax = traitSpecialRegexp
	}
	for _, l := range lists {
		if traitsOf(l.values[l.at], w.policy.options.LiteralLabels)&syntax != 0 {
			return l.key
		}
	}
	for _, l := range lists {
		if w.labelValues(l.key).traits&syntax != 0 {
			return l.key
		}
	}
	return lists[0].key
}
