// Package internal_test holds the project's import rules: which package may know which,
// and which outside library is known where. The map is the one of docs/design.md; an
// arrow that the code needs is added here and there in one commit, with its reason.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/regctl-setup/regctl-setup"

// anything stands for "every package of this module but the commands".
const anything = "*"

// arrows says for each package (relative to the module) what it may import of this
// module, and why nothing more. Test files may import more: they build fixtures.
var arrows = []struct {
	pkg     string
	imports []string
	why     string
}{
	{"cmd/regctl-setup", []string{"internal/cli"}, "main is one line, so that everything it does can be tested in process"},
	{"templates", nil, "templates are data; logic beside them would escape the checks of scaffold"},
	{"internal/cli", []string{anything}, "the one place where packages meet; nothing may import it back"},
	{"internal/secret", nil, "everybody may hold a secret, so it must depend on nobody"},
	{"internal/iostreams", nil, "streams know no command"},
	{"internal/logsink", nil, "a log's destination is kept apart from what is logged"},
	{"internal/hardening", nil, "it acts on the process and knows nothing of what the process does"},
	{"internal/sdnotify", nil, "the service manager's protocols know no server"},
	{"internal/safefile", nil, "writing bytes safely is independent of what the bytes mean"},
	{"internal/scope", nil, "the grammar is used by the server, the linter and the token issuer alike"},
	{"internal/acl", nil, "the engine decides about values; who loads, edits or serves them must not leak in"},
	{"internal/acl/analysis", []string{"internal/acl", "internal/acl/analysis/automata"}, "analysis reasons about the engine's own compiled policy and nothing else"},
	{"internal/acl/analysis/automata", nil, "automata over names know no rules"},
	{"internal/acl/lint", []string{"internal/acl", "internal/acl/analysis", "internal/acl/analysis/automata", "internal/config", "internal/scope"}, "a finding is a function of the config; it reads no deployment and runs nothing"},
	{"internal/acl/acltest", []string{"internal/acl", "internal/acl/analysis", "internal/config", "internal/scope"}, "test cases ask the engine the question that the server asks, without a server"},
	{"internal/yamledit", nil, "byte-exact edits know no schema, so no schema can bend them"},
	{"internal/config", []string{"internal/acl", "internal/yamledit"}, "the typed view of the file must not know who serves or edits it"},
	{"internal/users", []string{"internal/config"}, "accounts are edits of a config.File"},
	{"internal/keys", []string{"internal/safefile"}, "keys are used by the issuer and the deployment, never the other way round"},
	{"internal/refresh", []string{"internal/safefile"}, "a token is found and counted; what its account may do now is the caller's affair"},
	{"internal/rotation", []string{"internal/keys", "internal/safefile"}, "a key changes by its files alone; who restarts what is the caller's affair"},
	{"internal/token", []string{"internal/scope", "internal/keys"}, "an issuer signs what it is told; it must not be able to look rights up itself"},
	{"internal/audit", nil, "the record's format is read and written by different sides"},
	{"internal/authn", []string{"internal/users"}, "who somebody is must not depend on what they may do"},
	{"internal/extprog", []string{"internal/acl", "internal/authn"}, "programs are one more login, and one more answer to the engine's question"},
	{"internal/authserver", []string{"internal/acl", "internal/authn", "internal/audit", "internal/scope", "internal/token"}, "the handler gets its state by Load; it reads no file and no config format"},
	{"internal/authload", []string{"internal/config", "internal/keys", "internal/token", "internal/authn", "internal/acl", "internal/authserver", "internal/extprog", "internal/refresh", "internal/users"}, "the one bridge from files to the server's state"},
	{"internal/metrics", []string{"internal/authserver"}, "metrics look at the server; it does not know that it is looked at"},
	{"internal/tracing", []string{"internal/authserver"}, "traces follow the server's requests; it knows no way to send them"},
	{"internal/embedded", []string{"internal/authserver"}, "the in-process registry is given its token server; it reads no deployment"},
	{"internal/answers", nil, "the schema of the answers is shared by scaffold, deployment and cli"},
	{"internal/s3probe", nil, "a bucket is tried with settings that are handed in; who reads them from where is not its affair"},
	{"internal/scaffold", []string{"templates", "internal/answers", "internal/safefile", "internal/config", "internal/acl", "internal/acl/lint", "internal/acl/acltest"}, "planning is a pure function of the answers and the files that are there; keys and hashes come in ready made"},
	{"internal/deployment", []string{"internal/answers", "internal/config", "internal/keys", "internal/safefile"}, "a folder on disk is found and loaded, not decided about"},
	{"internal/hostcheck", nil, "what a machine and its network say is independent of who asks"},
	{"internal/wizard", []string{"internal/answers"}, "what is asked follows from the answers alone; how it is drawn is the command line's affair"},
	{"internal/adopt", []string{"internal/acl", "internal/answers", "internal/config", "internal/deployment", "internal/keys", "internal/safefile", "internal/scaffold", "internal/yamledit"}, "a folder made by hand becomes answers and edits; what is wrong with it doctor finds, and cli puts the two side by side"},
	{"internal/doctor", []string{anything}, "checks look at everything"},
}

