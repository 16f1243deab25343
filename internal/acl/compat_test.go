package acl_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v2" // the original's decoder

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// recording is one line of testdata/compat/token-server.jsonl: a configuration and what the
// original answered to some requests.
type recording struct {
	ID       string
	Config   string
	Requests []struct {
		Query, Form    [][2]string
		User, Password *string
		IP             *string
		Expect         struct {
			Status int
			Sub    string
			Access []struct {
				Type, Name string
				Actions    []string
			}
		}
	}
}

type recordedConfig struct {
	Users map[string]struct {
		Labels map[string][]string
	}
	ACL []struct {
		Match struct {
			Account, Type, Name, Service, IP *string
			Labels                           map[string]string
		}
		Actions []string
		Comment string
	} `yaml:"acl"`
}

func (c *recordedConfig) entries() []acl.Entry {
	var out []acl.Entry
	for _, e := range c.ACL {
		entry := acl.Entry{
			Match:   acl.Match{Account: e.Match.Account, Type: e.Match.Type, Name: e.Match.Name, Service: e.Match.Service, IP: e.Match.IP},
			Actions: e.Actions,
			Comment: e.Comment,
		}
		for key, pattern := range e.Match.Labels {
			entry.Match.Labels = append(entry.Match.Labels, acl.LabelMatch{Key: key, Pattern: pattern})
		}
		out = append(out, entry)
	}
	return out
}

func TestRecordedAnswersOfTheOriginal(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../../testdata/compat/token-server.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	checked := 0
	for lines.Scan() {
		var rec recording
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		t.Run(rec.ID, func(t *testing.T) { checked += checkRecording(t, &rec) })
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d scopes compared", checked)
	if checked < 1000 {
		t.Errorf("compared %d scopes, want at least 1000", checked)
	}
}

func checkRecording(t *testing.T, rec *recording) (checked int) {
	if strings.Contains(rec.Config, "real_ip_pos") {
		return 0 // which address counts is the server's business
	}
	var config recordedConfig
	if err := yaml.Unmarshal([]byte(rec.Config), &config); err != nil {
		t.Fatal(err)
	}
	policy, err := acl.Compile(config.entries(), acl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range rec.Requests {
		if q.Expect.Status != 200 || q.Expect.Access == nil {
			continue
		}
		r := acl.Request{Account: q.Expect.Sub, Labels: config.Users[q.Expect.Sub].Labels}
		r.IP = netip.MustParseAddr("127.0.0.1")
		if q.IP != nil {
			// Also as the original takes it from X-Forwarded-For: the first, with or without port.
			first, _, _ := strings.Cut(*q.IP, ",")
			if ap, err := netip.ParseAddrPort(first); err == nil {
				r.IP = ap.Addr()
			} else if r.IP, err = netip.ParseAddr(strings.TrimSpace(first)); err != nil {
				continue
			}
		}
		want := map[string][]string{}
		for _, a := range q.Expect.Access {
			for _, action := range a.Actions {
				if action != "" {
					want[a.Type+" "+a.Name] = append(want[a.Type+" "+a.Name], action)
				}
			}
		}
		got := map[string][]string{}
		for _, pair := range slices.Concat(q.Query, q.Form) {
			if pair[0] == "service" {
				r.Service = pair[1]
			}
		}
		for _, pair := range slices.Concat(q.Query, q.Form) {
			if pair[0] != "scope" {
				continue
			}
			for _, scope := range strings.Fields(pair[1]) {
				parts := strings.Split(scope, ":")
				class := strings.IndexByte(parts[0], '(')
				if r.Type = parts[0]; class >= 0 {
					r.Type = parts[0][:class]
				}
				r.Name = strings.Join(parts[1:len(parts)-1], ":")
				r.Actions = strings.Split(parts[len(parts)-1], ",")
				slices.Sort(r.Actions)
				r.Actions = slices.DeleteFunc(slices.Compact(r.Actions), func(a string) bool { return a == "" })
				d := policy.Decide(&r, nil)
				if d.Err != nil {
					t.Errorf("request %d, scope %q: %v", i, scope, d.Err)
				}
				key := r.Type + " " + r.Name
				got[key] = append(got[key], d.Granted...)
				checked++
			}
		}
		for key := range want {
			slices.Sort(want[key])
			want[key] = slices.Compact(want[key])
		}
		for key := range got {
			slices.Sort(got[key])
			if got[key] = slices.Compact(got[key]); len(got[key]) == 0 {
				delete(got, key)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("request %d of %q: access = %v, want %v", i, r.Account, got, want)
		}
	}
	return checked
}
