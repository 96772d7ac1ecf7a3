package entra_test

import (
	"strings"
	"testing"

	"azwi/internal/token/entra"
)

func TestCloudByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                       "https://login.microsoftonline.com/",
		"AzurePublicCloud":       "https://login.microsoftonline.com/",
		"AZUREPUBLICCLOUD":       "https://login.microsoftonline.com/",
		"AzureUSGovernmentCloud": "https://login.microsoftonline.us/",
		"AZURECHINACLOUD":        "https://login.chinacloudapi.cn/",
		"AzureCloud":             "https://login.microsoftonline.com/",
		"AZURECLOUD":             "https://login.microsoftonline.com/",
		"AzureUSGovernment":      "https://login.microsoftonline.us/",
		"azureusgovernment":      "https://login.microsoftonline.us/",
	} {
		if got, err := entra.CloudByName(name); err != nil || got.AuthorityHost != want {
			t.Errorf("%q: %q, %v", name, got.AuthorityHost, err)
		}
	}
	if _, err := entra.CloudByName("AzureGermanCloud"); err == nil || !strings.Contains(err.Error(), "AzureChinaCloud") {
		t.Errorf("unknown cloud: %v", err)
	}
}

// TestCloudsAreComplete: each part of the product needs each endpoint of each cloud.
func TestCloudsAreComplete(t *testing.T) {
	t.Parallel()
	for _, c := range entra.Clouds() {
		if !strings.HasSuffix(c.AuthorityHost, "/") || !strings.HasPrefix(c.Graph, "https://") || strings.HasSuffix(c.ResourceManager, "/") ||
			len(c.ResourceManagerAudiences) == 0 || c.VaultSuffix == "" || c.BlobSuffix == "" || !strings.HasPrefix(c.EntraAudience, "api://") {
			t.Errorf("%+v", c)
		}
	}
}
