package hosts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	type target struct {
		Service     Service
		Cloud, Name string
	}
	for host, want := range map[string]target{
		"login.microsoftonline.com":          {Authority, "AzurePublicCloud", ""},
		"LOGIN.windows.net:443":              {Authority, "AzurePublicCloud", ""},
		"login.microsoftonline.us":           {Authority, "AzureUSGovernmentCloud", ""},
		"login.partner.microsoftonline.cn":   {Authority, "AzureChinaCloud", ""},
		"management.chinacloudapi.cn":        {ResourceManager, "AzureChinaCloud", ""},
		"graph.microsoft.us":                 {Graph, "AzureUSGovernmentCloud", ""},
		"web.vault.usgovcloudapi.net":        {Vault, "AzureUSGovernmentCloud", "web"},
		"account.blob.core.chinacloudapi.cn": {Blob, "AzureChinaCloud", "account"},
		"vault.azure.net":                    {},
		"a.b.vault.azure.net":                {},
		"evil-management.azure.com":          {},
		"management.azure.com.evil.example":  {},
		"127.0.0.1:8443":                     {},
		"":                                   {},
	} {
		got, ok := Lookup(host)
		if diff := cmp.Diff(want, target{got.Service, got.Cloud.Name, got.Name}); diff != "" {
			t.Errorf("%q: %s", host, diff)
		}
		if known := want.Service != ""; ok != known {
			t.Errorf("%q: %t, want %t", host, ok, known)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9:1": true, "[::1]:8443": true, "::1": true, "localhost": true, "LOCALHOST:1": true, "::ffff:127.0.0.1": true,
		"0.0.0.0": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "169.254.169.254": false, "": false, "10.0.0.1:8443": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		service  Service
		audience string
		want     bool
	}{
		{ResourceManager, "https://management.azure.com", true},
		{ResourceManager, "https://management.core.windows.net/", true},
		{ResourceManager, "https://graph.microsoft.com", false},
		{Vault, "https://vault.azure.net", true},
		{Vault, "https://vault.azure.cn/", true},
		{Graph, "00000003-0000-0000-c000-000000000000", true},
		{Graph, "https://127.0.0.1:8443", true}, // one origin for all in direct mode
		{Graph, "https://127.0.0.1.evil.example", false},
		{Vault, "", false},
	} {
		if got := tt.service.Accepts(tt.audience); got != tt.want {
			t.Errorf("%s accepts %q: %v", tt.service, tt.audience, got)
		}
	}
}
