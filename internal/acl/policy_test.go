package acl_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// rules reads entries from lines "FIELD=PATTERN ... -> ACTION ...". A field is account,
// type, name, service, ip or labels.KEY; "”" is the empty text.
func rules(t *testing.T, lines string) []acl.Entry {
	t.Helper()
	var out []acl.Entry
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		match, actions, _ := strings.Cut(line, "->")
		e := acl.Entry{Actions: append([]string{}, strings.Fields(actions)...), Pos: acl.Pos{Line: len(out) + 1}}
		for _, f := range strings.Fields(match) {
			field, pattern, _ := strings.Cut(f, "=")
			if pattern == "''" {
				pattern = ""
			}
			switch field {
			case "account":
				e.Match.Account = &pattern
			case "type":
				e.Match.Type = &pattern
			case "name":
				e.Match.Name = &pattern
			case "service":
				e.Match.Service = &pattern
			case "ip":
				e.Match.IP = &pattern
			default:
				key, ok := strings.CutPrefix(field, "labels.")
				if !ok {
					t.Fatalf("field %q", field)
				}
				e.Match.Labels = append(e.Match.Labels, acl.LabelMatch{Key: key, Pattern: pattern})
			}
		}
		out = append(out, e)
	}
	return out
}

func policy(t *testing.T, lines string) *acl.Policy {
	t.Helper()
	return compile(t, rules(t, lines), acl.Options{})
}

// people are the users of the sentences below.
var people = map[string]map[string][]string{
	"admin": {"role": {"administrator"}},
	"dev":   {"role": {"developer"}, "team": {"backend", "data"}},
	"ops":   {"role": {"developer", "operator"}, "team": {"*"}},
	"nolbl": nil,
	"":      nil,
}

