package analysis

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// plain is the policy as its documentation words it: a loop over the entries,
// each pattern with its values put in as text.
type plain struct {
	entries []acl.Entry
	regexps map[string]*regexp.Regexp
}

type tri int

const (
	no tri = iota
	open
	yes
)

func (p *plain) text(pattern, value string) tri {
	if len(pattern) > 2 && pattern[0] == '/' && pattern[len(pattern)-1] == '/' {
		re, ok := p.regexps[pattern]
		if !ok {
			re, _ = regexp.Compile(pattern[1 : len(pattern)-1])
			p.regexps[pattern] = re
		}
		switch {
		case re == nil:
			return open
		case re.MatchString(value):
			return yes
		}
		return no
	}
	ok, err := path.Match(pattern, value)
	switch {
	case err != nil:
		return open
	case ok:
		return yes
	}
	return no
}

var (
	plainCapture = regexp.MustCompile(`\$\{(.+?):(\d+)\}`)
	plainLabel   = regexp.MustCompile(`\$\{labels:([a-z]+)\}`)
)

// field matches one field of entry e.
func (p *plain) field(e *acl.Entry, pattern, value string, r *acl.Request, labels bool) tri {
	fields := map[string][2]*string{
		"account": {e.Match.Account, &r.Account}, "type": {e.Match.Type, &r.Type},
		"name": {e.Match.Name, &r.Name}, "service": {e.Match.Service, &r.Service},
	}
	fill := func(choice map[string]string) string {
		var pairs []string
		for f, v := range fields {
			pairs = append(pairs, "${"+f+"}", regexp.QuoteMeta(*v[1]))
		}
		// Captures are looked for in the four fields only, labels know those.
		for _, f := range fields {
			if f[0] == nil {
				continue
			}
			for _, m := range plainCapture.FindAllStringSubmatch(*f[0], -1) {
				own := fields[m[1]]
				if own[0] == nil || len(*own[0]) <= 2 || (*own[0])[0] != '/' || (*own[0])[len(*own[0])-1] != '/' {
					continue
				}
				re, err := regexp.Compile((*own[0])[1 : len(*own[0])-1])
				if err != nil {
					continue
				}
				n, _ := strconv.Atoi(m[2])
				if found := re.FindStringSubmatch(*own[1]); n < len(found) {
					pairs = append(pairs, m[0], found[n])
				}
			}
		}
		for k, v := range choice {
			pairs = append(pairs, "${labels:"+k+"}", v)
		}
		return strings.NewReplacer(pairs...).Replace(pattern)
	}
	result := p.text(fill(nil), value)
	if result == yes || !labels {
		return result
	}
	choices := []map[string]string{{}}
	any := false
	for _, m := range plainLabel.FindAllStringSubmatch(pattern, -1) {
		values, ok := r.Labels[m[1]]
		if _, done := choices0(choices)[m[1]]; !ok || done {
			continue
		}
		any = true
		var next []map[string]string
		for _, c := range choices {
			for _, v := range values {
				d := maps.Clone(c)
				d[m[1]] = v
				next = append(next, d)
			}
		}
		choices = next
	}
	if !any {
		return result
	}
	for _, c := range choices {
		switch p.text(fill(c), value) {
		case yes:
			return yes
		case open:
			result = open
		}
	}
	return result
}

func choices0(c []map[string]string) map[string]string {
	if len(c) == 0 {
		return nil
	}
	return c[0]
}

func (p *plain) entry(e *acl.Entry, r *acl.Request) tri {
	result := yes
	meet := func(t tri) { result = min(result, t) }
	for _, f := range []struct {
		pattern *string
		value   string
	}{{e.Match.Account, r.Account}, {e.Match.Type, r.Type}, {e.Match.Name, r.Name}, {e.Match.Service, r.Service}} {
		if f.pattern != nil {
			meet(p.field(e, *f.pattern, f.value, r, true))
		}
	}
	if e.Match.IP != nil {
		in := netip.MustParsePrefix(*e.Match.IP)
		if !r.IP.IsValid() || !in.Contains(r.IP) {
			meet(no)
		}
	}
	for _, l := range e.Match.Labels {
		best := no
		for _, v := range r.Labels[l.Key] {
			best = max(best, p.field(e, l.Pattern, v, r, false))
		}
		meet(best)
	}
	return result
}

// decide returns the deciding entry, -1 for none, and whether it matched.
func (p *plain) decide(r *acl.Request) (int, bool) {
	for i := range p.entries {
		switch p.entry(&p.entries[i], r) {
		case yes:
			return i, true
		case open:
			return i, false
		}
	}
	return -1, true
}

