package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	const (
		pass = `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
`
		fail = `{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`
		reason = `{"Action":"output","Package":"p","Test":"TestC","Output":"=== RUN   TestC\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:1: no such tool\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
`
		mute = `{"Action":"output","Package":"p","Test":"TestD","Output":"=== RUN   TestD\n"}
{"Action":"output","Package":"p","Test":"TestD","Output":"--- SKIP: TestD (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestD"}
`
		ok    = `{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n"
		build = `{"ImportPath":"p","Action":"build-output","Output":"x.go:1: undefined: y\n"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n"
		cut   = `{"Action":"output","Package":"p","Test":"TestE","Output":"panic: boom\n"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n"
	)
	for _, c := range []struct {
		name, in string
		good     bool
		holds    []string
		lacks    string
	}{
		{"passing", pass + ok, true, []string{"ok  \tp\t0.1s", "tests: 1 passed, 0 failed, 0 skipped"}, "chatter"},
		{"failing", pass + fail, false, []string{"got 1, want 2", "FAIL\tp"}, "chatter"},
		{"skipped with a reason", pass + reason + ok, true, []string{"SKIP p TestC: c_test.go:1: no such tool", "1 skipped"}, ""},
		{"skipped without one", pass + mute + ok, false, []string{"SKIP WITHOUT A REASON p TestD"}, ""},
		{"no test", ok, false, []string{"NO TEST RAN"}, ""},
		{"does not build", pass + build, false, []string{"undefined: y"}, ""},
		{"cut short", pass + cut, false, []string{"panic: boom"}, ""},
		{"not of the stream", "go: cannot find main module\n" + pass, true, []string{"go: cannot find main module"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			r := report{output: map[key][]string{}}
			if err := r.read(strings.NewReader(c.in), &out); err != nil {
				t.Fatal(err)
			}
			if got := r.close(&out); got != c.good {
				t.Errorf("good is %v, want %v\n%s", got, c.good, out.String())
			}
			for _, want := range c.holds {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, out.String())
				}
			}
			if c.lacks != "" && strings.Contains(out.String(), c.lacks) {
				t.Errorf("output holds %q:\n%s", c.lacks, out.String())
			}
		})
	}
}
