//go:build unix

package plainfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"azwi/internal/plainfile"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	for _, err := range []error{os.WriteFile(file, []byte("12345"), 0o600), os.Symlink("file", link), syscall.Mkfifo(pipe, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{file, link} { // volumes of Kubernetes are links
		if got, err := plainfile.Read(name, 5); err != nil || string(got) != "12345" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := plainfile.Read(file, 4); err == nil || !strings.Contains(err.Error(), "larger than 4 bytes") {
		t.Error(err)
	}
	if _, err := plainfile.Read(file+"2", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, name := range []string{pipe, dir, "/dev/zero"} { // a pipe would block here for good
		if _, err := plainfile.Read(name, 5); !errors.Is(err, plainfile.ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
