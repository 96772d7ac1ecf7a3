package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitDifferences = 2 // what was compared differs; the command itself worked
)

// Streams are what a command reads from and writes to. Results go to Out, all else
// to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Getenv is os.Getenv or a stand-in.
	Getenv func(string) string
}

// errDifferences makes the exit code ExitDifferences; the differences are printed
// already.
var errDifferences = errors.New("there are differences")

// Run runs the command line and returns the exit code.
func Run(ctx context.Context, args []string, s Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errDifferences):
		return ExitDifferences
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(s.Err, "azwi:", line)
	}
	return ExitError
}

func newRoot(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "azwi",
		Short:         "Azure workload identity for Kubernetes",
		SilenceErrors: true, // Run prints them
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.AddCommand(newVersion(s), newPolicy(s))
	return root
}
