package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// logsDeadline bounds the question to the Docker engine.
const logsDeadline = 30 * time.Second

type logMatchJSON struct {
	Name     string `json:"name"`
	From     string `json:"from"`
	Harmless bool   `json:"harmless"`
	Count    int    `json:"count"`
	Line     string `json:"line"` // the first
	Last     string `json:"last"`
	Meaning  string `json:"meaning"`
	Fix      string `json:"fix"`
}

func newDoctorLogsCommand(a *app) *cobra.Command {
	var tail int
	c := &cobra.Command{
		Use:   "logs [FILE...|-]",
		Short: "Explain the lines of the logs that are known, the harmless ones too",
		Long: `Read logs of registry, token server and Caddy, and explain the lines that are known: what each
means, and what mends it, or that it is harmless. Without FILE the logs of the deployment's
containers are read; "-" is standard input.

Credentials in lines are not repeated. Exit status 0 when no line asks for something to be done,
1 when one does, 3 when the logs can't be read. Changes nothing on disk.`,
		Example: `  regctl-setup -C ./registry doctor logs
  journalctl -u registry | regctl-setup doctor logs -
  regctl-setup doctor logs registry.log --format json`,
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			in, done, err := a.openLogs(cmd.Context(), args, tail)
			if err != nil {
				return err
			}
			report, err := doctor.ReadLog(in)
			if err = errors.Join(err, done()); err != nil {
				return fail(fmt.Errorf("read the logs: %w", err))
			}
			return a.printLogReport(report)
		}),
	}
	c.Flags().IntVar(&tail, "tail", 2000, "how many of the last lines of each container are read")
	return c
}

// openLogs opens the files, standard input, or the containers' logs.
func (a *app) openLogs(ctx context.Context, args []string, tail int) (io.Reader, func() error, error) {
	nothing := func() error { return nil }
	if len(args) > 0 {
		var all []io.Reader
		var files []*os.File
		done := func() error {
			for _, f := range files {
				_ = f.Close()
			}
			return nil
		}
		for _, name := range args {
			if name == "-" {
				all = append(all, a.io.In)
				continue
			}
			f, err := os.Open(name)
			if err != nil {
				_ = done()
				return nil, nil, fail(err)
			}
			files = append(files, f)
			all = append(all, f, bytes.NewReader([]byte("\n"))) // a last line without its end
		}
		return io.MultiReader(all...), done, nil
	}
	d, err := a.deployment(ctx)
	if err != nil {
		return nil, nil, err
	}
	hint := "give the logs as files, or pipe them: … | regctl-setup doctor logs -"
	if d.Compose == "" {
		return nil, nil, fail(errors.New("there is no compose file, so no containers whose logs could be read"), hint)
	}
	ctx, cancel := context.WithTimeout(ctx, logsDeadline)
	defer cancel()
	if err := engineError(ctx); err != nil {
		return nil, nil, fail(err, doctor.EngineHint(err), hint)
	}
	if err := a.containersLeft(ctx, d); err != nil {
		return nil, nil, err
	}
	cmd := compose(ctx, d, "logs", "--no-color", "--tail", fmt.Sprint(tail))
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fail(fmt.Errorf("docker compose logs: %s", firstLine(errOut.String()+"\n"+err.Error())), hint)
	}
	return bytes.NewReader(out), nothing, nil
}

func (a *app) printLogReport(r doctor.LogReport) error {
	if a.json() {
		list := make([]logMatchJSON, 0, len(r.Matches))
		for _, m := range r.Matches {
			list = append(list, logMatchJSON{m.Name, m.From, m.Harmless, m.Count, m.First, m.Last, m.Meaning, m.Mend})
		}
		strange := r.Strange
		if strange == nil {
			strange = []string{}
		}
		if err := a.printJSON(struct {
			Lines        int            `json:"lines"`
			Known        []logMatchJSON `json:"known"`
			Strange      []string       `json:"strange"`
			StrangeCount int            `json:"strange_count"`
		}{r.Lines, list, strange, r.StrangeCount}); err != nil {
			return err
		}
	} else {
		todo := 0
		for _, m := range r.Matches {
			if !m.Harmless {
				todo++
			}
		}
		a.out("%d lines read: %d kinds ask for something to be done, %d are harmless, %d errors are not known", r.Lines, todo, len(r.Matches)-todo, r.StrangeCount)
		for _, m := range r.Matches {
			a.out("")
			a.out("%d × %s (%s)", m.Count, m.Name, m.From)
			if m.Count == 1 {
				a.out("    line:  %s", m.Last)
			} else {
				a.out("    last:  %s", m.Last)
			}
			a.out("    means: %s", m.Meaning)
			if m.Harmless {
				a.out("    harmless")
			} else {
				a.out("    mend:  %s", m.Mend)
			}
		}
		if r.StrangeCount > 0 {
			a.out("")
			a.out("errors that are not known, the first of them:")
			for _, s := range r.Strange {
				a.out("    %s", s)
			}
		}
	}
	if !r.Healthy() {
		return no()
	}
	return nil
}
