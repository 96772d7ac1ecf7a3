package directory

import "strings"

// An EntraRole is a role of Entra itself, as opposed to Azure RBAC.
type EntraRole struct{ TemplateID, Name string }

// Template IDs of the directory roles that matter to federation.
const (
	GlobalAdministrator           = "62e90394-69f5-4237-9190-012177145e10"
	ApplicationAdministrator      = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"
	CloudApplicationAdministrator = "158c047a-c907-4556-b7ef-446551a6b5f7"
	ApplicationDeveloper          = "cf1c38e5-3621-4004-a7cb-879624dced7c"
	DirectoryReaders              = "88d8e3e3-8f55-4a1e-953a-9b9898b8876b"
)

// EntraRoles lists them. Source: "Microsoft Entra built-in roles".
func EntraRoles() []EntraRole {
	return []EntraRole{
		{GlobalAdministrator, "Global Administrator"},
		{ApplicationAdministrator, "Application Administrator"},
		{CloudApplicationAdministrator, "Cloud Application Administrator"},
		{ApplicationDeveloper, "Application Developer"},
		{DirectoryReaders, "Directory Readers"},
	}
}

// FindEntraRole finds one by template ID or name.
func FindEntraRole(ref string) (EntraRole, bool) {
	for _, r := range EntraRoles() {
		if strings.EqualFold(r.TemplateID, ref) || strings.EqualFold(r.Name, ref) {
			return r, true
		}
	}
	return EntraRole{}, false
}
