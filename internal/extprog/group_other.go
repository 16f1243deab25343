//go:build !unix

package extprog

import (
	"context"
	"fmt"
	"io"
)

// runGroup runs the program and kills it when ctx ends. There are no process groups to
// kill here: what the program has started goes on.
func runGroup(ctx context.Context, prog Program, input []byte, stdout, stderr io.Writer) (int, error) {
	p, err := openPipes()
	if err != nil {
		return 0, fmt.Errorf("could not be started: %w", err)
	}
	c := command(prog, p)
	if err := c.Start(); err != nil {
		p.closeAll()
		return 0, fmt.Errorf("could not be started: %w", err)
	}
	p.closeTheirs()
	p.begin(input, stdout, stderr)
	unhook := context.AfterFunc(ctx, func() { _ = c.Process.Kill() })
	err = c.Wait()
	unhook()
	p.end()
	if c.ProcessState != nil {
		return c.ProcessState.ExitCode(), nil
	}
	return 0, err
}
