package analysis

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// nameRule is the name pattern of an entry.
type nameRule struct {
	pattern *acl.Pattern // nil: any name
	dynamic bool
	id      langID // of a pattern without placeholders; -1 not known yet
	segs    []acl.Segment
	keys    []string // labels in it, each once
	counts  []int    // how often each one stands in it
	self    bool     // refers to the name itself
	// plainSyntax says that plain values may be put into the pattern side by
	// side, as alternatives: 0 not known yet, 1 yes, 2 no.
	plainSyntax uint8
	account     bool   // depends on the account's name
	service     bool   // depends on the service
	classes     []int  // account → class, see classOf
	plainUsers  bitset // see plainIn
	tameUsers   bitset // see tameIn
	memo        map[nameKey]nameLang
	symbolic    langID // with symbols for placeholders; -1 not known yet, -2 impossible
}

// nameLang is what an entry's name pattern takes, for one account and site.
type nameLang struct {
	hold langID // the names that match
	stop langID // the names at which the entry decides: those, and all when a value breaks the pattern
}

func sameLang(id langID) nameLang { return nameLang{id, id} }

func (n *nameRule) read(p acl.Patterns) {
	n.pattern = p.Name
	n.symbolic, n.id = -1, -1
	if p.Name == nil || !p.Name.HasPlaceholders() {
		return
	}
	n.dynamic = true
	n.segs = p.Name.Segments()
	n.memo = map[nameKey]nameLang{}
	for _, s := range n.segs {
		switch s.Kind {
		case acl.Label:
			if k := slices.Index(n.keys, s.Key); k >= 0 {
				n.counts[k]++
			} else {
				n.keys = append(n.keys, s.Key)
				n.counts = append(n.counts, 1)
			}
		case acl.Variable, acl.Capture:
			if s.Field == acl.FieldName {
				n.self = true
				continue
			}
			n.account = n.account || s.Field == acl.FieldAccount
			n.service = n.service || s.Field == acl.FieldService
		}
	}
}

// names returns what an entry takes for an account at a site that it is about.
func (a *Analysis) names(i, u int, st site) nameLang {
	r := &a.rules[i]
	if r.depends != "" {
		return a.dependent(i, u, st)
	}
	v := a.frameAt(i, u, st)
	if v == fails {
		return sameLang(langNone)
	}
	n := a.nameOf(i, u, st)
	if v == broken {
		n.hold = langNone
	}
	return n
}

// constant returns the names of an entry when they are the same for every
// account and site.
func (a *Analysis) constant(i int) (langID, bool) {
	r := &a.rules[i]
	switch {
	case r.depends != "" || r.frame != nil:
		return 0, false
	case r.name.pattern == nil:
		return langAny, true
	case !r.name.dynamic:
		return a.written(&r.name), true
	}
	return 0, false
}

// written returns the language of a name pattern without placeholders.
func (a *Analysis) written(n *nameRule) langID {
	if n.id < 0 {
		n.id = a.langs.text(n.pattern.String())
	}
	return n.id
}

// nameOf returns what the name pattern takes.
func (a *Analysis) nameOf(i, u int, st site) nameLang {
	n := &a.rules[i].name
	switch {
	case n.pattern == nil:
		return sameLang(langAny)
	case !n.dynamic:
		return sameLang(a.written(n))
	case n.self:
		return a.notFollowed("the name pattern refers to the name itself")
	}
	key := nameKey{class: a.classOf(i, u), typ: st.typ, service: -1}
	if n.service {
		key.service = st.service
	}
	if l, ok := n.memo[key]; ok {
		return l
	}
	// Everything but the labels is filled in first.
	segs := slices.Clone(n.segs)
	for k, s := range segs {
		if s.Kind == acl.Text || s.Kind == acl.Label {
			continue
		}
		if v, ok := a.placeholder(&a.rules[i], s, u, st); ok {
			segs[k] = acl.Segment{Kind: acl.Text, Text: v}
		}
	}
	l := a.fill(n, segs, a.accounts[u].labels, st)
	n.memo[key] = l
	return l
}

// nameKey says on what the names of an entry depend. The type always counts:
// the pattern as written is dropped where it takes none of the type's names.
type nameKey struct{ class, typ, service int }

