package config

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/yamledit"
)

// The reasons for which an edit is refused, beside the file's own problems; errors of edits wrap
// them.
var (
	// ErrUserExists: there is a user of that name already.
	ErrUserExists = errors.New("the user exists already")
	// ErrNoSuchUser: there is no user of that name.
	ErrNoSuchUser = errors.New("no such user")
	// ErrNoSuchLabel: the user does not have the label, or the label not the value.
	ErrNoSuchLabel = errors.New("no such label")
	// ErrNoSuchEntry: the ACL has no entry with that index.
	ErrNoSuchEntry = errors.New("no such entry")
	// ErrBadEdit: the new value can't be written, because it would be a problem.
	ErrBadEdit = errors.New("bad value")
)

// NewUser is a user to be added.
type NewUser struct {
	Name string
	// Hash is the bcrypt hash; only the anonymous account, "", goes without.
	Hash   secret.Text
	Labels []Label
	// Expires is in whole seconds; zero: never.
	Expires time.Time
	Robot   bool
}

// Edit is one intended change of a file; the functions of this package that return one make it.
type Edit struct {
	// plan returns the splices and says what the typed view must be afterwards.
	plan func(f *File) (steps []yamledit.Edit, want expectation, err error)
	// add is the user of AddUser, so that many can be added together.
	add *NewUser
}

// expectation is the typed view after an edit: users[at:at+removed] of the old file are replaced by
// users, and so for the entries; the rest is as it was.
type expectation struct {
	userAt, usersRemoved int
	users                []User
	// acl is the whole list; nil: as it was.
	acl []acl.Entry
	// token is the section; nil: as it was.
	token *Token
}

// entriesOnly is the expectation of an edit of the entries.
func entriesOnly(entries []acl.Entry) expectation {
	if entries == nil {
		entries = []acl.Entry{}
	}
	return expectation{acl: entries}
}

// Apply makes the edits one after another and returns the file that results, with its new bytes.
//
// Each step is checked: the result is parsed, it has no problems, and its users and entries are the
// old ones but for the intended change. A file that has problems already is edited only when the
// edit mends some of them and adds none; else its problems are the error. f is not changed.
func (f *File) Apply(edits ...Edit) (*File, error) {
	if f.doc == nil {
		if len(f.problems) > 0 {
			return nil, f.problems
		}
		return nil, fmt.Errorf("%s: the text was dropped, and can't be edited", f.Path)
	}
	start := f
	tries := 2 // the first user may have to make the section
	for len(edits) > 0 {
		var users []NewUser
		for _, e := range edits {
			if e.add == nil {
				break
			}
			users = append(users, *e.add)
		}
		if len(users) >= manyUsers && tries > 0 {
			tries--
			if next, ok := f.addMany(users); ok {
				f, edits = next, edits[len(users):]
				continue
			}
		}
		next, err := f.apply(edits[0])
		if err != nil {
			return nil, err
		}
		f, edits = next, edits[1:]
	}
	if f != start && len(f.problems) > 0 && !fewer(start.problems, f.problems) {
		return nil, f.problems
	}
	return f, nil
}

// apply makes one edit. The problems are compared by the caller when all edits are made, but a step
// may never bring in a new one.
func (f *File) apply(e Edit) (*File, error) {
	steps, want, err := e.plan(f)
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 {
		return f, nil
	}
	doc, err := f.doc.Apply(steps...)
	if err != nil {
		if len(f.problems) > 0 {
			return nil, f.problems // they stand in the way, and are the better message
		}
		return nil, f.editError(err)
	}
	next, w := view(f.Path, doc)
	if want.acl == nil {
		// The rules are the same: their patterns need not be compiled again.
		next.faults = f.faults
	} else {
		policy, faults := next.compile(w)
		next.faults = faults
		next.compiled.Do(func() { next.policy = policy })
	}
	next.finish(w)
	if len(next.problems) > 0 {
		if len(f.problems) == 0 {
			return nil, fmt.Errorf("%w: the file would have these problems:\n%w", ErrBadEdit, next.problems)
		}
		if !fewer(f.problems, next.problems) {
			return nil, f.problems
		}
	}
	if err := f.verify(next, want); err != nil {
		return nil, err
	}
	return next, nil
}

