package analysis

import (
	"net/netip"
	"regexp"
	"slices"
	"sort"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// rule is an entry made ready for questions.
type rule struct {
	patterns acl.Patterns
	actions  []string // sorted, unique
	star     bool

	users    accountSet // who fits, as far as that does not depend on the request
	types    bitset     // over the types; nil: any, or see frame
	services bitset     // over the services; nil: any, or see frame

	// frame decides what is left of the entry without its name when account,
	// type, service or label patterns have placeholders; nil: nothing is left.
	frame *frame
	// depends says that a pattern of another field depends on the name; see
	// dependent.
	depends string
	answers map[nameKey]nameLang // of dependent, by account, type and service

	name nameRule
	// breakable says whether some account's values may break a pattern: 0 not
	// known yet, 1 no, 2 perhaps.
	breakable uint8
	// captures has the regexps of other fields that captures refer to.
	captures map[acl.Field]*regexp.Regexp
}

// frame is an entry without its name pattern, as a policy of its own.
type frame struct {
	policy *acl.Policy
	labels []acl.LabelPattern // with captures, which the policy lacks
	memo   map[frameKey]verdict
}

type frameKey struct{ user, typ, service int }

type verdict uint8

const (
	unknown verdict = iota
	holds
	fails
	broken // a value broke a pattern: nothing is granted
)

func (r *rule) read(e *acl.Entry, options acl.Options) {
	r.actions = slices.Clone(e.Actions)
	slices.Sort(r.actions)
	r.actions = slices.Compact(r.actions)
	r.star = len(e.Actions) == 1 && e.Actions[0] == "*"
	r.name.read(r.patterns)

	dynamic := func(p *acl.Pattern) bool { return p != nil && p.HasPlaceholders() }
	need := dynamic(r.patterns.Account) || dynamic(r.patterns.Type) || dynamic(r.patterns.Service)
	check := func(field string, p *acl.Pattern) {
		if p == nil {
			return
		}
		for _, s := range p.Segments() {
			if s.Kind != acl.Text && s.Kind != acl.Label && s.Field == acl.FieldName {
				r.depends = field + " pattern depends on the name"
			}
		}
	}
	check("account", r.patterns.Account)
	check("type", r.patterns.Type)
	check("service", r.patterns.Service)
	for k := range r.patterns.Labels {
		p := &r.patterns.Labels[k].Pattern
		need = need || dynamic(p)
		check("label", p)
	}
	if r.depends != "" || !need {
		return
	}
	f := *e
	f.Match.Name = nil
	f.Match.IP = nil
	f.Match.Labels = nil
	var filled []acl.LabelPattern
	for k := range r.patterns.Labels {
		// Captures in labels are replaced only where one of the other fields has
		// the same one; without the name the engine might not see it.
		if l := r.patterns.Labels[k]; hasCapture(&l.Pattern) {
			filled = append(filled, l)
		} else {
			f.Match.Labels = append(f.Match.Labels, e.Match.Labels[k])
		}
	}
	f.Actions = []string{"*"}
	policy, err := acl.Compile([]acl.Entry{f}, options)
	if err != nil {
		r.depends = err.Error()
		return
	}
	r.frame = &frame{policy: policy, labels: filled, memo: map[frameKey]verdict{}}
}

// grants returns what the entry grants of an action.
func (r *rule) grants(action string) bool {
	return r.star || slices.Contains(r.actions, action)
}

// at reports whether the entry is about a site, the frame aside.
func (a *Analysis) at(i int, st site) bool {
	r := &a.rules[i]
	if r.types != nil && !r.types.has(st.typ) || r.services != nil && !r.services.has(st.service) {
		return false
	}
	if ip := r.patterns.IP; ip != nil {
		addr := a.ips[st.ip]
		return addr.IsValid() && ip.Contains(addr.Unmap())
	}
	return true
}

// frameAt decides what an entry asks of everything but the name.
func (a *Analysis) frameAt(i, u int, st site) verdict {
	f := a.rules[i].frame
	if f == nil {
		return holds
	}
	k := frameKey{u, st.typ, st.service}
	v := f.memo[k]
	if v != unknown {
		return v
	}
	r := a.request(u, st, "a", []string{"pull"})
	switch d := f.policy.Decide(&r, a.buf); {
	case d.Err != nil:
		v = broken
	case d.Index == 0:
		v = holds
	default:
		v = fails
	}
	for k := range f.labels {
		if v == fails {
			break
		}
		switch a.labelAt(i, &f.labels[k], u, st) {
		case fails:
			v = fails
		case broken:
			v = broken
		}
	}
	f.memo[k] = v
	return v
}

func hasCapture(p *acl.Pattern) bool {
	return slices.ContainsFunc(p.Segments(), func(s acl.Segment) bool { return s.Kind == acl.Capture })
}

// labelAt decides a label condition with captures.
func (a *Analysis) labelAt(i int, l *acl.LabelPattern, u int, st site) verdict {
	text := l.Pattern.Expand(func(s acl.Segment) (string, bool) { return a.placeholder(&a.rules[i], s, u, st) })
	if a.policy.LiteralLabels() && l.Pattern.Kind() != acl.Regexp && isRegexpText(text) {
		text = `\` + text
	}
	v := fails
	for _, value := range a.accounts[u].labels[l.Key] {
		switch ok, err := acl.MatchText(text, value); {
		case err != nil:
			v = broken
		case ok:
			return holds
		}
	}
	return v
}

// fieldRegexp returns the regexp of a field as written, for captures; nil when
// it is none.
func (r *rule) fieldRegexp(f acl.Field) *regexp.Regexp {
	if re, ok := r.captures[f]; ok {
		return re
	}
	var p *acl.Pattern
	switch f {
	case acl.FieldAccount:
		p = r.patterns.Account
	case acl.FieldType:
		p = r.patterns.Type
	case acl.FieldService:
		p = r.patterns.Service
	}
	var re *regexp.Regexp
	if p != nil {
		re = compileRegexp(p.String())
	}
	if r.captures == nil {
		r.captures = map[acl.Field]*regexp.Regexp{}
	}
	r.captures[f] = re
	return re
}

// sites calls f with every site that an entry is about, the frame aside, until
// f returns false; len(entries) stands for all sites. With known services only
// those are visited.
func (a *Analysis) sites(i int, known bool, f func(site) bool) {
	services := len(a.services)
	if known && a.known > 0 {
		services = a.known
	}
	var r rule
	if i < len(a.rules) {
		r = a.rules[i]
	}
	visit := func(ip int) bool {
		for t := range a.types {
			if r.types != nil && !r.types.has(t) {
				continue
			}
			for s := range services {
				if r.services != nil && !r.services.has(s) {
					continue
				}
				if !f(site{t, s, ip}) {
					return false
				}
			}
		}
		return true
	}
	if r.patterns.IP == nil {
		for ip := range a.ips {
			if !visit(ip) {
				return
			}
		}
		return
	}
	for _, ip := range a.cellsIn(*r.patterns.IP) {
		if !visit(ip) {
			return
		}
	}
}

// cellsIn returns the addresses within a prefix.
func (a *Analysis) cellsIn(p netip.Prefix) []int {
	if a.ipOrder == nil {
		a.ipOrder = make([]int, 0, len(a.ips))
		for k, ip := range a.ips {
			if ip.IsValid() {
				a.ipOrder = append(a.ipOrder, k)
			}
		}
		slices.SortFunc(a.ipOrder, func(x, y int) int { return a.ips[x].Compare(a.ips[y]) })
	}
	from := sort.Search(len(a.ipOrder), func(k int) bool { return a.ips[a.ipOrder[k]].Compare(p.Masked().Addr()) >= 0 })
	to := from
	for to < len(a.ipOrder) && p.Contains(a.ips[a.ipOrder[to]]) {
		to++
	}
	return a.ipOrder[from:to]
}

// compileRegexp returns the regexp of a pattern text, nil when it is a glob.
func compileRegexp(text string) *regexp.Regexp {
	if len(text) <= 2 || text[0] != '/' || text[len(text)-1] != '/' {
		return nil
	}
	re, err := regexp.Compile(text[1 : len(text)-1])
	if err != nil {
		return nil
	}
	return re
}
