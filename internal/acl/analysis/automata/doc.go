// Package automata turns the patterns of access rules into deterministic automata, so that
// questions about all names that can exist have exact answers.
//
// A pattern is a glob as path.Match reads it or a regular expression as package regexp does
// (RE2, unanchored unless it says otherwise). Either becomes an NFA and then a minimal, dense
// DFA over classes of letters that no pattern tells apart. The names that can exist are an
// automaton too, the grammar of repository names of the OCI distribution specification, and
// every question is intersected with it. Everything is bounded: past its limits a pattern is
// refused with [ErrTooBig], and nothing is guessed.
package automata