// editError puts the position of what stands in the way before a splicer's error.
func (f *File) editError(err error) error {
	var e *yamledit.EditError
	if errors.As(err, &e) && e.Line > 0 {
		return fmt.Errorf("%s:%d:%d: %w", f.Path, e.Line, e.Column, err)
	}
	return fmt.Errorf("%s: %w", f.Path, err)
}

// verify compares the typed views before and after an edit.
func (f *File) verify(next *File, want expectation) error {
	differs := func(what string) error {
		return fmt.Errorf("%s: %w: %s would differ from what was intended", f.Path, yamledit.ErrUnsafe, what)
	}
	if len(next.Users) != len(f.Users)-want.usersRemoved+len(want.users) {
		return differs("the number of users")
	}
	shift := len(want.users) - want.usersRemoved
	for i := range next.Users {
		var old *User
		switch {
		case i < want.userAt:
			old = &f.Users[i]
		case i < want.userAt+len(want.users):
			old = &want.users[i-want.userAt]
		default:
			old = &f.Users[i-shift]
		}
		if !sameUser(old, &next.Users[i]) {
			return differs(fmt.Sprintf("user %q", next.Users[i].Name))
		}
	}
	entries := want.acl
	if entries == nil {
		entries = f.ACL
	}
	if !slices.EqualFunc(entries, next.ACL, sameEntry) {
		return differs("the entries")
	}
	a, b := f.Server, next.Server
	a.Pos, b.Pos = acl.Pos{}, acl.Pos{}
	if fmt.Sprint(a) != fmt.Sprint(b) {
		return differs("the server section")
	}
	c, d := f.Token, next.Token
	if want.token != nil {
		c = *want.token
	}
	c.Pos, d.Pos = acl.Pos{}, acl.Pos{}
	if c != d {
		return differs("the token section")
	}
	return nil
}

func sameUser(a, b *User) bool {
	return a.Name == b.Name && a.HasPassword == b.HasPassword && a.Hash.Reveal() == b.Hash.Reveal() &&
		a.Robot == b.Robot && a.Expires.Equal(b.Expires) &&
		slices.EqualFunc(a.Labels, b.Labels, func(x, y Label) bool { return x.Key == y.Key && slices.Equal(x.Values, y.Values) })
}

func sameEntry(a, b acl.Entry) bool {
	same := func(x, y *string) bool { return (x == nil) == (y == nil) && (x == nil || *x == *y) }
	return same(a.Match.Account, b.Match.Account) && same(a.Match.Type, b.Match.Type) && same(a.Match.Name, b.Match.Name) &&
		same(a.Match.Service, b.Match.Service) && same(a.Match.IP, b.Match.IP) && slices.Equal(a.Match.Labels, b.Match.Labels) &&
		(a.Actions == nil) == (b.Actions == nil) && slices.Equal(a.Actions, b.Actions) && a.Comment == b.Comment
}

// bytesOf applies one edit and returns the new bytes.
func (f *File) bytesOf(e Edit) ([]byte, error) {
	next, err := f.Apply(e)
	if err != nil {
		return nil, err
	}
	return next.Bytes(), nil
}

// topOrder is where a section goes that the file does not have yet.
func topOrder() yamledit.At {
	return yamledit.Order("server", "token", usersKey, aclKey, extrasKey)
}

// userPath is the path of a user, and of what is below.
func userPath(name string, below ...any) yamledit.Path {
	return yamledit.Path{usersKey, name}.With(below...)
}

// factsPath is the path of a user's facts under x-regctl-setup.
func factsPath(name string, below ...any) yamledit.Path {
	return yamledit.Path{extrasKey, usersKey, name}.With(below...)
}

// changeUser is an edit of one user that exists. change gets a copy whose labels may be changed in
// place, and returns the splices that make the same change in the file.
func changeUser(name string, change func(f *File, u *User) ([]yamledit.Edit, error)) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		i, ok := f.byName[name]
		if !ok {
			return nil, expectation{}, fmt.Errorf("user %q: %w", name, ErrNoSuchUser)
		}
		u := f.Users[i]
		u.Labels = slices.Clone(u.Labels)
		for j := range u.Labels {
			u.Labels[j].Values = slices.Clone(u.Labels[j].Values)
		}
		steps, err := change(f, &u)
		return steps, expectation{userAt: i, usersRemoved: 1, users: []User{u}}, err
	}}
}

