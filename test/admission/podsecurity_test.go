package admission_test

import (
	"strings"
	"testing"

	"azwi/contract"
	"azwi/test/handlers"
	"azwi/test/product"
)

// TestPodSecurity creates pods in a namespace that enforces Pod Security
// restricted. The proxy's env mode passes; the redirect, which needs NET_ADMIN,
// is refused by name.
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	process := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace})
	handlers.Register(t, c, product.Registration{Addr: process.Addr, Namespaces: []string{namespace}})
	patch := object{"metadata": object{"labels": object{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if _, err := c.Admin.Do(t.Context(), "PATCH", "/api/v1/namespaces/"+namespace, patch, nil); err != nil {
		t.Fatal(err)
	}

	pod := podOf("orders", "default")
	spec := pod["spec"].(object)
	spec["securityContext"] = object{"runAsNonRoot": true, "seccompProfile": object{"type": "RuntimeDefault"}}
	spec["containers"] = []object{{"name": "app", "image": "app:1", "securityContext": object{
		"allowPrivilegeEscalation": false, "capabilities": object{"drop": []string{"ALL"}},
	}}}
	annotations := object{contract.InjectProxyAnnotation: "true", contract.ProxyModeAnnotation: contract.ProxyModeEnv}
	pod["metadata"].(object)["annotations"] = annotations
	created, err := createPod(t.Context(), c, namespace, pod)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(created.Spec.InitContainers); n != 1 || created.Spec.Containers[0].env(contract.EnvIdentityHeader) == "" {
		t.Errorf("%d init containers, environment %+v", n, created.Spec.Containers[0].Env)
	}
	annotations[contract.ProxyModeAnnotation] = contract.ProxyModeRedirect
	if _, err := createPod(t.Context(), c, namespace, pod); statusCode(err) != 403 || !strings.Contains(err.Error(), "NET_ADMIN") {
		t.Errorf("redirect: got %v, want a refusal that names NET_ADMIN", err)
	}
}
