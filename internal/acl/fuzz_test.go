package acl_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// FuzzPatterns puts raw text where a config has patterns and where a request has values:
// compiling never panics, an error says which entry, and what compiles decides as it explains.
func FuzzPatterns(f *testing.F) {
	f.Add("team-${labels:t}/*", "/^(.+)@corp$/", "${account:1}", "a@corp", "team-a/b", "a", false)
	f.Add("/^${name:1}-${labels:t}${labels:t}(/", "[^a-", "/", "", "//", "[", true)
	f.Add("${labels:t", "/(?i)^[[:alpha:]]{1,1000}$/", `\`, "\xff", "${name}", "a\x00|b", false)
	f.Add("**/${", "/a{2}{3}{4}/", "/^(a|${labels:t})+$/", "x", "aaaaaaaa", "a+,*", true)
	f.Fuzz(func(t *testing.T, name, account, label, who, asked, value string, literal bool) {
		if len(name)+len(account)+len(label)+len(who)+len(asked)+len(value) > 2000 {
			return // a config and a request have limits of their own
		}
		entries := []acl.Entry{
			{Match: acl.Match{Account: &account, Name: &name}, Actions: []string{"pull"}},
			{Match: acl.Match{Name: &name, Service: &label, Labels: []acl.LabelMatch{{Key: "t", Pattern: label}}}, Actions: []string{}},
			{Match: acl.Match{Name: &label, Type: &account}, Actions: []string{"*"}},
		}
		policy, err := acl.Compile(entries, acl.Options{LiteralLabels: literal})
		if err != nil {
			var all acl.Errors
			if policy != nil || !errors.As(err, &all) || slices.ContainsFunc(all, func(e *acl.Error) bool { return e.Entry < 0 || e.Entry >= len(entries) }) {
				t.Errorf("Compile = %v, %v", policy, err)
			}
			return
		}
		values := strings.Split(value, ",")
		policy.CheckLabels(map[string][]string{"t": values})
		for _, r := range []acl.Request{
			{Account: who, Type: "repository", Name: asked, Service: "s", Labels: map[string][]string{"t": values}, Actions: []string{"pull", "push"}},
			{Account: who, Type: who, Name: value, Service: value, Labels: map[string][]string{"t": {asked, value}}, IP: netip.IPv6Loopback(), Actions: []string{"pull"}},
			{Name: name, Actions: []string{"pull"}},
		} {
			d := policy.Decide(&r, nil)
			if d.Err != nil && len(d.Granted) > 0 {
				t.Errorf("granted %q in spite of %v", d.Granted, d.Err)
			}
			for _, a := range d.Granted {
				if !slices.Contains(r.Actions, a) {
					t.Errorf("granted %q, asked %q", d.Granted, r.Actions)
				}
			}
			checkExplain(t, policy, &r, d)
		}
	})
}