// checkHash returns an error for what Parse would refuse as a password.
func checkHash(hash secret.Text) error {
	cost, err := HashCost(bareHash(hash.Reveal()))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadEdit, err)
	}
	if cost > MaxHashCost {
		return fmt.Errorf("%w: bcrypt cost %d, at most %d is served", ErrBadEdit, cost, MaxHashCost)
	}
	return nil
}

// bareHash returns a hash without the mark of a disabled user.
func bareHash(hash string) string {
	if len(hash) > 0 && hash[0] == '!' {
		return hash[1:]
	}
	return hash
}

// labelPairs returns the labels as they are written.
func labelPairs(labels []Label) ([]yamledit.Pair, error) {
	var pairs []yamledit.Pair
	for _, l := range labels {
		if len(l.Values) == 0 {
			return nil, fmt.Errorf("%w: label %q has no values", ErrBadEdit, l.Key)
		}
		pairs = append(pairs, yamledit.KV(l.Key, yamledit.Strings(l.Values...)))
	}
	return pairs, nil
}

// userValue returns a new user as it is written.
func userValue(u NewUser) (yamledit.Value, error) {
	var pairs []yamledit.Pair
	if !u.Hash.IsZero() {
		if err := checkHash(u.Hash); err != nil {
			return yamledit.Value{}, fmt.Errorf("user %q: %w", u.Name, err)
		}
		pairs = append(pairs, yamledit.KV("password", yamledit.Scalar(u.Hash.Reveal()).DoubleQuoted()))
	}
	if len(u.Labels) > 0 {
		labels, err := labelPairs(u.Labels)
		if err != nil {
			return yamledit.Value{}, fmt.Errorf("user %q: %w", u.Name, err)
		}
		pairs = append(pairs, yamledit.KV("labels", yamledit.Map(labels...)))
	}
	if len(pairs) == 0 {
		return yamledit.Map(), nil
	}
	return yamledit.Map(pairs...).Block(), nil
}

// AddUser is the edit of [File.AddUser].
func AddUser(u NewUser) Edit {
	plan := func(f *File) ([]yamledit.Edit, expectation, error) {
		if _, ok := f.User(u.Name); ok {
			return nil, expectation{}, fmt.Errorf("user %q: %w", u.Name, ErrUserExists)
		}
		if u.Hash.IsZero() && u.Name != "" && !f.Extras.AllowPasswordless {
			return nil, expectation{}, fmt.Errorf("user %q: %w: there is no password hash", u.Name, ErrBadEdit)
		}
		value, err := userValue(u)
		if err != nil {
			return nil, expectation{}, err
		}
		var steps []yamledit.Edit
		if f.has(usersKey) {
			steps = append(steps, yamledit.InsertKey(yamledit.Path{usersKey}, u.Name, value, yamledit.Last()))
		} else {
			steps = append(steps, yamledit.InsertKey(yamledit.Path{}, usersKey, yamledit.Map(yamledit.KV(u.Name, value)).Block(), topOrder()))
		}
		expires := u.Expires.UTC().Truncate(time.Second)
		if u.Expires.IsZero() {
			expires = time.Time{}
		}
		steps = append(steps, f.setFacts(u.Name, UserFacts{Expires: expires, Robot: u.Robot})...)
		added := User{Name: u.Name, Hash: u.Hash, HasPassword: !u.Hash.IsZero(), Labels: u.Labels, Expires: expires, Robot: u.Robot}
		return steps, expectation{userAt: len(f.Users), users: []User{added}}, nil
	}
	return Edit{plan: plan, add: &u}
}

// has reports whether the file has a top-level key of its own.
func (f *File) has(key string) bool {
	return f.doc.Lookup(yamledit.Path{key}) != nil
}

