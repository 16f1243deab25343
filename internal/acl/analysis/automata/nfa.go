package automata

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// ErrTooBig is returned when a pattern or a question is larger than its limits
// allow. The pattern may be perfectly valid.
var ErrTooBig = errors.New("too large to be decided exactly")

type opcode uint8

const (
	opFail   opcode = iota
	opMatch         // the text is accepted, whatever follows
	opSet           // one letter out of set, then out
	opAlt           // out or arg
	opNop           // out
	opAssert        // out, if assert holds here
)

type inst struct {
	op       opcode
	assert   syntax.EmptyOp
	out, arg uint32
	set      Set
}

// NFA is a nondeterministic automaton: one pattern or a union of several.
// It is immutable once built and safe for concurrent use.
type NFA struct {
	insts []inst
	start uint32
	uses  syntax.EmptyOp // assertions that occur
}

// Size returns the number of instructions, the measure of Limits.NFA.
func (n *NFA) Size() int { return len(n.insts) }

type builder struct {
	insts []inst
	uses  syntax.EmptyOp
}

func (b *builder) add(i inst) uint32 {
	b.insts = append(b.insts, i)
	if i.op == opAssert {
		b.uses |= i.assert
	}
	return uint32(len(b.insts) - 1)
}

func (b *builder) finish(start uint32) *NFA {
	return &NFA{insts: b.insts, start: start, uses: b.uses}
}

// Regexp returns the automaton of a regular expression in Go's syntax as
// [regexp.Regexp.MatchString] understands it, so not anchored unless the
// expression is. Strings are taken to be ASCII.
//
// The error is the parser's, or ErrTooBig when the expression with its
// repetitions written out has more than limit instructions.
func Regexp(expr string, limit int) (*NFA, error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	return RegexpTree(re, limit)
}

// RegexpTree is [Regexp] for an expression that is parsed already. The tree
// may share storage with the result of Simplify and must not be changed later.
func RegexpTree(re *syntax.Regexp, limit int) (*NFA, error) {
	if size(re, limit) > limit {
		return nil, ErrTooBig
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	b := &builder{insts: make([]inst, 0, len(prog.Inst)+2)}
	for i := range prog.Inst {
		b.add(fromProg(&prog.Inst[i]))
	}
	start := uint32(prog.Start)
	if prog.StartCond()&syntax.EmptyBeginText == 0 {
		// The search may begin anywhere.
		loop := b.add(inst{op: opAlt, out: start})
		b.insts[loop].arg = b.add(inst{op: opSet, set: printable.Or(symbolSet), out: loop})
		start = loop
	}
	return b.finish(start), nil
}

// symbolSet holds the letters that stand for variables.
var symbolSet = Set{1<<Symbols - 1, 0}

// SymbolRune is the rune that stands for symbol k in an expression given to
// [Regexp]: written as a literal it becomes the letter k.
func SymbolRune(k int) rune { return 0xE100 + rune(k) }

func symbolOf(r rune) (byte, bool) {
	if k := r - 0xE100; k >= 0 && k < Symbols {
		return byte(k), true
	}
	return 0, false
}

func fromProg(p *syntax.Inst) inst {
	switch p.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return inst{op: opAlt, out: p.Out, arg: p.Arg}
	case syntax.InstCapture, syntax.InstNop:
		return inst{op: opNop, out: p.Out}
	case syntax.InstEmptyWidth:
		return inst{op: opAssert, out: p.Out, assert: syntax.EmptyOp(p.Arg)}
	case syntax.InstMatch:
		return inst{op: opMatch}
	case syntax.InstFail:
		return inst{op: opFail}
	default:
		return inst{op: opSet, out: p.Out, set: runeSet(p)}
	}
}

// runeSet returns the letters that an instruction of package syntax consumes.
func runeSet(p *syntax.Inst) Set {
	var s Set
	switch p.Op {
	case syntax.InstRuneAny:
		return printable
	case syntax.InstRuneAnyNotNL:
		return printable.Without(setOf("\n"))
	case syntax.InstRune1:
		if k, ok := symbolOf(p.Rune[0]); ok {
			return s.With(k, k)
		}
	}
	if len(p.Rune) == 1 {
		// One rune, perhaps with all that it folds to.
		r0 := p.Rune[0]
		if k, ok := symbolOf(r0); ok {
			return s.With(k, k)
		}
		s = addRune(s, r0)
		if syntax.Flags(p.Arg)&syntax.FoldCase != 0 {
			for r := unicode.SimpleFold(r0); r != r0; r = unicode.SimpleFold(r) {
				s = addRune(s, r)
			}
		}
		return s.And(printable)
	}
	for i := 0; i+1 < len(p.Rune); i += 2 {
		lo, hi := p.Rune[i], p.Rune[i+1]
		if lo < Letters {
			s = s.With(byte(max(lo, 0)), byte(min(hi, Letters-1)))
		}
	}
	return s.And(printable)
}

