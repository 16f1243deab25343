// Package acltest runs test cases of access rules: who must be allowed what,
// and what must be denied. The cases live beside the rules in
// conf/acl-tests.yml; a rule set that breaks one of them is not the one that
// somebody meant.
//
// # The file
//
//	cases:
//	  - who: dev                  # an account; "" or anonymous: without a login
//	    labels: {team: [backend]} # of an account that the config does not know
//	    ip: 192.0.2.7             # else the answer must be the same for every address
//	    type: repository          # the default
//	    service: registry         # the default is the registry's own
//	    accept: ["push dev-backend/api", "pull,push dev-backend/**"]
//	    deny: ["push prod/**", "* registry:catalog"]
//	    reason: developers stay out of production
//
// A line of accept and deny is actions, separated by commas, and a repository
// or a pattern of repositories: "*" is any text within a component, "**" any
// text across components. Accepted means that every action is granted, on each
// name that can exist and matches; denied that none is granted on any. A key
// that is not one of these, an action that is a slip of the pen and a name that
// no repository can have are problems of the file: a case that tests something
// else than it says would pass for ever.
//
// # Parts
//
// [Parse] reads the file, [Run] asks the engine and returns a [Result], and
// [Text], [JSON], [JUnit] and [TAP] report it.
//
//	file, problems := acltest.Parse("conf/acl-tests.yml", data)
//	result, err := acltest.Run(ctx, acltest.Target{Config: cfg, Policy: policy}, file, acltest.Options{})
//	err = result.Err() // nil when every case passes
package acltest
