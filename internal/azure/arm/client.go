package arm

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/google/uuid"

	"azwi/internal/azure"
)

// Config of a Client.
type Config struct {
	// Credential signs in. Required.
	Credential azcore.TokenCredential
	// Options of the pipeline; their cloud says where Resource Manager is. The
	// zero value is the public cloud.
	Options azcore.ClientOptions
}

// A Client is safe for concurrent use. Its errors are for azure.Refused.
type Client struct {
	service     *azure.Service
	identities  *made[armmsi.UserAssignedIdentitiesClient]
	credentials *made[armmsi.FederatedIdentityCredentialsClient]
	assignments *made[armauthorization.RoleAssignmentsClient]
	definitions *made[armauthorization.RoleDefinitionsClient]
}

// New makes a client. It sends nothing.
func New(c Config) *Client {
	where, ok := c.Options.Cloud.Services[cloud.ResourceManager]
	if !ok {
		where = cloud.AzurePublic.Services[cloud.ResourceManager]
	}
	service := azure.NewService(azure.ServiceConfig{Endpoint: where.Endpoint, Audience: where.Audience, Credential: c.Credential, Options: c.Options})
	return &Client{
		service:     service,
		identities:  newMade(service, armmsi.NewUserAssignedIdentitiesClient),
		credentials: newMade(service, armmsi.NewFederatedIdentityCredentialsClient),
		assignments: newMade(service, armauthorization.NewRoleAssignmentsClient),
		definitions: newMade(service, func(_ string, credential azcore.TokenCredential, options *azarm.ClientOptions) (*armauthorization.RoleDefinitionsClient, error) {
			return armauthorization.NewRoleDefinitionsClient(credential, options)
		}),
	}
}

// made are the SDK's clients of one kind, each made once for its subscription.
type made[T any] struct {
	new  func(subscription string) (*T, error)
	mu   sync.Mutex
	have map[string]*T
}

func newMade[T any](service *azure.Service, construct func(string, azcore.TokenCredential, *azarm.ClientOptions) (*T, error)) *made[T] {
	credential, options := service.SDK()
	return &made[T]{have: map[string]*T{}, new: func(subscription string) (*T, error) {
		return construct(subscription, credential, &azarm.ClientOptions{ClientOptions: options, DisableRPRegistration: true})
	}}
}

func (m *made[T]) of(subscription string) (*T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	client, ok := m.have[subscription]
	if ok {
		return client, nil
	}
	client, err := m.new(subscription)
	if err == nil {
		m.have[subscription] = client
	}
	return client, err
}

// An IdentityID is the resource ID of a managed identity, taken apart.
type IdentityID struct{ Subscription, ResourceGroup, Name string }

// ParseIdentityID reads a resource ID. Its fixed parts match whatever their case.
func ParseIdentityID(id string) (IdentityID, error) {
	m := regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/([^/]+)/?$`).FindStringSubmatch(id)
	if m == nil {
		return IdentityID{}, fmt.Errorf("%q is not the resource ID of a managed identity: it looks like %s",
			id, IdentityID{"SUBSCRIPTION", "RESOURCE_GROUP", "NAME"})
	}
	return IdentityID{Subscription: m[1], ResourceGroup: m[2], Name: m[3]}, nil
}

// CheckIdentityName reports whether a managed identity can be created under a name.
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftmanagedidentity
func CheckIdentityName(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$`).MatchString(name) {
		return fmt.Errorf("%q is not a valid name for a managed identity: use 3 to 128 letters, digits, hyphens and underscores, and begin with a letter or digit", name)
	}
	return nil
}

func (i IdentityID) String() string {
	return i.Group() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + i.Name
}

// Group is the resource ID of the identity's resource group.
func (i IdentityID) Group() string {
	return "/subscriptions/" + i.Subscription + "/resourceGroups/" + i.ResourceGroup
}

// An Identity is a user-assigned managed identity.
type Identity struct {
	ID                              IdentityID
	ClientID, PrincipalID, TenantID string
	Location                        string
}

