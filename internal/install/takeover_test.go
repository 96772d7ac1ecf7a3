package install

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/finding"
)

// upstream is a cluster with what somebody applied from upstream's manifest.
func upstream(t *testing.T) *fakeCluster {
	t.Helper()
	text, err := os.ReadFile("testdata/upstream.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(string(text))
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeCluster(t)
	for _, o := range objects {
		path, err := o.Ref().Path()
		if err != nil {
			t.Fatal(err)
		}
		f.store(path, o)
	}
	return f
}

func (f *fakeCluster) takeOver(engine string) error {
	_, err := Install(f.t.Context(), Config{
		Client: f.client(), Version: "v1", Engine: engine, Timeout: 5 * time.Second, render: f.render, TakeOver: true,
		Values: map[string]any{"azureTenantID": tenantID, "global": map[string]any{"imageRegistry": "registry.example"}},
	}, false)
	return err
}

const (
	upstreamService = "/api/v1/namespaces/" + DefaultNamespace + "/services/" + serviceName
	upstreamRole    = "/apis/rbac.authorization.k8s.io/v1/clusterroles/azure-wi-webhook-manager-role"
)

// checkFormerPods fails the test unless upstream's pods and ours are selected, and
// upstream's may list service accounts.
func (f *fakeCluster) checkFormerPods(when string) {
	f.t.Helper()
	selected, _ := lookup(f.objects[upstreamService], "spec", "selector").(map[string]any)
	ours, _ := lookup(f.objects[pathOf(f.t, deploymentRef(DefaultNamespace))], "spec", "template", "metadata", "labels").(map[string]any)
	former := map[string]any{"azure-workload-identity.io/system": "true"}
	if len(selected) == 0 || !contains(former, selected) || !contains(ours, selected) {
		f.t.Errorf("%s: the Service selects %v", when, selected)
	}
	if rules, _ := marshal(f.objects[upstreamRole]["rules"]); !strings.Contains(rules, `["serviceaccounts"],"verbs":["get","list","watch"]`) {
		f.t.Errorf("%s: the former pods' rights are %s", when, rules)
	}
}

// TestTakeOverManifest: upstream's manifest selects by one label, the chart by four.
// The take-over is refused at each of its writes, and killed there: a failure leaves
// what was there before, and the same command then gets to the end.
func TestTakeOverManifest(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{EngineWebhook, EnginePolicy} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				installed := upstream(t)
				before := installed.state()
				whole := installed.clone(t)
				killed := map[int]*fakeCluster{}
				finishing := 0
				whole.serving = true
				whole.onWrite = func(n int) {
					killed[n] = whole.clone(t)
					if finishing == 0 && whole.proven {
						finishing = n
					}
					if finishing == 0 {
						whole.checkFormerPods("before a write")
					}
				}
				if err := whole.takeOver(engine); err != nil {
					t.Fatal(err)
				}
				if finishing == 0 {
					t.Fatal("nothing was written after the proof")
				}
				if rules, _ := marshal(whole.objects[upstreamRole]["rules"]); strings.Contains(rules, `"list"`) {
					t.Errorf("in the end there are the rights %s", rules)
				}
				want := whole.state()
				again := func(f *fakeCluster, what string, at int) {
					t.Helper()
					f = f.clone(t)
					f.serving = true
					if err := f.takeOver(engine); err != nil {
						t.Fatalf("%s at write %d, then again: %v", what, at, err)
					}
					if diff := cmp.Diff(want, f.state()); diff != "" {
						t.Fatalf("%s at write %d, then again: %s", what, at, diff)
					}
				}
				for at := 1; at <= whole.writes; at++ {
					if f := killed[at]; f.installed() && !f.record().Complete || !f.installed() {
						again(f, "killed", at)
					}
					f := installed.clone(t)
					f.serving, f.failAt = true, at
					if err := f.takeOver(engine); err == nil {
						t.Fatalf("write %d was not refused", at)
					}
					if diff := cmp.Diff(before, f.state()); at < finishing && diff != "" {
						t.Fatalf("write %d refused: %s", at, diff)
					}
					again(f, "refused", at)
				}
				t.Logf("%d writes, the last %d after the proof", whole.writes, whole.writes-finishing+1)
			})
		})
	}
}

// TestFailedTakeOver: of a webhook that does not work nothing is left.
func TestFailedTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := upstream(t)
		before := f.state()
		f.broken[EngineWebhook] = true
		if err := f.takeOver(EngineWebhook); !errors.Is(err, finding.CodeTimedOut) || !strings.Contains(err.Error(), "as it was before") {
			t.Fatal(err)
		}
		f.broken[EngineWebhook] = false
		path := pathOf(t, deploymentRef(DefaultNamespace))
		f.store(path, f.objects[path]) // its status
		if diff := cmp.Diff(before, f.state()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRefusedTakeOver: what the API server would refuse is known before the first write.
func TestRefusedTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := upstream(t)
		f.invalid = pathOf(t, webhookConfigurationRef(contract.WebhookConfiguration))
		if err := f.takeOver(EngineWebhook); err == nil || !strings.Contains(err.Error(), "nothing was changed") || f.writes > 0 {
			t.Errorf("%v, after %d writes", err, f.writes)
		}
	})
}

