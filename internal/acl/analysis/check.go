package analysis

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// Claim is something that a policy is meant to do on all names of a pattern:
// "dev may push prod/**" is denied.
type Claim struct {
	Account string
	// Labels, when not nil, are used in place of those that the account is known
	// to have; an account that is not known needs them.
	Labels map[string][]string
	Action string
	Names  NamePattern
	Type   string // empty: repository
	// Service is the one that the request names; empty: the first known one.
	Service string
	// IP is the client's address; the zero address stands for every address and
	// none, for which the claim must hold alike.
	IP netip.Addr
	// Accept says that the action is granted on each of the names; else it is
	// granted on none.
	Accept bool
}

// Verdict says whether a claim holds.
type Verdict struct {
	Holds bool
	// Witness is a request that contradicts the claim and Entry what decides it,
	// -1 for no entry.
	Witness *acl.Request
	Entry   int
	// Reason says why a claim that nothing contradicts does not hold: no name of
	// the pattern can exist.
	Reason string
	// NotDecided says why neither is known.
	NotDecided string
}

// Check decides a claim. It fails for an account that is not known when no
// labels are given.
func (a *Analysis) Check(c Claim) (Verdict, error) {
	if c.Type == "" {
		c.Type = TypeRepository
	}
	if c.Service == "" {
		c.Service = a.services[0]
	}
	s, err := a.subject(c)
	if err != nil {
		return Verdict{}, err
	}
	return s.check(c), nil
}

// subject returns the analysis for the one account of a claim, with the
// addresses and the service that it is about.
func (a *Analysis) subject(c Claim) (*Analysis, error) {
	labels := c.Labels
	if labels == nil {
		u, ok := a.account(c.Account)
		if !ok {
			return nil, fmt.Errorf("no account %q", c.Account)
		}
		labels = a.accounts[u].labels
	}
	var key strings.Builder
	fmt.Fprintf(&key, "%q %q %q %v %q", c.Account, c.Type, c.Service, c.IP, labels)
	if s, ok := a.subjects[key.String()]; ok {
		return s, nil
	}
	universe := Universe{
		Users: []User{{c.Account, labels}}, Services: []string{c.Service},
		Types: append(slices.Clone(a.universe.Types), c.Type), Names: a.universe.Names,
	}
	from := setup{langs: a.langs, services: []string{c.Service}, ips: a.ips}
	if c.IP.IsValid() {
		from.ips = []netip.Addr{c.IP.Unmap().WithZone("")}
	}
	s, err := build(a.policy, universe, from)
	if err != nil {
		return nil, err
	}
	s.search = a.search
	if a.subjects == nil || len(a.subjects) > 64 {
		a.subjects = map[string]*Analysis{}
	}
	a.subjects[key.String()] = s
	return s, nil
}

// check decides a claim about the only account.
func (a *Analysis) check(c Claim) Verdict {
	v := Verdict{Entry: -1}
	typ := slices.IndexFunc(a.types, func(t typeInfo) bool { return t.name == c.Type })
	if typ < 0 {
		v.NotDecided = notDecided(-1, fmt.Sprintf("no scope can have the type %q", c.Type))
		return v
	}
	asked := a.language(c.Names)
	if a.langs.of(asked) == nil {
		v.NotDecided = notDecided(-1, fmt.Sprintf("pattern %q: %s", c.Names.String(), a.langs.why(asked)))
		return v
	}
	within := []*automata.Lang{a.langs.of(asked)}
	if empty, err := a.search.Empty(automata.Query{Universe: a.types[typ].names, In: within}); err == nil && empty {
		v.Reason = fmt.Sprintf("no name that can exist matches %q", c.Names.String())
		return v
	}
	for i := 0; i <= len(a.rules); i++ {
		h := half{a, i, -1}
		if i < len(a.rules) && !a.rules[i].users.has(0) {
			continue
		}
		for _, m := range h.modes() {
			if h.grants(m, c.Action) == c.Accept {
				continue
			}
			a.sites(i, true, func(st site) bool {
				if h.noIP() && st.ip > 0 && !a.ips[0].IsValid() {
					return false
				}
				if st.typ != typ {
					return true
				}
				s := side{a: a, site: st, entry: i, mode: m}
				f := find(a.search, a.types[typ].names, within, []*side{&s})
				if f.why != "" && v.NotDecided == "" {
					v.NotDecided = notDecided(f.whyAt, f.why)
				}
				if !f.found {
					return true
				}
				_, granted, _ := a.decide(0, st, f.name, []string{c.Action})
				if (len(granted) == 1) == c.Accept {
					v.NotDecided = notDecided(i, "the witness was not confirmed")
					return true
				}
				r := a.request(0, st, f.name, []string{c.Action})
				v = Verdict{Witness: &r, Entry: h.number()}
				return false
			})
			if v.Witness != nil {
				return v
			}
		}
	}
	v.Holds = v.NotDecided == ""
	return v
}
