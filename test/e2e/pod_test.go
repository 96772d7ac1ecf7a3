package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"azwi/contract"
)

// newNamespace makes a namespace with what a pod of these tests needs in it.
func (w *world) newNamespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	ctx := t.Context()
	core := w.kube.CoreV1()
	if _, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = core.Namespaces().Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{})
		}
	})
	if _, err := core.ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Name: account, Annotations: map[string]string{contract.ClientIDAnnotation: clientID},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.ConfigMaps(name).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: caConfig}, Data: map[string]string{"ca.crt": w.ca},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// pod is a user's pod: what a manifest would say, and nothing of identities but the
// label and the service account.
func (w *world) pod(name, image string, args ...string) *corev1.Pod {
	grace := int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{contract.UseLabel: contract.UseLabelValue, "app": name}, Annotations: map[string]string{},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "app", Image: image, ImagePullPolicy: corev1.PullNever, Args: args,
				// A real Entra and vault have certificates that everybody knows.
				Env: []corev1.EnvVar{
					{Name: "SSL_CERT_FILE", Value: "/entra-ca/ca.crt"},
					{Name: "VAULT_URL", Value: w.vault()},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "entra-ca", MountPath: "/entra-ca", ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{{Name: "entra-ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: caConfig},
			}}}},
		},
	}
}

// run creates the pod, waits until it has ended well and returns its log.
func (w *world) run(t *testing.T, namespace string, pod *corev1.Pod) string {
	t.Helper()
	if _, err := w.kube.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.waitPod(t, namespace, pod.Name, corev1.PodSucceeded)
	return w.logs(t.Context(), namespace, pod.Name, "app", false)
}

func wantLog(t *testing.T, log, want string) {
	t.Helper()
	if !strings.Contains(log, want) {
		t.Errorf("the pod says %q, want %q", log, want)
	}
}

// injected says what a pod lacks of its identity.
func (w *world) injected(pod *corev1.Pod) error {
	env := pod.Spec.Containers[len(pod.Spec.Containers)-1].Env
	for _, name := range []string{contract.EnvTenantID, contract.EnvAuthorityHost, contract.EnvFederatedTokenFile} {
		if !slices.ContainsFunc(env, func(v corev1.EnvVar) bool { return v.Name == name }) {
			return fmt.Errorf("%w: pod %s has no %s", errNotInjected, pod.Name, name)
		}
	}
	if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return w.isToken != nil && w.isToken(v) || strings.HasPrefix(v.Name, contract.VolumePrefix)
	}) {
		return fmt.Errorf("%w: pod %s has no token volume", errNotInjected, pod.Name)
	}
	return nil
}

// tryInjection creates a pod that is not kept.
func (w *world) tryInjection(ctx context.Context, namespace string) error {
	pod := w.pod("probe", appImage)
	pod.Spec.ServiceAccountName = "default"
	created, err := w.kube.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	return w.injected(created)
}
