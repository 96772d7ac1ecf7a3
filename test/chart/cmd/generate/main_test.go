package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCurrent: the files are as they are made now.
func TestCurrent(t *testing.T) {
	t.Parallel()
	const root = "../../../.."
	files, err := chartFiles(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	more, err := manifests(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, more...) {
		have, err := os.ReadFile(filepath.Join(root, f.name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(f.data), string(have)); diff != "" {
			t.Errorf("%s: run make generate; -made +there:\n%s", f.name, diff)
		}
	}
}
