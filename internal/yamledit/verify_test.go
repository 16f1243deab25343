package yamledit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestWrongSplicesAreRefused makes edits whose plan is wrong: what they would
// write must never be returned.
func TestWrongSplicesAreRefused(t *testing.T) {
	t.Parallel()
	const file = "a: &x b # c\nd: [e, f]\ng: *x\nh: |\n  i\n"
	tests := []struct {
		name     string
		from, to string // the first occurrence of from is replaced
		text     string
	}{
		{"another value", "b #", "# #", ""},
		{"a value cut short", "e, f", "", "e"},
		{"a comment swallowed by a string", " # c", "", "# c"},
		{"content turned into a comment", "d: [e", "", "# d: [e"},
		{"a key renamed", "g:", "", "k:"},
		{"a string turned into a number", "b #", "", "1 #"},
		{"an alias to nothing", "&x", "", "&y"},
		{"an anchor gone", "&x ", "", ""},
		{"an alias turned into a string", "*x", "", "x"},
		{"broken syntax", "[e", "", "e"},
		{"a second document", "d:", "", "---\nd:"},
		{"a line of a block scalar", "  i", "", "   i\n  j"},
		{"a control character", "b #", "", "b\x00 #"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := Parse([]byte(file))
			if err != nil {
				t.Fatal(err)
			}
			at := strings.Index(file, tt.from)
			wrong := Edit{op: "set", plan: func(p *planner) (*yaml.Node, error) {
				p.replace(at, at+len(tt.from), tt.text)
				return p.d.root, nil
			}}
			for _, edits := range [][]Edit{{wrong}, {wrong, SetValue(Path{"d"}, Null())}, {wrong, wrong}} {
				if got, err := d.Apply(edits...); !errors.Is(err, ErrUnsafe) {
					t.Errorf("got %v, error %v, want ErrUnsafe", got, err)
				}
			}
		})
	}
	d, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	overlap := Edit{op: "set", plan: func(p *planner) (*yaml.Node, error) {
		p.replace(0, 5, "a: ")
		p.replace(3, 6, "&x ")
		return p.d.root, nil
	}}
	if _, err := d.Apply(overlap); !errors.Is(err, ErrUnsafe) {
		t.Errorf("overlapping splices: got %v, want ErrUnsafe", err)
	}
}

// TestFinalBytesAreReadByTheLibrary holds several edits to the same check as one.
func TestFinalBytesAreReadByTheLibrary(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte("a: 1\nb: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d.library {
		t.Fatal("the reader did not read the file")
	}
	for name, edits := range map[string][]Edit{
		"one edit":                     {SetValue(Path{"a"}, Int(3))},
		"two edits":                    {SetValue(Path{"a"}, Int(3)), Delete(Path{"b"})},
		"the last one changes nothing": {SetValue(Path{"a"}, Int(3)), SetValue(Path{"b"}, Int(2))},
	} {
		got, err := d.Apply(edits...)
		if err != nil || !got.library {
			t.Errorf("%s: the library did not read the result, error %v", name, err)
		}
	}
	if got, err := d.Apply(SetValue(Path{"a"}, Int(1))); err != nil || got != d {
		t.Errorf("an edit that changes nothing made a new document, error %v", err)
	}
}

func TestErrorsTellNoValues(t *testing.T) {
	t.Parallel()
	const secret = "sesame"
	d, err := Parse([]byte("a: &x {password: " + secret + "}\nb: *x\nc: [d]\ne: " + secret + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []Edit{
		SetValue(Path{"a", "password"}, Scalar(secret)),
		SetValue(Path{"b", "password"}, Scalar(secret)),
		Delete(Path{"e", "f"}),
		InsertKey(Path{"e"}, "f", Scalar(secret), Last()),
		InsertItem(Path{"a"}, 0, Scalar(secret)),
		SetValue(Path{"c"}, Scalar(secret+"\xff")),
		SetValue(Path{"f"}, Scalar(secret)),
	} {
		if _, err := d.Apply(e); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s %s: got error %v, want one without the value", e.op, e.path, err)
		}
	}
}

func ExampleDocument_InsertKey() {
	doc, err := Parse([]byte("users:\n  \"alice\":\n    password: \"$2y$10$...\" # on call\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := doc.InsertKey(Path{"users"}, "bob", Map(
		KV("password", Scalar("$2y$10$...")),
		KV("labels", Map(KV("team", Strings("backend")))),
	), Last())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(out))
	// Output:
	// users:
	//   "alice":
	//     password: "$2y$10$..." # on call
	//   "bob":
	//     password: "$2y$10$..."
	//     labels:
	//       team: ["backend"]
}
