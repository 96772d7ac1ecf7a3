package loglevel_test

import (
	"log/slog"
	"testing"

	"azwi/internal/loglevel"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]slog.Level{
		"": slog.LevelInfo, "info": slog.LevelInfo, "warn": slog.LevelWarn, "warning": slog.LevelWarn, "error": slog.LevelError,
		"debug": slog.LevelDebug, "trace": loglevel.Trace, "all": loglevel.Trace,
	} {
		if got, err := loglevel.Parse(word); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", word, got, err, want)
		}
	}
	if _, err := loglevel.Parse("loud"); err == nil {
		t.Error("no error for an unknown word")
	}
}
