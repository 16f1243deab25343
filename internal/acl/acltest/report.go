package acltest

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// Text writes what fails for people, and how many cases were run.
func Text(w io.Writer, r *Result) error {
	b := bufio.NewWriter(w)
	for i := range r.Cases {
		c := &r.Cases[i]
		if c.Passed() {
			continue
		}
		_, _ = fmt.Fprintf(b, "FAIL %s:%d %s\n", c.Case.Pos.File, c.Case.Pos.Line, c.Case.Title())
		for _, line := range c.details() {
			_, _ = fmt.Fprintf(b, "  %s\n", line)
		}
	}
	failed := r.Failed()
	_, _ = fmt.Fprintf(b, "%d passed, %d failed", len(r.Cases)-failed, failed)
	if r.Skipped > 0 {
		_, _ = fmt.Fprintf(b, ", %d not run", r.Skipped)
	}
	_, _ = fmt.Fprintln(b)
	return b.Flush()
}

// details are the reasons for a failure, one a line.
func (c *CaseResult) details() []string {
	var out []string
	if c.Err != "" {
		out = append(out, c.Err)
	}
	for k := range c.Checks {
		for _, f := range c.Checks[k].Failures {
			out = append(out, fmt.Sprintf(":%d %s", c.Checks[k].Question.Pos.Line, f.Message))
		}
	}
	if c.Note != "" && len(out) > 0 {
		out = append(out, "note: "+c.Note)
	}
	return out
}

type resultJSON struct {
	File    string     `json:"file"`
	Passed  int        `json:"passed"`
	Failed  int        `json:"failed"`
	Skipped int        `json:"skipped"`
	Cases   []caseJSON `json:"cases"`
}

type caseJSON struct {
	Who    string      `json:"who"`
	Reason string      `json:"reason"`
	File   string      `json:"file"`
	Line   int         `json:"line"`
	Col    int         `json:"col"`
	Passed bool        `json:"passed"`
	Error  string      `json:"error,omitempty"`
	Note   string      `json:"note,omitempty"`
	Checks []checkJSON `json:"checks"`
}

type checkJSON struct {
	Want     string        `json:"want"` // accept or deny
	Question string        `json:"question"`
	Line     int           `json:"line"`
	Col      int           `json:"col"`
	Passed   bool          `json:"passed"`
	Failures []failureJSON `json:"failures"`
}

type failureJSON struct {
	Action  string       `json:"action"`
	Message string       `json:"message"`
	Entry   int          `json:"entry"` // from 1; 0: none
	Witness *requestJSON `json:"witness,omitempty"`
}

type requestJSON struct {
	Account string              `json:"account"`
	Labels  map[string][]string `json:"labels,omitempty"`
	Type    string              `json:"type"`
	Name    string              `json:"name"`
	Service string              `json:"service,omitempty"`
	IP      string              `json:"ip,omitempty"`
	Actions []string            `json:"actions"`
}

// JSON writes the result as one object, with every check; entries are numbered
// from 1.
func JSON(w io.Writer, r *Result) error {
	failed := r.Failed()
	out := resultJSON{File: r.Path, Passed: len(r.Cases) - failed, Failed: failed, Skipped: r.Skipped, Cases: []caseJSON{}}
	for i := range r.Cases {
		out.Cases = append(out.Cases, r.Cases[i].json())
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

func (c *CaseResult) json() caseJSON {
	j := caseJSON{
		Who: c.Case.Who, Reason: c.Case.Reason, File: c.Case.Pos.File, Line: c.Case.Pos.Line, Col: c.Case.Pos.Column,
		Passed: c.Passed(), Error: c.Err, Note: c.Note, Checks: []checkJSON{},
	}
	for k := range c.Checks {
		check := &c.Checks[k]
		q := check.Question
		kj := checkJSON{Want: "deny", Question: q.Text, Line: q.Pos.Line, Col: q.Pos.Column, Passed: len(check.Failures) == 0, Failures: []failureJSON{}}
		if check.Accept {
			kj.Want = "accept"
		}
		for _, f := range check.Failures {
			kj.Failures = append(kj.Failures, failureJSON{f.Action, f.Message, f.Entry + 1, requestOf(f.Witness)})
		}
		j.Checks = append(j.Checks, kj)
	}
	return j
}

func requestOf(r *acl.Request) *requestJSON {
	if r == nil {
		return nil
	}
	j := &requestJSON{Account: r.Account, Labels: r.Labels, Type: r.Type, Name: r.Name, Service: r.Service, Actions: r.Actions}
	if r.IP.IsValid() {
		j.IP = r.IP.String()
	}
	return j
}

type junitSuites struct {
	XMLName  xml.Name   `xml:"testsuites"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Suite    junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the result in the XML form that CI systems read: a case is a
// testcase, one that does not hold a failure, one that can't be asked an error.
func JUnit(w io.Writer, r *Result) error {
	suite := junitSuite{Name: r.Path, Tests: len(r.Cases)}
	for i := range r.Cases {
		c := &r.Cases[i]
		j := junitCase{Name: c.Case.Title(), Class: r.Path, File: c.Case.Pos.File, Line: c.Case.Pos.Line}
		if !c.Passed() {
			details := c.details()
			m := &junitMessage{Message: details[0], Text: strings.Join(details, "\n")}
			if c.Err != "" {
				j.Error = m
				suite.Errors++
			} else {
				j.Failure = m
				suite.Failures++
			}
		}
		suite.Cases = append(suite.Cases, j)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// TAP writes the result in the Test Anything Protocol, version 13, one test a
// case.
func TAP(w io.Writer, r *Result) error {
	b := bufio.NewWriter(w)
	_, _ = fmt.Fprintf(b, "TAP version 13\n1..%d\n", len(r.Cases))
	for i := range r.Cases {
		c := &r.Cases[i]
		verdict := "ok"
		if !c.Passed() {
			verdict = "not ok"
		}
		_, _ = fmt.Fprintf(b, "%s %d - %s\n", verdict, i+1, tapText(c.Case.Title()))
		if c.Passed() {
			continue
		}
		for _, line := range c.details() {
			_, _ = fmt.Fprintf(b, "# %s\n", oneLine(line))
		}
	}
	return b.Flush()
}

// tapText keeps a description from being read as a directive.
func tapText(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(oneLine(s), `\`, `\\`), "#", `\#`)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
