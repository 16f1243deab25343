package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// What is described is what the file may have, no more and no less.
func TestSettingsAreAllDescribed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		list    []Setting
		section section
		but     string
	}{{Settings(), extrasSection, "limits"}, {LimitSettings(), limitsSection, ""}} {
		var got []string
		for _, s := range tt.list {
			key, _, _ := strings.Cut(s.Key, ":")
			got = append(got, key)
		}
		want := slices.DeleteFunc(slices.Clone(tt.section.keys), func(k string) bool { return k == tt.but })
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: described %q\nthe file has %q", tt.section.where, got, want)
		}
	}
}

// Every default of the limits can be written as it is described, and changes nothing.
func TestDescribedLimitsAreTheDefaults(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, s := range LimitSettings() {
		if s.Key != "bcrypt" { // its default depends on the machine
			fmt.Fprintf(&b, "%s: %s, ", s.Key, s.Default)
		}
	}
	f, problems := Parse("f.yml", []byte(head+"users: {}\nacl: []\nx-regctl-setup: {limits: {"+b.String()+"}}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if f.Extras.Limits != DefaultLimits() {
		t.Errorf("got %+v, want %+v", f.Extras.Limits, DefaultLimits())
	}
}

// The manual has a row for each, as it is described here.
func TestSettingsInTheManual(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(Settings(), LimitSettings()...) {
		if row := fmt.Sprintf("| `%s` | %s | %s |\n", s.Key, s.Default, s.Meaning); !strings.Contains(string(manual), row) {
			t.Errorf("docs/serve.md has no line %q", row)
		}
	}
}
