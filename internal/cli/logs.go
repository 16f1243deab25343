package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newLogsCommand(a *app) *cobra.Command {
	var (
		follow bool
		tail   int
		since  string
	)
	c := &cobra.Command{
		Use:   "logs [SERVICE...]",
		Short: "Show what the services say",
		Long: `Show the logs of the deployment's containers, the last 100 lines of each, or of the services
named: auth, registry, caddy and the object store where there is one.

"doctor logs" explains the lines it knows. The embedded runtime logs where "up" runs.`,
		Example: `  regctl-setup logs
  regctl-setup logs auth -f
  regctl-setup logs --since 10m registry`,
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			d, embedded, err := a.runtimeOf(cmd.Context())
			if err != nil {
				return err
			}
			if embedded {
				return refuse(errors.New("the embedded runtime keeps no log: it writes to the terminal, or wherever its stderr goes, of the process that runs it"),
					"regctl-setup up --log-level info 2>registry.log   keeps one")
			}
			if d.Compose == "" {
				return fail(fmt.Errorf("%s has no compose file", d.Dir))
			}
			project, err := d.Project(cmd.Context())
			if err != nil {
				return fail(err)
			}
			for _, name := range args {
				if !slices.Contains(project.ServiceNames(), name) {
					return usage(fmt.Errorf("no service %q: there are %s", name, strings.Join(project.ServiceNames(), ", ")))
				}
			}
			if err := engineError(cmd.Context()); err != nil {
				return fail(err, "is the engine started, and may this user talk to it?")
			}
			argv := []string{"logs", "--tail", strconv.Itoa(tail)}
			if tail < 0 {
				argv[2] = "all"
			}
			if follow {
				argv = append(argv, "--follow")
			}
			if since != "" {
				argv = append(argv, "--since", since)
			}
			run := compose(cmd.Context(), d, append(append(argv, "--"), args...)...)
			run.Stdout, run.Stderr = a.io.Out, a.io.ErrOut
			if err := run.Run(); err != nil && cmd.Context().Err() == nil {
				return fail(fmt.Errorf("docker compose logs: %w", err))
			}
			return nil
		}),
	}
	f := c.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "stay and show new lines, until Ctrl-C")
	f.IntVar(&tail, "tail", 100, "how many `LINES` of each service; -1 for all")
	f.StringVar(&since, "since", "", "lines since a `TIME` (RFC 3339) or a length of time, such as 10m")
	return c
}
