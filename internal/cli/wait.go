package cli

import "github.com/spf13/cobra"

func newWaitCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "wait", Short: "Wait until a federated credential works", Hidden: true}
}
