package acltest

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regctl-setup/regctl-setup/internal/acl"
	"github.com/regctl-setup/regctl-setup/internal/acl/analysis"
	"github.com/regctl-setup/regctl-setup/internal/config"
)

// MaxFileSize is the largest file of cases that is read, in bytes (16 MiB).
const MaxFileSize = 16 << 20

// maxExpanded bounds the values that a file has when its aliases are written
// out.
const maxExpanded = 1 << 20

// File is a file of cases.
type File struct {
	Path  string
	Cases []Case // in the file's order
}

// Case is what one account must and must not be allowed.
type Case struct {
	Who string // the account; "" is anonymous
	// Labels are used in place of those that the config has for the account; nil
	// when the case gives none.
	Labels  map[string][]string
	IP      netip.Addr // the zero address: every address and none
	Type    string     // the resource's type
	Service string     // "": the registry's own
	Accept  []Question
	Deny    []Question
	Reason  string
	Pos     acl.Pos
}

// Question is a line of accept or deny.
type Question struct {
	Text    string   // as written
	Actions []string // at least one, as written
	Type    string
	Name    string               // of a single resource; "": see Names
	Names   analysis.NamePattern // of several
	Pos     acl.Pos
}

// anonymous is what people write for the account "".
const anonymous = "anonymous"

// Title is how reports call the case: the account and the reason.
func (c *Case) Title() string {
	who := c.Who
	if who == "" {
		who = anonymous
	}
	if c.Reason == "" {
		return who
	}
	return who + ": " + c.Reason
}

// Parse reads a file of cases. path is used in positions only. It returns all
// problems of the file, sorted by position; the File is nil when there are any.
func Parse(path string, data []byte) (*File, config.Problems) {
	r := &reader{path: path, names: regexp.MustCompile(repositoryGrammar)}
	root := r.document(data)
	f := &File{Path: path}
	if root != nil {
		f.Cases = r.file(root)
	}
	if len(r.problems) == 0 {
		return f, nil
	}
	slices.SortStableFunc(r.problems, func(a, b config.Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return nil, r.problems
}

// repositoryGrammar is the name of a repository by the OCI distribution
// specification 1.1, "Pulling manifests".
const repositoryGrammar = `^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`

// reader goes over the nodes by hand: decoding into structs stops at the first
// fault and knows no columns.
type reader struct {
	path     string
	names    *regexp.Regexp
	problems config.Problems
}

func (r *reader) problem(n *yaml.Node, code, hint, format string, args ...any) {
	r.problems = append(r.problems, config.Problem{
		File: r.path, Line: max(n.Line, 1), Column: max(n.Column, 1), Code: code, Msg: fmt.Sprintf(format, args...), Hint: hint,
	})
}

func (r *reader) pos(n *yaml.Node) acl.Pos {
	return acl.Pos{File: r.path, Line: n.Line, Column: n.Column}
}

// document returns the file's value, or nil after a problem.
func (r *reader) document(data []byte) *yaml.Node {
	start := &yaml.Node{Line: 1, Column: 1}
	if len(data) > MaxFileSize {
		r.problem(start, config.CodeFileTooBig, "", "the file is %d bytes long, at most %d are read", len(data), MaxFileSize)
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		line, msg := syntaxError(err)
		start.Line = line
		hint := ""
		if strings.Contains(msg, "alphabetic or numeric character") || strings.Contains(msg, "unknown anchor") {
			hint = `put a line that begins with * in quotes: "* registry:catalog"`
		}
		r.problem(start, config.CodeSyntax, hint, "%s", msg)
		return nil
	}
	if len(doc.Content) == 0 {
		r.problem(start, config.CodeEmptyFile, "write at least one case: cases: [{who: ..., accept: [...]}]", "the file is empty")
		return nil
	}
	root := doc.Content[0]
	if left := maxExpanded; !within(root, &left, 0) {
		r.problem(start, config.CodeAliasBomb, "write the values out, or use fewer aliases", "the aliases of this file stand for more than %d values, or contain themselves", maxExpanded)
		return nil
	}
	return root
}

// syntaxError splits the YAML library's message "yaml: line 3: ..." into its
// parts.
func syntaxError(err error) (line int, msg string) {
	msg = strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if number, text, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				return n, text
			}
		}
	}
	return 1, msg
}

