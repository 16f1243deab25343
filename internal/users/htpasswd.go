package users

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// HtpasswdEntry is one usable line of an htpasswd file.
type HtpasswdEntry struct {
	Line int // from 1
	Name string
	Hash secret.Text
}

// HtpasswdProblem is a line that cannot be taken over.
type HtpasswdProblem struct {
	Line int    // from 1
	Name string // the name on the line, empty when it has none
	Msg  string // the reason; never holds the hash or a password
}

// Error returns "line N: name: reason".
func (p HtpasswdProblem) Error() string {
	if p.Name == "" {
		return fmt.Sprintf("line %d: %s", p.Line, p.Msg)
	}
	return fmt.Sprintf("line %d: %q: %s", p.Line, p.Name, p.Msg)
}

// ParseHtpasswd reads an htpasswd file ("name:hash" on each line; blank lines and lines that begin
// with # are skipped). Lines with a bcrypt hash and a name that ValidateName accepts become entries;
// each of the others is a problem that says what the line is. The formats are those of Apache's
// htpasswd(1).
func ParseHtpasswd(data []byte) ([]HtpasswdEntry, []HtpasswdProblem) {
	var entries []HtpasswdEntry
	var problems []HtpasswdProblem
	first := map[string]int{}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	number := 0
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		number++
		text := strings.TrimRight(string(line), " \t\r")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fail := func(name, format string, args ...any) {
			problems = append(problems, HtpasswdProblem{Line: number, Name: name, Msg: fmt.Sprintf(format, args...)})
		}
		if !utf8.ValidString(text) {
			fail("", "not UTF-8")
			continue
		}
		name, hash, ok := strings.Cut(text, ":")
		if !ok {
			// The line may be a password somebody pasted: it is not repeated.
			fail("", "no colon, expected NAME:HASH")
			continue
		}
		if i := strings.IndexByte(hash, ':'); i >= 0 && !strings.HasPrefix(hash, "$") {
			fail(clip(name), "has three fields, as htdigest writes them; only bcrypt lines can be used")
			continue
		}
		if err := ValidateName(name); err != nil {
			fail("", "%v", err)
			continue
		}
		if at, dup := first[name]; dup {
			fail(name, "the name is on line %d already", at)
			continue
		}
		first[name] = number
		if kind := hashKind(hash); kind != "" {
			fail(name, "%s; only bcrypt can be used (htpasswd -B)", kind)
			continue
		}
		cost, err := config.HashCost(strings.TrimPrefix(hash, "!"))
		if err != nil {
			fail(name, "%v", err)
			continue
		}
		if cost > config.MaxHashCost {
			fail(name, "bcrypt cost %d, at most %d is accepted", cost, config.MaxHashCost)
			continue
		}
		entries = append(entries, HtpasswdEntry{Line: number, Name: name, Hash: secret.New(hash)})
	}
	return entries, problems
}

// hashKind names the format of a hash that is not bcrypt, or returns "".
func hashKind(hash string) string {
	bare := strings.TrimPrefix(hash, "!")
	prefixes := []struct{ prefix, kind string }{
		{"$apr1$", "an MD5 hash (apr1), the default of htpasswd"},
		{"{SHA}", "an unsalted SHA-1 hash (htpasswd -s)"},
		{"{SSHA}", "a salted SHA-1 hash"},
		{"$1$", "an MD5 crypt hash"},
		{"$5$", "a SHA-256 crypt hash (htpasswd -2)"},
		{"$6$", "a SHA-512 crypt hash (htpasswd -5)"},
		{"$y$", "a yescrypt hash"},
		{"$argon2", "an Argon2 hash"},
		{"$2a$", ""}, {"$2b$", ""}, {"$2y$", ""}, {"$2x$", ""}, {"$2$", ""},
	}
	for _, p := range prefixes {
		if strings.HasPrefix(bare, p.prefix) {
			return p.kind
		}
	}
	if bare == "" {
		return "no hash"
	}
	if len(bare) == 13 && strings.Trim(bare, "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == "" {
		return "a DES crypt hash (htpasswd -d), or a plain password"
	}
	return "a plain password, or an unknown hash"
}

// FormatHtpasswd renders users as an htpasswd file, in order, and returns the names that it left
// out: the anonymous account, disabled users, and names or hashes the format cannot hold.
func FormatHtpasswd(list []config.User) (data []byte, skipped []string) {
	var out bytes.Buffer
	for i := range list {
		u := &list[i]
		if _, err := config.HashCost(u.Hash.Reveal()); err != nil || u.Name == "" || strings.ContainsFunc(u.Name, func(r rune) bool {
			return r == ':' || isControl(r)
		}) || strings.HasPrefix(u.Name, "#") || strings.TrimSpace(u.Name) != u.Name {
			skipped = append(skipped, u.Name)
			continue
		}
		out.WriteString(u.Name + ":" + u.Hash.Reveal() + "\n")
	}
	return out.Bytes(), skipped
}
