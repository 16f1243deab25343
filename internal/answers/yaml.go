package answers

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const maxFile = 1 << 20 // bytes of an answers file

// ParseYAML reads an answers file over the defaults. Unknown and repeated keys, wrong
// types and values that are wrong on their own are problems with their position; all
// of them are returned at once, as [Problems]. Contradictions are left to
// [Answers.Validate]. An empty file is the defaults. path is for messages only.
func ParseYAML(path string, data []byte) (Answers, error) {
	p := parser{file: path, answers: Defaults()}
	p.parse(data)
	p.problems.sort()
	return p.answers, p.problems.err()
}

type parser struct {
	file     string
	answers  Answers
	problems Problems
}

func (p *parser) add(n *yaml.Node, key, hint, format string, args ...any) {
	p.problems = append(p.problems, Problem{File: p.file, Line: n.Line, Column: n.Column, Key: key, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

func (p *parser) parse(data []byte) {
	if len(data) > maxFile {
		p.problems = append(p.problems, Problem{File: p.file, Msg: fmt.Sprintf("too large for an answers file: more than %d bytes", maxFile)})
		return
	}
	if !utf8.Valid(data) {
		p.problems = append(p.problems, notUTF8(p.file, data))
		return
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return
		}
		problem := Problem{File: p.file, Line: 1, Column: 1, Msg: strings.TrimPrefix(err.Error(), "yaml: ")}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			problem.Line, _ = strconv.Atoi(m[1])
			problem.Msg = m[2]
		}
		p.problems = append(p.problems, problem)
		return
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		p.add(&next, "", "", "a second YAML document; expected one")
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	p.mapping(root, "")
}

// notUTF8 names the first byte that is no UTF-8.
func notUTF8(file string, data []byte) Problem {
	p := Problem{File: file, Line: 1, Column: 1}
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			p.Msg = fmt.Sprintf("byte %#02x is not valid UTF-8", data[0])
			return p
		}
		p.Column++
		if r == '\n' {
			p.Line, p.Column = p.Line+1, 1
		}
		data = data[n:]
	}
	return p
}

// keys returns the keys below prefix ("" or "s3."), without it.
func keys(prefix string) []string {
	var out []string
	for _, f := range Fields() {
		rest, ok := strings.CutPrefix(f.Key, prefix)
		if !ok {
			continue
		}
		head, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(out, head) {
			out = append(out, head)
		}
	}
	return out
}

// mapping reads the mapping of the keys below prefix.
func (p *parser) mapping(n *yaml.Node, prefix string) {
	p.pairs(n, strings.TrimSuffix(prefix, "."), keys(prefix), func(key string, k, v *yaml.Node) {
		full := prefix + key
		switch full {
		case "teams":
			p.teams(v)
			return
		case "users":
			p.users(v)
			return
		}
		for _, f := range Fields() {
			if f.Key == full {
				p.field(f, v)
				return
			}
		}
		if v.Kind == yaml.ScalarNode && v.Tag == "!!null" {
			return // "s3:" with nothing below it
		}
		p.mapping(v, full+".")
	})
}

// pairs walks a mapping whose keys are known, and reports all others.
func (p *parser) pairs(n *yaml.Node, name string, known []string, visit func(key string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.add(n, name, "", "%s; expected keys with values", describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			p.add(k, name, "", "%s as a key; expected one of %s", describe(k), strings.Join(known, ", "))
		case seen[k.Value] > 0:
			p.add(k, name, "", "key %s comes twice; the first is on line %d", quote(k.Value), seen[k.Value])
		case !slices.Contains(known, k.Value):
			if c := nearest(k.Value, known); c != "" {
				p.add(k, name, "", "unknown key %s; did you mean %s?", quote(k.Value), c)
			} else {
				p.add(k, name, "", "unknown key %s; expected one of %s", quote(k.Value), strings.Join(known, ", "))
			}
		default:
			visit(k.Value, k, v)
		}
		if k.Kind == yaml.ScalarNode && seen[k.Value] == 0 {
			seen[k.Value] = k.Line
		}
	}
}

