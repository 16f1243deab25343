package yamledit

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// markStep is the distance in bytes between two entries of source.marks.
const markStep = 1024

// source is the text of a file with an index of its lines. Lines are what the
// YAML library counts as lines: they end with CR LF, LF, CR, NEL (U+0085),
// LS (U+2028) or PS (U+2029). Columns count runes.
type source struct {
	data []byte
	// starts holds the offset of the first byte of each line. The last line
	// has no terminator; it is empty when the file ends with a line break.
	// A byte order mark is not part of the first line.
	starts []int32
	// marks holds the number of runes before every markStep-th byte; nil when
	// the text is ASCII.
	marks []int32
}

func newSource(data []byte) *source {
	s := &source{data: data}
	first := 0
	if bytes.HasPrefix(data, []byte(bom)) {
		first = len(bom)
	}
	n := bytes.Count(data, []byte{'\n'}) + 1
	s.starts = make([]int32, 1, n)
	s.starts[0] = int32(first) // Parse bounds the size below 2 GiB
	ascii, simple := true, bytes.IndexByte(data, '\r') < 0
	for _, c := range data {
		if c >= utf8.RuneSelf {
			ascii, simple = false, false
			break
		}
	}
	for i := first; i < len(data); {
		if simple {
			j := bytes.IndexByte(data[i:], '\n')
			if j < 0 {
				break
			}
			i += j + 1
		} else if w := breakWidth(data, i); w > 0 {
			i += w
		} else {
			i++
			continue
		}
		s.starts = append(s.starts, int32(i))
	}
	if !ascii {
		s.marks = make([]int32, 0, len(data)/markStep+1)
		var runes int32
		for i, c := range data {
			if i%markStep == 0 {
				s.marks = append(s.marks, runes)
			}
			if utf8.RuneStart(c) {
				runes++
			}
		}
	}
	return s
}

// bom is the UTF-8 byte order mark.
const bom = "\uFEFF"

// breakWidth returns the length of the line break at offset i, 0 if there is none.
func breakWidth(b []byte, i int) int {
	switch b[i] {
	case '\n':
		return 1
	case '\r':
		if i+1 < len(b) && b[i+1] == '\n' {
			return 2
		}
		return 1
	case 0xC2:
		if i+1 < len(b) && b[i+1] == 0x85 {
			return 2
		}
	case 0xE2:
		if i+2 < len(b) && b[i+1] == 0x80 && (b[i+2] == 0xA8 || b[i+2] == 0xA9) {
			return 3
		}
	}
	return 0
}

