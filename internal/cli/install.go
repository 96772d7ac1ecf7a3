package cli

import "github.com/spf13/cobra"

func newInstallCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "install", Short: "Install azwi into a cluster", Hidden: true}
}