// classOf returns a number that two accounts share when an entry's name pattern
// comes out the same for them.
func (a *Analysis) classOf(i, u int) int {
	n := &a.rules[i].name
	if n.account {
		return u
	}
	if n.classes == nil {
		n.classes = a.labelClasses(n.keys)
	}
	return n.classes[u]
}

// labelClasses numbers the accounts by their values of the keys.
func (a *Analysis) labelClasses(keys []string) []int {
	if len(keys) == 0 {
		return make([]int, len(a.accounts))
	}
	id := strings.Join(keys, "}")
	if c, ok := a.byLabels[id]; ok {
		return c
	}
	classes := make([]int, len(a.accounts))
	numbers := map[string]int{}
	var buf []byte
	for u := range a.accounts {
		buf = buf[:0]
		for _, k := range keys {
			values, ok := a.accounts[u].labels[k]
			buf = strconv.AppendBool(append(buf, '|'), ok)
			for _, v := range values {
				buf = append(strconv.AppendInt(buf, int64(len(v)), 10), ':')
				buf = append(buf, v...)
			}
		}
		c, ok := numbers[string(buf)]
		if !ok {
			c = len(numbers)
			numbers[string(buf)] = c
		}
		classes[u] = c
	}
	a.byLabels[id] = classes
	return classes
}

// placeholder returns what a variable or capture becomes, as pattern text.
func (a *Analysis) placeholder(r *rule, s acl.Segment, u int, st site) (string, bool) {
	value := a.accounts[u].name
	switch s.Field {
	case acl.FieldType:
		value = a.types[st.typ].name
	case acl.FieldService:
		value = a.services[st.service]
	}
	if s.Kind == acl.Variable {
		return regexp.QuoteMeta(value), true
	}
	re := r.fieldRegexp(s.Field)
	if re == nil {
		return "", false
	}
	groups := re.FindStringSubmatch(value)
	if s.Group >= len(groups) {
		return "", false
	}
	return a.value(groups[s.Group]), true
}

// value returns the pattern text that a label's value or a capture becomes.
func (a *Analysis) value(v string) string {
	if a.policy.LiteralLabels() {
		return regexp.QuoteMeta(v)
	}
	return v
}

// fill returns the language of a pattern in which only labels are left.
func (a *Analysis) fill(n *nameRule, segs []acl.Segment, labels map[string][]string, st site) nameLang {
	var keys []string
	var values [][]string
	var counts []int
	raw := joinSegments(segs, nil)
	for k, key := range n.keys {
		v, ok := labels[key]
		if !ok {
			continue
		}
		v = slices.Clone(v)
		slices.Sort(v)
		v = slices.Compact(v)
		if len(v) == 0 {
			return a.filled([]string{raw}, st)
		}
		keys, values, counts = append(keys, key), append(values, v), append(counts, n.counts[k])
	}
	if len(keys) == 0 {
		return a.filled([]string{raw}, st)
	}
	total := 1
	for _, v := range values {
		total = min(total*len(v), 1<<20)
	}
	if total > 1 && a.sideBySide(n, values) {
		if l, ok := a.alternatives(segs, keys, values, counts, raw, st); ok {
			return l
		}
	}
	if total > maxTexts {
		id := a.langs.fail(errTooMany)
		return nameLang{id, id}
	}
	texts := []string{raw}
	choice := map[string]string{}
	var each func(k int)
	each = func(k int) {
		if k == len(keys) {
			texts = append(texts, n.kept(joinSegments(segs, func(s acl.Segment) (string, bool) {
				v, ok := choice[s.Key]
				return a.value(v), ok
			}), a.policy.LiteralLabels()))
			return
		}
		for _, v := range values[k] {
			choice[keys[k]] = v
			each(k + 1)
		}
	}
	each(0)
	return a.filled(texts, st)
}

