package config

import (
	"bytes"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/yamledit"
)

// manyUsers is the number of users from which on they are added together. One by one, each would
// cost a parse of the whole file.
const manyUsers = 4

// contextUsers is how many of the users before are looked at for the style of the new ones.
const contextUsers = 8

// addMany adds users in one step, with the text that adding them one by one gives: the first is
// added to the file, the others to a small one that holds only the last few users, and their texts
// are put behind the first. The result is checked like any other edit. ok is false when the file is
// not of a form where this works, or when something is wrong with a user; the users are then to be
// added one by one, which also finds the error.
func (f *File) addMany(list []NewUser) (next *File, ok bool) {
	want := expectation{userAt: len(f.Users)}
	seen := map[string]bool{}
	for _, u := range list {
		_, one, err := AddUser(u).plan(f)
		if err != nil || seen[u.Name] || !u.Expires.IsZero() || u.Robot {
			return nil, false
		}
		seen[u.Name] = true
		want.users = append(want.users, one.users...)
	}
	first, err := f.apply(AddUser(list[0]))
	if err != nil {
		return nil, false
	}
	text := first.Bytes()
	from, to, ok := first.inserted(f.Bytes())
	if !ok {
		return nil, false
	}
	small := first.lastUsers(from, to)
	if small == nil {
		return nil, false
	}
	var more []byte
	for _, u := range list[1:] {
		value, err := userValue(u)
		if err != nil {
			return nil, false
		}
		grown, err := small.InsertKey(yamledit.Path{usersKey}, u.Name, value, yamledit.Last())
		if err != nil || !bytes.HasPrefix(grown, small.Bytes()) || grown[len(grown)-1] != '\n' {
			return nil, false
		}
		more = append(more, grown[len(small.Bytes()):]...)
	}
	doc, err := yamledit.Parse(bytes.Join([][]byte{text[:to], more, text[to:]}, nil))
	if err != nil || !sameButUsers(f.doc.Root(), doc.Root()) {
		return nil, false
	}
	next, w := view(f.Path, doc)
	next.faults = f.faults
	next.finish(w)
	if len(next.problems) != len(f.problems) || f.verify(next, want) != nil {
		return nil, false
	}
	return next, true
}

// inserted returns the place of the lines that the file has and old does not: those of its last
// user. ok is false when the file is not old with some lines put in before the end of one of its
// lines.
func (f *File) inserted(old []byte) (from, to int, ok bool) {
	text := f.Bytes()
	size := len(text) - len(old)
	if size <= 0 {
		return 0, 0, false
	}
	for from < len(old) && old[from] == text[from] {
		from++
	}
	if !bytes.Equal(old[from:], text[from+size:]) {
		return 0, 0, false
	}
	// Where the lines around are alike, the text may be taken to begin at several places. Go back to
	// one where it begins with the key's line, or with blank lines before it.
	pos := f.Users[len(f.Users)-1].Pos
	line := f.doc.Offset(pos.Line, 1)
	for from > line || from > 0 && text[from-1] != '\n' {
		if from == 0 || text[from-1] != text[from+size-1] {
			return 0, 0, false
		}
		from--
	}
	to = from + size
	if line < 0 || line >= to || len(bytes.TrimSpace(text[from:line])) > 0 || text[to-1] != '\n' {
		return 0, 0, false
	}
	return from, to, true
}

// lastUsers returns a document of only the last few users, of which the very last stands at
// from:to; nil when there is no such document.
func (f *File) lastUsers(from, to int) *yamledit.Document {
	text := f.Bytes()
	newline := "\n"
	if bytes.HasSuffix(text[:to], []byte("\r\n")) {
		newline = "\r\n"
	}
	starts := []int{from}
	if n := len(f.Users) - 1; n > 0 {
		starts = []int{f.doc.Offset(f.Users[max(0, n-contextUsers)].Pos.Line, 1), from}
	}
	for _, start := range starts {
		if start < 0 || start > from {
			continue // merged users stand elsewhere
		}
		doc, err := yamledit.Parse([]byte(usersKey + ":" + newline + string(text[start:to])))
		if err != nil {
			continue // an alias without its anchor
		}
		users := doc.Lookup(yamledit.Path{usersKey})
		if root := doc.Root(); len(root.Content) != 2 || users == nil || users.Kind != yaml.MappingNode || users.Style&yaml.FlowStyle != 0 {
			continue
		}
		if key := users.Content[len(users.Content)-2]; key.Value == f.Users[len(f.Users)-1].Name {
			return doc
		}
	}
	return nil
}

// sameButUsers reports whether two documents are equal but for users at the end of their section.
func sameButUsers(a, b *yaml.Node) bool {
	if a == nil || b == nil || a.Kind != yaml.MappingNode || b.Kind != yaml.MappingNode || len(a.Content) != len(b.Content) {
		return false
	}
	for i := 0; i+1 < len(a.Content); i += 2 {
		x, y := a.Content[i+1], b.Content[i+1]
		if !sameNode(a.Content[i], b.Content[i]) {
			return false
		}
		if a.Content[i].Value == usersKey && x.Kind == yaml.MappingNode && y.Kind == yaml.MappingNode && len(y.Content) > len(x.Content) {
			cut := *y
			cut.Content = y.Content[:len(x.Content)]
			y = &cut
		}
		if !sameNode(x, y) {
			return false
		}
	}
	return true
}

// sameNode reports whether two trees say the same.
func sameNode(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !sameNode(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
