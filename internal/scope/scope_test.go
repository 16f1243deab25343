package scope_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/scope"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want scope.Scope
	}{
		{"repository:a/b:pull", scope.Scope{Type: "repository", Name: "a/b", Actions: []string{"pull"}}},
		{"repository:a/b:push,pull", scope.Scope{Type: "repository", Name: "a/b", Actions: []string{"pull", "push"}}},
		{"repository:a/b:pull,push,pull,,pull,", scope.Scope{Type: "repository", Name: "a/b", Actions: []string{"pull", "push"}}},
		{"repository:a/b:", scope.Scope{Type: "repository", Name: "a/b"}},
		{"repository:host:5000/a/b:pull", scope.Scope{Type: "repository", Name: "host:5000/a/b", Actions: []string{"pull"}}},
		{"repository(plugin):a/b:pull", scope.Scope{Type: "repository", Class: "plugin", Name: "a/b", Actions: []string{"pull"}}},
		{"registry:catalog:*", scope.Scope{Type: "registry", Name: "catalog", Actions: []string{"*"}}},
		{"x::pull", scope.Scope{Type: "x", Actions: []string{"pull"}}},
		{"x:::pull", scope.Scope{Type: "x", Name: ":", Actions: []string{"pull"}}},
		{"r2d2:Ünïcode:Pull", scope.Scope{Type: "r2d2", Name: "Ünïcode", Actions: []string{"Pull"}}},
	}
	for _, tt := range tests {
		got, err := scope.Parse(tt.in)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "repository", "repository:a/b", ":a/b:pull", "a:b:c:d:e", "REPOSITORY:a/b:pull", "REPOsitory:a/b:pull",
		"!!!repository!!!:foo:pull", "(x):foo:pull", "repository():foo:pull", "repository(:foo:pull", "repository(plugin:foo:pull",
		"repository(plugin)x:foo:pull", "repository(PLUGIN):foo:pull", "repository(a)(b):foo:pull", "repository :foo:pull", "repo\tsitory:foo:pull",
		"repository:a b:pull", "repository:a\xffb:pull", "répository:a:pull",
	} {
		_, err := scope.Parse(in)
		var syntax *scope.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Parse(%q): error %v, want a SyntaxError", in, err)
		}
	}
}

