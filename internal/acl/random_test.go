package acl_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// generator makes random policies and requests from small parts, so that they meet often.
type generator struct {
	*rand.Rand
	labels bool // patterns with labels, mostly, and users with values that break them
}

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) some(least, most int, part func() string) string {
	var b strings.Builder
	for range least + g.IntN(most-least+1) {
		b.WriteString(part())
	}
	return b.String()
}

func (g generator) literal() string {
	return g.pick("a", "b", "ab", "a", "b", "/", "-", "c", "a/", "b/", "team-", "2", "A", ".", "é", "a/b")
}

func (g generator) placeholder() string {
	return g.pick("${account}", "${account}", "${type}", "${name}", "${service}",
		"${labels:t}", "${labels:t}", "${labels:t}", "${labels:u}", "${labels:u}", "${labels:none}", "${labels:empty}",
		"${account:1}", "${account:1}", "${name:1}", "${name:2}", "${type:1}", "${service:1}", "${Account:1}", "${account:0}", "${account:9}",
		"${", "$", "${x}", "${labels:", "${labels:1}", "${x:1}")
}

func (g generator) glob() string {
	return g.some(0, 5, func() string {
		switch g.IntN(10) {
		case 0, 1:
			return g.placeholder()
		case 2:
			return "*"
		case 3:
			return g.pick("?", "*", "[ab]", "[^a]", "[a-c]", "[^/]", `\*`, `\a`, `\`, "[", "[a", "]", "[-]", "[!-~]", "/")
		}
		return g.literal()
	})
}

func (g generator) regexp() string {
	body := g.some(1, 6, func() string {
		switch g.IntN(12) {
		case 0, 1, 2:
			return g.placeholder()
		case 3:
			return g.pick(".*", ".+", "[^/]+", "[a-b]*", ".", "(.+)", "(a|b)", "([^/]*)", "(a)?", `\d`, `\w+`)
		case 4:
			return g.pick("(?i)", "(?s)", "(?m)", "(?i:ab)", "(?:a|b/)", `\b`, `\B`, `\.`, "^", "$", "[ab]", "[^b]", "[", "]", `\`, `\Q`, `\E`, `\x{61}`, `\141`, `\1`)
		case 5:
			return g.pick("*", "+", "?", "{2}", "{1,2}", "*?", "+?", "{", "}", "{2", ",", "|", "|", "(", ")", "(", ")", "(?P<n>a)", "(?")
		}
		return g.literal()
	})
	return "/" + g.pick("^", "^", "", "^") + body + g.pick("$", "$", "") + "/"
}

func (g generator) simpleName() string {
	return g.pick(
		"team-${labels:t}/*", "${labels:t}/${labels:u}", "${labels:t}-${labels:t}", "${account}/*", "/^${labels:t}/.+$/",
		"/^(${labels:t}|${labels:u})/[^/]+$/", "/^${account}-(a|b)/", "a/*", "b/*", "a/b", "*", "*/*", "/^a/.*$/", "/^(a|b)/(c|a)$/", "/a/",
		"/^(a|b)$/", "/(${labels:t}-)+$/", "/(?i)^${labels:t}$/", "${labels:u}", "${account}", "${name}", "/^${account:1}-.*$/", "${account:1}/*",
		"/^(.+)/(.+)$/", "a-${service}/?", "/^${labels:t}+$/", "[${labels:t}]*", "x${labels:t}*${labels:u}y",
		"a/${labels:t}", "a/${labels:t}/*", "a-${labels:t}", "b/${labels:u}*", "/^a/${labels:t}$/", "/^a-${labels:t}.*/", "ab*", "a*")
}

func (g generator) pattern() string {
	if g.labels && g.IntN(3) > 0 {
		return g.pick("/^a", "/", "", "", "a", "b/", "[") + g.some(1, 3, func() string {
			return g.pick("${labels:t}", "${labels:t}", "${labels:u}", "(${labels:u})", "-", "/", "a", "*", ".*", "|", "?", "]")
		}) + g.pick("", "", "/", "/", "$/", "*")
	}
	switch g.IntN(4) {
	case 0:
		return g.glob()
	case 1:
		return g.regexp()
	}
	return g.simpleName()
}

func (g generator) account() string {
	if g.IntN(2) == 0 {
		return g.pick("a", "b", "", "/^a$/", "/^(a|b)$/", "*", "/^(.)(.*)$/", "/^(a)?.*$/", "a*", "/(.+)@(.*)/", "/^$/")
	}
	return g.pattern()
}

func (g generator) entry() acl.Entry {
	opt := func(chance int, make func() string) *string {
		if g.IntN(10) >= chance {
			return nil
		}
		for {
			s := make()
			if validPattern(s) || g.IntN(200) == 0 {
				return &s
			}
		}
	}
	e := acl.Entry{Actions: slices.Clone([][]string{{"*"}, {"pull"}, {"pull", "push"}, {}, {"pull", "*"}}[g.IntN(5)])}
	e.Match.Account = opt(5, g.account)
	e.Match.Type = opt(2, func() string {
		return g.pick("repository", "a", "/^(rep|reg).*$/", "rep*", "${type}", "/^(.)/", "${account:1}", "${labels:t}")
	})
	e.Match.Name = opt(7, g.pattern)
	e.Match.Service = opt(1, func() string { return g.pick("a", "*", "${service}", "/^(.+)$/", "${labels:u}", "${name}") })
	e.Match.IP = opt(1, func() string {
		return g.pick("10.0.0.0/8", "10.0.0.1", "::1", "::/0", "0.0.0.0/0", "::ffff:10.0.0.0/104", "2001:db8::/32", "::ffff:0:0/90", "10.1.2.3/08", "x")
	})
	for range max(0, g.IntN(4)-1) {
		pattern := g.pick("a", "b", "*", "a*", "/^(a|b)$/", "${account}", "/^${account}$/", "${account:1}", "/b/", "?", "${labels:t}", "/^${name:1}$/")
		e.Match.Labels = append(e.Match.Labels, acl.LabelMatch{Key: g.pick("t", "t", "u", "none", "empty"), Pattern: pattern})
	}
	return e
}

func validPattern(p string) bool {
	if looksLikeRegexp(p) {
		_, err := regexp.Compile(p[1 : len(p)-1])
		return err == nil
	}
	_, err := acl.MatchText(p, "")
	return err == nil
}

func (g generator) labelValue() string {
	if special := g.IntN(4) == 0; !special && (!g.labels || g.IntN(2) == 0) {
		return g.pick("a", "b", "ab", "c", "a-b", "A")
	} else if g.labels && g.IntN(2) == 0 {
		return g.pick("[", "a[", "(", "a(b", "*", ")", `\`, "\xff", "+", "[a")
	}
	return g.pick("", "a.b", "a*", "*", "?", "[ab]", "a|b", "(a", "a(b", "(?i)a", `\`, "/a/", "é", "\xff", "a\nb", "2", "$", "^", "a/b", "/", ".", "a+", "**", "*b?", "1,", "k", "K")
}

func (g generator) value() string {
	if g.IntN(8) == 0 {
		return g.pick("", "a.b", "a*", "/a/", "é", "\xff", "a\nb", "${labels:t}", "a${labels:t}", "{labels:t}", "[", "$", "/", "//", "a(b", "k", "K")
	}
	return g.some(0, 4, func() string {
		return g.pick("a", "b", "ab", "/", "-", "c", "a/", "team-", "A", "a", "b", ".", "@", "2")
	})
}

func (g generator) request() acl.Request {
	r := acl.Request{
		Account: g.pick("a", "b", "", "ab", g.value()),
		Type:    g.pick("repository", "repository", "registry", "a", g.value()),
		Name:    g.value(),
		Service: g.pick("a", "b", g.value()),
		Actions: [][]string{{"pull"}, {"pull", "push"}, {"*", "pull"}, {}, {"delete"}, {""}}[g.IntN(6)],
	}
	if g.IntN(3) > 0 {
		r.Labels = map[string][]string{}
		for _, key := range []string{"t", "u"} {
			if g.IntN(5) == 0 {
				continue
			}
			values := []string{}
			for range max(0, g.IntN(6)-1) {
				values = append(values, g.labelValue())
			}
			r.Labels[key] = values
		}
		if g.IntN(4) == 0 {
			r.Labels["empty"] = nil
		}
	}
	if g.IntN(3) > 0 {
		r.IP = netip.MustParseAddr(g.pick("10.0.0.1", "10.2.3.4", "11.0.0.1", "::1", "2001:db8::5", "::ffff:10.0.0.1", "fe80::1"))
	}
	return r
}

// aim changes a request so that it is likely to match e.
func (g generator) aim(r *acl.Request, e acl.Entry) {
	value := func(pattern *string, dst *string) {
		if pattern == nil {
			return
		}
		p, err := acl.ParsePattern(*pattern)
		if err != nil {
			return
		}
		s := p.Expand(func(s acl.Segment) (string, bool) {
			switch s.Kind {
			case acl.Variable:
				return map[acl.Field]string{acl.FieldAccount: r.Account, acl.FieldType: r.Type, acl.FieldName: "a", acl.FieldService: r.Service}[s.Field], true
			case acl.Capture:
				return g.pick("a", "b", "a/b"), true
			}
			if values := r.Labels[s.Key]; len(values) > 0 {
				return values[g.IntN(len(values))], true
			}
			return "", false
		})
		if p.Kind() == acl.Regexp && len(s) > 2 {
			s = strings.TrimSuffix(strings.TrimPrefix(s[1:len(s)-1], "^"), "$")
			s = strings.NewReplacer("[^/]+", g.pick("a", "bb"), ".*", g.pick("", "a", "/b"), ".+", g.pick("a", "b/a"), "(a|b)", g.pick("a", "b"),
				"(", "", ")", "", "?:", "", "(?i)", "", "+", "", `\`, "", "[ab]", "a").Replace(s)
		}
		*dst = strings.NewReplacer("**", "", "*", g.pick("", "a", "x-y"), "?", "a", "[ab]", "b", "[^a]", "c", "\\", "").Replace(s)
		if g.IntN(6) == 0 {
			*dst = strings.ToUpper(*dst)
		}
	}
	value(e.Match.Account, &r.Account)
	value(e.Match.Type, &r.Type)
	value(e.Match.Service, &r.Service)
	value(e.Match.Name, &r.Name)
	for _, l := range e.Match.Labels {
		if r.Labels != nil && len(r.Labels[l.Key]) == 0 {
			v := ""
			value(&l.Pattern, &v)
			r.Labels[l.Key] = []string{v}
		}
	}
}

// checkRandom compares a random policy with the reference on some requests and returns how
// many were decided by each kind of answer.
func checkRandom(t *testing.T, g generator, ref *reference, requests int, tally *[3]int) {
	t.Helper()
	options := acl.Options{LiteralLabels: g.IntN(4) == 0}
	g.labels = g.IntN(3) == 0
	entries := make([]acl.Entry, 1+g.IntN(1<<g.IntN(6)))
	for i := range entries {
		entries[i] = g.entry()
	}
	policy, err := acl.Compile(entries, options)
	if bad := slices.ContainsFunc(entries, func(e acl.Entry) bool { return !validEntry(e) }); (err != nil) != bad {
		t.Fatalf("Compile(%s) error = %v, want one: %v", describe(entries), err, bad)
	}
	if err != nil {
		return
	}
	ref.entries, ref.options = entries, options
	var buf [8]string
	for range requests {
		r := g.request()
		if e := entries[g.IntN(len(entries))]; g.IntN(2) == 0 {
			g.aim(&r, e)
		}
		asked := slices.Clone(r.Actions)
		granted, index, undecided := ref.decide(&r)
		got := policy.Decide(&r, buf[:0])
		if got.Index != index || (got.Err != nil) != undecided || !slices.Equal(got.Granted, granted) {
			t.Fatalf("Decide = %v, want %v by %d, undecided %v\nrequest %#v\noptions %+v\npolicy %s",
				got, granted, index, undecided, r, options, describe(entries))
		}
		if !slices.Equal(asked, r.Actions) {
			t.Fatalf("Decide changed the request's actions from %q to %q", asked, r.Actions)
		}
		checkExplain(t, policy, &r, got)
		checkLabels(t, policy, &r, got)
		switch {
		case undecided:
			tally[broken]++
		case index >= 0:
			tally[yes]++
		default:
			tally[no]++
		}
	}
}

// checkExplain holds Explain against a decision: same answer, a step for each entry, and in
// each step the reason why it was not that one.
func checkExplain(t *testing.T, policy *acl.Policy, r *acl.Request, want acl.Decision) {
	t.Helper()
	got, steps := policy.Explain(r)
	if got.Index != want.Index || (got.Err != nil) != (want.Err != nil) || !slices.Equal(got.Granted, want.Granted) {
		t.Fatalf("Explain = %v, Decide = %v\nrequest %#v\npolicy %s", got, want, *r, describe(policy.Entries()))
	}
	count := want.Index + 1
	if want.Index < 0 {
		count = policy.Len()
	}
	if len(steps) != count {
		t.Fatalf("Explain gave %d steps, want %d", len(steps), count)
	}
	for i, s := range steps {
		last := i == want.Index
		if s.Index != i || s.Matched != (last && want.Err == nil) || s.Matched != (s.Field == "") || (s.Err != nil) != (last && want.Err != nil) {
			t.Fatalf("step %d is %+v in the explanation of %v", i, s, want)
		}
	}
}

// checkLabels asserts that what a label's value breaks was reported for the user before.
func checkLabels(t *testing.T, policy *acl.Policy, r *acl.Request, d acl.Decision) {
	t.Helper()
	found := policy.CheckLabels(r.Labels)
	if d.Err == nil {
		return
	}
	var e *acl.Error
	if !errors.As(d.Err, &e) || e.Entry != d.Index || e.Pattern == "" {
		t.Fatalf("error %#v does not name entry %d and its pattern", e, d.Index)
	}
	// Variables and captures can break a pattern, too; those can't be known before.
	only := strings.NewReplacer("${labels:t}", "", "${labels:u}", "", "${labels:none}", "", "${labels:empty}", "").Replace(e.Pattern)
	if strings.Contains(only, "${") || strings.HasPrefix(e.Field, "labels.") {
		return
	}
	if !slices.ContainsFunc(found, func(f *acl.Error) bool { return f.Entry == e.Entry && f.Field == e.Field }) {
		t.Fatalf("CheckLabels(%q) = %v, does not report %v", r.Labels, found, e)
	}
}

func validEntry(e acl.Entry) bool {
	for _, p := range []*string{e.Match.Account, e.Match.Type, e.Match.Name, e.Match.Service} {
		if p != nil && !validPattern(*p) {
			return false
		}
	}
	return e.Match.IP == nil || *e.Match.IP != "x"
}

func describe(entries []acl.Entry) string {
	var b strings.Builder
	for i, e := range entries {
		fmt.Fprintf(&b, "\n%d:", i)
		for f, p := range map[string]*string{"account": e.Match.Account, "type": e.Match.Type, "name": e.Match.Name, "service": e.Match.Service, "ip": e.Match.IP} {
			if p != nil {
				fmt.Fprintf(&b, " %s=%q", f, *p)
			}
		}
		fmt.Fprintf(&b, " labels=%q actions=%q", e.Match.Labels, e.Actions)
	}
	return b.String()
}

func TestDecideAgreesWithTextualSubstitution(t *testing.T) {
	t.Parallel()
	pairs, seed := 200_000, uint64(1)
	if os.Getenv("REGCTL_SETUP_SOAK") != "" {
		pairs, seed = 1_500_000, rand.Uint64()
		t.Logf("seed %d", seed)
	}
	if testing.Short() || raceEnabled {
		pairs = 20_000
	}
	const requests = 25
	g := generator{Rand: rand.New(rand.NewPCG(seed, 2))}
	ref := &reference{regexps: map[string]*regexp.Regexp{}}
	var tally [3]int
	for done := 0; done < pairs; done = tally[no] + tally[yes] + tally[broken] {
		checkRandom(t, g, ref, requests, &tally)
	}
	t.Logf("matched %d, no match %d, undecided %d", tally[yes], tally[no], tally[broken])
	for a, n := range tally {
		if n < pairs/100 {
			t.Errorf("only %d of %d pairs gave answer %d: the generator has become one-sided", n, pairs, a)
		}
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(uint64(1), uint64(1))
	f.Add(uint64(77), uint64(4096))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		var tally [3]int
		ref := &reference{regexps: map[string]*regexp.Regexp{}}
		checkRandom(t, generator{Rand: rand.New(rand.NewPCG(a, b))}, ref, 10, &tally)
	})
}
