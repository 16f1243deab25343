package yamledit

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// user is a value as `user add` would write it.
func user(labels ...string) Value {
	pairs := []Pair{KV("password", Scalar("$2y$10$abc"))}
	if len(labels) > 0 {
		pairs = append(pairs, KV("labels", Map(KV("team", Strings(labels...)))))
	}
	return Map(pairs...)
}

// aclEntry is a value as `acl add` would write it.
func aclEntry(account string, actions ...string) Value {
	return Map(KV("match", Map(KV("account", Scalar(account)))), KV("actions", Strings(actions...)))
}

// editCase is one before/after pair. The first line break of both texts is
// dropped, so that they can be written as blocks.
type editCase struct {
	name   string
	before string
	edits  []Edit
	after  string
}

func runEditCases(t *testing.T, cases []editCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before, after := strings.TrimPrefix(tt.before, "\n"), strings.TrimPrefix(tt.after, "\n")
			d, err := Parse([]byte(before))
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Apply(tt.edits...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(after, string(got.Bytes())); diff != "" {
				t.Errorf("edited file differs (-want +got):\n%s", diff)
			}
			if string(d.Bytes()) != before {
				t.Error("the edit changed the document it was made on")
			}
		})
	}
}

func TestInsertKey(t *testing.T) {
	t.Parallel()
	runEditCases(t, []editCase{
		{"double quoted keys and values", `
users:
  "alice":
    password: "x" # testing
  "bob":
    password: "y"
`, []Edit{InsertKey(Path{"users"}, "carol", user(), Last())}, `
users:
  "alice":
    password: "x" # testing
  "bob":
    password: "y"
  "carol":
    password: "$2y$10$abc"
`},
		{"single quotes, four columns", `
users:
    'alice':
        password: 'x'
acl: []
`, []Edit{InsertKey(Path{"users"}, "it's", user("a", "b"), Last())}, `
users:
    'alice':
        password: 'x'
    'it''s':
        password: '$2y$10$abc'
        labels:
            team: ['a', 'b']
acl: []
`},
		{"plain keys and values", `
users:
  alice:
    password: x
    labels:
      team:
      - a
`, []Edit{InsertKey(Path{"users"}, "bob", user("a"), Last())}, `
users:
  alice:
    password: x
    labels:
      team:
      - a
  bob:
    password: $2y$10$abc
    labels:
      team:
      - a
`},
		{"a plain neighbour does not make null a null", `
users:
  alice:
    password: x
`, []Edit{InsertKey(Path{"users"}, "null", Map(KV("password", Scalar("yes"))), Last())}, `
users:
  alice:
    password: x
  "null":
    password: "yes"
`},
		{"flow users", `
users: {alice: {password: "x"}, bob: {password: "y"}}
`, []Edit{InsertKey(Path{"users"}, "carol", user("t"), Last())}, `
users: {alice: {password: "x"}, bob: {password: "y"}, carol: {password: "$2y$10$abc", labels: {team: ["t"]}}}
`},
		{"padded flow", `
users: { alice: { password: "x" } }
`, []Edit{InsertKey(Path{"users"}, "carol", user("t"), First())}, `
users: { carol: { password: "$2y$10$abc", labels: { team: ["t"] } }, alice: { password: "x" } }
`},
		{"JSON", `{"users":{"alice":{"password":"x"}},"acl":[]}
`, []Edit{InsertKey(Path{"users"}, "bob", user("t"), Last())},
			`{"users":{"alice":{"password":"x"},"bob":{"password":"$2y$10$abc","labels":{"team":["t"]}}},"acl":[]}
`},
		{"JSON over lines", `
{
  "users": {
    "alice": {
      "password": "x"
    }
  }
}
`, []Edit{InsertKey(Path{"users"}, "bob", user(), Last())}, `
{
  "users": {
    "alice": {
      "password": "x"
    },
    "bob": {"password": "$2y$10$abc"}
  }
}
`},
		{"flow over lines with trailing commas and comments", `
users: {
  alice: {password: "x"}, # on call
  # bob left
  carol: {password: "z"}, # last
  # end
}
`, []Edit{InsertKey(Path{"users"}, "dave", user(), Last())}, `
users: {
  alice: {password: "x"}, # on call
  # bob left
  carol: {password: "z"}, # last
  dave: {password: "$2y$10$abc"},
  # end
}
`},
		{"flow over lines without trailing comma", `
users: {
  alice: {password: "x"}, # on call
  carol: {password: "z"} # last
}
`, []Edit{InsertKey(Path{"users"}, "dave", user(), Last())}, `
users: {
  alice: {password: "x"}, # on call
  carol: {password: "z"}, # last
  dave: {password: "$2y$10$abc"}
}
`},
		{"users: {}", `
users: {} # nobody yet
acl: []
`, []Edit{InsertKey(Path{"users"}, "bob", user("t"), Last())}, `
users: # nobody yet
  bob:
    password: $2y$10$abc
    labels:
      team: [t]
acl: []
`},
		{"users: { } with a blank inside stays in its brackets", `
users: { }
`, []Edit{InsertKey(Path{"users"}, "bob", user(), Last())}, `
users: { bob: {password: $2y$10$abc}  }
`},
		{"users: with nothing behind", `
server:
    addr: ":5001"
users:
acl: []
`, []Edit{InsertKey(Path{"users"}, "bob", user(), Last())}, `
server:
    addr: ":5001"
users:
    bob:
        password: "$2y$10$abc"
acl: []
`},
		{"users: with a comment and commented-out users", `
users: # none yet
  # alice:
  #   password: x
acl: []
`, []Edit{InsertKey(Path{"users"}, "bob", user(), Last())}, `
users: # none yet
  bob:
    password: $2y$10$abc
  # alice:
  #   password: x
acl: []
`},
		{"users: ~", `
users: ~ # none
acl: []
`, []Edit{InsertKey(Path{"users"}, "bob", user(), Last())}, `
users: # none
  bob:
    password: $2y$10$abc
acl: []
`},
		{"no users at all, blank lines between sections", `
server:
  addr: ":5001"

token:
  issuer: "x"

# the rules
acl: []
`, []Edit{InsertKey(Path{}, "users", Map(KV("bob", user())), Order("server", "token", "users", "acl"))}, `
server:
  addr: ":5001"

token:
  issuer: "x"

users:
  bob:
    password: "$2y$10$abc"

# the rules
acl: []
`},
		{"first of all, before its comment where that names the key", `
users:
  # alice is on call
  alice: {}
  bob: {}
`, []Edit{InsertKey(Path{"users"}, "zoe", Map(), First())}, `
users:
  zoe: {}
  # alice is on call
  alice: {}
  bob: {}
`},
		{"first of all, below the section's comment", `
users:
  # Passwords are bcrypt hashes.
  alice: {}
  bob: {}
`, []Edit{InsertKey(Path{"users"}, "zoe", Map(), First())}, `
users:
  # Passwords are bcrypt hashes.
  zoe: {}
  alice: {}
  bob: {}
`},
		{"blank lines between users", `
users:
  alice:
    password: x

  bob:
    password: x

acl: []
`, []Edit{InsertKey(Path{"users"}, "carol", user(), Last())}, `
users:
  alice:
    password: x

  bob:
    password: x

  carol:
    password: $2y$10$abc

acl: []
`},
		{"in the middle", `
users:
  alice: {password: x}
  # bob's comment
  bob: {password: x}
`, []Edit{InsertKey(Path{"users"}, "ann", user(), After("alice"))}, `
users:
  alice: {password: x}
  ann: {password: $2y$10$abc}
  # bob's comment
  bob: {password: x}
`},
		{"behind commented-out lines of the entry before", `
users:
  alice:
    password: x
    # labels:
    #   team: [a]
  # the end
acl: []
`, []Edit{InsertKey(Path{"users"}, "bob", user(), Last())}, `
users:
  alice:
    password: x
    # labels:
    #   team: [a]
  bob:
    password: $2y$10$abc
  # the end
acl: []
`},
		{"behind the continuation of a comment", `
users:
  alice: {password: x} # a comment
                       # of two lines
  bob: {password: x}
`, []Edit{InsertKey(Path{"users"}, "ann", user(), After("alice"))}, `
users:
  alice: {password: x} # a comment
                       # of two lines
  ann: {password: $2y$10$abc}
  bob: {password: x}
`},
		{"no final newline", "users:\n  alice: {}", []Edit{InsertKey(Path{"users"}, "bob", Map(), Last())}, "users:\n  alice: {}\n  bob: {}"},
		{"CRLF", "users:\r\n  alice:\r\n    password: x\r\n", []Edit{InsertKey(Path{"users"}, "bob", user(), Last())},
			"users:\r\n  alice:\r\n    password: x\r\n  bob:\r\n    password: $2y$10$abc\r\n"},
		{"byte order mark", "\uFEFFusers:\n  alice: {}\n", []Edit{InsertKey(Path{"users"}, "bob", Map(), First())},
			"\uFEFFusers:\n  bob: {}\n  alice: {}\n"},
		{"non-ASCII before it", "größe: 1 # ünïcode\nusers: {\"Zoë\": {}, 'Łukasz': {}}\n", []Edit{InsertKey(Path{"users"}, "Ödön", Map(), Last())},
			"größe: 1 # ünïcode\nusers: {\"Zoë\": {}, 'Łukasz': {}, 'Ödön': {}}\n"},
		{"tabs in comments", "users:\n  alice: {}\t# tab\t\n  #\ttab\n  bob: {}\t# x\n", []Edit{InsertKey(Path{"users"}, "carol", Map(), Last())},
			"users:\n  alice: {}\t# tab\t\n  #\ttab\n  bob: {}\t# x\n  carol: {}\n"},
		{"document markers", "%YAML 1.1\n--- # start\nusers:\n  alice: {}\n...\n", []Edit{InsertKey(Path{"users"}, "bob", Map(), Last())},
			"%YAML 1.1\n--- # start\nusers:\n  alice: {}\n  bob: {}\n...\n"},
		{"empty file", "", []Edit{InsertKey(Path{}, "users", Map(KV("bob", Map())), Last())}, "users:\n  bob: {}\n"},
		{"marker only", "---\n", []Edit{InsertKey(Path{}, "users", Map(KV("bob", Map())), Last())}, "---\nusers:\n  bob: {}\n"},
		{"comments only", "# nothing\n# here\n", []Edit{InsertKey(Path{}, "users", Map(), Last())}, "# nothing\n# here\n\nusers: {}\n"},
		{"comments only, no final newline", "# nothing", []Edit{InsertKey(Path{}, "users", Map(), Last())}, "# nothing\n\nusers: {}"},
		{"below a block scalar", `
users:
  alice:
    note: |
      # not a comment

      text

  bob:
    note: >-
      folded

      text
`, []Edit{InsertKey(Path{"users", "alice"}, "password", Scalar("x"), Last()), InsertKey(Path{"users", "bob"}, "password", Scalar("x"), Last())}, `
users:
  alice:
    note: |
      # not a comment

      text
    password: x

  bob:
    note: >-
      folded

      text
    password: x
`},
		{"below a kept block scalar", `
users:
  alice:
    note: |+
      text


  bob: {}
`, []Edit{InsertKey(Path{"users", "alice"}, "password", Scalar("x"), Last())}, `
users:
  alice:
    note: |+
      text


    password: x
  bob: {}
`},
		{"below multi-line scalars", `
a:
  plain: one
    two

    three
b:
  quoted: "one
    # two \"
  three"
c:
  single: 'one

    it''s'
`, []Edit{InsertKey(Path{"a"}, "k", Int(1), Last()), InsertKey(Path{"b"}, "k", Bool(true), Last()), InsertKey(Path{"c"}, "k", Null(), Last())}, `
a:
  plain: one
    two

    three
  k: 1
b:
  quoted: "one
    # two \"
  three"
  k: true
c:
  single: 'one

    it''s'
  k: null
`},
		{"explicit keys beside it", `
users:
  ? alice
  : password: x
  ? bob
`, []Edit{InsertKey(Path{"users"}, "carol", user(), Last())}, `
users:
  ? alice
  : password: x
  ? bob
  carol:
    password: $2y$10$abc
`},
		{"behind a merge key, whatever was asked for", `
base: &base {password: x, note: y}
users:
  alice:
    <<: *base
    labels: {}
`, []Edit{InsertKey(Path{"users", "alice"}, "password", Scalar("z"), First())}, `
base: &base {password: x, note: y}
users:
  alice:
    <<: *base
    password: z
    labels: {}
`},
		{"item of a compact mapping", `
acl:
- match: {account: a}
  actions: [pull]
- match: {account: b}
  actions: [pull]
`, []Edit{InsertKey(Path{"acl", 0}, "comment", Scalar("first"), First()), InsertKey(Path{"acl", 1}, "comment", Scalar("last"), Last())}, `
acl:
- comment: first
  match: {account: a}
  actions: [pull]
- match: {account: b}
  actions: [pull]
  comment: last
`},
		{"empty item", `
acl:
  - {}
  -
  - # why
`, []Edit{InsertKey(Path{"acl", 0}, "a", Scalar("b"), Last()), InsertKey(Path{"acl", 1}, "a", Scalar("b"), Last()), InsertKey(Path{"acl", 2}, "a", Scalar("b"), Last())}, `
acl:
  - a: b
  - a: b
  - {a: b} # why
`},
		{"empty labels as others write theirs", `
users:
  alice:
    labels: { team: ["a"] }
  bob:
    labels: {}
`, []Edit{InsertKey(Path{"users", "bob"}, "team", Value{}, Last())}[:0], `
users:
  alice:
    labels: { team: ["a"] }
  bob:
    labels: {}
`},
		{"empty labels are filled as the cousins do", `
users:
  alice:
    labels: { team: ["a"] }
  bob:
    labels: {}
`, []Edit{InsertKey(Path{"users", "bob", "labels"}, "team", Strings("b"), Last())}, `
users:
  alice:
    labels: { team: ["a"] }
  bob:
    labels: { team: ["b"] }
`},
		{"labels where the cousins have them in a block", `
users:
  alice:
    password: x
    labels:
        team:
            - a
  bob:
    password: x
`, []Edit{InsertKey(Path{"users", "bob"}, "labels", Map(KV("team", Strings("b"))), Last())}, `
users:
  alice:
    password: x
    labels:
        team:
            - a
  bob:
    password: x
    labels:
        team:
            - b
`},
		{"anchored but unused is no obstacle", `
users: &u
  alice: &a
    password: x
`, []Edit{InsertKey(Path{"users", "alice"}, "note", Scalar("yy"), Last()), InsertKey(Path{"users"}, "bob", user(), Last())}, `
users: &u
  alice: &a
    password: x
    note: yy
  bob:
    password: $2y$10$abc
`},
		{"anchored elsewhere, tagged", `
base: &base
  x: 1
users: !!map
  alice: *base
`, []Edit{InsertKey(Path{"users"}, "bob", Map(), Last())}, `
base: &base
  x: 1
users: !!map
  alice: *base
  bob: {}
`},
	})
}

