package config

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestA1PasswordlessByAccident: fourteen ways in which a users block lets anybody in, or nobody, on
// docker_auth. Each is a problem on the right line.
func TestA1PasswordlessByAccident(t *testing.T) {
	t.Parallel()
	h := testHash
	tests := []struct {
		name, users string
		line        int
		code        string
	}{
		{"no keys", "users:\n  bob: {}", 8, CodeNoPassword},
		{"labels only", "users:\n  bob:\n    labels: {team: [x]}", 8, CodeNoPassword},
		{"empty value", "users:\n  bob: {password: }", 8, CodeNoPassword},
		{"empty value, block", "users:\n  bob:\n    password:", 9, CodeNoPassword},
		{"null value", "users:\n  bob: {password: ~}", 8, CodeNoPassword},
		{"misspelt key", "users:\n  bob: {passwrod: \"" + h + "\"}", 8, CodeUnknownKey},
		{"capital key", "users:\n  bob: {Password: \"" + h + "\"}", 8, CodeUnknownKey},
		{"no space", "users:\n  bob: {password:\"" + h + "\"}", 8, CodeUnknownKey},
		{"other key", "users:\n  bob: {hash: \"" + h + "\"}", 8, CodeUnknownKey},
		{"second bob without", "users:\n  bob: {password: \"" + h + "\"}\n  bob: {}", 9, CodeDuplicateUser},
		{"second bob, quoted", "users:\n  bob: {password: \"" + h + "\"}\n  \"bob\": {password: \"" + h + "\"}", 9, CodeDuplicateUser},
		{"second password", "users:\n  bob:\n    password: \"" + h + "\"\n    password:", 10, CodeDuplicateKey},
		{"no value", "users:\n  bob:", 8, CodeNullUser},
		{"empty hash", "users:\n  bob: {password: \"\"}", 8, CodeBadHash},
		{"plain text", "users:\n  bob: {password: \"123\"}", 8, CodeBadHash},
		{"wrong indent", "users:\n  bob:\n  password: \"" + h + "\"", 8, CodeNullUser},
		{"null name", "users:\n  null: {password: \"" + h + "\"}", 8, CodeNullUser},
		{"merged away", "users:\n  bob:\n    password: \"" + h + "\"\n    <<: {password: \"" + weakHash + "\"}", 9, CodeAmbiguousMerge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, block := range []string{withUsers(tt.users), head + "acl: []\n" + tt.users} {
				f, problems := Parse("f.yml", []byte(block))
				if len(problems) == 0 {
					t.Fatalf("no problem in:\n%s", block)
				}
				line := tt.line
				if strings.HasPrefix(block, head+"acl") {
					line++
				}
				found := false
				for _, p := range problems {
					found = found || p.Code == tt.code && p.Line == line
				}
				if !found {
					t.Errorf("problems %q, want %s on line %d", shorts(problems), tt.code, line)
				}
				if f != nil {
					if _, err := f.Policy(); err == nil {
						t.Error("Policy() serves it")
					}
				}
			}
		})
	}
	// The anonymous account is the one that needs none, and the switch opens the others.
	for _, data := range []string{withUsers("users:\n  \"\": {}"), withUsers("users: {bob: {}}\nx-regctl-setup: {allow_passwordless: true}")} {
		if _, problems := Parse("f.yml", []byte(data)); len(problems) > 0 {
			t.Errorf("problems %q", shorts(problems))
		}
	}
}

