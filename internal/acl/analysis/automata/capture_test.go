package automata

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"testing"
)

func TestCaptureAgainstGo(t *testing.T) {
	t.Parallel()
	exprs := []string{
		`^([^/]+)/`, `^(.+)/(.+)$`, `^(.+?)/`, `(a+)`, `(a|ab)(b|)`, `(a)|b`, `^(?:(a)|(b))*$`, `(a*)*`, `(a*)+$`, `^(a*?)(a*)$`, `(?:a(b)?)+`, `\b(\w+)\b`,
		`(a*)b?$`, `([ab]+?)(/|$)`, `(^a|b$)`, `()a`, `(a|b)*?-`, `(?U)(a+)`, `(?i)(A)`, `^a(.*)$`, `(a)?b`, `(-|/)`, `((a)|b)+`, `(?m)^(a)$`, `(a{1,2}){2}`,
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		exprs = append(exprs, "("+randomRegexp(r, 3)+")"+randomRegexp(r, 2), randomRegexp(r, 2)+"("+randomRegexp(r, 2)+"|b)*"+randomRegexp(r, 2))
	}
	values := []string{`^a$`, `^$`, `^[ab]+$`, `/`, `^ab?$`}
	all := words("ab/-", 5)
	for _, expr := range exprs {
		re, err := regexp.Compile(expr)
		if err != nil {
			continue
		}
		for k, v := range values {
			if k > 1 && len(expr) > 12 {
				continue
			}
			want := regexp.MustCompile(v)
			d, err := Capture(expr, 1, regexpDFA(t, v), DefaultLimits())
			if err != nil {
				t.Fatalf("Capture(%q): %v", expr, err)
			}
			for _, w := range all {
				m := re.FindStringSubmatch(w)
				if got, want := d.Match(w), m != nil && want.MatchString(m[1]); got != want {
					t.Fatalf("group 1 of %q in %q is %q: in %q: got %v, want %v", expr, w, m, v, got, want)
				}
			}
		}
	}
}

func TestCaptureErrors(t *testing.T) {
	t.Parallel()
	any := Any().DFA()
	for _, expr := range []string{`a`, `(a`} {
		if _, err := Capture(expr, 1, any, DefaultLimits()); err == nil {
			t.Errorf("Capture(%q, 1): no error", expr)
		}
	}
	if _, err := Capture(`(a)(b)`, 3, any, DefaultLimits()); err == nil {
		t.Error("a group that is not there: no error")
	}
	if _, err := Capture(`(.*a.{20})b`, 1, any, Limits{NFA: 1000, States: 200, Work: 100_000}); !errors.Is(err, ErrTooBig) {
		t.Errorf("too many states: got %v, want %v", err, ErrTooBig)
	}
}
