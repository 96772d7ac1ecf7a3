package clients

import (
	"os"
	"os/exec"
	"testing"
)

func TestNode(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	need(t, "node", err == nil)
	_, err = os.Stat("node/node_modules/@azure/identity")
	need(t, "@azure/identity", err == nil)
	c := start(t)
	certificate := append(operator(), "CERTIFICATE="+c.certFile)
	tests := []struct {
		kind string
		env  []string
		// only is the single way that the client allows, if it has one: the
		// metadata service can be reached by the proxy only, and MSAL uses no proxy
		// from the environment.
		only string
	}{
		{kind: "workload", env: c.workload()},
		{kind: "secret", env: operator()},
		{kind: "certificate", env: certificate},
		{kind: "managed", env: []string{"AZURE_CLIENT_ID=" + podID}, only: "proxy"},
		{kind: "msal-secret", env: operator(), only: "direct"},
		{kind: "msal-assertion", env: c.workload(), only: "direct"},
	}
	for _, tt := range tests {
		if tt.only != "direct" {
			t.Run(tt.kind+" by proxy", func(t *testing.T) {
				checkReader(t, runJSON(t, c.environment(t, false, tt.env...), node, "node/client.mjs", tt.kind, proxyVault))
			})
		}
		if tt.only != "proxy" {
			t.Run(tt.kind+" direct", func(t *testing.T) {
				checkReader(t, runJSON(t, c.environment(t, true, tt.env...), node, "node/client.mjs", tt.kind, c.directVault(), "direct"))
			})
		}
	}
}

// checkReader checks what a client says that reads the vault.
func checkReader(t *testing.T, got result) {
	t.Helper()
	if want := (result{Secret: greeting, Secrets: secretCount}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
