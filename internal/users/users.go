// Package users knows what a user of the registry is allowed to look like: names, label keys and
// values, passwords and their bcrypt hashes, expiry dates, and the htpasswd format.
//
// It holds the rules for what is newly written. What stands in a file already is loaded by package
// config under wider rules: an odd name that works today goes on working.
//
//	names     [A-Za-z0-9][A-Za-z0-9._@+-]{0,127}, but not "anonymous"
//	values    team and role: [a-z0-9]+([_-][a-z0-9]+)*; others: no pattern metacharacter
//	passwords 1 to 72 bytes, no control characters; 12 characters at least when a person chose it
//	hashes    bcrypt, cost 5 to 14, 10 by default
//
// Example:
//
//	if err := users.ValidateName(name); err != nil {
//		return err
//	}
//	password, err := users.Generate(rand.Reader)
//	...
//	hash, err := users.Hash(password, 0)
package users

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/regctl-setup/regctl-setup/internal/config"
)

// Anonymous is the word that commands take for the anonymous account, whose real name is "".
const Anonymous = "anonymous"

// MaxNameLength is the longest name that ValidateName accepts, in bytes.
const MaxNameLength = config.MaxNameLength

// ValidateName returns nil when name may be given to a new user, else an error that tells the
// reason. Names that exist already are not held to it.
func ValidateName(name string) error {
	if name == "" {
		return errors.New(`the empty name is the anonymous account, not a user`)
	}
	if strings.EqualFold(name, Anonymous) {
		return fmt.Errorf("the name %q stands for the account without a login; choose another", name)
	}
	if reason := config.NameProblem(name); reason != "" {
		return fmt.Errorf("bad user name %q: %s", name, reason)
	}
	return nil
}

// maxLabelLength bounds label keys and values, in bytes.
const maxLabelLength = 128

// ValidateLabelKey returns nil when key may be given to a label of a user. A key must be writable
// in a placeholder (${labels:KEY}) and on the command line (KEY=VALUE, KEY+=VALUE, KEY-).
func ValidateLabelKey(key string) error {
	switch {
	case key == "":
		return errors.New("a label key is empty")
	case len(key) > maxLabelLength:
		return fmt.Errorf("label key %q is %d bytes long, at most %d are allowed", clip(key), len(key), maxLabelLength)
	case !utf8.ValidString(key):
		return fmt.Errorf("label key %q is not UTF-8", key)
	}
	for _, r := range key {
		switch {
		case isControl(r):
			return fmt.Errorf("label key %q has the control character %U", key, r)
		case r == '}' || r == '{' || r == ':' || r == '$':
			return fmt.Errorf("label key %q has a %q, which a placeholder ${labels:KEY} cannot hold", key, r)
		case r == '=':
			return fmt.Errorf("label key %q has a %q, which ends the key on the command line", key, r)
		case r == ' ' || r == '\u00a0':
			return fmt.Errorf("label key %q has a space", key)
		}
	}
	if last := key[len(key)-1]; last == '+' || last == '-' {
		return fmt.Errorf("label key %q ends with %q, which the command line takes for KEY+=VALUE or KEY-", key, last)
	}
	return nil
}

// metacharacters are the bytes with a meaning in a regexp or in a glob. docker_auth pastes label
// values into patterns as they stand, so each of them makes a value wider than it looks.
const metacharacters = `\.+*?()|[]{}^$`

// ValidateLabelValue returns nil when value may be given to the label key of a user. The values of
// "team" and "role" build repository names and are held to the grammar of a name's component;
// others must be free of pattern metacharacters. With pattern set, a value may hold
// metacharacters, whatever its key: the caller was asked for it in so many words.
func ValidateLabelValue(key, value string, pattern bool) error {
	switch {
	case value == "":
		return fmt.Errorf("label %q has an empty value, which matches more than it seems to (dev-${labels:%s}/* becomes dev-/*)", key, key)
	case len(value) > maxLabelLength:
		return fmt.Errorf("value %q of label %q is %d bytes long, at most %d are allowed", clip(value), key, len(value), maxLabelLength)
	case !utf8.ValidString(value):
		return fmt.Errorf("value %q of label %q is not UTF-8", value, key)
	}
	for _, r := range value {
		if isControl(r) {
			return fmt.Errorf("value %q of label %q has the control character %U", value, key, r)
		}
	}
	if strings.TrimSpace(value) != value {
		return fmt.Errorf("value %q of label %q begins or ends with a space", value, key)
	}
	if pattern {
		return nil
	}
	if key == "team" || key == "role" {
		if !isComponent(value) {
			return fmt.Errorf("value %q of label %q must be lower-case letters and digits, with single - or _ between them", value, key)
		}
		return nil
	}
	if i := strings.IndexAny(value, metacharacters); i >= 0 {
		return fmt.Errorf("value %q of label %q has a %q, which is a metacharacter in patterns", value, key, value[i])
	}
	return nil
}

// isComponent reports whether s matches ^[a-z0-9]+([_-][a-z0-9]+)*$.
func isComponent(s string) bool {
	separator := true // none may begin the value, end it or follow another
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			separator = false
		case (c == '-' || c == '_') && !separator:
			separator = true
		default:
			return false
		}
	}
	return !separator
}

func isControl(r rune) bool {
	return r < 0x20 || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

// clip shortens s for a message.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	for i := most; i > 0; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "…"
		}
	}
	return "…"
}
