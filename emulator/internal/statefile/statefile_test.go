package statefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"azwi/emulator/internal/statefile"
)

// What a kill -9 left is removed at the next start, and nothing else.
func TestClean(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"state.json", "state.json.old", ".state.json.123", ".state.json.9", ".other.json.1", "x.state.json.1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := statefile.Clean(filepath.Join(dir, "state.json")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), ".other.json.1 state.json state.json.old x.state.json.1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Keys that others could read are not used.
func TestExposedKeysAreRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca-key.json")
	if err := statefile.WriteJSON(path, 1); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]error{0o600: nil, 0o400: nil, 0o644: statefile.ErrExposed, 0o640: statefile.ErrExposed, 0o602: statefile.ErrExposed} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var v int
		if _, err := statefile.ReadJSON(path, &v); !errors.Is(err, want) {
			t.Errorf("mode %o: %v, want %v", mode, err, want)
		}
	}
	if found, err := statefile.ReadJSON(path+"2", new(int)); found || err != nil {
		t.Errorf("no file: %t, %v", found, err)
	}
}
