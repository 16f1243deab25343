package automata

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// MaxLength is the length of the longest name. Automata are right for words up
// to this length and may be wrong beyond it: a pattern that counts further
// needs no state for it.
const MaxLength = 255

// Limits bound the construction of one automaton.
type Limits struct {
	NFA    int // instructions of the pattern with its repetitions written out
	States int // states of a DFA; at most 65535
	Work   int // steps of a construction; a million take some 10 ms
}

// DefaultLimits returns limits that hold any pattern that a person would
// write.
func DefaultLimits() Limits {
	return Limits{NFA: 20_000, States: 4_000, Work: 2_000_000}
}

// DFA is a minimal, complete, deterministic automaton in canonical form: two of
// them that accept the same words (of letters and symbols) are equal state by
// state. It is immutable and safe for concurrent use.
type DFA struct {
	classes [Letters]uint8 // letter → class
	n       int            // number of classes
	next    []uint16       // state*n + class → state
	accept  []bool
	dead    int32 // the state from which nothing is accepted, or -1
	total   int32 // the state from which everything is accepted, or -1
}

// The start state of every DFA.
const startState = 0

// States returns the number of states.
func (d *DFA) States() int { return len(d.accept) }

// Bytes returns the memory that the automaton takes.
func (d *DFA) Bytes() int { return 2*len(d.next) + len(d.accept) + Letters + 64 }

// Match reports whether the automaton accepts the ASCII string s. A string
// with other bytes is not accepted.
func (d *DFA) Match(s string) bool {
	q := uint16(startState)
	for i := range len(s) {
		if s[i] >= Letters {
			return false
		}
		q = d.next[int(q)*d.n+int(d.classes[s[i]])]
	}
	return d.accept[q]
}

// IsEmpty reports whether no word is accepted.
func (d *DFA) IsEmpty() bool { return d.dead == startState }

// IsTotal reports whether every word is accepted.
func (d *DFA) IsTotal() bool { return d.total == startState }

// Key returns a string that is the same for two automata exactly when they
// accept the same words.
func (d *DFA) Key() string {
	buf := make([]byte, 0, Letters+len(d.next)*2+len(d.accept))
	buf = append(buf, d.classes[:]...)
	for _, q := range d.next {
		buf = binary.LittleEndian.AppendUint16(buf, q)
	}
	for _, a := range d.accept {
		if a {
			buf = append(buf, 1)
		} else {
			buf = append(buf, 0)
		}
	}
	return string(buf)
}

// raw is an automaton before it is made minimal.
type raw struct {
	classes [Letters]uint8
	n       int
	next    []uint16
	accept  []bool
}

// subsets walks the sets of NFA states that words lead to. One is made for a
// construction or a search; it is not safe for concurrent use.
//
// A state is the set of the instructions that wait for a letter or for an
// assertion about what follows, the assertions about what came before being
// settled already.
type subsets struct {
	nfa     *NFA
	classes [Letters]uint8
	n       int
	rep     []byte // class → one of its letters
	ids     map[string]int32
	sets    [][]uint32
	prev    []prevKind
	next    []int32 // state*n + class → state; -1: not known yet
	final   []int8  // 0 not known yet, 1 accepting, 2 not
	max     int     // states
	work    int     // what is left of the work
	sparse  []uint32
	dense   []uint32
	stack   []uint32
	key     []byte
}

// prevKind is what assertions need to know of the letter before.
type prevKind uint8

const (
	prevOther prevKind = iota
	prevWord
	prevNewline
	prevBegin
)

// Fixed states of subsets.
const (
	deadSet  = 0
	totalSet = 1
)

func newSubsets(n *NFA, lim Limits) *subsets {
	s := &subsets{nfa: n, max: lim.States, work: lim.Work, ids: map[string]int32{}}
	s.classes, s.n, s.rep = letterClasses(n)
	s.sparse = make([]uint32, len(n.insts))
	s.dense = make([]uint32, 0, len(n.insts))
	s.addState(nil, prevOther)
	s.addState(nil, prevOther)
	s.final[deadSet], s.final[totalSet] = 2, 1
	for c := range s.n {
		s.next[deadSet*s.n+c] = deadSet
		s.next[totalSet*s.n+c] = totalSet
	}
	return s
}

