package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// image is an image reference taken apart.
type image struct {
	ref    string
	host   string // "" = Docker Hub
	repo   string // without host
	tag    string // "" = none
	digest string
}

func parseImage(ref string) image {
	i := image{ref: ref}
	rest := ref
	rest, i.digest, _ = strings.Cut(rest, "@")
	if at := strings.LastIndexByte(rest, ':'); at >= 0 && !strings.Contains(rest[at:], "/") {
		rest, i.tag = rest[:at], rest[at+1:]
	}
	if first, after, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		i.host, rest = first, after
	}
	if i.host == "docker.io" || i.host == "index.docker.io" {
		i.host = ""
	}
	i.repo = strings.TrimPrefix(rest, "library/")
	return i
}

// base is the last component of the repository.
func (i image) base() string { return i.repo[strings.LastIndexByte(i.repo, '/')+1:] }

// version is what a tag says: "3.1.1" or "3" or "v1.2-alpine".
type version struct {
	major, minor, patch int
	parts               int // how many of them the tag names
}

func (i image) version() version {
	var v version
	text := strings.TrimPrefix(i.tag, "v")
	text, _, _ = strings.Cut(text, "-")
	for n, part := range strings.Split(text, ".") {
		x, err := strconv.Atoi(part)
		if err != nil || n > 2 || n == 0 && x > 1000 { // a date is no version
			break
		}
		*[]*int{&v.major, &v.minor, &v.patch}[n] = x
		v.parts = n + 1
	}
	return v
}

// before reports whether every version that the tag may stand for is older than the one given. A
// tag that names less than three parts moves, and stands for the newest.
func (v version) before(major, minor, patch int) bool {
	if v.parts == 0 || v.major != major {
		return v.parts > 0 && v.major < major
	}
	if v.parts < 2 || v.minor != minor {
		return v.parts >= 2 && v.minor < minor
	}
	return v.parts == 3 && v.patch < patch
}

func imageChecks() []Check {
	return []Check{
		{
			Code: "image-gone", Severity: Error,
			Title: "an image that can't be pulled any more",
			Why:   "docker compose pull and a start on a new machine end with \"pull access denied\", which reads like a login problem",
			Mend:  "name an image that is published: for MinIO a mirror that you trust, or another object store",
			run: func(p *pass) {
				for _, s := range p.services() {
					if s.image.host == "" && (s.image.repo == "minio/minio" || s.image.repo == "minio/mc") {
						p.report(p.serviceAt(s, "image"), "service %s uses %s, whose repository was removed from Docker Hub in September 2026", s.Name, s.image.ref).
							mend("name another image, such as versity/versitygw:v1.8.0 for an S3 store on local disk (%s explains the choices)", "regctl-setup init --help")
					}
				}
			},
		},
		{
			Code: "image-vulnerable", Severity: Error,
			Title: "an image version with known security holes",
			Why:   "the holes are public, and the registry is reachable",
			Mend:  "raise the tag in .env or docker-compose.yml, then: docker compose up -d --wait",
			run: func(p *pass) {
				for _, s := range p.services() {
					for _, floor := range imageFloors() {
						if s.image.host == "" && s.image.repo == floor.repo && s.image.version().major == floor.major && s.image.version().before(floor.major, floor.minor, floor.patch) {
							at, where := p.imageAt(s)
							p.report(at, "service %s uses %s: %s", s.Name, s.image.ref, floor.holes).
								mend("write %s:%d.%d.%d or newer in %s, then: %s", floor.repo, floor.major, floor.minor, floor.patch, where, p.dockerCompose("up -d --wait"))
						}
					}
				}
			},
		},
		{
			Code: "image-tag-floats", Severity: Warning,
			Title: "an image tag that moves to other versions by itself",
			Why:   "the next pull may bring another major version with other paths and key ids, at a moment that nobody chose",
			Mend:  "write the full version, such as registry:3.1.1",
			run: func(p *pass) {
				for _, s := range p.services() {
					v := s.image.version()
					if s.image.ref == "" || s.Build != nil || s.image.digest != "" || v.parts >= 2 {
						continue
					}
					if v.parts == 0 && s.image.tag != "" && s.image.tag != "latest" && s.image.tag != "edge" {
						continue // a name of somebody's own, or a date: no word on whether it moves
					}
					at, where := p.imageAt(s)
					p.report(at, "service %s uses %s, which is another version tomorrow", s.Name, s.image.ref).
						mend("write a full version in %s%s", where, pinned(s.image))
				}
			},
		},
		{
			Code: "registry-2-unmaintained", Severity: Info,
			Title: "registry 2, which gets no security fixes any more",
			Why:   "CVE-2026-33540 (a pull-through cache hands out its upstream password) has no fix in 2.8",
			Mend:  "move to registry:3.1.1; both read the same configuration file that init writes",
			run: func(p *pass) {
				if p.registry != nil && p.registryMajor() == 2 && !p.Embedded {
					at, where := p.imageAt(p.registry)
					p.report(at, "the registry is %s", p.registry.image.ref).mend("write registry:3.1.1 in %s, and keep a backup of the data", where)
				}
			},
		},
		{
			Code: "docker-auth-too-old", Severity: Error,
			Title: "a docker_auth that does not know a setting of its config",
			Why:   "it ignores the setting in silence: its tokens keep the old form of key id, which registry 3 refuses",
			Mend:  "use cesanta/docker_auth:1.14.0 or newer",
			run: func(p *pass) {
				if p.auth == nil || p.Auth == nil || p.auth.image.base() != "docker_auth" || !p.Auth.Token.DisableLegacyKeyID {
					return
				}
				if p.auth.image.version().before(1, 14, 0) {
					at, where := p.imageAt(p.auth)
					p.report(at, "%s ignores token.disable_legacy_key_id, which is set in %s", p.auth.image.ref, p.Auth.Path).
						mend("write cesanta/docker_auth:1.14.0 in %s, then: %s", where, p.dockerCompose("up -d --wait auth"))
				}
			},
		},
	}
}

// imageFloor is the oldest version of an image without a known hole.
type imageFloor struct {
	repo                string
	major, minor, patch int
	holes               string
}

func imageFloors() []imageFloor {
	return []imageFloor{
		{"registry", 3, 1, 1, "CVE-2026-33540 and CVE-2026-35172 are open before 3.1.0, CVE-2026-41888 (deleting tags although delete is off) before 3.1.1"},
		{"registry", 2, 8, 3, "CVE-2023-2253 (one request takes all memory) is open before 2.8.2, and 2.8.3 is the last of its line"},
		{"caddy", 2, 11, 1, "CVE-2026-27586, -27587, -27588 and -27589 (matchers that can be walked around, a forged request to the admin interface) are open before 2.11.1"},
	}
}

// pinned is the version that this program knows to work, as a suffix of advice.
func pinned(i image) string {
	switch i.base() {
	case "registry":
		if i.version().major == 2 {
			return ": registry:2.8.3"
		}
		return ": registry:3.1.1"
	case "caddy":
		return ": caddy:2.11.4"
	case "docker_auth":
		return ": cesanta/docker_auth:1.14.0"
	}
	return fmt.Sprintf(" instead of %q", i.tag)
}
