package cli

import "github.com/spf13/cobra"

// complete offers the values of a flag to shells. A tab in a value begins its
// description.
func complete(c *cobra.Command, name string, values ...string) {
	// An error is a flag of that name that is not there, which tests would find.
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}
