package graph

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/odata"
	"azwi/emulator/internal/replication"
	"azwi/emulator/internal/wire"
)

// pageSize is small, so that clients which ignore @odata.nextLink fail.
const pageSize = 3

// A Handler serves Microsoft Graph. Every field is required.
type Handler struct {
	Directory *directory.Directory
	Replicas  *replication.Model
	Tokens    *accesstoken.Service
	Now       func() time.Time
}

// A request is one call, its path taken apart.
type request struct {
	*http.Request
	target hosts.Target
	caller accesstoken.Claims
	beta   bool
	path   []segment
	// context begins the @odata.context of the answer.
	context string
}

// A segment is a part of the path: NAME or NAME(KEY='VALUE').
type segment struct{ name, key, value string }

// is compares the names of the path, "*" standing for any one.
func (r *request) is(names ...string) bool {
	if len(r.path) != len(names) {
		return false
	}
	for i, n := range names {
		if n != "*" && !strings.EqualFold(r.path[i].name, n) {
			return false
		}
	}
	return true
}

// An answer is a status with a body; without one there is none.
type answer struct {
	status int
	body   any
}

func ok(body any) (answer, error) { return answer{http.StatusOK, body}, nil }

func noContent(err error) (answer, error) { return answer{status: http.StatusNoContent}, err }

// Serve answers a request.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t hosts.Target) {
	a, err := h.serve(r, t)
	wire.Respond(w, r, a.status, a.body, err)
}

func fail(status int, code, format string, args ...any) error {
	return &wire.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return fail(http.StatusBadRequest, "Request_BadRequest", format, args...)
}

