package cli

import "github.com/spf13/cobra"

func newTokenCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "token", Short: "Print an access token as a pod would get it", Hidden: true}
}
