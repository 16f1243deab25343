package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/safefile"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// gitDeadline bounds a question to git, which reads its index only.
const gitDeadline = 2 * time.Second

// gitChecks are about secrets under version control.
func gitChecks() []Check {
	return []Check{
		{
			Code: "secret-in-git", Severity: Error,
			Title: "a secret that git keeps",
			Why:   "everybody with the repository, now or later, has it; a removal leaves it in the history",
			Mend:  "make the secret anew after git rm --cached FILE",
			run: func(p *pass) {
				files, ok := p.gitSecrets()
				if !ok {
					return
				}
				out, err := p.git("ls-files", append([]string{"-z", "--"}, files...)...)
				if err != nil {
					p.unsure("git ls-files: %v", err)
					return
				}
				for _, name := range split0(out) {
					p.report(at(name), "git tracks it").mend("git rm --cached %s   then make a new one: the old one stays in the history", p.shown(name))
				}
			},
		},
		{
			Code: "secret-not-ignored", Severity: Warning,
			Title: "a secret that the next git add takes",
			Why:   "one git add . puts it into the repository",
			Mend:  "regctl-setup doctor --fix adds it to .gitignore",
			run: func(p *pass) {
				files, ok := p.gitSecrets()
				if !ok {
					return
				}
				tracked, err := p.git("ls-files", append([]string{"-z", "--"}, files...)...)
				if err != nil {
					return // the check before says so
				}
				ignored, err := p.git("check-ignore", append([]string{"--"}, files...)...)
				var exit *exec.ExitError
				if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
					p.unsure("git check-ignore: %v", err)
					return
				}
				for _, name := range files {
					if slices.Contains(split0(tracked), name) || slices.Contains(strings.Split(string(ignored), "\n"), name) {
						continue
					}
					p.report(at(name), "git does not ignore it").
						mend("%s   adds it to .gitignore", p.cmd("doctor --fix")).
						makes(p.ignore(name))
				}
			},
		},
	}
}

// gitSecrets returns the secret files, relative to the folder, where it lies in a git work tree.
// The auth config is left out: its rules deserve a history, and its .gitignore says what that means.
func (p *pass) gitSecrets() (files []string, ok bool) {
	inTree := false
	for dir, n := p.Dir, 0; n < 32; n++ {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			inTree = true
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	if !inTree {
		return nil, false
	}
	if _, err := exec.LookPath("git"); err != nil {
		p.unsure("the folder is in a git work tree, and git is not installed here")
		return nil, false
	}
	for _, file := range p.secretFiles() {
		if file != p.Deployment.Auth && within(p.Dir, file) {
			files = append(files, p.rel(file))
		}
	}
	return files, len(files) > 0
}

// git asks git about the folder, with a deadline and without the caller's own settings for
// repositories elsewhere.
func (p *pass) git(command string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, gitDeadline)
	defer cancel()
	c := exec.CommandContext(ctx, "git", append([]string{"-C", p.Dir, "-c", "core.quotePath=false", command}, args...)...)
	c.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "GIT_") })
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		line, _, _ := bytes.Cut(exit.Stderr, []byte("\n"))
		return out, fmt.Errorf("%w: %s", err, line)
	}
	return out, err
}

func split0(b []byte) []string {
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == 0 })
}

// ignore adds a file to .gitignore.
func (f *Facts) ignore(name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		_, err := safefile.Transform(ctx, f.Path(scaffold.PathGitignore), func(old []byte) ([]byte, error) {
			if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
				old = append(bytes.Clone(old), '\n')
			}
			return append(bytes.Clone(old), "/"+name+"\n"...), nil
		}, safefile.TransformOptions{Create: true, Mode: 0o644, Command: "regctl-setup doctor --fix"})
		return fmt.Sprintf("%s: ignores %s", scaffold.PathGitignore, name), err
	}
}
