package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/audit"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// change is what a command is about to do, as the audit log tells it.
type change struct {
	file          string
	what          []string
	accounts      []string
	access        analysis.Changes
	before, after []byte // of the file; nil: none
}

// recordChange writes the intent of a change to the deployment's audit log, on the disk before
// anything else is. An error means that nothing may be changed. finish writes what became of
// it, and more that is known only then. Both do nothing where the deployment keeps no audit log.
func (a *app) recordChange(ctx context.Context, d *deployment.Deployment, f *config.File, c change) (finish func(err error, more ...string), err error) {
	dir := auditDir(d, f)
	if dir == "" {
		return func(error, ...string) {}, nil
	}
	x := config.DefaultAudit()
	if f != nil {
		x = f.Extras.Audit
	}
	o := a.auditOptions(dir, x)
	o.Sync, o.Once = audit.SyncAlways, true
	if !x.Set {
		// A service of its own may keep this log, for as long as its flags say.
		o.Keep, o.KeepSize = 0, 0
	}
	id := make([]byte, 8)
	if _, err := io.ReadFull(a.rand, id); err != nil {
		return nil, fail(err)
	}
	ch := &audit.Change{
		ID: hex.EncodeToString(id), Phase: audit.PhaseIntent, Command: a.command, UID: os.Getuid(), Login: loginName(), SudoUser: os.Getenv("SUDO_USER"),
		File: c.file, What: c.what, Accounts: c.accounts, Before: sum(c.before), After: sum(c.after),
	}
	for _, g := range c.access.Gains {
		ch.Gains = append(ch.Gains, changeText(g))
	}
	for _, l := range c.access.Losses {
		ch.Losses = append(ch.Losses, changeText(l))
	}
	write := func(r *audit.Record) error {
		log := audit.NewLog(o)
		err := log.Append(context.WithoutCancel(ctx), r)
		return errors.Join(err, log.Close())
	}
	if err := write(&audit.Record{Kind: audit.KindChange, Change: ch}); err != nil {
		if safefile.IsFull(err) {
			return nil, fail(fmt.Errorf("the change can't be recorded, so it is not made: the disk is full, or the quota is used up: %w", err),
				"free some space on the disk of "+displayPath(dir)+" and run the command again")
		}
		return nil, fail(fmt.Errorf("the change can't be recorded, so it is not made: %w", err),
			"make "+displayPath(dir)+" writable for this user",
			"x-regctl-setup: {audit: off} in the auth config keeps no audit log")
	}
	return func(err error, more ...string) {
		done := *ch
		done.Phase, done.What = audit.PhaseResult, append(slices.Clone(ch.What), more...)
		r := &audit.Record{Kind: audit.KindChange, Result: audit.ChangeDone, Change: &done}
		if err != nil {
			r.Result, r.Reason = audit.ChangeFail, err.Error()
		}
		if err := write(r); err != nil {
			a.note("warning: the intent of this change is in the audit log, but not its result: %v", err)
		}
	}, nil
}

func sum(data []byte) string {
	if data == nil {
		return ""
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// loginName is the name of the user that this process runs as.
func loginName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

func changeText(c analysis.Change) string {
	return changeWho(c) + ": " + strings.Join(c.Actions, ",") + " on " + changeNames(c)
}

// describeEdit says in words how the files differ, and which accounts that concerns. Of
// passwords it says only that they changed.
func describeEdit(before, after *config.File) (what, accounts []string) {
	note := func(name, format string, args ...any) {
		what = append(what, fmt.Sprintf(format, args...))
		if name != "" && !slices.Contains(accounts, name) {
			accounts = append(accounts, name)
		}
	}
	renamed := renames(before, after)
	for i := range after.Users {
		now := &after.Users[i]
		was, ok := before.User(now.Name)
		if former, is := renamed[now.Name]; is {
			note(now.Name, "user %q is renamed to %q", former, now.Name)
			accounts = append(accounts, former)
			was, ok = before.User(former)
		}
		if !ok {
			note(now.Name, "user %q is added%s", now.Name, labelsText(now))
			continue
		}
		if was.Hash.Reveal() != now.Hash.Reveal() && was.Disabled == now.Disabled {
			note(now.Name, "user %q gets a new password", now.Name)
		}
		if was.Disabled != now.Disabled {
			state := "enabled"
			if now.Disabled {
				state = "disabled"
			}
			note(now.Name, "user %q is %s", now.Name, state)
		}
		if a, b := labelsText(was), labelsText(now); a != b {
			note(now.Name, "user %q had the labels%s, has%s", now.Name, cmpNone(a), cmpNone(b))
		}
		if !was.Expires.Equal(now.Expires) {
			note(now.Name, "user %q expires %s, before %s", now.Name, dateText(now), dateText(was))
		}
	}
	for i := range before.Users {
		if name := before.Users[i].Name; !has(after, name) && !slices.Contains(accounts, name) {
			note(name, "user %q is removed", name)
		}
	}
	if !slices.EqualFunc(before.ACL, after.ACL, sameEntry) {
		what = append(what, entriesText(before, after)...)
	}
	if len(what) == 0 {
		what = []string{"settings or comments of the file change"}
	}
	return what, accounts
}

// renames finds the users that have another name and all else as it was: their former names by
// the new ones. A hash holds 128 bits of salt, so that no two users share one by chance.
func renames(before, after *config.File) map[string]string {
	gone := map[string]string{}
	for i := range before.Users {
		if u := &before.Users[i]; u.HasPassword && !has(after, u.Name) {
			gone[u.Hash.Reveal()] = u.Name
		}
	}
	out := map[string]string{}
	for i := range after.Users {
		u := &after.Users[i]
		if former, ok := gone[u.Hash.Reveal()]; ok && !has(before, u.Name) {
			out[u.Name] = former
			delete(gone, u.Hash.Reveal())
		}
	}
	return out
}

func has(f *config.File, name string) bool {
	_, ok := f.User(name)
	return ok
}

func cmpNone(labels string) string {
	if labels == "" {
		return " none"
	}
	return labels
}

func labelsText(u *config.User) string {
	var b strings.Builder
	for _, l := range u.Labels {
		b.WriteString(" " + l.Key + "=" + strings.Join(l.Values, ","))
	}
	return b.String()
}

func dateText(u *config.User) string {
	if u.Expires.IsZero() {
		return "never"
	}
	return u.Expires.Format("2006-01-02")
}

// entriesText says which entries come, go or move.
func entriesText(before, after *config.File) []string {
	texts := func(f *config.File) []string {
		var out []string
		for i := range f.ACL {
			e := &f.ACL[i]
			out = append(out, matchText(e.Match)+" -> ["+strings.Join(e.Actions, ", ")+"]")
		}
		return out
	}
	was, is := texts(before), texts(after)
	var what []string
	tell := func(verb string, list, other []string) {
		left := slices.Clone(other)
		for i, text := range list {
			if at := slices.Index(left, text); at >= 0 {
				left = slices.Delete(left, at, at+1)
				continue
			}
			what = append(what, fmt.Sprintf("entry %d is %s: %s", i+1, verb, text))
		}
	}
	tell("removed", was, is)
	tell("added", is, was)
	if len(what) == 0 && !slices.Equal(was, is) {
		what = []string{"the entries change their order"}
	}
	if len(what) == 0 {
		what = []string{"comments of entries change"}
	}
	return what
}

func sameEntry(x, y acl.Entry) bool {
	return matchText(x.Match) == matchText(y.Match) && slices.Equal(x.Actions, y.Actions) && x.Comment == y.Comment
}
