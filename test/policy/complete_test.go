package policy_test

import (
	"encoding/json"
	"testing"

	"github.com/google/cel-go/common/types"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
	"azwi/test/handlers"
)

// TestComplete: the match condition passes over a pod only if package inject has
// nothing to add to it, before its injection or after; and it does pass over an
// ordinary pod after it.
func TestComplete(t *testing.T) {
	t.Parallel()
	cases, err := injecttest.Cases("../../internal/pod/inject/testdata")
	if err != nil {
		t.Fatal(err)
	}
	passedOver, compiledBy := map[string]bool{}, map[string]*compiled{} // the latter by policy
	for _, g := range cases {
		objects, err := policy.Generate(policy.Config{Settings: g.Settings, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		mutating := objects[len(objects)-2]
		raw, err := mutating.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if compiledBy[string(raw)] == nil {
			compiledBy[string(raw)] = compile(t, g.Name, raw)
		}
		p := compiledBy[string(raw)]
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: g.Account.Namespace, Name: g.Account.Name, Annotations: g.Account.Annotations, Labels: g.Account.Labels,
		}}
		raw = g.Pod
		for _, when := range []string{"before", "after"} {
			result := handlers.Parse(t, raw).Inject(g.Account, g.Settings)
			if p.matches(t, podFrom(t, raw, account), cel.OptionalVariableBindings{VersionedParams: account}) {
				if result.Denial != nil {
					break
				}
				raw = apply(t, raw, result.Patch)
				continue
			}
			passedOver[g.Name+" "+when] = true
			if len(result.Patch) > 0 || result.Denial != nil {
				t.Errorf("%s, %s injection: passed over, but inject has %+v", g.Name, when, result)
			}
			break
		}
	}
	for _, want := range []string{"plain after", "several-containers after", "layout-v1.5.1 after", "layout-both after", "no-client-id after", "tenant-of-account after"} {
		if !passedOver[want] {
			t.Errorf("%s injection: evaluated once more", want)
		}
	}
	t.Logf("passed over: %d of %d cases", len(passedOver), len(cases))
}

// podFrom reads a pod as it comes out of the API server's own admission.
func podFrom(t *testing.T, raw []byte, account *corev1.ServiceAccount) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		t.Fatal(err)
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = account.Name
	}
	return pod
}

// matches evaluates the policy's match conditions.
func (p *compiled) matches(t *testing.T, pod *corev1.Pod, inputs cel.OptionalVariableBindings) bool {
	t.Helper()
	attributes, request := admissionOf(pod)
	results, _, err := p.conditions[0].ForInput(t.Context(), attributes, request, inputs, nil, celconfig.RuntimeCELCostBudgetMatchConditions)
	if err != nil {
		t.Fatal(err)
	}
	all := true
	for _, r := range results {
		if r.Error != nil {
			t.Fatal(r.Error)
		}
		all = all && r.EvalResult == types.True
	}
	return all
}

func apply(t *testing.T, raw []byte, patch any) []byte {
	t.Helper()
	text, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonpatch.DecodePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := decoded.Apply(raw)
	if err != nil {
		t.Fatal(err)
	}
	return patched
}
