package audit

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse reads a line. Members that it does not know are skipped, so that a newer version's
// log can be read. A line that is not one JSON object is an error.
func Parse(line []byte) (*Record, error) {
	var r Record
	if err := newDecoder().decode(line, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// maxDepth bounds the nesting of members that are skipped.
const maxDepth = 32

// decoder reads lines. It is a parser of its own because the general one takes longer for a
// line than all else that is done with it. Texts that come again and again share memory.
type decoder struct {
	b     []byte
	i     int
	known map[string]string
	addrs map[string]netip.Addr
	buf   []byte
}

func newDecoder() *decoder {
	return &decoder{known: map[string]string{}, addrs: map[string]netip.Addr{}}
}

var errSyntax = errors.New("not a JSON object")

func (d *decoder) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", errSyntax, what, d.i+1)
}

// decode fills r, whose slices are used again.
func (d *decoder) decode(line []byte, r *Record) error {
	scopes, event := r.Scopes[:0], r.Event
	*r = Record{}
	d.b, d.i = line, 0
	if event != nil {
		*event = Event{}
	}
	spare := &spareParts{scopes: scopes, event: event}
	if err := d.object(0, func(key []byte) error { return d.member(key, r, spare) }); err != nil {
		return err
	}
	d.space()
	if d.i != len(d.b) {
		return d.fail("text after the object")
	}
	return nil
}

// spareParts is memory of a former record.
type spareParts struct {
	scopes []Scope
	event  *Event
}

func (d *decoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\r', '\n':
			d.i++
		default:
			return
		}
	}
}

// accept takes the byte c, where it comes next.
func (d *decoder) accept(c byte) bool {
	d.space()
	if d.i < len(d.b) && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

// object reads an object and calls member with each key, to read the value.
func (d *decoder) object(depth int, member func(key []byte) error) error {
	if depth > maxDepth {
		return d.fail("nested too deeply")
	}
	if !d.accept('{') {
		return d.fail("expected {")
	}
	if d.accept('}') {
		return nil
	}
	for {
		d.space()
		key, err := d.raw()
		if err != nil {
			return err
		}
		if !d.accept(':') {
			return d.fail("expected :")
		}
		d.space()
		if err := member(key); err != nil {
			return err
		}
		if d.accept('}') {
			return nil
		}
		if !d.accept(',') {
			return d.fail("expected , or }")
		}
	}
}

// array reads an array and calls element for each.
func (d *decoder) array(depth int, element func() error) error {
	if depth > maxDepth {
		return d.fail("nested too deeply")
	}
	if !d.accept('[') {
		return d.fail("expected [")
	}
	if d.accept(']') {
		return nil
	}
	for {
		d.space()
		if err := element(); err != nil {
			return err
		}
		if d.accept(']') {
			return nil
		}
		if !d.accept(',') {
			return d.fail("expected , or ]")
		}
	}
}

// raw reads a string and returns its text, which lasts until the next call.
func (d *decoder) raw() ([]byte, error) {
	if d.i >= len(d.b) || d.b[d.i] != '"' {
		return nil, d.fail("expected a string")
	}
	d.i++
	begin := d.i
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c == '"':
			d.i++
			return d.b[begin : d.i-1], nil
		case c == '\\':
			return d.escaped(begin)
		case c < ' ':
			return nil, d.fail("control character in a string")
		}
		d.i++
	}
	return nil, d.fail("string without an end")
}

