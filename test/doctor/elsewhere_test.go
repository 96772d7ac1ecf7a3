package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"azwi/contract"
)

// elsewhere: manifests that are not applied yet, and Azure without a cluster.
func (w world) elsewhere(t *testing.T) {
	t.Parallel()
	namespace, err := w.c.NewNamespace(t.Context(), "doctor")
	if err != nil {
		t.Fatal(err)
	}
	m := mistake{}
	w.plant(t, namespace, m)
	at := w.machine(t, namespace, m)
	file := filepath.Join(t.TempDir(), "orders.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const healthy = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: orders, annotations: {azure.workload.identity/client-id: ` + clientID + `}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: later}
spec:
  selector: {matchLabels: {app: later}}
  template:
    metadata: {labels: {app: later, azure.workload.identity/use: "true"}}
    spec: {serviceAccountName: orders, containers: [{name: app, image: "app:1"}]}
`
	subject := contract.Subject(namespace, "orders")
	federation := []string{"--issuer", w.c.Issuer, "--subject", subject, "--identity-client-id"}
	for _, row := range []struct {
		name, file string
		args       []string
		code       int
		says       []string
	}{
		{"manifest", healthy, []string{"-f", file, "-n", namespace}, 0, []string{"StatefulSet " + namespace + "/later: no mistake found", "a new pod gets"}},
		{"manifest with a mistake", strings.Replace(healthy, `use: "true"`, `use: "yes"`, 1), []string{"-f", file, "-n", namespace}, 2, []string{"1 mistake: label-value"}},
		{"manifest with another service account", strings.Replace(healthy, clientID, otherID, 1), []string{"-f", file, "-n", namespace}, 2, []string{"identity-missing"}},
		{"manifest without workloads", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", []string{"-f", file}, 1, []string{"no workload", "azwi lint"}},
		{"not a manifest", ": :\n- :", []string{"-f", file}, 1, []string{file}},
		{"file and name", healthy, []string{"-f", file, "deployment/orders"}, 1, []string{"leave them or"}},
		{"some links", "", []string{"deployment/orders", "-n", namespace, "--check", "credential,exchange", "--skip", "role"}, 0, []string{"used: 1 of 20", "no mistake found"}},
		{"a link that there is not", "", []string{"deployment/orders", "-n", namespace, "--check", "credentials"}, 1, []string{`did you mean "credential"?`}},
		{"markdown", "", []string{"deployment/orders", "-n", namespace, "-o", "markdown"}, 0, []string{"| credential | ok |", "## Deployment"}},
		{"markdown of all", "", []string{"-n", namespace, "-o", "markdown"}, 0, []string{"| severity | code |"}},
		{"some pods", "", []string{"-n", namespace, "-l", "app=nothing"}, 0, []string{"0 running pods"}},
		{"sarif of one", "", []string{"deployment/orders", "-n", namespace, "-o", "sarif"}, 1, []string{"use it with -A or -n"}},
		{"without a cluster", "", append(federation, clientID), 0, []string{"managed identity orders", "used: 1 of 20"}},
		{"without a cluster, another identity", "", append(federation, otherID), 2, []string{"identity-missing"}},
		{"without a cluster, another subject", "", []string{"--issuer", w.c.Issuer, "--subject", subject + "s", "--identity-client-id", clientID}, 2, []string{"credential-missing"}},
		{"without a cluster, no subject", "", []string{"--issuer", w.c.Issuer}, 1, []string{"give --issuer, --subject and --identity-client-id"}},
	} {
		write(row.file)
		out, stderr, code := at.run(t, w.binary, append([]string{"doctor"}, row.args...)...)
		if code != row.code {
			t.Errorf("%s: exit code %d, want %d: %s%s", row.name, code, row.code, out, stderr)
		}
		for _, says := range row.says {
			if !strings.Contains(string(out)+stderr, says) {
				t.Errorf("%s does not say %q: %s%s", row.name, says, out, stderr)
			}
		}
	}
}
