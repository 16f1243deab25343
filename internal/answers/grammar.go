package answers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/distribution/reference"
)

// The functions below each know one grammar. They return nil, or an error that says
// what was expected; the offending text is added by the caller.

var (
	hostLabel   = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	emailLocal  = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_%+-])?$`)
	labelValue  = regexp.MustCompile(`^[a-z0-9]+(?:[_-][a-z0-9]+)*$`)
	s3Bucket    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	s3Region    = regexp.MustCompile(`^[a-z0-9]+(?:-[a-z0-9]+)*$`)
	gcsBucket   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	azAccount   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	azContainer = regexp.MustCompile(`^[a-z0-9](?:-?[a-z0-9]){2,62}$`)
	azTenant    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$`)
	azClient    = regexp.MustCompile(`^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	claim       = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:/-]{0,127}$`)
	githubOrg   = regexp.MustCompile(`^[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}$`)
	attribute   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)
	nameSegment = regexp.MustCompile(`^[a-z0-9*]+(?:(?:\.|_|__|-+)[a-z0-9*]+)*$`)
)

const maxText = 255 // bytes of any one text answer, as of a name in a token request

// text accepts one line of valid text without control characters.
func text(s string) error {
	switch {
	case len(s) > maxText:
		return fmt.Errorf("too long: at most %d bytes", maxText)
	case !utf8.ValidString(s):
		return errors.New("not valid UTF-8")
	case strings.TrimSpace(s) != s:
		return errors.New("must not start or end with a space")
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\ufeff' {
			return fmt.Errorf("must not hold the control character %U", r)
		}
	}
	return nil
}

// checkHost accepts a host name in lower case (RFC 1123, as ASCII) or an IPv4 address.
func checkHost(s string) error {
	const expected = "expected a host name in lower case, such as registry.example.com, or an IPv4 address"
	if addr, err := netip.ParseAddr(s); err == nil {
		if !addr.Is4() {
			return errors.New("an IPv6 address can't be the domain; expected a host name")
		}
		return nil
	}
	if strings.Contains(s, "://") {
		return errors.New("holds a scheme; " + expected)
	}
	if h, port, err := net.SplitHostPort(s); err == nil && port != "" && checkHost(h) == nil {
		return errors.New("holds a port, which is --https-port's; " + expected)
	}
	if s == "" || len(s) > 253 {
		return errors.New(expected)
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !hostLabel.MatchString(l) {
			return errors.New(expected)
		}
	}
	// A last label of digits only would be read as a broken address (RFC 1123, 2.1).
	if _, err := strconv.Atoi(labels[len(labels)-1]); err == nil {
		return errors.New("ends like a number but is no IPv4 address; " + expected)
	}
	return nil
}

func checkEmail(s string) error {
	local, host, ok := strings.Cut(s, "@")
	if !ok || !emailLocal.MatchString(local) || strings.Contains(local, "..") || checkHost(strings.ToLower(host)) != nil {
		return errors.New("expected an e-mail address such as ops@example.com")
	}
	return nil
}

func checkPort(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 1 || n > 65535 {
		return errors.New("expected a port from 1 to 65535")
	}
	return nil
}

func checkIP(s string) error {
	if addr, err := netip.ParseAddr(s); err != nil || addr.Zone() != "" {
		return errors.New("expected an IP address of this machine, such as 127.0.0.1")
	}
	return nil
}

// checkCIDR accepts a CIDR without host bits, or an address.
func checkCIDR(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return errors.New("expected an address or a network such as 10.0.0.0/8")
	}
	if p.Masked() != p {
		return fmt.Errorf("has bits set behind the prefix; expected %s", p.Masked())
	}
	if p.Bits() == 0 {
		return errors.New("would trust every address; expected the network of the proxy")
	}
	return nil
}

func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || checkPort(port) != nil {
		return errors.New("expected HOST:PORT, such as localhost:5000")
	}
	if _, err := netip.ParseAddr(host); err != nil && checkHost(host) != nil {
		return errors.New("expected HOST:PORT, such as localhost:5000")
	}
	return nil
}

// checkQuotable accepts what can stand between the quotes of an HTTP challenge:
// issuer and service do (RFC 9110, 5.6.4, without the quoted pairs).
func checkQuotable(s string) error {
	if err := text(s); err != nil {
		return err
	}
	for _, r := range s {
		if r > unicode.MaxASCII || r == '"' || r == '\\' {
			return fmt.Errorf("must not hold %q: it goes into an HTTP header; expected plain ASCII without quotes and backslashes", r)
		}
	}
	return nil
}

