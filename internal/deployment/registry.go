package deployment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Registry is what the registry's configuration says about tokens and deletion.
type Registry struct {
	// Source is the file that it comes from, absolute: conf/registry/config.yml, or the compose file
	// where the registry is set by its environment alone. "" says that neither is there.
	Source string
	// Service and Issuer are what it expects in tokens; "" where nothing tells.
	Service string
	Issuer  string
	// Delete says whether its storage lets manifests be deleted, which is off by default.
	Delete bool
	// RootCertBundle and JWKS are the files that it trusts signing keys from, as its own
	// container names them; "" where nothing tells.
	RootCertBundle string
	JWKS           string
}

// Registry reads the registry's configuration: conf/registry/config.yml, with the REGISTRY_*
// variables of the compose file over it, as the registry itself reads them.
func (d *Deployment) Registry(ctx context.Context) (Registry, error) {
	var r Registry
	path := d.Path(RegistryConfig)
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		var c struct {
			Auth struct {
				Token struct {
					Service string `yaml:"service"`
					Issuer  string `yaml:"issuer"`
					Bundle  string `yaml:"rootcertbundle"`
					JWKS    string `yaml:"jwks"`
				} `yaml:"token"`
			} `yaml:"auth"`
			Storage struct {
				Delete struct {
					Enabled bool `yaml:"enabled"`
				} `yaml:"delete"`
			} `yaml:"storage"`
		}
		if err := yaml.Unmarshal(data, &c); err != nil {
			return r, fmt.Errorf("registry configuration %s: %w", path, err)
		}
		t := c.Auth.Token
		r = Registry{
			Source: path, Service: t.Service, Issuer: t.Issuer, Delete: c.Storage.Delete.Enabled,
			RootCertBundle: t.Bundle, JWKS: t.JWKS,
		}
	case !errors.Is(err, fs.ErrNotExist):
		return r, fmt.Errorf("registry configuration: %w", err)
	}
	project, err := d.Project(ctx)
	if err != nil || project == nil {
		return r, err
	}
	for _, name := range project.ServiceNames() {
		env := project.Services[name].Environment
		get := func(key string) (string, bool) {
			v := env["REGISTRY_"+key]
			if v == nil {
				return "", false
			}
			if r.Source == "" {
				r.Source = d.Compose
			}
			return *v, true
		}
		if v, ok := get("AUTH_TOKEN_SERVICE"); ok {
			r.Service = v
		}
		if v, ok := get("AUTH_TOKEN_ISSUER"); ok {
			r.Issuer = v
		}
		if v, ok := get("AUTH_TOKEN_ROOTCERTBUNDLE"); ok {
			r.RootCertBundle = v
		}
		if v, ok := get("AUTH_TOKEN_JWKS"); ok {
			r.JWKS = v
		}
		if v, ok := get("STORAGE_DELETE_ENABLED"); ok {
			r.Delete, err = strconv.ParseBool(v)
			if err != nil {
				return r, fmt.Errorf("compose file %s: REGISTRY_STORAGE_DELETE_ENABLED %q is neither true nor false", d.Compose, v)
			}
		}
	}
	return r, nil
}
