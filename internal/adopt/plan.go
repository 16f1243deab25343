package adopt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/yamledit"
)

// Made is what a new deployment needs besides what was found.
type Made struct {
	HTTPSecret secret.Text
	UID, GID   int
}

// Plan returns the files of the new deployment, checked by the parsers that will read
// them, and the record of what was generated, by which init knows them again. It must
// not be called while there are blocks.
func (f *Found) Plan(ctx context.Context, made Made) ([]safefile.File, error) {
	if len(f.Blocks) > 0 || f.auth == nil {
		return nil, fmt.Errorf("%d findings have to be mended first", len(f.Blocks))
	}
	m := f.m
	m.HTTPSecret, m.UID, m.GID = made.HTTPSecret, made.UID, made.GID
	files, err := scaffold.Plan(f.Answers, m)
	if err != nil {
		return nil, err
	}
	auth, err := f.editAuth()
	if err != nil {
		return nil, err
	}
	for i := range files {
		switch files[i].Path {
		case scaffold.PathAuth:
			files[i].Data = auth
		case scaffold.PathACLTests:
			if files[i].Data, err = f.cases(); err != nil {
				return nil, err
			}
		}
	}
	if _, err := scaffold.CheckTaken(ctx, files); err != nil {
		return nil, err
	}
	for i := range files {
		if files[i].Path == scaffold.PathGitignore {
			files[i].Data = f.ignored(files[i].Data)
		}
	}
	record := scaffold.NewRecord(f.Answers, files)
	// No answers give these cases: init must take them for a person's.
	delete(record.Files, scaffold.PathACLTests)
	return append(files, record.File()), nil
}

// ignored adds what the folder's own .gitignore kept out of version control.
func (f *Found) ignored(generated []byte) []byte {
	old, err := os.ReadFile(filepath.Join(f.Dir, scaffold.PathGitignore))
	if err != nil {
		return generated // there is none; one that can't be read stops Changes
	}
	out := slices.Clone(generated)
	known := strings.Split(string(generated), "\n")
	var more []string
	for line := range strings.Lines(string(old)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && !slices.Contains(known, line) {
			more = append(more, line)
		}
	}
	if len(more) > 0 {
		out = append(out, "\n# From before this folder was taken over.\n"+strings.Join(more, "\n")+"\n"...)
	}
	return out
}

