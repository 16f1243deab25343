package acl

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A template is a pattern with placeholders, made into a program that takes a placeholder
// as one step over any of its values. It gives the answers of textual substitution because
// it is only made when every placeholder stands where text stands for itself: not in a
// class, not after a backslash, not before a quantifier. The values must do so too; see
// traits.
type template struct {
	regexp    bool
	ambiguous bool // first and last character may both come from values: "/" there would make a regexp
	anchored  bool // matches only from the start of the value
	fold      bool // some mark matches letters in either case
	marks     []mark
	labels    []int // marks that are labels
	prog      []inst
	required  string // text that every value matched contains
	prefixes  [][]elem
}

// mark is a distinct placeholder of a template.
type mark struct {
	seg  Segment
	tied bool // a label that stands in several places or in a repetition: one value for all
}

// inst is an instruction of a template's program. Values are ASCII, a step is a byte.
type inst struct {
	op   opcode
	fold bool // opMark: letters match in either case
	x, y int32
	lit  string
	set  *byteSet
}

type opcode uint8

const (
	opMatch  opcode = iota
	opFail          // never
	opLit           // the text lit
	opSet           // one byte of set
	opMark          // a value of mark x
	opSplit         // x, or y
	opJump          // x
	opAssert        // the syntax.EmptyOp x
)

// byteSet is a set of ASCII characters.
type byteSet [2]uint64

func (s *byteSet) add(b byte) { s[b>>6] |= 1 << (b & 63) }

func (s *byteSet) has(b byte) bool { return b < utf8.RuneSelf && s[b>>6]&(1<<(b&63)) != 0 }

const (
	maxMarks      = 16       // placeholders of a template
	maxTemplate   = 2000     // instructions of a template
	markFirst     = '\uE000' // private use: patterns that hold such letters get no template
	markEnd       = '\uF8FF' // follows each mark, so that a quantifier after it is seen
	privateUseMax = '\uF8FF'
)

func markRune(place int) rune { return markFirst + rune(place) }

// markIndex returns the place whose mark runes begin with.
func markIndex(runes []rune) (int, bool) {
	if len(runes) < 2 || runes[1] != markEnd || runes[0] < markFirst || runes[0] >= markFirst+maxMarks {
		return 0, false
	}
	return int(runes[0] - markFirst), true
}

// newTemplate returns nil when p can only be matched by substituting text.
func newTemplate(p Pattern) *template {
	t := &template{regexp: p.kind == Regexp}
	first, last := p.segs[0], p.segs[len(p.segs)-1]
	if t.regexp {
		// Values that are all empty would leave "//", which is a glob.
		body := len(p.text) - 2
		for _, s := range p.segs {
			if s.Kind != Text {
				body -= len(s.Text)
			}
		}
		if body == 0 {
			return nil
		}
	} else {
		slashFirst := first.Kind != Text || first.Text[0] == '/'
		slashLast := last.Kind != Text || last.Text[len(last.Text)-1] == '/'
		if slashFirst && first.Kind == Text && slashLast {
			return nil
		}
		t.ambiguous = slashFirst && slashLast
	}
	var places []int // the mark that stands at each placeholder of the text
	index := map[string]int{}
	for _, s := range p.segs {
		if s.Kind == Text {
			continue
		}
		if s.Kind == Label && strings.ContainsAny(s.Key, "\\*?[]+()|{^$\n") {
			return nil // as written it would be more than text
		}
		k, seen := index[s.Text]
		if !seen {
			k = len(t.marks)
			index[s.Text] = k
			if s.Kind == Label {
				t.labels = append(t.labels, k)
			}
			t.marks = append(t.marks, mark{seg: s})
		}
		t.marks[k].tied = seen && s.Kind == Label
		places = append(places, k)
		if len(places) > maxMarks {
			return nil
		}
	}
	ok := false
	if t.regexp {
		ok = t.compileRegexp(p, places)
	} else {
		ok = t.compileGlob(p, places)
	}
	if !ok || len(t.prog) > maxTemplate {
		return nil
	}
	return t
}