// TestSentences holds policies against sentences "WHO ACTIONS [TYPE:]NAME [at IP] [on
// SERVICE]: what is granted".
func TestSentences(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ policy, sentences string }{
		"the guide's rules": {`
			labels.role=administrator -> *
			labels.role=developer name=dev-${labels:team}/* -> push pull
			account='' -> pull`, `
			admin pull,push,delete dev-backend/api: pull,push,delete
			admin * registry:catalog: *
			dev pull,push dev-backend/api: pull,push
			dev pull,push,delete dev-data/x: pull,push
			dev pull dev-frontend/api: nothing
			dev pull dev-backend/sub/app: nothing
			dev pull library/nginx: nothing
			ops push dev-frontend/api: push
			nolbl pull dev-backend/api: nothing
			"" pull,push library/nginx: pull
			"" pull registry:catalog: pull`},
		"the first match decides alone": {`
			account=dev name=a/* -> pull
			account=dev name=a/b -> *
			name=a/* ->
			-> *`, `
			dev pull,push a/b: pull
			ops pull,push a/b: nothing
			ops pull,push a/b/c: pull,push`},
		"no entry, no rights": {`account=dev -> *`, `ops pull a: nothing`},
		"star beside another action is an action": {`-> pull *`, `
			dev pull,push a: pull
			dev *,pull a: *,pull`},
		"a star does not cross a slash and a regexp is not anchored": {`
			name=private/* ->
			name=/team/ -> pull
			account=? name=/^x/ -> pull
			name=[a-c]?/\* -> push`, `
			dev pull private/a: nothing
			dev pull private/team/b: pull
			dev pull otherteamx: pull
			dev pull xy: nothing
			dev push ax/*: push
			dev push dx/*: nothing
			dev push ax/b: nothing`},
		"slashes alone are globs": {`
			name=/ -> a
			name=// -> b
			name=/// -> c`, `
			dev a,b,c /: a
			dev a,b,c //: b
			dev a,b,c x/y: c`},
		"variables": {`
			name=home/${account} -> *
			name=${service}/${type}/${name} -> pull
			name=/^${account}-[0-9]+$/ -> push`, `
			dev pull home/dev: pull
			dev push dev-12: push
			dev push ops-12: nothing
			dev push dev-x: nothing`},
		"captures": {`
			account=/^(.+)@(corp|it)$/ name=home/${account:2}/${account:1} -> *
			account=/^(.+)@/ name=${account:2}/x -> push
			name=/^([^/]+)\/(.+)$/ service=${name:1}.example -> pull`, `
			bob@corp pull home/corp/bob: pull
			bob@corp pull home/it/bob: nothing
			bob@it pull home/it/bob: pull
			bob@it push ${account:2}/x: push
			dev pull web/a/b on web.example: pull
			dev pull web/a/b on db.example: nothing`},
		"labels must all hold": {`
			labels.role=developer labels.team=data -> push
			labels.role=oper* -> pull
			labels.none=* -> *`, `
			dev push,pull a: push
			ops push,pull a: pull
			nolbl pull a: nothing
			admin pull a: nothing`},
		"label patterns know variables": {`labels.team=${service} -> pull`, `
			dev pull a on data: pull
			dev pull a on web: nothing`},
		"a label pattern knows captures that the fields use": {`
			account=/^(.+)@corp$/ name=${account:1}/* labels.team=${account:1} -> pull
			account=/^(.+)@corp$/ labels.team=${account:1} -> push`, `
			team@corp pull,push team/a: nothing`},
		"addresses": {`
			ip=10.0.0.0/8 -> pull
			ip=2001:db8::/32 -> push
			ip=::ffff:192.0.2.1 -> delete
			ip=::/0 -> other`, `
			dev pull,push,delete,other a: nothing
			dev pull,push,delete,other a at 10.2.3.4: pull
			dev pull,push,delete,other a at ::ffff:10.2.3.4: pull
			dev pull,push,delete,other a at 2001:db8::1: push
			dev pull,push,delete,other a at 192.0.2.1: delete
			dev pull,push,delete,other a at 192.0.2.2: nothing
			dev pull,push,delete,other a at fe80::1%eth0: other`},
		"an empty account is the anonymous one only": {`
			account='' -> pull
			account=* -> push`, `
			"" pull,push a: pull
			dev pull,push a: push`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := policy(t, c.policy)
			for _, sentence := range strings.Split(strings.TrimSpace(c.sentences), "\n") {
				checkSentence(t, p, strings.TrimSpace(sentence))
			}
		})
	}
}

func checkSentence(t *testing.T, p *acl.Policy, sentence string) {
	t.Helper()
	at := strings.LastIndex(sentence, ": ")
	want := strings.Split(sentence[at+2:], ",")
	words := strings.Fields(sentence[:at])
	r := acl.Request{Account: strings.Trim(words[0], `"`), Type: "repository", Name: words[2], Actions: strings.Split(words[1], ",")}
	r.Labels = people[r.Account]
	if typ, name, ok := strings.Cut(r.Name, ":"); ok && typ == "registry" {
		r.Type, r.Name = typ, name
	}
	for i := 3; i+1 < len(words); i += 2 {
		switch words[i] {
		case "at":
			r.IP = netip.MustParseAddr(words[i+1])
		case "on":
			r.Service = words[i+1]
		}
	}
	d := p.Decide(&r, nil)
	got := d.Granted
	if len(got) == 0 {
		got = []string{"nothing"}
	}
	if d.Err != nil || !slices.Equal(got, want) {
		t.Errorf("%s; but granted is %q by entry %d, error %v", sentence, got, d.Index, d.Err)
	}
	checkExplain(t, p, &r, d)
}

