package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/regctl-setup/regctl-setup/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"regctl-setup": func() { os.Exit(cli.Main()) },
		// The name that docker_auth's image gives to its program.
		"auth_server": func() { os.Exit(cli.Main()) },
	})
}

// TestScripts runs the scripts that are the command line's specification, one behaviour
// a file. `go test ./cmd/regctl-setup -update` rewrites the golden parts.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands(),
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			return nil
		},
	})
}
