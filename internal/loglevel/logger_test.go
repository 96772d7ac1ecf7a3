package loglevel_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"azwi/internal/loglevel"
)

// A flood of refusals hides no other message.
func TestFloodHidesNothingElse(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := loglevel.New(&out, slog.LevelInfo)
	for range 10_000 {
		log.Info("refused")
	}
	log.Error("broken")
	if !strings.Contains(out.String(), `"msg":"broken"`) {
		t.Error("the error is missing")
	}
}

// A pod's fields reach the log, and the log a terminal.
func TestLogHasNoControlCharacters(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	loglevel.New(&out, slog.LevelInfo).Info("refused", "name", "a\u009b2J\u202eb\x1b\x7f")
	if !strings.Contains(out.String(), `"name":"a\u009b2J\u202eb\u001b\u007f"`) {
		t.Error(out.String())
	}
}
