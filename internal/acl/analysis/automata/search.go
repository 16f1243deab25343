package automata

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"strings"
)

// Lang is the set of words that a pattern takes: a minimal DFA where one of
// reasonable size exists, else the NFA, which searches then follow as far as
// they need. It is immutable and safe for concurrent use.
type Lang struct {
	nfa *NFA
	dfa *DFA
}

// NewLang makes the language of an automaton. It fails only with ErrTooBig and
// only when the automaton itself is over lim.NFA.
func NewLang(n *NFA, lim Limits) (*Lang, error) {
	if n.Size() > lim.NFA {
		return nil, ErrTooBig
	}
	d, err := Determinize(n, lim)
	if err == nil {
		return &Lang{dfa: d}, nil
	}
	if !errors.Is(err, ErrTooBig) {
		return nil, err
	}
	return &Lang{nfa: n}, nil
}

// FromDFA makes the language of a DFA.
func FromDFA(d *DFA) *Lang { return &Lang{dfa: d} }

// DFA returns the minimal automaton, or nil where it would be too large.
func (l *Lang) DFA() *DFA { return l.dfa }

// Match reports whether the ASCII string s is in the language.
func (l *Lang) Match(s string) bool {
	if l.dfa != nil {
		return l.dfa.Match(s)
	}
	sub := newSubsets(l.nfa, Limits{States: len(s) + 8, Work: 1 << 30})
	q, err := sub.start()
	for i := 0; i < len(s) && err == nil; i++ {
		if s[i] >= Letters {
			return false
		}
		q, err = sub.step(q, int(sub.classes[s[i]]))
	}
	return err == nil && sub.accepts(q)
}

// Any returns the language of all words.
func Any() *Lang { return &Lang{dfa: constant(true)} }

// None returns the language without words.
func None() *Lang { return &Lang{dfa: constant(false)} }

func constant(accept bool) *DFA {
	r := &raw{n: 1, next: []uint16{0}, accept: []bool{accept}}
	return r.minimal()
}

// Query asks for a word: in Universe and in every language of In, in none of
// Out, and not one of Except.
type Query struct {
	Universe *DFA
	In, Out  []*Lang
	Except   []string
}

// Searcher answers queries. It keeps memory between them and is not safe for
// concurrent use.
type Searcher struct {
	// States bounds the states that one query may visit.
	States int
	// Steps counts the letters tried since the searcher was made; callers bound
	// their total work with it.
	Steps int

	seen    map[string]int32
	table   table
	parts   []part
	letters []byte
	nodes   []node
	states  []int32 // len(parts) for each node
	row     []int32
	key     []byte
}

// node is a visited product state: how it was reached.
type node struct {
	parent int32
	letter byte
}

// part is one automaton of a product.
type part struct {
	dfa   *DFA
	sub   *subsets
	split *threads // follows one thread of an NFA at a time; only the first part
	out   bool     // the word must not be accepted
}

// NewSearcher returns a searcher whose queries visit at most the given number
// of product states.
func NewSearcher(states int) *Searcher { return &Searcher{States: states} }

// Shortest returns a shortest word that answers the query, the same one every
// time, no longer than MaxLength. It fails only with ErrTooBig: nothing is
// known then.
func (s *Searcher) Shortest(q Query) (word string, ok bool, err error) {
	words, err := s.Words(q, 1)
	if err != nil || len(words) == 0 {
		return "", false, err
	}
	return words[0], true, nil
}

// Empty reports whether no word answers the query.
func (s *Searcher) Empty(q Query) (bool, error) {
	_, ok, err := s.Shortest(q)
	return !ok, err
}

