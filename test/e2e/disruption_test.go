package e2e_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"azwi/contract"
	"azwi/test/cluster"
)

// many is to how many pods a Deployment scales meanwhile.
const many = 50

// whileScaling lets something happen while a Deployment goes from none to many pods
// and back and other pods are created all the time: each of them has its identity.
// None is refused either, unless the API server itself goes away.
func (w *world) whileScaling(t *testing.T, namespace string, apiServerStays bool, happen func(*testing.T)) {
	t.Helper()
	w.newNamespace(t, namespace, nil)
	w.createDeployment(t, namespace)
	creations := w.startCreating(t.Context(), apiServerStays)
	w.scale(t, namespace, many)
	waitFor(t, w, w.kube.AppsV1().RESTClient(), "deployments", namespace, "app", func(d *appsv1.Deployment) (bool, error) {
		return d.Status.Replicas > 0, nil
	})
	happen(t)
	waitFor(t, w, w.kube.AppsV1().RESTClient(), "deployments", namespace, "app", func(d *appsv1.Deployment) (bool, error) {
		return d.Status.ReadyReplicas == many, nil
	})
	w.checkAll(t, namespace)
	w.scale(t, namespace, 0)
	waitFor(t, w, w.kube.AppsV1().RESTClient(), "deployments", namespace, "app", func(d *appsv1.Deployment) (bool, error) {
		return d.Status.Replicas == 0, nil
	})
	made, err := creations.stop()
	if err != nil {
		t.Error(err)
	}
	if made < fewest {
		t.Errorf("only %d pods were created", made)
	}
	t.Logf("%d pods created one after another beside the Deployment's %d", made, many)
	if apiServerStays {
		w.wantNoRefusals(t, namespace)
	}
}

func (w *world) createDeployment(t *testing.T, namespace string) {
	t.Helper()
	pod, none := w.pod("app", appImage, "identity"), int32(0)
	pod.Name, pod.Spec.RestartPolicy = "", corev1.RestartPolicyAlways
	if _, err := w.kube.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "app"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) scale(t *testing.T, namespace string, replicas int) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if _, err := w.kube.AppsV1().Deployments(namespace).Patch(t.Context(), "app", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// checkAll fails if a pod of the Deployment has no identity or had to start again:
// the program ends when it finds none.
func (w *world) checkAll(t *testing.T, namespace string) {
	t.Helper()
	pods, err := w.kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) < many {
		t.Errorf("%d pods", len(pods.Items))
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if err := w.injected(pod); err != nil {
			t.Error(err)
		}
		for _, s := range pod.Status.ContainerStatuses {
			if s.RestartCount > 0 {
				t.Errorf("pod %s started %d times: %s", pod.Name, s.RestartCount+1, w.logs(t.Context(), namespace, pod.Name, s.Name, true))
			}
		}
	}
}

func (w *world) wantNoRefusals(t *testing.T, namespace string) {
	t.Helper()
	events, err := w.kube.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		t.Errorf("%s %s, %d times: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Count, e.Message)
	}
}

// creations are pods that are created one after another and not kept.
type creations struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	// enough is closed after the first hundred, or at the end.
	enough chan struct{}
	made   int
	err    error // ends them
}

// fewest is how many pods at least are created. How fast that goes is up to the
// machine, so stop waits for them.
const fewest = 100

// startCreating begins. Refusals are errors if none is allowed; a pod without its
// identity always is.
func (w *world) startCreating(ctx context.Context, noRefusals bool) *creations {
	return w.createUntil(ctx, func(made int, err error) error {
		if noRefusals || errors.Is(err, errNotInjected) {
			return fmt.Errorf("after %d pods: %w", made, err)
		}
		return nil
	})
}

// createUntil creates pods until stop. What fails is given to failed, whose error
// ends it before.
func (w *world) createUntil(ctx context.Context, failed func(made int, err error) error) *creations {
	c := &creations{enough: make(chan struct{})}
	ctx, c.cancel = context.WithCancel(ctx)
	c.done.Go(func() {
		done := sync.OnceFunc(func() { close(c.enough) })
		defer done()
		for ctx.Err() == nil && c.err == nil {
			err := w.tryInjection(ctx, "default")
			switch {
			case ctx.Err() != nil:
			case err == nil:
				if c.made++; c.made == fewest {
					done()
				}
			default:
				c.err = failed(c.made, err)
			}
		}
	})
	return c
}

func (c *creations) stop() (made int, err error) {
	<-c.enough
	c.cancel()
	c.done.Wait()
	return c.made, c.err
}

