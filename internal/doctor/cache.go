package doctor

import (
	"slices"

	"github.com/regctl-setup/regctl-setup/internal/scaffold"
)

// cacheCodes are the checks of the registry's configuration that hold for the pull-through cache
// beside it too: it is a registry of its own, with the same token server.
func cacheCodes() []string {
	return []string{
		"registry-config-invalid", "http-secret-weak", "drain-timeout", "debug-server-exposed", "registry-env-mangled", "registry-env-refused",
		"storage-drivers", "cache-with-collection", "storage-in-container", "no-token-auth", "issuer-mismatch", "service-mismatch",
		"trust-unreadable", "bundle-misses-certificate", "jwks-misses-key", "trust-not-mounted", "registry-2-needs-bundle",
		"key-id-not-accepted", "x5c-without-bundle", "algorithm-not-accepted",
	}
}

// cacheFacts are the facts with the pull-through cache in the registry's place; nil where there is
// no cache.
func (f *Facts) cacheFacts() *Facts {
	file := f.Path(scaffold.PathCache)
	if !isFile(file) {
		return nil
	}
	all := f.services()
	i := slices.IndexFunc(all, func(s *service) bool {
		return slices.ContainsFunc(s.Command, func(arg string) bool {
			host, mounted := s.inside(arg)
			return mounted && host == file
		})
	})
	if i < 0 {
		return nil
	}
	c := *f
	c.registry, c.cache, c.settings, c.settingsErr, c.registryStrict = all[i], true, settings{all: map[string]setting{}}, nil, nil
	c.readRegistryFrom(file)
	return &c
}

// diskCache runs the checks that hold for the cache too. What is wrong with files that both read was
// said before.
func (p *pass) diskCache(cache *Facts) {
	if cache == nil || !slices.Contains(cacheCodes(), p.check.Code) {
		return
	}
	q := &pass{Facts: cache, ctx: p.ctx, check: p.check}
	p.check.run(q)
	for _, f := range q.found {
		if !slices.ContainsFunc(p.found, func(have Finding) bool { return have.Pos == f.Pos && have.Message == f.Message }) {
			p.found = append(p.found, f)
		}
	}
	p.unknown = append(p.unknown, q.unknown...)
}
