package config

import (
	"fmt"
	"unicode/utf8"
)

// MaxNameLength is the longest name that a new user may have, in bytes.
const MaxNameLength = 128

// NameProblem returns why a user name is not one that we would write
// (^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$), or "" when it is. Such names may still work in a file.
func NameProblem(name string) string {
	if !utf8.ValidString(name) {
		return "it is not UTF-8"
	}
	for i, r := range name {
		switch {
		case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
		case r == '.' || r == '_' || r == '@' || r == '+' || r == '-':
			if i == 0 {
				return fmt.Sprintf("it begins with %q, expected a letter or digit first", r)
			}
		case r < 0x20 || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029':
			return fmt.Sprintf("it has the control character %U", r)
		case r == ':':
			return "it has a colon, where HTTP Basic ends the name: nobody could log in with it"
		case r == '$':
			return "it has a $, which shells and compose files replace"
		case r == ' ':
			return "it has a space"
		case r >= utf8.RuneSelf:
			return fmt.Sprintf("it has %q; clients disagree on the encoding of letters outside ASCII", r)
		default:
			return fmt.Sprintf("it has %q, expected letters, digits and . _ @ + -", r)
		}
	}
	if len(name) > MaxNameLength {
		return fmt.Sprintf("it is %d bytes long, at most %d are allowed", len(name), MaxNameLength)
	}
	return ""
}
