package cli

import (
	"io"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
)

// Command returns the commands of azwi with their flags and texts, to
// describe them, as the reference pages do. Run runs them.
func Command() *cobra.Command {
	return newRootCommand(command.New(command.Streams{Out: io.Discard, Err: io.Discard}, func(string) string { return "" }))
}
