package connect

import (
	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/kube"
)

// Cluster chooses a cluster, with kubectl's flags.
type Cluster struct{ Kubeconfig, Context string }

// Register adds the flags.
func (o *Cluster) Register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, else ~/.kube/config)")
	cmd.Flags().StringVar(&o.Context, "context", "", "context of the kubeconfig (default its current one)")
	command.InGroup(cmd.Flags(), command.Kubernetes, "kubeconfig", "context")
	// An error is a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("context", o.completeContexts)
}

// CompleteNames offers namespaces for --namespace and service accounts for
// --service-account, where the command has these flags.
func (o *Cluster) CompleteNames(cmd *cobra.Command) {
	for name, complete := range map[string]cobra.CompletionFunc{"namespace": o.completeNamespaces, "service-account": o.completeAccounts} {
		if cmd.Flags().Lookup(name) != nil {
			// An error is a flag that is not there.
			_ = cmd.RegisterFlagCompletionFunc(name, complete)
		}
	}
}

// CompleteArguments offers service accounts as arguments of a command.
func (o *Cluster) CompleteArguments(cmd *cobra.Command) { cmd.ValidArgsFunction = o.completeAccounts }

// Connect makes a client of the cluster. It sends nothing.
func (o *Cluster) Connect(r *command.Env) (*kube.Client, error) {
	return kube.Connect(kube.Config{Kubeconfig: o.Kubeconfig, Context: o.Context, Waiting: r.Waiting})
}