// TestB1MistypedRules: twenty rules that one slip makes wider. Each is a problem on its line, and no
// policy comes out of the file.
func TestB1MistypedRules(t *testing.T) {
	t.Parallel()
	tests := []struct{ match, code, hint string }{
		{`match: {acount: "admin"}`, CodeUnknownKey, `did you mean "account"?`},
		{`match: {Account: "admin"}`, CodeUnknownKey, `did you mean "account"?`},
		{`match: {accounts: "admin"}`, CodeUnknownKey, `did you mean "account"?`},
		{`match: {user: "admin"}`, CodeUnknownKey, `did you mean "account"?`},
		{`match: {account:"admin"}`, CodeUnknownKey, `put a space after the colon: account: ...`},
		{`match: {account: }`, CodeNullField, `the anonymous account is written ""`},
		{`match: {account: ~}`, CodeNullField, `the anonymous account is written ""`},
		{`match: {account: ["admin"]}`, CodeWrongType, `a regexp takes one of several: "/^(a|b)$/"`},
		{`match: {account: "x", account: "*"}`, CodeDuplicateKey, `docker_auth silently takes the last one; remove one of them`},
		{`match: {nmae: "a/*"}`, CodeUnknownKey, `did you mean "name"?`},
		{`match: {repository: "a/*"}`, CodeUnknownKey, `did you mean "name"?`},
		{`match: {team: "infrastructure"}`, CodeUnknownKey, `did you mean labels: {team: ...}?`},
		{`match: {label: {team: "x"}}`, CodeUnknownKey, `did you mean "labels"?`},
		{`match: {labels: }`, CodeNullField, `remove the line, or write labels: {team: backend}`},
		{`match: {labels: {team: }}`, CodeNullField, `remove the line, or write the pattern`},
		{`match: {labels: "team=x"}`, CodeWrongType, ``},
		{`match: {servce: "r"}`, CodeUnknownKey, `did you mean "service"?`},
		{`match: {tpye: "repository"}`, CodeUnknownKey, `did you mean "type"?`},
		{`match: {ips: "10.0.0.0/8"}`, CodeUnknownKey, `did you mean "ip"?`},
		{`match: {account: "admin", {name: "x"}}`, CodeWrongType, ``},
		{`matches: {account: "admin"}`, CodeUnknownKey, `did you mean "match"?`},
		{`account: "admin"`, CodeUnknownKey, `did you mean match: {account: ...}?`},
		{`match: account`, CodeWrongType, ``},
		{`match: [{account: "admin"}]`, CodeWrongType, ``},
		{`match: {account: "admin"}, match: {}`, CodeDuplicateKey, `docker_auth silently takes the last one; remove one of them`},
	}
	for _, tt := range tests {
		t.Run(tt.match, func(t *testing.T) {
			t.Parallel()
			data := withACL("acl:\n  - {match: {account: a}, actions: [pull]}\n  - {" + tt.match + ", actions: [\"*\"]}")
			f, problems := Parse("f.yml", []byte(data))
			found := false
			for _, p := range problems {
				if p.Line != 9 {
					t.Errorf("a problem on another line: %s", short(p))
				}
				found = found || p.Code == tt.code && p.Hint == tt.hint
			}
			if !found {
				t.Errorf("problems %q with hints %q, want %s with %q", shorts(problems), problems.Hints(), tt.code, tt.hint)
			}
			if f == nil {
				t.Fatal("the file is not readable")
			}
			if _, err := f.Policy(); err == nil {
				t.Error("a policy comes out of it")
			}
		})
	}
}

// TestB2MissingParts: entries without match or actions are named, wherever they stand.
func TestB2MissingParts(t *testing.T) {
	t.Parallel()
	checkProblems(t, withACL("acl:\n-\n- ~\n- {}\n- match: {}\n- actions: []\n- match:\n  actions: []\n- match: {}\n  actions:"),
		"8:2 missing-match: the entry is empty, expected {match: {...}, actions: [...]}",
		"9:3 missing-match: the entry is empty, expected {match: {...}, actions: [...]}",
		"10:3 missing-actions: the entry has no actions: docker_auth drops the connection when it is reached",
		"10:3 missing-match: the entry has no match: docker_auth dies of it",
		"11:3 missing-actions: the entry has no actions: docker_auth drops the connection when it is reached",
		"12:3 missing-match: the entry has no match: docker_auth dies of it",
		"13:3 missing-match: the entry has no match: docker_auth dies of it",
		"15:3 missing-actions: the entry has no actions: docker_auth drops the connection when it is reached",
	)
}

