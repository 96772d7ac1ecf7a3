package admission_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"azwi/contract"
	"azwi/internal/pod/inject/injecttest"
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

// checkSecurity asks Pod Security admission (restricted) and the kubelet about the
// containers that were injected: they find nothing that they would not find about a
// pod with no containers at all, except that the redirect's init container is root
// with NET_ADMIN.
func checkSecurity(t *testing.T, g *injecttest.Case, created []byte) {
	t.Helper()
	var before, pod corev1.Pod
	if err := json.Unmarshal(g.Pod, &before); err != nil {
		return // fields that this API does not have
	}
	if err := json.Unmarshal(created, &pod); err != nil {
		t.Fatal(err)
	}
	theirs := func(c corev1.Container) bool {
		return slices.ContainsFunc(slices.Concat(before.Spec.InitContainers, before.Spec.Containers), func(b corev1.Container) bool { return b.Name == c.Name })
	}
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, theirs)
	pod.Spec.Containers = slices.DeleteFunc(pod.Spec.Containers, theirs)
	var want []string
	for _, c := range pod.Spec.InitContainers {
		if c.Name != contract.ProxyInitContainer {
			continue
		}
		want = []string{"runAsNonRoot != true", "runAsUser=0", "unrestricted capabilities"}
		if g.Settings.Proxy.InitImage != "" {
			want = append(want, "allowPrivilegeEscalation != false", "privileged")
		}
	}
	slices.Sort(want)
	bare := before.DeepCopy()
	bare.Spec.InitContainers, bare.Spec.Containers = nil, nil
	known := findings(t, bare)
	got := slices.DeleteFunc(findings(t, &pod), func(f string) bool { return slices.Contains(known, f) })
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Pod Security admission about the injected containers, -want +got:\n%s", diff)
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if err := startsAsNonRoot(&pod, c); err != nil {
			t.Error(err)
		}
	}
}

// findings are what the levels up to restricted find, by their short reasons.
func findings(t *testing.T, pod *corev1.Pod) []string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, r := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !r.Allowed {
			found = append(found, r.ForbiddenReason)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// startsAsNonRoot is what the kubelet checks before it starts a container
// (verifyRunAsNonRoot in its package kuberuntime, too large to import). The user of
// the proxy's image is a number above zero.
func startsAsNonRoot(pod *corev1.Pod, c corev1.Container) error {
	var user *int64
	var nonRoot *bool
	if s := pod.Spec.SecurityContext; s != nil {
		user, nonRoot = s.RunAsUser, s.RunAsNonRoot
	}
	if s := c.SecurityContext; s != nil {
		if s.RunAsUser != nil {
			user = s.RunAsUser
		}
		if s.RunAsNonRoot != nil {
			nonRoot = s.RunAsNonRoot
		}
	}
	if nonRoot != nil && *nonRoot && user != nil && *user == 0 {
		return fmt.Errorf("the kubelet does not start container %s: runAsNonRoot, and runAsUser is 0", c.Name)
	}
	return nil
}
