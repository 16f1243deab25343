package analysis

import (
	"errors"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// langID names a language in a table.
type langID int32

// The languages that every table has.
const (
	langNone langID = iota
	langAny
)

// langTable keeps each language once, by the words that it has and by the text
// that it was made from.
type langTable struct {
	entries []langEntry
	byKey   map[string]langID
	byText  map[string]langID
	meets   map[meetKey]bool
	inside  map[[2]langID]langID // intersections
	work    int                  // steps spent

	symbols map[string]int // placeholder → symbol
	// symbolKeys has the label key of each symbol; empty: the account's name.
	symbolKeys [automata.Symbols]string
}

// meetKey names two languages and the names of a type.
type meetKey struct{ x, y, names langID }

type langEntry struct {
	lang   *automata.Lang // nil: not known, why says the reason
	why    string
	broken bool   // why is bad syntax
	prefix string // what all words begin with
}

func newLangTable() *langTable {
	t := &langTable{
		byKey:  map[string]langID{},
		byText: map[string]langID{},
		meets:  map[meetKey]bool{},
		inside: map[[2]langID]langID{},

		symbols: map[string]int{},
	}
	t.add(automata.None())
	t.add(automata.Any())
	return t
}

func (t *langTable) add(l *automata.Lang) langID {
	d := l.DFA()
	key := ""
	if d != nil {
		key = d.Key()
		if id, ok := t.byKey[key]; ok {
			return id
		}
	}
	id := langID(len(t.entries))
	e := langEntry{lang: l}
	if d != nil {
		e.prefix, _ = d.Prefix()
		t.byKey[key] = id
	}
	t.entries = append(t.entries, e)
	return id
}

func (t *langTable) fail(err error) langID {
	id := langID(len(t.entries))
	e := langEntry{why: err.Error()}
	if !errors.Is(err, automata.ErrTooBig) && !errors.Is(err, errTooMany) {
		e.broken = true
	}
	t.entries = append(t.entries, e)
	return id
}

// of returns the language, nil when it is not known.
func (t *langTable) of(id langID) *automata.Lang { return t.entries[id].lang }

// dfa returns the automaton, nil when there is none of reasonable size.
func (t *langTable) dfa(id langID) *automata.DFA {
	if l := t.entries[id].lang; l != nil {
		return l.DFA()
	}
	return nil
}

func (t *langTable) why(id langID) string  { return t.entries[id].why }
func (t *langTable) broken(id langID) bool { return t.entries[id].broken }

// apart reports whether two languages have no word in common because their
// words begin otherwise.
func (t *langTable) apart(a, b langID) bool {
	p, q := t.entries[a].prefix, t.entries[b].prefix
	if len(p) > len(q) {
		p, q = q, p
	}
	return !strings.HasPrefix(q, p)
}

func (t *langTable) limits() automata.Limits {
	lim := automata.DefaultLimits()
	if left := maxBuild - t.work; left < lim.Work {
		lim.Work = max(left, 1000)
	}
	return lim
}

// text returns the language of a pattern in which everything is filled in.
func (t *langTable) text(text string) langID {
	if id, ok := t.byText[text]; ok {
		return id
	}
	n, err := t.nfa(text)
	id := t.made(n, err)
	t.byText[text] = id
	return id
}

// made turns an automaton, or the error in making it, into a language.
func (t *langTable) made(n *automata.NFA, err error) langID {
	if err != nil {
		return t.fail(err)
	}
	lim := t.limits()
	l, err := automata.NewLang(n, lim)
	if err != nil {
		return t.fail(err)
	}
	if l.DFA() == nil {
		t.work += lim.Work
	} else {
		t.work += 64 * l.DFA().States()
	}
	return t.add(l)
}

func (t *langTable) nfa(text string) (*automata.NFA, error) {
	if len(text) > 2 && text[0] == '/' && text[len(text)-1] == '/' {
		return automata.Regexp(text[1:len(text)-1], t.limits().NFA)
	}
	return automata.Glob(text, t.limits().NFA)
}

// texts returns the language of all the patterns together. A pattern with bad
// syntax has no words.
func (t *langTable) texts(texts []string) langID {
	if len(texts) == 1 {
		return t.text(texts[0])
	}
	key := "\x00union\x00" + strings.Join(texts, "\x00")
	if id, ok := t.byText[key]; ok {
		return id
	}
	var parts []*automata.NFA
	size := 0
	var err error
	for _, text := range texts {
		n, e := t.nfa(text)
		switch {
		case errors.Is(e, automata.ErrTooBig):
			err = e
		case e == nil:
			size += n.Size()
			parts = append(parts, n)
		}
	}
	if size > t.limits().NFA {
		err = automata.ErrTooBig
	}
	var id langID
	if err != nil {
		id = t.fail(err)
	} else {
		id = t.made(automata.Union(parts...), nil)
	}
	t.byText[key] = id
	return id
}

// bytes returns the memory that the automata take.
func (t *langTable) bytes() int {
	n := 0
	for _, e := range t.entries {
		if e.lang != nil && e.lang.DFA() != nil {
			n += e.lang.DFA().Bytes()
		}
	}
	return n
}

var errTooMany = errors.New("too many combinations of label values")
