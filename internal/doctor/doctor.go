// Package doctor finds what is wrong with a deployment: on disk, where pairs of files must
// agree, and live, as a client sees it.
//
// A check is a value of type [Check], listed by [Checks]. The facts that checks look at are
// gathered once ([Gather]); checks read them and nothing else, so that the part on disk needs no
// network and ends at once. [Disk] runs it. [Live] talks to the registry: every request has a
// deadline, and what it makes in the registry it takes away again, also when its context ends.
//
// # Outcomes
//
// A check finds nothing, or findings, each with its code, what was seen, and what mends it; or it
// can't tell, which is an outcome of its own ([Unknown]) and never a finding: a registry that
// does not answer is sick, a Docker engine that can't be asked says nothing about the registry.
//
// # Example
//
//	facts, err := doctor.Gather(ctx, doctor.Options{Dir: "."})
//	if err != nil {
//		return err
//	}
//	report := doctor.Disk(ctx, facts)
//	for _, f := range report.Findings {
//		fmt.Println(f.Severity, f.Code, f.Message, f.Fix.Text)
//	}
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/lint"
)

// Severity says how bad a finding is: the words and the order of package lint.
type Severity = lint.Severity

// The severities.
const (
	Info    = lint.Info    // worth knowing; hidden unless asked for
	Warning = lint.Warning // works today, and is bound to hurt
	Error   = lint.Error   // does not work, or opens something
)

// Kind says when a check runs.
type Kind uint8

// The kinds.
const (
	OnDisk  Kind = iota // reads the folder only
	OnLine              // asks the registry, and leaves nothing behind
	Writing             // pushes to the repository [ProbeRepository]
)

// String returns "disk", "live" or "write".
func (k Kind) String() string {
	switch k {
	case OnLine:
		return "live"
	case Writing:
		return "write"
	}
	return "disk"
}

// Check is one thing that can be wrong.
type Check struct {
	// Code is stable: it stands in scripts and links.
	Code     string
	Severity Severity // of its findings; single findings may be milder
	Kind     Kind
	// Title says in one clause what it finds.
	Title string
	// Why says what follows from it.
	Why string
	// Mend says how such a thing is mended in general; a finding's Fix is the exact step.
	Mend string

	run func(*pass) // nil for checks that are part of the live conversation
}

// URL returns the address of the check's documentation.
func (c *Check) URL() string {
	return "https://github.com/regctl-setup/regctl-setup/blob/main/docs/doctor.md#" + c.Code
}

// Finding is one thing that a check found.
type Finding struct {
	Code     string
	Severity Severity
	// Pos is where it was seen; its File is relative to the deployment's folder. The zero value
	// says that it was not seen in a file.
	Pos acl.Pos
	// Message says what was seen, without the position. It never holds a secret.
	Message string
	// Why says what follows from it.
	Why string
	// Witness is what shows it, such as an answer's line; may be empty.
	Witness string
	Fix     Fix
}

// Fix is a way to mend a finding.
type Fix struct {
	// Text is the one command or edit.
	Text string
	// Apply makes the fix where that leaves no doubt, and says what it did; nil where a person
	// must. It is called at most once, and after it the facts are out of date.
	Apply func(context.Context) (done string, err error)
}

// Unknown is a check that could not tell.
type Unknown struct {
	Code   string
	Reason string
}

// Report is what a run found.
type Report struct {
	Findings []Finding // worst first, then by file and line
	Unknown  []Unknown
	Ran      int // checks that ran
}

// Healthy reports whether there is no finding of the severity or worse.
func (r *Report) Healthy(from Severity) bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity >= from })
}

// Merge adds another report's outcomes. What clients see is not told beside the fault on disk that
// it follows from, but as that one's Witness.
func (r *Report) Merge(other Report) {
	r.Findings = append(r.Findings, other.Findings...)
	r.Unknown = append(r.Unknown, other.Unknown...)
	r.Ran += other.Ran
	r.attribute()
	r.sort()
}

func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		// What was seen in a file is most often the cause of what a client sees.
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(btoi(a.Pos.File == ""), btoi(b.Pos.File == "")), cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Code, b.Code))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Checks returns the table of all checks, those on disk first.
func Checks() []Check {
	return slices.Concat(
		filesChecks(), composeChecks(), imageChecks(), envChecks(),
		trustChecks(), signingChecks(), rotationChecks(), agreementChecks(),
		registryChecks(), storageChecks(), spaceChecks(), proxyChecks(), serviceChecks(),
		peopleChecks(), rulesChecks(), gitChecks(),
		liveChecks(), writeChecks(),
	)
}

// CheckByCode returns the check of that code; false when there is none.
func CheckByCode(code string) (Check, bool) {
	for _, c := range Checks() {
		if c.Code == code {
			return c, true
		}
	}
	return Check{}, false
}

// Disk runs the checks that read the folder only.
func Disk(ctx context.Context, f *Facts) Report {
	var r Report
	cache := f.cacheFacts()
	for _, c := range Checks() {
		if c.run == nil {
			continue
		}
		if ctx.Err() != nil {
			r.Unknown = append(r.Unknown, Unknown{c.Code, "interrupted"})
			continue
		}
		p := &pass{Facts: f, ctx: ctx, check: c}
		c.run(p)
		p.diskCache(cache)
		r.Ran++
		r.Findings = append(r.Findings, p.found...)
		r.Unknown = append(r.Unknown, p.unknown...)
	}
	r.sort()
	return r
}

// pass is one check's run over the facts.
type pass struct {
	*Facts
	ctx     context.Context // a pass lives as long as one call of Check.run
	check   Check
	found   []Finding
	unknown []Unknown
}

// finds reports whether another check's run over the same facts finds anything: what follows from
// that is not said twice.
func (p *pass) finds(run func(*pass)) bool {
	q := &pass{Facts: p.Facts, ctx: p.ctx, check: p.check}
	run(q)
	return len(q.found) > 0
}

// report adds a finding; what it returns may still be changed.
func (p *pass) report(at acl.Pos, format string, args ...any) *Finding {
	p.found = append(p.found, Finding{
		Code: p.check.Code, Severity: p.check.Severity, Pos: at, Why: p.check.Why,
		Message: fmt.Sprintf(format, args...),
	})
	return &p.found[len(p.found)-1]
}

// unsure says that the check can't tell.
func (p *pass) unsure(format string, args ...any) {
	p.unknown = append(p.unknown, Unknown{p.check.Code, fmt.Sprintf(format, args...)})
}

// mend sets what mends the finding.
func (f *Finding) mend(format string, args ...any) *Finding {
	f.Fix.Text = fmt.Sprintf(format, args...)
	return f
}

// makes sets a fix that can be made without a person's word.
func (f *Finding) makes(apply func(context.Context) (string, error)) { f.Fix.Apply = apply }

// String returns "file:line:col: severity: message [code]".
func (f Finding) String() string {
	var b strings.Builder
	if f.Pos.File != "" {
		b.WriteString(f.Pos.File)
		if f.Pos.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Pos.Line, f.Pos.Column)
		}
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s: %s [%s]", f.Severity, f.Message, f.Code)
	return b.String()
}