// within reports whether the tree with its aliases written out has at most left
// values and is not too deep.
func within(n *yaml.Node, left *int, depth int) bool {
	if *left--; *left < 0 || depth > 100 {
		return false
	}
	if n.Kind == yaml.AliasNode {
		return within(n.Alias, left, depth+1)
	}
	for _, c := range n.Content {
		if !within(c, left, depth+1) {
			return false
		}
	}
	return true
}

func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// found says what a node is, for "expected …, found …".
func found(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}

// pair is a key with its value, aliases followed.
type pair struct{ key, val *yaml.Node }

// fields returns the keys of a map; a key that is not known or repeated is a
// problem.
func (r *reader) fields(n *yaml.Node, where string, known []string, confusions map[string]string) (map[string]pair, bool) {
	if n.Kind != yaml.MappingNode {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			if key, _, ok := strings.Cut(n.Value, ":"); ok && slices.Contains(known, key) {
				hint = fmt.Sprintf("put a space after the colon: %s: ...", key)
			}
		}
		r.problem(n, config.CodeWrongType, hint, "%s: expected a map with %s, found %s", where, strings.Join(known, ", "), found(n))
		return nil, false
	}
	out := map[string]pair{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at, key, val := n.Content[i], deref(n.Content[i]), deref(n.Content[i+1])
		switch first, again := out[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			r.problem(at, config.CodeWrongType, "", "%s: expected a text as key, found %s", where, found(key))
		case known != nil && !slices.Contains(known, key.Value):
			r.problem(at, config.CodeUnknownKey, explainKey(key.Value, known, confusions), "unknown key %q in %s", shorten(key.Value), where)
		case again:
			r.problem(at, config.CodeDuplicateKey, "", "%s: the key %q stands here again, first on line %d", where, shorten(key.Value), first.key.Line)
		default:
			out[key.Value] = pair{at, val}
		}
	}
	return out, true
}

func (r *reader) file(root *yaml.Node) []Case {
	if root.Kind == yaml.SequenceNode {
		r.problem(root, config.CodeWrongType, "put the list below a key: cases:", "the file: expected a map with cases, found a list")
		return nil
	}
	keys, ok := r.fields(root, "the file", []string{"cases"}, map[string]string{
		"tests": "cases", "test": "cases", "case": "cases", "acl": "cases", "acltests": "cases",
	})
	if !ok {
		return nil
	}
	list, ok := keys["cases"]
	switch {
	case !ok:
		if len(keys) == len(root.Content)/2 {
			r.problem(root, config.CodeMissingKey, "", "the file: cases is missing")
		}
		return nil
	case isNull(list.val):
		return nil
	case list.val.Kind != yaml.SequenceNode:
		r.problem(list.val, config.CodeWrongType, "begin every case with a dash: - who: ...", "cases: expected a list, found %s", found(list.val))
		return nil
	}
	var cases []Case
	for _, n := range list.val.Content {
		cases = append(cases, r.readCase(n, deref(n)))
	}
	return cases
}

