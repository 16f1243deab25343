package scaffold

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go/aws/endpoints"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/go-jose/go-jose/v4"
	registryyaml "go.yaml.in/yaml/v2" // the registry's own decoder
	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// checkRoot stands for the deployment's folder while a compose file is loaded from
// memory. It need not exist.
const checkRoot = "/srv/deployment"

// Check gives every file to the parser that will read it in service and compares what
// the files say of each other. It returns all faults at once, each with its file's
// path; nil means that the deployment can be written. It does no I/O and reads no
// environment.
func Check(ctx context.Context, files []safefile.File) error {
	c := check(ctx, files)
	errs := make([]error, len(c.faults))
	for i, f := range c.faults {
		errs[i] = f.err
	}
	return errors.Join(errs...)
}

// CheckTaken is [Check] for a deployment whose auth config a person wrote: what its
// parser merely warns of, such as a password hash that is cheap to guess, is returned
// apart and is no fault of the deployment.
func CheckTaken(ctx context.Context, files []safefile.File) (warnings []error, err error) {
	var errs []error
	for _, f := range check(ctx, files).faults {
		if f.warning {
			warnings = append(warnings, f.err)
		} else {
			errs = append(errs, f.err)
		}
	}
	return warnings, errors.Join(errs...)
}

// check finds the faults of the files.
func check(ctx context.Context, files []safefile.File) *checker {
	c := &checker{files: map[string][]byte{}}
	for _, f := range files {
		if _, twice := c.files[f.Path]; twice {
			c.fault(f.Path, errors.New("planned twice"))
		}
		c.files[f.Path] = f.Data
	}
	c.paths()
	c.compose(ctx)
	auth := c.auth()
	registry := c.registry(PathRegistry)
	var cache *configuration.Configuration
	if _, ok := c.files[PathCache]; ok {
		cache = c.registry(PathCache)
	}
	c.trust()
	c.answers()
	c.aclTests()
	c.caddyfile()
	if auth != nil && registry != nil {
		c.agreement(auth, PathRegistry, registry)
	}
	if auth != nil && cache != nil {
		c.agreement(auth, PathCache, cache)
		if cache.Proxy.RemoteURL == "" {
			c.fault(PathCache, errors.New("no upstream: it would be a second registry"))
		}
	}
	return c
}

type checker struct {
	files  map[string][]byte
	faults []fault
}

// fault is what is wrong with one file.
type fault struct {
	path     string
	err      error
	disagree bool // with another file: logins would break
	warning  bool // the file works all the same
}

func (c *checker) fault(path string, err error) {
	c.faults = append(c.faults, fault{path: path, err: fmt.Errorf("%s: %w", path, err)})
}

// placed adds a fault whose error names the file itself.
func (c *checker) placed(path string, err error) {
	c.faults = append(c.faults, fault{path: path, err: err})
}

func (c *checker) disagree(path string, err error) {
	c.faults = append(c.faults, fault{path: path, err: fmt.Errorf("%s: %w", path, err), disagree: true})
}

// need returns a file's content and reports one that is missing.
func (c *checker) need(path string) ([]byte, bool) {
	data, ok := c.files[path]
	if !ok {
		c.fault(path, errors.New("is missing"))
	}
	return data, ok
}

func (c *checker) paths() {
	for _, p := range slices.Sorted(maps.Keys(c.files)) {
		if path.Clean(p) != p || path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") {
			c.fault(p, errors.New("leaves the deployment's folder"))
		}
	}
}

// compose loads the compose file as "docker compose" does, with the generated .env as
// its whole environment.
func (c *checker) compose(ctx context.Context) {
	data, ok := c.need(PathCompose)
	env, ok2 := c.need(PathEnv)
	if !ok || !ok2 {
		return
	}
	project, err := LoadCompose(ctx, data, env)
	if err != nil {
		c.fault(PathCompose, err)
		return
	}
	for name, s := range project.Services {
		if len(s.Ports) > 0 && name != "caddy" {
			c.fault(PathCompose, fmt.Errorf("service %s publishes a port; only caddy may", name))
		}
		if s.Image == "" {
			c.fault(PathCompose, fmt.Errorf("service %s has no image", name))
		}
	}
	for name, s := range project.Secrets {
		if p, ok := strings.CutPrefix(s.File, checkRoot+"/"); !ok || c.files[p] == nil {
			c.fault(PathCompose, fmt.Errorf("secret %s is in %s, which is not written", name, s.File))
		}
	}
}

