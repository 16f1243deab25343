package users

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

func TestValidateName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "Z9", "ci-backend", "alice@corp.example", "a+b", "0", "null", "true", "123", "a.b_c", strings.Repeat("x", 128)} {
		if err := ValidateName(name); err != nil {
			t.Errorf("ValidateName(%q) = %v, want nil", name, err)
		}
	}
}

// TestA10HostileNames: names that break the format, the protocol or a log are refused with the reason.
func TestA10HostileNames(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, want string }{
		{"", "the empty name is the anonymous account"},
		{"anonymous", `stands for the account without a login`},
		{"Anonymous", `stands for the account without a login`},
		{"a\nroot", "control character U+000A"},
		{"a\r", "control character U+000D"},
		{"a\x00b", "control character U+0000"},
		{"\x1b[31mred", "control character U+001B"},
		{"a\tb", "control character U+0009"},
		{"a\x7f", "control character U+007F"},
		{"a\u0085b", "control character U+0085"},
		{"a\u2028b", "control character U+2028"},
		{"\xff", "it is not UTF-8"},
		{"a\xc3", "it is not UTF-8"},
		{"bob:pw", "it has a colon"},
		{":", "it has a colon"},
		{"$HOME", "it has a $"},
		{"a$b", "it has a $"},
		{"bob pw", "it has a space"},
		{" bob", "it has a space"},
		{"~", `it has '~'`},
		{"*", `it has '*'`},
		{"a/b", `it has '/'`},
		{"a\\b", `it has '\\'`},
		{`a"b`, `it has '"'`},
		{"a'b", `it has '\''`},
		{"{a}", `it has '{'`},
		{"#x", `it has '#'`},
		{"a,b", `it has ','`},
		{"-a", `it begins with '-'`},
		{".a", `it begins with '.'`},
		{"@a", `it begins with '@'`},
		{"jürgen", `clients disagree on the encoding`},
		{"a\u202eb", `clients disagree on the encoding`},
		{strings.Repeat("x", 129), "it is 129 bytes long, at most 128 are allowed"},
	}
	for _, tt := range tests {
		err := ValidateName(tt.name)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ValidateName(%q) = %v, want an error with %q", tt.name, err, tt.want)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 }) {
			t.Errorf("the error for %q has a control character: %q", tt.name, err)
		}
	}
}

func TestValidateLabel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key, value string
		pattern    bool
		want       string // part of the error, "" for none
	}{
		{"team", "backend", false, ""},
		{"team", "back-end_2", false, ""},
		{"role", "administrator", false, ""},
		{"site", "EU/west 1", false, ""},
		{"site", "a@b", false, ""},
		{"team", "back.end", false, "lower-case letters and digits"},
		{"team", "Backend", false, "lower-case letters and digits"},
		{"team", "-x", false, "lower-case letters and digits"},
		{"team", "x-", false, "lower-case letters and digits"},
		{"team", "a--b", false, "lower-case letters and digits"},
		{"team", "a/b", false, "lower-case letters and digits"},
		{"role", "*", false, "lower-case letters and digits"},
		{"site", "a.b", false, "metacharacter"},
		{"site", "a|b", false, "metacharacter"},
		{"site", "*", false, "metacharacter"},
		{"site", "${account}", false, "metacharacter"},
		{"site", "a|b", true, ""},
		{"team", "*", true, ""},
		{"team", "", true, "empty value"},
		{"site", "", false, "empty value"},
		{"site", "a\nb", true, "control character"},
		{"site", " a", true, "begins or ends with a space"},
		{"site", "\xff", false, "not UTF-8"},
		{"site", strings.Repeat("x", 129), false, "129 bytes long"},
		{"", "x", false, "key is empty"},
		{"a}b", "x", false, "placeholder"},
		{"a:b", "x", false, "placeholder"},
		{"a$b", "x", false, "placeholder"},
		{"a=b", "x", false, "command line"},
		{"a+", "x", false, "command line"},
		{"a-", "x", false, "command line"},
		{"a b", "x", false, "space"},
		{"a\x00", "x", false, "control character"},
		{strings.Repeat("k", 129), "x", false, "129 bytes long"},
	}
	for _, tt := range tests {
		err := ValidateLabelKey(tt.key)
		if err == nil {
			err = ValidateLabelValue(tt.key, tt.value, tt.pattern)
		}
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%q=%q pattern=%v: %v, want nil", tt.key, tt.value, tt.pattern, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%q=%q pattern=%v: %v, want an error with %q", tt.key, tt.value, tt.pattern, err, tt.want)
		}
	}
}