// Identity reads a managed identity. The error has status 404 if there is none.
func (c *Client) Identity(ctx context.Context, id IdentityID) (Identity, error) {
	client, err := c.identities.of(id.Subscription)
	if err != nil {
		return Identity{}, err
	}
	resp, err := client.Get(ctx, id.ResourceGroup, id.Name, nil)
	if err != nil {
		return Identity{}, fmt.Errorf("managed identity %s: %w", id.Name, err)
	}
	return identity(id, resp.Identity), nil
}

// Identities lists the managed identities of a resource group, or of the whole
// subscription if that is empty.
func (c *Client) Identities(ctx context.Context, subscription, resourceGroup string) ([]Identity, error) {
	client, err := c.identities.of(subscription)
	if err != nil {
		return nil, err
	}
	type item = *armmsi.Identity
	var all []item
	if resourceGroup == "" {
		all, err = azure.List(ctx, client.NewListBySubscriptionPager(nil), func(p armmsi.UserAssignedIdentitiesClientListBySubscriptionResponse) []item { return p.Value })
	} else {
		all, err = azure.List(ctx, client.NewListByResourceGroupPager(resourceGroup, nil), func(p armmsi.UserAssignedIdentitiesClientListByResourceGroupResponse) []item { return p.Value })
	}
	if err != nil {
		where := "subscription " + subscription
		if resourceGroup != "" {
			where = "resource group " + resourceGroup
		}
		return nil, fmt.Errorf("managed identities of %s: %w", where, err)
	}
	var identities []Identity
	for _, item := range present(all) {
		id, err := ParseIdentityID(value(item.ID))
		if err != nil {
			return nil, err
		}
		identities = append(identities, identity(id, *item))
	}
	return identities, nil
}

// CreateIdentity creates a managed identity or leaves the one that is there.
func (c *Client) CreateIdentity(ctx context.Context, id IdentityID, location string) (Identity, error) {
	client, err := c.identities.of(id.Subscription)
	if err != nil {
		return Identity{}, err
	}
	resp, err := client.CreateOrUpdate(ctx, id.ResourceGroup, id.Name, armmsi.Identity{Location: &location}, nil)
	if err != nil {
		return Identity{}, fmt.Errorf("create managed identity %s: %w", id.Name, err)
	}
	return identity(id, resp.Identity), nil
}

// DeleteIdentity deletes a managed identity. One that is not there is no error.
func (c *Client) DeleteIdentity(ctx context.Context, id IdentityID) error {
	client, err := c.identities.of(id.Subscription)
	if err != nil {
		return err
	}
	if _, err := client.Delete(ctx, id.ResourceGroup, id.Name, nil); err != nil {
		return fmt.Errorf("delete managed identity %s: %w", id.Name, err)
	}
	return nil
}

func identity(id IdentityID, in armmsi.Identity) Identity {
	out := Identity{ID: id, Location: value(in.Location)}
	if p := in.Properties; p != nil {
		out.ClientID, out.PrincipalID, out.TenantID = value(p.ClientID), value(p.PrincipalID), value(p.TenantID)
	}
	return out
}

// A Credential is a federated identity credential of a managed identity.
type Credential struct{ Name, Issuer, Subject, Audience string }

// The actions that writing and removing a credential need, at its identity.
const (
	WriteCredential  = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write"
	RemoveCredential = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete"
)

// Credentials lists the credentials of a managed identity.
func (c *Client) Credentials(ctx context.Context, id IdentityID) ([]Credential, error) {
	client, err := c.credentials.of(id.Subscription)
	if err != nil {
		return nil, err
	}
	all, err := azure.List(ctx, client.NewListPager(id.ResourceGroup, id.Name, nil), func(page armmsi.FederatedIdentityCredentialsClientListResponse) []Credential {
		var all []Credential
		for _, item := range present(page.Value) {
			credential := Credential{Name: value(item.Name)}
			if p := item.Properties; p != nil {
				credential.Issuer, credential.Subject = value(p.Issuer), value(p.Subject)
				if len(p.Audiences) > 0 {
					credential.Audience = value(p.Audiences[0])
				}
			}
			all = append(all, credential)
		}
		return all
	})
	if err != nil {
		return nil, fmt.Errorf("federated credentials of %s: %w", id.Name, err)
	}
	return all, nil
}