// LoadCompose loads a compose file with the text of an .env file and no other
// environment, strictly: unknown keys and unset variables that are required are errors.
// Relative paths are resolved below /srv/deployment; files that services read their
// environment from are not opened.
func LoadCompose(ctx context.Context, compose, env []byte) (*types.Project, error) {
	vars, err := dotenv.Parse(bytes.NewReader(env))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PathEnv, err)
	}
	details := types.ConfigDetails{
		WorkingDir:  checkRoot,
		ConfigFiles: []types.ConfigFile{{Filename: checkRoot + "/" + PathCompose, Content: compose}},
		Environment: types.Mapping(vars),
	}
	return loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SkipResolveEnvironment = true // env_file entries are not on disk yet
		o.ResolvePaths = true
		o.SkipInclude = true
		o.SkipExtends = true
	})
}

// auth reads the auth config with this project's parser: no problem, no warning.
func (c *checker) auth() *config.File {
	data, ok := c.need(PathAuth)
	if !ok {
		return nil
	}
	f, problems := config.Parse(PathAuth, data)
	for _, p := range problems {
		c.placed(PathAuth, p)
	}
	if f == nil {
		return nil
	}
	for _, w := range f.Warnings {
		c.faults = append(c.faults, fault{path: PathAuth, err: w, warning: true})
	}
	if len(problems) > 0 {
		return nil
	}
	for _, p := range []string{f.Token.Certificate, f.Token.Key} {
		c.need(p)
	}
	for _, section := range f.Sections {
		for i := 0; i+1 < len(section.Node.Content); i += 2 {
			if k := section.Node.Content[i].Value; strings.HasSuffix(k, "_file") || k == "ca_certificate" {
				c.need(section.Node.Content[i+1].Value)
			}
		}
	}
	return f
}

// RegistryConfig decodes a registry configuration with the registry's own decoder and
// types, strictly: unknown and repeated keys are errors. Unlike the registry it does
// not let REGISTRY_* variables of this process change the result.
func RegistryConfig(data []byte) (*configuration.Configuration, error) {
	cfg := new(configuration.Configuration)
	if err := registryyaml.UnmarshalStrict(data, cfg); err != nil {
		return nil, err
	}
	if cfg.Version != configuration.CurrentVersion {
		return nil, fmt.Errorf("version %q; expected %s", cfg.Version, configuration.CurrentVersion)
	}
	if err := storageKeys(cfg.Storage); err != nil {
		return nil, err
	}
	return cfg, nil
}

// storageKeys checks the keys that the registry takes as a map and would skip in
// silence: those of the storage drivers and of the sections beside them.
func storageKeys(storage configuration.Storage) error {
	known := map[string][]string{
		"filesystem": {"rootdirectory", "maxthreads"},
		"s3": {"accesskey", "secretkey", "region", "regionendpoint", "forcepathstyle", "bucket", "encrypt", "keyid", "secure", "skipverify",
			"v4auth", "chunksize", "multipartcopychunksize", "multipartcopymaxconcurrency", "multipartcopythresholdsize", "rootdirectory",
			"storageclass", "useragent", "objectacl", "sessiontoken", "usedualstack", "accelerate", "usefipsendpoint", "loglevel"},
		"azure": {"accountname", "accountkey", "container", "credentials", "connectionstring", "realm", "rootdirectory", "serviceurl",
			"max_retries", "retry_delay", "skipverify"},
		"gcs":         {"bucket", "keyfile", "credentials", "rootdirectory", "chunksize", "maxconcurrency", "useragent"},
		"cache":       {"blobdescriptor", "blobdescriptorsize"},
		"tag":         {"concurrencylimit"},
		"delete":      {"enabled"},
		"redirect":    {"disable"},
		"maintenance": {"uploadpurging", "readonly"},
	}
	var errs []error
	for _, section := range slices.Sorted(maps.Keys(storage)) {
		keys, ok := known[section]
		if !ok {
			errs = append(errs, fmt.Errorf("storage: unknown key %q", section))
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(storage[section])) {
			if !slices.Contains(keys, k) {
				errs = append(errs, fmt.Errorf("storage.%s: unknown key %q", section, k))
			}
		}
	}
	return errors.Join(errs...)
}