func notFound(id string) error {
	return fail(http.StatusNotFound, "Request_ResourceNotFound", "Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

func (h *Handler) serve(r *http.Request, t hosts.Target) (answer, error) {
	req := &request{Request: r, target: t}
	version, rest, _ := strings.Cut(strings.Trim(t.Path, "/"), "/")
	switch version {
	case "v1.0":
	case "beta":
		req.beta = true
	default:
		return answer{}, fail(http.StatusBadRequest, "BadRequest", "Invalid version: %s", version)
	}
	var err error
	if req.path, err = parsePath(rest); err != nil {
		return answer{}, err
	}
	req.context = t.Base + "/" + version + "/$metadata#"
	if err := h.authenticate(req); err != nil {
		return answer{}, err
	}
	switch strings.ToLower(req.path[0].name) {
	case "applications":
		return h.applications(req)
	case "serviceprincipals":
		return h.servicePrincipals(req)
	}
	return h.others(req)
}

// parsePath reads the segments behind the version.
func parsePath(path string) ([]segment, error) {
	var out []segment
	for part := range strings.SplitSeq(path, "/") {
		name, key, found := strings.Cut(part, "(")
		s := segment{name: name}
		if found {
			key, closed := strings.CutSuffix(key, ")")
			field, value, assigned := strings.Cut(key, "=")
			if !assigned {
				field, value = "id", key
			}
			value, quoted := strings.CutPrefix(value, "'")
			if quoted {
				value, quoted = strings.CutSuffix(value, "'")
			}
			if !closed || !quoted {
				return nil, fail(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", part)
			}
			s.key, s.value = field, strings.ReplaceAll(value, "''", "'")
		}
		if s.name == "" {
			return nil, fail(http.StatusBadRequest, "BadRequest", "Empty Path")
		}
		out = append(out, s)
	}
	return out, nil
}

func (h *Handler) authenticate(r *request) error {
	unauthorized := func(message string) error {
		e := &wire.Error{Status: http.StatusUnauthorized, Code: "InvalidAuthenticationToken", Message: message}
		e.Header = http.Header{"Www-Authenticate": {fmt.Sprintf(
			`Bearer realm="", authorization_uri="%s/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`, r.target.Authority)}}
		return e
	}
	raw, found := wire.Bearer(r.Request)
	if !found {
		return unauthorized("Access token is empty.")
	}
	var err error
	r.caller, err = h.Tokens.Verify(raw)
	switch {
	case errors.Is(err, accesstoken.ErrExpired):
		return unauthorized("Lifetime validation failed, the token is expired.")
	case err != nil:
		return unauthorized("Access token validation failure. Invalid signature.")
	case !hosts.Graph.Accepts(r.caller.Audience):
		return unauthorized("Access token validation failure. Invalid audience.")
	}
	return nil
}

// A right is what a call needs.
type right int

const (
	read right = iota
	create
	write
)

// allow decides from the token's roles and wids, as Graph does; owners are those
// of the application in question.
func (r *request) allow(need right, owners []string) error {
	roles := []string{"Application.ReadWrite.All", "Directory.ReadWrite.All"}
	wids := []string{directory.GlobalAdministrator, directory.ApplicationAdministrator, directory.CloudApplicationAdministrator}
	switch need {
	case read:
		roles = append(roles, "Application.Read.All", "Directory.Read.All", "Application.ReadWrite.OwnedBy")
		wids = append(wids, directory.DirectoryReaders, directory.ApplicationDeveloper)
	case create:
		roles = append(roles, "Application.ReadWrite.OwnedBy")
		wids = append(wids, directory.ApplicationDeveloper)
	case write:
		if slices.Contains(owners, r.caller.ObjectID) {
			return nil
		}
	}
	has := func(list, wanted []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(wanted, s) })
	}
	if has(r.caller.Roles, roles) || has(r.caller.WIDs, wids) {
		return nil
	}
	return fail(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

// list answers with one page of the items that match the request's $filter.
func list[T any](r *request, kind string, items []T, values func(T, string) ([]string, bool), render func(T) any) (answer, error) {
	q := r.URL.Query()
	terms, err := odata.Parse(q.Get("$filter"))
	if err != nil {
		return answer{}, fail(http.StatusBadRequest, "BadRequest", "Invalid filter clause: %v", err)
	}
	var found []T
	for _, item := range items {
		hit, err := odata.Match(terms, func(field string) ([]string, bool) { return values(item, field) })
		if err != nil {
			return answer{}, fail(http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified: %v.", err)
		}
		if hit {
			found = append(found, item)
		}
	}
	page, next := wire.Page(found, q.Get("$top"), q.Get("$skiptoken"), pageSize)
	value := make([]any, len(page))
	for i, item := range page {
		value[i] = render(item)
	}
	body := map[string]any{"@odata.context": r.context + kind, "value": value}
	if link := wire.NextLink(r.target.Base, (&url.URL{Path: r.target.Path}).EscapedPath(), q, "$skiptoken", next); link != "" {
		body["@odata.nextLink"] = link
	}
	if q.Get("$count") == "true" {
		body["@odata.count"] = len(found)
	}
	return ok(body)
}

// noFilter is for lists that can't be filtered.
func noFilter[T any](T, string) ([]string, bool) { return nil, false }

// entity adds the context to the body of one object.
func (r *request) entity(kind string, body map[string]any) map[string]any {
	body["@odata.context"] = r.context + kind + "/$entity"
	return body
}

func notAllowed(r *request) error {
	return fail(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target: %s.", r.Method)
}

// others are the small resources that tell a client what it may do.
func (h *Handler) others(r *request) (answer, error) {
	name := strings.ToLower(r.path[0].name)
	switch {
	case name == "directoryobjects" && r.Method == http.MethodPost && r.is("directoryObjects", "getByIds"):
		return h.byIDs(r)
	case name == "directoryobjects" && r.Method == http.MethodGet && len(r.path) == 2:
		if err := r.allow(read, nil); err != nil {
			return answer{}, err
		}
		if found := h.objects([]string{r.path[1].name}); len(found) == 1 {
			return ok(found[0])
		}
		return answer{}, notFound(r.path[1].name)
	case r.Method != http.MethodGet:
		return answer{}, notAllowed(r)
	case name == "me":
		return answer{}, fail(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
	case r.is("users"), r.is("groups"):
		if err := r.allow(read, nil); err != nil {
			return answer{}, err
		}
		return ok(map[string]any{"@odata.context": r.context + name, "value": []any{}})
	case r.is("policies", "authorizationPolicy"):
		return ok(r.entity("policies/authorizationPolicy", map[string]any{
			"id": "authorizationPolicy", "displayName": "Authorization Policy",
			"defaultUserRolePermissions": map[string]any{"allowedToCreateApps": true, "allowedToCreateSecurityGroups": true, "allowedToReadOtherUsers": true},
		}))
	case r.is("organization"):
		var tenant *directory.Tenant
		h.Directory.View(func(s *directory.State) { tenant, _ = s.Tenant(r.caller.TenantID) })
		if tenant == nil {
			return answer{}, notFound(r.caller.TenantID)
		}
		return ok(map[string]any{"@odata.context": r.context + "organization", "value": []any{map[string]any{
			"id": tenant.ID, "displayName": tenant.Name,
			"verifiedDomains": []any{map[string]any{"name": tenant.Domain, "isDefault": true, "isInitial": true}},
		}}})
	}
	return answer{}, fail(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", r.path[0].name)
}

func (h *Handler) byIDs(r *request) (answer, error) {
	if err := r.allow(read, nil); err != nil {
		return answer{}, err
	}
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	if len(body.IDs) > 1000 {
		return answer{}, badRequest("Too many ids: at most 1000 are allowed.")
	}
	return ok(map[string]any{"@odata.context": r.context + "directoryObjects", "value": h.objects(body.IDs)})
}

// objects finds applications and service principals by object ID.
func (h *Handler) objects(ids []string) []any {
	out := []any{}
	h.Directory.View(func(s *directory.State) {
		for _, id := range ids {
			if p, found := s.Principals[directory.Key(id)]; found {
				body := principalBody(p, s)
				body["@odata.type"] = "#microsoft.graph.servicePrincipal"
				out = append(out, body)
			} else if a, found := s.Applications[directory.Key(id)]; found {
				body := applicationBody(a)
				body["@odata.type"] = "#microsoft.graph.application"
				out = append(out, body)
			}
		}
	})
	return out
}