// owners says which packages may import the outside libraries whose path begins with
// library. Libraries that are not listed are free.
var owners = []struct {
	library string
	pkgs    []string
	why     string
}{
	{"go.yaml.in/yaml/", []string{"internal/yamledit", "internal/config", "internal/answers", "internal/deployment", "internal/scaffold", "internal/acl/acltest", "internal/doctor"}, "YAML stops at the packages that own a file format"},
	{"gopkg.in/yaml", nil, "the other decoder is for tests that compare with the original"},
	{"github.com/spf13/cobra", []string{"internal/cli"}, "flags are read in one place"},
	{"github.com/spf13/pflag", []string{"internal/cli"}, "flags are read in one place"},
	{"github.com/spf13/viper", []string{"internal/cli"}, "environment and answers are merged in one place"},
	{"charm.land/", []string{"internal/cli"}, "only commands ask questions"},
	{"golang.org/x/term", []string{"internal/iostreams"}, "only iostreams knows what a terminal is"},
	{"github.com/compose-spec/compose-go/", []string{"internal/deployment", "internal/scaffold", "internal/doctor", "internal/adopt"}, "a compose file is read where deployments are read and checked where they are made"},
	{"github.com/distribution/distribution/", []string{"internal/embedded", "internal/scaffold", "internal/doctor"}, "the registry is a big dependency; the token server must stay usable without it"},
	{"github.com/aws/aws-sdk-go/", []string{"internal/s3probe", "internal/scaffold"}, "the SDK of the registry's own S3 driver, used where a bucket is tried; scaffold asks it which regions there are"},
	{"github.com/go-jose/", []string{"internal/token", "internal/keys", "internal/scaffold"}, "tokens are signed and keys are written in one place each; scaffold reads the key set back as the registry will"},
	{"golang.org/x/crypto/bcrypt", []string{"internal/users", "internal/authn", "internal/config"}, "passwords are compared in constant-cost code that is written once"},
	{"github.com/prometheus/", []string{"internal/metrics"}, "one package knows how counters are shown; the server only counts"},
	{"go.opentelemetry.io/", []string{"internal/tracing"}, "one package knows how traces are sent"},
	{"github.com/google/go-containerregistry/", []string{"internal/doctor", "internal/cli"}, "the server speaks the protocol itself; clients belong to tests and diagnostics"},
}

// pure lists packages that may use the standard library only, and of it nothing that
// reaches outside the process.
var pure = []struct{ pkg, why string }{
	{"internal/acl", "the engine answers the same in a test, in lint and in the server: no file, clock, network or environment"},
	{"internal/acl/analysis/automata", "an algorithm"},
	{"internal/scope", "a grammar"},
}

var reachesOut = []string{"os", "os/exec", "io/ioutil", "net", "net/http", "log", "log/slog", "time", "syscall", "math/rand", "math/rand/v2", "crypto/rand", "unsafe"}

// processOwners may touch what belongs to the process as a whole.
var processOwners = map[string][]string{
	"internal/cli":       {"Args", "Exit", "Stdin", "Stdout", "Stderr"},
	"cmd/regctl-setup":   {"Exit"},
	"internal/iostreams": {"Stdin", "Stdout", "Stderr"},
}

// source is one non-test Go file with what it imports.
type source struct {
	pkg     string // directory relative to the module, slashes
	file    string
	imports []string
	tree    *ast.File
}