func TestInsertItem(t *testing.T) {
	t.Parallel()
	runEditCases(t, []editCase{
		{"not indented below the key", `
acl:
- match: {account: a}
  actions: ["*"]
users: {}
`, []Edit{InsertItem(Path{"acl"}, -1, aclEntry("b", "pull"))}, `
acl:
- match: {account: a}
  actions: ["*"]
- match: {account: b}
  actions: ["pull"]
users: {}
`},
		{"wide dashes", `
acl:
  -   match:
          account: a
      actions:
          -   pull
`, []Edit{InsertItem(Path{"acl"}, 0, aclEntry("b", "pull"))}, `
acl:
  -   match:
          account: b
      actions:
          -   pull
  -   match:
          account: a
      actions:
          -   pull
`},
		{"dashes on lines of their own", `
acl:
  -
    match: {account: a}
    actions: [pull]
`, []Edit{InsertItem(Path{"acl"}, 1, aclEntry("b", "pull"))}, `
acl:
  -
    match: {account: a}
    actions: [pull]
  - match: {account: b}
    actions: [pull]
`},
		{"flow items", `
labels: {team: [a,b], role: [ x ]}
`, []Edit{InsertItem(Path{"labels", "team"}, -1, Scalar("c")), InsertItem(Path{"labels", "role"}, 0, Scalar("yy")), InsertItem(Path{"labels", "team"}, 1, Scalar("no"))}, `
labels: {team: [a,"no",b,c], role: [ yy, x ]}
`},
		{"flow with a trailing comma", `
team: [a, b, ]
`, []Edit{InsertItem(Path{"team"}, -1, Scalar("c"))}, `
team: [a, b, c, ]
`},
		{"flow over lines, two a line", `
team: [a, b,
       c, d]
`, []Edit{InsertItem(Path{"team"}, 2, Scalar("x")), InsertItem(Path{"team"}, -1, Scalar("yy"))}, `
team: [a, b, x,
       c, d, yy]
`},
		{"block scalars", `
team:
  - a # first

  - b
`, []Edit{InsertItem(Path{"team"}, -1, Scalar("c"))}, `
team:
  - a # first

  - b

  - c
`},
		{"acl: []", `
users:
  a: {}
acl: []
`, []Edit{InsertItem(Path{"acl"}, -1, aclEntry("b", "pull"))}, `
users:
  a: {}
acl:
  - match:
      account: b
    actions: [pull]
`},
		{"acl: null, indentation seen elsewhere", `
users:
  a:
    team:
    - x
acl:
`, []Edit{InsertItem(Path{"acl"}, 0, aclEntry("b", "pull"))}, `
users:
  a:
    team:
    - x
acl:
- match:
    account: b
  actions:
  - pull
`},
		{"below the rule about the order", `
acl:
  # The first match wins.
  - match: {account: a}
  - match: {account: b}
`, []Edit{InsertItem(Path{"acl"}, 0, Map(KV("match", Map(KV("account", Scalar("x/*"))))))}, `
acl:
  # The first match wins.
  - match: {account: x/*}
  - match: {account: a}
  - match: {account: b}
`},
		{"every entry has its comment", `
acl:
  # admins
  - match: {account: a}
  # all others
  - match: {account: b}
`, []Edit{InsertItem(Path{"acl"}, 0, Map(KV("match", Map())))}, `
acl:
  - match: {}
  # admins
  - match: {account: a}
  # all others
  - match: {account: b}
`},
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	runEditCases(t, []editCase{
		{"with its comments, not the next one's", `
users:
  alice: {}
  # bob's
  # comment
  bob: # beside
    password: x # inside
    # below
  # carol's
  carol: {}
`, []Edit{Delete(Path{"users", "bob"})}, `
users:
  alice: {}
  # carol's
  carol: {}
`},
		{"not a section's comment", `
users:
  alice: {}

  # --- team b ---

  bob: {}

  carol: {}
`, []Edit{Delete(Path{"users", "bob"})}, `
users:
  alice: {}

  # --- team b ---

  carol: {}
`},
		{"the last of a group", `
users:
  alice: {}
  bob: {}

  carol: {}
  dave: {}
`, []Edit{Delete(Path{"users", "bob"}), Delete(Path{"users", "carol"})}, `
users:
  alice: {}

  dave: {}
`},
		{"the only one leaves {}", `
users: # all
  # the boss
  bob:
    password: x

acl: []
`, []Edit{Delete(Path{"users", "bob"})}, `
users: {} # all
  # the boss

acl: []
`},
		{"the only one, its comment names it", `
users:
  # bob is the boss
  bob:
    password: x
acl: []
`, []Edit{Delete(Path{"users", "bob"})}, `
users: {}
acl: []
`},
		{"the only item leaves []", `
acl:
- a: b # x
users: {}
`, []Edit{Delete(Path{"acl", 0})}, `
acl: []
users: {}
`},
		{"the only one below an anchor", `
users: &u # all
  bob: {}
acl: !!seq
  - x
`, []Edit{Delete(Path{"users", "bob"}), Delete(Path{"acl", 0})}, `
users: &u {} # all
acl: !!seq []
`},
		{"emptied and filled again", `
users:
  bob:
    password: x
acl: []
`, []Edit{Delete(Path{"users", "bob"}), InsertKey(Path{"users"}, "eve", user(), Last())}, `
users:
  eve:
    password: $2y$10$abc
acl: []
`},
		{"the last key of the file", `
# header

users: {}
`, []Edit{Delete(Path{"users"})}, `
# header
`},
		{"first key of an item", `
acl:
  - match: {account: a} # who
    # what
    actions: [pull]
`, []Edit{Delete(Path{"acl", 0, "match"})}, `
acl:
  - # what
    actions: [pull]
`},
		{"only key of an item", `
acl:
  - match: {account: a} # who
  - match:
      account: b
`, []Edit{Delete(Path{"acl", 0, "match"}), Delete(Path{"acl", 1, "match", "account"})}, `
acl:
  - {} # who
  - match: {}
`},
		{"flow", `
a: [x, y, z]
b: {k: 1, l: 2, m: 3,}
c: [ x ]
d: [x,
    y]
`, []Edit{Delete(Path{"a", 0}), Delete(Path{"a", 1}), Delete(Path{"b", "l"}), Delete(Path{"b", "m"}), Delete(Path{"c", 0}), Delete(Path{"d", 1})}, `
a: [y]
b: {k: 1,}
c: []
d: [x]
`},
		{"flow over lines", `
a: [
  x, # one
  # about y
  y, # two
  z # three
]
`, []Edit{Delete(Path{"a", 1}), Delete(Path{"a", 1})}, `
a: [
  x # one
]
`},
		{"flow over lines, emptied", `
a: [
  x, # one
]
`, []Edit{Delete(Path{"a", 0})}, `
a: []
`},
		{"flow, a neighbour's comment stays", `
a: [x, # one
    y,
    z]
b: [x, # one
    y]
c: [x, # one
    y]
`, []Edit{Delete(Path{"a", 1}), Delete(Path{"b", 1}), Delete(Path{"c", 0})}, `
a: [x, # one
    z]
b: [x # one
    ]
c: [# one
    y]
`},
		{"no final newline", "users:\n  alice: {}\n  bob: {}", []Edit{Delete(Path{"users", "bob"})}, "users:\n  alice: {}"},
		{"CRLF", "users:\r\n  alice: {}\r\n  bob: {}\r\n", []Edit{Delete(Path{"users", "alice"})}, "users:\r\n  bob: {}\r\n"},
		{"CRLF, the only one", "users:\r\n  alice: {}\r\nacl: []\r\n", []Edit{Delete(Path{"users", "alice"})}, "users: {}\r\nacl: []\r\n"},
		{"alias as a value", `
base: &b {x: 1}
users:
  alice: *b
  bob: {}
`, []Edit{Delete(Path{"users", "alice"})}, `
base: &b {x: 1}
users:
  bob: {}
`},
		{"anchor and its aliases together", `
users:
  alice: {a: &x [1], b: *x}
  bob: {}
`, []Edit{Delete(Path{"users", "alice"})}, `
users:
  bob: {}
`},
		{"explicit key", `
? a
: 1
? b
: - x
c: 2
`, []Edit{Delete(Path{"b"})}, `
? a
: 1
c: 2
`},
		{"a null key goes by the empty name", `
users:
  ~: {}
  a: {}
`, []Edit{Delete(Path{"users", ""})}, `
users:
  a: {}
`},
		{"sloppy comment below a one-line entry stays", `
users:
  alice: {}
      # about bob
  bob: {}
`, []Edit{Delete(Path{"users", "alice"})}, `
users:
      # about bob
  bob: {}
`},
	})
}

func TestSetValue(t *testing.T) {
	t.Parallel()
	runEditCases(t, []editCase{
		{"keeps quotes and the comment beside", `
a: "x" # one
b: 'x'   # two
c: x # three
d: ! "x"
`, []Edit{SetValue(Path{"a"}, Scalar("new")), SetValue(Path{"b"}, Scalar("new")), SetValue(Path{"c"}, Scalar("new")), SetValue(Path{"d"}, Scalar("new"))}, `
a: "new" # one
b: 'new'   # two
c: new # three
d: "new"
`},
		{"null of all kinds", `
a: # one
b: ~ # two
c: null
d:
`, []Edit{SetValue(Path{"a"}, Scalar("new")), SetValue(Path{"b"}, Scalar("new")), SetValue(Path{"c"}, Int(5)), SetValue(Path{"d"}, Map(KV("k", Scalar("v"))))}, `
a: new # one
b: new # two
c: 5
d:
  k: v
`},
		{"block scalars and multi-line scalars", `
a: |
  x
  y
b: >-
  x

c: x
  y
d: "x
  y" # d
`, []Edit{SetValue(Path{"a"}, Scalar("new")), SetValue(Path{"b"}, Scalar("new")), SetValue(Path{"c"}, Scalar("new")), SetValue(Path{"d"}, Scalar("new"))}, `
a: new
b: new

c: new
d: "new" # d
`},
		{"between block and inline", `
a: # one
  k: v
  l: w # gone
b: {k: v} # two
c:
- x
d: x # four
`, []Edit{SetValue(Path{"a"}, Scalar("new")), SetValue(Path{"b"}, Scalar("new")), SetValue(Path{"c"}, Strings()), SetValue(Path{"d"}, Map(KV("k", Scalar("v"))).Block())}, `
a: new # one
b: new # two
c: []
d: # four
  k: v
`},
		{"a sequence keeps its shape", `
a: [x, y] # one
b:
- x
- y # gone
c:
    - x
`, []Edit{SetValue(Path{"a"}, Strings("new", "m")), SetValue(Path{"b"}, Strings("new", "m")), SetValue(Path{"c"}, Strings("new", "m"))}, `
a: [new, m] # one
b:
- new
- m
c:
    - new
    - m
`},
		{"items that stay keep their comments", `
a:
  - x # one
  # about y
  - y # two

  - z # three
b: [
  x, # one
  y, # two
]
`, []Edit{SetValue(Path{"a"}, Strings("x", "new", "z", "w")), SetValue(Path{"b"}, Strings("w", "x"))}, `
a:
  - x # one
  - new

  - z # three

  - w
b: [
  w,
  x, # one
]
`},
		{"in flow", `
{a: , b: x, "c": , d: [x, y], e}
`, []Edit{SetValue(Path{"a"}, Scalar("new")), SetValue(Path{"b"}, Scalar("new, m")), SetValue(Path{"c"}, Scalar("new")), SetValue(Path{"d", 1}, Map(KV("k", Scalar("v")))), SetValue(Path{"e"}, Int(1))}, `
{a: new, b: "new, m", "c": "new", d: [x, {k: v}], e: 1}
`},
		{"items", `
- x
- k: v
  l: w
-
- [x]
`, []Edit{SetValue(Path{0}, Map(KV("k", Scalar("v")), KV("l", Scalar("w")))), SetValue(Path{1}, Scalar("new")), SetValue(Path{2}, Scalar("new")), SetValue(Path{3}, Strings("new"))}, `
- k: v
  l: w
- new
- new
- [new]
`},
		{"an alias gives way", `
a: &x 1
b: *x # two
`, []Edit{SetValue(Path{"b"}, Scalar("new"))}, `
a: &x 1
b: new # two
`},
		{"the same value changes nothing", "a:   'x'\n", []Edit{SetValue(Path{"a"}, Scalar("x"))}, "a:   'x'\n"},
		{"no final newline", "a:\n  k: v", []Edit{SetValue(Path{"a"}, Map(KV("new", Scalar("m"))))}, "a:\n  new: m"},
	})
}

func TestRenameKey(t *testing.T) {
	t.Parallel()
	runEditCases(t, []editCase{
		{"keeps the quotes", `
"a": 1
'b': 2
c: 3
{x: 1}: 4
`, []Edit{RenameKey(Path{"a"}, "new"), RenameKey(Path{"b"}, "it's"), RenameKey(Path{"c"}, "true")}, `
"new": 1
'it''s': 2
'true': 3
{x: 1}: 4
`},
		{"flow, explicit, with a value below", `
a: {k: 1, 'l': 2}
? b
: - x
c:
  d: e
`, []Edit{RenameKey(Path{"a", "k"}, "new,m"), RenameKey(Path{"a", "l"}, "new"), RenameKey(Path{"b"}, "new"), RenameKey(Path{"c"}, "o")}, `
a: {'new,m': 1, 'new': 2}
? new
: - x
o:
  d: e
`},
	})
}

func TestMoveItem(t *testing.T) {
	t.Parallel()
	runEditCases(t, []editCase{
		{"with its comments; blank lines stay", `
acl:
  # about aaa
  - aaa # beside a

  # section

  - b
  # about c
  - c
`, []Edit{MoveItem(Path{"acl"}, 2, 0)}, `
acl:
  # about c
  - c

  # section

  # about aaa
  - aaa # beside a
  - b
`},
		{"to the end, no final newline", "- a:\n    b\n- c\n- d # x", []Edit{MoveItem(Path{}, 0, 2)}, "- c\n- d # x\n- a:\n    b"},
		{"flow", "[a, {b: c}, d]\n", []Edit{MoveItem(Path{}, 2, 0)}, "[d, a, {b: c}]\n"},
		{"flow over lines", `
[
  a, # one
  # about b
  b, # two
  c # three
]
`, []Edit{MoveItem(Path{}, 1, 2)}, `
[
  a, # one
  c, # three
  # about b
  b # two
]
`},
		{"nested sequences", `
- - a
  - b
  - c
`, []Edit{MoveItem(Path{0}, 2, 0)}, `
- - c
  - a
  - b
`},
	})
}

func TestSetComment(t *testing.T) {
	t.Parallel()
	runEditCases(t, []editCase{
		{"above and beside", `
users:
  alice:
    password: x
  # old
  bob: {} # old
acl:
  - match: {}
    actions: []
`, []Edit{
			SetComment(Path{"users", "alice"}, Above, "one\n\ntwo"),
			SetComment(Path{"users", "alice"}, Beside, "on call"),
			SetComment(Path{"users", "alice", "password"}, Beside, "hash"),
			SetComment(Path{"users", "bob"}, Beside, "new"),
			SetComment(Path{"acl", 0}, Beside, "rule"),
		}, `
users:
  # one
  #
  # two
  alice: # on call
    password: x # hash
  # old
  bob: {} # new
acl:
  - match: {} # rule
    actions: []
`},
		{"removed", `
a: 1
# old
# lines
b: 2   # old
`, []Edit{SetComment(Path{"b"}, Above, ""), SetComment(Path{"b"}, Beside, "")}, `
a: 1
b: 2
`},
		{"block scalar", `
a: |-
  x
`, []Edit{SetComment(Path{"a"}, Beside, "x")}, `
a: |- # x
  x
`},
		{"flow over lines", `
a: [
  x, # old
  y
]
`, []Edit{SetComment(Path{"a", 0}, Beside, "new"), SetComment(Path{"a", 1}, Beside, "y"), SetComment(Path{"a", 1}, Above, "z")}, `
a: [
  x, # new
  # z
  y # y
]
`},
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const aliased = `
base: &base
  password: x
  labels: &l {team: [a]}
users:
  alice: *base
  bob: {<<: *base, note: y}
  carol: {labels: *l}
  carol: {}
list: [a: b]
`
	tests := []struct {
		name string
		file string
		edit Edit
		want error
		line int
	}{
		{"inside an aliased node", aliased, SetValue(Path{"base", "password"}, Scalar("n")), ErrShared, 6},
		{"deep inside an aliased node", aliased, InsertItem(Path{"base", "labels", "team"}, 0, Scalar("n")), ErrShared, 6},
		{"insert into an aliased node", aliased, InsertKey(Path{"base"}, "n", Null(), Last()), ErrShared, 6},
		{"through an alias", aliased, SetValue(Path{"users", "alice", "password"}, Scalar("n")), ErrShared, 6},
		{"insert into an alias", aliased, InsertKey(Path{"users", "alice"}, "n", Null(), Last()), ErrShared, 6},
		{"a merged key", aliased, SetValue(Path{"users", "bob", "password"}, Scalar("n")), ErrShared, 3},
		{"an anchor in use", aliased, Delete(Path{"base"}), ErrShared, 6},
		{"replace an anchor in use", aliased, SetValue(Path{"base"}, Scalar("n")), ErrShared, 6},
		{"an ambiguous key", aliased, Delete(Path{"users", "carol"}), ErrAmbiguous, 9},
		{"a key that is there", aliased, InsertKey(Path{"users"}, "bob", Null(), Last()), ErrExists, 7},
		{"a key that is there twice", aliased, InsertKey(Path{"users"}, "carol", Null(), Last()), ErrExists, 8},
		{"rename to a key that is there", aliased, RenameKey(Path{"users", "bob"}, "alice"), ErrExists, 6},
		{"no such key", aliased, Delete(Path{"users", "zoe"}), ErrNotFound, 0},
		{"no such item", aliased, Delete(Path{"list", 7}), ErrNotFound, 0},
		{"no such index", aliased, InsertItem(Path{"list"}, 2, Null()), ErrNotFound, 0},
		{"no such place", aliased, MoveItem(Path{"list"}, 0, 1), ErrNotFound, 0},
		{"item of a mapping", aliased, Delete(Path{"users", 0}), ErrKind, 6},
		{"key of a sequence", aliased, Delete(Path{"list", "a"}), ErrKind, 10},
		{"item into a mapping", aliased, InsertItem(Path{"users"}, 0, Null()), ErrKind, 6},
		{"key into a scalar", aliased, InsertKey(Path{"base", "password"}, "k", Null(), Last()), ErrKind, 3},
		{"mapping without brackets", aliased, InsertKey(Path{"list", 0}, "n", Null(), Last()), ErrUnsafe, 0},
		{"emptying a mapping without brackets", aliased, Delete(Path{"list", 0, "a"}), ErrUnsafe, 0},
		{"the top", aliased, Delete(Path{}), ErrKind, 0},
		{"a key beneath a merge", "b: &b {k: 1}\nm:\n  <<: [*b]\n  k: 2\n", Delete(Path{"m", "k"}), ErrShared, 1},
		{"a key above a merge that supplies it", "b: &b {k: 1}\nm:\n  k: 2\n  <<: *b\n", SetValue(Path{"m", "k"}, Int(3)), ErrShared, 1},
		{"a null key written like the new one", "a: 1\nnull: 2\n", InsertKey(Path{}, "null", Null(), Last()), ErrExists, 2},
		{"a null key that reads like the new one", "a: 1\n~: 2\n", RenameKey(Path{"a"}, ""), ErrExists, 2},
		{"moved before its anchor", "- &a 1\n- *a\n", MoveItem(Path{}, 1, 0), ErrUnsafe, 0},
		{"comment in one line", "a: [x, y]\n", SetComment(Path{"a", 0}, Beside, "x"), ErrUnsafe, 0},
		{"comment over lines beside", "a: x\n", SetComment(Path{"a"}, Beside, "x\ny"), ErrKind, 0},
		{"comment with an escape", "a: x\n", SetComment(Path{"a"}, Above, "x\x1b[31m"), ErrKind, 0},
		{"comment with a line separator", "a: x\n", SetComment(Path{"a"}, Beside, "x\u2028b: 1"), ErrKind, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := Parse([]byte(strings.TrimPrefix(tt.file, "")))
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Apply(tt.edit)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got error %v, want %v", err, tt.want)
			}
			var ee *EditError
			if !errors.As(err, &ee) {
				t.Fatalf("got %T, want *EditError", err)
			}
			if ee.Line != tt.line {
				t.Errorf("%v: got line %d, want %d", err, ee.Line, tt.line)
			}
		})
	}
}
