package answers

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/distribution/reference"
)

// ImageFloor is the oldest version of a program that is taken without being told to.
type ImageFloor struct {
	Program string // last component of the image's name
	Version [3]int
	Why     string
}

// ImageFloors returns the floors for an image of the auth service, of the registry (of
// that major version) and of caddy. They come from the programs' security advisories,
// but for docker_auth's, below which the token endpoint that registries redirect to
// (/auth/token) is missing.
func ImageFloors(registry int) []ImageFloor {
	floors := []ImageFloor{
		{"docker_auth", [3]int{1, 13, 0}, "older ones don't answer /auth/token, where clients of one domain are sent"},
		{"caddy", [3]int{2, 11, 1}, "older ones let host and path rules be passed by (CVE-2026-27587, CVE-2026-27588)"},
	}
	for _, program := range []string{"registry", "distribution"} {
		f := ImageFloor{program, [3]int{3, 1, 1}, "older ones delete tags although deleting is off, and leak a cache's upstream password (CVE-2026-41888, CVE-2026-33540)"}
		if registry == 2 {
			f = ImageFloor{program, [3]int{2, 8, 3}, "older ones can be stopped by a client (CVE-2023-2253)"}
		}
		floors = append(floors, f)
	}
	return floors
}

var tagVersion = regexp.MustCompile(`^v?(\d{1,4})(?:\.(\d{1,4}))?(?:\.(\d{1,4}))?(-(?:rc|alpha|beta)[.0-9]*)?(?:$|[-+_])`)

// ImageVersion returns the program (the last component of the image's name) and the
// numbers at the beginning of its tag, as far as there are some: none for a digest or a
// tag such as "latest". pre says that they are of a version before the release.
func ImageVersion(image string) (program string, version []int, pre bool) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", nil, false
	}
	program = named.Name()[strings.LastIndexByte(named.Name(), '/')+1:]
	tagged, ok := named.(reference.Tagged)
	if !ok {
		return program, nil, false
	}
	m := tagVersion.FindStringSubmatch(tagged.Tag())
	if m == nil {
		return program, nil, false
	}
	for _, s := range m[1:4] {
		if s == "" {
			break
		}
		n, _ := strconv.Atoi(s) // at most four digits
		version = append(version, n)
	}
	return program, version, m[4] != ""
}

// Below reports whether the image is certainly older than the floor. A tag that moves
// (registry:3, caddy:2.11) is taken for the newest that it can be.
func (f ImageFloor) Below(image string) bool {
	program, version, pre := ImageVersion(image)
	if program != f.Program || len(version) == 0 {
		return false
	}
	for i, n := range version {
		if n != f.Version[i] {
			return n < f.Version[i]
		}
	}
	return pre && len(version) == len(f.Version)
}

func (f ImageFloor) String() string {
	return fmt.Sprintf("%s %d.%d.%d", f.Program, f.Version[0], f.Version[1], f.Version[2])
}

// images checks the versions of images that were answered.
func (v *validator) images(a Answers) {
	for _, i := range []struct{ flag, image string }{
		{"auth-image", v.a.Images.Auth}, {"registry-image", v.a.Images.Registry}, {"caddy-image", v.a.Images.Caddy},
	} {
		program, version, _ := ImageVersion(i.image)
		if i.flag == "registry-image" && (program == "registry" || program == "distribution") && len(version) > 0 && version[0] != a.Registry {
			v.add(i.flag, fmt.Sprintf("say --registry %d too", version[0]), "%s is registry %d, but --registry is %d", quote(i.image), version[0], a.Registry)
			continue
		}
		for _, f := range ImageFloors(a.Registry) {
			if !a.Images.AllowOld && f.Below(i.image) {
				v.add(i.flag, "--allow-old-images takes it all the same", "%s is older than %s: %s", quote(i.image), f, f.Why)
			}
		}
	}
}
