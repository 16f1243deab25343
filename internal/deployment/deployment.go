// Package deployment is a registry's folder on disk: where its files are, what its
// compose file mounts where, and which service name its registry uses.
//
// Two layouts are known: the one that init writes (conf/auth/auth-server.yml), and
// folders made by hand from the published guide (conf/auth-server.yml mounted as a
// single file). Paths inside the auth config are relative to the folder; a path that
// exists only inside a container is found through the compose file's mounts.
//
//	d, err := deployment.Open(".")
//	key := d.Resolve("/certs/server.key") // conf/keys/server.key on the host
package deployment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/answers"
)

// Files of a deployment, relative to its folder, slash-separated.
const (
	AnswersFile    = "regctl-setup.yaml"
	AuthConfig     = "conf/auth/auth-server.yml"
	HandAuthConfig = "conf/auth-server.yml"
	RegistryConfig = "conf/registry/config.yml"
	TrustBundle    = "conf/trust/bundle.pem"
	JWKS           = "conf/trust/jwks.json"
	DataDir        = "data/registry"
	StateDir       = "state"
)

// composeNames are the file names that docker compose looks for, in its order.
var composeNames = [...]string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}

// ErrNotFound reports a folder without an auth config.
var ErrNotFound = errors.New("no auth config found")

// Deployment is one folder. Its fields are absolute paths; "" says there is no such file.
type Deployment struct {
	Dir     string
	Auth    string // the auth config, in either layout
	Compose string // the compose file
	Answers string // regctl-setup.yaml

	load    sync.Once
	project *types.Project
	loadErr error
}

// Open finds the files of the deployment in dir. It fails with [ErrNotFound] where there
// is no auth config, and names the places that were looked at.
func Open(dir string) (*Deployment, error) {
	d, err := at(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{AuthConfig, HandAuthConfig} {
		p := filepath.Join(d.Dir, filepath.FromSlash(name))
		_, err := os.Stat(p)
		if err == nil {
			d.Auth = p
			return d, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("auth config: %w", err)
		}
	}
	return nil, fmt.Errorf("%w in %s: neither %s nor %s is there", ErrNotFound, dir, AuthConfig, HandAuthConfig)
}

// ForConfig returns the deployment that the auth config at file belongs to: dir where it
// is not empty, else the nearest folder above file that holds regctl-setup.yaml or a
// compose file, else the working directory.
func ForConfig(file, dir string) (*Deployment, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		dir = "."
		for up, n := filepath.Dir(abs), 0; n < 4; up, n = filepath.Dir(up), n+1 {
			if isDeployment(up) {
				dir = up
				break
			}
		}
	}
	d, err := at(dir)
	if err != nil {
		return nil, err
	}
	d.Auth = abs
	return d, nil
}

func at(dir string) (*Deployment, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &Deployment{Dir: abs}
	for _, name := range composeNames {
		if p := filepath.Join(abs, name); isFile(p) {
			d.Compose = p
			break
		}
	}
	if p := filepath.Join(abs, AnswersFile); isFile(p) {
		d.Answers = p
	}
	return d, nil
}

func isDeployment(dir string) bool {
	for _, name := range append([]string{AnswersFile}, composeNames[:]...) {
		if isFile(filepath.Join(dir, name)) {
			return true
		}
	}
	return false
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && !st.IsDir()
}

// Path returns the absolute path of a file of the folder, given relative with slashes.
func (d *Deployment) Path(rel string) string {
	return filepath.Join(d.Dir, filepath.FromSlash(rel))
}

// Rel returns p relative to the folder for messages, or p itself where it lies outside.
func (d *Deployment) Rel(p string) string {
	if rel, err := filepath.Rel(d.Dir, p); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return p
}

// Project loads the compose file with the folder's own .env and nothing of the process's
// environment. It is loaded once; without a compose file the project is nil.
func (d *Deployment) Project(ctx context.Context) (*types.Project, error) {
	d.load.Do(func() {
		if d.Compose == "" {
			return
		}
		opts, err := cli.NewProjectOptions([]string{d.Compose},
			cli.WithWorkingDirectory(d.Dir), cli.WithEnv(nil), cli.WithEnvFiles(), cli.WithDotEnv,
			cli.WithInterpolation(true), cli.WithResolvedPaths(true), cli.WithLoadOptions())
		if err == nil {
			d.project, err = opts.LoadProject(ctx)
		}
		if err != nil {
			d.loadErr = fmt.Errorf("compose file %s: %w", d.Compose, err)
		}
	})
	return d.project, d.loadErr
}

