package lint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/pod/lint"
	"azwi/internal/pod/manifest"
)

const fluxed = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %s, namespace: flux-system}
spec:
  path: %s
  postBuild: {%s}
`

func TestFill(t *testing.T) {
	t.Parallel()
	account := func(id string) string {
		return "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: orders, annotations: {azure.workload.identity/client-id: " + id + "}}\n"
	}
	flux := func(name, path, build string) string { return fmt.Sprintf(fluxed, name, path, build) }
	const right, other = "22222222-2222-2222-2222-222222222222", "33333333-3333-3333-3333-333333333333"
	set := map[string]string{"ID": right}
	for _, test := range []struct {
		name   string
		files  map[string]string
		values map[string]string
		want   []string
	}{
		{"nothing given", map[string]string{"a": account("${ID}")}, nil, []string{"info placeholder"}},
		{"not YAML but for its placeholders", map[string]string{"a": account("%ID%"), "b": account("@ID@"), "c": account("a-${ID}-b")}, nil, []string{
			"info placeholder", "info placeholder", "info placeholder",
		}},
		{"not YAML at all", map[string]string{"a": account("${ID}") + "a: ]\n", "b": "name: {{ .Values.name }}\n"}, nil, []string{"error syntax", "error syntax"}},
		{"each way to write it", map[string]string{
			"a": account("${ID}"), "b": account("__ID__"), "c": account("<ID>"), "d": account("$(ID)"),
			"e": account("'{{ ID }}'"), "f": account("'#{ID}#'"), "g": account("'%ID%'"), "h": account("$ID"),
		}, set, nil},
		{"a wrong value", map[string]string{"a": account("${ID}")}, map[string]string{"ID": "orders"}, []string{"error client-id-not-guid"}},
		{"another is left", map[string]string{"a": account("${OTHER}")}, set, []string{"error placeholder"}},
		{"a default", map[string]string{"a": account("${OTHER:=" + right + "}")}, set, nil},
		{"a default, unused", map[string]string{"a": account("${OTHER:=" + right + "}")}, nil, []string{"info placeholder"}},
		{"a function", map[string]string{"a": account("${ID%-*}-222222222222")}, set, nil},
		{"kept by two dollars", map[string]string{"a": account("$${ID}")}, set, []string{"error placeholder"}},

		{"Flux", map[string]string{"a": account("${ID}"), "f": flux("f", "./x", "substitute: {ID: "+right+"}")}, nil, nil},
		{"Flux, wrong", map[string]string{"a": account("${ID}"), "f": flux("f", "./x", "substitute: {ID: orders}")}, nil, []string{"error client-id-not-guid"}},
		{"Flux, left over", map[string]string{"a": account("${OTHER}"), "f": flux("f", "./x", "substitute: {ID: orders}")}, nil, []string{"error placeholder"}},
		{"Flux, from elsewhere", map[string]string{
			"a": account("${OTHER}"), "f": flux("f", "./x", "substituteFrom: [{kind: Secret, name: x}]"),
		}, nil, []string{"info placeholder"}},
		{"Flux, from a ConfigMap", map[string]string{
			"a": account("${ID}"), "f": flux("f", "./x", "substituteFrom: [{kind: ConfigMap, name: x}]"),
			"c": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: flux-system}\ndata: {ID: orders}\n",
		}, nil, []string{"error client-id-not-guid"}},
		{"two of Flux, each its folder", map[string]string{
			"repo/x/a": account("${ID}"), "repo/z/a": account("${ID}"),
			"f": flux("f", "./x", "substitute: {ID: "+right+"}"), "g": flux("g", "z", "substitute: {ID: orders}"),
		}, nil, []string{"error client-id-not-guid"}},
		{"two of Flux that differ", map[string]string{
			"a": account("${ID}"), "f": flux("f", "./x", "substitute: {ID: "+right+"}"), "g": flux("g", "z", "substitute: {ID: "+other+"}"),
		}, nil, []string{"info placeholder"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var files []*manifest.File
			for name, text := range test.files {
				files = append(files, manifest.Parse(name, []byte(text)))
			}
			files, filled := lint.Fill(files, test.values)
			var got []string
			for _, f := range lint.Lint(files, lint.Config{Filled: filled}) {
				got = append(got, f.Severity.String()+" "+string(f.Code()))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if lint.CheckValue("A", "b\nc") == nil || lint.CheckValue("", "b") == nil || lint.CheckValue("A", "") != nil {
		t.Error("values are not checked")
	}
}

// What can't be known of a pod, for it is a placeholder, is not found fault with.
func TestPlaceholdersInPods(t *testing.T) {
	t.Parallel()
	const pod = `apiVersion: v1
