package seed

import "time"

// A File is the seed file as it is written. docs/schema/emulator-seed.json is
// made from these types.
type File struct {
	// Tenants; the first is the default of everything below. Empty is one tenant.
	Tenants []Tenant `json:"tenants,omitempty"`
	// Subscriptions; the first is the default. Empty is one subscription.
	Subscriptions     []Subscription     `json:"subscriptions,omitempty"`
	Applications      []Application      `json:"applications,omitempty"`
	ServicePrincipals []ServicePrincipal `json:"servicePrincipals,omitempty"`
	ManagedIdentities []ManagedIdentity  `json:"managedIdentities,omitempty"`
	RoleDefinitions   []RoleDefinition   `json:"roleDefinitions,omitempty"`
	RoleAssignments   []RoleAssignment   `json:"roleAssignments,omitempty"`
	Vaults            []Vault            `json:"vaults,omitempty"`
	// Issuers says where the keys of an issuer URL really are.
	Issuers     map[string]Issuer `json:"issuers,omitempty"`
	Replication Replication       `json:"replication,omitzero"`
}

// Tenant is an Entra directory.
type Tenant struct {
	ID     string `json:"id"`
	Domain string `json:"domain,omitempty"`
	Name   string `json:"name,omitempty"`
	// Resources are further identifier URIs that tokens are issued for.
	Resources []string `json:"resources,omitempty"`
}

// Subscription is an Azure subscription.
type Subscription struct {
	ID             string          `json:"id"`
	Name           string          `json:"name,omitempty"`
	Tenant         string          `json:"tenant,omitempty"`
	ResourceGroups []ResourceGroup `json:"resourceGroups,omitempty"`
}

// ResourceGroup is a resource group of a subscription.
type ResourceGroup struct {
	Name     string `json:"name"`
	Location string `json:"location,omitempty"`
}

// Secret is a client secret.
type Secret struct {
	Value   string    `json:"value"`
	Expires time.Time `json:"expires,omitzero"`
}

// Certificate is a client certificate in PEM, in the file or beside it.
type Certificate struct {
	PEM  string `json:"pem,omitempty"`
	File string `json:"file,omitempty"`
}

// Credential is a federated identity credential.
type Credential struct {
	Name                     string `json:"name"`
	Issuer                   string `json:"issuer"`
	Subject                  string `json:"subject,omitempty"`
	Audience                 string `json:"audience,omitempty"`
	Description              string `json:"description,omitempty"`
	ClaimsMatchingExpression string `json:"claimsMatchingExpression,omitempty"`
}

// Application is an app registration. It gets a service principal in its tenant
// unless servicePrincipal is false or one is listed under servicePrincipals.
type Application struct {
	Name                        string        `json:"name"`
	AppID                       string        `json:"appId,omitempty"`
	ObjectID                    string        `json:"objectId,omitempty"`
	Tenant                      string        `json:"tenant,omitempty"`
	SignInAudience              string        `json:"signInAudience,omitempty"`
	IdentifierURIs              []string      `json:"identifierUris,omitempty"`
	RequestedAccessTokenVersion int           `json:"requestedAccessTokenVersion,omitempty"`
	Owners                      []string      `json:"owners,omitempty"`
	ServicePrincipal            *bool         `json:"servicePrincipal,omitempty"`
	Secrets                     []Secret      `json:"secrets,omitempty"`
	Certificates                []Certificate `json:"certificates,omitempty"`
	FederatedCredentials        []Credential  `json:"federatedCredentials,omitempty"`
}

// ServicePrincipal is an application's presence in a tenant. If no application
// has its appId, one is registered.
type ServicePrincipal struct {
	Name           string        `json:"name"`
	AppID          string        `json:"appId,omitempty"`
	ObjectID       string        `json:"objectId,omitempty"`
	Tenant         string        `json:"tenant,omitempty"`
	Secrets        []Secret      `json:"secrets,omitempty"`
	Certificates   []Certificate `json:"certificates,omitempty"`
	DirectoryRoles []string      `json:"directoryRoles,omitempty"`
	AppRoles       []string      `json:"appRoles,omitempty"`
}

// ManagedIdentity is a user-assigned managed identity.
type ManagedIdentity struct {
	Name                 string            `json:"name"`
	Subscription         string            `json:"subscription,omitempty"`
	ResourceGroup        string            `json:"resourceGroup,omitempty"`
	Location             string            `json:"location,omitempty"`
	ClientID             string            `json:"clientId,omitempty"`
	PrincipalID          string            `json:"principalId,omitempty"`
	Tags                 map[string]string `json:"tags,omitempty"`
	IMDS                 bool              `json:"imds,omitempty"`
	FederatedCredentials []Credential      `json:"federatedCredentials,omitempty"`
}

// RoleDefinition is a custom role.
type RoleDefinition struct {
	ID             string   `json:"id,omitempty"`
	Name           string   `json:"name"`
	Description    string   `json:"description,omitempty"`
	Actions        []string `json:"actions,omitempty"`
	NotActions     []string `json:"notActions,omitempty"`
	DataActions    []string `json:"dataActions,omitempty"`
	NotDataActions []string `json:"notDataActions,omitempty"`
}

// RoleAssignment gives a role to a principal. Scope is the first subscription
// if it is empty.
type RoleAssignment struct {
	Role      string `json:"role"`
	Principal string `json:"principal"`
	Scope     string `json:"scope,omitempty"`
}

// Vault is a Key Vault.
type Vault struct {
	Name          string            `json:"name"`
	Subscription  string            `json:"subscription,omitempty"`
	ResourceGroup string            `json:"resourceGroup,omitempty"`
	Location      string            `json:"location,omitempty"`
	Secrets       map[string]string `json:"secrets,omitempty"`
}

// Issuer says where a JWKS is: url with the CA that signed its certificate, or
// file.
type Issuer struct {
	URL    string `json:"url,omitempty"`
	CAFile string `json:"caFile,omitempty"`
	File   string `json:"file,omitempty"`
}

// Replication says how changes spread. Absent fields keep their defaults.
type Replication struct {
	Replicas   *int           `json:"replicas,omitempty"`
	MinDelay   *time.Duration `json:"minDelay,omitempty"`
	MaxDelay   *time.Duration `json:"maxDelay,omitempty"`
	MissMemory *time.Duration `json:"missMemory,omitempty"`
	WriteTime  *time.Duration `json:"writeTime,omitempty"`
}
