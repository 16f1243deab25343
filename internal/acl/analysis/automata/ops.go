package automata

import (
	"encoding/binary"
	"sort"
)

// Combine returns the automaton of the words for which accept, given whether
// each of the parts accepts the word, is true; ErrTooBig past limit states.
func Combine(parts []*DFA, accept func([]bool) bool, limit int) (*DFA, error) {
	limit = min(limit, 1<<16-1)
	s := &Searcher{}
	r := &raw{}
	for _, d := range parts {
		s.parts = append(s.parts, part{dfa: d})
	}
	r.classes, r.n = s.refine()
	var reps []byte
	r.classes, r.n, reps = renumber(r.classes, r.n)

	k := len(parts)
	ids := map[string]int{}
	var rows []uint16
	var key []byte
	add := func(row []uint16) (int, error) {
		key = key[:0]
		for _, q := range row {
			key = binary.LittleEndian.AppendUint16(key, q)
		}
		id, ok := ids[string(key)]
		if !ok {
			if id = len(ids); id >= limit {
				return 0, ErrTooBig
			}
			ids[string(key)] = id
			rows = append(rows, row...)
		}
		return id, nil
	}
	row := make([]uint16, k)
	if _, err := add(row); err != nil {
		return nil, err
	}
	for at := 0; at < len(ids); at++ {
		for c := range r.n {
			for i, d := range parts {
				row[i] = d.next[int(rows[at*k+i])*d.n+int(d.classes[reps[c]])]
			}
			to, err := add(row)
			if err != nil {
				return nil, err
			}
			r.next = append(r.next, uint16(to))
		}
	}
	r.accept = make([]bool, len(ids))
	values := make([]bool, k)
	for at := range r.accept {
		for i, d := range parts {
			values[i] = d.accept[rows[at*k+i]]
		}
		r.accept[at] = accept(values)
	}
	return r.minimal(), nil
}

// And returns the words that all parts accept.
func And(limit int, parts ...*DFA) (*DFA, error) {
	return Combine(parts, func(v []bool) bool {
		for _, a := range v {
			if !a {
				return false
			}
		}
		return true
	}, limit)
}

// Or returns the words that some part accepts.
func Or(limit int, parts ...*DFA) (*DFA, error) {
	return Combine(parts, func(v []bool) bool {
		for _, a := range v {
			if a {
				return true
			}
		}
		return false
	}, limit)
}

// Minus returns the words of a that b does not accept.
func Minus(limit int, a, b *DFA) (*DFA, error) {
	return Combine([]*DFA{a, b}, func(v []bool) bool { return v[0] && !v[1] }, limit)
}

// Not returns the words that d does not accept.
func Not(d *DFA) *DFA {
	n := *d
	n.accept = make([]bool, len(d.accept))
	for i, a := range d.accept {
		n.accept[i] = !a
	}
	n.dead, n.total = d.total, d.dead
	return &n
}

// live returns the states from which some word is accepted.
func (d *DFA) live() []bool {
	live := append([]bool(nil), d.accept...)
	for changed := true; changed; {
		changed = false
		for q := len(live) - 1; q >= 0; q-- {
			if live[q] {
				continue
			}
			for c := range d.n {
				if live[d.next[q*d.n+c]] {
					live[q], changed = true, true
					break
				}
			}
		}
	}
	return live
}

// Finite reports whether the automaton accepts finitely many words (lengths
// beyond MaxLength counted in).
func (d *DFA) Finite() bool {
	live := d.live()
	const unseen, open, done = 0, 1, 2
	state := make([]uint8, len(live))
	type frame struct{ q, c int }
	stack := []frame{{startState, 0}}
	state[startState] = open
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.c == d.n {
			state[f.q] = done
			stack = stack[:len(stack)-1]
			continue
		}
		to := int(d.next[f.q*d.n+f.c])
		f.c++
		if !live[to] {
			continue
		}
		switch state[to] {
		case open:
			return false
		case unseen:
			state[to] = open
			stack = append(stack, frame{to, 0})
		}
	}
	return true
}

