package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// Options say which deployment is looked at.
type Options struct {
	// Deployment is the folder; see [Open] for one of which half is missing.
	Deployment *deployment.Deployment
	// Engine is what answers the token endpoint; "" is what the deployment records.
	Engine string
	// Now is the time that dates are judged at; nil: time.Now.
	Now func() time.Time
	// Dir is the folder as commands in advice shall name it; "" or "." leaves it out.
	Dir string
	// Space says how many bytes are free on the disk of a folder, and how many it has; nil: what
	// the system says.
	Space func(dir string) (free, total uint64, err error)
}

// Facts are what the checks look at: every file of the deployment, read once.
type Facts struct {
	*deployment.Deployment
	// Now is when the facts were gathered.
	Now time.Time
	// Bundled says that this program answers the token endpoint, else docker_auth.
	Bundled bool
	// Embedded says that the recorded runtime is one process.
	Embedded bool
	// Answers are the recorded answers, resolved; nil where there are none or they can't be read.
	Answers *answers.Answers
	// Auth is the auth config; nil where it can't be read.
	Auth *config.File

	dir        string // for advice
	generated  bool   // has the layout that init writes
	answersErr error
	authErr    error
	problems   config.Problems

	project    *types.Project
	projectErr error
	compose    *yaml.Node // for positions; nil without
	env        []envLine
	registry   *service
	auth       *service
	caddy      *service

	settings       settings
	settingsErr    error  // of the registry's file
	registryFile   string // absolute; "" where there is none
	registryStrict error  // from the registry's own decoder

	caddyfile string // absolute; "" where there is none
	site      *caddyConfig
	siteErr   error

	cache bool // the registry is the pull-through cache; see cacheFacts

	space func(dir string) (free, total uint64, err error)
}

// service is a service of the compose file.
type service struct {
	types.ServiceConfig
	image image
}

// Open finds the deployment in dir, also where its auth config is missing, as long as anything
// else of a deployment is there.
func Open(dir string) (*deployment.Deployment, error) {
	d, err := deployment.Open(dir)
	if err == nil || !errors.Is(err, deployment.ErrNotFound) {
		return d, err
	}
	half, again := deployment.ForConfig(filepath.Join(dir, filepath.FromSlash(deployment.AuthConfig)), dir)
	if again != nil {
		return nil, again
	}
	_, noRegistry := os.Stat(half.Path(deployment.RegistryConfig))
	if half.Compose == "" && half.Answers == "" && noRegistry != nil {
		return nil, err
	}
	return half, nil
}

// Gather reads everything that the checks look at. Files that are missing or broken are facts and
// no error; it fails only where the folder itself can't be read.
func Gather(ctx context.Context, o Options) (*Facts, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &Facts{Deployment: o.Deployment, Now: o.Now(), dir: o.Dir, settings: settings{all: map[string]setting{}}, space: o.Space}
	if f.space == nil {
		f.space = diskSpace
	}
	if _, err := os.ReadDir(f.Dir); err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	f.generated = f.Deployment.Auth == f.Path(deployment.AuthConfig)
	f.readAnswers(o.Engine)
	f.readAuth()
	f.readCompose(ctx)
	f.readEnv()
	f.readRegistry()
	f.readCaddy()
	return f, nil
}

func (f *Facts) readAnswers(engine string) {
	a, ok, err := f.Answered()
	f.answersErr = err
	if ok && err == nil {
		a = a.Resolve()
		f.Answers = &a
		f.Embedded = a.Runtime == answers.RuntimeEmbedded
		f.Bundled = a.AuthEngine() == answers.EngineBundled
	}
	if engine != "" {
		f.Bundled = engine == answers.EngineBundled
	}
}

func (f *Facts) readAuth() {
	data, err := readBounded(f.Deployment.Auth, config.MaxFileSize)
	if err != nil {
		f.authErr = err
		return
	}
	f.Auth, f.problems = config.Parse(f.rel(f.Deployment.Auth), data)
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(p string, limit int64) ([]byte, error) {
	st, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: p, Err: errors.New("not a regular file")}
	}
	if st.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("%d bytes, more than %d", st.Size(), limit)}
	}
	return os.ReadFile(p)
}

const maxConfigSize = 4 << 20 // of any file but the auth config, in bytes

// rel is the path for messages, with slashes.
func (f *Facts) rel(p string) string { return filepath.ToSlash(f.Rel(p)) }

func (f *Facts) readCompose(ctx context.Context) {
	if f.Compose == "" {
		return
	}
	f.project, f.projectErr = f.Project(ctx)
	if data, err := readBounded(f.Compose, maxConfigSize); err == nil {
		var n yaml.Node
		if yaml.Unmarshal(data, &n) == nil && len(n.Content) == 1 {
			f.compose = n.Content[0]
		}
	}
	if f.project == nil {
		return
	}
	for _, name := range f.project.ServiceNames() {
		s := &service{ServiceConfig: f.project.Services[name], image: parseImage(f.project.Services[name].Image)}
		switch {
		case f.isRegistry(s):
			// Beside the registry there may be a cache of another one.
			if f.registry == nil || s.Name == "registry" {
				f.registry = s
			}
		case f.auth == nil && f.isAuth(s):
			f.auth = s
		case f.caddy == nil && (s.image.base() == "caddy" || s.Name == "caddy"):
			f.caddy = s
		}
	}
}

