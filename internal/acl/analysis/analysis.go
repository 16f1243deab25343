package analysis

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis/automata"
)

// User is an account whose labels are known.
type User struct {
	Name   string
	Labels map[string][]string
}

// Universe says which requests there are.
type Universe struct {
	// Users are the static users. One with the empty name is the anonymous
	// account.
	Users []User
	// Anonymous says that requests without credentials are let in, as the
	// account "" without labels unless Users has it.
	Anonymous bool
	// External says that there are logins besides Users, with unknown names and
	// labels.
	External bool
	// Services are the registries' own services; the first is the one that
	// witnesses use. Without any it is the empty one.
	Services []string
	// Types are resource types besides repository, registry and those that the
	// policy writes.
	Types []string
	// Names is the grammar of repository names; the zero value is the OCI one.
	Names automata.Grammar
}

// The resource types that registries ask for.
const (
	TypeRepository = "repository"
	TypeRegistry   = "registry"
)

// Bounds of the work on one policy. They are far above what a policy written
// by people needs.
const (
	maxTexts     = 64        // texts of a pattern that stand for combinations of label values
	maxStates    = 60_000    // product states of one search
	maxBuild     = 400 << 20 // steps spent on building automata, all together
	maxQuestion  = 30 << 20  // letters tried for one entry, over all accounts
	maxCells     = 128       // kinds of services that the patterns tell apart
	maxExamples  = 5         // names shown as examples
	maxExcept    = 8         // single names set aside when a pattern is too large
	maxExternals = 2000      // examples of accounts that live elsewhere
)

// Analysis answers questions about one policy and one universe.
type Analysis struct {
	policy   *acl.Policy
	universe Universe
	entries  []acl.Entry
	rules    []rule
	accounts []account
	byName   map[string]int
	byRank   []int // accounts by name
	types    []typeInfo
	services []string
	known    int // so many of the services are known to be somebody's
	ips      []netip.Addr
	ipOrder  []int // the addresses among ips, sorted

	// incomplete says why a claim that something does not exist can't be made.
	incomplete string
	// external says whether accounts that live elsewhere exist.
	external bool

	langs       *langTable
	accIndex    accountIndex
	labels      map[string]*labelIndex
	plain       map[string]bitset    // label key → accounts whose values are plain text
	manyClasses int                  // see grantsToAll
	byLabels    map[string][]int     // keys → class of each account
	subjects    map[string]*Analysis // see Check
	search      *automata.Searcher
	buf         []string
	scratch     []bitset
	lifted      map[liftKey]liftedDFA
	classes     map[classKey]NameClass
}

// account is somebody who asks.
type account struct {
	name      string
	labels    map[string][]string
	external  bool
	condition string // of an external one: when it is like this
}

// typeInfo is a resource type with the names that exist in it.
type typeInfo struct {
	name  string
	names *automata.DFA
	lang  langID // the same
}

// site is everything of a request but account and name, as indexes.
type site struct{ typ, service, ip int }

// New prepares a policy for questions. It fails only when the universe
// contradicts itself.
func New(policy *acl.Policy, universe Universe) (*Analysis, error) {
	return build(policy, universe, setup{})
}

// setup is what an analysis takes over from another one.
type setup struct {
	all       []rule       // the entries that tell types and services apart, if more than the policy's
	externals []account    // examples of accounts that live elsewhere
	langs     *langTable   // languages known already
	ips       []netip.Addr // in place of those that the policies tell apart
	services  []string     // in place of those that the policies tell apart
}

