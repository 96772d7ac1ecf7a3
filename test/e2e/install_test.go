package e2e_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"azwi/contract"
	"azwi/internal/apiserver"
	"azwi/internal/install"
	"azwi/test/product"
)

const (
	system     = "azure-workload-identity-system"
	deployment = "azure-wi-webhook-controller-manager"
	caConfig   = "entra-ca" // the ConfigMap with the local Entra's CA in each namespace
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
		v["certificates"] = map[string]any{"mode": "provided", "caBundle": string(w.CA.PEM)}
	}
	return v
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
		w.provideCertificate(t)
		w.waitRolledOut(t, system, deployment)
	}
	w.waitInjecting(t)
	return objects
}

func (w *world) provideCertificate(t *testing.T) {
	t.Helper()
	pair, err := w.CA.Server(contract.WebhookService + "." + system + ".svc")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := w.kube.CoreV1().Secrets(system).Get(t.Context(), contract.WebhookSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data = map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key}
	if _, err := w.kube.CoreV1().Secrets(system).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// waitInjecting returns when a pod that is not kept comes back with its identity.
func (w *world) waitInjecting(t *testing.T) {
	t.Helper()
	w.eventually(t, func() error { return w.tryInjection(t.Context(), "default") })
}

var errNotInjected = errors.New("a pod came back without identity")