// Words returns up to n words that answer the query, shortest first. They lead
// to different states of the product, so they are examples rather than a
// list; with n = 1 it is a shortest word.
func (s *Searcher) Words(q Query, n int) ([]string, error) {
	if len(q.Except) > 0 {
		// As a language, so that these words hide no others that lead to the
		// same states.
		except, err := NewLang(Literal(q.Except...), Limits{NFA: 1 << 20, States: 1 << 15, Work: 1 << 24})
		if err != nil {
			return nil, err
		}
		q.Out = append(slices.Clip(q.Out), except)
	}
	words, err := s.words(q, n, false)
	if err != nil && s.undetermined(q.In) {
		// The word may be found without making the positive side deterministic.
		words, err = s.words(q, n, true)
	}
	return words, err
}

func (s *Searcher) undetermined(langs []*Lang) bool {
	for _, l := range langs {
		if l.dfa == nil {
			return true
		}
	}
	return false
}

// lazyLimits bound what a query may add to an automaton that is made on the
// way.
func (s *Searcher) lazyLimits() Limits {
	return Limits{States: s.States, Work: 64 * s.States}
}

func (s *Searcher) words(q Query, n int, threaded bool) ([]string, error) {
	if !s.setup(q, threaded) {
		return nil, nil
	}
	s.nodes = s.nodes[:0]
	s.states = s.states[:0]
	s.start()
	live, err := s.first()
	if err != nil || !live {
		return nil, err
	}
	var words []string
	k := len(s.parts)
	depth, levelEnd := 0, 1
	for at := 0; at < len(s.nodes); at++ {
		if at == levelEnd {
			levelEnd = len(s.nodes)
			depth++
		}
		if s.accepting(s.states[at*k : at*k+k]) {
			if words = append(words, s.spell(at)); len(words) == n {
				return words, nil
			}
		}
		if depth == MaxLength {
			continue
		}
		for _, letter := range s.letters {
			s.Steps++
			if err := s.advance(at, letter); err != nil {
				if len(words) > 0 {
					return words, nil
				}
				return nil, err
			}
		}
	}
	return words, nil
}

// setup lays out the product; false when it is empty at first sight.
func (s *Searcher) setup(q Query, threaded bool) bool {
	s.parts = s.parts[:0]
	for _, l := range q.In {
		if l.dfa == nil && threaded {
			s.parts = append(s.parts, part{split: newThreads(l.nfa)})
			break
		}
	}
	if q.Universe != nil {
		s.parts = append(s.parts, part{dfa: q.Universe})
	}
	split := len(s.parts) > 0 && s.parts[0].split != nil
	for _, l := range q.In {
		switch {
		case l.dfa == nil && split && l.nfa == s.parts[0].split.nfa:
		case l.dfa == nil:
			s.parts = append(s.parts, part{sub: newSubsets(l.nfa, s.lazyLimits())})
		case l.dfa.IsEmpty():
			return false
		case !l.dfa.IsTotal():
			s.parts = append(s.parts, part{dfa: l.dfa})
		}
	}
	for _, l := range q.Out {
		switch {
		case l.dfa == nil:
			s.parts = append(s.parts, part{sub: newSubsets(l.nfa, s.lazyLimits()), out: true})
		case l.dfa.IsTotal():
			return false
		case !l.dfa.IsEmpty():
			s.parts = append(s.parts, part{dfa: l.dfa, out: true})
		}
	}
	s.pickLetters()
	return true
}

// pickLetters chooses one letter of each class that the parts together tell
// apart, the most ordinary one.
func (s *Searcher) pickLetters() {
	s.letters = s.letters[:0]
	classes, _ := s.refine()
	var used [Letters]bool
	take := func(b byte) {
		if !used[classes[b]] {
			used[classes[b]] = true
			s.letters = append(s.letters, b)
		}
	}
	for i := range len(preference) {
		take(preference[i])
	}
	for b := byte(Symbols); b < Letters; b++ {
		take(b)
	}
	for b := byte(0); b < Symbols; b++ {
		take(b)
	}
}

