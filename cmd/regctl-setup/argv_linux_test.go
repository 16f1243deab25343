package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestG6SecretsNeverInArgv: no command takes a secret as an argument, and says it back when
// it gets one; what is read from stdin is in no output and no file but as a hash; and a login
// program gets a password on its stdin, in nobody's arguments or environment.
func TestG6SecretsNeverInArgv(t *testing.T) {
	t.Parallel()
	const canary = "canary-Argv-5d81c0"
	var secrets canaries
	secrets.add(canary)
	dir := t.TempDir()
	run := func(stdin string, args ...string) (int, string) {
		var stdout syncBuffer
		p, errOut := start(t, func(c *exec.Cmd) {
			c.Dir, c.Stdin, c.Stdout = dir, strings.NewReader(stdin), &stdout
			c.Env = append(os.Environ(), "HOME="+dir)
		}, args...)
		status := p.wait(60 * time.Second)
		return status, stdout.String() + errOut.String()
	}
	for _, command := range []string{"user add bob", "user passwd bob", "user verify bob", "init reg", "up", "serve", "doctor", "token request", "token issue", "s3 init", "keys generate", "user list"} {
		for _, flag := range []string{"--password", "--secret", "--token", "--hash"} {
			status, out := run("", append(strings.Fields(command), flag+"="+canary)...)
			if status != 2 {
				t.Errorf("%s %s: status %d, want 2: %s", command, flag, status, out)
			}
			secrets.check(t, command+" "+flag, out)
		}
	}

	program := filepath.Join(dir, "login")
	script := fmt.Sprintf("#!/bin/sh\nfor f in /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline /proc/$PPID/environ; do tr '\\0' ' ' <$f; done >%s/seen\ncat >%s/stdin\nexit 0\n", dir, dir)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	config, addr := serverFolder(t, plainConfig+"ext_auth: {command: "+program+"}\n")
	for _, args := range [][]string{
		{"--config", config, "user", "add", "bob", "--password-stdin", "--cost", "5"},
		{"--config", config, "user", "passwd", "bob", "--password-stdin", "--cost", "5"},
		{"--config", config, "user", "verify", "bob", "--password-stdin"},
	} {
		status, out := run(canary+"\n", args...)
		if status != 0 {
			t.Errorf("%q: status %d: %s", args, status, out)
		}
		secrets.check(t, strings.Join(args, " "), out)
	}
	p, errOut := start(t, nil, "serve", "--log-level", "debug", config)
	p.serving("tcp", addr, "http")
	if code, body, err := ask("tcp", addr, "http://"+addr+"/auth?service=r", "eve", canary); err != nil || code != 200 {
		t.Errorf("a login by the program: %d %q, %v", code, body, err)
	}
	p.signal(syscall.SIGTERM)
	p.wait(25 * time.Second)
	secrets.check(t, "the server's log", errOut.String())
	if got, err := os.ReadFile(filepath.Join(dir, "stdin")); err != nil || string(got) != "eve "+canary {
		t.Errorf("the program read %q, %v", got, err)
	}
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	if err != nil || !strings.Contains(string(seen), program) || !strings.Contains(string(seen), "serve --log-level debug") {
		t.Errorf("the program saw %q, %v: the test sees too little", seen, err)
	}
	secrets.check(t, "the arguments and environments", string(seen))
	for _, folder := range []string{dir, filepath.Dir(config)} {
		err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || path == filepath.Join(dir, "stdin") {
				return err
			}
			data, err := os.ReadFile(path)
			secrets.check(t, path, string(data))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
