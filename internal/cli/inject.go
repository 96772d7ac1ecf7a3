package cli

import "github.com/spf13/cobra"

func newInjectCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "inject", Short: "Inject into manifests as the webhook would", Hidden: true}
}
