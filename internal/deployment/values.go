package deployment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// RegistryValues is the registry's whole configuration as its container sees it: the file
// that it is started with, and the REGISTRY_* variables over it.
type RegistryValues struct {
	Service *types.ServiceConfig // the compose service; nil without a compose file
	File    string               // absolute path of its file on this machine; "" where the image's own is used
	Env     []string             // names of the REGISTRY_* variables that are set, sorted

	tree map[string]any
}

// RegistryValues finds the registry's service and reads its configuration. A folder that has
// neither a registry service nor conf/registry/config.yml gives empty values.
func (d *Deployment) RegistryValues(ctx context.Context) (RegistryValues, error) {
	v := RegistryValues{tree: map[string]any{}}
	project, err := d.Project(ctx)
	if err != nil {
		return v, err
	}
	v.Service = registryService(project)
	v.File = d.registryFile(v.Service)
	if v.File != "" {
		data, err := os.ReadFile(v.File)
		if err != nil {
			return v, fmt.Errorf("registry configuration: %w", err)
		}
		if err := yaml.Unmarshal(data, &v.tree); err != nil {
			return v, fmt.Errorf("registry configuration %s: %w", v.File, err)
		}
		if v.tree == nil {
			v.tree = map[string]any{}
		}
	}
	if v.Service == nil {
		return v, nil
	}
	// In the order of their names, as the registry takes them: REGISTRY_STORAGE comes before
	// REGISTRY_STORAGE_S3_BUCKET.
	for _, name := range slices.Sorted(maps.Keys(v.Service.Environment)) {
		value := v.Service.Environment[name]
		if rest, ok := strings.CutPrefix(name, "REGISTRY_"); ok && value != nil {
			v.Env = append(v.Env, name)
			v.set(strings.Split(strings.ToLower(rest), "_"), *value)
		}
	}
	return v, nil
}

// set lays one variable over the tree. Its value is YAML; a word for a section that chooses
// one of several (REGISTRY_STORAGE=s3) replaces the section.
func (v *RegistryValues) set(keys []string, text string) {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		value = text // the registry does not start with it; whoever asks sees what is there
	}
	at := v.tree
	for _, k := range keys[:len(keys)-1] {
		next, ok := at[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[k] = next
		}
		at = next
	}
	last := keys[len(keys)-1]
	if name, ok := value.(string); ok && len(keys) == 1 && (last == "storage" || last == "auth") {
		value = map[string]any{name: map[string]any{}}
	}
	at[last] = value
}

// Text returns a value as text; "" where it is not set. keys are in lower case.
func (v RegistryValues) Text(keys ...string) string {
	var at any = v.tree
	for _, k := range keys {
		m, _ := at.(map[string]any)
		at = m[k]
	}
	switch at.(type) {
	case nil, map[string]any, []any:
		return ""
	}
	return fmt.Sprint(at)
}

// Section returns the values below keys; nil where there are none.
func (v RegistryValues) Section(keys ...string) map[string]any {
	at := v.tree
	for _, k := range keys {
		at, _ = at[k].(map[string]any)
	}
	return at
}

// Storage returns the storage driver's name and its values. Without any it is "".
func (v RegistryValues) Storage() (driver string, values map[string]any) {
	storage := v.Section("storage")
	for _, name := range slices.Sorted(maps.Keys(storage)) {
		switch name {
		case "cache", "delete", "maintenance", "redirect", "tag":
			continue
		}
		values, _ := storage[name].(map[string]any)
		return name, values
	}
	return "", nil
}

// Empty reports whether nothing at all is known.
func (v RegistryValues) Empty() bool { return len(v.tree) == 0 }

// registryService returns the service that runs the registry and takes pushes: the one
// called so, else the first with a registry's image.
func registryService(p *types.Project) *types.ServiceConfig {
	if p == nil {
		return nil
	}
	if s, ok := p.Services["registry"]; ok {
		return &s
	}
	for _, name := range p.ServiceNames() {
		s := p.Services[name]
		if program := imageName(s.Image); program == "registry" || program == "distribution" {
			return &s
		}
	}
	return nil
}

// imageName returns the last component of an image's name, without tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ := strings.Cut(image, ":")
	return name
}

// registryFile returns the registry's configuration file on this machine: the one that its
// command names, else one mounted where the images look for theirs, else the generated one.
func (d *Deployment) registryFile(s *types.ServiceConfig) string {
	if s != nil {
		inside := []string{"/etc/distribution/config.yml", "/etc/docker/registry/config.yml"}
		for _, word := range slices.Concat(s.Entrypoint, s.Command) {
			if ext := path.Ext(word); ext == ".yml" || ext == ".yaml" {
				inside = []string{word}
			}
		}
		for _, p := range inside {
			if !path.IsAbs(p) {
				p = path.Join("/", s.WorkingDir, p)
			}
			if host, ok := behindMount(*s, p); ok && isFile(host) {
				return host
			}
		}
	}
	if p := d.Path(RegistryConfig); isFile(p) {
		return p
	}
	return ""
}

// ErrNotMounted reports a path of a container that no mount brings to this machine.
var ErrNotMounted = errors.New("is in no mount of the service")

// HostPath returns where a file that the service's container sees lies on this machine:
// behind a mount, or among the compose file's secrets.
func (d *Deployment) HostPath(ctx context.Context, s *types.ServiceConfig, inside string) (string, error) {
	project, err := d.Project(ctx)
	if err != nil {
		return "", err
	}
	if !path.IsAbs(inside) {
		inside = path.Join("/", s.WorkingDir, inside)
	}
	for _, ref := range s.Secrets {
		target := ref.Target
		if target == "" {
			target = ref.Source
		}
		if !path.IsAbs(target) {
			target = path.Join("/run/secrets", target)
		}
		if target == inside && project.Secrets[ref.Source].File != "" {
			return project.Secrets[ref.Source].File, nil
		}
	}
	host, ok := behindMount(*s, inside)
	if !ok {
		return "", fmt.Errorf("%s %w %s", inside, ErrNotMounted, s.Name)
	}
	if _, err := os.Stat(host); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", filepath.ToSlash(inside), err)
	}
	return host, nil
}
