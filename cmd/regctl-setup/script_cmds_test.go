package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"gopkg.in/yaml.v2"
)

// commands are the actors that the scripts use besides the program itself.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"status":   status,
		"mode":     mode,
		"json":     jsonField,
		"yaml2":    yaml2,
		"linediff": lineDiff,
	}
}

// status N CMD ARG... runs CMD and wants exit status N; stdout and stderr are kept for
// the checks that follow.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N CMD ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// mode OCTAL FILE... wants the files' permission bits.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, f := range args[1:] {
		st, err := os.Stat(ts.MkAbs(f))
		ts.Check(err)
		if got := st.Mode().Perm(); got != os.FileMode(want) {
			ts.Fatalf("%s has mode %o, want %o", f, got, want)
		}
	}
}

// json PATH WANT compares a value of the JSON object on stdout; PATH is keys and 0-based
// indexes joined by dots, WANT is JSON.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH WANT")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, key := range strings.Split(args[0], ".") {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[key]
			if !ok {
				ts.Fatalf("no %q in %v", key, x)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			ts.Check(err)
			if i >= len(x) {
				ts.Fatalf("%s: index %d of %d", args[0], i, len(x))
			}
			v = x[i]
		default:
			ts.Fatalf("%s: %v has no fields", args[0], v)
		}
	}
	got, err := json.Marshal(v)
	ts.Check(err)
	var want bytes.Buffer
	ts.Check(json.Compact(&want, []byte(args[1])))
	if (string(got) == want.String()) == neg {
		ts.Fatalf("%s is %s, want %s (negated: %v)", args[0], got, want.String(), neg)
	}
}

// yaml2 FILE PATH WANT reads the file as docker_auth does (yaml.v2) and compares a value.
func yaml2(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: yaml2 FILE PATH WANT")
	}
	var v any
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	for _, key := range strings.Split(args[1], "/") {
		switch x := v.(type) {
		case map[any]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			ts.Check(err)
			v = x[i]
		default:
			v = nil
		}
	}
	if got := fmt.Sprint(v); (got == args[2]) == neg {
		ts.Fatalf("%s of %s is %q, want %q (negated: %v)", args[1], args[0], got, args[2], neg)
	}
}

// linediff OLD NEW ADDED REMOVED wants NEW to differ from OLD by exactly so many lines, all
// others in their order.
func lineDiff(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: linediff OLD NEW ADDED REMOVED")
	}
	a, b := strings.SplitAfter(ts.ReadFile(args[0]), "\n"), strings.SplitAfter(ts.ReadFile(args[1]), "\n")
	// Longest common subsequence: small files, so the plain table does.
	t := make([][]int, len(a)+1)
	for i := range t {
		t[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				t[i][j] = t[i+1][j+1] + 1
			} else {
				t[i][j] = max(t[i+1][j], t[i][j+1])
			}
		}
	}
	added, removed := len(b)-t[0][0], len(a)-t[0][0]
	if fmt.Sprint(added) != args[2] || fmt.Sprint(removed) != args[3] {
		ts.Fatalf("%s to %s: %d lines added, %d removed, want %s and %s", args[0], args[1], added, removed, args[2], args[3])
	}
}
