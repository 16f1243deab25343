package audit

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var at = time.Date(2026, 11, 23, 22, 14, 3, 123456000, time.UTC)

// same compares records; a nil list and an empty one are the same.
var same = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()}

// line makes a whole line of a body.
func line(r *Record) []byte {
	return append(append([]byte("{"), appendBody(nil, r)...), '}')
}

func fullRecords() map[string]*Record {
	return map[string]*Record{
		"token": {
			Time: at, Kind: KindToken, RequestID: "0123456789abcdef", Authenticated: true, Account: "alice", Presented: "Alice",
			Address: netip.MustParseAddr("203.0.113.9"), Peer: netip.MustParseAddr("fd00::1"), Method: "GET", UserAgent: "docker/28 \"x\"",
			ClientID: "docker", Service: "registry.example.com", Result: "partial", Reason: "because\nof\u202eit", Status: 200,
			TokenID: "jti-1", Lifetime: 300 * time.Second, Duration: 1234 * time.Microsecond,
			Scopes: []Scope{
				{Type: "repository", Class: "plugin", Name: "a/b", Asked: []string{"pull", "push"}, Granted: []string{"pull"}, Entry: 4, File: "conf/auth-server.yml", Line: 31, Comment: "Every account pulls."},
				{Type: "registry", Name: "catalog", Asked: []string{"*"}, Error: "broken pattern"},
			},
		},
		"anonymous": {Time: at, Kind: KindToken, Authenticated: true, Result: "login"},
		"nobody":    {Time: at, Kind: KindToken, Presented: "mallory", Result: "unauthorized", Status: 401},
		"event": {
			Time: at, Kind: KindEvent, RequestID: "r", Authenticated: true, Account: "ci", Address: netip.MustParseAddr("10.1.2.3"), Method: "PUT", UserAgent: "crane",
			Event: &Event{ID: "e1", Action: "mount", Repository: "x/y", FromRepository: "z", Tag: "1.4", Digest: "sha256:00", MediaType: "application/json", Size: 7, Host: "h:5000", Instance: "i", Received: at.Add(time.Minute), Join: JoinProbable, JoinRequestID: "q", JoinTokenID: "t"},
		},
		"change": {
			Time: at, Kind: KindChange, Result: ChangeDone,
			Change: &Change{ID: "c", Phase: PhaseResult, Command: "user add", UID: 1000, Login: "root", SudoUser: "ann", File: "f", What: []string{"user bob is added"}, Gains: []string{"bob: pull on **"}, Losses: []string{"x"}, Accounts: []string{"bob"}, Before: strings.Repeat("0", 64), After: strings.Repeat("f", 64)},
		},
		"gap":     {Time: at, Kind: KindGap, Prev: strings.Repeat("a", 64), Gap: &Gap{Kind: GapMissing, Bytes: 3, SHA256: strings.Repeat("b", 64), From: 7, To: 9, Lost: 3, Since: at}},
		"segment": {Time: at, Kind: KindSegment, Segment: 12, Prev: strings.Repeat("c", 64)},
	}
}

