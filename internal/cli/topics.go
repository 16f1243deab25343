package cli

import "github.com/spf13/cobra"

// helpTopics are texts that `help NAME` prints; they run nothing.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{
			Use:   "exit-codes",
			Short: "What each exit status means",
			Long: `Exit status of every command:

  0    done, or the answer is yes
  1    the answer is no: denied, findings, a failing case, unhealthy,
       exists already, no such user
  2    the call is wrong: an unknown flag, a missing argument, a value that can't be
  3    failure: it could not be done, or the answer could not be told
  130  interrupted; but up and serve end with 0 on Ctrl-C and SIGTERM

Errors go to stderr as "regctl-setup: error: …", with file:line:col where there is one,
followed by "hint: …" lines.`,
		},
		{
			Use:   "environment",
			Short: "Environment variables that stand for flags",
			Long: `Global flags and the answers of init can be given in the environment. A flag stands
above its variable.

  REGCTL_SETUP_DIR       --dir, the deployment's folder
  REGCTL_SETUP_CONFIG    --config, the auth config
  REGCTL_SETUP_ENGINE    --engine
  REGCTL_SETUP_FORMAT    --format
  REGCTL_SETUP_DOMAIN …  every answer of init: the flag's name in capitals, "-" as "_"

--yes, --force and a command's own flags are never read from the environment.

  NO_COLOR               no colour on a terminal

Passwords are read from the terminal or from standard input (--password-stdin), never
from the environment or the command line.`,
		},
	}
}
