package installation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestValues shows which of files, --set and the conveniences wins.
func TestValues(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte("replicaCount: 2\nglobal: {imageRegistry: a.example, x: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := func(string) string { return "tenant-of-environment" }
	for _, test := range []struct {
		name    string
		upgrade bool
		args    []string
		want    map[string]any
	}{
		{"environment", false, nil, map[string]any{"azureTenantID": "tenant-of-environment"}},
		{"an upgrade keeps the tenant", true, nil, map[string]any{}},
		{"flag before environment", false, []string{"--tenant-id=t"}, map[string]any{"azureTenantID": "t"}},
		{
			"flags over --set over files", true, []string{"-f", file, "--set=replicaCount=3", "--set-string=podLabels.a=1", "--image-registry=b.example"},
			map[string]any{
				"replicaCount": int64(3), "podLabels": map[string]any{"a": "1"}, "global": map[string]any{"imageRegistry": "b.example", "x": float64(1)},
			},
		},
	} {
		o := installOptions{upgrade: test.upgrade}
		c := &cobra.Command{}
		o.register(c)
		if err := c.ParseFlags(test.args); err != nil {
			t.Fatal(err)
		}
		got, err := o.values(environment)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v: %s", test.name, err, diff)
		}
	}
	o := installOptions{files: []string{"none"}}
	if _, err := o.values(environment); err == nil || !strings.Contains(err.Error(), "--values: open none") {
		t.Error(err)
	}
}
