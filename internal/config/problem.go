package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// Codes of problems and warnings. They are stable; where a lint rule finds the same thing, it has
// the same name.
const (
	CodeFileTooBig       = "file-too-big"
	CodeSyntax           = "syntax"
	CodeEmptyFile        = "empty-file"
	CodeAliasBomb        = "alias-bomb"
	CodeWrongType        = "wrong-type"
	CodeUnexpectedTag    = "unexpected-tag"
	CodeUnknownKey       = "unknown-key"
	CodeDuplicateKey     = "duplicate-key"
	CodeAmbiguousMerge   = "ambiguous-merge"
	CodeMissingKey       = "missing-key"
	CodeBadValue         = "bad-value"
	CodeMissingUsers     = "missing-users"
	CodeMissingACL       = "missing-acl"
	CodeMissingMatch     = "missing-match"
	CodeMissingActions   = "missing-actions"
	CodeNullField        = "null-field"
	CodeBadRegexp        = "bad-regexp"
	CodeBadGlob          = "bad-glob"
	CodeBadCIDR          = "bad-cidr"
	CodeBadPattern       = "bad-pattern"
	CodeDuplicateUser    = "duplicate-user"
	CodeNullUser         = "null-user"
	CodeNoPassword       = "user-without-password"
	CodeBadHash          = "bad-hash"
	CodeHashCost         = "hash-cost-too-high"
	CodeLetsEncrypt      = "letsencrypt-in-token-server"
	CodeTLSWithoutCert   = "tls-without-certificate"
	CodeNotServed        = "section-not-served"
	CodePlugin           = "plugin-not-supported"
	CodeProgram          = "program-not-runnable"
	CodeWeakHash         = "weak-hash"
	CodeWeakTLS          = "weak-tls"
	CodeLifetimeShort    = "lifetime-too-short"
	CodeLifetimeLong     = "lifetime-too-long"
	CodeForgeableAddress = "forgeable-client-address"
	CodeUnusualName      = "unusual-name"
	CodeUnknownUserFacts = "facts-without-user"
	CodeSetting          = "setting-without-effect"
	CodeTab              = "tab-before-comment"
)

// Problem is one thing that is wrong with a file, or one warning about it.
type Problem struct {
	File   string
	Line   int // from 1
	Column int // from 1, in characters
	// Code is one of the Code constants.
	Code string
	// Msg says what was found and what was expected, without the position. It never holds a
	// password or a hash.
	Msg string
	// Hint says what to write instead; may be empty.
	Hint string

	key string // what identifies the problem when lines have moved; Msg when empty
}

// Pos returns the problem's position.
func (p Problem) Pos() acl.Pos { return acl.Pos{File: p.File, Line: p.Line, Column: p.Column} }

// Error returns "file:line:col: message".
func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Msg)
}

// identity is equal for the same problem before and after an edit that moved it.
func (p Problem) identity() string {
	if p.key != "" {
		return p.Code + "\x00" + p.key
	}
	return p.Code + "\x00" + p.Msg
}

// Problems is all that is wrong with a file, sorted by position. It is an error when not empty.
type Problems []Problem

// Error returns the problems one a line.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
	}
	return b.String()
}

// Hints returns the hints of all problems, each once, in order.
func (ps Problems) Hints() []string {
	var hints []string
	for _, p := range ps {
		if p.Hint != "" && !slices.Contains(hints, p.Hint) {
			hints = append(hints, p.Hint)
		}
	}
	return hints
}

// sorted orders ps by position and drops exact repeats, which come from a fault behind an anchor
// that is used more than once.
func sorted(ps []Problem) []Problem {
	if len(ps) == 0 {
		return nil
	}
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(ps)
}

// fewer reports whether after is a proper part of before: some problems are gone, none is new.
func fewer(before, after Problems) bool {
	if len(after) >= len(before) {
		return false
	}
	left := map[string]int{}
	for _, p := range before {
		left[p.identity()]++
	}
	for _, p := range after {
		if left[p.identity()]--; left[p.identity()] < 0 {
			return false
		}
	}
	return true
}
