package cli

import "github.com/spf13/cobra"

func newStatusCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Tell how the installation is", Hidden: true}
}
