package cli

import "github.com/spf13/cobra"

func newPermissionsCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "permissions", Short: "Tell what the signed-in caller may do", Hidden: true}
}
