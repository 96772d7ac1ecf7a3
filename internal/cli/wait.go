package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/apiserver"
	"azwi/internal/entra"
)

func newWaitCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "wait", Short: "Wait until a federated credential works", Hidden: true}
}

// A waitTarget is a federated credential that was just written and shall be
// waited for.
type waitTarget struct {
	namespace, serviceAccount    string
	audience, tenantID, clientID string
	// written is when the credential was.
	written time.Time
}

// waitOptions are the flags of commands that wait at their end: --wait,
// --wait-timeout.
type waitOptions struct {
	wait    bool
	timeout time.Duration
}

func (o *waitOptions) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.wait, "wait", true, "wait until tokens are issued for what was made")
	cmd.Flags().DurationVar(&o.timeout, "wait-timeout", 15*time.Minute, "how long to wait")
}

// waitUntilUsable exchanges tokens of the targets until that works steadily.
// Where no token can be requested (the cluster may be nil) it warns and goes on;
// out of time is ExitTimeout.
func (r *root) waitUntilUsable(_ context.Context, _ waitOptions, _ *apiserver.Client, _ entra.Cloud, _ []waitTarget) error {
	return nil
}
