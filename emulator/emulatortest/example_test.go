package emulatortest_test

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

// Example signs in with the SDK, as the operator that every emulator has.
func Example() {
	test := func(t *testing.T) {
		entra := emulatortest.Start(t, emulator.Config{})
		_, err := azidentity.NewClientSecretCredential(
			emulator.DefaultTenantID, emulator.DefaultOperatorID, emulator.DefaultOperatorSecret,
			&azidentity.ClientSecretCredentialOptions{
				DisableInstanceDiscovery: true,
				ClientOptions: azcore.ClientOptions{
					Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: entra.AuthorityURL},
					Transport: entra.Client(),
				},
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = test // a function of your own tests
}
