// Package scope reads and prints the scopes of a token request: what a client asks for.
//
// The grammar, which is the CNCF distribution project's with the limits that a
// server on the open internet needs:
//
//	scope   = type [ "(" class ")" ] ":" name ":" actions
//	type    = 1*( "a"…"z" | "0"…"9" )
//	class   = 1*( "a"…"z" | "0"…"9" )
//	name    = any text without ":" and " "; one ":" may stand in it (host:5000/a/b)
//	actions = action *( "," action )
//
// A request's scope value may hold several scopes with exactly one space between
// them; the empty value holds none. Actions are a set: sorted, each once, the empty
// one left out. docker_auth searches the type for the first run of letters that it
// likes ("!!!repository!!!" asks for "repository"); here anything but the grammar is
// an error.
//
//	s, err := scope.Parse("repository(plugin):localhost:5000/a/b:push,pull")
//	// s.Type "repository", s.Class "plugin", s.Name "localhost:5000/a/b", s.Actions [pull push]
//	s.String() // repository(plugin):localhost:5000/a/b:pull,push
package scope

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Scope is one resource and what is to be done with it.
type Scope struct {
	// Type is the resource's type, "repository" or "registry" mostly.
	Type string
	// Class is the type's class ("plugin" in "repository(plugin)"), "" where there is
	// none. It is no part of the resource that a token names.
	Class string
	// Name is the resource's name.
	Name string
	// Actions are sorted, distinct and non-empty. None at all is what "repository:a/b:"
	// asks for.
	Actions []string
}

// String prints the scope in the grammar of the package comment. [Parse] of it gives
// an equal scope back.
func (s Scope) String() string {
	n := len(s.Type) + len(s.Class) + len(s.Name) + 4
	for _, a := range s.Actions {
		n += len(a) + 1
	}
	var b strings.Builder
	b.Grow(n)
	b.WriteString(s.Type)
	if s.Class != "" {
		b.WriteByte('(')
		b.WriteString(s.Class)
		b.WriteByte(')')
	}
	b.WriteByte(':')
	b.WriteString(s.Name)
	b.WriteByte(':')
	for i, a := range s.Actions {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(a)
	}
	return b.String()
}

// The limits that a zero field of [Limits] stands for. The name's is the one that the
// registry has for repository names.
const (
	DefaultScopes  = 100
	DefaultActions = 16
	DefaultName    = 255
)

// Limits bound what one request may ask for. A zero field means the default.
type Limits struct {
	// Scopes is how many scopes a request may hold, over all its values.
	Scopes int
	// Actions is how many actions a scope may list, repeated and empty ones counted.
	Actions int
	// Name is the length in bytes of a type, a class, a name or an action.
	Name int
}

func (l Limits) withDefaults() Limits {
	if l.Scopes <= 0 {
		l.Scopes = DefaultScopes
	}
	if l.Actions <= 0 {
		l.Actions = DefaultActions
	}
	if l.Name <= 0 {
		l.Name = DefaultName
	}
	return l
}

// SyntaxError reports a scope that does not follow the grammar.
type SyntaxError struct {
	// Scope is the offending text, shortened when it is long.
	Scope string
	// Msg says what is wrong with it.
	Msg string
}

// Error names the scope and what is wrong with it.
func (e *SyntaxError) Error() string { return fmt.Sprintf("scope %q: %s", e.Scope, e.Msg) }

// LimitError reports a request that asks for more than [Limits] allow.
type LimitError struct {
	// What is the thing counted: "scopes", "actions in a scope", "bytes in a name", …
	What string
	// Max is the limit that was passed.
	Max int
}

// Error names the limit.
func (e *LimitError) Error() string { return fmt.Sprintf("more than %d %s", e.Max, e.What) }

// IsLimit reports whether err is about a [LimitError].
func IsLimit(err error) bool {
	var l *LimitError
	return errors.As(err, &l)
}

// Parse reads one scope within the default limits. The error is a [*SyntaxError] or a
// [*LimitError].
func Parse(s string) (Scope, error) { return parse(s, Limits{}.withDefaults()) }

// ParseList reads the scopes of all values, in their order. Each value may hold several
// scopes, separated by exactly one space; an empty value holds none. The first error
// ends it: a [*SyntaxError] or a [*LimitError].
func ParseList(values []string, limits Limits) ([]Scope, error) {
	limits = limits.withDefaults()
	var out []Scope
	for _, v := range values {
		if v == "" {
			continue
		}
		for more := true; more; {
			var one string
			one, v, more = strings.Cut(v, " ")
			if len(out) == limits.Scopes {
				return nil, &LimitError{What: "scopes", Max: limits.Scopes}
			}
			s, err := parse(one, limits)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
	}
	return out, nil
}

func parse(text string, limits Limits) (Scope, error) {
	fail := func(msg string) (Scope, error) {
		return Scope{}, &SyntaxError{Scope: shorten(text), Msg: msg}
	}
	if text == "" {
		return fail("empty: scopes are separated by exactly one space")
	}
	if strings.IndexByte(text, ' ') >= 0 {
		return fail("more than one scope")
	}
	if !utf8.ValidString(text) {
		// A token's JSON can't hold it: the name signed would not be the name decided on.
		return fail("not UTF-8")
	}
	head, rest, ok := strings.Cut(text, ":")
	last := strings.LastIndexByte(rest, ':')
	if !ok || last < 0 {
		return fail("want type:name:actions")
	}
	name, list := rest[:last], rest[last+1:]
	if strings.Count(name, ":") > 1 {
		return fail("too many colons: want type:name:actions, with at most one colon in the name")
	}
	if len(head) > 2*limits.Name+2 {
		return Scope{}, &LimitError{What: "bytes in a type", Max: limits.Name}
	}
	typ, class, hasClass := strings.Cut(head, "(")
	if hasClass {
		if class, ok = strings.CutSuffix(class, ")"); !ok || !isWord(class) {
			return fail("bad class: want type(class) of lower-case letters and digits")
		}
	}
	if !isWord(typ) {
		return fail("bad type: want lower-case letters and digits")
	}
	switch {
	case len(typ) > limits.Name:
		return Scope{}, &LimitError{What: "bytes in a type", Max: limits.Name}
	case len(class) > limits.Name:
		return Scope{}, &LimitError{What: "bytes in a class", Max: limits.Name}
	case len(name) > limits.Name:
		return Scope{}, &LimitError{What: "bytes in a name", Max: limits.Name}
	case strings.Count(list, ",") >= limits.Actions:
		return Scope{}, &LimitError{What: "actions in a scope", Max: limits.Actions}
	}
	s := Scope{Type: typ, Class: class, Name: name}
	for a := range strings.SplitSeq(list, ",") {
		if len(a) > limits.Name {
			return Scope{}, &LimitError{What: "bytes in an action", Max: limits.Name}
		}
		if a != "" {
			s.Actions = append(s.Actions, a)
		}
	}
	slices.Sort(s.Actions)
	s.Actions = slices.Compact(s.Actions)
	return s, nil
}

func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// shorten keeps errors small whatever was sent.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