// escaped goes on with a string that has an escape in it.
func (d *decoder) escaped(begin int) ([]byte, error) {
	d.buf = append(d.buf[:0], d.b[begin:d.i]...)
	for d.i < len(d.b) {
		c := d.b[d.i]
		d.i++
		switch {
		case c == '"':
			return d.buf, nil
		case c < ' ':
			return nil, d.fail("control character in a string")
		case c != '\\':
			d.buf = append(d.buf, c)
			continue
		}
		if d.i >= len(d.b) {
			break
		}
		c = d.b[d.i]
		d.i++
		switch c {
		case '"', '\\', '/':
			d.buf = append(d.buf, c)
		case 'b':
			d.buf = append(d.buf, '\b')
		case 'f':
			d.buf = append(d.buf, '\f')
		case 'n':
			d.buf = append(d.buf, '\n')
		case 'r':
			d.buf = append(d.buf, '\r')
		case 't':
			d.buf = append(d.buf, '\t')
		case 'u':
			r, err := d.hex4()
			if err != nil {
				return nil, err
			}
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if at := d.i; d.i+1 < len(d.b) && d.b[d.i] == '\\' && d.b[d.i+1] == 'u' {
					d.i += 2
					second, err := d.hex4()
					if err != nil {
						return nil, err
					}
					if low = utf16.DecodeRune(r, second); low == utf8.RuneError {
						d.i = at
					}
				}
				r = low
			}
			d.buf = utf8.AppendRune(d.buf, r)
		default:
			return nil, d.fail("unknown escape")
		}
	}
	return nil, d.fail("string without an end")
}

func (d *decoder) hex4() (rune, error) {
	if d.i+4 > len(d.b) {
		return 0, d.fail("escape cut short")
	}
	var r rune
	for _, c := range d.b[d.i : d.i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, d.fail("bad escape")
		}
		r = r<<4 | rune(c)
	}
	d.i += 4
	return r, nil
}

// text reads a string.
func (d *decoder) text(to *string) error {
	raw, err := d.raw()
	if err != nil {
		return err
	}
	if s, ok := d.known[string(raw)]; ok {
		*to = s
		return nil
	}
	s := valid(raw)
	const most = 1 << 14
	if len(d.known) >= most {
		clear(d.known)
	}
	if string(raw) == s {
		d.known[s] = s
	}
	*to = s
	return nil
}

// unique reads a string that hardly comes twice.
func (d *decoder) unique(to *string) error {
	raw, err := d.raw()
	if err == nil {
		*to = valid(raw)
	}
	return err
}

// valid is the text with what is not UTF-8 replaced.
func valid(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	return string(bytes.ToValidUTF8(raw, []byte("\ufffd")))
}

// digits reads a number and returns its text.
func (d *decoder) digits() []byte {
	begin := d.i
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			d.i++
		default:
			return d.b[begin:d.i]
		}
	}
	return d.b[begin:d.i]
}

func (d *decoder) integer(to *int64) error {
	text := d.digits()
	if len(text) > 1 && text[0] == '0' || len(text) > 2 && text[0] == '-' && text[1] == '0' || len(text) > 0 && text[0] == '+' {
		return d.fail("bad number")
	}
	v, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return d.fail("expected a whole number")
	}
	*to = v
	return nil
}

func (d *decoder) int(to *int) error {
	var v int64
	err := d.integer(&v)
	*to = int(v)
	return err
}

func (d *decoder) count(to *uint64) error {
	var v int64
	if err := d.integer(&v); err != nil {
		return err
	}
	if v < 0 {
		return d.fail("expected a count")
	}
	*to = uint64(v)
	return nil
}

func (d *decoder) time(to *time.Time) error {
	raw, err := d.raw()
	if err != nil {
		return err
	}
	if t, ok := fixedTime(raw); ok {
		*to = t
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(raw))
	if err != nil {
		return d.fail("expected a time")
	}
	*to = t.UTC()
	return nil
}