func build(policy *acl.Policy, universe Universe, from setup) (*Analysis, error) {
	a := &Analysis{
		policy:   policy,
		universe: universe,
		entries:  policy.Entries(),
		byName:   make(map[string]int, len(universe.Users)+1),
		ips:      from.ips,
		external: universe.External,
		langs:    from.langs,
		search:   automata.NewSearcher(maxStates),
		labels:   map[string]*labelIndex{},
		plain:    map[string]bitset{},
		byLabels: map[string][]int{},
		lifted:   map[liftKey]liftedDFA{},
		classes:  map[classKey]NameClass{},

		manyClasses: manyClasses,
	}
	if a.langs == nil {
		a.langs = newLangTable()
	}
	for _, u := range universe.Users {
		if _, ok := a.byName[u.Name]; ok {
			return nil, fmt.Errorf("account %q is there twice", u.Name)
		}
		a.addAccount(account{name: u.Name, labels: u.Labels})
	}
	if _, ok := a.byName[""]; !ok && universe.Anonymous {
		a.addAccount(account{})
	}
	a.rules = readRules(policy)
	all := a.rules
	if from.all != nil {
		all = from.all
	}
	if err := a.findTypes(all); err != nil {
		return nil, err
	}
	if from.services != nil {
		a.services, a.known = from.services, len(from.services)
	} else {
		a.findServices(all)
	}
	a.placeRules()
	if a.ips == nil {
		a.ips = policy.IPCells()
	}
	if universe.External {
		if from.externals == nil {
			from.externals = a.findExternals(all)
		}
		for _, e := range from.externals {
			a.addAccount(e)
		}
	}
	a.rank()
	a.accIndex.build(a.accounts)
	for i := range a.rules {
		a.rules[i].users = a.ruleUsers(i)
	}
	return a, nil
}

// readRules reads the entries of a policy.
func readRules(p *acl.Policy) []rule {
	entries := p.Entries()
	rules := make([]rule, len(entries))
	options := acl.Options{LiteralLabels: p.LiteralLabels()}
	for i := range rules {
		rules[i].patterns = p.Patterns(i)
		rules[i].read(&entries[i], options)
	}
	return rules
}

// rank orders the accounts by name.
func (a *Analysis) rank() {
	a.byRank = make([]int, len(a.accounts))
	for u := range a.accounts {
		a.byRank[u] = u
	}
	sort.Slice(a.byRank, func(i, j int) bool { return a.accounts[a.byRank[i]].name < a.accounts[a.byRank[j]].name })
}

// namesOf returns the names of some accounts, sorted.
func (a *Analysis) namesOf(who bitset) []string {
	out := make([]string, 0, who.count())
	for _, u := range a.byRank {
		if who.has(u) {
			out = append(out, a.accounts[u].name)
		}
	}
	return out
}

// everyone returns a new set of all accounts.
func (a *Analysis) everyone() bitset {
	b := newBitset(len(a.accounts))
	if len(b) > 0 {
		b.fill(len(a.accounts))
	}
	return b
}

func (a *Analysis) addAccount(acc account) {
	a.byName[acc.name] = len(a.accounts)
	a.accounts = append(a.accounts, acc)
}

// account returns the index of a static account or the anonymous one.
func (a *Analysis) account(name string) (int, bool) {
	u, ok := a.byName[name]
	return u, ok && !a.accounts[u].external
}

// findTypes lists the types: those that registries ask for and those that the
// policy or the caller writes.
func (a *Analysis) findTypes(rules []rule) error {
	repository, err := automata.Universe(a.universe.Names)
	if err != nil {
		return err
	}
	catalog, err := automata.Determinize(automata.Literal("catalog"), automata.DefaultLimits())
	if err != nil {
		return err
	}
	printable, err := automata.Universe(automata.Printable)
	if err != nil {
		return err
	}
	info := func(name string, names *automata.DFA) typeInfo {
		return typeInfo{name, names, a.langs.add(automata.FromDFA(names))}
	}
	a.types = []typeInfo{info(TypeRepository, repository), info(TypeRegistry, catalog)}
	add := func(name string) {
		if isType(name) && !slices.ContainsFunc(a.types, func(t typeInfo) bool { return t.name == name }) {
			a.types = append(a.types, info(name, printable))
		}
	}
	for _, t := range a.universe.Types {
		add(t)
	}
	seen := map[string]bool{}
	var open []string
	for i := range rules {
		p := rules[i].patterns.Type
		if p == nil || p.HasPlaceholders() || seen[p.String()] {
			continue
		}
		seen[p.String()] = true
		if p.Kind() == acl.Literal {
			add(literalText(p.String()))
			continue
		}
		open = append(open, p.String())
	}
	for _, text := range open {
		l := a.langs.text(text)
		if slices.ContainsFunc(a.types, func(t typeInfo) bool { return a.matches(l, text, t.name) }) {
			continue
		}
		if w, ok := a.word(typeGrammar, l, nil); ok {
			add(w)
		}
	}
	return nil
}