func TestCompileReportsEveryProblem(t *testing.T) {
	t.Parallel()
	entries := rules(t, `
		account=a[ name=/a(/ type=/**/ service=x\ ip=10.0.0.0/33 labels.team=[] -> pull
		account=ok -> pull
		ip=10.0.0.300 labels.a=/[/ labels.b=ok -> pull
		ip=fe80::1%eth0 -> pull`)
	entries[1].Actions = nil
	_, err := acl.Compile(entries, acl.Options{})
	var all acl.Errors
	if !errors.As(err, &all) {
		t.Fatalf("error = %v, want Errors", err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%d %s %s", e.Entry, e.Field, e.Pattern))
	}
	want := []string{
		"0 account a[", "0 type /**/", "0 name /a(/", `0 service x\`, "0 ip 10.0.0.0/33", "0 labels.team []",
		"1 actions ", "2 ip 10.0.0.300", "2 labels.a /[/", "3 ip fe80::1%eth0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	var re *syntax.Error
	if !errors.Is(err, path.ErrBadPattern) || !errors.Is(err, acl.ErrNoActions) || !errors.As(err, &re) {
		t.Errorf("errors.Is and errors.As do not find the causes in %v", err)
	}
	if line := all[0].Error(); line != `acl[0].account: pattern "a[": syntax error in pattern` {
		t.Errorf("message = %s", line)
	}
}

func TestCompileKeepsItsOwnEntries(t *testing.T) {
	t.Parallel()
	entries := rules(t, `name=a -> pull`)
	p := compile(t, entries, acl.Options{})
	entries[0].Actions[0] = "push"
	entries[0] = acl.Entry{}
	d := p.Decide(&acl.Request{Name: "a", Actions: []string{"pull", "push"}}, nil)
	if diff := cmp.Diff([]string{"pull"}, d.Granted); diff != "" {
		t.Errorf("granted (-want +got):\n%s", diff)
	}
	if p.Len() != 1 || *p.Entries()[0].Match.Name != "a" {
		t.Errorf("Entries = %v", p.Entries())
	}
}

func TestExplainNamesTheFirstFieldThatFails(t *testing.T) {
	t.Parallel()
	p := policy(t, `
		account=ops -> *
		account=dev type=registry -> *
		name=web/* -> *
		service=s -> *
		ip=10.0.0.0/8 -> *
		labels.role=* labels.team=web -> *
		name=dev-${labels:team}/* -> pull
		-> *`)
	r := acl.Request{
		Account: "dev", Type: "repository", Name: "dev-data/x", Labels: people["dev"],
		IP: netip.MustParseAddr("192.0.2.1"), Actions: []string{"pull", "push"},
	}
	d, steps := p.Explain(&r)
	want := []acl.Step{
		{Index: 0, Field: "account", Pattern: "ops", Value: "dev"},
		{Index: 1, Field: "type", Pattern: "registry", Value: "repository"},
		{Index: 2, Field: "name", Pattern: "web/*", Value: "dev-data/x"},
		{Index: 3, Field: "service", Pattern: "s"},
		{Index: 4, Field: "ip", Pattern: "10.0.0.0/8", Value: "192.0.2.1"},
		{Index: 5, Field: "labels.team", Pattern: "web", Value: "backend, data"},
		{Index: 6, Matched: true},
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if d.Index != 6 || !slices.Equal(d.Granted, []string{"pull"}) {
		t.Errorf("Explain decided %+v", d)
	}
}

func TestUndecidedEntryDeniesUnlessItCannotMatch(t *testing.T) {
	t.Parallel()
	p := policy(t, `
		account=ops name=${labels:team}x ->
		labels.role=/^${service:1}$/ service=/^(.*)$/ name=${service:1}/* ->
		name=a-${labels:team} type=other ->
		name=b-${labels:team} type=repository ->
		-> *`)
	labels := map[string][]string{"team": {"foo["}, "role": {"x"}}
	for _, c := range []struct {
		r     acl.Request
		want  int
		field string
	}{
		{acl.Request{Account: "ops", Type: "other"}, 0, "name"},
		{acl.Request{Account: "dev", Type: "none"}, 4, ""},
		{acl.Request{Account: "dev", Type: "other"}, 2, "name"},
		{acl.Request{Account: "dev", Type: "repository", Name: "unrelated"}, 3, "name"},
		{acl.Request{Account: "dev", Type: "none", Service: "[", Name: "[/a"}, 1, "name"},
		{acl.Request{Account: "dev", Type: "none", Service: "(", Name: "(/a"}, 1, "labels.role"},
		{acl.Request{Account: "dev", Type: "none", Service: "(", Name: "b"}, 4, ""},
	} {
		c.r.Labels, c.r.Actions = labels, []string{"pull"}
		d := p.Decide(&c.r, nil)
		if d.Index != c.want || (d.Err != nil) != (c.field != "") || (len(d.Granted) > 0) != (c.field == "") {
			t.Errorf("%+v: Decide = %+v, want entry %d, undecided %q", c.r, d, c.want, c.field)
			continue
		}
		var e *acl.Error
		if errors.As(d.Err, &e) && (e.Entry != c.want || e.Field != c.field || e.Pattern == "") {
			t.Errorf("%+v: error %#v, want entry %d, field %q", c.r, e, c.want, c.field)
		}
		checkExplain(t, p, &c.r, d)
	}
}

// TestB3BrokenDenyNeverGrants has denies that a value breaks before an entry that grants
// everything.
func TestB3BrokenDenyNeverGrants(t *testing.T) {
	t.Parallel()
	for pattern, value := range map[string]string{
		"/^${labels:t}-secret$/":         "a(b",
		"/^team-${labels:t}\\/.*$/":      "a)b",
		"/${labels:t}/":                  "[a",
		"/^(${labels:t}|root)$/":         "(?<",
		"/^x${labels:t}x$/":              "**",
		"/^${labels:t}?$/":               "a*+",
		"/^[${labels:t}]$/":              "z-a",
		"/^[^a${labels:t}]+$/":           "z-b",
		"/^a{${labels:t}}$/":             "5000",
		"/^(?:${labels:t})$/":            `\p{Nope}`,
		"/^prod${labels:t}$/":            `\8`,
		"/^${labels:t}.*$/":              "(?z)",
		"/^secret-${labels:t}$/":         "\xff",
		"${labels:t}-secret":             "foo[",
		"${labels:t}/*":                  "[]",
		"prod/${labels:t}":               "[a-",
		"*${labels:t}":                   `\`,
		"[${labels:t}]/*":                "-",
		"secret/[a]${labels:t}":          "[b",
		"[a-${labels:t}]":                "]",
		"/^${account:1}-secret$/":        "(?",
		"${account:1}-secret":            "[",
		"/^prod-(${account:1})$/":        "a|(",
		"deploy/${labels:t}/${labels:t}": "[^",
	} {
		deny := acl.Entry{Match: acl.Match{Name: &pattern}, Actions: []string{}}
		account := "ci"
		if strings.Contains(pattern, "${account:1}") {
			deny.Match.Account = text("/^(.+)$/")
			account = value
		}
		p, err := acl.Compile([]acl.Entry{deny, {Actions: []string{"*"}}}, acl.Options{})
		if err != nil {
			t.Errorf("%q: %v", pattern, err)
			continue
		}
		for _, name := range []string{"a", "a-secret", "prod/x", "foo[-secret", "q", "team-a/x", "secret-x", "5000"} {
			r := acl.Request{Account: account, Name: name, Labels: map[string][]string{"t": {value}}, Actions: []string{"pull"}}
			d := p.Decide(&r, nil)
			if d.Index == 0 && d.Err == nil && len(d.Granted) == 0 {
				continue // the pattern as written matches, which denies as well
			}
			if len(d.Granted) > 0 || d.Err == nil {
				t.Errorf("deny %q with value %q: %q is granted %q by entry %d", pattern, value, name, d.Granted, d.Index)
			}
		}
	}
}

// literalPatterns match, for a label or a captured account v, exactly the name made of the
// format and v, when values are literal.
func literalPatterns() map[string]string {
	return map[string]string{
		"${labels:t}":               "%s",
		"p-${labels:t}":             "p-%s",
		"/^p-${labels:t}$/":         "p-%s",
		"/^(${labels:t}|n{9}o)$/":   "%s",
		"${labels:t}/x":             "%s/x",
		"/^\\x21${labels:t}$/":      "!%s",
		"q-${account:1}":            "q-%s",
		"/^q-${account:1}$/":        "q-%s",
		"${account:1}":              "%s",
		"[q]${labels:t}":            "q%s",
		"/^q${labels:t}$/":          "q%s",
		"/^(?:${account:1})(?:!)$/": "%s!",
	}
}

func TestB4LiteralValuesGrantOnlyEqualText(t *testing.T) {
	t.Parallel()
	nasty := []string{"*", ".*", "a", "ab", "a|b", "(?i)a", "[ab]", "a(b", `\`, "a.b", "/a/", "/é/", "/", "", "^", "$", "a*", "?", "${account}", "é", "x/y"}
	g := generator{Rand: rand.New(rand.NewPCG(7, 8))}
	pairs, rounds := 0, 9000
	if raceEnabled {
		rounds = 200
	}
	for pattern, format := range literalPatterns() {
		entries := []acl.Entry{{Match: acl.Match{Account: text("/^(?s)(.*)@corp$/"), Name: &pattern}, Actions: []string{"*"}}}
		for range 6 { // enough for the index
			entries = append(entries, entries[0])
		}
		p := compile(t, entries, acl.Options{LiteralLabels: true})
		check := func(v, w string) {
			r := acl.Request{Account: v + "@corp", Labels: map[string][]string{"t": {v}}, Name: fmt.Sprintf(format, w), Actions: []string{"pull"}}
			d := p.Decide(&r, nil)
			if d.Err != nil || (len(d.Granted) > 0) != (v == w) {
				t.Errorf("pattern %q with value %q: %q is granted %v, error %v", pattern, v, r.Name, d.Granted, d.Err)
			}
			pairs++
		}
		for _, v := range nasty {
			for _, w := range nasty {
				check(v, w)
			}
		}
		for range rounds {
			v := strings.ToValidUTF8(g.labelValue(), "")
			w := strings.ToValidUTF8(g.value(), "")
			if strings.Contains(w, "${labels") {
				continue // a pattern also matches itself as written
			}
			check(v, w)
			check(w+v, w+v)
		}
	}
	if pairs < 100_000 && !raceEnabled {
		t.Errorf("%d pairs, want 100,000", pairs)
	}
}

func TestIPCells(t *testing.T) {
	t.Parallel()
	p := policy(t, `
		ip=10.0.0.0/8 ->
		ip=10.1.0.0/16 ->
		ip=10.0.0.0/9 ->
		ip=10.128.0.0/9 ->
		ip=192.0.2.1 ->
		ip=192.0.2.7/24 ->
		ip=0.0.0.0/32 ->
		ip=255.255.255.255 ->
		ip=::/64 ->
		ip=2001:db8::/32 ->
		ip=::ffff:0:0/90 ->
		ip=::ffff:10.1.0.0/112 ->`)
	var got []string
	for _, a := range p.IPCells() {
		got = append(got, a.String())
	}
	want := []string{
		"invalid IP", "0.0.0.0", "10.1.0.0", "10.0.0.0", "10.128.0.0", "192.0.2.1", "192.0.2.0", "255.255.255.255", "0.0.0.1",
		"::ffc0:0:0", "::", "2001:db8::", "0:0:0:1::",
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if cells := policy(t, `name=a -> pull`).IPCells(); len(cells) != 1 || cells[0].IsValid() {
		t.Errorf("cells of a policy without addresses = %v, want the zero address only", cells)
	}
}

// TestIPCellsAreAllThatMatters compares every address near a border with the cells.
func TestIPCellsAreAllThatMatters(t *testing.T) {
	t.Parallel()
	g := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var entries []acl.Entry
		for range 1 + g.IntN(6) {
			var b [16]byte
			for i := range b {
				b[i] = []byte{0, 0, 0, 255, 10, 1}[g.IntN(6)]
			}
			addr := netip.AddrFrom16(b)
			if g.IntN(2) == 0 {
				addr = netip.AddrFrom4([4]byte(b[:4]))
			}
			if g.IntN(4) == 0 {
				copy(b[:12], []byte{10: 255, 11: 255})
				addr = netip.AddrFrom16(b)
			}
			cidr := fmt.Sprintf("%s/%d", addr, g.IntN(addr.BitLen()+1))
			entries = append(entries, acl.Entry{Match: acl.Match{IP: &cidr}, Actions: []string{}})
		}
		p := compile(t, entries, acl.Options{})
		// The entries that an address satisfies, each asked alone.
		signature := func(a netip.Addr) string {
			var b strings.Builder
			for i := range entries {
				d := compile(t, entries[i:i+1], acl.Options{}).Decide(&acl.Request{IP: a}, nil)
				fmt.Fprint(&b, d.Index, " ")
			}
			return b.String()
		}
		known := map[string]bool{}
		for _, a := range p.IPCells() {
			known[signature(a)] = true
		}
		for _, e := range entries {
			prefix := netip.MustParsePrefix(*e.Match.IP)
			for _, a := range []netip.Addr{prefix.Addr(), prefix.Masked().Addr(), prefix.Masked().Addr().Prev(), prefix.Addr().Next()} {
				if a.IsValid() && !known[signature(a)] {
					t.Fatalf("no cell is like %v; cells %v of %s", a, p.IPCells(), describe(entries))
				}
			}
		}
	}
}

func TestParsePattern(t *testing.T) {
	t.Parallel()
	type segs = []acl.Segment
	txt := func(s string) acl.Segment { return acl.Segment{Kind: acl.Text, Text: s} }
	for _, c := range []struct {
		text string
		kind acl.Kind
		want segs
	}{
		{"", acl.Literal, nil},
		{"library/nginx", acl.Literal, segs{txt("library/nginx")}},
		{`a\*b`, acl.Literal, segs{txt(`a\*b`)}},
		{"a*", acl.Glob, segs{txt("a*")}},
		{"//", acl.Literal, segs{txt("//")}},
		{"/a/", acl.Regexp, segs{txt("/a/")}},
		{"${account}", acl.Glob, segs{{Kind: acl.Variable, Text: "${account}", Field: acl.FieldAccount}}},
		{"/^${type}-${service}/", acl.Regexp, segs{
			txt("/^"), {Kind: acl.Variable, Text: "${type}", Field: acl.FieldType}, txt("-"),
			{Kind: acl.Variable, Text: "${service}", Field: acl.FieldService}, txt("/"),
		}},
		{"x${name:12}${labels:a b}", acl.Glob, segs{
			txt("x"), {Kind: acl.Capture, Text: "${name:12}", Field: acl.FieldName, Group: 12},
			{Kind: acl.Label, Text: "${labels:a b}", Key: "a b"},
		}},
		{"${Account:1}${account:0}${user:1}${}$${", acl.Glob, segs{
			{Kind: acl.Capture, Text: "${Account:1}", Field: acl.FieldAccount, Group: 1}, txt("${account:0}${user:1}${}$${"),
		}},
		{"${account}${account:1}", acl.Glob, segs{ // the first "${" swallows the capture
			{Kind: acl.Variable, Text: "${account}", Field: acl.FieldAccount}, txt("${account:1}"),
		}},
		{"${labels:x${name}", acl.Glob, segs{txt("${labels:x"), {Kind: acl.Variable, Text: "${name}", Field: acl.FieldName}}},
		{"{labels:team}", acl.Literal, segs{txt("{labels:team}")}},
	} {
		p, err := acl.ParsePattern(c.text)
		if err != nil {
			t.Errorf("ParsePattern(%q): %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, p.Segments()); diff != "" {
			t.Errorf("segments of %q (-want +got):\n%s", c.text, diff)
		}
		if p.Kind() != c.kind || p.String() != c.text {
			t.Errorf("ParsePattern(%q) is a %v, want a %v", p, p.Kind(), c.kind)
		}
		if got := p.Expand(func(acl.Segment) (string, bool) { return "", false }); got != c.text {
			t.Errorf("%q expanded by nothing is %q", c.text, got)
		}
	}
	for _, bad := range []string{"[", "a\\", "/(/", "/a**/", "${labels:x}["} {
		if _, err := acl.ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) gave no error", bad)
		}
	}
}

