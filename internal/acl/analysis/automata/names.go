package automata

import "fmt"

// Grammar is a set of names that can exist.
type Grammar int

const (
	// OCI is the repository name of the OCI distribution specification.
	OCI Grammar = iota
	// HostLike is what distribution 2.8 and 3.0 take: an OCI name, or one whose
	// first of several components looks like a host, capitals and port included.
	HostLike
	// Printable is any text without spaces and control characters.
	Printable
)

const (
	component = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
	ociName   = component + `(?:/` + component + `)*`
	hostPart  = `(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])`
	host      = hostPart + `(?:\.` + hostPart + `)*(?::[0-9]+)?`
)

// Universe returns the automaton of a grammar. Names longer than MaxLength are
// not left out by the automaton but by every search.
func Universe(g Grammar) (*DFA, error) {
	var expr string
	switch g {
	case OCI:
		expr = `^` + ociName + `$`
	case HostLike:
		expr = `^(?:` + host + `/)?` + ociName + `$`
	case Printable:
		expr = `^[!-~]+$`
	default:
		return nil, fmt.Errorf("unknown grammar %d", g)
	}
	n, err := Regexp(expr, DefaultLimits().NFA)
	if err != nil {
		return nil, err
	}
	return Determinize(n, DefaultLimits())
}
