package loglevel

import (
	"io"
	"log/slog"

	"azwi/internal/terminal"
)

// New returns the logger of a program that runs for long: JSON, at a level, without
// characters that a terminal might obey, and bounded as by [Bounded].
func New(to io.Writer, level slog.Level) *slog.Logger {
	return slog.New(Bounded(slog.NewJSONHandler(terminal.Log(to), &slog.HandlerOptions{Level: level})))
}
