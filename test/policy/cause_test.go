package policy_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission/plugin/cel"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
	"azwi/test/handlers"
)

// TestCause: whatever package inject warns of, the match condition of the policy of
// warnings lets through, and the keys of every day it does not.
func TestCause(t *testing.T) {
	t.Parallel()
	objects, err := policy.Generate(policy.Config{Settings: injecttest.Settings(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := objects[2].JSON()
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, objects[2].Metadata.Name, raw)
	random := rand.New(rand.NewPCG(1, 2))
	keys := map[string]bool{"app.kubernetes.io/name": false, "cluster-autoscaler.kubernetes.io/safe-to-evict": false, "client-id": false}
	for range 2000 {
		keys[mistyped(random)] = true
	}
	warned, passed := 0, 0
	for key, counts := range keys {
		pod := &corev1.Pod{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "orders",
				Labels: map[string]string{contract.UseLabel: contract.UseLabelValue}, Annotations: map[string]string{key: "x"},
			},
			Spec: corev1.PodSpec{ServiceAccountName: "orders", Containers: []corev1.Container{{Name: "app", Env: []corev1.EnvVar{{Name: contract.EnvClientID, Value: guid(1)}}}}},
		}
		text, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		warns := len(handlers.Parse(t, text).Inject(inject.Account{Namespace: "shop", Name: "orders"}, injecttest.Settings()).Warnings) > 0
		passes := p.matches(t, pod, cel.OptionalVariableBindings{})
		if warns && !passes {
			t.Errorf("key %q earns a warning, which the policy never looks for", key)
		}
		if !counts && passes {
			t.Errorf("key %q is looked at", key)
		}
		if warns {
			warned++
		}
		if passes {
			passed++
		}
	}
	t.Logf("%d keys: %d earn a warning, %d are looked at", len(keys), warned, passed)
	if warned < 500 {
		t.Errorf("only %d keys earn a warning", warned)
	}
}

// mistyped is one of our keys with up to three errors in its prefix.
func mistyped(random *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyzAZ09-_."
	prefix := []byte(contract.Prefix[:len(contract.Prefix)-1])
	for range random.IntN(4) {
		at, letter := 1+random.IntN(len(prefix)-2), letters[random.IntN(len(letters))]
		switch random.IntN(3) {
		case 0:
			prefix[at] = letter
		case 1:
			prefix = append(prefix[:at], prefix[at+1:]...)
		default:
			prefix = append(prefix[:at], append([]byte{letter}, prefix[at:]...)...)
		}
	}
	return string(prefix) + "/skip_containers"
}
