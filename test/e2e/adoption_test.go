package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"

	"azwi/contract"
	"azwi/test/product"
)

const (
	upstreamModule = "github.com/Azure/azure-workload-identity"
	elsewhere      = "identity" // a namespace of the user's choice
)

// upstream is a release of upstream's, as its module has it.
type upstream struct {
	version  string
	chart    string // its folder
	manifest string // its text, filled in by nobody yet
}

// TestAdoption: in each of the ways that upstream gets installed, azwi comes in its
// place and goes again, while pods are created all the time. Upstream's program, chart
// and manifest are the real ones, but for the library that it logs with.
func TestAdoption(t *testing.T) {
	if os.Getenv("AZWI_ADOPTION") == "" {
		t.Skip("make adoption runs this test")
	}
	w := start(t)
	older, newer := w.upstream(t, "v1.5.1"), w.upstream(t, "v1.6.0")
	// Its name for the token volume, and with it what both inject, is v1.5.1's own.
	w.isToken = func(v corev1.Volume) bool { return v.Name == "azure-identity-token" }
	defer func() { w.isToken = nil }()
	a := &adoption{world: w, before: w.snapshot(t)}
	for _, way := range []way{
		a.byChart(newer), a.byChart(older), a.byTakeOverOfChart(newer),
		a.byEnvsubst(newer), a.byEnvsubst(older), a.bySed(newer), a.byServerSideApply(newer), a.byTakeOverOfManifest(newer),
		a.byReplace(newer), a.byKustomize(newer), a.byTemplate(newer), a.byUmbrella(newer),
	} {
		t.Run(way.name+" "+way.upstream.version, func(t *testing.T) { a.try(t, way) })
	}
	a.clear(t)
	t.Logf("azwi %s\n| way in | creations, failures: there | and back |\n| --- | --- | --- |\n%s", w.version, strings.Join(a.rows, "\n"))
}

