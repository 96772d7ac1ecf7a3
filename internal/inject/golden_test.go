package inject_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"

	"azwi/internal/inject"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden holds each testdata file: pod.yaml, account.yaml (annotations and
// labels) and settings.yaml (absent: those of a plain cluster) in; want out, which
// is the patch, one operation a line, and the warnings or the denial.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := readCase(t, archive)
			got := c.run(t)
			if *update {
				c.setWant(archive, got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got (run with -update to accept):\n%s", diff)
			}
		})
	}
}

type goldenCase struct {
	pod      []byte // JSON
	account  inject.Account
	settings inject.Settings
	want     string
}

func readCase(t *testing.T, archive *txtar.Archive) goldenCase {
	t.Helper()
	c := goldenCase{account: inject.Account{Namespace: "shop", Name: "orders"}, settings: plainSettings()}
	for _, f := range archive.Files {
		var err error
		switch f.Name {
		case "pod.yaml":
			c.pod, err = yaml.YAMLToJSON(f.Data)
		case "account.yaml":
			err = yaml.UnmarshalStrict(f.Data, &c.account)
		case "settings.yaml":
			err = yaml.UnmarshalStrict(f.Data, &c.settings)
		case "want":
			c.want = string(f.Data)
		default:
			err = fmt.Errorf("unknown file")
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	return c
}

func (c *goldenCase) setWant(archive *txtar.Archive, got string) {
	for i := range archive.Files {
		if archive.Files[i].Name == "want" {
			archive.Files[i].Data = []byte(got)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
}

func (c *goldenCase) run(t *testing.T) string {
	t.Helper()
	res := mustInject(t, c.pod, c.account, c.settings)
	var out strings.Builder
	if res.Denial != nil {
		fmt.Fprintf(&out, "denied %s: %s\n", res.Denial.Reason, res.Denial.Message)
	}
	for _, op := range res.Patch {
		line, err := json.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
	}
	for _, w := range res.Warnings {
		fmt.Fprintf(&out, "warning %s: %s\n", w.Reason, w.Message)
	}
	if out.Len() == 0 {
		return "unchanged\n"
	}
	// Whatever the case, a second pass has nothing left to do.
	if again := mustInject(t, apply(t, c.pod, res.Patch), c.account, c.settings); len(again.Patch) != 0 {
		t.Errorf("a second pass changes the pod again: %+v", again.Patch)
	}
	return out.String()
}

// plainSettings are those of a cluster that sets what upstream's chart requires.
func plainSettings() inject.Settings {
	return inject.Settings{
		TenantID:      "11111111-1111-1111-1111-111111111111",
		AuthorityHost: "https://login.microsoftonline.com/",
		Proxy:         inject.Proxy{Image: "azwi/proxy:v1", NativeSidecar: true},
	}
}

func mustInject(t *testing.T, pod []byte, account inject.Account, settings inject.Settings) inject.Result {
	t.Helper()
	p, err := inject.Parse(pod)
	if err != nil {
		t.Fatal(err)
	}
	return p.Inject(account, settings)
}

// apply applies a patch with the library that the API server uses.
func apply(t *testing.T, pod []byte, ops []inject.Op) []byte {
	t.Helper()
	if len(ops) == 0 {
		return pod
	}
	patched, err := applyPatch(pod, ops)
	if err != nil {
		t.Fatalf("the patch does not apply: %v", err)
	}
	return patched
}

func applyPatch(pod []byte, ops []inject.Op) ([]byte, error) {
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		return nil, err
	}
	return patch.Apply(pod)
}
