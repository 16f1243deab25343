// Package cli is the command line: Cobra commands, one file a verb, with their flags,
// prompts, output and exit status. It is the only package that touches argv, the
// environment, the standard streams and the terminal.
//
// A command is a constructor that takes the [app] and returns a *cobra.Command whose
// RunE is wrapped by app.run. Data goes to stdout, everything else to stderr; errors
// end the process with the status that `help exit-codes` lists.
package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/iostreams"
	"github.com/regctl-setup/regctl-setup/internal/safefile"
)

// EnvPrefix begins the environment variables that stand for global flags and answers.
const EnvPrefix = "REGCTL_SETUP"

// Deps is what a command takes from the world around it.
type Deps struct {
	IO   *iostreams.IO
	Now  func() time.Time
	Rand io.Reader
	// FS carries out the writes of init; its zero value is the real thing.
	FS safefile.FS
}

// Main runs the process's own command line and returns its exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, Deps{IO: iostreams.System(), Now: time.Now, Rand: rand.Reader}, os.Args)
}

// Run runs argv (the program's name first) and returns the exit status.
func Run(ctx context.Context, d Deps, argv []string) int {
	args := argv[1:]
	// In an image made for docker_auth the program is called auth_server.
	if base := strings.TrimSuffix(filepath.Base(argv[0]), ".exe"); base == "auth_server" {
		args = append([]string{"serve"}, args...)
	}
	// Libraries that log by themselves (compose-go) stay silent; the embedded registry turns
	// its own log on.
	logrus.SetOutput(io.Discard)
	a := &app{io: d.IO, now: d.Now, rand: d.Rand, fs: d.FS, viper: viper.New()}
	root := newRootCommand(a)
	root.SetArgs(serveArgs(args))
	root.SetIn(d.IO.In)
	root.SetOut(d.IO.Out)
	root.SetErr(d.IO.ErrOut)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started {
		// Cobra found the fault: an unknown command or flag, a wrong number of arguments.
		var se *statusError
		if !errors.As(err, &se) {
			err = usage(err, "regctl-setup help")
		}
	}
	if errors.Is(err, iostreams.ErrInterrupted) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(d.IO.ErrOut, "regctl-setup: interrupted")
		return exitInterrupted
	}
	return report(d.IO.ErrOut, err)
}

// app is what the commands share: the streams, the clock and the global flags.
type app struct {
	io    *iostreams.IO
	now   func() time.Time
	rand  io.Reader
	fs    safefile.FS
	viper *viper.Viper

	command string // the command's words, as the audit log names it
	yes     bool
	apply   bool // --apply: restart a service that can't see a changed file
	started bool // a command's own code has begun: what fails now is not the call's form
}

// Global flags, also read from the environment.
const (
	flagDir    = "dir"
	flagConfig = "config"
	flagEngine = "engine"
	flagFormat = "format"
)

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "regctl-setup",
		Short: "A private Docker/OCI registry with rights for each user, and kept right",
		Long: `regctl-setup turns a machine into a private Docker/OCI registry where each user has
rights of their own: it generates the deployment, manages users, tells exactly what the
access rules allow, and can itself be the registry's token server.

  regctl-setup up ./registry          a registry on localhost:5000 in one command
  regctl-setup init DIR --domain …    a deployment for docker compose, HTTPS included
  regctl-setup user add NAME          users and labels in the auth config
  regctl-setup acl test USER REPO pull  who may do what, and through which entry`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	f := root.PersistentFlags()
	f.StringP(flagDir, "C", ".", "the deployment's folder")
	f.String(flagConfig, "", "the auth config `FILE`, where it is not at the usual place in the folder")
	f.String(flagEngine, "", "what answers the token endpoint: docker_auth or bundled (default: what the deployment records)")
	f.String(flagFormat, "text", "output as text or json")
	f.BoolVarP(&a.yes, "yes", "y", false, "take defaults and answer questions with yes")
	for _, name := range []string{flagDir, flagConfig, flagEngine, flagFormat} {
		_ = a.viper.BindPFlag(name, f.Lookup(name))
		_ = a.viper.BindEnv(name, EnvPrefix+"_"+strings.ToUpper(name))
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(err, cmd.CommandPath()+" --help")
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkFormat(cmd, a.viper.GetString(flagFormat)); err != nil {
			return err
		}
		switch v := a.viper.GetString(flagEngine); v {
		case "", "docker_auth", "bundled":
		default:
			return usage(fmt.Errorf("--engine %q: expected docker_auth or bundled", v))
		}
		return nil
	}
	root.AddCommand(commands(a)...)
	root.AddCommand(helpTopics()...)
	root.InitDefaultCompletionCmd()
	return root
}

