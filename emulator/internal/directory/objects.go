package directory

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A Tenant is one Entra directory.
type Tenant struct {
	ID string `json:"id"`
	// Domain is the initial domain name, another name of the tenant in URLs.
	Domain string `json:"domain,omitempty"`
	Name   string `json:"name,omitempty"`
	// Resources are the identifier URIs that tokens are issued for beside those
	// of Azure's own services and of the tenant's applications.
	Resources []string `json:"resources,omitempty"`
}

// A Subscription belongs to one tenant.
type Subscription struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	TenantID string `json:"tenantId"`
}

// A ResourceGroup is a scope below a subscription.
type ResourceGroup struct {
	SubscriptionID string            `json:"subscriptionId"`
	Name           string            `json:"name"`
	Location       string            `json:"location"`
	Tags           map[string]string `json:"tags,omitempty"`
}

// ID is the resource ID.
func (g ResourceGroup) ID() string {
	return "/subscriptions/" + g.SubscriptionID + "/resourceGroups/" + g.Name
}

// An Application is registered in its home tenant.
type Application struct {
	ObjectID       string        `json:"objectId"`
	AppID          string        `json:"appId"`
	TenantID       string        `json:"tenantId"`
	Name           string        `json:"name"`
	Description    string        `json:"description,omitempty"`
	Audience       string        `json:"signInAudience"`
	IdentifierURIs []string      `json:"identifierUris,omitempty"`
	Tags           []string      `json:"tags,omitempty"`
	Notes          string        `json:"notes,omitempty"`
	Owners         []string      `json:"owners,omitempty"`
	TokenVersion   int           `json:"tokenVersion,omitempty"`
	Secrets        []Secret      `json:"secrets,omitempty"`
	Certificates   []Certificate `json:"certificates,omitempty"`
	Credentials    []Credential  `json:"federatedCredentials,omitempty"`
	Created        time.Time     `json:"created"`
}

// A Principal is a service principal: an application's presence in a tenant, or
// a managed identity's.
type Principal struct {
	ObjectID string `json:"objectId"`
	AppID    string `json:"appId"`
	TenantID string `json:"tenantId"`
	Name     string `json:"name"`
	// IdentityID is the resource ID of the managed identity behind it.
	IdentityID   string        `json:"identityId,omitempty"`
	Tags         []string      `json:"tags,omitempty"`
	Secrets      []Secret      `json:"secrets,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
	// DirectoryRoles are role template IDs.
	DirectoryRoles []string `json:"directoryRoles,omitempty"`
	// AppRoles are application permissions on Microsoft Graph, for example
	// Application.ReadWrite.All.
	AppRoles []string  `json:"appRoles,omitempty"`
	Created  time.Time `json:"created"`
}

// An Identity is a user-assigned managed identity.
type Identity struct {
	SubscriptionID string            `json:"subscriptionId"`
	ResourceGroup  string            `json:"resourceGroup"`
	Name           string            `json:"name"`
	Location       string            `json:"location"`
	Tags           map[string]string `json:"tags,omitempty"`
	TenantID       string            `json:"tenantId"`
	ClientID       string            `json:"clientId"`
	PrincipalID    string            `json:"principalId"`
	// IMDS tells that this machine has the identity: its IMDS issues tokens.
	IMDS        bool         `json:"imds,omitempty"`
	Credentials []Credential `json:"federatedCredentials,omitempty"`
}

// ID is the resource ID, with the resource group written as Azure does.
func (i Identity) ID() string {
	return "/subscriptions/" + i.SubscriptionID + "/resourcegroups/" + i.ResourceGroup +
		"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + i.Name
}

// Principal is the service principal that the identity has.
func (i Identity) Principal(created time.Time) *Principal {
	return &Principal{
		ObjectID: i.PrincipalID, AppID: i.ClientID, TenantID: i.TenantID, Name: i.Name, IdentityID: i.ID(), Created: created,
	}
}

// A Credential is a federated identity credential.
type Credential struct {
	ID          string `json:"id,omitempty"`
	Name        string `json:"name"`
	Issuer      string `json:"issuer"`
	Subject     string `json:"subject,omitempty"`
	Audience    string `json:"audience"`
	Description string `json:"description,omitempty"`
	// Expression replaces Subject in flexible credentials.
	Expression string `json:"claimsMatchingExpression,omitempty"`
}

// A Secret is a client secret, kept as a hash.
type Secret struct {
	KeyID   string    `json:"keyId"`
	Name    string    `json:"name,omitempty"`
	Hint    string    `json:"hint,omitempty"`
	Hash    [32]byte  `json:"hash"`
	Start   time.Time `json:"start"`
	Expires time.Time `json:"expires"`
}

// NewSecret makes a secret of its value.
func NewSecret(name, value string, start, expires time.Time) Secret {
	return Secret{
		KeyID: uuid.NewString(), Name: name, Hint: value[:min(3, len(value))],
		Hash: sha256.Sum256([]byte(value)), Start: start, Expires: expires,
	}
}

// Is reports whether value is the secret's.
func (s Secret) Is(value string) bool {
	got := sha256.Sum256([]byte(value))
	return subtle.ConstantTimeCompare(got[:], s.Hash[:]) == 1
}

// A Certificate is a client certificate, in DER.
type Certificate struct {
	KeyID string `json:"keyId"`
	Name  string `json:"name,omitempty"`
	DER   []byte `json:"der"`
}

// A RoleDefinition is a role of Azure RBAC.
type RoleDefinition struct {
	// GUID is the last segment of the resource ID.
	GUID           string   `json:"guid"`
	Name           string   `json:"name"`
	Description    string   `json:"description,omitempty"`
	BuiltIn        bool     `json:"builtIn,omitempty"`
	Scopes         []string `json:"assignableScopes,omitempty"`
	Actions        []string `json:"actions,omitempty"`
	NotActions     []string `json:"notActions,omitempty"`
	DataActions    []string `json:"dataActions,omitempty"`
	NotDataActions []string `json:"notDataActions,omitempty"`
}

// A RoleAssignment gives a role to a principal at a scope.
type RoleAssignment struct {
	GUID          string    `json:"guid"`
	Scope         string    `json:"scope"`
	Role          string    `json:"role"`
	PrincipalID   string    `json:"principalId"`
	PrincipalType string    `json:"principalType"`
	Description   string    `json:"description,omitempty"`
	Created       time.Time `json:"created"`
}

// ID is the resource ID.
func (a RoleAssignment) ID() string {
	return strings.TrimSuffix(a.Scope, "/") + "/providers/Microsoft.Authorization/roleAssignments/" + a.GUID
}

// A Vault is a Key Vault that uses RBAC.
type Vault struct {
	Name           string                     `json:"name"`
	TenantID       string                     `json:"tenantId"`
	SubscriptionID string                     `json:"subscriptionId"`
	ResourceGroup  string                     `json:"resourceGroup"`
	Location       string                     `json:"location"`
	Secrets        map[string][]SecretVersion `json:"secrets,omitempty"`
}

// ID is the resource ID.
func (v Vault) ID() string {
	return "/subscriptions/" + v.SubscriptionID + "/resourceGroups/" + v.ResourceGroup +
		"/providers/Microsoft.KeyVault/vaults/" + v.Name
}

// A SecretVersion is one version of a vault's secret, the newest last.
type SecretVersion struct {
	Version     string            `json:"version"`
	Value       string            `json:"value"`
	ContentType string            `json:"contentType,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Created     time.Time         `json:"created"`
}
