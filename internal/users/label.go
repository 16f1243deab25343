package users

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/config"
)

// LabelOp says what a LabelArg does to the label's list of values.
type LabelOp int

// The operations on a label, in the order of their spellings k=v, k+=v, k-=v, k-.
const (
	LabelSet LabelOp = iota
	LabelAdd
	LabelRemove
	LabelDelete
)

// LabelArg is one label argument of the command line.
type LabelArg struct {
	Op    LabelOp
	Key   string
	Value string // empty for LabelDelete
}

// ParseLabelArg reads "key=value" (set the list), "key+=value" (add one), "key-=value" (remove
// one) or "key-" (remove the key). It checks the shape only: ValidateLabelKey and
// ValidateLabelValue say what may be written, while anything that exists may be removed.
func ParseLabelArg(arg string) (LabelArg, error) {
	key, value, ok := strings.Cut(arg, "=")
	if !ok {
		bare, found := strings.CutSuffix(arg, "-")
		if !found || bare == "" {
			return LabelArg{}, fmt.Errorf("label %q: expected KEY=VALUE, KEY+=VALUE, KEY-=VALUE or KEY-", arg)
		}
		return LabelArg{Op: LabelDelete, Key: bare}, nil
	}
	op := LabelSet
	if k, found := strings.CutSuffix(key, "+"); found {
		key, op = k, LabelAdd
	} else if k, found := strings.CutSuffix(key, "-"); found {
		key, op = k, LabelRemove
	}
	if key == "" {
		return LabelArg{}, fmt.Errorf("label %q has no key before the sign", arg)
	}
	if value == "" && op != LabelRemove {
		return LabelArg{}, fmt.Errorf("label %q has no value after the sign (KEY- removes the key)", arg)
	}
	return LabelArg{Op: op, Key: key, Value: value}, nil
}

// ApplyLabels returns the labels that args make of labels, in order; labels itself is not changed.
// The first k=v of a key empties its list, the next ones collect. A key whose last value goes is
// removed. With pattern set, values may hold metacharacters. All errors are reported, joined by
// newlines.
func ApplyLabels(labels []config.Label, args []LabelArg, pattern bool) ([]config.Label, error) {
	out := make([]config.Label, 0, len(labels))
	for _, l := range labels {
		out = append(out, config.Label{Key: l.Key, Values: slices.Clone(l.Values)})
	}
	set := map[string]bool{}
	var problems []string
	fail := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, a := range args {
		i := slices.IndexFunc(out, func(l config.Label) bool { return l.Key == a.Key })
		switch a.Op {
		case LabelSet, LabelAdd:
			if i < 0 { // a key that exists already may be odd and still be used
				if err := ValidateLabelKey(a.Key); err != nil {
					fail("%v", err)
					continue
				}
				out = append(out, config.Label{Key: a.Key})
				i = len(out) - 1
			}
			if a.Op == LabelSet && !set[a.Key] {
				out[i].Values = nil
			}
			set[a.Key] = true
			if slices.Contains(out[i].Values, a.Value) {
				continue
			}
			if err := ValidateLabelValue(a.Key, a.Value, pattern); err != nil {
				fail("%v", err)
				continue
			}
			out[i].Values = append(out[i].Values, a.Value)
		case LabelRemove:
			if i < 0 || !slices.Contains(out[i].Values, a.Value) {
				fail("label %q has no value %q to remove", a.Key, a.Value)
				continue
			}
			out[i].Values = slices.DeleteFunc(out[i].Values, func(v string) bool { return v == a.Value })
		case LabelDelete:
			if i < 0 {
				fail("there is no label %q to remove", a.Key)
				continue
			}
			out = slices.Delete(out, i, i+1)
		}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(problems, "\n"))
	}
	return slices.DeleteFunc(out, func(l config.Label) bool { return len(l.Values) == 0 }), nil
}
