package acl_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// trap is a pattern for the name and a request for which a shortcut would give a wrong
// answer. Each is checked against textual substitution, too.
type trap struct {
	pattern string
	values  []string // of label t
	name    string
	want    answer
	account string
	match   string   // the entry's account pattern; none when empty
	also    []string // of label u
}

func traps() map[string]trap {
	t := func(pattern string, values []string, name string, want answer) trap {
		return trap{pattern: pattern, values: values, name: name, want: want}
	}
	v := func(s ...string) []string { return append([]string{}, s...) }
	return map[string]trap{
		"a value is tried in every place at once":                  t("${labels:t}/${labels:t}", v("a", "b"), "a/b", no),
		"in every place of a regexp":                               t("/^${labels:t}/${labels:t}$/", v("a", "b"), "a/b", no),
		"and in every round of a repetition":                       t("/^(${labels:t})+$/", v("a", "b"), "ab", no),
		"which one value may fill":                                 t("/^(${labels:t})+$/", v("a", "b"), "bbb", yes),
		"also when it has no name":                                 t("/^(?:x${labels:t})*$/", v("a", "b"), "xaxb", no),
		"a quantifier binds to the last letter":                    t("/^${labels:t}+$/", v("ab"), "abb", yes),
		"not to the value":                                         t("/^${labels:t}+$/", v("ab"), "abab", no),
		"an empty value lets it bind to what is before":            t("/^a${labels:t}*$/", v(""), "aaa", yes),
		"or to a parenthesis":                                      t("/^(${labels:t}?:a)$/", v(""), "a", yes),
		"a counted one":                                            t("/^${labels:t}{2}$/", v("ab"), "abb", yes),
		"digits become a count":                                    t("/^a{${labels:t}}$/", v("2"), "aa", yes),
		"or complete one":                                          t("/^a{1${labels:t}}$/", v(",3"), "aaa", yes),
		"or an octal escape":                                       t(`/^\14${labels:t}$/`, v("1"), "a", yes),
		"a backslash takes the first letter":                       t(`/^\${labels:t}$/`, v("d"), "5", yes),
		"in a glob, too":                                           t(`\${labels:t}b`, v("*"), "*b", yes),
		"a value ends a quotation":                                 t(`/^\Qa\${labels:t}$/`, v("E"), "a", yes),
		"a value in a class is letters":                            t("/^[${labels:t}]+$/", v("ab"), "baab", yes),
		"or a bad range":                                           t("/^[${labels:t}]$/", v("b-a"), "q", broken),
		"even when the class is swallowed":                         t("/^(?:[${labels:t}]|.)$/", v("b-a"), "\n", broken),
		"or all of a negated class":                                t("/^[^${labels:t}]$/", v("a"), "a", no),
		"where it meets its own kind":                              t("/^[${labels:t}\\P{L}]${labels:t}$/", v("a"), "aa", yes),
		"in a glob's class":                                        t("[${labels:t}]x", v("ab"), "bx", yes),
		"which may begin in one text and end in another":           t("[a${labels:t}b]x", v("-"), "bx", yes),
		"an alternative in a value splits the whole regexp":        t("/^x${labels:t}y$/", v("a|b"), "by", yes),
		"a flag in a value goes on":                                t("/^${labels:t}x$/", v("(?i)a"), "AX", yes),
		"a dot is any character":                                   t("/^${labels:t}$/", v("a.b"), "axb", yes),
		"but a newline":                                            t("/^${labels:t}$/", v("a.b"), "a\nb", no),
		"unless a flag says so":                                    t("/(?s)^${labels:t}$/", v("a.b"), "a\nb", yes),
		"a dot is a whole character":                               t("/^${labels:t}$/", v("a.b"), "a\u00e9b", yes),
		"a dot is a dot in a glob":                                 t("${labels:t}", v("a.b"), "axb", no),
		"which then is no star":                                    t(`\${labels:t}b`, v("*"), "xb", no),
		"a value that does not occur hides no other":               {pattern: "/^(${labels:t}|${labels:u})\u00e9$/", values: v("yy", "zz"), also: v("b"), name: "b\u00e9", want: yes},
		"nor when it stands twice":                                 {pattern: "/^(${labels:t}${labels:t}|${labels:u})$/", values: v("yy", "zz"), also: v("b"), name: "b", want: yes},
		"a capture can be an alternative":                          {match: "/^(.*)$/", pattern: "/^p${account:1}q/", account: "|", name: "q", want: yes},
		"a capture can be broken":                                  {match: "/^(.*)$/", pattern: "/^p${account:1}q/", account: "(", name: "x", want: broken},
		"a capture can be a star":                                  {match: "/^(.*)$/", pattern: "p-${account:1}", account: "*", name: "p-x", want: yes},
		"a capture may be empty":                                   {match: "/^(a)?.*$/", pattern: "p${account:1}q", account: "b", name: "pq", want: yes},
		"a capture of no match stays as written":                   {match: "/^(a)|x$/", pattern: "p${account:1}|p${account:2}", account: "x", name: "p|p${account:2}", want: yes},
		"a capture behind a variable is none":                      {match: "/^(a)$/", pattern: "${account}/${account:1}", account: "a", name: "a/${account:1}", want: yes},
		"a pattern whose text does not match itself has no groups": {match: "/^(.)-${service}$/", pattern: "${account:1}", account: "q-", name: "${account:1}", want: yes},
		"not even empty ones":                                      {match: "/^(.)-${service}$/", pattern: "x${account:1}", account: "q-", name: "x", want: no},
		"nothing comes after the end":                              t("/^a$b/", nil, "ab", no),
		"not even perhaps":                                         t("/^(a$)?b/", nil, "ab", no),
		"an end may be passed by":                                  t("/^(a$)?b/", nil, "bb", yes),
		"a beginning may be passed by":                             t("/(^a)?b/", nil, "cb", yes),
		"a star in a value does not cross a slash":                 t("${labels:t}b", v("a*"), "a/b", no),
		"nor does a question mark":                                 t("${labels:t}b", v("a?"), "a/b", no),
		"which is a whole character":                               t("${labels:t}b", v("a?"), "a\u00e9b", yes),
		"a star may leave half a character to it":                  t("*${labels:t}", v("?"), "\u00e9", yes),
		"letters in either case":                                   t("/(?i)^${labels:t}$/", v("aB"), "Ab", yes),
		"even letters that are not ASCII":                          t("/(?i)^${labels:t}$/", v("\u212a"), "k", yes),
		"only where the flag is":                                   t("/^(?i:${labels:t})-${labels:t}$/", v("a"), "A-A", no),
		"path.Match takes the first fit":                           t("*[!-~]${labels:t}*c", v("b"), "xb/bc", no),
		"and a class may match a slash":                            t("x[^a]${labels:t}", v("b"), "x/b", yes),
		"a value can make a regexp":                                t("${labels:t}", v("/b/"), "abc", yes),
		"two values can":                                           {pattern: "${labels:t}${labels:u}", values: v("/b"), also: v("+/"), name: "abbc", want: yes},
		"the text and a value can":                                 t("/${labels:t}", v("b/"), "abc", yes),
		"an account can":                                           {pattern: "${account}", account: "/b/", name: "abc", want: yes},
		"an empty account makes a glob of a regexp":                {pattern: "/${account}/", account: "", name: "//", want: yes},
		"which matches nothing else":                               {pattern: "/${account}/", account: "", name: "abc", want: no},
		"a variable is escaped":                                    {pattern: "/^${account}$/", account: "a.b", name: "axb", want: no},
		"in a glob, too, with a star":                              {pattern: "${account}", account: "a*", name: "ab", want: no},
		"a variable that is no UTF-8 breaks a regexp":              {pattern: "/^x${account}$/", account: "\xff", name: "y", want: broken},
		"but not a glob":                                           {pattern: "x${account}", account: "\xff", name: "x\xff", want: yes},
		"a label that is no UTF-8 breaks a regexp":                 t("/^x${labels:t}$/", v("\xff"), "y", broken),
		"U+FFFD matches bytes that are no UTF-8":                   t("/^\ufffd$/", nil, "\xff", yes),
		"a broken value denies":                                    t("/^${labels:t}-secret$/", v("a(b"), "x", broken),
		"whatever the text before":                                 t("/^team-${labels:t}$/", v("a(b"), "x", broken),
		"also in a glob":                                           t("${labels:t}-secret", v("foo["), "x", broken),
		"unless another value matches":                             t("${labels:t}-secret", v("foo[", "x"), "x-secret", yes),
		"in either order":                                          t("${labels:t}-secret", v("x", "foo["), "x-secret", yes),
		"text of a mark is not a mark":                             t("/^\\x{E000}\\x{F8FF}${labels:t}$/", v("a"), "aa", no),
		"nor is a range over it":                                   t("/^[\ue000-\uf8ff]${labels:t}$/", v("a"), "\ue000a", yes),
		"as written the placeholder is text of a glob":             t("x-${labels:t}", v("a"), "x-${labels:t}", yes),
		"also for a user without the label":                        t("x-${labels:other}", v("a"), "x-${labels:other}", yes),
		"all labels are as written or none":                        {pattern: "${labels:t}-${labels:u}", values: v("a"), also: v("b"), name: "a-${labels:u}", want: no},
		"an absent one stays while the others are replaced":        t("${labels:t}-${labels:none}", v("a"), "a-${labels:none}", yes),
		"one without values leaves no combination":                 {pattern: "/^(x|${labels:t}${labels:u})$/", values: v("a"), also: v(), name: "a", want: no},
		"even for another":                                         {pattern: "/^(${labels:t}|${labels:u})$/", values: v("a"), also: v(), name: "a", want: no},
		"but the pattern as written":                               {pattern: "/^(x|${labels:t}${labels:u})$/", values: v("a"), also: v(), name: "x", want: yes},
		"in a regexp the placeholder is an end and text":           t("/^(x|${labels:none})$/", nil, "x", yes),
		"a key with a bar is an alternative":                       t("/^${labels:a|b}y/", nil, "by", no),
		"that may match":                                           t("/${labels:a|b}y/", nil, "b}y", yes),
		"what was substituted is not looked at again":              t("x-${labels:t}", v("${account}"), "x-${account}", yes),
		"a placeholder in a key is found":                          {pattern: "${labels:x${account}", account: "a", name: "${labels:xa", want: yes},
		"word boundaries see the value":                            t(`/\b${labels:t}\b/`, v("b"), "a-b-c", yes),
		"on both sides":                                            t(`/\b${labels:t}\b/`, v("b"), "ab-c", no),
		"an unanchored regexp matches inside":                      t("/${labels:t}/", v("b"), "abc", yes),
		"lines":                                                    t("/(?m)^${labels:t}$/", v("b"), "a\nb\nc", yes),
		"a very long name":                                         t("/^${labels:t}(-|${labels:t})*$/", v("b", "a"), strings.Repeat("a-", 3000), yes),
		"an empty value":                                           t("x${labels:t}y", v(""), "xy", yes),
		"many letters of one": {pattern: "/^${labels:t}${labels:u}$/", values: v("a", "aa", "aaa"), also: v("a", "aaa"),
			name: "aaaaa", want: yes},
	}
}

