package acl

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// markValues are the texts that a mark may stand for.
type markValues struct {
	values []string
	dot    bool // "." in a value is the regexp's
	wild   bool // "*" and "?" in a value are the glob's
}

// labelChoice is one of several labels whose values are tried in all combinations.
type labelChoice struct {
	mark   int
	key    string
	values []string
	at     int
}

// way is how a pattern with placeholders is to be matched.
type way uint8

const (
	asText       way = iota // substitute and compile
	asTextPruned            // the same; a value that does not occur in the request's can't match
	asTemplate              // run the template
)

// maxTemplateValue bounds the memory that running a template takes.
const maxTemplateValue = 4096

// fillMarks sets w.marks to the request's values and tells whether they allow the template
// to be run on value.
func (w *walker) fillMarks(e *entry, t *template, value string) way {
	literal := w.policy.options.LiteralLabels
	newline := false
	for k := range t.marks {
		s, mv := &t.marks[k].seg, &w.marks[k]
		*mv = markValues{}
		var tr traits
		switch s.Kind {
		case Variable:
			v := w.values[s.Field]
			tr = traitsOf(v, true)
			w.ones[k] = v
			mv.values = w.ones[k : k+1]
		case Capture:
			v, ok := w.capture(e, s)
			if !ok {
				w.unfilled(t, k)
				break
			}
			tr = traitsOf(v, literal)
			w.ones[k] = v
			mv.values = w.ones[k : k+1]
		case Label:
			l := w.labelValues(s.Key)
			if !l.present {
				w.unfilled(t, k)
				break
			}
			tr = l.traits
			mv.values = l.values
		}
		if t.regexp {
			if tr&traitSpecialRegexp != 0 || t.fold && tr&traitNotASCII != 0 {
				return asText
			}
			mv.dot = tr&traitDot != 0
			newline = newline || mv.dot
		} else {
			if tr&traitSpecialGlob != 0 || k == 0 && t.ambiguous && !literal && tr&traitSlash != 0 {
				return asText
			}
			mv.wild = tr&traitWildGlob != 0
		}
	}
	if newline && strings.IndexByte(value, '\n') >= 0 {
		return asText // whether "." matches it hangs on a flag
	}
	if !isASCII(value) || len(value) > maxTemplateValue {
		if t.fold {
			return asText
		}
		return asTextPruned
	}
	return asTemplate
}

// unfilled makes a mark stand for its placeholder as written. In a regexp that is "$" and
// then more text, which nothing matches.
func (w *walker) unfilled(t *template, k int) {
	w.marks[k] = markValues{}
	if !t.regexp {
		w.ones[k] = t.marks[k].seg.Text
		w.marks[k].values = w.ones[k : k+1]
	}
}

// matchTemplate decides after fillMarks.
func (w *walker) matchTemplate(t *template, value string) (verdict, error) {
	combinations := true // there is at least one
	for _, k := range t.labels {
		if l := w.labelValues(t.marks[k].seg.Key); l.present && len(l.values) == 0 {
			combinations = false
		}
	}
	if len(t.labels) > 0 && (!combinations || !t.regexp && strings.IndexByte(value, '$') >= 0) {
		// As written, no label replaced. For a regexp that is the same as values that do not
		// occur, so with any combination it is part of what follows.
		if w.asWritten(t, value) {
			return yes, nil
		}
	}
	if !combinations || !w.run(t, value) {
		return no, nil
	}
	return w.matchTied(t, value)
}

// asWritten runs t with its labels unreplaced and leaves the marks as they were.
func (w *walker) asWritten(t *template, value string) bool {
	var saved [maxMarks]markValues
	for _, k := range t.labels {
		saved[k] = w.marks[k]
		w.unfilled(t, k)
	}
	ok := w.run(t, value)
	for _, k := range t.labels {
		w.marks[k] = saved[k]
	}
	return ok
}

// matchTied goes through the values of labels that must be the same in several places, when
// the template matches with a value for each place.
func (w *walker) matchTied(t *template, value string) (verdict, error) {
	w.lists = w.lists[:0]
	total := 1
	for _, k := range t.labels {
		mv := &w.marks[k]
		if !t.marks[k].tied || len(mv.values) < 2 {
			continue
		}
		values := mv.values
		if !mv.dot && !mv.wild && !t.fold {
			values = occurring(values, value)
		}
		total *= max(1, len(values))
		if total > MaxCombinations {
			return undecided, ErrCombinations
		}
		w.lists = append(w.lists, labelChoice{mark: k, values: values})
	}
	if len(w.lists) == 0 {
		return yes, nil
	}
	for ok := true; ok; ok = advance(w.lists) {
		for _, l := range w.lists {
			w.marks[l.mark].values = l.values[l.at : l.at+1]
		}
		if w.run(t, value) {
			return yes, nil
		}
	}
	return no, nil
}