// PutCredential creates or replaces the credential of that name. Writes to one
// identity must follow each other: Azure refuses concurrent ones.
func (c *Client) PutCredential(ctx context.Context, id IdentityID, credential Credential) error {
	client, err := c.credentials.of(id.Subscription)
	if err != nil {
		return err
	}
	_, err = client.CreateOrUpdate(ctx, id.ResourceGroup, id.Name, credential.Name, armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{
			Issuer: &credential.Issuer, Subject: &credential.Subject, Audiences: []*string{&credential.Audience},
		},
	}, nil)
	if err != nil {
		return fmt.Errorf("write federated credential %s of %s: %w", credential.Name, id.Name, err)
	}
	return nil
}

// DeleteCredential removes a credential. One that is not there is no error.
func (c *Client) DeleteCredential(ctx context.Context, id IdentityID, name string) error {
	client, err := c.credentials.of(id.Subscription)
	if err != nil {
		return err
	}
	if _, err := client.Delete(ctx, id.ResourceGroup, id.Name, name, nil); err != nil {
		return fmt.Errorf("delete federated credential %s of %s: %w", name, id.Name, err)
	}
	return nil
}

// A RoleAssignment gives a role to a service principal at a scope.
type RoleAssignment struct{ Scope, RoleDefinitionID, PrincipalID string }

// Name is the assignment's GUID. It follows from what is assigned, so that a
// second run finds what the first made.
func (a RoleAssignment) Name() string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.ToLower(a.Scope+"|"+a.RoleDefinitionID+"|"+a.PrincipalID))).String()
}

// AssignRole creates the assignment and returns its resource ID. One that exists,
// under whatever name, is success, and not created; any other refusal is an error.
func (c *Client) AssignRole(ctx context.Context, a RoleAssignment) (id string, created bool, err error) {
	client, err := c.assignments.of("")
	if err != nil {
		return "", false, err
	}
	var raw *http.Response
	resp, err := client.Create(policy.WithCaptureResponse(ctx, &raw), a.Scope, a.Name(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			RoleDefinitionID: &a.RoleDefinitionID, PrincipalID: &a.PrincipalID,
			// Named, so that a principal which is new need not have spread yet.
			PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
		},
	}, nil)
	if status, code := azure.StatusOf(err); status == http.StatusConflict && code == "RoleAssignmentExists" {
		id, err = c.FindRoleAssignment(ctx, a)
		return id, false, err
	}
	if err != nil {
		return "", false, fmt.Errorf("assign a role at %s: %w", a.Scope, err)
	}
	return value(resp.ID), raw.StatusCode == http.StatusCreated, nil
}

// FindRoleAssignment returns the resource ID of the assignment, whoever made it,
// or nothing if there is none.
func (c *Client) FindRoleAssignment(ctx context.Context, a RoleAssignment) (id string, err error) {
	all, err := c.assignmentsOf(ctx, a.Scope, a.PrincipalID)
	if err != nil {
		return "", err
	}
	for _, item := range all {
		// The same definition has several IDs, which end alike; assignments above and
		// below the scope are listed as well.
		if p := item.Properties; p != nil && strings.EqualFold(value(p.Scope), a.Scope) &&
			strings.EqualFold(path.Base(value(p.RoleDefinitionID)), path.Base(a.RoleDefinitionID)) {
			return value(item.ID), nil
		}
	}
	return "", nil
}

// RoleAssignments lists those of a principal at a scope and above it, and with below those
// within it too.
func (c *Client) RoleAssignments(ctx context.Context, scope, principalID string, below bool) ([]RoleAssignment, error) {
	all, err := c.assignmentsOf(ctx, scope, principalID)
	if err != nil {
		return nil, err
	}
	var found []RoleAssignment
	for _, item := range all {
		if p := item.Properties; p != nil && (within(scope, value(p.Scope)) || below && within(value(p.Scope), scope)) {
			found = append(found, RoleAssignment{Scope: value(p.Scope), RoleDefinitionID: value(p.RoleDefinitionID), PrincipalID: value(p.PrincipalID)})
		}
	}
	return found, nil
}

