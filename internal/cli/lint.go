package cli

import "github.com/spf13/cobra"

func newLintCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "lint", Short: "Find mistakes in manifests", Hidden: true}
}