func TestRecordsSurviveTheirLine(t *testing.T) {
	t.Parallel()
	for name, want := range fullRecords() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := line(want)
			if !json.Valid(text) {
				t.Fatalf("not JSON: %s", text)
			}
			got, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("%s\n%s", text, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "{", "[]", "1", `{"seq":1}x`, `{"seq":-1}`, `{"seq":1.5}`, `{"seq":01}`, `{"time":"yesterday"}`, `{"address":"here"}`,
		`{"a":tru}`, `{"a":}`, `{"a" 1}`, `{"a":1,}`, `{"account":"a` + "\n" + `"}`, `{"account":"\x"}`, `{"account":"\u12"}`, `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		`{"x":+1}`, `{"x":1e}`, `{"x":.5}`,
	} {
		if r, err := Parse([]byte(in)); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, r)
		}
	}
}

func TestUnknownMembersAreSkipped(t *testing.T) {
	t.Parallel()
	r, err := Parse([]byte(` { "new" : {"a":[1,-2.5e3,true,null,"x\"y"]} , "account":"bob", "z":[] } `))
	if err != nil || r.Account != "bob" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestF2LinesStayBounded: whatever a client sends, a line is one line of at most MaxLine
// bytes without a character that could draw on a terminal, and every scope is in one.
func TestF2LinesStayBounded(t *testing.T) {
	t.Parallel()
	for name, evil := range map[string]string{
		"newline": "a\nI1123 New token for {admin}", "escape": "\x1b[31m", "bidi": "\u202eabc\u2066", "separator": "\u2028\u2029\u0085", "del": "\x7f",
		"bytes": "\xff\xfe\x80", "quote": `"\"}`, "astral": "\U000e0001\U0001f600", "zero width": "\u200b\ufeff", "nul": "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			long := strings.Repeat(evil, 3000)
			r := &Record{Time: at, Kind: KindToken, RequestID: long, Authenticated: true, Account: long, Presented: long, Method: long, UserAgent: long, ClientID: long, Service: long, Result: long, Reason: long, TokenID: long}
			for i := range 100 {
				r.Scopes = append(r.Scopes, Scope{Type: long, Class: long, Name: long, Asked: []string{long, "pull", "push", long}, Granted: []string{"pull", long}, Entry: i + 1, File: long, Comment: long, Error: long})
			}
			entries := 0
			for _, b := range bodies(r) {
				size := len(b) + len(`{"seq":18446744073709551615,`) + len(`,"chain":"`) + 64 + len("\"}\n")
				if size > MaxLine {
					t.Fatalf("a line takes %d bytes", size)
				}
				text := append(append([]byte("{"), b...), '}')
				if !json.Valid(text) {
					t.Fatalf("not JSON: %s", text)
				}
				for _, c := range string(text) {
					if c == utf8.RuneError || !unicode.IsPrint(c) {
						t.Fatalf("%U stands in the line as it is", c)
					}
				}
				got, err := Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				entries += len(got.Scopes)
			}
			if entries != 100 {
				t.Errorf("%d scopes are recorded, want 100", entries)
			}
			c := &Record{Time: at, Kind: KindChange, Result: long, Reason: long, Change: &Change{ID: long, Phase: long, Command: long, Login: long, SudoUser: long, File: long, What: slicesOf(long), Gains: slicesOf(long), Losses: slicesOf(long), Accounts: slicesOf(long), Before: long, After: long}}
			if n := len(line(c)) + 120; n > MaxLine {
				t.Errorf("a change takes %d bytes", n)
			}
			e := &Record{Time: at, Kind: KindEvent, RequestID: long, Authenticated: true, Account: long, UserAgent: long, Method: long, Event: &Event{ID: long, Action: long, Repository: long, FromRepository: long, Tag: long, Digest: long, MediaType: long, Host: long, Instance: long, JoinRequestID: long, JoinTokenID: long}}
			if n := len(line(e)) + 120; n > MaxLine {
				t.Errorf("an event takes %d bytes", n)
			}
		})
	}
}

func slicesOf(s string) []string { return []string{s, "short", s, s, "x"} }

// FuzzParse: what Parse takes is JSON, and what it has read it reads again from its own
// line.
func FuzzParse(f *testing.F) {
	for _, r := range fullRecords() {
		f.Add(line(r))
	}
	f.Add([]byte(`{"seq":1,"scopes":[{"asked":["pull"]},{}],"x":[{"y":1e5}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted what is no JSON: %q", data)
		}
		again, err := Parse(line(r))
		if err != nil {
			t.Fatalf("%v: own line %s", err, line(r))
		}
		third, err := Parse(line(again))
		if err != nil || !cmp.Equal(again, third, same) {
			t.Fatalf("reading again changes the record: %s", cmp.Diff(again, third, same))
		}
	})
}

// FuzzF2Forging: a text from outside never makes a second line or a different member.
func FuzzF2Forging(f *testing.F) {
	f.Add("mallory", "docker")
	f.Add("a\n{\"account\":\"admin\"}", "\x1b]0;x\x07")
	f.Add("\",\"account\":\"admin", "\\")
	f.Fuzz(func(t *testing.T, name, agent string) {
		text := line(&Record{Time: at, Kind: KindToken, Presented: name, UserAgent: agent, Result: "unauthorized"})
		if bytes.ContainsAny(text, "\n\r\x00\x1b\x7f") {
			t.Fatalf("control character in %q", text)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if _, forged := m["account"]; forged {
			t.Fatalf("forged: %s", text)
		}
		got, _ := m["presented"].(string)
		if want := strings.ToValidUTF8(name, "\ufffd"); utf8.ValidString(name) && len(appendText(nil, name, 1<<20)) <= limitName+2 && got != want {
			t.Fatalf("presented %q, want %q", got, want)
		}
	})
}
