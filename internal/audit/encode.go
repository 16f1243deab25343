package audit

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// The bytes that a value may take in a line, quotes left out, so that a line with every
// field at its limit and one scope stays below [MaxLine].
const (
	limitName    = 300  // accounts, ids
	limitFree    = 256  // what clients choose freely
	limitReason  = 500  // reasons and comments
	limitRepo    = 1024 // names of repositories
	limitActions = 400  // a list of actions
	limitList    = 1400 // a list of sentences
	limitScopes  = 4096 // all scopes of a line
	timeLayout   = "2006-01-02T15:04:05.000000Z"
)

// encoder appends the members of one object.
type encoder struct {
	b     []byte
	first bool
}

func (e *encoder) key(k string) {
	if !e.first {
		e.b = append(e.b, ',')
	}
	e.first = false
	e.b = append(e.b, '"')
	e.b = append(e.b, k...)
	e.b = append(e.b, '"', ':')
}

func (e *encoder) close() {
	e.b = append(e.b, '}')
	e.first = false
}

func (e *encoder) text(k, v string, limit int) {
	if v == "" {
		return
	}
	e.key(k)
	e.b = appendText(e.b, v, limit)
}

func (e *encoder) number(k string, v int64) {
	if v == 0 {
		return
	}
	e.key(k)
	e.b = strconv.AppendInt(e.b, v, 10)
}

func (e *encoder) time(k string, v time.Time) {
	if v.IsZero() {
		return
	}
	e.key(k)
	e.b = append(e.b, '"')
	e.b = v.UTC().AppendFormat(e.b, timeLayout)
	e.b = append(e.b, '"')
}

func (e *encoder) address(k string, v netip.Addr) {
	if !v.IsValid() {
		return
	}
	e.key(k)
	e.b = append(e.b, '"')
	e.b = v.WithZone("").AppendTo(e.b) // a zone is text that somebody chose
	e.b = append(e.b, '"')
}

// list appends as many of the texts as limit bytes hold; the last one then says how many
// are left out.
func (e *encoder) list(k string, v []string, limit int) {
	if len(v) == 0 {
		return
	}
	e.key(k)
	e.b = append(e.b, '[')
	begin := len(e.b)
	for i, s := range v {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		mark := len(e.b)
		e.b = appendText(e.b, s, limit/2)
		if len(e.b)-begin > limit {
			e.b = appendText(e.b[:mark], fmt.Sprintf("… and %d more", len(v)-i), limit)
			break
		}
	}
	e.b = append(e.b, ']')
}

