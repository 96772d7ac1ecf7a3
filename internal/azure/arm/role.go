package arm

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"

	"azwi/internal/azure"
	"azwi/internal/finding"
	"azwi/internal/spelling"
)

// CheckScope reports what is wrong with the form of a scope: a resource ID, or
// that of a subscription, resource group or management group.
// Source: https://learn.microsoft.com/azure/role-based-access-control/scope-overview
func CheckScope(scope string) error {
	const (
		guid      = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`
		name      = `[^/\\?#%<>&\s\pC]([^/\\?#%<>&\pC]*[^/\\?#%<>&\s\pC])?`
		resources = `(/providers/` + name + `(/` + name + `/` + name + `)+)`
	)
	form := regexp.MustCompile(`(?i)^(/|/subscriptions/` + guid + `(/resourceGroups/` + name + `)?` + resources + `*|` + resources + `+)$`)
	if form.MatchString(scope) {
		return nil
	}
	return fmt.Errorf("%q is malformed: a scope looks like /subscriptions/GUID, /subscriptions/GUID/resourceGroups/NAME, the resource ID of a resource, "+
		"or /providers/Microsoft.Management/managementGroups/NAME", scope)
}

// ShortScope names a scope for people: by kind and name, not by all that is above it.
func ShortScope(scope string) string {
	parts := strings.Split(strings.Trim(scope, "/"), "/")
	last := len(parts) - 1
	is := func(i int, name string) bool { return i >= 0 && strings.EqualFold(parts[i], name) }
	switch {
	case last == 1 && is(0, "subscriptions"):
		return "subscription " + parts[1]
	case last == 3 && is(2, "resourceGroups"):
		return "resource group " + parts[3]
	case last >= 7 && is(2, "resourceGroups") && is(last-1, "userAssignedIdentities"):
		return "managed identity " + parts[last] + " in resource group " + parts[3]
	case last >= 7 && is(2, "resourceGroups"):
		return parts[last-1] + " " + parts[last] + " in resource group " + parts[3]
	case is(last-1, "managementGroups"):
		return "management group " + parts[last]
	}
	return scope
}

// An UnknownRoleError says that there is no role of that name.
type UnknownRoleError struct {
	Role, Scope string
	// Nearest is the role that may be meant, or empty.
	Nearest string
}

func (e *UnknownRoleError) Error() string {
	return finding.RoleMissing(e.Role, e.Scope, e.Nearest).Text()
}

// RoleDefinition returns the resource ID of the role of that name at a scope, or
// an *UnknownRoleError.
func (c *Client) RoleDefinition(ctx context.Context, scope, role string) (string, error) {
	client, err := c.definitions.of("")
	if err != nil {
		return "", err
	}
	// A quote in a literal of OData is doubled.
	filter := "roleName eq '" + strings.ReplaceAll(role, "'", "''") + "'"
	found, err := roleDefinitions(ctx, client, scope, &filter)
	if err != nil {
		return "", fmt.Errorf("role %q: %w", role, err)
	}
	if len(found) > 0 {
		return found[0].id, nil
	}
	unknown := &UnknownRoleError{Role: role, Scope: scope}
	// Without them there is no suggestion, that is all.
	if all, err := roleDefinitions(ctx, client, scope, nil); err == nil {
		names := make([]string, len(all))
		for i, d := range all {
			names[i] = d.name
		}
		unknown.Nearest = spelling.Nearest(role, names)
	}
	return "", unknown
}

type roleDefinition struct{ id, name string }

func roleDefinitions(ctx context.Context, client *armauthorization.RoleDefinitionsClient, scope string, filter *string) ([]roleDefinition, error) {
	pager := client.NewListPager(scope, &armauthorization.RoleDefinitionsClientListOptions{Filter: filter})
	return azure.List(ctx, pager, func(page armauthorization.RoleDefinitionsClientListResponse) []roleDefinition {
		var all []roleDefinition
		for _, d := range present(page.Value) {
			if d.Properties != nil {
				all = append(all, roleDefinition{value(d.ID), value(d.Properties.RoleName)})
			}
		}
		return all
	})
}
