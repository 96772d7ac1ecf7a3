package graph

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/wire"
)

func (h *Handler) servicePrincipals(r *request) (answer, error) {
	if r.is("servicePrincipals") && r.path[0].key == "" {
		switch r.Method {
		case http.MethodGet:
			return h.listPrincipals(r)
		case http.MethodPost:
			return h.createPrincipal(r)
		}
		return answer{}, notAllowed(r)
	}
	var p *directory.Principal
	var app *directory.Application
	var id string
	var rest []segment
	h.Directory.View(func(s *directory.State) {
		switch first := r.path[0]; {
		case strings.EqualFold(first.key, "appId"):
			id, rest = first.value, r.path[1:]
			p, _ = s.PrincipalByAppID(r.caller.TenantID, id)
		case first.key != "":
			id, rest = first.value, r.path[1:]
			p = s.Principals[directory.Key(id)]
		default:
			id, rest = r.path[1].name, r.path[2:]
			p = s.Principals[directory.Key(id)]
		}
		if p != nil {
			app, _ = s.ApplicationByAppID(p.AppID)
		}
	})
	// A service principal may read itself.
	if p == nil || p.ObjectID != r.caller.ObjectID || r.Method != http.MethodGet {
		if err := r.allow(read, nil); err != nil {
			return answer{}, err
		}
	}
	if p == nil || p.TenantID != r.caller.TenantID {
		return answer{}, notFound(id)
	}
	if len(rest) > 0 {
		return h.principalMembership(r, p, rest)
	}
	switch r.Method {
	case http.MethodGet:
		var body map[string]any
		h.Directory.View(func(s *directory.State) { body = principalBody(p, s) })
		return ok(r.entity("servicePrincipals", body))
	case http.MethodDelete:
		var owners []string
		if app != nil {
			owners = app.Owners
		}
		if err := r.allow(write, owners); err != nil {
			return answer{}, err
		}
		if p.IdentityID != "" {
			return answer{}, badRequest("The service principal of a managed identity is deleted with the identity.")
		}
		return noContent(h.Directory.Update(func(s *directory.State) error { s.DeletePrincipal(p); return nil }))
	}
	return answer{}, notAllowed(r)
}

// principalMembership is what a service principal may learn of its own rights.
func (h *Handler) principalMembership(r *request, p *directory.Principal, rest []segment) (answer, error) {
	if r.Method != http.MethodGet {
		return answer{}, notAllowed(r)
	}
	switch strings.ToLower(rest[0].name) {
	case "transitivememberof", "memberof":
		return list(r, "directoryObjects", p.DirectoryRoles, noFilter, func(template string) any {
			role, _ := directory.FindEntraRole(template)
			return map[string]any{
				"@odata.type": "#microsoft.graph.directoryRole",
				"id":          uuid.NewSHA1(uuid.NameSpaceURL, []byte("azwi-emulator:directoryRole/"+p.TenantID+"/"+template)).String(), "displayName": role.Name, "roleTemplateId": template,
			}
		})
	case "owners", "approleassignments", "ownedobjects":
		return ok(map[string]any{"@odata.context": r.context + "directoryObjects", "value": []any{}})
	}
	return answer{}, fail(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", rest[0].name)
}

func principalBody(p *directory.Principal, s *directory.State) map[string]any {
	kind, names, alternative := "Application", []string{p.AppID}, []string{}
	if p.IdentityID != "" {
		kind, alternative = "ManagedIdentity", []string{"isExplicit=True", p.IdentityID}
		names = append(names, "https://identity.azure.net/"+p.ObjectID)
	}
	owner := p.TenantID
	if a, found := s.ApplicationByAppID(p.AppID); found {
		names = append(names, a.IdentifierURIs...)
		owner = a.TenantID
	}
	return map[string]any{
		"id": p.ObjectID, "appId": p.AppID, "displayName": p.Name, "appDisplayName": p.Name, "servicePrincipalType": kind,
		"servicePrincipalNames": names, "alternativeNames": alternative, "appOwnerOrganizationId": owner, "accountEnabled": true,
		"tags": texts(p.Tags), "createdDateTime": stamp(p.Created), "passwordCredentials": passwords(p.Secrets), "keyCredentials": keys(p.Certificates),
		"appRoles": []any{}, "oauth2PermissionScopes": []any{}, "replyUrls": []any{}, "signInAudience": "AzureADMyOrg",
	}
}

func (h *Handler) listPrincipals(r *request) (answer, error) {
	if err := r.allow(read, nil); err != nil {
		return answer{}, err
	}
	type item struct {
		*directory.Principal
		body map[string]any
	}
	var items []item
	h.Directory.View(func(s *directory.State) {
		for _, p := range directory.Sorted(s.Principals) {
			if p.TenantID == r.caller.TenantID {
				items = append(items, item{p, principalBody(p, s)})
			}
		}
	})
	return list(r, "servicePrincipals", items, func(i item, field string) ([]string, bool) {
		switch strings.ToLower(field) {
		case "appid":
			return []string{i.AppID}, true
		case "id":
			return []string{i.ObjectID}, true
		case "displayname":
			return []string{i.Name}, true
		case "serviceprincipalnames":
			names, _ := i.body["servicePrincipalNames"].([]string)
			return names, true
		case "serviceprincipaltype":
			kind, _ := i.body["servicePrincipalType"].(string)
			return []string{kind}, true
		case "tags":
			return i.Tags, true
		}
		return nil, false
	}, func(i item) any { return i.body })
}

func (h *Handler) createPrincipal(r *request) (answer, error) {
	if err := r.allow(create, nil); err != nil {
		return answer{}, err
	}
	var body struct {
		AppID string   `json:"appId"`
		Tags  []string `json:"tags"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	var p *directory.Principal
	var out map[string]any
	err := h.Directory.Update(func(s *directory.State) error {
		app, found := s.ApplicationByAppID(body.AppID)
		if !found {
			return badRequest("The appId '%s' of the service principal does not reference a valid application object.", body.AppID)
		}
		if _, exists := s.PrincipalByAppID(r.caller.TenantID, body.AppID); exists {
			return fail(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "The service principal cannot be created, updated, or restored because the service principal name %s is already in use.", body.AppID)
		}
		p = &directory.Principal{
			ObjectID: uuid.NewString(), AppID: app.AppID, TenantID: r.caller.TenantID, Name: app.Name, Tags: body.Tags, Created: h.Now().Truncate(time.Second),
		}
		s.PutPrincipal(p)
		h.Replicas.Created(p.ObjectID)
		out = principalBody(p, s)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusCreated, r.entity("servicePrincipals", out)}, nil
}
