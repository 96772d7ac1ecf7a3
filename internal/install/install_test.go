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

// TestRestricted: the copy applies to trial pods only, and the object stays as it was.
func TestRestricted(t *testing.T) {
	t.Parallel()
	trial := map[string]any{"key": trialLabel, "operator": "Exists"}
	labels := map[string]any{"use": "true"}
	for _, tt := range []struct{ object, want Object }{
		{
			Object{"kind": "MutatingWebhookConfiguration", "webhooks": []any{map[string]any{"name": "a", "objectSelector": map[string]any{"matchLabels": labels}}}},
			Object{"kind": "MutatingWebhookConfiguration", "webhooks": []any{map[string]any{"name": "a", "objectSelector": map[string]any{"matchLabels": labels, "matchExpressions": []any{trial}}}}},
		},
		{
			Object{"kind": "MutatingAdmissionPolicyBinding", "spec": map[string]any{"policyName": "p"}},
			Object{"kind": "MutatingAdmissionPolicyBinding", "spec": map[string]any{"policyName": "p", "matchResources": map[string]any{"objectSelector": map[string]any{"matchExpressions": []any{trial}}}}},
		},
		{Object{"kind": "Secret"}, Object{"kind": "Secret"}},
	} {
		before := Object(Merge(tt.object, nil))
		if diff := cmp.Diff(tt.want, restricted(tt.object)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, tt.object); diff != "" {
			t.Error("the object itself changed: ", diff)
		}
	}
}

func TestMarked(t *testing.T) {
	t.Parallel()
	users := map[string]any{"key": "team", "operator": "Exists"}
	selector := map[string]any{"matchLabels": map[string]any{"use": "true"}, "matchExpressions": []any{users}}
	for _, operator := range []string{"Exists", "DoesNotExist"} {
		once := marked(selector, operator)
		want := []any{users, map[string]any{"key": trialLabel, "operator": operator}}
		if diff := cmp.Diff(want, once["matchExpressions"]); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(once, marked(marked(once, "Exists"), operator)); diff != "" {
			t.Error("a second mark: ", diff)
		}
		if diff := cmp.Diff(selector, marked(once, "")); diff != "" {
			t.Error("after undoing: ", diff)
		}
	}
	if got := marked(nil, ""); len(got) != 0 {
		t.Error(got)
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
