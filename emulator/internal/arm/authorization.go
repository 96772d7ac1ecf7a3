package arm

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/odata"
	"azwi/emulator/internal/wire"
)

func (h *Handler) authorization(r *request) (answer, error) {
	switch strings.ToLower(r.segments[0]) {
	case "permissions":
		return h.permissions(r)
	case "roledefinitions":
		return h.roleDefinitions(r)
	case "roleassignments":
		return h.roleAssignments(r)
	}
	return answer{}, fail(http.StatusNotFound, "InvalidResourceType", "The resource type '%s' could not be found in the namespace 'Microsoft.Authorization'.", r.segments[0])
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// permissions lists what the caller may do at a scope. Everybody may ask.
func (h *Handler) permissions(r *request) (answer, error) {
	if r.Method != http.MethodGet {
		return answer{}, notAllowed(r)
	}
	var roles []*directory.RoleDefinition
	h.Directory.View(func(s *directory.State) { roles = s.RolesAt(r.caller.ObjectID, r.scope) })
	slices.SortFunc(roles, func(a, b *directory.RoleDefinition) int { return strings.Compare(a.GUID, b.GUID) })
	return page(r, roles, func(d *directory.RoleDefinition) any { return permission(d) })
}

func permission(d *directory.RoleDefinition) map[string]any {
	return map[string]any{
		"actions": list(d.Actions), "notActions": list(d.NotActions),
		"dataActions": list(d.DataActions), "notDataActions": list(d.NotDataActions),
	}
}

// filter reads the request's $filter.
func filter(r *request) ([]odata.Term, error) {
	terms, err := odata.Parse(r.URL.Query().Get("$filter"))
	if err != nil {
		return nil, fail(http.StatusBadRequest, "InvalidFilter", "The filter '%s' is not supported: %v.", r.URL.Query().Get("$filter"), err)
	}
	return terms, nil
}

// without takes the calls of a function out of a filter.
func without(terms []odata.Term, names ...string) (rest, calls []odata.Term) {
	for _, t := range terms {
		if t.Op == odata.Call && slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, t.Field) }) {
			calls = append(calls, t)
		} else {
			rest = append(rest, t)
		}
	}
	return rest, calls
}

func definitionBody(d *directory.RoleDefinition) any {
	kind := "CustomRole"
	if d.BuiltIn {
		kind = "BuiltInRole"
	}
	return map[string]any{
		"id": "/providers/Microsoft.Authorization/roleDefinitions/" + d.GUID, "name": d.GUID, "type": "Microsoft.Authorization/roleDefinitions",
		"properties": map[string]any{
			"roleName": d.Name, "type": kind, "description": d.Description, "assignableScopes": list(d.Scopes),
			"permissions": []any{permission(d)},
		},
	}
}

