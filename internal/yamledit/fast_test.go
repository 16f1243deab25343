package yamledit

import (
	"fmt"
	"math/rand"
	"testing"

	"go.yaml.in/yaml/v3"
)

// sameTree returns where two trees differ, in what the reader fills in.
func sameTree(a, b *yaml.Node) string {
	if a == nil || b == nil {
		if a != b {
			return fmt.Sprintf("%v and %v", a, b)
		}
		return ""
	}
	if a.Kind != b.Kind || a.Style != b.Style || a.Tag != b.Tag || a.Value != b.Value || a.Anchor != b.Anchor ||
		a.Line != b.Line || a.Column != b.Column || len(a.Content) != len(b.Content) || a.Alias != nil || b.Alias != nil {
		return fmt.Sprintf("%+v and %+v", *a, *b)
	}
	for i := range a.Content {
		if d := sameTree(a.Content[i], b.Content[i]); d != "" {
			return d
		}
	}
	return ""
}

// checkReader fails when the reader reads the text and the library does not
// read the same. It returns whether the reader read it.
func checkReader(t *testing.T, data []byte) bool {
	t.Helper()
	if checkEncoding(data) != nil {
		return false
	}
	s := newSource(data)
	if checkSingle(s) != nil {
		return false
	}
	got, ok := readFast(s, defaultDepth)
	if !ok {
		return false
	}
	want, err := decodeNodes(data)
	if err != nil {
		t.Fatalf("the reader read what the library refuses: %v\n%q", err, data)
	}
	if d := sameTree(want, got); d != "" {
		t.Fatalf("library and reader differ: %s\n%q", d, data)
	}
	return true
}

func TestReader(t *testing.T) {
	t.Parallel()
	fast := map[string]bool{}
	for name, data := range corpus(t) {
		fast[name] = checkReader(t, data)
		// Every beginning of a file is a file, often a broken one.
		for i := range data {
			if i < 3000 {
				checkReader(t, data[:i])
			}
		}
	}
	for _, name := range []string{
		"01-guide.yml", "03-ldap.yml", "04-json.yml", "05-json-minified.yml", "06-crlf.yml", "09-indentless.yml",
		"10-blank-lines.yml", "11-no-final-newline.yml", "12-bom-non-ascii.yml", "17-flow-multiline.yml",
		"19-duplicates.yml", "21-comments-everywhere.yml", "22-nested-sequences.yml", "23-comments-only.yml",
		"24-empty.yml", "25-marker-only.yml", "27-top-sequence.yml", "28-four-columns.yml", "29-no-users.yml", "32-robots.yml",
	} {
		if !fast[name] {
			t.Errorf("%s was left to the library", name)
		}
	}
	if !checkReader(t, bigFile(300, 300)) {
		t.Error("the generated file was left to the library")
	}
}

func FuzzReader(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data)
	}
	for _, s := range []string{
		"a: b\n  c\n", "a: 'b\n c'\n", "- a\n-b\n", "a:\n- b\n c: d\n", "{a: b}: c\n", "[a]: c\n", "a: b: c\n", "a : b\n",
		"{a: b,\n c}\n", "{\"a\":b}\n", "{a:b}\n", "[a:b]\n", "[a: b]\n", "a: b #c\n", "a: b#c\n", "a:#c\n", "-#c\n", "- #c\n",
		"a:\n b: c\n  d: e\n", "a:\n  b: c\n d: e\n", "- - a\n - b\n", "- a: b\n  c: d\n", "? a\n", "a: ?b\n", "a: -\n", "a: - b\n",
		"\"a\"b: c\n", "a: \"b\"c\n", "{a: b}c\n", "a: <<\n<<: c\n", "a: 0x1f\nb: 1_0\nc: 2001-01-01\nd: .5\ne: ~\nf: yes\n", "a: [b\n  c]\n",
		"a: [b,\n# c\n d]\n", "a: [b, #c\n]\n", "a: [b,#c\n]\n", "a: {b: c # d\n}\n", "a:\n# x\n  # y\nb:\n", " a: b\n c: d\nd: e\n",
		"a: \"\\x41\\n\\\"\"\n", "a: b\r\nc: d\r\n", "a:  \n  - b\n", "- \n  a: b\n-\n- c\n", "a: b   \nc: d", "é: ü # ö\nà: [é, ü]\n",
		"a:\n  - b\n - c\n", "a: [[[[]]]]\n", "a: {b: {c: {}}}\n", "a\n", "\"a\"\n", "# c\n", "a: '''b'''\n", "a: |\n b\n",
		"# c\n--- # d\na: b\n", "---\n", "---a: b\n", "--- a\n", "---\n---\n", "a: b\n---\n", "---\n- a\n...\n", "---\n  a: b\n", "---#c\na: b\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkReader(t, data) })
}

// TestReaderSoup compares reader and library on random strings of tokens.
func TestReaderSoup(t *testing.T) {
	t.Parallel()
	tokens := []string{"a", "b", "1", "~", "-", "- ", "-\n", ": ", ":", ":\n", "? ", "\n", "\n", "\n  ", "\n  ", "\n    ", " ", "  ", "{", "}", "[", "]",
		",", ", ", "#", " # c", "\n# c", "\n  # c", "'a'", "\"b\"", "'", "\"", "\r\n", "\t", "é", "a: ", "b: ", "a:\n  ", "- a", "---", "\n---\n", "|", "&a ", "*a", "!", "<<", "%"}
	read := 0
	for seed := *firstSeed; seed < *firstSeed+50**mutants; seed++ {
		r := rand.New(rand.NewSource(int64(seed)))
		var b []byte
		for range 1 + r.Intn(16) {
			b = append(b, tokens[r.Intn(len(tokens))]...)
		}
		if checkReader(t, b) {
			read++
		}
	}
	if read < 3**mutants {
		t.Errorf("the reader read only %d texts", read)
	}
}
