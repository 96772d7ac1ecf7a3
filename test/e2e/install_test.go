package e2e_test

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"azwi/internal/apiserver"
	"azwi/internal/install"
	"azwi/test/product"
)

const (
	system     = "azure-workload-identity-system"
	deployment = "azure-wi-webhook-controller-manager"
	// policyProbe is a pod that the webhook is not called for.
	policyProbe = "policy-probe"
	caConfig    = "entra-ca" // the ConfigMap with the local Entra's CA in each namespace
)

// values are what a user of the local Entra would give the chart.
func (w *world) values(engine string) map[string]any {
	v := map[string]any{
		"azureTenantID": product.TenantID,
		"engine":        engine,
		"authorityHost": w.entra.Authority,
		"proxy":         map[string]any{"caConfigMap": caConfig},
	}
	if engine == "webhook" {
		v["matchConditions"] = []any{map[string]any{
			"name": "not-the-policies-probe", "expression": "!has(object.metadata.name) || object.metadata.name != '" + policyProbe + "'",
		}}
	}
	return v
}

// installFirst puts the webhook in, unless a test before did.
func (w *world) installFirst(t *testing.T) {
	t.Helper()
	if w.installed == nil {
		w.before = w.snapshot(t)
		w.install(t, "webhook")
	}
}

// install puts the product in, with the engine, and returns when pods are injected.
func (w *world) install(t *testing.T, engine string) []install.Object {
	t.Helper()
	client, err := apiserver.Connect(apiserver.Config{Kubeconfig: w.Kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	objects, _, err := install.Render(t.Context(), install.Release{
		Name: "azwi", Namespace: system, Values: w.values(engine), Version: w.version, Kubernetes: "v1.37.2",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: system, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, o := range objects {
		path, err := o.Ref().Path()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Apply(t.Context(), path, apiserver.Apply{Manager: "azwi", Force: true}, o, nil); err != nil {
			t.Fatal(o.Ref(), err)
		}
	}
	if engine == "webhook" {
		w.waitRolledOut(t)
	}
	w.waitInjecting(t)
	w.installed = objects
	return objects
}

// switchToPolicy puts the policies in beside the webhook, and takes the webhook out
// when they work.
func (w *world) switchToPolicy(t *testing.T) {
	t.Helper()
	before := w.installed
	now := w.install(t, "policy")
	w.eventually(t, func() error { return w.tryInjection(t.Context(), "default", policyProbe) })
	before = slices.DeleteFunc(before, func(o install.Object) bool {
		return slices.ContainsFunc(now, func(kept install.Object) bool { return kept.Ref() == o.Ref() })
	})
	w.remove(t, before)
}

// remove deletes the objects, the last first.
func (w *world) remove(t *testing.T, objects []install.Object) {
	t.Helper()
	for _, o := range slices.Backward(objects) {
		path, err := o.Ref().Path()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Admin.Do(t.Context(), "DELETE", path, nil, nil); err != nil {
			t.Error(err)
		}
	}
}

func (w *world) uninstall(t *testing.T) {
	t.Helper()
	w.remove(t, w.installed)
	if err := w.kube.CoreV1().Namespaces().Delete(t.Context(), system, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// waitInjecting returns when a pod that is not kept comes back with its identity.
func (w *world) waitInjecting(t *testing.T) {
	t.Helper()
	w.eventually(t, func() error { return w.tryInjection(t.Context(), "default", "probe") })
}

var errNotInjected = errors.New("a pod came back without identity")
