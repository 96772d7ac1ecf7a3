package arm

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/replication"
	"azwi/emulator/internal/wire"
)

// pageSize is small, so that clients which ignore nextLink fail.
const pageSize = 3

// A Handler serves Resource Manager. Every field but the unexported ones is
// required.
type Handler struct {
	Directory *directory.Directory
	Replicas  *replication.Model
	Tokens    *accesstoken.Service
	Now       func() time.Time

	mu sync.Mutex
	// writing are the managed identities whose federated credentials are being
	// written.
	writing map[string]bool
}

// A request is one call, its path taken apart.
type request struct {
	*http.Request
	target hosts.Target
	caller accesstoken.Claims
	// subscription is nil outside of one.
	subscription *directory.Subscription
	// scope is the part of the path before the last /providers/, group the
	// resource group in it.
	scope, group string
	// provider is the last namespace in the path in lower case, segments what
	// follows it. Outside of a provider segments is the whole path.
	provider string
	segments []string
}

// An answer is a status with a body; without one there is none.
type answer struct {
	status int
	body   any
}

func ok(body any) (answer, error) { return answer{http.StatusOK, body}, nil }

// Serve answers a request.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t hosts.Target) {
	a, err := h.serve(r, t)
	wire.Respond(w, r, a.status, a.body, err)
}

