package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"azwi/internal/azure"
)

// Config of a Client. Endpoint and Credential are required.
type Config azure.ServiceConfig

// A Client is safe for concurrent use. Its errors are for azure.Refused.
type Client struct{ service *azure.Service }

// New makes a client. It sends nothing.
func New(c Config) *Client { return &Client{azure.NewService(azure.ServiceConfig(c))} }

// Token is the access token that requests are sent with.
func (c *Client) Token(ctx context.Context) (string, error) { return c.service.Token(ctx) }

// An Application is an app registration.
type Application struct {
	ObjectID string `json:"id"`
	ClientID string `json:"appId"`
	Name     string `json:"displayName"`
}

// A ServicePrincipal is an application's or managed identity's principal in the
// tenant.
type ServicePrincipal struct {
	ObjectID string `json:"id"`
	ClientID string `json:"appId"`
	Name     string `json:"displayName"`
	// Type is ManagedIdentity for a managed identity's.
	Type string `json:"servicePrincipalType"`
	// AlternativeNames have the resource ID of a managed identity.
	AlternativeNames []string `json:"alternativeNames"`
}

// A Credential is a federated identity credential.
type Credential struct {
	ID          string   `json:"id,omitempty"`
	Name        string   `json:"name,omitempty"`
	Issuer      string   `json:"issuer"`
	Subject     string   `json:"subject"`
	Audiences   []string `json:"audiences"`
	Description string   `json:"description,omitempty"`
}

// ApplicationsByName lists the applications of that display name: there may be
// several.
func (c *Client) ApplicationsByName(ctx context.Context, name string) ([]Application, error) {
	return list[Application](ctx, c, "/applications", equals("displayName", name))
}

// ApplicationByClientID finds an application. The error has status 404 if there
// is none.
func (c *Client) ApplicationByClientID(ctx context.Context, clientID string) (Application, error) {
	return get[Application](ctx, c, "/applications"+key("appId", clientID))
}

// ApplicationByObjectID finds an application. The error has status 404 if there
// is none.
func (c *Client) ApplicationByObjectID(ctx context.Context, objectID string) (Application, error) {
	return get[Application](ctx, c, "/applications/"+url.PathEscape(objectID))
}

// CreateApplication creates an application; it does not look for one of the same
// name.
func (c *Client) CreateApplication(ctx context.Context, name string) (Application, error) {
	var out Application
	return out, c.do(ctx, http.MethodPost, c.url("/applications"), map[string]any{"displayName": name, "signInAudience": "AzureADMyOrg"}, &out)
}

// DeleteApplication deletes an application by its object ID.
func (c *Client) DeleteApplication(ctx context.Context, objectID string) error {
	return c.do(ctx, http.MethodDelete, c.url("/applications/"+url.PathEscape(objectID)), nil, nil)
}

// ServicePrincipalByClientID finds a service principal. The error has status 404
// if there is none.
func (c *Client) ServicePrincipalByClientID(ctx context.Context, clientID string) (ServicePrincipal, error) {
	return get[ServicePrincipal](ctx, c, "/servicePrincipals"+key("appId", clientID))
}

// ServicePrincipalByObjectID finds a service principal. The error has status 404 if
// there is none.
func (c *Client) ServicePrincipalByObjectID(ctx context.Context, objectID string) (ServicePrincipal, error) {
	return get[ServicePrincipal](ctx, c, "/servicePrincipals/"+url.PathEscape(objectID))
}

// ServicePrincipalsByName lists the service principals of that display name.
func (c *Client) ServicePrincipalsByName(ctx context.Context, name string) ([]ServicePrincipal, error) {
	return list[ServicePrincipal](ctx, c, "/servicePrincipals", equals("displayName", name))
}

// CreateServicePrincipal creates the service principal of an application.
func (c *Client) CreateServicePrincipal(ctx context.Context, clientID string, tags ...string) (ServicePrincipal, error) {
	in := map[string]any{"appId": clientID}
	if len(tags) > 0 {
		in["tags"] = tags
	}
	var out ServicePrincipal
	return out, c.do(ctx, http.MethodPost, c.url("/servicePrincipals"), in, &out)
}

