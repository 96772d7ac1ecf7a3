package cli

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// Command returns the commands of azwi with their flags and texts, to
// describe them, as the reference pages do. Run runs them.
func Command() *cobra.Command {
	return newRootCommand(&root{
		streams: Streams{Out: io.Discard, Err: io.Discard}, getenv: func(string) string { return "" },
		level: new(slog.LevelVar), log: slog.New(slog.DiscardHandler),
	})
}