// List returns the first n words, shortest first and those of one length in
// alphabetical order, with every letter counted; all says that there are no
// more.
func (d *DFA) List(n int) (words []string, all bool) {
	live := d.live()
	if !live[startState] {
		return nil, true
	}
	// Words by length: the walk over the live part goes level by level. Each
	// level is cut to what n words need, for every live state yields a word.
	type path struct {
		q    uint16
		word string
	}
	level := []path{{startState, ""}}
	steps := 0
	for length := 0; len(level) > 0; length++ {
		var next []path
		for _, p := range level {
			if d.accept[p.q] {
				if len(words) == n {
					return words, false
				}
				words = append(words, p.word)
			}
			if length == MaxLength {
				continue
			}
			for b := byte(Symbols); b < Letters; b++ {
				to := d.next[int(p.q)*d.n+int(d.classes[b])]
				if !live[to] {
					continue
				}
				if steps++; steps > 200_000 {
					return words, false
				}
				next = append(next, path{to, p.word + string(rune(b))})
			}
		}
		level = next
	}
	return words, true
}

// Prefix returns what every accepted word begins with; whole says that it is
// itself the only word. Without any word it is empty.
func (d *DFA) Prefix() (prefix string, whole bool) {
	if d.IsEmpty() {
		return "", false
	}
	var b []byte
	q := startState
	for range MaxLength {
		only, to := -1, 0
		for c := range d.n {
			t := int(d.next[q*d.n+c])
			if t == int(d.dead) {
				continue
			}
			if only >= 0 || d.accept[q] {
				return string(b), false
			}
			only, to = c, t
		}
		if only < 0 {
			return string(b), true
		}
		letter, several := -1, false
		for x := range Letters {
			if int(d.classes[x]) == only {
				several = several || letter >= 0
				letter = x
			}
		}
		if several {
			return string(b), false
		}
		b = append(b, byte(letter))
		q = to
	}
	return string(b), false
}

// Follow calls accept with the index of each word of list that the automaton
// accepts, in time that shrinks with what it rejects early. The list must be
// sorted and its words ASCII.
func (d *DFA) Follow(list []string, accept func(i int)) {
	d.follow(list, 0, 0, startState, accept)
}

func (d *DFA) follow(list []string, base, depth, q int, accept func(int)) {
	for len(list) > 0 && q != int(d.dead) {
		if q == int(d.total) {
			for i := range list {
				accept(base + i)
			}
			return
		}
		if len(list[0]) == depth {
			if d.accept[q] {
				accept(base)
			}
			list, base = list[1:], base+1
			continue
		}
		// The words that go on with the same letter.
		b := list[0][depth]
		n := sort.Search(len(list), func(i int) bool { return list[i][depth] > b })
		to := int(d.next[q*d.n+int(d.classes[b])])
		if n == 1 && to != int(d.dead) {
			for i := depth + 1; i < len(list[0]); i++ {
				to = int(d.next[to*d.n+int(d.classes[list[0][i]])])
			}
			if d.accept[to] {
				accept(base)
			}
		} else {
			d.follow(list[:n], base, depth+1, to, accept)
		}
		list, base = list[n:], base+n
	}
}

// Lift returns an automaton in which the symbol k leads from each state to
// where all the words lead, or to a dead state where they differ. Used as
// something to be left out of a search, it leaves out no more than it should.
// The result is not minimal. uniform says that the words never differ.
func (d *DFA) Lift(k int, words []string) (lifted *DFA, uniform bool) {
	l := &DFA{dead: d.dead, total: d.total}
	// Class n is the symbol's own.
	l.n = d.n + 1
	l.classes = d.classes
	l.classes[k] = uint8(d.n)
	states := len(d.accept)
	if l.dead < 0 {
		l.dead = int32(states)
	}
	uniform = true
	l.accept = append([]bool(nil), d.accept...)
	for q := range states {
		l.next = append(l.next, d.next[q*d.n:(q+1)*d.n]...)
		target := -1
		for _, w := range words {
			to := d.run(q, w)
			if to < 0 {
				to = int(l.dead)
			}
			if target >= 0 && to != target {
				target, uniform = int(l.dead), false
				break
			}
			target = to
		}
		if target < 0 {
			target = int(l.dead)
		}
		l.next = append(l.next, uint16(target))
	}
	if d.dead < 0 {
		l.accept = append(l.accept, false)
		for range l.n {
			l.next = append(l.next, uint16(states))
		}
	}
	return l, uniform
}

func (d *DFA) run(q int, w string) int {
	for i := range len(w) {
		if w[i] >= Letters {
			return -1
		}
		q = int(d.next[q*d.n+int(d.classes[w[i]])])
	}
	return q
}
