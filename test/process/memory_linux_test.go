package process_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"azwi/test/process"
)

// TestMemory: a child that takes more than it may is killed, one that doesn't is
// not, and nothing is left.
func TestMemory(t *testing.T) {
	process.NeedMemoryLimit(t)
	for _, tt := range []struct {
		name, take string
		killed     bool
	}{
		{"within", "1M", false},
		{"beyond", "64M", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := groups(t)
			c, err := process.Start(process.Config{Binary: "/bin/dd", Args: []string{"if=/dev/zero", "of=/dev/null", "count=1", "bs=" + tt.take}, Memory: 16 << 20})
			if err != nil {
				t.Fatal(err)
			}
			err = c.Wait()
			exit, failed := errors.AsType[*exec.ExitError](err)
			if killed := failed && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL; killed != tt.killed || failed != tt.killed {
				t.Errorf("ended with %v", err)
			}
			use, err := c.Memory()
			if err != nil || (use.Kills > 0) != tt.killed || use.Peak == 0 || use.Peak > 16<<20 {
				t.Errorf("used %+v, %v", use, err)
			}
			if after := groups(t); after != before {
				t.Errorf("%d cgroups before, %d after", before, after)
			}
		})
	}
	if _, err := process.Start(process.Config{Binary: "/does/not/exist", Name: "x", Memory: 16 << 20}); err == nil {
		t.Error("Name and Memory together are taken")
	}
}

// groups counts this test's own, by a limit that no other test gives.
func groups(t *testing.T) int {
	t.Helper()
	n := 0
	for _, pattern := range []string{"/sys/fs/cgroup/memory/azwi-test-*/memory.limit_in_bytes", "/sys/fs/cgroup/azwi-test-*/memory.max"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil && string(text) == "16777216\n" {
				n++
			}
		}
	}
	return n
}
