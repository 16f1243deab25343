// Package lint finds what is wrong, or surely not meant, in an auth config: rules that open
// something, entries that can never decide, patterns that are wider or narrower than they look,
// accounts and labels that nobody has.
//
// A rule is a value of type [Rule], one file each, listed by [Rules]. [Run] applies all of them to
// an [Input] and returns findings as data, sorted by position; how they are shown is the caller's
// business, apart from the formats that have a specification of their own ([WriteSARIF],
// [WriteGitHub]). What the parser of the config reports is part of the findings under the same
// names, so that one list says everything.
//
// Rules that speak about all names or all accounts ask package analysis, and so are exact; a witness
// is a request that the engine confirmed. Where the answer depends on who has an account today, an
// account that the entry was written for is made up first: an entry for developers is not dead
// because there is no developer yet.
//
// A finding is switched off for a file with
//
//	x-regctl-setup: {lint: {ignore: [{rule: unanchored-regexp, reason: "see ticket 12"}]}}
//
// or for one place with a comment on its line, or on the comment lines right above it:
//
//	# lint:ignore glob-stops-at-slash our names have two components
//	- match: {account: ci, name: "ci/*"}
//	  actions: [pull, push]
//
// Findings for which the file can't be served at all can't be switched off.
//
// Example:
//
//	f, _ := config.Parse("auth-server.yml", data)
//	for _, finding := range lint.Run(lint.Input{File: f}) {
//		fmt.Println(finding)
//	}
package lint

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Severity says how bad a finding is.
type Severity uint8

// The severities, in their order.
const (
	Info    Severity = iota // worth knowing; hidden unless asked for
	Warning                 // surely not meant, or bound to hurt
	Error                   // the config can't be served, or it opens something
)

// String returns "info", "warning" or "error".
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	}
	return "info"
}

// ParseSeverity reads what String writes.
func ParseSeverity(text string) (Severity, error) {
	for _, s := range []Severity{Info, Warning, Error} {
		if s.String() == text {
			return s, nil
		}
	}
	return 0, fmt.Errorf("severity %q: expected error, warning or info", text)
}

// Finding is one thing that a rule found.
type Finding struct {
	Rule     string // name of the rule
	Severity Severity
	Pos      acl.Pos
	// Message says what was found and what follows from it, without the position. It never holds
	// a password or a hash.
	Message string
	// Witness is a request that shows it, confirmed by the engine; nil where none is needed.
	Witness *acl.Request
	// Fix says how to mend it; nil where that is plain from the message.
	Fix *Fix

	entry int // index of the entry that it is about; -1
	fatal bool
}

// Fix is a way to mend a finding.
type Fix struct {
	// Text says what to write or do.
	Text string
	// Apply returns the file with the fix made, nothing else changed. It is nil where only a person
	// can know what is meant.
	Apply func(*config.File) (*config.File, error)
}

// String returns "file:line:col: severity: message [rule]".
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d:%d: %s: %s [%s]", f.Pos.File, f.Pos.Line, f.Pos.Column, f.Severity, f.Message, f.Rule)
}

// Certain reports whether the finding can be mended without a person's word.
func (f Finding) Certain() bool { return f.Fix != nil && f.Fix.Apply != nil }

// Input is what a run looks at.
type Input struct {
	// File is the config; it may have problems.
	File *config.File
	// Bundled says that the token server is ours; else it is docker_auth.
	Bundled bool
	// Service is the registry's service name; empty where it is not known.
	Service string
	// Registry are facts of the registry's own configuration; nil where there is none.
	Registry *Registry
	// Guess returns the well-known word that a hash was made of. Nil: passwords are not tried.
	// It is asked once for each user with a password.
	Guess func(hash secret.Text, name string) (word string, found bool)
}

// Registry is what rules need to know of the registry's configuration.
type Registry struct {
	Path   string // for messages
	Delete bool   // whether its storage lets manifests be deleted
	Issuer string // that it expects in tokens; empty where it is not known
}

// Rule is a check with its name.
type Rule struct {
	// Name is stable: it stands in ignore lists and links.
	Name string
	// Severity of its findings; single findings may be milder, where docs/lint.md says so.
	Severity Severity
	// Doc says in one sentence what it finds.
	Doc string
	// Codes are the codes of package config that it stands for.
	Codes []string

	check func(*pass)
}

// URL returns the address of the rule's documentation.
func (r *Rule) URL() string {
	return "https://github.com/regctl-setup/regctl-setup/blob/main/docs/lint.md#" + r.Name
}

// Run applies all rules and returns what they find, sorted by position, without what the file
// ignores.
func Run(in Input) []Finding {
	rules := Rules()
	p := newPass(in)
	fromParser(p, rules)
	for i := range rules {
		if rules[i].check != nil {
			p.rule = &rules[i]
			rules[i].check(p)
		}
	}
	found := p.keep(rules)
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column),
			cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Rule, b.Rule))
	})
	return found
}