// TestSelection: whatever selects the pods that are there selects ours too.
func TestSelection(t *testing.T) {
	t.Parallel()
	type labels = map[string]any
	for _, tt := range []struct {
		name              string
		selector          labels
		template, service labels
		wantPods, want    labels // want is the Service's; nil for a refusal
	}{
		{"the chart's", labels{"matchLabels": labels{"app": "a", "chart": "a"}}, labels{"app": "a", "chart": "a"}, labels{"app": "a", "chart": "a"}, labels{"app": "a", "chart": "a", "more": "m"}, labels{"app": "a", "chart": "a"}},
		{"one label", labels{"matchLabels": labels{"s": "true"}}, labels{"s": "true"}, labels{"s": "true"}, labels{"app": "a", "chart": "a", "more": "m", "s": "true"}, labels{"s": "true"}},
		{"a Service with fewer", labels{"matchLabels": labels{"s": "true", "team": "x"}}, labels{"s": "true", "team": "x"}, labels{"s": "true"}, labels{"app": "a", "chart": "a", "more": "m", "s": "true", "team": "x"}, labels{"s": "true"}},
		{"a Service with others", labels{"matchLabels": labels{"s": "true"}}, labels{"s": "true", "team": "x"}, labels{"team": "x"}, labels{"app": "a", "chart": "a", "more": "m", "s": "true", "team": "x"}, labels{"team": "x"}},
		{"a Service that selects nothing", labels{"matchLabels": labels{"s": "true"}}, labels{"s": "true"}, labels{"app": "a"}, labels{"app": "a", "chart": "a", "more": "m", "s": "true"}, labels{"s": "true"}},
		{"no Service", labels{"matchLabels": labels{"app": "b"}}, labels{"app": "b"}, nil, labels{"app": "b", "chart": "a", "more": "m"}, labels{"app": "b"}},
		{"an expression", labels{"matchExpressions": []any{labels{"key": "s", "operator": "In", "values": []any{"1", "2"}}}}, labels{"s": "2"}, nil, labels{"app": "a", "chart": "a", "more": "m", "s": "2"}, labels{"s": "2"}},
		{"an expression against ours", labels{"matchLabels": labels{"s": "1"}, "matchExpressions": []any{labels{"key": "chart", "operator": "DoesNotExist"}}}, labels{"s": "1"}, nil, nil, nil},
		{"no label", labels{"matchExpressions": []any{labels{"key": "x", "operator": "DoesNotExist"}}}, labels{"s": "1"}, nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeCluster(t)
			f.store(pathOf(t, deploymentRef("n")), labels{"kind": "Deployment", "spec": labels{"selector": tt.selector, "template": labels{"metadata": labels{"labels": tt.template}}}})
			if tt.service != nil {
				f.store("/api/v1/namespaces/n/services/"+serviceName, labels{"kind": "Service", "spec": labels{"selector": tt.service}})
			}
			charts := labels{"app": "a", "chart": "a"}
			objects := []Object{
				{"kind": "Service", "spec": labels{"selector": charts}},
				{"kind": "PodDisruptionBudget", "spec": labels{"selector": labels{"matchLabels": charts}}},
				{"kind": "Deployment", "spec": labels{"selector": labels{"matchLabels": charts}, "template": labels{"metadata": labels{"labels": labels{"app": "a", "chart": "a", "more": "m"}}}}},
			}
			s, err := (&cluster{Client: f.client()}).selection(t.Context(), "n")
			var got []Object
			if err == nil {
				got, err = s.apply(objects)
			}
			if tt.want == nil {
				if err == nil || !strings.Contains(err.Error(), "uninstall the existing installation first") {
					t.Errorf("not refused well: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, lookup(map[string]any(got[0]), "spec", "selector")); diff != "" {
				t.Error("Service: ", diff)
			}
			if diff := cmp.Diff(any(tt.selector), lookup(map[string]any(got[2]), "spec", "selector")); diff != "" {
				t.Error("Deployment: ", diff)
			}
			if diff := cmp.Diff(any(tt.wantPods), lookup(map[string]any(got[2]), "spec", "template", "metadata", "labels")); diff != "" {
				t.Error("pods: ", diff)
			}
			budget, _ := lookup(map[string]any(got[1]), "spec", "selector", "matchLabels").(map[string]any)
			if len(budget) == 0 || !contains(tt.wantPods, budget) {
				t.Errorf("the budget is for %v", slices.Sorted(maps.Keys(budget)))
			}
		})
	}
}
