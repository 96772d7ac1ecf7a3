package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEngineByVersion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version, engine, want string // want is empty for a refusal
		found                 *Installation
	}{
		{"v1.28.9", "", "", nil},
		{"v1.29.0", "", EngineWebhook, nil},
		{"v1.37.2", "", EngineWebhook, nil},
		{"v1.28.9", EngineAuto, "", nil},
		{"v1.29.0", EngineAuto, EngineWebhook, nil},
		{"v1.35.9", EngineAuto, EngineWebhook, nil},
		{"v1.36.0", EngineAuto, EnginePolicy, nil},
		{"v1.37.2-eks-1", EngineAuto, EnginePolicy, &Installation{Engine: EngineWebhook}},
		{"v1.35.1-gke.7", EnginePolicy, "", nil},
		{"v1.36.0+k3s1", EnginePolicy, EnginePolicy, nil},
		{"v1.36.0", "", EnginePolicy, &Installation{Engine: EnginePolicy}},
		{"unknown", EngineAuto, "", nil},
	} {
		p := &plan{cluster: &cluster{version: tt.version}, config: Config{Engine: tt.engine}, found: tt.found}
		err := p.chooseEngine()
		if (err != nil) != (tt.want == "") || err == nil && p.engine != tt.want {
			t.Errorf("%s, %s: %q, %v; want %q", tt.version, tt.engine, p.engine, err, tt.want)
		}
	}
}

// TestRestricted: the copy applies to one namespace, and the object stays as it was.
func TestRestricted(t *testing.T) {
	t.Parallel()
	only := map[string]any{"matchExpressions": []any{map[string]any{"key": "kubernetes.io/metadata.name", "operator": "In", "values": []any{"n"}}}}
	for _, tt := range []struct{ object, want Object }{
		{
			Object{"kind": "MutatingWebhookConfiguration", "webhooks": []any{map[string]any{"name": "a", "namespaceSelector": map[string]any{"matchLabels": "x"}}}},
			Object{"kind": "MutatingWebhookConfiguration", "webhooks": []any{map[string]any{"name": "a", "namespaceSelector": only}}},
		},
		{
			Object{"kind": "MutatingAdmissionPolicyBinding", "spec": map[string]any{"policyName": "p"}},
			Object{"kind": "MutatingAdmissionPolicyBinding", "spec": map[string]any{"policyName": "p", "matchResources": map[string]any{"namespaceSelector": only}}},
		},
		{Object{"kind": "Secret"}, Object{"kind": "Secret"}},
	} {
		before := Object(Merge(tt.object, nil))
		if diff := cmp.Diff(tt.want, restricted(tt.object, "n")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, tt.object); diff != "" {
			t.Error("the object itself changed: ", diff)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	base := map[string]any{"a": map[string]any{"b": 1, "c": 2}, "d": []any{1}}
	got := Merge(base, map[string]any{"a": map[string]any{"b": 3}, "d": []any{2}, "e": nil})
	want := map[string]any{"a": map[string]any{"b": 3, "c": 2}, "d": []any{2}, "e": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"a": map[string]any{"b": 1, "c": 2}, "d": []any{1}}, base); diff != "" {
		t.Error("base changed: ", diff)
	}
}
