package lint

import (
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// Characters of a value that mean something in a glob, and in a regexp.
const (
	globMeta   = `*?[\`
	regexpMeta = `\.+*?()|[]{}^$`
)

func labelAsPattern() Rule {
	return Rule{
		Name: "label-as-pattern", Severity: Warning,
		Doc: "a label's value with characters that are pattern syntax where an entry puts it in",
		check: func(p *pass) {
			if p.options.LiteralLabels {
				return
			}
			uses := labelUses(p)
			if len(uses) == 0 {
				return
			}
			for k := range p.file.Users {
				u := &p.file.Users[k]
				for _, l := range u.Labels {
					use, ok := uses[l.Key]
					if !ok {
						continue
					}
					for _, v := range l.Values {
						switch i := use.wider(v); {
						case i < 0:
						case v == "":
							p.report(u.Pos, "user %q: the label %q is empty, and entry %d matches whatever it leaves", u.Name, l.Key, i+1)
						default:
							p.report(u.Pos, "user %q: the label %s: %q is read as a pattern in entry %d, and so matches more than itself", u.Name, l.Key, v, i+1).Fix =
								advise("a value of letters, digits, - and _ stands for itself; with engine bundled also x-regctl-setup: {literal_labels: true}")
						}
					}
				}
			}
		},
	}
}

// labelUse says which entries put a label's values into a glob and into a regexp: the first of each,
// or -1.
type labelUse struct{ glob, regexp int }

// wider returns an entry in which the value means more than itself, or -1.
func (u labelUse) wider(v string) int {
	switch {
	case u.regexp >= 0 && (v == "" || strings.ContainsAny(v, regexpMeta)):
		return u.regexp
	case u.glob >= 0 && strings.ContainsAny(v, globMeta):
		return u.glob
	}
	return -1
}

// labelUses lists the labels that are put into patterns.
func labelUses(p *pass) map[string]labelUse {
	uses := map[string]labelUse{}
	for i := range p.entries {
		p.entries[i].patterns(func(field string, q *acl.Pattern) {
			if strings.HasPrefix(field, "labels.") {
				return
			}
			for _, s := range q.Segments() {
				if s.Kind != acl.Label {
					continue
				}
				use, ok := uses[s.Key]
				if !ok {
					use = labelUse{-1, -1}
				}
				if q.Kind() == acl.Regexp && use.regexp < 0 {
					use.regexp = i
				}
				if q.Kind() != acl.Regexp && use.glob < 0 {
					use.glob = i
				}
				uses[s.Key] = use
			}
		})
	}
	return uses
}
