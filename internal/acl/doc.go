// Package acl decides what an account may do with a resource, by an ordered list
// of entries as cesanta/docker_auth understands them.
//
// # Deciding
//
// Entries are tried in order. The first one whose match holds decides, alone:
//
//   - actions exactly ["*"] grant all that was asked;
//   - any other list grants what was asked and is listed, literally ("*" beside
//     another action is no wildcard);
//   - an empty list grants nothing.
//
// When no entry matches, nothing is granted.
//
// # Match
//
//	Match    = { Account | Type | Name | Service | IP | Labels }   absent = anything
//	Pattern  = Regexp | Glob
//	Regexp   = "/" RE2 "/"          longer than two characters; not anchored
//	Glob     = as path.Match        "*" and "?" do not cross "/"; [a-c] [^a] \x
//	Text     = part of a pattern | Variable | Capture | Label
//	Variable = "${account}" | "${type}" | "${name}" | "${service}"
//	Capture  = "${" ( "account" | "type" | "name" | "service" ) ":" N "}"
//	Label    = "${labels:" KEY "}"  in account, type, name and service only
//	IP       = address | CIDR       IPv4 or IPv6; ::ffff:1.2.3.4 is 1.2.3.4
//
// Placeholders are replaced in one pass from left to right over the text as it is
// written; what was put in is not looked at again. Whether the result is a regexp
// or a glob is seen only then.
//
//   - A variable becomes the request's value with regexp metacharacters escaped by
//     a backslash, which a glob reads as a literal too.
//   - A capture becomes what group N of that field's own regexp, as written in the
//     same entry, finds in the request's value. It is not escaped. It stays as
//     written when the field is absent, is no regexp, does not match or has no such
//     group. Captures are found by \$\{(.+?):(\d+)\} in the four fields; so a "${" that
//     stands before a capture in the same field swallows it ("${account}/${name:1}"
//     holds no capture). A label pattern knows the captures of the four fields.
//   - A label becomes each value that the user has for KEY, not escaped. A field is
//     first tried with its labels as written, then with every combination of values;
//     the same KEY has the same value everywhere in the field. A KEY that the user
//     does not have stays as written; one without values leaves no combination. A
//     KEY that holds "}" or "${" is never replaced ([Policy.CheckLabels] tells).
//
// Labels: {KEY: PATTERN} holds when some value of the user's KEY matches PATTERN,
// for every KEY listed. IP never holds for a request without an address.
//
// [Options.LiteralLabels] escapes labels and captures like variables, and no value
// can make a regexp out of a glob.
//
// # Where this package is stricter than docker_auth
//
// A glob or a regexp with bad syntax, a bad address, and missing actions are errors of
// [Compile]. A pattern that a substituted value breaks neither holds nor fails: the
// field is undecided, unless another combination matches; the entry is undecided,
// unless another field fails for certain; and the first undecided entry that comes
// before any match ends the walk with nothing granted and [Decision].Err set. So a
// broken deny never lets a later entry grant. The same goes for a field whose labels
// have more than [MaxCombinations] combinations that can't be told apart without
// trying each, and for a regexp that values blow up beyond reason.
//
// # Example
//
//	account: /^(.+)@corp$/   name: "home/${account:1}/*"   actions: ["*"]
//	labels: {team: "*"}      name: "team-${labels:team}/*" actions: [pull, push]
//	account: ""              name: "public/*"              actions: [pull]
//
// bob@corp may do anything below home/bob, a user with team=web may pull and push
// team-web/api but not team-web/a/b, and the anonymous account may pull public/x.
//
// # Cost
//
// [Policy.Decide] allocates nothing in the steady state. An index by literal account,
// by literal prefix of the name (labels and variables followed by their values) and by
// literal label value leaves out entries that can't match; [Policy.Explain] walks all
// entries with the same per-entry matcher. Patterns with placeholders are matched in
// place by a small automaton in which a placeholder is a step over any of its values,
// so combinations of values need no product; only values that are themselves pattern
// syntax are substituted as text and compiled, through a bounded cache.
package acl
