package lint

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
)

func deleteButStorageRefuses() Rule {
	return Rule{
		Name: "delete-but-storage-refuses", Severity: Warning,
		Doc: "delete is granted while the registry's storage refuses it, or the other way round",
		check: func(p *pass) {
			r := p.in.Registry
			if r == nil {
				return
			}
			granted := false
			for i := range p.entries {
				e := &p.entries[i]
				if !matchesText(e.typ, analysis.TypeRepository) {
					continue
				}
				granted = granted || e.grants("delete")
				if !r.Delete && slices.Contains(e.Actions, "delete") {
					p.reportEntry(i, "it grants delete, but the registry (%s) refuses to delete anything", r.Path).Fix =
						advise("storage: {delete: {enabled: true}} in the registry's configuration, or take delete away")
				}
			}
			if r.Delete && !granted && p.file.HasACL && len(p.file.Problems()) == 0 {
				p.report(p.file.Position("acl"), "the registry (%s) lets manifests be deleted, but no entry grants delete to anybody", r.Path).Fix =
					advise("grant delete to somebody, or set storage: {delete: {enabled: false}}")
			}
		},
	}
}
