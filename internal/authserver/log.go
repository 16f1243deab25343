package authserver

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable makes text from outside safe for a log line: all that is not printable or a
// plain space (control characters, line and paragraph separators, characters that change
// the direction of text, invisible ones, bytes that are no UTF-8) becomes a visible
// escape. At most limit bytes come out, counting what a JSON or quoting handler doubles.
func printable(s string, limit int) string {
	const more = "…"
	clean := true
	size := 0
	for _, r := range s {
		if !plain(r) || r == '"' || r == '\\' {
			clean = false
			break
		}
		size += utf8.RuneLen(r)
	}
	if clean && size <= limit {
		return s
	}
	var b strings.Builder
	used := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		var piece string
		cost := 0
		switch {
		case r == utf8.RuneError && n == 1:
			piece = `\x` + hex.EncodeToString([]byte{s[i]})
			cost = len(piece) + 1
		case r == '"' || r == '\\':
			piece, cost = s[i:i+n], 2
		case plain(r):
			piece, cost = s[i:i+n], n
		default:
			piece = `\u{` + strconv.FormatInt(int64(r), 16) + `}`
			cost = len(piece) + 1
		}
		if used+cost > limit-len(more) && i+n < len(s) || used+cost > limit {
			b.WriteString(more)
			break
		}
		b.WriteString(piece)
		used += cost
		i += n
	}
	return b.String()
}

// plain reports whether r may stand in a log line as it is. unicode.IsPrint leaves out
// the categories of format, private and unassigned characters.
func plain(r rune) bool { return r != utf8.RuneError && (r == ' ' || unicode.IsPrint(r)) }

// The bytes that fields may take in a log line, so that the whole line stays below 8 KiB.
const (
	maxNameField   = 300
	maxFreeField   = 256
	maxScopesField = 1500
	maxReasonField = 600
)

// logDecision writes the one line that a token request gets.
func (s *Server) logDecision(ctx context.Context, d *Decision) {
	level := slog.LevelInfo
	switch d.Result {
	case ResultError:
		level = slog.LevelError
	case ResultLimited, ResultBusy:
		level = slog.LevelWarn
	}
	for i := range d.Scopes {
		if d.Scopes[i].Err != "" && level < slog.LevelWarn {
			level = slog.LevelWarn
		}
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 20)
	text := func(key, value string, limit int) {
		if value != "" {
			attrs = append(attrs, slog.String(key, printable(value, limit)))
		}
	}
	attrs = append(attrs,
		slog.String("request_id", d.RequestID), slog.String("method", printable(d.Method, 32)),
		slog.Int("status", d.Status), slog.String("result", string(d.Result)),
	)
	text("reason", d.Reason, maxReasonField)
	if d.Authenticated {
		attrs = append(attrs, slog.String("account", printable(d.Account, maxNameField)))
	}
	if !d.Authenticated || d.Presented != d.Account {
		text("presented", d.Presented, maxNameField)
	}
	attrs = append(attrs, slog.String("address", addressText(d.Address)))
	if d.Peer != d.Address {
		attrs = append(attrs, slog.String("peer", addressText(d.Peer)))
	}
	text("service", d.Service, maxFreeField)
	if n := len(d.Scopes); n > 0 {
		asked, granted, broken := scopeFields(d.Scopes)
		if n > 1 {
			attrs = append(attrs, slog.Int("scopes", n))
		}
		text("asked", asked, maxScopesField)
		text("granted", granted, maxScopesField)
		text("matcher_error", broken, maxReasonField)
		if n == 1 && d.Scopes[0].Entry > 0 {
			attrs = append(attrs, slog.Int("entry", d.Scopes[0].Entry), slog.Int("line", d.Scopes[0].Line))
		}
		text("authorizer", d.Scopes[0].Authorizer, 32)
	}
	text("client_id", d.ClientID, maxFreeField)
	text("user_agent", d.UserAgent, maxFreeField)
	if d.TokenID != "" {
		attrs = append(attrs, slog.String("jti", printable(d.TokenID, 64)), slog.Int64("lifetime", int64(d.Lifetime.Seconds())))
		if d.Reused {
			attrs = append(attrs, slog.Bool("reused", true))
		}
	}
	attrs = append(attrs, slog.Int64("duration_us", d.Duration.Microseconds()))
	// Not by LogAttrs, which finds out each time from where it was called.
	r := slog.NewRecord(s.now(), level, "token request", 0)
	r.AddAttrs(attrs...)
	_ = s.log.Handler().Handle(ctx, r)
}

// addressText names an address, and a peer that has none.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return "local"
	}
	return a.String()
}

// scopeFields prints what was asked and granted, and the first pattern that broke. It
// stops where the log line has no more room.
func scopeFields(list []ScopeDecision) (asked, granted, broken string) {
	var a, g strings.Builder
	for i := range list {
		s := &list[i]
		if broken == "" {
			broken = s.Err
		}
		for _, part := range []struct {
			b       *strings.Builder
			actions []string
		}{{&a, s.Asked}, {&g, s.Granted}} {
			if part.b.Len() > maxScopesField || part.b == &g && len(part.actions) == 0 {
				continue
			}
			if part.b.Len() > 0 {
				part.b.WriteByte(' ')
			}
			part.b.WriteString(s.Type)
			if s.Class != "" {
				part.b.WriteString("(" + s.Class + ")")
			}
			part.b.WriteByte(':')
			part.b.WriteString(s.Name)
			part.b.WriteByte(':')
			for j, action := range part.actions {
				if j > 0 {
					part.b.WriteByte(',')
				}
				part.b.WriteString(action)
			}
		}
	}
	return a.String(), g.String(), broken
}

// newRequestID returns 16 hex digits.
func (s *Server) newRequestID() string {
	var b [8]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "unknown"
	}
	var text [2 * len(b)]byte
	hex.Encode(text[:], b[:])
	return string(text[:])
}
