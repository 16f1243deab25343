package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv3 "go.yaml.in/yaml/v3"
	yamlv2 "gopkg.in/yaml.v2"
)

// dockerAuth is the shape that docker_auth decodes the file into, as far as it concerns us. Kinds
// and pointers are docker_auth's: they decide what its decoder does with numbers, nulls and merges.
type dockerAuth struct {
	Server struct {
		Addr         string `yaml:"addr,omitempty"`
		Net          string `yaml:"net,omitempty"`
		PathPrefix   string `yaml:"path_prefix,omitempty"`
		RealIPHeader string `yaml:"real_ip_header,omitempty"`
		RealIPPos    int    `yaml:"real_ip_pos,omitempty"`
		Certificate  string `yaml:"certificate,omitempty"`
		Key          string `yaml:"key,omitempty"`
		HSTS         bool   `yaml:"hsts,omitempty"`
	} `yaml:"server"`
	Token struct {
		Issuer      string `yaml:"issuer,omitempty"`
		Expiration  int64  `yaml:"expiration,omitempty"`
		Certificate string `yaml:"certificate,omitempty"`
		Key         string `yaml:"key,omitempty"`
		NoLegacy    bool   `yaml:"disable_legacy_key_id,omitempty"`
	} `yaml:"token"`
	Users map[string]*dockerAuthUser `yaml:"users,omitempty"`
	ACL   []dockerAuthEntry          `yaml:"acl,omitempty"`
}

type dockerAuthUser struct {
	Password *string             `yaml:"password,omitempty"`
	Labels   map[string][]string `yaml:"labels,omitempty"`
}

type dockerAuthEntry struct {
	Match *struct {
		Account *string           `yaml:"account,omitempty"`
		Type    *string           `yaml:"type,omitempty"`
		Name    *string           `yaml:"name,omitempty"`
		IP      *string           `yaml:"ip,omitempty"`
		Service *string           `yaml:"service,omitempty"`
		Labels  map[string]string `yaml:"labels,omitempty"`
	} `yaml:"match"`
	Actions *[]string `yaml:"actions,flow"`
	Comment *string   `yaml:"comment,omitempty"`
}

// lines prints the view in an order that does not depend on maps.
func (d *dockerAuth) lines() []string {
	out := []string{fmt.Sprintf("server %+v", d.Server), fmt.Sprintf("token %+v", d.Token)}
	names := make([]string, 0, len(d.Users))
	for name := range d.Users {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		u := d.Users[name]
		if u == nil {
			out = append(out, fmt.Sprintf("user %q nil", name))
			continue
		}
		out = append(out, fmt.Sprintf("user %q %s %s", name, optional(u.Password), labelsText(u.Labels)))
	}
	for i, e := range d.ACL {
		if e.Match == nil || e.Actions == nil {
			out = append(out, fmt.Sprintf("entry %d broken", i))
			continue
		}
		m := e.Match
		comment := ""
		if e.Comment != nil {
			comment = *e.Comment
		}
		labels := make([]string, 0, len(m.Labels))
		for k, v := range m.Labels {
			labels = append(labels, fmt.Sprintf("%q=%q", k, v))
		}
		sort.Strings(labels)
		out = append(out, fmt.Sprintf("entry %d %s %s %s %s %s %v %q %q", i, optional(m.Account), optional(m.Type), optional(m.Name), optional(m.Service), optional(m.IP), labels, *e.Actions, comment))
	}
	return out
}

func optional(s *string) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%q", *s)
}

func labelsText(labels map[string][]string) string {
	text := make([]string, 0, len(labels))
	for k, v := range labels {
		text = append(text, fmt.Sprintf("%q=%q", k, v))
	}
	sort.Strings(text)
	return fmt.Sprint(text)
}

// decodeV2 is what docker_auth reads.
func decodeV2(data []byte) ([]string, error) {
	var d dockerAuth
	if err := yamlv2.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if d.Server.Net == "" {
		d.Server.Net = "tcp"
	}
	return d.lines(), nil
}

// decodeV3 is what YAML's own rules of merging make of it.
func decodeV3(data []byte) ([]string, error) {
	var d dockerAuth
	if err := yamlv3.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if d.Server.Net == "" {
		d.Server.Net = "tcp"
	}
	return d.lines(), nil
}