// smallNames are all repository names up to length 5 over a small alphabet.
func smallNames(length int) []string {
	valid := regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	var out []string
	var grow func(s string)
	grow = func(s string) {
		if valid.MatchString(s) {
			out = append(out, s)
		}
		if len(s) < length {
			for _, c := range "ab-/" {
				grow(s + string(c))
			}
		}
	}
	grow("")
	return out
}

// dice writes random policies.
type dice struct{ *rand.Rand }

func (d dice) pick(list ...string) string { return list[d.IntN(len(list))] }

func (d dice) maybe(n int, list ...string) *string {
	if d.IntN(n) > 0 {
		return nil
	}
	return ptr(d.pick(list...))
}

func (d dice) namePattern() string {
	part := func() string {
		return d.pick("a", "b", "a", "ab", "a-b", "*", "?", "[ab]", "[^a]", "${labels:team}", "${labels:team}", "${account}", "${labels:role}", "${account:1}", "a*", "*b", `\a`)
	}
	if d.IntN(2) == 0 {
		s := part()
		for range d.IntN(3) {
			s += d.pick("/", "/", "-", "") + part()
		}
		return s
	}
	s := ""
	for range 1 + d.IntN(3) {
		s += d.pick("a", "b", "/", "-", "[ab]", "[^/]+", ".+", ".*", "(?:a|b/)", "(a|b)", "a+", "b?", "${labels:team}", "(?:${labels:team})", "${account}", "${account:1}", "[${labels:team}]", "${labels:role}*", `\b`, "(?i:A)", "${labels:team}/${labels:team}")
	}
	if d.IntN(3) > 0 {
		s = "^" + s
	}
	if d.IntN(3) > 0 {
		s += "$"
	}
	return "/" + s + "/"
}

func (d dice) entries(n int) []acl.Entry {
	var out []acl.Entry
	for range n {
		var e acl.Entry
		if d.IntN(12) == 0 {
			out = append(out, d.dependent())
			continue
		}
		e.Match.Account = d.maybe(3, "a", "b", "", "ab", "a*", "*", "/.+/", "/^(a|b)$/", "/^(.)b?$/", "/^a(.*)$/", "${labels:team}", "x-${type}", "/^${labels:role}$/")
		if d.IntN(4) > 0 {
			e.Match.Name = ptr(d.namePattern())
		}
		e.Match.Type = d.maybe(5, "repository", "registry", "*", "re*", "/^repo/", "plugin", "${account}", "/^(reg|plug)/", "[${labels:team}]*")
		e.Match.Service = d.maybe(12, "s", "s*", "/t$/", "", "${account}")
		e.Match.IP = d.maybe(12, "10.0.0.0/8", "10.1.0.0/16", "::/0", "192.168.0.0/24")
		if d.IntN(4) == 0 {
			e.Match.Labels = append(e.Match.Labels, acl.LabelMatch{Key: d.pick("team", "role"), Pattern: d.pick("*", "a", "b", "/a/", "${account}", "a*", "/^${account:1}$/", "x")})
		}
		e.Actions = [][]string{{"*"}, {"pull"}, {"pull", "push"}, {"push", "pull"}, {}, {"delete"}}[d.IntN(6)]
		out = append(out, e)
	}
	return out
}

// dependent is an entry that asks something of the account that depends on the
// name.
func (d dice) dependent() acl.Entry {
	e := acl.Entry{Actions: []string{"pull"}}
	if d.IntN(4) > 0 {
		e.Match.Name = ptr(d.pick("/^([^/]+)/.+$/", "/^(a|b)(.*)$/", "/(a+)/", "/^(.*?)-?(b)?$/", "a*", "/^(a)?/", "/(.*)/", "/^${labels:team}(.)/", "${name}"))
	}
	part := func() string {
		return d.pick("${name}", "${name:1}", "/^${name:1}$/", "/${name:1}/", "${name:1}*", "/^(a|${name})$/", "x${name:2}", "/(?i)^${name:1}/", "${name}-${name:1}", "[${name:1}]", "${name:1}${account}", "/^${name:1}?$/", "b${name}", "/${name:1}$/")
	}
	switch d.IntN(3) {
	case 0:
		e.Match.Account = ptr(part())
	case 1:
		// A capture is replaced in labels only where one of the four fields has it.
		e.Match.Service = d.maybe(2, "*${name:1}", "/^[st]?${name:1}?/")
		e.Match.Labels = append(e.Match.Labels, acl.LabelMatch{Key: d.pick("team", "role"), Pattern: part()})
	case 2:
		e.Match.Type = ptr(d.pick("*${name:1}*", "${name}", "/(${name}|repo)/", "plug${name:1}n"))
	}
	return e
}

