package yamledit

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestSyntaxErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		line, col  int
		msg        string
	}{
		{"tab as indentation", "users:\n  a: b\n\tc: d\n", 3, 1, "a tab is used for indentation"},
		{"tab behind spaces", "users:\n  a:\n  \tb: c\n", 3, 3, "a tab is used for indentation"},
		{"tab before a dash", "acl:\n\t- a\n", 2, 1, "a tab is used for indentation"},
		{"open quote", "a: b\nc: \"d\ne: f\n", 2, 1, "not closed"},
		{"open quote in the first line", "a: 'b\nc: d\n", 1, 1, "not closed"},
		{"open quote in the last line", "a: b\nc: 'd\n", 2, 1, "not closed"},
		{"open bracket", "a: b\nc: [d, e\nf: g\n", 2, 1, "not closed"},
		{"too little indentation", "a:\n    b: c\n  d: e\n", 3, 3, "wrong indentation"},
		{"too much indentation", "a: b\n  c: d\n", 2, 4, "indentation"},
		{"no colon", "a: b\nc\nd: e\n", 2, 1, "colon"},
		{"two colons", "a: b\nc: d: e\n", 2, 5, "must be quoted"},
		{"reserved character", "a: b\nc: @d\n", 2, 4, "cannot start any token"},
		{"unknown escape", "a: b\nc: \"\\d\"\n", 2, 5, "unknown escape"},
		{"unknown anchor", "a: b\nc: *doe\n", 2, 4, "unknown anchor 'doe'"},
		{"bad tag", "a: !!int b\n", 0, 0, ""},
		{"second document", "a: b\n---\nc: d\n", 2, 1, "second YAML document"},
		{"second document, empty", "---\na: b\n---\n", 3, 1, "second YAML document"},
		{"second document behind an end", "a: b\n...\n# c\nd: e\n", 4, 1, "second YAML document"},
		{"text behind the document", "{a: b}\nc: d\n", 2, 1, ""},
		{"text behind a flow document", "[a]\n]\n", 2, 1, ""},
		{"UTF-16, little end first", "\xff\xfea\x00:\x00", 1, 1, "UTF-16"},
		{"UTF-16, big end first", "\xfe\xff\x00a\x00:", 1, 1, "UTF-16"},
		{"NUL", "a: b\nc: d\x00\n", 2, 5, "NUL"},
		{"invalid UTF-8 behind non-ASCII", "ä: b\n# ü \xff\n", 2, 5, "0xFF is not valid UTF-8"},
		{"truncated rune", "a: \xe2\x82", 1, 4, "not valid UTF-8"},
		{"escape character", "a: \x1b[31m\n", 1, 4, "U+001B"},
		{"C1 control", "a: \u0080\n", 1, 4, "U+0080"},
		{"no character", "a: \uFFFE\n", 1, 4, "U+FFFE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := Parse([]byte(tt.text))
			if tt.name == "bad tag" {
				if err != nil {
					t.Fatal(err) // the tree is fine; decoding it is not
				}
				return
			}
			var se *SyntaxError
			if !errors.As(err, &se) {
				t.Fatalf("got %v, %v, want *SyntaxError", d, err)
			}
			if se.Line != tt.line || se.Column != tt.col || !strings.Contains(se.Msg, tt.msg) {
				t.Errorf("got %v, want %d:%d: …%s…", se, tt.line, tt.col, tt.msg)
			}
		})
	}
}