// appendText appends s as a JSON string. All that is not printable or a plain space
// (control characters, line separators, characters that turn the direction of text) is
// escaped, so that no text from outside can draw on a terminal or look like another line.
// A text that takes more than limit bytes ends in an ellipsis.
func appendText(b []byte, s string, limit int) []byte {
	const more = "…"
	b = append(b, '"')
	begin, last := len(b), len(b) // last: where the text could still be cut for the ellipsis
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			b = append(b, c)
			i++
		} else {
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == '"' || r == '\\':
				b = append(b, '\\', byte(r))
			case r == utf8.RuneError && n == 1:
				b = append(b, `\ufffd`...)
			case unicode.IsPrint(r):
				b = append(b, s[i:i+n]...)
			case r > 0xffff:
				r -= 0x10000
				b = appendEscape(appendEscape(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
			default:
				b = appendEscape(b, r)
			}
			i += n
		}
		switch size := len(b) - begin; {
		case size <= limit-len(more):
			last = len(b)
		case size > limit || i < len(s) && size == limit:
			return append(append(b[:last], more...), '"')
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// appendBody appends the members of the record but "seq" and "chain", which the log knows
// only when it writes the line: {"seq":1,BODY,"chain":"…"}.
func appendBody(b []byte, r *Record) []byte {
	e := encoder{b: b, first: true}
	e.time("time", r.Time)
	e.text("kind", string(r.Kind), 32)
	e.text("request_id", r.RequestID, limitFree)
	if r.Authenticated {
		e.key("account")
		e.b = appendText(e.b, r.Account, limitName)
	}
	e.text("presented", r.Presented, limitName)
	e.address("address", r.Address)
	e.address("peer", r.Peer)
	e.text("method", r.Method, 32)
	e.number("status", int64(r.Status))
	e.text("result", r.Result, 32)
	e.text("reason", r.Reason, limitReason)
	e.text("service", r.Service, limitFree)
	e.scopes(r.Scopes)
	e.number("part", int64(r.Part))
	e.number("parts", int64(r.Parts))
	e.text("jti", r.TokenID, limitFree)
	e.number("lifetime", int64(r.Lifetime/time.Second))
	if r.Event != nil {
		e.event(r.Event)
	}
	if r.Change != nil {
		e.change(r.Change)
	}
	if r.Gap != nil {
		e.gap(r.Gap)
	}
	e.number("segment", int64(r.Segment))
	e.text("prev", r.Prev, 64)
	e.text("client_id", r.ClientID, limitFree)
	e.text("user_agent", r.UserAgent, limitFree)
	e.number("duration_us", r.Duration.Microseconds())
	return e.b
}

func (e *encoder) scopes(list []Scope) {
	if len(list) == 0 {
		return
	}
	e.key("scopes")
	e.b = append(e.b, '[')
	for i := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = append(e.b, '{')
		e.first = true
		e.scope(&list[i])
		e.close()
	}
	e.b = append(e.b, ']')
}

func (e *encoder) scope(s *Scope) {
	e.text("type", s.Type, 64)
	e.text("class", s.Class, 64)
	e.text("name", s.Name, limitRepo)
	e.list("asked", s.Asked, limitActions)
	e.list("granted", s.Granted, limitActions)
	e.number("entry", int64(s.Entry))
	e.text("file", s.File, limitFree)
	e.number("line", int64(s.Line))
	e.text("comment", s.Comment, limitFree)
	e.text("error", s.Error, limitFree)
}

func (e *encoder) event(v *Event) {
	e.text("event_id", v.ID, limitFree)
	e.text("action", v.Action, 32)
	e.text("repository", v.Repository, limitRepo)
	e.text("from_repository", v.FromRepository, limitRepo)
	e.text("tag", v.Tag, limitFree)
	e.text("digest", v.Digest, limitFree)
	e.text("media_type", v.MediaType, limitFree)
	e.number("size", v.Size)
	e.text("host", v.Host, limitFree)
	e.text("instance", v.Instance, limitFree)
	e.time("received", v.Received)
	e.text("join", v.Join, 32)
	e.text("join_request_id", v.JoinRequestID, limitFree)
	e.text("join_jti", v.JoinTokenID, limitFree)
}

func (e *encoder) change(c *Change) {
	e.text("change_id", c.ID, 64)
	e.text("phase", c.Phase, 32)
	e.text("command", c.Command, limitFree)
	e.key("uid")
	e.b = strconv.AppendInt(e.b, int64(c.UID), 10)
	e.text("login", c.Login, limitName)
	e.text("sudo_user", c.SudoUser, limitName)
	e.text("file", c.File, limitReason)
	e.list("accounts", c.Accounts, limitList/2)
	e.list("what", c.What, limitList)
	e.list("gains", c.Gains, limitList)
	e.list("losses", c.Losses, limitList)
	e.text("before", c.Before, 64)
	e.text("after", c.After, 64)
}

func (e *encoder) gap(g *Gap) {
	e.text("gap", string(g.Kind), 32)
	e.number("bytes", g.Bytes)
	e.text("sha256", g.SHA256, 64)
	e.number("from_seq", int64(g.From))
	e.number("to_seq", int64(g.To))
	e.number("lost", int64(g.Lost))
	e.time("since", g.Since)
}

// bodies encodes the record, as several lines where its scopes do not fit into one.
func bodies(r *Record) [][]byte { return appendBodies(nil, r) }

// appendBodies appends what [bodies] returns. It uses the memory of former bodies beyond the
// end of dst.
func appendBodies(dst [][]byte, r *Record) [][]byte {
	one := func(r *Record) {
		var room []byte
		if n := len(dst); n < cap(dst) {
			room = dst[:n+1][n][:0]
		}
		if cap(room) == 0 {
			room = make([]byte, 0, 768)
		}
		dst = append(dst, appendBody(room, r))
	}
	if len(r.Scopes) <= 1 {
		one(r)
		return dst
	}
	groups := group(r.Scopes)
	if len(groups) == 1 {
		one(r)
		return dst
	}
	for i, g := range groups {
		part := *r
		part.Scopes, part.Part, part.Parts = g, i+1, len(groups)
		one(&part)
	}
	return dst
}

// group splits scopes so that each group fits into a line.
func group(list []Scope) [][]Scope {
	if len(list) <= 1 {
		return [][]Scope{list}
	}
	var out [][]Scope
	begin, size := 0, 0
	var buf []byte
	for i := range list {
		e := encoder{b: buf[:0], first: true}
		e.scope(&list[i])
		buf = e.b
		if i > begin && size+len(buf)+3 > limitScopes {
			out = append(out, list[begin:i])
			begin, size = i, 0
		}
		size += len(buf) + 3
	}
	return append(out, list[begin:])
}