// registry reads a registry's configuration as the registry does, and more strictly.
func (c *checker) registry(file string) *configuration.Configuration {
	data, ok := c.need(file)
	if !ok {
		return nil
	}
	cfg, err := RegistryConfig(data)
	if err != nil {
		c.fault(file, err)
		return nil
	}
	if cfg.Storage.Type() == "" {
		c.fault(file, errors.New("no storage"))
	}
	if err := awsRegion(cfg.Storage["s3"]); err != nil {
		c.fault(file, err)
	}
	if cfg.HTTP.Secret == "" {
		c.fault(file, errors.New("no http secret"))
	}
	token, ok := cfg.Auth["token"]
	if !ok {
		c.fault(file, errors.New("no token auth: the registry would be open to everybody"))
		return nil
	}
	for _, k := range []string{"realm", "service", "issuer", "rootcertbundle", "jwks"} {
		if s, ok := token[k].(string); !ok || s == "" {
			c.fault(file, fmt.Errorf("auth.token.%s: expected a text", k))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(token)) {
		if !slices.Contains([]string{"realm", "service", "issuer", "rootcertbundle", "jwks", "signingalgorithms", "autoredirect"}, k) {
			c.fault(file, fmt.Errorf("auth.token: unknown key %q", k))
		}
	}
	return cfg
}

// awsRegion refuses a region of Amazon that the registry's driver does not know: it would
// not start.
func awsRegion(s3 configuration.Parameters) error {
	region, ok := s3["region"].(string)
	if endpoint, _ := s3["regionendpoint"].(string); !ok || endpoint != "" {
		return nil
	}
	for _, p := range endpoints.DefaultPartitions() {
		if _, ok := p.Regions()[region]; ok {
			return nil
		}
	}
	return fmt.Errorf("--s3-region: %q is no region of Amazon that the registry knows; expected one such as eu-central-1", region)
}

// trust checks that the signing pair belongs together and that the registry trusts it,
// as certificate and as key under two ids.
func (c *checker) trust() {
	key, ok1 := c.need(PathKey)
	cert, ok2 := c.need(PathCert)
	bundle, ok3 := c.need(PathBundle)
	jwks, ok4 := c.need(PathJWKS)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		c.fault(PathKey, errors.New("is not the key of "+PathCert)) // the cause could quote the key
		return
	}
	signing, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		c.fault(PathCert, err)
		return
	}
	trusted, err := certificates(bundle)
	if err != nil {
		c.fault(PathBundle, err)
	} else if !slices.ContainsFunc(trusted, signing.Equal) {
		c.fault(PathBundle, errors.New("does not hold the signing certificate"))
	}
	c.jwks(jwks, signing.PublicKey)
}

func (c *checker) jwks(data []byte, signing crypto.PublicKey) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		c.fault(PathJWKS, err)
		return
	}
	want, ok := signing.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		c.fault(PathCert, fmt.Errorf("a %T can't sign tokens", signing))
		return
	}
	ids := map[string]bool{}
	for _, k := range set.Keys {
		if !k.Valid() || !k.IsPublic() {
			c.fault(PathJWKS, fmt.Errorf("key %q is not a valid public key", k.KeyID))
			continue
		}
		if want.Equal(k.Key) {
			ids[k.KeyID] = true
		}
	}
	if len(ids) != 2 {
		c.fault(PathJWKS, fmt.Errorf("the signing key is listed under %d ids; expected two", len(ids)))
	}
}

