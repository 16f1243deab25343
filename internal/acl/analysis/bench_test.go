package analysis

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func ptr(s string) *string { return &s }

// mix returns a policy of n entries and n users: a third literal accounts with
// globs, a third anchored regexps, a third with team labels; every twentieth
// entry is covered by one or two earlier ones. dead lists those.
func mix(tb testing.TB, n, teams int) (policy *acl.Policy, users []User, dead map[int]bool) {
	tb.Helper()
	for u := range n {
		labels := map[string][]string{"team": {fmt.Sprintf("t%d", u%teams)}}
		if u%7 == 0 {
			labels["team"] = append(labels["team"], fmt.Sprintf("t%d", (u+3)%teams))
		}
		users = append(users, User{Name: fmt.Sprintf("u%d", u), Labels: labels})
	}
	dead = map[int]bool{}
	var entries []acl.Entry
	for i := range n {
		var m acl.Match
		d := i%20 == 19 && i > 25
		switch i % 3 {
		case 0:
			m = acl.Match{Account: ptr(fmt.Sprintf("u%d", i)), Name: ptr(fmt.Sprintf("proj%d/*", i))}
			if d {
				// Covered by the two entries of kind 1 before it together.
				m.Name = ptr(fmt.Sprintf("app%d/x*", i-20+(i-20+1)%3))
				k := i - 19
				for k%3 != 1 {
					k++
				}
				m.Name = ptr(fmt.Sprintf("app%d/x*", k))
			}
		case 1:
			m = acl.Match{Name: ptr(fmt.Sprintf("/^app%d/.+$/", i))}
			if i%2 == 0 {
				m.Account = ptr("/^u[0-9]+$/")
			}
			if d {
				m.Name = ptr(fmt.Sprintf("/^app%d/[a-f]+/x$/", i-3))
				m.Account = ptr("/^u/")
			}
		case 2:
			m = acl.Match{Type: ptr("repository"), Name: ptr(fmt.Sprintf("/^team-${labels:team}/p%d/.+$/", i))}
			if d {
				m.Name = ptr(fmt.Sprintf("team-${labels:team}/p%d/*", i-3))
			}
		}
		if d {
			dead[i] = true
		}
		entries = append(entries, acl.Entry{Match: m, Actions: []string{"pull", "push"}})
	}
	p, err := acl.Compile(entries, acl.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return p, users, dead
}

func BenchmarkReachable(b *testing.B) {
	for _, tt := range []struct{ n, teams int }{{1000, 20}, {1000, 1000}, {10000, 100}, {10000, 10000}} {
		b.Run(fmt.Sprintf("%dx%d/teams=%d", tt.n, tt.n, tt.teams), func(b *testing.B) {
			policy, users, dead := mix(b, tt.n, tt.teams)
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			var a *Analysis
			for b.Loop() {
				var err error
				a, err = New(policy, Universe{Users: users, Anonymous: true})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for _, r := range a.Reachable() {
					if r.NotDecided != "" || r.Reachable == dead[r.Index] {
						b.Fatalf("entry %d: %+v", r.Index, r)
					}
					if !r.Reachable {
						n++
					}
				}
				if n != len(dead) {
					b.Fatalf("%d dead entries, want %d", n, len(dead))
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-kept")
			b.ReportMetric(float64(a.langs.bytes())/1e6, "MB-automata")
			runtime.KeepAlive(a)
		})
	}
}

func BenchmarkWhoCan(b *testing.B) {
	for _, teams := range []int{20, 1000} {
		for _, pattern := range []string{"app7/x", "team-t3/**", "**"} {
			b.Run(fmt.Sprintf("1000x1000/teams=%d/%s", teams, pattern), func(b *testing.B) {
				policy, users, _ := mix(b, 1000, teams)
				names, err := ParseNamePattern(pattern)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					a, err := New(policy, Universe{Users: users, Anonymous: true})
					if err != nil {
						b.Fatal(err)
					}
					grants, undecided := a.WhoCan(Question{Action: "push", Names: names})
					if len(grants) == 0 || len(undecided) > 0 {
						b.Fatalf("%d grants, not decided: %v", len(grants), undecided)
					}
					b.ReportMetric(float64(len(grants)), "rows")
				}
			})
		}
	}
}

func BenchmarkDiff(b *testing.B) {
	kinds := map[string]func([]acl.Entry) []acl.Entry{
		"one-entry": func(e []acl.Entry) []acl.Entry {
			e[500].Actions = []string{"pull"}
			return e
		},
		"deny-first": func(e []acl.Entry) []acl.Entry {
			deny := acl.Entry{Match: acl.Match{Name: ptr("/secret/")}, Actions: []string{}}
			return append([]acl.Entry{deny}, e...)
		},
		"rewritten": func(e []acl.Entry) []acl.Entry {
			// The same rights in other words: every glob as a regexp.
			for i := range e {
				if n := e[i].Match.Name; n != nil && (*n)[0] != '/' {
					e[i].Match.Name = ptr("/^" + strings.ReplaceAll(*n, "*", "[^/]*") + "$/")
				}
				e[i].Match.Type = ptr("/./")
			}
			return e
		},
	}
	for kind, change := range kinds {
		b.Run("1000x1000/"+kind, func(b *testing.B) {
			policy, users, _ := mix(b, 1000, 50)
			other, err := acl.Compile(change(policy.Entries()), acl.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				before, err := New(policy, Universe{Users: users, Anonymous: true})
				if err != nil {
					b.Fatal(err)
				}
				after, err := New(other, Universe{Users: users, Anonymous: true})
				if err != nil {
					b.Fatal(err)
				}
				c, err := Diff(before, after)
				if err != nil || len(c.Undecided) > 0 || c.Empty() != (kind == "rewritten") {
					b.Fatalf("%v: %d gains, %d losses, not decided: %v", err, len(c.Gains), len(c.Losses), c.Undecided)
				}
				b.ReportMetric(float64(len(c.Gains)+len(c.Losses)), "rows")
			}
		})
	}
}
