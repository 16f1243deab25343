package acl

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// elem is a piece of what a matching value must begin with: literal text, or, when mark is
// not negative, any value of that placeholder.
type elem struct {
	lit  string
	mark int
}

// Bounds on the alternatives that are followed before a regexp counts as "begins with
// anything".
const (
	maxFinite   = 64 // texts of a regexp that matches finitely many
	maxPrefixes = 16 // prefixes of any other
	maxClass    = 16 // letters of a class that are told apart
)

// alternative is one way in which a match may begin.
type alternative struct {
	elems []elem
	begun bool // ^ was seen: the match begins where the value begins
	ended bool // $ was seen
	open  bool // anything may follow
}

func (a alternative) opened() alternative {
	a.open = true
	return a
}

// prefixes returns alternatives one of which every value that re matches begins with; nil
// when nothing is known. exact tells that the alternatives are precisely the values matched.
func prefixes(re *syntax.Regexp, limit int) (alts [][]elem, exact bool) {
	w := prefixWalk{limit: limit}
	found := w.walk(re, []alternative{{}})
	exact = true
	for _, a := range found {
		if !a.begun || len(a.elems) == 0 && !a.ended {
			return nil, false
		}
		exact = exact && a.ended && !a.open
		alts = append(alts, a.elems)
	}
	if len(alts) == 0 {
		return nil, false
	}
	return alts, exact
}

type prefixWalk struct{ limit int }

func (w prefixWalk) walk(re *syntax.Regexp, in []alternative) []alternative {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return in
	case syntax.OpBeginText:
		return mapAlternatives(in, func(a alternative) alternative {
			if len(a.elems) > 0 || a.ended {
				return a.opened()
			}
			a.begun = true
			return a
		})
	case syntax.OpEndText:
		return mapAlternatives(in, func(a alternative) alternative {
			if !a.begun {
				return a.opened()
			}
			a.ended = true
			return a
		})
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			break
		}
		elems, ok := literalElems(re.Rune)
		if !ok {
			break
		}
		return mapAlternatives(in, func(a alternative) alternative { return a.then(elems) })
	case syntax.OpCharClass:
		runes, ok := classRunes(re.Rune)
		if !ok || len(in)*len(runes) > w.limit {
			break
		}
		out := make([]alternative, 0, len(in)*len(runes))
		for _, a := range in {
			if a.open {
				out = append(out, a)
				continue
			}
			for _, r := range runes {
				out = append(out, a.then([]elem{{lit: string(r), mark: -1}}))
			}
		}
		return out
	case syntax.OpCapture:
		return w.walk(re.Sub[0], in)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			in = w.walk(sub, in)
		}
		return in
	case syntax.OpAlternate:
		var out []alternative
		for _, sub := range re.Sub {
			out = append(out, w.walk(sub, in)...)
			if len(out) > w.limit {
				return mapAlternatives(in, alternative.opened)
			}
		}
		return out
	case syntax.OpQuest:
		out := append(append([]alternative(nil), in...), w.walk(re.Sub[0], in)...)
		if len(out) <= w.limit {
			return out
		}
	}
	return mapAlternatives(in, alternative.opened)
}

// then appends elems to an alternative that is not open.
func (a alternative) then(elems []elem) alternative {
	if a.open {
		return a
	}
	if !a.begun || a.ended {
		return a.opened()
	}
	joined := make([]elem, 0, len(a.elems)+len(elems))
	joined = append(joined, a.elems...)
	for _, e := range elems {
		if n := len(joined); n > 0 && e.mark < 0 && joined[n-1].mark < 0 {
			joined[n-1].lit += e.lit
			continue
		}
		joined = append(joined, e)
	}
	a.elems = joined
	return a
}

func mapAlternatives(in []alternative, f func(alternative) alternative) []alternative {
	out := make([]alternative, len(in))
	for i, a := range in {
		if a.open {
			out[i] = a
			continue
		}
		out[i] = f(a)
	}
	return out
}

// literalElems turns the runes of a literal into text and marks. A literal U+FFFD also
// matches bytes that are no UTF-8, so it is not known as text.
func literalElems(runes []rune) ([]elem, bool) {
	var elems []elem
	var b strings.Builder
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		if r == utf8.RuneError {
			return nil, false
		}
		k, ok := markIndex(runes[i:])
		if !ok {
			b.WriteRune(r)
			continue
		}
		if b.Len() > 0 {
			elems = append(elems, elem{lit: b.String(), mark: -1})
			b.Reset()
		}
		elems = append(elems, elem{mark: k})
		i++
	}
	if b.Len() > 0 {
		elems = append(elems, elem{lit: b.String(), mark: -1})
	}
	return elems, true
}

// classRunes lists the runes of a small class given as ranges.
func classRunes(ranges []rune) ([]rune, bool) {
	var runes []rune
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] >= maxClass {
			return nil, false
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if r == utf8.RuneError {
				return nil, false
			}
			runes = append(runes, r)
		}
		if len(runes) > maxClass {
			return nil, false
		}
	}
	return runes, len(runes) > 0
}

// required returns the longest text found that every value re matches contains.
func required(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return ""
		}
		elems, _ := literalElems(re.Rune)
		best := ""
		for _, e := range elems {
			if len(e.lit) > len(best) {
				best = e.lit
			}
		}
		return best
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min >= 1 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		best := ""
		for _, sub := range re.Sub {
			if s := required(sub); len(s) > len(best) {
				best = s
			}
		}
		return best
	}
	return ""
}

// treeSize estimates the instructions that re compiles to, counted repetitions multiplied
// out, stopping at limit.
func treeSize(re *syntax.Regexp, limit int) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += treeSize(sub, limit)
		if n >= limit {
			return limit
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min, re.Max)
	}
	return min(n, limit)
}