func (d dice) users() []User {
	var out []User
	for _, name := range []string{"a", "b", "ab", "b-a"}[:2+d.IntN(3)] {
		u := User{Name: name, Labels: map[string][]string{}}
		for _, key := range []string{"team", "role"} {
			switch d.IntN(5) {
			case 0:
			case 1:
				u.Labels[key] = []string{}
			default:
				for range 1 + d.IntN(2) {
					u.Labels[key] = append(u.Labels[key], d.pick("a", "b", "a", "b", "ab", "a-b", "b/a", "*", ".*", "a|b", "a(b", "[", ""))
				}
			}
		}
		out = append(out, u)
	}
	return out
}

func testUniverse(d dice) Universe {
	return Universe{Users: d.users(), Anonymous: d.IntN(2) == 0, Services: []string{"s", "t"}}
}

// compile makes a random policy; random patterns are not always valid.
func (d dice) compile(n int) *acl.Policy {
	for {
		p, err := acl.Compile(d.entries(n), acl.Options{})
		if err == nil {
			return p
		}
	}
}

// source returns the random numbers of a test; REGCTL_SETUP_SEED chooses others.
func source(test uint64) *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv("REGCTL_SETUP_SEED"), 10, 64)
	if err != nil {
		seed = 1
	}
	return rand.New(rand.NewPCG(test, seed))
}

// pairs is how many (policy, request) pairs a test is to try, about.
func pairs() int {
	if os.Getenv("REGCTL_SETUP_SOAK") != "" {
		return 1_000_000
	}
	return 50_000
}

// Whatever the request, the plain loop, the engine and the automata name the
// same entry.
func TestAutomataAgreeWithDecide(t *testing.T) {
	t.Parallel()
	d := dice{source(11)}
	names := smallNames(4)
	for n := 0; n < pairs(); {
		policy := d.compile(1 + d.IntN(6))
		a, err := New(policy, testUniverse(d))
		if err != nil {
			t.Fatal(err)
		}
		loop := plain{policy.Entries(), map[string]*regexp.Regexp{}}
		for range 200 {
			n++
			st := site{d.IntN(len(a.types)), d.IntN(len(a.services)), d.IntN(len(a.ips))}
			u := d.IntN(len(a.accounts))
			name := names[d.IntN(len(names))]
			if a.types[st.typ].name == TypeRegistry {
				name = "catalog"
			}
			r := a.request(u, st, name, []string{"pull"})
			got := policy.Decide(&r, nil)
			if want, matched := loop.decide(&r); got.Index != want || (got.Err == nil) != matched {
				t.Fatalf("Decide says entry %d (error %v), the plain loop %d (matched %v)\n%s", got.Index, got.Err, want, matched, dump(policy, &r))
			}
			index, why, matched := a.decideByAutomata(u, st, name)
			if why != "" {
				continue
			}
			if index != got.Index || (got.Err == nil) != matched {
				t.Fatalf("Decide says entry %d (error %v), the automata %d (matched %v)\n%s", got.Index, got.Err, index, matched, dump(policy, &r))
			}
		}
	}
}

// decideByAutomata is the first entry whose language has the name.
func (a *Analysis) decideByAutomata(u int, st site, name string) (index int, why string, matched bool) {
	for i := range a.rules {
		if !a.rules[i].users.has(u) || !a.at(i, st) {
			continue
		}
		l := a.names(i, u, st)
		stop := a.langs.of(l.stop)
		if stop == nil {
			return i, a.langs.why(l.stop), false
		}
		if stop.Match(name) {
			return i, "", a.langs.of(l.hold).Match(name)
		}
	}
	return -1, "", true
}

func dump(p *acl.Policy, r *acl.Request) string {
	var b strings.Builder
	show := func(name string, s *string) {
		if s != nil {
			fmt.Fprintf(&b, " %s:%q", name, *s)
		}
	}
	for i, e := range p.Entries() {
		fmt.Fprintf(&b, "entry %d:", i)
		show("account", e.Match.Account)
		show("type", e.Match.Type)
		show("name", e.Match.Name)
		show("service", e.Match.Service)
		show("ip", e.Match.IP)
		fmt.Fprintf(&b, " labels:%q actions:%q\n", e.Match.Labels, e.Actions)
	}
	if r != nil {
		fmt.Fprintf(&b, "request: account %q labels %q type %q name %q service %q ip %v actions %q\n", r.Account, r.Labels, r.Type, r.Name, r.Service, r.IP, r.Actions)
	}
	return b.String()
}

