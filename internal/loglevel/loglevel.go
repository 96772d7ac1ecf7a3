package loglevel

import (
	"fmt"
	"log/slog"
)

// Trace is below slog.LevelDebug.
const Trace = slog.LevelDebug - 4

// Parse reads info, debug, trace or all (the same as trace), and also warn and
// error. The empty string, which upstream's chart writes for the default, is info.
func Parse(s string) (slog.Level, error) {
	switch s {
	case "", "info":
		return slog.LevelInfo, nil
	case "warning", "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	case "debug":
		return slog.LevelDebug, nil
	case "trace", "all":
		return Trace, nil
	}
	return 0, fmt.Errorf("--log-level %q: use info, warn, error, debug, trace or all", s)
}
