package connect

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/internal/kube"
	"azwi/internal/terminal"
)

// completeContexts offers the contexts of the kubeconfig.
func (o *Cluster) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	config, err := rules.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for name := range config.Contexts {
		names = append(names, name)
	}
	return plainNames(names), cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces offers the cluster's namespaces.
func (o *Cluster) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.namesOf(cmd, (*kube.Client).Namespaces)
}

// completeAccounts offers the service accounts as NAMESPACE/NAME.
func (o *Cluster) completeAccounts(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.namesOf(cmd, (*kube.Client).Accounts)
}

// namesOf asks the cluster, and gives what it answers soon.
func (o *Cluster) namesOf(cmd *cobra.Command, list func(*kube.Client, context.Context) []string) ([]string, cobra.ShellCompDirective) {
	const soon = time.Second
	ctx, cancel := context.WithTimeout(cmd.Context(), soon)
	defer cancel()
	api, err := kube.Connect(kube.Config{Kubeconfig: o.Kubeconfig, Context: o.Context})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return plainNames(list(api, ctx)), cobra.ShellCompDirectiveNoFileComp
}

// plainNames are those that a shell can show: a line feed would be another value, and
// an escape sequence the terminal's.
func plainNames(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return terminal.Escape(name) != name })
}
