package answers

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMarshalParse(t *testing.T) {
	t.Parallel()
	for _, want := range []Answers{Defaults(), full()} {
		data := want.Marshal()
		got, err := ParseYAML("regctl-setup.yaml", data)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("reads back differently (-want +got):\n%s", diff)
		}
		if again := got.Marshal(); !bytes.Equal(data, again) {
			t.Errorf("a second writing differs:\n%s", cmp.Diff(string(data), string(again)))
		}
	}
}

func TestMarshalLeavesOtherStoragesOut(t *testing.T) {
	t.Parallel()
	data := string(Defaults().Marshal())
	for _, key := range []string{"s3:", "azure:", "gcs:"} {
		if strings.Contains(data, "\n"+key) {
			t.Errorf("%s is written with disk storage", key)
		}
	}
	for _, f := range Fields() {
		if !strings.Contains(f.Key, ".") && !strings.Contains(data, "\n"+f.Key+":") {
			t.Errorf("%s is not written", f.Key)
		}
	}
}

func TestParseYAML(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string // errors without "a.yaml:"; nil = none
	}{
		{"empty", "", nil},
		{"comment only", "# nothing\n", nil},
		{"null", "~\n", nil},
		{"BOM and CRLF", "\ufeffdomain: r.example.com\r\nhttp_port: 8080\r\n", nil},
		{"a section with nothing in it", "s3:\nteams:\nusers:\nemail:\n", nil},
		{"typo", "domian: x\n", []string{`1:1: unknown key "domian"; did you mean domain?`}},
		{"unknown", "colour: x\n", []string{`1:1: unknown key "colour"; expected one of runtime, engine`}},
		{"nested typo", "s3:\n  regoin: x\n", []string{`2:3: s3: unknown key "regoin"; did you mean region?`}},
		{"twice", "domain: a\nemail: a@example.com\ndomain: b\n", []string{`3:1: key "domain" comes twice; the first is on line 1`}},
		{"all at once", "tls: acmee\nhttp_port: x\ndelete: 3\nregistry: 7\nissuer:\n", []string{
			`1:6: tls: "acmee" is not a choice; did you mean acme?`,
			`2:12: http_port: "x"; expected a number`,
			`3:9: delete: "3"; expected true or false`,
			`4:11: registry: "7" is not a choice; expected 3, 2`,
			`5:8: issuer: has no value`}},
		{"wrong shapes", "teams: backend\nusers: {a: b}\ns3: []\ndomain: [a]\ntrusted_proxies: 10.0.0.0/8\n", []string{
			`1:8: teams: "backend"; expected a list of {name: …}`,
			`2:8: users: keys with values; expected a list of {name: …}`,
			`3:5: s3: a list; expected keys with values`,
			`4:9: domain: a list; expected one value`,
			`5:18: trusted_proxies: "10.0.0.0/8"; expected a list`}},
		{"bad elements", "teams: [{nam: a}, {name: A}, b]\nusers: [{name: x, labels: [{name: t, values: [a, .*]}]}]\ntrusted_proxies: [10.0.0.0/8, x, [y]]\n", []string{
			`1:9: teams: has no name`,
			`1:10: teams: unknown key "nam"; did you mean name?`,
			`1:26: teams.name: "A": expected lower-case`,
			`1:30: teams: "b"; expected keys with values`,
			`2:50: users.labels.values: ".*": expected lower-case`,
			`3:34: trusted_proxies: a list; expected a text`}},
		{"alias", "domain: &d a.example.com\nauth_domain: *d\n", []string{`2:14: auth_domain: an alias, which this file may not have`}},
		{"list at the top", "- a\n", []string{`1:1: a list; expected keys with values`}},
		{"two documents", "domain: a\n---\ndomain: b\n", []string{`a second YAML document`}},
		{"a boolean as a text", "service: true\n", []string{`1:10: service: "true"; expected a text`}},
		{"a number as a text", "service: 0123\n", nil},
		{"a duration", "expiration: 2h\n", nil},
		{"not YAML", "a: b: c\n", []string{`1:1: mapping values are not allowed`}},
		{"tab", "s3:\n\tbucket: x\n", []string{`2:1: found character that cannot start any token`}},
		{"not UTF-8", "domain: a\nissuer: \xff\n", []string{`2:9: byte 0xff is not valid UTF-8`}},
		{"a line break in a value", "issuer: \"a\\nb\"\n", []string{`1:9: issuer: "a\nb": must not hold the control character U+000A`}},
		{"key that is no text", "{a: b}: c\n", []string{`1:1: keys with values as a key`}},
		{"too large", "# " + strings.Repeat("x", maxFile), []string{`too large`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseYAML("a.yaml", []byte(c.text))
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if err == nil {
				return
			}
			var ps Problems
			if !errors.As(err, &ps) || len(ps) != len(c.want) {
				t.Fatalf("got:\n%v\nwant:\n%s", err, strings.Join(c.want, "\n"))
			}
			for i, p := range ps {
				if !strings.Contains(p.Error(), c.want[i]) || p.File != "a.yaml" {
					t.Errorf("problem %d:\n got %v\nwant %s", i, p, c.want[i])
				}
			}
		})
	}
}

func TestParseYAMLValues(t *testing.T) {
	t.Parallel()
	a, err := ParseYAML("a.yaml", []byte("domain: R.Example.com\nservice: 0123\nexpiration: 2h\ntls: off\ntrusted_proxies: [10.0.0.0/8]\nusers:\n- name: 7\n  labels: [{name: team, values: [1]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Domain, want.Service, want.Expiration, want.TLS = "r.example.com", "0123", 7200, TLSOff
	want.TrustedProxies = []string{"10.0.0.0/8"}
	want.Users = []User{{Name: "7", Labels: []Label{{"team", []string{"1"}}}}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzParseYAML: whatever is read without an error is written and read again as the same
// answers, and no input makes it fail otherwise than by problems of that file.
func FuzzParseYAML(f *testing.F) {
	f.Add([]byte("domain: a.example.com\nusers: [{name: x, labels: [{name: a, values: [b]}]}]\n"))
	f.Add(full().Marshal())
	f.Add([]byte("issuer: \"\\u0085\"\ntls_cert: 'a''b'\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseYAML("a.yaml", data)
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("error %v is no list of problems", err)
			}
			return
		}
		out := a.Marshal()
		b, err := ParseYAML("b.yaml", out)
		if err != nil {
			t.Fatalf("does not read back: %v\n%s", err, out)
		}
		if diff := cmp.Diff(a, b, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("reads back differently:\n%s", diff)
		}
	})
}
