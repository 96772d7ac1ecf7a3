package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"azwi/internal/pod/inject"
	"azwi/internal/pod/lint"
	"azwi/internal/pod/manifest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A section of docs/lint.md.
type section struct{ name, severity, wrong, right string }

func sections(t testing.TB) []section {
	t.Helper()
	raw, err := os.ReadFile("../../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^`([a-z0-9-]+)` \\((error|warning|info)\\)\n")
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```\n")
	var all []section
	for _, part := range strings.Split(string(raw), "\n### ")[1:] {
		found := heading.FindStringSubmatch(part)
		if found == nil {
			t.Fatalf("a heading is not `RULE` (SEVERITY): %.40q", part)
		}
		s := section{name: found[1], severity: found[2]}
		blocks := block.FindAllStringSubmatch(part, -1)
		if s.name == "helm-templates" {
			all = append(all, s) // has no example in one document: TestChart
			continue
		}
		if len(blocks) == 0 || len(blocks) > 2 {
			t.Fatalf("%s has %d examples", s.name, len(blocks))
		}
		s.wrong = blocks[0][1]
		if len(blocks) == 2 {
			s.right = blocks[1][1]
		}
		all = append(all, s)
	}
	return all
}

// TestDocs: docs/lint.md has every rule with its severity, and its examples are
// what they say.
func TestDocs(t *testing.T) {
	t.Parallel()
	var documented, rules []string
	for _, s := range sections(t) {
		documented = append(documented, s.name+" "+s.severity)
		if s.name != "helm-templates" && !finds(s.wrong, s.name) {
			t.Errorf("%s: its example is not found", s.name)
		}
		if others := names(s.wrong, s.name, "account-not-in-input"); len(others) > 0 {
			t.Errorf("%s: its example shows %v too", s.name, others)
		}
		if s.right != "" {
			if found := names(s.right, "account-not-in-input"); len(found) > 0 {
				t.Errorf("%s: its right example shows %v", s.name, found)
			}
		}
	}
	for _, r := range lint.Rules() {
		rules = append(rules, string(r.Code)+" "+r.Severity.String())
	}
	if diff := cmp.Diff(rules, documented); diff != "" {
		t.Errorf("-rules +docs/lint.md:\n%s", diff)
	}
}

func finds(text, name string) bool { return slices.Contains(names(text), name) }

// names are those of the rules that find something, but for some.
func names(text string, but ...string) []string {
	var all []string
	file := manifest.Parse("x", []byte(text))
	file.Named = true
	for _, f := range lint.Lint([]*manifest.File{file}, lint.Config{OrdinarySidecar: true}) {
		if !slices.Contains(but, string(f.Code())) {
			all = append(all, string(f.Code()))
		}
	}
	return all
}

// TestGolden holds places and words.
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
			var want string
			inputs := archive.Files[:0:0]
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				files = append(files, manifest.Parse(f.Name, f.Data))
				inputs = append(inputs, f)
			}
			var got strings.Builder
			for _, f := range lint.Lint(files, lint.Config{Namespace: "shop"}) {
				fmt.Fprintf(&got, "%s %s %s %s/%s: %s\n", f.Position, string(f.Code()), f.Kind, f.Namespace, f.Name, f.Text())
			}
			if *update {
				archive.Files = append(inputs, txtar.File{Name: "want", Data: []byte(got.String())})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("-want +got (run with -update to accept):\n%s", diff)
			}
		})
	}
}

// TestCases lints manifests that people wrote or tools make, each by itself.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		file   string
		config lint.Config
		want   []string // but account-not-in-input
	}{
		{file: "placeholders.yaml", want: []string{"8 info placeholder"}},
		{file: "placeholders.yaml", config: lint.Config{Quiet: true}},
		{file: "placeholders.yaml", config: lint.Config{Rendered: true}, want: []string{
			"5 error placeholder", "6 error placeholder", "8 error placeholder", "9 error placeholder", "14 error placeholder", "19 error placeholder",
			"20 error placeholder", "29 error placeholder", "30 error placeholder", "36 error placeholder", "37 error placeholder",
			"39 error placeholder", "46 error placeholder",
		}},
		{file: "flux-placeholders.yaml", want: []string{"3 info placeholder"}},
		{file: "flux-placeholders.yaml", config: lint.Config{Rendered: true}, want: []string{"3 error placeholder", "7 error placeholder", "12 error placeholder"}},
		{file: "bom-before-second-document.yaml"},
		{file: "deployment-list.yaml"},
		{file: "utf16-two-documents.yaml", want: []string{"11 error label-value"}},
		{file: "tekton-task.yaml"},
		{file: "gap-cnpg.yaml", want: []string{"12 error label-not-on-pod", "16 error near-miss-key"}},
		{file: "gap-scaledjob.yaml", want: []string{"7 error label-not-on-pod"}},
		{file: "gap-own-token-file.yaml", want: []string{"13 warning own-token-file"}},
		{file: "gap-env-reference.yaml"},
		{file: "identity-endpoint.yaml", want: []string{"14 warning own-identity-endpoint"}},
		{file: "job-account-misplaced.yaml", want: []string{"9 error service-account-misplaced"}},
		{file: "kustomization.yaml", want: []string{"5 warning kustomization-labels"}},
		{file: "pod-level-resources.yaml"},
		{file: "root-env-mode.yaml"},
		{file: "values.yaml", want: []string{"1 error not-a-manifest", "3 error near-miss-key", "5 error value-not-string", "7 error misplaced-key", "9 error label-value", "11 info placeholder"}},
		{file: "texts.yaml", want: []string{"11 error near-miss-key", "16 error value-not-string", "32 error label-value", "36 error near-miss-key"}},
		{file: "kinds.yaml", want: []string{
			"7 error misplaced-key", "17 error near-miss-key", "22 warning label-missing", "34 error label-not-on-pod", "44 error value-not-string",
		}},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			files, err := manifest.Read(nil, []string{"testdata/cases/" + test.file}, false)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range lint.Lint(files, test.config) {
				if string(f.Code()) != "account-not-in-input" {
					got = append(got, fmt.Sprintf("%d %s %s", f.Position.Line, f.Severity, string(f.Code())))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestMatrix writes each key as label and as annotation on each sort of object: what
// isn't read there is an error.
func TestMatrix(t *testing.T) {
	t.Parallel()
	const containers = "spec: {containers: [{name: app, image: app}]}"
	objects := map[string]string{
		"pod":          "apiVersion: v1\nkind: Pod\nmetadata: {name: x, %s}\n" + containers,
		"pod template": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {metadata: {%s}, " + containers + "}}",
		"workload":     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, %s}\nspec: {template: {" + containers + "}}",
		"job template": "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}\nspec: {jobTemplate: {metadata: {%s}, spec: {template: {" + containers + "}}}}",
		"account":      "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: x, %s}",
		"namespace":    "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, %s}",
		"service":      "apiVersion: v1\nkind: Service\nmetadata: {name: x, %s}",
		"ingress":      "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x, %s}",
	}
	places := inject.Places()
	for object, text := range objects {
		for _, key := range slices.Concat(places[0].Keys, places[1].Keys, places[3].Keys) {
			for part, place := range map[string]int{"labels": 0, "annotations": 1} {
				read := part == "labels" && key == places[0].Keys[0] && object == "account" // passed over
				switch object {
				case "pod", "pod template":
					read = slices.Contains(places[place].Keys, key)
				case "account":
					read = read || slices.Contains(places[place+2].Keys, key)
				}
				want := []string{"misplaced-key"}
				if key == places[0].Keys[0] && part == "labels" && object == "workload" {
					want = []string{"label-not-on-pod"}
				}
				if read {
					want = nil
				}
				// The value is right for some key; none but the key's place matters here.
				all := []string{"account-not-in-input", "client-id-not-guid", "tenant-id", "token-expiration", "proxy-not-boolean"}
				written := fmt.Sprintf(text, part+": {"+key+": \"true\"}")
				if diff := cmp.Diff(want, names(written, all...)); diff != "" {
					t.Errorf("%s as one of the %s of the %s: -want +got\n%s", key, part, object, diff)
				}
			}
		}
	}
	for _, text := range []string{
		"apiVersion: v1\nkind: Pod\nmetadata: {azure.workload.identity/use: \"true\"}\n" + containers,
		"apiVersion: v1\nkind: ServiceAccount\nazure.workload.identity/client-id: x",
	} {
		if diff := cmp.Diff([]string{"misplaced-key"}, names(text)); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := lint.CheckRules([]string{"syntax", "no-such-rule"}); err == nil {
		t.Error("an unknown rule is not refused")
	}
	for _, s := range sections(t) {
		files := []*manifest.File{manifest.Parse("x", []byte(s.wrong))}
		for _, f := range lint.Lint(files, lint.Config{Disabled: []string{s.name}}) {
			if string(f.Code()) == s.name {
				t.Errorf("%s is disabled, but finds %s", s.name, f.Text())
			}
		}
		if s.name == "token-path" {
			if found := lint.Lint(files, lint.Config{Layout: inject.LayoutBoth}); len(found) != 1 {
				t.Errorf("with both layouts: %v", found)
			}
		}
	}
}

// FuzzLint: whatever the text, nothing panics, and every finding is in the file.
func FuzzLint(f *testing.F) {
	for _, s := range sections(f) {
		f.Add([]byte(s.wrong))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + strings.Count(string(text), "\u0085") +
			strings.Count(string(text), "\u2028") + strings.Count(string(text), "\u2029") + 1
		for _, f := range lint.Lint([]*manifest.File{manifest.Parse("x", text)}, lint.Config{}) {
			if f.Position.Line < 1 || f.Position.Line > lines || f.Position.Column < 1 || f.Text() == "" {
				t.Errorf("%+v", f)
			}
		}
	})
}
