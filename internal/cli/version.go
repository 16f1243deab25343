package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the release build: -ldflags "-X …/internal/cli.version=…".
var (
	version = ""
	commit  = ""
)

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of regctl-setup, of its registry and of Go",
		Long: `Print the version of regctl-setup, of the registry that it embeds, and of the Go release it is built with.

Changes nothing on disk.`,
		Example: `  regctl-setup version
  regctl-setup version --format json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(*cobra.Command, []string) error {
			v := buildVersion()
			if a.json() {
				return a.printJSON(v)
			}
			_, err := fmt.Fprintf(a.io.Out, "regctl-setup %s (registry %s, %s, %s)\n", v.Version, v.Registry, v.Go, v.Platform)
			return err
		}),
	}
}

type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Registry string `json:"registry"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() versionInfo {
	v := versionInfo{
		Version: version, Commit: commit, Registry: "unknown",
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" && info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, dep := range info.Deps {
			if dep.Path == "github.com/distribution/distribution/v3" {
				v.Registry = dep.Version
			}
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	return v
}
