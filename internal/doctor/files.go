package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// at is a whole file as a place.
func at(file string) acl.Pos { return acl.Pos{File: file} }

// secretFiles are the files that hold secrets, relative to the folder, those that exist.
func (f *Facts) secretFiles() []string {
	candidates := []string{f.Deployment.Auth, f.registryFile}
	if f.registryFile != "" && f.settings.text("http.secret") == "" && !f.settings.has("storage.s3.secretkey") {
		candidates[1] = "" // a configuration without a secret
	}
	if f.Auth != nil {
		if _, key := f.Auth.SigningPair(); key != "" {
			candidates = append(candidates, f.Resolve(key))
		}
	}
	candidates = append(candidates, f.Path(scaffold.PathKey), f.Path(scaffold.PathCAKey), f.Path(scaffold.PathEventsSecret), f.Path(scaffold.PathAuditSecret), f.Path(rotationDir+"/old.key"), f.Path(rotationDir+"/new.key"))
	_ = filepath.WalkDir(f.Path("secrets"), func(path string, d fs.DirEntry, err error) error {
		// The public half of a TLS pair is no secret, and an unreadable folder is another check's.
		if err == nil && d.Type().IsRegular() && path != f.Path(scaffold.PathTLSCert) && filepath.Ext(path) != ".lock" {
			candidates = append(candidates, path)
		}
		return nil
	})
	var out []string
	seen := map[string]bool{}
	for _, p := range candidates {
		if p == "" || !isFile(p) || seen[p] {
			continue
		}
		seen[p] = true
		out = append(out, p)
	}
	return out
}

// positioned is an error that begins with the answers file and a place in it.
var positioned = regexp.MustCompile(regexp.QuoteMeta(deployment.AnswersFile) + `:(\d+):(\d+): (.*)$`)

func filesChecks() []Check {
	return []Check{
		{
			Code: "file-missing", Severity: Error,
			Title: "a file that a service reads and that is not there",
			Why:   "the service does not start, or Docker makes an empty directory in the file's place",
			Mend:  "bring the file back from a backup, or make it again",
			run:   missingFiles,
		},
		{
			Code: "answers-invalid", Severity: Error,
			Title: "recorded answers that can't be read",
			Why:   "init can't render the deployment again, and up does not know which runtime was meant",
			Mend:  "correct regctl-setup.yaml at the line named",
			run: func(p *pass) {
				if p.answersErr == nil {
					return
				}
				for _, line := range strings.Split(trimPath(p.answersErr, p.Deployment.Answers).Error(), "\n") {
					pos := at(deployment.AnswersFile)
					if m := positioned.FindStringSubmatch(line); m != nil {
						pos.Line, _ = strconv.Atoi(m[1])
						pos.Column, _ = strconv.Atoi(m[2])
						line = m[3]
					}
					p.report(pos, "%s", line).mend("correct %s; %s   lists the keys", p.shown(deployment.AnswersFile), "regctl-setup init --help")
				}
			},
		},
		{
			Code: "mode-too-open", Severity: Error,
			Title: "a file with a secret that others on this machine can read",
			Why:   "every account here can sign tokens, read password hashes or go on with somebody's upload",
			Mend:  "regctl-setup doctor --fix, or chmod 600 FILE",
			run: func(p *pass) {
				if runtime.GOOS == "windows" {
					return
				}
				allowed := p.Auth != nil && p.Auth.Extras.AllowReadableKey
				for _, file := range p.secretFiles() {
					st, err := os.Stat(file)
					if err != nil || st.Mode().Perm()&0o077 == 0 || allowed && filepath.Ext(file) == ".key" {
						continue
					}
					p.report(at(p.rel(file)), "mode %04o lets others read it", st.Mode().Perm()).
						mend("chmod 600 %s   (%s does)", p.shown(p.rel(file)), p.cmd("doctor --fix")).
						makes(p.chmod(file, 0o600))
				}
				for _, dir := range []string{"secrets", "state", "audit"} {
					st, err := os.Stat(p.Path(dir))
					if err != nil || !st.IsDir() || st.Mode().Perm()&0o077 == 0 {
						continue
					}
					p.report(at(dir), "mode %04o lets others look inside", st.Mode().Perm()).
						mend("chmod 700 %s   (%s does)", p.shown(dir), p.cmd("doctor --fix")).
						makes(p.chmod(p.Path(dir), 0o700))
				}
			},
		},
		{
			Code: "folder-not-enterable", Severity: Error,
			Title: "a mounted folder that the service's user can't enter",
			Why:   "a service without capabilities is bound by modes even as root: it ends with \"permission denied\"",
			Mend:  "regctl-setup doctor --fix, or chmod 755 FOLDER",
			run: func(p *pass) {
				if runtime.GOOS == "windows" || !p.generated {
					return
				}
				for _, dir := range []string{"conf/auth", "conf/audit", "conf/caddy", "conf/keys", "conf/registry", "conf/trust"} {
					st, err := os.Stat(p.Path(dir))
					if err != nil || !st.IsDir() || st.Mode().Perm()&0o500 == 0o500 && (dir != "conf/caddy" || st.Mode().Perm()&0o005 == 0o005) {
						continue
					}
					p.report(at(dir), "mode %04o keeps the service that mounts it out", st.Mode().Perm()).
						mend("chmod 755 %s   (%s does)", p.shown(dir), p.cmd("doctor --fix")).
						makes(p.chmod(p.Path(dir), 0o755))
				}
			},
		},
		{
			Code: "owner-mismatch", Severity: Error,
			Title: "a file that its service can't read because of its owner or mode",
			Why:   "the services run as one user without capabilities; a file of mode 0600 that belongs to somebody else stops them with \"permission denied\"",
			Mend:  "chown -R UID:GID of .env's REGISTRY_UID and REGISTRY_GID, or correct these two",
			run:   owners,
		},
		{
			Code: "engine-unusable", Severity: Error,
			Title: "a token server's program that its image can't run",
			Why:   "the image is made FROM scratch: a program for another system, or one that needs a loader, ends at once with \"exec format error\" or \"no such file\"",
			Mend:  "copy a static Linux build of regctl-setup to engine/regctl-setup",
			run: func(p *pass) {
				service := "auth"
				switch {
				case !p.generated:
					return
				case p.auditService():
					service = "audit"
				case p.auth == nil || p.auth.Build == nil || !p.Bundled:
					return
				}
				data, err := os.ReadFile(p.Path(scaffold.PathEngine))
				if errors.Is(err, fs.ErrNotExist) && p.Embedded {
					return
				}
				if err == nil {
					arch := runtime.GOARCH
					if arch != "arm64" {
						arch = "amd64"
					}
					err = scaffold.CheckEngine(data, arch)
				}
				if err != nil {
					p.report(at(scaffold.PathEngine), "the engine can't be used: %v", trimPath(err, p.Path(scaffold.PathEngine))).
						mend("CGO_ENABLED=0 GOOS=linux go build -o %s ./cmd/regctl-setup   in this program's sources, then: %s", p.shown(scaffold.PathEngine), p.dockerCompose("up -d --build "+service))
				}
			},
		},
	}
}