// fixedTime reads a time as this package writes it: 2006-01-02T15:04:05.000000Z.
func fixedTime(b []byte) (time.Time, bool) {
	if len(b) != len(timeLayout) || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] != '.' || b[26] != 'Z' {
		return time.Time{}, false
	}
	ok := true
	num := func(i, n int) int {
		v := 0
		for _, c := range b[i : i+n] {
			ok = ok && c >= '0' && c <= '9'
			v = v*10 + int(c-'0')
		}
		return v
	}
	y, mo, day, h, mi, s, us := num(0, 4), num(5, 2), num(8, 2), num(11, 2), num(14, 2), num(17, 2), num(20, 6)
	if !ok || mo < 1 || mo > 12 || day < 1 || day > 31 || h > 23 || mi > 59 || s > 59 {
		return time.Time{}, false
	}
	t := time.Date(y, time.Month(mo), day, h, mi, s, us*1000, time.UTC)
	return t, t.Day() == day
}

func (d *decoder) address(to *netip.Addr) error {
	raw, err := d.raw()
	if err != nil {
		return err
	}
	if a, ok := d.addrs[string(raw)]; ok {
		*to = a
		return nil
	}
	a, err := netip.ParseAddr(string(raw))
	if err != nil {
		return d.fail("expected an address")
	}
	if len(d.addrs) >= 1<<14 {
		clear(d.addrs)
	}
	d.addrs[string(raw)] = a
	*to = a
	return nil
}

func (d *decoder) list(to *[]string) error {
	*to = (*to)[:0]
	return d.array(1, func() error {
		var s string
		if err := d.text(&s); err != nil {
			return err
		}
		*to = append(*to, s)
		return nil
	})
}

func (d *decoder) seconds(to *time.Duration, unit time.Duration) error {
	var v int64
	err := d.integer(&v)
	if v > int64(1<<63-1)/int64(unit) || v < 0 {
		return d.fail("expected a length of time")
	}
	*to = time.Duration(v) * unit
	return err
}

// member reads a member of a record.
func (d *decoder) member(key []byte, r *Record, spare *spareParts) error {
	switch string(key) {
	case "seq":
		return d.count(&r.Seq)
	case "time":
		return d.time(&r.Time)
	case "kind":
		return d.text((*string)(&r.Kind))
	case "request_id":
		return d.unique(&r.RequestID)
	case "account":
		r.Authenticated = true
		return d.text(&r.Account)
	case "presented":
		return d.text(&r.Presented)
	case "address":
		return d.address(&r.Address)
	case "peer":
		return d.address(&r.Peer)
	case "method":
		return d.text(&r.Method)
	case "status":
		return d.int(&r.Status)
	case "result":
		return d.text(&r.Result)
	case "reason":
		return d.text(&r.Reason)
	case "service":
		return d.text(&r.Service)
	case "scopes":
		r.Scopes = spare.scopes
		return d.array(1, func() error {
			if len(r.Scopes) < cap(r.Scopes) {
				r.Scopes = r.Scopes[:len(r.Scopes)+1]
			} else {
				r.Scopes = append(r.Scopes, Scope{})
			}
			return d.scope(&r.Scopes[len(r.Scopes)-1])
		})
	case "part":
		return d.int(&r.Part)
	case "parts":
		return d.int(&r.Parts)
	case "jti":
		return d.unique(&r.TokenID)
	case "lifetime":
		return d.seconds(&r.Lifetime, time.Second)
	case "segment":
		return d.int(&r.Segment)
	case "prev":
		return d.unique(&r.Prev)
	case "client_id":
		return d.text(&r.ClientID)
	case "user_agent":
		return d.text(&r.UserAgent)
	case "duration_us":
		return d.seconds(&r.Duration, time.Microsecond)
	case "chain":
		return d.skip(1)
	}
	return d.detail(key, r, spare)
}

