package automata

import "math/bits"

// Letters is the size of the alphabet: the ASCII characters. The first
// [Symbols] of them are no characters but letters that stand for the value of a
// variable; no pattern's character class holds them.
const Letters = 128

// Symbols is how many letters, counted from 0, stand for variables.
const Symbols = 8

// Set is a set of letters.
type Set [2]uint64

// printable holds every letter that is a character.
var printable = Set{^uint64(1<<Symbols - 1), ^uint64(0)}

// Has reports whether the letter b is in the set.
func (s Set) Has(b byte) bool {
	return b < Letters && s[b>>6]&(1<<(b&63)) != 0
}

// With returns the set with the letters lo to hi added.
func (s Set) With(lo, hi byte) Set {
	for b := int(lo); b <= int(hi) && b < Letters; b++ {
		s[b>>6] |= 1 << (b & 63)
	}
	return s
}

// Without returns the letters of s that are not in t.
func (s Set) Without(t Set) Set { return Set{s[0] &^ t[0], s[1] &^ t[1]} }

// And returns the letters that are in both sets.
func (s Set) And(t Set) Set { return Set{s[0] & t[0], s[1] & t[1]} }

// Or returns the letters that are in at least one of the sets.
func (s Set) Or(t Set) Set { return Set{s[0] | t[0], s[1] | t[1]} }

// Len returns the number of letters in the set.
func (s Set) Len() int { return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) }

// first returns the lowest letter of a set that is not empty.
func (s Set) first() byte {
	if s[0] != 0 {
		return byte(bits.TrailingZeros64(s[0]))
	}
	return byte(64 + bits.TrailingZeros64(s[1]))
}

// setOf returns the set of the characters of text.
func setOf(text string) Set {
	var s Set
	for i := range len(text) {
		s = s.With(text[i], text[i])
	}
	return s
}

// isWord reports whether b counts as a word character for \b.
func isWord(b byte) bool {
	return b == '_' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// preference lists the letters in the order in which a witness takes them:
// what a reader takes for an ordinary name comes first.
const preference = "abcdefghijklmnopqrstuvwxyz0123456789-_./ABCDEFGHIJKLMNOPQRSTUVWXYZ:@+~=,;!#$%&'()*<>?[]^`{|}\"\\ "
