package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/templates"
)

// authEdit is a change of an auth config that a person owns, by intent.
type authEdit struct {
	file  *config.File // as it is
	was   *config.File // as the old answers would have generated it
	will  *config.File // as the new answers would
	edits []config.Edit
	notes []string // what was left, and why
}

// editAuth brings what the answers change into the auth config: the difference between
// the two files that init would have generated is made in the file that is there. What a
// person has changed is left and told.
func editAuth(file *config.File, before, after answers.Answers, users []UserHash) (edited *config.File, notes []string, err error) {
	e := authEdit{file: file}
	if e.was, err = generatedAuth(before, users); err != nil {
		return nil, nil, err
	}
	if e.will, err = generatedAuth(after, users); err != nil {
		return nil, nil, err
	}
	if err := e.logins(); err != nil {
		return nil, nil, err
	}
	e.token()
	e.services()
	e.events()
	e.users(before, after)
	if err := e.entries(); err != nil {
		return nil, nil, err
	}
	if len(e.edits) == 0 {
		return file, e.notes, nil
	}
	edited, err = file.Apply(e.edits...)
	return edited, e.notes, err
}

// generatedAuth returns the auth config that init would write for the answers. Accounts
// without a hash among the given ones get one that fits no password.
func generatedAuth(a answers.Answers, known []UserHash) (*config.File, error) {
	m := Material{}
	for _, u := range a.Accounts() {
		hash := UnusableHash()
		if i := slices.IndexFunc(known, func(k UserHash) bool { return k.Name == u.Name }); i >= 0 {
			hash = known[i].Hash
		}
		m.Users = append(m.Users, UserHash{Name: u.Name, Hash: hash, Labels: u.Labels})
	}
	v := bareView(a.Resolve(), m)
	t, err := template.New("auth-server.yml.tmpl").Option("missingkey=error").Funcs(funcs()).ParseFS(templates.FS, "auth-server.yml.tmpl")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PathAuth, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("%s: %w", PathAuth, err)
	}
	f, problems := config.Parse(PathAuth, b.Bytes())
	if len(problems) > 0 {
		return nil, problems
	}
	return f, nil
}

func (e *authEdit) left(format string, args ...any) {
	e.notes = append(e.notes, PathAuth+": "+fmt.Sprintf(format, args...))
}

