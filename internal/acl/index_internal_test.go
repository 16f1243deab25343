package acl

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// TestIndexLeavesOutWhatCannotMatch counts the entries that are looked at: those with another
// literal account, another beginning of the name or another label must not be among them.
func TestIndexLeavesOutWhatCannotMatch(t *testing.T) {
	t.Parallel()
	str := func(format string, args ...any) *string {
		s := fmt.Sprintf(format, args...)
		return &s
	}
	const n = 3000
	user := Request{
		Account: "u7", Type: "repository", Name: "web-7/api-7/x",
		Labels: map[string][]string{"team": {"web", "data", "x.y"}, "env": {"7", "8"}, "wild": {"*"}, "odd": {"a|b["}},
	}
	for name, c := range map[string]struct {
		match func(i int) Match
		most  int
	}{
		"account":                     {func(i int) Match { return Match{Account: str("u%d", i)} }, 1},
		"account as a regexp":         {func(i int) Match { return Match{Account: str("/^u%d$/", i)} }, 1},
		"accounts as a regexp":        {func(i int) Match { return Match{Account: str("/^(u%d|v%d)$/", i, i)} }, 1},
		"account and name":            {func(i int) Match { return Match{Account: str("u7"), Name: str("web-%d/*", i)} }, 1},
		"first component":             {func(i int) Match { return Match{Name: str("web-%d/*", i)} }, 1},
		"second component":            {func(i int) Match { return Match{Name: str("web-7/api-%d/*", i)} }, 1},
		"whole name":                  {func(i int) Match { return Match{Name: str("web-7/api-7/x%d", i)} }, 1},
		"name as a regexp":            {func(i int) Match { return Match{Name: str("/^web-%d/.*$/", i)} }, 1},
		"names as a regexp":           {func(i int) Match { return Match{Name: str("/^(?:web|db)-%d/.*$/", i)} }, 1},
		"label in the name":           {func(i int) Match { return Match{Name: str("${labels:team}-%d/*", i)} }, 1},
		"label in a regexp":           {func(i int) Match { return Match{Name: str("/^${labels:team}-%d/.*/", i)} }, 1},
		"two labels in the name":      {func(i int) Match { return Match{Name: str("${labels:team}-${labels:env}/api-%d/*", i)} }, 1},
		"label that the user lacks":   {func(i int) Match { return Match{Name: str("${labels:other}-%d/*", i)} }, 0},
		"label that has a star":       {func(i int) Match { return Match{Name: str("x/${labels:wild}-%d/*", i)} }, 0},
		"account in the name":         {func(i int) Match { return Match{Name: str("${account}/p%d/*", i)} }, 0},
		"value of a label":            {func(i int) Match { return Match{Labels: []LabelMatch{{"env", fmt.Sprint(i)}}} }, 2},
		"value of a label and a name": {func(i int) Match { return Match{Name: str("web-7/*"), Labels: []LabelMatch{{"env", fmt.Sprint(i)}}} }, 2},
		"values as a regexp": {func(i int) Match {
			return Match{Labels: []LabelMatch{{"team", "*"}, {"env", fmt.Sprintf("/^(%d|x)$/", i)}}}
		}, 2},
		"label required": {func(i int) Match { return Match{Labels: []LabelMatch{{fmt.Sprint("l", i), "*"}}} }, 0},
		// Here nothing is left out, but the entry must be found.
		"label that is an expression": {func(i int) Match { return Match{Name: str("/^z%d-${labels:odd}$/", i)} }, n},
		"part of a name":              {func(i int) Match { return Match{Name: str("/api-%d/", i)} }, n},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries := make([]Entry, n)
			for i := range entries {
				entries[i] = Entry{Match: c.match(i), Actions: []string{}}
			}
			p, err := Compile(entries, Options{})
			if err != nil {
				t.Fatal(err)
			}
			w := p.walker(&user)
			defer p.release(w)
			looked := 0
			for _, ok := w.next(); ok; _, ok = w.next() {
				looked++
			}
			if looked > c.most || c.most == n && looked != n {
				t.Errorf("%d of %d entries are looked at, want at most %d", looked, n, c.most)
			}
		})
	}
}

// TestCacheIsBounded fills the cache as requests with ever new values would.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c regexpCache
	for i := range 6000 {
		body := fmt.Sprintf("^(x%d|y)+$", i)
		if i%3 == 0 {
			body += "("
		}
		re, err := c.compile([]byte(body))
		if (err != nil) != (i%3 == 0) || err == nil && !re.MatchString(fmt.Sprintf("x%dy", i)) {
			t.Fatalf("compile(%q) = %v, %v", body, re, err)
		}
	}
	size := 0
	for r := range maps.Values(c.old) {
		size += r.size
	}
	for r := range maps.Values(c.young) {
		size += r.size
	}
	if size > 2*cacheBudget || len(c.old)+len(c.young) > 2*cacheBudget/cacheMinimum {
		t.Errorf("the cache holds %d regexps of size %d, want a size of at most %d", len(c.old)+len(c.young), size, 2*cacheBudget)
	}
	first, _ := c.compile([]byte("^again$"))
	for i := range 1000 {
		if _, err := c.compile([]byte(fmt.Sprintf("^more%d$", i))); err != nil {
			t.Fatal(err)
		}
	}
	if second, _ := c.compile([]byte("^again$")); first != second {
		t.Error("a regexp that was just used was compiled again")
	}
	large := strings.Repeat("(a|b)", 9000)
	if _, err := c.compile([]byte(large)); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.young[large]; ok {
		t.Error("a regexp of a quarter of the cache was kept")
	}
}
