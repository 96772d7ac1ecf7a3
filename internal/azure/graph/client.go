package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"azwi/internal/azure"
	"azwi/internal/version"
)

// Config of a Client.
type Config struct {
	// Endpoint is Graph's URL, for example https://graph.microsoft.com. Required.
	Endpoint string
	// Audience is the resource of Graph's tokens. Default: Endpoint.
	Audience string
	// Credential signs in. Required.
	Credential azcore.TokenCredential
	// Options of the pipeline. The zero value works.
	Options azcore.ClientOptions
}

// A Client is safe for concurrent use. Its errors are *azcore.ResponseError where
// Graph answered.
type Client struct {
	endpoint string
	pipeline runtime.Pipeline
}

// New makes a client. It sends nothing.
func New(c Config) *Client {
	if c.Audience == "" {
		c.Audience = c.Endpoint
	}
	scope := strings.TrimSuffix(c.Audience, "/") + "/.default"
	c.Options = azure.Guard(c.Options, c.Endpoint)
	return &Client{
		endpoint: strings.TrimSuffix(c.Endpoint, "/"),
		pipeline: runtime.NewPipeline("azwi", version.String(), runtime.PipelineOptions{
			PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(c.Credential, []string{scope}, nil)},
		}, &c.Options),
	}
}

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

func (c *Client) url(path string) string { return c.endpoint + "/v1.0" + path }

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
	type page struct {
		Value []T    `json:"value"`
		Next  string `json:"@odata.nextLink"`
	}
	all, err := azure.List(ctx, runtime.NewPager(runtime.PagingHandler[page]{
		More: func(p page) bool { return p.Next != "" },
		Fetcher: func(ctx context.Context, before *page) (p page, err error) {
			target := first
			if before != nil {
				target = before.Next
			}
			err = c.do(ctx, http.MethodGet, target, nil, &p)
			return p, err
		},
	}), func(p page) []T { return p.Value })
	if _, ok := errors.AsType[*azure.AnswerError](err); ok {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	return all, err
}

func (c *Client) do(ctx context.Context, method, target string, in, out any) error {
	req, err := runtime.NewRequest(ctx, method, target)
	if err != nil {
		return fmt.Errorf("graph: %w", err)
	}
	req.Raw().Header.Set("Accept", "application/json")
	if in != nil {
		if err := runtime.MarshalAsJSON(req, in); err != nil {
			return fmt.Errorf("graph: %w", err)
		}
	}
	resp, err := c.pipeline.Do(req)
	if err != nil {
		return fmt.Errorf("graph: %w", err)
	}
	defer resp.Body.Close()
	if !runtime.HasStatusCode(resp, http.StatusOK, http.StatusCreated, http.StatusNoContent) {
		return runtime.NewResponseError(resp)
	}
	if out == nil {
		runtime.Drain(resp)
		return nil
	}
	if err := runtime.UnmarshalAsJSON(resp, out); err != nil {
		return fmt.Errorf("graph: read the answer: %w", err)
	}
	return nil
}
