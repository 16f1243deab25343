// Command regctl-setup sets up and keeps a private Docker/OCI registry with rights for
// each user.
package main

import (
	"os"

	"github.com/regctl-setup/regctl-setup/internal/cli"
)

func main() { os.Exit(cli.Main()) }
