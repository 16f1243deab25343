package automata

// minimal returns the canonical minimal automaton: equivalent states joined
// (Hopcroft's partition refinement), letters that no state tells apart in one
// class, states numbered in the order in which a breadth-first walk over the
// classes meets them.
func (r *raw) minimal() *DFA {
	block, blocks := r.equivalent()

	// One representative a block, then letters with equal columns joined.
	rep := make([]int32, blocks)
	for q := len(block) - 1; q >= 0; q-- {
		rep[block[q]] = int32(q)
	}
	to := make([]uint16, 0, blocks*r.n) // block*r.n + old class → block
	for _, q := range rep {
		for c := range r.n {
			to = append(to, uint16(block[r.next[int(q)*r.n+c]]))
		}
	}
	d := &DFA{dead: -1, total: -1}
	join := joinColumns(to, r.n)
	var letters [Letters]uint8
	for b, c := range r.classes {
		letters[b] = join[c]
	}
	var byLetter []byte
	d.classes, d.n, byLetter = renumber(letters, r.n)

	// Canonical order.
	number := make([]int32, blocks)
	for i := range number {
		number[i] = -1
	}
	first := block[0]
	number[first] = 0
	order := append(make([]int32, 0, blocks), first)
	d.next = make([]uint16, 0, blocks*d.n)
	for at := 0; at < len(order); at++ {
		for c := range d.n {
			t := int32(to[int(order[at])*r.n+int(r.classes[byLetter[c]])])
			if number[t] < 0 {
				number[t] = int32(len(order))
				order = append(order, t)
			}
			d.next = append(d.next, uint16(number[t]))
		}
	}
	d.next = append([]uint16(nil), d.next...)
	d.accept = make([]bool, len(order))
	for k, b := range order {
		d.accept[k] = r.accept[rep[b]]
		if d.sink(k) {
			if d.accept[k] {
				d.total = int32(k)
			} else {
				d.dead = int32(k)
			}
		}
	}
	return d
}

// sink reports whether state k leads to itself only. In a minimal automaton
// there is at most one that accepts and one that does not.
func (d *DFA) sink(k int) bool {
	for c := range d.n {
		if int(d.next[k*d.n+c]) != k {
			return false
		}
	}
	return true
}

// joinColumns returns for each class the first class with the same transitions
// in all states.
func joinColumns(to []uint16, n int) []uint8 {
	join := make([]uint8, n)
	states := len(to) / n
	for c := range n {
		join[c] = uint8(c)
		for e := range c {
			if int(join[e]) != e {
				continue
			}
			same := true
			for q := range states {
				if to[q*n+c] != to[q*n+e] {
					same = false
					break
				}
			}
			if same {
				join[c] = uint8(e)
				break
			}
		}
	}
	return join
}

// equivalent returns the block of each state in the coarsest partition whose
// blocks agree on acceptance and, letter by letter, on the block they lead to.
func (r *raw) equivalent() (block []int32, blocks int) {
	states := len(r.accept)
	p := newPartition(states)
	for q, a := range r.accept {
		if a {
			p.mark(int32(q))
		}
	}
	p.split(nil)
	if p.count == 1 {
		return p.block, 1
	}

	// Incoming transitions, state by state and class by class.
	from := make([]int32, len(r.next))
	begin := make([]int32, len(r.next)+1)
	for q := range states {
		for c := range r.n {
			begin[int(r.next[q*r.n+c])*r.n+c+1]++
		}
	}
	for i := 1; i < len(begin); i++ {
		begin[i] += begin[i-1]
	}
	fill := append([]int32(nil), begin...)
	for q := range states {
		for c := range r.n {
			at := int(r.next[q*r.n+c])*r.n + c
			from[fill[at]] = int32(q)
			fill[at]++
		}
	}

	// Splitters still to be tried: (block, class).
	type splitter struct{ block, class int32 }
	var todo []splitter
	waiting := make([]bool, states*r.n)
	push := func(b, c int32) {
		if !waiting[int(b)*r.n+int(c)] {
			waiting[int(b)*r.n+int(c)] = true
			todo = append(todo, splitter{b, c})
		}
	}
	smaller := func(a, b int32) int32 {
		if p.size(a) <= p.size(b) {
			return a
		}
		return b
	}
	for c := range int32(r.n) {
		push(smaller(0, 1), c)
	}
	var members []int32
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		waiting[int(s.block)*r.n+int(s.class)] = false
		members = append(members[:0], p.elems[p.begin[s.block]:p.end[s.block]]...)
		for _, q := range members {
			at := int(q)*r.n + int(s.class)
			for _, f := range from[begin[at]:begin[at+1]] {
				p.mark(f)
			}
		}
		p.split(func(old, made int32) {
			for c := range int32(r.n) {
				if waiting[int(old)*r.n+int(c)] {
					push(made, c)
				} else {
					push(smaller(old, made), c)
				}
			}
		})
	}
	return p.block, p.count
}

// partition divides the states into blocks that can be split.
type partition struct {
	elems, loc []int32 // states grouped by block; where each one stands
	block      []int32 // state → block
	begin, end []int32 // block → its part of elems
	marked     []int32 // block → how many of its first elements are marked
	touched    []int32 // blocks with marks
	count      int
}

func newPartition(states int) *partition {
	p := &partition{
		elems: make([]int32, states), loc: make([]int32, states), block: make([]int32, states),
		begin: make([]int32, states), end: make([]int32, states), marked: make([]int32, states),
		count: 1,
	}
	for q := range states {
		p.elems[q], p.loc[q] = int32(q), int32(q)
	}
	p.end[0] = int32(states)
	return p
}

func (p *partition) size(b int32) int32 { return p.end[b] - p.begin[b] }

func (p *partition) mark(q int32) {
	b := p.block[q]
	at, m := p.loc[q], p.begin[b]+p.marked[b]
	if at < m {
		return
	}
	if p.marked[b] == 0 {
		p.touched = append(p.touched, b)
	}
	other := p.elems[m]
	p.elems[m], p.elems[at] = q, other
	p.loc[q], p.loc[other] = m, at
	p.marked[b]++
}

// split moves the marked states of every block that has others too into a new
// block, and tells of each.
func (p *partition) split(tell func(old, made int32)) {
	for _, b := range p.touched {
		n := p.marked[b]
		p.marked[b] = 0
		if n == p.size(b) {
			continue
		}
		made := int32(p.count)
		p.count++
		p.begin[made], p.end[made] = p.begin[b], p.begin[b]+n
		p.begin[b] += n
		for _, q := range p.elems[p.begin[made]:p.end[made]] {
			p.block[q] = made
		}
		if tell != nil {
			tell(b, made)
		}
	}
	p.touched = p.touched[:0]
}