func (f *Facts) isRegistry(s *service) bool {
	if b := s.image.base(); b == "registry" || b == "distribution" {
		return true
	}
	for k := range s.Environment {
		if strings.HasPrefix(k, "REGISTRY_AUTH") || strings.HasPrefix(k, "REGISTRY_STORAGE") {
			return true
		}
	}
	return s.Name == "registry"
}

func (f *Facts) isAuth(s *service) bool {
	if b := s.image.base(); b == "docker_auth" {
		return true
	}
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind && within(v.Source, f.Deployment.Auth) {
			return true
		}
	}
	return s.Name == "auth"
}

// within reports whether p is dir or below it.
func within(dir, p string) bool {
	rel, err := filepath.Rel(dir, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// services are the compose file's services, by name.
func (f *Facts) services() []*service {
	var out []*service
	if f.project == nil {
		return nil
	}
	for _, name := range f.project.ServiceNames() {
		out = append(out, &service{ServiceConfig: f.project.Services[name], image: parseImage(f.project.Services[name].Image)})
	}
	return out
}

// inside finds the host's file behind a path in the service's container.
func (s *service) inside(p string) (host string, mounted bool) {
	best := -1
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		target := path.Clean(v.Target)
		if p != target && !strings.HasPrefix(p, strings.TrimSuffix(target, "/")+"/") || len(target) <= best {
			continue
		}
		best = len(target)
		host = filepath.Join(v.Source, filepath.FromSlash(strings.TrimPrefix(p, target)))
	}
	return host, best >= 0
}

// mounts reports whether the service has any volume at the path or above it.
func (s *service) mounts(p string) bool {
	for _, v := range s.Volumes {
		if t := path.Clean(v.Target); t == p || strings.HasPrefix(p, strings.TrimSuffix(t, "/")+"/") {
			return true
		}
	}
	return false
}

// variable returns the value of an environment variable.
func (s *service) variable(name string) string {
	if v := s.Environment[name]; v != nil {
		return *v
	}
	return ""
}

// composeAt returns where something of the compose file stands: the deepest key of the path that
// is written there; the rest may come from an anchor.
func (f *Facts) composeAt(keys ...string) acl.Pos {
	at := acl.Pos{File: f.rel(f.Compose), Line: 1, Column: 1}
	n := f.compose
	for _, key := range keys {
		next := (*yaml.Node)(nil)
		for n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n == nil {
			break
		}
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					at.Line, at.Column, next = n.Content[i].Line, n.Content[i].Column, n.Content[i+1]
				}
			}
		case yaml.SequenceNode:
			for _, item := range n.Content {
				if item.Kind == yaml.ScalarNode && (strings.HasPrefix(item.Value, key) || strings.Contains(item.Value, ":"+key)) {
					at.Line, at.Column = item.Line, item.Column
					break
				}
			}
		}
		if n = next; n == nil {
			break
		}
	}
	return at
}

func (f *Facts) serviceAt(s *service, keys ...string) acl.Pos {
	return f.composeAt(append([]string{"services", s.Name}, keys...)...)
}

// registryPaths are where registries look for their configuration when the command names none.
var registryPaths = [...]string{"/etc/distribution/config.yml", "/etc/docker/registry/config.yml"}

func (f *Facts) readRegistry() {
	if p := f.Path(deployment.RegistryConfig); isFile(p) {
		f.registryFile = p
	} else if f.registry != nil {
		for _, arg := range slices.Concat(f.registry.Command, types.ShellCommand(registryPaths[:])) {
			if p, ok := f.registry.inside(arg); ok && isFile(p) {
				f.registryFile = p
				break
			}
		}
	}
	f.readRegistryFrom(f.registryFile)
}

// readRegistryFrom reads the settings of a registry: its file ("" = none), then its environment.
func (f *Facts) readRegistryFrom(file string) {
	f.registryFile = file
	if f.registryFile != "" {
		data, err := readBounded(f.registryFile, maxConfigSize)
		if err == nil {
			var n yaml.Node
			if err = yaml.Unmarshal(data, &n); err == nil {
				f.settings.fromNode(f.rel(f.registryFile), "", &n)
				_, f.registryStrict = scaffold.RegistryConfig(data)
			}
		}
		f.settingsErr = err
	}
	if f.registry == nil {
		return
	}
	var names []string
	for name := range f.registry.Environment {
		if strings.HasPrefix(name, "REGISTRY_") {
			names = append(names, name)
		}
	}
	// Sections before what is in them: REGISTRY_STORAGE before REGISTRY_STORAGE_S3_BUCKET.
	slices.Sort(names)
	for _, name := range names {
		f.settings.fromEnv(name, f.registry.variable(name), f.serviceAt(f.registry, "environment", name))
	}
}