// setFacts returns the splices after which the facts of a user are those given. Facts that are all
// zero are removed, with the maps around them when those become empty.
func (f *File) setFacts(name string, facts UserFacts) []yamledit.Edit {
	old, had := f.Extras.Users[name]
	var pairs []yamledit.Pair
	if !facts.Expires.IsZero() {
		pairs = append(pairs, yamledit.KV("expires", yamledit.Scalar(formatTime(facts.Expires))))
	}
	if facts.Robot {
		pairs = append(pairs, yamledit.KV("robot", yamledit.Bool(true)))
	}
	switch {
	case len(pairs) == 0 && !had:
		return nil
	case len(pairs) == 0:
		return []yamledit.Edit{yamledit.Delete(f.emptied(factsPath(name)))}
	case !had:
		entry := yamledit.Map(pairs...)
		switch {
		case f.doc.Lookup(yamledit.Path{extrasKey, usersKey}) != nil:
			return []yamledit.Edit{yamledit.InsertKey(yamledit.Path{extrasKey, usersKey}, name, entry, yamledit.Last())}
		case f.has(extrasKey):
			return []yamledit.Edit{yamledit.InsertKey(yamledit.Path{extrasKey}, usersKey, yamledit.Map(yamledit.KV(name, entry)), yamledit.Last())}
		}
		return []yamledit.Edit{yamledit.InsertKey(yamledit.Path{}, extrasKey,
			yamledit.Map(yamledit.KV(usersKey, yamledit.Map(yamledit.KV(name, entry.Flow())).Block())).Block(), topOrder())}
	}
	var steps []yamledit.Edit
	switch {
	case old.Expires.Equal(facts.Expires):
	case facts.Expires.IsZero():
		steps = append(steps, yamledit.Delete(factsPath(name, "expires")))
	case old.Expires.IsZero():
		steps = append(steps, yamledit.InsertKey(factsPath(name), "expires", yamledit.Scalar(formatTime(facts.Expires)), yamledit.First()))
	default:
		steps = append(steps, yamledit.SetValue(factsPath(name, "expires"), yamledit.Scalar(formatTime(facts.Expires))))
	}
	if old.Robot != facts.Robot {
		if f.doc.Lookup(factsPath(name, "robot")) != nil {
			steps = append(steps, yamledit.SetValue(factsPath(name, "robot"), yamledit.Bool(facts.Robot)))
		} else {
			steps = append(steps, yamledit.InsertKey(factsPath(name), "robot", yamledit.Bool(facts.Robot), yamledit.Last()))
		}
	}
	return steps
}

// emptied returns the path to delete so that what path names goes, and no map without keys is left
// of those around it. Sections of docker_auth's own are left as {}: their absence means another thing.
func (f *File) emptied(path yamledit.Path) yamledit.Path {
	for len(path) > 1 {
		above := path[:len(path)-1]
		n := f.doc.Lookup(above)
		if n == nil || len(n.Content) != 2 || len(above) == 1 && above[0] != extrasKey || len(above) == 2 && above[0] == usersKey {
			break
		}
		path = above
	}
	return path
}

// AddUser returns the bytes with a user at the end of the users, which are made when the file has
// none. The error wraps ErrUserExists or ErrBadEdit, or is the file's Problems.
func (f *File) AddUser(u NewUser) ([]byte, error) { return f.bytesOf(AddUser(u)) }

// RemoveUser is the edit of [File.RemoveUser].
func RemoveUser(name string) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		i, ok := f.byName[name]
		if !ok {
			return nil, expectation{}, fmt.Errorf("user %q: %w", name, ErrNoSuchUser)
		}
		steps := append([]yamledit.Edit{yamledit.Delete(userPath(name))}, f.setFacts(name, UserFacts{})...)
		return steps, expectation{userAt: i, usersRemoved: 1}, nil
	}}
}

// RemoveUser returns the bytes without the user, and without what x-regctl-setup knows of it. The
// error wraps ErrNoSuchUser, or is the file's Problems.
func (f *File) RemoveUser(name string) ([]byte, error) { return f.bytesOf(RemoveUser(name)) }

// RenameUser is the edit of [File.RenameUser].
func RenameUser(name, to string) Edit {
	return changeUser(name, func(f *File, u *User) ([]yamledit.Edit, error) {
		switch _, taken := f.User(to); {
		case name == to:
			return nil, nil
		case taken:
			return nil, fmt.Errorf("user %q: %w", to, ErrUserExists)
		case name == "" || to == "":
			return nil, fmt.Errorf("%w: the anonymous account has no other name", ErrBadEdit)
		}
		u.Name = to
		steps := []yamledit.Edit{yamledit.RenameKey(userPath(name), to)}
		if _, ok := f.Extras.Users[name]; ok {
			if _, left := f.Extras.Users[to]; left { // of a user that is gone
				steps = append(steps, yamledit.Delete(factsPath(to)))
			}
			steps = append(steps, yamledit.RenameKey(factsPath(name), to))
		} else {
			steps = append(steps, f.setFacts(to, UserFacts{})...)
		}
		return steps, nil
	})
}