// typed prints our own view in the same form.
func typed(f *File) []string {
	var d dockerAuth
	d.Server.Addr, d.Server.Net, d.Server.PathPrefix = f.Server.Addr, f.Server.Net, f.Server.PathPrefix
	d.Server.RealIPHeader, d.Server.RealIPPos = f.Server.RealIPHeader, f.Server.RealIPPos
	d.Server.Certificate, d.Server.Key, d.Server.HSTS = f.Server.Certificate, f.Server.Key, f.Server.HSTS
	d.Token.Issuer, d.Token.Expiration = f.Token.Issuer, int64(f.Token.Expiration.Seconds())
	d.Token.Certificate, d.Token.Key, d.Token.NoLegacy = f.Token.Certificate, f.Token.Key, f.Token.DisableLegacyKeyID
	d.Users = map[string]*dockerAuthUser{}
	for i := range f.Users {
		u := &dockerAuthUser{Labels: f.Users[i].LabelMap()}
		if f.Users[i].HasPassword {
			hash := f.Users[i].Hash.Reveal()
			u.Password = &hash
		}
		d.Users[f.Users[i].Name] = u
	}
	out := d.lines()
	for i, e := range f.ACL {
		labels := make([]string, 0, len(e.Match.Labels))
		for _, l := range e.Match.Labels {
			labels = append(labels, fmt.Sprintf("%q=%q", l.Key, l.Pattern))
		}
		sort.Strings(labels)
		m := e.Match
		out = append(out, fmt.Sprintf("entry %d %s %s %s %s %s %v %q %q", i, optional(m.Account), optional(m.Type), optional(m.Name), optional(m.Service), optional(m.IP), labels, e.Actions, e.Comment))
	}
	return out
}

// checkDecoders asserts that docker_auth's decoder and YAML's own rules read the file as we do.
func checkDecoders(t *testing.T, f *File, data []byte) {
	t.Helper()
	got := typed(f)
	for name, decode := range map[string]func([]byte) ([]string, error){"yaml.v2": decodeV2, "yaml.v3": decodeV3} {
		want, err := decode(data)
		if err != nil && slices.ContainsFunc(f.Warnings, func(p Problem) bool { return p.Code == CodeTab }) {
			continue // what the warning says
		}
		if err != nil {
			t.Errorf("%s refuses what we accept: %v\n%s", name, err, data)
			continue
		}
		if name == "yaml.v3" {
			// Its bools are those of YAML 1.2; docker_auth's are those of 1.1.
			want[0], want[1] = got[0], got[1]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s reads it otherwise (-%s +ours):\n%s\n%s", name, name, diff, data)
		}
	}
}

// TestDecodersAgree: scalars, merges and aliases mean what they mean to docker_auth.
func TestDecodersAgree(t *testing.T) {
	t.Parallel()
	h := testHash
	tests := map[string]string{
		"scalars": withUsers("users:\n  123: {password: " + h + ", labels: {0x10: [yes, 1e3, 2026-01-01, 0o17, 1_000, .5, 'q', \"d\"], yes: []}}\n  true: {password: " + h + "}\n" +
			"  1.5: {password: " + h + "}\n  2026-01-01: {password: " + h + "}\n  yes: {password: " + h + "}\n  !!str 7: {password: !!str " + h + "}\n  \"\\u00e9\": {password: " + h + "}"),
		"patterns":      withACL("acl:\n- match: {account: 5, name: 0x1F, type: yes, service: 1.0, ip: 127.0.0.1, labels: {1: 2, on: off}}\n  actions: [1, no, 2.50]\n  comment: 2026-01-01\n- {match: {account: \"\"}, actions: [pull], comment: ~}"),
		"alias":         withUsers("users:\n  a: &u {password: &p " + h + ", labels: &l {team: &t [x]}}\n  b: *u\n  c: {password: *p, labels: *l}\n  d: {password: *p, labels: {team: *t, role: [*p]}}"),
		"merge user":    withUsers("users:\n  a: &u {password: " + h + ", labels: {team: [x]}}\n  b: {<<: *u}\n  c:\n    <<: *u\n    password: " + weakHash),
		"merge users":   withUsers("users:\n  <<: &m {a: {password: " + h + "}, b: {password: " + h + ", labels: {x: [y]}}}\n  b: {password: " + weakHash + "}"),
		"merge entry":   withACL("acl:\n- &e {match: {account: a, labels: {x: y}}, actions: [pull]}\n- <<: *e\n  actions: [push]\n- {<<: [*e, {actions: [z], comment: c}]}\n- match: {<<: {name: n, type: t}, type: u}\n  actions: []"),
		"merge server":  "x-base: &b {addr: ':1', hsts: yes}\nserver: {<<: *b, addr: ':2'}\ntoken: {issuer: i, expiration: 060, certificate: c, key: k}\nusers: {}\nacl: []\n",
		"block scalars": withACL("acl:\n- match:\n    account: >-\n      a\n    name: |-\n      b\n  actions:\n  - pull\n  comment: |\n    two\n    lines\n"),
		"BOM and CRLF":  "\ufeff" + strings.ReplaceAll(withUsers("users:\n  a: {password: "+h+"}"), "\n", "\r\n"),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, problems := Parse("f.yml", []byte(data))
			if len(problems) > 0 {
				t.Fatalf("problems:\n%v", problems)
			}
			checkDecoders(t, f, []byte(data))
		})
	}
}

