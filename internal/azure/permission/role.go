package permission

import "strings"

// A role of Entra that lets its holder write applications.
type directoryRole struct {
	template, name string
	// others: also those that the holder does not own.
	others bool
}

// directoryRoles lists the built-in roles that grant writes to applications.
// Source: https://learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference
func directoryRoles() []directoryRole {
	return []directoryRole{
		{"62e90394-69f5-4237-9190-012177145e10", "Global Administrator", true},
		{"9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "Application Administrator", true},
		{"158c047a-c907-4556-b7ef-446551a6b5f7", "Cloud Application Administrator", true},
		{"cf1c38e5-3621-4004-a7cb-879624dced7c", "Application Developer", false},
	}
}

// powerless reports whether a template ID of a token is known to grant no write
// to applications: Directory Readers, and the mark of an ordinary user. About any
// other, a custom role perhaps, nothing can be said.
func powerless(template string) bool {
	switch template {
	case "88d8e3e3-8f55-4a1e-953a-9b9898b8876b", "b79fbf4d-3ef9-4689-8143-76b194e85509":
		return true
	}
	return false
}

// appRoles lists the application permissions of Graph that grant writes to
// applications; those of others, or only to one's own.
// Source: https://learn.microsoft.com/graph/permissions-reference
func appRoles(others bool) []string {
	all := []string{"Application.ReadWrite.All", "Directory.ReadWrite.All"}
	if !others {
		all = append(all, "Application.ReadWrite.OwnedBy")
	}
	return all
}

// GrantedBy names the built-in roles of Azure that grant an action of Resource
// Manager, the smallest first.
// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
func GrantedBy(action string) []string {
	action = strings.ToLower(action)
	switch {
	case strings.HasPrefix(action, "microsoft.managedidentity/userassignedidentities/"):
		return []string{"Managed Identity Contributor", "Contributor", "Owner"}
	case action == "microsoft.authorization/roleassignments/write", action == "microsoft.authorization/roleassignments/delete":
		return []string{"Role Based Access Control Administrator", "User Access Administrator", "Owner"}
	case strings.HasSuffix(action, "/read"):
		return []string{"Reader", "Contributor", "Owner"}
	}
	return []string{"Owner"}
}