// upstream builds a release's program, gives the node its image and reads the rest.
func (w *world) upstream(t *testing.T, version string) upstream {
	t.Helper()
	module := filepath.Join(w.root, "test", "e2e", "upstream", version)
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = module, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			errors.As(err, &exit)
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
		}
		return strings.TrimSpace(string(out))
	}
	binary := filepath.Join(t.TempDir(), "manager")
	run("build", "-trimpath", "-ldflags=-s -w", "-o", binary, upstreamModule+"/cmd/webhook")
	dir := run("list", "-m", "-f", "{{.Dir}}", upstreamModule)
	manifest, err := os.ReadFile(filepath.Join(dir, "deploy", "azure-wi-webhook.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	reference := regexp.MustCompile(`image: (\S+:` + regexp.QuoteMeta(version) + `)\n`).FindStringSubmatch(string(manifest))
	if reference == nil {
		t.Fatalf("upstream's manifest names no image of %s", version)
	}
	w.importManager(t, reference[1], binary)
	return upstream{version: version, chart: filepath.Join(dir, "charts", "workload-identity-webhook"), manifest: string(manifest)}
}

// adoption are all ways in, and what was counted.
type adoption struct {
	*world
	before map[string]bool
	rows   []string
}

// A way is how upstream is installed, how azwi takes its place, and back.
type way struct {
	name              string
	upstream          upstream
	namespace         string // default: upstream's
	there, here, back func(t *testing.T)
	restart           bool // measure upstream's own restart too
	lossy             bool // documented as a way that refuses pods
}

func (a *adoption) try(t *testing.T, way way) {
	namespace := way.namespace
	if namespace == "" {
		namespace = system
	}
	a.clear(t) // a way before may have failed
	way.there(t)
	a.waitInstalled(t, namespace)
	a.waitInjecting(t)
	if way.restart {
		r := a.measure(t, namespace, func(t *testing.T) {
			a.kubectl(t, "", "rollout", "restart", "deployment/"+deployment, "-n", namespace)
		})
		a.row(t, "| upstream's own restart, %s | %s | |", way.upstream.version, r)
	}
	here := a.measure(t, namespace, way.here)
	if image := a.image(t, namespace); !strings.Contains(image, "azwi/webhook") {
		t.Errorf("taken over, the image is %s", image)
	}
	back := a.measure(t, namespace, way.back)
	if image := a.image(t, namespace); !strings.HasSuffix(image, ":"+way.upstream.version) {
		t.Errorf("back, the image is %s", image)
	}
	a.row(t, "| %s, %s | %s | %s |", way.name, way.upstream.version, here, back)
	if !way.lossy {
		// Upstream stops before it has left the endpoints, and its own restart loses some
		// too (docs/upgrade.md). That is no reason for any other failure.
		const mostLost = 15
		lost := 0
		for cause, failed := range here.failed {
			if lost += failed; cause != refused && cause != cut && cause != timeout {
				t.Errorf("on the way there %d creations failed: %s: %s", failed, cause, here.example[cause])
			}
		}
		if lost > mostLost {
			t.Errorf("on the way there %d creations failed", lost)
		}
		for cause, failed := range back.failed {
			t.Errorf("on the way back %d creations failed: %s: %s", failed, cause, back.example[cause])
		}
	}
}

// waitInstalled returns when upstream's new pods are ready. They wait for the kubelet to
// mount the certificate that they made, which it does every minute or two, or sooner for a
// pod that changes.
func (a *adoption) waitInstalled(t *testing.T, namespace string) {
	t.Helper()
	touched := 0
	a.eventually(t, func() error {
		touched++
		a.kubectl(t, "", "annotate", "pods", "--all", "--overwrite", fmt.Sprintf("touched=%d", touched), "-n", namespace)
		return a.tryInjection(t.Context(), "default")
	})
	a.waitRolledOut(t, namespace)
}

// row adds one to the table, and tells it at once: what comes later may fail.
func (a *adoption) row(t *testing.T, format string, args ...any) {
	t.Helper()
	row := fmt.Sprintf(format, args...)
	t.Log(row)
	a.rows = append(a.rows, row)
}

// result counts creations.
type result struct {
	made        int
	failed      map[string]int    // by cause
	example     map[string]string // an error of each
	first, last time.Time         // of the failures
}

// Causes of failures when a program stops that is still asked.
const (
	refused = "connection refused"
	cut     = "connection cut"
	timeout = "timeout"
)

func (r result) String() string {
	total := 0
	var causes []string
	for _, cause := range slices.Sorted(maps.Keys(r.failed)) {
		total += r.failed[cause]
		causes = append(causes, fmt.Sprintf("%d %s", r.failed[cause], cause))
	}
	if total == 0 {
		return fmt.Sprintf("%d, 0", r.made)
	}
	return fmt.Sprintf("%d, %d (%s; %.1f s)", r.made+total, total, strings.Join(causes, ", "), r.last.Sub(r.first).Seconds())
}

// measure has something happen while pods are created, until all of the former
// webhook's pods are gone.
func (a *adoption) measure(t *testing.T, namespace string, happen func(*testing.T)) result {
	t.Helper()
	former := a.webhookPods(t, namespace)
	r := result{failed: map[string]int{}, example: map[string]string{}}
	creations := a.createUntil(t.Context(), func(_ int, err error) error {
		if r.last = time.Now(); r.first.IsZero() {
			r.first = r.last
		}
		cause := causeOf(err)
		if r.failed[cause]++; r.failed[cause] == 1 {
			r.example[cause] = err.Error()
		}
		return nil
	})
	happen(t)
	a.waitRolledOut(t, namespace)
	a.waitGone(t, namespace, former)
	a.waitInjecting(t)
	var err error
	if r.made, err = creations.stop(); err != nil {
		t.Fatal(err)
	}
	for _, cause := range slices.Sorted(maps.Keys(r.example)) {
		t.Logf("%d times: %s", r.failed[cause], r.example[cause])
	}
	return r
}

func causeOf(err error) string {
	if errors.Is(err, errNotInjected) {
		return "without identity"
	}
	for text, cause := range map[string]string{
		"connection refused": refused, "x509": "certificate not trusted", "no endpoints": "no endpoints",
		"EOF": cut, "connection reset": cut, "broken pipe": cut, "deadline exceeded": timeout,
	} {
		if strings.Contains(err.Error(), text) {
			return cause
		}
	}
	return "other"
}

func (a *adoption) kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), a.Binary, append([]string{"kubectl", "--kubeconfig", a.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.tell(t, system)
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (a *adoption) image(t *testing.T, namespace string) string {
	t.Helper()
	return a.kubectl(t, "", "get", "deployment/"+deployment, "-n", namespace, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
}

// clear removes whatever either project has installed.
func (a *adoption) clear(t *testing.T) {
	t.Helper()
	const ours, theirs = "azure-wi-webhook", "azure-wi-webhook-manager-role"
	a.kubectl(t, "", "delete", "--ignore-not-found", "mutatingwebhookconfiguration/"+contract.WebhookConfiguration,
		"clusterrole/"+ours, "clusterrole/"+theirs, "clusterrolebinding/"+ours, "clusterrolebinding/"+theirs+"binding", "flowschema/"+ours,
		"namespace/"+system, "namespace/"+elsewhere)
	a.wantNothingLeft(t, a.before)
}

// imageValues are those that upstream's release can't have.
func (a *adoption) imageValues() map[string]any {
	return map[string]any{
		"global": map[string]any{"imageRegistry": "docker.io"},
		"image":  map[string]any{"repository": "azwi/webhook", "release": a.version},
		"proxy":  map[string]any{"image": map[string]any{"release": a.version}},
	}
}

func tenantValue() map[string]any { return map[string]any{"azureTenantID": product.TenantID} }

func mustHelm(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("helm: %v", err)
	}
}

func (a *adoption) byChart(u upstream) way {
	return way{
		name: "chart: `helm upgrade`, `helm rollback`", upstream: u, restart: true,
		there: func(t *testing.T) { mustHelm(t, a.helm(t).install(t, u.chart, tenantValue())) },
		here:  func(t *testing.T) { mustHelm(t, a.helm(t).upgrade(t, a.chart(), true, a.imageValues())) },
		back:  func(t *testing.T) { mustHelm(t, a.helm(t).rollback(t)) },
	}
}

func (a *adoption) takeOver(t *testing.T) {
	t.Helper()
	a.mustAzwi(t, "install", "--take-over", "--tenant-id", product.TenantID, "--image-registry", "docker.io")
}

func (a *adoption) byTakeOverOfChart(u upstream) way {
	return way{
		name: "chart: `azwi install --take-over`, `helm install --take-ownership`", upstream: u,
		there: func(t *testing.T) { mustHelm(t, a.helm(t).install(t, u.chart, tenantValue())) },
		here:  a.takeOver,
		back: func(t *testing.T) {
			mustHelm(t, a.helm(t).install(t, u.chart, tenantValue(), func(i *action.Install) { i.TakeOwnership, i.ForceConflicts = true, true }))
		},
	}
}

// ours is the text of deploy/, filled in by nobody yet.
func (a *adoption) ours(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.root, "deploy", "azure-wi-webhook.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(\}/azwi/[a-z]+:)\S+`).ReplaceAllString(string(text), "${1}"+a.version)
}

// envsubst is that of upstream's own Makefile, which knows defaults.
func envsubst(text string) string {
	values := map[string]string{"AZURE_TENANT_ID": product.TenantID, "AZWI_IMAGE_REGISTRY": "docker.io"}
	return os.Expand(text, func(name string) string {
		name, fallback, _ := strings.Cut(name, ":-")
		if value := values[name]; value != "" {
			return value
		}
		return fallback
	})
}

// sed is what upstream's documentation says, and the registry.
func sed(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sed", "-e", "s/AZURE_TENANT_ID: .*/AZURE_TENANT_ID: "+product.TenantID+"/",
		"-e", "s/AZURE_ENVIRONMENT: .*/AZURE_ENVIRONMENT: AzurePublicCloud/", "-e", "s|${AZWI_IMAGE_REGISTRY}|docker.io|")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// removeFormer is what docs/install.md says to do once the new pods are ready.
func (a *adoption) removeFormer(t *testing.T) {
	t.Helper()
	a.kubectl(t, "", "rollout", "status", "deployment/"+deployment, "-n", system)
	const role, binding = "azure-wi-webhook-manager-role", "azure-wi-webhook-manager-rolebinding"
	a.kubectl(t, "", "delete", "clusterrolebinding/"+binding, "clusterrole/"+role)
	a.kubectl(t, "", "delete", "rolebinding/"+binding, "role/"+role, "-n", system)
}

// byManifest has kubectl do something with manifests, each filled in.
func (a *adoption) byManifest(name string, u upstream, fill func(*testing.T, string) string, verb ...string) way {
	run := func(t *testing.T, text string, verb ...string) {
		a.kubectl(t, fill(t, text), append(slices.Clone(verb), "-f", "-")...)
	}
	return way{
		name: name, upstream: u,
		there: func(t *testing.T) {
			there := verb
			if verb[0] == "replace" {
				there = []string{"create"}
			}
			run(t, u.manifest, there...)
		},
		here: func(t *testing.T) {
			text := a.ours(t)
			if verb[0] == "replace" {
				a.createNew(t, fill(t, text))
			}
			run(t, text, verb...)
			a.removeFormer(t)
		},
		back: func(t *testing.T) {
			if verb[0] == "replace" {
				a.createNew(t, fill(t, u.manifest))
			}
			run(t, u.manifest, verb...)
		},
	}
}

// createNew creates what isn't there, for which replace is no command.
func (a *adoption) createNew(t *testing.T, text string) {
	t.Helper()
	for document := range strings.SplitSeq(text, "\n---\n") {
		if a.kubectl(t, document, "get", "--ignore-not-found", "-o", "name", "-f", "-") == "" {
			a.kubectl(t, document, "create", "-f", "-")
		}
	}
}

func fillByEnvsubst(_ *testing.T, text string) string { return envsubst(text) }

func (a *adoption) byEnvsubst(u upstream) way {
	return a.byManifest("manifest by envsubst: `kubectl apply`", u, fillByEnvsubst, "apply")
}

func (a *adoption) bySed(u upstream) way {
	return a.byManifest("manifest by sed: `kubectl apply`", u, sed, "apply")
}

func (a *adoption) byServerSideApply(u upstream) way {
	return a.byManifest("manifest: `kubectl apply --server-side`", u, fillByEnvsubst, "apply", "--server-side")
}

func (a *adoption) byReplace(u upstream) way {
	way := a.byManifest("manifest: `kubectl replace`", u, fillByEnvsubst, "replace")
	way.lossy = true
	return way
}

func (a *adoption) byTakeOverOfManifest(u upstream) way {
	way := a.byManifest("manifest: `azwi install --take-over`, `kubectl apply`", u, fillByEnvsubst, "apply")
	way.here = a.takeOver
	return way
}

// byKustomize has a base and patches that name objects.
func (a *adoption) byKustomize(u upstream) way {
	build := func(t *testing.T, base, role string) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"base.yaml": envsubst(base),
			"kustomization.yaml": `resources: [base.yaml]
commonAnnotations: {team: platform}
patches:
  - target: {kind: Deployment, name: azure-wi-webhook-controller-manager}
    patch: |
      - {op: add, path: /spec/template/spec/containers/0/args/-, value: --log-level=debug}
      - {op: replace, path: /spec/template/spec/containers/0/resources/limits/memory, value: 96Mi}
  - target: {kind: ConfigMap, name: azure-wi-webhook-config}
    patch: |
      - {op: replace, path: /data/AZURE_TENANT_ID, value: ` + product.TenantID + `}
  - target: {kind: ClusterRole, name: ` + role + `}
    patch: |
      - {op: add, path: /metadata/labels/team, value: platform}
`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		built := a.kubectl(t, "", "kustomize", dir)
		for _, patched := range []string{"memory: 96Mi", "team: platform", "--log-level=debug"} {
			if !strings.Contains(built, patched) {
				t.Fatalf("no patch made %s", patched)
			}
		}
		a.kubectl(t, built, "apply", "-f", "-")
	}
	theirs := func(t *testing.T) { build(t, u.manifest, "azure-wi-webhook-manager-role") }
	return way{
		name: "Kustomize, patches by name: `kubectl apply`", upstream: u, there: theirs, back: theirs,
		here: func(t *testing.T) {
			build(t, a.ours(t), "azure-wi-webhook")
			a.removeFormer(t)
		},
	}
}

// byTemplate does what Argo CD does: it applies what helm template makes, and prunes
// what is no longer in it.
func (a *adoption) byTemplate(u upstream) way {
	var applied string
	sync := func(t *testing.T, chart string, values map[string]any) {
		loaded, err := loader.LoadDir(chart)
		if err != nil {
			t.Fatal(err)
		}
		version, err := a.kube.Discovery().ServerVersion()
		if err != nil {
			t.Fatal(err)
		}
		i := action.NewInstall(action.NewConfiguration())
		if i.KubeVersion, err = common.ParseKubeVersion(version.GitVersion); err != nil {
			t.Fatal(err)
		}
		i.DryRunStrategy, i.ReleaseName, i.Namespace = action.DryRunClient, release, elsewhere
		made, err := i.RunWithContext(t.Context(), loaded, values)
		if err != nil {
			t.Fatal(err)
		}
		manifest := made.(*releasev1.Release).Manifest
		a.kubectl(t, manifest, "apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-")
		for document := range strings.SplitSeq(applied, "\n---\n") {
			if identity := identityOf(document); identity != "" && !strings.Contains(identities(manifest), identity) {
				a.kubectl(t, document, "delete", "--ignore-not-found", "-f", "-")
			}
		}
		applied = manifest
	}
	theirs := func(t *testing.T) { sync(t, u.chart, tenantValue()) }
	return way{
		name: "Argo CD's `helm template`, another namespace: `kubectl apply --server-side`, prune", upstream: u, namespace: elsewhere,
		there: func(t *testing.T) {
			a.kubectl(t, "", "create", "namespace", elsewhere)
			applied = ""
			theirs(t)
		},
		here: func(t *testing.T) {
			values := a.imageValues()
			maps.Copy(values, tenantValue())
			sync(t, a.chart(), values)
		},
		back: theirs,
	}
}

// identityOf is a document's kind and name on a line.
func identityOf(document string) string {
	kind := regexp.MustCompile(`(?m)^kind: (\S+)`).FindStringSubmatch(document)
	name := regexp.MustCompile(`(?m)^  name: (\S+)`).FindStringSubmatch(document)
	if kind == nil || name == nil {
		return ""
	}
	return kind[1] + " " + strings.Trim(name[1], `"'`) + "\n"
}

func identities(manifest string) string {
	var all strings.Builder
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		all.WriteString(identityOf(document))
	}
	return all.String()
}

