package answers

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// GivenYAML returns the flags (without dashes) of the fields that an answers file has a
// key for, whatever its value. What can't be read gives none: [ParseYAML] says why.
func GivenYAML(data []byte) map[string]bool {
	given := map[string]bool{}
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return given
	}
	for _, f := range Fields() {
		if hasKey(doc.Content[0], strings.Split(f.Key, ".")) {
			given[f.Flag] = true
		}
	}
	return given
}

func hasKey(n *yaml.Node, path []string) bool {
	if len(path) == 0 {
		return true
	}
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == path[0] {
			return hasKey(n.Content[i+1], path[1:])
		}
	}
	return false
}
