package clients

import (
	"os/exec"
	"testing"
)

// python is Debian's, whose packages are tested.
const python = "/usr/bin/python3"

func TestPython(t *testing.T) {
	t.Parallel()
	need(t, "python3-azure, python3-msal", exec.Command(python, "-c", "import azure.identity, azure.keyvault.secrets, msal").Run() == nil)
	c := start(t)
	certificate := append(operator(), "CERTIFICATE="+c.certFile)
	authority := "AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/"
	tests := []struct {
		kind        string
		env         []string
		byProxyOnly bool
	}{
		{kind: "workload", env: append(c.workload(), authority)},
		{kind: "secret", env: operator()},
		{kind: "certificate", env: certificate},
		{kind: "managed", env: []string{"AZURE_CLIENT_ID=" + podID}, byProxyOnly: true},
		{kind: "msal-secret", env: operator()},
		{kind: "msal-assertion", env: c.workload()},
	}
	for _, tt := range tests {
		t.Run(tt.kind+" by proxy", func(t *testing.T) {
			checkReader(t, runJSON(t, c.environment(t, false, tt.env...), python, "python/client.py", tt.kind, proxyVault))
		})
		if tt.byProxyOnly {
			continue
		}
		t.Run(tt.kind+" direct", func(t *testing.T) {
			env := c.environment(t, true, append(tt.env, "AZURE_AUTHORITY_HOST="+c.Authority)...)
			checkReader(t, runJSON(t, env, python, "python/client.py", tt.kind, c.directVault(), "direct"))
		})
	}
}
