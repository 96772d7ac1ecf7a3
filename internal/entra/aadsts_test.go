package entra_test

import (
	"strings"
	"testing"

	"azwi/internal/entra"
)

// TestExplain: every code that workload identity is known to meet has a class and
// one line of advice.
func TestExplain(t *testing.T) {
	t.Parallel()
	classes := map[entra.Class][]int{
		entra.Replication: {70021, 700211, 700212, 700213, 70025},
		entra.Transient:   {90033, 90055, 50166, 501661, 90061},
		entra.Permanent: {
			7002138, 7002131, 70023, 70052, 700016, 700024, 700027, 7000272, 50027, 5002730, 900612, 90002, 500011, 70011, 1002012,
			7000216, 7000218, 7000215, 7000222, 900144, 90014, 7000229, 700222, 700226, 700238, 53003,
		},
	}
	for class, codes := range classes {
		for _, code := range codes {
			got := entra.Explain(code)
			if got.Class != class {
				t.Errorf("AADSTS%d is %v, want %v", code, got.Class, class)
			}
			if got.Advice == "" || strings.Contains(got.Advice, "\n") || strings.HasSuffix(got.Advice, ".") {
				t.Errorf("AADSTS%d: advice %q", code, got.Advice)
			}
		}
	}
	if got := entra.Explain(1); got != (entra.Explanation{}) {
		t.Errorf("unknown code: %+v", got)
	}
}

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
			len(c.ResourceManagerAudiences) == 0 || c.VaultSuffix == "" || c.BlobSuffix == "" || !strings.HasPrefix(c.FederationAudience, "api://") {
			t.Errorf("%+v", c)
		}
	}
}
