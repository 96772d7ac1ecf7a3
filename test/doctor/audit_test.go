package doctor_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"azwi/contract"
)

// audited is what azwi audit -o json prints.
type audited struct {
	ServiceAccounts []struct {
		Namespace, Name, Identity string
		Actors                    []struct {
			Subject string
			Ways    []string
		}
	}
	Administrators []string
	Causes         []struct {
		Code  string
		Cases []struct{ Object, Text string }
	}
}

// audit: who is given what in the cluster, and what azwi audit says of it.
func (w world) audit(t *testing.T) {
	t.Parallel()
	namespace, err := w.c.NewNamespace(t.Context(), "audit")
	if err != nil {
		t.Fatal(err)
	}
	m := mistake{
		Pod:     object{},
		Account: object{"metadata": object{"annotations": object{contract.TokenExpirationAnnotation: "43200"}}},
		Seed: object{"managedIdentities": []any{object{
			"name": "payments", "clientId": otherID, "federatedCredentials": []any{object{"name": "gone", "issuer": w.c.Issuer, "subject": contract.Subject(namespace, "gone")}},
		}}},
	}
	w.plant(t, namespace, m)
	const rbac = "/apis/rbac.authorization.k8s.io/v1/"
	role := func(name string, rules ...any) {
		w.do(t, "POST", rbac+"namespaces/"+namespace+"/roles", object{"metadata": object{"name": name}, "rules": rules})
	}
	bind := func(name, role, subject string) {
		w.do(t, "POST", rbac+"namespaces/"+namespace+"/rolebindings", object{
			"metadata": object{"name": name}, "roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
			"subjects": []any{object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": subject}},
		})
	}
	role("token", object{"apiGroups": []any{""}, "resources": []any{"serviceaccounts/token"}, "resourceNames": []any{"orders"}, "verbs": []any{"create"}})
	role("other-token", object{"apiGroups": []any{""}, "resources": []any{"serviceaccounts/token"}, "resourceNames": []any{"payments"}, "verbs": []any{"create"}})
	role("debug", object{"apiGroups": []any{""}, "resources": []any{"pods/ephemeralcontainers"}, "verbs": []any{"patch"}})
	role("kubelet", object{"apiGroups": []any{""}, "resources": []any{"nodes/proxy"}, "verbs": []any{"*"}}) // of no use in a namespace
	role("edit",
		object{"apiGroups": []any{""}, "resources": []any{"pods", "pods/exec", "replicationcontrollers", "serviceaccounts/token"}, "verbs": []any{"*"}},
		object{"apiGroups": []any{"apps", "batch"}, "resources": []any{"*"}, "verbs": []any{"patch"}},
		object{"apiGroups": []any{""}, "resources": []any{"serviceaccounts"}, "verbs": []any{"impersonate"}})
	role("view", object{"apiGroups": []any{"*"}, "resources": []any{"*"}, "verbs": []any{"list", "watch"}})
	bind("edit", "edit", "editors")
	bind("view", "view", "viewers")
	bind("token", "token", "tokens")
	bind("other-token", "other-token", "other-tokens")
	bind("debug", "debug", "debuggers")
	bind("kubelet", "kubelet", "kubelets")

	at := w.machine(t, namespace, m)
	run := func(args ...string) (audited, string, int) {
		t.Helper()
		out, stderr, code := at.run(t, w.binary, append([]string{"audit", "-o", "json"}, args...)...)
		var a audited
		if err := json.Unmarshal(out, &a); err != nil {
			t.Fatalf("exit code %d: %s%s", code, out, stderr)
		}
		return a, string(out), code
	}
	a, out, code := run("-n", namespace)
	if code != 0 || len(a.ServiceAccounts) != 1 || a.ServiceAccounts[0].Identity != "orders" || !slices.Contains(a.Administrators, "group system:masters") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	got := map[string]string{}
	for _, actor := range a.ServiceAccounts[0].Actors {
		if name, ok := strings.CutPrefix(actor.Subject, "group "); ok {
			got[name] = strings.Join(actor.Ways, ", ")
		}
	}
	want := map[string]string{
		"editors": "create pods, create or change workloads, create or change jobs, create or change replication controllers, request tokens, impersonate, exec into pods",
		"tokens":  "request tokens", "debuggers": "add ephemeral containers",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	codes := func(a audited) (all []string) {
		for _, c := range a.Causes {
			all = append(all, c.Code)
		}
		return all
	}
	if diff := gocmp.Diff([]string{"can-act-as", "imds-reachable", "token-long-lived"}, codes(a)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.do(t, "POST", "/apis/networking.k8s.io/v1/namespaces/"+namespace+"/networkpolicies", object{
		"metadata": object{"name": "egress"}, "spec": object{"podSelector": object{}, "policyTypes": []any{"Egress"}, "egress": []any{object{"to": []any{object{"ipBlock": object{
			"cidr": "0.0.0.0/0", "except": []any{"169.254.169.254/32"},
		}}}}}},
	})
	if a, out, _ := run("-n", namespace); slices.Contains(codes(a), "imds-reachable") {
		t.Errorf("with a NetworkPolicy: %s", out)
	}
	// A second service account of the other identity has a credential that nobody uses.
	w.do(t, "POST", "/api/v1/namespaces/"+namespace+"/serviceaccounts", object{"metadata": object{"name": "payments", "annotations": object{contract.ClientIDAnnotation: otherID}}})
	if a, out, code := run("-A"); code != 2 || !slices.Contains(codes(a), "credential-unused") {
		t.Errorf("exit code %d: %s", code, out)
	}
	w.auditInPipeline(t, at, namespace, out)
}

// auditInPipeline: a baseline leaves out what is known, and SARIF is valid.
func (w world) auditInPipeline(t *testing.T, at machine, namespace, earlier string) {
	t.Helper()
	baseline := filepath.Join(t.TempDir(), "audit.json")
	if err := os.WriteFile(baseline, []byte(earlier), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--fail-on", "info"}, 2, "of severity info or worse"},
		{[]string{"--fail-on", "never"}, 0, ""},
		{[]string{"--fail-on", "info", "--baseline", baseline}, 2, "service account " + namespace + "/payments"}, // it is new
		{[]string{"--fail-on", "bad"}, 1, "use error, warning or info, or never"},
		{[]string{"--baseline", "/dev/null"}, 1, "--baseline"},
		{[]string{"--baseline", t.TempDir()}, 1, "--baseline"},
	} {
		out, stderr, code := at.run(t, w.binary, append([]string{"audit", "-n", namespace, "-o", "yaml"}, row.args...)...)
		if code != row.code || !strings.Contains(string(out)+stderr, row.says) {
			t.Errorf("%v: exit code %d, want %d and %q: %s%s", row.args, code, row.code, row.says, out, stderr)
		}
	}
	for _, args := range [][]string{{"audit", "-n", namespace, "-o", "sarif", "--fail-on", "never"}, {"doctor", "-n", namespace, "-o", "sarif"}} {
		out, stderr, _ := at.run(t, w.binary, args...)
		report, err := sarif.FromBytes(out)
		if err != nil {
			t.Fatalf("%v: %v: %s%s", args, err, out, stderr)
		}
		for _, run := range report.Runs { // what the library adds when it reads a document, and then takes for wrong
			run.Language, run.Tool.Driver.Language, run.NewlineSequences = "en-US", "en-US", []string{"\n"}
		}
		if err := report.Validate(); err != nil || len(report.Runs) != 1 || len(report.Runs[0].Results) == 0 {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
}
