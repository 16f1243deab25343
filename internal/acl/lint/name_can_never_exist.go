package lint

import (
	"regexp"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

func nameCanNeverExist() Rule {
	return Rule{
		Name: "name-can-never-exist", Severity: Warning,
		Doc: "a name pattern that no repository's name can match: capitals, a tag, a digest or the registry's host in it",
		check: func(p *pass) {
			p.analyse()
			for i := range p.entries {
				e := &p.entries[i]
				if e.name == nil || p.flagged(i, "placeholder-typo") || e.typ != nil && !matchesText(e.typ, "repository") {
					continue
				}
				if why, fix := impossible(e.name, p.in.Service); why != "" && !matchesText(e.name, "catalog") {
					p.reportEntry(i, "name %q: %s", e.name, why).Fix = advise("%s", fix)
					continue
				}
				if p.an != nil && p.reports[i].Reason == "no name that can exist matches" {
					p.reportEntry(i, "name %q matches no repository name that can exist", e.name).Fix =
						advise("names are lower-case components of a-z, 0-9 and single . _ - between, joined by slashes")
				}
			}
		},
	}
}

// component is a part of a repository's name between slashes, of the distribution specification.
var component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

// impossible says why no repository can have a name that the pattern matches, as far as its plain
// text tells; regexps are for the analysis.
func impossible(q *acl.Pattern, service string) (why, fix string) {
	if q.Kind() == acl.Regexp {
		return "", ""
	}
	text := q.Expand(func(acl.Segment) (string, bool) { return "x", true })
	host, rest, deep := strings.Cut(text, "/")
	_, port, hasPort := strings.Cut(host, ":")
	switch {
	case deep && (hasPort && strings.Trim(port, "0123456789*") == "" || host == "localhost" || host == service && service != ""):
		return "the registry's host is no part of a repository's name", "write only what comes after it: " + trimHost(q.String(), rest)
	case strings.Contains(text, "@"):
		return "a digest is no part of a repository's name: rights are by repository", "leave out what begins with @"
	case strings.Contains(text, ":"):
		return "a tag is no part of a repository's name: rights are by repository", "leave out what begins with the colon"
	case strings.ContainsFunc(outsideClasses(text), func(r rune) bool { return 'A' <= r && r <= 'Z' }):
		return "repository names have no capitals", "write it in lower case"
	case strings.HasPrefix(text, "/") || strings.HasSuffix(text, "/") || strings.Contains(text, "//"):
		return "repository names have no slash at either end and no two in a row", "write " + strings.Trim(q.String(), "/") + ", or a regexp between slashes: /^…$/"
	case q.Kind() == acl.Literal:
		for part := range strings.SplitSeq(text, "/") {
			if !component.MatchString(part) {
				return "no repository can have this name", "names are lower-case components of a-z, 0-9 and single . _ - between, joined by slashes"
			}
		}
	}
	return "", ""
}

func trimHost(pattern, rest string) string {
	if _, after, ok := strings.Cut(pattern, "/"); ok {
		return after
	}
	return rest
}

// outsideClasses returns a glob without its character classes.
func outsideClasses(text string) string {
	for {
		open := strings.IndexByte(text, '[')
		if open < 0 {
			return text
		}
		end := strings.IndexByte(text[open:], ']')
		if end < 0 {
			return text[:open]
		}
		text = text[:open] + "x" + text[open+end+1:]
	}
}