// assignmentsOf lists the assignments of a principal that Azure tells of at a scope.
// Source: https://learn.microsoft.com/azure/role-based-access-control/role-assignments-list-rest
func (c *Client) assignmentsOf(ctx context.Context, scope, principalID string) ([]*armauthorization.RoleAssignment, error) {
	client, err := c.assignments.of("")
	if err != nil {
		return nil, err
	}
	filter := "principalId eq '" + strings.ReplaceAll(principalID, "'", "''") + "'"
	type item = *armauthorization.RoleAssignment
	all, err := azure.List(ctx, client.NewListForScopePager(scope, &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: &filter}),
		func(p armauthorization.RoleAssignmentsClientListForScopeResponse) []item { return p.Value })
	if err != nil {
		return nil, fmt.Errorf("role assignments at %s: %w", scope, err)
	}
	return present(all), nil
}

// within reports whether a scope is another one or below it.
func within(scope, other string) bool {
	scope, other = strings.ToLower(strings.TrimSuffix(scope, "/"))+"/", strings.ToLower(strings.TrimSuffix(other, "/"))+"/"
	return strings.HasPrefix(scope, other)
}

// GroupLocation reads the location of a resource group.
func (c *Client) GroupLocation(ctx context.Context, subscription, group string) (string, error) {
	var out struct{ Location string }
	target := runtime.JoinPaths(c.service.Endpoint, "subscriptions", url.PathEscape(subscription), "resourceGroups", url.PathEscape(group)) + "?api-version=2021-04-01"
	if err := c.service.Do(ctx, http.MethodGet, target, nil, &out); err != nil {
		return "", fmt.Errorf("resource group %s: %w", group, err)
	}
	return out.Location, nil
}

// ParseAssignmentID takes the resource ID of a role assignment apart.
func ParseAssignmentID(id string) (scope, name string, err error) {
	m := regexp.MustCompile(`(?i)^((?:/[^/]+)*)/providers/Microsoft\.Authorization/roleAssignments/([^/]+)/?$`).FindStringSubmatch(id)
	if m == nil {
		return "", "", fmt.Errorf("%q is not the resource ID of a role assignment: it looks like SCOPE/providers/Microsoft.Authorization/roleAssignments/GUID", id)
	}
	return m[1], m[2], nil
}

// DeleteRoleAssignment removes the assignment with that resource ID. One that is
// not there is no error, and not deleted.
func (c *Client) DeleteRoleAssignment(ctx context.Context, id string) (deleted bool, err error) {
	client, err := c.assignments.of("")
	if err != nil {
		return false, err
	}
	var raw *http.Response
	if _, err := client.DeleteByID(policy.WithCaptureResponse(ctx, &raw), id, nil); err != nil {
		return false, fmt.Errorf("delete role assignment: %w", err)
	}
	return raw.StatusCode == http.StatusOK, nil
}

// Permissions of the caller, as Resource Manager tells them. Deny assignments are
// not among them.
type Permissions []Permission

// A Permission allows Actions but for NotActions. They hold wildcards.
type Permission struct {
	Actions    []string `json:"actions"`
	NotActions []string `json:"notActions"`
}

// Permissions reads what the caller may do at a scope: a subscription, a resource
// group or a resource. The SDK's own client knows only the latter two.
// Source: https://learn.microsoft.com/rest/api/authorization/permissions
func (c *Client) Permissions(ctx context.Context, scope string) (Permissions, error) {
	first := runtime.JoinPaths(c.service.Endpoint, scope, "/providers/Microsoft.Authorization/permissions") + "?api-version=2022-04-01"
	all, err := azure.Pages[Permission](ctx, first, func(ctx context.Context, target string, out any) error {
		return c.service.Do(ctx, http.MethodGet, target, nil, out)
	})
	if err != nil {
		return nil, fmt.Errorf("permissions at %s: %w", scope, err)
	}
	return all, nil
}

// Allow reports whether an action is allowed: by any entry that matches it and
// does not exclude it itself.
func (p Permissions) Allow(action string) bool {
	for _, entry := range p {
		if matchAny(entry.Actions, action) && !matchAny(entry.NotActions, action) {
			return true
		}
	}
	return false
}

func matchAny(patterns []string, action string) bool {
	for _, pattern := range patterns {
		expression := "(?i)^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$"
		if regexp.MustCompile(expression).MatchString(action) {
			return true
		}
	}
	return false
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// present leaves out what an answer has as null.
func present[T any](items []*T) []*T {
	return slices.DeleteFunc(items, func(item *T) bool { return item == nil })
}
