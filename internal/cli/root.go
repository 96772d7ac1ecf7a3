package cli

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"azwi/internal/version"
)

// Run runs azwi with its arguments, without the program's name, and returns the
// exit code.
func Run(ctx context.Context, args []string, streams Streams, getenv func(string) string) int {
	r := newEnv(streams, getenv)
	cmd := newRootCommand(r) //nolint:contextcheck // cobra hands the context to each command
	cmd.SetArgs(asPlugin(cmd, streams.Program, args))
	return r.finish(cmd.ExecuteContext(ctx))
}

func newRootCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "azwi",
		Short:         "Federate Kubernetes service accounts with Azure identities",
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			if r.debug {
				r.level.Set(slog.LevelDebug)
			}
		},
	}
	cmd.SetIn(r.In)
	cmd.SetOut(r.data)
	cmd.SetErr(r.streams.Err)
	cmd.PersistentFlags().BoolVar(&r.debug, "debug", false, "log what is done, to standard error")
	cmd.AddCommand(
		newVersionCommand(r),
		newJWKSCommand(r),
		newPolicyCommand(r),
		newFederationCommand(r),
		newServiceAccountCommand(r),
		newWaitCommand(r),
		newPermissionsCommand(r),
		newTokenCommand(r),
		newExecCommand(r),
		newInjectCommand(r),
		newLintCommand(r),
		newPodIdentityCommand(r),
		newInstallCommand(r),
		newUpgradeCommand(r),
		newUninstallCommand(r),
		newStatusCommand(r),
	)
	cmd.InitDefaultCompletionCmd()
	refuseUnknown(cmd)
	return cmd
}

// refuseUnknown lets commands that only have other commands fail on a name which
// is none of these. Cobra prints their help and reports success.
func refuseUnknown(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.HasSubCommands() && !c.Runnable() {
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) > 0 {
					return fmt.Errorf("unknown command %q for %q: see %s --help", args[0], c.CommandPath(), c.CommandPath())
				}
				return c.Help()
			}
		}
		refuseUnknown(c)
	}
}
