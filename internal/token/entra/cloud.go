package entra

import (
	"fmt"
	"strings"
)

// A Cloud is one Azure cloud and its endpoints. URLs are as Azure's SDKs write
// them: AuthorityHost ends in a slash, the others do not.
type Cloud struct {
	// Name as in AZURE_ENVIRONMENT, for example AzurePublicCloud.
	Name string
	// AzName is az's name of it, for example AzureCloud; upstream takes it too.
	AzName string
	// AuthorityHost is Entra's token service.
	AuthorityHost string
	// AuthorityAliases are older host names of the same token service.
	AuthorityAliases []string
	// Graph is the endpoint and audience of Microsoft Graph.
	Graph string
	// ResourceManager is the endpoint of Azure Resource Manager.
	ResourceManager string
	// ResourceManagerAudiences are the resources of tokens that it accepts; the
	// first one is what to ask for.
	ResourceManagerAudiences []string
	// VaultSuffix follows the vault's name in the host name of a Key Vault; with
	// https:// before it, it is the vault's audience.
	VaultSuffix string
	// BlobSuffix follows the account's name in the host name of its blobs.
	BlobSuffix string
	// EntraAudience is the audience of a federated credential whose tokens Entra itself
	// issues: those of a managed identity that stands for an application. A Kubernetes
	// token has contract.DefaultAudience in every cloud.
	// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
	EntraAudience string
}

// Clouds returns the table of the public clouds, the default one first.
func Clouds() []Cloud {
	return []Cloud{
		{
			Name:                     "AzurePublicCloud",
			AzName:                   "AzureCloud",
			AuthorityHost:            "https://login.microsoftonline.com/",
			AuthorityAliases:         []string{"login.windows.net", "login.microsoft.com", "sts.windows.net"},
			Graph:                    "https://graph.microsoft.com",
			ResourceManager:          "https://management.azure.com",
			ResourceManagerAudiences: []string{"https://management.azure.com", "https://management.core.windows.net"},
			VaultSuffix:              "vault.azure.net",
			BlobSuffix:               "blob.core.windows.net",
			EntraAudience:            "api://AzureADTokenExchange",
		},
		{
			Name:                     "AzureUSGovernmentCloud",
			AzName:                   "AzureUSGovernment",
			AuthorityHost:            "https://login.microsoftonline.us/",
			AuthorityAliases:         []string{"login.usgovcloudapi.net"},
			Graph:                    "https://graph.microsoft.us",
			ResourceManager:          "https://management.usgovcloudapi.net",
			ResourceManagerAudiences: []string{"https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net"},
			VaultSuffix:              "vault.usgovcloudapi.net",
			BlobSuffix:               "blob.core.usgovcloudapi.net",
			EntraAudience:            "api://AzureADTokenExchangeUSGov",
		},
		{
			Name:                     "AzureChinaCloud",
			AzName:                   "AzureChinaCloud",
			AuthorityHost:            "https://login.chinacloudapi.cn/",
			AuthorityAliases:         []string{"login.partner.microsoftonline.cn"},
			Graph:                    "https://microsoftgraph.chinacloudapi.cn",
			ResourceManager:          "https://management.chinacloudapi.cn",
			ResourceManagerAudiences: []string{"https://management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn"},
			VaultSuffix:              "vault.azure.cn",
			BlobSuffix:               "blob.core.chinacloudapi.cn",
			EntraAudience:            "api://AzureADTokenExchangeChina",
		},
	}
}

// CloudByName finds a cloud by either of its names, in any letter case. An empty
// name is the public cloud.
func CloudByName(name string) (Cloud, error) {
	clouds := Clouds()
	if name == "" {
		return clouds[0], nil
	}
	known := make([]string, len(clouds))
	for i, c := range clouds {
		if strings.EqualFold(c.Name, name) || strings.EqualFold(c.AzName, name) {
			return c, nil
		}
		known[i] = c.Name
	}
	return Cloud{}, fmt.Errorf("unknown Azure environment %q: use one of %s", name, strings.Join(known, ", "))
}
