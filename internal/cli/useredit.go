package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

func newUserPasswdCommand(a *app) *cobra.Command {
	var pf passwordFlags
	c := &cobra.Command{
		Use:   "passwd NAME",
		Short: "Set a user's password",
		Long: `Set a user's password: typed twice, read from standard input, or made here.
A disabled user stays disabled.

Writes the auth config: the hash of this user, nothing else. Exit status 1 when there is
no such user.`,
		Example: `  regctl-setup user passwd alice
  regctl-setup user passwd ci --generate --format json`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if name == "" || name == anonymousName {
				return usage(errors.New("the anonymous account has no password: it is who does not log in"))
			}
			// Ask for no password that would have nowhere to go.
			f, _, err := a.loadForReading(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := findUser(f, name); err != nil {
				return err
			}
			pw, hash, err := pf.read(a, name)
			if err != nil {
				return err
			}
			d, _, err := a.edit(cmd.Context(), none(), func(f *config.File) (*config.File, error) {
				if _, err := findUser(f, name); err != nil {
					return nil, err
				}
				return f.Apply(config.SetPassword(name, hash))
			})
			if err != nil {
				return err
			}
			a.note("changed the password of %s in %s", name, displayPath(d.Auth))
			a.live(cmd.Context(), d)
			if pf.generate {
				return a.printPassword(name, pw)
			}
			return nil
		}),
	}
	pf.register(c.Flags())
	return c
}

func newUserLabelCommand(a *app) *cobra.Command {
	var pattern bool
	c := &cobra.Command{
		Use:   "label NAME CHANGE...",
		Short: "Change a user's labels",
		Long: `Change a user's labels. Each CHANGE is one of

  KEY=VALUE    set the key's list (repeat for several values)
  KEY+=VALUE   add a value
  KEY-=VALUE   remove a value
  KEY-         remove the key

Writes the auth config: this user's labels, nothing else. Exit status 1 when there is
no such user.`,
		Example: `  regctl-setup user label alice team=backend team=frontend
  regctl-setup user label alice team-=frontend role-`,
		Args: cobra.MinimumNArgs(2),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			changes := make([]users.LabelArg, 0, len(args)-1)
			for _, arg := range args[1:] {
				la, err := users.ParseLabelArg(arg)
				if err != nil {
					return usage(err)
				}
				changes = append(changes, la)
			}
			d, changed, err := a.edit(cmd.Context(), forAccounts(configName(args[0])), func(f *config.File) (*config.File, error) {
				u, err := findUser(f, args[0])
				if err != nil {
					return nil, err
				}
				labels, err := users.ApplyLabels(u.Labels, changes, pattern)
				if err != nil {
					return nil, usage(err)
				}
				return f.Apply(config.SetLabels(u.Name, labels))
			})
			if err != nil {
				return err
			}
			switch {
			case !changed:
				a.note("nothing to change: %s has these labels already", args[0])
			default:
				a.note("changed the labels of %s in %s", args[0], displayPath(d.Auth))
				a.live(cmd.Context(), d)
			}
			return nil
		}),
	}
	c.Flags().BoolVar(&pattern, "pattern", false, "accept label values that are patterns (docker_auth pastes them into the rules' patterns)")
	return c
}

func newUserRenameCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "Rename a user",
		Long: `Rename a user: the hash, the labels and the expiry stay with it. Entries of the rules that
name the account are not changed; they are listed.

Writes the auth config. Exit status 1 when there is no user OLD, or NEW exists already.`,
		Example: `  regctl-setup user rename bob robert`,
		Args:    cobra.ExactArgs(2),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			from, to := args[0], args[1]
			if from == "" || from == anonymousName {
				return usage(errors.New("the anonymous account can't be renamed"))
			}
			if err := users.ValidateName(to); err != nil {
				return usage(err)
			}
			var before *config.File
			d, _, err := a.edit(cmd.Context(), forAccounts(from, to), func(f *config.File) (*config.File, error) {
				before = f
				if _, err := findUser(f, from); err != nil {
					return nil, err
				}
				if _, ok := f.User(to); ok {
					return nil, refuse(fmt.Errorf("user %q exists already in %s", to, f.Path))
				}
				if err := a.ownNamespaceClash(f, to); err != nil {
					return nil, err
				}
				return f.Apply(config.RenameUser(from, to))
			})
			if err != nil {
				return err
			}
			a.note("renamed %s to %s in %s", from, to, displayPath(d.Auth))
			for i, e := range before.ACL {
				if e.Match.Account != nil && *e.Match.Account == from {
					a.note("note: entry %d (line %d) of the rules still names %q", i+1, e.Pos.Line, from)
				}
			}
			a.live(cmd.Context(), d)
			return nil
		}),
	}
}