// RenameUser returns the bytes with the user under another name, here and in x-regctl-setup.
// Entries of the ACL that name the account are left as they are. The error wraps ErrNoSuchUser,
// ErrUserExists or ErrBadEdit, or is the file's Problems.
func (f *File) RenameUser(name, to string) ([]byte, error) { return f.bytesOf(RenameUser(name, to)) }

// SetPassword is the edit of [File.SetPassword].
func SetPassword(name string, hash secret.Text) Edit {
	return changeUser(name, func(f *File, u *User) ([]yamledit.Edit, error) {
		if name == "" {
			return nil, fmt.Errorf("%w: the anonymous account has no password", ErrBadEdit)
		}
		if err := checkHash(hash); err != nil {
			return nil, fmt.Errorf("user %q: %w", name, err)
		}
		if u.Disabled {
			hash = secret.New("!" + bareHash(hash.Reveal()))
		}
		return setHash(f, u, hash), nil
	})
}

// setHash writes a hash, and sets it in u.
func setHash(f *File, u *User, hash secret.Text) []yamledit.Edit {
	if u.HasPassword && u.Hash.Reveal() == hash.Reveal() {
		return nil
	}
	value := yamledit.Scalar(hash.Reveal())
	u.Hash, u.HasPassword, u.Disabled = hash, true, hash.Reveal() != bareHash(hash.Reveal())
	if f.doc.Lookup(userPath(u.Name, "password")) == nil {
		return []yamledit.Edit{yamledit.InsertKey(userPath(u.Name), "password", value.DoubleQuoted(), yamledit.First())}
	}
	return []yamledit.Edit{yamledit.SetValue(userPath(u.Name, "password"), value)}
}

// SetPassword returns the bytes with another password hash for the user. A disabled user stays
// disabled. The error wraps ErrNoSuchUser or ErrBadEdit, or is the file's Problems.
func (f *File) SetPassword(name string, hash secret.Text) ([]byte, error) {
	return f.bytesOf(SetPassword(name, hash))
}

// SetDisabled is the edit of [File.SetDisabled].
func SetDisabled(name string, disabled bool) Edit {
	return changeUser(name, func(f *File, u *User) ([]yamledit.Edit, error) {
		if u.Disabled == disabled {
			return nil, nil
		}
		if !u.HasPassword {
			return nil, fmt.Errorf("user %q: %w: without a password there is nothing to disable; remove it, or set one", name, ErrBadEdit)
		}
		bare := bareHash(u.Hash.Reveal())
		if disabled {
			bare = "!" + bare
		}
		return setHash(f, u, secret.New(bare)), nil
	})
}

// SetDisabled returns the bytes with a "!" before the user's hash, or without it: docker_auth then
// refuses the user too. A user that is as wanted already gives the same bytes. The error wraps
// ErrNoSuchUser or ErrBadEdit (no password to disable), or is the file's Problems.
func (f *File) SetDisabled(name string, disabled bool) ([]byte, error) {
	return f.bytesOf(SetDisabled(name, disabled))
}

// SetLabel is the edit of [File.SetLabel].
func SetLabel(name, key string, values []string) Edit {
	if len(values) == 0 {
		return RemoveLabel(name, key)
	}
	return changeUser(name, func(f *File, u *User) ([]yamledit.Edit, error) {
		list := yamledit.Strings(values...)
		for i := range u.Labels {
			if l := &u.Labels[i]; l.Key == key {
				if slices.Equal(l.Values, values) {
					return nil, nil
				}
				steps := setValues(userPath(name, "labels", key), l.Values, values)
				l.Values = values
				return steps, nil
			}
		}
		u.Labels = append(u.Labels, Label{Key: key, Values: values})
		if f.doc.Lookup(userPath(name, "labels")) != nil {
			return []yamledit.Edit{yamledit.InsertKey(userPath(name, "labels"), key, list, yamledit.Last())}, nil
		}
		return []yamledit.Edit{yamledit.InsertKey(userPath(name), "labels", yamledit.Map(yamledit.KV(key, list)), yamledit.After("password"))}, nil
	})
}

