package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"azwi/contract"
)

const root = "../../../.."

// TestValues: values.yaml has each setting, and a choice's default.
func TestValues(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	for _, s := range contract.Settings() {
		var value any = values
		for name := range strings.SplitSeq(s.Value, ".") {
			members, _ := value.(map[string]any)
			var ok bool
			if value, ok = members[name]; !ok {
				t.Errorf("values.yaml has no %s", s.Value)
			}
		}
		if s.Type.Kind == contract.Choice && value != s.Default {
			t.Errorf("values.yaml: %s is %v, its default is %s", s.Value, value, s.Default)
		}
	}
}

// TestCurrent: the files are as they are made now.
func TestCurrent(t *testing.T) {
	t.Parallel()
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