// each calls f with every request of the universe made of small names.
func (a *Analysis) each(names []string, f func(u int, st site, name string)) {
	for u := range a.accounts {
		a.sites(len(a.entries), false, func(st site) bool {
			if a.types[st.typ].name == TypeRegistry {
				f(u, st, "catalog")
				return true
			}
			for _, n := range names {
				f(u, st, n)
			}
			return true
		})
	}
}

func (a *Analysis) confirm(t *testing.T, r *acl.Request, entry int, granted bool) {
	t.Helper()
	if r == nil {
		t.Fatal("no witness")
	}
	d := a.policy.Decide(r, nil)
	if d.Index != entry || granted && !slices.Equal(d.Granted, r.Actions) {
		t.Fatalf("witness: entry %d decides and grants %q, want entry %d\n%s", d.Index, d.Granted, entry, dump(a.policy, r))
	}
}

func TestReachableAgainstBruteForce(t *testing.T) {
	t.Parallel()
	d := dice{source(21)}
	names := smallNames(4)
	dead, live, open := 0, 0, 0
	for range pairs() / 200 {
		policy := d.compile(1 + d.IntN(7))
		a, err := New(policy, testUniverse(d))
		if err != nil {
			t.Fatal(err)
		}
		hit := make([]*acl.Request, policy.Len())
		a.each(names, func(u int, st site, name string) {
			r := a.request(u, st, name, probe)
			if i := policy.Decide(&r, nil).Index; i >= 0 && hit[i] == nil {
				hit[i] = &r
			}
		})
		for i, rep := range a.Reachable() {
			switch {
			case rep.NotDecided != "":
				open++
			case rep.Reachable:
				live++
				a.confirm(t, rep.Witness, i, false)
			default:
				dead++
				if hit[i] != nil {
					t.Fatalf("entry %d is said to be unreachable (covers %v, %s)\n%s", i, rep.CoveredBy, rep.Reason, dump(policy, hit[i]))
				}
				if len(rep.CoveredBy) == 0 && rep.Reason == "" {
					t.Fatalf("entry %d: no covers and no reason\n%s", i, dump(policy, nil))
				}
				for _, c := range rep.CoveredBy {
					if c >= i {
						t.Fatalf("entry %d is covered by entry %d", i, c)
					}
				}
			}
		}
	}
	t.Logf("%d live, %d dead, %d not decided", live, dead, open)
	if dead == 0 || live == 0 || open*10 > dead+live {
		t.Errorf("%d live, %d dead, %d not decided: the test says little", live, dead, open)
	}
}

func TestGrantsAgainstBruteForce(t *testing.T) {
	t.Parallel()
	d := dice{source(31)}
	names := smallNames(4)
	rows, open := 0, 0
	for range pairs() / 400 {
		policy := d.compile(1 + d.IntN(7))
		a, err := New(policy, testUniverse(d))
		if err != nil {
			t.Fatal(err)
		}
		q := Question{Action: d.pick("pull", "push", "delete", "*"), AllTypes: true}
		if d.IntN(2) == 0 {
			if q.Names, err = ParseNamePattern(d.pick("a/**", "**", "*", "a*", "a-b/*", "*/b", "**/a", "a", "b/a")); err != nil {
				t.Fatal(err)
			}
		}
		asked := a.langs.of(a.language(q.Names))
		grants, undecided := a.WhoCan(q)
		open += len(undecided)
		rows += len(grants)
		type rowKey struct {
			account, typ, name string
			entry              int
		}
		want := map[rowKey]*acl.Request{}
		a.each(names, func(u int, st site, name string) {
			if st.service >= a.known || !asked.Match(name) {
				return
			}
			r := a.request(u, st, name, []string{q.Action})
			if dec := policy.Decide(&r, nil); len(dec.Granted) > 0 {
				want[rowKey{r.Account, r.Type, name, dec.Index}] = &r
			}
		})
		got := map[rowKey]bool{}
		for _, g := range grants {
			a.confirm(t, g.Witness, g.Entry, true)
			if g.Witness.Account != g.Accounts[0] || !g.Names.Contains(g.Witness.Name) {
				t.Fatalf("the witness is not in its row: %+v\n%s", g, dump(policy, g.Witness))
			}
			for _, acc := range g.Accounts {
				list := names
				if g.Type == TypeRegistry {
					list = []string{"catalog"}
				}
				for _, name := range list {
					if g.Names.Contains(name) {
						got[rowKey{acc, g.Type, name, g.Entry}] = true
						if want[rowKey{acc, g.Type, name, g.Entry}] == nil {
							t.Fatalf("grant of %s on %q to %q by entry %d is not there: %v\n%s", q.Action, name, acc, g.Entry, g.Names, dump(policy, nil))
						}
					}
				}
			}
		}
		if len(undecided) > 0 {
			continue
		}
		for k, r := range want {
			if !got[k] {
				t.Fatalf("grant of %s missing: %+v\n%s", q.Action, k, dump(policy, r))
			}
		}
	}
	if rows == 0 || open > rows {
		t.Errorf("%d rows, %d not decided: the test says little", rows, open)
	}
}