// Credentials lists the federated identity credentials of an application.
func (c *Client) Credentials(ctx context.Context, applicationObjectID string) ([]Credential, error) {
	return list[Credential](ctx, c, credentialsPath(applicationObjectID), nil)
}

// CreateCredential adds a federated identity credential.
func (c *Client) CreateCredential(ctx context.Context, applicationObjectID string, credential Credential) error {
	return c.do(ctx, http.MethodPost, c.url(credentialsPath(applicationObjectID)), credential, nil)
}

// UpdateCredential replaces issuer, subject and audience of the credential with
// that ID.
func (c *Client) UpdateCredential(ctx context.Context, applicationObjectID, id string, credential Credential) error {
	credential.ID, credential.Name = "", "" // the name can't be changed
	return c.do(ctx, http.MethodPatch, c.url(credentialsPath(applicationObjectID)+"/"+url.PathEscape(id)), credential, nil)
}

// DeleteCredential removes the federated identity credential with that ID. By ID
// and not by name: upstream's names may begin with a hyphen and end in "=".
func (c *Client) DeleteCredential(ctx context.Context, applicationObjectID, id string) error {
	return c.do(ctx, http.MethodDelete, c.url(credentialsPath(applicationObjectID)+"/"+url.PathEscape(id)), nil, nil)
}

// DirectoryRoles lists the template IDs of the directory roles that the signed-in
// user holds, also by groups. Only users may ask; a service principal's are in
// its token.
func (c *Client) DirectoryRoles(ctx context.Context) ([]string, error) {
	roles, err := list[struct {
		TemplateID string `json:"roleTemplateId"`
	}](ctx, c, "/me/transitiveMemberOf/microsoft.graph.directoryRole", nil)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(roles))
	for i, r := range roles {
		ids[i] = r.TemplateID
	}
	return ids, nil
}

// UsersCreateApplications reports whether every user of the tenant may create
// applications.
func (c *Client) UsersCreateApplications(ctx context.Context) (bool, error) {
	policy, err := get[struct {
		Users struct {
			Create bool `json:"allowedToCreateApps"`
		} `json:"defaultUserRolePermissions"`
	}](ctx, c, "/policies/authorizationPolicy")
	return policy.Users.Create, err
}

// Owners lists the object IDs of who owns an application.
func (c *Client) Owners(ctx context.Context, applicationObjectID string) ([]string, error) {
	owners, err := list[struct{ ID string }](ctx, c, "/applications/"+url.PathEscape(applicationObjectID)+"/owners", nil)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(owners))
	for i, o := range owners {
		ids[i] = o.ID
	}
	return ids, nil
}

func credentialsPath(applicationObjectID string) string {
	return "/applications/" + url.PathEscape(applicationObjectID) + "/federatedIdentityCredentials"
}

// quote writes a string literal of OData, in which a quote is doubled.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func equals(field, value string) url.Values {
	return url.Values{"$filter": {field + " eq " + quote(value)}}
}

func key(field, value string) string { return "(" + field + "=" + url.PathEscape(quote(value)) + ")" }

func (c *Client) url(path string) string { return c.service.Endpoint + "/v1.0" + path }

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	return out, c.do(ctx, http.MethodGet, c.url(path), nil, &out)
}

// list reads all pages.
func list[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	first := c.url(path)
	if len(query) > 0 {
		// Graph reads a plus sign in a filter as itself.
		first += "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
	}
	all, err := azure.Pages[T](ctx, first, func(ctx context.Context, target string, out any) error {
		return c.do(ctx, http.MethodGet, target, nil, out)
	})
	if _, ok := errors.AsType[*azure.AnswerError](err); ok {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	return all, err
}

func (c *Client) do(ctx context.Context, method, target string, in, out any) error {
	err := c.service.Do(ctx, method, target, in, out)
	if status, _ := azure.StatusOf(err); err != nil && status == 0 {
		return fmt.Errorf("graph: %w", err)
	}
	return err
}