// Resolve turns a path of the auth config into one of this machine: absolute paths that
// exist stay, relative ones are below the folder, and what exists only inside a container
// is looked for behind the compose file's mounts. Where nothing is found, the plain
// answer is returned, so that the error of whoever opens it names the path.
func (d *Deployment) Resolve(p string) string {
	if p == "" {
		return ""
	}
	plain := p
	if !filepath.IsAbs(p) && !path.IsAbs(p) {
		plain = filepath.Join(d.Dir, filepath.FromSlash(p))
	}
	if _, err := os.Stat(plain); err == nil {
		return plain
	}
	project, err := d.Project(context.Background())
	if err != nil || project == nil {
		return plain
	}
	for _, name := range project.ServiceNames() {
		s := project.Services[name]
		inside := p
		if !path.IsAbs(inside) {
			inside = path.Join("/", s.WorkingDir, inside)
		}
		if host, ok := behindMount(s, inside); ok {
			if _, err := os.Stat(host); err == nil {
				return host
			}
		}
	}
	return plain
}

// ResolveNew is [Deployment.Resolve] for a file that need not exist yet: a path that only a
// container has is taken to the host through the mount that it lies in.
func (d *Deployment) ResolveNew(p string) string {
	found := d.Resolve(p)
	if _, err := os.Stat(found); err == nil || !path.IsAbs(p) {
		return found
	}
	project, err := d.Project(context.Background())
	if err != nil || project == nil {
		return found
	}
	for _, name := range project.ServiceNames() {
		if host, ok := behindMount(project.Services[name], p); ok {
			return host
		}
	}
	return found
}

// behindMount maps a path inside the service's container to the host, through the mount
// with the longest target.
func behindMount(s types.ServiceConfig, inside string) (string, bool) {
	best, host := -1, ""
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		target := path.Clean(v.Target)
		if inside != target && !strings.HasPrefix(inside, strings.TrimSuffix(target, "/")+"/") {
			continue
		}
		if len(target) > best {
			best = len(target)
			host = filepath.Join(v.Source, filepath.FromSlash(strings.TrimPrefix(inside, target)))
		}
	}
	return host, best >= 0
}

// SingleFileMount tells which service mounts the file itself, not its folder: such a
// container keeps the old file when it is replaced. "" says none does.
func (d *Deployment) SingleFileMount(ctx context.Context, file string) (string, error) {
	project, err := d.Project(ctx)
	if err != nil || project == nil {
		return "", err
	}
	want, err := filepath.EvalSymlinks(file)
	if err != nil {
		want = file
	}
	for _, name := range project.ServiceNames() {
		for _, v := range project.Services[name].Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			src, err := filepath.EvalSymlinks(v.Source)
			if err == nil && src == want && isFile(src) {
				return name, nil
			}
		}
	}
	return "", nil
}

// Mounted reports whether a container of the compose file sees the path.
func (d *Deployment) Mounted(ctx context.Context, p string) (bool, error) {
	names, err := d.Mounting(ctx, p)
	return len(names) > 0, err
}

// Mounting returns the services of the compose file whose containers see the path, sorted.
func (d *Deployment) Mounting(ctx context.Context, p string) ([]string, error) {
	project, err := d.Project(ctx)
	if err != nil || project == nil {
		return nil, err
	}
	var names []string
	for _, name := range project.ServiceNames() {
		for _, v := range project.Services[name].Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if rel, err := filepath.Rel(v.Source, p); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
				names = append(names, name)
				break
			}
		}
	}
	return names, nil
}

// Service returns the registry's service name, the audience of its tokens: from
// conf/registry/config.yml, else from REGISTRY_AUTH_TOKEN_SERVICE in the compose file.
// "" says that neither tells.
func (d *Deployment) Service(ctx context.Context) (string, error) {
	data, err := os.ReadFile(d.Path(RegistryConfig))
	switch {
	case err == nil:
		var c struct {
			Auth struct {
				Token struct {
					Service string `yaml:"service"`
				} `yaml:"token"`
			} `yaml:"auth"`
		}
		if err := yaml.Unmarshal(data, &c); err != nil {
			return "", fmt.Errorf("registry configuration %s: %w", d.Path(RegistryConfig), err)
		}
		if c.Auth.Token.Service != "" {
			return c.Auth.Token.Service, nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("registry configuration: %w", err)
	}
	project, err := d.Project(ctx)
	if err != nil || project == nil {
		return "", err
	}
	for _, name := range project.ServiceNames() {
		if v := project.Services[name].Environment["REGISTRY_AUTH_TOKEN_SERVICE"]; v != nil {
			return *v, nil
		}
	}
	return "", nil
}

// Answered reads the answers that the deployment was made from. Without regctl-setup.yaml,
// as in folders made by hand, ok is false.
func (d *Deployment) Answered() (a answers.Answers, ok bool, err error) {
	if d.Answers == "" {
		return a, false, nil
	}
	data, err := os.ReadFile(d.Answers)
	if err != nil {
		return a, false, fmt.Errorf("answers: %w", err)
	}
	a, err = answers.ParseYAML(d.Answers, data)
	if err != nil {
		return a, false, err
	}
	return a, true, nil
}

// Engine returns what answers the token endpoint of this deployment, one of the engines of
// package answers: the recorded one, and docker_auth for a folder that records none, since
// that is what the published guide sets up.
func (d *Deployment) Engine() (string, error) {
	a, ok, err := d.Answered()
	if err != nil || !ok {
		return answers.EngineDockerAuth, err
	}
	return a.AuthEngine(), nil
}