// load parses every non-test Go file of the product, whatever its build constraints.
func load(t *testing.T) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	for _, top := range []string{"cmd", "internal", "templates"} {
		root := filepath.Join("..", top)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return fs.SkipDir
			case d.IsDir(), !strings.HasSuffix(p, ".go"), strings.HasSuffix(p, "_test.go"):
				return nil
			}
			tree, err := parser.ParseFile(fset, p, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			rel := strings.TrimPrefix(filepath.ToSlash(p), "../")
			s := source{pkg: path.Dir(rel), file: rel, tree: tree}
			for _, im := range tree.Imports {
				name, err := strconv.Unquote(im.Path.Value)
				if err != nil {
					return err
				}
				s.imports = append(s.imports, name)
			}
			out = append(out, s)
			return nil
		})
		if err != nil {
			t.Fatalf("reading %s: %v", top, err)
		}
	}
	if len(out) == 0 {
		t.Fatal("found no Go files: the rules below would hold for nothing")
	}
	return out
}

func TestImportsFollowTheMap(t *testing.T) {
	t.Parallel()
	allowed := map[string]int{}
	for i, a := range arrows {
		allowed[a.pkg] = i
	}
	for _, s := range load(t) {
		i, ok := allowed[s.pkg]
		if !ok {
			t.Errorf("%s: package %s is not in the map: add it with what it may import and why", s.file, s.pkg)
			continue
		}
		rule := arrows[i]
		for _, im := range s.imports {
			rel, ours := strings.CutPrefix(im, module+"/")
			if !ours || rel == "internal/secret" || slices.Contains(rule.imports, rel) {
				continue
			}
			if slices.Contains(rule.imports, anything) && rel != "internal/cli" && !strings.HasPrefix(rel, "cmd/") {
				continue
			}
			t.Errorf("%s: %s must not import %s: %s", s.file, s.pkg, rel, rule.why)
		}
	}
}

func TestLibrariesStayWithTheirOwners(t *testing.T) {
	t.Parallel()
	for _, s := range load(t) {
		for _, im := range s.imports {
			for _, o := range owners {
				if strings.HasPrefix(im, o.library) && !slices.Contains(o.pkgs, s.pkg) {
					t.Errorf("%s: %s must not import %s: %s", s.file, s.pkg, im, o.why)
				}
			}
		}
	}
}

func TestPurePackagesReachNothing(t *testing.T) {
	t.Parallel()
	for _, s := range load(t) {
		for _, p := range pure {
			if s.pkg != p.pkg {
				continue
			}
			for _, im := range s.imports {
				first, _, _ := strings.Cut(im, "/")
				if strings.Contains(first, ".") || slices.Contains(reachesOut, im) {
					t.Errorf("%s: %s must not import %s: %s", s.file, s.pkg, im, p.why)
				}
			}
		}
	}
}

// TestProcessStateStaysInTheCommandLine: a package that reads os.Args, prints or exits
// by itself can't be tested in process nor used by the server.
func TestProcessStateStaysInTheCommandLine(t *testing.T) {
	t.Parallel()
	guarded := []string{"Args", "Exit", "Stdin", "Stdout", "Stderr"}
	for _, s := range load(t) {
		if !slices.Contains(s.imports, "os") {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if ok && x.Name == "os" && slices.Contains(guarded, sel.Sel.Name) && !slices.Contains(processOwners[s.pkg], sel.Sel.Name) {
				t.Errorf("%s: %s must not touch os.%s: only the command line and its streams own the process", s.file, s.pkg, sel.Sel.Name)
			}
			return true
		})
	}
}

// TestMapHasNoCycle keeps the map itself honest: what a package may import can't lead
// back to it.
func TestMapHasNoCycle(t *testing.T) {
	t.Parallel()
	next := map[string][]string{}
	for _, a := range arrows {
		if _, twice := next[a.pkg]; twice {
			t.Errorf("%s is in the map twice", a.pkg)
		}
		if a.why == "" {
			t.Errorf("%s has no reason", a.pkg)
		}
		next[a.pkg] = a.imports
	}
	for _, a := range arrows {
		seen := map[string]bool{}
		var walk func(string)
		walk = func(p string) {
			for _, q := range next[p] {
				if q == a.pkg {
					t.Errorf("the map lets %s import itself through %s", a.pkg, p)
				}
				if !seen[q] {
					seen[q] = true
					walk(q)
				}
			}
		}
		walk(a.pkg)
	}
}
