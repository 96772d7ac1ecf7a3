package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
)

// mostFiles are those that an annotation with a default of the cluster touches.
const mostFiles = 5

// TestContributing: the files that CONTRIBUTING.md names for its example of an
// annotation are those that have to do with it, and few; so it is for others.
func TestContributing(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "## Add an annotation\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var named []string
	for _, m := range regexp.MustCompile("(?m)^[0-9]+\\. `([^`]+)`").FindAllStringSubmatch(section, -1) {
		named = append(named, m[1])
	}
	slices.Sort(named)
	names := map[string]string{}
	for _, c := range constants(t, "table.go") {
		names[c.value] = c.name
	}
	example := regexp.MustCompile("(?m)^Example: `([^`]+)`").FindStringSubmatch(section)
	if example == nil {
		t.Fatal("CONTRIBUTING.md has no example of an annotation")
	}
	found := false
	for _, s := range contract.ClusterDefaults() {
		if s.Type.Kind == contract.Choice {
			continue // each of its values does something of its own
		}
		have := filesWith(t, names[s.Annotation], s.Flag, s.Value)
		if len(have) > mostFiles {
			t.Errorf("%s touches more than %d files: %q", s.Annotation, mostFiles, have)
		}
		if s.Annotation == contract.Prefix+example[1] {
			found = true
			if diff := cmp.Diff(named, have); diff != "" {
				t.Errorf("CONTRIBUTING.md on %s (-named +found):\n%s", s.Annotation, diff)
			}
		}
	}
	if !found {
		t.Errorf("CONTRIBUTING.md: %s has no default of the cluster", example[1])
	}
}

// filesWith returns the files that people write for an annotation, but for tests: those
// that have its constant, its flag or the path of its value, and the chart's values.
func filesWith(t *testing.T, words ...string) []string {
	t.Helper()
	for i, word := range words {
		words[i] = regexp.QuoteMeta(word)
	}
	word := regexp.MustCompile(`\b(` + strings.Join(words, "|") + `)\b`)
	files := []string{"charts/workload-identity-webhook/values.yaml"}
	for _, top := range []string{"charts", "cmd", "contract", "deploy", "internal", "test/chart/cmd"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(root, file)
			if name = filepath.ToSlash(name); err != nil || strings.HasSuffix(name, "_test.go") || path.Base(path.Dir(name)) == "testdata" {
				return err
			}
			raw, err := os.ReadFile(file)
			if head, _, _ := bytes.Cut(raw, []byte("\n")); word.Match(raw) && !bytes.Contains(head, []byte("Made by make generate")) {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}
