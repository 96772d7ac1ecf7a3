package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	repo "helm.sh/helm/v4/pkg/repo/v1"

	"azwi/images"
)

// TestPacked: Helm reads the packed chart and its index, whatever was built. Its version
// sorts above upstream's last, 1.x.
func TestPacked(t *testing.T) {
	t.Parallel()
	for build, want := range map[string]string{"v2.1.0": "2.1.0", "v2.1.0-3-g0123456-dirty": "2.1.0-3-g0123456-dirty", "0123456": "2.0.0-dev.g0123456"} {
		dir := t.TempDir()
		names, err := images.WriteChart(dir, images.ChartSpec{Dir: chartDir, Version: build, Registry: "registry.example:5000/team"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := loader.LoadFile(filepath.Join(dir, names[0]))
		if err != nil {
			t.Fatal(err)
		}
		if m := c.Metadata; m.Version != want || m.AppVersion != build || m.Annotations["azwi/image-registry"] != "registry.example:5000/team" || len(c.Schema) == 0 || len(c.Templates) < 10 {
			t.Errorf("%s: %+v", build, m)
		}
		for _, f := range c.Files {
			if strings.HasSuffix(f.Name, ".go") {
				t.Errorf("%s is in the chart", f.Name)
			}
		}
		index, err := repo.LoadIndexFile(filepath.Join(dir, names[1]))
		if err != nil {
			t.Fatal(err)
		}
		entry, err := index.Get(c.Name(), want)
		if err != nil || len(entry.URLs) != 1 || entry.Digest == "" {
			t.Fatalf("%s: %+v, %v", build, entry, err)
		}
		if _, err := os.Stat(filepath.Join(dir, entry.URLs[0])); err != nil {
			t.Error(err)
		}
	}
}
