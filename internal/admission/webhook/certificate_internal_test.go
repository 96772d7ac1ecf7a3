//go:build unix

package webhook

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"azwi/internal/plainfile"
)

// A pipe in place of a certificate or of the clients' CA would keep handshakes
// waiting for good.
func TestPipesAreNoCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	crt := filepath.Join(dir, "tls.crt")
	if err := syscall.Mkfifo(crt, 0o600); err != nil {
		t.Fatal(err)
	}
	pair := &keyPair{dir: dir, logger: slog.New(slog.DiscardHandler)}
	if _, err := pair.Current(); !errors.Is(err, plainfile.ErrNotRegular) {
		t.Error(err)
	}
	if _, err := readPool(crt); !errors.Is(err, plainfile.ErrNotRegular) {
		t.Error(err)
	}
	if err := errors.Join(os.Rename(crt, filepath.Join(dir, "tls.key")), os.WriteFile(crt, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Current(); !errors.Is(err, plainfile.ErrNotRegular) {
		t.Error(err)
	}
}
