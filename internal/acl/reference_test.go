package acl_test

import (
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// This file decides requests the slow way: text substitution, every combination of label
// values, one entry after the other. It is what the package must agree with.

// answer is three-valued: a broken pattern neither matches nor fails.
type answer int

const (
	no answer = iota
	yes
	broken
)

func (a answer) or(b answer) answer {
	if a == yes || b == yes {
		return yes
	}
	return max(a, b)
}

func (a answer) and(b answer) answer {
	if a == no || b == no {
		return no
	}
	return max(a, b)
}

var captureText = regexp.MustCompile(`\$\{(.+?):(\d+)\}`)

// substitute replaces names, which begin with "${", by values, given as pairs, in one pass:
// what strings.NewReplacer(pairs...).Replace(text) does, without the tables that it builds.
func substitute(text string, pairs []string) string {
	var b strings.Builder
next:
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		text = text[i:]
		for k := 0; k < len(pairs); k += 2 {
			if rest, ok := strings.CutPrefix(text, pairs[k]); ok {
				b.WriteString(pairs[k+1])
				text = rest
				continue next
			}
		}
		b.WriteByte(text[0])
		text = text[1:]
	}
}

type reference struct {
	entries []acl.Entry
	options acl.Options
	regexps map[string]*regexp.Regexp // nil: does not compile
}

func (ref *reference) decide(r *acl.Request) (granted []string, index int, undecided bool) {
	for i := range ref.entries {
		switch ref.entry(&ref.entries[i], r) {
		case broken:
			return nil, i, true
		case yes:
			actions := ref.entries[i].Actions
			if slices.Equal(actions, []string{"*"}) {
				return r.Actions, i, false
			}
			for _, a := range r.Actions {
				if slices.Contains(actions, a) {
					granted = append(granted, a)
				}
			}
			return granted, i, false
		}
	}
	return nil, -1, false
}

func (ref *reference) entry(e *acl.Entry, r *acl.Request) answer {
	fields := [4]*string{e.Match.Account, e.Match.Type, e.Match.Name, e.Match.Service}
	values := [4]string{r.Account, r.Type, r.Name, r.Service}
	names := []string{"account", "type", "name", "service"}
	quote := func(s string) string { return s }
	if ref.options.LiteralLabels {
		quote = regexp.QuoteMeta
	}
	var vars []string
	for f, name := range names {
		vars = append(vars, "${"+name+"}", regexp.QuoteMeta(values[f]))
	}
	for f := range fields {
		if fields[f] == nil || !strings.Contains(*fields[f], "${") {
			continue
		}
		for _, found := range captureText.FindAllStringSubmatch(*fields[f], -1) {
			target := found[1]
			if target != "" {
				target = strings.ToLower(target[:1]) + target[1:]
			}
			group, _ := strconv.Atoi(found[2])
			of := slices.Index(names, target)
			if of < 0 {
				continue
			}
			if p := fields[of]; p != nil && len(*p) > 1 && (*p)[0] == '/' && strings.HasSuffix(*p, "/") {
				groups := ref.regexp((*p)[1 : len(*p)-1]).FindStringSubmatch(values[of])
				if 1 <= group && group < len(groups) {
					vars = append(vars, found[0], quote(groups[group]))
				}
			}
		}
	}
	result := yes
	for f := range fields {
		if fields[f] != nil && result != no {
			result = result.and(ref.field(*fields[f], values[f], vars, r.Labels, quote))
		}
	}
	if e.Match.IP != nil {
		result = result.and(ref.ip(*e.Match.IP, r))
	}
	for _, l := range e.Match.Labels {
		some := no
		for _, v := range r.Labels[l.Key] {
			some = some.or(ref.text(l.Pattern, substitute(l.Pattern, vars), v))
		}
		result = result.and(some)
	}
	return result
}

func (ref *reference) field(pattern, value string, vars []string, labels map[string][]string, quote func(string) string) answer {
	result := ref.text(pattern, substitute(pattern, vars), value)
	product := [][]string{nil}
	named := false
	for key, values := range labels {
		placeholder := "${labels:" + key + "}"
		if !strings.Contains(pattern, placeholder) {
			continue
		}
		named = true
		var longer [][]string
		for _, p := range product {
			for _, v := range values {
				longer = append(longer, append(slices.Clone(p), placeholder, quote(v)))
			}
		}
		product = longer
	}
	if !named {
		return result
	}
	for _, p := range product {
		text := substitute(pattern, append(slices.Clone(vars), p...))
		result = result.or(ref.text(pattern, text, value))
	}
	return result
}

func looksLikeRegexp(p string) bool { return len(p) > 2 && p[0] == '/' && p[len(p)-1] == '/' }

func (ref *reference) text(written, text, value string) answer {
	var ok bool
	if looksLikeRegexp(text) && (!ref.options.LiteralLabels || looksLikeRegexp(written)) {
		re := ref.regexp(text[1 : len(text)-1])
		if re == nil {
			return broken
		}
		ok = re.MatchString(value)
	} else {
		var err error
		if ok, err = path.Match(text, value); err != nil {
			return broken
		}
	}
	if ok {
		return yes
	}
	return no
}

func (ref *reference) regexp(body string) *regexp.Regexp {
	re, ok := ref.regexps[body]
	if !ok {
		re, _ = regexp.Compile(body)
		if len(ref.regexps) > 100000 {
			clear(ref.regexps)
		}
		ref.regexps[body] = re
	}
	return re
}

func (ref *reference) ip(pattern string, r *acl.Request) answer {
	if !r.IP.IsValid() {
		return no
	}
	addr := net.IP(r.IP.AsSlice())
	ok := false
	if ip := net.ParseIP(pattern); ip != nil {
		ok = ip.Equal(addr)
	} else {
		_, network, _ := net.ParseCIDR(pattern)
		ok = network.Contains(addr)
	}
	if ok {
		return yes
	}
	return no
}
