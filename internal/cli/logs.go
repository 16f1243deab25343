package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

func newLogsCommand(a *app) *cobra.Command {
	var (
		follow bool
		raw    bool
		tail   int
		since  string
	)
	c := &cobra.Command{
		Use:   "logs [SERVICE...]",
		Short: "Show what the services say",
		Long: `Show the logs of the deployment's containers, the last 100 lines of each, or of the services
named: auth, registry, caddy and the object store where there is one.

On a terminal, lines that are JSON objects are shown as a time and KEY=VALUE, with what says
most; in a pipe, and with --raw, as they are.

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
				return fail(err, doctor.EngineHint(err))
			}
			if err := a.containersLeft(cmd.Context(), d); err != nil {
				return err
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
			if a.io.OutIsTerminal() && !raw {
				lines := newLineWriter(a.io.Out, doctor.ReadableLine)
				defer lines.flush()
				run.Stdout = lines
			}
			if err := run.Run(); err != nil && cmd.Context().Err() == nil {
				return fail(fmt.Errorf("docker compose logs: %w", err))
			}
			return nil
		}),
	}
	f := c.Flags()
	f.BoolVar(&raw, "raw", false, "show lines that are JSON objects as they are on a terminal too")
	f.BoolVarP(&follow, "follow", "f", false, "stay and show new lines, until Ctrl-C")
	f.IntVar(&tail, "tail", 100, "how many `LINES` of each service; -1 for all")
	f.StringVar(&since, "since", "", "lines since a `TIME` (RFC 3339) or a length of time, such as 10m")
	return c
}
