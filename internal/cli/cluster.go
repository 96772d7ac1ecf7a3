package cli

import (
	"github.com/spf13/cobra"

	"azwi/internal/kube"
)

// clusterOptions choose a cluster, with kubectl's flags.
type clusterOptions struct{ kubeconfig, context string }

func (o *clusterOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, else ~/.kube/config)")
	cmd.Flags().StringVar(&o.context, "context", "", "context of the kubeconfig (default its current one)")
	// An error is a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("context", o.completeContexts)
}

func (o *clusterOptions) connect() (*kube.Client, error) {
	return kube.Connect(kube.Config{Kubeconfig: o.kubeconfig, Context: o.context})
}
