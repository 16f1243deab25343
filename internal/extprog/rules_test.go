//go:build unix

package extprog_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/extprog"
)

func TestRules(t *testing.T) {
	t.Parallel()
	asked := &acl.Request{Account: "bob", Type: "repository", Name: "a/b", Actions: []string{"pull", "push"}}
	for status, want := range map[string]string{"0": "pull push", "1": "", "2": "status 2, expected 0 or 1", "3": "status 3"} {
		rules := extprog.NewRules(extprog.NewPool(), self("answer", status, "whatever", ""), extprog.Limits{Timeout: time.Minute})
		granted, matched, err := rules.Authorize(t.Context(), asked)
		if status > "1" {
			if err == nil || matched || granted != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("status %s: %v, %v, %v", status, granted, matched, err)
			}
			continue
		}
		if err != nil || !matched || strings.Join(granted, " ") != want {
			t.Errorf("status %s: %v, %v, %v; want %q", status, granted, matched, err, want)
		}
	}
}

func TestRulesQuestion(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "in")
	rules := extprog.NewRules(extprog.NewPool(), self("keep", file), extprog.Limits{Timeout: time.Minute})
	for want, req := range map[string]acl.Request{
		`{"Account":"bob x","Type":"repository","Name":"a/b","Service":"reg","IP":"10.0.0.1","Actions":["pull"],"Labels":{"team":["a"]}}`: {
			Account: "bob x", Type: "repository", Name: "a/b", Service: "reg", IP: netip.MustParseAddr("::ffff:10.0.0.1"),
			Actions: []string{"pull"}, Labels: map[string][]string{"team": {"a"}},
		},
		`{"Account":"","Type":"registry","Name":"catalog","Service":"","IP":"","Actions":["*"],"Labels":null}`: {
			Type: "registry", Name: "catalog", Actions: []string{"*"},
		},
	} {
		if granted, _, err := rules.Authorize(t.Context(), &req); err != nil || !slices.Equal(granted, req.Actions) {
			t.Errorf("granted %v, %v", granted, err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if in, _, _ := strings.Cut(string(got), "\n"); in != want {
			t.Errorf("asked\n%s, want\n%s", in, want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if granted, matched, err := rules.Authorize(t.Context(), &acl.Request{Account: "bob"}); len(granted) > 0 || !matched || err != nil {
		t.Errorf("no actions: %v, %v, %v", granted, matched, err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the program was asked about no actions")
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"sh": "", "/bin/sh": "", "no-such-program-here": "is not in PATH", "/nonexistent/x": "does not exist",
		dir: "is not a file", plain: "can't be executed",
	} {
		path, err := extprog.Find(command, nil)
		if want == "" {
			if err != nil || !filepath.IsAbs(path) {
				t.Errorf("%s: %q, %v", command, path, err)
			}
			continue
		}
		hinted, ok := err.(interface{ Hint() string })
		if !ok || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), command) || hinted.Hint() == "" {
			t.Errorf("%s: %q, %v; want an error with %q and a hint", command, path, err, want)
		}
	}
	resolve := func(p string) string { return filepath.Join("/bin", filepath.Base(p)) }
	if path, err := extprog.Find("/in/the/container/sh", resolve); err != nil || path != "/bin/sh" {
		t.Errorf("resolved: %q, %v", path, err)
	}
	if _, err := extprog.Find("/in/the/container/none", resolve); err == nil || !strings.Contains(err.Error(), `looked for as "/bin/none"`) {
		t.Errorf("resolved to nothing: %v", err)
	}
}

// TestNotRunnable: a file that the system can't run is an error, not an answer.
func TestNotRunnable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "prog")
	if err := os.WriteFile(file, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "-gone"} {
		rules := extprog.NewRules(extprog.NewPool(), extprog.Program{Name: "ext_authz", Path: path}, extprog.Limits{})
		granted, matched, err := rules.Authorize(t.Context(), &acl.Request{Actions: []string{"pull"}})
		if err == nil || matched || granted != nil || !strings.Contains(err.Error(), "ext_authz: the program could not be started") {
			t.Errorf("%s: %v, %v, %v", path, granted, matched, err)
		}
	}
}