func TestPatternsOfAnEntry(t *testing.T) {
	t.Parallel()
	p := policy(t, `account=/^(.+)$/ name=${account:1}/${account:2}/${type:1} type=x ip=10.1.0.0/16 labels.team=${account:1}-${labels:a} -> pull`)
	got := p.Patterns(0)
	if got.Service != nil || got.Account.Kind() != acl.Regexp || got.Type.String() != "x" || *got.IP != netip.MustParsePrefix("10.1.0.0/16") {
		t.Errorf("Patterns = %+v", got)
	}
	want := []acl.Segment{
		{Kind: acl.Capture, Text: "${account:1}", Field: acl.FieldAccount, Group: 1},
		{Kind: acl.Text, Text: "/${account:2}/${type:1}"}, // no such groups
	}
	if diff := cmp.Diff(want, got.Name.Segments()); diff != "" {
		t.Errorf("name (-want +got):\n%s", diff)
	}
	want[1].Text = "-${labels:a}" // labels have no labels
	if diff := cmp.Diff(want, got.Labels[0].Pattern.Segments()); diff != "" {
		t.Errorf("label (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]acl.Segment{{Kind: acl.Text, Text: "x"}}, got.Type.Segments()); diff != "" {
		t.Errorf("type (-want +got):\n%s", diff)
	}
}

func TestMatchText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, value string
		want           bool
		bad            bool
	}{
		{"a*", "ab", true, false},
		{"a*", "a/b", false, false},
		{"/b/", "abc", true, false},
		{"${account}", "${account}", true, false},
		{"[", "", false, true},
		{"/(/", "", false, true},
	} {
		got, err := acl.MatchText(c.pattern, c.value)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("MatchText(%q, %q) = %v, %v", c.pattern, c.value, got, err)
		}
	}
}

