package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// externalSection is what is known of one of docker_auth's external sections.
type externalSection struct {
	section
	login bool
	// program is set for a section that names a program, which our own server runs, too.
	program bool
}

// external returns what is known of an external section; false for any other name. Keys are those
// of docker_auth's own types; some of its versions know more, so that an unknown one is no more
// than a warning.
func external(name string) (externalSection, bool) {
	tokens := []string{"client_id", "client_secret", "client_secret_file", "token_db", "level_token_db", "gcs_token_db", "redis_token_db",
		"http_timeout", "revalidate_after", "registry_url"}
	with := func(more ...string) []string { return append(more, tokens...) }
	var keys []string
	login, program := true, false
	switch name {
	case "google_auth":
		keys = with("domain")
	case "github_auth":
		keys = with("organization", "github_web_uri", "github_api_uri")
	case "gitlab_auth":
		keys = with("organization", "gitlab_web_uri", "gitlab_api_uri", "grant_type", "redirect_uri")
	case "oidc_auth":
		keys = with("issuer", "redirect_url", "user_claim", "labels_claims", "scopes")
	case "ldap_auth":
		keys = []string{"addr", "tls", "insecure_tls_skip_verify", "ca_certificate", "base", "filter", "bind_dn", "bind_password_file", "labels", "initial_bind_as_user"}
	case "mongo_auth":
		keys = []string{"dial_info", "collection"}
	case "xorm_auth":
		keys = []string{"database_type", "conn_string"}
	case "ext_auth":
		keys, program = []string{"command", "args"}, true
	case "plugin_authn":
		keys = []string{"plugin_path"}
	case "acl_mongo":
		keys, login = []string{"dial_info", "collection", "cache_ttl"}, false
	case "acl_xorm":
		keys, login = []string{"database_type", "conn_string", "cache_ttl"}, false
	case "ext_authz":
		keys, login, program = []string{"command", "args"}, false, true
	case "plugin_authz":
		keys, login = []string{"plugin_path"}, false
	case "casbin_authz":
		keys, login = []string{"model_path", "policy_path"}, false
	default:
		return externalSection{}, false
	}
	return externalSection{section{where: name, keys: keys}, login, program}, true
}

// external records an external section. Its keys are checked for repeats, which are errors as
// everywhere, and for names that docker_auth does not know, which are warnings.
func (w *walker) external(p pair, known externalSection) {
	val := w.deref(p.val)
	s := subject{format: known.where, secret: true}
	if isNull(val) {
		w.problem(p.key, Problem{Code: CodeNullField, Msg: fmt.Sprintf("%s has no value, and docker_auth takes it for absent", known.where), Hint: "remove the line"})
		return
	}
	if !w.mapping(val, s, "a map with "+strings.Join(known.keys, ", "), &known.section) {
		return
	}
	w.f.Sections = append(w.f.Sections, Section{Name: known.where, Login: known.login, Pos: w.pos(p.key), Node: val})
	if known.program {
		w.f.Sections[len(w.f.Sections)-1].Program = w.program(p, val, known)
		return
	}
	for _, k := range w.pairs(val, s, true, nil) {
		if !known.has(k.name) {
			shown, hint, _ := known.explain(k.name)
			w.warn(k.key, Problem{Code: CodeUnknownKey, Msg: fmt.Sprintf("unknown key %q in %s", shown, known.where), Hint: hint})
		}
	}
	w.repeats(val, s)
}

// program reads a section that names a program. It decides who may do what, so that it is checked
// like our own settings: with a mistyped args the program would be asked another question.
func (w *walker) program(at pair, val *yaml.Node, known externalSection) *Program {
	prog := &Program{Pos: w.pos(at.key)}
	seen := false
	for _, k := range w.pairs(val, subject{format: known.where}, true, nil) {
		s := subject{format: known.where + "." + k.name}
		switch k.name {
		case "command":
			seen, prog.Pos = true, w.pos(k.val)
			text, ok := w.scalar(k.val, s)
			switch {
			case ok && text != "" && strings.IndexByte(text, 0) < 0:
				prog.Command = text
			case ok, isNull(w.deref(k.val)):
				w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: expected the program's path", s)})
			}
		case "args":
			hint := ""
			if n := w.deref(k.val); n.Kind == yaml.ScalarNode && !isNull(n) {
				hint = "no shell reads the arguments; write each as an element: args: [\"--flag\", \"value\"]"
			}
			args, _ := w.list(k.val, s, hint)
			for _, arg := range args {
				if strings.IndexByte(arg, 0) >= 0 {
					w.problem(k.val, Problem{Code: CodeBadValue, Msg: fmt.Sprintf("%s: an argument holds a NUL", s)})
				}
			}
			prog.Args = args
		default:
			w.unknown(k, &known.section)
		}
	}
	if !seen {
		w.problem(at.key, Problem{Code: CodeMissingKey, Msg: fmt.Sprintf("%s has no command", known.where), Hint: known.where + ": {command: PATH, args: [...]}"})
	}
	return prog
}

// repeats reports repeated keys in the maps below n, however deep, aliases left out.
func (w *walker) repeats(n *yaml.Node, s subject) {
	for i, c := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 0:
		case c.Kind == yaml.MappingNode:
			w.pairs(c, s, true, nil)
			w.repeats(c, s)
		case c.Kind == yaml.SequenceNode:
			w.repeats(c, s)
		}
	}
}

// Unserved returns an error for each external section that our own server does not serve, naming
// it. Go plugins never will be: a .so file must be built with the very compiler and modules of the
// server.
func (f *File) Unserved() Problems {
	var ps []Problem
	for _, s := range f.Sections {
		p := Problem{File: s.Pos.File, Line: s.Pos.Line, Column: s.Pos.Column}
		switch {
		case s.Name == "plugin_authn":
			p.Code, p.Msg, p.Hint = CodePlugin, "plugin_authn: Go plugins are not loaded by this server", "make it a program, and use ext_auth"
		case s.Name == "plugin_authz":
			p.Code, p.Msg, p.Hint = CodePlugin, "plugin_authz: Go plugins are not loaded by this server", "make it a program, and use ext_authz"
		case s.Program != nil:
			continue
		default:
			p.Code, p.Msg = CodeNotServed, fmt.Sprintf("section %q is not served by this server", s.Name)
			p.Hint = "run docker_auth for it, or remove the section"
		}
		ps = append(ps, p)
	}
	return sorted(ps)
}
