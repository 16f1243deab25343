package cli

import "github.com/spf13/cobra"

// commands are the verbs, in the order of help.
func commands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newInitCommand(a),
		newS3Command(a),
		newUpCommand(a),
		newStatusCommand(a),
		newLogsCommand(a),
		newDownCommand(a),
		newUserCommand(a),
		newACLCommand(a),
		newKeysCommand(a),
		newServeCommand(a),
		newAuditCommand(a),
		newTokenCommand(a),
		newDoctorCommand(a),
		newVersionCommand(a),
	}
}

func newACLCommand(a *app) *cobra.Command {
	g := group("acl", "Ask and check the access rules",
		`Ask what the access rules (the acl section of the auth config) allow.

Entries are tried in order; the first that matches decides, alone.`,
		newACLTestCommand(a), newACLWhoCanCommand(a), newACLDiffCommand(a), newACLMatrixCommand(a), newACLLintCommand(a), newACLListCommand(a), newACLAddCommand(a), newACLMoveCommand(a), newACLRemoveCommand(a),
	)
	a.registerApply(g)
	return g
}