func (w *world) rollingUpdate(t *testing.T) {
	t.Helper()
	patch := []byte(`{"spec":{"template":{"metadata":{"annotations":{"e2e":"rolled"}}}}}`)
	if _, err := w.kube.AppsV1().Deployments(system).Patch(t.Context(), deployment, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.waitRolledOut(t, system)
}

// drain evicts the webhook's pods from the only node. The budget keeps the last one
// until there is room for another.
func (w *world) drain(t *testing.T) {
	t.Helper()
	pods := w.webhookPods(t, system)
	if len(pods) != 2 {
		t.Fatalf("%d webhook pods", len(pods))
	}
	w.cordon(t, true)
	if err := w.evict(t, pods[0]); err != nil {
		t.Fatal(err)
	}
	if err := w.evict(t, pods[1]); !apierrors.IsTooManyRequests(err) {
		t.Errorf("the eviction of the last pod: %v, want a refusal by the budget", err)
	}
	w.cordon(t, false)
	waitFor(t, w, w.kube.PolicyV1().RESTClient(), "poddisruptionbudgets", system, deployment, func(b *policyv1.PodDisruptionBudget) (bool, error) {
		return b.Status.DisruptionsAllowed > 0 && b.Status.ObservedGeneration == b.Generation, nil
	})
	w.eventually(t, func() error { return w.evict(t, pods[1]) })
	w.waitRolledOut(t, system)
}

// webhookPods are the names of those that are not ending: an update before takes its
// time to end the former.
func (w *world) webhookPods(t *testing.T, namespace string) []string {
	t.Helper()
	pods, err := w.kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "azure-workload-identity.io/system=true"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			names = append(names, pod.Name)
		}
	}
	return names
}

// waitGone returns when there is none of the webhook's pods of these names any more.
func (w *world) waitGone(t *testing.T, namespace string, names []string) {
	t.Helper()
	w.eventually(t, func() error {
		pods, err := w.kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if slices.Contains(names, pod.Name) {
				return fmt.Errorf("pod %s is still there", pod.Name)
			}
		}
		return nil
	})
}

func (w *world) cordon(t *testing.T, unschedulable bool) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, unschedulable)
	if _, err := w.kube.CoreV1().Nodes().Patch(t.Context(), cluster.NodeName, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) evict(t *testing.T, pod string) error {
	t.Helper()
	return w.kube.CoreV1().Pods(system).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: system}})
}

// rotateCertificate takes the authority and the certificate away: the webhook makes new
// ones, and has the API server trust them before it shows them.
func (w *world) rotateCertificate(t *testing.T) {
	t.Helper()
	before := w.certificate(t)
	patch := []byte(`{"data":{"ca.crt":null,"ca.key":null,"tls.crt":null,"tls.key":null}}`)
	if _, err := w.kube.CoreV1().Secrets(system).Patch(t.Context(), contract.WebhookSecret, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	now := waitFor(t, w, w.kube.CoreV1().RESTClient(), "secrets", system, contract.WebhookSecret, func(s *corev1.Secret) (bool, error) {
		return len(s.Data["tls.crt"]) > 0 && !bytes.Equal(s.Data["tls.crt"], before["tls.crt"]), nil
	})
	waitFor(t, w, w.kube.AdmissionregistrationV1().RESTClient(), "mutatingwebhookconfigurations", "", contract.WebhookConfiguration,
		func(c *admissionv1.MutatingWebhookConfiguration) (bool, error) {
			bundle := c.Webhooks[0].ClientConfig.CABundle
			return bytes.Contains(bundle, bytes.TrimSpace(firstBlock(now.Data["ca.crt"]))), nil
		})
}

// firstBlock is the first certificate of a PEM file.
func firstBlock(data []byte) []byte {
	if block, _ := pem.Decode(data); block != nil {
		return pem.EncodeToMemory(block)
	}
	return nil
}

func (w *world) restartAPIServer(t *testing.T) {
	t.Helper()
	if err := w.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// testRotation: the kubelet renews a token in its file, and what reads it anew goes
// on. The kubelet does so after four fifths of the token's life, 48 minutes at the
// least, and when it starts: the test starts it again.
func (w *world) testRotation(t *testing.T) {
	const namespace = "rotation"
	w.newNamespace(t, namespace, nil)
	pod := w.pod("rotation", appImage, "rotation")
	if _, err := w.kube.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	running := w.waitPod(t, namespace, pod.Name, corev1.PodRunning)
	w.eventually(t, func() error {
		if log := w.logs(t.Context(), namespace, pod.Name, "app", false); log != "first token exchanged" {
			return fmt.Errorf("the pod says %q", log)
		}
		return nil
	})
	if err := w.RestartKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := w.waitPod(t, namespace, pod.Name, corev1.PodSucceeded)
	wantLog(t, w.logs(t.Context(), namespace, pod.Name, "app", false), "renewed token exchanged")
	if ended.UID != running.UID || ended.Status.ContainerStatuses[0].RestartCount > 0 {
		t.Error("the pod did not live through it")
	}
}
