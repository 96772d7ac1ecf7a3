package injector_test

import (
	"bytes"
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

	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/injector"
	"azwi/internal/pod/manifest"
	"azwi/internal/pod/workload"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden holds the text that comes out of every case in testdata.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no golden cases", err)
	}
	for _, name := range cases {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var files []*manifest.File
			var want []byte
			inputs := archive.Files[:0:0]
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = f.Data
					continue
				}
				files = append(files, manifest.Parse(f.Name, f.Data))
				inputs = append(inputs, f)
			}
			got := outcome(t, files)
			if *update {
				archive.Files = append(inputs, txtar.File{Name: "want", Data: got})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got (run with -update to accept):\n%s", diff)
			}
		})
	}
}

func outcome(t *testing.T, files []*manifest.File) []byte {
	t.Helper()
	var out bytes.Buffer
	config := injector.Config{Settings: injecttest.Settings()}
	result, err := injector.Inject(t.Context(), files, config)
	for _, n := range result.Notes {
		fmt.Fprintln(&out, n)
	}
	if err != nil {
		fmt.Fprintln(&out, err)
		return out.Bytes()
	}
	fmt.Fprintf(&out, "%d of %d injected\n\n", result.Injected, result.OptedIn)
	out.Write(result.Text)
	again, err := injector.Inject(t.Context(), []*manifest.File{manifest.Parse("again", result.Text)}, config)
	if err != nil || again.Injected != 0 || !bytes.Equal(again.Text, result.Text) {
		t.Errorf("a second pass is not idle: %d injected, %v", again.Injected, err)
	}
	return out.Bytes()
}

// TestSamePodAsWebhook gives every golden case of package inject as a manifest, in
// YAML and in JSON: what comes out must be the pod that the webhook makes.
func TestSamePodAsWebhook(t *testing.T) {
	t.Parallel()
	cases, err := injecttest.Cases("../inject/testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			var pod map[string]any
			if err := json.Unmarshal(c.Pod, &pod); err != nil {
				t.Fatal(err)
			}
			deployment := map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "orders"},
				"spec": map[string]any{"template": map[string]any{"metadata": pod["metadata"], "spec": pod["spec"]}}}
			for _, object := range []map[string]any{pod, deployment} {
				for _, write := range []func(any) ([]byte, error){func(v any) ([]byte, error) { return yaml.Marshal(v) }, json.Marshal} {
					text, err := write(object)
					if err != nil {
						t.Fatal(err)
					}
					checkSame(t, c, object["kind"].(string), text)
				}
			}
		})
	}
}

func checkSame(t *testing.T, c *injecttest.Case, kind string, text []byte) {
	t.Helper()
	parsed, err := inject.Parse(c.Pod)
	if err != nil {
		t.Fatal(err)
	}
	name := parsed.ServiceAccountName()
	account, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{
		"name": name, "namespace": "shop", "annotations": c.Account.Annotations, "labels": c.Account.Labels,
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Account.Name = name
	want := parsed.Inject(c.Account, c.Settings)

	files := []*manifest.File{manifest.Parse("account", account), manifest.Parse("pod", text)}
	got, err := injector.Inject(t.Context(), files, injector.Config{Settings: c.Settings, Namespace: "shop"})
	if want.Denial != nil {
		if err == nil || !strings.Contains(err.Error(), want.Denial.Text()) {
			t.Errorf("no denial %q but %v", want.Denial.Text(), err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var messages, warned []string
	for _, w := range want.Warnings {
		messages = append(messages, w.Text())
	}
	for _, n := range got.Notes {
		warned = append(warned, n.Message)
	}
	if diff := cmp.Diff(messages, warned); diff != "" {
		t.Errorf("warnings: -webhook +offline:\n%s", diff)
	}
	documents := manifest.Parse("out", got.Text).Documents
	root, ok := documents[len(documents)-1].Root()
	if !ok {
		t.Fatalf("no pod came out:\n%s", got.Text)
	}
	object := root
	if kind == "Deployment" {
		object = root.Get("spec", "template")
	}
	if diff := cmp.Diff(admitted(t, c.Pod, want.Patch)["spec"], plainJSON(t, object.Get("spec").JSON())); diff != "" {
		t.Errorf("-webhook +offline:\n%s\n%s", diff, got.Text)
	}
}

// admitted is the pod after the webhook, as the API server applies its patch.
func admitted(t *testing.T, pod []byte, ops []inject.Op) map[string]any {
	t.Helper()
	if len(ops) > 0 {
		raw, err := json.Marshal(ops)
		if err != nil {
			t.Fatal(err)
		}
		patch, err := jsonpatch.DecodePatch(raw)
		if err != nil {
			t.Fatal(err)
		}
		if pod, err = patch.Apply(pod); err != nil {
			t.Fatal(err)
		}
	}
	return plainJSON(t, json.RawMessage(pod)).(map[string]any)
}

func plainJSON(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzInject: whatever the text, nothing panics, a second pass changes nothing, and
// a document without a workload that opted in is printed byte for byte.
func FuzzInject(f *testing.F) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	golden, err := injecttest.Cases("../inject/testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range golden {
		text, err := yaml.JSONToYAML(c.Pod)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	config := injector.Config{Settings: injecttest.Settings(), Kinds: workload.Known()}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := manifest.Parse("in", text)
		result, err := injector.Inject(t.Context(), []*manifest.File{file}, config)
		if err != nil {
			return
		}
		text = nil // in UTF-8, without byte order marks
		for _, d := range file.Documents {
			text = append(text, d.Text...)
		}
		if result.Injected == 0 && !bytes.Equal(result.Text, text) {
			t.Fatalf("nothing was injected, but the text changed:\n%s", result.Text)
		}
		again, err := injector.Inject(t.Context(), []*manifest.File{manifest.Parse("again", result.Text)}, config)
		if err != nil {
			t.Fatalf("what came out is refused: %v\n%s", err, result.Text)
		}
		if !bytes.Equal(again.Text, result.Text) {
			t.Fatalf("a second pass is not idle:\n%s\n---- then\n%s", result.Text, again.Text)
		}
	})
}