// readCase reads one case; at is where it stands, n what it is.
func (r *reader) readCase(at, n *yaml.Node) Case {
	c := Case{Type: analysis.TypeRepository, Pos: r.pos(at)}
	before := len(r.problems)
	keys, ok := r.fields(n, "case", []string{"who", "labels", "ip", "type", "service", "accept", "deny", "reason"}, map[string]string{
		"user": "who", "account": "who", "src": "who", "name": "who", "username": "who", "label": "labels", "address": "ip", "client": "ip",
		"allow": "accept", "allowed": "accept", "grant": "accept", "granted": "accept", "accepts": "accept", "can": "accept",
		"denied": "deny", "refuse": "deny", "reject": "deny", "forbid": "deny", "cannot": "deny",
		"comment": "reason", "description": "reason", "note": "reason", "why": "reason", "audience": "service", "registry": "service",
	})
	if !ok {
		return c
	}
	misspelt := len(r.problems) > before // what seems to be missing may be there under another key
	if who, ok := keys["who"]; ok {
		if c.Who, ok = r.text(who.val, "who", `the anonymous account is written "" or anonymous`); ok && c.Who == anonymous {
			c.Who = ""
		}
	} else if !misspelt {
		r.problem(at, config.CodeMissingKey, `who: an account, or anonymous`, "case: who is missing")
	}
	if reason, ok := keys["reason"]; ok {
		c.Reason, _ = r.text(reason.val, "reason", "")
		c.Reason = strings.Join(strings.Fields(c.Reason), " ")
	}
	if typ, ok := keys["type"]; ok {
		if c.Type, ok = r.text(typ.val, "type", ""); ok && !isType(c.Type) {
			r.problem(typ.val, config.CodeBadValue, "repository is the usual one", "type: no scope can have the type %q: expected small letters and digits", shorten(c.Type))
		}
	}
	if service, ok := keys["service"]; ok {
		c.Service, _ = r.text(service.val, "service", "")
	}
	if ip, ok := keys["ip"]; ok {
		if text, ok := r.text(ip.val, "ip", ""); ok {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				r.problem(ip.val, config.CodeBadValue, "", "ip: %q is not an IP address", shorten(text))
			}
			c.IP = addr.Unmap()
		}
	}
	if labels, ok := keys["labels"]; ok {
		c.Labels = r.labels(labels.val)
	}
	c.Accept = r.questions(keys, "accept", c.Type)
	c.Deny = r.questions(keys, "deny", c.Type)
	if len(c.Accept)+len(c.Deny) == 0 && len(r.problems) == before {
		r.problem(at, config.CodeMissingKey, `accept: ["pull some/name"]`, "case: it tests nothing, accept and deny are both empty")
	}
	return c
}

// text reads a scalar; null is a problem, with the hint.
func (r *reader) text(n *yaml.Node, where, hint string) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		r.problem(n, config.CodeWrongType, hint, "%s: expected a text, found %s", where, found(n))
		return "", false
	}
	return n.Value, true
}

// labels reads a map of lists; a single text stands for a list of one.
func (r *reader) labels(n *yaml.Node) map[string][]string {
	out := map[string][]string{}
	keys, ok := r.fields(n, "labels", nil, nil)
	if !ok {
		return out
	}
	for key, p := range keys {
		values := []*yaml.Node{p.val}
		if p.val.Kind == yaml.SequenceNode {
			values = p.val.Content
		}
		out[key] = []string{}
		for _, v := range values {
			if text, ok := r.text(deref(v), fmt.Sprintf("labels.%s", shorten(key)), ""); ok {
				out[key] = append(out[key], text)
			}
		}
	}
	return out
}

// questions reads accept or deny.
func (r *reader) questions(keys map[string]pair, key, typ string) []Question {
	list, ok := keys[key]
	if !ok {
		return nil
	}
	lines := list.val.Content
	switch {
	case list.val.Kind == yaml.ScalarNode && !isNull(list.val):
		lines = []*yaml.Node{list.val} // one line without a list
	case list.val.Kind != yaml.SequenceNode:
		r.problem(list.val, config.CodeWrongType, "", "%s: expected a list of lines such as %q, found %s", key, "push some/name", found(list.val))
		return nil
	}
	var out []Question
	for _, n := range lines {
		text, ok := r.text(deref(n), key, `a line is actions and a name: "push some/name"`)
		if !ok {
			continue
		}
		if q, ok := r.question(n, key, text, typ); ok {
			out = append(out, q)
		}
	}
	return out
}

