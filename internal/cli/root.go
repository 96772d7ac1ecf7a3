package cli

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/exec"
	"azwi/internal/cli/explain"
	"azwi/internal/cli/federation"
	"azwi/internal/cli/inject"
	"azwi/internal/cli/installation"
	"azwi/internal/cli/jwks"
	"azwi/internal/cli/lint"
	"azwi/internal/cli/permissions"
	"azwi/internal/cli/podidentity"
	"azwi/internal/cli/policy"
	"azwi/internal/cli/serviceaccount"
	"azwi/internal/cli/token"
	"azwi/internal/version"
)

// Exit codes of azwi.
const (
	ExitOK        = command.ExitOK
	ExitError     = command.ExitError
	ExitDifferent = command.ExitDifferent
)

// Streams are what the commands read and write.
type Streams = command.Streams

// Run runs azwi with its arguments, without the program's name, and returns the
// exit code.
func Run(ctx context.Context, args []string, streams Streams, getenv func(string) string) int {
	r := command.New(streams, getenv)
	cmd := newRootCommand(r) //nolint:contextcheck // cobra hands the context to each command
	cmd.SetArgs(asPlugin(cmd, streams.Program, args))
	return r.Finish(ctx, cmd.ExecuteContext(ctx))
}

func newRootCommand(r *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "azwi",
		Short:         "Federate Kubernetes service accounts with Azure identities",
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			if r.Debug {
				r.Level.Set(slog.LevelDebug)
			}
		},
	}
	cmd.SetIn(r.In)
	cmd.SetOut(r.Data)
	cmd.SetErr(r.Streams.Err)
	cmd.PersistentFlags().BoolVar(&r.Debug, "debug", false, "log what is done, to standard error")
	cmd.AddCommand(
		newVersionCommand(r),
		jwks.New(r),
		policy.New(r),
		federation.New(r),
		serviceaccount.New(r),
		token.NewWait(r),
		permissions.New(r),
		token.New(r),
		exec.New(r),
		explain.New(r),
		inject.New(r),
		lint.New(r),
		podidentity.New(r),
		installation.NewInstall(r),
		installation.NewUpgrade(r),
		installation.NewUninstall(r),
		installation.NewStatus(r),
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
