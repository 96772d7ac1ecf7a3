package permission

import (
	"testing"

	"azwi/internal/azure/arm"
)

// What GrantedBy names must grant it: these are the actions of those roles.
// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
func TestGrantedBy(t *testing.T) {
	t.Parallel()
	roles := map[string]arm.Permissions{
		"Owner":       {{Actions: []string{"*"}}},
		"Contributor": {{Actions: []string{"*"}, NotActions: []string{"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action"}}},
		"Reader":      {{Actions: []string{"*/read"}}},
		"Managed Identity Contributor": {{Actions: []string{"Microsoft.ManagedIdentity/userAssignedIdentities/read", "Microsoft.ManagedIdentity/userAssignedIdentities/write",
			"Microsoft.ManagedIdentity/userAssignedIdentities/delete", "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/*", "Microsoft.Authorization/*/read"}}},
		"Role Based Access Control Administrator": {{Actions: []string{"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "*/read"}}},
		"User Access Administrator":               {{Actions: []string{"*/read", "Microsoft.Authorization/*"}}},
	}
	for _, action := range []string{
		"Microsoft.ManagedIdentity/userAssignedIdentities/read", "Microsoft.ManagedIdentity/userAssignedIdentities/write", "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
		"Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read", "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
		"Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete", "Microsoft.Authorization/roleAssignments/write",
		"Microsoft.Authorization/roleAssignments/delete", "Microsoft.Authorization/roleDefinitions/read", "Microsoft.Storage/storageAccounts/write",
	} {
		for _, role := range GrantedBy(action) {
			if permissions, known := roles[role]; !known || !permissions.Allow(action) {
				t.Errorf("%s does not grant %s", role, action)
			}
		}
	}
}
