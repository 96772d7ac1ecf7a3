package cli

import "github.com/spf13/cobra"

func newFederationCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "federation", Short: "Federate many service accounts with many identities from one file", Hidden: true}
}
