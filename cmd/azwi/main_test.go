package main

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var binary = flag.String("azwi", "", "benchmark: the stripped binary, as make build makes it")

func TestRun(t *testing.T) {
	t.Parallel()
	var out, log strings.Builder
	if code := run([]string{"azwi", "version"}, strings.NewReader(""), &out, &log); code != 0 || !strings.HasPrefix(out.String(), "azwi ") {
		t.Errorf("code %d, %s%s", code, &out, &log)
	}
	if code := run([]string{"azwi", "no-such-command"}, strings.NewReader(""), &out, &log); code != 1 || !strings.Contains(log.String(), "unknown command") {
		t.Errorf("code %d, %s", code, &log)
	}
}

// BenchmarkVersion measures how long the least command takes as a process, and the
// binary's size.
func BenchmarkVersion(b *testing.B) {
	info, err := os.Stat(*binary)
	if err != nil {
		b.Skip("no binary: make bench gives -azwi")
	}
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := exec.CommandContext(b.Context(), *binary, "version").Run(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(info.Size())/1e6, "MB")
}