// mutate changes a policy a little, or not at all in meaning.
func (d dice) mutate(entries []acl.Entry) []acl.Entry {
	out := slices.Clone(entries)
	for range 1 + d.IntN(2) {
		switch k := d.IntN(len(out)); d.IntN(5) {
		case 0:
			if len(out) > 1 {
				out = slices.Delete(out, k, k+1)
			}
		case 1:
			out = slices.Insert(out, k, d.entries(1)...)
		case 2:
			l := d.IntN(len(out))
			out[k], out[l] = out[l], out[k]
		case 3:
			out[k].Actions = d.entries(1)[0].Actions
		case 4:
			out[k].Match.Name = ptr(d.namePattern())
		}
	}
	return out
}

func TestDiffAgainstBruteForce(t *testing.T) {
	t.Parallel()
	r := dice{source(41)}
	names := smallNames(4)
	rows, open, empty := 0, 0, 0
	for range pairs() / 400 {
		oldPolicy := r.compile(1 + r.IntN(6))
		var newPolicy *acl.Policy
		for newPolicy == nil {
			newPolicy, _ = acl.Compile(r.mutate(oldPolicy.Entries()), acl.Options{})
		}
		oldUniverse := testUniverse(r)
		newUniverse := oldUniverse
		newUniverse.Anonymous = r.IntN(2) == 0
		if r.IntN(3) == 0 {
			newUniverse.Users = testUniverse(r).Users
		}
		before, err := New(oldPolicy, oldUniverse)
		if err != nil {
			t.Fatal(err)
		}
		after, err := New(newPolicy, newUniverse)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := Diff(before, after)
		if err != nil {
			t.Fatal(err)
		}
		open += len(changes.Undecided)
		rows += len(changes.Gains) + len(changes.Losses)
		if changes.Empty() {
			empty++
		}
		about := func() string {
			return "old " + dump(oldPolicy, nil) + "new " + dump(newPolicy, nil) + fmt.Sprintf("users %q %q", oldUniverse.Users, newUniverse.Users)
		}
		labels := func(a *Analysis, name string) (map[string][]string, bool) {
			u, ok := a.account(name)
			if !ok {
				return nil, false
			}
			return a.accounts[u].labels, true
		}
		granted := func(a *Analysis, w acl.Request) []string {
			l, ok := labels(a, w.Account)
			if !ok {
				return nil
			}
			w.Labels = l
			return a.policy.Decide(&w, nil).Granted
		}
		// What happens to each account, type and name, by action.
		type key struct{ account, typ, name, action string }
		want := map[bool]map[key]bool{true: {}, false: {}}
		d, err := newDiff(before, after)
		if err != nil {
			t.Fatal(err)
		}
		accounts := map[string]bool{}
		for _, a := range []*Analysis{before, after} {
			for u := range a.accounts {
				accounts[a.accounts[u].name] = true
			}
		}
		probe := d.actions
		for account := range accounts {
			d.new.sites(len(d.new.entries), false, func(st site) bool {
				list := names
				if d.new.types[st.typ].name == TypeRegistry {
					list = []string{"catalog"}
				}
				for _, name := range list {
					req := acl.Request{Account: account, Type: d.new.types[st.typ].name, Name: name, Service: d.new.services[st.service], IP: d.new.ips[st.ip], Actions: probe}
					x, y := granted(before, req), granted(after, req)
					for _, action := range probe {
						if in, now := slices.Contains(x, action), slices.Contains(y, action); in != now {
							want[in][key{account, req.Type, name, action}] = true
						}
					}
				}
				return true
			})
		}
		got := map[bool]map[key]bool{true: {}, false: {}}
		for loss, list := range map[bool][]Change{false: changes.Gains, true: changes.Losses} {
			for _, c := range list {
				x, y := granted(before, *c.Witness), granted(after, *c.Witness)
				if loss {
					x, y = y, x
				}
				if len(x) > 0 && c.OldEntry >= 0 && c.NewEntry >= 0 || !slices.Equal(y, c.Witness.Actions) {
					t.Fatalf("witness of %+v is granted %q and %q\n%s", c, x, y, about())
				}
				for _, account := range c.Accounts {
					for _, name := range append(slices.Clip(names), "catalog") {
						if (name == "catalog") != (c.Type == TypeRegistry) || !c.Names.Contains(name) {
							continue
						}
						for _, action := range probe {
							if !slices.Contains(c.Actions, action) && !slices.Equal(c.Actions, []string{"*"}) {
								continue
							}
							k := key{account, c.Type, name, action}
							got[loss][k] = true
							if !want[loss][k] {
								t.Fatalf("loss %v of %+v is not there: entries %d, %d\n%s", loss, k, c.OldEntry, c.NewEntry, about())
							}
						}
					}
				}
			}
		}
		if len(changes.Undecided) > 0 {
			continue
		}
		for _, loss := range []bool{false, true} {
			for k := range want[loss] {
				if !got[loss][k] {
					t.Fatalf("loss %v of %+v is missing\n%s", loss, k, about())
				}
			}
		}
	}
	t.Logf("%d rows, %d not decided, %d equal pairs", rows, open, empty)
	if rows == 0 || empty == 0 || open > rows {
		t.Errorf("%d rows, %d not decided, %d equal pairs: the test says little", rows, open, empty)
	}
}

