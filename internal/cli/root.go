package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"azwi/internal/azure"
	"azwi/internal/kube"
	"azwi/internal/terminal"
	"azwi/internal/version"
)

// Exit codes of azwi.
const (
	ExitOK           = 0
	ExitError        = 1
	ExitDifferent    = 2
	ExitNotPermitted = 3
	ExitTimeout      = 4
)

// Streams are what a command reads and writes. Results go to Out, everything
// else to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Program is the name by which azwi was called: as kubectl-azwi it is a plugin of
	// kubectl, and says so in its usage. Default: azwi.
	Program string
}

// An output keeps the first error in writing, so that no caller can lose it.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// An exitError gives an error an exit code of its own. Without an error nothing
// is said: a command that exec ran has said it.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// A root is what all commands share.
type root struct {
	In io.Reader
	// Out and Err are for text: results, and everything else.
	Out, Err *terminal.Writer
	// data is standard output for what programs read, which is written as it is:
	// JSON, YAML, manifests, tokens.
	data    *output
	streams Streams
	getenv  func(string) string
	debug   bool
	log     *slog.Logger
	level   *slog.LevelVar
}

// Run runs azwi with its arguments, without the program's name, and returns the
// exit code.
func Run(ctx context.Context, args []string, streams Streams, getenv func(string) string) int {
	level := new(slog.LevelVar)
	r := &root{
		In: streams.In, Out: terminal.New(streams.Out), Err: terminal.New(streams.Err), data: &output{to: streams.Out}, streams: streams,
		getenv: getenv, level: level,
		log: slog.New(slog.NewTextHandler(terminal.Log(streams.Err), &slog.HandlerOptions{Level: level})),
	}
	cmd := newRootCommand(r) //nolint:contextcheck // cobra hands the context to each command
	cmd.SetArgs(asPlugin(cmd, streams.Program, args))
	err := cmd.ExecuteContext(ctx)
	// What was not written comes first, so that no other exit code hides it.
	if unwritten := cmp.Or(r.Out.Err(), r.data.err); unwritten != nil && !errors.Is(err, unwritten) {
		err = &exitError{ExitError, errors.Join(fmt.Errorf("write the output: %w", unwritten), err)}
	}
	if err == nil {
		return ExitOK
	}
	coded, ok := errors.AsType[*exitError](err)
	if !ok {
		coded = &exitError{ExitError, err}
		if azure.Forbidden(err) || kube.IsForbidden(err) {
			coded.code = ExitNotPermitted
		}
	}
	if coded.err != nil {
		r.report(err)
	}
	return coded.code
}

// report tells of an error on one line, unless --debug asks for all, and what to
// do about it.
func (r *root) report(err error) {
	text := azure.Brief(err)
	if r.debug {
		text = err.Error()
	}
	r.Err.Block("azwi: ", "  ", text)
	if id := azure.Refused(err).RequestID; r.debug && id != "" {
		r.Err.Block("request ID: ", "  ", id)
	}
	if advice := azure.Advice(err); advice != "" {
		r.Err.Block("what to do: ", "  ", advice)
	}
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
