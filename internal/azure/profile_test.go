package azure_test

import (
	"os"
	"path/filepath"
	"testing"

	"azwi/internal/azure"
	"azwi/internal/token/entra"
)

// As az writes it, with subscriptions of two clouds, each with its default.
const profile = "\ufeff" + `{"installationId": "x", "subscriptions": [
	{"id": "s1", "name": "one", "state": "Enabled", "user": {"name": "u", "type": "user"}, "isDefault": false, "tenantId": "t1", "environmentName": "AzureCloud", "homeTenantId": "t1", "managedByTenants": []},
	{"id": "s2", "isDefault": true, "tenantId": "t2", "environmentName": "AzureCloud"},
	{"id": "s3", "isDefault": true, "tenantId": "t3", "environmentName": "AzureUSGovernment"}
]}`

func TestProfile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, profile string
		cloud         int
		want          string
		fails         bool
	}{
		{name: "public", profile: profile, want: "s2"},
		{name: "US government", profile: profile, cloud: 1, want: "s3"},
		{name: "China", profile: profile, cloud: 2},
		{name: "az was never used"},
		{name: "signed out", profile: `{"subscriptions": []}`},
		{name: "damaged", profile: `{`, fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if test.profile != "" {
				if err := os.WriteFile(filepath.Join(folder, "azureProfile.json"), []byte(test.profile), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			read, err := azure.ReadProfile(folder)
			if got := read.Subscription("", entra.Clouds()[test.cloud]); got.ID != test.want || (err != nil) != test.fails {
				t.Errorf("%+v, %v; want %q", got, err, test.want)
			}
			if got := read.Subscription("S1", entra.Clouds()[0]); len(read.Subscriptions) > 0 && (got.TenantID != "t1" || got.User.Name != "u") {
				t.Errorf("by ID: %+v", got)
			}
		})
	}
}
