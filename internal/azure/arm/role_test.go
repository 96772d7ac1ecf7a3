package arm_test

import (
	"testing"

	"azwi/internal/azure/arm"
)

func TestCheckScope(t *testing.T) {
	t.Parallel()
	const sub = "/subscriptions/33333333-0000-4000-8000-000000000003"
	for scope, want := range map[string]bool{
		"/": true, sub: true, sub + "/resourceGroups/web": true, sub + "/resourcegroups/Web_1.(x)-y": true,
		sub + "/resourceGroups/web/providers/Microsoft.KeyVault/vaults/v":                                    true,
		sub + "/resourceGroups/web/providers/Microsoft.Storage/storageAccounts/a/blobServices/default":       true,
		sub + "/providers/Microsoft.X/things/a":                                                              true,
		sub + "/resourceGroups/web/providers/Microsoft.X/things/a/providers/Microsoft.Insights/components/b": true,
		"/providers/Microsoft.Management/managementGroups/root":                                              true,
		"": false, "x": false, "/x": false, sub[1:]: false, sub + "/": false, "/subscriptions/ID": false, "/subscriptions/<ID>": false,
		sub + "/resourceGroups": false, sub + "/resourceGroups/": false, sub + "/resourceGroups/a b ": false, sub + "/groups/web": false,
		sub + "/resourceGroups/web/providers/Microsoft.KeyVault/vaults": false, "https://management.azure.com" + sub: false, sub + "?x": false,
		sub + "/resourceGroups/we\nb": false, sub + "/resourceGroups/{name}/x": false, "//": false,
	} {
		if err := arm.CheckScope(scope); (err == nil) != want {
			t.Errorf("%q: %v", scope, err)
		}
	}
}

func TestShortScope(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]string{
		"/subscriptions/s": "subscription s", "/subscriptions/s/": "subscription s",
		"/subscriptions/s/resourceGroups/g": "resource group g", "/Subscriptions/s/resourcegroups/g": "resource group g",
		arm.IdentityID{Subscription: "s", ResourceGroup: "g", Name: "i"}.String():         "managed identity i in resource group g",
		"/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v":         "vaults v in resource group g",
		"/subscriptions/s/resourceGroups/g/providers/Microsoft.Sql/servers/x/databases/y": "databases y in resource group g",
		"/providers/Microsoft.Management/managementGroups/m":                              "management group m",
		"/": "/", "": "", "33333333-0000-4000-8000-000000000001": "33333333-0000-4000-8000-000000000001",
	} {
		if got := arm.ShortScope(scope); got != want {
			t.Errorf("%s: %s, want %s", scope, got, want)
		}
	}
}