// byUmbrella has the chart as another's dependency, under an alias.
func (a *adoption) byUmbrella(u upstream) way {
	umbrella := func(t *testing.T, chart string) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "charts", "workload-identity-webhook"), os.DirFS(chart)); err != nil {
			t.Fatal(err)
		}
		metadata := `{apiVersion: v2, name: platform, version: 1.0.0, dependencies: [
  {name: workload-identity-webhook, version: ">=0.0.0-0", repository: "https://charts.example", alias: wi}]}`
		if err := os.WriteFile(filepath.Join(dir, "Chart.yaml"), []byte(metadata), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	return way{
		name: "umbrella chart with alias: `helm upgrade`, `helm rollback`", upstream: u,
		there: func(t *testing.T) {
			mustHelm(t, a.helm(t).install(t, umbrella(t, u.chart), map[string]any{"wi": tenantValue()}))
		},
		here: func(t *testing.T) {
			values := a.imageValues()
			global := values["global"]
			delete(values, "global")
			maps.Copy(values, tenantValue())
			mustHelm(t, a.helm(t).upgrade(t, umbrella(t, a.chart()), false, map[string]any{"wi": values, "global": global}))
		},
		back: func(t *testing.T) { mustHelm(t, a.helm(t).rollback(t)) },
	}
}