// hasRegistry reports whether anything is known about the registry's configuration.
func (f *Facts) hasRegistry() bool { return len(f.settings.all) > 0 }

// registryMajor is the registry's major version: 3 or 2.
func (f *Facts) registryMajor() int {
	switch {
	case f.Embedded:
		return 3
	case f.registry != nil && f.registry.image.version().major > 0:
		return f.registry.image.version().major
	case f.Answers != nil && f.Answers.Registry > 0:
		return f.Answers.Registry
	}
	return 3
}

func (f *Facts) readCaddy() {
	candidates := []string{f.Path(scaffold.PathCaddyfile), f.Path("conf/Caddyfile"), f.Path("Caddyfile")}
	if f.caddy != nil {
		if p, ok := f.caddy.inside("/etc/caddy/Caddyfile"); ok {
			candidates = append([]string{p}, candidates...)
		}
	}
	i := slices.IndexFunc(candidates, isFile)
	if i < 0 {
		return
	}
	f.caddyfile = candidates[i]
	data, err := readBounded(f.caddyfile, maxConfigSize)
	if err != nil {
		f.siteErr = err
		return
	}
	top, err := parseCaddyfile(f.rel(f.caddyfile), data, func(name string) (string, bool) {
		if f.caddy == nil {
			return "", false
		}
		v, ok := f.caddy.Environment[name]
		if !ok || v == nil {
			return "", false
		}
		return *v, true
	})
	if err != nil {
		f.siteErr = err
		return
	}
	f.site = readCaddy(f.rel(f.caddyfile), top)
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular()
}

// trustFile returns the host's file for a path of the registry's configuration, such as its
// rootcertbundle. mounted is false where the registry's container does not see it.
func (f *Facts) trustFile(setting string) (file string, mounted bool) {
	p := f.settings.text(setting)
	if p == "" {
		return "", false
	}
	if f.registry != nil {
		if host, ok := f.registry.inside(p); ok {
			return host, true
		}
	}
	if f.generated {
		own := map[string]string{"auth.token.rootcertbundle": deployment.TrustBundle, "auth.token.jwks": deployment.JWKS}[setting]
		if f.Embedded || f.registry == nil {
			if isFile(p) {
				return p, true
			}
			return f.Path(own), true
		}
	}
	if isFile(p) {
		return p, f.registry == nil
	}
	return "", false
}

// cmd is a command of this program on the deployment, for advice.
func (f *Facts) cmd(args string) string {
	if f.dir == "" || f.dir == "." {
		return "regctl-setup " + args
	}
	return "regctl-setup -C " + ShellWord(f.dir) + " " + args
}

// dockerCompose is a docker compose command on the deployment, for advice.
func (f *Facts) dockerCompose(args string) string {
	if f.dir == "" || f.dir == "." {
		return "docker compose " + args
	}
	return "docker compose --project-directory " + ShellWord(f.dir) + " " + args
}

// restart is how a service takes its changed files, in the deployment's runtime.
func (f *Facts) restart(name string) string {
	if f.Embedded {
		return "stop and start " + f.cmd("up")
	}
	if name == "registry" && f.cache {
		name = f.registry.Name
	}
	return f.dockerCompose("restart " + name)
}

// newPair is how a new signing pair is made in place of the one that there is: keys generate writes
// new files only.
func (f *Facts) newPair() string {
	var files []string
	if f.Auth != nil {
		cert, key := f.Auth.SigningPair()
		for _, p := range []string{key, cert} {
			if p != "" && isFile(f.ResolveNew(p)) {
				files = append(files, f.ResolveNew(p))
			}
		}
	}
	if f.generated {
		for _, p := range []string{f.Path(deployment.TrustBundle), f.Path(deployment.JWKS)} {
			if isFile(p) {
				files = append(files, p)
			}
		}
	}
	text := f.cmd("keys generate")
	if len(files) > 0 {
		for i, p := range files {
			files[i] = f.shown(f.rel(p))
		}
		text = "rm " + strings.Join(files, " ") + " && " + text
	}
	return text + "   makes a new pair; then restart token server and registry, whose tokens in use end"
}

// shown is a file as commands in advice name it: relative to where the person stands.
func (f *Facts) shown(rel string) string {
	if f.dir == "" || f.dir == "." {
		return ShellWord(rel)
	}
	return ShellWord(filepath.Join(f.dir, filepath.FromSlash(rel)))
}

// ShellWord quotes a word for a POSIX shell where it needs it, so that a command line in a
// hint can be typed as it stands.
func ShellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// days writes a time that is left in words.
func days(d time.Duration) string {
	n := int(d / (24 * time.Hour))
	switch {
	case d < 0 && n == 0:
		return "today"
	case d < 0:
		return strconv.Itoa(-n) + " days ago"
	case n == 0:
		return "within a day"
	case n == 1:
		return "in 1 day"
	}
	return fmt.Sprintf("in %d days", n)
}
