package workload_test

import (
	"testing"

	"azwi/internal/workload"
)

func TestFind(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ apiVersion, kind, want string }{
		{"v1", "Pod", ""},
		{"apps/v1", "Deployment", "/spec/template"},
		{"apps/v1beta2", "StatefulSet", "/spec/template"},
		{"batch/v1", "CronJob", "/spec/jobTemplate/spec/template"},
		{"v1", "PodTemplate", "/template"},
		{"v1", "Deployment", "none"},
		{"argoproj.io/v1alpha1", "Rollout", "none"},
	} {
		got := "none"
		if k, ok := workload.Find(test.apiVersion, test.kind); ok {
			got = k.Pointer()
		}
		if got != test.want {
			t.Errorf("%s %s: %q, want %q", test.apiVersion, test.kind, got, test.want)
		}
	}
}

func TestPod(t *testing.T) {
	t.Parallel()
	cronJob, _ := workload.Find("batch/v1", "CronJob")
	pod, _ := workload.Find("v1", "Pod")
	template := map[string]any{"metadata": map[string]any{"name": "x"}, "spec": map[string]any{"serviceAccount": "old"}}
	deep := map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}}
	const want = `{"metadata":{"name":"x"},"spec":{"serviceAccount":"old","serviceAccountName":"old"}}`
	for _, test := range []struct {
		kind   workload.Kind
		object map[string]any
		want   string
	}{
		{pod, template, want}, {cronJob, deep, want}, {cronJob, template, ""}, {pod, nil, ""},
	} {
		got, ok := test.kind.Pod(test.object)
		if string(got) != test.want || ok != (test.want != "") {
			t.Errorf("%s: %s, want %s", test.kind.Kind, got, test.want)
		}
	}
	if len(template["spec"].(map[string]any)) != 1 {
		t.Error("the object was changed")
	}
}