// editAuth returns the auth config with what the new layout needs and nothing else:
// where the key lies, who names the client's address, which services there are.
func (f *Found) editAuth() ([]byte, error) {
	doc, err := yamledit.Parse(f.source)
	if err != nil {
		return nil, err
	}
	var edits []yamledit.Edit
	set := func(section, key string, v yamledit.Value) {
		p := yamledit.Path{section, key}
		if doc.Lookup(p) != nil {
			edits = append(edits, yamledit.SetValue(p, v))
		} else {
			edits = append(edits, yamledit.InsertKey(yamledit.Path{section}, key, v, yamledit.Last()))
		}
	}
	if f.auth.Server.Addr != ":5001" {
		set("server", "addr", yamledit.Scalar(":5001"))
	}
	set("server", "real_ip_header", yamledit.Scalar("X-Forwarded-For"))
	set("server", "real_ip_pos", yamledit.Int(-1))
	set("token", "certificate", yamledit.Scalar(scaffold.PathCert))
	set("token", "key", yamledit.Scalar(scaffold.PathKey))
	services := []string{f.Answers.Resolve().Service}
	if f.Answers.HasCache() {
		services = append(services, f.Answers.Cache.Domain)
	}
	const extras = "x-regctl-setup"
	if doc.Lookup(yamledit.Path{extras}) == nil {
		edits = append(edits, yamledit.InsertKey(yamledit.Path{}, extras, yamledit.Map(
			yamledit.KV("trusted_proxies", yamledit.Strings("private")), yamledit.KV("services", yamledit.Strings(services...))), yamledit.After("token")))
	} else {
		if !f.auth.Extras.HasTrustedProxies {
			set(extras, "trusted_proxies", yamledit.Strings("private"))
		}
		if !slices.Contains(f.auth.Extras.Services, services[0]) {
			set(extras, "services", yamledit.Strings(append(slices.Clone(f.auth.Extras.Services), services...)...))
		}
	}
	out, err := doc.Apply(edits...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", scaffold.PathAuth, err)
	}
	after, problems := config.Parse(scaffold.PathAuth, out.Bytes())
	if len(problems) > 0 {
		return nil, problems
	}
	if err := same(f.auth, after); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// same compares what must not change: users with their hashes and labels, and the rules.
func same(before, after *config.File) error {
	user := func(u config.User) config.User {
		u.Pos, u.PasswordPos = acl.Pos{}, acl.Pos{}
		u.Labels = slices.Clone(u.Labels)
		for i := range u.Labels {
			u.Labels[i] = config.Label{Key: u.Labels[i].Key, Values: u.Labels[i].Values}
		}
		return u
	}
	entry := func(e acl.Entry) acl.Entry { e.Pos = acl.Pos{}; return e }
	if len(before.Users) != len(after.Users) || len(before.ACL) != len(after.ACL) {
		return errors.New("users or rules would change: nothing is written")
	}
	for i := range before.Users {
		if !reflect.DeepEqual(user(before.Users[i]), user(after.Users[i])) {
			return fmt.Errorf("user %q would change: nothing is written", before.Users[i].Name)
		}
	}
	for i := range before.ACL {
		if !reflect.DeepEqual(entry(before.ACL[i]), entry(after.ACL[i])) {
			return fmt.Errorf("rule %d would change: nothing is written", i+1)
		}
	}
	return nil
}

const maxCases = 50 // users that get a case; a file of thousands would test nothing more

// cases returns conf/acl-tests.yml with what the rules allow today, so that the next edit
// shows what it changes.
func (f *Found) cases() ([]byte, error) {
	policy, err := f.auth.Policy()
	if err != nil {
		return nil, err
	}
	names := []string{"library/nginx", "some/deep/name"}
	for _, u := range f.auth.Users {
		for _, l := range u.Labels {
			if l.Key == "team" {
				for _, v := range l.Values {
					if n := "dev-" + v + "/app"; !slices.Contains(names, n) && len(names) < 8 && !strings.ContainsAny(v, " *?[]|\\") {
						names = append(names, n)
					}
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString(`# What the rules allowed when this folder was taken over, as cases that "regctl-setup acl
# test" runs. They say what is, not what should be: change a case first, then the rules.
cases:
`)
	users := slices.Clone(f.auth.Users)
	if !slices.ContainsFunc(users, func(u config.User) bool { return u.Name == "" }) {
		users = append(users, config.User{})
	}
	n := 0
	for _, u := range users {
		if u.Disabled || n == maxCases {
			continue
		}
		var accept, deny []string
		for _, name := range names {
			for _, action := range []string{"delete", "pull", "push"} {
				d := policy.Decide(&acl.Request{Account: u.Name, Type: "repository", Name: name, Service: f.Answers.Resolve().Service, Labels: u.LabelMap(), Actions: []string{action}}, nil)
				// A rule by address answers differently from elsewhere.
				if d.Index >= 0 && slices.ContainsFunc(policy.Entries()[:d.Index+1], func(e acl.Entry) bool { return e.Match.IP != nil }) || d.Index < 0 && slices.ContainsFunc(policy.Entries(), func(e acl.Entry) bool { return e.Match.IP != nil }) {
					continue
				}
				line := "      - " + single(action+" "+name) + "\n"
				if len(d.Granted) > 0 {
					accept = append(accept, line)
				} else {
					deny = append(deny, line)
				}
			}
		}
		if len(accept)+len(deny) == 0 {
			continue
		}
		n++
		fmt.Fprintf(&b, "  - who: %s\n", single(cmp.Or(u.Name, "anonymous")))
		if len(accept) > 0 {
			b.WriteString("    accept:\n" + strings.Join(accept, ""))
		}
		if len(deny) > 0 {
			b.WriteString("    deny:\n" + strings.Join(deny, ""))
		}
		b.WriteString("    reason: so it was when the folder was taken over\n")
	}
	if n == 0 {
		b.WriteString("  - who: anonymous\n    deny:\n      - push library/nginx\n    reason: nobody pushes without a login\n")
	}
	return []byte(b.String()), nil
}

// single writes s in YAML's single quotes.
func single(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Changes returns the files as the changes of one journal of the old folder: what they
// replace, and what they make useless, goes to a folder below state/, whose name is
// returned, relative.
func (f *Found) Changes(files []safefile.File, now time.Time) (changes []safefile.Change, backup string, err error) {
	backup = path.Join("state", "adopted-"+now.UTC().Format("20060102"))
	for i := 2; ; i++ {
		if _, err := os.Lstat(filepath.Join(f.Dir, filepath.FromSlash(backup))); errors.Is(err, fs.ErrNotExist) {
			break
		}
		backup = path.Join("state", "adopted-"+now.UTC().Format("20060102")+"-"+strconv.Itoa(i))
	}
	read := func(rel string) ([]byte, bool, error) {
		data, err := os.ReadFile(filepath.Join(f.Dir, filepath.FromSlash(rel)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
		return data, err == nil, err
	}
	save := func(rel string, data []byte) {
		// 0600, since an old file may hold secrets; its name tells where it was.
		changes = append(changes, safefile.Change{Path: path.Join(backup, rel), Mode: 0o600, Data: data, Expect: safefile.Absent})
	}
	for _, file := range files {
		old, there, err := read(file.Path)
		if err != nil {
			return nil, "", err
		}
		c := safefile.Change{Path: file.Path, Mode: file.Mode, Max: file.Mode, Data: file.Data, Expect: safefile.Absent}
		if there {
			c.Expect = safefile.Sum(old)
			if c.Expect != safefile.Sum(file.Data) {
				save(file.Path, old)
			}
		}
		changes = append(changes, c)
	}
	for _, p := range f.old {
		rel, err := filepath.Rel(f.Dir, p)
		if err != nil {
			return nil, "", err
		}
		rel = filepath.ToSlash(rel)
		if slices.ContainsFunc(files, func(n safefile.File) bool { return n.Path == rel }) {
			continue
		}
		data, there, err := read(rel)
		if err != nil {
			return nil, "", err
		}
		if there {
			save(rel, data)
			changes = append(changes, safefile.Change{Path: rel, Remove: true, Expect: safefile.Sum(data)})
		}
	}
	return changes, backup, nil
}

// Dirs returns the folders of the new deployment with their modes, those of a backup
// included.
func (f *Found) Dirs(backup string) map[string]fs.FileMode {
	dirs := scaffold.Dirs(f.Answers)
	if backup != "" {
		dirs[backup] = 0o700
	}
	return dirs
}