// An unreachable entry can be deleted and nothing changes; a reachable one that
// decides otherwise than what comes after it can't.
func TestUnreachableEntriesCanGo(t *testing.T) {
	t.Parallel()
	r := dice{source(51)}
	gone := 0
	for range pairs() / 400 {
		policy := r.compile(2 + r.IntN(6))
		universe := testUniverse(r)
		a, err := New(policy, universe)
		if err != nil {
			t.Fatal(err)
		}
		for i, rep := range a.Reachable() {
			if rep.Reachable || rep.NotDecided != "" {
				continue
			}
			gone++
			fewer, err := acl.Compile(slices.Delete(policy.Entries(), i, i+1), acl.Options{})
			if err != nil {
				t.Fatal(err)
			}
			b, err := New(fewer, universe)
			if err != nil {
				t.Fatal(err)
			}
			changes, err := Diff(a, b)
			if err != nil {
				t.Fatal(err)
			}
			if len(changes.Gains)+len(changes.Losses) > 0 {
				t.Fatalf("without the unreachable entry %d: %+v\n%s", i, changes, dump(policy, nil))
			}
		}
	}
	if gone == 0 {
		t.Error("no unreachable entry: the test says nothing")
	}
}

func TestAnonymousExceedsAgainstBruteForce(t *testing.T) {
	t.Parallel()
	r := dice{source(61)}
	names := smallNames(4)
	rows, none := 0, 0
	for range pairs() / 400 {
		policy := r.compile(1 + r.IntN(7))
		universe := testUniverse(r)
		universe.Anonymous = true
		a, err := New(policy, universe)
		if err != nil {
			t.Fatal(err)
		}
		excesses, undecided := a.AnonymousExceeds()
		rows += len(excesses)
		type key struct{ account, typ, name, action string }
		want := map[key]bool{}
		probe := probes(a)
		anon := a.byName[""]
		a.each(names, func(u int, st site, name string) {
			if st.service >= a.known || u == anon {
				return
			}
			x, y := a.request(anon, st, name, probe), a.request(u, st, name, probe)
			mine, theirs := policy.Decide(&x, nil).Granted, policy.Decide(&y, nil).Granted
			for _, action := range mine {
				if !slices.Contains(theirs, action) {
					want[key{y.Account, y.Type, name, action}] = true
				}
			}
		})
		if len(want) == 0 {
			none++
		}
		got := map[key]bool{}
		for _, e := range excesses {
			a.confirm(t, e.Witness, e.Entry, true)
			if d := policy.Decide(e.LoginWitness, nil); d.Index != e.LoginEntry || len(d.Granted) > 0 {
				t.Fatalf("%+v: the login witness is decided by %d and granted %q\n%s", e, d.Index, d.Granted, dump(policy, e.LoginWitness))
			}
			for _, account := range e.Accounts {
				for _, name := range append(slices.Clip(names), "catalog") {
					if (name == "catalog") != (e.Type == TypeRegistry) || !e.Names.Contains(name) {
						continue
					}
					for _, action := range probe {
						if slices.Contains(e.Actions, action) || slices.Equal(e.Actions, []string{"*"}) {
							k := key{account, e.Type, name, action}
							got[k] = true
							if !want[k] {
								t.Fatalf("%+v is not there: %+v\n%s", k, e, dump(policy, nil))
							}
						}
					}
				}
			}
		}
		if len(undecided) > 0 {
			continue
		}
		for k := range want {
			if !got[k] {
				t.Fatalf("%+v is missing\n%s%q", k, dump(policy, nil), universe.Users)
			}
		}
	}
	if rows == 0 || none == 0 {
		t.Errorf("%d rows, %d policies without: the test says little", rows, none)
	}
}