// occurring returns the values that occur in s and one of the others, for they all match
// alike.
func occurring(values []string, s string) []string {
	out := make([]string, 0, 8)
	other := false
	for _, v := range values {
		if strings.Contains(s, v) {
			out = append(out, v)
		} else if !other {
			other = true
			out = append(out, v)
		}
	}
	return out
}

// advance steps to the next combination, the last label fastest; false after the last.
func advance(lists []labelChoice) bool {
	for i := len(lists) - 1; i >= 0; i-- {
		if lists[i].at++; lists[i].at < len(lists[i].values) {
			return true
		}
		lists[i].at = 0
	}
	return false
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// run reports whether t matches s, which is ASCII, with the marks as they are, each place
// on its own. Every pair of an instruction and a position is visited once, so it takes time
// proportional to their product at most, times the number of values at a mark.
func (w *walker) run(t *template, s string) bool {
	if !strings.Contains(s, t.required) {
		return false
	}
	n := len(s) + 1
	words := (len(t.prog)*n + 63) / 64
	if cap(w.visited) < words {
		w.visited = make([]uint64, words)
	}
	w.visited = w.visited[:words]
	clear(w.visited)
	starts := n
	if t.anchored {
		starts = 1
	}
	for from := 0; from < starts; from++ {
		if w.runFrom(t, s, from) {
			return true
		}
	}
	return false
}

func (w *walker) runFrom(t *template, s string, from int) bool {
	n := len(s) + 1
	w.stack = append(w.stack[:0], uint64(from))
	for len(w.stack) > 0 {
		top := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		pc, pos := int(top>>32), int(uint32(top))
	thread:
		for {
			bit := pc*n + pos
			if w.visited[bit>>6]&(1<<(bit&63)) != 0 {
				break
			}
			w.visited[bit>>6] |= 1 << (bit & 63)
			in := &t.prog[pc]
			switch in.op {
			case opMatch:
				return true
			case opLit:
				if !strings.HasPrefix(s[pos:], in.lit) {
					break thread
				}
				pos += len(in.lit)
				pc++
			case opSet:
				if pos == len(s) || !in.set.has(s[pos]) {
					break thread
				}
				pos++
				pc++
			case opMark:
				w.pushValues(&w.marks[in.x], in.fold, pc+1, s, pos)
				break thread
			case opSplit:
				w.stack = append(w.stack, uint64(in.y)<<32|uint64(pos))
				pc = int(in.x)
			case opJump:
				pc = int(in.x)
			case opAssert:
				before, after := rune(-1), rune(-1)
				if pos > 0 {
					before = rune(s[pos-1])
				}
				if pos < len(s) {
					after = rune(s[pos])
				}
				if syntax.EmptyOpContext(before, after)&syntax.EmptyOp(in.x) == 0 {
					break thread
				}
				pc++
			default: // opFail
				break thread
			}
		}
	}
	return false
}

// pushValues pushes instruction pc with every position that a value of the mark leads to.
func (w *walker) pushValues(mv *markValues, fold bool, pc int, s string, pos int) {
	next := uint64(pc) << 32
	rest := s[pos:]
	for _, v := range mv.values {
		switch {
		case mv.wild && strings.ContainsAny(v, "*?"):
			w.pushWild(v, next, s, pos)
		case mv.dot || fold:
			if hasPrefixLike(rest, v, mv.dot, fold) {
				w.stack = append(w.stack, next|uint64(pos+len(v)))
			}
		case strings.HasPrefix(rest, v):
			w.stack = append(w.stack, next|uint64(pos+len(v)))
		}
	}
}

// hasPrefixLike is strings.HasPrefix with "." in v for any character, if dot, and letters in
// either case, if fold.
func hasPrefixLike(s, v string, dot, fold bool) bool {
	if len(s) < len(v) {
		return false
	}
	for i := 0; i < len(v); i++ {
		a, b := s[i], v[i]
		if a == b || dot && b == '.' || fold && lower(a) == lower(b) {
			continue
		}
		return false
	}
	return true
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// pushWild pushes every position at which the glob v, begun at pos, may end.
func (w *walker) pushWild(v string, next uint64, s string, pos int) {
	if cap(w.reach) <= len(s) {
		w.reach = make([]bool, len(s)+1)
	}
	reach := w.reach[:len(s)+1] // all false between calls
	reach[pos] = true
	hi := pos // the last position reached
	for i := 0; i < len(v); i++ {
		if v[i] == '*' {
			for p := pos; p < len(s); p++ {
				if reach[p] && s[p] != '/' {
					reach[p+1] = true
					hi = max(hi, p+1)
				}
			}
			continue
		}
		for p := hi; p >= pos; p-- {
			if !reach[p] {
				continue
			}
			reach[p] = false
			if p < len(s) && (s[p] == v[i] || v[i] == '?' && s[p] != '/') {
				reach[p+1] = true
			}
		}
		hi = min(hi+1, len(s))
	}
	for p := pos; p <= hi; p++ {
		if reach[p] {
			reach[p] = false
			w.stack = append(w.stack, next|uint64(p))
		}
	}
}
