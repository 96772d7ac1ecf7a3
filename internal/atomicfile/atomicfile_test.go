package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"azwi/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "token")
	// What a killed writer left, for others to read.
	if err := os.WriteFile(filepath.Join(dir, ".token.next"), []byte("half"), 0o644); err != nil { //nolint:gosec // the test's own
		t.Fatal(err)
	}
	for _, content := range []string{"one", "another"} {
		if err := atomicfile.Write(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(name)
		if err != nil || string(raw) != content {
			t.Errorf("%q, %v", raw, err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	wantAlone(t, dir, "token")
}

// What can't be written leaves the old file, and nothing beside it.
func TestFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(filepath.Join(dir, "taken"), nil, 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	wantAlone(t, dir, "taken")
	if err := atomicfile.Write(filepath.Join(dir, "none", "file"), nil, 0o600); err == nil {
		t.Error("a folder was made")
	}
}

func wantAlone(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("%v, %v", entries, err)
	}
}
