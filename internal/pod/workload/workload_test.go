package workload_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"azwi/internal/pod/workload"
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

// Known kinds have places that can be read, and a file of kinds is read as strictly.
func TestShapes(t *testing.T) {
	t.Parallel()
	known := workload.Known()
	seen := map[string]bool{}
	for _, s := range known {
		if seen[s.Group+"/"+s.Kind] {
			t.Errorf("%s %s is there twice", s.Group, s.Kind)
		}
		seen[s.Group+"/"+s.Kind] = true
	}
	text, err := json.Marshal(map[string]any{"kinds": known})
	if err != nil {
		t.Fatal(err)
	}
	again, err := workload.ReadShapes("known", text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(known, again, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	for _, test := range []struct{ apiVersion, kind, labels, annotations string }{
		{"v1", "Pod", "metadata.labels", "metadata.annotations"},
		{"batch/v1beta1", "CronJob", "spec.jobTemplate.spec.template.metadata.labels", "spec.jobTemplate.spec.template.metadata.annotations"},
		{"tekton.dev/v1", "Task", "metadata.labels", "metadata.annotations"},
		{"sparkoperator.k8s.io/v1beta2", "SparkApplication", "spec.driver.labels", "spec.driver.annotations"},
		{"v1", "Task", "none", "none"},
	} {
		labels, annotations := "none", "none"
		if s, ok := known.Find(test.apiVersion, test.kind); ok {
			labels, annotations = s.Pods[0].LabelsPath(), s.Pods[0].AnnotationsPath()
		}
		if labels != test.labels || annotations != test.annotations {
			t.Errorf("%s %s: %s and %s", test.apiVersion, test.kind, labels, annotations)
		}
	}
}

func TestReadShapesRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"", "k:1: kinds: name at least one kind"},
		{"kinds:\n- group: a.b\n  pods: [{template: x}]", "k:2: kinds[0].kind: is missing"},
		{"kinds: [{group: a.b/v1, kind: C, pods: [{template: x}]}]", "without a version"},
		{"kinds: [{kind: C}]", "want pods or accounts"},
		{"kinds: [{kind: C, pods: [{}]}]", "want template, metadata, labels or annotations"},
		{"kinds: [{kind: C, pods: [{template: x, labels: y}]}]", "not several of them"},
		{"kinds: [{kind: C, pods: [{template: x.}]}]", "want a path of names"},
		{"kinds: [{kind: C, pods: [{template: '$.x'}]}]", "want a path of names"},
		{"kinds: [{kind: C, accounts: ['a[0]']}]", "want a path of names"},
		{"kinds: [{kind: C, template: x}]", "unknown field"},
	} {
		if _, err := workload.ReadShapes("k", []byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.text, err, test.want)
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