func (e *authEdit) token() {
	was, will, is := e.was.Token, e.will.Token, e.file.Token
	switch {
	case was.Issuer == will.Issuer, is.Issuer == will.Issuer:
	case is.Issuer == was.Issuer:
		e.edits = append(e.edits, config.SetIssuer(will.Issuer))
	default:
		e.left("token.issuer was changed by hand to %q and is left; the answers say %q", is.Issuer, will.Issuer)
	}
	switch {
	case was.Expiration == will.Expiration, is.Expiration == will.Expiration:
	case is.Expiration == was.Expiration:
		e.edits = append(e.edits, config.SetExpiration(will.Expiration))
	default:
		e.left("token.expiration was changed by hand to %s and is left; the answers say %s", seconds(is.Expiration), seconds(will.Expiration))
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d seconds", int64(d/time.Second)) }

func (e *authEdit) services() {
	was, will, is := e.was.Extras.Services, e.will.Extras.Services, e.file.Extras.Services
	if is == nil {
		return // no list serves every name
	}
	list := slices.Clone(is)
	var added []string
	for _, s := range will {
		if !slices.Contains(was, s) && !slices.Contains(list, s) {
			added = append(added, s)
		}
	}
	for _, s := range was {
		i := slices.Index(list, s)
		switch {
		case slices.Contains(will, s):
		case i < 0:
			e.left("x-regctl-setup.services was changed by hand: %q is not in it", s)
		case len(added) > 0:
			list[i], added = added[0], added[1:]
		default:
			list = slices.Delete(list, i, i+1)
		}
	}
	if list = append(list, added...); !slices.Equal(list, is) {
		e.edits = append(e.edits, config.SetServices(list))
	}
}

// events brings in, or takes out, the listener that the registry reports to.
func (e *authEdit) events() {
	was, will, is := e.was.Extras.Audit.Events, e.will.Extras.Audit.Events, e.file.Extras.Audit.Events
	switch {
	case config.SameAuditEvents(was, will), config.SameAuditEvents(is, will):
	case config.SameAuditEvents(is, was):
		e.edits = append(e.edits, config.SetAuditEvents(will))
	case will == nil:
		e.left("x-regctl-setup.audit.events was changed by hand and is left; nothing reports there any more")
	default:
		e.left("x-regctl-setup.audit.events was changed by hand and is left; the registry reports to %s", EventsURL)
	}
}

// logins refuses a change of external logins: their sections are long, and a person's own.
func (e *authEdit) logins() error {
	text := func(f *config.File) string {
		var b strings.Builder
		for _, s := range f.Sections {
			data, err := yaml.Marshal(map[string]*yaml.Node{s.Name: s.Node})
			if err != nil {
				return err.Error()
			}
			b.Write(data)
		}
		return b.String()
	}
	was, will := text(e.was), text(e.will)
	if was == will || will == text(e.file) {
		return nil
	}
	return answers.Problems{{Key: "logins", Flag: "login", Msg: "external logins of a deployment that is there are not changed by init",
		Hint: "change the section in " + PathAuth + " by hand; init into a new folder shows how it looks"}}
}

func (e *authEdit) users(before, after answers.Answers) {
	for _, u := range e.will.Users {
		_, had := e.was.User(u.Name)
		_, has := e.file.User(u.Name)
		switch {
		case had:
			// What became of it since is a person's business, its removal too.
		case has && u.Name != "":
			e.left("user %q is there already and is left as it is", u.Name)
		case !has:
			e.edits = append(e.edits, config.AddUser(config.NewUser{Name: u.Name, Hash: u.Hash, Labels: u.Labels}))
		}
	}
	for _, u := range e.was.Users {
		if _, stays := e.will.User(u.Name); stays {
			continue
		}
		is, has := e.file.User(u.Name)
		switch {
		case !has:
		case u.Name == "" && !is.HasPassword && len(is.Labels) == 0:
			e.edits = append(e.edits, config.RemoveUser(""))
		default:
			e.left("user %q is no longer among the answers and is left; regctl-setup user remove takes it out", u.Name)
		}
	}
	for _, u := range after.Users {
		i := slices.IndexFunc(before.Users, func(o answers.User) bool { return o.Name == u.Name })
		if i < 0 || u.String() == before.Users[i].String() {
			continue
		}
		if _, has := e.file.User(u.Name); has {
			e.left("user %q is left as it is; regctl-setup user label changes its labels", u.Name)
		}
	}
}

// entries makes the difference between the two generated lists in the list that is there.
func (e *authEdit) entries() error {
	removed := without(e.was.ACL, e.will.ACL)
	added := without(e.will.ACL, e.was.ACL)
	list := slices.Clone(e.file.ACL)
	skip := map[string]bool{}
	for _, old := range removed {
		i := slices.IndexFunc(list, func(x acl.Entry) bool { return sameRule(x, old) })
		switch {
		case i < 0:
			// Its successor would stand beside what a person made of it.
			skip[subject(old)] = true
			e.left("the generated entry %s was changed or removed by hand; nothing is done about it", describeRule(old))
		case e.inUse(old):
			e.left("the entry %s is left: there are users whom it gives rights; regctl-setup acl remove %d takes it out", describeRule(old), i+1)
		default:
			list = slices.Delete(list, i, i+1)
			e.edits = append(e.edits, config.RemoveEntry(i))
		}
	}
	for _, fresh := range added {
		if skip[subject(fresh)] || slices.ContainsFunc(list, func(x acl.Entry) bool { return sameRule(x, fresh) }) {
			continue
		}
		at := place(list, e.will.ACL, fresh)
		if at < 0 {
			return errors.New(PathAuth + ": none of the generated entries is left, so there is no place for " + describeRule(fresh))
		}
		list = slices.Insert(list, at, fresh)
		e.edits = append(e.edits, config.InsertEntry(at, fresh))
	}
	return nil
}

// inUse reports whether a user of the file has a label that the entry asks for by a
// placeholder: then taking the entry out takes rights that the answers know nothing of.
func (e *authEdit) inUse(rule acl.Entry) bool {
	if rule.Match.Name == nil {
		return false
	}
	_, rest, ok := strings.Cut(*rule.Match.Name, "${labels:")
	if !ok {
		return false
	}
	key, _, _ := strings.Cut(rest, "}")
	return slices.ContainsFunc(e.file.Users, func(u config.User) bool { return len(u.Label(key)) > 0 })
}

// place returns the index for a generated entry in a list that a person may have
// changed: behind the nearest generated one before it that is there, else before the
// nearest one after it; -1 when none is.
func place(list, generated []acl.Entry, rule acl.Entry) int {
	k := slices.IndexFunc(generated, func(x acl.Entry) bool { return sameRule(x, rule) })
	find := func(x acl.Entry) int {
		return slices.IndexFunc(list, func(y acl.Entry) bool { return sameRule(x, y) })
	}
	for i := k - 1; i >= 0; i-- {
		if at := find(generated[i]); at >= 0 {
			return at + 1
		}
	}
	for i := k + 1; i < len(generated); i++ {
		if at := find(generated[i]); at >= 0 {
			return at
		}
	}
	return -1
}

// without returns the entries of list that other does not have.
func without(list, other []acl.Entry) []acl.Entry {
	var out []acl.Entry
	for _, x := range list {
		if !slices.ContainsFunc(other, func(y acl.Entry) bool { return sameRule(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}

// sameRule reports whether two entries decide the same; comments don't count.
func sameRule(a, b acl.Entry) bool {
	return describeRule(a) == describeRule(b)
}

// subject says for whom an entry is.
func subject(e acl.Entry) string {
	e.Match.Name, e.Actions = nil, nil
	return describeRule(e)
}

// describeRule writes an entry on one line, as YAML does.
func describeRule(e acl.Entry) string {
	var parts []string
	for _, f := range []struct {
		key  string
		text *string
	}{{"account", e.Match.Account}, {"type", e.Match.Type}, {"name", e.Match.Name}, {"service", e.Match.Service}, {"ip", e.Match.IP}} {
		if f.text != nil {
			parts = append(parts, fmt.Sprintf("%s: %q", f.key, *f.text))
		}
	}
	labels := make([]string, 0, len(e.Match.Labels))
	for _, l := range e.Match.Labels {
		labels = append(labels, fmt.Sprintf("%s: %q", l.Key, l.Pattern))
	}
	if slices.Sort(labels); len(labels) > 0 {
		parts = append(parts, "labels: {"+strings.Join(labels, ", ")+"}")
	}
	return fmt.Sprintf("{%s} %q", strings.Join(parts, ", "), e.Actions)
}
