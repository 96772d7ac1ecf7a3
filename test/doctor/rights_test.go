package doctor_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"azwi/emulator"
)

// rights: who may only get pods, and nothing in Azure, learns what can be learnt, and which
// rights are lacking.
func (w world) rights(t *testing.T) {
	t.Parallel()
	namespace, err := w.c.NewNamespace(t.Context(), "doctor")
	if err != nil {
		t.Fatal(err)
	}
	m := mistake{Pod: object{}, Subject: "pod/orders-1", Seed: object{"servicePrincipals": []any{object{
		"name": "nobody", "appId": otherID, "secrets": []any{object{"value": "nobodys-secret"}},
	}}}}
	w.plant(t, namespace, m)
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	w.do(t, "POST", rbac+namespace+"/roles", object{"metadata": object{"name": "viewer"}, "rules": []any{object{"apiGroups": []any{""}, "resources": []any{"pods"}, "verbs": []any{"get"}}}})
	w.do(t, "POST", rbac+namespace+"/rolebindings", object{
		"metadata": object{"name": "viewer"}, "roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "viewer"},
		"subjects": []any{object{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "viewer-" + namespace}},
	})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := w.c.WriteKubeconfig(kubeconfig, "viewer-"+namespace); err != nil {
		t.Fatal(err)
	}
	at := w.machine(t, namespace, m)
	at.env = slices.DeleteFunc(at.env, func(e string) bool {
		return strings.HasPrefix(e, "KUBECONFIG=") || strings.HasPrefix(e, "AZURE_CLIENT_")
	})
	at.env = append(at.env, "KUBECONFIG="+kubeconfig, "AZURE_CLIENT_ID="+otherID, "AZURE_CLIENT_SECRET=nobodys-secret", "AZURE_TENANT_ID="+emulator.DefaultTenantID)
	out, stderr, code, r := w.doctor(t, at)
	states := map[string]string{}
	for _, l := range r.Links {
		states[l.Link] = l.State
		if len(l.Findings) > 0 {
			t.Errorf("%s blames %v", l.Link, l.Findings)
		}
	}
	for link, want := range map[string]string{"workload": "ok", "service account": "unknown", "token": "unknown", "identity": "unknown", "credential": "not reached", "exchange": "not reached"} {
		if states[link] != want {
			t.Errorf("%s is %q, want %q", link, states[link], want)
		}
	}
	if code != 3 || strings.Count(stderr, "\n") > 2 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	for _, args := range [][]string{{"doctor", "-A"}, {"doctor", "-n", namespace}} {
		if out, stderr, code := at.run(t, w.binary, args...); code != 3 || !strings.Contains(string(out), "serviceaccounts") {
			t.Errorf("%v: exit code %d: %s%s", args, code, out, stderr)
		}
	}
	if text, stderr, _ := at.run(t, w.binary, "doctor", at.subject, "-n", namespace); testing.Verbose() {
		t.Logf("%s%s", text, stderr)
	}
}