func TestSingleDocument(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n", "# a\n", "---\n", "--- # a\n", "---\n...\n", "%YAML 1.1\n---\na: b\n", "# c\n---\na: b\n...\n# d\n\n",
		"a: |\n  ---\n  ...\n", "\uFEFF---\na: b\n", "--- {a: b}\n", "a: ---b\n", "---a: b\n", "--- |\n text\n", "a: b\n...\n...\n",
	} {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	if _, err := ParseLimits([]byte("a: b\n"), Limits{Size: 4}); err == nil || !strings.Contains(err.Error(), "the limit is 4") {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{"[a,a,a,a,a]\n", "a: b\n\n\n\n\n\n", "a: b\r\r\r\r\r\r"} {
		if _, err := ParseLimits([]byte(text), Limits{Entries: 5}); err == nil || !strings.Contains(err.Error(), "more than 5 lines and commas") {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if _, err := ParseLimits([]byte("a: [[x]]\n"), Limits{Depth: 3}); err != nil {
		t.Errorf("three collections: %v", err)
	}
	for _, text := range []string{"a: [[x]]\n", "a: [[&a x]]\n"} {
		var se *SyntaxError
		if _, err := ParseLimits([]byte(text), Limits{Depth: 2}); !errors.As(err, &se) || se.Line != 1 || se.Column != 5 {
			t.Errorf("%q: got %v, want an error at 1:5", text, err)
		}
	}
	if _, err := ParseLimits([]byte("a: &a [x, x]\nb: *a\nc: *a\n"), Limits{Expansion: 12}); err == nil {
		t.Error("14 nodes are within a limit of 12")
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte("base: &b {x: 1, y: {z: 2}}\nc: {<<: *b, x: 3}\nd: *b\ne: [{<<: [{w: 4}, *b]}]\nf: 1\nf: 2\n~: 5\n1.5: 6\n"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path Path
		want string // "-" for nothing
	}{
		{Path{"base", "x"}, "1"},
		{Path{"c", "x"}, "3"},
		{Path{"c", "y", "z"}, "2"},
		{Path{"d", "y", "z"}, "2"},
		{Path{"e", 0, "w"}, "4"},
		{Path{"e", 0, "x"}, "1"},
		{Path{"f"}, "2"},
		{Path{""}, "5"},
		{Path{"1.5"}, "6"},
		{Path{"g"}, "-"},
		{Path{"e", 1}, "-"},
		{Path{"e", "x"}, "-"},
		{Path{"e", int64(0)}, "-"},
		{Path{"base", "x", "y"}, "-"},
	}
	for _, tt := range tests {
		got := "-"
		if n := d.Lookup(tt.path); n != nil {
			got = n.Value
		}
		if got != tt.want {
			t.Errorf("Lookup(%s): got %q, want %q", tt.path, got, tt.want)
		}
	}
}

func TestExtentAndPosition(t *testing.T) {
	t.Parallel()
	for name, data := range corpus(t) {
		d, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		for off := range data {
			if line, col := d.Position(off); data[off]&0xC0 != 0x80 && !(off < 3 && bytes.HasPrefix(data, []byte(bom))) {
				if back := d.Offset(line, col); back != off {
					t.Fatalf("%s: offset %d is %d:%d, which is offset %d", name, off, line, col, back)
				}
			}
		}
		for _, at := range nodesOf(d) {
			if at.n == nil {
				continue
			}
			start, end, err := d.Extent(at.path)
			if err != nil {
				t.Errorf("%s: %s: %v", name, at.path, err)
				continue
			}
			if at.n.Kind != yaml.ScalarNode || len(d.aliases) > 0 || at.n.Style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0 {
				continue
			}
			// A scalar's text read by itself is the scalar.
			text := "[" + string(data[start:end]) + "\n]"
			if at.n.Style == 0 {
				text = "k: " + string(data[start:end]) + "\n"
			}
			var n yaml.Node
			if err := yaml.Unmarshal([]byte(text), &n); err != nil {
				t.Errorf("%s: %s: %q: %v", name, at.path, text, err)
				continue
			}
			c := n.Content[0].Content
			if got := c[len(c)-1]; got.Value != at.n.Value || got.Tag != at.n.Tag {
				t.Errorf("%s: %s: extent %q reads as %q, want %q", name, at.path, text, got.Value, at.n.Value)
			}
		}
	}
}

func TestNoEditSameBytes(t *testing.T) {
	t.Parallel()
	for name, data := range corpus(t) {
		d, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = d.Apply(); err != nil || !bytes.Equal(d.Bytes(), data) {
			t.Errorf("%s: no edit changed the file, error %v", name, err)
		}
	}
}

func TestPathString(t *testing.T) {
	t.Parallel()
	if got, want := (Path{"users", "a b", "", "labels", 3, int8(1)}).String(), `users."a b"."".labels[3]<int8>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := (Path{}).String(); got != "(top level)" {
		t.Errorf("got %s", got)
	}
}