// field reads one answer.
func (p *parser) field(f Field, n *yaml.Node) {
	if f.Kind == KindList {
		values, nodes, ok := p.texts(n, f.Key)
		if !ok {
			return
		}
		for i, v := range values {
			if err := f.Check(v); err != nil {
				p.add(nodes[i], f.Key, "", "%s", err)
				ok = false
			}
		}
		if ok {
			_ = f.Set(&p.answers, values) // every value has just been checked
		}
		return
	}
	s, ok := p.scalar(f, n)
	if !ok {
		return
	}
	err := f.Set(&p.answers, []string{s})
	var one Problem
	var many Problems
	switch {
	case errors.As(err, &many):
		for _, q := range many {
			p.add(n, f.Key, q.Hint, "%s", q.Msg)
		}
	case errors.As(err, &one):
		p.add(n, f.Key, one.Hint, "%s", one.Msg)
	}
}

// scalar returns the text of one value.
func (p *parser) scalar(f Field, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		p.add(n, f.Key, "", "%s; expected one value", describe(n))
		return "", false
	}
	if n.Tag == "!!null" {
		if f.Optional {
			return "", true
		}
		p.add(n, f.Key, "", "has no value; leave the key out for the default")
		return "", false
	}
	want := map[Kind]string{KindInt: "!!int", KindBool: "!!bool"}[f.Kind]
	if want != "" && n.Tag != want && !(f.Key == "expiration" && n.Tag == "!!str") {
		p.add(n, f.Key, "", "%s; expected %s", describe(n), map[Kind]string{KindInt: "a number", KindBool: "true or false"}[f.Kind])
		return "", false
	}
	if f.Kind == KindBool {
		var b bool
		if err := n.Decode(&b); err == nil {
			return strconv.FormatBool(b), true
		}
	}
	if f.Kind == KindText && n.Tag == "!!bool" {
		p.add(n, f.Key, "put it into quotes if it is a text", "%s; expected a text", describe(n))
		return "", false
	}
	return n.Value, true
}

// texts returns the elements of a list of texts.
func (p *parser) texts(n *yaml.Node, key string) (values []string, nodes []*yaml.Node, ok bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil, nil, true
	}
	if n.Kind != yaml.SequenceNode {
		p.add(n, key, "", "%s; expected a list", describe(n))
		return nil, nil, false
	}
	ok = true
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode || e.Tag == "!!null" {
			p.add(e, key, "", "%s; expected a text", describe(e))
			ok = false
			continue
		}
		values = append(values, e.Value)
		nodes = append(nodes, e)
	}
	return values, nodes, ok
}

// items calls visit for each mapping of a list of mappings.
func (p *parser) items(n *yaml.Node, key string, visit func(*yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		p.add(n, key, "", "%s; expected a list of {name: …}", describe(n))
		return
	}
	for _, e := range n.Content {
		visit(e)
	}
}

// name reads a checked text that must be there.
func (p *parser) name(n *yaml.Node, key string, check func(string) error) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.add(n, key, "", "%s; expected a text", describe(n))
		return ""
	}
	if err := check(n.Value); err != nil {
		p.add(n, key, "", "%s: %s", quote(n.Value), err)
	}
	return n.Value
}

func (p *parser) teams(n *yaml.Node) {
	p.answers.Teams = nil
	p.items(n, "teams", func(e *yaml.Node) {
		var t Team
		p.pairs(e, "teams", []string{"name"}, func(_ string, _, v *yaml.Node) {
			t.Name = p.name(v, "teams.name", checkTeam)
		})
		p.require(e, "teams", "name", t.Name)
		p.answers.Teams = append(p.answers.Teams, t)
	})
}

func (p *parser) users(n *yaml.Node) {
	p.answers.Users = nil
	p.items(n, "users", func(e *yaml.Node) {
		var u User
		p.pairs(e, "users", []string{"name", "labels"}, func(key string, _, v *yaml.Node) {
			if key == "name" {
				u.Name = p.name(v, "users.name", checkUserName)
				return
			}
			p.items(v, "users.labels", func(e *yaml.Node) {
				u.Labels = append(u.Labels, p.label(e))
			})
		})
		p.require(e, "users", "name", u.Name)
		p.answers.Users = append(p.answers.Users, u)
	})
}

func (p *parser) label(n *yaml.Node) Label {
	var l Label
	p.pairs(n, "users.labels", []string{"name", "values"}, func(key string, _, v *yaml.Node) {
		if key == "name" {
			l.Name = p.name(v, "users.labels.name", checkLabelValue)
			return
		}
		values, nodes, _ := p.texts(v, "users.labels.values")
		for i := range values {
			l.Values = append(l.Values, p.name(nodes[i], "users.labels.values", checkLabelValue))
		}
	})
	p.require(n, "users.labels", "name", l.Name)
	return l
}

