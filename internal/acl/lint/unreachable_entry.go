package lint

import (
	"fmt"
	"strings"
)

func unreachableEntry() Rule {
	return Rule{
		Name: "unreachable-entry", Severity: Warning,
		Doc: "an entry that never decides, because those above it decide everything that it matches; info where no account matches",
		check: func(p *pass) {
			if !p.analyse() {
				return
			}
			explained := []string{"name-can-never-exist", "account-unknown", "label-nobody-has", "anonymous-rule-without-anonymous-user", "service-mismatch", "placeholder-typo"}
			for i, r := range p.reports {
				switch {
				case r.Reachable || r.NotDecided != "" || p.flagged(i, explained...):
				case len(r.CoveredBy) > 0:
					f := p.reportEntry(i, "it never decides: %s", coverText(r.CoveredBy))
					f.Fix = advise("move it above entry %d, or remove it", r.CoveredBy[0]+1)
				default:
					f := p.reportEntry(i, "it never decides: %s", r.Reason)
					f.Severity = Info
				}
			}
		},
	}
}

// coverText says which entries take all that another one matches.
func coverText(covers []int) string {
	if len(covers) == 1 {
		return fmt.Sprintf("entry %d decides everything that it matches", covers[0]+1)
	}
	const shown = 8
	var numbers []string
	for _, c := range covers[:min(shown, len(covers))] {
		numbers = append(numbers, fmt.Sprint(c+1))
	}
	list := strings.Join(numbers[:len(numbers)-1], ", ") + " and " + numbers[len(numbers)-1]
	if more := len(covers) - shown; more > 0 {
		list = strings.Join(numbers, ", ") + fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("entries %s together decide everything that it matches", list)
}