// isBreakAt reports whether a line break or the end of the text is at i.
func (s *source) isBreakAt(i int) bool {
	return i >= len(s.data) || breakWidth(s.data, i) > 0
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isBlankAt reports whether a blank, a line break or the end of the text is at i.
func (s *source) isBlankAt(i int) bool {
	return s.isBreakAt(i) || isBlank(s.data[i])
}

// lines returns the number of lines.
func (s *source) lines() int { return len(s.starts) }

// lineStart returns the offset of the first byte of the 0-based line.
func (s *source) lineStart(line int) int {
	if line >= len(s.starts) {
		return len(s.data)
	}
	return int(s.starts[line])
}

// lineEnd returns the offset behind the last byte of the line, its terminator
// not counted.
func (s *source) lineEnd(line int) int {
	if line+1 >= len(s.starts) {
		return len(s.data)
	}
	return int(s.starts[line+1]) - len(s.terminator(line))
}

// terminator returns the line break that ends the line, empty for the last line.
func (s *source) terminator(line int) string {
	if line+1 >= len(s.starts) {
		return ""
	}
	end := int(s.starts[line+1])
	switch s.data[end-1] {
	case '\n':
		if end-2 >= int(s.starts[line]) && s.data[end-2] == '\r' {
			return "\r\n"
		}
		return "\n"
	case '\r':
		return "\r"
	case 0x85:
		return "\u0085"
	}
	return string(s.data[end-3 : end])
}

// text returns the line without its terminator.
func (s *source) text(line int) []byte {
	return s.data[s.lineStart(line):s.lineEnd(line)]
}

// lineOf returns the 0-based line that holds the offset.
func (s *source) lineOf(off int) int {
	i := sort.Search(len(s.starts), func(i int) bool { return int(s.starts[i]) > off })
	if i == 0 {
		return 0
	}
	return i - 1
}

// runesBefore returns the number of runes that start before the offset.
func (s *source) runesBefore(off int) int {
	if s.marks == nil {
		return off
	}
	m := off / markStep
	if m >= len(s.marks) {
		m = len(s.marks) - 1
	}
	n := int(s.marks[m])
	for _, c := range s.data[m*markStep : off] {
		if utf8.RuneStart(c) {
			n++
		}
	}
	return n
}

// offset returns the byte offset of a 1-based line and column, -1 if there is
// no such place. The column behind the last rune of a line is a place.
func (s *source) offset(line, col int) int {
	if line < 1 || line > len(s.starts) || col < 1 {
		return -1
	}
	start, next := s.lineStart(line-1), s.lineStart(line)
	if line == len(s.starts) {
		next = len(s.data)
	}
	if s.marks == nil {
		if off := start + col - 1; off <= next {
			return off
		}
		return -1
	}
	target := s.runesBefore(start) + col - 1
	m := sort.Search(len(s.marks), func(i int) bool { return int(s.marks[i]) > target }) - 1
	off, runes := 0, 0
	if m >= 0 {
		off, runes = m*markStep, int(s.marks[m])
	}
	if off < start {
		off, runes = start, s.runesBefore(start)
	}
	// A mark may lie inside a rune that was counted before it.
	for off < next && !utf8.RuneStart(s.data[off]) {
		off++
	}
	for runes < target && off < next {
		_, w := utf8.DecodeRune(s.data[off:])
		off += w
		runes++
	}
	if runes != target || off > next {
		return -1
	}
	return off
}

// position is the inverse of offset.
func (s *source) position(off int) (line, col int) {
	if off < 0 {
		off = 0
	}
	if off > len(s.data) {
		off = len(s.data)
	}
	l := s.lineOf(off)
	start := s.lineStart(l)
	if off < start { // inside the byte order mark
		off = start
	}
	return l + 1, s.runesBefore(off) - s.runesBefore(start) + 1
}

// blankLine reports whether the line holds nothing but blanks.
func (s *source) blankLine(line int) bool {
	return len(bytes.Trim(s.text(line), " \t")) == 0
}

// phantom reports whether the line is the empty rest behind the final line break.
func (s *source) phantom(line int) bool {
	return line == len(s.starts)-1 && s.lineStart(line) >= len(s.data)
}

// commentLine reports whether the line holds a comment and nothing else.
func (s *source) commentLine(line int) bool {
	t := bytes.TrimLeft(s.text(line), " \t")
	return len(t) > 0 && t[0] == '#'
}

// hash returns the place of the first "#" in the line, in bytes from its beginning.
func (s *source) hash(line int) int { return bytes.IndexByte(s.text(line), '#') }

// ownLine reports whether only blanks stand before the offset on its line.
func (s *source) ownLine(off int) bool {
	for _, c := range s.data[s.lineStart(s.lineOf(off)):off] {
		if !isBlank(c) {
			return false
		}
	}
	return true
}

// skipBlanks returns the offset of the first byte at or behind p that is no blank.
func (s *source) skipBlanks(p int) int {
	for p < len(s.data) && isBlank(s.data[p]) {
		p++
	}
	return p
}

// skipTrivia returns the offset of the first byte at or behind p that is
// neither blank nor line break nor part of a comment.
func (s *source) skipTrivia(p int) int {
	for p < len(s.data) {
		if isBlank(s.data[p]) {
			p++
		} else if w := breakWidth(s.data, p); w > 0 {
			p += w
		} else if s.data[p] == '#' {
			for !s.isBreakAt(p) {
				p++
			}
		} else {
			return p
		}
	}
	return p
}

// hasComment reports whether the trivia between two offsets hold a comment.
func (s *source) hasComment(from, to int) bool {
	return bytes.IndexByte(s.data[from:to], '#') >= 0
}

// newline returns the line break to use for text that goes beside the line.
func (s *source) newline(line int) string {
	for _, l := range []int{line, line - 1, line + 1, 0} {
		if l < 0 || l >= s.lines() {
			continue
		}
		if t := s.terminator(l); t == "\n" || t == "\r\n" || t == "\r" {
			return t
		}
	}
	return "\n"
}