// question reads "ACTION[,ACTION] NAME".
func (r *reader) question(n *yaml.Node, key, text, typ string) (Question, bool) {
	q := Question{Text: text, Type: typ, Pos: r.pos(n)}
	words := strings.Fields(text)
	if len(words) != 2 {
		r.problem(n, config.CodeBadValue, `actions are separated by commas, without spaces: "pull,push some/name"`, "%s: %q: expected actions and a name, such as %q", key, shorten(text), "push some/name")
		return q, false
	}
	for _, action := range strings.Split(words[0], ",") {
		if !r.action(n, key, action, words, typ) {
			return q, false
		}
		if !slices.Contains(q.Actions, action) {
			q.Actions = append(q.Actions, action)
		}
	}
	name := words[1]
	if name == "registry:catalog" {
		q.Type, name = analysis.TypeRegistry, "catalog"
	}
	if q.Type != analysis.TypeRepository && !strings.Contains(name, "*") {
		q.Name = name
		return q, true
	}
	p, err := analysis.ParseNamePattern(name)
	if err != nil {
		r.problem(n, config.CodeBadValue, "", "%s: %v", key, err)
		return q, false
	}
	if !p.Literal() {
		q.Names = p
		return q, true
	}
	if !r.names.MatchString(name) || len(name) > 255 {
		hint := ""
		if low := strings.ToLower(name); r.names.MatchString(low) && len(name) <= 255 {
			hint = fmt.Sprintf("did you mean %q?", low)
		}
		r.problem(n, config.CodeBadValue, hint, "%s: no repository can have the name %q", key, shorten(name))
		return q, false
	}
	q.Name = name
	return q, true
}

// action checks one action of a line. Registries know four of them; other types
// of resources have actions of their own.
func (r *reader) action(n *yaml.Node, key, action string, words []string, typ string) bool {
	known := []string{"pull", "push", "delete", "*"}
	if slices.Contains(known, action) || action != "" && typ != analysis.TypeRepository && typ != analysis.TypeRegistry {
		return true
	}
	hint := ""
	switch last := words[1]; {
	case slices.Contains(known, last) || strings.Contains(last, ",") && slices.Contains(known, strings.Split(last, ",")[0]):
		hint = fmt.Sprintf("the actions come first: %q", last+" "+words[0])
	default:
		if to := explainKey(action, known, map[string]string{
			"read": "pull", "download": "pull", "get": "pull", "write": "push", "upload": "push", "put": "push", "remove": "delete", "rm": "delete", "all": "*", "any": "*",
		}); strings.HasPrefix(to, "did") {
			hint = to
		}
	}
	r.problem(n, config.CodeBadValue, hint, "%s: %q: no registry asks for the action %q, expected pull, push, delete or *", key, shorten(words[0]+" "+words[1]), shorten(action))
	return false
}

// isType reports whether the scope grammar has such a type.
func isType(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// shorten bounds a text in a message.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// explainKey says what to write in place of a word that is not known.
func explainKey(word string, known []string, confusions map[string]string) string {
	lower := strings.ReplaceAll(strings.ToLower(word), "-", "_")
	meant := ""
	if slices.Contains(known, lower) {
		meant = lower
	} else if to, ok := confusions[lower]; ok {
		meant = to
	} else {
		meant = nearest(lower, known)
	}
	if meant == "" {
		return "expected one of " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("did you mean %q?", meant)
}

// nearest returns the word that differs least from s, when that is little for
// its length and no other word is as near.
func nearest(s string, words []string) string {
	best, bestDistance, tie := "", 0, false
	for _, w := range words {
		d := distance(s, w)
		switch {
		case d > 1+min(len(w), len(s))/4:
		case best == "" || d < bestDistance:
			best, bestDistance, tie = w, d, false
		case d == bestDistance:
			tie = true
		}
	}
	if tie {
		return ""
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b. Words much longer than any known one are far.
func distance(a, b string) int {
	if len(a) > 2*len(b)+4 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
