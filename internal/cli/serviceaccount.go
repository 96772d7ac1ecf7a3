package cli

import "github.com/spf13/cobra"

func newServiceAccountCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "serviceaccount", Short: "Create or delete what one service account needs", Hidden: true}
}
