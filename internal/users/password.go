package users

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Costs of the bcrypt hashes that Hash makes. One step doubles the time of a login.
const (
	MinCost     = 5
	MaxCost     = 14
	DefaultCost = 10
)

// MaxPasswordLength is the longest password in bytes: bcrypt reads no further than that.
const MaxPasswordLength = 72

// DefaultMinLength is the shortest password that a person may choose, in characters.
const DefaultMinLength = 12

// PasswordPolicy says how strict CheckPassword is. The zero value is the strict default.
type PasswordPolicy struct {
	// Name is the user's name; a password equal to it is weak. Empty: not compared.
	Name string
	// MinLength is the shortest accepted length in characters; 0 means DefaultMinLength.
	MinLength int
	// AllowWeak accepts short and guessable passwords. What cannot work is refused all the same.
	AllowWeak bool
}

// ErrWeakPassword is inside the error of CheckPassword when AllowWeak would have accepted the
// password.
var ErrWeakPassword = errors.New("weak password")

// CheckPassword returns nil when password may be given to a user, else an error with the reason.
// The error never holds the password.
func CheckPassword(password secret.Text, policy PasswordPolicy) error {
	text := password.Reveal()
	switch {
	case text == "":
		return errors.New("the password is empty")
	case len(text) > MaxPasswordLength:
		return fmt.Errorf("the password is %d bytes long; bcrypt ignores all after %d bytes, so a longer one is refused", len(text), MaxPasswordLength)
	case strings.IndexByte(text, 0) >= 0:
		return errors.New("the password has a NUL byte, where bcrypt implementations stop reading")
	case !utf8.ValidString(text):
		return errors.New("the password is not UTF-8; clients would send other bytes than these")
	}
	for _, r := range text {
		if isControl(r) {
			return fmt.Errorf("the password has the control character %U, which many clients cannot send", r)
		}
	}
	if policy.AllowWeak {
		return nil
	}
	least := policy.MinLength
	if least == 0 {
		least = DefaultMinLength
	}
	if n := utf8.RuneCountInString(text); n < least {
		return fmt.Errorf("%w: it has %d characters, at least %d are wanted", ErrWeakPassword, n, least)
	}
	for _, word := range GuessWords(policy.Name) {
		if strings.EqualFold(text, word) {
			return fmt.Errorf("%w: it is one of the first that anybody tries", ErrWeakPassword)
		}
	}
	if first, n := utf8.DecodeRuneInString(text); strings.Trim(text[n:], string(first)) == "" {
		return fmt.Errorf("%w: it is one character, repeated", ErrWeakPassword)
	}
	return nil
}

// Hash returns the bcrypt hash of password. A cost of 0 means DefaultCost; others outside MinCost
// to MaxCost are an error. The hash begins with $2y$, as htpasswd writes it: docker_auth, the
// registry and Apache all read it.
func Hash(password secret.Text, cost int) (secret.Text, error) {
	if cost == 0 {
		cost = DefaultCost
	}
	if cost < MinCost || cost > MaxCost {
		return secret.Text{}, fmt.Errorf("bcrypt cost %d is out of range, expected %d to %d", cost, MinCost, MaxCost)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), cost)
	if err != nil {
		return secret.Text{}, fmt.Errorf("hashing the password: %w", err)
	}
	// $2a$ and $2y$ name the same algorithm; $2a$ makes some implementations apply a
	// countermeasure against an old fault that neither of ours ever had.
	return secret.New("$2y$" + strings.TrimPrefix(string(hash), "$2a$")), nil
}

// Verify reports whether password is the one that hash was made of. A hash that is disabled (with
// "!" before it), empty or malformed matches nothing.
func Verify(hash, password secret.Text) bool {
	if _, err := config.HashCost(hash.Reveal()); err != nil {
		return false
	}
	return bcrypt.CompareHashAndPassword([]byte(hash.Reveal()), []byte(password.Reveal())) == nil
}

// Cost returns the bcrypt cost of hash, also of a disabled one. The error says what is wrong with a
// text that is no bcrypt hash, without repeating it.
func Cost(hash secret.Text) (int, error) {
	return config.HashCost(strings.TrimPrefix(hash.Reveal(), "!"))
}

// alphabet of generated passwords: letters and digits, without the pairs that look alike (0 O, 1 l
// I). Nothing in it needs quoting in a URL, a shell, YAML or a .env file.
const alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// generatedLength characters of alphabet hold at least 128 bits: 22 * log2(57) = 128.3.
const generatedLength = 22

// Generate returns a random password of 128 bits, read from random (crypto/rand.Reader outside
// tests). Every text of its length is equally likely.
func Generate(random io.Reader) (secret.Text, error) {
	// Bytes from the largest multiple of the alphabet's size upwards are thrown away, since a
	// plain remainder would favour the first letters.
	const limit = 256 - 256%len(alphabet)
	var out [generatedLength]byte
	var buf [2 * generatedLength]byte
	for n := 0; n < len(out); {
		if _, err := io.ReadFull(random, buf[:]); err != nil {
			return secret.Text{}, fmt.Errorf("generating a password: %w", err)
		}
		for _, b := range buf {
			if int(b) < limit && n < len(out) {
				out[n] = alphabet[int(b)%len(alphabet)]
				n++
			}
		}
	}
	return secret.New(string(out[:])), nil
}

// GuessWords returns the passwords that an attacker tries first on the user name: the empty one,
// the name, and the defaults of well-known registries and examples. There are at most 20.
func GuessWords(name string) []string {
	words := []string{
		"", "admin", "password", "Harbor12345", "testing", "test", "123", "1234", "12345",
		"123456", "12345678", "changeme", "secret", "docker", "registry", "badmin", "Passw0rd", "admin123", "qwerty",
	}
	for _, w := range words {
		if w == name {
			return words
		}
	}
	return append(words, name)
}

// Guess returns the word of GuessWords(name) that hash was made of; found is false when there is
// none. It costs up to 20 bcrypt evaluations, so the caller bounds how often it asks. A disabled
// hash is looked at without its "!".
func Guess(hash secret.Text, name string) (word string, found bool) {
	bare := secret.New(strings.TrimPrefix(hash.Reveal(), "!"))
	if cost, err := Cost(bare); err != nil || cost > config.MaxHashCost {
		return "", false
	}
	for _, word := range GuessWords(name) {
		if Verify(bare, secret.New(word)) {
			return word, true
		}
	}
	return "", false
}
