package e2e_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const restrictedLabel = "pod-security.kubernetes.io/enforce"

// testOwnPods: the webhook's pods are such as the strictest namespace takes.
func (w *world) testOwnPods(t *testing.T) {
	namespace, err := w.kube.CoreV1().Namespaces().Get(t.Context(), system, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if namespace.Labels[restrictedLabel] == "restricted" {
		return // they were taken
	}
	// Asked to enforce it, the API server names those that would not have been.
	label := map[string]any{"metadata": map[string]any{"labels": map[string]any{restrictedLabel: "restricted"}}}
	warnings, err := w.Admin.Do(t.Context(), "PATCH", "/api/v1/namespaces/"+system+"?dryRun=All", label, nil)
	if err != nil || len(warnings) > 0 {
		t.Errorf("pods violate the standard: %q, %v", warnings, err)
	}
}

// testEmulatorImage: it serves as it comes, in a restricted namespace.
func (w *world) testEmulatorImage(t *testing.T) {
	const namespace = "emulator"
	w.newNamespace(t, namespace, map[string]string{restrictedLabel: "restricted"})
	pod := restricted(w.pod("emulator", "azwi/emulator:"+w.version))
	pod.Labels = nil
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8443)}},
	}
	if _, err := w.kube.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, w, w.kube.CoreV1().RESTClient(), "pods", namespace, pod.Name, func(p *corev1.Pod) (bool, error) {
		return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}), nil
	})
}
