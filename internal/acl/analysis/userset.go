package analysis

import "math/bits"

// bitset is a set of small numbers: accounts by index, mostly.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, max((n+63)/64, 1)) }

func (b bitset) add(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b bitset) remove(i int)   { b[i>>6] &^= 1 << (i & 63) }
func (b bitset) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }

// fill makes the members the numbers below n.
func (b bitset) fill(n int) {
	clear(b)
	for w := range n / 64 {
		b[w] = ^uint64(0)
	}
	if n%64 != 0 {
		b[n/64] = 1<<(n%64) - 1
	}
}

// first returns the lowest member at or above from, or -1.
func (b bitset) first(from int) int {
	for w := from >> 6; w < len(b); w++ {
		x := b[w]
		if w == from>>6 {
			x &= ^uint64(0) << (from & 63)
		}
		if x != 0 {
			return w<<6 + bits.TrailingZeros64(x)
		}
	}
	return -1
}

func (b bitset) empty() bool { return b.first(0) < 0 }

func (b bitset) and(o bitset) {
	for i := range b {
		b[i] &= o[i]
	}
}

func (b bitset) andNot(o bitset) {
	for i := range b {
		b[i] &^= o[i]
	}
}

func (b bitset) or(o bitset) {
	for i := range b {
		b[i] |= o[i]
	}
}

// within reports whether all members are in o.
func (b bitset) within(o bitset) bool {
	for i := range b {
		if b[i]&^o[i] != 0 {
			return false
		}
	}
	return true
}

func (b bitset) count() int {
	n := 0
	for _, x := range b {
		n += bits.OnesCount64(x)
	}
	return n
}

func (b bitset) clone() bitset { return append(bitset(nil), b...) }

// each calls f with every member, lowest first.
func (b bitset) each(f func(i int)) {
	for w, x := range b {
		for ; x != 0; x &= x - 1 {
			f(w<<6 + bits.TrailingZeros64(x))
		}
	}
}

// accountSet is a set of accounts: a bitset, or one account, which is what an
// entry with a literal account has.
type accountSet struct {
	bits bitset // nil: only one counts
	one  int    // -1: none
}

func (s accountSet) has(u int) bool {
	if s.bits != nil {
		return u >= 0 && s.bits.has(u)
	}
	return u >= 0 && s.one == u
}

// copyTo makes b the set.
func (s accountSet) copyTo(b bitset) {
	if s.bits != nil {
		copy(b, s.bits)
		return
	}
	clear(b)
	if s.one >= 0 {
		b.add(s.one)
	}
}

// asBits returns the set as a bitset of n accounts, which must not be changed.
func (s accountSet) asBits(n int) bitset {
	if s.bits != nil {
		return s.bits
	}
	b := newBitset(n)
	if s.one >= 0 {
		b.add(s.one)
	}
	return b
}

func (s accountSet) empty() bool {
	if s.bits != nil {
		return s.bits.empty()
	}
	return s.one < 0
}

// and returns the accounts of both sets.
func (s accountSet) and(t accountSet) accountSet {
	switch {
	case s.bits == nil && (s.one < 0 || t.has(s.one)):
		return s
	case s.bits == nil:
		return accountSet{one: -1}
	case t.bits == nil:
		return t.and(s)
	}
	b := s.bits.clone()
	b.and(t.bits)
	return accountSet{bits: b}
}
