package install

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestChanges: an upgrade's dry run says what would change, and nothing does.
func TestChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, engine string
		values       map[string]any
		// want are signs and references, diff the lines that differ.
		want, diff []string
	}{
		{name: "nothing"},
		{
			name: "a value", values: map[string]any{"replicaCount": 3},
			want: []string{"~ Deployment azure-workload-identity-system/azure-wi-webhook-controller-manager"},
			diff: []string{"-  replicas: 2", "+  replicas: 3"},
		},
		{
			name: "an engine", engine: EnginePolicy,
			want: []string{"+ MutatingAdmissionPolicyBinding azure-wi-policy", "- MutatingWebhookConfiguration azure-wi-webhook-mutating-webhook-configuration", "- Deployment azure-workload-identity-system/azure-wi-webhook-controller-manager"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster(t)
				if err := f.install(EngineWebhook); err != nil {
					t.Fatal(err)
				}
				before := f.state()
				changes, err := Changes(t.Context(), Config{Client: f.client(), Version: "v1", Engine: test.engine, Values: test.values, Timeout: 5 * time.Second, render: f.render})
				if err != nil {
					t.Fatal(err)
				}
				var got, differ []string
				for _, c := range changes {
					got = append(got, c.Sign+" "+c.Ref.String())
					for line := range strings.Lines(c.Diff) {
						if line[0] == '+' || line[0] == '-' {
							differ = append(differ, strings.TrimSuffix(line, "\n"))
						}
					}
					if c.Ref.Kind == "Secret" && c.Diff != "" {
						t.Errorf("a Secret is shown:\n%s", c.Diff)
					}
				}
				if test.engine == "" {
					if diff := cmp.Diff([]any{test.want, test.diff}, []any{got, differ}); diff != "" {
						t.Errorf("-want +got:\n%s", diff)
					}
				}
				for _, want := range test.want {
					if !slices.Contains(got, want) {
						t.Errorf("%s is not in %v", want, got)
					}
				}
				if diff := cmp.Diff(before, f.state()); diff != "" {
					t.Errorf("the cluster was changed:\n%s", diff)
				}
			})
		})
	}
}

// TestOffline: no cluster is asked, and mistakes in values are found.
func TestOffline(t *testing.T) {
	t.Parallel()
	values := map[string]any{"azureTenantID": tenantID, "global": map[string]any{"imageRegistry": "registry.example"}}
	for engine, want := range map[string]string{"": "MutatingWebhookConfiguration", EngineWebhook: "MutatingWebhookConfiguration", EnginePolicy: "MutatingAdmissionPolicy", EngineAuto: "MutatingAdmissionPolicy"} {
		objects, err := Offline(t.Context(), Config{Version: "v1", Engine: engine, Values: values, Namespace: "wi"})
		if err != nil {
			t.Errorf("engine %q: %v", engine, err)
			continue
		}
		if first := objects[0].Ref().String(); first != "Namespace wi" {
			t.Errorf("engine %q: the first object is %s", engine, first)
		}
		if !slices.ContainsFunc(objects, func(o Object) bool { return o.Kind() == want }) {
			t.Errorf("engine %q: no %s", engine, want)
		}
	}
	if _, err := Offline(t.Context(), Config{Version: "v1", Values: map[string]any{"nosuch": 1}}); err == nil {
		t.Error("a value that there is not: no error")
	}
}
