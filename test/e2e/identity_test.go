package e2e_test

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"azwi/contract"
)

const greeting = `secret greeting: "hello from the vault"`

// testIdentities are the ways in which pods use their identity; the engine that
// injects them is the caller's.
func (w *world) testIdentities(t *testing.T, engine string) {
	// The program of make demo, with the token that the kubelet projects.
	t.Run("QuickStart", func(t *testing.T) {
		t.Parallel()
		namespace := engine + "-quickstart"
		w.newNamespace(t, namespace, nil)
		wantLog(t, w.run(t, namespace, w.pod("secret", workloadImage)), greeting)
	})
	t.Run("RedirectManagedIdentity", func(t *testing.T) {
		t.Parallel()
		namespace := engine + "-redirect"
		w.newNamespace(t, namespace, nil)
		wantLog(t, w.run(t, namespace, withProxy(w.pod("managed", appImage, "managed"))), greeting)
	})
	t.Run("RedirectPlainHTTP", func(t *testing.T) {
		t.Parallel()
		namespace := engine + "-plain"
		w.newNamespace(t, namespace, nil)
		wantLog(t, w.run(t, namespace, withProxy(w.pod("plain", appImage, "http"))), "token for client "+clientID)
	})
	// Without any privilege, where none is allowed.
	t.Run("EnvModeRestricted", func(t *testing.T) {
		t.Parallel()
		namespace := engine + "-env"
		w.newNamespace(t, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
		pod := restricted(withProxy(w.pod("managed", appImage, "managed")))
		pod.Annotations[contract.ProxyModeAnnotation] = contract.ProxyModeEnv
		wantLog(t, w.run(t, namespace, pod), greeting)
	})
	t.Run("QuotaAndLimitRange", func(t *testing.T) {
		t.Parallel()
		namespace := engine + "-quota"
		w.newNamespace(t, namespace, nil)
		w.limit(t, namespace)
		pod := withProxy(w.pod("managed", appImage, "managed"))
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
		}
		wantLog(t, w.run(t, namespace, pod), greeting)
	})
	t.Run("JobCompletes", func(t *testing.T) {
		t.Parallel()
		namespace := engine + "-job"
		w.newNamespace(t, namespace, nil)
		w.testJob(t, namespace)
	})
}

func withProxy(pod *corev1.Pod) *corev1.Pod {
	pod.Annotations[contract.InjectProxyAnnotation] = "true"
	return pod
}

// restricted makes a pod conform to the Pod Security Standard of that name.
func restricted(pod *corev1.Pod) *corev1.Pod {
	yes, no := true, false
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return pod
}

// limit makes the namespace one in which every container must say what it takes,
// and none may take much.
func (w *world) limit(t *testing.T, namespace string) {
	t.Helper()
	core := w.kube.CoreV1()
	if _, err := core.ResourceQuotas(namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "quota"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"pods": resource.MustParse("2"), "limits.cpu": resource.MustParse("2"), "limits.memory": resource.MustParse("1Gi"),
			"requests.cpu": resource.MustParse("2"), "requests.memory": resource.MustParse("1Gi"),
		}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.LimitRanges(namespace).Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "limits"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer,
			Max:  corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("512Mi")},
			Min:  corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("4Mi")},
			Default: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("200m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
			},
		}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testJob: a native sidecar does not keep a Job from completing.
func (w *world) testJob(t *testing.T, namespace string) {
	t.Helper()
	pod, never := withProxy(w.pod("job", appImage, "managed")), int32(0)
	pod.Name = ""
	if _, err := w.kube.BatchV1().Jobs(namespace).Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "job"},
		Spec: batchv1.JobSpec{
			BackoffLimit: &never, Template: corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, w, w.kube.BatchV1().RESTClient(), "jobs", namespace, "job", func(j *batchv1.Job) (bool, error) {
		for _, c := range j.Status.Conditions {
			if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
				return false, errJobFailed
			}
			if c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
	pods, err := w.kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=job"})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods, %v", len(pods.Items), err)
	}
	done := pods.Items[0]
	wantLog(t, w.logs(t.Context(), namespace, done.Name, "app", false), greeting)
	if len(done.Spec.InitContainers) != 2 || done.Status.Phase != corev1.PodSucceeded {
		t.Errorf("the Job's pod has %d init containers and has %s", len(done.Spec.InitContainers), done.Status.Phase)
	}
}
