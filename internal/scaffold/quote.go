package scaffold

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// funcs are the functions that templates see. Each quotes one value for one format and
// fails where the format can't hold it: a template never writes a value bare.
func funcs() template.FuncMap {
	return template.FuncMap{
		"yaml":      quoter(yamlQuote),
		"compose":   quoter(composeQuote),
		"env":       quoter(envQuote),
		"caddy":     quoter(caddyQuote),
		"caddyname": quoter(caddyName),
	}
}

// quoter lets a quoting function take texts, secrets and numbers.
func quoter(quote func(string) (string, error)) func(any) (string, error) {
	return func(v any) (string, error) {
		switch v := v.(type) {
		case string:
			return quote(v)
		case secret.Text:
			s, err := quote(v.Reveal())
			if err != nil {
				return "", errors.New("a secret holds characters that this file can't hold")
			}
			return s, nil
		case int:
			return quote(strconv.Itoa(v))
		}
		return "", fmt.Errorf("no quoting for a value of type %T", v)
	}
}

// oneLine refuses what no quoting of one line can hold.
func oneLine(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not valid UTF-8", s)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return fmt.Errorf("%q holds the character %U", s, r)
		}
	}
	return nil
}

// yamlQuote returns s in single quotes, in which YAML knows no escape but the doubled
// quote.
func yamlQuote(s string) (string, error) {
	if err := oneLine(s); err != nil {
		return "", err
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'", nil
}

// composeQuote is yamlQuote for the compose file, where $ begins a variable.
func composeQuote(s string) (string, error) {
	return yamlQuote(strings.ReplaceAll(s, "$", "$$"))
}

// envQuote returns s in single quotes for .env, where compose neither expands $ nor
// ends the value at #. A backslash escapes the quote only, and two in a row stay two,
// so one that stands before a quote or at the end can't be written.
func envQuote(s string) (string, error) {
	if err := oneLine(s); err != nil {
		return "", err
	}
	if strings.HasSuffix(s, `\`) || strings.Contains(s, `\'`) {
		return "", fmt.Errorf("%q has a backslash before a quote or at the end", s)
	}
	return "'" + strings.ReplaceAll(s, "'", `\'`) + "'", nil
}

// caddyQuote returns s as one token of a Caddyfile, in double quotes. Braces are
// refused: {$NAME} is replaced before quotes are looked at, and {name} at run time.
func caddyQuote(s string) (string, error) {
	if err := oneLine(s); err != nil {
		return "", err
	}
	if strings.ContainsAny(s, "{}\\\"") {
		return "", fmt.Errorf("%q holds a brace, a backslash or a quote", s)
	}
	return `"` + s + `"`, nil
}

// caddyName returns a host name for the inside of {$VARIABLE:default}, where no quotes
// are known.
func caddyName(s string) (string, error) {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' {
			return "", fmt.Errorf("%q is not a host name", s)
		}
	}
	if s == "" {
		return "", errors.New("no host name")
	}
	return s, nil
}