func addRune(s Set, r rune) Set {
	if r >= 0 && r < utf8.RuneSelf {
		return s.With(byte(r), byte(r))
	}
	return s
}

// size estimates how many instructions an expression compiles to, counting no
// further than a little over limit.
func size(re *syntax.Regexp, limit int) int {
	n := 0
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpRepeat:
		sub := size(re.Sub[0], limit)
		times := re.Max
		if times < 0 {
			times = re.Min + 1
		}
		n = min(sub, limit+1) * max(times, 1)
		n += times
	default:
		n = 1
		for _, sub := range re.Sub {
			n += size(sub, limit) + 1
			if n > limit {
				break
			}
		}
	}
	return min(n, limit+1)
}

// Literal returns the automaton of exactly the given words.
func Literal(words ...string) *NFA {
	b := &builder{}
	var starts []uint32
	for _, w := range words {
		if start, ok := b.word(w); ok {
			starts = append(starts, start)
		}
	}
	return b.finish(b.alternatives(starts))
}

// word adds a chain that accepts exactly w; false when w has letters that no
// text has.
func (b *builder) word(w string) (uint32, bool) {
	for i := range len(w) {
		if w[i] >= Letters {
			return 0, false
		}
	}
	next := b.add(inst{op: opMatch})
	next = b.add(inst{op: opAssert, assert: syntax.EmptyEndText, out: next})
	for i := len(w) - 1; i >= 0; i-- {
		next = b.add(inst{op: opSet, set: Set{}.With(w[i], w[i]), out: next})
	}
	return next, true
}

func (b *builder) alternatives(starts []uint32) uint32 {
	if len(starts) == 0 {
		return b.add(inst{op: opFail})
	}
	start := starts[len(starts)-1]
	for _, s := range slices.Backward(starts[:len(starts)-1]) {
		start = b.add(inst{op: opAlt, out: s, arg: start})
	}
	return start
}

// Union returns the automaton that accepts what at least one of its parts
// accepts; none at all accepts nothing.
func Union(parts ...*NFA) *NFA {
	if len(parts) == 1 {
		return parts[0]
	}
	b := &builder{}
	starts := make([]uint32, 0, len(parts))
	for _, p := range parts {
		base := uint32(len(b.insts))
		for _, i := range p.insts {
			i.out += base
			i.arg += base
			b.add(i)
		}
		starts = append(starts, base+p.start)
	}
	return b.finish(b.alternatives(starts))
}

// String describes the automaton for a debugger.
func (n *NFA) String() string {
	return fmt.Sprintf("nfa of %d instructions", len(n.insts))
}

// Substitute returns the automaton in which symbol k stands for any of
// values[k]; symbols without values stand for nothing. The error is ErrTooBig
// when the result has more than limit instructions.
func (n *NFA) Substitute(values [][]string, limit int) (*NFA, error) {
	b := &builder{insts: slices.Clone(n.insts), uses: n.uses}
	for pc := range n.insts {
		i := n.insts[pc]
		if i.op != opSet || i.set.And(symbolSet) == (Set{}) || i.set.Len() != 1 {
			continue
		}
		k := int(i.set.first())
		if k >= len(values) {
			b.insts[pc] = inst{op: opFail}
			continue
		}
		var starts []uint32
	words:
		for _, w := range values[k] {
			next := i.out
			for j := len(w) - 1; j >= 0; j-- {
				if w[j] >= Letters || w[j] < Symbols {
					continue words
				}
				next = b.add(inst{op: opSet, set: Set{}.With(w[j], w[j]), out: next})
			}
			starts = append(starts, next)
			if len(b.insts) > limit {
				return nil, ErrTooBig
			}
		}
		b.insts[pc] = inst{op: opNop, out: b.alternatives(starts)}
	}
	return b.finish(n.start), nil
}

// SimpleGlob reports whether each symbol of a valid glob stands for text of any
// length just as the text itself would: it is in no class, behind no backslash,
// and no class crosses slashes.
func SimpleGlob(pattern string) bool {
	for i := 0; i < len(pattern); {
		switch pattern[i] {
		case '[':
			set, n := parseClass(pattern[i:])
			if set.Has('/') && set.Len() > 1 || hasSymbol(pattern[i:i+n]) {
				return false
			}
			i += n
		case '\\':
			_, n := globRune(pattern[i:])
			if hasSymbol(pattern[i : i+n]) {
				return false
			}
			i += n
		default:
			i++
		}
	}
	return true
}

func hasSymbol(s string) bool {
	for _, r := range s {
		if _, ok := symbolOf(r); ok {
			return true
		}
	}
	return false
}