kind: Pod
metadata:
  name: orders
  labels: {azure.workload.identity/use: "${USE}"}
  annotations:
    azure.workload.identity/inject-proxy-sidecar: "${PROXY}"
    azure.workload.identity/proxy-sidecar-port: "${PORT}"
    azure.workload.identity/service-account-token-expiration: <SECONDS>
spec:
  serviceAccountName: ${ACCOUNT}
  hostNetwork: ${HOST}
  containers:
  - name: app
    securityContext: {runAsUser: "${USER}"}
    ports: [{containerPort: "${PORT}"}]
    env: [{name: AZURE_CLIENT_ID, value: "${ID}"}]
`
	if diff := cmp.Diff([]string{"placeholder"}, names(pod)); diff != "" {
		t.Error(diff)
	}
}

// A chart's templates are one finding, whatever is in them.
func TestChart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"shop/Chart.yaml": "apiVersion: v2\nname: shop\n", "shop/templates/a.yaml": "{{ x }}\n", "shop/templates/b/c.yaml": "name: {{ x }}\n",
		"shop/crds/d.yaml": "apiVersion: v1\nkind: Service\n", "templates/e.yaml": "apiVersion: v1\nkind: Service\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, want string }{
		{".", "helm-templates shop/templates 5"}, {"shop/templates", "helm-templates shop/templates 1"}, {"templates", "1"},
	} {
		files, err := manifest.Read(nil, []string{filepath.Join(dir, test.name)}, true)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range lint.Lint(files, lint.Config{}) {
			got = append(got, string(f.Code()), strings.TrimPrefix(f.Position.File, dir+"/"))
			if !strings.Contains(f.Text(), "helm template "+dir+"/shop | azwi lint -f - --rendered") {
				t.Error(f.Text())
			}
		}
		if all := strings.Join(append(got, fmt.Sprint(len(files))), " "); test.name != "." && all != test.want || test.name == "." && len(files) != 4 {
			t.Errorf("%s: %s, want %s", test.name, all, test.want)
		}
	}
}

// The same mistake in copies of an object is told once; two in one object are two.
func TestCopies(t *testing.T) {
	t.Parallel()
	const overlay = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: orders
  annotations: {azure.workload.identity/client_id: x}
---
apiVersion: v1
kind: Pod
metadata: {name: orders, labels: {azure.workload.identity/use: "true"}}
spec:
  containers: [{name: app, env: [{name: AZURE_CLIENT_SECRET}, {name: AZURE_CLIENT_SECRET}]}]
`
	var files []*manifest.File
	for _, name := range []string{"dev", "test", "prod"} {
		files = append(files, manifest.Parse(name, []byte(overlay)))
	}
	var got []string
	for _, f := range lint.Lint(files, lint.Config{Disabled: []string{"account-not-in-input"}}) {
		got = append(got, fmt.Sprint(f.Position, string(f.Code()), f.Also))
	}
	want := []string{
		"dev:5:17near-miss-key[test:5:17 prod:5:17]",
		"dev:11:34client-secret-env[test:11:34 test:11:63 prod:11:34 prod:11:63]",
		"dev:11:63client-secret-env[]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A document without anything of workload identity is none of our business.
func TestNotOurs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b, a: c}",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{name: \"${X}\", image: a}]}}}",
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: \"${NAME}\"}",
		"apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {serviceAccountName: y, template: {spec: {containers: []}}}",
	} {
		if found := names(text); found != nil {
			t.Errorf("%s: %v", text, found)
		}
	}
}
