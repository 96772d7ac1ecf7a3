package cli

import "github.com/spf13/cobra"

func newExecCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "exec", Short: "Run a command with the credentials of a service account", Hidden: true}
}