func TestCheckAgainstBruteForce(t *testing.T) {
	t.Parallel()
	r := dice{source(71)}
	names := smallNames(4)
	holds, broken, open := 0, 0, 0
	for range pairs() / 250 {
		policy := r.compile(1 + r.IntN(6))
		a, err := New(policy, testUniverse(r))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			u := r.IntN(len(a.accounts))
			c := Claim{Account: a.accounts[u].name, Action: r.pick("pull", "push", "*"), Accept: r.IntN(2) == 0, Service: r.pick("", "s", "t", "other"), Type: r.pick("", "", "registry", "plugin")}
			if c.Names, err = ParseNamePattern(r.pick("a/**", "**", "a", "b/*", "*/b", "catalog", "A/*")); err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) == 0 {
				c.IP = netip.MustParseAddr(r.pick("10.1.2.3", "10.9.9.9", "2001:db8::1", "1.1.1.1"))
			}
			if r.IntN(3) == 0 {
				c.Labels = map[string][]string{"team": {r.pick("a", "b", "*")}}
			}
			v, err := a.Check(c)
			if err != nil {
				t.Fatal(err)
			}
			labels := a.accounts[u].labels
			if c.Labels != nil {
				labels = c.Labels
			}
			service, typ := c.Service, c.Type
			if service == "" {
				service = "s"
			}
			if typ == "" {
				typ = TypeRepository
			}
			if v.Witness != nil {
				broken++
				if v.Witness.Account != c.Account || v.Witness.Service != service || v.Witness.Type != typ {
					t.Fatalf("claim %+v: witness of something else\n%s", c, dump(policy, v.Witness))
				}
				d := policy.Decide(v.Witness, nil)
				if (len(d.Granted) == 1) == c.Accept || d.Index != v.Entry {
					t.Fatalf("claim %+v: the witness does not contradict it\n%s", c, dump(policy, v.Witness))
				}
				continue
			}
			if v.NotDecided != "" {
				open++
				continue
			}
			ips := a.ips
			if c.IP.IsValid() {
				ips = []netip.Addr{c.IP}
			}
			asked := a.langs.of(a.language(c.Names))
			some := false
			for _, name := range append(slices.Clip(names), "catalog") {
				if !asked.Match(name) || typ == TypeRegistry && name != "catalog" {
					continue
				}
				some = true
				for _, ip := range ips {
					req := acl.Request{Account: c.Account, Labels: labels, Type: typ, Service: service, Name: name, IP: ip, Actions: []string{c.Action}}
					if d := policy.Decide(&req, nil); v.Holds && (len(d.Granted) == 1) != c.Accept {
						t.Fatalf("claim %+v is said to hold, entry %d grants %q\n%s", c, d.Index, d.Granted, dump(policy, &req))
					}
				}
			}
			if v.Holds {
				holds++
			} else if some && v.Reason != "" {
				t.Fatalf("claim %+v: %s", c, v.Reason)
			}
		}
	}
	if holds == 0 || broken == 0 || open > holds {
		t.Errorf("%d hold, %d broken, %d not decided: the test says little", holds, broken, open)
	}
}

func TestMatrixAgainstBruteForce(t *testing.T) {
	t.Parallel()
	r := dice{source(81)}
	names := smallNames(4)
	cells := 0
	for range pairs() / 400 {
		policy := r.compile(1 + r.IntN(6))
		a, err := New(policy, testUniverse(r))
		if err != nil {
			t.Fatal(err)
		}
		q := MatrixQuestion{}
		if r.IntN(3) == 0 {
			q.IP = netip.MustParseAddr(r.pick("10.1.2.3", "10.9.9.9", "2001:db8::1", "1.1.1.1"))
		}
		m := a.Matrix(q)
		if len(m.NotDecided) > 0 {
			continue
		}
		actions := probes(a)
		for _, name := range names {
			in := -1
			for k, c := range m.Classes {
				if c.Names.Contains(name) {
					if in >= 0 {
						t.Fatalf("%q is in two classes\n%s", name, dump(policy, nil))
					}
					in = k
				}
			}
			if in < 0 {
				t.Fatalf("%q is in no class\n%s", name, dump(policy, nil))
			}
			for row, who := range m.Rows {
				for _, account := range who.Accounts {
					cells++
					req := acl.Request{Account: account, Labels: a.accounts[a.byName[account]].labels, Type: TypeRepository, Service: "s", Name: name, IP: q.IP, Actions: actions}
					if got := shorten(policy.Decide(&req, nil).Granted, actions); !slices.Equal(got, m.Cells[row][in]) {
						t.Fatalf("%q: granted %q, the table says %q\n%s", name, got, m.Cells[row][in], dump(policy, &req))
					}
				}
			}
		}
	}
	if cells == 0 {
		t.Error("no table: the test says nothing")
	}
}