// require reports a mapping without a key that must be there.
func (p *parser) require(n *yaml.Node, where, key, value string) {
	if value != "" || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return // reported with its value
		}
	}
	p.add(n, where, "", "has no %s", key)
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias, which this file may not have"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return quote(n.Value)
}

// Marshal returns regctl-setup.yaml: every answer with its help as a comment, in the
// order of [Fields]; the storages that are not used are left out. It holds no secret.
// [ParseYAML] of it returns the same answers, and equal answers give equal bytes.
func (a Answers) Marshal() []byte {
	var b strings.Builder
	b.WriteString(`# The answers that this deployment was generated from, and how it is run.
# There are no secrets in here: passwords, keys and tokens live elsewhere.
# An empty text means that the value is derived from the others.
`)
	group, nested := "", ""
	for _, f := range Fields() {
		if !a.relevant(f.Key) {
			continue
		}
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n# ---- %s ----\n", group)
		}
		parent, key, isNested := strings.Cut(f.Key, ".")
		indent := ""
		if isNested {
			indent = "  "
			if parent != nested {
				fmt.Fprintf(&b, "%s:\n", parent)
			}
			nested = parent
		} else {
			key, nested = parent, ""
		}
		help := f.Help
		if len(f.Values) > 0 && f.Key != "registry" {
			help += " (" + strings.Join(f.Values, ", ") + ")"
		}
		for line := range wrap(help, 96-len(indent)) {
			fmt.Fprintf(&b, "%s# %s\n", indent, line)
		}
		fmt.Fprintf(&b, "%s%s:%s\n", indent, key, a.yamlValue(f))
	}
	return []byte(b.String())
}

// relevant reports whether the key belongs into the file: settings of a storage only
// with that storage, of a login only with that login, of the cache only with one, of
// docker_auth only with that.
func (a Answers) relevant(key string) bool {
	parent, _, nested := strings.Cut(key, ".")
	used := false
	switch parent {
	case "audit":
		return a.Audit || a.Engine == EngineDockerAuth
	case "s3":
		used = a.UsesS3()
	case "azure":
		used = a.Storage == StorageAzure
	case "gcs":
		used = a.Storage == StorageGCS
	case "cache":
		used = a.HasCache()
	case LoginLDAP, LoginOIDC, LoginGitHub, LoginGitLab, LoginGoogle:
		used = a.HasLogin(parent)
	default:
		return true
	}
	return used || !nested || slices.ContainsFunc(Fields(), func(f Field) bool {
		return strings.HasPrefix(f.Key, parent+".") && f.Text(&a) != f.Default()
	})
}

// yamlValue returns the field's value with what stands between it and the colon.
func (a Answers) yamlValue(f Field) string {
	var b strings.Builder
	switch {
	case f.Key == "teams":
		for _, t := range a.Teams {
			fmt.Fprintf(&b, "\n  - name: %s", scalar(t.Name))
		}
	case f.Key == "users":
		for _, u := range a.Users {
			fmt.Fprintf(&b, "\n  - name: %s", scalar(u.Name))
			if len(u.Labels) == 0 {
				continue
			}
			b.WriteString("\n    labels:")
			for _, l := range u.Labels {
				values := make([]string, len(l.Values))
				for i, v := range l.Values {
					values[i] = scalar(v)
				}
				fmt.Fprintf(&b, "\n      - {name: %s, values: [%s]}", scalar(l.Name), strings.Join(values, ", "))
			}
		}
	case f.Kind == KindList:
		for _, v := range f.Get(&a) {
			fmt.Fprintf(&b, "\n  - %s", scalar(v))
		}
	case f.Kind == KindText:
		return " " + scalar(f.Text(&a))
	default:
		return " " + f.Text(&a)
	}
	if b.Len() == 0 {
		return " []"
	}
	return b.String()
}

var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

// scalar quotes s for YAML: plain where that can't be read as anything else, in single
// quotes where s is one printable line, else in double quotes with escapes.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return "'" + s + "'"
	}
	if plain.MatchString(s) {
		return s
	}
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// wrap yields the lines of text at most width long.
func wrap(text string, width int) func(func(string) bool) {
	return func(yield func(string) bool) {
		line := ""
		for word := range strings.FieldsSeq(text) {
			if line != "" && len(line)+1+len(word) > width {
				if !yield(line) {
					return
				}
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		if line != "" {
			yield(line)
		}
	}
}
