package entra_test

import (
	"strings"
	"testing"

	"azwi/internal/token/entra"
)

func TestCloudByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "AzurePublicCloud", "AzureCloud": "AzurePublicCloud", "AZURECLOUD": "AzurePublicCloud", "AZUREPUBLICCLOUD": "AzurePublicCloud",
		"AzureUSGovernment": "AzureUSGovernmentCloud", "azureusgovernment": "AzureUSGovernmentCloud",
		"AZURECHINACLOUD": "AzureChinaCloud",
	} {
		got, err := entra.CloudByName(name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if got.Name != want {
			t.Errorf("%q: %q, want %q", name, got.Name, want)
		}
	}
	for _, c := range entra.Clouds() {
		for _, name := range []string{c.Name, c.AzName} {
			if got, err := entra.CloudByName(name); err != nil || got.Name != c.Name {
				t.Errorf("%q: %q, %v", name, got.Name, err)
			}
		}
	}
	_, err := entra.CloudByName("AzureGermanCloud")
	if err == nil {
		t.Fatal("an unknown cloud is known")
	}
	for _, c := range entra.Clouds() {
		if !strings.Contains(err.Error(), c.Name) {
			t.Errorf("%v does not name %s", err, c.Name)
		}
	}
}

// TestCloudsAreComplete: each part of the product needs each endpoint of each cloud,
// written as Azure's SDKs write it, and no two clouds share one.
func TestCloudsAreComplete(t *testing.T) {
	t.Parallel()
	owner := map[string]string{}
	for _, c := range entra.Clouds() {
		for _, field := range []struct{ name, value, prefix string }{
			{"Name", c.Name, "Azure"},
			{"AuthorityHost", c.AuthorityHost, "https://"},
			{"Graph", c.Graph, "https://"},
			{"ResourceManager", c.ResourceManager, "https://"},
			{"VaultSuffix", c.VaultSuffix, "vault."},
			{"BlobSuffix", c.BlobSuffix, "blob."},
			{"EntraAudience", c.EntraAudience, "api://"},
		} {
			if rest, ok := strings.CutPrefix(field.value, field.prefix); !ok || rest == "" {
				t.Errorf("%s: %s %q, want one that begins with %q", c.Name, field.name, field.value, field.prefix)
			}
			if slash := field.name == "AuthorityHost"; strings.HasSuffix(field.value, "/") != slash {
				t.Errorf("%s: %s %q, want a slash at its end: %t", c.Name, field.name, field.value, slash)
			}
			if other, taken := owner[field.value]; taken {
				t.Errorf("%s: %s %q is that of %s too", c.Name, field.name, field.value, other)
			}
			owner[field.value] = c.Name
		}
		if len(c.ResourceManagerAudiences) == 0 || c.ResourceManagerAudiences[0] != c.ResourceManager {
			t.Errorf("%s: the first of Resource Manager's audiences %q is not %q", c.Name, c.ResourceManagerAudiences, c.ResourceManager)
		}
	}
}