func TestParseList(t *testing.T) {
	t.Parallel()
	got, err := scope.ParseList([]string{"", "repository:a:pull repository:b:push", "", "registry:catalog:*"}, scope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	for _, s := range got {
		printed = append(printed, s.String())
	}
	if want := []string{"repository:a:pull", "repository:b:push", "registry:catalog:*"}; !slices.Equal(printed, want) {
		t.Errorf("got %q, want %q", printed, want)
	}
	if got, err := scope.ParseList([]string{""}, scope.Limits{}); err != nil || len(got) != 0 {
		t.Errorf("an empty value: %v, %v; want no scope", got, err)
	}
	for _, in := range []string{"repository:a:pull  repository:b:pull", " repository:a:pull", "repository:a:pull ", " "} {
		if _, err := scope.ParseList([]string{in}, scope.Limits{}); err == nil {
			t.Errorf("ParseList(%q): no error", in)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 256)
	ok, over := strings.TrimSuffix(strings.Repeat("repository:a:pull ", 100), " "), strings.TrimSuffix(strings.Repeat("repository:a:pull ", 101), " ")
	tests := []struct {
		name   string
		values []string
		limits scope.Limits
		want   string // the limit's name, "" for none
	}{
		{"100 scopes", []string{ok}, scope.Limits{}, ""},
		{"101 scopes in one value", []string{over}, scope.Limits{}, "scopes"},
		{"101 scopes in two values", []string{ok, "repository:a:pull"}, scope.Limits{}, "scopes"},
		{"raised", []string{over}, scope.Limits{Scopes: 200}, ""},
		{"16 actions", []string{"repository:a:" + strings.Repeat(",", 15)}, scope.Limits{}, ""},
		{"17 actions", []string{"repository:a:" + strings.Repeat(",", 16)}, scope.Limits{}, "actions in a scope"},
		{"255 bytes", []string{"repository:" + long[:255] + ":pull"}, scope.Limits{}, ""},
		{"256 bytes", []string{"repository:" + long + ":pull"}, scope.Limits{}, "bytes in a name"},
		{"256 bytes, raised", []string{"repository:" + long + ":pull"}, scope.Limits{Name: 256}, ""},
		{"long action", []string{"repository:a:" + long}, scope.Limits{}, "bytes in an action"},
		{"long type", []string{long + ":a:pull"}, scope.Limits{}, "bytes in a type"},
		{"long class", []string{"a(" + long + "):a:pull"}, scope.Limits{}, "bytes in a class"},
		{"very long type", []string{long + long + long + ":a:pull"}, scope.Limits{}, "bytes in a type"},
	}
	for _, tt := range tests {
		_, err := scope.ParseList(tt.values, tt.limits)
		var limit *scope.LimitError
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (!errors.As(err, &limit) || limit.What != tt.want || !scope.IsLimit(err)):
			t.Errorf("%s: error %v, want a LimitError about %s", tt.name, err, tt.want)
		}
	}
}

// Errors must stay small: they go into answers and logs.
func TestErrorsAreShort(t *testing.T) {
	t.Parallel()
	for _, in := range []string{strings.Repeat("A", 1<<20), "repository:" + strings.Repeat(":", 1<<20), strings.Repeat("é", 1<<19), strings.Repeat("\x00", 1<<20)} {
		_, err := scope.Parse(in)
		if err == nil || len(err.Error()) > 600 {
			t.Errorf("Parse of %d bytes: error of %d bytes, want 1 to 600", len(in), len(err.Error()))
		}
	}
}

func TestC1HugeListsAreCheap(t *testing.T) { // not parallel: it counts allocations
	huge := strings.Repeat("repository:a/b:pull,push ", 400_000) // 10 MB
	start := time.Now()
	if _, err := scope.ParseList([]string{huge}, scope.Limits{}); !scope.IsLimit(err) {
		t.Fatalf("error %v, want a limit", err)
	}
	if d := time.Since(start); d > 100*time.Millisecond { // five times the figure
		t.Errorf("took %v", d)
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = scope.ParseList([]string{huge}, scope.Limits{}) }); n > 400 {
		t.Errorf("%v allocations for a refused list", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"repository:a/b:pull,push", "repository(plugin):host:5000/a:*", "registry:catalog:*", "a::", "a:::", "x:y:,,b,a,b", " ", "a:b:c  d:e:f", "A:b:c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := scope.Parse(in)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if !slices.IsSorted(s.Actions) || slices.Contains(s.Actions, "") || len(slices.Compact(slices.Clone(s.Actions))) != len(s.Actions) {
			t.Fatalf("Parse(%q): actions %q are not a sorted set", in, s.Actions)
		}
		printed := s.String()
		again, err := scope.Parse(printed)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("Parse(%q) = %+v, printed %q, parsed again %+v, %v", in, s, printed, again, err)
		}
		if again.String() != printed {
			t.Fatalf("printing is not stable: %q, %q", printed, again.String())
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add("repository:a:pull repository:b:push", "registry:catalog:*")
	f.Add("", " ")
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := scope.ParseList([]string{a, b}, scope.Limits{})
		if err != nil {
			if len(got) != 0 {
				t.Fatalf("scopes %v beside error %v", got, err)
			}
			return
		}
		var printed []string
		for _, s := range got {
			printed = append(printed, s.String())
		}
		again, err := scope.ParseList([]string{strings.Join(printed, " ")}, scope.Limits{})
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("ParseList(%q, %q) = %v; of the printed list %v, %v", a, b, got, again, err)
		}
	})
}

func BenchmarkParseList(b *testing.B) {
	v := []string{"repository:library/nginx:pull,push repository(plugin):host:5000/a/b:*"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := scope.ParseList(v, scope.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
