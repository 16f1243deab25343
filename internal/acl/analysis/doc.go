// Package analysis tells what a policy allows over all names that can exist,
// not only over the requests that somebody thought of trying.
//
// # Questions
//
//   - [Analysis.Reachable]: does some request get to each entry, and which
//     earlier entries together keep all of them away?
//   - [Analysis.WhoCan]: who may do an action on the names of a pattern?
//   - [Analysis.Effective]: what may one account do?
//   - [Analysis.AnonymousExceeds]: what may the anonymous account do that a
//     logged-in one may not?
//   - [Analysis.Check]: is an action granted on all names of a pattern, or on none?
//   - [Diff]: who gains and who loses what between two policies?
//   - [Analysis.Matrix]: which names do the rules tell apart, and who may do
//     what with each kind?
//
// # Requests that count
//
// Answers hold for all requests made of: an account of [Universe]; a type,
// which is repository, registry or a type that the policy writes; a name of at
// most 255 characters, for repository one of the OCI grammar, for registry
// "catalog", for other types any printable one; a service that is known or
// that the policy tells apart; an address of each kind that the policy tells
// apart, or none.
//
// With [Universe].External there are also accounts that live elsewhere, of
// which neither name nor labels are known. They are represented by examples
// made from the patterns of the policy, one for each way to get to an entry;
// an answer about one says under which condition it holds. Their labels are
// taken to be plain text, never pattern syntax.
//
// # How
//
// Patterns are regular languages. Each becomes a small deterministic automaton
// (package automata), with variables and labels filled in for each account.
// Whether an entry is reachable for an account is then a loop: search the
// shortest name of the entry that no known earlier entry takes; ask
// [acl.Policy.Decide] which entry decides it; if it is the one in question
// that is the witness, else the other one is from now on known too. When no
// name is left, the entries met are the proof. Accounts for which the patterns
// come out the same share one search.
//
// # Witnesses
//
// Every claim comes with a request that [acl.Policy.Decide] confirmed just
// before it was returned. A question that can't be answered exactly within
// bounds is reported as not decided, with the entry and the reason; nothing is
// guessed. Claims that something does not exist ("unreachable", "denied on all
// names") are proofs over the automata.
//
// # Example
//
//	entry 0   {labels: {team: "*"}, name: "team-${labels:team}/*"}  [pull, push]
//	entry 1   {account: "bob", name: "team-a/x"}                    [pull]
//
// When bob has team=a, entry 1 is unreachable: entry 0 covers it. Without a
// label it is reachable, and the witness is bob with team-a/x.
//
// An Analysis keeps what it has worked out and is not safe for concurrent use.
package analysis
