package automata

import (
	"path"
	"regexp/syntax"
	"unicode/utf8"
)

// maxGreedy bounds the states that one part of a glob may need to follow
// path.Match's choice among several places where it fits.
const maxGreedy = 512

var (
	slash    = setOf("/")
	nonSlash = printable.Without(slash)
)

// chunk is a part of a glob between two runs of stars: a row of sets, one a
// character, with a star before it or not.
type chunk struct {
	star  bool
	elems []Set
}

// Glob returns the automaton of a glob as [path.Match] understands it, on
// ASCII strings. That function takes the first place where the text after a
// star fits and never tries another; the automaton does the same.
//
// The error is [path.ErrBadPattern], or ErrTooBig past limit instructions.
func Glob(pattern string, limit int) (*NFA, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, err
	}
	if len(pattern) > limit {
		return nil, ErrTooBig
	}
	chunks, trailing := parseGlob(pattern)
	b := &builder{insts: make([]inst, 0, len(pattern)+4)}

	next := b.add(inst{op: opMatch})
	next = b.add(inst{op: opAssert, assert: syntax.EmptyEndText, out: next})
	if trailing {
		next = b.star(next)
	}
	for k := len(chunks) - 1; k >= 0; k-- {
		c := chunks[k]
		last := k == len(chunks)-1 && !trailing
		if c.star && !last && c.crossesSlash() {
			var err error
			if next, err = b.greedy(c, next); err != nil {
				return nil, err
			}
			continue
		}
		for i := len(c.elems) - 1; i >= 0; i-- {
			next = b.add(inst{op: opSet, set: c.elems[i], out: next})
		}
		if c.star {
			next = b.star(next)
		}
	}
	if len(b.insts) > limit {
		return nil, ErrTooBig
	}
	return b.finish(next), nil
}

// star adds any number of characters other than a slash before next.
func (b *builder) star(next uint32) uint32 {
	loop := b.add(inst{op: opAlt, out: next})
	b.insts[loop].arg = b.add(inst{op: opSet, set: nonSlash, out: loop})
	return loop
}

// crossesSlash reports whether some class of the chunk takes a slash as well
// as other characters. Only then can a later place succeed where the first one
// that fits leads nowhere: otherwise the stars, none of which crosses a slash,
// take up the difference.
func (c chunk) crossesSlash() bool {
	for _, e := range c.elems {
		if e.Has('/') && e.Len() > 1 {
			return true
		}
	}
	return false
}

// greedy adds a starred chunk that is taken at the first place where it fits.
// A state is the set of places tried, by how far each has got, and whether the
// star may still grow.
func (b *builder) greedy(c chunk, next uint32) (uint32, error) {
	if len(c.elems) > 63 {
		return 0, ErrTooBig
	}
	type state struct {
		tried uint64 // bit p: a try that has matched p characters
		grow  bool
	}
	pcs := map[state]uint32{}
	var todo []state
	pc := func(s state) uint32 {
		if at, ok := pcs[s]; ok {
			return at
		}
		at := b.add(inst{op: opNop})
		pcs[s] = at
		todo = append(todo, s)
		return at
	}
	start := pc(state{grow: true})
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if len(pcs) > maxGreedy {
			return 0, ErrTooBig
		}
		targets := map[uint32]Set{}
		for letter := byte(Symbols); letter < Letters; letter++ {
			tried := s.tried
			if s.grow {
				tried |= 1
			}
			var t state
			t.grow = s.grow && letter != '/'
			done := false
			for p, e := range c.elems {
				if tried&(1<<p) == 0 || !e.Has(letter) {
					continue
				}
				if p+1 == len(c.elems) {
					done = true
				}
				t.tried |= 1 << (p + 1)
			}
			switch {
			case done:
				targets[next] = targets[next].With(letter, letter)
			case t.tried != 0 || t.grow:
				at := pc(t)
				targets[at] = targets[at].With(letter, letter)
			}
		}
		var starts []uint32
		for at, set := range targets {
			starts = append(starts, b.add(inst{op: opSet, set: set, out: at}))
		}
		b.insts[pcs[s]].out = b.alternatives(starts)
	}
	return start, nil
}

// parseGlob splits a valid glob into chunks; trailing says that it ends with a
// star.
func parseGlob(pattern string) (chunks []chunk, trailing bool) {
	cur := chunk{}
	for i := 0; i < len(pattern); {
		switch pattern[i] {
		case '*':
			if cur.star && len(cur.elems) == 0 {
				i++
				continue
			}
			if len(cur.elems) > 0 {
				chunks = append(chunks, cur)
			}
			cur = chunk{star: true}
			i++
		case '?':
			cur.elems = append(cur.elems, nonSlash)
			i++
		case '[':
			set, n := parseClass(pattern[i:])
			cur.elems = append(cur.elems, set)
			i += n
		default:
			r, n := globRune(pattern[i:])
			i += n
			cur.elems = append(cur.elems, literalSet(r))
		}
	}
	if len(cur.elems) > 0 || !cur.star {
		return append(chunks, cur), false
	}
	return chunks, true
}

// literalSet is the set of a character that stands for itself.
func literalSet(r rune) Set {
	if k, ok := symbolOf(r); ok {
		return Set{}.With(k, k)
	}
	return addRune(Set{}, r).And(printable)
}

// parseClass reads a class such as [a-c] or [^x\]] at the start of a valid
// glob and returns its set and its length.
func parseClass(p string) (Set, int) {
	i := 1
	negated := i < len(p) && p[i] == '^'
	if negated {
		i++
	}
	var s Set
	for first := true; i < len(p) && (p[i] != ']' || first); first = false {
		lo, n := globRune(p[i:])
		i += n
		hi := lo
		if i < len(p) && p[i] == '-' {
			hi, n = globRune(p[i+1:])
			i += 1 + n
		}
		if lo < Letters && lo <= hi {
			s = s.With(byte(lo), byte(min(hi, Letters-1)))
		}
	}
	s = s.And(printable)
	if negated {
		s = printable.Without(s)
	}
	return s, i + 1
}

// globRune reads one character, perhaps behind a backslash.
func globRune(p string) (rune, int) {
	esc := 0
	if len(p) > 1 && p[0] == '\\' {
		esc = 1
	}
	r, n := utf8.DecodeRuneInString(p[esc:])
	return r, esc + max(n, 1)
}
