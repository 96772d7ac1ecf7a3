package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"azwi/contract"
)

const doctorNamespace = "webhook-doctor"

// testDoctor breaks pods that run on the node in eight ways: azwi doctor pod NAME alone names
// each, and nothing of one that is healthy. Nobody is signed in to Azure.
func (w *world) testDoctor(t *testing.T) {
	w.newNamespace(t, doctorNamespace, nil)
	const otherID = "44444444-0000-4000-8000-000000000004"
	for name, id := range map[string]string{"forgotten": clientID, "unknown": otherID, "changed": clientID} {
		if _, err := w.kube.CoreV1().ServiceAccounts(doctorNamespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{contract.ClientIDAnnotation: id},
		}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	label := []byte(`{"metadata": {"labels": {"` + contract.UseLabel + `": "true"}}}`)
	annotation := []byte(`{"metadata": {"annotations": {"` + contract.ClientIDAnnotation + `": "` + otherID + `"}}}`)
	for _, tt := range []struct {
		name   string
		change func(*corev1.Pod)
		later  func() error
		// ends: the pod can't run, and shows why.
		ends bool
		want string
	}{
		{name: "healthy"},
		{name: "no-label", change: func(p *corev1.Pod) { delete(p.Labels, contract.UseLabel) }, want: "label-missing"},
		{name: "late-label", change: func(p *corev1.Pod) { delete(p.Labels, contract.UseLabel) }, later: func() error {
			_, err := w.kube.CoreV1().Pods(doctorNamespace).Patch(t.Context(), "late-label", types.MergePatchType, label, metav1.PatchOptions{})
			return err
		}, want: "pod-without-identity"},
		{name: "not-federated", change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "forgotten" }, want: "exchange-refused"},
		{name: "unknown-identity", change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "unknown" }, want: "exchange-refused"},
		{name: "stale", change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "changed" }, later: func() error {
			_, err := w.kube.CoreV1().ServiceAccounts(doctorNamespace).Patch(t.Context(), "changed", types.MergePatchType, annotation, metav1.PatchOptions{})
			return err
		}, want: "stale-identity exchange-refused"},
		{name: "secret", change: func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "AZURE_CLIENT_SECRET", Value: "x"})
		}, want: "client-secret-env"},
		{name: "skipped", change: func(p *corev1.Pod) { p.Annotations[contract.SkipContainersAnnotation] = "app" }, want: "container-skipped"},
		{name: "old-token", ends: true, change: func(p *corev1.Pod) {
			p.Spec.Containers[0].Args = []string{"AADSTS700024"} // which the application repeats as its error
			p.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}, want: "seen-in-pod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pod := w.pod(tt.name, appImage, "wait")
			if tt.change != nil {
				tt.change(pod)
			}
			if _, err := w.kube.CoreV1().Pods(doctorNamespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			phase := corev1.PodRunning
			if tt.ends {
				phase = corev1.PodFailed
			}
			w.waitPod(t, doctorNamespace, tt.name, phase)
			if tt.later != nil {
				if err := tt.later(); err != nil {
					t.Fatal(err)
				}
			}
			if got, out := w.diagnose(t, tt.name); got != tt.want {
				t.Errorf("azwi doctor finds %q, want %q: %s", got, tt.want, out)
			}
		})
	}
}

// diagnose runs azwi doctor, and returns the codes of what it finds.
func (w *world) diagnose(t *testing.T, pod string) (codes, out string) {
	t.Helper()
	roots := filepath.Join(t.TempDir(), "roots.crt")
	if err := os.WriteFile(roots, slices.Concat([]byte(w.ca), w.CA.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(w.root, "dist", "linux-"+runtime.GOARCH, "azwi"),
		"doctor", "pod", pod, "-n", doctorNamespace, "--authority-host", w.entra.Authority, "-o", "json")
	cmd.Env = []string{"KUBECONFIG=" + w.Kubeconfig, "SSL_CERT_FILE=" + roots, "HOME=" + t.TempDir()}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		t.Fatal(err)
	}
	var report struct {
		Links []struct{ Findings []struct{ Code string } }
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		t.Fatalf("%s%s", raw, stderr.String())
	}
	var all []string
	for _, l := range report.Links {
		for _, f := range l.Findings {
			all = append(all, f.Code)
		}
	}
	return strings.Join(all, " "), string(raw)
}
