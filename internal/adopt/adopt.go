// Package adopt turns a registry's folder that was made by hand into a deployment of this
// program: same names, same users and rules, same signing key, same storage, and the
// registry of the same major version.
//
// # Contract
//
// [Read] looks at a folder as the published guide has people write it, and at its
// variants: the auth config in either place, the registry set by REGISTRY_* variables or
// by a file, certificates and keys behind whatever mount. It changes nothing. What it
// found becomes answers; what no answer can express is a [Block], all of them at once,
// since a setting that silently gets lost can cost the images.
//
// [Found.Plan] is pure: the files of the new deployment, with the auth config edited and
// never rendered, so that users, rules, order and comments stay; and test cases that
// record what the rules allow today. [Found.Changes] makes them the changes of one
// journal: the old files go to a folder below state/, and either all of it happens or
// nothing.
//
// [Remedy] says for the codes of package doctor what the new deployment does about such a
// fault.
//
// # Example
//
//	found, err := adopt.Read(ctx, d, adopt.Options{})
//	if len(found.Blocks) == 0 {
//		files, err := found.Plan(material)
//		changes, backup, err := found.Changes(files, now)
//	}
package adopt

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// Block is something that the new deployment could not keep. Nothing is written while
// there is one.
type Block struct {
	File string // relative to the folder; may be empty
	Line int    // 0 = none
	Msg  string
	Hint string // what to do; may be empty
}

// Error returns "FILE:LINE: MSG".
func (b Block) Error() string {
	switch {
	case b.File == "":
		return b.Msg
	case b.Line == 0:
		return b.File + ": " + b.Msg
	}
	return fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.Msg)
}

// Found is what a folder turned out to be.
type Found struct {
	Dir     string          // of the folder, absolute
	Answers answers.Answers // as far as they could be told
	Blocks  []Block
	Kept    []string // what stays as it was, for people
	Changed []string // what will be different besides the faults, for people
	Steps   []string // commands that a person must run, in order

	target string // where the new deployment will be, absolute
	auth   *config.File
	source []byte // of the auth config
	m      scaffold.Material
	old    []string // files that the new deployment does not use, absolute
}

// Options of [Read].
type Options struct {
	// Target is the folder that the new deployment will be in; "" is the same one.
	Target string
	// Override changes the answers that were found, such as by flags.
	Override func(*answers.Answers) error
}

type reader struct {
	*Found
	ctx     context.Context // of the one call of Read
	d       *deployment.Deployment
	project *types.Project
	v       deployment.RegistryValues
	authSvc *types.ServiceConfig
	caddy   *types.ServiceConfig
	token   config.Token
}

// Read looks at the folder of d. It fails where the folder is no registry's at all, or is
// a deployment of this program already.
func Read(ctx context.Context, d *deployment.Deployment, o Options) (*Found, error) {
	if d.Answers != "" {
		return nil, fmt.Errorf("%s is there: this is a deployment of regctl-setup already", d.Rel(d.Answers))
	}
	r := &reader{Found: &Found{Dir: d.Dir, target: d.Dir, Answers: answers.Defaults()}, ctx: ctx, d: d}
	if o.Target != "" {
		abs, err := filepath.Abs(o.Target)
		if err != nil {
			return nil, err
		}
		r.target = abs
	}
	var err error
	if r.project, err = d.Project(ctx); err != nil {
		return nil, err
	}
	if r.project == nil {
		return nil, errors.New("there is no compose file: nothing says how the registry runs")
	}
	if r.v, err = d.RegistryValues(ctx); err != nil {
		return nil, err
	}
	if r.v.Service == nil {
		return nil, fmt.Errorf("%s has no service with a registry's image", d.Rel(d.Compose))
	}
	r.services()
	r.readAuth()
	r.names()
	r.registry()
	r.storage()
	if o.Override != nil {
		if err := o.Override(&r.Answers); err != nil {
			return nil, err
		}
	}
	r.signingPair()
	for _, p := range r.Answers.Validate() {
		r.Blocks = append(r.Blocks, Block{Msg: "what was found gives no valid deployment: " + p.Error(), Hint: p.Hint})
	}
	r.leftovers()
	return r.Found, nil
}

