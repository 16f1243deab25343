package extprog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/regctl-setup/regctl-setup/internal/authn"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// The exit statuses of a login program.
const (
	loginAllowed = 0
	loginDenied  = 1
	loginNoMatch = 2
)

// Login is an authenticator that asks a program, as docker_auth's ext_auth. Its answers
// are not remembered: the program alone knows when they change.
type Login struct {
	pool   *Pool
	prog   Program
	limits Limits
	// Expires, where it is set, tells until when an account is let in; the zero time:
	// without end.
	Expires func(account string) time.Time
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// NewLogin returns an authenticator that runs prog in the pool.
func NewLogin(pool *Pool, prog Program, limits Limits) *Login {
	return &Login{pool: pool, prog: prog, limits: limits.withDefaults()}
}

// Authenticate asks the program. Where no turn comes the error is an [*authn.BusyError].
//
// A name with white space or control characters is unknown without asking: the name ends
// at the first space of the question, so that "bob x" with the password "y" would log in
// with bob's password "x y", under a name that no rule about bob matches.
func (l *Login) Authenticate(ctx context.Context, account string, password secret.Text) (authn.Identity, error) {
	if !plainName(account) {
		return authn.Identity{}, authn.ErrNoSuchUser
	}
	r, err := l.pool.Run(ctx, l.prog, []byte(account+" "+password.Reveal()), l.limits)
	if err != nil {
		return authn.Identity{}, l.pool.failed(ctx, l.prog, l.limits, err, complaint(r.Stderr, password))
	}
	switch r.Status {
	case loginAllowed:
		labels, err := parseLabels(r.Stdout)
		if err != nil {
			return authn.Identity{}, fmt.Errorf("%s: the program's output: %w", l.prog.Name, err)
		}
		if l.expired(account) {
			return authn.Identity{}, authn.ErrExpired
		}
		return authn.Identity{Account: account, Labels: labels}, nil
	case loginDenied:
		return authn.Identity{}, authn.ErrWrongPassword
	case loginNoMatch:
		return authn.Identity{}, authn.ErrNoSuchUser
	}
	return authn.Identity{}, badStatus(l.prog, r.Status, "0, 1 or 2", complaint(r.Stderr, password))
}

func (l *Login) expired(account string) bool {
	if l.Expires == nil {
		return false
	}
	now := time.Now
	if l.Now != nil {
		now = l.Now
	}
	until := l.Expires(account)
	return !until.IsZero() && !now().Before(until)
}

// plainName reports whether a program's question can hold the name.
func plainName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

// failed says what went wrong with a run, without the program's answer.
func (p *Pool) failed(ctx context.Context, prog Program, limits Limits, err error, complaint string) error {
	switch {
	case Busy(err):
		return &authn.BusyError{RetryAfter: max(limits.withDefaults().Wait.Round(time.Second), time.Second), For: "the program of " + prog.Name}
	case errors.Is(err, ErrClosed):
		return &authn.BusyError{RetryAfter: time.Second, For: "the program of " + prog.Name + ": " + ErrClosed.Error()}
	case ctx.Err() != nil:
		return err
	}
	return fmt.Errorf("%s: the program %w%s", prog.Name, err, complaint)
}

func badStatus(prog Program, status int, want, complaint string) error {
	return fmt.Errorf("%s: the program ended with status %d, expected %s%s", prog.Name, status, want, complaint)
}

// maxComplaint is how much of a program's stderr an error holds, in bytes.
const maxComplaint = 400

// complaint is what a program printed on stderr, for an error, without the password that
// it was given: one line, quoted.
func complaint(stderr []byte, hidden secret.Text) string {
	text := string(stderr)
	if len(stderr) == maxStderr {
		// The end may be the beginning of something hidden.
		text = text[:max(0, len(text)-hidden.Len())]
	}
	if p := hidden.Reveal(); p != "" {
		quoted := strconv.Quote(p)
		text = strings.NewReplacer(p, "***", quoted[1:len(quoted)-1], "***").Replace(text)
	}
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if text == "" {
		return ""
	}
	if len(text) > maxComplaint {
		text = strings.ToValidUTF8(text[:maxComplaint], "") + "…"
	}
	return fmt.Sprintf(": %q", text)
}

// parseLabels reads a login program's output: nothing, or one JSON object whose "labels"
// are lists of texts by key. As in docker_auth other keys are not looked at, and white space
// alone is an error: a program whose list of labels came out empty would let people in
// past the rules that name their labels.
func parseLabels(out []byte) (map[string][]string, error) {
	if len(out) == 0 {
		return nil, nil
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, errors.New("white space only: it must print nothing at all, or {\"labels\": {KEY: [VALUE, ...]}}")
	}
	if !utf8.Valid(out) {
		return nil, errors.New("not UTF-8")
	}
	if err := checkKeys(out); err != nil {
		return nil, err
	}
	var answer struct {
		Labels map[string][]string `json:"labels"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("expected {\"labels\": {KEY: [VALUE, ...]}}: %w", describeJSON(err))
	}
	return answer.Labels, nil
}

// describeJSON takes the offending text out of an error: what a program prints may be
// meant for nobody else.
func describeJSON(err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ):
		return fmt.Errorf("found a %s at byte %d", typ.Value, typ.Offset)
	case errors.As(err, &syntax):
		return fmt.Errorf("no JSON at byte %d", syntax.Offset)
	}
	return errors.New("no JSON")
}

// checkKeys refuses output with anything but one object in it, and objects with a key
// twice: of two lists of labels the last would win in silence.
func checkKeys(out []byte) error {
	type level struct {
		object, key bool // in an object; the next text is a key
		seen        map[string]bool
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	var stack []level
	for n := 0; ; n++ {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) && len(stack) == 0 {
			return nil
		}
		if err != nil {
			return describeJSON(err)
		}
		if len(stack) == 0 && tok != json.Delim('{') || len(stack) == 0 && n > 0 {
			return errors.New("expected one JSON object")
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if top != nil && top.object && top.key && tok != json.Delim('}') {
			name, _ := tok.(string)
			name = strings.ToLower(name) // encoding/json does not look at the case of fields
			if len(stack) > 1 {
				name, _ = tok.(string)
			}
			if top.seen[name] {
				return fmt.Errorf("a key stands twice, the second at byte %d", dec.InputOffset())
			}
			top.seen[name], top.key = true, false
			continue
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			if top != nil {
				top.key = true
			}
			stack = append(stack, level{object: tok == json.Delim('{'), key: true, seen: map[string]bool{}})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		default:
			top.key = true
		}
	}
}