func (h *Handler) serve(r *http.Request, t hosts.Target) (answer, error) {
	if strings.EqualFold(strings.Trim(t.Path, "/"), "metadata/endpoints") {
		return ok(endpoints(t))
	}
	req, err := h.parse(r, t)
	if err != nil {
		return answer{}, err
	}
	if err := h.authenticate(req); err != nil {
		return answer{}, err
	}
	if err := checkVersion(req); err != nil {
		return answer{}, err
	}
	if err := h.checkScope(req); err != nil {
		return answer{}, err
	}
	switch req.provider {
	case "":
		return h.resources(req)
	case "microsoft.managedidentity":
		return h.managedIdentity(req)
	case "microsoft.authorization":
		return h.authorization(req)
	case "microsoft.keyvault":
		return h.keyVault(req)
	}
	return answer{}, fail(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", req.provider)
}

func fail(status int, code, format string, args ...any) error {
	return &wire.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func notAllowed(r *request) error {
	return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The http method '%s' is not supported for this resource.", r.Method)
}

// parse takes the path apart.
func (h *Handler) parse(r *http.Request, t hosts.Target) (*request, error) {
	req := &request{Request: r, target: t}
	path := strings.Trim(t.Path, "/")
	if len(path) > 4096 {
		return nil, fail(http.StatusBadRequest, "RequestUriTooLong", "The request URI is too long.")
	}
	req.segments = strings.Split(path, "/")
	if slices.Contains(req.segments, "") && path != "" {
		return nil, fail(http.StatusBadRequest, "InvalidRequestUri", "The request URI has an empty segment.")
	}
	// A path may have several providers, as in the scope of a role assignment.
	last := -1
	for i := 0; i+1 < len(req.segments); i++ {
		if strings.EqualFold(req.segments[i], "providers") {
			last = i
		}
	}
	// /subscriptions/X/providers/NAMESPACE alone asks for the namespace itself.
	if last >= 0 && last+2 < len(req.segments) {
		req.scope = "/" + strings.Join(req.segments[:last], "/")
		req.provider = strings.ToLower(req.segments[last+1])
		req.segments = req.segments[last+2:]
	} else {
		req.scope = "/" + path
	}
	scope := strings.Split(strings.Trim(req.scope, "/"), "/")
	if len(scope) >= 4 && strings.EqualFold(scope[2], "resourceGroups") {
		req.group = scope[3]
	}
	if len(scope) >= 2 && strings.EqualFold(scope[0], "subscriptions") {
		h.Directory.View(func(s *directory.State) { req.subscription = s.Subscriptions[directory.Key(scope[1])] })
		if req.subscription == nil {
			return nil, fail(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", scope[1])
		}
	}
	return req, nil
}

// authenticate checks the caller's token. Without one, the answer's challenge
// tells the tenant of the subscription.
func (h *Handler) authenticate(r *request) error {
	tenant := ""
	if r.subscription != nil {
		tenant = r.subscription.TenantID
	}
	unauthorized := func(code, format string, args ...any) error {
		e := &wire.Error{Status: http.StatusUnauthorized, Code: code, Message: fmt.Sprintf(format, args...)}
		named := tenant
		if named == "" {
			named = "common"
		}
		e.Header = http.Header{"Www-Authenticate": {fmt.Sprintf(
			`Bearer authorization_uri="https://login.windows.net/%s", error="invalid_token", error_description="%s"`, named, e.Message)}}
		return e
	}
	raw, found := wire.Bearer(r.Request)
	if !found {
		return unauthorized("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	var err error
	r.caller, err = h.Tokens.Verify(raw)
	switch {
	case errors.Is(err, accesstoken.ErrExpired):
		return unauthorized("ExpiredAuthenticationToken", "The access token expiry UTC time '%s' is earlier than current UTC time '%s'.",
			time.Unix(r.caller.Expires, 0).UTC().Format("1/2/2006 3:04:05 PM"), h.Now().Format("1/2/2006 3:04:05 PM"))
	case err != nil:
		return unauthorized("InvalidAuthenticationToken", "The access token is invalid.")
	case !hosts.ResourceManager.Accepts(r.caller.Audience):
		return unauthorized("InvalidAuthenticationTokenAudience",
			"The access token has been obtained for wrong audience or resource '%s'. It should exactly match with one of the allowed audiences '%s'.",
			r.caller.Audience, strings.Join(r.target.Cloud.ResourceManagerAudiences, "','"))
	case tenant != "" && tenant != r.caller.TenantID:
		return unauthorized("InvalidAuthenticationTokenTenant",
			"The access token is from the wrong issuer '%s'. It must match the tenant 'https://sts.windows.net/%s/' associated with this subscription. Please use the authority (URL) 'https://login.windows.net/%s' to get the token.",
			r.caller.Issuer, tenant, tenant)
	}
	return nil
}

// checkVersion checks the api-version, which each type of resource has its own
// list of.
func checkVersion(r *request) error {
	version := r.URL.Query().Get("api-version")
	if version == "" {
		return fail(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	var known []string
	switch r.provider {
	case "microsoft.managedidentity":
		known = []string{"2022-01-31-preview", "2023-01-31", "2023-07-31-preview", "2024-11-30", "2025-01-31-preview", "2025-05-31-preview", "2026-04-30", "2026-05-31"}
		if len(r.segments) < 3 {
			known = append([]string{"2015-08-31-preview", "2018-11-30", "2021-09-30-preview"}, known...)
		}
	case "microsoft.authorization":
		known = []string{"2015-07-01", "2018-01-01-preview", "2018-07-01", "2018-09-01-preview", "2020-03-01-preview", "2020-04-01-preview",
			"2020-08-01-preview", "2020-10-01", "2020-10-01-preview", "2022-04-01", "2022-05-01-preview"}
	case "microsoft.keyvault":
		known = []string{"2019-09-01", "2021-10-01", "2022-07-01", "2023-02-01", "2023-07-01", "2024-11-01"}
	default:
		if !apiVersion().MatchString(version) {
			return fail(http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version '%s' is invalid.", version)
		}
		return nil
	}
	if !slices.Contains(known, strings.ToLower(version)) {
		return fail(http.StatusBadRequest, "NoRegisteredProviderFound",
			"No registered resource provider found for API version '%s' for type '%s'. The supported api-versions are '%s'.",
			version, r.segments[0], strings.Join(known, ", "))
	}
	return nil
}

func apiVersion() *regexp.Regexp { return regexp.MustCompile(`^20\d\d-\d\d-\d\d(-preview)?$`) }

// checkScope finds the resource group that the path names.
func (h *Handler) checkScope(r *request) error {
	if r.group == "" || r.provider == "" {
		return nil
	}
	found := false
	h.Directory.View(func(s *directory.State) {
		id := directory.ResourceGroup{SubscriptionID: r.subscription.ID, Name: r.group}.ID()
		if g, ok := s.Groups[directory.Key(id)]; ok {
			r.group, found = g.Name, true
		}
	})
	if !found {
		return fail(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", r.group)
	}
	return nil
}

// allow checks the caller's roles for an action at a scope.
func (h *Handler) allow(r *request, action, scope string) error {
	allowed := false
	h.Directory.View(func(s *directory.State) {
		allowed = directory.Allowed(s.RolesAt(r.caller.ObjectID, scope), action, false)
	})
	if allowed {
		return nil
	}
	return fail(http.StatusForbidden, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		r.caller.AppID, r.caller.ObjectID, action, scope)
}

// page answers with one page of items.
func page[T any](r *request, items []T, render func(T) any) (answer, error) {
	q := r.URL.Query()
	part, next := wire.Page(items, q.Get("$top"), q.Get("$skiptoken"), pageSize)
	value := make([]any, len(part))
	for i, item := range part {
		value[i] = render(item)
	}
	body := map[string]any{"value": value}
	if link := wire.NextLink(r.target.Base, r.target.Path, q, "$skiptoken", next); link != "" {
		body["nextLink"] = link
	}
	return ok(body)
}

// endpoints is what az asks a custom cloud for.
func endpoints(t hosts.Target) any {
	return map[string]any{
		"galleryEndpoint": t.Base, "graphEndpoint": t.Base, "portalEndpoint": t.Base,
		"authentication": map[string]any{"loginEndpoint": t.Authority, "audiences": []string{t.Base}},
	}
}
