package acl

import (
	"fmt"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
)

// matchText decides a pattern by substituting text, combination by combination. prune tells
// that a label's value which does not occur in value can't match.
func (w *walker) matchText(e *entry, m *matcher, value string, prune bool) (verdict, error) {
	result, cause := w.tryText(e, m, value, nil)
	if result == yes {
		return yes, nil
	}
	lists, total := w.choices(m, value, prune)
	if total > MaxCombinations {
		return undecided, ErrCombinations
	}
	for ok := total > 0; ok; ok = advance(lists) {
		v, err := w.tryText(e, m, value, lists)
		if v == yes {
			return yes, nil
		}
		if v == undecided && result == no {
			result, cause = undecided, err
		}
	}
	return result, cause
}

// choices returns the labels of m that the user has, and how many combinations their values
// make: none when a label has no values or there is no label.
func (w *walker) choices(m *matcher, value string, prune bool) ([]labelChoice, int) {
	lists := w.lists[:0]
	total := 1
segments:
	for _, s := range m.segs {
		if s.Kind != Label {
			continue
		}
		for _, l := range lists {
			if l.key == s.Key {
				continue segments
			}
		}
		l := w.labelValues(s.Key)
		if !l.present {
			continue
		}
		values := l.values
		// A wildcard in a value would occur as what it matches.
		wildcards := traitWildGlob | traitSpecialGlob
		if m.kind == Regexp {
			wildcards = traitDot | traitSpecialRegexp
		}
		if prune && (w.policy.options.LiteralLabels || l.traits&wildcards == 0) {
			values = occurring(values, value)
		}
		lists = append(lists, labelChoice{key: s.Key, values: values})
		if total == 0 || len(values) == 0 {
			total = 0
		} else if total <= MaxCombinations {
			total *= len(values)
		}
	}
	w.lists = lists
	if len(lists) == 0 {
		return nil, 0
	}
	return lists, total
}

// tryText decides one combination.
func (w *walker) tryText(e *entry, m *matcher, value string, lists []labelChoice) (verdict, error) {
	text := w.substitute(e, m, lists)
	matched, err := w.policy.matchSubstituted(text, value, w.mayBeRegexp(m))
	switch {
	case err != nil:
		return undecided, substitutedError(text, err)
	case matched:
		return yes, nil
	}
	return no, nil
}

// mayBeRegexp tells whether slashes around what m becomes make it a regexp.
func (w *walker) mayBeRegexp(m *matcher) bool {
	return !w.policy.options.LiteralLabels || m.kind == Regexp
}

func substitutedError(text []byte, err error) error {
	return fmt.Errorf("with values %q: %w", clip(text), err)
}

// substitute puts one combination into the pattern; labels not in lists stay as written.
// The text is valid until the next call.
func (w *walker) substitute(e *entry, m *matcher, lists []labelChoice) []byte {
	literal := w.policy.options.LiteralLabels
	text := w.text[:0]
	for i := range m.segs {
		s := &m.segs[i]
		switch s.Kind {
		case Variable:
			text = appendQuoted(text, w.values[s.Field])
			continue
		case Capture:
			if v, ok := w.capture(e, s); ok {
				text = appendValue(text, v, literal)
				continue
			}
		case Label:
			if at := slices.IndexFunc(lists, func(l labelChoice) bool { return l.key == s.Key }); at >= 0 {
				text = appendValue(text, lists[at].values[lists[at].at], literal)
				continue
			}
		}
		text = append(text, s.Text...)
	}
	w.text = text
	return text
}

// matchSubstituted matches a pattern without placeholders that values were put into.
func (p *Policy) matchSubstituted(text []byte, value string, mayBeRegexp bool) (bool, error) {
	if !mayBeRegexp || !isRegexp(text) {
		return path.Match(string(text), value)
	}
	re, err := p.cache.compile(text[1 : len(text)-1])
	if err != nil {
		return false, err
	}
	return re.MatchString(value), nil
}

// appendQuoted appends regexp.QuoteMeta(s).
func appendQuoted(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(`\.+*?()|[]{}^$`, s[i]) >= 0 {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return b
}

// appendValue appends the value of a label or a capture. What regexp.QuoteMeta returns is
// the text itself to a glob, too.
func appendValue(b []byte, s string, literal bool) []byte {
	if literal {
		return appendQuoted(b, s)
	}
	return append(b, s...)
}

// clip shortens a text for a message.
func clip(b []byte) string {
	const limit = 200
	if len(b) <= limit {
		return string(b)
	}
	return string(b[:limit]) + "..."
}

const (
	// maxSubstituted bounds the instructions of a regexp that values were put into. The
	// values may be a stranger's.
	maxSubstituted = 20000
	// cacheBudget bounds the instructions of the regexps in each half of a cache, which take
	// some 100 bytes each. A regexp counts for at least cacheMinimum.
	cacheBudget  = 1 << 16
	cacheMinimum = 32
)

// regexpCache keeps the regexps compiled from patterns with values. Values come from
// requests, so it is bounded: when the young half is full it becomes the old one, and the
// old one, except for what was used meanwhile, is forgotten. The zero cache is empty.
type regexpCache struct {
	mu         sync.RWMutex
	young, old map[string]cachedRegexp
	used       int
}

type cachedRegexp struct {
	re   *regexp.Regexp
	err  error
	size int
}

// compile returns the compiled regexp or the error it has.
func (c *regexpCache) compile(body []byte) (*regexp.Regexp, error) {
	c.mu.RLock()
	found, ok := c.young[string(body)]
	stale := false
	if !ok {
		found, ok = c.old[string(body)]
		stale = ok
	}
	c.mu.RUnlock()
	if !ok {
		found = compileBounded(string(body))
	}
	if !ok || stale {
		c.put(string(body), found)
	}
	return found.re, found.err
}

func compileBounded(body string) cachedRegexp {
	tree, err := parseBounded(body)
	if err != nil {
		return cachedRegexp{err: err, size: cacheMinimum + len(body)/8}
	}
	re, err := regexp.Compile(body)
	return cachedRegexp{re: re, err: err, size: cacheMinimum + treeSize(tree, maxSubstituted) + classSize(tree)}
}

func parseBounded(body string) (*syntax.Regexp, error) {
	tree, err := parseRegexp(body)
	if err == nil && treeSize(tree, maxSubstituted) >= maxSubstituted {
		err = ErrTooLarge
	}
	return tree, err
}

// checkSubstituted returns the error that matchSubstituted would return.
func checkSubstituted(text []byte, mayBeRegexp bool) error {
	if mayBeRegexp && isRegexp(text) {
		_, err := parseBounded(regexpBody(string(text)))
		return err
	}
	_, err := path.Match(string(text), "")
	return err
}

// classSize counts the ranges of the classes in re, which take memory of their own.
func classSize(re *syntax.Regexp) int {
	n := 0
	if re.Op == syntax.OpCharClass {
		n = len(re.Rune) / 8
	}
	for _, sub := range re.Sub {
		n += classSize(sub)
	}
	return n
}

func (c *regexpCache) put(body string, r cachedRegexp) {
	if r.size > cacheBudget/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[body]; ok {
		return
	}
	if c.young == nil || c.used+r.size > cacheBudget {
		c.old, c.young, c.used = c.young, map[string]cachedRegexp{}, 0
	}
	c.young[body] = r
	c.used += r.size
}
