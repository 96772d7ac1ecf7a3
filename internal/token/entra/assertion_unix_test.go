//go:build unix

package entra_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"azwi/internal/token/entra"
)

// A pipe that nobody writes to must not hold the caller.
func TestReadAssertionTakesFilesOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, dir, "/dev/zero"} {
		if _, err := entra.ReadAssertion(name); !errors.Is(err, entra.ErrAssertion) || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