// kept keeps a glob a glob where values may not turn it into a regexp.
func (n *nameRule) kept(text string, literal bool) string {
	if literal && n.pattern.Kind() != acl.Regexp && isRegexpText(text) {
		return `\` + text
	}
	return text
}

// filled returns the language of patterns of which any may match; the first is
// the pattern as written. When one has bad syntax the entry decides all names
// that the others do not match, too.
func (a *Analysis) filled(texts []string, st site) nameLang {
	var good []string
	bad := false
	for k, text := range texts {
		id := a.langs.text(text)
		if a.langs.broken(id) {
			bad = true
			continue
		}
		if len(texts) > 1 && k == 0 && a.nothingIn(id, st) {
			continue // no name has the braces of a placeholder
		}
		good = append(good, text)
	}
	l := sameLang(langNone)
	if len(good) > 0 {
		l = sameLang(a.langs.texts(good))
	}
	if bad {
		l.stop = langAny
	}
	return l
}

// nothingIn reports whether no name of the site's type is in the language.
func (a *Analysis) nothingIn(id langID, st site) bool {
	return !a.meet(id, langAny, st)
}

// meet reports whether some name of the site's type is in both languages, or
// may be, as far as can be told.
func (a *Analysis) meet(x, y langID, st site) bool {
	if x == langNone || y == langNone || a.langs.apart(x, y) {
		return false
	}
	if x > y {
		x, y = y, x
	}
	k := meetKey{x, y, a.types[st.typ].lang}
	if m, ok := a.langs.meets[k]; ok {
		return m
	}
	m := true
	if p, q := a.langs.of(x), a.langs.of(y); p != nil && q != nil {
		empty, err := a.search.Empty(automata.Query{Universe: a.types[st.typ].names, In: []*automata.Lang{p, q}})
		m = err != nil || !empty
	}
	a.langs.meets[k] = m
	return m
}

// joinSegments puts a pattern together; value fills in labels.
func joinSegments(segs []acl.Segment, value func(acl.Segment) (string, bool)) string {
	var b strings.Builder
	for _, s := range segs {
		if s.Kind == acl.Label && value != nil {
			if v, ok := value(s); ok {
				b.WriteString(v)
				continue
			}
		}
		b.WriteString(s.Text)
	}
	return b.String()
}

// sideBySide reports whether the values may stand in the pattern as
// alternatives: then no combinations have to be tried one by one.
func (a *Analysis) sideBySide(n *nameRule, values [][]string) bool {
	if n.plainSyntax == 0 {
		n.plainSyntax = 2
		if plainSyntax(n.segs) {
			n.plainSyntax = 1
		}
	}
	if n.plainSyntax == 2 {
		return false
	}
	for _, list := range values {
		for _, v := range list {
			if !a.plainValue(v) {
				return false
			}
		}
	}
	return true
}

// plainValue reports whether a label's value is text that stands for itself in
// a glob and in a regexp alike.
func (a *Analysis) plainValue(v string) bool {
	if v == "" || v[0] == '/' || v[len(v)-1] == '/' {
		return false
	}
	return isASCII(v) && (a.policy.LiteralLabels() || regexp.QuoteMeta(v) == v)
}

// alternatives returns the language with all values side by side. A label that
// stands in several places has one value in all of them, so it is still tried
// value by value.
func (a *Analysis) alternatives(segs []acl.Segment, keys []string, values [][]string, counts []int, raw string, st site) (nameLang, bool) {
	fixed := []int{}
	total := 1
	for k := range keys {
		if counts[k] > 1 {
			fixed = append(fixed, k)
			total *= len(values[k])
		}
	}
	if total > maxTexts {
		return nameLang{}, false
	}
	lim := a.langs.limits()
	var parts []*automata.NFA
	size := 0
	choice := map[string]string{}
	var failed error
	one := func() {
		var n *automata.NFA
		var err error
		if isRegexpText(raw) {
			n, err = a.langs.nfa(joinSegments(segs, func(s acl.Segment) (string, bool) {
				if v, ok := choice[s.Key]; ok {
					return a.value(v), true
				}
				k := slices.Index(keys, s.Key)
				if k < 0 {
					return "", false
				}
				list := make([]string, len(values[k]))
				for j, v := range values[k] {
					list[j] = regexp.QuoteMeta(v)
				}
				return "(?:" + strings.Join(list, "|") + ")", true
			}))
		} else {
			symbols := make([][]string, automata.Symbols)
			n, err = automata.Glob(joinSegments(segs, func(s acl.Segment) (string, bool) {
				if v, ok := choice[s.Key]; ok {
					return a.value(v), true
				}
				k := slices.Index(keys, s.Key)
				if k < 0 || k >= automata.Symbols {
					return "", false
				}
				symbols[k] = values[k]
				return string(automata.SymbolRune(k)), true
			}), lim.NFA)
			if err == nil {
				n, err = n.Substitute(symbols, lim.NFA)
			}
		}
		if err != nil {
			failed = err
			return
		}
		parts = append(parts, n)
		size += n.Size()
	}
	var each func(f int)
	each = func(f int) {
		if f == len(fixed) {
			one()
			return
		}
		for _, v := range values[fixed[f]] {
			choice[keys[fixed[f]]] = v
			each(f + 1)
		}
	}
	if len(keys) > automata.Symbols {
		return nameLang{}, false
	}
	each(0)
	if failed != nil {
		return nameLang{}, false
	}
	rawID := a.langs.text(raw)
	l := nameLang{}
	switch {
	case a.langs.broken(rawID) || a.nothingIn(rawID, st):
	default:
		n, err := a.langs.nfa(raw)
		if err != nil {
			return nameLang{}, false
		}
		parts = append(parts, n)
		size += n.Size()
	}
	if size > lim.NFA {
		l = sameLang(a.langs.fail(automata.ErrTooBig))
	} else {
		l = sameLang(a.langs.made(automata.Union(parts...), nil))
	}
	if a.langs.broken(rawID) {
		l.stop = langAny
	}
	return l, true
}

func isRegexpText(p string) bool {
	return len(p) > 2 && p[0] == '/' && p[len(p)-1] == '/'
}

// plainSyntax reports whether every placeholder of a pattern stands where text
// stands for itself, whatever plain text it becomes: not in a class, not after
// a backslash, not before a quantifier, and not where it could change what kind
// of pattern this is.
func plainSyntax(segs []acl.Segment) bool {
	first, last := segs[0], segs[len(segs)-1]
	if first.Kind != acl.Text || last.Kind != acl.Text {
		// Plain values neither begin nor end with a slash: it is a glob.
		if first.Kind != acl.Text && isRegexpText(joinSegments(segs, nil)) {
			return false
		}
	}
	mark := func(r rune) (string, bool) {
		var b strings.Builder
		for k, s := range segs {
			if s.Kind == acl.Text {
				b.WriteString(s.Text)
				continue
			}
			before := b.String()
			if open := strings.LastIndexByte(before, '{'); open > strings.LastIndexByte(before, '}') {
				return "", false
			}
			digits := strings.TrimRight(before, "0123456789abcdefABCDEFxpPQ")
			if strings.HasSuffix(digits, `\`) {
				return "", false
			}
			if k+1 < len(segs) && segs[k+1].Kind == acl.Text && strings.ContainsRune("*+?{", rune(segs[k+1].Text[0])) && isRegexpText(joinSegments(segs, nil)) {
				return "", false
			}
			// Two letters, so that a class of it stays one.
			b.WriteRune(r)
			b.WriteRune(r + 1)
		}
		return b.String(), true
	}
	one, ok1 := mark(automata.SymbolRune(0))
	two, ok2 := mark(automata.SymbolRune(automata.Symbols + 7))
	if !ok1 || !ok2 {
		return false
	}
	if !isRegexpText(one) {
		_, err := automata.Glob(one, 1<<20)
		return err == nil && automata.SimpleGlob(one)
	}
	if strings.Contains(one, `\Q`) || strings.Contains(one, "(?P<") || strings.Contains(one, "(?<") {
		return false
	}
	x, err1 := syntax.Parse(one[1:len(one)-1], syntax.Perl)
	y, err2 := syntax.Parse(two[1:len(two)-1], syntax.Perl)
	return err1 == nil && err2 == nil && sameShape(x, y)
}

// sameShape reports whether two expressions differ in literals only.
func sameShape(x, y *syntax.Regexp) bool {
	if x.Op != y.Op || len(x.Sub) != len(y.Sub) || x.Op == syntax.OpCharClass && !slices.Equal(x.Rune, y.Rune) || len(x.Rune) != len(y.Rune) {
		return false
	}
	for i := range x.Sub {
		if !sameShape(x.Sub[i], y.Sub[i]) {
			return false
		}
	}
	return true
}
