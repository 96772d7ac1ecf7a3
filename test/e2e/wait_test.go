package e2e_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// patience bounds the wait for anything that a healthy cluster does in seconds.
const patience = 2 * time.Minute

// waitFor watches one object until done says so; an error of it ends the wait.
func waitFor[T runtime.Object](t *testing.T, w *world, client rest.Interface, resource, namespace, name string, done func(T) (bool, error)) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last T
	list := cache.NewListWatchFromClient(client, resource, namespace, fields.OneTermEqualSelector("metadata.name", name))
	_, err := watchtools.UntilWithSync(ctx, list, *new(T), nil, func(event watch.Event) (bool, error) {
		object, ok := event.Object.(T)
		if !ok {
			return false, fmt.Errorf("%s %s/%s: %s %T", resource, namespace, name, event.Type, event.Object)
		}
		if event.Type == watch.Deleted {
			return false, fmt.Errorf("%s %s/%s was deleted", resource, namespace, name)
		}
		last = object
		return done(object)
	})
	if err != nil {
		w.tell(t, namespace)
		t.Fatalf("%s %s/%s: %v", resource, namespace, name, err)
	}
	return last
}

// waitPod returns when the pod has ended well, or runs if it is one that goes on.
func (w *world) waitPod(t *testing.T, namespace, name string, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	return waitFor(t, w, w.kube.CoreV1().RESTClient(), "pods", namespace, name, func(p *corev1.Pod) (bool, error) {
		if p.Status.Phase == corev1.PodFailed && phase != corev1.PodFailed {
			return false, fmt.Errorf("the pod failed: %s", p.Status.Message)
		}
		return p.Status.Phase == phase, nil
	})
}

// waitRolledOut returns when the webhook's Deployment is as it should be.
func (w *world) waitRolledOut(t *testing.T, namespace string) {
	t.Helper()
	waitFor(t, w, w.kube.AppsV1().RESTClient(), "deployments", namespace, deployment, func(d *appsv1.Deployment) (bool, error) {
		return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == *d.Spec.Replicas &&
			d.Status.Replicas == *d.Spec.Replicas && d.Status.ReadyReplicas == *d.Spec.Replicas, nil
	})
}

// eventually is for what can't be watched.
func (w *world) eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			w.tell(t, system)
			t.Fatalf("%v: %v", ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w *world) logs(ctx context.Context, namespace, pod, container string, previous bool) string {
	stream, err := w.kube.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Previous: previous}).Stream(ctx)
	if err != nil {
		return err.Error()
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, 64<<10))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// tell logs what there is to know of the namespace's pods, for a test that failed.
func (w *world) tell(t *testing.T, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	pods, err := w.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Log(err)
		return
	}
	for i := range pods.Items[:min(len(pods.Items), 5)] {
		pod := &pods.Items[i]
		t.Logf("pod %s/%s: %s %s", namespace, pod.Name, pod.Status.Phase, pod.Status.Message)
		for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
			t.Logf("  container %s, %d restarts, %+v, last %+v\n%s", s.Name, s.RestartCount, s.State, s.LastTerminationState,
				w.logs(ctx, namespace, pod.Name, s.Name, false))
			if s.RestartCount > 0 {
				t.Logf("  before:\n%s", w.logs(ctx, namespace, pod.Name, s.Name, true))
			}
		}
	}
	events, err := w.kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{Limit: 200})
	if err != nil {
		t.Log(err)
		return
	}
	for _, e := range events.Items {
		if e.Type != corev1.EventTypeNormal {
			t.Logf("event of %s %s, %d times: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Count, e.Reason, e.Message)
		}
	}
}