func (r *reader) block(file, hint, format string, args ...any) {
	r.Blocks = append(r.Blocks, Block{File: file, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (r *reader) kept(format string, args ...any) {
	r.Kept = append(r.Kept, fmt.Sprintf(format, args...))
}

func (r *reader) changed(format string, args ...any) {
	r.Changed = append(r.Changed, fmt.Sprintf(format, args...))
}

// services finds out which service does what, and refuses those that the new compose file
// would not have.
func (r *reader) services() {
	for _, name := range r.project.ServiceNames() {
		s := r.project.Services[name]
		program, _, _ := answers.ImageVersion(s.Image)
		switch {
		case name == r.v.Service.Name:
		case r.authSvc == nil && (program == "docker_auth" || name == "auth"):
			r.authSvc = &s
		case r.caddy == nil && (program == "caddy" || name == "caddy"):
			r.caddy = &s
		default:
			r.block(r.d.Rel(r.d.Compose), "move it to docker-compose.override.yml, which stays, or to a project of its own",
				"service %s (%s) has no place in the generated compose file", name, s.Image)
		}
	}
	if r.authSvc == nil {
		r.block(r.d.Rel(r.d.Compose), "", "no service runs a token server (docker_auth)")
	}
	a := &r.Answers
	for _, i := range []struct {
		s   *types.ServiceConfig
		ref *string
	}{{r.authSvc, &a.Images.Auth}, {r.v.Service, &a.Images.Registry}, {r.caddy, &a.Images.Caddy}} {
		if i.s == nil {
			continue
		}
		if image, mine := ownImage(i.s.Image); mine {
			*i.ref = image
			r.kept("image %s", image)
		}
	}
	if _, version, _ := answers.ImageVersion(r.v.Service.Image); len(version) > 0 && (version[0] == 2 || version[0] == 3) {
		a.Registry = version[0]
		r.kept("registry %d", a.Registry)
	} else {
		r.block(r.d.Rel(r.d.Compose), "write its version into the image's tag, or give --registry", "image %q does not tell which registry it is", r.v.Service.Image)
	}
}

// ownImage reports whether an image comes from somewhere else than the places that the
// defaults name: such a choice is kept.
func ownImage(image string) (string, bool) {
	name, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	pinned := strings.Contains(image, "@sha256:")
	return image, pinned || !slices.Contains([]string{"registry", "caddy", "cesanta/docker_auth"}, name)
}

// readAuth reads the auth config, whose problems all block: a file that only docker_auth's
// leniency makes work would not be served.
func (r *reader) readAuth() {
	data, err := os.ReadFile(r.d.Auth)
	if err != nil {
		r.block(r.d.Rel(r.d.Auth), "", "%s", err)
		return
	}
	r.source = data
	f, problems := config.Parse(r.d.Rel(r.d.Auth), data)
	for _, p := range problems {
		r.Blocks = append(r.Blocks, Block{File: p.File, Line: p.Line, Msg: p.Msg, Hint: p.Hint})
	}
	if f == nil || len(problems) > 0 {
		return
	}
	r.auth, r.token = f, f.Token
	at := func(line int, hint, format string, args ...any) {
		r.Blocks = append(r.Blocks, Block{File: r.d.Rel(r.d.Auth), Line: line, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	for _, s := range f.Sections {
		at(s.Pos.Line, "make a new deployment with init --login and bring users and rules over, or take the section out first",
			"section %s names files of the old container, which can't be taken along", s.Name)
	}
	if f.Server.Certificate != "" {
		at(f.Server.Pos.Line, "take server.certificate and server.key out: Caddy does TLS", "the token server does TLS itself, and Caddy will talk plain HTTP to it")
	}
	if f.Server.PathPrefix != "" {
		at(f.Server.Pos.Line, "", "server.path_prefix %q: the generated proxy passes /auth only", f.Server.PathPrefix)
	}
	if f.Server.Net == "unix" {
		at(f.Server.Pos.Line, "", "the token server listens on a socket; the generated proxy reaches it by TCP")
	}
	a := &r.Answers
	a.Issuer, a.Expiration = f.Token.Issuer, int(f.Token.Expiration.Seconds())
	named := 0
	for _, u := range f.Users {
		if u.Name == "" {
			a.AnonymousPull = answers.AnonymousAll
			continue
		}
		named++
		r.m.Users = append(r.m.Users, scaffold.UserHash{Name: u.Name, Hash: u.Hash})
	}
	if named == 0 {
		at(0, "regctl-setup user add NAME makes one", "no user could log in")
	}
	anonymous := ""
	if named < len(f.Users) {
		anonymous = ", the anonymous account"
	}
	r.kept("%d users%s and %d rules, byte for byte", named, anonymous, len(f.ACL))
	r.kept("issuer %q, tokens of %d seconds", a.Issuer, a.Expiration)
}

// names finds the domains, the ports and how TLS is done.
func (r *reader) names() {
	a := &r.Answers
	var realm *url.URL
	if text := r.v.Text("auth", "token", "realm"); text != "" {
		realm, _ = url.Parse(text)
	}
	c := r.readCaddyfile()
	registry, auth := c.site(r.v.Service.Name), c.site(name(r.authSvc))
	if registry != nil {
		a.Domain = registry.host
	} else if v := r.envValue("REGISTRY_DOMAIN"); v != "" {
		a.Domain = v
	} else if realm != nil && realm.Hostname() != "" {
		a.Domain = realm.Hostname()
	} else {
		r.block("", "say it with --domain", "no site of a Caddyfile leads to service %s: the registry's domain is not known", r.v.Service.Name)
	}
	switch {
	case auth != nil && auth.host != a.Domain:
		a.AuthDomain = auth.host
	case auth == nil && realm != nil && realm.Hostname() != "" && realm.Hostname() != a.Domain:
		a.AuthDomain = realm.Hostname()
	}
	r.kept("registry at %s, tokens from %s", a.Domain, firstOf(a.AuthDomain, a.Domain))
	a.Service = r.v.Text("auth", "token", "service")
	if a.Service != "" {
		r.kept("service name %q", a.Service)
	}
	if issuer := r.v.Text("auth", "token", "issuer"); r.auth != nil && issuer != "" && issuer != a.Issuer {
		r.changed("the registry expects issuer %q of tokens and will expect the token server's %q", issuer, a.Issuer)
	}
	a.Email = c.email
	if registry != nil {
		r.tls(c, registry)
	}
	r.ports()
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func name(s *types.ServiceConfig) string {
	if s == nil {
		return ""
	}
	return s.Name
}

// envValue returns a variable of the compose file's environment, its .env included.
func (r *reader) envValue(name string) string { return r.project.Environment[name] }

// ports takes over what the proxy publishes.
func (r *reader) ports() {
	if r.caddy == nil {
		return
	}
	a := &r.Answers
	for _, p := range r.caddy.Ports {
		n, err := strconv.Atoi(p.Published)
		if err != nil || p.Protocol == "udp" {
			continue
		}
		switch p.Target {
		case answers.DefaultHTTPPort:
			a.HTTPPort = n
		case answers.DefaultHTTPSPort:
			a.HTTPSPort = n
		}
		if p.HostIP != "" && p.HostIP != "0.0.0.0" && p.HostIP != "::" {
			a.Bind = p.HostIP
		}
	}
}

// registry takes over what the registry's configuration says beside storage and tokens,
// and refuses what would be lost.
func (r *reader) registry() {
	r.Answers.Delete = r.v.Text("storage", "delete", "enabled") == "true"
	// The file inside the image of registry 3 turns deleting on, and REGISTRY_STORAGE drops that.
	if r.v.File == "" && r.Answers.Registry == 3 && !slices.Contains(r.v.Env, "REGISTRY_STORAGE") && r.v.Text("storage", "delete", "enabled") == "" {
		r.Answers.Delete = true
	}
	for _, s := range []struct{ key, what string }{
		{"proxy", "it is a pull-through cache, which takes no pushes"},
		{"notifications", "events would not be sent any more"},
		{"middleware", "storage or registry middleware would be left out"},
		{"redis", "the shared cache would be left out"},
	} {
		if len(r.v.Section(s.key)) > 0 {
			r.block(r.where(), "", "the registry's section %q has no place in the generated configuration: %s", s.key, s.what)
		}
	}
	if _, other := r.v.Section("auth")["token"]; !other && len(r.v.Section("auth")) > 0 {
		r.block(r.where(), "", "the registry does not use tokens: auth is %v", slices.Sorted(maps.Keys(r.v.Section("auth"))))
	}
	r.changed("a new http secret: pushes that are under way while the registry is replaced begin again")
}

// where names the file that the registry's settings come from.
func (r *reader) where() string {
	if r.v.File != "" {
		return r.d.Rel(r.v.File)
	}
	return r.d.Rel(r.d.Compose)
}

// signingPair reads key and certificate, wherever the auth config finds them.
func (r *reader) signingPair() {
	if r.auth == nil {
		return
	}
	if r.token.Key == "" {
		r.block(r.d.Rel(r.d.Auth), "name them as token.certificate and token.key", "there is no signing pair")
		return
	}
	key, cert := r.d.Resolve(r.token.Key), r.d.Resolve(r.token.Certificate)
	pair, err := keys.LoadPair(key, cert, keys.LoadOptions{AllowReadableKey: true})
	if err != nil {
		r.block("", "regctl-setup keys generate makes a pair where there is none", "signing pair: %s", err)
		return
	}
	r.Answers.KeyType = answers.KeyECDSAP256
	if k, ok := pair.Public().(*rsa.PublicKey); ok {
		switch bits := k.N.BitLen(); {
		case bits <= 2048:
			r.Answers.KeyType = answers.KeyRSA2048
		case bits <= 3072:
			r.Answers.KeyType = answers.KeyRSA3072
		default:
			r.Answers.KeyType = answers.KeyRSA4096
		}
	}
	jwks, err := keys.JWKS(pair.Public())
	if err != nil {
		r.block("", "", "signing pair: %s", err)
		return
	}
	raw, err := os.ReadFile(key)
	if err != nil {
		r.block("", "", "signing pair: %s", err)
		return
	}
	certPEM, err := os.ReadFile(cert)
	if err != nil {
		r.block("", "", "signing pair: %s", err)
		return
	}
	r.m.AuthKeyPEM, r.m.CertPEM, r.m.Bundle, r.m.JWKS = secret.New(string(raw)), certPEM, keys.Bundle(pair.Chain...), jwks
	r.kept("the signing key (%s): tokens that are out stay valid", keys.Describe(pair.Public()))
	r.oldFile(key, scaffold.PathKey)
	r.oldFile(cert, scaffold.PathCert)
}

// oldFile notes a file that the new deployment has under another name.
func (r *reader) oldFile(path, unless string) {
	rel, err := filepath.Rel(r.Dir, path)
	if err != nil || strings.HasPrefix(rel, "..") || filepath.ToSlash(rel) == unless || slices.Contains(r.old, path) {
		return
	}
	r.old = append(r.old, path)
}

// leftovers lists the files that the new deployment does not use, and what is left to do.
func (r *reader) leftovers() {
	r.oldFile(r.d.Compose, scaffold.PathCompose)
	r.oldFile(r.d.Auth, scaffold.PathAuth)
	if r.v.File != "" {
		r.oldFile(r.v.File, scaffold.PathRegistry)
	}
	// The old project's containers hold the ports, and after the change no file names them.
	for _, name := range slices.Sorted(maps.Keys(r.project.Environment)) {
		if name != "REGISTRY_DOMAIN" && name != "AUTH_DOMAIN" && !strings.HasPrefix(name, "COMPOSE_") {
			r.changed("%s is not in the new .env: nothing generated uses it", name)
		}
	}
	r.Steps = append([]string{fmt.Sprintf("docker compose -p %s down", r.project.Name)}, r.Steps...)
	if r.project.Name == r.Answers.Resolve().ProjectName() {
		r.Steps[0] = "docker compose down --remove-orphans"
	}
}