// TestTraps tries each trap alone, and among entries of the same shape, where the index
// decides which are looked at.
func TestTraps(t *testing.T) {
	t.Parallel()
	for name, c := range traps() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acl.Request{Account: c.account, Name: c.name, Labels: map[string][]string{}, Actions: []string{"pull"}}
			if c.values != nil {
				r.Labels["t"] = c.values
			}
			if c.also != nil {
				r.Labels["u"] = c.also
			}
			entry := acl.Entry{Match: acl.Match{Name: &c.pattern}, Actions: []string{"pull"}}
			if c.match != "" {
				entry.Match.Account = &c.match
			}
			var crowd []acl.Entry
			for i := range 8 {
				// Entries that never match, by their type, and have the same name or a similar one.
				other := c.pattern
				if i%2 == 0 && !strings.HasSuffix(other, "/") && validPattern(other+fmt.Sprint(i)) {
					other += fmt.Sprint(i)
				}
				crowd = append(crowd, acl.Entry{Match: acl.Match{Account: entry.Match.Account, Type: text("never"), Name: &other}, Actions: []string{}})
			}
			for _, entries := range [][]acl.Entry{{entry}, append(slices.Clone(crowd), entry)} {
				ref := reference{entries: entries, regexps: map[string]*regexp.Regexp{}}
				if _, index, undecided := ref.decide(&r); fmt.Sprint(index >= 0, undecided) != fmt.Sprint(c.want != no, c.want == broken) {
					t.Fatalf("textual substitution gives entry %d, undecided %v; the trap says %v", index, undecided, c.want)
				}
				d := compile(t, entries, acl.Options{}).Decide(&r, nil)
				got := no
				switch {
				case d.Err != nil:
					got = broken
				case d.Index >= 0:
					got = yes
				}
				if got != c.want {
					t.Errorf("of %d entries: Decide(%q, %q) = %+v, want %v", len(entries), c.pattern, c.name, d, c.want)
				}
				if granted := len(d.Granted) > 0; granted != (c.want == yes) {
					t.Errorf("of %d entries: granted %q", len(entries), d.Granted)
				}
			}
		})
	}
}