// TestC8Bombs: what is small on disk and large in memory is refused quickly.
func TestC8Bombs(t *testing.T) {
	t.Parallel()
	levels := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		levels += fmt.Sprintf("a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	var labels, users strings.Builder
	labels.WriteString("x-l: &l {")
	for i := range 2000 {
		fmt.Fprintf(&labels, "k%d: [v],", i)
	}
	labels.WriteString("}\n")
	users.WriteString("users:\n")
	for i := range 20_000 {
		fmt.Fprintf(&users, "  u%d: {password: %s, labels: *l}\n", i, testHash)
	}
	bombs := map[string]string{
		"aliases":          levels + withUsers("users: {}"),
		"aliases in users": labels.String() + head + users.String() + "acl: []\n",
		"self":             "users: &u\n  a: *u\n",
		"self merge":       "users: &u\n  <<: *u\n",
		"brackets":         strings.Repeat("[", 100_000),
		"braces":           strings.Repeat("{a: ", 100_000),
		"dashes":           strings.Repeat("- ", 100_000),
		"indent":           deep(2000),
		"one long line":    withUsers("users: {" + strings.Repeat("a: {}, ", 100_000) + "}"),
		"too big":          strings.Repeat("#", MaxFileSize+1),
	}
	for name, data := range bombs {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, problems := Parse("f.yml", []byte(data))
			took := time.Since(start)
			if len(problems) == 0 {
				t.Error("accepted")
			}
			// One second is the figure; five times that is what a busy machine is held to, or a multiple
			// of the library's own time for the same text where all is slow, as under the race detector.
			if took > 5*time.Second {
				start = time.Now()
				var n yaml.Node
				_ = yaml.Unmarshal([]byte(data), &n)
				if unit := time.Since(start); took > 10*unit {
					t.Errorf("took %v, the library alone %v", took, unit)
				}
			}
			t.Logf("%v, %d problems, first %s", took, len(problems), short(problems[0]))
		})
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// TestD3Cut: a file cut at any byte has problems, or says less than the whole: no user without the
// password that it has in the whole file, and no entry that the whole file does not have.
func TestD3Cut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"guide style", "flow", "untidy", "CRLF"} {
		data := []byte(corpus()[name])
		whole := mustParse(t, data)
		accepted := 0
		for cut := range data {
			f, problems := Parse("f.yml", data[:cut])
			if len(problems) > 0 {
				continue
			}
			accepted++
			for i := range f.Users {
				u, ok := whole.User(f.Users[i].Name)
				if !ok || u.HasPassword != f.Users[i].HasPassword || u.Hash.Reveal() != f.Users[i].Hash.Reveal() {
					t.Errorf("%s cut at %d: user %q is not that of the whole file", name, cut, f.Users[i].Name)
				}
			}
			for i, e := range f.ACL {
				e.Comment = whole.ACL[i].Comment
				if !sameEntry(e, whole.ACL[i]) {
					t.Errorf("%s cut at %d: entry %d is not that of the whole file", name, cut, i+1)
				}
			}
		}
		t.Logf("%s: %d of %d cuts are accepted", name, accepted, len(data))
	}
}

// TestMutatedConfigs: files with random faults never panic, never pass with another meaning than
// docker_auth gives them, and never serve a named user without a password.
func TestMutatedConfigs(t *testing.T) {
	t.Parallel()
	files := corpus()
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		texts = append(texts, files[name])
	}
	tokens := []string{"", " ", "  ", "\n", ":", ": ", "-", "- ", "{", "}", "[", "]", ",", "~", "null", "*", "&x ", "*x", "<<: ", "!!str ", "!x ", "\"", "'", "#", "|", ">", "%",
		"\t", "\r", "\u2028", "password", "labels", "match", "actions", "account", "users", "acl", "yes", "0x", "'", "\\", "? ", "---\n", "...\n", "\ufeff", "/", "(", "[a", "$", "${", testHash, "\xff", "\x00"}
	r := rand.New(rand.NewPCG(7, 7))
	n := 3_000
	if testing.Short() {
		n = 500
	}
	accepted := 0
	for range n {
		data := []byte(texts[r.IntN(len(texts))])
		for range 1 + r.IntN(3) {
			i := r.IntN(len(data) + 1)
			j := min(len(data), i+r.IntN(8))
			if r.IntN(8) == 0 { // a whole line
				if k := bytes.IndexByte(data[i:], '\n'); k >= 0 {
					j = i + k + 1
				}
			}
			data = append(append(append([]byte{}, data[:i]...), tokens[r.IntN(len(tokens))]...), data[j:]...)
		}
		f, problems := Parse("f.yml", data)
		if f == nil {
			continue
		}
		policy, err := f.Policy()
		if len(problems) > 0 {
			if err == nil {
				t.Fatalf("a policy out of a file with problems:\n%s", data)
			}
			continue
		}
		accepted++
		if err != nil || policy.Len() != len(f.ACL) {
			t.Fatalf("Policy() = %v, %v", policy, err)
		}
		for i := range f.Users {
			if u := &f.Users[i]; u.Name != "" && !u.HasPassword && !f.Extras.AllowPasswordless {
				t.Fatalf("user %q has no password:\n%s", u.Name, data)
			}
		}
		checkDecoders(t, f, data)
	}
	if accepted < n/50 {
		t.Errorf("%d of %d are accepted, too few to mean much", accepted, n)
	}
	t.Logf("%d of %d accepted", accepted, n)
}