// setValues returns the splices that turn the list at path from old into values. Values that only
// come or go leave the others, and the comments between them, as they stand.
func setValues(path yamledit.Path, old, values []string) []yamledit.Edit {
	var steps []yamledit.Edit
	kept := 0
	for i, v := range old {
		if kept < len(values) && values[kept] == v {
			kept++
			continue
		}
		steps = append(steps, yamledit.Delete(path.With(i-len(steps))))
	}
	if kept == 0 || len(values) > kept && len(steps) > 0 {
		return []yamledit.Edit{yamledit.SetValue(path, yamledit.Strings(values...))}
	}
	for _, v := range values[kept:] {
		steps = append(steps, yamledit.InsertItem(path, -1, yamledit.Scalar(v)))
	}
	return steps
}

// SetLabel returns the bytes with the list of values of one of the user's labels replaced, or made
// when the user does not have the label; no values remove it. The error wraps ErrNoSuchUser or
// ErrNoSuchLabel, or is the file's Problems.
func (f *File) SetLabel(name, key string, values []string) ([]byte, error) {
	return f.bytesOf(SetLabel(name, key, values))
}

// SetLabels is the edit of [File.SetLabels].
func SetLabels(name string, labels []Label) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		u, ok := f.User(name)
		if !ok {
			return nil, expectation{}, fmt.Errorf("user %q: %w", name, ErrNoSuchUser)
		}
		if _, err := labelPairs(labels); err != nil {
			return nil, expectation{}, fmt.Errorf("user %q: %w", name, err)
		}
		var steps []yamledit.Edit
		after := *u
		after.Labels = nil
		kept := 0
		for _, old := range u.Labels {
			if i := slices.IndexFunc(labels, func(l Label) bool { return l.Key == old.Key }); i >= 0 {
				kept++
				after.Labels = append(after.Labels, labels[i])
				if !slices.Equal(labels[i].Values, old.Values) {
					steps = append(steps, setValues(userPath(name, "labels", old.Key), old.Values, labels[i].Values)...)
				}
			}
		}
		switch {
		case len(labels) == 0 && len(u.Labels) > 0:
			steps = append(steps, yamledit.Delete(userPath(name, "labels")))
		default:
			// Keys that go, go last: the map around them must not become empty in between.
			for _, l := range labels {
				if !slices.ContainsFunc(u.Labels, func(old Label) bool { return old.Key == l.Key }) {
					after.Labels = append(after.Labels, l)
					value := yamledit.Strings(l.Values...)
					if f.doc.Lookup(userPath(name, "labels")) == nil && len(after.Labels) == 1 {
						steps = append(steps, yamledit.InsertKey(userPath(name), "labels", yamledit.Map(yamledit.KV(l.Key, value)), yamledit.After("password")))
					} else {
						steps = append(steps, yamledit.InsertKey(userPath(name, "labels"), l.Key, value, yamledit.Last()))
					}
				}
			}
			for _, old := range u.Labels {
				if !slices.ContainsFunc(labels, func(l Label) bool { return l.Key == old.Key }) {
					steps = append(steps, yamledit.Delete(userPath(name, "labels", old.Key)))
				}
			}
		}
		return steps, expectation{userAt: f.byName[name], usersRemoved: 1, users: []User{after}}, nil
	}}
}

// SetLabels returns the bytes with exactly these labels for the user. Labels that stay keep their
// place, new ones come at the end. The error wraps ErrNoSuchUser or ErrBadEdit, or is the file's
// Problems.
func (f *File) SetLabels(name string, labels []Label) ([]byte, error) {
	return f.bytesOf(SetLabels(name, labels))
}

// RemoveLabel is the edit of [File.RemoveLabel].
func RemoveLabel(name, key string) Edit {
	return changeUser(name, func(f *File, u *User) ([]yamledit.Edit, error) {
		i := slices.IndexFunc(u.Labels, func(l Label) bool { return l.Key == key })
		if i < 0 {
			return nil, fmt.Errorf("user %q, label %q: %w", name, key, ErrNoSuchLabel)
		}
		u.Labels = slices.Delete(u.Labels, i, i+1)
		return []yamledit.Edit{yamledit.Delete(f.emptied(userPath(name, "labels", key)))}, nil
	})
}

// RemoveLabel returns the bytes without one of the user's labels. The error wraps ErrNoSuchUser or
// ErrNoSuchLabel, or is the file's Problems.
func (f *File) RemoveLabel(name, key string) ([]byte, error) {
	return f.bytesOf(RemoveLabel(name, key))
}