func newUserDisableCommand(a *app) *cobra.Command {
	return newUserSwitchCommand(a, true, "disable", "Keep a user out without losing the password",
		`Keep a user out: a "!" is put before the hash, so that neither docker_auth nor serve
accepts the password. "user enable" takes it away again.`)
}

func newUserEnableCommand(a *app) *cobra.Command {
	return newUserSwitchCommand(a, false, "enable", "Let a disabled user in again",
		`Let a disabled user in again, with the password it had.`)
}

func newUserSwitchCommand(a *app, disabled bool, verb, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Long: long + `

Writes the auth config: the hash of this user, nothing else. Exit status 1 when there is
no such user. Tokens that are out already live until they expire.`,
		Example: "  regctl-setup user " + verb + " alice",
		Args:    cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if name == "" || name == anonymousName {
				return usage(fmt.Errorf("the anonymous account can't be %sd: remove it, or the entries that grant to it", verb))
			}
			var file *config.File
			d, changed, err := a.edit(cmd.Context(), forAccounts(name), func(f *config.File) (*config.File, error) {
				file = f
				u, err := findUser(f, name)
				if err != nil {
					return nil, err
				}
				if u.Disabled == disabled {
					return f, nil
				}
				return f.Apply(config.SetDisabled(name, disabled))
			})
			if err != nil {
				return err
			}
			if !changed {
				a.note("nothing to change: %s is %sd already", name, verb)
				return nil
			}
			a.note("%sd %s in %s", verb, name, displayPath(d.Auth))
			if disabled {
				a.noteTokensEnd(file)
			}
			a.live(cmd.Context(), d)
			return nil
		}),
	}
}

// configName is the name in the config of an account as the command line names it.
func configName(name string) string {
	if name == anonymousName {
		return ""
	}
	return name
}

// leeway is how long past its expiry a registry still takes a token (distribution's Leeway).
const leeway = 60 * time.Second

// noteTokensEnd says until when tokens that are out already can be used.
func (a *app) noteTokensEnd(f *config.File) {
	end := a.now().Add(f.Token.Expiration + leeway)
	a.note("tokens that are out already end by %s (expiration + %s)", end.Format("15:04:05"), leeway)
}

func newUserRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Aliases: []string{"rm"},
		Short:   "Remove a user",
		Long: `Remove a user from the auth config, with the comment right above it. "user disable" keeps
one out without losing the password.

Writes the auth config. Asks first on a terminal (--yes does not ask). Exit status 1 when
there is no such user. Tokens that are out already live until they expire.`,
		Example: `  regctl-setup user remove bob
  regctl-setup user remove bob --yes`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if name == anonymousName {
				name = ""
			}
			var before *config.File
			im := forAccounts(name)
			im.question = fmt.Sprintf("Remove %s?", shownName(name))
			d, _, err := a.edit(cmd.Context(), im, func(f *config.File) (*config.File, error) {
				before = f
				if _, err := findUser(f, name); err != nil {
					return nil, err
				}
				return f.Apply(config.RemoveUser(name))
			})
			if err != nil {
				return err
			}
			a.note("removed %s from %s", shownName(name), displayPath(d.Auth))
			a.noteTokensEnd(before)
			a.live(cmd.Context(), d)
			return nil
		}),
	}
}

