package chart_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/apiserver"
	"azwi/internal/install"
	"azwi/test/cluster"
)

func client(t *testing.T, c *cluster.Cluster) *apiserver.Client {
	t.Helper()
	connected, err := apiserver.Connect(apiserver.Config{Kubeconfig: c.Kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	return connected
}

// TestTakeOver: azwi leaves a release of Helm's alone, or on demand becomes its
// keeper, with the same Deployment and certificate and without what only upstream's
// had.
func TestTakeOver(t *testing.T) {
	for _, serverSide := range []bool{false, true} {
		t.Run(fmt.Sprintf("server side %t", serverSide), func(t *testing.T) { testTakeOver(t, serverSide) })
	}
}

func testTakeOver(t *testing.T, serverSide bool) {
	h := newHelm(t)
	h.installForGood(t, upstreamDir, serverSide, object{"azureTenantID": tenant, "nameOverride": "wi-webhook"})
	certificate := object{"data": object{"tls.crt": "Y3J0", "tls.key": "a2V5", "ca.crt": "Y2E=", "ca.key": "a2V5"}}
	if _, err := h.cluster.Admin.Do(t.Context(), "PATCH", secretPath(h.namespace), certificate, nil); err != nil {
		t.Fatal(err)
	}
	bundle := []object{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": h.cluster.CA.PEM}}
	if _, err := h.cluster.Admin.Do(t.Context(), "PATCH", webhookPath, bundle, nil); err != nil {
		t.Fatal(err)
	}
	before := get[deployment](t.Context(), t, h.cluster, deploymentPath(h.namespace))
	config := install.Config{Client: client(t, h.cluster), Version: "v1", Values: parse(t, ""), NoWait: true}
	_, err := install.Install(t.Context(), config, false)
	if !errors.Is(err, install.ErrInstalled) || !strings.Contains(err.Error(), "Helm's release wi in namespace "+h.namespace) || !strings.Contains(err.Error(), "--take-over") {
		t.Fatalf("not refused well: %v", err)
	}
	if err := install.Uninstall(t.Context(), config.Client, func(string) {}); !errors.Is(err, install.ErrNotInstalled) || !strings.Contains(err.Error(), "helm uninstall wi -n "+h.namespace) {
		t.Fatalf("uninstall: not refused well: %v", err)
	}

	config.TakeOver = true
	if _, err := install.Install(t.Context(), config, false); err != nil {
		t.Fatal(err)
	}
	after := get[deployment](t.Context(), t, h.cluster, deploymentPath(h.namespace))
	if after.Metadata.UID != before.Metadata.UID || !cmp.Equal(after.Spec.Selector, before.Spec.Selector) || after.Spec.Selector.MatchLabels["app"] != "wi-webhook" {
		t.Errorf("another Deployment: %+v", after)
	}
	raw := get[object](t.Context(), t, h.cluster, deploymentPath(h.namespace))
	pod := raw["spec"].(object)["template"].(object)["spec"].(object)
	if _, there := pod["volumes"]; there || strings.Contains(fmt.Sprint(pod), "initialDelaySeconds") {
		t.Errorf("what only upstream's had is still there: %v", pod)
	}
	if got := after.Spec.Template.Spec.Containers[0]; got.Image != "registry.example/azwi/webhook:v1" || got.Resources.Limits["cpu"] != "" {
		t.Errorf("the container is %+v", got)
	}
	if got := get[object](t.Context(), t, h.cluster, secretPath(h.namespace)); !cmp.Equal(got["data"], certificate["data"]) {
		t.Errorf("the certificate is %v", got["data"])
	}
	registered := get[configuration](t.Context(), t, h.cluster, webhookPath)
	if registered.Webhooks[0].ClientConfig.CABundle == "" || len(registered.Metadata.Annotations) > 0 {
		t.Errorf("the registration is %+v", registered)
	}
	var secrets struct{ Items []object }
	if _, err := h.cluster.Admin.Do(t.Context(), "GET", "/api/v1/namespaces/"+h.namespace+"/secrets?labelSelector=owner%3Dhelm", nil, &secrets); err != nil || len(secrets.Items) > 0 {
		t.Errorf("Helm's record: %d secrets, %v", len(secrets.Items), err)
	}

	var removed []string
	if err := install.Uninstall(t.Context(), config.Client, func(line string) { removed = append(removed, line) }); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(removed, "\n"); strings.Contains(all, "removed Namespace") || !strings.Contains(all, "removed Secret") {
		t.Errorf("uninstall removed:\n%s", all)
	}
}

// TestAddOn: what AKS keeps is left alone, whatever is asked.
func TestAddOn(t *testing.T) {
	c := control.Start(t)
	addOn := object{
		"metadata": object{"name": contract.WebhookConfiguration, "labels": object{"kubernetes.azure.com/managedby": "aks"}},
		"webhooks": []object{{
			"name": contract.WebhookName, "admissionReviewVersions": []string{"v1"}, "sideEffects": "None",
			"objectSelector": object{"matchLabels": object{"there-is": "none"}},
			"clientConfig":   object{"service": object{"name": "x", "namespace": "kube-system"}},
		}},
	}
	path := strings.TrimSuffix(webhookPath, "/"+contract.WebhookConfiguration)
	if _, err := c.Admin.Do(t.Context(), "POST", path, addOn, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", webhookPath, nil, nil); err != nil {
			t.Error(err)
		}
	})
	config := install.Config{Client: client(t, c), Version: "v1", Values: parse(t, ""), TakeOver: true}
	for _, upgrade := range []bool{false, true} {
		if _, err := install.Install(t.Context(), config, upgrade); !errors.Is(err, install.ErrInstalled) || !strings.Contains(err.Error(), "az aks update --disable-workload-identity") {
			t.Errorf("not refused well: %v", err)
		}
	}
	if err := install.Uninstall(t.Context(), config.Client, func(string) {}); !errors.Is(err, install.ErrNotInstalled) {
		t.Errorf("uninstall: not refused well: %v", err)
	}
}