// refine returns the classes of letters that the parts together tell apart.
func (s *Searcher) refine() (classes [Letters]uint8, count int) {
	count = 1
	var pair [Letters * 4]int16
	for i := range s.parts {
		of, n := s.parts[i].classes()
		if n == 1 || count == Letters {
			continue
		}
		// Refine: the pair (class so far, class here) becomes the class.
		if count*n > len(pair) {
			m := make(map[int]uint8, 64)
			for b := range Letters {
				k := int(classes[b])*n + int(of[b])
				c, ok := m[k]
				if !ok {
					c = uint8(len(m))
					m[k] = c
				}
				classes[b] = c
			}
			count = len(m)
			continue
		}
		clear(pair[:count*n])
		made := int16(0)
		for b := range Letters {
			k := int(classes[b])*n + int(of[b])
			if pair[k] == 0 {
				made++
				pair[k] = made
			}
			classes[b] = uint8(pair[k] - 1)
		}
		count = int(made)
	}
	return classes, count
}

func (p *part) classes() (*[Letters]uint8, int) {
	switch {
	case p.dfa != nil:
		return &p.dfa.classes, p.dfa.n
	case p.sub != nil:
		return &p.sub.classes, p.sub.n
	}
	return &p.split.classes, p.split.n
}

// states returns a number above every state of the part.
func (p *part) states(most int) int {
	switch {
	case p.dfa != nil:
		return p.dfa.States()
	case p.sub != nil:
		return most + 2
	}
	return 4*len(p.split.nfa.insts) + 2
}

// start chooses how product states are looked up: packed into 64 bits where
// that is possible.
func (s *Searcher) start() {
	s.seen = nil
	width := 0
	for i := range s.parts {
		width += bits.Len(uint(s.parts[i].states(s.States)))
	}
	if width > 63 {
		s.seen = make(map[string]int32)
		return
	}
	s.table.reset()
}

// visit adds the product state in s.row if it is new.
func (s *Searcher) visit(parent int, letter byte) error {
	if s.seen != nil {
		s.key = s.key[:0]
		for _, q := range s.row {
			s.key = binary.LittleEndian.AppendUint32(s.key, uint32(q))
		}
		if _, ok := s.seen[string(s.key)]; ok {
			return nil
		}
		s.seen[string(s.key)] = int32(len(s.nodes))
	} else {
		packed := uint64(0)
		for i := range s.parts {
			packed = packed*uint64(s.parts[i].states(s.States)) + uint64(s.row[i])
		}
		if !s.table.add(packed) {
			return nil
		}
	}
	if len(s.nodes) >= s.States {
		return ErrTooBig
	}
	s.nodes = append(s.nodes, node{int32(parent), letter})
	s.states = append(s.states, s.row...)
	return nil
}

func (s *Searcher) first() (live bool, err error) {
	s.row = s.row[:0]
	for i := range s.parts {
		p := &s.parts[i]
		q := int32(startState)
		switch {
		case p.sub != nil:
			if q, err = p.sub.start(); err != nil {
				return false, err
			}
		case p.split != nil:
			q = p.split.start()
		}
		if p.hopeless(q) {
			return false, nil
		}
		s.row = append(s.row, q)
	}
	return true, s.visit(-1, 0)
}

// hopeless reports whether no continuation can satisfy the part.
func (p *part) hopeless(q int32) bool {
	switch {
	case p.dfa != nil && p.out:
		return q == p.dfa.total
	case p.dfa != nil:
		return q == p.dfa.dead
	case p.sub != nil && p.out:
		return q == totalSet
	case p.sub != nil:
		return q == deadSet
	}
	return false
}

// advance visits what a letter leads to from a node.
func (s *Searcher) advance(at int, letter byte) error {
	k := len(s.parts)
	s.row = s.row[:0]
	for i := range s.parts {
		p := &s.parts[i]
		q := s.states[at*k+i]
		switch {
		case p.dfa != nil:
			q = int32(p.dfa.next[int(q)*p.dfa.n+int(p.dfa.classes[letter])])
		case p.sub != nil:
			var err error
			if q, err = p.sub.step(q, int(p.sub.classes[letter])); err != nil {
				return err
			}
		default:
			q = -1 // below
		}
		if q >= 0 && p.hopeless(q) {
			return nil
		}
		s.row = append(s.row, q)
	}
	if k == 0 || s.parts[0].split == nil {
		return s.visit(at, letter)
	}
	for _, q := range s.parts[0].split.step(s.states[at*k], letter) {
		s.row[0] = q
		if err := s.visit(at, letter); err != nil {
			return err
		}
	}
	return nil
}