func TestCheckLabels(t *testing.T) {
	t.Parallel()
	p := policy(t, `
		name=${labels:team}-x -> pull
		name=/^${labels:team}-${labels:role}$/ -> pull
		name=a/* type=${labels:role} -> pull
		name=${labels:team}-x account=other -> pull
		name=/^[${labels:role}]/ -> pull
		name=dev-${labels:team}/* labels.team=* -> pull`)
	for _, c := range []struct {
		labels map[string][]string
		want   []string
	}{
		{nil, nil},
		{map[string][]string{"team": {"web", "a.b", "*"}}, nil},
		{map[string][]string{"team": {"web", "a.b", "x*"}, "role": {"dev"}}, nil},
		{map[string][]string{"team": {"web"}, "role": {"z-a"}}, []string{"4 name role"}},
		{map[string][]string{"team": {"web", "x["}, "role": {"dev"}}, []string{"0 name team", "1 name team", "3 name team", "5 name team"}},
		{map[string][]string{"team": {"web"}, "role": {"d", "d(", "["}}, []string{"1 name role", "2 type role"}},
		{map[string][]string{"unused": {"[", "("}}, nil},
		{map[string][]string{"a}b": {"x"}, "${x": nil}, []string{"-1  ${x", "-1  a}b"}},
	} {
		var got []string
		for _, e := range p.CheckLabels(c.labels) {
			got = append(got, fmt.Sprintf("%d %s %s", e.Entry, e.Field, e.Label))
			if e.Entry >= 0 && (e.Pattern == "" || e.Err == nil) {
				t.Errorf("%q: %#v has no pattern or cause", c.labels, e)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("CheckLabels(%q) (-want +got):\n%s", c.labels, diff)
		}
	}
}

func TestLargeSubstitutedRegexpIsRefused(t *testing.T) {
	t.Parallel()
	p := policy(t, "name=/^(${labels:t}){1000}$/ -> pull")
	labels := map[string][]string{"t": {strings.Repeat("a", 4096)}}
	d := p.Decide(&acl.Request{Name: "a", Labels: labels}, nil)
	if d.Index != 0 || !errors.Is(d.Err, acl.ErrTooLarge) || len(d.Err.Error()) > 1000 {
		t.Errorf("Decide = %d, %.1000v; want ErrTooLarge in a short message", d.Index, d.Err)
	}
	if found := p.CheckLabels(labels); !errors.Is(found, acl.ErrTooLarge) {
		t.Errorf("CheckLabels = %v, want ErrTooLarge", found)
	}
}

// TestConcurrentDecisions is for the race detector: lazily compiled regexps, the cache and
// the pool are shared by all.
func TestConcurrentDecisions(t *testing.T) {
	t.Parallel()
	p := policy(t, `
		account=/^(u)(.)/ name=/^${account:2}(${name}|${labels:t})$/ -> pull
		name=/^[a-c]+-x$/ -> push
		name=/^(${labels:t})+$/ -> pull
		name=${labels:t}/* -> pull
		name=/x${account}*y/ -> pull
		-> *`)
	names := []string{"a-x", "b", "bb", "q/a", "1b", "xuy", "(", "zz"}
	labels := map[string][]string{"t": {"b", "c*", "q"}}
	want := map[string]int{}
	for i, name := range names {
		r := acl.Request{Account: fmt.Sprint("u", i), Name: name, Labels: labels}
		want[name] = p.Decide(&r, nil).Index
	}
	fresh := compile(t, p.Entries(), acl.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 400 {
				i := n % len(names)
				r := acl.Request{Account: fmt.Sprint("u", i), Name: names[i], Labels: labels}
				if d := fresh.Decide(&r, nil); d.Index != want[names[i]] {
					t.Errorf("%q decided by entry %d, want %d", names[i], d.Index, want[names[i]])
				}
				if n%50 == 0 {
					fresh.CheckLabels(labels)
					fresh.Explain(&r)
				}
			}
		}()
	}
	wg.Wait()
}

