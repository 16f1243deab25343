package answers

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLDAPLabel(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]LDAPLabel{
		"team=ou":                {Key: "team", Attribute: "ou"},
		"team=memberOf+cn+lower": {Key: "team", Attribute: "memberOf", CN: true, Lower: true},
		"role=title+lower":       {Key: "role", Attribute: "title", Lower: true},
	} {
		got, err := ParseLDAPLabel(s)
		if err != nil || got != want {
			t.Errorf("ParseLDAPLabel(%q) = %+v, %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "team", "team=", "=ou", "TEAM=ou", "team=o u", "team=ou+upper", "team=ou+cn+cn", "team=ou+"} {
		if got, err := ParseLDAPLabel(s); err == nil {
			t.Errorf("ParseLDAPLabel(%q) = %+v, want an error", s, got)
		}
	}
}

func TestLoginGrammars(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		check   func(string) error
		yes, no []string
	}{
		{"address", checkHostPort, []string{"ldap.example.com:636", "10.0.0.1:389", "[::1]:389"}, []string{"ldap.example.com", ":389", "h:0", "ldaps://h:636", "a b:1"}},
		{"DN", checkDN, []string{"dc=example,dc=com", "ou=a b, dc=x", `cn=Doe\, Jo,dc=x`}, []string{"", "example.com", "dc=", "dc=a,,dc=b", "dc=a\nb=c"}},
		{"filter", checkLDAPFilter, []string{"(uid=${account})", "(&(a=b)(uid=${account}))"}, []string{"", "uid=${account}", "(uid=x)", "((uid=${account})", "(a=b)(uid=${account})", ")(${account}"}},
		{"provider", checkProviderURL, []string{"https://login.example.com/realms/a", "https://10.0.0.1:8443"}, []string{"", "http://login.example.com", "https://", "https://a:b@c.example.com", "https://a/?x", "https://a/\nb", "login.example.com"}},
		{"ttl", checkTTL, []string{"0", "0s", "1h", "168h"}, []string{"", "-1h", "5m", "7d", "1"}},
	} {
		for _, s := range c.yes {
			if err := c.check(s); err != nil {
				t.Errorf("%s %q: %v", c.name, s, err)
			}
		}
		for _, s := range c.no {
			if c.check(s) == nil {
				t.Errorf("%s %q passes", c.name, s)
			}
		}
	}
}

func TestLoginURL(t *testing.T) {
	t.Parallel()
	a := Defaults()
	a.Domain, a.HTTPSPort = "registry.example.com", 8443
	if got, want := a.LoginURL(LoginGitHub), "https://registry.example.com:8443/github_auth"; got != want {
		t.Errorf("LoginURL(github) = %q, want %q", got, want)
	}
	if got := a.LoginURL(LoginLDAP); got != "" {
		t.Errorf("LoginURL(ldap) = %q, want none", got)
	}
	a.Cache.Domain = "hub.example.com"
	if got, want := a.CacheHost(), "hub.example.com:8443"; got != want {
		t.Errorf("CacheHost() = %q, want %q", got, want)
	}
}

func TestImageVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		image, program string
		version        []int
		pre            bool
	}{
		{"registry:3.1.1", "registry", []int{3, 1, 1}, false},
		{"registry:3", "registry", []int{3}, false},
		{"docker.io/library/caddy:2.11.4-alpine", "caddy", []int{2, 11, 4}, false},
		{"lan:5000/mirror/caddy:v2.11", "caddy", []int{2, 11}, false},
		{"distribution/distribution:3.1.1-rc.1", "distribution", []int{3, 1, 1}, true},
		{"caddy:latest", "caddy", nil, false},
		{"caddy:2x", "caddy", nil, false},
		{"caddy@sha256:0000000000000000000000000000000000000000000000000000000000000000", "caddy", nil, false},
		{"no image", "", nil, false},
	} {
		program, version, pre := ImageVersion(c.image)
		if program != c.program || !slices.Equal(version, c.version) || pre != c.pre {
			t.Errorf("ImageVersion(%q) = %q, %v, %v, want %q, %v, %v", c.image, program, version, pre, c.program, c.version, c.pre)
		}
	}
}

func TestImageFloors(t *testing.T) {
	t.Parallel()
	below := func(registry int, image string) (out []string) {
		for _, f := range ImageFloors(registry) {
			if f.Below(image) {
				out = append(out, f.String())
			}
		}
		return out
	}
	for _, c := range []struct {
		registry int
		image    string
		want     []string
	}{
		{3, ImageRegistry3, nil}, {2, ImageRegistry2, nil}, {3, ImageCaddy, nil}, {3, ImageDockerAuth, nil},
		{3, "caddy:2.11.0", []string{"caddy 2.11.1"}}, {3, "caddy:2.11", nil}, {3, "caddy:2.10", []string{"caddy 2.11.1"}}, {3, "caddy:1", []string{"caddy 2.11.1"}},
		{3, "caddy:2.11.1-rc.1", []string{"caddy 2.11.1"}}, {3, "caddy:3.0.0-rc.1", nil},
		{3, "registry:3.1", nil}, {3, "registry:3.1.0", []string{"registry 3.1.1"}}, {2, "registry:2.8.2", []string{"registry 2.8.3"}},
		{3, "mine/other:0.1", nil},
	} {
		if diff := cmp.Diff(c.want, below(c.registry, c.image)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.image, diff)
		}
	}
}