func (h *Handler) roleDefinitions(r *request) (answer, error) {
	if err := h.allow(r, "Microsoft.Authorization/roleDefinitions/read", r.scope); err != nil {
		return answer{}, err
	}
	if r.Method != http.MethodGet {
		return answer{}, notAllowed(r)
	}
	if len(r.segments) == 2 {
		var d *directory.RoleDefinition
		h.Directory.View(func(s *directory.State) { d = s.RoleDefinitions[directory.Key(r.segments[1])] })
		if d == nil {
			return answer{}, fail(http.StatusNotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", r.segments[1])
		}
		return ok(definitionBody(d))
	}
	terms, err := filter(r)
	if err != nil {
		return answer{}, err
	}
	terms, _ = without(terms, "atScope", "atScopeAndBelow")
	var found []*directory.RoleDefinition
	h.Directory.View(func(s *directory.State) {
		for _, d := range directory.Sorted(s.RoleDefinitions) {
			var hit bool
			if hit, err = odata.Match(terms, func(field string) ([]string, bool) {
				switch strings.ToLower(field) {
				case "rolename":
					return []string{d.Name}, true
				case "type":
					return []string{map[bool]string{true: "BuiltInRole", false: "CustomRole"}[d.BuiltIn]}, true
				}
				return nil, false
			}); err != nil {
				return
			}
			if hit {
				found = append(found, d)
			}
		}
	})
	if err != nil {
		return answer{}, fail(http.StatusBadRequest, "InvalidFilter", "The filter is not supported: %v.", err)
	}
	return page(r, found, func(d *directory.RoleDefinition) any { return definitionBody(d) })
}

func assignmentBody(a *directory.RoleAssignment) any {
	role := "/providers/Microsoft.Authorization/roleDefinitions/" + a.Role
	// Below a subscription Azure writes the definition's ID with it.
	if parts := strings.Split(a.Scope, "/"); len(parts) > 2 && strings.EqualFold(parts[1], "subscriptions") {
		role = "/subscriptions/" + parts[2] + role
	}
	return map[string]any{
		"id": a.ID(), "name": a.GUID, "type": "Microsoft.Authorization/roleAssignments",
		"properties": map[string]any{
			"roleDefinitionId": role, "principalId": a.PrincipalID, "principalType": a.PrincipalType, "scope": a.Scope,
			"description": nil, "condition": nil, "conditionVersion": nil,
			"createdOn": a.Created.Format(time.RFC3339), "updatedOn": a.Created.Format(time.RFC3339),
		},
	}
}

func (h *Handler) roleAssignments(r *request) (answer, error) {
	actions := map[string]string{http.MethodGet: "read", http.MethodPut: "write", http.MethodDelete: "delete"}
	action, known := actions[r.Method]
	if !known || (len(r.segments) == 1 && r.Method != http.MethodGet) || len(r.segments) > 2 {
		return answer{}, notAllowed(r)
	}
	if err := h.allow(r, "Microsoft.Authorization/roleAssignments/"+action, r.scope); err != nil {
		return answer{}, err
	}
	if len(r.segments) == 1 {
		return h.listAssignments(r)
	}
	id := directory.RoleAssignment{GUID: r.segments[1], Scope: r.scope}.ID()
	var found *directory.RoleAssignment
	h.Directory.View(func(s *directory.State) { found = s.RoleAssignments[directory.Key(id)] })
	switch {
	case r.Method == http.MethodPut:
		return h.putAssignment(r)
	case r.Method == http.MethodDelete && found == nil:
		return answer{status: http.StatusNoContent}, nil
	case found == nil:
		return answer{}, fail(http.StatusNotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", r.segments[1])
	case r.Method == http.MethodDelete:
		if err := h.Directory.Update(func(s *directory.State) error { s.DeleteAssignment(found); return nil }); err != nil {
			return answer{}, err
		}
	}
	return ok(assignmentBody(found))
}

func (h *Handler) listAssignments(r *request) (answer, error) {
	terms, err := filter(r)
	if err != nil {
		return answer{}, err
	}
	terms, calls := without(terms, "atScope", "assignedTo")
	atScope, assignedTo := false, ""
	for _, c := range calls {
		if strings.EqualFold(c.Field, "atScope") {
			atScope = true
		} else {
			assignedTo = c.Value
		}
	}
	var found []*directory.RoleAssignment
	h.Directory.View(func(s *directory.State) {
		for _, a := range directory.Sorted(s.RoleAssignments) {
			above, below := directory.Within(r.scope, a.Scope), directory.Within(a.Scope, r.scope)
			if !above && (atScope || !below) || (assignedTo != "" && !strings.EqualFold(assignedTo, a.PrincipalID)) {
				continue
			}
			var hit bool
			if hit, err = odata.Match(terms, func(field string) ([]string, bool) {
				return []string{a.PrincipalID}, strings.EqualFold(field, "principalId")
			}); err != nil {
				return
			}
			if hit {
				found = append(found, a)
			}
		}
	})
	if err != nil {
		return answer{}, fail(http.StatusBadRequest, "UnsupportedQuery", "The filter '%s' is not supported. Supported filters are either 'atScope()' or 'principalId eq '{value}' or assignedTo('{value}')'.", r.URL.Query().Get("$filter"))
	}
	return page(r, found, func(a *directory.RoleAssignment) any { return assignmentBody(a) })
}

func (h *Handler) putAssignment(r *request) (answer, error) {
	var body struct {
		Properties struct {
			RoleDefinitionID string `json:"roleDefinitionId"`
			PrincipalID      string `json:"principalId"`
			PrincipalType    string `json:"principalType"`
			Description      string `json:"description"`
		} `json:"properties"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	p := body.Properties
	guid, err := uuid.Parse(r.segments[1])
	principalID := wire.GUID(p.PrincipalID)
	switch {
	case err != nil || len(r.segments[1]) != 36:
		return answer{}, fail(http.StatusBadRequest, "InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", r.segments[1])
	case p.RoleDefinitionID == "" || principalID == "":
		return answer{}, fail(http.StatusBadRequest, "InvalidPrincipalId", "The request body must have roleDefinitionId and a principalId that is a GUID.")
	case p.PrincipalType != "" && !slices.Contains([]string{"User", "Group", "ServicePrincipal", "ForeignGroup", "Device"}, p.PrincipalType):
		return answer{}, fail(http.StatusBadRequest, "InvalidPrincipalType", "The principal type '%s' is not valid.", p.PrincipalType)
	}
	assignment := &directory.RoleAssignment{
		GUID: guid.String(), Scope: r.scope, PrincipalID: principalID, PrincipalType: p.PrincipalType,
		Description: p.Description, Created: h.Now().Truncate(time.Second),
	}
	created := true
	err = h.Directory.Update(func(s *directory.State) error {
		role, found := s.RoleDefinitions[directory.Key(p.RoleDefinitionID[strings.LastIndex(p.RoleDefinitionID, "/")+1:])]
		if !found {
			return fail(http.StatusNotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", p.RoleDefinitionID)
		}
		assignment.Role = role.GUID
		principal, exists := s.Principals[principalID]
		switch {
		case assignment.PrincipalType == "" && (!exists || !h.Replicas.KnowsPrincipal(principalID)):
			return fail(http.StatusBadRequest, "PrincipalNotFound", "Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
				strings.ReplaceAll(principalID, "-", ""), r.caller.TenantID)
		case exists && assignment.PrincipalType == "":
			assignment.PrincipalType = "ServicePrincipal"
		case exists && assignment.PrincipalType != "ServicePrincipal":
			return fail(http.StatusBadRequest, "UnmatchedPrincipalType", "The PrincipalId '%s' has type 'ServicePrincipal' , which is different from specified PrinciaplType '%s'.", principal.ObjectID, assignment.PrincipalType)
		}
		for _, a := range s.RoleAssignments {
			if !strings.EqualFold(a.Scope, r.scope) {
				continue
			}
			same := a.Role == assignment.Role && a.PrincipalID == principalID
			switch {
			case a.GUID == assignment.GUID && same:
				assignment, created = a, false
				return nil
			case a.GUID == assignment.GUID:
				return fail(http.StatusBadRequest, "RoleAssignmentUpdateNotPermitted", "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
			case same:
				return fail(http.StatusConflict, "RoleAssignmentExists", "The role assignment already exists. The ID of the existing role assignment is %s.", strings.ReplaceAll(a.GUID, "-", ""))
			}
		}
		s.PutAssignment(assignment)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	if !created {
		return ok(assignmentBody(assignment))
	}
	return answer{http.StatusCreated, assignmentBody(assignment)}, nil
}