// isType reports whether the scope grammar has such a type.
func isType(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// Grammars of generated values.
const (
	typeGrammar    = `/^[a-z0-9]+$/`
	serviceGrammar = `/^[ -~]*$/`
	accountGrammar = `/^[a-zA-Z0-9][a-zA-Z0-9@._-]*$/`
	valueGrammar   = `/^[a-zA-Z0-9][a-zA-Z0-9_-]*$/`
)

// word returns a shortest word of the grammar that is in the language and in
// none of the others.
func (a *Analysis) word(grammar string, in langID, out []langID) (string, bool) {
	q := automata.Query{Universe: a.langs.of(a.langs.text(grammar)).DFA()}
	if l := a.langs.of(in); l != nil {
		q.In = []*automata.Lang{l}
	} else {
		return "", false
	}
	for _, o := range out {
		if l := a.langs.of(o); l != nil {
			q.Out = append(q.Out, l)
		}
	}
	w, ok, err := a.search.Shortest(q)
	return w, ok && err == nil
}

// findServices lists the known services, then one of each kind that the
// patterns tell apart.
func (a *Analysis) findServices(rules []rule) {
	for _, s := range a.universe.Services {
		if !slices.Contains(a.services, s) {
			a.services = append(a.services, s)
		}
	}
	if len(a.services) == 0 {
		a.services = []string{""}
	} else {
		a.known = len(a.services)
	}
	var texts []string
	open := map[string]bool{}
	any := false
	for i := range rules {
		p := rules[i].patterns.Service
		any = any || p != nil
		switch {
		case p == nil:
		case p.HasPlaceholders():
			// Filled in for each account; what no known service fits is left out.
		case p.Kind() == acl.Literal:
			if s := literalText(p.String()); !slices.Contains(a.services, s) {
				a.services = append(a.services, s)
			}
		case !open[p.String()]:
			open[p.String()] = true
			texts = append(texts, p.String())
		}
	}
	if any {
		a.cutServices(texts)
	}
}

// placeRules finds the types and services that each entry is about.
func (a *Analysis) placeRules() {
	types, services := map[string]bitset{}, map[string]bitset{}
	set := func(memo map[string]bitset, p *acl.Pattern, n int, value func(int) string) bitset {
		if p == nil || p.HasPlaceholders() {
			return nil
		}
		text := p.String()
		b, ok := memo[text]
		if !ok {
			b = newBitset(n)
			for k := range n {
				if a.matches(a.langs.text(text), text, value(k)) {
					b.add(k)
				}
			}
			memo[text] = b
		}
		return b
	}
	for i := range a.rules {
		r := &a.rules[i]
		r.types = set(types, r.patterns.Type, len(a.types), func(k int) string { return a.types[k].name })
		r.services = set(services, r.patterns.Service, len(a.services), func(k int) string { return a.services[k] })
	}
}

// cutServices adds a service for every combination of the patterns that some
// service has, the one that none of them matches included.
func (a *Analysis) cutServices(texts []string) {
	grammar := a.langs.text(serviceGrammar)
	type cell struct{ in, out []langID }
	cells := []cell{{in: []langID{grammar}}}
	for _, text := range texts {
		l := a.langs.text(text)
		if a.langs.of(l) == nil {
			a.incomplete = fmt.Sprintf("service pattern %q: %s", text, a.langs.why(l))
			continue
		}
		var next []cell
		for _, c := range cells {
			for _, n := range []cell{{append(slices.Clip(c.in), l), c.out}, {c.in, append(slices.Clip(c.out), l)}} {
				if _, ok := a.wordIn(n.in, n.out, nil); ok {
					next = append(next, n)
				}
			}
		}
		if len(next) > maxCells {
			a.incomplete = fmt.Sprintf("the service patterns tell more than %d kinds of services apart", maxCells)
			break
		}
		cells = next
	}
	for _, c := range cells {
		if w, ok := a.wordIn(c.in, c.out, a.services); ok {
			a.services = append(a.services, w)
		}
	}
}

func (a *Analysis) wordIn(in, out []langID, except []string) (string, bool) {
	q := automata.Query{Universe: a.langs.of(in[0]).DFA(), Except: except}
	for _, l := range in[1:] {
		q.In = append(q.In, a.langs.of(l))
	}
	for _, l := range out {
		q.Out = append(q.Out, a.langs.of(l))
	}
	w, ok, err := a.search.Shortest(q)
	return w, ok && err == nil
}

// matches reports whether the pattern, which is text and has the language l,
// matches a value of any form.
func (a *Analysis) matches(l langID, text, value string) bool {
	if d := a.langs.dfa(l); d != nil && isASCII(value) && len(value) <= automata.MaxLength {
		return d.Match(value)
	}
	ok, err := acl.MatchText(text, value)
	return ok && err == nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= automata.Letters || s[i] < automata.Symbols {
			return false
		}
	}
	return true
}

