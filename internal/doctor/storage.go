package doctor

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

func storageChecks() []Check {
	return []Check{
		{
			Code: "storage-drivers", Severity: Error,
			Title: "no storage driver, or more than one",
			Why:   "the registry panics at start: \"multiple storage drivers specified in configuration\"",
			Mend:  "leave one driver in the registry's configuration",
			run: func(p *pass) {
				if !p.hasRegistry() || p.settingsErr != nil {
					return
				}
				drivers := p.settings.drivers()
				if p.registryFile == "" && len(drivers) == 1 && p.registry != nil && p.registry.variable("REGISTRY_STORAGE") == "" && drivers[0] != "filesystem" {
					drivers = append(drivers, "filesystem") // of the image's own configuration
				}
				switch {
				case len(drivers) > 1:
					p.report(p.settings.at("storage."+drivers[0]), "storage drivers %s are set, and only one can be", strings.Join(drivers, " and ")).mend("remove all but one")
				case len(drivers) == 0 && p.registryFile != "" && (p.registryStrict == nil || p.settings.has("storage")):
					// Where the section is there under a wrong name, registry-config-invalid names it.
					p.report(p.settings.at("storage"), "no storage driver is set").mend("write filesystem: {rootdirectory: /var/lib/registry} under storage")
				}
			},
		},
		{
			Code: "storage-driver-gone", Severity: Error,
			Title: "a storage driver that registry 3 no longer has",
			Why:   "the registry does not start",
			Mend:  "use the provider's S3 interface with the s3 driver",
			run: func(p *pass) {
				for _, d := range p.settings.drivers() {
					if (d == "oss" || d == "swift") && p.registryMajor() >= 3 {
						p.report(p.settings.at("storage."+d), "the driver %s is gone in registry 3", d).mend("write an s3 section with the provider's S3 endpoint")
					}
				}
			},
		},
		{
			Code: "storage-section-lost", Severity: Warning,
			Title: "storage settings that a variable throws away",
			Why:   "REGISTRY_STORAGE replaces the whole section: delete, cache, redirect and maintenance of the file are lost",
			Mend:  "write the storage section in the configuration file instead",
			run: func(p *pass) {
				if p.registry != nil && p.registryFile != "" && p.registry.variable("REGISTRY_STORAGE") != "" {
					p.report(p.serviceAt(p.registry, "environment", "REGISTRY_STORAGE"), "REGISTRY_STORAGE replaces the storage section of %s", p.rel(p.registryFile)).
						mend("remove the variable and write the driver in %s", p.rel(p.registryFile))
				}
			},
		},
		{
			Code: "cache-with-collection", Severity: Warning,
			Title: "a cache of blob descriptors, which garbage collection does not know",
			Why:   "after a garbage collection beside a running registry the cache says \"layer already exists\" of layers that are gone: pushes end well, and pulls fail for ever",
			Mend:  "remove storage.cache, or collect only with the registry stopped and redis flushed",
			run: func(p *pass) {
				if v, set := p.settings.get("storage.cache.blobdescriptor"); set && v.value != "" {
					fix := "remove the cache section, then: " + p.restart("registry")
					if v.value == "redis" {
						fix = "keep to this order: stop the registry, garbage-collect, redis-cli FLUSHDB, start"
					}
					p.report(v.pos, "storage.cache.blobdescriptor is %s", v.value).mend("%s", fix)
				}
			},
		},
		{
			Code: "s3-path-style", Severity: Error,
			Title: "an S3 endpoint without path style on registry 3",
			Why:   "registry 3 makes the bucket part of the host name: \"lookup BUCKET.HOST: no such host\", and 503 for everything",
			Mend:  "set forcepathstyle: true",
			run: func(p *pass) {
				if e, set := p.settings.get("storage.s3.regionendpoint"); set && e.value != "" && p.registryMajor() >= 3 && !p.settings.on("storage.s3.forcepathstyle") {
					p.report(e.pos, "regionendpoint is %s, and forcepathstyle is not set", e.value).mend("add under s3: forcepathstyle: true   then: %s", p.restart("registry"))
				}
			},
		},
		{
			Code: "s3-redirect-private", Severity: Error,
			Title: "downloads that are redirected to an address that clients can't reach",
			Why:   "the registry answers pulls with a signed link to the store; its host is part of the signature, so no proxy can change it: pushes work, and pulls hang",
			Mend:  "set storage.redirect: {disable: true}",
			run: func(p *pass) {
				e, set := p.settings.get("storage.s3.regionendpoint")
				if !set || e.value == "" || p.settings.on("storage.redirect.disable") || p.settings.text("storage.s3.redirectendpoint") != "" {
					return
				}
				host := endpointHost(e.value)
				ip, err := netip.ParseAddr(host)
				if p.service(host) != nil || err == nil && privateAddress(ip) || err != nil && !strings.Contains(host, ".") ||
					slices.ContainsFunc([]string{".local", ".lan", ".internal", ".home.arpa", ".localdomain"}, func(s string) bool { return strings.HasSuffix(host, s) }) {
					p.report(e.pos, "the store is at %s, where clients can't go, and redirects are on", e.value).
						mend("add under storage: redirect: {disable: true}   then: %s", p.restart("registry"))
				}
			},
		},
		{
			Code: "s3-incomplete", Severity: Error,
			Title: "S3 storage without a bucket or a region",
			Why:   "the registry does not start, or answers 503 to everything: \"the region is wrong\"",
			Mend:  "set bucket and region; services of one's own take us-east-1, R2 takes auto",
			run: func(p *pass) {
				if !p.settings.has("storage.s3") {
					return
				}
				for _, key := range []string{"bucket", "region"} {
					if p.settings.text("storage.s3."+key) == "" {
						p.report(p.settings.at("storage.s3"), "storage.s3 has no %s", key).mend("add under s3: %s: NAME", key)
					}
				}
			},
		},
		{
			Code: "storage-in-container", Severity: Error,
			Title: "images that are kept inside the container",
			Why:   "they are gone with the container: an update or docker compose down deletes every image",
			Mend:  "mount a folder or a volume at the storage's root directory",
			run: func(p *pass) {
				if p.registry == nil || p.Embedded || !p.settings.has("storage.filesystem") {
					return
				}
				root := p.settings.text("storage.filesystem.rootdirectory")
				if root == "" {
					root = "/var/lib/registry"
				}
				if !p.registry.mounts(root) {
					p.report(p.serviceAt(p.registry, "volumes"), "nothing is mounted at %s in service %s", root, p.registry.Name).
						mend("add to the volumes of service %s: ./data/registry:%s", p.registry.Name, root)
				}
			},
		},
	}
}

func endpointHost(endpoint string) string {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
