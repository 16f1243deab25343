// Package yamledit changes single places of a YAML file and leaves every other
// byte as it is. It knows YAML, but no schema: what a path means is the
// caller's business.
//
// Decoding a file and encoding it again loses comments, blank lines, quoting
// and indentation. This package never encodes a file. An edit is worked out
// as a few splices of the original bytes, placed by the node positions that
// go.yaml.in/yaml/v3 reports and by a small scanner for what the library does
// not report: where a node ends, and which comments and blank lines belong to
// it.
//
// # Contract
//
//   - A [Document] is immutable. Each edit returns the bytes of a new file, or
//     with [Document.Apply] a new document.
//   - Every edit checks itself: the new bytes are parsed again and the tree
//     must equal the old one with exactly the intended change, else the edit
//     fails with [ErrUnsafe]. Wrong bytes are never returned.
//   - New text looks as its neighbours do: indentation, flow or block style,
//     quoting of keys and of values, blank lines between entries, line ends.
//   - Strings are written so that yaml.v2 and yaml.v3 both read back the same
//     string; they are quoted where the plain text would mean something else.
//   - Inserting an entry and deleting it again returns the identical bytes.
//     The exceptions: a key with a null value (`users:`, `users: ~`) that was
//     filled is `users: {}` once it is emptied, and [Document.SetValue] does
//     not bring back the comments of a value that it replaced.
//   - Deleting the last entry leaves an empty collection, `{}` or `[]`, so
//     that the value does not become null. Only the top-level collection of a
//     file leaves nothing.
//
// # Which comments belong to an entry
//
// The comment lines directly above an entry, at its indentation and without a
// blank line between, belong to it; so do the comment beside it, the lines
// that continue that comment at the same column, and comment lines below it
// that are indented as deep as its own content. They go when it goes and move
// when it moves. Comments set off by a blank line never do.
//
// The comment above the first entry of a collection is ambiguous: it may
// describe the whole section. It counts as the entry's own when it names the
// key, or when most of the other entries have such comments too; otherwise it
// stays with the section.
//
// # What is refused
//
// Constructs that few people write are read, kept and skipped over, but some
// edits on them end with [ErrUnsafe]: extending `[a: b]`, whose mapping has no
// brackets, renaming a key that is an alias or has several lines, giving a
// value to `? key` without a colon, and a comment on an entry that shares its
// line with others.
//
// # Aliases
//
// An edit inside a node that aliases elsewhere refer to is refused, since it
// would change those places as well; so is one whose path leads through an
// alias or a merge key (`<<`). [Document.Lookup] follows both.
//
// # Example
//
//	doc, err := yamledit.Parse(data)
//	if err != nil {
//		return err // *SyntaxError with line and column
//	}
//	out, err := doc.InsertKey(yamledit.Path{"users"}, "bob", yamledit.Map(
//		yamledit.KV("password", yamledit.Scalar(hash)),
//		yamledit.KV("labels", yamledit.Map(
//			yamledit.KV("team", yamledit.Strings("backend")))),
//	), yamledit.Last())
//
// turns
//
//	users:
//	  "alice":
//	    password: "$2y$10$..." # on call
//
// into
//
//	users:
//	  "alice":
//	    password: "$2y$10$..." # on call
//	  "bob":
//	    password: "$2y$10$..."
//	    labels:
//	      team: ["backend"]
package yamledit