// literalText returns the one text that a literal pattern matches.
func literalText(p string) string {
	if !strings.Contains(p, `\`) {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '\\' && i+1 < len(p) {
			i++
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

// accountIndex finds the accounts that a pattern matches.
type accountIndex struct {
	sorted []string // ASCII names
	order  []int    // their accounts
	others []int    // accounts with other names
	memo   map[string]accountSet
}

func (x *accountIndex) build(accounts []account) {
	x.memo = map[string]accountSet{}
	for u := range accounts {
		if isASCII(accounts[u].name) && len(accounts[u].name) <= automata.MaxLength {
			x.order = append(x.order, u)
		} else {
			x.others = append(x.others, u)
		}
	}
	sort.Slice(x.order, func(i, j int) bool { return accounts[x.order[i]].name < accounts[x.order[j]].name })
	for _, u := range x.order {
		x.sorted = append(x.sorted, accounts[u].name)
	}
}

// accountsLike returns the accounts whose name a pattern without placeholders
// matches.
func (a *Analysis) accountsLike(p *acl.Pattern) accountSet {
	x := &a.accIndex
	text := p.String()
	if p.Kind() == acl.Literal {
		return a.accountsNamed(literalText(text))
	}
	if s, ok := x.memo[text]; ok {
		return s
	}
	l := a.langs.text(text)
	b := newBitset(len(a.accounts))
	others := x.others
	if d := a.langs.dfa(l); d != nil {
		d.Follow(x.sorted, func(i int) { b.add(x.order[i]) })
	} else {
		others = append(slices.Clip(x.order), x.others...)
	}
	match := a.textMatcher(text, len(others))
	for _, u := range others {
		if match(a.accounts[u].name) {
			b.add(u)
		}
	}
	s := shrink(b)
	x.memo[text] = s
	return s
}

// accountsNamed returns the accounts of a name: examples of accounts that live
// elsewhere may share one.
func (a *Analysis) accountsNamed(name string) accountSet {
	u, ok := a.byName[name]
	if !ok {
		return accountSet{one: -1}
	}
	if !a.accounts[u].external {
		return accountSet{one: u}
	}
	b := newBitset(len(a.accounts))
	for v := range a.accounts {
		if a.accounts[v].name == name {
			b.add(v)
		}
	}
	return shrink(b)
}

// textMatcher returns a function that matches values as the engine does, for n
// uses.
func (a *Analysis) textMatcher(text string, n int) func(string) bool {
	if n == 0 {
		return nil
	}
	if re := compileRegexp(text); re != nil {
		return re.MatchString
	}
	return func(v string) bool {
		ok, err := acl.MatchText(text, v)
		return ok && err == nil
	}
}

// shrink gives a set with at most one member its small form.
func shrink(b bitset) accountSet {
	first := b.first(0)
	if first < 0 || b.first(first+1) < 0 {
		return accountSet{one: first}
	}
	return accountSet{bits: b}
}

// labelIndex lists the values that accounts have for one key.
type labelIndex struct {
	values []string // sorted
	users  map[string][]int
	memo   map[string]accountSet
}

func (a *Analysis) labelIndex(key string) *labelIndex {
	x, ok := a.labels[key]
	if ok {
		return x
	}
	x = &labelIndex{users: map[string][]int{}, memo: map[string]accountSet{}}
	for u := range a.accounts {
		for _, v := range a.accounts[u].labels[key] {
			if list := x.users[v]; len(list) == 0 || list[len(list)-1] != u {
				x.users[v] = append(list, u)
			}
		}
	}
	for v := range x.users {
		x.values = append(x.values, v)
	}
	sort.Strings(x.values)
	a.labels[key] = x
	return x
}

// accountsLabelled returns the accounts of which a value of the key matches a
// pattern without placeholders.
func (a *Analysis) accountsLabelled(key string, p *acl.Pattern) accountSet {
	x := a.labelIndex(key)
	text := p.String()
	if s, ok := x.memo[text]; ok {
		return s
	}
	b := newBitset(len(a.accounts))
	addValue := func(v string) {
		for _, u := range x.users[v] {
			b.add(u)
		}
	}
	if p.Kind() == acl.Literal {
		addValue(literalText(text))
	} else {
		l := a.langs.text(text)
		var slow func(string) bool
		for _, v := range x.values {
			if d := a.langs.dfa(l); d != nil && isASCII(v) && len(v) <= automata.MaxLength {
				if d.Match(v) {
					addValue(v)
				}
				continue
			}
			if slow == nil {
				slow = a.textMatcher(text, 1)
			}
			if slow(v) {
				addValue(v)
			}
		}
	}
	s := shrink(b)
	x.memo[text] = s
	return s
}

// ruleUsers returns the accounts that an entry may concern: those that fit
// the account and label patterns as far as these have no placeholders.
func (a *Analysis) ruleUsers(i int) accountSet {
	r := &a.rules[i]
	set, any := accountSet{}, true
	meet := func(s accountSet) {
		if any {
			set, any = s, false
			return
		}
		set = set.and(s)
	}
	if p := r.patterns.Account; p != nil && !p.HasPlaceholders() {
		meet(a.accountsLike(p))
	}
	for k := range r.patterns.Labels {
		l := &r.patterns.Labels[k]
		if !l.Pattern.HasPlaceholders() {
			meet(a.accountsLabelled(l.Key, &l.Pattern))
		}
	}
	if any {
		return a.everybody()
	}
	return set
}

func (a *Analysis) everybody() accountSet {
	const key = "\x00all"
	s, ok := a.accIndex.memo[key]
	if !ok {
		s = accountSet{bits: a.everyone(), one: -1}
		a.accIndex.memo[key] = s
	}
	return s
}

// request builds the request for a point.
func (a *Analysis) request(u int, st site, name string, actions []string) acl.Request {
	return acl.Request{
		Account: a.accounts[u].name,
		Type:    a.types[st.typ].name,
		Name:    name,
		Service: a.services[st.service],
		Labels:  a.accounts[u].labels,
		IP:      a.ips[st.ip],
		Actions: actions,
	}
}

// decide asks the engine which entry decides; len(entries) stands for none.
func (a *Analysis) decide(u int, st site, name string, actions []string) (entry int, granted []string, err error) {
	r := a.request(u, st, name, actions)
	d := a.policy.Decide(&r, a.buf)
	entry = d.Index
	if entry < 0 {
		entry = len(a.entries)
	}
	return entry, d.Granted, d.Err
}