func (s *Searcher) accepting(row []int32) bool {
	for i := range s.parts {
		p := &s.parts[i]
		var ok bool
		switch {
		case p.dfa != nil:
			ok = p.dfa.accept[row[i]]
		case p.sub != nil:
			ok = p.sub.accepts(row[i])
		default:
			ok = p.split.accepts(row[i])
		}
		if ok == p.out {
			return false
		}
	}
	return true
}

func (s *Searcher) spell(at int) string {
	var b strings.Builder
	s.write(&b, int32(at))
	return b.String()
}

func (s *Searcher) write(b *strings.Builder, at int32) {
	if n := s.nodes[at]; n.parent >= 0 {
		s.write(b, n.parent)
		b.WriteByte(n.letter)
	}
}

// threads follows single threads of an NFA: a state is one instruction with
// what came before it.
type threads struct {
	nfa     *NFA
	classes [Letters]uint8
	n       int
	sub     *subsets
	out     []int32
}

func newThreads(n *NFA) *threads {
	t := &threads{nfa: n, sub: newSubsets(n, Limits{States: 2, Work: 1 << 30})}
	t.classes, t.n = t.sub.classes, t.sub.n
	return t
}

// A thread's state is pc*4 + kind of the letter before, plus one; 0 is the
// state in which everything is accepted.
func (t *threads) start() int32 { return int32(t.nfa.start)*4 + int32(prevBegin) + 1 }

func (t *threads) step(q int32, b byte) []int32 {
	t.out = append(t.out[:0], 0)
	if q == 0 {
		return t.out
	}
	pc, prev := uint32(q-1)>>2, prevKind((q-1)&3)
	flags := context(prev, int(b))
	t.sub.dense = t.sub.dense[:0]
	if t.sub.follow(pc, prev, &flags) {
		return t.out
	}
	t.out = t.out[:0]
	kind := t.sub.kind(b)
	for _, pc := range t.sub.dense {
		if i := &t.nfa.insts[pc]; i.op == opSet && i.set.Has(b) {
			t.out = append(t.out, int32(i.out)*4+int32(kind)+1)
		}
	}
	return t.out
}

func (t *threads) accepts(q int32) bool {
	if q == 0 {
		return true
	}
	pc, prev := uint32(q-1)>>2, prevKind((q-1)&3)
	flags := context(prev, -1)
	t.sub.dense = t.sub.dense[:0]
	return t.sub.follow(pc, prev, &flags)
}

// table is a set of 64-bit keys that is emptied without being freed.
type table struct {
	keys  []uint64
	used  []uint32 // generation that wrote the slot
	gen   uint32
	count int
}

func (t *table) reset() {
	t.gen++
	t.count = 0
	if t.keys == nil || t.gen == 0 {
		t.keys, t.used, t.gen = make([]uint64, 1024), make([]uint32, 1024), 1
	}
}

// add reports whether the key is new.
func (t *table) add(key uint64) bool {
	if 2*t.count >= len(t.keys) {
		t.grow()
	}
	mask := uint64(len(t.keys) - 1)
	for i := key * 0x9E3779B97F4A7C15 >> 32 & mask; ; i = (i + 1) & mask {
		if t.used[i] != t.gen {
			t.used[i], t.keys[i] = t.gen, key
			t.count++
			return true
		}
		if t.keys[i] == key {
			return false
		}
	}
}

func (t *table) grow() {
	old, used := t.keys, t.used
	t.keys, t.used = make([]uint64, 2*len(old)), make([]uint32, 2*len(old))
	t.count = 0
	for i, g := range used {
		if g == t.gen {
			t.add(old[i])
		}
	}
}