func checkImage(s string) error {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return fmt.Errorf("expected an image reference such as registry:3.1.1: %w", err)
	}
	if reference.IsNameOnly(named) {
		return errors.New("has neither tag nor digest; expected one, so that an upgrade is a change you make")
	}
	if named.Name() == "docker.io/minio/minio" || named.Name() == "docker.io/minio/mc" {
		return errors.New("was deleted from Docker Hub in 2026; expected an image that you mirror or build")
	}
	return nil
}

func checkURL(s string) error {
	const expected = "expected a URL such as https://s3.example.com, without path, query and credentials"
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || strings.ContainsAny(s, "?#") {
		return errors.New(expected)
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && checkServiceHost(host) != nil {
		return errors.New(expected)
	}
	if p := u.Port(); p != "" && checkPort(p) != nil {
		return errors.New(expected)
	}
	if strings.HasSuffix(u.Host, ":") {
		return errors.New(expected)
	}
	return nil
}

// checkDirectoryURL accepts the URL of an ACME directory. Braces are Caddy's, for values that it
// puts in.
func checkDirectoryURL(s string) error {
	const expected = "expected the URL of an ACME directory such as https://ca.example.com/acme/acme/directory"
	if strings.ContainsAny(s, "{}") {
		return errors.New(expected + ", without braces")
	}
	return checkHTTPS(s, "a certificate authority must be known for certain", expected)
}

// checkServiceHost is checkHost with the underscores that container names may have.
func checkServiceHost(s string) error { return checkHost(strings.ReplaceAll(s, "_", "-")) }

// checkPath accepts a path of this machine. It is only ever opened, never rendered
// anywhere but into regctl-setup.yaml.
func checkPath(s string) error {
	if len(s) > 4096 {
		return errors.New("too long for a path")
	}
	if strings.TrimSpace(s) != s || !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return errors.New("expected the path of a file")
	}
	return nil
}

// checkLabelValue accepts what the rules can use as part of a pattern: docker_auth
// pastes label values into patterns as they are, so "." or "|" would widen a rule.
func checkLabelValue(s string) error {
	if len(s) > maxText || !labelValue.MatchString(s) {
		return errors.New(`expected lower-case letters and digits, with single "-" or "_" between them`)
	}
	return nil
}

func checkTeam(s string) error {
	if err := checkLabelValue(s); err != nil {
		return err
	}
	// The namespace is dev-NAME: a name component of at most 255 characters in all.
	if len(s) > 64 {
		return errors.New("too long: at most 64 characters")
	}
	return nil
}

var userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@+-]*$`)

// checkUserName accepts names that every client sends alike (they disagree on the
// encoding of letters outside ASCII) and that no shell or file format takes apart.
func checkUserName(s string) error {
	switch {
	case s == "" || s == "anonymous":
		return errors.New("is the account without credentials; --anonymous-pull says what it may do")
	case len(s) > maxText:
		return fmt.Errorf("too long: at most %d bytes", maxText)
	case !userName.MatchString(s):
		return errors.New(`expected letters a-z and A-Z, digits and any of "._-@+", beginning with a letter or digit`)
	}
	return nil
}

// NamePattern turns a name pattern into the text of an ACL pattern: an anchored
// regular expression between slashes, or the literal "" for all names. In a name
// pattern * stands for characters within one component and ** for one component or
// more.
//
//	public/**      → /^public/.+$/
//	public/*/base  → /^public/[^/]+/base$/
func NamePattern(pattern string) (string, error) {
	if pattern == "" || len(pattern) > maxText || path.Clean("/"+pattern) != "/"+pattern {
		return "", errors.New("expected a name pattern such as public/** or base/*")
	}
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		switch {
		case s == "**":
			segments[i] = ".+"
		case strings.Contains(s, "**"):
			return "", errors.New("** must stand alone between slashes, as in public/**")
		case !nameSegment.MatchString(s):
			return "", errors.New("expected a name pattern such as public/** or base/*, in the characters of repository names: a-z 0-9 . _ - /")
		default:
			segments[i] = strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, "[^/]*")
			if s == "*" {
				segments[i] = "[^/]+"
			}
		}
	}
	return "/^" + strings.Join(segments, "/") + "$/", nil
}

func checkAnonymous(s string) error {
	if s == AnonymousNone || s == AnonymousAll {
		return nil
	}
	_, err := NamePattern(s)
	if err != nil {
		return fmt.Errorf("expected none, all or a name pattern: %w", err)
	}
	return nil
}

func matches(re *regexp.Regexp, expected string) func(string) error {
	return func(s string) error {
		if !re.MatchString(s) {
			return errors.New("expected " + expected)
		}
		return nil
	}
}

func checkBucket(s string) error {
	if !s3Bucket.MatchString(s) || strings.Contains(s, "..") {
		return errors.New("expected a bucket's name: 3 to 63 of a-z 0-9 . -")
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return errors.New("looks like an address; expected a bucket's name")
	}
	return nil
}
