package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"azwi/contract"
	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
)

// TestOddPods: values that nobody should write end in a denial that names them, by
// us or by the API server, and never in an expression's error.
func TestOddPods(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	install(t, c, namespace, policy.Config{Settings: injecttest.Settings()})
	proxy := contract.InjectProxyAnnotation
	tests := []struct {
		name        string
		annotations object
		spec        object
		want        string // in the denial; empty: admitted
	}{
		{"nothing in the container", nil, object{"containers": []object{{}}}, "spec.containers[0].name: Required"},
		{"nothing anywhere", nil, object{
			"containers": []object{{"env": []object{{}}, "volumeMounts": []object{{}}}}, "initContainers": []object{{}}, "volumes": []object{{}},
		}, "Required"},
		{"no containers", nil, object{}, "spec.containers: Required"},
		{"empty annotations", object{proxy: "", contract.ProxyPortAnnotation: "", contract.SkipContainersAnnotation: " ; ;"}, nil, `proxy-sidecar-port is ""`},
		{"very long number", object{contract.TokenExpirationAnnotation: strings.Repeat("9", 100)}, nil, `is "` + strings.Repeat("9", 64) + `...": must be`},
		{"number with zeros", object{contract.TokenExpirationAnnotation: "+" + strings.Repeat("0", 100) + "3600"}, nil, ""},
		{"negative number", object{contract.TokenExpirationAnnotation: "-3600"}, nil, `is "-3600": must be`},
		{"control characters", object{contract.TokenExpirationAnnotation: "a\nb\"c"}, nil, `is "a\nb\"c": must be`},
		{"escapes of terminals", object{contract.TokenExpirationAnnotation: "a\x1b[31m\u202e"}, nil, `is "a\x1b[31m\xe280ae": must be`},
		{"a refusal that is not ours", object{contract.RefusedAnnotation: "forged: visit example.com"}, nil, "remove it"},
		{"a refusal like ours", object{contract.RefusedAnnotation: "annotation " + contract.ProxyPortAnnotation + " is \"\x1bforged\": must be a port from 1 to 65535"}, nil, "remove it"},
		{"a refusal that is none", object{contract.RefusedAnnotation: ""}, nil, "remove it"},
		{"many identities", object{proxy: "true", contract.ProxyIdentitiesAnnotation: pairs(300)}, nil, ""},
		{"many misspelt keys", misspelt(40), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := tt.spec
			if spec == nil {
				spec = object{"containers": []object{{"name": "app", "image": "app:1"}}}
			}
			spec["serviceAccountName"] = "policy-probe"
			pod := object{"metadata": object{"name": "odd", "labels": object{contract.UseLabel: contract.UseLabelValue}, "annotations": tt.annotations}, "spec": spec}
			_, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, nil)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			case err != nil && (strings.Contains(err.Error(), "forged") || strings.ContainsRune(err.Error(), 0x1b)):
				t.Errorf("the pod's own words, raw: %q", err)
			}
		})
	}
}

func pairs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-%d=%s;", i, guid(i))
	}
	return b.String()
}

func misspelt(n int) object {
	m := object{}
	for i := range n {
		m[contract.Prefix+"inject-proxy-sidecar"+strings.Repeat("-", i%3)+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = "true"
	}
	return m
}
