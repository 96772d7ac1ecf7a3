package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/internal/terminal"
)

// Names by which the program is called as a plugin of kubectl, and by kubectl to
// complete a command line of the plugin.
// https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
const (
	kubectlPlugin   = "kubectl-azwi"
	kubectlComplete = "kubectl_complete-azwi"
)

// asPlugin says kubectl azwi in usage texts if the program is called as a plugin,
// and returns the arguments for what it is called by.
func asPlugin(cmd *cobra.Command, program string, args []string) []string {
	program = strings.TrimSuffix(program, ".exe")
	if program == kubectlPlugin || program == kubectlComplete {
		cmd.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl azwi"}
	}
	if program == kubectlComplete {
		return append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	return args
}

// complete offers the values of a flag to shells. A tab in a value begins its
// description.
func complete(c *cobra.Command, name string, values ...string) {
	// An error is a flag of that name that is not there, which tests would find.
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completeContexts offers the contexts of the kubeconfig.
func (o *clusterOptions) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
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

// completeNamespaces offers the cluster's namespaces, if it answers soon.
func (o *clusterOptions) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	const soon = 2 * time.Second
	ctx, cancel := context.WithTimeout(cmd.Context(), soon)
	defer cancel()
	api, err := o.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return plainNames(api.Namespaces(ctx)), cobra.ShellCompDirectiveNoFileComp
}

// plainNames are those that a shell can show: a line feed would be another value, and
// an escape sequence the terminal's.
func plainNames(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return terminal.Escape(name) != name })
}
