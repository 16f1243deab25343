package doctor

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
)

// setting is one value of the registry's configuration, and where it comes from.
type setting struct {
	value string     // scalars as written, without quotes
	node  *yaml.Node // of the file; nil for a variable
	pos   acl.Pos
	env   string // the variable's name; "" when it is from the file
}

// settings are the registry's configuration as paths joined by dots: its file, with the
// REGISTRY_* variables over it. Keys are lower case; lists are "[]" with their elements in node.
type settings struct {
	all map[string]setting
}

// fromNode adds the values below a node of the file.
func (s *settings) fromNode(file, path string, n *yaml.Node) {
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			s.fromNode(file, path, c)
		}
	case yaml.AliasNode:
		s.fromNode(file, path, n.Alias)
	case yaml.MappingNode:
		if path != "" {
			s.all[path] = setting{value: "{}", node: n, pos: acl.Pos{File: file, Line: n.Line, Column: n.Column}}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			child := join(path, strings.ToLower(k.Value))
			s.fromNode(file, child, n.Content[i+1])
			// A key is what people look for, not its value.
			if at, ok := s.all[child]; ok {
				at.pos = acl.Pos{File: file, Line: k.Line, Column: k.Column}
				s.all[child] = at
			}
		}
	case yaml.SequenceNode:
		s.all[path] = setting{value: "[]", node: n, pos: acl.Pos{File: file, Line: n.Line, Column: n.Column}}
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return
		}
		s.all[path] = setting{value: n.Value, node: n, pos: acl.Pos{File: file, Line: n.Line, Column: n.Column}}
	}
}

// fromEnv lays a REGISTRY_* variable over the rest. The registry reads values as YAML; a scalar
// for a section (REGISTRY_STORAGE=s3) replaces the section and leaves what later variables set.
func (s *settings) fromEnv(name, value string, at acl.Pos) {
	path := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "REGISTRY_"), "_", "."))
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(value), &n); err == nil && len(n.Content) == 1 && n.Content[0].Kind != yaml.ScalarNode {
		s.fromNode(at.File, path, &n)
		for p, v := range s.all {
			if p == path || strings.HasPrefix(p, path+".") {
				v.pos, v.env = at, name
				s.all[p] = v
			}
		}
		return
	}
	if path == "storage" || path == "auth" {
		for p, v := range s.all {
			if strings.HasPrefix(p, path+".") && v.env == "" {
				delete(s.all, p)
			}
		}
		s.all[path+"."+value] = setting{value: "{}", pos: at, env: name}
		return
	}
	s.all[path] = setting{value: value, pos: at, env: name}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// get returns a value; false when it is not set.
func (s *settings) get(path string) (setting, bool) {
	v, ok := s.all[path]
	return v, ok
}

// text returns a value, or "".
func (s *settings) text(path string) string { return s.all[path].value }

// on reports whether a value is true.
func (s *settings) on(path string) bool { return strings.EqualFold(s.all[path].value, "true") }

// has reports whether the path or anything below it is set.
func (s *settings) has(path string) bool {
	if _, ok := s.all[path]; ok {
		return true
	}
	for p := range s.all {
		if strings.HasPrefix(p, path+".") {
			return true
		}
	}
	return false
}

// list returns the texts of a list.
func (s *settings) list(path string) []string {
	v, ok := s.all[path]
	if !ok || v.node == nil || v.node.Kind != yaml.SequenceNode {
		return nil
	}
	var out []string
	for _, n := range v.node.Content {
		out = append(out, n.Value)
	}
	return out
}

// at returns where a path is set, or the nearest section above it that is.
func (s *settings) at(path string) acl.Pos {
	for {
		if v, ok := s.all[path]; ok {
			return v.pos
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			break
		}
		path = path[:i]
	}
	// Set by variables alone: where the first of them stands.
	for _, p := range slices.Sorted(maps.Keys(s.all)) {
		if strings.HasPrefix(p, path+".") {
			return s.all[p].pos
		}
	}
	return acl.Pos{}
}

// drivers are the storage drivers that are set, sorted.
func (s *settings) drivers() []string {
	var out []string
	beside := []string{"cache", "delete", "redirect", "maintenance", "tag"}
	for p := range s.all {
		first, _, _ := strings.Cut(strings.TrimPrefix(p, "storage."), ".")
		if !strings.HasPrefix(p, "storage.") || slices.Contains(beside, first) || slices.Contains(out, first) {
			continue
		}
		out = append(out, first)
	}
	slices.Sort(out)
	return out
}