// letterClasses groups the letters that the automaton can't tell apart. No class is ever empty, so
// that there are at most as many as letters, whatever the number of sets.
func letterClasses(n *NFA) (classes [Letters]uint8, count int, rep []byte) {
	seen := make(map[Set]bool, 16)
	count = 1
	size := [Letters]int{Letters}
	split := func(set Set) {
		if seen[set] {
			return
		}
		seen[set] = true
		var inside [Letters]int // class → how many of its letters the set has
		for b := range byte(Letters) {
			if set.Has(b) {
				inside[classes[b]]++
			}
		}
		var half [Letters]int // class → the class of those letters; 0: stays whole
		for c := range count {
			if k := inside[c]; k > 0 && k < size[c] {
				half[c] = count
				size[c] -= k
				size[count] = k
				count++
			}
		}
		for b := range byte(Letters) {
			if h := half[classes[b]]; h > 0 && set.Has(b) {
				classes[b] = uint8(h)
			}
		}
	}
	for i := range n.insts {
		if n.insts[i].op == opSet {
			split(n.insts[i].set)
		}
	}
	if n.uses&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 {
		var words Set
		for b := range byte(Letters) {
			if isWord(b) {
				words = words.With(b, b)
			}
		}
		split(words)
	}
	if n.uses&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0 {
		split(setOf("\n"))
	}
	return renumber(classes, count)
}

// renumber numbers the classes by their first letter.
func renumber(classes [Letters]uint8, count int) (out [Letters]uint8, n int, rep []byte) {
	var to [Letters]int16
	rep = make([]byte, 0, count)
	for b := range byte(Letters) {
		c := classes[b]
		if to[c] == 0 {
			rep = append(rep, b)
			to[c] = int16(len(rep))
		}
		out[b] = uint8(to[c] - 1)
	}
	return out, len(rep), rep
}

func (s *subsets) addState(set []uint32, prev prevKind) int32 {
	id := int32(len(s.sets))
	s.sets = append(s.sets, set)
	s.prev = append(s.prev, prev)
	s.final = append(s.final, 0)
	for range s.n {
		s.next = append(s.next, -1)
	}
	return id
}

func (s *subsets) start() (int32, error) {
	s.dense = s.dense[:0]
	if s.follow(s.nfa.start, prevBegin, nil) {
		return totalSet, nil
	}
	return s.intern(prevBegin)
}

// kind says what the state after letter b must remember of it.
func (s *subsets) kind(b byte) prevKind {
	switch {
	case s.nfa.uses&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 && isWord(b):
		return prevWord
	case s.nfa.uses&syntax.EmptyBeginLine != 0 && b == '\n':
		return prevNewline
	}
	return prevOther
}

const lookBehind = syntax.EmptyBeginText | syntax.EmptyBeginLine

// follow adds pc and what it leads to without a letter to s.dense. With next
// nil the assertions about what follows are left waiting. It reports whether
// the end of the pattern is reached.
func (s *subsets) follow(pc uint32, prev prevKind, next *syntax.EmptyOp) (matched bool) {
	s.stack = append(s.stack[:0], pc)
	for len(s.stack) > 0 {
		pc := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		if j := s.sparse[pc]; j < uint32(len(s.dense)) && s.dense[j] == pc {
			continue
		}
		s.sparse[pc] = uint32(len(s.dense))
		s.dense = append(s.dense, pc)
		s.work--
		i := &s.nfa.insts[pc]
		switch i.op {
		case opMatch:
			return true
		case opAlt:
			s.stack = append(s.stack, i.arg, i.out)
		case opNop:
			s.stack = append(s.stack, i.out)
		case opAssert:
			switch {
			case next != nil:
				if i.assert&^*next == 0 {
					s.stack = append(s.stack, i.out)
				}
			case i.assert&^lookBehind == 0:
				if i.assert&^behind(prev) == 0 {
					s.stack = append(s.stack, i.out)
				}
			}
		}
	}
	return false
}

// behind returns the assertions that hold after a letter of the given kind.
func behind(prev prevKind) syntax.EmptyOp {
	switch prev {
	case prevBegin:
		return syntax.EmptyBeginText | syntax.EmptyBeginLine
	case prevNewline:
		return syntax.EmptyBeginLine
	}
	return 0
}

// context returns all assertions that hold between a letter of kind prev and
// letter b, or the end of the text when b is negative.
func context(prev prevKind, b int) syntax.EmptyOp {
	flags := behind(prev)
	if b < 0 {
		flags |= syntax.EmptyEndText
	}
	if b < 0 || b == '\n' {
		flags |= syntax.EmptyEndLine
	}
	if (prev == prevWord) != (b >= 0 && isWord(byte(b))) {
		flags |= syntax.EmptyWordBoundary
	} else {
		flags |= syntax.EmptyNoWordBoundary
	}
	return flags
}