// certificates returns all certificates of a PEM text that holds nothing else.
func certificates(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %s; expected certificates only", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, errors.New("holds no certificate")
	}
	return out, nil
}

func (c *checker) answers() {
	data, ok := c.need(PathAnswers)
	if !ok {
		return
	}
	a, err := answers.ParseYAML(PathAnswers, data)
	if err != nil {
		c.placed(PathAnswers, err)
		return
	}
	if ps := a.Validate(); len(ps) > 0 {
		c.fault(PathAnswers, ps)
	}
	if !bytes.Equal(a.Marshal(), data) {
		c.fault(PathAnswers, errors.New("does not read back as it was written"))
	}
}

// aclTests checks the shape of the test cases.
func (c *checker) aclTests() {
	data, ok := c.need(PathACLTests)
	if !ok {
		return
	}
	var file struct {
		Cases []struct {
			Who    *string             `yaml:"who"`
			Labels map[string][]string `yaml:"labels"`
			IP     string              `yaml:"ip"`
			Accept []string            `yaml:"accept"`
			Deny   []string            `yaml:"deny"`
			Reason string              `yaml:"reason"`
		} `yaml:"cases"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		c.fault(PathACLTests, err)
		return
	}
	if len(file.Cases) == 0 {
		c.fault(PathACLTests, errors.New("no case"))
	}
	for i, k := range file.Cases {
		if k.Who == nil || len(k.Accept)+len(k.Deny) == 0 {
			c.fault(PathACLTests, fmt.Errorf("case %d says nothing", i+1))
		}
		for _, line := range slices.Concat(k.Accept, k.Deny) {
			if action, name, ok := strings.Cut(line, " "); !ok || action == "" || name == "" || strings.Contains(name, " ") {
				c.fault(PathACLTests, fmt.Errorf("case %d: %q; expected ACTION REPOSITORY", i+1, line))
			}
		}
	}
}

// caddyfile checks what can be checked without Caddy: braces in balance outside quotes,
// quotes closed on their line.
func (c *checker) caddyfile() {
	data, ok := c.need(PathCaddyfile)
	if !ok {
		return
	}
	if err := caddyBalance(string(data)); err != nil {
		c.fault(PathCaddyfile, err)
	}
}

// caddyBalance returns where the braces or quotes of a Caddyfile don't pair up.
func caddyBalance(text string) error {
	depth := 0
	for i, line := range strings.Split(text, "\n") {
		quoted := false
		for j := 0; j < len(line); j++ {
			switch ch := line[j]; {
			case ch == '#' && !quoted && (j == 0 || line[j-1] == ' ' || line[j-1] == '\t'):
				j = len(line)
			case ch == '\\' && quoted:
				j++
			case ch == '"':
				quoted = !quoted
			case ch == '{' && !quoted:
				depth++
			case ch == '}' && !quoted:
				depth--
			}
		}
		if quoted {
			return fmt.Errorf("line %d: a quote is not closed", i+1)
		}
		if depth < 0 {
			return fmt.Errorf("line %d: a brace closes nothing", i+1)
		}
	}
	if depth != 0 {
		return errors.New("a brace is not closed")
	}
	return nil
}

// agreement compares what auth config and a registry's config say of each other.
func (c *checker) agreement(auth *config.File, file string, registry *configuration.Configuration) {
	token := registry.Auth["token"]
	if token["issuer"] != auth.Token.Issuer {
		c.disagree(file, fmt.Errorf("issuer %q, but the token server is %q", token["issuer"], auth.Token.Issuer))
	}
	service, _ := token["service"].(string)
	switch {
	case auth.Extras.Services == nil:
		c.fault(PathAuth, errors.New("signs tokens for any service; expected x-regctl-setup.services"))
	case !slices.Contains(auth.Extras.Services, service):
		c.disagree(file, fmt.Errorf("service %q, but the token server serves %q", service, auth.Extras.Services))
	}
}
