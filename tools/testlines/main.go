// Command testlines turns the stream of `go test -json` into the lines that `go test`
// prints, followed by what was skipped and why:
//
//	go test -json ./... | testlines
//
// The output of passing tests is dropped, that of failing ones is kept, and every
// package closes with its ok or FAIL line as usual. A skipped test must say why: one
// that does not, or no test executed at all, is a failure. The exit status is 0 or 1.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of the stream (see `go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
}

type key struct{ pkg, test string }

// report collects what has to be said at the end.
type report struct {
	output        map[key][]string
	skips         []string
	mute          []string // skipped without a reason
	passed        int
	failed        int
	packageFailed bool
}

func main() {
	r := report{output: map[key][]string{}}
	if err := r.read(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testlines:", err)
		os.Exit(1)
	}
	if !r.close(os.Stdout) {
		os.Exit(1)
	}
}

// read copies what a person wants to see while the tests run.
func (r *report) read(in io.Reader, out io.Writer) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 64<<20) // a failing test may print a lot on one line
	for sc.Scan() {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			// Not of the stream: what the go command itself says.
			fmt.Fprintln(out, sc.Text())
			continue
		}
		k := key{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			if e.Test != "" {
				r.output[k] = append(r.output[k], e.Output)
			} else if e.Output != "PASS\n" {
				fmt.Fprint(out, e.Output)
			}
		case "skip":
			if e.Test != "" {
				r.skip(k)
			}
		case "pass":
			if e.Test != "" {
				r.passed++
				delete(r.output, k)
			}
		case "fail", "build-fail":
			if e.Test == "" {
				r.packageFailed = true
				break
			}
			r.failed++
			fmt.Fprint(out, strings.Join(r.output[k], ""))
			delete(r.output, k)
		}
	}
	return sc.Err()
}

// skip takes down why a test was skipped: what it printed but the runner's own lines.
func (r *report) skip(k key) {
	var why []string
	for _, line := range r.output[k] {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- SKIP") {
			why = append(why, line)
		}
	}
	name := k.pkg + " " + k.test
	if len(why) == 0 {
		r.mute = append(r.mute, name)
	} else {
		r.skips = append(r.skips, name+": "+strings.Join(why, " "))
	}
	delete(r.output, k)
}

// close prints the summary and tells whether all is well.
func (r *report) close(out io.Writer) bool {
	// A test that never ended (the binary panicked, or was killed) keeps its output.
	var cut []key
	for k := range r.output {
		cut = append(cut, k)
	}
	slices.SortFunc(cut, func(a, b key) int { return strings.Compare(a.pkg+"\x00"+a.test, b.pkg+"\x00"+b.test) })
	for _, k := range cut {
		if r.packageFailed {
			fmt.Fprint(out, strings.Join(r.output[k], ""))
		}
	}
	for _, s := range r.skips {
		fmt.Fprintln(out, "SKIP", s)
	}
	for _, s := range r.mute {
		fmt.Fprintln(out, "SKIP WITHOUT A REASON", s)
	}
	if r.passed+r.failed == 0 {
		fmt.Fprintln(out, "NO TEST RAN")
	}
	fmt.Fprintf(out, "tests: %d passed, %d failed, %d skipped\n", r.passed, r.failed, len(r.skips)+len(r.mute))
	return r.failed == 0 && !r.packageFailed && len(r.mute) == 0 && r.passed > 0
}