func TestShadowsAgainstBruteForce(t *testing.T) {
	t.Parallel()
	r := dice{source(91)}
	names := smallNames(4)
	rows := 0
	for range pairs() / 400 {
		policy := r.compile(1 + r.IntN(6))
		a, err := New(policy, testUniverse(r))
		if err != nil {
			t.Fatal(err)
		}
		single := make([]*acl.Policy, policy.Len())
		for i, e := range policy.Entries() {
			if single[i], err = acl.Compile([]acl.Entry{e}, acl.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		shadows, undecided := a.Shadows()
		got := map[[2]int]bool{}
		for _, s := range shadows {
			rows++
			got[[2]int{s.Entry, s.By}] = true
			a.confirm(t, s.Witness, s.By, false)
			if d := single[s.Entry].Decide(s.Witness, nil); d.Index != 0 || d.Err != nil {
				t.Fatalf("%+v: entry %d does not match\n%s", s, s.Entry, dump(policy, s.Witness))
			}
		}
		if len(undecided) > 0 {
			continue
		}
		a.each(names, func(u int, st site, name string) {
			req := a.request(u, st, name, probe)
			d := policy.Decide(&req, nil)
			if d.Index < 0 || d.Err != nil {
				return
			}
			for i := d.Index + 1; i < policy.Len(); i++ {
				if slices.Equal(a.rules[i].actions, a.rules[d.Index].actions) || got[[2]int{i, d.Index}] {
					continue
				}
				if s := single[i].Decide(&req, nil); s.Index == 0 && s.Err == nil {
					t.Fatalf("entry %d in the shadow of entry %d is missing\n%s", i, d.Index, dump(policy, &req))
				}
			}
		})
	}
	if rows == 0 {
		t.Error("no shadow: the test says nothing")
	}
}

// With accounts that live elsewhere: what is said to be unreachable is so for
// any account with plain labels, and examples are confirmed.
func TestExternalAccounts(t *testing.T) {
	t.Parallel()
	r := dice{source(101)}
	names := smallNames(3)
	values := []string{"a", "b", "ab", "x", "a-b", "zz"}
	dead, live, open, rows := 0, 0, 0, 0
	for range pairs() / 200 {
		policy := r.compile(1 + r.IntN(6))
		universe := testUniverse(r)
		universe.External = true
		a, err := New(policy, universe)
		if err != nil {
			t.Fatal(err)
		}
		grants, _ := a.WhoCan(Question{Action: "pull"})
		for _, g := range grants {
			a.confirm(t, g.Witness, g.Entry, true)
			if (g.External != "") == (len(g.Accounts) > 0) {
				t.Fatalf("%+v is neither about known accounts nor about others", g)
			}
			if g.External != "" {
				rows++
				if _, ok := a.account(g.Witness.Account); ok {
					t.Fatalf("%+v: a known account is an example of others", g)
				}
			}
		}
		unreachable := map[int]bool{}
		for i, rep := range a.Reachable() {
			switch {
			case rep.NotDecided != "":
				open++
			case rep.Reachable:
				live++
				a.confirm(t, rep.Witness, i, false)
			default:
				dead++
				unreachable[i] = true
			}
		}
		if len(unreachable) == 0 {
			continue
		}
		for range 300 {
			req := acl.Request{Account: r.pick("someone", "c", "aa", "abb", "x-repository", "zz"), Labels: map[string][]string{}, Actions: probe}
			if _, known := a.account(req.Account); known {
				continue
			}
			for _, k := range []string{"team", "role"} {
				for range r.IntN(3) {
					req.Labels[k] = append(req.Labels[k], r.pick(values...))
				}
			}
			st := site{r.IntN(len(a.types)), r.IntN(len(a.services)), r.IntN(len(a.ips))}
			req.Type, req.Service, req.IP = a.types[st.typ].name, a.services[st.service], a.ips[st.ip]
			req.Name = names[r.IntN(len(names))]
			if req.Type == TypeRegistry {
				req.Name = "catalog"
			}
			if d := policy.Decide(&req, nil); unreachable[d.Index] {
				t.Fatalf("entry %d is said to be unreachable\n%s", d.Index, dump(policy, &req))
			}
		}
	}
	t.Logf("%d live, %d dead, %d not decided, %d rows", live, dead, open, rows)
	if dead == 0 || rows == 0 || open > live {
		t.Errorf("%d live, %d dead, %d not decided, %d rows: the test says little", live, dead, open, rows)
	}
}
