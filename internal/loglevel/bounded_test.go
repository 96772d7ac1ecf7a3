package loglevel_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/loglevel"
)

func TestBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(loglevel.Bounded(slog.NewTextHandler(&out, nil))).With("a", 1)
		for range 10_000 {
			log.Info("refused")
		}
		if n := strings.Count(out.String(), "\n"); n != 200 {
			t.Errorf("%d lines, want 200", n)
		}
		out.Reset()
		<-time.After(time.Second)
		for range 10 {
			log.Info("refused")
		}
		if n := strings.Count(out.String(), "\n"); n != 5 || strings.Count(out.String(), "suppressed=9800") != 1 || !strings.Contains(out.String(), "a=1") {
			t.Errorf("%s", out.String())
		}

		debug := slog.New(loglevel.Bounded(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		out.Reset()
		for range 1000 {
			debug.Info("refused")
		}
		if n := strings.Count(out.String(), "\n"); n != 1000 {
			t.Errorf("at level debug: %d of 1000 lines", n)
		}
	})
}