func (t *template) compileGlob(p Pattern, places []int) bool {
	t.anchored = true
	notSlash := allBut('/')
	var prefix []elem
	var lit strings.Builder
	inPrefix := true
	flush := func() {
		if lit.Len() == 0 {
			return
		}
		t.prog = append(t.prog, inst{op: opLit, lit: lit.String()})
		if lit.Len() > len(t.required) {
			t.required = lit.String()
		}
		if inPrefix {
			prefix = append(prefix, elem{lit: lit.String(), mark: -1})
		}
		lit.Reset()
	}
	for _, s := range p.segs {
		if s.Kind != Text {
			flush()
			k := places[0]
			places = places[1:]
			t.prog = append(t.prog, inst{op: opMark, x: int32(k)})
			if inPrefix {
				prefix = append(prefix, elem{mark: k})
			}
			continue
		}
		for rest := s.Text; rest != ""; {
			c := rest[0]
			rest = rest[1:]
			switch c {
			case '*':
				flush()
				inPrefix = false
				pc := int32(len(t.prog))
				t.prog = append(t.prog,
					inst{op: opSplit, x: pc + 1, y: pc + 3},
					inst{op: opSet, set: notSlash},
					inst{op: opJump, x: pc})
			case '?':
				flush()
				inPrefix = false
				t.prog = append(t.prog, inst{op: opSet, set: notSlash})
			case '[':
				flush()
				inPrefix = false
				set, after, ok := globClass(rest)
				if !ok || set.has('/') {
					// path.Match takes the first place where what stands between two stars
					// fits; with a class that crosses "/" a later one might do better.
					return false
				}
				t.prog = append(t.prog, inst{op: opSet, set: set})
				rest = after
			case '\\':
				if rest == "" {
					return false // escapes the first character of a value
				}
				lit.WriteByte(rest[0])
				rest = rest[1:]
			default:
				lit.WriteByte(c)
			}
		}
	}
	flush()
	t.prog = append(t.prog, inst{op: opAssert, x: int32(syntax.EmptyEndText)}, inst{op: opMatch})
	t.prefixes = [][]elem{prefix}
	return true
}

// globClass reads a class of path.Match after its "[" and returns its ASCII members and
// what follows it; false when the class does not end in s.
func globClass(s string) (set *byteSet, rest string, ok bool) {
	negated := false
	if s != "" && s[0] == '^' {
		negated = true
		s = s[1:]
	}
	one := func() (rune, bool) {
		if s == "" || s[0] == '-' || s[0] == ']' {
			return 0, false
		}
		if s[0] == '\\' {
			if s = s[1:]; s == "" {
				return 0, false
			}
		}
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		return r, s != ""
	}
	in := &byteSet{}
	for n := 0; ; n++ {
		if s != "" && s[0] == ']' && n > 0 {
			break
		}
		lo, ok := one()
		if !ok {
			return nil, "", false
		}
		hi := lo
		if s[0] == '-' {
			s = s[1:]
			if hi, ok = one(); !ok {
				return nil, "", false
			}
		}
		addRange(in, lo, hi)
	}
	if negated {
		in[0], in[1] = ^in[0], ^in[1]
	}
	return in, s[1:], true
}

func addRange(s *byteSet, lo, hi rune) {
	for r := max(lo, 0); r <= min(hi, utf8.RuneSelf-1); r++ {
		s.add(byte(r))
	}
}

func allBut(bytes ...byte) *byteSet {
	s := &byteSet{^uint64(0), ^uint64(0)}
	for _, b := range bytes {
		s[b>>6] &^= 1 << (b & 63)
	}
	return s
}

func (t *template) compileRegexp(p Pattern, places []int) bool {
	body, ok := markedBody(p)
	if !ok {
		return false
	}
	re, err := parseRegexp(body)
	if err != nil || treeSize(re, maxTemplate) >= maxTemplate {
		return false
	}
	uses := make([]int, len(places))
	if !countMarks(re, uses, 1) {
		return false
	}
	for at, n := range uses {
		if n == 0 {
			return false
		}
		if mk := &t.marks[places[at]]; n > 1 && mk.seg.Kind == Label {
			mk.tied = true
		}
	}
	t.prefixes, _ = prefixes(re, maxPrefixes)
	for _, alt := range t.prefixes {
		for i := range alt {
			if alt[i].mark >= 0 {
				alt[i].mark = places[alt[i].mark]
			}
		}
	}
	t.required = required(re)
	re = re.Simplify()
	t.anchored = beginsAnchored(re)
	t.emit(re)
	for i := range t.prog {
		if in := &t.prog[i]; in.op == opMark {
			in.x = int32(places[in.x])
		}
	}
	t.prog = append(t.prog, inst{op: opMatch})
	return true
}

// markedBody returns the regexp with a two-letter mark in place of each placeholder, all
// different so that the parser joins none, or false when the text around one could take part
// of a value into its own syntax.
func markedBody(p Pattern) (string, bool) {
	var b strings.Builder
	place := 0
	for _, s := range p.segs {
		if s.Kind == Text {
			b.WriteString(s.Text)
			continue
		}
		before := b.String()
		if open := strings.LastIndexByte(before, '{'); open > strings.LastIndexByte(before, '}') {
			return "", false // x{2 before a value that could end the count
		}
		if i := len(before) - 1; i >= 0 && '0' <= before[i] && before[i] <= '7' {
			for i >= 0 && '0' <= before[i] && before[i] <= '7' {
				i--
			}
			if i >= 0 && before[i] == '\\' {
				return "", false // \1 before a value that could be more digits
			}
		}
		b.WriteRune(markRune(place))
		b.WriteRune(markEnd)
		place++
	}
	text := b.String()
	if strings.Contains(text, `\Q`) || strings.Contains(text, `\x`) {
		return "", false
	}
	for _, s := range p.segs {
		if s.Kind == Text && strings.ContainsFunc(s.Text, func(r rune) bool { return markFirst <= r && r <= privateUseMax }) {
			return "", false
		}
	}
	return regexpBody(text), true
}