// AddLabelValue is the edit of [File.AddLabelValue].
func AddLabelValue(name, key, value string) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		var values []string
		if u, ok := f.User(name); ok {
			values = u.Label(key)
		}
		if slices.Contains(values, value) {
			return nil, expectation{}, nil
		}
		return SetLabel(name, key, append(slices.Clone(values), value)).plan(f)
	}}
}

// AddLabelValue returns the bytes with one more value for a label of the user; the same bytes when
// the label has the value already.
func (f *File) AddLabelValue(name, key, value string) ([]byte, error) {
	return f.bytesOf(AddLabelValue(name, key, value))
}

// RemoveLabelValue is the edit of [File.RemoveLabelValue].
func RemoveLabelValue(name, key, value string) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		u, ok := f.User(name)
		if !ok {
			return nil, expectation{}, fmt.Errorf("user %q: %w", name, ErrNoSuchUser)
		}
		values := u.Label(key)
		if !slices.Contains(values, value) {
			return nil, expectation{}, fmt.Errorf("user %q, label %q, value %q: %w", name, key, value, ErrNoSuchLabel)
		}
		return SetLabel(name, key, slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == value })).plan(f)
	}}
}

// RemoveLabelValue returns the bytes without one value of a label of the user; the label goes with
// its last value. The error wraps ErrNoSuchUser or ErrNoSuchLabel, or is the file's Problems.
func (f *File) RemoveLabelValue(name, key, value string) ([]byte, error) {
	return f.bytesOf(RemoveLabelValue(name, key, value))
}

// SetExpires is the edit of [File.SetExpires].
func SetExpires(name string, at time.Time) Edit {
	return changeUser(name, func(f *File, u *User) ([]yamledit.Edit, error) {
		if name == "" {
			return nil, fmt.Errorf("%w: the anonymous account does not expire; remove it", ErrBadEdit)
		}
		u.Expires = time.Time{}
		if !at.IsZero() {
			u.Expires = at.UTC().Truncate(time.Second)
		}
		return f.setFacts(name, UserFacts{Expires: u.Expires, Robot: u.Robot}), nil
	})
}

// SetExpires returns the bytes with another time, in whole seconds, at which the user stops being
// let in; a zero time means never. It is kept under x-regctl-setup, which docker_auth ignores. The
// error wraps ErrNoSuchUser or ErrBadEdit, or is the file's Problems.
func (f *File) SetExpires(name string, at time.Time) ([]byte, error) {
	return f.bytesOf(SetExpires(name, at))
}

// entryValue returns an entry as it is written.
func entryValue(e acl.Entry) yamledit.Value {
	var match []yamledit.Pair
	for _, field := range []struct {
		key  string
		text *string
	}{{"account", e.Match.Account}, {"type", e.Match.Type}, {"name", e.Match.Name}, {"service", e.Match.Service}, {"ip", e.Match.IP}} {
		if field.text != nil {
			match = append(match, yamledit.KV(field.key, yamledit.Scalar(*field.text).DoubleQuoted()))
		}
	}
	if len(e.Match.Labels) > 0 {
		var labels []yamledit.Pair
		for _, l := range e.Match.Labels {
			labels = append(labels, yamledit.KV(l.Key, yamledit.Scalar(l.Pattern).DoubleQuoted()))
		}
		match = append(match, yamledit.KV("labels", yamledit.Map(labels...).Flow()))
	}
	actions := make([]yamledit.Value, len(e.Actions))
	for i, a := range e.Actions {
		actions[i] = yamledit.Scalar(a).DoubleQuoted()
	}
	pairs := []yamledit.Pair{
		yamledit.KV("match", yamledit.Map(match...).Flow()),
		yamledit.KV("actions", yamledit.Seq(actions...).Flow()),
	}
	if e.Comment != "" {
		pairs = append(pairs, yamledit.KV("comment", yamledit.Scalar(e.Comment).DoubleQuoted()))
	}
	return yamledit.Map(pairs...).Block()
}