// formatsAnnotation lists the formats of a command that has more than text and json, with blanks
// between.
const formatsAnnotation = "formats"

// checkFormat refuses a format that the command does not have.
func checkFormat(cmd *cobra.Command, format string) error {
	formats := []string{"text", "json"}
	if more, ok := cmd.Annotations[formatsAnnotation]; ok {
		formats = append(formats, strings.Fields(more)...)
	}
	if slices.Contains(formats, format) {
		return nil
	}
	last := len(formats) - 1
	return usage(fmt.Errorf("--format %q: expected %s or %s", format, strings.Join(formats[:last], ", "), formats[last]))
}

// run wraps a command's function, so that its errors can be told from Cobra's own.
func (a *app) run(f func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		a.command = strings.TrimPrefix(cmd.CommandPath(), "regctl-setup ")
		return f(cmd, args)
	}
}

func (a *app) json() bool     { return a.viper.GetString(flagFormat) == "json" }
func (a *app) engine() string { return a.viper.GetString(flagEngine) }

// dir is the deployment's folder as the user named it.
func (a *app) dir() string { return a.viper.GetString(flagDir) }

// dirGiven reports whether a folder was named by flag or environment.
func (a *app) dirGiven() bool { return a.viper.IsSet(flagDir) && a.dir() != "." }

// positionalDir returns the folder of a command that takes it as an argument too.
func (a *app) positionalDir(args []string) (string, error) {
	if len(args) == 0 {
		return a.dir(), nil
	}
	if a.dirGiven() {
		return "", usage(fmt.Errorf("the folder is named twice: %q and --dir %q", args[0], a.dir()))
	}
	return args[0], nil
}

// deployment opens the folder, or the one that --config lies in.
func (a *app) deployment(ctx context.Context) (*deployment.Deployment, error) {
	if file := a.viper.GetString(flagConfig); file != "" {
		dir := ""
		if a.dirGiven() {
			dir = a.dir()
		}
		d, err := deployment.ForConfig(file, dir)
		if err != nil {
			return nil, fail(err)
		}
		return d, a.recoverJournal(ctx, d.Dir)
	}
	if err := a.recoverJournal(ctx, a.dir()); err != nil {
		return nil, err
	}
	d, err := deployment.Open(a.dir())
	switch {
	case errors.Is(err, deployment.ErrNotFound):
		return nil, fail(err, "name the folder with -C DIR, or the file with --config FILE", "regctl-setup init DIR makes a deployment")
	case err != nil:
		return nil, fail(err)
	}
	return d, nil
}

// recoverJournal finishes or rolls back what an interrupted command left in the folder, and
// says which.
func (a *app) recoverJournal(ctx context.Context, dir string) error {
	r, err := safefile.Recover(ctx, dir, safefile.RecoverOptions{})
	if err != nil {
		return safefileError(err)
	}
	if r.Outcome == safefile.Nothing {
		return nil
	}
	a.note("note: an interrupted change (%s, %s) is %s: %s", dash(r.Command), r.Started.Format(time.DateTime), r.Outcome, strings.Join(r.Files, ", "))
	if r.Reason != nil {
		a.note("note: it could not be finished: %v", r.Reason)
	}
	for _, c := range r.Conflicts {
		a.note("warning: %s was edited meanwhile and is left; the other content is in %s.regctl-setup-new", c, c)
	}
	return nil
}

// printJSON writes one object on one line.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.io.Out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fail(fmt.Errorf("write the answer: %w", err))
	}
	return nil
}

// note prints a line for people.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.io.ErrOut, format+"\n", args...)
}

// out prints a line of data.
func (a *app) out(format string, args ...any) {
	_, _ = fmt.Fprintf(a.io.Out, format+"\n", args...)
}

// group is a command that only holds others.
func group(use, short, long string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usage(fmt.Errorf("%s needs a command", cmd.CommandPath()))
		},
	}
	c.AddCommand(subs...)
	return c
}

// flagSet reports whether the command line itself set the flag.
func flagSet(f *pflag.FlagSet, name string) bool {
	fl := f.Lookup(name)
	return fl != nil && fl.Changed
}
