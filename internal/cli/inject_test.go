package cli

import (
	"bytes"
	"strings"
	"testing"

	"azwi/internal/cli/command"
)

const labelledPod = `# mine
apiVersion: v1
kind: Pod
metadata:
  name: orders
  labels:
    azure.workload.identity/use: "true"
spec:
  serviceAccountName: orders
  containers:
  - name: app
`

func TestInject(t *testing.T) {
	t.Parallel()
	const account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: orders, namespace: shop, annotations: {azure.workload.identity/client-id: nonsense}}\n"
	for _, test := range []struct {
		name, stdin string
		args        []string
		tenant      string
		code        int
		stdout      []string
		stderr      []string
	}{
		{
			name: "the account in the input", stdin: labelledPod + account, args: []string{"-n", "shop"}, tenant: "t",
			stdout: []string{"# mine\n", "value: nonsense", "azure-workload-identity-reserved-token", account},
			stderr: []string{"<stdin>:2:1: warning: Pod shop/orders: ", "not a GUID"},
		},
		{
			name: "no account", stdin: labelledPod, tenant: "t", code: command.ExitError,
			stderr: []string{"<stdin>:2:1: Pod default/orders: service account default/orders: service account not found", "--from-cluster"},
		},
		{
			name: "an account by flags", stdin: labelledPod, tenant: "t",
			args:   []string{"--client-id", "22222222-2222-2222-2222-222222222222", "--tenant-id", "other", "--token-path", "both"},
			stdout: []string{"value: other", "value: 22222222", "name: azure-identity-token"},
		},
		{
			name: "settings by flags", stdin: labelledPod + account,
			args:   []string{"-n", "shop", "--tenant-id", "mine", "--authority-host", "https://login.example.com/"},
			stdout: []string{"value: mine", "value: https://login.example.com/"},
		},
		{
			name: "a tenant for both", stdin: labelledPod,
			args:   []string{"--client-id", "22222222-2222-2222-2222-222222222222", "--tenant-id", "mine"},
			stdout: []string{"value: mine", "value: 22222222"},
		},
		{
			name: "nothing to do", stdin: account, tenant: "t", stdout: []string{account}, stderr: []string{"note: nothing to inject"},
		},
		{
			name: "wrong flags", args: []string{"--log-level", "loud", "--proxy-mode", "none"}, code: command.ExitError,
			stderr: []string{"loud", "--proxy-mode", "AZURE_TENANT_ID is required"},
		},
		{
			name: "the proxy without an image", tenant: "t", code: command.ExitError, stdin: strings.Replace(labelledPod, "  labels:", "  annotations: {azure.workload.identity/inject-proxy-sidecar: \"true\"}\n  labels:", 1),
			args: []string{"--client-id", "22222222-2222-2222-2222-222222222222"}, stderr: []string{"no proxy image is configured: set PROXY_IMAGE"},
		},
		{name: "two sources", args: []string{"--client-id", "x", "--from-cluster"}, tenant: "t", code: command.ExitError, stderr: []string{"exclude each other"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out, log bytes.Buffer
			env := func(name string) string {
				if name == "AZURE_TENANT_ID" {
					return test.tenant
				}
				return ""
			}
			args := append([]string{"inject", "-f", "-"}, test.args...)
			code := Run(t.Context(), args, command.Streams{In: strings.NewReader(test.stdin), Out: &out, Err: &log}, env)
			if code != test.code || code != command.ExitOK && out.Len() > 0 {
				t.Errorf("code %d, stdout %s, stderr %s", code, &out, &log)
			}
			for _, want := range test.stdout {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in %s", want, &out)
				}
			}
			for _, want := range test.stderr {
				if !strings.Contains(log.String(), want) {
					t.Errorf("no %q in %s", want, &log)
				}
			}
		})
	}
	if code, _, stderr := azwi(t, "inject"); code != command.ExitError || !strings.Contains(stderr, "-f") {
		t.Errorf("code %d, %s", code, stderr)
	}
}
