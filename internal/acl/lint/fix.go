package lint

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

// errNoFix is returned where the text of a file does not let a fix be made byte by byte.
var errNoFix = errors.New("the pattern is not written in one piece: change it by hand")

// FixAll makes all certain fixes, one after another, each on the findings that the one before left.
// It returns the file that results and what was mended, the same file when nothing was. Findings
// that the file ignores are left. A file with problems is not fixed: the error is the problems.
func FixAll(in Input) (*config.File, []Finding, error) {
	if problems := in.File.Problems(); len(problems) > 0 {
		return nil, nil, problems
	}
	in.Guess = nil // no fix depends on it
	var done []Finding
	failed := map[string]bool{}
	for range maxFixes {
		findings := Run(in)
		at := slices.IndexFunc(findings, func(f Finding) bool { return f.Certain() && !failed[f.Rule+f.Message] })
		if at < 0 {
			break
		}
		f := findings[at]
		next, err := f.Fix.Apply(in.File)
		if err != nil {
			failed[f.Rule+f.Message] = true
			continue
		}
		in.File = next
		done = append(done, f)
	}
	return in.File, done, nil
}

// maxFixes bounds the fixes of one call.
const maxFixes = 200

// replaceInEntry returns a fix that replaces a piece of one pattern of an entry in place. The result
// is read again: nothing but that pattern may differ.
func replaceInEntry(i int, pattern, old, text string) func(*config.File) (*config.File, error) {
	wanted := strings.Replace(pattern, old, text, 1)
	return func(f *config.File) (*config.File, error) {
		if i >= len(f.ACL) {
			return nil, config.ErrNoSuchEntry
		}
		data := f.Bytes()
		from := offset(data, f.ACL[i].Pos.Line)
		to := len(data)
		if i+1 < len(f.ACL) {
			to = offset(data, f.ACL[i+1].Pos.Line+1)
		}
		for at := from; at < to; {
			k := bytes.Index(data[at:to], []byte(old))
			if k < 0 {
				break
			}
			at += k
			changed := slices.Concat(data[:at], []byte(text), data[at+len(old):])
			if next, problems := config.Parse(f.Path, changed); next != nil && len(problems) == 0 && onlyPattern(f, next, i, pattern, wanted) {
				return next, nil
			}
			at += len(old)
		}
		return nil, errNoFix
	}
}

// offset returns where a line begins, from 1; past the last line it is the end.
func offset(data []byte, line int) int {
	at := 0
	for ; line > 1; line-- {
		k := bytes.IndexByte(data[at:], '\n')
		if k < 0 {
			return len(data)
		}
		at += k + 1
	}
	return at
}

// onlyPattern reports whether the rules are the same but for one pattern of entry i, and the users
// are the same too.
func onlyPattern(old, next *config.File, i int, pattern, wanted string) bool {
	if len(old.ACL) != len(next.ACL) || len(old.Users) != len(next.Users) {
		return false
	}
	for k := range old.Users {
		a, b := &old.Users[k], &next.Users[k]
		if a.Name != b.Name || a.Hash.Reveal() != b.Hash.Reveal() || !reflect.DeepEqual(a.Labels, b.Labels) {
			return false
		}
	}
	changed := 0
	same := func(at int, a, b *string) bool {
		switch {
		case a == nil || b == nil:
			return a == b
		case *a == *b:
			return true
		case at == i && *a == pattern && *b == wanted:
			changed++
			return true
		}
		return false
	}
	for k := range old.ACL {
		a, b := &old.ACL[k], &next.ACL[k]
		if !slices.Equal(a.Actions, b.Actions) || a.Comment != b.Comment || len(a.Match.Labels) != len(b.Match.Labels) {
			return false
		}
		for l := range a.Match.Labels {
			if a.Match.Labels[l].Key != b.Match.Labels[l].Key || !same(k, &a.Match.Labels[l].Pattern, &b.Match.Labels[l].Pattern) {
				return false
			}
		}
		fields := func(m *acl.Match) []*string { return []*string{m.Account, m.Type, m.Name, m.Service, m.IP} }
		x, y := fields(&a.Match), fields(&b.Match)
		for n := range x {
			if !same(k, x[n], y[n]) {
				return false
			}
		}
	}
	return changed == 1
}