func newUserImportCommand(a *app) *cobra.Command {
	var skipExisting bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Add the users of an htpasswd file",
		Long: `Add the users of an htpasswd file ("-" is standard input). Lines with bcrypt hashes are
taken; other kinds of hash can't be used by a registry and are reported by line.

Writes the auth config: all users that can be taken, in one edit. Exit status 1 when a line
could not be taken or a user exists already; then nothing is written, unless
--skip-existing leaves out the users that exist.`,
		Example: `  regctl-setup user import htpasswd
  htpasswd -nB alice | regctl-setup user import -`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			data, name, err := a.readArgFile(args[0])
			if err != nil {
				return fail(err)
			}
			entries, problems := users.ParseHtpasswd(data)
			if len(problems) > 0 {
				errs := make([]error, 0, len(problems))
				for _, p := range problems {
					errs = append(errs, fmt.Errorf("%s:%d: %s", name, p.Line, p.Msg))
				}
				return refuse(errors.Join(errs...), "htpasswd -B makes bcrypt hashes; nothing was imported")
			}
			added := 0
			var names []string
			for _, e := range entries {
				names = append(names, e.Name)
			}
			d, _, err := a.edit(cmd.Context(), forAccounts(names...), func(f *config.File) (*config.File, error) {
				added = 0
				var exist []error
				var edits []config.Edit
				for _, e := range entries {
					if _, ok := f.User(e.Name); ok {
						if !skipExisting {
							exist = append(exist, fmt.Errorf("%s:%d: user %q exists already in %s", name, e.Line, e.Name, f.Path))
						}
						continue
					}
					edits = append(edits, config.AddUser(config.NewUser{Name: e.Name, Hash: e.Hash}))
					added++
				}
				if len(exist) > 0 {
					return nil, refuse(errors.Join(exist...), "--skip-existing leaves them as they are; nothing was imported")
				}
				return f.Apply(edits...)
			})
			if err != nil {
				return err
			}
			a.note("imported %s into %s", number(added, "user"), displayPath(d.Auth))
			a.live(cmd.Context(), d)
			return nil
		}),
	}
	c.Flags().BoolVar(&skipExisting, "skip-existing", false, "leave users that exist already as they are")
	return c
}

// readArgFile reads a file named on the command line; "-" is standard input.
func (a *app) readArgFile(arg string) (data []byte, name string, err error) {
	const limit = config.MaxFileSize
	if arg == "-" {
		data, err = io.ReadAll(io.LimitReader(a.io.In, limit+1))
		name = "standard input"
	} else {
		name = arg
		var f *os.File
		if f, err = os.Open(arg); err == nil {
			defer func() { _ = f.Close() }()
			data, err = io.ReadAll(io.LimitReader(f, limit+1))
		}
	}
	if err == nil && len(data) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, name, err
}

func newUserExportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Print the users as an htpasswd file",
		Long: `Print the users with their bcrypt hashes as an htpasswd file on standard output. Users
that have no usable password (disabled, anonymous) are left out and named on stderr.

The output holds password hashes: keep it as you keep the auth config. Changes nothing
on disk.`,
		Example: `  regctl-setup user export > htpasswd`,
		Args:    cobra.NoArgs,
		RunE: a.run(func(cmd *cobra.Command, _ []string) error {
			f, _, err := a.loadForReading(cmd.Context())
			if err != nil {
				return err
			}
			data, skipped := users.FormatHtpasswd(f.Users)
			for _, name := range skipped {
				a.note("left out: %s", shownName(name))
			}
			if _, err := a.io.Out.Write(data); err != nil {
				return fail(err)
			}
			return nil
		}),
	}
}

func newUserVerifyCommand(a *app) *cobra.Command {
	var stdin bool
	c := &cobra.Command{
		Use:   "verify NAME",
		Short: "Tell whether a password is the user's",
		Long: `Read a password from the terminal, or from standard input, and tell whether NAME could
log in with it: exit status 0 when so, 1 when not. Changes nothing on disk.`,
		Example: `  regctl-setup user verify alice
  regctl-setup user verify ci --password-stdin < secret`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(cmd *cobra.Command, args []string) error {
			f, _, err := a.loadForReading(cmd.Context())
			if err != nil {
				return err
			}
			u, err := findUser(f, args[0])
			if err != nil {
				return err
			}
			var pw secret.Text
			if !stdin && a.io.CanPrompt() {
				pw, err = a.io.Secret(fmt.Sprintf("Password of %s: ", args[0]))
			} else {
				pw, err = a.io.SecretFromInput()
			}
			if err != nil {
				return usage(err)
			}
			if reason := cantLogIn(a, u); reason != "" {
				return refuse(errors.New(reason))
			}
			if !u.HasPassword || !users.Verify(u.Hash, pw) {
				return refuse(fmt.Errorf("that is not the password of %q", args[0]))
			}
			a.note("%s can log in with this password", args[0])
			return nil
		}),
	}
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input, one line")
	return c
}