// TestAmbiguousMerges: what the two decoders read differently is refused, with its place.
func TestAmbiguousMerges(t *testing.T) {
	t.Parallel()
	h := testHash
	tests := []struct{ name, data, want string }{
		{"key before the merge", withUsers("users:\n  a: &u {password: " + h + "}\n  b: {password: " + weakHash + ", <<: *u}"),
			`9:7 ambiguous-merge: user "b": key "password" is both written here and merged by <<, and docker_auth reads that otherwise than YAML means it`},
		{"labels united", withUsers("users:\n  a: &u {password: " + h + ", labels: {x: [y]}}\n  b: {<<: *u, labels: {z: [y]}}"),
			`9:15 ambiguous-merge: user "b": key "labels" is both written here and merged by <<, and docker_auth reads that otherwise than YAML means it`},
		{"match united", withACL("acl:\n- &e {match: {account: a}, actions: [pull]}\n- {<<: *e, match: {name: n}}"),
			`9:12 ambiguous-merge: entry: key "match" is both written here and merged by <<, and docker_auth reads that otherwise than YAML means it`},
		{"list of maps united", withACL("acl:\n- {<<: [{match: {account: a}}, {match: {name: n}}], actions: [pull]}"),
			`8:4 ambiguous-merge: entry: key "match" is both written here and merged by <<, and docker_auth reads that otherwise than YAML means it`},
		{"two merges", withACL("acl:\n- {<<: {match: {}, actions: []}, <<: {comment: x}}"),
			`8:34 duplicate-key: duplicate key "<<" in entry, first on line 8`},
		{"merge of a text", withACL("acl:\n- {<<: x, match: {}, actions: []}"),
			`8:8 wrong-type: <<: expected a map or a list of maps, found the text "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, problems := Parse("f.yml", []byte(tt.data))
			if got := shorts(problems); len(got) == 0 || got[0] != tt.want {
				t.Errorf("problems %q, want first %q", got, tt.want)
			}
		})
	}
}

// TestRecordedConfigs: every config of the recorded answers is accepted, and read as docker_auth
// reads it.
func TestRecordedConfigs(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "compat", "token-server.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range bytes.Lines(data) {
		var row struct{ ID, Config string }
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("@ADDR@", "127.0.0.1:5001", "@KEY@", "/tmp/k.pem", "@CERT@", "/tmp/c.pem").Replace(row.Config)
		if seen[text] {
			continue
		}
		seen[text] = true
		f, problems := Parse(row.ID, []byte(text))
		if len(problems) > 0 {
			t.Errorf("%s: %v", row.ID, problems)
			continue
		}
		checkDecoders(t, f, []byte(text))
	}
	if len(seen) < 50 {
		t.Errorf("%d configs, expected more than 50", len(seen))
	}
}

// FuzzParse: any input either has problems at places that exist, or is read alike by docker_auth's
// decoder, and its rules compile.
func FuzzParse(f *testing.F) {
	for _, s := range corpus() {
		f.Add([]byte(s))
	}
	f.Add([]byte(withACL("acl: [{match: {account: '/[/'}, actions: []}]")))
	f.Add([]byte(withUsers("users: &u\n  a: {<<: *u}")))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, problems := Parse("f.yml", data)
		lines := 2 + bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u0085")) + bytes.Count(data, []byte("\u2029"))
		for i, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Line > lines || p.Msg == "" || p.Code == "" {
				t.Errorf("problem %d at an impossible place, or empty: %+v", i, p)
			}
			if i > 0 && problems[i-1].Line > p.Line {
				t.Errorf("problems are not sorted:\n%v", problems)
			}
		}
		if file == nil {
			if len(problems) == 0 {
				t.Error("neither a file nor a problem")
			}
			return
		}
		if _, err := file.Policy(); (err == nil) != (len(problems) == 0) {
			t.Errorf("Policy: %v, with %d problems", err, len(problems))
		}
		if len(problems) == 0 {
			checkDecoders(t, file, data)
		}
	})
}