// trimPath leaves out the path that the error begins with: the finding's position says it.
func trimPath(err error, path string) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && pe.Path == path {
		return pe.Err
	}
	return err
}

// noEnv reports whether .env is missing.
func (f *Facts) noEnv() bool {
	_, err := os.Lstat(f.Path(scaffold.PathEnv))
	return errors.Is(err, fs.ErrNotExist)
}

func missingFiles(p *pass) {
	miss := func(rel, who, fix string) {
		p.report(at(rel), "the file is missing; %s needs it", who).mend("%s", fix)
	}
	restore := "bring it back from a backup or from git"
	again := restore // of what holds nothing but the answers
	if p.Answers != nil {
		again = p.cmd("init --yes") + "   makes it again as the recorded answers say; then: " + p.cmd("up")
		if !p.Embedded && p.noEnv() {
			miss(scaffold.PathEnv, "docker compose", again)
		}
	}
	switch {
	case errors.Is(p.authErr, fs.ErrNotExist):
		miss(p.rel(p.Deployment.Auth), "the token server", restore)
	case p.authErr != nil:
		p.report(at(p.rel(p.Deployment.Auth)), "can't be read: %v", trimPath(p.authErr, p.Deployment.Auth)).mend("ls -l %s   shows whose it is", p.shown(p.rel(p.Deployment.Auth)))
	}
	if p.Deployment.Answers != "" && p.Compose == "" && !p.Embedded {
		miss(scaffold.PathCompose, "docker compose", again)
	}
	if p.generated && p.registryFile == "" {
		miss(deployment.RegistryConfig, "the registry", again)
	}
	if p.caddy != nil && p.caddyfile == "" && p.generated {
		miss(scaffold.PathCaddyfile, "caddy", again)
	}
	if a := p.Answers; a != nil && a.ACMECARoot != "" && p.generated && !isFile(p.Path(scaffold.PathACMERoot)) {
		miss(scaffold.PathACMERoot, "caddy", again)
	}
	if p.Auth != nil {
		cert, key := p.Auth.SigningPair()
		for _, file := range []string{key, cert} {
			if file != "" && !isFile(p.Resolve(file)) {
				miss(file, "the token server", "bring it back from a backup; or "+p.newPair())
			}
		}
	}
	for _, setting := range []string{"auth.token.rootcertbundle", "auth.token.jwks"} {
		if file, mounted := p.trustFile(setting); file != "" && mounted && !isFile(file) {
			miss(p.rel(file), "the registry", p.cmd("doctor --fix")+"   makes it from the signing certificate")
			p.found[len(p.found)-1].makes(p.writeTrust(setting, file))
		}
	}
	known := map[string]bool{}
	for _, f := range p.found {
		known[f.Pos.File] = true
	}
	for _, s := range p.services() {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind || known[p.rel(v.Source)] {
				continue
			}
			if _, err := os.Stat(v.Source); errors.Is(err, fs.ErrNotExist) && within(p.Dir, v.Source) && !p.coversMissing(v.Source) {
				known[p.rel(v.Source)] = true
				p.report(at(p.rel(v.Source)), "service %s mounts it, and it is not there: Docker would make an empty directory that belongs to root", s.Name).
					mend("mkdir -p %s if it is a folder, else bring the file back", p.shown(p.rel(v.Source)))
			}
		}
	}
	for _, name := range sortedNames(p.secretsOf()) {
		if file := p.secretsOf()[name]; !isFile(file) {
			miss(p.rel(file), "docker compose (secret "+name+")", restore)
		}
	}
}

// coversMissing reports whether a file below the folder was reported as missing already.
func (p *pass) coversMissing(dir string) bool {
	for _, f := range p.found {
		if within(dir, p.Path(f.Pos.File)) {
			return true
		}
	}
	return false
}

func (f *Facts) secretsOf() map[string]string {
	out := map[string]string{}
	if f.project != nil {
		for name, s := range f.project.Secrets {
			if s.File != "" {
				out[name] = s.File
			}
		}
	}
	return out
}

// chmod changes a mode and nothing else.
func (f *Facts) chmod(path string, mode fs.FileMode) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		if err := os.Chmod(path, mode); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s: mode %04o", f.rel(path), mode), nil
	}
}
