// Package secret holds text that must never be seen: passwords, bcrypt hashes,
// tokens and private keys.
//
// A [Text] prints as "***" whatever formats it: fmt verbs, slog, JSON, YAML and
// encoding.TextMarshaler users alike. The one way to the text is [Text.Reveal],
// which makes every place that needs the clear text easy to find.
//
//	pw := secret.New("hunter2")
//	fmt.Println(pw)                 // ***
//	bcrypt.CompareHashAndPassword(hash, []byte(pw.Reveal()))
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "***"

// Text is a secret string. The zero value is the empty secret.
type Text struct{ s string }

// New wraps s.
func New(s string) Text { return Text{s} }

// Reveal returns the clear text. Call it only where the secret is used, never to print it,
// unless the command has just made the secret for its user.
func (t Text) Reveal() string { return t.s }

// Len returns the length of the clear text in bytes.
func (t Text) Len() int { return len(t.s) }

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.s == "" }

// String returns "***".
func (Text) String() string { return redacted }

// GoString returns "***", so that %#v shows nothing.
func (Text) GoString() string { return redacted }

// Format writes "***" for every verb.
func (Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "***" to slog handlers.
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns the JSON string "***".
func (Text) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "***".
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML returns "***" to YAML encoders.
func (Text) MarshalYAML() (any, error) { return redacted, nil }
