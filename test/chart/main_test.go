package chart_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"azwi/test/cluster"
)

const (
	chartDir    = "../../charts/workload-identity-webhook"
	upstreamDir = "testdata/upstream"
)

var control cluster.Shared

func TestMain(m *testing.M) { os.Exit(control.Run(m)) }

type object = map[string]any

// A helm works in one namespace.
type helm struct {
	cluster   *cluster.Cluster
	namespace string
	config    *action.Configuration
}

// newHelm makes a namespace for one test. The chart's objects without a namespace
// have fixed names, so no two tests may have a release at once.
func newHelm(t *testing.T) *helm {
	t.Helper()
	c := control.Start(t)
	namespace, err := c.NewNamespace(t.Context(), "chart")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(file, "helm", "system:masters"); err != nil {
		t.Fatal(err)
	}
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &file, &namespace
	h := &helm{cluster: c, namespace: namespace, config: action.NewConfiguration()}
	if err := h.config.Init(flags, namespace, "secret"); err != nil {
		t.Fatal(err)
	}
	return h
}

func load(t *testing.T, dir string) *chartv2.Chart {
	t.Helper()
	c, err := loader.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// install installs a chart as a release named wi, until the test ends.
func (h *helm) install(t *testing.T, dir string, serverSide bool, values object) {
	t.Helper()
	h.installForGood(t, dir, serverSide, values)
	t.Cleanup(func() {
		u := action.NewUninstall(h.config)
		u.WaitStrategy = kube.HookOnlyStrategy
		if _, err := u.Run("wi"); err != nil {
			t.Errorf("helm uninstall: %v", err)
		}
	})
}

func (h *helm) installForGood(t *testing.T, dir string, serverSide bool, values object) {
	t.Helper()
	i := action.NewInstall(h.config)
	i.ReleaseName, i.Namespace, i.ServerSideApply, i.WaitStrategy = "wi", h.namespace, serverSide, kube.HookOnlyStrategy
	_, err := i.RunWithContext(t.Context(), load(t, dir), values)
	if err != nil {
		t.Fatal(err)
	}
}

func (h *helm) upgrade(t *testing.T, reuse bool, values object) *release.Release {
	t.Helper()
	u := action.NewUpgrade(h.config)
	u.Namespace, u.ReuseValues, u.WaitStrategy = h.namespace, reuse, kube.HookOnlyStrategy
	got, err := u.RunWithContext(t.Context(), "wi", load(t, chartDir), values)
	if err != nil {
		t.Fatal(err)
	}
	return got.(*release.Release)
}

func (h *helm) rollback(t *testing.T, revision int) {
	t.Helper()
	r := action.NewRollback(h.config)
	r.Version, r.WaitStrategy = revision, kube.HookOnlyStrategy
	if err := r.Run("wi"); err != nil {
		t.Fatal(err)
	}
}

func get[T any](ctx context.Context, t *testing.T, c *cluster.Cluster, path string) T {
	t.Helper()
	var out T
	if _, err := c.Admin.Do(ctx, "GET", path, nil, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
