package directory

import (
	"strings"

	"azwi/emulator/internal/glob"
)

// BuiltInRoles are the roles of Azure that the emulator knows, with the
// permissions that matter here. Source: "Azure built-in roles".
func BuiltInRoles() []*RoleDefinition {
	vault := func(actions ...string) []string {
		for i, a := range actions {
			actions[i] = "Microsoft.KeyVault/vaults/" + a
		}
		return actions
	}
	roles := []*RoleDefinition{
		{GUID: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", Name: "Owner", Actions: []string{"*"}},
		{GUID: "b24988ac-6180-42a0-ab88-20f7382dd24c", Name: "Contributor", Actions: []string{"*"},
			NotActions: []string{"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action"}},
		{GUID: "acdd72a7-3385-48ef-bd42-f606fba81ae7", Name: "Reader", Actions: []string{"*/read"}},
		{GUID: "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", Name: "User Access Administrator",
			Actions: []string{"*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"}},
		{GUID: "f58310d9-a9f6-439a-9e8d-f62e7b41a168", Name: "Role Based Access Control Administrator",
			Actions: []string{"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "*/read", "Microsoft.Support/*"}},
		{GUID: "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59", Name: "Managed Identity Contributor",
			Actions: []string{"Microsoft.ManagedIdentity/userAssignedIdentities/read", "Microsoft.ManagedIdentity/userAssignedIdentities/write",
				"Microsoft.ManagedIdentity/userAssignedIdentities/delete", "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/*",
				"Microsoft.Authorization/*/read", "Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Resources/deployments/*"}},
		{GUID: "f1a07417-d97a-45cb-824c-7a7467783830", Name: "Managed Identity Operator",
			Actions: []string{"Microsoft.ManagedIdentity/userAssignedIdentities/*/read", "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
				"Microsoft.Authorization/*/read", "Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Resources/deployments/*"}},
		{GUID: "00482a5a-887f-4fb3-b363-3b7fe8e74483", Name: "Key Vault Administrator",
			Actions: append(vault("*"), "Microsoft.Authorization/*/read"), DataActions: vault("*")},
		{GUID: "b86a8fe4-44ce-4948-aee5-eccb2c155cd7", Name: "Key Vault Secrets Officer",
			Actions: append(vault("*/read"), "Microsoft.Authorization/*/read"), DataActions: vault("secrets/*")},
		{GUID: "4633458b-17de-408a-b874-0445c86b69e6", Name: "Key Vault Secrets User",
			DataActions: vault("secrets/getSecret/action", "secrets/readMetadata/action")},
		{GUID: "21090545-7ca7-4776-b22c-e363652d74d2", Name: "Key Vault Reader",
			Actions: append(vault("*/read"), "Microsoft.Authorization/*/read"), DataActions: vault("*/read", "secrets/readMetadata/action")},
		{GUID: "ba92f5b4-2d11-453d-a403-e96b0029c9fe", Name: "Storage Blob Data Contributor",
			DataActions: []string{"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/*"}},
		{GUID: "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", Name: "Storage Blob Data Reader",
			DataActions: []string{"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"}},
	}
	for _, r := range roles {
		r.BuiltIn, r.Scopes = true, []string{"/"}
	}
	return roles
}

// Role finds a role definition, built in or custom, by GUID, resource ID or
// name.
func (s *State) Role(ref string) (*RoleDefinition, bool) {
	guid := Key(ref[strings.LastIndex(ref, "/")+1:])
	if r, ok := s.RoleDefinitions[guid]; ok {
		return r, true
	}
	for _, r := range s.RoleDefinitions {
		if strings.EqualFold(r.Name, ref) {
			return r, true
		}
	}
	return nil, false
}

// RolesAt lists the role definitions that the principal holds at scope or above
// it.
func (s *State) RolesAt(principalID, scope string) []*RoleDefinition {
	var out []*RoleDefinition
	for key := range s.assignmentsOf[Key(principalID)] {
		a := s.RoleAssignments[key]
		if r, ok := s.RoleDefinitions[a.Role]; ok && Within(scope, a.Scope) {
			out = append(out, r)
		}
	}
	return out
}

// HasRoleIn reports whether the principal holds any role at scope, above it or
// below it.
func (s *State) HasRoleIn(principalID, scope string) bool {
	for key := range s.assignmentsOf[Key(principalID)] {
		a := s.RoleAssignments[key]
		if Within(scope, a.Scope) || Within(a.Scope, scope) {
			return true
		}
	}
	return false
}

// Within reports whether scope is outer or lies below it.
func Within(scope, outer string) bool {
	scope, outer = Key(scope)+"/", Key(outer)+"/"
	return strings.HasPrefix(scope, outer)
}

// Allowed reports whether one of the roles grants the action (or data action).
// A notAction takes away only from the entry it stands in.
func Allowed(roles []*RoleDefinition, action string, data bool) bool {
	for _, r := range roles {
		grants, excepts := r.Actions, r.NotActions
		if data {
			grants, excepts = r.DataActions, r.NotDataActions
		}
		if matchesAny(grants, action) && !matchesAny(excepts, action) {
			return true
		}
	}
	return false
}

func matchesAny(patterns []string, action string) bool {
	for _, p := range patterns {
		if glob.MatchFold(p, action) {
			return true
		}
	}
	return false
}
