package inject_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
)

// FuzzInject holds for every pod and every choice of settings: nothing of the pod
// is lost or changed but the reserved volumes, a second pass finds nothing to do,
// and nothing panics.
func FuzzInject(f *testing.F) {
	cases, err := injecttest.Cases("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for i, c := range cases {
		f.Add(c.Pod, "22222222-2222-2222-2222-222222222222", "7200", uint8(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, clientID, expiration string, choice uint8) {
		raw, before, ok := canonical(raw)
		if !ok {
			return
		}
		pod, err := inject.Parse(raw)
		if err != nil {
			return
		}
		account := inject.Account{Namespace: "shop", Name: "orders", Annotations: map[string]string{
			contract.ClientIDAnnotation: clientID, contract.TokenExpirationAnnotation: expiration,
		}}
		settings := fuzzSettings(choice)
		res := pod.Inject(account, settings)
		if res.Denial != nil && (len(res.Patch) > 0 || res.Denial.Text() == "") {
			t.Fatalf("a denial with a patch or without a message: %+v", res)
		}
		if len(res.Patch) == 0 {
			return
		}
		patched, err := applyPatch(raw, res.Patch)
		if err != nil {
			t.Fatalf("the patch does not apply: %v", err)
		}
		checkKept(t, before, decode(t, patched))
		checkStarts(t, patched)
		again, err := inject.Parse(patched)
		if err != nil {
			t.Fatalf("the patched pod does not parse: %v", err)
		}
		if second := again.Inject(account, settings); len(second.Patch) != 0 || second.Denial != nil {
			t.Fatalf("a second pass is not idle: %+v", second)
		}
	})
}

func fuzzSettings(choice uint8) inject.Settings {
	s := injecttest.Settings()
	s.Layout = inject.Layout(choice % 3)
	s.Proxy.NativeSidecar = choice&4 != 0
	if choice&64 != 0 {
		s.Defaults = map[string]string{contract.ProxyModeAnnotation: contract.ProxyModeEnv, contract.ProxyCAAnnotation: "ca"}
	}
	if choice&128 != 0 {
		s.Proxy.InitImage = "another:v1"
	}
	if choice&8 != 0 {
		s.CustomTokenEndpoint = inject.CustomTokenEndpoint{
			Annotation: contract.CustomTokenEndpointPrefix + "identity-binding",
			Audience:   "api://AKSIdentityBinding", TokenProxy: "https://tokens.example",
		}
		switch {
		case choice&16 != 0:
			s.CustomTokenEndpoint.CAConfigMap = "ca"
		case choice&32 != 0:
			s.CustomTokenEndpoint.CATrustBundleSigner = "example.com/signer"
			s.CustomTokenEndpoint.CATrustBundleSelector = json.RawMessage(`{}`)
		default:
			s.CustomTokenEndpoint.CAData = "PEM"
		}
	}
	return s
}

// canonical writes JSON as the API server would, without doubled members.
func canonical(raw []byte) (text []byte, value map[string]any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v map[string]any
	if d.Decode(&v) != nil || v == nil {
		return nil, nil, false
	}
	text, err := json.Marshal(v)
	return text, v, err == nil
}

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// checkKept fails if anything of before is missing in after or has changed.
func checkKept(t *testing.T, before, after map[string]any) {
	t.Helper()
	same(t, "pod", before, after, "spec", "metadata")
	metadataBefore, metadataAfter := object(before["metadata"]), object(after["metadata"])
	same(t, "metadata", metadataBefore, metadataAfter, "annotations")
	same(t, "annotations", object(metadataBefore["annotations"]), object(metadataAfter["annotations"]), contract.InjectedForAnnotation)
	specBefore, specAfter := object(before["spec"]), object(after["spec"])
	same(t, "spec", specBefore, specAfter, "containers", "initContainers", "volumes")

	for _, list := range []string{"containers", "initContainers"} {
		had, has := items(specBefore[list]), items(specAfter[list])
		offset := 0
		for offset < len(has)-len(had) && ours(has[offset]) {
			offset++
		}
		for i := range had {
			if offset+i >= len(has) {
				t.Fatalf("%s[%d] is lost", list, i)
			}
			b, a := object(had[i]), object(has[offset+i])
			same(t, list, b, a, "env", "volumeMounts")
			kept(t, list+".env", items(b["env"]), items(a["env"]))
			prefix(t, list+".volumeMounts", items(b["volumeMounts"]), items(a["volumeMounts"]))
		}
		for i := offset + len(had); i < len(has); i++ {
			if !ours(has[i]) {
				t.Fatalf("%s[%d] came from nowhere", list, i)
			}
		}
	}
	had, has := items(specBefore["volumes"]), items(specAfter["volumes"])
	for i := range had {
		name, _ := object(had[i])["name"].(string)
		if !strings.HasPrefix(name, contract.VolumePrefix) {
			prefix(t, "volumes", had[i:i+1], has[i:])
		}
	}
}

// kept fails if after has not the whole of before at one of its ends.
func kept(t *testing.T, what string, before, after []any) {
	t.Helper()
	if added := len(after) - len(before); len(before) > 0 && (added < 0 || !reflect.DeepEqual(before, after[:len(before)]) && !reflect.DeepEqual(before, after[added:])) {
		t.Fatalf("%s changed: %v is no longer at an end of %v", what, before, after)
	}
}

// checkStarts makes the kubelet's check of a container that must not be root
// (kuberuntime's verifyRunAsNonRoot) on those that were added: by its own user or
// the pod's, where there is one; that of the image is no root's.
func checkStarts(t *testing.T, patched []byte) {
	t.Helper()
	type security struct {
		RunAsUser    *int64 `json:"runAsUser"`
		RunAsNonRoot *bool  `json:"runAsNonRoot"`
	}
	type container struct {
		Name            string   `json:"name"`
		SecurityContext security `json:"securityContext"`
		Image           string   `json:"image"`
	}
	var pod struct {
		Spec struct {
			SecurityContext security    `json:"securityContext"`
			InitContainers  []container `json:"initContainers"`
			Containers      []container `json:"containers"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(patched, &pod); err != nil {
		return // types that injection does not look at
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name != contract.ProxyContainer && c.Name != contract.ProxyInitContainer || c.Image != injecttest.Settings().Proxy.Image {
			continue
		}
		uid, nonRoot := first(c.SecurityContext.RunAsUser, pod.Spec.SecurityContext.RunAsUser), first(c.SecurityContext.RunAsNonRoot, pod.Spec.SecurityContext.RunAsNonRoot)
		if nonRoot != nil && *nonRoot && uid != nil && *uid == 0 {
			t.Fatalf("the kubelet does not start %s: it must not be root, and its user is", c.Name)
		}
	}
}

// first is the container's own, or else the pod's.
func first[T any](own, ofPod *T) *T {
	if own != nil {
		return own
	}
	return ofPod
}

func ours(container any) bool {
	name, _ := object(container)["name"].(string)
	return name == contract.ProxyContainer || name == contract.ProxyInitContainer
}

func object(v any) map[string]any { o, _ := v.(map[string]any); return o }
func items(v any) []any           { l, _ := v.([]any); return l }

func same(t *testing.T, what string, before, after map[string]any, but ...string) {
	t.Helper()
	b, a := map[string]any{}, map[string]any{}
	maps.Copy(b, before)
	maps.Copy(a, after)
	for _, key := range but {
		delete(b, key)
		delete(a, key)
	}
	if reflect.DeepEqual(b, a) {
		return // cmp.Diff is slow
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Fatalf("%s changed:\n%s", what, diff)
	}
}

func prefix(t *testing.T, what string, before, after []any) {
	t.Helper()
	if len(after) < len(before) || !slices.EqualFunc(before, after[:len(before)], func(a, b any) bool { return reflect.DeepEqual(a, b) }) {
		t.Fatalf("%s changed: %v is no longer at the head of %v", what, before, after)
	}
}
