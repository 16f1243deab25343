package doctor

import (
	"fmt"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// directive is one line of a Caddyfile with the block that it opens.
type directive struct {
	words []string
	pos   acl.Pos
	block []directive // nil without one
}

func (d directive) name() string {
	if len(d.words) == 0 {
		return ""
	}
	return d.words[0]
}

// caddySyntaxError says where a Caddyfile can't be read.
type caddySyntaxError struct {
	pos acl.Pos
	msg string
}

func (e *caddySyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: %s", e.pos.File, e.pos.Line, e.msg)
}

// parseCaddyfile reads the structure of a Caddyfile: words, blocks, quotes, comments. Variables
// {$NAME} and {$NAME:default} are replaced as Caddy does, before anything else is read. What the
// directives mean is their readers' business.
func parseCaddyfile(file string, data []byte, env func(string) (string, bool)) ([]directive, error) {
	p := &caddyParser{file: file, lines: strings.Split(expandCaddy(string(data), env), "\n")}
	return p.block(0)
}

// expandCaddy replaces {$NAME} and {$NAME:default}.
func expandCaddy(text string, env func(string) (string, bool)) string {
	var b strings.Builder
	for {
		i := strings.Index(text, "{$")
		if i < 0 {
			break
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			break
		}
		name, fallback, _ := strings.Cut(text[i+2:i+end], ":")
		value, ok := env(name)
		if !ok || value == "" {
			value = fallback
		}
		b.WriteString(text[:i])
		b.WriteString(value)
		text = text[i+end+1:]
	}
	b.WriteString(text)
	return b.String()
}

type caddyParser struct {
	file  string
	lines []string
	next  int
}

func (p *caddyParser) fault(line int, format string, args ...any) error {
	return &caddySyntaxError{acl.Pos{File: p.file, Line: line, Column: 1}, fmt.Sprintf(format, args...)}
}

// block reads directives until the brace that closes it, or the end of the file at depth 0.
func (p *caddyParser) block(opened int) ([]directive, error) {
	out := []directive{}
	for p.next < len(p.lines) {
		line := p.lines[p.next]
		p.next++
		at := acl.Pos{File: p.file, Line: p.next, Column: 1 + len(line) - len(strings.TrimLeft(line, " \t"))}
		words, err := p.words(line)
		if err != nil {
			return nil, err
		}
		if len(words) == 0 {
			continue
		}
		if words[0] == "}" {
			if opened == 0 {
				return nil, p.fault(p.next, "a brace closes nothing")
			}
			return out, nil
		}
		d := directive{words: words, pos: at}
		if words[len(words)-1] == "{" {
			d.words = words[:len(words)-1]
			if d.block, err = p.block(p.next); err != nil {
				return nil, err
			}
		}
		out = append(out, d)
	}
	if opened > 0 {
		return nil, p.fault(opened, "this brace is not closed")
	}
	return out, nil
}

// words splits a line, joining it with the next after a backslash.
func (p *caddyParser) words(line string) ([]string, error) {
	var out []string
	var b strings.Builder
	in, quoted := false, false
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; {
		case quoted && ch == '\\' && i+1 < len(line) && line[i+1] == '"':
			b.WriteByte('"')
			i++
		case ch == '"' && (quoted || !in):
			quoted, in = !quoted, true
		case quoted:
			b.WriteByte(ch)
		case ch == '#' && !in:
			i = len(line)
		case ch == '\\' && strings.TrimSpace(line[i+1:]) == "" && p.next < len(p.lines):
			line = line[:i] + " " + p.lines[p.next]
			p.next++
			i--
		case ch == ' ' || ch == '\t' || ch == '\r':
			if in {
				out = append(out, b.String())
				b.Reset()
				in = false
			}
		default:
			in = true
			b.WriteByte(ch)
		}
	}
	if quoted {
		return nil, p.fault(p.next, "a quote is not closed on its line")
	}
	if in {
		out = append(out, b.String())
	}
	return out, nil
}

// caddySite is a site block with its addresses; imports are resolved.
type caddySite struct {
	addresses []string
	pos       acl.Pos
	block     []directive
}

// caddyConfig is what checks look at.
type caddyConfig struct {
	file    string
	globals []directive
	sites   []caddySite
}

// readCaddy resolves snippets and tells global options from sites.
func readCaddy(file string, top []directive) *caddyConfig {
	c := &caddyConfig{file: file}
	snippets := map[string][]directive{}
	for _, d := range top {
		if n := d.name(); len(n) > 2 && n[0] == '(' && n[len(n)-1] == ')' {
			snippets[n[1:len(n)-1]] = d.block
		}
	}
	for i, d := range top {
		switch n := d.name(); {
		case len(d.words) == 0 && i == 0:
			c.globals = d.block
		case strings.HasPrefix(n, "("), d.block == nil:
		default:
			var addresses []string
			for _, w := range d.words {
				for _, a := range strings.Split(w, ",") {
					if a != "" {
						addresses = append(addresses, a)
					}
				}
			}
			c.sites = append(c.sites, caddySite{addresses, d.pos, resolveImports(d.block, snippets, 0)})
		}
	}
	return c
}

func resolveImports(block []directive, snippets map[string][]directive, depth int) []directive {
	const deepest = 8 // snippets may import each other
	var out []directive
	for _, d := range block {
		if d.name() == "import" && len(d.words) > 1 && depth < deepest {
			if body, ok := snippets[d.words[1]]; ok {
				out = append(out, resolveImports(body, snippets, depth+1)...)
				continue
			}
		}
		d.block = resolveImports(d.block, snippets, depth)
		out = append(out, d)
	}
	return out
}

// walk calls f for every directive of the block, outer ones first.
func walk(block []directive, f func(d directive, path []directive), path ...directive) {
	for _, d := range block {
		f(d, path)
		walk(d.block, f, append(path[:len(path):len(path)], d)...)
	}
}

// hosts are the site's names without scheme and port.
func (s *caddySite) hosts() []string {
	var out []string
	for _, a := range s.addresses {
		host, _, _ := splitSite(a)
		out = append(out, host)
	}
	return out
}

// splitSite takes a site's address apart: host, scheme ("" = derived), port ("" = the scheme's).
func splitSite(a string) (host, scheme, port string) {
	if i := strings.Index(a, "://"); i >= 0 {
		scheme, a = a[:i], a[i+3:]
	}
	a, _, _ = strings.Cut(a, "/")
	if i := strings.LastIndexByte(a, ':'); i >= 0 && !strings.HasSuffix(a, "]") {
		a, port = a[:i], a[i+1:]
	}
	return strings.Trim(a, "[]"), scheme, port
}

// upstreams are the targets of the site's reverse_proxy directives.
func (s *caddySite) upstreams() []directive {
	var out []directive
	walk(s.block, func(d directive, _ []directive) {
		if d.name() == "reverse_proxy" {
			out = append(out, d)
		}
	})
	return out
}

// targets are the addresses of a reverse_proxy, without its matcher.
func targets(d directive) []string {
	var out []string
	for _, w := range d.words[1:] {
		if !strings.HasPrefix(w, "@") && !strings.HasPrefix(w, "/") && w != "*" {
			out = append(out, w)
		}
	}
	for _, sub := range d.block {
		if sub.name() == "to" {
			out = append(out, sub.words[1:]...)
		}
	}
	return out
}
