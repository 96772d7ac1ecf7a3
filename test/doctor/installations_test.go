package doctor_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"azwi/contract"
	"azwi/emulator"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/policy"
	"azwi/test/cluster"
	"azwi/test/product"
)

const (
	configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	system         = "azure-workload-identity-system"
)

// TestInstallations plants mistakes in the installation, one after another, on a control
// plane of its own: they are those of all namespaces.
func TestInstallations(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop the control plane: %v", err)
		}
	})
	w := world{c: c}
	if w.binary, err = product.Build(t.Context(), t.TempDir(), "azwi", false); err != nil {
		t.Fatal(err)
	}
	w.do(t, "POST", "/api/v1/namespaces", object{"metadata": object{"name": system}})
	w.checkBefore(t)
	serve := w.webhook(t)
	webhook := func(change object) object {
		return object{"metadata": object{"name": contract.WebhookConfiguration}, "webhooks": []any{merge(object{
			"name": contract.WebhookName, "admissionReviewVersions": []any{"v1"}, "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 2,
			"clientConfig":   object{"url": "https://" + serve + contract.WebhookPath, "caBundle": base64.StdEncoding.EncodeToString(c.CA.PEM)},
			"objectSelector": object{"matchLabels": object{contract.UseLabel: contract.UseLabelValue}},
			"rules":          []any{object{"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"pods"}}},
		}, change)}}
	}
	down := object{"clientConfig": object{"url": "https://127.0.0.1:1" + contract.WebhookPath}}
	deployment := object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "azure-wi-webhook-controller-manager"}, "spec": object{
		"replicas": 0, "selector": object{"matchLabels": object{"app": "w"}},
		"template": object{"metadata": object{"labels": object{"app": "w"}}, "spec": object{"containers": []any{object{"name": "manager", "image": "webhook:v1"}}}},
	}}
	service := object{"clientConfig": object{"url": nil, "service": object{"namespace": system, "name": "azure-wi-webhook-webhook-service", "path": contract.WebhookPath}}}
	another, err := cluster.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		mistake
		webhook    object
		deployment bool
		also       bool
		policies   bool
		does       string
	}{
		{mistake: mistake{Mistake: "webhook not installed", Want: []string{"not-installed"}}},
		{mistake: mistake{Mistake: "webhook at no replicas, failurePolicy Ignore", Want: []string{"replicas-not-ready"}, Warn: []string{"failure-policy-ignore"}}, webhook: merge(service, object{"failurePolicy": "Ignore"}), deployment: true},
		{mistake: mistake{Mistake: "webhook at no replicas, failurePolicy Fail", Want: []string{"replicas-not-ready"}}, webhook: service, deployment: true},
		{mistake: mistake{Mistake: "webhook elsewhere silent, failurePolicy Ignore", Want: []string{"webhook-silent"}, Warn: []string{"failure-policy-ignore"}}, webhook: merge(down, object{"failurePolicy": "Ignore"})},
		{mistake: mistake{Mistake: "webhook elsewhere silent, failurePolicy Fail", Want: []string{"pod-refused"}, Says: "connection refused"}, webhook: down, does: "refuses"},
		{mistake: mistake{Mistake: "caBundle of another CA", Want: []string{"pod-refused"}, Says: "x509"}, webhook: object{"clientConfig": object{"caBundle": base64.StdEncoding.EncodeToString(another.PEM)}}, does: "refuses"},
		{mistake: mistake{Mistake: "two installations", Want: []string{"two-installations"}}, webhook: object{}, also: true, does: "injects"},
		{mistake: mistake{Mistake: "policy without its binding", Want: []string{"policy-not-bound"}}, policies: true},
		{mistake: mistake{Mistake: "none"}, webhook: object{}, does: "injects"},
	} {
		t.Run(row.Mistake, func(t *testing.T) {
			namespace, err := c.NewNamespace(t.Context(), "doctor")
			if err != nil {
				t.Fatal(err)
			}
			if row.webhook != nil {
				w.doUntilEnd(t, configurations, webhook(row.webhook))
			}
			if row.deployment {
				w.doUntilEnd(t, "/apis/apps/v1/namespaces/"+system+"/deployments", deployment)
				w.do(t, "PATCH", "/apis/apps/v1/namespaces/"+system+"/deployments/azure-wi-webhook-controller-manager/status", object{"status": object{"observedGeneration": 1}})
			}
			if row.also {
				second := webhook(object{})
				second["metadata"] = object{"name": "aks-webhook"}
				w.doUntilEnd(t, configurations, second)
			}
			if row.policies {
				w.policies(t, namespace)
			}
			w.plant(t, namespace, row.mistake)
			w.settled(t, namespace, row.does)
			w.check(t, namespace, row.mistake)
		})
	}
}

// doUntilEnd creates an object until the test ends.
func (w world) doUntilEnd(t *testing.T, path string, o object) {
	t.Helper()
	w.do(t, "POST", path, o)
	name, _ := o["metadata"].(object)["name"].(string)
	t.Cleanup(func() { w.do(t, "DELETE", path+"/"+name, nil) })
}

// policies are installed, and their binding is taken away.
func (w world) policies(t *testing.T, namespace string) {
	t.Helper()
	config := policy.Config{Settings: inject.Settings{TenantID: emulator.DefaultTenantID, AuthorityHost: "https://login.microsoftonline.com/"}}
	config.Name = "azure-wi-policy"
	if err := product.InstallPolicy(t.Context(), w.c, config, namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = product.RemovePolicy(context.WithoutCancel(t.Context()), w.c, config) }) // the binding is gone
	w.do(t, "DELETE", "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/"+config.Name, nil)
}

// settled waits until the API server does to pods what the row is about: nothing, "injects"
// or "refuses".
func (w world) settled(t *testing.T, namespace, does string) {
	t.Helper()
	if does == "" {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pod := object{"metadata": object{"name": "probe", "labels": object{contract.UseLabel: contract.UseLabelValue}}, "spec": object{
		"serviceAccountName": "orders", "containers": []any{object{"name": "app", "image": "app:1"}},
	}}
	for {
		var created json.RawMessage
		_, err := w.c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, &created)
		if does == "refuses" && err != nil && ctx.Err() == nil || does == "injects" && err == nil && bytes.Contains(created, []byte(contract.EnvClientID)) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the API server never %s: %v", does, err)
		}
	}
}

// checkBefore: an administrator can install, and whoever lacks rights is told which.
func (w world) checkBefore(t *testing.T) {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := w.c.WriteKubeconfig(kubeconfig, "nobody"); err != nil {
		t.Fatal(err)
	}
	down := filepath.Join(t.TempDir(), "down")
	const nobodyAnswers = `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {"token": "x"}}]}`
	if err := os.WriteFile(down, []byte(nobodyAnswers), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		kubeconfig string
		code       int
		says       string
	}{
		{w.c.Kubeconfig, 0, "lacking: 0"},
		{kubeconfig, 3, "not permitted"},
		{down, 1, "the cluster can't be reached"},
		{"/dev/null", 1, "no cluster is configured"},
	} {
		out, stderr, code := machine{env: []string{"PATH=/usr/bin"}}.run(t, w.binary, "check", "--pre", "--kubeconfig", row.kubeconfig, "--image-registry", "localhost:5000")
		if code != row.code || !strings.Contains(string(out)+stderr, row.says) {
			t.Errorf("%s: exit code %d, want %d and %q: %s%s", row.kubeconfig, code, row.code, row.says, out, stderr)
		}
	}
}
