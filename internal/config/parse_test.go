package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	testHash = "$2y$10$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"
	weakHash = "$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"
)

// head is a valid beginning of a file, of six lines.
const head = `server:
  addr: ":5001"
token: {issuer: Acme, expiration: 900,
  certificate: c.pem,
  key: c.key}
# users and acl follow from line 7
`

// valid completes a users block or an acl block to a file.
func withUsers(users string) string { return head + users + "\nacl: []\n" }
func withACL(acl string) string     { return head + acl + "\nusers: {}\n" }

// short is a problem without the file's name: "line:col code: message".
func short(p Problem) string {
	return fmt.Sprintf("%d:%d %s: %s", p.Line, p.Column, p.Code, p.Msg)
}

func shorts(ps []Problem) []string {
	var out []string
	for _, p := range ps {
		out = append(out, short(p))
	}
	return out
}

func checkProblems(t *testing.T, data string, want ...string) {
	t.Helper()
	_, problems := Parse("f.yml", []byte(data))
	if diff := cmp.Diff(want, shorts(problems)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseTypedView(t *testing.T) {
	t.Parallel()
	const data = `server:
  addr: "127.0.0.1:5001"
  path_prefix: /x
  real_ip_header: X-Forwarded-For
  real_ip_pos: -2
  certificate: s.pem
  key: s.key
  hsts: yes
  tls_min_version: TLS12
  tls_curve_preferences: [X25519, "0x17"]
  tls_cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
token:
  issuer: Acme
  expiration: 0x384
  certificate: t.pem
  key: t.key
  disable_legacy_key_id: on
users:
  alice:
    password: "` + testHash + `"
    labels: {team: [backend, 7], vip: [yes]}
  "bob": {password: '!` + testHash + `'}
  123: {password: ` + testHash + `}
  "": {}
acl:
  # comments are not the comment
  - match: {account: alice, type: repository, name: "a/*", service: 5, ip: 10.0.0.0/8, labels: {team: "/x/", vip: yes}}
    actions: [pull, push]
    comment: Alice's
  - match: {}
    actions: []
  -
    match: {account: ""}
    actions: ["*"]
x-regctl-setup:
  x5c: never
  allow_passwordless: true
  literal_labels: true
  allow_readable_key: true
  trusted_proxies: [10.1.2.3/8, "2001:db8::1", "::ffff:1.2.3.4"]
  services: [registry.example]
  users:
    bob: {expires: 2027-01-31}
    alice: {expires: "2027-01-31T12:00:00+02:00", robot: true}
  lint: {ignore: [weak-hash, {rule: bad-glob, reason: why not}]}
  limits: {scopes: 5, body: 1MiB, read_timeout: 20s, bcrypt_queue: 3}
  expiration: {pull: 300, push: 1h}
  refresh_tokens: {lifetime: 90d}
  password_cache: 0
  audit: required
`
	f, problems := Parse("auth.yml", []byte(data))
	if len(problems) > 0 {
		t.Fatalf("problems:\n%v", problems)
	}
	if len(f.Warnings) > 0 {
		t.Errorf("warnings: %q", shorts(f.Warnings))
	}
	wantServer := Server{Pos: f.Server.Pos, Addr: "127.0.0.1:5001", Net: "tcp", PathPrefix: "/x", RealIPHeader: "X-Forwarded-For", RealIPPos: -2,
		Certificate: "s.pem", Key: "s.key", HSTS: true, TLSMinVersion: 0x303, TLSCurvePreferences: []uint16{29, 23}, TLSCipherSuites: []uint16{0xc02f}}
	if diff := cmp.Diff(wantServer, f.Server); diff != "" {
		t.Errorf("server (-want +got):\n%s", diff)
	}
	wantToken := Token{Pos: f.Token.Pos, Issuer: "Acme", Expiration: 900 * time.Second, Certificate: "t.pem", Key: "t.key", DisableLegacyKeyID: true}
	if diff := cmp.Diff(wantToken, f.Token); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	var users []string
	for i := range f.Users {
		u := &f.Users[i]
		users = append(users, fmt.Sprintf("%q %d:%d %v %v %v %v %v %s", u.Name, u.Pos.Line, u.Pos.Column, u.HasPassword, u.Disabled, u.LabelMap(), u.Robot, u.Expires.Format(time.RFC3339), u.Hash.Reveal()))
	}
	wantUsers := []string{
		`"alice" 19:3 true false map[team:[backend 7] vip:[yes]] true 2027-01-31T10:00:00Z ` + testHash,
		`"bob" 22:3 true true map[] false 2027-01-31T00:00:00Z !` + testHash,
		`"123" 23:3 true false map[] false 0001-01-01T00:00:00Z ` + testHash,
		`"" 24:3 false false map[] false 0001-01-01T00:00:00Z `,
	}
	if diff := cmp.Diff(wantUsers, users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if got, want := f.Users[0].PasswordPos.Line, 20; got != want {
		t.Errorf("password's line = %d, want %d", got, want)
	}
	if u, ok := f.User("123"); !ok || u.Name != "123" {
		t.Errorf(`User("123") = %v, %v`, u, ok)
	}
	if _, ok := f.User("carol"); ok {
		t.Error(`User("carol") found somebody`)
	}
	if got := len(f.ACL); got != 3 {
		t.Fatalf("%d entries, want 3", got)
	}
	e := f.ACL[0]
	if *e.Match.Account != "alice" || *e.Match.Service != "5" || *e.Match.IP != "10.0.0.0/8" || e.Match.Labels[1].Pattern != "yes" || e.Comment != "Alice's" {
		t.Errorf("first entry = %+v", e)
	}
	if e.Pos.File != "auth.yml" || e.Pos.Line != 27 || e.Pos.Column != 5 {
		t.Errorf("first entry's position = %+v", e.Pos)
	}
	if got := f.ACL[1]; got.Actions == nil || len(got.Actions) != 0 || got.Match.Account != nil {
		t.Errorf("second entry = %+v", got)
	}
	if got := f.ACL[2]; *got.Match.Account != "" || got.Pos.Line != 33 {
		t.Errorf("third entry = %+v", got)
	}
	x := f.Extras
	if x.X5C != "never" || !x.AllowPasswordless || !x.LiteralLabels || !x.AllowReadableKey || x.Audit.Mode != "required" || x.PasswordCache != 0 {
		t.Errorf("extras = %+v", x)
	}
	if got, want := fmt.Sprint(x.TrustedProxies), "[10.0.0.0/8 2001:db8::1/128 1.2.3.4/32]"; got != want {
		t.Errorf("trusted proxies = %s, want %s", got, want)
	}
	if x.Limits.Scopes != 5 || x.Limits.Body != 1<<20 || x.Limits.ReadTimeout != 20*time.Second || x.Limits.BcryptQueue != 3*time.Second || x.Limits.Header != 32<<10 {
		t.Errorf("limits = %+v", x.Limits)
	}
	if x.PullExpiration != 5*time.Minute || x.PushExpiration != time.Hour || x.RefreshTokens == nil || x.RefreshTokens.Lifetime != 90*24*time.Hour || x.RefreshTokens.Path != DefaultRefreshPath {
		t.Errorf("lifetimes = %v %v %v", x.PullExpiration, x.PushExpiration, x.RefreshTokens)
	}
	if len(x.LintIgnore) != 2 || x.LintIgnore[1].Rule != "bad-glob" || x.LintIgnore[1].Reason != "why not" {
		t.Errorf("lint ignore = %+v", x.LintIgnore)
	}
	if p, err := f.Policy(); err != nil || p.Len() != 3 {
		t.Errorf("Policy() = %v, %v", p, err)
	}
	if got, want := f.Position("token", "expiration"), 14; got.Line != want {
		t.Errorf("position of token.expiration = %+v, want line %d", got, want)
	}
	if got, want := f.Position("token", "nothing"), 12; got.Line != want {
		t.Errorf("position of what is not there = %+v, want line %d", got, want)
	}
}

func TestParseDefaults(t *testing.T) {
	t.Parallel()
	f, problems := Parse("f.yml", []byte(withUsers("users: {}")))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if f.Server.Net != "tcp" || f.Extras.X5C != "auto" || f.Extras.PasswordCache != 5*time.Minute || f.Extras.Audit.Mode != "best-effort" || f.Extras.RefreshTokens != nil {
		t.Errorf("defaults: %+v %+v", f.Server, f.Extras)
	}
	if diff := cmp.Diff(DefaultLimits(), f.Extras.Limits); diff != "" {
		t.Error(diff)
	}
	if !f.HasUsers || !f.HasACL || len(f.Users) != 0 || len(f.ACL) != 0 {
		t.Errorf("empty sections: %v %v", f.HasUsers, f.HasACL)
	}
	if cert, key := f.SigningPair(); cert != "c.pem" || key != "c.key" {
		t.Errorf("SigningPair() = %q, %q", cert, key)
	}
}

// TestGuide: the published guide's file has no problem, and its faults of taste are not ours.
func TestGuide(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "guide", "conf", "auth-server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	f, problems := Parse("auth-server.yml", data)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if len(f.Users) != 5 || len(f.ACL) != 5 {
		t.Errorf("%d users and %d entries, want 5 and 5", len(f.Users), len(f.ACL))
	}
	for _, w := range f.Warnings {
		if w.Code != CodeWeakHash {
			t.Errorf("warning %s", short(w))
		}
	}
	if len(f.Warnings) != 4 {
		t.Errorf("%d warnings, want 4 weak hashes", len(f.Warnings))
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	h := testHash
	tests := []struct {
		name, data string
		want       []string
	}{
		{"empty", "", []string{"1:1 empty-file: the file is empty, expected the sections server, token, users and acl"}},
		{"only comments", "# nothing\n\n", []string{"1:1 empty-file: the file is empty, expected the sections server, token, users and acl"}},
		{"a list", "- a\n", []string{"1:1 wrong-type: the file: expected a map with the sections server, token, users and acl, found a list"}},
		{"a text", "hello\n", []string{`1:1 wrong-type: the file: expected a map with the sections server, token, users and acl, found the text "hello"`}},
		{"nothing of it", "{}\n", []string{
			`1:1 missing-acl: there is neither "acl" nor an external section with rules: nothing would be allowed`,
			`1:1 missing-key: there is no section "server"`,
			`1:1 missing-key: there is no section "token"`,
			`1:1 missing-users: there are neither "users" nor an external login: nobody could log in`,
		}},
		{"sections without values", "server:\ntoken:\nusers:\nacl:\n", []string{
			"1:8 wrong-type: server: expected a map with addr, as in {addr: \":5001\"}, found nothing",
			"2:7 wrong-type: token: expected a map with issuer and expiration, found nothing",
			"3:1 missing-users: users has no value, expected a map of user names",
			"4:1 missing-acl: acl has no value, expected a list of entries",
		}},
		{"required keys", "server: {}\ntoken: {}\nusers: {}\nacl: []\n", []string{
			`1:1 missing-key: server.addr is missing, expected the address to listen on, as in ":5001"`,
			"2:1 missing-key: there is no certificate and key to sign tokens with, neither in token nor in server",
			"2:1 missing-key: token.expiration is missing, expected the tokens' lifetime in seconds",
			"2:1 missing-key: token.issuer is missing, expected the name that the registry has as issuer",
		}},
		{"misspelt sections", "servers: {}\ntokens: {}\nuser: {}\nrules: []\nfoo: 1\nX-Regctl-Setup: {}\nx-regctl-setap: {}\n", []string{
			`1:1 unknown-key: unknown key "servers" in the file`,
			`2:1 unknown-key: unknown key "tokens" in the file`,
			`3:1 unknown-key: unknown key "user" in the file`,
			`4:1 unknown-key: unknown key "rules" in the file`,
			`5:1 unknown-key: unknown key "foo" in the file`,
			`6:1 unknown-key: unknown key "X-Regctl-Setup" in the file`,
			`7:1 unknown-key: unknown key "x-regctl-setap" in the file`,
		}},
		{"server values", `server:
  addr: 5001
  net: udp
  path_prefix: auth
  real_ip_header: "X Forwarded"
  real_ip_pos: first
  certificate: [a]
  hsts: 2
  tls_min_version: TLS1.3
  tls_curve_preferences: P256
  tls_cipher_suites: [TLS_NONE]
  colour: red
token: {issuer: [x], expiration: "900", certificate: c, key: k}
users: {}
acl: []
`, []string{
			`2:9 bad-value: server.addr: expected HOST:PORT, as in ":5001", found "5001"`,
			`3:8 bad-value: server.net: expected tcp or unix, found "udp"`,
			`4:16 bad-value: server.path_prefix: expected a path that begins with /, found "auth"`,
			`5:19 bad-value: server.real_ip_header: "X Forwarded" is not the name of an HTTP header`,
			`6:16 wrong-type: server.real_ip_pos: expected a whole number, found the text "first"`,
			`7:16 wrong-type: server.certificate: expected a text, found a list`,
			`8:9 wrong-type: server.hsts: expected true or false, found 2`,
			`9:3 tls-without-certificate: server.tls_min_version is set but there is no certificate and key: the server would speak plain HTTP`,
			`9:20 bad-value: server.tls_min_version: expected TLS12, TLS13 or a number as 0x0303, found "TLS1.3"`,
			`10:3 tls-without-certificate: server.tls_curve_preferences is set but there is no certificate and key: the server would speak plain HTTP`,
			`10:26 wrong-type: server.tls_curve_preferences: expected a list, found the text "P256"`,
			`11:3 tls-without-certificate: server.tls_cipher_suites is set but there is no certificate and key: the server would speak plain HTTP`,
			`11:23 bad-value: server.tls_cipher_suites: unknown name "TLS_NONE"`,
			`12:3 unknown-key: unknown key "colour" in server`,
			`13:17 wrong-type: token.issuer: expected a text, found a list`,
			`13:34 wrong-type: token.expiration: expected a whole number, found the text "900"`,
		}},
		{"addresses", `server: {addr: "localhost:70000", letsencrypt: {email: a@b.c, host: x, cache_dir: /c, colour: 1}, certificate: c}
token: {issuer: A, expiration: 0, key: k, service: x}
users: {}
acl: []
`, []string{
			`1:16 bad-value: server.addr: expected a port from 0 to 65535 after the colon, found "localhost:70000"`,
			`1:35 letsencrypt-in-token-server: server.letsencrypt is set: docker_auth then serves plain HTTP all the same`,
			`1:87 unknown-key: unknown key "colour" in letsencrypt`,
			`1:99 bad-value: server.certificate is set but server.key is not: certificate and key belong together`,
			`2:32 bad-value: token.expiration: expected more than 0 seconds, found 0`,
			`2:35 bad-value: token.key is set but token.certificate is not: certificate and key belong together`,
			`2:43 unknown-key: unknown key "service" in token`,
		}},
		{"TLS 1.3 suites", `server: {addr: ":1", certificate: c, key: k, tls_min_version: "0x0304", tls_cipher_suites: []}
token: {issuer: A, expiration: 1.5}
users: {}
acl: []
`, []string{
			"1:63 bad-value: server.tls_cipher_suites: the cipher suites of TLS 1.3 cannot be chosen",
			"2:32 wrong-type: token.expiration: expected a whole number, found 1.5",
		}},
		{"users", withUsers(`users:
  a: {password: "` + h + `x"}
  b: {password: 123}
  c: {password: "$apr1$abcdefgh$0123456789012345678901"}
  d: {password: "$2y$16` + h[6:] + `"}
  e: {password: "$2y$99` + h[6:] + `"}
  f: {password: "$2x$10` + h[6:] + `"}
  g: {password: "$2y$1x` + h[6:] + `"}
  h: {password: "$2y$10` + h[6:59] + `="}
  i: {password: "$$2y$$10$$` + h[7:] + `"}
  j: {password: ""}
  k: {password: "!"}
  l:
    password: !` + h + `
  m: {password: [x]}
  n: {passwrod: "` + h + `"}
  o: {password:"` + h + `"}
  p: text
  q: [` + h + `]
  r:
  s: {}
  t: {password: }
  u: {password: "` + h + `", labels: x}
  v: {password: "` + h + `", labels: {team: backend}}
  w: {password: "` + h + `", labels: {team: [[x]], role: {a: b}, x: , y: [~]}}
  x: {password: "` + h + `", team: backend}
  y: {password: "` + h + `", password: "` + h + `"}
  a: {}
  "a": {password: "` + h + `"}
  ~: {password: "` + h + `"}
  ? [z]
  : {}`), []string{
			`8:17 bad-hash: password of user "a": the hash is 61 characters long, a bcrypt hash has 60`,
			"9:17 bad-hash: password of user \"b\": found no $2a$, $2b$ or $2y$ at the beginning, expected a bcrypt hash as `htpasswd -nB NAME` prints it",
			"10:17 bad-hash: password of user \"c\": found an MD5 hash (apr1), expected a bcrypt hash as `htpasswd -nB NAME` prints it",
			`11:17 hash-cost-too-high: password of user "d": bcrypt cost 16, at most 15 is served`,
			`12:17 bad-hash: password of user "e": the hash has cost 99, bcrypt knows 4 to 31`,
			"13:17 bad-hash: password of user \"f\": found no $2a$, $2b$ or $2y$ at the beginning, expected a bcrypt hash as `htpasswd -nB NAME` prints it",
			`14:17 bad-hash: password of user "g": the hash has no two-digit cost after its first four characters`,
			`15:17 bad-hash: password of user "h": the hash has a character at place 60 that bcrypt does not use`,
			`16:17 bad-hash: password of user "i": the hash has its $ doubled, as compose files want it; here they stand alone`,
			"17:17 bad-hash: password of user \"j\": the hash is empty, expected a bcrypt hash as `htpasswd -nB NAME` prints it",
			"18:17 bad-hash: password of user \"k\": the hash is empty, expected a bcrypt hash as `htpasswd -nB NAME` prints it",
			`20:15 unexpected-tag: password of user "l": a YAML tag stands before the value`,
			`21:17 wrong-type: password of user "m": expected a text, found a list`,
			`22:7 unknown-key: unknown key "passwrod" in user`,
			`23:7 unknown-key: unknown key "password:…" in user`,
			`24:6 wrong-type: user "p": expected a map, as in {password: "$2y$...", labels: {team: [backend]}}, found a text`,
			`25:6 wrong-type: user "q": expected a map, as in {password: "$2y$...", labels: {team: [backend]}}, found a list`,
			`26:3 null-user: user "r" has no value`,
			`27:3 user-without-password: user "s" has no password: any password would be let in`,
			`28:7 user-without-password: password of user "t" has no value`,
			`29:89 wrong-type: labels of user "u": expected a map of lists, as in {team: [backend]}, found the text "x"`,
			`30:96 wrong-type: label "team" of user "v": expected a list, found the text "backend"`,
			`31:97 wrong-type: label "team" of user "w": expected a text, found a list`,
			`31:109 wrong-type: label "role" of user "w": expected a list, found a map`,
			`31:117 wrong-type: label "x" of user "w": expected a list, found nothing`,
			`31:126 wrong-type: label "y" of user "w": an element of the list is empty`,
			`32:81 unknown-key: unknown key "team" in user`,
			`33:81 duplicate-key: duplicate key "password" in user "y", first on line 33`,
			`34:3 duplicate-user: duplicate user "a", first on line 8`,
			`35:3 duplicate-user: duplicate user "a", first on line 8`,
			`36:3 null-user: the user name "~" is YAML's null, which docker_auth takes for the anonymous account`,
			`37:5 wrong-type: users: expected a text as key, found a list`,
		}},
		{"users as a list", withUsers("users: [alice]"), []string{
			`7:8 wrong-type: users: expected a map of user names, as in {alice: {password: "$2y$..."}}, found a list`,
		}},
		{"entries", withACL(`acl:
  - match: {account: x}
  - actions: [pull]
  -
  - {}
  - text
  - match: {acount: x, nmae: y, team: z, Account: a, account:"b", repo: c, actions: [pull]}
    action: [pull]
  - match: account:"admin"
    actions: pull
  - match:
    actions:
  - match: {account: , name: ~, labels: , type: [a], service: {}, ip: [10.0.0.1]}
    actions: [pull, ~, [push]]
  - match: {labels: {team: , role: [a]}, account: "x", account: y}
    actions: []
    comment: [x]
    name: x
  - matchs: {}
    permissions: ["*"]
  - match: !x {}
    actions: !!set [pull]`), []string{
			`8:5 missing-actions: the entry has no actions: docker_auth drops the connection when it is reached`,
			`9:5 missing-match: the entry has no match: docker_auth dies of it`,
			`10:4 missing-match: the entry is empty, expected {match: {...}, actions: [...]}`,
			`11:5 missing-actions: the entry has no actions: docker_auth drops the connection when it is reached`,
			`11:5 missing-match: the entry has no match: docker_auth dies of it`,
			`12:5 wrong-type: entry: expected a map, as in {match: {...}, actions: [...]}, found the text "text"`,
			`13:13 unknown-key: unknown key "acount" in match`,
			`13:24 unknown-key: unknown key "nmae" in match`,
			`13:33 unknown-key: unknown key "team" in match`,
			`13:42 unknown-key: unknown key "Account" in match`,
			`13:54 unknown-key: unknown key "account:…" in match`,
			`13:67 unknown-key: unknown key "repo" in match`,
			`13:76 unknown-key: unknown key "actions" in match`,
			`14:5 unknown-key: unknown key "action" in entry`,
			`15:12 wrong-type: match: expected a map, as in {account: alice, name: "alice/*"}, found the text "account:\"admin\""`,
			`16:14 wrong-type: actions: expected a list, found the text "pull"`,
			`17:5 missing-actions: the entry has no actions: docker_auth drops the connection when it is reached`,
			`17:5 missing-match: the entry has no match: docker_auth dies of it`,
			`19:13 null-field: match.account has no value, and so matches everything`,
			`19:24 null-field: match.name has no value, and so matches everything`,
			`19:33 null-field: match.labels has no value, and so matches everybody`,
			`19:49 wrong-type: match.type: expected one pattern, found a list`,
			`19:63 wrong-type: match.service: expected a text, found a map`,
			`19:71 wrong-type: match.ip: expected one pattern, found a list`,
			`20:21 wrong-type: actions: an element of the list is empty`,
			`20:24 wrong-type: actions: expected a text, found a list`,
			`21:22 null-field: match.labels."team" has no value, expected a pattern`,
			`21:36 wrong-type: match.labels."role": expected one pattern, found a list`,
			`21:56 duplicate-key: duplicate key "account" in match, first on line 21`,
			`23:14 wrong-type: comment: expected a text, found a list`,
			`24:5 unknown-key: unknown key "name" in entry`,
			`25:5 unknown-key: unknown key "matchs" in entry`,
			`26:5 unknown-key: unknown key "permissions" in entry`,
			`27:12 unexpected-tag: match: a YAML tag stands before the value`,
			`28:14 unexpected-tag: actions: a YAML tag stands before the value`,
		}},
		{"patterns", withACL(`acl:
  - match: {account: "/(/", name: "a[b", type: 'x\', service: "/[/", ip: 10.0.0.0/33}
    actions: [pull]
  - match:
      labels:
        team: "/*a/"
        role: "["
      ip: localhost
    actions: [pull]
`), []string{
			"8:22 bad-regexp: match.account: bad regexp \"/(/\": error parsing regexp: missing closing ): `(`",
			`8:35 bad-glob: match.name: bad glob "a[b": syntax error in pattern`,
			`8:48 bad-glob: match.type: bad glob "x\\": syntax error in pattern`,
			"8:63 bad-regexp: match.service: bad regexp \"/[/\": error parsing regexp: missing closing ]: `[`",
			`8:74 bad-cidr: match.ip: "10.0.0.0/33" has a bad prefix length`,
			"12:15 bad-regexp: match.labels.\"team\": bad regexp \"/*a/\": error parsing regexp: missing argument to repetition operator: `*`",
			`13:15 bad-glob: match.labels."role": bad glob "[": syntax error in pattern`,
			`14:11 bad-cidr: match.ip: "localhost" is neither an address nor a CIDR`,
		}},
		{"signing key that nobody would trust", withUsers(`users: {}
x-regctl-setup:
  rotate_signing_key: 30d
  x5c: never
`), []string{
			"9:3 setting-without-effect: x-regctl-setup.rotate_signing_key: with x5c: never no registry would take the new key's tokens",
		}},
		{"signing key too often", withUsers(`users: {}
x-regctl-setup: {rotate_signing_key: 59m}
`), []string{"8:38 bad-value: x-regctl-setup.rotate_signing_key: expected 1h0m0s to 878400h0m0s, found 59m0s"}},
		{"extras", withUsers(`users: {}
x-regctl-setup:
  x5c: Never
  allow_passwordless: "true"
  literal_labels:
  trusted_proxies: private
  services: []
  users: {alice: {expires: 90d, robots: yes}, bob: , carol: {expires: }}
  lint: {ignore: weak-hash, rules: []}
  limits: {scopes: 0, body: 10GiB, header: many, colour: 1, read_timeout: 5x, actions: }
  expiration: {pull: 0, push: 9999999999, delete: 1}
  refresh_tokens: maybe
  password_cache: -5
  audit: optional
  colour: red
  services: [a]
`), []string{
			`9:8 bad-value: x-regctl-setup.x5c: expected auto, always or never, found "Never"`,
			`10:23 wrong-type: x-regctl-setup.allow_passwordless: expected true or false, found the text "true"`,
			`11:3 null-field: x-regctl-setup.literal_labels has no value`,
			`12:20 wrong-type: x-regctl-setup.trusted_proxies: expected a list, found the text "private"`,
			`13:13 bad-value: x-regctl-setup.services: the list is empty, so that no token would be signed`,
			`14:28 bad-value: expires of user "alice": expected a date (2027-01-31) or an RFC 3339 time, found "90d"`,
			`14:33 unknown-key: unknown key "robots" in x-regctl-setup.users`,
			`14:52 wrong-type: x-regctl-setup.users: user "bob": expected a map, as in {expires: 2027-01-31}, found nothing`,
			`14:62 null-field: expires of user "carol" has no value`,
			`15:18 wrong-type: x-regctl-setup.lint.ignore: expected a list of rules, found the text "weak-hash"`,
			`15:29 unknown-key: unknown key "rules" in x-regctl-setup.lint`,
			`16:20 bad-value: x-regctl-setup.limits.scopes: expected 1 to 100000, found 0`,
			`16:29 wrong-type: x-regctl-setup.limits.body: expected a whole number, found the text "10GiB"`,
			`16:44 wrong-type: x-regctl-setup.limits.header: expected a whole number, found the text "many"`,
			`16:50 unknown-key: unknown key "colour" in x-regctl-setup.limits`,
			`16:75 bad-value: x-regctl-setup.limits.read_timeout: expected a length of time as 300, 90s, 5m or 30d, found "5x"`,
			`16:79 null-field: x-regctl-setup.limits.actions has no value`,
			`17:22 bad-value: x-regctl-setup.expiration.pull: expected more than 0 seconds, found 0`,
			`17:31 bad-value: x-regctl-setup.expiration.push: expected a length of time as 300, 90s, 5m or 30d, found "9999999999"`,
			`17:43 unknown-key: unknown key "delete" in x-regctl-setup.expiration`,
			`18:19 wrong-type: x-regctl-setup.refresh_tokens: expected true or false, found the text "maybe"`,
			`19:19 bad-value: x-regctl-setup.password_cache: expected a length of time as 300, 90s, 5m or 30d, found "-5"`,
			`20:10 bad-value: x-regctl-setup.audit: expected best-effort, required or off, found "optional"`,
			`21:3 unknown-key: unknown key "colour" in x-regctl-setup`,
			`22:3 duplicate-key: duplicate key "services" in x-regctl-setup, first on line 13`,
		}},
		{"two acl blocks", head + "acl: []\nusers: {}\nacl: []\nusers: {}\n", []string{
			`9:1 duplicate-key: duplicate key "acl" in the file, first on line 7`,
			`10:1 duplicate-key: duplicate key "users" in the file, first on line 8`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, problems := Parse("f.yml", []byte(tt.data))
			if diff := cmp.Diff(tt.want, shorts(problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, p := range problems {
				if strings.Contains(p.Msg+p.Hint, h[7:20]) {
					t.Errorf("the hash shows in %q / %q", p.Msg, p.Hint)
				}
			}
		})
	}
}

func TestDetach(t *testing.T) {
	t.Parallel()
	f, problems := Parse("f.yml", []byte(head+"users: {\"\": {}}\nacl: []\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	users, entries := len(f.Users), len(f.ACL)
	f.Detach()
	if p, err := f.Policy(); err != nil || p.Len() != entries || len(f.Users) != users || f.Bytes() != nil {
		t.Errorf("after Detach: policy %v, %v, %d users, %d bytes", p, err, len(f.Users), len(f.Bytes()))
	}
	if g, err := f.AddUser(NewUser{Name: "x"}); err == nil {
		t.Errorf("an edit without the text gave %v", g)
	}
	if pos := f.Position("token"); pos.Line != 1 {
		t.Errorf("position %v", pos)
	}
}
