package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/doctor"
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
	command.SetHelp(cmd)
	cmd.SetIn(r.In)
	cmd.SetOut(r.Data)
	cmd.SetErr(r.Streams.Err)
	cmd.PersistentFlags().BoolVar(&r.Debug, "debug", false, "log what is done, to standard error")
	r.ColourFlag(cmd)
	addCommands(cmd, r)
	cmd.InitDefaultCompletionCmd()
	refuseUnknown(cmd)
	return cmd
}

// addCommands adds the commands, grouped by task.
func addCommands(cmd *cobra.Command, r *command.Env) {
	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Set up a cluster", []*cobra.Command{
			doctor.NewCheck(r), installation.NewInstall(r), installation.NewUpgrade(r), installation.NewUninstall(r), installation.NewStatus(r), policy.New(r),
		}},
		{"Give workloads an identity", []*cobra.Command{serviceaccount.New(r), federation.New(r), permissions.New(r)}},
		{"Get tokens, find out why not", []*cobra.Command{token.New(r), token.NewWait(r), exec.New(r), doctor.New(r), doctor.NewBundle(r), doctor.NewAudit(r), explain.New(r)}},
		{"Check and convert manifests", []*cobra.Command{lint.New(r), inject.New(r), podidentity.New(r)}},
	} {
		cmd.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, c := range group.commands {
			c.GroupID = group.title
			cmd.AddCommand(c)
		}
	}
	cmd.AddCommand(jwks.New(r), newVersionCommand(r))
}

// refuseUnknown lets commands that only have other commands fail on a name which
// is none of these. Cobra prints their help and reports success.
func refuseUnknown(cmd *cobra.Command) {
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return command.UnknownCommand(c, args[0])
			}
			return c.Help()
		}
	}
	for _, c := range cmd.Commands() {
		refuseUnknown(c)
	}
}