// TestRejectedSyntaxIsIndependentOfTheValue is what the check of globs at compile time
// relies on.
func TestRejectedSyntaxIsIndependentOfTheValue(t *testing.T) {
	t.Parallel()
	g := generator{Rand: rand.New(rand.NewPCG(3, 4))}
	for range 20000 {
		p := g.some(0, 5, func() string { return g.pick("a", "*", "?", "[", "]", "^", "-", `\`, "/", "[a", "a]", "é", "\xff") })
		_, want := path.Match(p, "")
		v := g.value()
		if _, err := path.Match(p, v); (err == nil) != (want == nil) {
			t.Fatalf("path.Match(%q, %q): %v, for the empty name %v", p, v, err, want)
		}
	}
}

func TestQuotingIsThatOfRegexp(t *testing.T) {
	t.Parallel()
	for c := range 0x180 {
		account := "a" + string(rune(c)) + "b"
		p := policy(t, "name=/^(${account}|x)$/ -> pull")
		d := p.Decide(&acl.Request{Account: account, Name: account}, nil)
		if re := regexp.MustCompile("^(" + regexp.QuoteMeta(account) + "|x)$"); d.Index != 0 || !re.MatchString(account) {
			t.Errorf("account %q does not match itself: %+v", account, d)
		}
	}
}