// detail reads a member that only some kinds of records have.
func (d *decoder) detail(key []byte, r *Record, spare *spareParts) error {
	event := func() *Event {
		if r.Event == nil {
			if spare.event == nil {
				spare.event = &Event{}
			}
			r.Event = spare.event
		}
		return r.Event
	}
	change := func() *Change {
		if r.Change == nil {
			r.Change = &Change{}
		}
		return r.Change
	}
	gap := func() *Gap {
		if r.Gap == nil {
			r.Gap = &Gap{}
		}
		return r.Gap
	}
	switch string(key) {
	case "event_id":
		return d.unique(&event().ID)
	case "action":
		return d.text(&event().Action)
	case "repository":
		return d.text(&event().Repository)
	case "from_repository":
		return d.text(&event().FromRepository)
	case "tag":
		return d.text(&event().Tag)
	case "digest":
		return d.text(&event().Digest)
	case "media_type":
		return d.text(&event().MediaType)
	case "size":
		return d.integer(&event().Size)
	case "host":
		return d.text(&event().Host)
	case "instance":
		return d.text(&event().Instance)
	case "received":
		return d.time(&event().Received)
	case "join":
		return d.text(&event().Join)
	case "join_request_id":
		return d.unique(&event().JoinRequestID)
	case "join_jti":
		return d.unique(&event().JoinTokenID)
	case "change_id":
		return d.unique(&change().ID)
	case "phase":
		return d.text(&change().Phase)
	case "command":
		return d.text(&change().Command)
	case "uid":
		return d.int(&change().UID)
	case "login":
		return d.text(&change().Login)
	case "sudo_user":
		return d.text(&change().SudoUser)
	case "file":
		return d.text(&change().File)
	case "accounts":
		return d.list(&change().Accounts)
	case "what":
		return d.list(&change().What)
	case "gains":
		return d.list(&change().Gains)
	case "losses":
		return d.list(&change().Losses)
	case "before":
		return d.unique(&change().Before)
	case "after":
		return d.unique(&change().After)
	case "gap":
		return d.text((*string)(&gap().Kind))
	case "bytes":
		return d.integer(&gap().Bytes)
	case "sha256":
		return d.unique(&gap().SHA256)
	case "from_seq":
		return d.count(&gap().From)
	case "to_seq":
		return d.count(&gap().To)
	case "lost":
		return d.count(&gap().Lost)
	case "since":
		return d.time(&gap().Since)
	}
	return d.skip(1)
}

func (d *decoder) scope(s *Scope) error {
	asked, granted := s.Asked[:0], s.Granted[:0]
	*s = Scope{}
	return d.object(2, func(key []byte) error {
		switch string(key) {
		case "type":
			return d.text(&s.Type)
		case "class":
			return d.text(&s.Class)
		case "name":
			return d.text(&s.Name)
		case "asked":
			s.Asked = asked
			return d.list(&s.Asked)
		case "granted":
			s.Granted = granted
			return d.list(&s.Granted)
		case "entry":
			return d.int(&s.Entry)
		case "file":
			return d.text(&s.File)
		case "line":
			return d.int(&s.Line)
		case "comment":
			return d.text(&s.Comment)
		case "error":
			return d.text(&s.Error)
		}
		return d.skip(3)
	})
}

// skip passes over a value.
func (d *decoder) skip(depth int) error {
	d.space()
	if d.i >= len(d.b) {
		return d.fail("value missing")
	}
	switch c := d.b[d.i]; c {
	case '"':
		_, err := d.raw()
		return err
	case '{':
		return d.object(depth+1, func([]byte) error { return d.skip(depth + 1) })
	case '[':
		return d.array(depth+1, func() error { return d.skip(depth + 1) })
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(d.b[d.i:], []byte(word)) {
			d.i += len(word)
			return nil
		}
	}
	text := d.digits()
	if !isNumber(text) {
		return d.fail("expected a value")
	}
	return nil
}

// isNumber follows the grammar of numbers in RFC 8259, section 6.
func isNumber(b []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(b) && b[n] >= '0' && b[n] <= '9' {
			n++
		}
		b = b[n:]
		return n > 0
	}
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	if len(b) > 1 && b[0] == '0' && b[1] >= '0' && b[1] <= '9' || !digits() {
		return false
	}
	if len(b) > 0 && b[0] == '.' {
		if b = b[1:]; !digits() {
			return false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		if b = b[1:]; len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(b) == 0
}
