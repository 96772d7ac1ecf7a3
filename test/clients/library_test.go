package clients

import (
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

// The example of docs/emulator.md: an application's author tests against an
// emulator in the same process.
func TestLibrary(t *testing.T) {
	t.Parallel()
	cluster := emulatortest.NewIssuer(t) // signs service account tokens
	azure := emulatortest.Start(t, emulator.Config{Seed: []byte(`
managedIdentities:
  - name: web
    clientId: 33333333-0000-4000-8000-000000000002
    federatedCredentials: [{name: web, issuer: ` + cluster.URL + `, subject: "system:serviceaccount:default:web"}]
roleAssignments: [{role: Key Vault Secrets User, principal: web}]
vaults: [{name: web, secrets: {greeting: hello}}]
`)})
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, []byte(cluster.Token(t, "default", "web", nil)))
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: azure.AuthorityURL},
		Transport: azure.Client(), // trusts the emulator
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, DisableInstanceDiscovery: true, TokenFilePath: token,
		TenantID: emulator.DefaultTenantID, ClientID: "33333333-0000-4000-8000-000000000002",
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := azsecrets.NewClient(azure.VaultURL("web"), credential, &azsecrets.ClientOptions{
		ClientOptions: options, DisableChallengeResourceVerification: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.GetSecret(t.Context(), "greeting", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *secret.Value != "hello" {
		t.Errorf("secret is %q", *secret.Value)
	}
}
