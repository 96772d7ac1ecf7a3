package cli

import (
	"strings"

	"github.com/spf13/cobra"
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
