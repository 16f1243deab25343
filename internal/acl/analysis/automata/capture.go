package automata

import (
	"encoding/binary"
	"fmt"
	"regexp/syntax"
	"slices"
)

// Capture returns the automaton of the strings that match a regular expression
// such that its capture group, as [regexp.Regexp.FindStringSubmatch] reports
// it, is accepted by value. A group that takes no part in the match is empty.
//
// Of several ways to match, Go takes the leftmost one, and of those the one
// that the expression prefers. So the automaton follows the alternatives in
// that order, each with how far value has got.
func Capture(expr string, group int, value *DFA, lim Limits) (*DFA, error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if group < 1 || group > re.MaxCap() {
		return nil, fmt.Errorf("%q has no capture group %d", expr, group)
	}
	if size(re, lim.NFA) > lim.NFA {
		return nil, ErrTooBig
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	c := &captures{prog: prog, group: uint32(group), value: value, ids: map[string]int{}, lim: lim, seen: make([]bool, len(prog.Inst))}
	return c.determinize()
}

// States of a thread's group beside the states of the value's automaton.
const (
	groupUnset = -1 // not entered yet
	groupGood  = -2 // left, accepted
	groupBad   = -3 // left, not accepted
)

// captured is one way to match, in its order among others: where in the program
// it is and what is known of the group.
type captured struct {
	pc    uint32
	group int32
}

// captureState is a state of the automaton: the ways to match in order, before
// assertions about what follows are settled, and the best match so far.
type captureState struct {
	threads []captured
	prev    prevKind
	matched int32 // groupUnset: no match yet
}

type captures struct {
	prog  *syntax.Prog
	group uint32
	value *DFA
	lim   Limits

	states []captureState
	ids    map[string]int
	sets   []Set
	seen   []bool
	list   []captured
	work   int
}

func (c *captures) determinize() (*DFA, error) {
	// Letters that neither the expression nor the value tells apart.
	probe := &builder{}
	c.sets = make([]Set, len(c.prog.Inst))
	uses := syntax.EmptyOp(0)
	for i := range c.prog.Inst {
		in := fromProg(&c.prog.Inst[i])
		c.sets[i] = in.set
		probe.add(in)
		uses |= in.assert
	}
	for class := range c.value.n {
		var s Set
		for b := range byte(Letters) {
			if int(c.value.classes[b]) == class {
				s = s.With(b, b)
			}
		}
		probe.add(inst{op: opSet, set: s})
	}
	r := &raw{}
	var reps []byte
	r.classes, r.n, reps = letterClasses(&NFA{insts: probe.insts, uses: uses})

	start := captureState{threads: []captured{{uint32(c.prog.Start), groupUnset}}, prev: prevBegin, matched: groupUnset}
	if _, err := c.intern(start); err != nil {
		return nil, err
	}
	levelEnd, level := 1, 0
	for at := 0; at < len(c.states); at++ {
		if at == levelEnd {
			levelEnd, level = len(c.states), level+1
		}
		for _, b := range reps {
			next := captureState{matched: groupUnset}
			if level < MaxLength {
				next = c.step(at, int(b))
			}
			to, err := c.intern(next)
			if err != nil {
				return nil, err
			}
			r.next = append(r.next, uint16(to))
		}
	}
	r.accept = make([]bool, len(c.states))
	for at := range c.states {
		final := c.step(at, -1).matched
		r.accept[at] = final == groupGood
	}
	return r.minimal(), nil
}

func (c *captures) intern(s captureState) (int, error) {
	key := []byte{byte(s.prev)}
	key = binary.AppendVarint(key, int64(s.matched))
	for _, t := range s.threads {
		key = binary.AppendUvarint(key, uint64(t.pc))
		key = binary.AppendVarint(key, int64(t.group))
	}
	if id, ok := c.ids[string(key)]; ok {
		return id, nil
	}
	if len(c.states) >= min(c.lim.States, 1<<16-1) || c.work > c.lim.Work {
		return 0, ErrTooBig
	}
	id := len(c.states)
	c.ids[string(key)] = id
	c.states = append(c.states, s)
	return id, nil
}

// step follows letter b, or the end of the text when b is negative.
func (c *captures) step(at, b int) captureState {
	s := c.states[at]
	flags := context(s.prev, b)
	next := captureState{matched: s.matched}
	c.list = c.list[:0]
	clear(c.seen)
	for _, t := range s.threads {
		c.follow(t, flags)
	}
	for _, t := range c.list {
		in := &c.prog.Inst[t.pc]
		if in.Op == syntax.InstMatch {
			// What comes after has a lower priority.
			next.matched = t.group
			if t.group == groupUnset {
				next.matched = groupBad
				if c.value.accept[startState] {
					next.matched = groupGood
				}
			}
			break
		}
		if b < 0 || !c.sets[t.pc].Has(byte(b)) {
			continue
		}
		to := captured{in.Out, t.group}
		if t.group >= 0 {
			to.group = int32(c.value.next[int(t.group)*c.value.n+int(c.value.classes[b])])
		}
		if !slices.ContainsFunc(next.threads, func(o captured) bool { return o.pc == to.pc }) {
			next.threads = append(next.threads, to)
		}
	}
	if b < 0 {
		return next
	}
	if next.matched == groupUnset && !slices.ContainsFunc(next.threads, func(o captured) bool { return o.pc == uint32(c.prog.Start) && o.group == groupUnset }) {
		// A match may also begin here, if none has begun before.
		next.threads = append(next.threads, captured{uint32(c.prog.Start), groupUnset})
	}
	next.prev = prevOther
	if isWord(byte(b)) {
		next.prev = prevWord
	} else if b == '\n' {
		next.prev = prevNewline
	}
	if len(next.threads) == 0 {
		next.prev = prevOther
	}
	return next
}

// follow adds a way to match and the ways it splits into, in their order.
func (c *captures) follow(t captured, flags syntax.EmptyOp) {
	if c.seen[t.pc] {
		return
	}
	c.seen[t.pc] = true
	c.work++
	in := &c.prog.Inst[t.pc]
	switch in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		c.follow(captured{in.Out, t.group}, flags)
		c.follow(captured{in.Arg, t.group}, flags)
	case syntax.InstNop:
		c.follow(captured{in.Out, t.group}, flags)
	case syntax.InstCapture:
		switch in.Arg {
		case 2 * c.group:
			t.group = startState
		case 2*c.group + 1:
			if t.group >= 0 {
				if c.value.accept[t.group] {
					t.group = groupGood
				} else {
					t.group = groupBad
				}
			}
		}
		c.follow(captured{in.Out, t.group}, flags)
	case syntax.InstEmptyWidth:
		if syntax.EmptyOp(in.Arg)&^flags == 0 {
			c.follow(captured{in.Out, t.group}, flags)
		}
	case syntax.InstFail:
	default:
		c.list = append(c.list, t)
	}
}