// TestA8CheckPassword: what bcrypt or a client would cut off is refused.
func TestA8CheckPassword(t *testing.T) {
	t.Parallel()
	tests := []struct {
		password string
		policy   PasswordPolicy
		want     string // part of the error, "" for none
		weak     bool
	}{
		{"correct horse battery", PasswordPolicy{}, "", false},
		{"zwölf Zeichen!", PasswordPolicy{}, "", false},
		{strings.Repeat("ab", 36), PasswordPolicy{}, "", false},
		{strings.Repeat("ab", 36) + "c", PasswordPolicy{}, "73 bytes long", false},
		{strings.Repeat("ü", 37), PasswordPolicy{AllowWeak: true}, "74 bytes long", false},
		{"", PasswordPolicy{AllowWeak: true}, "empty", false},
		{"123\x00123 long enough", PasswordPolicy{AllowWeak: true}, "NUL", false},
		{"two\nlines long enough", PasswordPolicy{AllowWeak: true}, "control character U+000A", false},
		{"\xff\xfe long enough", PasswordPolicy{AllowWeak: true}, "not UTF-8", false},
		{"elevenchars", PasswordPolicy{}, "11 characters, at least 12", true},
		{"elevenchars", PasswordPolicy{AllowWeak: true}, "", false},
		{"elevenchars", PasswordPolicy{MinLength: 8}, "", false},
		{"short", PasswordPolicy{MinLength: 8}, "5 characters, at least 8", true},
		{"administrator", PasswordPolicy{Name: "administrator"}, "first that anybody tries", true},
		{"HARBOR12345", PasswordPolicy{MinLength: 8}, "first that anybody tries", true},
		{"aaaaaaaaaaaaaa", PasswordPolicy{}, "one character, repeated", true},
	}
	for _, tt := range tests {
		err := CheckPassword(secret.New(tt.password), tt.policy)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("CheckPassword(%q, %+v) = %v, want nil", tt.password, tt.policy, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("CheckPassword(%q, %+v) = %v, want an error with %q", tt.password, tt.policy, err, tt.want)
		}
		if got := errors.Is(err, ErrWeakPassword); got != tt.weak {
			t.Errorf("CheckPassword(%q): weak = %v, want %v", tt.password, got, tt.weak)
		}
		if err != nil && tt.password != "" && strings.Contains(err.Error(), tt.password) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

func TestHashVerify(t *testing.T) {
	t.Parallel()
	pw := secret.New("correct horse battery")
	hash, err := Hash(pw, MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if got := hash.Reveal(); len(got) != 60 || !strings.HasPrefix(got, "$2y$05$") {
		t.Errorf("Hash = %q, want 60 characters that begin with $2y$05$", got)
	}
	if !Verify(hash, pw) {
		t.Error("Verify refuses the password")
	}
	for name, bad := range map[string]secret.Text{"other": secret.New("x"), "empty": {}, "longer": secret.New("correct horse battery ")} {
		if Verify(hash, bad) {
			t.Errorf("Verify accepts %s", name)
		}
	}
	disabled := secret.New("!" + hash.Reveal())
	if Verify(disabled, pw) {
		t.Error("Verify accepts the password of a disabled user")
	}
	for _, h := range []string{"", "correct horse battery", hash.Reveal()[:59], "!" + hash.Reveal()} {
		if Verify(secret.New(h), pw) {
			t.Errorf("Verify accepts a malformed hash %q", h)
		}
	}
	for _, h := range []secret.Text{hash, disabled} {
		if cost, err := Cost(h); err != nil || cost != MinCost {
			t.Errorf("Cost = %d, %v, want %d", cost, err, MinCost)
		}
	}
	// The library reads what Hash writes under its own prefix too.
	if err := bcrypt.CompareHashAndPassword([]byte(hash.Reveal()), []byte(pw.Reveal())); err != nil {
		t.Error(err)
	}
	for _, cost := range []int{-1, 4, 15, 31} {
		if _, err := Hash(pw, cost); err == nil {
			t.Errorf("Hash with cost %d: no error", cost)
		}
	}
	if _, err := Hash(secret.New(strings.Repeat("x", 73)), MinCost); err == nil {
		t.Error("Hash of 73 bytes: no error")
	}
}

// TestA9Hashes: eight hashes, eight verdicts.
func TestA9Hashes(t *testing.T) {
	t.Parallel()
	tail := "YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"
	tests := []struct {
		hash string
		cost int
		want string
	}{
		{"$2y$05$" + tail, 5, ""},
		{"$2a$10$" + tail, 10, ""},
		{"$2b$12$" + tail, 12, ""},
		{"123", 0, "found no $2a$"},
		{"$apr1$x$y", 0, "MD5"},
		{"{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=", 0, "SHA-1"},
		{"$2y$10$" + tail[1:], 0, "59 characters"},
		{"", 0, "empty"},
	}
	for _, tt := range tests {
		cost, err := Cost(secret.New(tt.hash))
		if cost != tt.cost || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Cost(%q) = %d, %v, want %d and an error with %q", tt.hash, cost, err, tt.cost, tt.want)
		}
	}
}

func TestGuess(t *testing.T) {
	t.Parallel()
	if n := len(GuessWords("somebody")); n > 20 {
		t.Errorf("%d words, at most 20 are wanted", n)
	}
	if n := len(GuessWords("admin")); n > 20 {
		t.Errorf("%d words, at most 20 are wanted", n)
	}
	for _, word := range []string{"", "admin", "Harbor12345", "carol"} {
		// bcrypt's smallest cost keeps 20 evaluations short.
		raw, err := bcrypt.GenerateFromPassword([]byte(word), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		got, found := Guess(secret.New("!"+string(raw)), "carol")
		if !found || got != word {
			t.Errorf("Guess found %q, %v, want %q", got, found, word)
		}
	}
	raw, err := bcrypt.GenerateFromPassword([]byte("a good one"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if got, found := Guess(secret.New(string(raw)), "carol"); found {
		t.Errorf("Guess found %q", got)
	}
	if _, found := Guess(secret.New("$2y$31$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"), "carol"); found {
		t.Error("Guess worked on cost 31")
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	counts := map[rune]int{}
	const n = 1000
	for range n {
		pw, err := Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text := pw.Reveal()
		if len(text) != generatedLength || strings.Trim(text, alphabet) != "" || seen[text] {
			t.Fatalf("Generate() = %q (length %d, seen %v)", text, len(text), seen[text])
		}
		seen[text] = true
		for _, r := range text {
			counts[r]++
		}
		if err := CheckPassword(pw, PasswordPolicy{}); err != nil {
			t.Fatal(err)
		}
	}
	// Each letter is expected n*22/57 = 386 times, with a deviation of 20.
	for _, r := range alphabet {
		if c := counts[r]; c < 250 || c > 530 {
			t.Errorf("letter %q came %d times", r, c)
		}
	}
	same := bytes.Repeat([]byte{0}, 100)
	if pw, err := Generate(bytes.NewReader(same)); err != nil || pw.Reveal() != strings.Repeat("2", generatedLength) {
		t.Errorf("Generate of zeros = %v, %v", pw.Reveal(), err)
	}
	if _, err := Generate(bytes.NewReader(same[:10])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Generate without randomness: %v", err)
	}
}

func TestParseLabelArg(t *testing.T) {
	t.Parallel()
	tests := []struct {
		arg  string
		want LabelArg
		err  string
	}{
		{"team=backend", LabelArg{LabelSet, "team", "backend"}, ""},
		{"team+=backend", LabelArg{LabelAdd, "team", "backend"}, ""},
		{"team-=backend", LabelArg{LabelRemove, "team", "backend"}, ""},
		{"team-", LabelArg{LabelDelete, "team", ""}, ""},
		{"back-end=x", LabelArg{LabelSet, "back-end", "x"}, ""},
		{"k=a=b", LabelArg{LabelSet, "k", "a=b"}, ""},
		{"k=-", LabelArg{LabelSet, "k", "-"}, ""},
		{"k-=", LabelArg{LabelRemove, "k", ""}, ""},
		{"team", LabelArg{}, "expected KEY=VALUE"},
		{"", LabelArg{}, "expected KEY=VALUE"},
		{"-", LabelArg{}, "expected KEY=VALUE"},
		{"=x", LabelArg{}, "no key"},
		{"+=x", LabelArg{}, "no key"},
		{"-=x", LabelArg{}, "no key"},
		{"k=", LabelArg{}, "no value"},
		{"k+=", LabelArg{}, "no value"},
	}
	for _, tt := range tests {
		got, err := ParseLabelArg(tt.arg)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || err == nil && got != tt.want {
			t.Errorf("ParseLabelArg(%q) = %+v, %v, want %+v and an error with %q", tt.arg, got, err, tt.want, tt.err)
		}
	}
}

func TestApplyLabels(t *testing.T) {
	t.Parallel()
	old := []config.Label{{Key: "team", Values: []string{"a", "b"}}, {Key: "Odd.Key", Values: []string{"x"}}}
	tests := []struct {
		args    string
		pattern bool
		want    []config.Label
		err     string
	}{
		{"", false, old, ""},
		{"team=c", false, []config.Label{{Key: "team", Values: []string{"c"}}, old[1]}, ""},
		{"team=c team=d", false, []config.Label{{Key: "team", Values: []string{"c", "d"}}, old[1]}, ""},
		{"team=a", false, []config.Label{{Key: "team", Values: []string{"a"}}, old[1]}, ""},
		{"team+=c team+=a", false, []config.Label{{Key: "team", Values: []string{"a", "b", "c"}}, old[1]}, ""},
		{"team-=a", false, []config.Label{{Key: "team", Values: []string{"b"}}, old[1]}, ""},
		{"team-=a team-=b", false, old[1:], ""},
		{"team- role=dev", false, []config.Label{old[1], {Key: "role", Values: []string{"dev"}}}, ""},
		{"Odd.Key+=y", false, []config.Label{old[0], {Key: "Odd.Key", Values: []string{"x", "y"}}}, ""},
		{"team=*", true, []config.Label{{Key: "team", Values: []string{"*"}}, old[1]}, ""},
		{"team=*", false, nil, "lower-case"},
		{"team-=z role-", false, nil, "label \"team\" has no value \"z\" to remove\nthere is no label \"role\" to remove"},
		{"a:b=c", false, nil, "placeholder"},
	}
	for _, tt := range tests {
		var args []LabelArg
		for _, s := range strings.Fields(tt.args) {
			a, err := ParseLabelArg(s)
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, a)
		}
		got, err := ApplyLabels(old, args, tt.pattern)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.args, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.args, diff)
		}
	}
	if diff := cmp.Diff([]config.Label{{Key: "team", Values: []string{"a", "b"}}, {Key: "Odd.Key", Values: []string{"x"}}}, old); diff != "" {
		t.Errorf("the given labels were changed:\n%s", diff)
	}
}

func TestParseExpires(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	tests := []struct{ s, want, err string }{
		{"90d", "2026-06-02T05:06:07Z", ""},
		{"12h", "2026-03-04T17:06:07Z", ""},
		{"2w", "2026-03-18T05:06:07Z", ""},
		{"2027-01-31", "2027-01-31T00:00:00Z", ""},
		{"2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z", ""},
		{"2027-01-31t12:00:00z", "2027-01-31T12:00:00Z", ""},
		{"2026-03-04", "", "not in the future"},
		{"2001-01-01", "", "not in the future"},
		{"0d", "", "no time at all"},
		{"-5d", "", "bad expiry"},
		{"999999999d", "", "more than 100 years"},
		{"2999-01-01", "", "more than 100 years"},
		{"", "", "empty"},
		{"d", "", "bad expiry"},
		{"tomorrow", "", "bad expiry"},
		{"31.01.2027", "", "bad expiry"},
		{"2027-02-30", "", "bad expiry"},
		{"99999999999999999999d", "", "bad expiry"},
	}
	for _, tt := range tests {
		got, err := ParseExpires(tt.s, now)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ParseExpires(%q) = %v, %v, want an error with %q", tt.s, got, err, tt.err)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339Nano) != tt.want {
			t.Errorf("ParseExpires(%q) = %v, %v, want %s", tt.s, got, err, tt.want)
		}
	}
}

func TestHtpasswd(t *testing.T) {
	t.Parallel()
	h := "$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC"
	data := "\ufeff# comment\nalice:" + h + "\r\n\nbob:$apr1$abc$def\ncarol:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n" +
		"dave:rqXexS6ZhobKA\neve:$6$salt$hash\nfrank:hunter2 plain\nno colon hunter2\nalice:" + h + "\nerin:!" + h +
		"\nj\xfcrgen:" + h + "\nbad name:" + h + "\nzed:realm:0123456789abcdef\nivan:" + h[:50] + "\njudy:\nmax:$2y$17" + h[6:]
	entries, problems := ParseHtpasswd([]byte(data))
	var got []string
	for _, e := range entries {
		got = append(got, e.Name+" "+e.Hash.Reveal())
	}
	if diff := cmp.Diff([]string{"alice " + h, "erin !" + h}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if entries[0].Line != 2 {
		t.Errorf("alice is on line %d, want 2", entries[0].Line)
	}
	got = nil
	for _, p := range problems {
		got = append(got, p.Error())
		if strings.Contains(p.Error(), "hunter2") || strings.Contains(p.Error(), "W6ph5") {
			t.Errorf("a password or hash shows in %q", p.Error())
		}
	}
	want := []string{
		`line 4: "bob": an MD5 hash (apr1), the default of htpasswd; only bcrypt can be used (htpasswd -B)`,
		`line 5: "carol": an unsalted SHA-1 hash (htpasswd -s); only bcrypt can be used (htpasswd -B)`,
		`line 6: "dave": a DES crypt hash (htpasswd -d), or a plain password; only bcrypt can be used (htpasswd -B)`,
		`line 7: "eve": a SHA-512 crypt hash (htpasswd -5); only bcrypt can be used (htpasswd -B)`,
		`line 8: "frank": a plain password, or an unknown hash; only bcrypt can be used (htpasswd -B)`,
		`line 9: no colon, expected NAME:HASH`,
		`line 10: "alice": the name is on line 2 already`,
		`line 12: not UTF-8`,
		`line 13: bad user name "bad name": it has a space`,
		`line 14: "zed": has three fields, as htdigest writes them; only bcrypt lines can be used`,
		`line 15: "ivan": the hash is 50 characters long, a bcrypt hash has 60`,
		`line 16: "judy": no hash; only bcrypt can be used (htpasswd -B)`,
		`line 17: "max": bcrypt cost 17, at most 15 is accepted`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}

	list := []config.User{
		{Name: "alice", Hash: secret.New(h), HasPassword: true}, {Name: ""}, {Name: "off", Hash: secret.New("!" + h), HasPassword: true, Disabled: true},
		{Name: "a:b", Hash: secret.New(h), HasPassword: true}, {Name: "ü", Hash: secret.New(h), HasPassword: true}, {Name: "nopass"},
	}
	text, skipped := FormatHtpasswd(list)
	if got, want := string(text), "alice:"+h+"\nü:"+h+"\n"; got != want {
		t.Errorf("FormatHtpasswd = %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{"", "off", "a:b", "nopass"}, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

// FuzzParseHtpasswd: what is accepted is a usable user, on the line it says, and never twice.
func FuzzParseHtpasswd(f *testing.F) {
	f.Add([]byte("alice:$2y$05$YSouiTqTc36VcV80P8lKXOMGGQRnzoqjQLKg8oar7ZJ0EFil2DtxC\n"))
	f.Add([]byte("#x\r\na:b\n:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, problems := ParseHtpasswd(data)
		seen := map[string]bool{}
		for _, e := range entries {
			if seen[e.Name] || ValidateName(e.Name) != nil {
				t.Errorf("entry %q (seen %v)", e.Name, seen[e.Name])
			}
			seen[e.Name] = true
			if cost, err := Cost(e.Hash); err != nil || cost > config.MaxHashCost {
				t.Errorf("entry %q has cost %d, %v", e.Name, cost, err)
			}
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Msg == "" {
				t.Errorf("problem %+v of %d lines", p, lines)
			}
		}
	})
}

// FuzzValidateName: exactly the names of the documented grammar are accepted.
func FuzzValidateName(f *testing.F) {
	for _, s := range []string{"alice", "a:b", "", "anonymous", "-x", "a\n", "\xff", "zoë"} {
		f.Add(s)
	}
	grammar := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$`)
	f.Fuzz(func(t *testing.T, name string) {
		want := grammar.MatchString(name) && !strings.EqualFold(name, Anonymous) && !strings.HasSuffix(name, "\n")
		if got := ValidateName(name) == nil; got != want {
			t.Errorf("ValidateName(%q) = %v, want %v", name, got, want)
		}
	})
}

// FuzzValidateLabelValue: an accepted value of team or role is a component of a repository name, and
// what is accepted without the switch means itself in both kinds of pattern.
func FuzzValidateLabelValue(f *testing.F) {
	for _, s := range []string{"backend", "a-b_c", "a.b", "*", "", "a b", "é"} {
		f.Add(s)
	}
	component := regexp.MustCompile(`^[a-z0-9]+([_-][a-z0-9]+)*$`)
	f.Fuzz(func(t *testing.T, value string) {
		if got, want := ValidateLabelValue("team", value, false) == nil, component.MatchString(value) && len(value) <= maxLabelLength; got != want {
			t.Errorf("team=%q accepted %v, want %v", value, got, want)
		}
		if ValidateLabelValue("site", value, false) == nil && regexp.QuoteMeta(value) != value {
			t.Errorf("site=%q is accepted and is a pattern", value)
		}
	})
}
