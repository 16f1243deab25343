package analysis

import (
	"fmt"
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// point is an account at a site with a name.
type point struct {
	user int
	site site
	name string
}

// finding is what a search at one account and site came to: a name, or the
// proof that there is none, or why neither is known.
type finding struct {
	name   string
	found  bool
	covers []int  // earlier entries that together leave no name
	why    string // not decided
	whyAt  int    // the entry that why is about
	met    []int  // earlier entries that took some names
}

// mode says how an entry is to decide.
type mode uint8

const (
	decides mode = iota // it matches, or a value breaks one of its patterns
	matches             // it matches
	breaks              // a value breaks one of its patterns, nothing is granted
)

// side is one policy of a search with one account: names that entry i decides.
type side struct {
	a     *Analysis
	user  int
	site  site
	entry int // len(entries): no entry matches
	mode  mode
	known []int
}

// target returns the language of the names that the entry takes in its mode,
// whoever is first, as the names of one language without those of another.
func (s *side) target() (in, out langID) {
	if s.entry == len(s.a.entries) {
		if s.mode == breaks {
			return langNone, langNone
		}
		return langAny, langNone
	}
	l := s.a.names(s.entry, s.user, s.site)
	switch s.mode {
	case matches:
		return l.hold, langNone
	case breaks:
		if l.hold == l.stop {
			return langNone, langNone
		}
		return l.stop, l.hold
	}
	return l.stop, langNone
}

// right reports whether a decision is the one that the side is after.
func (s *side) right(entry int, err error) bool {
	return entry == s.entry && (s.mode == decides || (err == nil) == (s.mode == matches))
}

// find searches a name within the given languages that every side's entry
// decides. The sides must be of one grammar of names; all of the same type.
// Entries that turn out to be in the way are added to known.
func find(search *automata.Searcher, names *automata.DFA, within []*automata.Lang, sides []*side) finding {
	f := finding{whyAt: -1}
	base := automata.Query{Universe: names, In: slices.Clip(within)}
	for _, s := range sides {
		id, out := s.target()
		if id == langNone {
			return f
		}
		l := s.a.langs.of(id)
		if l == nil {
			return s.unknown(id, sides, names, within, f)
		}
		base.In = append(base.In, l)
		if out != langNone {
			if l = s.a.langs.of(out); l == nil {
				return s.unknown(out, sides, names, within, f)
			}
			base.Out = append(base.Out, l)
		}
	}
	var except []string
	var hidden finding // why the last name was set aside
	for {
		q := base
		q.Except = except
		for _, s := range sides {
			for _, c := range s.known {
				if l := s.a.langs.of(s.a.names(c, s.user, s.site).stop); l != nil {
					q.Out = append(q.Out, l)
				}
			}
		}
		name, ok, err := search.Shortest(q)
		if err != nil {
			f.why = "the search for a name grew too large"
			f.whyAt = culprit(sides)
			return f
		}
		if !ok {
			if hidden.why != "" {
				return hidden
			}
			for _, s := range sides {
				f.covers = append(f.covers, s.known...)
			}
			return f
		}
		right := true
		for _, s := range sides {
			d, _, err := s.a.decide(s.user, s.site, name, probe)
			if s.right(d, err) {
				continue
			}
			right = false
			switch id := s.stopOf(d); {
			case d == s.entry && err != nil:
				hidden = finding{why: err.Error(), whyAt: d}
			case d >= s.entry:
				hidden = finding{why: fmt.Sprintf("the engine does not take %q here", name), whyAt: s.entry}
			case s.a.langs.of(id) == nil:
				hidden = finding{why: s.a.langs.why(id), whyAt: d}
			case slices.Contains(s.known, d):
				hidden = finding{why: fmt.Sprintf("the engine takes %q otherwise than the analysis", name), whyAt: d}
			default:
				s.known = append(s.known, d)
				f.met = append(f.met, d)
				continue
			}
			if len(except) >= maxExcept {
				hidden.met = f.met
				return hidden
			}
			except = append(except, name)
		}
		if right {
			f.name, f.found = name, true
			return f
		}
	}
}

var probe = []string{"pull"}

func (s *side) stopOf(d int) langID {
	if d >= len(s.a.entries) {
		return langAny
	}
	return s.a.names(d, s.user, s.site).stop
}

// culprit returns an entry whose automaton is the largest, for a message.
func culprit(sides []*side) int {
	worst, size := -1, -1
	for _, s := range sides {
		for _, e := range append(slices.Clip(s.known), s.entry) {
			if e >= len(s.a.entries) {
				continue
			}
			n := 1 << 30
			if d := s.a.langs.dfa(s.a.names(e, s.user, s.site).stop); d != nil {
				n = d.States()
			}
			if n > size {
				worst, size = e, n
			}
		}
	}
	return worst
}

// unknown tries names for an entry whose language is not known: the names that
// its pattern would have with the parts that are known, and the shortest ones
// there are. Only a confirmed name counts.
func (s *side) unknown(id langID, sides []*side, names *automata.DFA, within []*automata.Lang, f finding) finding {
	for _, name := range s.a.guesses(s.user, names, within) {
		ok := true
		for _, t := range sides {
			if d, _, err := t.a.decide(t.user, t.site, name, probe); !t.right(d, err) {
				ok = false
				break
			}
		}
		if ok {
			f.name, f.found = name, true
			return f
		}
	}
	f.why, f.whyAt = s.a.langs.why(id), s.entry
	return f
}

// guesses returns names to try for an entry whose language is not known.
func (a *Analysis) guesses(user int, names *automata.DFA, within []*automata.Lang) []string {
	q := automata.Query{Universe: names, In: within}
	list, err := a.search.Words(q, 16)
	if err != nil {
		list = nil
	}
	add := func(w string) {
		for _, v := range []string{w, w + "/a", "a/" + w, w + "/" + w} {
			if names.Match(v) {
				list = append(list, v)
			}
		}
	}
	acc := &a.accounts[user]
	add(acc.name)
	for _, values := range acc.labels {
		for k, v := range values {
			if k == 8 {
				break
			}
			add(v)
		}
	}
	out := list[:0]
	for _, n := range list {
		if inAll(within, n) {
			out = append(out, n)
		}
	}
	return out
}

func inAll(langs []*automata.Lang, name string) bool {
	for _, l := range langs {
		if d := l.DFA(); d != nil && !d.Match(name) {
			return false
		}
	}
	return true
}

// prune drops the covers that the proof does not need, the latest first.
func (a *Analysis) prune(i, u int, st site, covers []int, within []*automata.Lang) []int {
	if len(covers) < 2 {
		return covers
	}
	target := a.langs.of(a.names(i, u, st).stop)
	if target == nil {
		return covers
	}
	need := slices.Clone(covers)
	slices.Sort(need)
	need = slices.Compact(need)
	for k := len(need) - 1; k >= 0 && len(need) > 1; k-- {
		q := automata.Query{Universe: a.types[st.typ].names, In: append(slices.Clip(within), target)}
		for j, c := range need {
			if l := a.langs.of(a.names(c, u, st).stop); l != nil && j != k {
				q.Out = append(q.Out, l)
			}
		}
		if empty, err := a.search.Empty(q); empty && err == nil {
			need = slices.Delete(need, k, k+1)
		}
	}
	return need
}

// witness returns the request of a point, with actions that show what the
// deciding entry grants, after the engine has confirmed that it decides.
func (a *Analysis) witness(i int, p point) (*acl.Request, bool) {
	actions := []string{"pull"}
	if i < len(a.rules) && !a.rules[i].star && len(a.rules[i].actions) > 0 {
		actions = a.rules[i].actions
	}
	return a.witnessFor(i, p, actions)
}

func (a *Analysis) witnessFor(i int, p point, actions []string) (*acl.Request, bool) {
	d, _, _ := a.decide(p.user, p.site, p.name, actions)
	if d != i {
		return nil, false
	}
	r := a.request(p.user, p.site, p.name, slices.Clone(actions))
	return &r, true
}