// intern returns the state for the instructions in s.dense, of which it keeps
// those that wait for something.
func (s *subsets) intern(prev prevKind) (int32, error) {
	keep := s.dense[:0]
	waiting := false
	for _, pc := range s.dense {
		switch i := &s.nfa.insts[pc]; i.op {
		case opSet:
			keep = append(keep, pc)
		case opAssert:
			if i.assert&^lookBehind != 0 {
				keep = append(keep, pc)
				waiting = true
			}
		}
	}
	if len(keep) == 0 {
		return deadSet, nil
	}
	if !waiting {
		// Nothing asks any more what came before.
		prev = prevOther
	}
	slices.Sort(keep)
	s.key = append(s.key[:0], byte(prev))
	for _, pc := range keep {
		s.key = binary.AppendUvarint(s.key, uint64(pc))
	}
	if id, ok := s.ids[string(s.key)]; ok {
		return id, nil
	}
	if len(s.sets) >= s.max || s.work < 0 {
		return 0, ErrTooBig
	}
	id := s.addState(slices.Clone(keep), prev)
	s.ids[string(s.key)] = id
	return id, nil
}

// step returns the state that class c leads to from state q.
func (s *subsets) step(q int32, c int) (int32, error) {
	at := int(q)*s.n + c
	if to := s.next[at]; to >= 0 {
		return to, nil
	}
	b := s.rep[c]
	set, prev := s.sets[q], s.prev[q]
	waiting := set
	if s.pending(set) {
		flags := context(prev, int(b))
		s.dense = s.dense[:0]
		for _, pc := range set {
			if s.follow(pc, prev, &flags) {
				s.next[at] = totalSet
				return totalSet, nil
			}
		}
		waiting = slices.Clone(s.dense)
	}
	s.dense = s.dense[:0]
	kind := s.kind(b)
	for _, pc := range waiting {
		s.work--
		i := &s.nfa.insts[pc]
		if i.op != opSet || !i.set.Has(b) {
			continue
		}
		if s.follow(i.out, kind, nil) {
			s.next[at] = totalSet
			return totalSet, nil
		}
	}
	to, err := s.intern(kind)
	if err == nil {
		s.next[at] = to
	}
	return to, err
}

func (s *subsets) pending(set []uint32) bool {
	if s.nfa.uses&^lookBehind == 0 {
		return false
	}
	for _, pc := range set {
		if i := &s.nfa.insts[pc]; i.op == opAssert && i.assert&syntax.EmptyEndText == 0 {
			return true
		}
	}
	return false
}

// accepts reports whether a text may end in state q.
func (s *subsets) accepts(q int32) bool {
	if s.final[q] == 0 {
		s.final[q] = 2
		flags := context(s.prev[q], -1)
		s.dense = s.dense[:0]
		for _, pc := range s.sets[q] {
			if s.follow(pc, s.prev[q], &flags) {
				s.final[q] = 1
				break
			}
		}
	}
	return s.final[q] == 1
}

// Determinize returns the minimal DFA, or ErrTooBig past the limits.
func Determinize(n *NFA, lim Limits) (*DFA, error) {
	if len(n.insts) > lim.NFA {
		return nil, ErrTooBig
	}
	s := newSubsets(n, lim)
	first, err := s.start()
	if err != nil {
		return nil, err
	}
	// Breadth first, a level for each length: a state that only words longer
	// than any name reach is never needed.
	order := []int32{first}
	index := map[int32]int{first: 0}
	r := &raw{classes: s.classes, n: s.n}
	levelEnd, level := 1, 0
	for at := 0; at < len(order); at++ {
		if at == levelEnd {
			levelEnd, level = len(order), level+1
		}
		q := order[at]
		for c := range s.n {
			to, err := s.step(q, c)
			if err != nil {
				return nil, err
			}
			if level >= MaxLength && to != totalSet {
				to = deadSet
			}
			k, ok := index[to]
			if !ok {
				k = len(order)
				index[to] = k
				order = append(order, to)
			}
			r.next = append(r.next, uint16(k))
		}
	}
	r.accept = make([]bool, len(order))
	for k, q := range order {
		r.accept[k] = s.accepts(q)
	}
	if s.work < 0 {
		return nil, ErrTooBig
	}
	return r.minimal(), nil
}
