package contract

import (
	"net/http"
	"strings"
	"testing"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

// Changes are seen at once, so that the suite needs no patience here.
const seed = `
servicePrincipals:
  - name: operator
    appId: ` + emulator.DefaultOperatorID + `
    secrets: [{value: ` + emulator.DefaultOperatorSecret + `}]
    appRoles: [Application.ReadWrite.All]
roleAssignments: [{role: Owner, principal: operator}]
replication: {minDelay: 0s, maxDelay: 0s, missMemory: 0s}
`

func emulated(t *testing.T, b Backend, client *http.Client) Backend {
	t.Helper()
	t.Cleanup(client.CloseIdleConnections)
	b.Client = client
	b.TenantID, b.SubscriptionID, b.Group, b.Location = emulator.DefaultTenantID, emulator.DefaultSubscriptionID, emulator.DefaultResourceGroup, "westeurope"
	b.ClientID, b.ClientSecret = emulator.DefaultOperatorID, emulator.DefaultOperatorSecret
	return b
}

func TestEmulatorDirect(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed)})
	origin := strings.TrimSuffix(cloud.AuthorityURL, "/")
	Run(t, emulated(t, Backend{Authority: origin, ResourceManager: origin, Graph: origin}, cloud.Client()))
}

func TestEmulatorByProxy(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed)})
	Run(t, emulated(t, PublicCloud(), cloud.ProxyClient(t)))
}
