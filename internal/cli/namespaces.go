package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
)

// ownNamespaceClash refuses a new name that would own a namespace which is somebody's
// already: where the rules give every account the names below its own, an account called
// like a team's namespace, or like a first component with images in it, would own those.
func (a *app) ownNamespaceClash(f *config.File, name string) error {
	if !hasOwnNamespace(f.ACL) {
		return nil
	}
	hint := "the rules give every account the names below its own name; choose another one"
	if owner := namespaceOwner(f, name); owner != "" {
		return refuse(fmt.Errorf("%q can't be a user name here: %s may push to %s/…", name, owner, name), hint)
	}
	repos := filepath.Join(a.dir(), filepath.FromSlash(deployment.DataDir), "docker", "registry", "v2", "repositories", name)
	if _, err := os.Stat(repos); err == nil {
		return refuse(fmt.Errorf("%q can't be a user name here: there are images below %s/ already", name, name), hint)
	}
	return nil
}

func hasOwnNamespace(entries []acl.Entry) bool {
	return slices.ContainsFunc(entries, func(e acl.Entry) bool {
		return e.Match.Name != nil && strings.Contains(*e.Match.Name, "${account}") && grants(e, "push")
	})
}

func grants(e acl.Entry, action string) bool {
	return slices.Contains(e.Actions, action) || len(e.Actions) == 1 && e.Actions[0] == "*"
}

// namespaceOwner returns a user who may push below name/ through an entry that names the
// names it is for, or "".
func namespaceOwner(f *config.File, name string) string {
	p, err := f.Policy()
	if err != nil {
		return "" // the edit itself reports it
	}
	for i := range f.Users {
		u := &f.Users[i]
		d := p.Decide(&acl.Request{
			Account: u.Name, Labels: u.LabelMap(), Type: "repository", Name: name + "/x", Actions: []string{"push"},
		}, nil)
		if len(d.Granted) > 0 && f.ACL[d.Index].Match.Name != nil {
			return shownName(u.Name)
		}
	}
	return ""
}

// labelUsed reports whether any entry asks for the label or pastes its values.
func labelUsed(entries []acl.Entry, key string) bool {
	placeholder := "${labels:" + key + "}"
	return slices.ContainsFunc(entries, func(e acl.Entry) bool {
		for _, l := range e.Match.Labels {
			if l.Key == key {
				return true
			}
		}
		for _, p := range []*string{e.Match.Account, e.Match.Type, e.Match.Name, e.Match.Service} {
			if p != nil && strings.Contains(*p, placeholder) {
				return true
			}
		}
		return false
	})
}

// noteUnusedLabels says which of the labels no entry of the rules asks for.
func (a *app) noteUnusedLabels(f *config.File, labels []config.Label) {
	for _, l := range labels {
		if !labelUsed(f.ACL, l.Key) {
			a.note("note: no entry of the rules uses the label %q: it changes nothing yet", l.Key)
		}
	}
}