// countMarks adds up where each mark stands as text in the tree, twice for a place in a
// repetition. A mark that is not counted went into a class or a name, or was torn apart by a
// quantifier. It returns false for a mark under a counted repetition.
func countMarks(re *syntax.Regexp, uses []int, weight int) bool {
	switch re.Op {
	case syntax.OpLiteral:
		for i := 0; i < len(re.Rune); i++ {
			if place, ok := markIndex(re.Rune[i:]); ok && place < len(uses) {
				uses[place] += weight
				i++
			}
		}
	case syntax.OpStar, syntax.OpPlus:
		weight = 2
	case syntax.OpRepeat:
		// Long values times a count could exceed a limit of regexp.
		inside := make([]int, len(uses))
		return countMarks(re.Sub[0], inside, 1) && !slices.ContainsFunc(inside, func(n int) bool { return n > 0 })
	}
	for _, sub := range re.Sub {
		if !countMarks(sub, uses, weight) {
			return false
		}
	}
	return true
}

func beginsAnchored(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpBeginText:
		return true
	case syntax.OpCapture:
		return beginsAnchored(re.Sub[0])
	case syntax.OpConcat:
		return len(re.Sub) > 0 && beginsAnchored(re.Sub[0])
	}
	return false
}

// emit appends code for re that goes on at the instruction after it. Only whether there is
// a match is asked, so greedy and lazy are the same.
func (t *template) emit(re *syntax.Regexp) {
	add := func(i inst) int {
		t.prog = append(t.prog, i)
		return len(t.prog) - 1
	}
	next := func() int32 { return int32(len(t.prog)) }
	switch re.Op {
	case syntax.OpEmptyMatch:
	case syntax.OpLiteral:
		t.emitLiteral(re)
	case syntax.OpCharClass:
		set := &byteSet{}
		for i := 0; i+1 < len(re.Rune); i += 2 {
			addRange(set, re.Rune[i], re.Rune[i+1])
		}
		add(inst{op: opSet, set: set})
	case syntax.OpAnyChar:
		add(inst{op: opSet, set: allBut()})
	case syntax.OpAnyCharNotNL:
		add(inst{op: opSet, set: allBut('\n')})
	case syntax.OpBeginLine:
		add(inst{op: opAssert, x: int32(syntax.EmptyBeginLine)})
	case syntax.OpEndLine:
		add(inst{op: opAssert, x: int32(syntax.EmptyEndLine)})
	case syntax.OpBeginText:
		add(inst{op: opAssert, x: int32(syntax.EmptyBeginText)})
	case syntax.OpEndText:
		add(inst{op: opAssert, x: int32(syntax.EmptyEndText)})
	case syntax.OpWordBoundary:
		add(inst{op: opAssert, x: int32(syntax.EmptyWordBoundary)})
	case syntax.OpNoWordBoundary:
		add(inst{op: opAssert, x: int32(syntax.EmptyNoWordBoundary)})
	case syntax.OpCapture:
		t.emit(re.Sub[0])
	case syntax.OpStar:
		loop := add(inst{op: opSplit})
		t.emit(re.Sub[0])
		add(inst{op: opJump, x: int32(loop)})
		t.prog[loop].x, t.prog[loop].y = int32(loop)+1, next()
	case syntax.OpPlus:
		loop := next()
		t.emit(re.Sub[0])
		split := add(inst{op: opSplit, x: loop})
		t.prog[split].y = next()
	case syntax.OpQuest:
		split := add(inst{op: opSplit})
		t.emit(re.Sub[0])
		t.prog[split].x, t.prog[split].y = int32(split)+1, next()
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			t.emit(sub)
		}
	case syntax.OpAlternate:
		var jumps []int
		for i, sub := range re.Sub {
			if i == len(re.Sub)-1 {
				t.emit(sub)
				break
			}
			split := add(inst{op: opSplit})
			t.emit(sub)
			jumps = append(jumps, add(inst{op: opJump}))
			t.prog[split].x, t.prog[split].y = int32(split)+1, next()
		}
		for _, j := range jumps {
			t.prog[j].x = next()
		}
	default: // OpNoMatch; OpRepeat is gone after Simplify
		add(inst{op: opFail})
	}
}

func (t *template) emitLiteral(re *syntax.Regexp) {
	fold := re.Flags&syntax.FoldCase != 0
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			t.prog = append(t.prog, inst{op: opLit, lit: lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(re.Rune); i++ {
		if k, ok := markIndex(re.Rune[i:]); ok {
			flush()
			t.prog = append(t.prog, inst{op: opMark, x: int32(k), fold: fold})
			t.fold = t.fold || fold
			i++
			continue
		}
		if !fold {
			lit.WriteRune(re.Rune[i])
			continue
		}
		flush()
		set := &byteSet{}
		r := re.Rune[i]
		for f := r; ; {
			addRange(set, f, f)
			if f = unicode.SimpleFold(f); f == r {
				break
			}
		}
		t.prog = append(t.prog, inst{op: opSet, set: set})
	}
	flush()
}
