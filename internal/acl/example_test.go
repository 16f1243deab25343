package acl_test

import (
	"fmt"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func ExamplePolicy_Explain() {
	admin, dev, team := "admin", "developer", "dev-${labels:team}/*"
	policy, err := acl.Compile([]acl.Entry{
		{Match: acl.Match{Account: &admin}, Actions: []string{"*"}, Comment: "the administrator"},
		{Match: acl.Match{Labels: []acl.LabelMatch{{Key: "role", Pattern: dev}}, Name: &team}, Actions: []string{"pull", "push"}},
	}, acl.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	decision, steps := policy.Explain(&acl.Request{
		Account: "carol",
		Type:    "repository",
		Name:    "dev-backend/api",
		Labels:  map[string][]string{"role": {"developer"}, "team": {"backend"}},
		Actions: []string{"delete", "pull"},
	})
	for _, s := range steps {
		if s.Matched {
			fmt.Printf("entry %d matches and grants %v\n", s.Index, decision.Granted)
		} else {
			fmt.Printf("entry %d: %s %q is not %q\n", s.Index, s.Field, s.Value, s.Pattern)
		}
	}
	// Output:
	// entry 0: account "carol" is not "admin"
	// entry 1 matches and grants [pull]
}