// InsertEntry is the edit of [File.InsertEntry].
func InsertEntry(index int, e acl.Entry) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		if index == -1 {
			index = len(f.ACL)
		}
		if index < 0 || index > len(f.ACL) {
			return nil, expectation{}, fmt.Errorf("entry %d of %d: %w", index+1, len(f.ACL), ErrNoSuchEntry)
		}
		if e.Actions == nil {
			return nil, expectation{}, fmt.Errorf("%w: the entry has no actions", ErrBadEdit)
		}
		if _, err := acl.Compile([]acl.Entry{e}, acl.Options{LiteralLabels: f.Extras.LiteralLabels}); err != nil {
			return nil, expectation{}, fmt.Errorf("%w: %w", ErrBadEdit, err)
		}
		step := yamledit.InsertItem(yamledit.Path{aclKey}, index, entryValue(e))
		if !f.has(aclKey) {
			step = yamledit.InsertKey(yamledit.Path{}, aclKey, yamledit.Seq(entryValue(e)).Block(), topOrder())
		}
		return []yamledit.Edit{step}, entriesOnly(slices.Insert(slices.Clone(f.ACL), index, e)), nil
	}}
}

// InsertEntry returns the bytes with a new entry that has the index afterwards, from 0; -1 is the
// end. The ACL is made when the file has none. The error wraps ErrNoSuchEntry or ErrBadEdit, or is
// the file's Problems.
func (f *File) InsertEntry(index int, e acl.Entry) ([]byte, error) {
	return f.bytesOf(InsertEntry(index, e))
}

// checkEntry returns an error for an index that the ACL does not have.
func (f *File) checkEntry(indexes ...int) error {
	for _, i := range indexes {
		if i < 0 || i >= len(f.ACL) {
			return fmt.Errorf("entry %d of %d: %w", i+1, len(f.ACL), ErrNoSuchEntry)
		}
	}
	return nil
}

// RemoveEntry is the edit of [File.RemoveEntry].
func RemoveEntry(index int) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		if err := f.checkEntry(index); err != nil {
			return nil, expectation{}, err
		}
		return []yamledit.Edit{yamledit.Delete(yamledit.Path{aclKey, index})}, entriesOnly(slices.Delete(slices.Clone(f.ACL), index, index+1)), nil
	}}
}

// RemoveEntry returns the bytes without the entry of that index, from 0. The error wraps
// ErrNoSuchEntry, or is the file's Problems.
func (f *File) RemoveEntry(index int) ([]byte, error) { return f.bytesOf(RemoveEntry(index)) }

// MoveEntry is the edit of [File.MoveEntry].
func MoveEntry(from, to int) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		if err := f.checkEntry(from, to); err != nil {
			return nil, expectation{}, err
		}
		if from == to {
			return nil, expectation{}, nil
		}
		entries := slices.Delete(slices.Clone(f.ACL), from, from+1)
		return []yamledit.Edit{yamledit.MoveItem(yamledit.Path{aclKey}, from, to)}, entriesOnly(slices.Insert(entries, to, f.ACL[from])), nil
	}}
}

// MoveEntry returns the bytes with the entry at index from, from 0, at index to. The error wraps
// ErrNoSuchEntry, or is the file's Problems.
func (f *File) MoveEntry(from, to int) ([]byte, error) { return f.bytesOf(MoveEntry(from, to)) }

// SetEntryComment is the edit of [File.SetEntryComment].
func SetEntryComment(index int, comment string) Edit {
	return Edit{plan: func(f *File) ([]yamledit.Edit, expectation, error) {
		if err := f.checkEntry(index); err != nil {
			return nil, expectation{}, err
		}
		if f.ACL[index].Comment == comment {
			return nil, expectation{}, nil
		}
		path := yamledit.Path{aclKey, index, "comment"}
		step := yamledit.SetValue(path, yamledit.Scalar(comment))
		switch exists := f.doc.Lookup(path) != nil; {
		case exists && comment == "":
			step = yamledit.Delete(path)
		case !exists:
			step = yamledit.InsertKey(yamledit.Path{aclKey, index}, "comment", yamledit.Scalar(comment).DoubleQuoted(), yamledit.Last())
		}
		entries := slices.Clone(f.ACL)
		entries[index].Comment = comment
		return []yamledit.Edit{step}, entriesOnly(entries), nil
	}}
}

// SetEntryComment returns the bytes with another text in the comment field of the entry at index,
// from 0; an empty one removes the field. The error wraps ErrNoSuchEntry, or is the file's Problems.
func (f *File) SetEntryComment(index int, comment string) ([]byte, error) {
	return f.bytesOf(SetEntryComment(index, comment))
}
