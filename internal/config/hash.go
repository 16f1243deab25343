package config

import (
	"errors"
	"fmt"
	"strings"
)

// MaxHashCost is the highest bcrypt cost that is served: one login at 16 takes seconds of a
// processor, which a stranger could ask for at will.
const MaxHashCost = 15

// lowHashCost is the cost below which a hash is called weak.
const lowHashCost = 10

// bcrypt's text form: $2y$CC$ and 53 characters of salt and digest in its own base 64.
const (
	hashLength   = 60
	hashAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// HashCost returns the cost of a bcrypt hash ($2a$, $2b$ or $2y$, 60 characters, as crypt(5) has
// them). The error says what is wrong without repeating the text, which may be a password.
func HashCost(hash string) (int, error) {
	const want = "expected a bcrypt hash as `htpasswd -nB NAME` prints it"
	switch {
	case hash == "":
		return 0, errors.New("the hash is empty, " + want)
	case strings.HasPrefix(hash, "!"):
		return 0, errors.New("the hash is disabled by the ! before it")
	case strings.HasPrefix(hash, "$$2"):
		return 0, errors.New("the hash has its $ doubled, as compose files want it; here they stand alone")
	case !strings.HasPrefix(hash, "$2a$") && !strings.HasPrefix(hash, "$2b$") && !strings.HasPrefix(hash, "$2y$"):
		for prefix, kind := range map[string]string{"$apr1$": "an MD5 hash (apr1)", "{SHA}": "a SHA-1 hash", "$1$": "an MD5 hash", "$5$": "a SHA-256 crypt hash", "$6$": "a SHA-512 crypt hash", "$argon2": "an Argon2 hash"} {
			if strings.HasPrefix(hash, prefix) {
				return 0, fmt.Errorf("found %s, %s", kind, want)
			}
		}
		return 0, errors.New("found no $2a$, $2b$ or $2y$ at the beginning, " + want)
	case len(hash) != hashLength:
		return 0, fmt.Errorf("the hash is %d characters long, a bcrypt hash has %d", len(hash), hashLength)
	}
	tens, ones := hash[4]-'0', hash[5]-'0'
	if tens > 9 || ones > 9 || hash[6] != '$' {
		return 0, errors.New("the hash has no two-digit cost after its first four characters")
	}
	for i := 7; i < len(hash); i++ {
		if strings.IndexByte(hashAlphabet, hash[i]) < 0 {
			return 0, fmt.Errorf("the hash has a character at place %d that bcrypt does not use", i+1)
		}
	}
	cost := int(tens)*10 + int(ones)
	if cost < 4 || cost > 31 {
		return 0, fmt.Errorf("the hash has cost %d, bcrypt knows 4 to 31", cost)
	}
	return cost, nil
}