// TestCapturesBelongToTheirEntry has two entries with different groups under one name.
func TestCapturesBelongToTheirEntry(t *testing.T) {
	t.Parallel()
	p := compile(t, []acl.Entry{
		{Match: acl.Match{Account: text("/^(.).*$/"), Name: text("${account:1}/x")}, Actions: []string{}},
		{Match: acl.Match{Account: text("/^(..).*$/"), Name: text("${account:1}/y")}, Actions: []string{"*"}},
	}, acl.Options{})
	for name, want := range map[string]int{"a/x": 0, "a/y": -1, "ab/x": -1, "ab/y": 1} {
		r := acl.Request{Account: "abc", Name: name}
		if d := p.Decide(&r, nil); d.Index != want {
			t.Errorf("Decide(%q) by entry %d, want %d", name, d.Index, want)
		}
	}
}

func TestTooManyCombinations(t *testing.T) {
	t.Parallel()
	pull := []string{"pull"}
	many := manyValues(100)
	broken := map[string][]string{"a": append(slices.Clone(many["a"]), "x|y"), "b": many["b"], "c": many["c"]}
	nested := map[string][]string{}
	for i := range 100 {
		nested["a"] = append(nested["a"], strings.Repeat("a", i+1))
	}
	nested["b"] = nested["a"]
	for name, c := range map[string]struct {
		pattern string
		labels  map[string][]string
		name    string
		want    answer
	}{
		"plain values in a glob":       {"${labels:a}/${labels:b}/${labels:c}", many, "a-value-99/b-value-0/c-value-50", yes},
		"which do not match":           {"${labels:a}/${labels:b}/${labels:c}", many, "a-value-99/b-value-0/c-value-100", no},
		"plain values in a regexp":     {"/^${labels:a}/${labels:b}/${labels:c}$/", many, "a-value-99/b-value-0/c-value-50", yes},
		"each label twice":             {"${labels:a}${labels:b}${labels:a}${labels:b}", many, "a-value-9b-value-8a-value-9b-value-8", yes},
		"each label twice, differing":  {"${labels:a}${labels:b}${labels:a}${labels:b}", many, "a-value-9b-value-8a-value-9b-value-88", no},
		"one of them is an expression": {"/^${labels:a}/${labels:b}/${labels:c}$/", broken, "a-value-99/b-value-0/c-value-50", 2},
		"not where it is text":         {"${labels:a}/${labels:b}/${labels:c}", broken, "x|y/b-value-0/c-value-50", yes},
		"each fits in every place":     {"/^(${labels:a}-${labels:b}|${labels:a}${labels:b})+$/", nested, strings.Repeat("a", 50) + "-" + strings.Repeat("a", 60), 2},
		"a name that is not ASCII":     {"${labels:a}/${labels:b}/${labels:c}", many, "a-value-99/b-value-0/\u00e9", no},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, []acl.Entry{
				{Match: acl.Match{Name: &c.pattern}, Actions: []string{}},
				{Actions: []string{"*"}},
			}, acl.Options{})
			r := acl.Request{Name: c.name, Labels: c.labels, Actions: pull}
			d := p.Decide(&r, nil)
			if want := map[answer]int{no: 1, yes: 0, 2: 0}[c.want]; d.Index != want {
				t.Errorf("decided by entry %d, want %d", d.Index, want)
			}
			if (d.Err != nil) != (c.want == 2) {
				t.Errorf("error = %v", d.Err)
			}
			if c.want != 2 {
				return
			}
			if !errors.Is(d.Err, acl.ErrCombinations) || len(d.Granted) > 0 {
				t.Errorf("Decide = %+v, want nothing granted and ErrCombinations", d)
			}
			if found := p.CheckLabels(c.labels); len(found) != 1 || found[0].Label == "" || !errors.Is(found, acl.ErrCombinations) {
				t.Errorf("CheckLabels = %v, want one ErrCombinations with its label", found)
			}
		})
	}
	t.Run("a label without values leaves none", func(t *testing.T) {
		t.Parallel()
		p := compile(t, []acl.Entry{{Match: acl.Match{Name: text("[${labels:a}]${labels:b}${labels:none}")}, Actions: pull}}, acl.Options{})
		r := acl.Request{Name: "x", Labels: map[string][]string{"a": many["a"], "b": many["b"], "none": {}}}
		if d := p.Decide(&r, nil); d.Index != -1 || d.Err != nil {
			t.Errorf("Decide = %+v, want no match", d)
		}
	})
}
