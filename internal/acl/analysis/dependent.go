package analysis

import (
	"regexp"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// Some entries ask something of the account or its labels that depends on the
// name: {account: "${name:1}", name: "/^([^/]+)\/.+$/"} or
// {labels: {project: "${name}"}}. What is put in is text that has to be found in
// a known value. So only the parts of that value have to be tried, and any
// other text comes out like one that does not occur in it.

// maxParts bounds the parts of the values that are tried.
const maxParts = 4000

// absent is a text that is taken to occur in no value; its users check.
const absent = "q7-no-such-text-q7"

// dependent returns what an entry takes of which another pattern depends on the
// name.
func (a *Analysis) dependent(i, u int, st site) nameLang {
	r := &a.rules[i]
	key := nameKey{u, st.typ, st.service}
	if l, ok := r.answers[key]; ok {
		return l
	}
	l := a.follow(i, u, st)
	if r.answers == nil {
		r.answers = map[nameKey]nameLang{}
	}
	r.answers[key] = l
	return l
}

// dependency is a pattern that depends on the name, with the values that it is
// matched against: one of them has to match.
type dependency struct {
	pattern *acl.Pattern
	values  []string
}

func (a *Analysis) follow(i, u int, st site) nameLang {
	r := &a.rules[i]
	n := a.nameOf(i, u, st)
	if n.hold == langNone && n.stop == langNone {
		return n
	}
	if n.hold != n.stop || a.langs.dfa(n.hold) == nil {
		return a.notFollowed(r.depends + " and its own pattern is not known")
	}
	acc := &a.accounts[u]
	var on []dependency
	pick := func(p *acl.Pattern, value string) {
		if p != nil && dependsOnName(p) {
			on = append(on, dependency{p, []string{value}})
		}
	}
	pick(r.patterns.Account, acc.name)
	pick(r.patterns.Type, a.types[st.typ].name)
	pick(r.patterns.Service, a.services[st.service])
	for k := range r.patterns.Labels {
		l := &r.patterns.Labels[k]
		if dependsOnName(&l.Pattern) {
			on = append(on, dependency{&l.Pattern, acc.labels[l.Key]})
			continue
		}
		if dynamic := l.Pattern.HasPlaceholders(); dynamic {
			return a.notFollowed(r.depends + " and another one on other fields")
		}
	}
	for _, p := range []*acl.Pattern{r.patterns.Account, r.patterns.Type, r.patterns.Service} {
		if p != nil && p.HasPlaceholders() && !dependsOnName(p) {
			return a.notFollowed(r.depends + " and another one on other fields")
		}
	}
	hold := n.hold
	for _, d := range on {
		l, why := a.followOne(i, st, d)
		if why != "" {
			return a.notFollowed(r.depends + ": " + why)
		}
		var ok bool
		if hold, ok = a.langs.and(hold, l); !ok {
			return a.notFollowed(r.depends + ": " + errTooBigText)
		}
	}
	return sameLang(hold)
}

// dependsOnName reports whether a pattern has the name or a part of it in it.
func dependsOnName(p *acl.Pattern) bool {
	return slices.ContainsFunc(p.Segments(), func(s acl.Segment) bool {
		return (s.Kind == acl.Variable || s.Kind == acl.Capture) && s.Field == acl.FieldName
	})
}

// followOne returns the names for which one pattern that depends on them matches
// one of its values.
func (a *Analysis) followOne(i int, st site, d dependency) (langID, string) {
	var dep acl.Segment
	segs := d.pattern.Segments()
	for _, s := range segs {
		switch {
		case s.Kind == acl.Text:
		case s.Field != acl.FieldName || s.Kind == acl.Label:
			return 0, "it has other placeholders, too"
		case dep.Text != "" && dep.Text != s.Text:
			return 0, "it has several parts of the name"
		default:
			dep = s
		}
	}
	first, last := segs[0], segs[len(segs)-1]
	if first.Kind != acl.Text && last.Kind != acl.Text && dep.Kind == acl.Capture && !a.policy.LiteralLabels() {
		// A part like /x/ would make a regexp of the glob.
		if a.maySlash(i, dep.Group) {
			return 0, "a part of the name may be read as a regexp"
		}
	}
	if !plainSyntax(segs) || isRegexpText(d.pattern.String()) && slices.ContainsFunc(segs, func(s acl.Segment) bool { return s.Kind == acl.Text && hasFold(s.Text) }) {
		return 0, "it is not put in as plain text"
	}
	if a.types[st.typ].name != TypeRepository && a.types[st.typ].name != TypeRegistry && dep.Kind == acl.Capture && !a.policy.LiteralLabels() {
		return 0, "a part of the name may be pattern syntax"
	}
	match := func(part string) (bool, bool) {
		text := d.pattern.Expand(func(acl.Segment) (string, bool) { return regexp.QuoteMeta(part), true })
		for _, v := range d.values {
			ok, err := acl.MatchText(text, v)
			if err != nil {
				return false, false
			}
			if ok {
				return true, true
			}
		}
		return false, true
	}
	parts := map[string]bool{"": true}
	for _, v := range d.values {
		if !isASCII(v) || len(v) > 200 || strings.Contains(v, absent) {
			return 0, "the value is not plain text"
		}
		for from := range len(v) {
			for to := from + 1; to <= len(v); to++ {
				parts[v[from:to]] = true
			}
		}
		if len(parts) > maxParts {
			return 0, "the values are too long"
		}
	}
	if len(d.values) == 0 {
		return langNone, ""
	}
	always, ok := match(absent)
	if !ok {
		return 0, "it is no pattern with some names"
	}
	var good, bad []string
	for part := range parts {
		yes, ok := match(part)
		if !ok {
			return 0, "it is no pattern with some names"
		}
		if yes {
			good = append(good, part)
		} else {
			bad = append(bad, part)
		}
	}
	slices.Sort(good)
	slices.Sort(bad)
	if dep.Kind == acl.Variable {
		if always {
			return a.oneOf(bad, true)
		}
		return a.oneOf(good, false)
	}
	return a.captured(i, dep.Group, d.pattern, good, bad, always)
}

// oneOf returns the language of some words, or of all others.
func (a *Analysis) oneOf(words []string, not bool) (langID, string) {
	d, err := automata.Determinize(automata.Literal(words...), automata.DefaultLimits())
	if err != nil {
		return 0, errTooBigText
	}
	if not {
		d = automata.Not(d)
	}
	return a.langs.add(automata.FromDFA(d)), ""
}

// captured returns the names of which the group is one of the good words, or
// none of the bad ones when any other word is good as well.
func (a *Analysis) captured(i, group int, p *acl.Pattern, good, bad []string, always bool) (langID, string) {
	own := a.rules[i].name.pattern
	if own == nil || own.HasPlaceholders() || !isRegexpText(own.String()) {
		return 0, "the part is not one of a plain regexp"
	}
	words := good
	if always {
		words = bad
	}
	quoted := make([]string, len(words))
	for k, w := range words {
		quoted[k] = regexp.QuoteMeta(w)
		if !a.policy.LiteralLabels() && isRegexpText(p.String()) {
			// Where the name has a dot, that is put in as a wildcard.
			if always {
				return 0, "dots of the name are wildcards"
			}
			var b strings.Builder
			for _, r := range w {
				if r == '.' {
					b.WriteString(`\.`)
					continue
				}
				b.WriteString("(?:" + regexp.QuoteMeta(string(r)) + `|\.)`)
			}
			quoted[k] = b.String()
		}
	}
	if len(words) == 0 {
		quoted = []string{`[^\x00-\x{10FFFF}]`}
	}
	n, err := automata.Regexp("^(?:"+strings.Join(quoted, "|")+")$", automata.DefaultLimits().NFA)
	if err != nil {
		return 0, errTooBigText
	}
	value, err := automata.Determinize(n, automata.DefaultLimits())
	if err != nil {
		return 0, errTooBigText
	}
	if always {
		value = automata.Not(value)
	}
	text := own.String()
	d, err := automata.Capture(text[1:len(text)-1], group, value, automata.DefaultLimits())
	if err != nil {
		return 0, errTooBigText
	}
	return a.langs.add(automata.FromDFA(d)), ""
}

// maySlash reports whether a group of an entry's own name regexp may begin and
// end with a slash.
func (a *Analysis) maySlash(i, group int) bool {
	own := a.rules[i].name.pattern
	if own == nil || !isRegexpText(own.String()) {
		return true
	}
	d := a.langs.dfa(a.langs.text(`/^\/.*\/$/`))
	text := own.String()
	c, err := automata.Capture(text[1:len(text)-1], group, d, automata.DefaultLimits())
	return err != nil || !c.IsEmpty()
}

// notFollowed is the language of names that are not known for a reason.
func (a *Analysis) notFollowed(why string) nameLang {
	key := "\x00why\x00" + why
	id, ok := a.langs.byText[key]
	if !ok {
		id = a.langs.fail(errTooMany)
		a.langs.entries[id].why = why
		a.langs.byText[key] = id
	}
	return sameLang(id)
}
