package cli

import "github.com/spf13/cobra"

func newPodIdentityCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "podidentity", Short: "Migrate from aad-pod-identity", Hidden: true}
}