// TestG8RepeatedKeyInExternalSection: docker_auth's LDAP example has a key twice. It is a problem that names both lines.
func TestG8RepeatedKeyInExternalSection(t *testing.T) {
	t.Parallel()
	data := head + "ldap_auth:\n  addr: ldap:636\n  bind_dn: cn=a\n  bind_dn: cn=b\n  colour: red\n  labels: {a: {attribute: x, attribute: y}}\nacl: []\n"
	f, problems := Parse("f.yml", []byte(data))
	want := []string{
		`10:3 duplicate-key: duplicate key "bind_dn" in ldap_auth, first on line 9`,
		`12:30 duplicate-key: duplicate key "attribute" in ldap_auth, first on line 12`,
	}
	if diff := cmp.Diff(want, shorts(problems)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`11:3 unknown-key: unknown key "colour" in ldap_auth`}, shorts(f.Warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// TestSyntax: what the YAML scanner refuses has its line, and what people do wrong has a hint.
func TestSyntax(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, data string
		line       int
		msg, hint  string // parts
	}{
		{"tab", "server:\n\taddr: x\n", 2, "tab", ""},
		{"star", withACL("acl:\n- match: {}\n  actions: [*]"), 9, "", `put a text that begins with * in quotes: "*"`},
		{"star name", withACL("acl:\n- match: {account: *admin}\n  actions: []"), 8, "names an anchor that does not exist", "quotes"},
		{"percent", withACL("acl:\n- match: {account: %x}\n  actions: []"), 8, "", ""},
		{"at", withACL("acl:\n- match: {account: @x}\n  actions: []"), 8, "", "put a text that begins with @"},
		{"exclamation", withUsers("users: {a: {password: !" + testHash + "}}"), 7, "", `"!$2y$..."`},
		{"no space", "server:\n  addr:\":1\"\n  key: y\n", 3, "mapping values are not allowed", "put a space after the colon: addr: ..."},
		{"no space in a list", withACL("acl:\n- match: {}\n  actions:[pull]\n  comment: x"), 9, "", "put a space after the colon: actions: ..."},
		{"open quote", withUsers("users: {a: \"x}"), 0, "", ""},
		{"two documents", "a: 1\n---\nb: 2\n", 2, "second YAML document", ""},
		{"not UTF-8", "server: {addr: \"\xff\"}\n", 1, "not valid UTF-8", ""},
		{"UTF-16", "\xff\xfes\x00", 1, "UTF-16", ""},
		{"NUL", "server:\n  addr: \x00\n", 2, "NUL", ""},
		{"ESC", "server: \x1b[31m\n", 1, "control character", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, problems := Parse("f.yml", []byte(tt.data))
			if f != nil || len(problems) != 1 {
				t.Fatalf("file %v, problems %q", f, shorts(problems))
			}
			p := problems[0]
			if p.Code != CodeSyntax || tt.line > 0 && p.Line != tt.line || !strings.Contains(p.Msg, tt.msg) || !strings.Contains(p.Hint, tt.hint) {
				t.Errorf("%s, hint %q; want line %d, %q, hint %q", short(p), p.Hint, tt.line, tt.msg, tt.hint)
			}
			if strings.Contains(p.Msg+p.Hint, "admin") || strings.Contains(p.Msg+p.Hint, testHash[10:30]) {
				t.Errorf("the text shows in %q, %q", p.Msg, p.Hint)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, data string
		want       []string
	}{
		{"weak hash", withUsers("users: {a: {password: " + weakHash + "}}"), []string{`7:23 weak-hash: password of user "a": bcrypt cost 5, expected 10 or more`}},
		{"odd name", withUsers("users: {'a:b': {password: " + testHash + "}, 'x y': {password: " + testHash + "}}"), []string{
			`7:9 unusual-name: unusual user name "a:b": it has a colon, where HTTP Basic ends the name: nobody could log in with it`,
			`7:90 unusual-name: unusual user name "x y": it has a space`,
		}},
		{"forgeable address", strings.Replace(withUsers("users: {}"), "addr:", "real_ip_header: X-Real-IP\n  addr:", 1), []string{
			`2:3 forgeable-client-address: server.real_ip_header: every client can send its own X-Real-IP, and so choose its address`,
		}},
		{"trusted proxies", strings.Replace(withUsers("users: {}\nx-regctl-setup: {trusted_proxies: [private]}"), "addr:", "real_ip_header: X-Real-IP\n  addr:", 1), nil},
		{"everybody trusted", strings.Replace(withUsers("users: {}\nx-regctl-setup: {trusted_proxies: [0.0.0.0/0, '::/0']}"), "addr:", "real_ip_header: X-Real-IP\n  addr:", 1), []string{
			`9:36 forgeable-client-address: x-regctl-setup.trusted_proxies: 0.0.0.0/0 is everybody: every client can choose its address`,
			`9:47 forgeable-client-address: x-regctl-setup.trusted_proxies: ::/0 is everybody: every client can choose its address`,
		}},
		{"no header", withUsers("users: {}\nx-regctl-setup: {trusted_proxies: [private]}"), []string{
			`8:18 setting-without-effect: trusted_proxies has no effect without server.real_ip_header`,
		}},
		{"long life", strings.Replace(withUsers("users: {}"), "900", "86401", 1), []string{
			`3:35 lifetime-too-long: token.expiration: 86401 seconds are more than a day, in which a removed user can still pull and push`,
		}},
		{"short life", strings.Replace(withUsers("users: {}"), "900", "59", 1), []string{
			`3:35 lifetime-too-short: token.expiration: 59 seconds; clients take less than 60 for 60, and a push must end before its token does`,
		}},
		{"facts of nobody", withUsers("users: {}\nx-regctl-setup: {users: {a: {robot: true}}}"), []string{
			`8:26 facts-without-user: x-regctl-setup.users: there is no user "a"`,
		}},
		{"old TLS", strings.Replace(withUsers("users: {}"), "addr:", "certificate: c\n  key: k\n  tls_min_version: 0x0302\n  addr:", 1), []string{
			`4:20 weak-tls: server.tls_min_version: 0x0302 has known weaknesses, expected TLS12 or TLS13`,
		}},
		{"path prefix", strings.Replace(withUsers("users: {}"), "addr:", "path_prefix: /a/\n  addr:", 1), []string{
			`2:16 setting-without-effect: server.path_prefix: with "/a/" the path is "/a//auth", with two slashes`,
		}},
		{"tabs", "# a\n\t# b\n" + withUsers("users: {}\t# fine\n# a\n  \t # c\n"), []string{
			"2:1 tab-before-comment: a tab stands before the comment, which docker_auth's parser refuses in some places",
			"11:3 tab-before-comment: a tab stands before the comment, which docker_auth's parser refuses in some places",
		}},
		{"other x- keys", withUsers("users: {}\nx-common: {}"), []string{`8:1 unknown-key: key "x-common" is not read by anything here`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, problems := Parse("f.yml", []byte(tt.data))
			if len(problems) > 0 {
				t.Fatalf("problems:\n%v", problems)
			}
			if diff := cmp.Diff(tt.want, shorts(f.Warnings)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnserved(t *testing.T) {
	t.Parallel()
	data := head + `google_auth: {client_id: x}
github_auth: {}
oidc_auth: {}
gitlab_auth: {}
ldap_auth: {}
mongo_auth: {}
xorm_auth: {}
ext_auth: {command: a, args: [b]}
plugin_authn: {plugin_path: x.so}
acl_mongo: {}
acl_xorm: {}
ext_authz: {command: a}
plugin_authz: {plugin_path: x.so}
casbin_authz: {}
`
	f, problems := Parse("f.yml", []byte(data))
	if len(problems) > 0 || len(f.Warnings) > 0 {
		t.Fatalf("problems %q, warnings %q", shorts(problems), shorts(f.Warnings))
	}
	if len(f.Sections) != 14 || !f.HasExternalLogin() {
		t.Errorf("%d sections, external login %v", len(f.Sections), f.HasExternalLogin())
	}
	var want []string
	for i, name := range []string{"google_auth", "github_auth", "oidc_auth", "gitlab_auth", "ldap_auth", "mongo_auth", "xorm_auth"} {
		want = append(want, fmt.Sprintf("%d:1 section-not-served: section %q is not served by this server", 7+i, name))
	}
	want = append(want,
		"15:1 plugin-not-supported: plugin_authn: Go plugins are not loaded by this server",
		`16:1 section-not-served: section "acl_mongo" is not served by this server`,
		`17:1 section-not-served: section "acl_xorm" is not served by this server`,
		"19:1 plugin-not-supported: plugin_authz: Go plugins are not loaded by this server",
		`20:1 section-not-served: section "casbin_authz" is not served by this server`,
	)
	if diff := cmp.Diff(want, shorts(f.Unserved())); diff != "" {
		t.Errorf("unserved (-want +got):\n%s", diff)
	}
	if s, ok := f.Section("ext_auth"); !ok || !s.Login || s.Pos.Line != 14 || s.Node == nil || s.Program == nil || s.Program.Command != "a" || !slices.Equal(s.Program.Args, []string{"b"}) {
		t.Errorf("Section(ext_auth) = %+v, %v", s, ok)
	}
	if s, ok := f.Section("ext_authz"); !ok || s.Login {
		t.Errorf("Section(ext_authz) = %+v, %v", s, ok)
	}
	// A section without a value would be taken for absent.
	checkProblems(t, head+"ldap_auth:\nusers: {}\nacl: []\n", "7:1 null-field: ldap_auth has no value, and docker_auth takes it for absent")
}

// What a program is asked with must be as it was meant.
func TestPrograms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"ext_auth: {}":                              {"7:1 missing-key: ext_auth has no command"},
		"ext_auth: {command: \"\"}":                 {"7:21 bad-value: ext_auth.command: expected the program's path"},
		"ext_auth: {command: }":                     {"7:21 bad-value: ext_auth.command: expected the program's path"},
		"ext_auth: {command: [a]}":                  {"7:21 wrong-type: ext_auth.command: expected a text, found a list"},
		"ext_auth: {command: a, arg: [b]}":          {`7:24 unknown-key: unknown key "arg" in ext_auth`},
		"ext_authz: {command: a, args: b c}":        {`7:31 wrong-type: ext_authz.args: expected a list, found the text "b c"`},
		"ext_authz: {command: a, args: [{b: c}]}":   {"7:32 wrong-type: ext_authz.args: expected a text, found a map"},
		"ext_authz: {command: a, command: b}":       {`7:25 duplicate-key: duplicate key "command" in ext_authz, first on line 7`},
		"ext_authz: {command: \"a\\0\"}":            {"7:22 bad-value: ext_authz.command: expected the program's path"},
		"ext_authz: {command: a, args: [\"b\\0\"]}": {"7:31 bad-value: ext_authz.args: an argument holds a NUL"},
	} {
		checkProblems(t, head+text+"\nusers: {}\nacl: []\n", want...)
	}
	f, problems := Parse("f.yml", []byte(head+"users: {}\next_authz: {command: /bin/rules}\n"))
	if len(problems) > 0 || len(f.Unserved()) > 0 || !slices.Equal(f.ExternalRules(), []string{"ext_authz"}) {
		t.Errorf("problems %v, unserved %v, external rules %q", problems, f.Unserved(), f.ExternalRules())
	}
	if s, ok := f.Section("ext_authz"); !ok || s.Login || s.Program.Command != "/bin/rules" || s.Program.Pos.Line != 8 {
		t.Errorf("section %+v, %v", s, ok)
	}
}

func TestTooManyProblems(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(head + "acl: []\nusers:\n")
	for i := range maxProblems + 10 {
		fmt.Fprintf(&b, "  u%d: {}\n", i)
	}
	_, problems := Parse("f.yml", []byte(b.String()))
	if len(problems) != maxProblems+1 {
		t.Fatalf("%d problems, want %d", len(problems), maxProblems+1)
	}
	if got := problems[maxProblems].Msg; got != "10 more problems are not listed" {
		t.Errorf("the last says %q", got)
	}
}

func TestProblemsError(t *testing.T) {
	t.Parallel()
	_, problems := Parse("conf/auth.yml", []byte(withUsers("users:\n  a: {}\n  b: {passwrod: x}")))
	want := "conf/auth.yml:8:3: user \"a\" has no password: any password would be let in\nconf/auth.yml:9:7: unknown key \"passwrod\" in user"
	if got := problems.Error(); got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := problems.Hints(), []string{"add one (regctl-setup user passwd a), or allow it with x-regctl-setup: {allow_passwordless: true}", `did you mean "password"?`}; !cmp.Equal(got, want) {
		t.Errorf("Hints() = %q, want %q", got, want)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	tests := []struct{ s, want string }{
		{"acount", "account"}, {"nmae", "name"}, {"tpye", "type"}, {"lables", "labels"}, {"servcie", "service"}, {"accoutn", "account"},
		{"colour", ""}, {"x", ""}, {"", ""}, {"i", "ip"}, {"address", ""},
	}
	for _, tt := range tests {
		if got := nearest(tt.s, matchSection.keys); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.s, got, tt.want)
		}
	}
}
